"""Synchronization of an account with a DuckDB database. A kill neither loses nor duplicates rows.

The synced days are one unbroken range, which ``sync_state`` records. A run reads slices of days at either end of it:
first the companies of a slice, then its visits, each page in a transaction of its own. When a slice is complete, the
range is extended over it. An incomplete slice is read again by the next run, and its rows are merged by their ids.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import (
    IncompleteListError,
    LeadfeederError,
    NotFoundError,
    PermissionDeniedError,
    check_argument,
)
from leadfeeder_async.jobs.progress import OnProgress, ProgressTracker, notify
from leadfeeder_async.jobs.sync import row_mapping
from leadfeeder_async.jobs.sync.date_plan import MIN_DAYS_TO_COUNT, SyncRange, extended, plan_ranges
from leadfeeder_async.jobs.sync.lookup_tables import LOOKUP_TABLES, TableWrite
from leadfeeder_async.jobs.sync.schema import KEYS, VERSION
from leadfeeder_async.jobs.sync.sync_database import SyncDatabase, check_usable
from leadfeeder_async.jobs.sync.transaction import Row, SyncChanges, SyncState, Transaction, Value
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.date_range import DateLike, DateWindow, parse_date
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.page import Page
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.problems import join_messages
from leadfeeder_async.types import Stats

T = TypeVar("T", bound=HasId)


class SyncResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a sync."""

    account_id: str
    first_day: date
    """The first day whose visits are in the database."""
    last_day: date
    """The last day whose visits are in the database."""
    tables: Mapping[str, SyncChanges]
    """The changes of each table."""
    skipped: Mapping[str, LeadfeederError]
    """The tables to which the server denied access, each with its error. All others are complete."""
    requests: int
    rate_limited: int
    """Responses with status 429."""
    credits: int
    elapsed: float
    """Seconds."""


async def sync_account(
    lf: AsyncLeadfeeder,
    path: Path | str,
    *,
    since: DateLike | None = None,
    lookback_days: int = 3,
    account_id: str | None = None,
    on_progress: OnProgress | None = None,
) -> SyncResult:
    """Update a DuckDB database with the visits, companies, tags, lists, usage and credits of an account.

    ``await sync_account(lf, "leadfeeder.duckdb")`` needs the extra ``duckdb``. The first run reads the days from
    ``since`` to today. Later runs read the new days and a few days before them, because visits can arrive late. Rows
    are merged by account and id, so one file can contain several accounts. Each page is committed in its own
    transaction. After any interruption, the same call continues.

    Args:
        lf: The client.
        path: The database. It is created if it does not exist.
        since: The first day. Defaults to 90 days ago in the first run, and then to the first synced day. An earlier day
            adds the days before the first synced one.
        lookback_days: The number of days before the last synced one that are read again.
        account_id: The account. Defaults to that of the client, or to the only account of the key.
        on_progress: Called after each page of visits.

    Returns:
        The synced days, and the changes of each table.

    Raises:
        ConfigurationError: DuckDB is not installed, or the path has the suffix of a data file such as .csv.
        DatabaseLockedError: The database is open in another process. Nothing was sent.
        DatabaseError: The file is not a DuckDB database, has tables of the same names with other columns, was written
            by a newer version, or cannot grow. Committed data is kept.
        IncompleteListError: Some rows or days could not be read. Everything else is committed.

    Credits:
        None.
    """
    check_usable(Path(path))
    check_argument(lookback_days >= 0, f"lookback_days={lookback_days!r} must be 0 or more.", argument="lookback_days")
    first_day = None if since is None else parse_date("since", since)
    stats = Stats()
    tracker = ProgressTracker(stats)
    lf = lf._with_stats(stats)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    with SyncDatabase(Path(path)) as database:
        account = account_id or lf.account_id or (await lf.accounts.get()).data.id
        run = SyncRun(lf.with_options(account_id=account), database, account, tracker, on_progress)
        with run.include_problems():
            state = await run.read_days(first_day, datetime.now(UTC).date(), lookback_days)
            skipped = await run.sync_lookup_tables()
            await run.finish(state)
    progress = tracker.now()
    return SyncResult(
        account_id=account,
        first_day=state.first_day,
        last_day=state.last_day,
        tables=run.changes,
        skipped=skipped,
        requests=progress.requests,
        rate_limited=progress.rate_limited,
        credits=progress.credits,
        elapsed=progress.elapsed,
    )


REREAD_HINT = "The next sync retries these rows if their dates are within its lookback."


class SyncRun:
    """One run of a sync.

    Args:
        lf: A client of the account.
        database: The database.
        account: The id of the account.
        tracker: Counts the visits.
        on_progress: Called after each page of visits.
    """

    def __init__(
        self,
        lf: AsyncLeadfeeder,
        database: SyncDatabase,
        account: str,
        tracker: ProgressTracker,
        on_progress: OnProgress | None,
    ) -> None:
        self._lf = lf
        self._database = database
        self._account = account
        self._tracker = tracker
        self._on_progress = on_progress
        self._expected: int | None = None
        """The number of visits of this run, as the server counted them."""
        self._problems = list[LeadfeederError]()
        self._is_incomplete = False
        """True if a list of visits stopped early. The synced days are then no longer extended."""
        self.changes = {table: SyncChanges() for table in KEYS if table != "sync_state"}

    async def read_days(self, since: date | None, today: date, lookback_days: int) -> SyncState:
        """Read the companies and visits of the days that are due, and return the days that are then synced."""
        state = await self._database.transact(lambda transaction: transaction.read_state(self._account))
        for days in plan_ranges(state, since, today, lookback_days):
            for window in days.slices(await self._count(days)):
                state = extended(state, window)
                await self._read_slice(window)
                if not self._is_incomplete:
                    await self._save(state)
        assert state is not None
        return state

    async def _count(self, days: SyncRange) -> int:
        self._expected = None
        if days.window.days < MIN_DAYS_TO_COUNT:
            return 0
        visits = await self._visits(days.window).count() or 0
        self._expected = self._tracker.now().done + visits
        return visits

    async def _read_slice(self, window: DateWindow) -> None:
        async with aclosing(self._pages(self._visitors(window), must_be_complete=False)) as companies:
            async for visitors in companies:
                await self._commit(partial(_write_visitors, self._account, visitors.items))
        async with aclosing(self._pages(self._visits(window), must_be_complete=True)) as visits:
            async for page in visits:
                await self._commit(partial(_write_visits, self._account, page.items))
                progress = self._tracker.count(len(page.items), self._expected or page.total)
                notify(progress, self._on_progress)

    def _visits(self, window: DateWindow) -> Pager[WebVisit]:
        return self._lf.web_visits.search(start_date=window.start, end_date=window.end)

    def _visitors(self, window: DateWindow) -> Pager[CompanyLocation]:
        return self._lf.web_visits.companies(start_date=window.start, end_date=window.end, include=["company"])

    async def _pages(self, pager: Pager[T], *, must_be_complete: bool) -> AsyncGenerator[Page[T], None]:
        """Yield pages. Their problems are reported at the end of the run.

        If a list that must be complete stops early, its days do not count as synced, so the next run reads them again.
        """
        async with aclosing(pager.pages()) as pages:
            async for page in pages:
                self._problems.extend(page.problems)
                has_stopped = any(isinstance(problem, IncompleteListError) for problem in page.problems)
                self._is_incomplete |= must_be_complete and has_stopped
                yield page

    async def sync_lookup_tables(self) -> dict[str, LeadfeederError]:
        """Read the small tables, and return those to which the server denied access."""
        skipped = dict[str, LeadfeederError]()
        for table, read in LOOKUP_TABLES.items():
            try:
                write = await read(self._lf, self._account)
            except (PermissionDeniedError, NotFoundError) as error:
                skipped[table] = error
            else:
                await self._commit(write)
        return skipped

    async def finish(self, state: SyncState) -> None:
        """Record the end of the run, and raise IncompleteListError if rows or days could not be read."""
        if not self._is_incomplete:
            await self._save(state, finished_at=datetime.now(UTC).isoformat())
        if self._problems:
            error = IncompleteListError(
                self._problem_summary(),
                self._problems[0].context,
                hint=REREAD_HINT,
                problems=self._problems,
                run_completed=True,
            )
            self._problems.clear()
            raise error

    @contextmanager
    def include_problems(self) -> Generator[None]:
        """Append the rows and days that could not be read to the error that ends the run.

        Later runs have no record of them.
        """
        try:
            yield
        except LeadfeederError as error:
            if not self._problems:
                raise
            message = f"{error.message} Additionally, {self._problem_summary()}"
            raise error.with_context(error.context, message=message) from error.__cause__
        except BaseException as error:
            if self._problems:
                error.add_note(self._problem_summary())
            raise

    def _problem_summary(self) -> str:
        count = len(self._problems)
        rows = "1 row or day" if count == 1 else f"{count:,} rows or days"
        messages = join_messages([problem.message for problem in self._problems], count)
        return f"{rows} could not be read completely. All others are in the database. {messages}"

    async def _save(self, state: SyncState, **more: Value) -> None:
        row: Row = {
            "account_id": self._account,
            "version": VERSION,
            "first_day": state.first_day.isoformat(),
            "last_day": state.last_day.isoformat(),
            **more,
        }
        await self._commit(lambda transaction: transaction.upsert("sync_state", [row]))

    async def _commit(self, write: TableWrite) -> None:
        def work(transaction: Transaction) -> Mapping[str, SyncChanges]:
            write(transaction)
            return transaction.changes

        committed = await self._database.transact(work)
        self.changes = {table: changes + committed[table] for table, changes in self.changes.items()}


def _write_visitors(account: str, rows: tuple[CompanyLocation, ...], transaction: Transaction) -> None:
    transaction.upsert("companies", [row_mapping.company_row(account, row.company) for row in rows if row.company])
    transaction.upsert("locations", [row_mapping.location_row(account, row.location) for row in rows if row.location])


def _write_visits(account: str, visits: tuple[WebVisit, ...], transaction: Transaction) -> None:
    transaction.upsert("visits", [row_mapping.visit_row(account, visit) for visit in visits])
    steps = [row for visit in visits for row in row_mapping.engagement_rows(account, visit)]
    transaction.upsert("engagements", steps)
    transaction.delete_stale_engagements(
        account, {visit.id: len(visit.attributes.engagements or ()) for visit in visits}
    )
    transaction.upsert(
        "companies", [row_mapping.company_row(account, visit.company) for visit in visits if visit.company]
    )
    transaction.upsert(
        "locations", [row_mapping.location_row(account, visit.location) for visit in visits if visit.location]
    )
