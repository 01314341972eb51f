"""What each operation of the API answers, by noun."""

from leadfeeder_async.sandbox.operations import accounts, companies, contacts, profiles, visits, workspace

ROUTES = (
    *accounts.ROUTES,
    *companies.ROUTES,
    *contacts.ROUTES,
    *visits.ROUTES,
    *workspace.ROUTES,
    *profiles.ROUTES,
)

OPERATIONS = frozenset(route.name for route in ROUTES)
"""Their names, as the contract has them."""

__all__ = ["OPERATIONS", "ROUTES"]
