"""``leadfeeder brief``: rank the companies that visited."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from datetime import date, datetime, time, timedelta
from typing import Annotated, TypeVar

import msgspec
from cyclopts import Parameter

from leadfeeder_async.cli.dates import parse_day, parse_start
from leadfeeder_async.cli.options import DEFAULT_OUTPUT, AccountId, DisplayOptions, TimeZone
from leadfeeder_async.cli.printing import format_charge, pluralize, print_err
from leadfeeder_async.cli.ranking import REENGAGED_AFTER_DAYS, CompanyActivity, PriorVisits, RankBy, rank
from leadfeeder_async.cli.record_tables import schema_of_names, show_records, to_record
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import BadRequestError, NotFoundError, check_argument
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.date_range import LATEST_START_OF_DAY, DateWindow, parse_time_zone
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.local_days import days_around
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.problems import ProblemLog

T = TypeVar("T", bound=HasId)

MAX_HISTORY = 3_660
"""The most days of ``--history``."""

BRIEF = schema_of_names(
    "id",
    "company",
    "country",
    "status",
    "visits",
    "pages",
    "minutes",
    "intent",
    "last_visit",
    columns={
        "company": "company",
        "country": "country",
        "status": "status",
        "visits": "visits",
        "minutes": "minutes",
        "intent": "intent",
        "id": "id",
    },
    never_truncated=("id", "status"),
)


async def brief(
    *,
    since: Annotated[
        str, Parameter(help="The start: `24h` for hours, `7d` for days, `today`, `yesterday` or YYYY-MM-DD.")
    ] = "24h",
    until: Annotated[str, Parameter(help="The last day: YYYY-MM-DD, `today` or `yesterday`.")] = "today",
    history: Annotated[int, Parameter(help="The number of days to look back for earlier visits.")] = 90,
    by: Annotated[RankBy, Parameter(help="The value to sort by.")] = "intent",
    limit: Annotated[int | None, Parameter(help="Show at most this many companies.")] = None,
    tz: TimeZone = "UTC",
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> None:
    """Rank the companies that visited your website.

    The status of a company is new (no earlier visit within --history), re-engaged (first visit after 30 days or more)
    or returning.

    Sends one request for each 100 visits, and one for each 100 companies that visited before. The time zone of the
    API's days is not documented, so all of its days that may contain the period are read.

    Credits: none.
    """
    BRIEF.check_fields(output)
    check_argument(
        REENGAGED_AFTER_DAYS < history <= MAX_HISTORY,
        f"--history {history} must be more than {REENGAGED_AFTER_DAYS} and at most {MAX_HISTORY:,} days.",
    )
    check_argument(limit is None or limit >= 0, f"--limit {limit} must be at least 0.")
    now = datetime.now(parse_time_zone(tz))
    start = parse_start(since, now)
    last_day = parse_day(until, now.date())
    check_argument(start.date() > date.min + timedelta(MAX_HISTORY), f"--since {since} is too early.")
    check_argument(last_day < date.max - timedelta(1), f"--until {until} is too late.")
    end = datetime.combine(last_day + timedelta(1), time(), now.tzinfo)
    check_argument(start < end, f"--since {since} is after --until {until}.")
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        days, around = DateWindow(start.date(), last_day), days_around(start, end)
        problems = ProblemLog()
        visits = await _read_visits(lf, days, around, end, problems)
        prior = await _prior_visits(lf, days.start, around.start, history, problems)
        ranked = rank(visits, start, prior, by)
        cost = f"{pluralize(lf.stats.requests, 'request')}, {format_charge(lf.stats.credits_charged)}."
    show_records([to_record(_in_time_zone(activity, now)) for activity in ranked[:limit]], BRIEF, output, "company")
    print_err(f"{_summary(ranked, start, tz)} {cost}")
    problems.raise_any()


async def _read_visits(
    lf: AsyncLeadfeeder, days: DateWindow, around: DateWindow, end: datetime, problems: ProblemLog
) -> list[WebVisit]:
    """Return the visits of some days of the API and of those around them, without those after the period.

    A visit without a time only counts on a day of the period.

    Args:
        lf: The client.
        days: The days of the period.
        around: The days of the API that may contain a part of it.
        end: The end of the period.
        problems: Receives the visits that could not be read.
    """
    before = DateWindow(around.start, days.start - timedelta(1))
    after = DateWindow(days.end + timedelta(1), around.end)
    found = dict[object, WebVisit]()
    for window in (before, days, after):
        try:
            visits = await _read_days_until_today(lf, window, problems)
        except BadRequestError:
            if window is not before:
                raise
            continue  # the API may reject the days before the account began
        for visit in visits:
            if (window is days) if visit.started_at is None else visit.started_at < end:
                found.setdefault(visit.id or object(), visit)  # visits without an id are different visits
    return list(found.values())


async def _read_days_until_today(lf: AsyncLeadfeeder, days: DateWindow, problems: ProblemLog) -> list[WebVisit]:
    """Return the visits of some days. If the API rejects days that have not begun, leave them out.

    In the time zone of the API, the current day in UTC may not have begun, or the next one may have.
    """
    end = days.end
    while days.start <= end:
        search = lf.web_visits.search(start_date=days.start, end_date=end, include=["company"])
        try:
            return await _collect(search, problems)
        except (BadRequestError, NotFoundError):
            if end <= (lf.server_now() - timedelta(hours=LATEST_START_OF_DAY)).date():
                raise
        end -= timedelta(1)
    return []


async def _collect(pager: Pager[T], problems: ProblemLog) -> list[T]:
    """Return the rows of a list. Rows that could not be read are added to ``problems``."""
    rows = list[T]()
    async with aclosing(pager.pages()) as pages:
        async for page in pages:
            rows += page.items
            problems.add(page)
    return rows


async def _prior_visits(
    lf: AsyncLeadfeeder, first_day: date, first_read: date, history: int, problems: ProblemLog
) -> PriorVisits:
    """Return the companies that visited before the period.

    Args:
        lf: The client.
        first_day: The first day of the period.
        first_read: The first day of the visits that are read one by one.
        history: The number of days before the period.
        problems: Receives the companies that could not be read.
    """
    recent_start, history_start = first_day - timedelta(REENGAGED_AFTER_DAYS), first_day - timedelta(history)
    rejected = list[date]()

    async def company_ids(start: date, end: date) -> set[str]:
        """Return the companies that visited on some days, or an empty set if the API rejects the last of these days.

        The API may reject the days before the account began. The last day of each rejected range is recorded.
        """
        try:
            visitors = await _collect(lf.web_visits.companies(start_date=start, end_date=end), problems)
            return {row.company.id for row in visitors if row.company}
        except BadRequestError:
            is_end = start >= end
        if is_end:
            rejected.append(end)
            return set()
        middle = start + (end - start) / 2
        later = await company_ids(middle + timedelta(1), end)
        return later if end in rejected else later | await company_ids(start, middle)

    prior = PriorVisits(
        recent=await company_ids(recent_start, first_read - timedelta(1)),
        older=await company_ids(history_start, recent_start - timedelta(1)),
    )
    if rejected:
        print_err(f"Visits up to {max(rejected)} are not known, because the API rejected these days.")
    return prior


def _in_time_zone(activity: CompanyActivity, now: datetime) -> CompanyActivity:
    last_visit = activity.last_visit and activity.last_visit.astimezone(now.tzinfo)
    return msgspec.structs.replace(activity, last_visit=last_visit)


def _summary(ranked: list[CompanyActivity], since: datetime, tz: str) -> str:
    statuses = Counter(activity.status for activity in ranked)
    counts = ", ".join(f"{statuses[status]:,} {status}" for status in ("new", "returning", "re-engaged"))
    visits = pluralize(sum(activity.visits for activity in ranked), "visit")
    return f"{pluralize(len(ranked), 'company')} and {visits} since {since:%Y-%m-%d %H:%M} {tz}: {counts}."
