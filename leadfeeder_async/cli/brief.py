"""``leadfeeder brief``: who visited, in the order in which to look at them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from cyclopts import Parameter

from leadfeeder_async.cli.export_commands import read_day
from leadfeeder_async.cli.ranking import GAP, By, CompanyActivity, PriorVisits, rank
from leadfeeder_async.cli.record_tables import OutputOptions, TableSchema, flat, record_of, show
from leadfeeder_async.cli.terminal import format_charge, pluralize, print_note
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import check_argument

BRIEF = TableSchema(
    flat("id", "company", "country", "standing", "visits", "pages", "minutes", "intent", "last_visit").paths,
    {
        "company": "company",
        "country": "country",
        "standing": "standing",
        "visits": "visits",
        "minutes": "minutes",
        "intent": "intent",
        "id": "id",
    },
    frozenset({"id", "standing"}),
)


async def brief(
    *,
    since: Annotated[str, Parameter(help="`24h`, `7d`, `today`, `yesterday` or YYYY-MM-DD.")] = "24h",
    until: Annotated[str, Parameter(help="The last day, included: YYYY-MM-DD or `today`.")] = "today",
    history: Annotated[int, Parameter(help="Look back this many days to tell new companies from known ones.")] = 90,
    by: Annotated[By, Parameter(help="What counts most.")] = "intent",
    limit: Annotated[int | None, Parameter(help="Show this many at most.")] = None,
    view: OutputOptions | None = None,
) -> None:
    """Rank the companies that visited: intent, minutes, visits, and whether they are new, returning or re-engaged.

    Re-engaged are those that come back after 30 days or more. Free; it costs a request for each 100 visits of the days
    asked for, and one for each 100 companies of the 30 days before and of the rest of the history.
    """
    view = view or OutputOptions()
    BRIEF.chosen(view)
    check_argument(history > GAP, f"--history {history} must be more than {GAP} days.")
    check_argument(limit is None or limit >= 0, f"--limit {limit} must be 0 or more.")
    start, end = read_since(since, datetime.now(UTC)), read_day(until)
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        visits = await lf.web_visits.search(start_date=start.date(), end_date=end, include=["company"]).collect()
        ranked = rank(visits, start, await _earlier(lf, start.date(), history), by)
        cost = f"{pluralize(lf.stats.requests, 'request')}, {format_charge(lf.stats.credits_charged)}"
    show([record_of(one) for one in ranked[:limit]], BRIEF, view, "visits")
    print_note(f"{_summary(ranked, start)} {cost}")


async def _earlier(lf: AsyncLeadfeeder, first: date, history: int) -> PriorVisits:
    """Ask who visited before: rows are companies and places, so that a month costs a few requests."""
    gap, farthest = first - timedelta(GAP), first - timedelta(history)
    return PriorVisits(
        lately=await _visitors(lf, gap, first - timedelta(1)),
        long_ago=await _visitors(lf, farthest, gap - timedelta(1)),
    )


async def _visitors(lf: AsyncLeadfeeder, start: date, end: date) -> set[str]:
    return {row.company.id async for row in lf.web_visits.companies(start_date=start, end_date=end) if row.company}


def _summary(ranked: list[CompanyActivity], since: datetime) -> str:
    standings = Counter(one.standing for one in ranked)
    counts = ", ".join(f"{standings[kind]:,} {kind}" for kind in ("new", "returning", "re-engaged"))
    visits = sum(one.visits for one in ranked)
    return f"{len(ranked):,} companies, {visits:,} visits since {since:%Y-%m-%d %H:%M} UTC: {counts}."


def read_since(text: str, now: datetime) -> datetime:
    """Read the beginning of a period: ``24h``, or a day as :func:`read_day` does."""
    if text.endswith("h") and text[:-1].isdecimal() and 1 <= int(text[:-1]) <= 24 * 366:
        return now - timedelta(hours=int(text[:-1]))
    check_argument(not text.endswith("h"), f"{text!r} is no number of hours.", "Write `24h` for the last 24 hours.")
    return datetime.combine(read_day(text, now.date()), time(), UTC)
