"""The spool of a sync: rows that were read and not merged yet, as JSON lines beside the database.

A kill leaves the spool, and the same call continues it on the same day. It is dropped if the database has changed since
then, because its rows may then be merged already.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import date
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

import msgspec
from msgspec.structs import replace

from leadfeeder_async.errors import (
    CheckpointError,
    DatabaseError,
    DatabaseLockedError,
    IncompleteListError,
    LeadfeederError,
)
from leadfeeder_async.jobs.checkpoint import Checkpoint, Count, JobKind, JobState
from leadfeeder_async.jobs.duckdb_file import DEFAULT_MAX_LINE_BYTES
from leadfeeder_async.jobs.output_lock import NO_LOCK_ERRORS
from leadfeeder_async.jobs.resumable_file import JobIdentity, ResumableFile, load_unfinished, open_resumable
from leadfeeder_async.jobs.sync import row_mapping
from leadfeeder_async.jobs.sync.date_plan import SyncRange
from leadfeeder_async.jobs.sync.schema import VERSION
from leadfeeder_async.jobs.sync.transaction import Row, SyncState
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.places import Location, LocationAttributes
from leadfeeder_async.models.records import Company, CompanyAttributes, WebVisit, WebVisitAttributes
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.page import Page, ResumePosition


class SpooledVisit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A visit with the ids of its related records. Their attributes are lines of their own."""

    id: str
    attributes: WebVisitAttributes
    company_id: str | None
    location_id: str | None


class SpoolLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of a spool. One of its fields is set."""

    visit: SpooledVisit | None = None
    company: Row | None = None
    location: Row | None = None
    company_stub: str | None = None
    """The id of a company without attributes."""
    location_stub: str | None = None


class SpoolState(JobState, frozen=True, kw_only=True):
    """The content of a spool."""

    account: str = ""
    today: date | None = None
    """The last day of the run."""
    synced: SyncState | None = None
    """The days that were synced when the spool was begun."""
    range: SyncRange | None = None
    """The date range that is being read."""
    complete: DateWindow | None = None
    """The days whose visits are all in the spool."""
    current: DateWindow | None = None
    """The days that are being read."""
    position: ResumePosition | None = None
    """The position in ``current``, or None if it has just begun."""
    has_companies: bool = False
    """True if the companies of the date range were read."""
    max_line_bytes: Count = 0
    """The bytes of the largest page, which no line exceeds, or 0 if that is at most ``DEFAULT_MAX_LINE_BYTES``."""
    problems: tuple[str, ...] = ()
    """The first messages about rows that could not be read."""
    problem_count: Count = 0
    """The number of rows and days that could not be read, with those of slices that are merged."""
    problems_before_position: tuple[Count, Count] = (0, 0)
    """The number of messages and of problems before ``position``. A continued run finds the later ones again."""
    is_incomplete: bool = False
    """True if a list of visits stopped early."""

    @property
    def is_worth_keeping(self) -> bool:
        """True if there are problems that no error has reported yet."""
        return self.problem_count > 0

    def at_position(self) -> SpoolState:
        """Return the state at a position after which nothing was read yet."""
        return replace(self, problems_before_position=(len(self.problems), self.problem_count))

    def with_problems_of(self, state: SpoolState) -> SpoolState:
        """Return the state with the problems of another one, without those that are found again."""
        messages, count = state.problems_before_position
        return replace(self, problems=state.problems[:messages], problem_count=count).at_position()


SYNC = JobKind("sync", Checkpoint[SpoolState])


class VisitSpool:
    """The rows that a run has read and not merged yet.

    Args:
        output: The file.
    """

    def __init__(self, output: ResumableFile[SpoolState]) -> None:
        self._output = output
        self._encoder = msgspec.json.Encoder()
        self._latest = dict[str, CompanyAttributes | LocationAttributes]()
        """The attributes of records that visits include. The same ones often follow each other."""
        self.path = output.path

    @property
    def state(self) -> SpoolState:
        """The content of the spool."""
        return self._output.state

    @property
    def lines(self) -> int:
        """The number of lines: visits, companies and locations."""
        return self._output.checkpoint.rows

    @property
    def is_pending(self) -> bool:
        """True if the spool has rows or complete days that are not merged."""
        return self.lines > 0 or self.state.complete is not None

    def drop_repeated_problems(self, account: str) -> list[LeadfeederError]:
        """Drop the problems that a continued run finds again, and return the first ones of the others.

        Args:
            account: The account of this run. If the spool is that of another one, its messages name it.
        """
        state = self.state.with_problems_of(self.state)
        if state.account not in {"", account}:
            problems = tuple(f"Account {state.account}: {message}" for message in state.problems)
            state = replace(state, problems=problems, account=account)
        self._output.update(state)
        return [IncompleteListError(message) for message in self.state.problems]

    def belongs_to(self, expected: SpoolState) -> bool:
        """Return True if an interrupted run of the same day wrote the spool, and the database has not changed since.

        Args:
            expected: The account, day and synced days of this run.
        """
        state = self.state
        known = SpoolState(account=state.account, today=state.today, synced=state.synced)
        return self.lines > 0 and known == expected and state.range is not None and not state.is_incomplete

    def begin(self, state: SpoolState) -> None:
        """Drop all rows, and begin again."""
        self._latest.clear()
        self._output.restart(state)

    def begin_slice(self, window: DateWindow) -> None:
        """Record the days that are read next."""
        self._output.update(replace(self.state, current=window, position=None).at_position())

    def end_slice(self, *, is_complete: bool) -> None:
        """Record that the current days were read. They count as synced only if they are complete."""
        state = self.state
        if is_complete and state.current is not None:
            days = [day for part in (state.complete, state.current) if part for day in (part.start, part.end)]
            state = replace(state, complete=DateWindow(min(days), max(days)))
        self._output.update(replace(state, current=None, position=None).at_position())

    def end_companies(self) -> None:
        """Record that the companies of the date range were read."""
        self._output.update(replace(self.state, has_companies=True).at_position())

    def add_visits(self, page: Page[WebVisit]) -> None:
        """Append a page of visits."""
        account = self.state.account
        lines = list[SpoolLine]()
        for visit in page.items:
            company, location = visit.relationships.company, visit.relationships.location
            company_id, location_id = (company.id if company else None), (location.id if location else None)
            lines.append(SpoolLine(SpooledVisit(visit.id, visit.attributes, company_id or None, location_id or None)))
            if company and company_id and self._has_changed(company):
                lines.append(SpoolLine(company=row_mapping.company_row(account, company)))
            if location and location_id and self._has_changed(location):
                lines.append(SpoolLine(location=row_mapping.location_row(account, location)))
        self._append(lines, page, page.position)

    def add_companies(self, page: Page[CompanyLocation]) -> None:
        """Append a page of companies."""
        account = self.state.account
        lines = list[SpoolLine]()
        for row in page.items:
            company, location = row.company, row.location
            if company and company.id:
                has_attributes = row_mapping.has_attributes(company)
                line = row_mapping.company_row(account, company) if has_attributes else None
                lines.append(SpoolLine(company=line, company_stub=None if line else company.id))
            if location and location.id:
                has_attributes = row_mapping.has_attributes(location)
                line = row_mapping.location_row(account, location) if has_attributes else None
                lines.append(SpoolLine(location=line, location_stub=None if line else location.id))
        self._append(lines, page, None)

    def _has_changed(self, record: Company | Location) -> bool:
        """Return True if a record has attributes other than those of its latest line."""
        attributes = record.attributes
        if not row_mapping.has_attributes(record) or self._latest.get(record.id) == attributes:
            return False
        if len(self._latest) >= MAX_REMEMBERED:
            self._latest.clear()
        self._latest[record.id] = attributes
        return True

    def close(self) -> None:
        """Save the rows, or remove the files if there are none."""
        self._output.close()

    def _append(
        self, lines: Sequence[SpoolLine], page: Page[WebVisit] | Page[CompanyLocation], position: ResumePosition | None
    ) -> None:
        data = self._encoder.encode_lines(lines)
        state, found = self.state, page.partial_errors
        if position is not None and (state.position is None or state.position.day != position.day):
            state = state.at_position()
        is_incomplete = state.current is not None and any(isinstance(error, IncompleteListError) for error in found)
        state = replace(
            state,
            position=position or state.position,
            max_line_bytes=max(state.max_line_bytes, len(data) if len(data) > DEFAULT_MAX_LINE_BYTES else 0),
            problems=_with_messages(state.problems, page.problems) if page.problem_count else state.problems,
            problem_count=state.problem_count + page.problem_count,
            is_incomplete=state.is_incomplete or is_incomplete,
        )
        self._output.append(data, len(lines), state)


def _with_messages(messages: tuple[str, ...], problems: Sequence[LeadfeederError]) -> tuple[str, ...]:
    return (*messages, *(problem.message for problem in problems[: MAX_SPOOLED_PROBLEMS - len(messages)]))


MAX_SPOOLED_PROBLEMS = 100
"""The most messages about rows that a spool keeps. The others are only counted."""

MAX_REMEMBERED = 2_000
"""The most records of which the latest line is remembered."""


@contextmanager
def open_spool(path: Path) -> Generator[VisitSpool]:
    """Open the spool of a database for this process alone. If the run fails, its rows are kept.

    Raises:
        DatabaseLockedError: Another sync is writing the database.
        DatabaseError: The spool cannot be written.
    """
    with translate_spool_errors(path), _open(path.resolve()) as output:
        spool = VisitSpool(output)
        yield spool
        spool.close()


@contextmanager
def translate_spool_errors(path: Path) -> Generator[None]:
    """Raise DatabaseError for errors of the spool."""
    try:
        yield
    except CheckpointError as error:
        if error.reason == "locked":
            raise DatabaseLockedError(
                f"Another sync is writing {path}.", hint="Wait for it, or choose another file.", reason="locked"
            ) from None
        code = getattr(error.__cause__, "errno", None)
        if code in {ENOSPC, EDQUOT, EFBIG}:
            raise DatabaseError(
                f"{path}.part cannot grow: {error.message}",
                hint="Everything read so far is kept. Make space and run the same call again.",
                reason="no_space",
            ) from error
        has_hint = error.reason == "not_ours" or code in NO_LOCK_ERRORS
        hint = error.hint if has_hint else "Fix the problem and run the same call again."
        raise DatabaseError(error.message, hint=hint) from error


@contextmanager
def _open(path: Path) -> Generator[ResumableFile[SpoolState]]:
    identity = JobIdentity(f"tables {VERSION}", "a sync")
    usable = _is_usable(path, identity)
    with open_resumable(path, SYNC, identity, SpoolState(), resume=usable, overwrite=True) as output:
        yield output


def _is_usable(path: Path, identity: JobIdentity) -> bool:
    """Return True unless the spool is damaged or belongs to another version. It is then begun again.

    Raises:
        CheckpointError: No sync wrote the files.
    """
    try:
        with open_resumable(path, SYNC, identity, SpoolState(), resume=True, overwrite=True):
            return True
    except CheckpointError as error:
        if error.reason == "other_job":
            load_unfinished(path, SYNC)  # raises unless another version of the tables is the reason
            return False
        if error.reason in {"damaged", "other_version"}:
            return False
        raise
