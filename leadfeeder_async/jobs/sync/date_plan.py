"""Pure: which days a run reads, and in what order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import msgspec

from leadfeeder_async.jobs.sync.transaction import SyncState
from leadfeeder_async.pagination.date_range import DateWindow, make_window, split_window

SLICE_ROWS = 5_000
"""About how many visits are read between two saved positions: 50 pages, which a kill may cost."""

MIN_DAYS_TO_COUNT = 8
"""Ranges of this many days are counted first, with one request; shorter ones are one slice."""


class SyncRange(msgspec.Struct, frozen=True):
    """Days to read, and in which direction."""

    window: DateWindow
    backward: bool = False

    def slices(self, visits: int) -> tuple[DateWindow, ...]:
        """Cut it by the number of its visits; each slice leaves no gap to the days that are there."""
        parts = split_window(self.window, max(1, -(-visits // SLICE_ROWS)))
        return tuple(reversed(parts)) if self.backward else parts


def plan_ranges(state: SyncState | None, since: date | None, today: date, lookback_days: int) -> Iterator[SyncRange]:
    """Return the days to read: the new ones with some before them, then those before the first that are asked for."""
    if state is None:
        yield SyncRange(make_window(since or default_since(today), today))
        return
    newest = min(state.last_day, today)
    start = newest - timedelta(min(lookback_days, (newest - state.first_day).days))
    yield SyncRange(DateWindow(start, max(start, today)))
    if since is not None and since < state.first_day:
        yield SyncRange(DateWindow(since, state.first_day - timedelta(1)), backward=True)


def default_since(today: date) -> date:
    """Return the first of the last 90 days."""
    return today - timedelta(89)


def extended(state: SyncState | None, window: DateWindow) -> SyncState:
    """Return the days that are there once ``window`` is, which lies beside or over them."""
    if state is None:
        return SyncState(window.start, window.end)
    return SyncState(min(state.first_day, window.start), max(state.last_day, window.end))
