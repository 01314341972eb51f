"""Charts as SVG: widths in per cent and heights in pixels, so that a chart fits any screen and stays legible.

A chart is one image to a screen reader, with its gist as the text; the numbers are in a table beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from leadfeeder_async.report.html import Markup, count, days, element, month_of, number_of, short_day
from leadfeeder_async.report.report_data import CreditReading, Step, TimeBucket

VISIT_CATEGORIES = (
    ("returning", "Returning"),
    ("reengaged", "Re-engaged"),
    ("new", "New"),
    ("unidentified", "Unknown"),
)
"""The layers of a bar of visits, from the bottom: class and name, in the order of ``Span.standings``."""

_TOP, _BOTTOM, _HEIGHT = 12, 212, 240
_WIDEST = 12.5
"""Per cent; a few bars are not made broader than this."""


class _Bar(msgspec.Struct, frozen=True):
    name: str
    """What stands below it."""
    tip: str
    layers: tuple[tuple[str, int], ...]
    """Class and number, from the bottom."""

    @property
    def total(self) -> int:
        return sum(number for _, number in self.layers)


def visits_chart(spans: Sequence[TimeBucket], step: Step) -> Markup:
    """Draw the visits of each day, week or month, stacked by standing."""
    return _bar_chart([_bar_of_visits(span, step) for span in spans], _visits_gist(spans, step))


def credits_chart(readings: Sequence[CreditReading], step: Step) -> Markup:
    """Draw the credits that were left on each day, week or month with a reading."""
    bars = [_Bar(_name(one, step), _reading_tip(one), (("credits", max(one.remaining, 0)),)) for one in readings]
    first, last = readings[0], readings[-1]
    gist = (
        f"Bars of the credits left, {days(first.day, last.day)}: {count(first.remaining)} at first, "
        f"{count(last.remaining)} at last."
    )
    return _bar_chart(bars, gist)


def share_bar(part: float, whole: float) -> Markup:
    """Draw a share as a small bar, for the eye only: its number stands beside it."""
    width = 100 * part / whole if whole else 0
    return element("svg", element("rect", width=f"{width:.1f}%", height="100%"), class_="share", aria_hidden="true")


def scale(largest: int) -> tuple[int, list[int]]:
    """Return the top of an axis that holds ``largest``, and its round ticks, at most six."""
    apart = next(one for one in _round_numbers() if largest <= 5 * one)
    top = apart * max(1, -(-largest // apart))
    return top, list(range(0, top + 1, apart))


def _round_numbers() -> Iterator[int]:
    magnitude = 1
    while True:
        yield from (magnitude, 2 * magnitude, 5 * magnitude)
        magnitude *= 10


def _name(of: TimeBucket | CreditReading, step: Step) -> str:
    return month_of(of.day) if step == "month" else short_day(of.day)


def _bar_of_visits(span: TimeBucket, step: Step) -> _Bar:
    layers = tuple((key, number) for (key, _), number in zip(VISIT_CATEGORIES, span.categories, strict=True))
    tip = f"{days(span.day, span.last_day)}: {number_of(span.visits, 'visit')}"
    parts = ", ".join(_parts(span.categories))
    return _Bar(_name(span, step), f"{tip} ({parts})" if parts else tip, layers)


def _parts(standings: Sequence[int]) -> list[str]:
    named = zip(VISIT_CATEGORIES, standings, strict=True)
    return [f"{count(number)} {name.lower()}" for (_, name), number in named if number]


def _visits_gist(spans: Sequence[TimeBucket], step: Step) -> str:
    most = max(spans, key=lambda span: span.visits)
    period = days(spans[0].day, spans[-1].last_day)
    if not most.visits:
        return f"Bars of the visits each {step}, {period}: none at all."
    sums = [sum(numbers) for numbers in zip(*(span.categories for span in spans), strict=True)]
    return (
        f"Bars of the visits each {step}, {period}: {', '.join(_parts(sums))}. "
        f"The most, {count(most.visits)}, in {days(most.day, most.last_day)}."
    )


def _reading_tip(one: CreditReading) -> str:
    return f"{days(one.day, one.day)}: {number_of(one.remaining, 'credit')} left"


def _bar_chart(bars: Sequence[_Bar], gist: str) -> Markup:
    """Put the bars above their grid, and the axis at the left."""
    top, ticks = scale(max(bar.total for bar in bars))
    slot = min(100 / len(bars), _WIDEST)
    heights = [(_y(tick, top), count(tick)) for tick in ticks]
    grid = (element("line", x2="100%", y1=f"{y:g}", y2=f"{y:g}") for y, _ in heights)
    numbers = (element("text", text, x="100%", y=f"{y + 4:g}") for y, text in heights)
    drawn = (_draw(bar, slot * place, slot, top) for place, bar in enumerate(bars))
    names = _names([bar.name for bar in bars], slot)
    axis = element("svg", *numbers, class_="axis", height=_HEIGHT, aria_hidden="true")
    plot = element(
        "svg", element("g", *grid, class_="grid"), *drawn, *names, class_="plot", height=_HEIGHT, aria_hidden="true"
    )
    return element("div", axis, plot, class_="chart", role="img", aria_label=gist)


def _y(number: float, top: int) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * number / top, 1)


def _draw(bar: _Bar, left: float, slot: float, top: int) -> Markup:
    """Stack the layers with a pixel of air between them; what is there at all is seen."""
    x, width, bottom = f"{left + slot * 0.12:.2f}%", f"{slot * 0.76:.2f}%", 0
    layers = list[Markup]()
    for key, number in bar.layers:
        if number:
            low, high = _y(bottom, top), _y(bottom + number, top)
            height = max(low - high - (1 if bottom else 0), 1)
            layers.append(element("rect", class_=key, x=x, width=width, y=f"{high:g}", height=f"{height:g}"))
        bottom += number
    whole = element("rect", x=f"{left:.2f}%", width=f"{slot:.2f}%", y=_TOP, height=_BOTTOM - _TOP, class_="slot")
    return element("g", element("title", bar.tip), whole, *layers)


def _names(names: Sequence[str], slot: float) -> Iterator[Markup]:
    """Name about eight places of the x axis; every other name is left out on a narrow screen."""
    every = -(-len(names) // 8)
    for place in range(0, len(names), every):
        middle = slot * (place + 0.5)
        anchor, x = ("start", slot * place) if middle < 4 else ("end", 100) if middle > 96 else ("middle", middle)
        minor = "minor" if place // every % 2 else None
        yield element("text", names[place], x=f"{x:.2f}%", y=_HEIGHT - 8, text_anchor=anchor, class_=minor)
