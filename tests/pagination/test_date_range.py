"""Date ranges and how they are split."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async import ConfigurationError, DateWindow
from leadfeeder_async.pagination.date_range import months_before, parse_days, split_count, split_window

DAYS = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(DAYS, st.integers(0, 800), st.integers(2, 60))
def test_parts_cover_the_date_range_once(start: date, length: int, parts: int) -> None:
    """The parts follow each other without gaps or overlaps, and their lengths differ by at most a day."""
    window = DateWindow(start, start + timedelta(length))
    split = split_window(window, parts)
    assert (split[0].start, split[-1].end) == (window.start, window.end)
    assert all(before.end + timedelta(1) == after.start for before, after in itertools.pairwise(split))
    assert sum(part.days for part in split) == window.days
    assert len(split) == min(parts, window.days)
    assert max(part.days for part in split) - min(part.days for part in split) <= 1


def test_split_at_end_of_calendar() -> None:
    """A date range that ends on the last possible day can be split."""
    window = DateWindow(date.max - timedelta(9), date.max)
    assert [part.days for part in split_window(window, 2)] == [5, 5]
    assert split_window(window, 2)[-1].end == date.max


@given(st.integers(10_000 + 1, 10_000_000))
def test_split_count(total: int) -> None:
    """Evenly distributed rows stay below the row limit, and no more parts are made than necessary."""
    parts = split_count(total, 10_000)
    assert parts >= 2
    assert total / parts <= 0.8 * 10_000
    assert parts == 2 or total / (parts - 1) > 0.8 * 10_000


def test_date_types() -> None:
    """Dates, datetimes and strings denote the same day."""
    day = date(2026, 11, 1)
    assert (
        parse_days("start_date", "2026-11-01", "end_date", day)
        == parse_days("start_date", datetime(2026, 11, 1, 23, tzinfo=UTC), "end_date", day)
        == DateWindow(day, day)
    )
    assert parse_days("start_date", "2026-11-01", "end_date", "2026-11-30").days == 30


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [
        ("2026-11-02", "2026-11-01", "start_date"),
        ("01.11.2026", "2026-11-01", "start_date"),
        ("2026-11-01", "", "end_date"),
        (None, "2026-11-01", "start_date"),
        (20261101, "2026-11-01", "start_date"),
        ("20261101", "2026-11-01.5", "end_date"),
    ],
)
def test_invalid_dates(start: Any, end: Any, name: str) -> None:
    """Dates in the wrong order or format raise an error that names the argument."""
    with pytest.raises(ConfigurationError, match=name):
        parse_days("start_date", start, "end_date", end)


def test_messages_for_invalid_dates() -> None:
    """Each message contains the value and a hint."""
    with pytest.raises(ConfigurationError) as order:
        parse_days("start_date", "2026-11-02", "end_date", "2026-11-01")
    with pytest.raises(ConfigurationError) as form:
        parse_days("start_date", "01.11.2026", "end_date", "2026-11-01")
    assert (order.value.message, order.value.hint) == (
        "start_date=2026-11-02 is after end_date=2026-11-01.",
        "Pass the earlier day as start_date.",
    )
    assert (form.value.message, form.value.hint) == (
        "start_date='01.11.2026' is not a date.",
        "Write it as YYYY-MM-DD.",
    )


def test_date_range_as_string() -> None:
    """A single day is one date, and several days are a range."""
    assert str(parse_days("start_date", "2026-11-01", "end_date", "2026-11-01")) == "2026-11-01"
    assert str(parse_days("start_date", "2026-11-01", "end_date", "2026-11-03")) == "2026-11-01 to 2026-11-03"


def test_months_before() -> None:
    """Months are counted across the turn of a year."""
    assert months_before(date(2026, 1, 1), 2) == date(2025, 11, 1)
