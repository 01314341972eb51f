"""HTML that cannot be injected into, and values written for people."""

from __future__ import annotations

import html
import math
import re
from datetime import date, datetime

PLACEHOLDER = "–"  # noqa: RUF001 - an en dash, as tables have it
LONGEST = 160
"""The most characters of a name that are shown."""

_EMPTY = frozenset({"line", "rect", "path"})
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Markup(str):
    """Text that is HTML already; every other text is escaped when it becomes part of a page."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """Make an element; ``class_`` stands for class and ``aria_label`` for aria-label."""
    opened = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _EMPTY and not children:
        return Markup(f"<{opened}/>")
    return Markup(f"<{opened}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """Put texts and elements side by side."""
    return Markup("".join(map(escaped, children)))


def escaped(text: str) -> Markup:
    """Make text safe inside an element and inside a quoted attribute; control characters become visible."""
    return text if isinstance(text, Markup) else Markup(html.escape(_CONTROLS.sub("\ufffd", text)))


def _attribute(key: str, value: str | float | None) -> str:
    return "" if value is None else f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"'


def shortened(text: str) -> str:
    """Cut a very long text, visibly."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def count(number: float | None) -> str:
    """Write a whole number: ``12,345``."""
    return PLACEHOLDER if number is None else f"{round(number):,}"


def decimal(number: float | None) -> str:
    """Write a number with one decimal: ``3.5``."""
    return PLACEHOLDER if number is None or not math.isfinite(number) else f"{number:,.1f}"


def minutes(seconds: float | None) -> str:
    """Write a duration in minutes: ``3.5``."""
    return decimal(None if seconds is None else seconds / 60)


def percent(part: float, whole: float) -> str:
    """Write a share: ``12.3 %``; nothing of nothing is nothing."""
    return f"{100 * part / whole:.1f} %" if whole else PLACEHOLDER


def number_of(number: int, noun: str, nouns: str | None = None) -> str:
    """Write a number and its noun: ``1 day``, ``2 days``."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def short_day(day: date) -> str:
    """Write a day without its year: ``3 Nov``."""
    return f"{day.day} {_MONTHS[day.month - 1]}"


def month_of(day: date) -> str:
    """Write a day's month: ``Nov 2026``."""
    return f"{_MONTHS[day.month - 1]} {day.year}"


def long_day(day: date) -> str:
    """Write a day: ``3 Nov 2026``."""
    return f"{short_day(day)} {day.year}"


def days(first: date, last: date) -> str:
    """Write a range of days: ``26 Oct to 24 Nov 2026``."""
    if first == last:
        return long_day(first)
    return f"{short_day(first) if first.year == last.year else long_day(first)} to {long_day(last)}"


def moment(when: datetime) -> str:
    """Write a time: ``3 Nov 2026, 14:05``."""
    return f"{long_day(when)}, {when:%H:%M}"
