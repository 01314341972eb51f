"""The figures of a report: what the queries give and the page shows. Times are UTC, durations are seconds."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal, TypeAlias

import msgspec

from leadfeeder_async.pagination.date_range import DateWindow

Step: TypeAlias = Literal["day", "week", "month"]
"""How much time one bar of a chart covers."""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What the database holds of one account."""

    account_id: str | None = None
    """None where the database is empty."""
    first_day: date | None = None
    """The first day whose visits are there."""
    last_day: date | None = None
    """The last day that is there whole, or that has visits while the first sync is not through."""
    finished_at: datetime | None = None
    """When the last sync ended; None while the first one has not."""
    visits_without_timestamp: int = 0
    """Visits without a time, which no day can count."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The visits of some days, counted."""

    visits: int = 0
    companies: int = 0
    new: int = 0
    """Visits that are their company's first, so also the number of new companies."""
    reengaged: int = 0
    """Visits that end a silence of 30 days or more."""
    returning: int = 0
    """All other visits of known companies."""
    unidentified: int = 0
    """Visits of no known company."""
    reengaged_companies: int = 0
    visit_length: float | None = None
    """The mean of those that are known."""
    page_depth: float | None = None
    """The mean of those that are known."""


class TimeBucket(msgspec.Struct, frozen=True, kw_only=True):
    """The visits of one bar of the chart."""

    day: date
    last_day: date
    new: int
    reengaged: int
    returning: int
    unidentified: int

    @property
    def categories(self) -> tuple[int, int, int, int]:
        """The four counts: returning, re-engaged, new, unidentified."""
        return self.returning, self.reengaged, self.new, self.unidentified

    @property
    def visits(self) -> int:
        """All of them."""
        return sum(self.categories)


class VisitorCompany(msgspec.Struct, frozen=True, kw_only=True):
    """A company and its visits of the period."""

    id: str
    name: str | None = None
    industry: str | None = None
    employee_range: str | None = None
    country: str | None = None
    intent_score: float | None = None
    intent_tier: str | None = None
    do_not_contact: bool | None = None
    tags: tuple[str, ...] = ()
    visits: int
    visit_length: float | None = None
    """The sum."""
    page_depth: int | None = None
    """The sum."""
    last_visit: datetime
    new: bool
    reengaged: bool


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The visits that have something in common, such as a landing page."""

    label: str | None
    visits: int
    companies: int


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """The largest shares of the period's visits, and how many shares there are in all."""

    shares: tuple[Share, ...] = ()
    kinds: int = 0


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """The account's credits as last seen, and how fast they went since the reset before."""

    seen_at: datetime
    available: int | None = None
    used: int | None = None
    remaining: int | None = None
    next_reset_on: date | None = None
    since: datetime | None = None
    """The first reading of the same credit period, where there is one at least a day before."""
    used_since: int | None = None
    """What was used between the two."""

    @property
    def per_day(self) -> float | None:
        """Credits used a day between the two readings."""
        if self.since is None or self.used_since is None or self.used_since < 0:
            return None
        return self.used_since / ((self.seen_at - self.since).total_seconds() / 86_400)


class CreditReading(msgspec.Struct, frozen=True, kw_only=True):
    """The credits left at the end of a day, week or month."""

    day: date
    remaining: int


class MonthOfUse(msgspec.Struct, frozen=True, kw_only=True):
    """The requests and credits of one month."""

    month: str
    requests: int | None = None
    credits_charged: int | None = None


class EndpointUse(msgspec.Struct, frozen=True, kw_only=True):
    """The requests and credits of one endpoint, in the last month that is known."""

    method: str
    endpoint: str
    requests: int | None = None
    credits_charged: int | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page shows."""

    title: str
    written_at: datetime
    coverage: Coverage
    window: DateWindow
    """The days of the report."""
    asked: DateWindow
    """The days that were asked for; more than ``window`` where the database does not hold them all."""
    before: DateWindow
    """As many days right before, to compare with."""
    step: Step = "day"
    totals: Totals = Totals()
    totals_before: Totals | None = None
    """None where the database does not reach back so far."""
    spans: tuple[TimeBucket, ...] = ()
    visitors: tuple[VisitorCompany, ...] = ()
    """The companies with the most visits."""
    landing_pages: Breakdown = Breakdown()
    sources: Breakdown = Breakdown()
    countries: Breakdown = Breakdown()
    balance: Balance | None = None
    readings: tuple[CreditReading, ...] = ()
    months: tuple[MonthOfUse, ...] = ()
    """The latest first."""
    endpoints: tuple[EndpointUse, ...] = ()
