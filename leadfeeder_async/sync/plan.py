"""Pure: which days a run reads, and in what order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import msgspec

from leadfeeder_async.sync.transaction import State
from leadfeeder_async.windows import Window, make_window, split

SLICE_ROWS = 5_000
"""About how many visits are read between two saved positions: 50 pages, which a kill may cost."""

COUNTED_FROM = 8
"""Ranges of this many days are counted first, with one request; shorter ones are one slice."""


class Stretch(msgspec.Struct, frozen=True):
    """Days to read, and in which direction."""

    window: Window
    backward: bool = False

    def slices(self, visits: int) -> tuple[Window, ...]:
        """Cut it by the number of its visits; each slice leaves no gap to the days that are there."""
        parts = split(self.window, max(1, -(-visits // SLICE_ROWS)))
        return tuple(reversed(parts)) if self.backward else parts


def stretches(state: State | None, since: date | None, today: date, lookback_days: int) -> Iterator[Stretch]:
    """Return the days to read: the new ones with some before them, then those before the first that are asked for."""
    if state is None:
        yield Stretch(make_window(since or default_since(today), today))
        return
    newest = min(state.last_day, today)
    start = newest - timedelta(min(lookback_days, (newest - state.first_day).days))
    yield Stretch(Window(start, max(start, today)))
    if since is not None and since < state.first_day:
        yield Stretch(Window(since, state.first_day - timedelta(1)), backward=True)


def default_since(today: date) -> date:
    """Return the first of the last 90 days."""
    return today - timedelta(89)


def widened(state: State | None, window: Window) -> State:
    """Return the days that are there once ``window`` is, which lies beside or over them."""
    if state is None:
        return State(window.start, window.end)
    return State(min(state.first_day, window.start), max(state.last_day, window.end))
