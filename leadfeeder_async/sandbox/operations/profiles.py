"""ICPs, buyer personas and campaigns. A sandbox has a few fixed ones."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec

from leadfeeder_async.sandbox.query import Operation, OperationResult, Query, Route, numbered_page
from leadfeeder_async.sandbox.sample_data import Json, hash_mix
from leadfeeder_async.sandbox.server_state import ApiError


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
_CAMPAIGN_RELATIONS = ("campaign_summary", "campaign_settings", "campaign_locations", "list", "custom_feed")


def list_icps(_: Query) -> OperationResult:
    """Return the ideal customer profiles."""
    return OperationResult(ICPS)


def list_buyer_personas(_: Query) -> OperationResult:
    """Return the buyer personas."""
    return OperationResult(PERSONAS)


def list_campaigns(query: Query) -> OperationResult:
    """Return the campaigns."""
    query.include(_CAMPAIGN_RELATIONS)
    return numbered_page(query, CAMPAIGNS, lambda campaign: campaign)


def get_campaign(query: Query) -> OperationResult:
    """Return a campaign."""
    query.include(_CAMPAIGN_RELATIONS)
    return OperationResult(_require_record(query, CAMPAIGNS))


class StatsDates(msgspec.Struct, frozen=True):
    """The days to report campaign statistics for, both included."""

    start_period: date
    end_period: date
    frequency: str

    def __post_init__(self) -> None:
        if self.start_period > self.end_period:
            raise ValueError("start_period is after end_period")


def get_campaign_stats(query: Query) -> OperationResult:
    """Return the statistics of a campaign, one record for each day."""
    dates = query.decode_params(StatsDates)
    campaign = _require_record(query, CAMPAIGNS)
    day_count = (dates.end_period - dates.start_period).days + 1
    return numbered_page(
        query, range(day_count), lambda offset: _campaign_stats(campaign, dates.start_period + timedelta(offset))
    )


def _campaign_stats(campaign: Json, day: date) -> Json:
    bits = hash_mix(len(str(campaign["id"])), day.toordinal())
    return _record("campaign_stats", str(day), impressions=bits % 2_000, clicks=bits % 17)


def _require_record(query: Query, records: tuple[Json, ...]) -> Json:
    for record in records:
        if record["id"] == query.path_params["id"]:
            return record
    raise ApiError(404, "entity_not_found", "No such record")


def _get_operation(records: tuple[Json, ...], name: str) -> Operation:
    def get(query: Query) -> OperationResult:
        return OperationResult(_require_record(query, records))

    get.__name__ = name
    return get


ROUTES = (
    Route("GET", "/v1/icps", list_icps),
    Route("GET", "/v1/icps/{id}", _get_operation(ICPS, "get_icp")),
    Route("GET", "/v1/buyer-personas", list_buyer_personas),
    Route("GET", "/v1/buyer-personas/{id}", _get_operation(PERSONAS, "get_buyer_persona")),
    Route("GET", "/v1/campaigns", list_campaigns, ("include",), pagination="number"),
    Route("GET", "/v1/campaigns/{id}", get_campaign, ("include",)),
    Route(
        "GET",
        "/v1/campaigns/{id}/stats",
        get_campaign_stats,
        ("start_period", "end_period", "frequency"),
        pagination="number",
    ),
)
