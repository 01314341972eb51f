"""Rank the companies that visited. The functions are pure."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec

from leadfeeder_async.models.records import WebVisit

VisitorStatus: TypeAlias = Literal["new", "returning", "re-engaged"]
RankBy: TypeAlias = Literal["intent", "minutes", "visits", "latest"]

REENGAGED_AFTER_DAYS = 30
"""A company that returns after this many days without a visit is re-engaged."""


_EARLIEST = datetime.min.replace(tzinfo=UTC)


class PriorVisits(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of the companies that visited before a period."""

    recent: AbstractSet[str] = frozenset()
    """Companies that visited in the last 30 days before the period."""
    older: AbstractSet[str] = frozenset()
    """Companies that visited earlier than that."""


class CompanyActivity(msgspec.Struct, frozen=True, kw_only=True):
    """A company and its visits in a period."""

    id: str
    company: str | None
    country: str | None
    status: VisitorStatus
    visits: int
    pages: int
    minutes: float
    intent: float | None
    """The intent score from 0 to 10, or None if the API does not return it."""
    last_visit: datetime | None


def rank(
    visits: Iterable[WebVisit], since: datetime, prior: PriorVisits, by: RankBy = "intent"
) -> list[CompanyActivity]:
    """Return the companies that visited since ``since``, sorted by ``by`` in descending order.

    The API filters by whole days, so ``visits`` can contain earlier visits. These only affect the status of a company.
    Visits without a company are ignored. Unknown values are sorted last.
    """
    recent = set(prior.recent)
    by_company = dict[str, list[WebVisit]]()
    for visit in visits:
        if visit.company is None:
            continue
        if visit.started_at is not None and visit.started_at < since:
            recent.add(visit.company.id)
        else:
            by_company.setdefault(visit.company.id, []).append(visit)
    activities = [
        _company_activity(company_visits, _status(company_id, recent, prior.older))
        for company_id, company_visits in by_company.items()
    ]
    return sorted(activities, key=lambda activity: _sort_key(activity, by))


def _company_activity(visits: list[WebVisit], status: VisitorStatus) -> CompanyActivity:
    latest = max(visits, key=lambda visit: visit.started_at or _EARLIEST)
    company = latest.company
    assert company is not None
    attributes, location = company.attributes, latest.location
    address = attributes.address or location
    return CompanyActivity(
        id=company.id,
        company=company.name,
        country=address.country_code if address else None,
        status=status,
        visits=len(visits),
        pages=sum(visit.attributes.page_depth or 0 for visit in visits),
        minutes=round(sum(visit.attributes.visit_length or 0 for visit in visits) / 60, 1),
        intent=attributes.intent.score if attributes.intent else None,
        last_visit=max((visit.started_at for visit in visits if visit.started_at), default=None),
    )


def _status(company_id: str, recent: AbstractSet[str], older: AbstractSet[str]) -> VisitorStatus:
    if company_id in recent:
        return "returning"
    return "re-engaged" if company_id in older else "new"


def _sort_key(activity: CompanyActivity, by: RankBy) -> tuple[float | str, ...]:
    intent = -1.0 if activity.intent is None else activity.intent
    last_visit = activity.last_visit.timestamp() if activity.last_visit else -1.0
    chosen = {
        "intent": intent,
        "minutes": activity.minutes,
        "visits": float(activity.visits),
        "latest": last_visit,
    }[by]
    return (-chosen, -intent, -activity.minutes, -activity.visits, activity.company or "", activity.id)
