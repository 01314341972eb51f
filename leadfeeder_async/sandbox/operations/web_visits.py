"""Visits and the companies behind them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async.sandbox.operations.companies import company
from leadfeeder_async.sandbox.query import Json, OperationResult, Query, Route, numbered
from leadfeeder_async.sandbox.world import place


class Days(msgspec.Struct, frozen=True):
    """The days of a search, both included."""

    start_date: date
    end_date: date

    def __post_init__(self) -> None:
        if self.start_date > self.end_date:
            raise ValueError("start_date is after end_date")


class VisitFilters(msgspec.Struct, frozen=True):
    """What narrows a visit search."""

    company_id: str | UnsetType = UNSET
    location_country_codes: list[str] = []
    location_cities: list[str] = []


class VisitSearch(Days, frozen=True):
    """The body of a visit search."""

    filters: VisitFilters = VisitFilters()


def search_web_visits(query: Query) -> OperationResult:
    """Visits of some days, in order of time."""
    whole = "company" in query.includes({"company"})
    asked, world = query.read(VisitSearch), query.state.world
    filters = asked.filters
    if filters == VisitFilters():
        rows: Sequence[int] = world.visits_between(asked.start_date, asked.end_date)
    else:
        rows = world.visits_matching(
            asked.start_date,
            asked.end_date,
            None if isinstance(filters.company_id, UnsetType) else filters.company_id,
            frozenset(filters.location_country_codes),
            frozenset(filters.location_cities),
        )
    return numbered(query, rows, lambda visit: _visit(query, visit, whole=whole), wall=True)


def retrieve_visitor_companies(query: Query) -> OperationResult:
    """Companies behind the visits of some days, by place."""
    whole = "company" in query.includes({"company"})
    days = query.read_params(Days)
    rows = query.state.world.visitors_between(days.start_date, days.end_date)
    return numbered(query, rows, lambda row: _visitor(query, *row, whole=whole), wall=True)


def _visit(query: Query, visit: int, *, whole: bool) -> Json:
    world = query.state.world
    company_id = world.company_of(visit)
    where = world.place_of(company_id, visit)
    return {
        "id": world.visit_id(visit),
        "type": "web_visit",
        "attributes": world.visit(visit),
        "relationships": {
            "company": company(query, company_id) if whole else {"id": company_id, "type": "company"},
            "location": {"id": f"loc-{where}", "type": "visit_location", "attributes": place(where)},
        },
    }


def _visitor(query: Query, company_id: str, where: int, *, whole: bool) -> Json:
    return {
        "id": f"{company_id}-loc-{where}",
        "type": "company_location",
        "attributes": {},
        "relationships": {
            "company": company(query, company_id) if whole else {"id": company_id, "type": "company"},
            "location": {"id": f"loc-{where}", "type": "location", "attributes": place(where)},
        },
    }


def get_web_visits_tracker_script(query: Query) -> OperationResult:
    """The account's tracker."""
    attributes = {"script_hash": "bElvO73XgLn7ZMqj", "script_html": "<script></script>", "status": "active"}
    return OperationResult(
        {"id": query.the_account().id, "type": "web_visits_tracker_script", "attributes": attributes}
    )


ROUTES = (
    Route("POST", "/v1/web-visits", search_web_visits, ("include",), paging="number"),
    Route(
        "GET",
        "/v1/web-visits/companies",
        retrieve_visitor_companies,
        ("start_date", "end_date", "custom_feed_id", "include"),
        paging="number",
    ),
    Route("GET", "/v1/web-visits/tracker", get_web_visits_tracker_script),
)
