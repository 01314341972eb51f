"""Try the inferred paths, which no public source states. Nothing is charged or changed.

A path is tried if its operation is free and only reads. If the operation needs an id, the id comes from the first
record of a list.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Literal, TypeAlias, TypeVar

import msgspec

from leadfeeder_async._core.routes import UNKNOWN_ROUTE_STATUSES
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import AuthenticationError, LeadfeederError
from leadfeeder_async.models.campaigns import CampaignStats
from leadfeeder_async.pagination.date_range import utc_today
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.pager import Pager

T = TypeVar("T", bound=HasId)

ProbeStatus: TypeAlias = Literal["exists", "missing", "unknown"]
"""The result for a path. ``unknown``: no record to try it with, or an error that says nothing about the path."""

Call: TypeAlias = Callable[[AsyncLeadfeeder], Awaitable[object]]
FindId: TypeAlias = Callable[[AsyncLeadfeeder], Awaitable[str | None]]
CallWithId: TypeAlias = Callable[[AsyncLeadfeeder, str], Awaitable[object]]


class ProbeResult(msgspec.Struct, frozen=True):
    """The result for one operation."""

    operation: str
    status: ProbeStatus
    message: str
    path: str | None = None
    """The path that exists, if it differs from the path in this package."""


def _first_of(list_records: Callable[[AsyncLeadfeeder], Pager[T]]) -> FindId:
    async def find(lf: AsyncLeadfeeder) -> str | None:
        record = await list_records(lf).first()
        return record.id if record else None

    return find


_FIND_CAMPAIGN = _first_of(lambda lf: lf.campaigns.list())


async def _first_stats(lf: AsyncLeadfeeder, campaign_id: str) -> CampaignStats | None:
    today = utc_today()
    return await lf.campaigns.stats(campaign_id, start_period=today, end_period=today, frequency="daily").first()


LIST_PROBES: Mapping[str, Call] = {
    "retrieve_custom_feed_folders": lambda lf: lf.custom_feeds.folders(),
    "get_web_visits_tracker_script": lambda lf: lf.web_visits.tracker_script(),
    "retrieve_custom_fields": lambda lf: lf.custom_fields.list().first(),
    "list_industries": lambda lf: lf.reference.industries(),
    "list_icps": lambda lf: lf.icps.list().first(),
    "list_buyer_personas": lambda lf: lf.buyer_personas.list().first(),
}
"""The operations that have an inferred path and need no id."""

RECORD_PROBES: Mapping[str, tuple[FindId, CallWithId]] = {
    "get_custom_feed": (_first_of(lambda lf: lf.custom_feeds.list()), lambda lf, id_: lf.custom_feeds.get(id_)),
    "get_tag": (_first_of(lambda lf: lf.tags.list()), lambda lf, id_: lf.tags.get(id_)),
    "get_custom_field": (_first_of(lambda lf: lf.custom_fields.list()), lambda lf, id_: lf.custom_fields.get(id_)),
    "get_campaign": (_FIND_CAMPAIGN, lambda lf, id_: lf.campaigns.get(id_)),
    "get_campaign_stats": (_FIND_CAMPAIGN, _first_stats),
    "get_icp": (_first_of(lambda lf: lf.icps.list()), lambda lf, id_: lf.icps.get(id_)),
    "get_buyer_persona": (_first_of(lambda lf: lf.buyer_personas.list()), lambda lf, id_: lf.buyer_personas.get(id_)),
}
"""The operations that have an inferred path and need the id of a record."""


async def probe_paths(lf: AsyncLeadfeeder) -> AsyncGenerator[ProbeResult, None]:
    """Try each inferred path that is free and only reads, and yield the results.

    Raises:
        AuthenticationError: The API rejected the key.
    """
    for operation, call in LIST_PROBES.items():
        yield await _probe(lf, operation, call)
    for operation, (find_id, call_with_id) in RECORD_PROBES.items():
        yield await _probe_record(lf, operation, find_id, call_with_id)


async def _probe_record(lf: AsyncLeadfeeder, operation: str, find_id: FindId, call_with_id: CallWithId) -> ProbeResult:
    try:
        record_id = await find_id(lf)
    except AuthenticationError:
        raise
    except LeadfeederError as error:
        return ProbeResult(operation, "unknown", f"The list of records failed: {error.message}")
    if record_id is None:
        return ProbeResult(operation, "unknown", "The account has no record to request.")
    return await _probe(lf, operation, lambda client: call_with_id(client, record_id))


async def _probe(lf: AsyncLeadfeeder, operation: str, call: Call) -> ProbeResult:
    try:
        await call(lf)
    except AuthenticationError:
        raise
    except LeadfeederError as error:
        if error.status in UNKNOWN_ROUTE_STATUSES:
            return ProbeResult(operation, "missing", f"{error.context.method} {error.context.path} does not exist.")
        return ProbeResult(operation, "unknown", error.message)
    found = lf.paths.get(operation)
    return ProbeResult(operation, "exists", f"{found} exists." if found else "The path exists.", found)
