"""The state of an unfinished export: its position in the list, and the gaps so far."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import msgspec
from msgspec.structs import replace

from leadfeeder_async.errors import LeadfeederError
from leadfeeder_async.jobs.checkpoint import Checkpoint, Count, JobKind, JobState
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.page import ResumePosition, reads_from_start

MAX_RECORDED_GAPS = 100
"""Gaps that are recorded one by one. More of them are only counted."""

_OVERLAP = timedelta(1)
"""A row near midnight may be returned for the day before as well, so ids of that day are compared too."""


class DayOffset(msgspec.Struct, frozen=True, kw_only=True):
    """The place in the file at which the rows of a date range begin."""

    end: date
    """The last day of the range."""
    offset: Count
    """Bytes from the start of the file."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A row or a part of the list that could not be read."""

    start: date | None = None
    """The first day of its date range, in a list that is split by date."""
    message: str


class ExportState(JobState, frozen=True, kw_only=True):
    """The state of an export after some pages. Its methods return changed copies."""

    days: DateWindow | None = None
    """The date range of the export, if it has one."""
    position: ResumePosition | None = None
    """The position after the latest page, or None if the list can only be restarted."""
    offsets: tuple[DayOffset, ...] = ()
    """The offsets of the date ranges whose rows may repeat."""
    gaps: tuple[Gap, ...] = ()
    """The first gaps."""
    unrecorded_gaps: Count = 0
    """The number of gaps that are only counted."""
    unrecorded_gaps_until: date | None = None
    """The latest first day of the date ranges of these gaps."""
    stopped_at: str | None = None
    """The date range in which the list stopped early, or an empty string if it has none."""
    gaps_acknowledged: bool = False
    """True if the gaps have been reported. Resuming then completes the file without the missing rows."""

    @property
    def is_worth_keeping(self) -> bool:
        """True if the next run must know this state although no row is written yet."""
        position = self.position or ResumePosition()
        has_read = position.cursor is not None or position.ids > 0 or position.ended  # it may have been charged
        return has_read or self.gaps_acknowledged or self.stopped_at is not None

    @property
    def gap_count(self) -> int:
        """The number of gaps."""
        return len(self.gaps) + self.unrecorded_gaps

    @property
    def resume_offset(self) -> int:
        """The place in the file after which rows may repeat, if each row belongs to one day."""
        day = self.position.day if self.position else None
        starts = (start.offset for start in self.offsets if day is None or start.end >= day - _OVERLAP)
        return min(starts, default=0)

    def after_page(self, position: ResumePosition | None, window: DateWindow | None, offset: int) -> ExportState:
        """Return the state after a page.

        Args:
            position: The position of the page.
            window: The date range of the page, if the list is split by date.
            offset: The place in the file at which the rows of the page begin.
        """
        offsets = self.offsets
        if window is not None:
            offsets = tuple(start for start in offsets if start.end >= window.start - _OVERLAP)
            if all(start.end != window.end for start in offsets):
                offsets = (*offsets, DayOffset(end=window.end, offset=offset))
        return replace(self, position=position, offsets=offsets)

    def with_gaps(self, problems: Sequence[LeadfeederError], window: DateWindow | None, count: int) -> ExportState:
        """Return the state with the gaps of a page.

        Args:
            problems: The errors for the first gaps.
            window: The date range of the page, if the list is split by date.
            count: The number of gaps.
        """
        start = window.start if window else None
        gaps = (*self.gaps, *(Gap(start=start, message=problem.message) for problem in problems))
        unrecorded = self.unrecorded_gaps + len(gaps[MAX_RECORDED_GAPS:]) + count - len(problems)
        until = max(filter(None, (self.unrecorded_gaps_until, start)), default=None) if unrecorded else None
        return replace(self, gaps=gaps[:MAX_RECORDED_GAPS], unrecorded_gaps=unrecorded, unrecorded_gaps_until=until)

    def has_stopped_at(self, window: DateWindow | None) -> bool:
        """Return True if an earlier run ended because the list stopped early at the same place."""
        return self.stopped_at == str(window or "")

    def with_stop(self, window: DateWindow | None) -> ExportState:
        """Return the state of a run that ends because the list stopped early."""
        return replace(self, stopped_at=str(window or ""))

    def for_resume(self) -> ExportState:
        """Return the state for a resumed run, without gaps in date ranges that it reads again.

        A range that was split is read again only from its last part, so a gap in it remains.
        """
        if self.position is None or reads_from_start(self.position):
            return replace(self, gaps=(), unrecorded_gaps=0)
        day, until = self.position.day, self.unrecorded_gaps_until
        if day is None:
            return self
        gaps = tuple(gap for gap in self.gaps if gap.start is None or gap.start < day)
        is_read_again = until is not None and until >= day
        return replace(self, gaps=gaps, unrecorded_gaps=0 if is_read_again else self.unrecorded_gaps)

    def with_gaps_acknowledged(self) -> ExportState:
        """Return the state after the gaps were reported."""
        return replace(self, gaps=(), unrecorded_gaps=0, gaps_acknowledged=True)

    def at_end(self) -> ExportState:
        """Return the state at the end of the list. Resuming then only finishes the file."""
        return replace(self, position=ResumePosition(ended=True))


EXPORT = JobKind("export", Checkpoint[ExportState])
