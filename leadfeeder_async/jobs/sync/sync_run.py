"""Synchronization of an account with a DuckDB database. A kill neither loses nor duplicates rows.

The synced days are one unbroken range, which ``sync_state`` records. A run reads slices of days at either end of it
into a spool: first the companies of all slices, then the visits of each. When a slice is complete, one transaction
merges its rows and extends the range over it. The database is open only during these transactions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._argument_checks import check_integer, check_path
from leadfeeder_async._core.worker_thread import run_for_rows
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import (
    AuthenticationError,
    BadRequestError,
    DatabaseLockedError,
    DecodeError,
    IncompleteListError,
    LeadfeederError,
    NotFoundError,
    PermissionDeniedError,
    check_argument,
)
from leadfeeder_async.jobs.duckdb_file import Connection
from leadfeeder_async.jobs.progress import OnProgress, ProgressTracker, notify
from leadfeeder_async.jobs.sync.date_plan import (
    MIN_DAYS_TO_COUNT,
    SLICE_ROWS,
    SyncRange,
    changed_ranges,
    continue_range,
    counts_after_reading,
    counts_that_show_changes,
    days_to_count,
    extended,
    is_reread_due,
    plan_ranges,
    reread_hint,
    with_visit_counts,
    without_future,
)
from leadfeeder_async.jobs.sync.lookup_tables import LOOKUP_TABLES, TableWrite
from leadfeeder_async.jobs.sync.schema import KEYS
from leadfeeder_async.jobs.sync.sync_database import RETRY_INTERVAL, SyncDatabase, check_usable
from leadfeeder_async.jobs.sync.transaction import SyncChanges, SyncState, Transaction, load_spool
from leadfeeder_async.jobs.sync.visit_spool import SpoolState, VisitSpool, open_spool
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.date_range import LATEST_START_OF_DAY, DateLike, DateWindow, parse_date
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.end_detection import MAX_COUNT
from leadfeeder_async.pagination.page import Page
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.problems import ProblemLog, join_messages
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.types import Stats

T = TypeVar("T", bound=HasId)

MAX_SPOOLED_LINES = 2 * SLICE_ROWS
"""If more lines are waiting after a slice, the run waits for the process that has the database open."""


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
    wait: float = 60.0,
) -> SyncResult:
    """Update a DuckDB database with the visits, companies, tags, lists, usage and credits of an account.

    ``await sync_account(lf, "leadfeeder.duckdb")`` needs the extra ``duckdb``. The first run reads the days from
    ``since`` to today. Later runs read the new days and a few days before them, because visits can arrive late. Rows
    are merged by account and id, so one file can contain several accounts. After any interruption, the same call
    continues.

    Rows are collected in a file with the suffix ``.part`` beside the database, and merged in slices of about 30,000
    visits. The database is open only while a slice is merged, so other processes can read it in between.

    Args:
        lf: The client.
        path: The database. It is created if it does not exist.
        since: The first day. The first run defaults to the last 90 days, including today, and later runs to the first
            synced day. An earlier day adds the days before the first synced one.
        lookback_days: The number of days before the last synced one that are checked for late visits.
        account_id: The account. Defaults to that of the client, or to the only account of the key.
        on_progress: Called after each page of visits.
        wait: The seconds for which the run waits if another process has the database open. Reading continues
            meanwhile, until about 60,000 visits, companies and locations are waiting.

    Returns:
        The synced days, and the changes of each table.

    Raises:
        ConfigurationError: DuckDB is not installed, an argument is not valid, or the path has the suffix of a data file
            such as .csv.
        DatabaseLockedError: Another process has the database open, or syncs it, for longer than ``wait``.
        DatabaseError: The file is not a DuckDB database, has tables of the same names with other columns, was written
            by a newer version, or cannot grow. Committed data is kept.
        IncompleteListError: Some rows or days could not be read. Everything else is committed.

    Credits:
        None.
    """
    path = check_path("path", path)
    check_usable(path)
    check_integer("lookback_days", lookback_days, 0)
    check_argument(wait >= 0, f"wait={wait!r} must be 0 or more.", argument="wait")
    first_day = None if since is None else parse_date("since", since)
    stats = Stats()
    tracker = ProgressTracker(stats)
    lf = lf.with_options(stats=stats)
    with SyncDatabase(path, wait) as database, ExitStack() as stack:
        database.check_file()
        spool = await _open_spool(stack, path, wait)
        states = await database.read_states()  # a file that cannot be used is refused before anything is sent
        account = account_id or lf.account_id or (await lf.accounts.get()).data.id
        of_account = lf.with_options(account_id=account)
        synced = states.get(account)
        run = SyncRun(of_account, database, spool, account, synced=synced, tracker=tracker, on_progress=on_progress)
        with run.include_problems():
            await run.read_lookup_tables(TABLE_WITH_DATE)
            state = await run.read_until_today(first_day, lookback_days)
            await run.read_lookup_tables(*(table for table in LOOKUP_TABLES if table != TABLE_WITH_DATE))
            await run.finish(state, lookback_days)
    progress = tracker.now()
    return SyncResult(
        account_id=account,
        first_day=state.first_day,
        last_day=state.last_day,
        tables=run.changes,
        skipped=run.skipped,
        requests=progress.requests,
        rate_limited=progress.rate_limited,
        credits=progress.credits,
        elapsed=progress.elapsed,
    )


TABLE_WITH_DATE = "credits"
"""The small table that is read first, because its response has the date of the server."""

REJECTED_KEY = 401
"""The status of a rejected key. A key that is accepted for visits may have no access to another table."""


class SyncRun:
    """One run of a sync.

    Args:
        lf: A client of the account.
        database: The database.
        spool: The rows that are not merged yet.
        account: The id of the account.
        synced: The days that are synced, or None before the first run.
        tracker: Counts the visits.
        on_progress: Called after each page of visits.
    """

    def __init__(
        self,
        lf: AsyncLeadfeeder,
        database: SyncDatabase,
        spool: VisitSpool,
        account: str,
        *,
        synced: SyncState | None,
        tracker: ProgressTracker,
        on_progress: OnProgress | None,
    ) -> None:
        self._lf = lf
        self._database = database
        self._spool = spool
        self._account = account
        self._synced = synced
        self._tracker = tracker
        self._on_progress = on_progress
        self._empty = SpoolState(account=account)
        self._expected: int | None = None
        """The number of visits of this run, as the server counted them."""
        self._problems = ProblemLog()
        self._first_gap: date | None = None
        """The first day of the earliest slice with rows that could not be read."""
        self._visit_counts = dict[str, int]()
        """The visits of recent days, as the server counted them before they were read. Days that turn out to have fewer
        are left out."""
        self._unnamed = set[str]()
        """The ids of companies without a name in the list of companies."""
        self._is_incomplete = False
        """True if a list of visits stopped early. The synced days are then no longer extended."""
        self._lookup_writes = list[TableWrite]()
        self.skipped = dict[str, LeadfeederError]()
        """The small tables to which the server denied access."""
        self.changes = {table: SyncChanges() for table in KEYS if table != "sync_state"}

    async def read_until_today(self, since: date | None, lookback_days: int) -> SyncState:
        """Read the days that are due, and return the days that are then synced.

        In the account's time zone, today may not have begun. If the server then rejects it, the days end yesterday.
        """
        now = self._lf.server_now()  # a clock of this machine that is ahead would skip days
        today = now.date()
        try:
            return await self.read_days(since, today, lookback_days)
        except BadRequestError:
            if now.hour >= LATEST_START_OF_DAY or since == today:
                raise
            if self._database.exists:
                self._synced = (await self._database.read_states()).get(self._account)
        return await self.read_days(since, today - timedelta(1), lookback_days)

    async def read_days(self, since: date | None, today: date, lookback_days: int) -> SyncState:
        """Read the companies and visits of the days that are due, and return the days that are then synced."""
        synced = await self._synced_until(today)
        self._empty = SpoolState(account=self._account, today=today)
        planned = list(plan_ranges(synced, since, today, lookback_days))
        is_reread = synced is None or is_reread_due(synced, today, lookback_days)
        ranges = self._continued(synced, planned)
        if ranges is None:
            recent = await self._due_ranges(None if is_reread else synced, planned[0], lookback_days)
            ranges = [*recent, *planned[1:]]
            self._restore_problems()
            self._begin_spool(self._empty)
        for days in ranges:
            synced = await self._read_range(days, synced)
        for days in planned:
            synced = extended(synced, days.window)
        assert synced is not None
        return replace(synced, reread_on=today) if is_reread else synced

    async def _synced_until(self, today: date) -> SyncState | None:
        """Return the days that are synced, without those after today."""
        state = self._synced
        if state is None or state.last_day <= today:
            return state
        last = await self._database.transact(lambda transaction: transaction.last_visit_day(self._account, today))
        return without_future(state, today, last)

    def _continued(self, synced: SyncState | None, planned: Sequence[SyncRange]) -> list[SyncRange] | None:
        """Return the date ranges of a run that continues the spool, or None if the spool cannot be continued."""
        interrupted = self._spool.state.range
        if interrupted is None or not self._spool.belongs_to(replace(self._empty, synced=synced)):
            return None
        ranges = continue_range(interrupted, planned)
        if ranges is not None:
            self._restore_problems()
        return ranges

    def _restore_problems(self) -> None:
        """Report the problems of an earlier run that was killed. It may have synced another account."""
        problems = self._spool.drop_repeated_problems(self._account)
        self._problems.extend(problems, self._spool.state.problem_count)

    async def _due_ranges(self, synced: SyncState | None, recent: SyncRange, lookback_days: int) -> list[SyncRange]:
        """Count the visits of recent days, and return the days to read.

        Args:
            synced: The days that are synced. A day is left out if the server counts as many visits as before it was
                last read. None reads all recent days.
            recent: The recent days.
            lookback_days: The days before the last synced one that are read again.
        """
        last_day, empty_days = synced.last_day if synced else None, set[date]()
        window = recent.window
        if synced is not None:
            known = await self._database.transact(lambda transaction: transaction.count_visits(self._account, window))
            if known <= MAX_PAGE_SIZE:  # they cost no more requests than their counts
                return [recent]
        counts = dict[str, int]()
        for day in days_to_count(window, lookback_days, last_day):
            visits = self._visits(DateWindow(day, day))
            is_new = last_day is not None and day > last_day
            count = await _count_by_first_page(visits) if is_new else await visits.count()
            if count is not None:
                counts[day.isoformat()] = count
            if is_new and count == 0:
                empty_days.add(day)
        self._visit_counts = counts
        if synced is None:
            return [recent]
        return changed_ranges(synced, window, counts_that_show_changes(counts), empty_days)

    async def _read_range(self, days: SyncRange, synced: SyncState | None) -> SyncState | None:
        """Read a date range and merge it slice by slice. Return the days that are synced then."""
        spool = self._spool
        if spool.state.range != days:
            self._begin_range(days, synced)
        if not spool.state.has_companies:
            await self._read_companies(days.window)
            spool.end_companies()
        state = spool.state
        slices = [state.current] if state.current else []
        rest = days.without(state.complete)
        rest = rest.without(state.current) if rest else None
        if rest:
            slices.extend(rest.slices(await self._count(rest), *self._slice_starts()))
        for window in slices:
            await self._read_slice(window)
            synced = await self._merge(days, synced, must_finish=spool.lines > MAX_SPOOLED_LINES)
        return await self._merge(days, synced, must_finish=True) if spool.is_pending else synced

    async def _read_companies(self, window: DateWindow) -> None:
        async with aclosing(self._pages(self._visitor_companies(window))) as pages:
            async for page in pages:
                await run_for_rows(partial(self._spool.add_companies, page), len(page.items))
                self._unnamed.update(row.company.id for row in page.items if row.company and not row.company.name)

    async def _read_late_companies(self, found: DateWindow, synced: SyncState) -> None:
        """Read the companies of visits that arrived after the companies had been read.

        This is likely in a run that continues an interrupted one. Without it, such a company has no name until a visit
        of it is read again.

        Args:
            found: The days of these visits.
            synced: The days that are synced.
        """
        # A visit near midnight in UTC may be one of another day of the API.
        start = max(found.start, synced.first_day + timedelta(1)) - timedelta(1)
        end = min(found.end, synced.last_day - timedelta(1)) + timedelta(1)
        if start > end:
            return
        self._begin_spool(self._empty)
        await self._read_companies(DateWindow(start, end))
        self._add_changes(await self._database.transact(self._merge_spool, self._load_spool))
        self._begin_spool(self._empty)

    def _load_spool(self, connection: Connection) -> None:
        if self._spool.lines:
            load_spool(self._spool.path, self._spool.state.max_line_bytes, connection)

    def _merge_spool(self, transaction: Transaction) -> Mapping[str, SyncChanges]:
        if self._spool.lines:
            transaction.merge_spool(self._account)
        return transaction.changes

    def _slice_starts(self) -> tuple[date, ...]:
        """Return the days that begin a slice: the first counted day, and today.

        In one slice with earlier days, new visits of today would hide that the list lacks earlier ones.
        """
        if not self._visit_counts or self._empty.today is None:
            return ()
        return date.fromisoformat(min(self._visit_counts)), self._empty.today

    async def _count(self, days: SyncRange) -> int:
        self._expected = None
        if days.window.days < MIN_DAYS_TO_COUNT:
            return 0
        visits = await self._visits(days.window).count() or 0
        if visits > MAX_COUNT:
            return 0
        self._expected = self._tracker.now().done + visits
        return visits

    async def _read_slice(self, window: DateWindow) -> None:
        """Read the visits of some days into the spool, from the position of an interrupted run if it has one.

        If the list stops early, its days do not count as synced, so the next run reads them again.
        """
        spool, visits = self._spool, self._visits(window)
        if spool.state.current == window and spool.state.position is not None:
            visits = visits.resume_from(spool.state.position)
        else:
            spool.begin_slice(window)
        rows, problems = 0, self._problems.count
        async with aclosing(self._pages(visits, stores_ids=True)) as pages:
            async for page in pages:
                await run_for_rows(partial(spool.add_visits, page), len(page.items))
                rows += len(page.items)
                progress = self._tracker.count(len(page.items), self._expected or page.total)
                notify(progress, self._on_progress)
        if self._problems.count > problems:
            self._first_gap = min(window.start, self._first_gap or window.start)
        self._visit_counts = counts_after_reading(self._visit_counts, window, rows)
        self._is_incomplete |= spool.state.is_incomplete
        spool.end_slice(is_complete=not self._is_incomplete)

    async def _merge(self, days: SyncRange, synced: SyncState | None, *, must_finish: bool) -> SyncState | None:
        """Merge the spool, and extend the synced days over its complete slices.

        Args:
            days: The date range of the spool.
            synced: The days that are synced.
            must_finish: If the database is open elsewhere, wait for it (True), or keep the spool and return (False).
        """
        read, after = self._spool.state, synced
        if read.complete:
            # Rows that cannot be read do not count as read, so that the next run reads their days again.
            counts = dict[str, int]() if self._problems.count else counts_that_show_changes(self._visit_counts)
            after = with_visit_counts(extended(synced, read.complete), read.complete, counts)

        def work(transaction: Transaction) -> Mapping[str, SyncChanges]:
            changes = self._merge_spool(transaction)
            if after is not None:
                transaction.save_state(self._account, after)
            return changes

        if must_finish:
            changes = await self._database.transact(work, self._load_spool)
        else:
            done = await self._database.try_transact(work, self._load_spool)
            if done is None:
                return synced
            changes = done.result
        self._add_changes(changes)
        self._begin_range(days.without(read.complete) or days, after, has_companies=True)
        return after

    def _begin_range(self, days: SyncRange, synced: SyncState | None, *, has_companies: bool = False) -> None:
        """Drop all rows of the spool, and begin the rows of some days."""
        state = replace(self._empty, synced=synced, range=days, has_companies=has_companies)
        self._begin_spool(replace(state, is_incomplete=self._is_incomplete))

    def _begin_spool(self, state: SpoolState) -> None:
        """Drop all rows of the spool, and keep its problems until they are reported."""
        before = self._spool.state
        self._spool.begin(state.with_problems_of(before))

    def _visits(self, window: DateWindow) -> Pager[WebVisit]:
        return self._lf.web_visits.search(start_date=window.start, end_date=window.end)

    def _visitor_companies(self, window: DateWindow) -> Pager[CompanyLocation]:
        return self._lf.web_visits.companies(start_date=window.start, end_date=window.end, include=["company"])

    async def _pages(self, pager: Pager[T], *, stores_ids: bool = False) -> AsyncGenerator[Page[T], None]:
        """Yield pages. Their problems are reported at the end of the run.

        Args:
            pager: The list.
            stores_ids: Leave out rows without an id, and count them as problems.
        """
        async with aclosing(pager.pages()) as pages:
            async for page in pages:
                complete = _without_empty_ids(page) if stores_ids else page
                self._problems.add(complete)
                yield complete

    async def read_lookup_tables(self, *tables: str) -> None:
        """Read some of the small tables. Those to which the server denies access are skipped."""
        for table in tables:
            try:
                self._lookup_writes.append(await LOOKUP_TABLES[table](self._lf, self._account))
            except (PermissionDeniedError, NotFoundError, AuthenticationError) as error:
                if error.status == REJECTED_KEY:
                    raise
                self.skipped[table] = error
            except (DecodeError, IncompleteListError) as error:
                message = f"The table {table} was not updated. {error.message}"
                self._problems.extend([error.with_context(error.context, message=message)], 1)

    async def finish(self, state: SyncState, lookback_days: int) -> None:
        """Write the small tables and the end of the run. Raise IncompleteListError if rows or days are missing."""
        late_or_changes = await self._database.transact(partial(self._find_late_companies_or_end, state))
        if isinstance(late_or_changes, DateWindow):
            await self._read_late_companies(late_or_changes, state)
            late_or_changes = await self._database.transact(partial(self._end, state))
        self._add_changes(late_or_changes)
        self._spool.begin(self._empty)
        if self._problems.count:
            problems = self._problems.problems
            error = IncompleteListError(
                self._problem_summary(),
                problems[0].context,
                hint=reread_hint(self._first_gap, state.last_day, lookback_days),
                problems=problems,
                run_completed=True,
            )
            self._problems.clear()
            raise error

    def _find_late_companies_or_end(
        self, state: SyncState, transaction: Transaction
    ) -> DateWindow | Mapping[str, SyncChanges]:
        """Return the days with visits of new companies without a name. If there are none, write the end of the run."""
        days = transaction.range_with_unnamed(self._account, sorted(self._unnamed))
        return days if days is not None else self._end(state, transaction)

    def _end(self, state: SyncState, transaction: Transaction) -> Mapping[str, SyncChanges]:
        """Write the small tables and the end of the run."""
        for write in self._lookup_writes:
            write(transaction)
        if not self._is_incomplete:
            transaction.save_state(self._account, state, is_finished=True)
        return transaction.changes

    @contextmanager
    def include_problems(self) -> Generator[None]:
        """Append the rows and days that could not be read to the error that ends the run.

        If the run is interrupted, the spool keeps the record of them, and the next run reports them.
        """
        try:
            yield
        except LeadfeederError as error:
            if not self._problems.count:
                raise
            self._forget_reported_problems()
            message = f"{error.message} Additionally, {self._problem_summary()}"
            raise error.with_context(error.context, message=message) from error.__cause__
        except BaseException as error:
            if self._problems.count:
                error.add_note(self._problem_summary())
            raise

    def _forget_reported_problems(self) -> None:
        """Drop the spool if it has nothing but problems. A spool with rows reports them again when it is continued."""
        if not self._spool.lines:
            self._spool.begin(self._empty)

    def _problem_summary(self) -> str:
        count = self._problems.count
        rows = "1 row or day" if count == 1 else f"{count:,} rows or days"
        messages = join_messages([problem.message for problem in self._problems.problems], count)
        return f"{rows} could not be read completely. All others are in the database. {messages}"

    def _add_changes(self, committed: Mapping[str, SyncChanges]) -> None:
        self.changes = {table: changes + committed[table] for table, changes in self.changes.items()}


async def _open_spool(stack: ExitStack, path: Path, wait: float) -> VisitSpool:
    """Open the spool, and wait while another sync has it open."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return stack.enter_context(open_spool(path))
        except DatabaseLockedError:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(RETRY_INTERVAL)


async def _count_by_first_page(visits: Pager[WebVisit]) -> int | None:
    """Return the number of visits, or None if it is not reported. It is 0 only if the list is empty.

    Some servers count new visits later than they return them.
    """
    async with aclosing(visits.prefetch(0).pages()) as pages:
        async for page in pages:
            if page.items or page.problem_count or page.total:
                return page.total or None
    return 0


def _without_empty_ids(page: Page[T]) -> Page[T]:
    """Return a page without the rows whose id is empty, which then count as undecodable. A table would merge them."""
    rows = tuple(row for row in page.items if row.id)
    missing = len(page.items) - len(rows)
    if not missing:
        return page
    errors = (*page.decode_errors, DecodeError("A row has no id, so it cannot be stored."))
    return replace(page, items=rows, decode_errors=errors, undecodable=page.undecodable + missing)
