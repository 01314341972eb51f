"""Web visits, the companies that made them, and the tracker script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async.sandbox.operations.companies import company_reference
from leadfeeder_async.sandbox.query import OperationResult, Query, Route, numbered_page
from leadfeeder_async.sandbox.sample_data import Json, location_attributes


class VisitDates(msgspec.Struct, frozen=True):
    """The days of a search, both included."""

    start_date: date
    end_date: date

    def __post_init__(self) -> None:
        if self.start_date > self.end_date:
            raise ValueError("start_date is after end_date")


class VisitFilters(msgspec.Struct, frozen=True):
    """The filters of a visit search."""

    company_id: str | UnsetType = UNSET
    location_country_codes: list[str] = []
    location_cities: list[str] = []


class VisitSearch(VisitDates, frozen=True):
    """The body of a visit search."""

    filters: VisitFilters = VisitFilters()


def search_web_visits(query: Query) -> OperationResult:
    """Return the visits of a date range in order of time."""
    includes = query.include({"company"})
    visit_ids = _matching_visit_ids(query, query.decode_body(VisitSearch))
    return numbered_page(
        query,
        visit_ids,
        lambda visit_id: _web_visit(query, visit_id, includes),
        max_rows=query.state.max_search_rows,
    )


def _matching_visit_ids(query: Query, search: VisitSearch) -> Sequence[str]:
    world, filters = query.state.world, search.filters
    if filters == VisitFilters():
        return world.visit_ids(search.start_date, search.end_date)
    return world.matching_visit_ids(
        search.start_date,
        search.end_date,
        company_id=None if isinstance(filters.company_id, UnsetType) else filters.company_id,
        country_codes=frozenset(filters.location_country_codes),
        cities=frozenset(filters.location_cities),
    )


def retrieve_visitor_companies(query: Query) -> OperationResult:
    """Return each company and location that visited in a date range."""
    includes = query.include({"company"})
    dates = query.decode_params(VisitDates)
    return numbered_page(
        query,
        query.state.world.visitor_companies(dates.start_date, dates.end_date),
        lambda visitor: _company_location(query, *visitor, includes),
        max_rows=query.state.max_search_rows,
    )


def _web_visit(query: Query, visit_id: str, includes: set[str]) -> Json:
    world = query.state.world
    location = world.location_of_visit(visit_id)
    return {
        "id": visit_id,
        "type": "web_visit",
        "attributes": world.visit(visit_id),
        "relationships": {
            "company": company_reference(query, world.company_of_visit(visit_id), includes),
            "location": {
                "id": f"loc-{location}",
                "type": "visit_location",
                "attributes": location_attributes(location),
            },
        },
    }


def _company_location(query: Query, company_id: str, location: int, includes: set[str]) -> Json:
    return {
        "id": f"{company_id}-loc-{location}",
        "type": "company_location",
        "attributes": {},
        "relationships": {
            "company": company_reference(query, company_id, includes),
            "location": {"id": f"loc-{location}", "type": "location", "attributes": location_attributes(location)},
        },
    }


def get_web_visits_tracker_script(query: Query) -> OperationResult:
    """Return the tracker script of the account."""
    attributes = {"script_hash": "bElvO73XgLn7ZMqj", "script_html": "<script></script>", "status": "active"}
    return OperationResult(
        {"id": query.require_account().id, "type": "web_visits_tracker_script", "attributes": attributes}
    )


ROUTES = (
    Route("POST", "/v1/web-visits", search_web_visits, ("include",), pagination="number"),
    Route(
        "GET",
        "/v1/web-visits/companies",
        retrieve_visitor_companies,
        ("start_date", "end_date", "custom_feed_id", "include"),
        pagination="number",
    ),
    Route("GET", "/v1/web-visits/tracker", get_web_visits_tracker_script),
)
