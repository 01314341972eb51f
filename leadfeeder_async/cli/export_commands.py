"""``leadfeeder export``: one command for each list worth a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import App, Parameter

from leadfeeder_async.budget import Budget
from leadfeeder_async.cli import terminal
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import check_argument
from leadfeeder_async.jobs.resumable_file import load_unfinished
from leadfeeder_async.models.companies import Signal
from leadfeeder_async.pagination.date_range import parse_relative_date
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.pager import Pager

T = TypeVar("T", bound=HasId)

export = App(name="export", help="Write a list to a file, or to stdout: one JSON object a line.")

Out = Annotated[Path | None, Parameter(help="The file to write: .ndjson, .csv or .parquet; without it, stdout.")]
Resume = Annotated[bool, Parameter(negative=(), help="Go on where an unfinished export of the same query stopped.")]
Overwrite = Annotated[bool, Parameter(negative=(), help="Replace the file if it exists.")]
AccountId = Annotated[str | None, Parameter(help="The account; needed where the key has several.")]
Limit = Annotated[int | None, Parameter(help="Stop after this many rows.")]
Since = Annotated[str, Parameter(help="The first day: YYYY-MM-DD, `today`, `yesterday`, or `30d` for 30 days.")]
Until = Annotated[str, Parameter(help="The last day, included: YYYY-MM-DD or `today`.")]
Terms = Annotated[list[str] | None, Parameter(negative=(), help="A word to search for; may be repeated.")]
IcpIds = Annotated[list[str] | None, Parameter(negative=(), help="Fits this customer profile; may be repeated.")]
MaxCredits = Annotated[int | None, Parameter(help="Stop before more credits than this are charged.")]


@Parameter(name="*")
class OutputTarget:
    """Where the rows go, the same for every list."""

    def __init__(
        self,
        *,
        out: Out = None,
        resume: Resume = False,
        overwrite: Overwrite = False,
        account_id: AccountId = None,
        limit: Limit = None,
    ) -> None:
        self.out, self.resume, self.overwrite = out, resume, overwrite
        self.account_id, self.limit = account_id, limit


async def write(
    noun: str, target: OutputTarget | None, pager_of: Callable[[AsyncLeadfeeder, int | None], Pager[T]]
) -> None:
    """Open a client and write one of its lists."""
    to = target or OutputTarget()
    async with AsyncLeadfeeder(account_id=to.account_id) as lf:
        pager = pager_of(lf, to.limit)
        await terminal.export(pager, lf.stats, to.out, noun, limit=to.limit, resume=to.resume, overwrite=to.overwrite)


@export.command
async def visits(
    *,
    since: Since = "30d",
    until: Until = "today",
    company_id: Annotated[str | None, Parameter(help="Only visits of this company.")] = None,
    include_company: Annotated[bool, Parameter(negative=(), help="Show each company whole.")] = False,
    target: OutputTarget | None = None,
) -> None:
    """Export the visits of some days; free, and complete past the API's 10,000 rows."""
    include = ["company"] if include_company else None
    start, end = _days(since, until, target)
    await write(
        "visits",
        target,
        lambda lf, limit: lf.web_visits.search(
            start_date=start, end_date=end, company_id=company_id, include=include, limit=limit
        ),
    )


@export.command
async def visitor_companies(
    *,
    since: Since = "30d",
    until: Until = "today",
    custom_feed_id: Annotated[str | None, Parameter(help="Only companies of this custom feed.")] = None,
    include_company: Annotated[bool, Parameter(negative=(), help="Show each company whole.")] = False,
    target: OutputTarget | None = None,
) -> None:
    """Export the companies that visited in some days, one row for each company and place; free."""
    include = ["company"] if include_company else None
    start, end = _days(since, until, target)
    await write(
        "visitor companies",
        target,
        lambda lf, limit: lf.web_visits.companies(
            start_date=start, end_date=end, custom_feed_id=custom_feed_id, include=include, limit=limit
        ),
    )


@export.command
async def companies(
    *,
    term: Terms = None,
    country: Annotated[list[str] | None, Parameter(negative=(), help="A country code; may be repeated.")] = None,
    icp_id: IcpIds = None,
    target: OutputTarget | None = None,
) -> None:
    """Export the summaries of a company search; free."""
    locations = [{"country_code": code} for code in country] if country else None
    check_argument(term or country or icp_id, "There is nothing to search for.", "Give --term, --country or --icp-id.")
    await write(
        "companies",
        target,
        lambda lf, limit: lf.companies.search(search_terms=term, locations=locations, icp_ids=icp_id, limit=limit),
    )


@export.command
async def contacts(
    *,
    term: Terms = None,
    company_id: Annotated[list[str] | None, Parameter(negative=(), help="Of this company; may be repeated.")] = None,
    position: Annotated[list[str] | None, Parameter(negative=(), help="A job title; may be repeated.")] = None,
    target: OutputTarget | None = None,
) -> None:
    """Export the summaries of a contact search; free."""
    await write(
        "contacts",
        target,
        lambda lf, limit: lf.contacts.search(
            search_terms=term, company_ids=company_id, positions=position, limit=limit
        ),
    )


@export.command
async def signals(
    *,
    company_id: Annotated[list[str], Parameter(negative=(), help="Of this company; may be repeated.")],
    max_credits: MaxCredits = None,
    target: OutputTarget | None = None,
) -> None:
    """Export the news about some companies; charges 1 credit for each that has news and is not unlocked."""

    def pager_of(lf: AsyncLeadfeeder, limit: int | None) -> Pager[Signal]:
        capped = lf if max_credits is None else lf.with_options(budget=Budget(max_credits=max_credits))
        return capped.companies.search_signals(company_ids=company_id, limit=limit)

    await write("signals", target, pager_of)


@export.command
async def tags(*, target: OutputTarget | None = None) -> None:
    """Export the account's tags; free."""
    await write("tags", target, lambda lf, limit: lf.tags.list(limit=limit))


@export.command
async def lists(
    *,
    scope: Annotated[Literal["company", "contact"], Parameter(help="Lists of companies, or of contacts.")] = "company",
    target: OutputTarget | None = None,
) -> None:
    """Export the account's lists; free."""
    await write("lists", target, lambda lf, limit: lf.lists.list(scope=scope, limit=limit))


def _days(since: str, until: str, target: OutputTarget | None) -> tuple[date, date]:
    """Read the days asked for; an export that goes on keeps the `today` of the day on which it began."""
    today = datetime.now(UTC).date()
    if target is not None and target.resume and target.out is not None:
        found = load_unfinished(target.out)
        if found is not None and found.days is not None:
            today = min(today, _export_start_date(until, found.days.end, today))
    start, end = read_day(since, today), read_day(until, today)
    check_argument(start <= end, f"--since {start} is after --until {end}.")
    return start, end


def _export_start_date(text: str, day: date, today: date) -> date:
    """Return the day on which ``text`` stood for ``day``; ``today`` where it always stands for one, as 2026-11-01."""
    now = read_day(text, today)
    return today if now == read_day(text, today + timedelta(1)) else day + (today - now)


def read_day(text: str, today: date | None = None) -> date:
    """Read a day as people write it; ``today`` is that of UTC unless given."""
    hours = text.endswith("h") and text[:-1].isdecimal()
    check_argument(not hours, f"{text!r} is no day: only `brief` counts in hours.", "`1d` is today.")
    return parse_relative_date(text, today or datetime.now(UTC).date())
