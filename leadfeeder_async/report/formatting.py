"""Format values for the report page."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from datetime import date, datetime
from hashlib import sha256

from markupsafe import Markup

PLACEHOLDER = "–"  # noqa: RUF001 - an en dash, the usual sign for a missing value in a table
MAX_STRING_LENGTH = 160

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def printable(value: object) -> object:
    """Replace control characters in a string and shorten it if it is long. Return Markup and other types unchanged."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = value if len(value) <= MAX_STRING_LENGTH else value[: MAX_STRING_LENGTH - 1] + "…"
    return _UNPRINTABLE.sub("\ufffd", text)


def integer(number: float | None) -> str:
    """Format a whole number: ``12,345``."""
    return PLACEHOLDER if number is None else f"{round(number):,}"


def decimal(number: float | None) -> str:
    """Format a number with one decimal: ``3.5``."""
    return PLACEHOLDER if number is None or not math.isfinite(number) else f"{number:,.1f}"


def minutes(seconds: float | None) -> str:
    """Format a duration in minutes: ``3.5``."""
    return decimal(None if seconds is None else seconds / 60)


def percent_of(part: float, whole: float) -> str:
    """Format a share of a total: ``12.3%``."""
    return f"{100 * part / whole:,.1f}%" if whole else PLACEHOLDER


def pluralize(number: int, noun: str, plural: str | None = None) -> str:
    """Format a number and its noun: ``1 day``, ``2 days``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def short_date(day: date) -> str:
    """Format a date without its year: ``3 Nov``."""
    return f"{day.day} {_MONTHS[day.month - 1]}"


def month(day: date) -> str:
    """Format the month of a date: ``Nov 2026``."""
    return f"{_MONTHS[day.month - 1]} {day.year}"


def long_date(day: date) -> str:
    """Format a date: ``3 Nov 2026``."""
    return f"{short_date(day)} {day.year}"


def date_range(first: date, last: date) -> str:
    """Format a range of dates: ``26 Oct to 24 Nov 2026``."""
    if first == last:
        return long_date(first)
    return f"{short_date(first) if first.year == last.year else long_date(first)} to {long_date(last)}"


def date_and_time(moment: datetime) -> str:
    """Format a date and time: ``3 Nov 2026, 14:05``."""
    return f"{long_date(moment)}, {moment:%H:%M}"


def website(url: str | None) -> str | None:
    """Return the URL for a link, or None if ``url`` is not the address of a website."""
    address = (url or "").strip()
    if "://" not in address:
        address = f"https://{address}"
    return address if len(address) <= MAX_STRING_LENGTH and _WEBSITE.fullmatch(address) else None


_WEBSITE = re.compile(r"(?i)https?://[\w-]+(\.[\w-]+)+(:\d+)?([/?#][^\s\x00-\x20\x7f\"'<>\\]*)?")
"""An http(s) URL with a host that has a dot, and without a user name."""


def csp_hash(source: str) -> str:
    """Return the hash that allows an inline style or script in a content security policy."""
    return f"sha256-{b64encode(sha256(source.encode()).digest()).decode()}"
