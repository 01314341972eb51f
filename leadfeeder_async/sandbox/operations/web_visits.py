"""Web visits, the companies that made them, and the tracker script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async.sandbox.operations.company_records import company_reference
from leadfeeder_async.sandbox.operations.custom_feeds import feed_visits
from leadfeeder_async.sandbox.operations.visit_records import web_visit_json
from leadfeeder_async.sandbox.pages import numbered_page
from leadfeeder_async.sandbox.query import OperationResult, Query, Route
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
    visit_ids = _matching_visit_ids(query, query.decode_body(VisitSearch))
    return numbered_page(
        query,
        visit_ids,
        lambda visit_id: _web_visit(query, visit_id),
        max_search_rows=query.state.max_search_rows,
    )


def _matching_visit_ids(query: Query, search: VisitSearch) -> Sequence[str]:
    world, filters = query.state.world, search.filters
    if filters == VisitFilters():
        return world.visit_ids(search.start_date, search.end_date)
    return world.matching_visit_ids(
        search.start_date,
        search.end_date,
        company_id=None if isinstance(filters.company_id, UnsetType) else world.current_company_id(filters.company_id),
        country_codes=frozenset(filters.location_country_codes),
        cities=frozenset(filters.location_cities),
    )


def retrieve_visitor_companies(query: Query) -> OperationResult:
    """Return each company and location that visited in a date range."""
    return numbered_page(
        query,
        _visitors(query, query.decode_params(VisitDates)),
        lambda visitor: _company_location(query, *visitor),
        max_search_rows=query.state.max_search_rows,
    )


def _web_visit(query: Query, visit_id: str) -> Json:
    company_id = query.state.world.company_of_visit(visit_id)
    return web_visit_json(query, visit_id, company_reference(query, company_id))


def _visitors(query: Query, dates: VisitDates) -> Sequence[tuple[str, int]]:
    world, custom_feed_id = query.state.world, query.params.get("custom_feed_id")
    if custom_feed_id is None:
        return world.visitor_companies(dates.start_date, dates.end_date)
    visit_ids = feed_visits(query, custom_feed_id, world.visit_ids(dates.start_date, dates.end_date))
    visitors = ((world.company_of_visit(visit_id), world.location_of_visit(visit_id)) for visit_id in visit_ids)
    return list(dict.fromkeys(visitors))


def _company_location(query: Query, company_id: str, location: int) -> Json:
    return {
        "id": f"{company_id}-loc-{location}",
        "type": "company_location",
        "attributes": {},
        "relationships": {
            "company": company_reference(query, company_id),
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
    Route("POST", "/v1/web-visits", search_web_visits, ("include",), ("company",), pagination="number"),
    Route(
        "GET",
        "/v1/web-visits/companies",
        retrieve_visitor_companies,
        ("start_date", "end_date", "custom_feed_id", "include"),
        ("company",),
        pagination="number",
    ),
    Route("GET", "/v1/web-visits/tracker", get_web_visits_tracker_script),
)
