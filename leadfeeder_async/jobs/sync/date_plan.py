"""The date ranges that a sync reads, and their order. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import msgspec

from leadfeeder_async.jobs.sync.transaction import SyncState
from leadfeeder_async.pagination.date_range import DateWindow, make_window, split_window

SLICE_ROWS = 5_000
"""The approximate number of visits between two saved states. After a kill, as many may be read again."""

MIN_DAYS_TO_COUNT = 8
"""Date ranges of this many days are counted first, with one request. Shorter ones are one slice."""


class SyncRange(msgspec.Struct, frozen=True):
    """A date range to read."""

    window: DateWindow
    backward: bool = False
    """True if its latest days are read first, so that they join the synced days."""

    def slices(self, visits: int) -> tuple[DateWindow, ...]:
        """Split the range into slices of about ``SLICE_ROWS`` visits. Each slice adjoins the days that are synced."""
        slices = split_window(self.window, max(1, -(-visits // SLICE_ROWS)))
        return tuple(reversed(slices)) if self.backward else slices


def plan_ranges(state: SyncState | None, since: date | None, today: date, lookback_days: int) -> Iterator[SyncRange]:
    """Yield the date ranges that a run reads: first the recent days, then days before the first synced one.

    Args:
        state: The days that are synced.
        since: The first day to sync.
        today: The last day to sync.
        lookback_days: The days before the last synced one that are read again.
    """
    if state is None:
        yield SyncRange(make_window(since or default_since(today), today))
        return
    newest = min(state.last_day, today)
    start = newest - timedelta(min(lookback_days, (newest - state.first_day).days))
    yield SyncRange(DateWindow(start, max(start, today)))
    if since is not None and since < state.first_day:
        yield SyncRange(DateWindow(since, state.first_day - timedelta(1)), backward=True)


def default_since(today: date) -> date:
    """Return the first day of a first sync, which reads 90 days."""
    return today - timedelta(89)


def extended(state: SyncState | None, window: DateWindow) -> SyncState:
    """Return the days that are synced after ``window``, which overlaps or adjoins those that are."""
    if state is None:
        return SyncState(window.start, window.end)
    return SyncState(min(state.first_day, window.start), max(state.last_day, window.end))
