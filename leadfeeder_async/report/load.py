"""A database read into a report's figures."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from leadfeeder_async.errors import check_argument
from leadfeeder_async.pagination.date_range import DateLike, DateWindow, parse_date, parse_relative_date
from leadfeeder_async.report import queries
from leadfeeder_async.report.report_data import (
    Balance,
    Breakdown,
    Coverage,
    CreditReading,
    EndpointUse,
    MonthOfUse,
    Report,
    Share,
    Step,
    TimeBucket,
    Totals,
    VisitorCompany,
)
from leadfeeder_async.report.report_database import open_database, rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")


def read_report(
    database: str | Path,
    *,
    since: DateLike = "30d",
    until: DateLike | None = None,
    title: str | None = None,
    account_id: str | None = None,
    now: datetime | None = None,
) -> Report:
    """Count what a report shows; the arguments and errors are those of ``write_report``. ``now`` is for tests."""
    now = now or datetime.now(UTC)
    with open_database(Path(database)) as opened:
        coverage = choose_account(rows(opened, queries.COVERAGE, Coverage), account_id)
        asked = asked_days(since, until, last_whole_day(coverage) or now.date())
        window = held_days(asked, coverage)
        start_before = window.start - timedelta(window.days)
        report = Report(
            title=title or "Website visitors",
            written_at=now,
            coverage=coverage,
            asked=asked,
            window=window,
            before=DateWindow(start_before, window.start - timedelta(1)),
            step=step_for(window.days),
        )
        return _with_use(opened, _with_visits(opened, report))


def choose_account(held: tuple[Coverage, ...], account_id: str | None) -> Coverage:
    """Return the account to report on: the one asked for, or the only one; nothing where none is held at all."""
    names = ", ".join(str(one.account_id) for one in held)
    if not held:
        return Coverage(account_id=account_id)
    if account_id is None:
        check_argument(
            len(held) == 1,
            f"The database holds {len(held)} accounts: {names}.",
            "Choose one with account_id= (--account-id).",
        )
        return held[0]
    found = [one for one in held if one.account_id == account_id]
    check_argument(found, f"The database does not hold account {account_id!r}.", f"It holds {names}.")
    return found[0]


def last_whole_day(held: Coverage) -> date | None:
    """Return the last day that was over when it was synced, or the only one: a day under way would look like a fall."""
    last, synced, first = held.last_day, held.finished_at, held.first_day
    if last is None or synced is None or first is None:
        return last
    return max(first, min(last, synced.date() - timedelta(1)))


def asked_days(since: DateLike, until: DateLike | None, last_day: date) -> DateWindow:
    """Read the days asked for; ``30d`` are the last 30 up to ``until``, or to ``last_day``."""
    end = last_day if until is None else parse_date("until", until)
    start = parse_relative_date(since, end) if isinstance(since, str) else parse_date("since", since)
    check_argument(
        start <= end,
        f"since={start} is after {end}, the last day of the report.",
        "Give an earlier day; `leadfeeder sync` brings later ones.",
    )
    return DateWindow(start, end)


def held_days(asked: DateWindow, coverage: Coverage) -> DateWindow:
    """Return those of the days asked for that the database holds whole."""
    start = max(asked.start, coverage.first_day or asked.start)
    end = min(asked.end, coverage.last_day or asked.end)
    check_argument(
        start <= end,
        f"The database holds none of the days asked for, {asked}.",
        f"It holds {coverage.first_day} to {coverage.last_day}.",
    )
    return DateWindow(start, end)


def step_for(days: int) -> Step:
    """Choose how much time a bar of the chart covers, so that there are at most about a hundred."""
    return "day" if days <= 92 else "week" if days <= 731 else "month"


def _with_visits(database: DuckDBPyConnection, report: Report) -> Report:
    window = report.window
    database.execute(
        queries.PERIOD,
        {
            "account": report.coverage.account_id,
            "start": window.start,
            "end": window.end,
            "start_before": report.before.start,
        },
    )
    first_day = report.coverage.first_day
    comparable = first_day is not None and first_day <= report.before.start
    return msgspec.structs.replace(
        report,
        totals=_totals(database, inside=True),
        totals_before=_totals(database, inside=False) if comparable else None,
        spans=rows(
            database, queries.SPANS, TimeBucket, {"step": report.step, "start": window.start, "end": window.end}
        ),
        visitors=rows(database, queries.VISITORS, VisitorCompany, {"limit": queries.LARGEST_COMPANIES}),
        landing_pages=_breakdown(database, queries.LANDING_PAGES),
        sources=_breakdown(database, queries.SOURCES),
        countries=_breakdown(database, queries.COUNTRIES),
    )


def _totals(database: DuckDBPyConnection, *, inside: bool) -> Totals:
    return rows(database, queries.TOTALS, Totals, {"inside": inside})[0]


class _ShareOfKinds(Share, frozen=True, kw_only=True):
    kinds: int


def _breakdown(database: DuckDBPyConnection, query: str) -> Breakdown:
    shares = rows(database, query, _ShareOfKinds, {"limit": queries.LARGEST_SHARES})
    return Breakdown(shares=shares, kinds=shares[0].kinds if shares else 0)


def _with_use(database: DuckDBPyConnection, report: Report) -> Report:
    account = {"account": report.coverage.account_id}
    since = {**account, "start": report.window.start, "step": report.step}
    balances = rows(database, queries.BALANCE, Balance, account)
    return msgspec.structs.replace(
        report,
        balance=balances[0] if balances else None,
        readings=rows(database, queries.READINGS, CreditReading, since),
        months=rows(database, queries.MONTHS, MonthOfUse, {**account, "limit": queries.LATEST_MONTHS}),
        endpoints=rows(database, queries.ENDPOINTS, EndpointUse, {**account, "limit": queries.LARGEST_SHARES}),
    )
