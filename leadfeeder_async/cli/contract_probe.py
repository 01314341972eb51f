"""Try the paths that no public source states, without a charge and without a change.

An inferred operation is tried if it is free and only reads. If it needs an id, the id comes from the first record of a
list.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Literal, TypeAlias

import msgspec

from leadfeeder_async._core.routes import UNKNOWN_ROUTE_STATUSES
from leadfeeder_async.cli.dates import utc_today
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import AuthenticationError, LeadfeederError
from leadfeeder_async.models.campaigns import CampaignStats

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


async def _tag_id(lf: AsyncLeadfeeder) -> str | None:
    tag = await lf.tags.list().first()
    return tag.id if tag else None


async def _custom_field_id(lf: AsyncLeadfeeder) -> str | None:
    field = await lf.custom_fields.list().first()
    return field.id if field else None


async def _campaign_id(lf: AsyncLeadfeeder) -> str | None:
    campaign = await lf.campaigns.list().first()
    return campaign.id if campaign else None


async def _custom_feed_id(lf: AsyncLeadfeeder) -> str | None:
    feed = await lf.custom_feeds.list().first()
    return feed.id if feed else None


async def _icp_id(lf: AsyncLeadfeeder) -> str | None:
    icp = await lf.icps.list().first()
    return icp.id if icp else None


async def _buyer_persona_id(lf: AsyncLeadfeeder) -> str | None:
    persona = await lf.buyer_personas.list().first()
    return persona.id if persona else None


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
"""The inferred operations that need no id."""

RECORD_PROBES: Mapping[str, tuple[FindId, CallWithId]] = {
    "get_custom_feed": (_custom_feed_id, lambda lf, record_id: lf.custom_feeds.get(record_id)),
    "get_tag": (_tag_id, lambda lf, record_id: lf.tags.get(record_id)),
    "get_custom_field": (_custom_field_id, lambda lf, record_id: lf.custom_fields.get(record_id)),
    "get_campaign": (_campaign_id, lambda lf, record_id: lf.campaigns.get(record_id)),
    "get_campaign_stats": (_campaign_id, _first_stats),
    "get_icp": (_icp_id, lambda lf, record_id: lf.icps.get(record_id)),
    "get_buyer_persona": (_buyer_persona_id, lambda lf, record_id: lf.buyer_personas.get(record_id)),
}
"""The inferred operations that need the id of a record."""


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
