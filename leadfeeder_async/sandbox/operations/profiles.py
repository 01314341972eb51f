"""ICPs, buyer personas and campaigns. A sandbox has a few fixed ones."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import msgspec

from leadfeeder_async.sandbox.operations.stored_records import with_name
from leadfeeder_async.sandbox.pages import numbered_page
from leadfeeder_async.sandbox.query import Operation, OperationResult, Query, Route
from leadfeeder_async.sandbox.sample_data import Json, hash_mix
from leadfeeder_async.sandbox.server_state import ApiError


def _record(type_: str, record_id: str, **attributes: object) -> Json:
    return {"id": record_id, "type": type_, "attributes": attributes}


def _icp(record_id: str, name: str, country_code: str) -> Json:
    return _record("icp", record_id, name=name, criteria={"locations": [{"country_code": country_code}]})


def _persona(record_id: str, name: str, department: str) -> Json:
    return _record("buyer_persona", record_id, name=name, criteria={"departments": [department]})


_ICP_COUNTRIES = {"icp-1": "DE", "icp-2": "FI"}
_PERSONA_DEPARTMENTS = {"bp-1": "sales_department", "bp-2": "it_department"}
ICPS = (
    _icp("icp-1", "DACH manufacturing", _ICP_COUNTRIES["icp-1"]),
    _icp("icp-2", "Nordic software", _ICP_COUNTRIES["icp-2"]),
)
PERSONAS = (
    _persona("bp-1", "Head of Sales", _PERSONA_DEPARTMENTS["bp-1"]),
    _persona("bp-2", "Head of IT", _PERSONA_DEPARTMENTS["bp-2"]),
)
CAMPAIGNS = (
    _record("campaign", "cmp-1", name="Display DACH", status="active"),
    _record("campaign", "cmp-2", name="Display Nordics", status="paused"),
)
_CAMPAIGN_RELATIONS = ("campaign_summary", "campaign_settings", "campaign_locations", "list", "custom_feed")


def matching_icps(company: Json) -> list[Json]:
    """Return the ICPs that a company meets."""
    address = company.get("address")
    country_code = (
        msgspec.convert(address, dict[str, object]).get("country_code") if isinstance(address, dict) else None
    )
    return [icp for icp in ICPS if _ICP_COUNTRIES[str(icp["id"])] == country_code]


def matching_personas(contact: Json) -> list[Json]:
    """Return the buyer personas that a contact meets."""
    departments = msgspec.convert(contact["departments"], list[str])
    return [persona for persona in PERSONAS if _PERSONA_DEPARTMENTS[str(persona["id"])] in departments]


def require_icps(query: Query, icp_ids: list[str]) -> set[str]:
    """Return the ids of known ICPs, or raise a 404 error if one is unknown."""
    return _require_ids(query, icp_ids, _ICP_COUNTRIES, "ICP")


def require_personas(query: Query, persona_ids: list[str]) -> set[str]:
    """Return the ids of known buyer personas, or raise a 404 error if one is unknown."""
    return _require_ids(query, persona_ids, _PERSONA_DEPARTMENTS, "buyer persona")


def _require_ids(query: Query, record_ids: list[str], known: Iterable[str], kind: str) -> set[str]:
    unknown = sorted(set(record_ids) - set(known))
    if unknown and not query.state.lax:
        raise ApiError(404, "entity_not_found", f"No such {kind}: {unknown[0]}")
    return set(record_ids).intersection(known)


def list_icps(_: Query) -> OperationResult:
    """Return the ideal customer profiles."""
    return OperationResult(ICPS)


def list_buyer_personas(_: Query) -> OperationResult:
    """Return the buyer personas."""
    return OperationResult(PERSONAS)


def list_campaigns(query: Query) -> OperationResult:
    """Return the campaigns."""
    return numbered_page(query, CAMPAIGNS, lambda campaign: campaign)


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

    return with_name(get, name)


ROUTES = (
    Route("GET", "/v1/icps", list_icps),
    Route("GET", "/v1/icps/{id}", _get_operation(ICPS, "get_icp")),
    Route("GET", "/v1/buyer-personas", list_buyer_personas),
    Route("GET", "/v1/buyer-personas/{id}", _get_operation(PERSONAS, "get_buyer_persona")),
    Route("GET", "/v1/campaigns", list_campaigns, ("include",), _CAMPAIGN_RELATIONS, pagination="number"),
    Route("GET", "/v1/campaigns/{id}", _get_operation(CAMPAIGNS, "get_campaign"), ("include",), _CAMPAIGN_RELATIONS),
    Route(
        "GET",
        "/v1/campaigns/{id}/stats",
        get_campaign_stats,
        ("start_period", "end_period", "frequency"),
        pagination="number",
    ),
)
