"""The operations of the simulated API, one module for each group of resources."""

from leadfeeder_async.sandbox.operations import (
    accounts,
    companies,
    contacts,
    custom_feeds,
    profiles,
    tags_and_lists,
    web_visits,
)

ROUTES = (
    *accounts.ROUTES,
    *companies.ROUTES,
    *contacts.ROUTES,
    *web_visits.ROUTES,
    *custom_feeds.ROUTES,
    *tags_and_lists.ROUTES,
    *profiles.ROUTES,
)

OPERATIONS = frozenset(route.name for route in ROUTES)
"""The operation names in the contract."""

__all__ = ["OPERATIONS", "ROUTES"]
