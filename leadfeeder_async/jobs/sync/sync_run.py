"""A sync: what is new at the server, into the tables, so that no kill loses or doubles anything.

The days that are there are one unbroken range, kept in ``sync_state``. A run reads slices of days at either end of it:
the companies of a slice, then its visits, each page in a transaction of its own. The last one also moves the range over
the slice. Whatever was committed of a slice that did not come to its end is read again, and rows are merged on their
ids.
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
from leadfeeder_async.jobs.progress import OnProgress, Progress, ProgressTracker
from leadfeeder_async.jobs.sync import row_mapping
from leadfeeder_async.jobs.sync.date_plan import MIN_DAYS_TO_COUNT, SyncRange, extended, plan_ranges
from leadfeeder_async.jobs.sync.lookup_tables import LOOKUP_TABLES, TableWrite
from leadfeeder_async.jobs.sync.sync_database import VERSION, SyncDatabase, check_usable
from leadfeeder_async.jobs.sync.transaction import KEYS, Row, SyncChanges, SyncState, Transaction, Value
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.date_range import DateLike, DateWindow, parse_date
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.page import Page
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.problems import join_messages

T = TypeVar("T", bound=HasId)


class SyncResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one sync did."""

    account_id: str
    first_day: date
    """The first day whose visits are in the database."""
    last_day: date
    """The last one."""
    tables: Mapping[str, SyncChanges]
    """What became of the rows of each table."""
    skipped: Mapping[str, LeadfeederError]
    """The tables that the server refused, and why; the others are whole."""
    requests: int
    rate_limited: int
    """Answers 429."""
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
    """Bring a DuckDB database up to date with an account's visits, companies, tags, lists, usage and credits.

    ``await sync_account(lf, "leadfeeder.duckdb")``. Free; extra ``duckdb``. The first run reads from ``since`` (the
    last 90 days) to today, later ones from ``lookback_days`` before the last day that is there: visits come late. An
    earlier ``since`` fills in the days before. Rows are merged on (account_id, id), so one file can hold several
    accounts. Every page is committed with what belongs to it; after any interruption the same call goes on.
    ``on_progress`` is called after each page of visits.

    Raises DatabaseError, before anything is sent, where the file is no database, is open in another process or was
    written by a newer version, and later where it cannot grow; ConfigurationError without DuckDB, or for the name of a
    data file such as .csv; IncompleteListError, after everything else is committed, where rows or days could not be
    read whole.
    """
    check_usable(Path(path))
    check_argument(lookback_days >= 0, f"lookback_days={lookback_days!r} must be 0 or more.")
    first = None if since is None else parse_date("since", since)
    meter = ProgressTracker(lf.stats)
    with SyncDatabase(Path(path)) as database:
        account = account_id or lf.account_id or (await lf.accounts.get()).data.id
        job = SyncRun(lf.with_options(account_id=account), database, account, meter, on_progress)
        with job.include_problems():
            state = await job.read_days(first, datetime.now(UTC).date(), lookback_days)
            skipped = await job.sync_lookup_tables()
            await job.finish(state)
    now = meter.now()
    return SyncResult(
        account_id=account,
        first_day=state.first_day,
        last_day=state.last_day,
        tables=job.changes,
        skipped=skipped,
        requests=now.requests,
        rate_limited=now.rate_limited,
        credits=now.credits,
        elapsed=now.elapsed,
    )


REREAD_HINT = "The next sync asks for them again as long as their days are among those it reads anew."
"""What to do where a run came to its end, and something could not be read."""


class SyncRun:
    """One run of a sync."""

    def __init__(
        self,
        lf: AsyncLeadfeeder,
        database: SyncDatabase,
        account: str,
        meter: ProgressTracker,
        on_progress: OnProgress | None,
    ) -> None:
        self._lf = lf
        self._database = database
        self._account = account
        self._meter = meter
        self._on_progress = on_progress
        self._expected: int | None = None
        """The visits this run will read, as the server counted them."""
        self._problems = list[LeadfeederError]()
        self._stopped = False
        """A list of visits ended before its end: no days from there on count as there."""
        self.changes = {table: SyncChanges() for table in KEYS if table != "sync_state"}

    async def read_days(self, since: date | None, today: date, lookback_days: int) -> SyncState:
        """Read the companies and visits of the days that are to be read; return the days that are there then."""
        state = await self._database.transact(lambda transaction: transaction.read_state(self._account))
        for stretch in plan_ranges(state, since, today, lookback_days):
            for window in stretch.slices(await self._count(stretch)):
                state = extended(state, window)
                await self._read_slice(window)
                if not self._stopped:
                    await self._save(state)
        assert state is not None
        return state

    async def _count(self, stretch: SyncRange) -> int:
        self._expected = None
        if stretch.window.days < MIN_DAYS_TO_COUNT:
            return 0
        counted = await self._visits(stretch.window).count() or 0
        self._expected = self._meter.now().done + counted
        return counted

    async def _read_slice(self, window: DateWindow) -> None:
        async with aclosing(self._pages(self._visitors(window), whole=False)) as companies:
            async for found in companies:
                await self._commit(partial(_write_visitors, self._account, found.items))
        async with aclosing(self._pages(self._visits(window), whole=True)) as visits:
            async for page in visits:
                await self._commit(partial(_write_visits, self._account, page.items))
                self._tell(self._meter.count(len(page.items), self._expected or page.total))

    def _visits(self, window: DateWindow) -> Pager[WebVisit]:
        return self._lf.web_visits.search(start_date=window.start, end_date=window.end)

    def _visitors(self, window: DateWindow) -> Pager[CompanyLocation]:
        return self._lf.web_visits.companies(start_date=window.start, end_date=window.end, include=["company"])

    async def _pages(self, pager: Pager[T], *, whole: bool) -> AsyncGenerator[Page[T], None]:
        """Read pages; what is missing is told at the end of the run.

        Where a list that has to be ``whole`` stopped before its end, its days are not noted as there, so that the next
        run reads them again.
        """
        async with aclosing(pager.pages()) as pages:
            async for page in pages:
                self._problems.extend(page.problems)
                self._stopped |= whole and any(isinstance(one, IncompleteListError) for one in page.problems)
                yield page

    async def sync_lookup_tables(self) -> dict[str, LeadfeederError]:
        """Read the other tables; return those that the server refused."""
        skipped = dict[str, LeadfeederError]()
        for table, read in LOOKUP_TABLES.items():
            try:
                write = await read(self._lf, self._account)
            except (PermissionDeniedError, NotFoundError) as refused:
                skipped[table] = refused
            else:
                await self._commit(write)
        return skipped

    async def finish(self, state: SyncState) -> None:
        """Note that the run came to its end, and raise where something could not be read."""
        if not self._stopped:
            await self._save(state, finished_at=datetime.now(UTC).isoformat())
        if self._problems:
            error = IncompleteListError(
                self._said(), self._problems[0].context, hint=REREAD_HINT, problems=self._problems
            )
            self._problems.clear()
            raise error

    @contextmanager
    def include_problems(self) -> Generator[None]:
        """Let an error that ends the run speak of what could not be read before it, too: no later run knows."""
        try:
            yield
        except LeadfeederError as error:
            if not self._problems:
                raise
            message = f"{error.message} Besides: {self._said()}"
            raise error.with_context(error.context, message=message) from error.__cause__
        except BaseException as error:
            if self._problems:
                error.add_note(self._said())
            raise

    def _said(self) -> str:
        parts = "1 row or day" if len(self._problems) == 1 else f"{len(self._problems):,} rows or days"
        said = f"{parts} could not be read whole; all others are in the database."
        return f"{said} {join_messages([one.message for one in self._problems], len(self._problems))}"

    async def _save(self, state: SyncState, **more: Value) -> None:
        row: Row = {
            "account_id": self._account,
            "version": VERSION,
            "first_day": state.first_day.isoformat(),
            "last_day": state.last_day.isoformat(),
            **more,
        }
        await self._commit(lambda transaction: transaction.upsert("sync_state", [row]))

    async def _commit(self, work: TableWrite) -> None:
        def counted(transaction: Transaction) -> Mapping[str, SyncChanges]:
            work(transaction)
            return transaction.changes

        done = await self._database.transact(counted)
        self.changes = {table: changes + done[table] for table, changes in self.changes.items()}

    def _tell(self, progress: Progress) -> None:
        if self._on_progress is not None:
            self._on_progress(progress)


def _write_visitors(account: str, found: tuple[CompanyLocation, ...], transaction: Transaction) -> None:
    transaction.upsert("companies", [row_mapping.company_row(account, row.company) for row in found if row.company])
    transaction.upsert("locations", [row_mapping.location_row(account, row.location) for row in found if row.location])


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
    transaction.upsert("locations", [row_mapping.location_row(account, one.location) for one in visits if one.location])
