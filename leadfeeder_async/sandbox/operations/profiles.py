"""ICPs, buyer personas and campaigns: a few fixed ones."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec

from leadfeeder_async.sandbox.query import Json, Operation, OperationResult, Query, Route, numbered
from leadfeeder_async.sandbox.server_state import ApiError
from leadfeeder_async.sandbox.world import hash_mix


def _record(type_: str, record_id: str, **attributes: object) -> Json:
    return {"id": record_id, "type": type_, "attributes": attributes}


ICPS = (
    _record("icp", "icp-1", name="DACH manufacturing", criteria={"locations": [{"country_code": "DE"}]}),
    _record("icp", "icp-2", name="Nordic software", criteria={"locations": [{"country_code": "FI"}]}),
)
PERSONAS = (
    _record("buyer_persona", "bp-1", name="Head of Sales", criteria={"departments": ["sales_department"]}),
    _record("buyer_persona", "bp-2", name="Head of IT", criteria={"departments": ["it_department"]}),
)
CAMPAIGNS = (
    _record("campaign", "cmp-1", name="Display DACH", status="active"),
    _record("campaign", "cmp-2", name="Display Nordics", status="paused"),
)


def list_icps(_: Query) -> OperationResult:
    """The ideal customer profiles."""
    return OperationResult(ICPS)


def list_buyer_personas(_: Query) -> OperationResult:
    """The buyer personas."""
    return OperationResult(PERSONAS)


def list_campaigns(query: Query) -> OperationResult:
    """The campaigns, by number."""
    _check_includes(query)
    return numbered(query, CAMPAIGNS, lambda one: one)


def get_campaign(query: Query) -> OperationResult:
    """One campaign."""
    _check_includes(query)
    return OperationResult(_known(query, CAMPAIGNS))


def _check_includes(query: Query) -> None:
    query.includes({"campaign_summary", "campaign_settings", "campaign_locations", "list", "custom_feed"})


class StatsDays(msgspec.Struct, frozen=True):
    """The days of figures."""

    start_period: date
    end_period: date
    frequency: str

    def __post_init__(self) -> None:
        if self.start_period > self.end_period:
            raise ValueError("start_period is after end_period")


def get_campaign_stats(query: Query) -> OperationResult:
    """A campaign's figures, a row a day, by number."""
    days = query.read_params(StatsDays)
    campaign = _known(query, CAMPAIGNS)
    length = (days.end_period - days.start_period).days + 1
    return numbered(query, range(length), lambda day: _stats(campaign, days.start_period + timedelta(day)))


def _stats(campaign: Json, day: date) -> Json:
    bits = hash_mix(len(str(campaign["id"])), day.toordinal())
    return _record("campaign_stats", str(day), impressions=bits % 2_000, clicks=bits % 17)


def _known(query: Query, records: tuple[Json, ...]) -> Json:
    for one in records:
        if one["id"] == query.ids["id"]:
            return one
    raise ApiError(404, "entity_not_found", "No such record")


def _getting(records: tuple[Json, ...], name: str) -> Operation:
    def get(query: Query) -> OperationResult:
        return OperationResult(_known(query, records))

    get.__name__ = name
    return get


ROUTES = (
    Route("GET", "/v1/icps", list_icps),
    Route("GET", "/v1/icps/{id}", _getting(ICPS, "get_icp")),
    Route("GET", "/v1/buyer-personas", list_buyer_personas),
    Route("GET", "/v1/buyer-personas/{id}", _getting(PERSONAS, "get_buyer_persona")),
    Route("GET", "/v1/campaigns", list_campaigns, ("include",), paging="number"),
    Route("GET", "/v1/campaigns/{id}", get_campaign, ("include",)),
    Route(
        "GET",
        "/v1/campaigns/{id}/stats",
        get_campaign_stats,
        ("start_period", "end_period", "frequency"),
        paging="number",
    ),
)
