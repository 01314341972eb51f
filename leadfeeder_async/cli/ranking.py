"""Pure: from visits to companies in the order in which a person should look at them."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from leadfeeder_async.models.records import WebVisit

VisitCategory: TypeAlias = Literal["new", "returning", "re-engaged"]
By: TypeAlias = Literal["intent", "minutes", "visits"]

GAP = 30
"""Days without a visit after which a company that comes back is re-engaged."""


class PriorVisits(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of companies that visited before the period."""

    lately: AbstractSet[str] = frozenset()
    """In the last 30 days before it."""
    long_ago: AbstractSet[str] = frozenset()
    """Before those."""


class CompanyActivity(msgspec.Struct, frozen=True, kw_only=True):
    """One company and its visits in the period."""

    id: str
    company: str | None
    country: str | None
    standing: VisitCategory
    visits: int
    pages: int
    minutes: float
    intent: float | None
    """0 to 10; None where the API does not show it."""
    last_visit: datetime | None


def rank(visits: Iterable[WebVisit], since: datetime, earlier: PriorVisits, by: By = "intent") -> list[CompanyActivity]:
    """Rank the companies that visited from ``since`` on, the most of ``by`` first; what is unknown comes last.

    Visits before ``since`` only tell who was here lately: the API gives whole days. Visits without a company are no
    one's, and are left out.
    """
    lately = set(earlier.lately)
    by_company = dict[str, list[WebVisit]]()
    for visit in visits:
        if visit.company is None:
            continue
        if visit.started_at is not None and visit.started_at < since:
            lately.add(visit.company.id)
        else:
            by_company.setdefault(visit.company.id, []).append(visit)
    found = [_visiting(one, _standing(key, lately, earlier.long_ago)) for key, one in by_company.items()]
    return sorted(found, key=lambda one: _order(one, by))


def _visiting(visits: list[WebVisit], standing: VisitCategory) -> CompanyActivity:
    company = visits[-1].company
    assert company is not None
    about, location = company.attributes, visits[-1].location
    return CompanyActivity(
        id=company.id,
        company=company.name,
        country=about.address.country_code if about.address else (location.country_code if location else None),
        standing=standing,
        visits=len(visits),
        pages=sum(visit.attributes.page_depth or 0 for visit in visits),
        minutes=round(sum(visit.attributes.visit_length or 0 for visit in visits) / 60, 1),
        intent=about.intent.score if about.intent else None,
        last_visit=max((visit.started_at for visit in visits if visit.started_at), default=None),
    )


def _standing(company_id: str, lately: AbstractSet[str], long_ago: AbstractSet[str]) -> VisitCategory:
    if company_id in lately:
        return "returning"
    return "re-engaged" if company_id in long_ago else "new"


def _order(one: CompanyActivity, by: By) -> tuple[float | str, ...]:
    """Sort by what was asked for, then by the others, then by name."""
    intent = -1.0 if one.intent is None else one.intent
    first = {"intent": intent, "minutes": one.minutes, "visits": float(one.visits)}[by]
    return (-first, -intent, -one.minutes, -one.visits, one.company or "", one.id)
