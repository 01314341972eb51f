"""The date ranges of a sync: without gaps, whatever the runs are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec.structs import replace

from leadfeeder_async import ConfigurationError
from leadfeeder_async.jobs.sync.date_plan import (
    MAX_COUNTED_DAYS,
    SLICE_ROWS,
    SyncRange,
    changed_ranges,
    counts_after_reading,
    counts_that_show_changes,
    days_of,
    days_to_count,
    extended,
    is_reread_due,
    plan_ranges,
    with_visit_counts,
)
from leadfeeder_async.jobs.sync.transaction import SyncState
from leadfeeder_async.pagination.date_range import DateWindow

days = st.integers(0, 40)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), days), st.integers(0, 5), st.integers(0, 12))),
    st.integers(-1, 5),
)
def test_synced_days_have_no_gap(runs: list[tuple[int, int | None, int, int]], counted: int) -> None:
    """Whatever runs follow each other, and wherever they stop, each synced day was read on that day or later."""
    today, state, read_on = date(2026, 1, 1), None, dict[date, date]()
    for days_passed, days_ago, lookback_days, stops_after in runs:
        today += timedelta(days_passed)
        since = None if days_ago is None else today - timedelta(days_ago)
        ranges = plan_ranges(state, since, today, lookback_days)
        starts = () if counted < 0 else (today - timedelta(counted), today)
        slices = [window for days in ranges for window in days.slices(SLICE_ROWS * 3, *starts)]
        assert all(window.end < start or start <= window.start for window in slices for start in starts)
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


def test_days_that_return_other_rows_keep_no_count() -> None:
    """Days that return another number of rows than counted, or that were not all counted, keep no count."""
    counts = {"2026-01-01": 5, "2026-01-02": 7, "2026-01-03": 2}
    window = DateWindow(date(2026, 1, 1), date(2026, 1, 2))
    assert counts_after_reading(counts, window, 12) == counts
    assert counts_after_reading(counts, window, 11) == counts_after_reading(counts, window, 13) == {"2026-01-03": 2}
    longer = DateWindow(date(2026, 1, 1), date(2026, 1, 4))
    assert counts_after_reading(counts, longer, 100) == {}


def test_day_without_visits_is_not_read() -> None:
    """A new day whose list is empty is not read. A count of 0 or 1 is no reason, as some servers always report it."""
    state = SyncState(date(2026, 1, 1), date(2026, 1, 4), date(2026, 1, 4), {"2026-01-01": 4, "2026-01-02": 3})
    window = DateWindow(date(2026, 1, 1), date(2026, 1, 6))
    counts = counts_that_show_changes(
        {"2026-01-01": 4, "2026-01-02": 3, "2026-01-03": 0, "2026-01-05": 1, "2026-01-06": 0}
    )
    read = [days.window for days in changed_ranges(state, window, counts, {date(2026, 1, 6)})]
    assert read == [DateWindow(date(2026, 1, 3), date(2026, 1, 5))]


class Server(dict[date, tuple[int, int]]):
    """The number of visits of each day, and the number of edits."""

    def counts(self, counted: Iterable[date]) -> dict[str, int]:
        return counts_that_show_changes({day.isoformat(): self.get(day, (0, 0))[0] for day in counted})


@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 4), st.booleans()))), min_size=8),
    st.integers(0, 4),
)
def test_visits_and_edits_within_the_lookback_are_found(
    runs: list[tuple[int, list[tuple[int, bool]]]], lookback_days: int
) -> None:
    """Visits are found by the next run, and edits after at most as many days as the lookback has."""
    today, state, server = date(2026, 1, 1), None, Server()
    copied, due = Server(), dict[date, date]()
    for days_passed, changes in runs:
        today += timedelta(days_passed)
        [recent] = plan_ranges(state, today if state is None else None, today, lookback_days)
        in_lookback = {today - timedelta(number) for number in range(lookback_days + 1)}
        for days_ago, is_edit in changes:
            day = today - timedelta(days_ago)
            visits, edits = server.get(day, (0, 0))
            server[day] = (visits, edits + 1) if is_edit else (visits + 1, edits)
            if is_edit and state is not None and day in days_of(recent.window) and day in in_lookback:
                due.setdefault(day, today + timedelta(lookback_days))
        is_due = state is None or is_reread_due(state, today, lookback_days)
        counts = server.counts(
            days_to_count(recent.window, lookback_days, None if is_due or not state else state.last_day)
        )
        ranges = [recent] if is_due or state is None else changed_ranges(state, recent.window, counts)
        for days in ranges:
            for day in days_of(days.window):
                copied[day] = server.get(day, (0, 0))
                due.pop(day, None)
            state = with_visit_counts(extended(state, days.window), days.window, counts)
        state = extended(state, recent.window)
        state = replace(state, reread_on=today if is_due else state.reread_on)
        assert len(state.visit_counts) <= MAX_COUNTED_DAYS + 1
        for day in days_of(recent.window):
            assert copied.get(day, (0, 0))[0] == server.get(day, (0, 0))[0]
        assert all(today < last for last in due.values())


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
