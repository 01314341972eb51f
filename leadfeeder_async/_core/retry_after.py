"""What a Retry-After header says, in seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite

RETRY_AFTER_CLAMP = 366 * 86_400.0
"""Any Retry-After is clamped to a year, so that dates stay computable."""


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or date, as seconds from ``now``; None if it says nothing."""
    if value is None:
        return None
    seconds = _seconds(value.strip(), now)
    return None if seconds is None or seconds <= 0 else min(seconds, RETRY_AFTER_CLAMP)


def _seconds(value: str, now: datetime) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return _seconds_to_date(value, now)
    return seconds if isfinite(seconds) else None


def _seconds_to_date(value: str, now: datetime) -> float | None:
    from email.utils import parsedate_to_datetime  # few servers send a date, and it takes a while to import

    try:
        then = parsedate_to_datetime(value)
        return ((then if then.tzinfo else then.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
