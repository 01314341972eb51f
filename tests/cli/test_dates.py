"""Dates and periods as they are written on the command line."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from leadfeeder_async import ConfigurationError
from leadfeeder_async.cli.dates import parse_day, parse_start, start_date_of_export

TODAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("today", TODAY),
        ("yesterday", date(2026, 11, 21)),
        ("1d", TODAY),
        ("30d", date(2026, 10, 24)),
        ("2026-01-02", date(2026, 1, 2)),
    ],
)
def test_parse_day(text: str, day: date) -> None:
    """A day is a date, a word or a number of days that includes today."""
    assert parse_day(text, TODAY) == day


@pytest.mark.parametrize("text", ["", "d", "0d", "-3d", "tomorrow", "2026-13-01", "24h"])
def test_parse_invalid_day(text: str) -> None:
    """Other strings raise ConfigurationError."""
    with pytest.raises(ConfigurationError):
        parse_day(text, TODAY)


@pytest.mark.parametrize("day", [date(2027, 3, 28), date(2026, 10, 25)])
@pytest.mark.parametrize("hours", [1, 2, 24])
def test_hours_when_the_clocks_change(day: date, hours: int) -> None:
    """Hours are real hours, also on a day on which the clocks change."""
    now = datetime.combine(day, time(3, 30), ZoneInfo("Europe/Berlin"))
    start = parse_start(f"{hours}h", now)
    assert now.timestamp() - start.timestamp() == hours * 3_600
    assert start.tzinfo is now.tzinfo


def test_parse_start() -> None:
    """A start is a number of hours before now, or the start of a day."""
    assert parse_start("24h", NOW) == datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
    assert parse_start("2d", NOW) == datetime(2026, 11, 21, tzinfo=UTC)
    for text in ("0h", "h", "9999h", "soon"):
        with pytest.raises(ConfigurationError):
            parse_start(text, NOW)


@pytest.mark.parametrize(
    ("until", "last_day", "started"),
    [
        ("today", date(2026, 11, 20), date(2026, 11, 20)),
        ("yesterday", date(2026, 11, 20), date(2026, 11, 21)),
        ("3d", date(2026, 11, 15), date(2026, 11, 17)),
        ("2026-11-20", date(2026, 11, 20), TODAY),
    ],
)
def test_start_date_of_export(until: str, last_day: date, started: date) -> None:
    """The start date follows from a relative last day. An absolute one does not reveal it."""
    assert start_date_of_export(until, last_day, TODAY) == started
