"""Ranges of days, and how they are cut when they hold too many rows."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta
from typing import TypeAlias

import msgspec

from leadfeeder_async.errors import check_argument

DateLike: TypeAlias = "date | datetime | str"
"""A day: a date, a datetime (its date counts) or ``YYYY-MM-DD``."""

MAX_SEARCH_ROWS = 10_000
"""The API hands out no row past this many of one search."""


class DateWindow(msgspec.Struct, frozen=True, order=True):
    """The days from ``start`` to ``end``, both included."""

    start: date
    end: date

    def __str__(self) -> str:
        return f"{self.start}" if self.start == self.end else f"{self.start} to {self.end}"

    @property
    def days(self) -> int:
        """How many days it covers."""
        return (self.end - self.start).days + 1


def make_window(start: DateLike, end: DateLike) -> DateWindow:
    """Read the two days of a search and check their order."""
    window = DateWindow(parse_date("start_date", start), parse_date("end_date", end))
    check_argument(
        window.start <= window.end,
        f"start_date={window.start} is after end_date={window.end}.",
        "Give the earlier day as start_date.",
    )
    return window


def parse_date(name: str, value: DateLike) -> date:
    """Read one day of an argument called ``name``."""
    try:
        return value.date() if isinstance(value, datetime) else date.fromisoformat(str(value))
    except ValueError:
        check_argument(False, f"{name}={value!r} is not a day.", "Write it as YYYY-MM-DD.")
        raise


def parse_relative_date(text: str, today: date) -> date:
    """Read a day as people write it: ``2026-11-01``, ``today``, or ``30d`` for the first of the last 30 days."""
    if text in {"today", "yesterday"}:
        return today - timedelta(text == "yesterday")
    if text.endswith("d") and text[:-1].isdecimal() and 1 <= int(text[:-1]) <= 3_660:
        return today - timedelta(int(text[:-1]) - 1)
    try:
        return date.fromisoformat(text)
    except ValueError:
        check_argument(
            False, f"{text!r} is not a day.", "Write YYYY-MM-DD, `today`, `yesterday`, or `30d` for the last 30 days."
        )
    return today


def split_window(window: DateWindow, parts: int) -> tuple[DateWindow, ...]:
    """Cut a window into ``parts`` of nearly equal length, in order; no more parts than days."""
    parts = min(parts, window.days)
    cuts = [window.days * part // parts for part in range(parts + 1)]
    start = window.start
    return tuple(
        DateWindow(start + timedelta(first), start + timedelta(after - 1)) for first, after in itertools.pairwise(cuts)
    )


def split_count(total_count: int) -> int:
    """Return into how many parts a window of ``total_count`` rows is best cut: each about four fifths full."""
    return max(2, -(-total_count * 5 // (MAX_SEARCH_ROWS * 4)))
