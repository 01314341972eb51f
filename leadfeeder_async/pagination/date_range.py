"""Ranges of days, and how they are split if they contain too many rows."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec

from leadfeeder_async._argument_checks import check_string, reject, show_value, spelling_hint
from leadfeeder_async.errors import ConfigurationError, check_argument

DateLike: TypeAlias = "date | datetime | str"
"""A day: a date, a datetime (its date counts) or a string ``YYYY-MM-DD``."""


LATEST_START_OF_DAY = 12
"""The hour in UTC at which a day has begun in all time zones."""


class DateWindow(msgspec.Struct, frozen=True, order=True):
    """The days from ``start`` to ``end``, both inclusive."""

    start: date
    end: date

    def __str__(self) -> str:
        return f"{self.start}" if self.start == self.end else f"{self.start} to {self.end}"

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.end - self.start).days + 1


def utc_today() -> date:
    """Return the current day in UTC, by the clock of this machine."""
    return datetime.now(UTC).date()


def parse_days(start_name: str, start: object, end_name: str, end: object) -> DateWindow:
    """Return the days between two arguments, or raise ConfigurationError if the last one is before the first one."""
    days = DateWindow(_parse_day(start_name, start), _parse_day(end_name, end))
    check_argument(
        days.start <= days.end,
        f"{start_name}={days.start} is after {end_name}={days.end}.",
        f"Pass the earlier day as {start_name}.",
        argument=start_name,
    )
    return days


def _parse_day(name: str, value: object) -> date:
    if not isinstance(value, date | str):
        reject(name, value, "must be a date.", "Pass a date, or write YYYY-MM-DD.")
    return parse_date(name, value)


def parse_date(name: str, value: DateLike) -> date:
    """Return the day of an argument, or raise ConfigurationError."""
    try:
        return value.date() if isinstance(value, datetime) else date.fromisoformat(str(value))
    except ValueError:
        raise ConfigurationError(
            f"{name}={value!r} is not a date.", hint="Write it as YYYY-MM-DD.", argument=name
        ) from None


def parse_relative_date(text: str, today: date) -> date:
    """Return a day written as ``2026-11-01``, ``today``, ``yesterday`` or ``30d``, the first of the last 30 days."""
    if text in {"today", "yesterday"}:
        return today - timedelta(text == "yesterday")
    if text.endswith("d") and len(text) <= len("3660d") and text[:-1].isdecimal() and 1 <= int(text[:-1]) <= 3_660:
        return today - timedelta(int(text[:-1]) - 1)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is not a date.", hint="Write YYYY-MM-DD, `today`, `yesterday`, or `30d` for the last 30 days."
        ) from None


def parse_time_zone(name: str) -> tzinfo:
    """Return a time zone by its name, such as ``Europe/Berlin``, or raise ConfigurationError."""
    check_string("tz", name)
    zone = _zone(name)
    if zone is not None:
        return zone
    known = sorted(available_timezones())
    hint = spelling_hint(name, known, "Write a name such as Europe/Berlin or UTC.")
    if not known:  # Windows has no time zones of its own
        hint = "This computer has no list of time zones. Run `pip install tzdata`."
    raise ConfigurationError(f"tz={show_value(name)} is not a time zone.", hint=hint, argument="tz")


def _zone(name: str) -> tzinfo | None:
    if name.split("/", maxsplit=1)[0] in _LOCAL_NAMES:
        return None
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


_LOCAL_NAMES = frozenset({"localtime", "posix", "posixrules", "right"})
"""Files and folders that only the time zone database of some systems has. DuckDB does not know them."""


def split_window(window: DateWindow, parts: int) -> tuple[DateWindow, ...]:
    """Split a window into ``parts`` of nearly equal length, in order, but into no more parts than it has days."""
    parts = min(parts, window.days)
    offsets = [window.days * part // parts for part in range(parts + 1)]
    start = window.start
    pairs = itertools.pairwise(offsets)
    return tuple(DateWindow(start + timedelta(first), start + timedelta(after - 1)) for first, after in pairs)


def split_count(total_count: int, max_search_rows: int) -> int:
    """Return into how many parts to split a window of ``total_count`` rows, so that each is about four fifths full."""
    return max(2, -(-total_count * 5 // (max_search_rows * 4)))


def months_before(first: date, months: int) -> date:
    """Return the first day of an earlier month.

    Args:
        first: The first day of a month.
        months: The number of months to go back.
    """
    for _ in range(months):
        first = (first - timedelta(1)).replace(day=1)
    return first
