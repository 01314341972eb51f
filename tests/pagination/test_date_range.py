"""Ranges of days and how they are cut."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async import ConfigurationError, DateWindow
from leadfeeder_async.pagination.date_range import make_window, split_count, split_window

DAYS = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(DAYS, st.integers(0, 800), st.integers(2, 60))
def test_parts_cover_the_window_once(start: date, length: int, parts: int) -> None:
    """The parts follow one another without gap or overlap, each at least a day, and no part is twice another."""
    window = DateWindow(start, start + timedelta(length))
    cut = split_window(window, parts)
    assert (cut[0].start, cut[-1].end) == (window.start, window.end)
    assert all(before.end + timedelta(1) == after.start for before, after in itertools.pairwise(cut))
    assert sum(part.days for part in cut) == window.days
    assert len(cut) == min(parts, window.days)
    assert max(part.days for part in cut) - min(part.days for part in cut) <= 1


def test_parts_reach_the_last_day_there_is() -> None:
    """A window up to the end of the calendar is cut too, though no day comes after it."""
    window = DateWindow(date.max - timedelta(9), date.max)
    assert [part.days for part in split_window(window, 2)] == [5, 5]
    assert split_window(window, 2)[-1].end == date.max


@given(st.integers(10_000 + 1, 10_000_000))
def test_even_rows_fit_their_parts(total: int) -> None:
    """Rows spread evenly fill no part to the wall, and no more parts are made than that takes."""
    parts = split_count(total, 10_000)
    assert parts >= 2
    assert total / parts <= 0.8 * 10_000
    assert parts == 2 or total / (parts - 1) > 0.8 * 10_000


def test_days_in_every_form() -> None:
    """Dates, datetimes and texts name the same day."""
    day = date(2026, 11, 1)
    assert (
        make_window("2026-11-01", day)
        == make_window(datetime(2026, 11, 1, 23, tzinfo=UTC), day)
        == DateWindow(day, day)
    )
    assert make_window("2026-11-01", "2026-11-30").days == 30


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [
        ("2026-11-02", "2026-11-01", "start_date"),
        ("01.11.2026", "2026-11-01", "start_date"),
        ("2026-11-01", "", "end_date"),
        (None, "2026-11-01", "start_date"),
        (20261101, "2026-11-01.5", "end_date"),
    ],
)
def test_wrong_days_are_refused(start: Any, end: Any, name: str) -> None:
    """Days the wrong way round or in another form raise an error that names the argument."""
    with pytest.raises(ConfigurationError, match=name):
        make_window(start, end)


def test_wrong_days_are_told_with_what_to_do() -> None:
    """Each mistake names what was given and how to give it."""
    with pytest.raises(ConfigurationError) as order:
        make_window("2026-11-02", "2026-11-01")
    with pytest.raises(ConfigurationError) as form:
        make_window("01.11.2026", "2026-11-01")
    assert (order.value.message, order.value.hint) == (
        "start_date=2026-11-02 is after end_date=2026-11-01.",
        "Pass the earlier day as start_date.",
    )
    assert (form.value.message, form.value.hint) == (
        "start_date='01.11.2026' is not a date.",
        "Write it as YYYY-MM-DD.",
    )


def test_window_is_written_as_its_days() -> None:
    """One day stands alone; several are a range."""
    assert str(make_window("2026-11-01", "2026-11-01")) == "2026-11-01"
    assert str(make_window("2026-11-01", "2026-11-03")) == "2026-11-01 to 2026-11-03"
