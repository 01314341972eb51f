"""Tables of the page: captioned, scoped, and sortable where the script runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from leadfeeder_async.report.charts import VISIT_CATEGORIES, share_bar
from leadfeeder_async.report.html import (
    PLACEHOLDER,
    Markup,
    count,
    days,
    decimal,
    element,
    joined,
    long_day,
    minutes,
    number_of,
    percent,
    short_day,
    shortened,
)
from leadfeeder_async.report.report_data import (
    Breakdown,
    CreditReading,
    EndpointUse,
    MonthOfUse,
    Report,
    TimeBucket,
    VisitorCompany,
)

MOST_TAGS = 6


class ColumnHeader(msgspec.Struct, frozen=True):
    """The head of a column."""

    name: str
    number: bool = False
    sorted: bool = False
    """The rows come in its order, the largest first."""


def table(
    caption: str,
    heads: Sequence[ColumnHeader],
    rows: Iterable[Sequence[Markup]],
    *,
    foot: Sequence[Markup] = (),
    class_: str | None = None,
) -> Markup:
    """Make a table whose first cell in each row is the row's head; its parts say what they are even as blocks."""
    head = element("tr", *(_head(one) for one in heads), role="row")
    body = (element("tr", *row, role="row") for row in rows)
    return element(
        "table",
        element("caption", caption),
        element("thead", head, role="rowgroup"),
        element("tbody", *body, role="rowgroup"),
        element("tfoot", element("tr", *foot, role="row"), role="rowgroup") if foot else Markup(),
        class_=class_,
        role="table",
    )


def _head(head: ColumnHeader) -> Markup:
    return element(
        "th",
        head.name,
        scope="col",
        role="columnheader",
        class_="number" if head.number else None,
        aria_sort="descending" if head.sorted else None,
    )


def row_head(*inside: str) -> Markup:
    """Make the first cell of a row."""
    return element("th", *inside, scope="row", role="rowheader")


def cell(inside: str, label: str | None = None) -> Markup:
    """Make a cell; ``label`` names it where the heads are out of sight."""
    return element("td", inside, role="cell", data_label=label)


def number(inside: str, label: str | None = None) -> Markup:
    """Make a cell with a number."""
    return element("td", inside, role="cell", class_="number", data_label=label)


def visitors_table(report: Report) -> Markup:
    """Show the companies with the most visits."""
    shown, companies = len(report.visitors), report.totals.companies
    caption = f"All {count(companies)}" if shown == companies else f"The {shown} of {count(companies)} with most visits"
    numbers = (
        ColumnHeader("Visits", number=True, sorted=True),
        ColumnHeader("Minutes", number=True),
        ColumnHeader("Pages", number=True),
    )
    rest = (
        ColumnHeader("Intent", number=True),
        ColumnHeader("Country"),
        ColumnHeader("Last visit", number=True),
        ColumnHeader("Tags"),
    )
    heads = (ColumnHeader("Company"), *numbers, *rest)
    return table(caption, heads, map(_visitor, report.visitors), class_="wide")


def _visitor(one: VisitorCompany) -> tuple[Markup, ...]:
    about = " · ".join(
        shortened(part) for part in (one.industry, one.employee_range and f"{one.employee_range} employees") if part
    )
    name = element("span", shortened(one.name or f"Company {one.id}"), class_="name")
    last = element("time", short_day(one.last_visit), datetime=one.last_visit.isoformat(timespec="seconds"))
    return (
        row_head(name, _badges(one), element("small", about) if about else Markup()),
        number(count(one.visits), "Visits"),
        number(minutes(one.visit_length), "Minutes"),
        number(count(one.page_depth), "Pages"),
        number(_intent(one), "Intent"),
        cell(one.country or PLACEHOLDER, "Country"),
        number(last, "Last visit"),
        cell(_tags(one.tags), "Tags"),
    )


def _badges(one: VisitorCompany) -> Markup:
    named = (
        (one.new, "new", "New"),
        (one.reengaged, "reengaged", "Re-engaged"),
        (one.do_not_contact, "stop", "Do not contact"),
    )
    return joined(*(joined(" ", element("span", text, class_=f"badge {key}")) for holds, key, text in named if holds))


def _intent(one: VisitorCompany) -> Markup:
    if one.intent_score is None:
        return joined(shortened(one.intent_tier or PLACEHOLDER))
    tier = element("small", shortened(one.intent_tier)) if one.intent_tier else Markup()
    return joined(decimal(one.intent_score), " ", tier)


def _tags(tags: Sequence[str]) -> Markup:
    shown = [element("span", shortened(tag), class_="tag") for tag in tags[:MOST_TAGS]]
    more = [f"and {len(tags) - MOST_TAGS} more"] if len(tags) > MOST_TAGS else []
    texts = [text for tag in (*shown, *more) for text in (" ", tag)]
    return joined(*texts[1:]) if texts else Markup(PLACEHOLDER)


def breakdown_table(breakdown: Breakdown, noun: str, nouns: str, unknown: str, visits: int) -> Markup:
    """Show the largest shares of the visits, and the rest in one row."""
    shown = sum(share.visits for share in breakdown.shares)
    rest = breakdown.kinds - len(breakdown.shares)
    caption = f"{number_of(breakdown.kinds, noun, nouns)}, by visits"
    heads = (
        ColumnHeader(noun.capitalize()),
        ColumnHeader("Visits", number=True, sorted=True),
        ColumnHeader("Companies", number=True),
    )
    rows = (
        (
            row_head(shortened(share.label or unknown), share_bar(share.visits, breakdown.shares[0].visits)),
            _visits(share.visits, visits),
            number(count(share.companies)),
        )
        for share in breakdown.shares
    )
    foot = (
        row_head(f"{count(rest)} more"),
        _visits(visits - shown, visits),
        number(""),
    )
    return table(caption, heads, rows, foot=foot if rest else ())


def _visits(some: int, all_visits: int) -> Markup:
    return number(joined(count(some), " ", element("small", percent(some, all_visits))))


def spans_table(spans: Sequence[TimeBucket], caption: str) -> Markup:
    """Show the numbers of the chart."""
    heads = (
        ColumnHeader("Days"),
        ColumnHeader("Visits", number=True),
        *(ColumnHeader(name, number=True) for _, name in VISIT_CATEGORIES),
    )
    rows = (
        (
            row_head(days(span.day, span.last_day)),
            number(count(span.visits)),
            *(number(count(one)) for one in span.categories),
        )
        for span in spans
    )
    return table(caption, heads, rows)


def readings_table(readings: Sequence[CreditReading]) -> Markup:
    """Show the credits left."""
    heads = (ColumnHeader("Day"), ColumnHeader("Left", number=True))
    rows = ((row_head(long_day(one.day)), number(count(one.remaining))) for one in readings)
    return table("Credits left", heads, rows)


def months_table(months: Sequence[MonthOfUse]) -> Markup:
    """Show requests and credits by month."""
    heads = (ColumnHeader("Month"), ColumnHeader("Requests", number=True), ColumnHeader("Credits", number=True))
    rows = ((row_head(one.month), number(count(one.requests)), number(count(one.credits_charged))) for one in months)
    return table("Requests and credits by month", heads, rows)


def endpoints_table(endpoints: Sequence[EndpointUse], month: str) -> Markup:
    """Show requests and credits by endpoint."""
    heads = (
        ColumnHeader("Endpoint"),
        ColumnHeader("Requests", number=True, sorted=True),
        ColumnHeader("Credits", number=True),
    )
    rows = (
        (
            row_head(f"{one.method} {shortened(one.endpoint)}"),
            number(count(one.requests)),
            number(count(one.credits_charged)),
        )
        for one in endpoints
    )
    return table(f"Requests and credits by endpoint, {month}", heads, rows)
