"""What each operation of the API answers, by noun."""

from leadfeeder_async.sandbox.operations import accounts, companies, contacts, profiles, tags_and_lists, web_visits

ROUTES = (
    *accounts.ROUTES,
    *companies.ROUTES,
    *contacts.ROUTES,
    *web_visits.ROUTES,
    *tags_and_lists.ROUTES,
    *profiles.ROUTES,
)

OPERATIONS = frozenset(route.name for route in ROUTES)
"""Their names, as the contract has them."""

__all__ = ["OPERATIONS", "ROUTES"]
