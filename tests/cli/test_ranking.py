"""The ranking of companies by their visits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from leadfeeder_async.cli.ranking import PriorVisits, rank
from leadfeeder_async.models.records import (
    Company,
    CompanyAttributes,
    WebVisit,
    WebVisitAttributes,
    WebVisitRelationships,
)
from leadfeeder_async.models.values import Intent

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SINCE = NOW - timedelta(hours=24)


def visit(company: str | None, hours_ago: float, *, seconds: float = 60, intent: float | None = None) -> WebVisit:
    attributes = CompanyAttributes(name=company, intent=None if intent is None else Intent(score=intent))
    return WebVisit(
        id=f"{company}{hours_ago}",
        attributes=WebVisitAttributes(started_at=NOW - timedelta(hours=hours_ago), visit_length=seconds, page_depth=2),
        relationships=WebVisitRelationships(company=Company(id=company, attributes=attributes) if company else None),
    )


VISITS = [
    visit("a", 1, seconds=600), visit("b", 2, intent=7.5), visit("c", 3, seconds=900), visit("c", 30),
    visit("d", 1), visit(None, 1), visit("a", 5),
]  # fmt: skip
PRIOR = PriorVisits(recent={"a"}, older={"a", "b"})


def test_rank_by_intent() -> None:
    """Companies are sorted by intent and then by minutes, with a status from their earlier visits."""
    ranked = rank(VISITS, SINCE, PRIOR)
    assert [(activity.id, activity.status, activity.visits, activity.minutes) for activity in ranked] == [
        ("b", "re-engaged", 1, 1.0), ("c", "returning", 1, 15.0), ("a", "returning", 2, 11.0), ("d", "new", 1, 1.0),
    ]  # fmt: skip


def test_rank_by_visits() -> None:
    """Companies can be sorted by the number of visits."""
    assert [activity.id for activity in rank(VISITS, SINCE, PRIOR, "visits")] == ["a", "b", "c", "d"]
