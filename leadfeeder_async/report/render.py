"""Render a report as one HTML page that loads nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from leadfeeder_async._version import __version__
from leadfeeder_async.report import charts, formatting
from leadfeeder_async.report.report_data import Report, Totals
from leadfeeder_async.settings import DEFAULT_MONTHLY_QUOTA

MAX_TAGS = 6
"""The number of tags that are shown for a company."""

_FILTERS: dict[str, Callable[..., str | None]] = {
    function.__name__: function
    for function in (
        formatting.integer,
        formatting.csp_hash,
        formatting.date_and_time,
        formatting.date_range,
        formatting.decimal,
        formatting.long_date,
        formatting.minutes,
        formatting.percent_of,
        formatting.pluralize,
        formatting.short_date,
        formatting.website,
    )
}


class HeadlineCard(msgspec.Struct, frozen=True, kw_only=True):
    """A headline number and its change."""

    name: str
    value: str
    previous: str | None = None
    """The value of the days before. None if the values cannot be compared."""
    direction: Literal["up", "down"] | None = None
    """None if the number did not change."""
    change: str | None = None
    """The change in percent. None if the previous value is zero."""


def render(report: Report) -> str:
    """Return the HTML page of a report. The same report always gives the same page."""
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            headlines=tuple(headline_cards(report.totals, report.totals_before)),
            credits_chart=charts.credits_chart,
            share_bar=charts.share_bar,
            visits_chart=charts.visits_chart,
            MAX_TAGS=MAX_TAGS,
            MONTHLY_QUOTA=DEFAULT_MONTHLY_QUOTA,
            PLACEHOLDER=formatting.PLACEHOLDER,
            VERSION=__version__,
            VISIT_CATEGORIES=charts.VISIT_CATEGORIES,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("leadfeeder_async.report"),
        autoescape=True,
        finalize=formatting.printable,  # applies to each value before it is escaped
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(_FILTERS)
    return environment


def headline_cards(totals: Totals, before: Totals | None) -> Iterator[HeadlineCard]:
    """Yield the headline numbers of a report, compared with the days before if those are known."""
    for name, field, format_number in (
        ("Visits", "visits", formatting.integer),
        ("Companies", "companies", formatting.integer),
        ("New companies", "new", formatting.integer),
        ("Re-engaged companies", "reengaged_companies", formatting.integer),
        ("Minutes per visit", "mean_visit_length", formatting.minutes),
        ("Pages per visit", "mean_page_depth", formatting.decimal),
    ):
        yield _headline_card(name, getattr(totals, field), getattr(before, field, None), format_number)


def _headline_card(
    name: str, value: float | None, previous: float | None, format_number: Callable[[float | None], str]
) -> HeadlineCard:
    if value is None or previous is None:
        return HeadlineCard(name=name, value=format_number(value))
    card = HeadlineCard(name=name, value=format_number(value), previous=format_number(previous))
    if value == previous:
        return card
    direction = "up" if value > previous else "down"
    return msgspec.structs.replace(card, direction=direction, change=_change_in_percent(value, previous))


def _change_in_percent(value: float, previous: float) -> str | None:
    if not previous:
        return None
    percent = formatting.percent_of(abs(value - previous), previous)
    return "less than 0.1%" if percent == "0.0%" else percent
