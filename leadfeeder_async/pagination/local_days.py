"""Filter visits by the days of a time zone, because the API has no parameter for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.worker_thread import run_for_rows
from leadfeeder_async.errors import check_argument
from leadfeeder_async.pagination.date_range import DateWindow, parse_time_zone
from leadfeeder_async.pagination.page import Page
from leadfeeder_async.pagination.visit_time import started_at

U = TypeVar("U")

_WESTERNMOST, _EASTERNMOST = timedelta(hours=-12), timedelta(hours=14)
"""The largest offsets from UTC that a time zone has."""


class LocalDays(msgspec.Struct, frozen=True):
    """Keeps the visits that started on the days of a time zone. A visit without a time is kept too."""

    days: DateWindow
    zone_name: str
    start: datetime
    """The start of the first day."""
    end: datetime
    """The end of the last day."""

    @property
    def description(self) -> str:
        """The days in words."""
        return f"days of {self.zone_name} {self.days}"

    @property
    def requested_days(self) -> DateWindow:
        """The days of the API that may contain these days."""
        return days_around(self.start, self.end)

    async def apply(self, pages: AsyncGenerator[Page[U], None]) -> AsyncGenerator[Page[U], None]:
        """Yield pages with the visits of these days. ``total`` is None, because their number is not known."""
        async with aclosing(pages):
            async for page in pages:
                yield await run_for_rows(partial(self._filtered, page), len(page.items))
                del page  # so that the next page can use its memory

    def _filtered(self, page: Page[U]) -> Page[U]:
        kept = tuple(item for item in page.items if self._contains(started_at(item)))
        return replace(page, items=kept, total=None)

    def _contains(self, started: datetime | None) -> bool:
        return started is None or self.start <= started < self.end


def days_around(start: datetime, end: datetime) -> DateWindow:
    """Return the days of the API that may contain a period. Its time zone is not documented, so any is considered.

    Args:
        start: The start of the period.
        end: The end of the period, which does not belong to it.
    """
    first, last = start.astimezone(UTC), end.astimezone(UTC) - timedelta(microseconds=1)
    return DateWindow((first + _WESTERNMOST).date(), (last + _EASTERNMOST).date())


def local_days(days: DateWindow, tz: str) -> LocalDays | None:
    """Return the filter for days of a time zone, or None if they are days of UTC."""
    zone = parse_time_zone(tz)
    check_argument(
        date.min + timedelta(1) < days.start and days.end < date.max - timedelta(1),
        f"{days} has no start or end in {tz}.",
        "Pass other days.",
        argument="start_date",
    )
    start, end = (datetime.combine(day, time(), zone).astimezone(UTC) for day in (days.start, days.end + timedelta(1)))
    is_utc = (start, end) == tuple(datetime.combine(day, time(), UTC) for day in (days.start, days.end + timedelta(1)))
    return None if is_utc else LocalDays(days, tz, start, end)
