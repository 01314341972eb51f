"""Load the figures of a report from a database."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path

import msgspec

from leadfeeder_async.errors import check_argument
from leadfeeder_async.jobs.duckdb_file import Connection
from leadfeeder_async.jobs.sync.schema import FIRST_SEEN, read_types
from leadfeeder_async.pagination.date_range import (
    DateLike,
    DateWindow,
    parse_date,
    parse_relative_date,
    parse_time_zone,
)
from leadfeeder_async.report import queries
from leadfeeder_async.report.report_data import (
    Breakdown,
    Coverage,
    CreditBalance,
    CreditReading,
    EndpointUsage,
    Granularity,
    MonthlyUsage,
    NewCompany,
    NewSince,
    PreviousReport,
    Report,
    Share,
    TimeBucket,
    Totals,
    VisitorCompany,
)
from leadfeeder_async.report.report_database import open_database, rows


def read_report(
    database: str | Path,
    *,
    since: DateLike = "30d",
    until: DateLike | None = None,
    title: str | None = None,
    account_id: str | None = None,
    now: datetime | None = None,
    previous: PreviousReport | None = None,
    tz: str = "UTC",
) -> Report:
    """Return the figures of a report. Arguments and errors are those of ``write_report``. Tests pass ``now``.

    ``previous`` is the report that this one replaces. If it shows the same account, visits and companies are new if
    they were synced after the sync that it shows.
    """
    now, zone = now or datetime.now(UTC), parse_time_zone(tz)
    with open_database(Path(database)) as connection:
        coverage = select_account(rows(connection, queries.COVERAGE, Coverage), account_id)
        run = _last_sync(connection, coverage)
        coverage = msgspec.structs.replace(
            coverage, account_name=run.account_name, first_day=first_complete_day(coverage, zone)
        )
        requested = requested_window(since, until, last_complete_day(coverage, zone), now.astimezone(zone).date())
        window = available_window(requested, coverage)
        start_before = window.start - timedelta(window.days)
        report = Report(
            title=title or "Website visitors",
            generated_at=now,
            time_zone=tz,
            coverage=coverage,
            window=window,
            requested_window=requested,
            window_before=DateWindow(start_before, window.start - timedelta(1)),
            granularity=choose_granularity(window.days),
        )
        is_same_account = previous is not None and previous.account_id == coverage.account_id
        synced_before = previous.synced_at if previous and is_same_account else run.previous_finished_at
        report = _with_new(connection, report, synced_before)
        return _with_usage(connection, _with_visits(connection, report))


class _LastSync(msgspec.Struct, frozen=True):
    account_name: str | None = None
    previous_finished_at: datetime | None = None


def _last_sync(connection: Connection, coverage: Coverage) -> _LastSync:
    """Return the state of the sync. A database of an earlier version does not have it."""
    if ("visits", FIRST_SEEN) not in read_types(connection):
        return _LastSync()
    return next(iter(rows(connection, queries.SYNC_RUN, _LastSync, {"account": coverage.account_id})), _LastSync())


class _NewCounts(msgspec.Struct, frozen=True):
    visits: int
    companies: int


def _with_new(connection: Connection, report: Report, since: datetime | None) -> Report:
    if since is None or ("visits", FIRST_SEEN) not in read_types(connection):
        return report
    values = {"account": report.coverage.account_id, "since": since.isoformat()}
    (counts,) = rows(connection, queries.NEW, _NewCounts, values)
    listed = rows(connection, queries.NEW_COMPANIES, NewCompany, {**values, "limit": queries.MAX_COMPANIES})
    new = NewSince(since=since, visits=counts.visits, companies=counts.companies, listed=listed)
    return msgspec.structs.replace(report, new_since=new)


def select_account(accounts: tuple[Coverage, ...], account_id: str | None) -> Coverage:
    """Return the requested account, or the only one. If the database has no account, return a Coverage without data."""
    names = ", ".join(str(account.account_id) for account in accounts)
    if not accounts:
        return Coverage(account_id=account_id)
    if account_id is None:
        check_argument(
            len(accounts) == 1,
            f"The database contains {len(accounts)} accounts: {names}.",
            "Choose one of them with account_id.",
            argument="account_id",
        )
        return accounts[0]
    matches = [account for account in accounts if account.account_id == account_id]
    check_argument(
        matches,
        f"The database does not contain account {account_id!r}.",
        f"Choose one of its accounts: {names}.",
        argument="account_id",
    )
    return matches[0]


def first_complete_day(coverage: Coverage, zone: tzinfo) -> date | None:
    """Return the first day of a time zone that is completely in the database.

    The days of a sync are days in UTC, which begin within a day of another time zone. If the database has no complete
    day, return its last one.
    """
    first, last = coverage.first_day, coverage.last_day
    if first is None or last is None:
        return first
    begin = datetime.combine(first, time(), UTC).astimezone(zone)
    is_complete = begin.time() == time()
    return min(begin.date() if is_complete else begin.date() + timedelta(1), last)


def last_complete_day(coverage: Coverage, zone: tzinfo) -> date | None:
    """Return the last day that was over when it was synced. A partial last day would look like a drop in visits.

    The days of a sync are days in UTC. In a time zone west of UTC, a day ends later.
    """
    last, first = coverage.last_day, coverage.first_day
    if last is None or coverage.finished_at is None or first is None:
        return last
    last = last if coverage.is_last_day_over else max(first, last - timedelta(1))
    end = (datetime.combine(last, time(), UTC) + timedelta(1)).astimezone(zone).date() - timedelta(1)
    return max(end, first)


FIRST_DAY = date(1970, 1, 1)
"""The earliest first day. No earlier day has visits, and the period before a report must be in the calendar too."""


def requested_window(since: DateLike, until: DateLike | None, last_day: date | None, today: date) -> DateWindow:
    """Return the requested days. They end on ``last_day``, or today without one, if there is no ``until``.

    A start before 1970 is moved to 1970-01-01.
    """
    if until is None:
        end = last_day or today
    else:
        end = parse_relative_date(until, today) if isinstance(until, str) else parse_date("until", until)
    check_argument(end >= FIRST_DAY, f"until={end} is before {FIRST_DAY}.", "Pass a later date.", argument="until")
    start = parse_relative_date(since, end) if isinstance(since, str) else parse_date("since", since)
    start = max(start, FIRST_DAY)
    check_argument(
        start <= end,
        f"since={start} is after {end}, the last day of the report.",
        "Pass an earlier date, or sync again to get later days.",
        argument="since",
    )
    return DateWindow(start, end)


def available_window(requested: DateWindow, coverage: Coverage) -> DateWindow:
    """Return the requested days that the database contains."""
    start = max(requested.start, coverage.first_day or requested.start)
    end = min(requested.end, coverage.last_day or requested.end)
    check_argument(
        start <= end,
        f"The database contains none of the requested days, {requested}.",
        f"Choose days from {coverage.first_day} to {coverage.last_day}.",
    )
    return DateWindow(start, end)


def choose_granularity(days: int) -> Granularity:
    """Return the time per bar that keeps a chart at about a hundred bars."""
    return "day" if days <= 92 else "week" if days <= 731 else "month"


def _with_visits(connection: Connection, report: Report) -> Report:
    window, first_day = report.window, report.coverage.first_day
    days = {"start": window.start, "end": window.end}
    start_before = report.window_before.start
    values = {
        "account": report.coverage.account_id,
        "tz": report.time_zone,
        "start_before": start_before,
        **days,
    }
    connection.execute(queries.PERIOD, values)
    is_comparable = first_day is not None and first_day <= start_before
    return msgspec.structs.replace(
        report,
        totals=_totals(connection, in_window=True),
        totals_before=_totals(connection, in_window=False) if is_comparable else None,
        time_buckets=rows(connection, queries.TIME_BUCKETS, TimeBucket, {"granularity": report.granularity, **days}),
        visitors=rows(connection, queries.VISITORS, VisitorCompany, {"limit": queries.MAX_COMPANIES}),
        landing_pages=_breakdown(connection, queries.LANDING_PAGES),
        sources=_breakdown(connection, queries.SOURCES),
        countries=_breakdown(connection, queries.COUNTRIES),
    )


def _totals(connection: Connection, *, in_window: bool) -> Totals:
    return rows(connection, queries.TOTALS, Totals, {"in_window": in_window})[0]


class _CountedShare(Share, frozen=True, kw_only=True):
    distinct_values: int


def _breakdown(connection: Connection, query: str) -> Breakdown:
    shares = rows(connection, query, _CountedShare, {"limit": queries.MAX_SHARES})
    return Breakdown(shares=shares, distinct_values=shares[0].distinct_values if shares else 0)


def _with_usage(connection: Connection, report: Report) -> Report:
    account = {"account": report.coverage.account_id}
    since = {**account, "start": report.window.start, "granularity": report.granularity}
    return msgspec.structs.replace(
        report,
        credit_balance=next(iter(rows(connection, queries.CREDIT_BALANCE, CreditBalance, account)), None),
        credit_readings=rows(connection, queries.CREDIT_READINGS, CreditReading, since),
        monthly_usage=rows(connection, queries.MONTHLY_USAGE, MonthlyUsage, {**account, "limit": queries.MAX_MONTHS}),
        endpoint_usage=rows(
            connection, queries.ENDPOINT_USAGE, EndpointUsage, {**account, "limit": queries.MAX_SHARES}
        ),
    )
