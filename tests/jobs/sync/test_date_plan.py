"""The date ranges of a sync: without gaps, whatever the runs are."""

from __future__ import annotations

from datetime import date, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from leadfeeder_async import ConfigurationError
from leadfeeder_async.jobs.sync.date_plan import (
    MAX_COUNTED_DAYS,
    SLICE_ROWS,
    SyncRange,
    extended,
    plan_ranges,
    visits_when_read,
    with_visit_counts,
)
from leadfeeder_async.jobs.sync.lookup_tables import months_before
from leadfeeder_async.jobs.sync.transaction import SyncState
from leadfeeder_async.pagination.date_range import DateWindow

days = st.integers(0, 40)


@given(st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), days), st.integers(0, 5), st.integers(0, 12))))
def test_synced_days_have_no_gap(runs: list[tuple[int, int | None, int, int]]) -> None:
    """Whatever runs follow each other, and wherever they stop, each synced day was read on that day or later."""
    today, state, read_on = date(2026, 1, 1), None, dict[date, date]()
    for days_passed, days_ago, lookback_days, stops_after in runs:
        today += timedelta(days_passed)
        since = None if days_ago is None else today - timedelta(days_ago)
        ranges = plan_ranges(state, since, today, lookback_days)
        slices = [window for days in ranges for window in days.slices(SLICE_ROWS * 3)]
        if stops_after >= len(slices) and since is not None:
            assert min(window.start for window in slices) <= since or (state and state.first_day <= since)
        for window in slices[:stops_after]:
            read_on |= dict.fromkeys((window.start + timedelta(day) for day in range(window.days)), today)
            state = extended(state, window)
        if state is not None:
            synced = [state.first_day + timedelta(day) for day in range((state.last_day - state.first_day).days + 1)]
            assert set(synced) == set(read_on)
            assert all(read_on[day] >= day for day in synced)
            assert stops_after < len(slices) or state.last_day == today


@given(st.lists(st.tuples(days, st.integers(0, 12)), min_size=1), days, st.integers(0, 12))
def test_visit_counts_are_those_of_the_latest_read(reads: list[tuple[int, int]], start: int, length: int) -> None:
    """The count of some days is the sum of what was last read, or unknown if a day was not read recently."""
    first, state, latest = date(2026, 1, 1), None, dict[date, int]()
    for number, (offset, span) in enumerate(reads):
        window = DateWindow(first + timedelta(offset), first + timedelta(offset + span))
        read = {window.start + timedelta(day): number + 1 for day in range(0, window.days, 2)}
        latest |= {window.start + timedelta(day): read.get(window.start + timedelta(day), 0) for day in range(span + 1)}
        state = with_visit_counts(
            extended(state, window), window, {day.isoformat(): visits for day, visits in read.items()}
        )
        assert len(state.visit_counts) <= MAX_COUNTED_DAYS + 1
    assert state is not None
    asked = [first + timedelta(start + day) for day in range(length + 1)]
    visits = visits_when_read(state, DateWindow(asked[0], asked[-1]))
    synced = [day for day in asked if day <= state.last_day]
    if visits is None:
        assert any(day not in latest or (state.last_day - day).days > MAX_COUNTED_DAYS for day in synced)
    else:
        assert visits == sum(latest[day] for day in synced)


def test_first_run_reads_ninety_days() -> None:
    """Without ``since``, the first run reads the last 90 days."""
    assert list(plan_ranges(None, None, date(2026, 3, 31), 3)) == [
        SyncRange(DateWindow(date(2026, 1, 1), date(2026, 3, 31)))
    ]
    assert extended(None, DateWindow(date.min, date.max)) == SyncState(date.min, date.max)


def test_since_after_today_is_refused() -> None:
    """A first day in the future is an error."""
    with pytest.raises(ConfigurationError, match="is after"):
        list(plan_ranges(None, date(2026, 4, 1), date(2026, 3, 31), 3))


def test_lookback_ends_at_the_first_synced_day() -> None:
    """A run looks back to the first synced day at most."""
    state, today = SyncState(date(2026, 1, 1), date(2026, 3, 1)), date(2026, 3, 2)
    for lookback_days in (59, 60, 1_000_000, 10**12):
        assert list(plan_ranges(state, None, today, lookback_days)) == [SyncRange(DateWindow(state.first_day, today))]
    assert list(plan_ranges(state, None, today, 58)) == [SyncRange(DateWindow(date(2026, 1, 2), today))]


def test_months_before() -> None:
    """Months are counted across the turn of a year."""
    assert months_before(date(2026, 1, 1), 2) == date(2025, 11, 1)
