"""Parse dates and periods as they are written on the command line."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from leadfeeder_async.errors import check_argument
from leadfeeder_async.pagination.date_range import parse_relative_date, utc_today

MAX_HOURS = 24 * 366
"""The longest period that can be given in hours."""


def parse_day(text: str, today: date | None = None) -> date:
    """Parse ``2026-11-01``, ``today``, ``yesterday`` or ``30d``. ``today`` defaults to the current date in UTC."""
    check_argument(
        not _is_hours(text), f"{text!r} is not a date. Only `brief` and `watch` accept hours.", "Use `1d` for today."
    )
    return parse_relative_date(text, today or utc_today())


def parse_start(text: str, now: datetime) -> datetime:
    """Parse the start of a period: ``24h``, or a date as in :func:`parse_day`, in the time zone of ``now``."""
    if _is_hours(text) and 1 <= int(text[:-1]) <= MAX_HOURS:
        # In the local time of a day on which the clocks change, an hour would be missing or counted twice.
        return (now.astimezone(UTC) - timedelta(hours=int(text[:-1]))).astimezone(now.tzinfo)
    check_argument(
        not text.endswith("h"), f"{text!r} is not a valid number of hours.", "Use `24h` for the last 24 hours."
    )
    return datetime.combine(parse_day(text, now.date()), time(), now.tzinfo)


def start_date_of_export(until: str, last_day: date, today: date) -> date:
    """Return the date on which an export was started.

    On that date, ``until`` was resolved to ``last_day``. If ``until`` is an absolute date such as ``2026-11-01``, the
    start is unknown, and the result is ``today``.
    """
    resolved_today = parse_day(until, today)
    is_absolute = resolved_today == parse_day(until, today + timedelta(1))
    return today if is_absolute else last_day + (today - resolved_today)


def _is_hours(text: str) -> bool:
    return text.endswith("h") and text[:-1].isdecimal()
