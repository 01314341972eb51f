"""The decisions of a watch: which pages to read, which days, and how long to wait. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import Enum

import msgspec

from leadfeeder_async._core.monthly_quota import next_month
from leadfeeder_async._core.server_clock import PLAUSIBLE_YEARS
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE

ONE_DAY = timedelta(1)

MAX_OUTAGE_DELAY = 3_600.0
"""The longest wait between two polls that fail, unless the interval itself is longer."""

MAX_QUOTA_DELAY = 3_600.0
"""The longest wait between two polls while the monthly quota is used up. Nothing is sent in these polls."""

SLOW_DOWN_FROM = 0.8
"""The fraction of the monthly quota after which polls become less frequent."""

SLOW_DOWN_SHARE = 0.5
"""The fraction of the remaining quota that these less frequent polls may use."""

WARNING_SHARE = 0.1
"""A warning is logged if the polls of a month need more than this fraction of the quota."""

MAX_FILL = 0.8
"""A counted range of days has at most this fraction of the API's row limit."""


class CountedDays(msgspec.Struct, frozen=True):
    """Days of the lookback whose visits one request counts."""

    window: DateWindow
    count: int
    """The rows of these days that were delivered or are known. A higher count of the server shows new visits."""


class WatchReading(Enum):
    """The rows that a poll requests after it counted them."""

    NOTHING = "count"
    """Nothing is new, so only the count was requested."""
    TAIL = "tail"
    """The pages that should contain the new rows."""
    COMPLETE = "complete"
    """All pages of the days."""


class PageRange(msgspec.Struct, frozen=True):
    """Consecutive numbered pages."""

    size: int
    first: int
    last: int

    @property
    def pages(self) -> int:
        """The number of pages."""
        return self.last - self.first + 1


def choose_reading(part: CountedDays, count: int | None, max_search_rows: int) -> WatchReading:
    """Return the rows to read, given those that were known and the number that the server counts now.

    Pages past the row limit of the API cannot be requested. If the server stops counting at that limit, the count does
    not show new rows of a day over the limit, so such a day is always read.

    Args:
        part: The days, and the rows in them that are known.
        count: The rows that the server counts now, or None if the response has no count.
        max_search_rows: The most rows of one search that the API returns.

    """
    if count is None or count == max_search_rows:
        return WatchReading.COMPLETE
    if count == part.count:
        return WatchReading.NOTHING
    return WatchReading.TAIL if part.count < count < max_search_rows else WatchReading.COMPLETE


def pages_of_new_rows(count: int, new: int, *, newest_first: bool) -> PageRange:
    """Return the fewest pages that contain the newest rows of a list in order of time.

    The page size is chosen so that few new rows do not fall on two pages. Of several sizes, the largest is taken.

    Args:
        count: All rows of the list.
        new: The new rows, at its end.
        newest_first: True if the list is in reverse order, so that the new rows are at its start.

    """
    if newest_first:
        return PageRange(MAX_PAGE_SIZE, 1, -(-new // MAX_PAGE_SIZE))
    sizes = range(MAX_PAGE_SIZE, 0, -1)
    ranges = (PageRange(size, (count - new) // size + 1, -(-count // size)) for size in sizes)
    return min(ranges, key=lambda pages: pages.pages)


def window_to_watch(floor: date, newest: date | None, today: date, days_ahead: int = 1) -> DateWindow:
    """Return the days to count.

    They end a day after today, because the days of the account may be ahead of UTC. If the clock was set back, they
    still contain the day of the newest visit and the day after it.

    Args:
        floor: The first day.
        newest: The day of the newest visit.
        today: The current day.
        days_ahead: The days after today to count: 1, or 0 or -1 if the API rejects later days.
    """
    if days_ahead < 1:
        end = today + timedelta(days_ahead)
        return DateWindow(min(floor, end), end)
    return DateWindow(min(floor, today), max(today, newest or today) + ONE_DAY)


def first_day_of_lookback(day: date, lookback_days: int) -> date:
    """Return the first day to watch before a day, one day earlier, because the API's days may be west of UTC."""
    return day - timedelta(lookback_days + 1)


def by_server_clock(opened_on: datetime, local_now: datetime, server_now: datetime) -> datetime:
    """Return the time of the server at which a watch was opened by an earlier run.

    Args:
        opened_on: The time by the clock of this machine at which it was opened.
        local_now: The time by the same clock now. It may have been corrected meanwhile.
        server_now: The time of the server now.
    """
    if opened_on.year not in PLAUSIBLE_YEARS:
        return server_now
    return min(server_now, opened_on + (server_now - local_now))


def next_floor(floor: date, newest: date | None, today: date, lookback_days: int) -> date:
    """Return the first day to watch from now on. It never moves back, and never past the newest visit.

    No visit is therefore left out after the clock was wrong, or after days without a running watch.

    Args:
        floor: The first day so far.
        newest: The day of the newest visit when a poll last ended. A poll that was interrupted may have delivered
            newer visits before older ones.
        today: The current day.
        lookback_days: The days before the newest visit that are read again.
    """
    return floor if newest is None else max(floor, first_day_of_lookback(min(newest, today), lookback_days))


def divide_days(window: DateWindow, rows_per_day: Mapping[date, int], max_search_rows: int) -> list[DateWindow]:
    """Divide days into as few parts as possible that are well below the row limit, in order."""
    parts, start, rows, limit = list[DateWindow](), window.start, 0, int(max_search_rows * MAX_FILL)
    day = window.start
    while day <= window.end:
        here = rows_per_day.get(day, 0)
        if day > start and rows + here > limit:
            parts.append(DateWindow(start, day - ONE_DAY))
            start, rows = day, 0
        rows += here
        day += ONE_DAY
    return [*parts, DateWindow(start, window.end)]


def count_in(window: DateWindow, rows_per_day: Counter[date]) -> int:
    """Return the number of rows on the days of a window."""
    return sum(count for day, count in rows_per_day.items() if window.start <= day <= window.end)


def outage_delay(every: float, failures: int) -> float:
    """Return the seconds to wait after some failed polls in a row. They double up to an hour."""
    longest = max(every, MAX_OUTAGE_DELAY)
    return min(longest, every * 2.0 ** min(failures - 1, 30))


def interval_within_quota(every: float, used: int, quota: int, now: datetime, requests_per_poll: int) -> float:
    """Return the seconds between two polls, which are more if the monthly quota is nearly used up.

    After four fifths of the quota, the polls of the month use at most half of the rest.

    Args:
        every: The interval in seconds.
        used: The requests of this month so far.
        quota: The requests of a month.
        now: The time, in UTC.
        requests_per_poll: The requests of a poll without new visits.

    """
    if used < SLOW_DOWN_FROM * quota:
        return every
    seconds = (next_month(now.date()) - now).total_seconds()
    polls = max(1.0, SLOW_DOWN_SHARE * (quota - used) / requests_per_poll)
    return max(every, min(seconds, seconds / polls))


def polls_per_month(every: float) -> int:
    """Return the number of polls in a month of 31 days, each of which sends at least one request."""
    return round(31 * 86_400 / every)
