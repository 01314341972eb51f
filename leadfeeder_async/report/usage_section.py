"""What the API cost: credits and requests, and how fast they go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from leadfeeder_async.report.charts import credits_chart
from leadfeeder_async.report.headline_cards import HeadlineCard, tiles
from leadfeeder_async.report.html import Markup, count, decimal, element, long_day, moment, number_of, percent
from leadfeeder_async.report.report_data import Balance, Report
from leadfeeder_async.report.tables import endpoints_table, months_table, readings_table

MONTHLY_QUOTA = 100_000
"""The requests a month that the API gives a key, as published."""


def use(report: Report) -> Iterator[Markup]:
    """Show credits, then requests; say plainly what is not known."""
    yield element("h3", "Credits")
    yield element("div", *_credits(report), class_="pair")
    yield element("h3", "Requests")
    yield element("div", *_requests(report))


def _credits(report: Report) -> Iterator[Markup]:
    balance = report.balance
    if balance is None:
        yield element("p", "No data: no sync has recorded the account's credits yet.")
        return
    left = HeadlineCard("Credits left", balance.remaining, None, count)
    shown = (
        left,
        HeadlineCard("Used", balance.used, None, count),
        HeadlineCard("Allowance", balance.available, None, count),
    )
    yield element("div", tiles(shown), element("p", _pace(balance)))
    if len(report.readings) > 1:
        table = element("details", element("summary", "The chart as a table"), readings_table(report.readings))
        yield element("div", credits_chart(report.readings, report.step), table)


def _pace(balance: Balance) -> str:
    """Tell how long the credits last at the pace since the reset before."""
    seen, reset = f"As of {moment(balance.seen_at)}.", balance.next_reset_on
    renewed = f" The next reset is on {long_day(reset)}." if reset else " The next reset is not known."
    per_day, since = balance.per_day, balance.since
    if per_day is None or since is None:
        return f"{seen}{renewed} How fast they go is known after two readings a day apart."
    pace = f" Since {long_day(since)}, {decimal(per_day)} a day were used."
    if not per_day or balance.remaining is None:
        return f"{seen}{pace}{renewed}"
    lasting = balance.remaining / per_day
    lasts = f" At this pace the rest lasts {number_of(int(lasting), 'day')}"
    if reset is None or lasting > 36_500:
        return f"{seen}{pace}{lasts}.{renewed}"
    enough = balance.seen_at.date() + timedelta(lasting) >= reset
    return f"{seen}{pace}{lasts}, {'beyond' if enough else 'short of'} the reset on {long_day(reset)}."


def _requests(report: Report) -> Iterator[Markup]:
    if not report.months:
        yield element("p", "No data: no sync has recorded the account's use of the API yet.")
        return
    latest = report.months[0]
    if latest.requests is not None:
        share = percent(latest.requests, MONTHLY_QUOTA)
        used = f"{number_of(latest.requests, 'request')} in {latest.month}, {share} of the"
        yield element("p", f"{used} {count(MONTHLY_QUOTA)} a month that the API gives a key.")
    yield element("div", months_table(report.months), endpoints_table(report.endpoints, latest.month), class_="pair")
