"""Draw charts as inline SVG, with widths in percent and heights in pixels, so that they fit every screen.

Screen readers read a chart as one image with a summary as its label. The page shows the numbers in a table next to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from markupsafe import Markup

from leadfeeder_async.report.formatting import date_range, integer, month, pluralize, short_date
from leadfeeder_async.report.report_data import CreditReading, Granularity, TimeBucket

VISIT_CATEGORIES = (
    ("returning", "Returning"),
    ("reengaged", "Re-engaged"),
    ("new", "New"),
    ("unidentified", "Unidentified"),
)
"""The layers of a visits bar from bottom to top, in the order of ``TimeBucket.categories``: class and label."""

_TOP, _BOTTOM, _HEIGHT = 12, 212, 240
_MAX_BAR_WIDTH = 12.5
"""The width limit of a bar in percent, for charts with few bars."""


class _Bar(msgspec.Struct, frozen=True):
    label: str
    """The label below the bar."""
    tooltip: str
    layers: tuple[tuple[str, int], ...]
    """Class and value of each layer, from bottom to top."""

    @property
    def total(self) -> int:
        return sum(value for _, value in self.layers)


def visits_chart(buckets: Sequence[TimeBucket], granularity: Granularity) -> Markup:
    """Draw the visits per day, week or month, stacked by category."""
    return _bar_chart([_visits_bar(bucket, granularity) for bucket in buckets], _visits_summary(buckets, granularity))


def credits_chart(readings: Sequence[CreditReading], granularity: Granularity) -> Markup:
    """Draw the credits left at each reading."""
    bars = [_credits_bar(reading, granularity) for reading in readings]
    first, last = readings[0], readings[-1]
    summary = (
        f"Bar chart of the credits left, {date_range(first.day, last.day)}: {integer(first.remaining)} at the start, "
        f"{integer(last.remaining)} at the end."
    )
    return _bar_chart(bars, summary)


def share_bar(part: float, whole: float) -> Markup:
    """Draw a share as a small bar. It is hidden from screen readers, which read the number next to it."""
    width = 100 * part / whole if whole else 0
    return _element("svg", _element("rect", width=f"{width:.1f}%", height="100%"), class_="share", aria_hidden="true")


def axis_ticks(largest: int) -> list[int]:
    """Return two to six ticks at round numbers, from 0 to at least ``largest``."""
    distance = next(number for number in _round_numbers() if largest <= 5 * number)
    intervals = max(1, -(-largest // distance))
    return list(range(0, distance * intervals + 1, distance))


def _round_numbers() -> Iterator[int]:
    magnitude = 1
    while True:
        yield from (magnitude, 2 * magnitude, 5 * magnitude)
        magnitude *= 10


def _label(day_of: TimeBucket | CreditReading, granularity: Granularity) -> str:
    return month(day_of.day) if granularity == "month" else short_date(day_of.day)


def _visits_bar(bucket: TimeBucket, granularity: Granularity) -> _Bar:
    tooltip = f"{date_range(bucket.day, bucket.last_day)}: {pluralize(bucket.visits, 'visit')}"
    parts = _nonzero_parts(bucket.categories)
    layers = tuple((key, value) for (key, _), value in zip(VISIT_CATEGORIES, bucket.categories, strict=True))
    return _Bar(_label(bucket, granularity), f"{tooltip} ({parts})" if parts else tooltip, layers)


def _credits_bar(reading: CreditReading, granularity: Granularity) -> _Bar:
    tooltip = f"{date_range(reading.day, reading.day)}: {pluralize(reading.remaining, 'credit')} left"
    return _Bar(_label(reading, granularity), tooltip, (("credits", max(reading.remaining, 0)),))


def _nonzero_parts(categories: Sequence[int]) -> str:
    named = zip(VISIT_CATEGORIES, categories, strict=True)
    return ", ".join(f"{integer(value)} {label.lower()}" for (_, label), value in named if value)


def _visits_summary(buckets: Sequence[TimeBucket], granularity: Granularity) -> str:
    highest = max(buckets, key=lambda bucket: bucket.visits)
    sums = [sum(values) for values in zip(*(bucket.categories for bucket in buckets), strict=True)]
    return (
        f"Bar chart of the visits per {granularity}, {date_range(buckets[0].day, buckets[-1].last_day)}: "
        f"{_nonzero_parts(sums)}. "
        f"The highest bar is {date_range(highest.day, highest.last_day)} with {pluralize(highest.visits, 'visit')}."
    )


def _bar_chart(bars: Sequence[_Bar], summary: str) -> Markup:
    ticks = axis_ticks(max(bar.total for bar in bars))
    top = ticks[-1]
    width = min(100 / len(bars), _MAX_BAR_WIDTH)
    heights = [(_y(tick, top), integer(tick)) for tick in ticks]
    numbers = (_element("text", text, x="100%", y=f"{y + 4:g}") for y, text in heights)
    lines = (_element("line", x2="100%", y1=f"{y:g}", y2=f"{y:g}") for y, _ in heights)
    plot = (
        _element("g", *lines, class_="grid"),
        *(_draw_bar(bar, width * index, width, top) for index, bar in enumerate(bars)),
        *_draw_labels([bar.label for bar in bars], width),
    )
    return _element(
        "div",
        _element("svg", *numbers, class_="axis", height=_HEIGHT, aria_hidden="true"),
        _element("svg", *plot, class_="plot", height=_HEIGHT, aria_hidden="true"),
        class_="chart",
        role="img",
        aria_label=summary,
    )


def _y(value: float, top: int) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * value / top, 1)


def _draw_bar(bar: _Bar, left: float, width: float, top: int) -> Markup:
    """Stack the layers of a bar, one pixel apart. A layer is at least one pixel high, so that it is visible."""
    x, layer_width, bottom = f"{left + width * 0.12:.2f}%", f"{width * 0.76:.2f}%", 0
    layers = list[Markup]()
    for key, value in bar.layers:
        if value:
            low, high = _y(bottom, top), _y(bottom + value, top)
            height = max(low - high - (1 if bottom else 0), 1)
            layers.append(_element("rect", class_=key, x=x, width=layer_width, y=f"{high:g}", height=f"{height:g}"))
        bottom += value
    hover_area = _element(
        "rect", x=f"{left:.2f}%", width=f"{width:.2f}%", y=_TOP, height=_BOTTOM - _TOP, class_="hover-area"
    )
    return _element("g", _element("title", bar.tooltip), hover_area, *layers)


def _draw_labels(labels: Sequence[str], width: float) -> Iterator[Markup]:
    """Draw about eight labels below the bars. Narrow screens hide every other one, which has the class ``minor``."""
    distance = -(-len(labels) // 8)
    for index in range(0, len(labels), distance):
        middle = width * (index + 0.5)
        anchor, x = ("start", width * index) if middle < 4 else ("end", 100) if middle > 96 else ("middle", middle)
        minor = "minor" if index // distance % 2 else None
        yield _element("text", labels[index], x=f"{x:.2f}%", y=_HEIGHT - 8, text_anchor=anchor, class_=minor)


def _element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """Return an element with attributes such as ``class_`` and ``aria_label``. Attributes that are None are omitted."""
    given = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    opening = Markup().join(Markup(' {}="{}"').format(key, value) for key, value in given)
    return Markup("<{0}{1}>{2}</{0}>").format(name, opening, Markup().join(children))
