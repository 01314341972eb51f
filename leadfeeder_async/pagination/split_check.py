"""Date ranges that were split: the rows of their parts are compared with the count of the whole range."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.page import ResumePosition

CountRows: TypeAlias = Callable[[DateWindow], Awaitable[int | None]]
"""Returns the number of rows of a date range, as the server counts them now, or None if it does not report it."""

RECOUNTS = 3
"""How often a gap is counted again, because rows may be added and removed meanwhile."""


class SplitRange(msgspec.Struct):
    """A date range that is read in parts."""

    window: DateWindow
    parts: tuple[DateWindow, ...]
    total: int
    """The rows of the range, as the server counted them before it was split. 0 if unknown."""
    parent: SplitRange | None
    """The range that this one is a part of."""
    ids: set[str] | None
    """The ids of all rows, if a row may belong to several parts."""
    rows: int = 0
    """Distinct rows of the parts that are done. With ``ids``, only those without an id."""
    overlap: int = 0
    """Rows that the part before contained too."""
    first_overlap: int = 0
    """Rows of the first part that the range before this one contained too."""
    parts_done: int = 0
    position: ResumePosition | None = None
    """The position after the latest part."""

    @property
    def is_done(self) -> bool:
        """True if all parts were read."""
        return self.parts_done == len(self.parts)

    @property
    def distinct_rows(self) -> int:
        """The number of distinct rows that arrived."""
        return self.rows + len(self.ids or ())

    def add(self, rows: int, overlap: int, position: ResumePosition | None) -> None:
        """Record a part that is done.

        Args:
            rows: Its distinct rows.
            overlap: How many of them the part before contained too.
            position: The position after it.
        """
        if self.parts_done:
            self.overlap += overlap
            rows -= overlap
        else:
            self.first_overlap = overlap
        self.rows += rows
        self.parts_done += 1
        self.position = position

    async def count_missing(self, count: CountRows) -> int:
        """Return how many rows the server counts in the range, but not in its parts.

        If fewer rows arrived than were counted, the range and its parts are counted again, because rows may have been
        removed meanwhile. A range is complete if its count equals the counts of its parts, because the rows of each
        part are compared with the count of the part.
        """
        missing = self.total - self.distinct_rows
        for _ in range(RECOUNTS):
            if missing <= 0:
                return 0
            before = await count(self.window)
            if before is not None and before <= self.distinct_rows:
                return 0
            counts = [await count(part) for part in self.parts]
            after = await count(self.window)
            reported = [found for found in counts if found is not None]
            if before is None or after is None or len(reported) < len(counts):
                break  # the first count remains the last one that can be trusted
            total = min(before, after)
            missing = min(total - sum(reported) + self.overlap, total - self.distinct_rows)
        return max(0, missing)


class SplitRanges:
    """The ranges of one list that were split."""

    def __init__(self) -> None:
        self._latest_ids = set[str]()
        """The ids of the latest part."""
        self._done = deque[SplitRange]()
        """The ranges whose parts were all read and whose rows were not counted yet."""

    def add_part(self, split: SplitRange | None, ids: set[str], rows: int, position: ResumePosition | None) -> None:
        """Record a part that is done, or a range that was not split.

        Args:
            split: The range that it is a part of.
            ids: The ids of its rows.
            rows: The number of its rows, including those without an id.
            position: The position after it.
        """
        overlap = 0
        if split is not None and split.ids is not None:
            split.ids |= ids
            rows -= len(ids)
        else:
            overlap = len(ids & self._latest_ids)
            self._latest_ids = ids
        self._add(split, rows, overlap, position)

    async def next_gap(self, count: CountRows) -> tuple[SplitRange, int] | None:
        """Return the next range whose parts lack rows, and the number of these rows. Return None if there is none."""
        while self._done:
            split = self._done.popleft()
            missing = await split.count_missing(count)
            if split.parent is not None and split.parent.ids is not None:
                split.parent.ids |= split.ids or set()
            self._add(split.parent, split.rows + missing, split.first_overlap, split.position)
            if missing:
                return split, missing
        return None

    def _add(self, split: SplitRange | None, rows: int, overlap: int, position: ResumePosition | None) -> None:
        if split is not None:
            split.add(rows, overlap, position)
            if split.is_done:
                self._done.append(split)
