"""The figures of a report, as the queries return them and the page shows them. Times are UTC, durations are seconds."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias

import msgspec

from leadfeeder_async.pagination.date_range import DateWindow

Granularity: TypeAlias = Literal["day", "week", "month"]
"""The time that one bar of a chart covers."""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """The data that the database contains for one account."""

    account_id: str | None = None
    """None if the database is empty."""
    account_name: str | None = None
    """None if no sync has read it."""
    first_day: date | None = None
    """The first synced day."""
    last_day: date | None = None
    """The last synced day. Before the first sync has finished, the day of the latest visit."""
    finished_at: datetime | None = None
    """The end of the last sync. None if the first sync has not finished."""
    visits_without_timestamp: int = 0
    """Visits without a start time. They belong to no day and are not counted."""

    @property
    def is_last_day_over(self) -> bool:
        """True if the last day was over when it was synced.

        A sync reads up to the day on which it begins. If it ends on the day after, that day was not over.
        """
        synced, last = self.finished_at, self.last_day
        return synced is not None and last is not None and synced.date() > last + timedelta(1)


class PreviousReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report in the file that a new one replaces."""

    account_id: str | None
    synced_at: datetime
    """The end of the sync that it shows."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Visit counts and means of a date range."""

    visits: int = 0
    companies: int = 0
    new: int = 0
    """Visits that are the first of their company, which is also the number of new companies."""
    reengaged: int = 0
    """Visits of a company that had not visited for at least 30 days."""
    returning: int = 0
    """All other visits of identified companies."""
    unidentified: int = 0
    """Visits without an identified company."""
    reengaged_companies: int = 0
    mean_visit_length: float | None = None
    """The mean of the known visit lengths, in seconds."""
    mean_page_depth: float | None = None
    """The mean of the known page depths."""


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
        """The visits by category: returning, re-engaged, new, unidentified."""
        return self.returning, self.reengaged, self.new, self.unidentified

    @property
    def visits(self) -> int:
        """All visits of the bucket."""
        return sum(self.categories)


class VisitorCompany(msgspec.Struct, frozen=True, kw_only=True):
    """A company and its visits in the date range."""

    id: str
    name: str | None = None
    url: str | None = None
    industry: str | None = None
    employee_range: str | None = None
    country: str | None = None
    intent_score: float | None = None
    intent_tier: str | None = None
    do_not_contact: bool | None = None
    tags: tuple[str, ...] = ()
    visits: int
    visit_length: float | None = None
    """The total length of its visits, in seconds."""
    page_depth: int | None = None
    """The total number of pages."""
    last_visit: datetime
    new: bool
    reengaged: bool


class NewCompany(msgspec.Struct, frozen=True, kw_only=True):
    """A company that was synced for the first time since the previous report."""

    id: str
    name: str | None = None
    url: str | None = None
    country: str | None = None
    visits: int


class NewSince(msgspec.Struct, frozen=True, kw_only=True):
    """The visits and companies that were synced since the previous report."""

    since: datetime
    """The time of the sync that the previous report shows, or of the sync before the last one."""
    visits: int = 0
    companies: int = 0
    """The number of new companies."""
    listed: tuple[NewCompany, ...] = ()
    """The new companies with the most visits."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The visits with the same value of a field, such as the same landing page."""

    label: str | None
    visits: int
    companies: int


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """The visits of the date range by the values of a field."""

    shares: tuple[Share, ...] = ()
    """The values with the most visits."""
    distinct_values: int = 0
    """The number of values, including those without a share of their own."""

    @property
    def visits(self) -> int:
        """The visits of the listed shares."""
        return sum(share.visits for share in self.shares)


class CreditBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The latest reading of the credits, with the first reading of the same billing period to measure the usage."""

    seen_at: datetime
    available: int | None = None
    used: int | None = None
    remaining: int | None = None
    next_reset_on: date | None = None
    since: datetime | None = None
    """The time of the first reading in the same billing period, if it is at least one day older."""
    used_since: int | None = None
    """The credits used since that reading."""

    @property
    def used_per_day(self) -> float | None:
        """The credits used per day between the two readings."""
        if self.since is None or self.used_since is None or self.used_since < 0:
            return None
        return self.used_since / ((self.seen_at - self.since).total_seconds() / 86_400)

    @property
    def days_left(self) -> int | None:
        """The complete days until the credits run out at this rate; None if the rate is unknown or zero."""
        if not self.used_per_day or self.remaining is None:
            return None
        return int(max(self.remaining, 0) / self.used_per_day)

    @property
    def lasts_until_reset(self) -> bool | None:
        """True if the credits last until the next reset at this rate; None if that is unknown."""
        if self.days_left is None or self.next_reset_on is None:
            return None
        return self.days_left >= (self.next_reset_on - self.seen_at.date()).days


class CreditReading(msgspec.Struct, frozen=True, kw_only=True):
    """The credits left at the end of a day, week or month."""

    day: date
    remaining: int


class MonthlyUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The requests and credits of one month."""

    month: str
    requests: int | None = None
    credits_charged: int | None = None


class EndpointUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The requests and credits of one endpoint in the latest known month."""

    method: str
    endpoint: str
    requests: int | None = None
    credits_charged: int | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of a report page."""

    title: str
    generated_at: datetime
    time_zone: str = "UTC"
    """The time zone of the days and of the times of visits. All other times are in UTC."""
    coverage: Coverage
    window: DateWindow
    """The days that the report covers."""
    requested_window: DateWindow
    """The days that the caller requested. Longer than ``window`` if the database does not contain all of them."""
    window_before: DateWindow
    """The same number of days directly before ``window``, for comparison."""
    granularity: Granularity = "day"
    totals: Totals = Totals()
    totals_before: Totals | None = None
    """The totals of ``window_before``. None if the database does not contain all its days."""
    time_buckets: tuple[TimeBucket, ...] = ()
    new_since: NewSince | None = None
    """None if there is no previous report and only one sync, or if the database was synced by an earlier version."""
    visitors: tuple[VisitorCompany, ...] = ()
    """The companies with the most visits."""
    landing_pages: Breakdown = Breakdown()
    sources: Breakdown = Breakdown()
    countries: Breakdown = Breakdown()
    credit_balance: CreditBalance | None = None
    credit_readings: tuple[CreditReading, ...] = ()
    monthly_usage: tuple[MonthlyUsage, ...] = ()
    """The latest month comes first."""
    endpoint_usage: tuple[EndpointUsage, ...] = ()
