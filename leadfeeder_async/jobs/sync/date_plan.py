"""The date ranges that a sync reads, and their order. Pure functions."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import date, timedelta

import msgspec
from msgspec.structs import replace

from leadfeeder_async.jobs.sync.transaction import SyncState
from leadfeeder_async.pagination.date_range import DateWindow, parse_days, split_window
from leadfeeder_async.settings import DEFAULT_MAX_SEARCH_ROWS

SLICE_ROWS = 30_000
"""The approximate number of visits that are merged at once.

DuckDB writes the rows of a slice twice, first to its log, unless they fill a row group. Larger slices take more memory,
and keep other processes from reading the database for longer.
"""

MIN_DAYS_TO_COUNT = 8
"""Date ranges of this many days or more are counted first, with one request. Shorter ones are one slice."""

MAX_COUNTED_DAYS = 7
"""The longest lookback that may be counted instead of read. A caller with a longer one wants to find edits."""


class SyncRange(msgspec.Struct, frozen=True):
    """A date range to read."""

    window: DateWindow
    backward: bool = False
    """True if its latest days are read first, so that they join the synced days."""

    def slices(self, visits: int, *starts: date) -> tuple[DateWindow, ...]:
        """Split the range into slices of about ``SLICE_ROWS`` visits. Each slice adjoins the days that are synced.

        Args:
            visits: The visits of the range.
            starts: Days at which a slice begins, so that its rows can be compared with counts.
        """
        slices = split_window(self.window, max(1, -(-visits // SLICE_ROWS)))
        for start in starts:
            slices = tuple(part for days in slices for part in _cut(days, start))
        return tuple(reversed(slices)) if self.backward else slices

    def without(self, done: DateWindow | None) -> SyncRange | None:
        """Return the rest of the range, or None if there is none.

        Args:
            done: The days that are done, which are the first ones to be read.
        """
        if done is None:
            return self
        start, end = self.window.start, self.window.end
        if self.backward:
            end = min(end, done.start - timedelta(1))
        else:
            start = max(start, done.end + timedelta(1))
        return SyncRange(DateWindow(start, end), self.backward) if start <= end else None


def continue_range(interrupted: SyncRange, planned: Sequence[SyncRange]) -> list[SyncRange] | None:
    """Return the date ranges of a run that continues an interrupted one, or None if they do not fit.

    Args:
        interrupted: The date range that the interrupted run was reading.
        planned: The date ranges of a run that continues nothing.
    """
    ranges, fits = [interrupted], False
    for days in planned:
        starts_before = days.window.start < interrupted.window.start
        if (days.backward, days.window.end) != (interrupted.backward, interrupted.window.end):
            ranges.append(days)
        elif starts_before or days.window.start == interrupted.window.start:
            fits = True
            if starts_before:
                earlier = DateWindow(days.window.start, interrupted.window.start - timedelta(1))
                ranges.append(SyncRange(earlier, backward=True))
    return ranges if fits else None


def plan_ranges(state: SyncState | None, since: date | None, today: date, lookback_days: int) -> Iterator[SyncRange]:
    """Yield the date ranges that a run reads: first the recent days, then days before the first synced one.

    Args:
        state: The days that are synced.
        since: The first day to sync.
        today: The last day to sync.
        lookback_days: The days before the last synced one that are read again. If all of them must be read, they count
            from the day on which all were last read.
    """
    if state is None:
        yield SyncRange(parse_days("since", since or default_since(today), "today", today))
        return
    newest = min(state.last_day, today)
    if state.reread_on is not None and is_reread_due(state, today, lookback_days):
        newest = min(newest, state.reread_on)  # days that have left the lookback since then may have been edited
    start = newest - timedelta(min(lookback_days, max(0, (newest - state.first_day).days)))
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
    return replace(state, first_day=min(state.first_day, window.start), last_day=max(state.last_day, window.end))


def with_visit_counts(state: SyncState, window: DateWindow, counts: Mapping[str, int]) -> SyncState:
    """Return the state with the visits that the server counted before some days were read. Only recent days are kept.

    Args:
        state: The days that are synced, including those that were read.
        window: The days that were read.
        counts: The visits by day (ISO 8601).
    """
    oldest = date.fromordinal(max(1, state.last_day.toordinal() - MAX_COUNTED_DAYS))
    read = {day.isoformat() for day in days_of(window) if day >= oldest}
    others = {
        day: visits for day, visits in state.visit_counts.items() if day >= oldest.isoformat() and day not in read
    }
    return replace(state, visit_counts=others | {day: visits for day, visits in counts.items() if day in read})


def days_to_count(window: DateWindow, lookback_days: int, last_day: date | None) -> list[date]:
    """Return the days whose visits are counted before they are read.

    These are the days of the lookback of the next run, and those that this run does not read if their count is the
    same as before.

    Args:
        window: The recent days.
        lookback_days: The days before the last synced one that are read again.
        last_day: The last synced day, or None if this run reads all days of the window.
    """
    if lookback_days > MAX_COUNTED_DAYS:
        return []
    next_start = window.end - timedelta(lookback_days)
    return [day for day in days_of(window) if day >= next_start or (last_day is not None and day <= last_day)]


def counts_after_reading(counts: Mapping[str, int], window: DateWindow, rows: int) -> dict[str, int]:
    """Return the counts of all days after some of them were read.

    If another number of visits was returned than counted before, the counts are not those of these days, or visits were
    lost or added. A later run must read these days again, so their counts are left out.

    Args:
        counts: The visits by day (ISO 8601).
        window: The days that were read.
        rows: The visits that were returned.
    """
    days = {day.isoformat() for day in days_of(window)}
    if days <= counts.keys() and rows == sum(counts[day] for day in days):
        return dict(counts)
    return {day: visits for day, visits in counts.items() if day not in days}


def counts_that_show_changes(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that show whether the visits of a day have changed.

    Some servers always count no rows, only the requested row, or no further than their row limit.
    """
    return {day: visits for day, visits in counts.items() if visits > 1 and visits != DEFAULT_MAX_SEARCH_ROWS}


def changed_ranges(
    state: SyncState, window: DateWindow, counts: Mapping[str, int], empty_days: Container[date] = ()
) -> list[SyncRange]:
    """Return the date ranges of the days whose number of visits has changed since they were last read.

    Args:
        state: The days that are synced.
        window: The recent days.
        counts: The visits by day (ISO 8601), as the server counts them now. A day without a count is read.
        empty_days: New days whose list is empty.
    """
    ranges = list[SyncRange]()
    for day in days_of(window):
        known = state.visit_counts.get(day.isoformat())
        if day in empty_days or (known is not None and counts.get(day.isoformat()) == known):
            continue
        if ranges and ranges[-1].window.end == day - timedelta(1):
            ranges[-1] = SyncRange(DateWindow(ranges[-1].window.start, day))
        else:
            ranges.append(SyncRange(DateWindow(day, day)))
    return ranges


def without_future(state: SyncState, today: date, last_visit_day: date | None) -> SyncState | None:
    """Return the days that are synced without those after today, which a run with a wrong clock recorded.

    Args:
        state: The days that are recorded as synced. The last one is after today.
        today: The current day.
        last_visit_day: The day of the last visit in the database. Days after it may never have been read.
    """
    if state.first_day > today:
        return None
    return SyncState(state.first_day, max(state.first_day, min(last_visit_day or state.first_day, today)))


def reread_hint(first_gap: date | None, last_day: date, lookback_days: int) -> str:
    """Return the hint for rows that could not be read.

    Args:
        first_gap: The earliest day that may lack rows, if it is known.
        last_day: The last synced day.
        lookback_days: The days before it that the next sync checks.
    """
    missed = (last_day - first_gap).days if first_gap else 0
    if missed <= lookback_days:
        return "The next sync retries these rows if their dates are within its lookback."
    return (
        f"Rows of {first_gap} or later are missing, and later syncs do not read them again. When the server returns "
        f"them, run one sync whose lookback begins on that day: with lookback_days={missed} now, and one more for each "
        "day that is synced until then."
    )


def _cut(window: DateWindow, day: date) -> tuple[DateWindow, ...]:
    """Return the days before a day and the others, or the date range if it does not contain both."""
    if not window.start < day <= window.end:
        return (window,)
    return DateWindow(window.start, day - timedelta(1)), DateWindow(day, window.end)


def days_of(window: DateWindow) -> Iterator[date]:
    """Yield the days of a date range."""
    return (window.start + timedelta(number) for number in range(window.days))


def is_reread_due(state: SyncState, today: date, lookback_days: int) -> bool:
    """Return True if the days of the lookback are read, and False if their visits are only counted.

    Counts do not show edits. All days that were in the lookback since it was last read are therefore read again.
    """
    if state.reread_on is None or lookback_days > MAX_COUNTED_DAYS:
        return True
    return (today - state.reread_on).days >= lookback_days
