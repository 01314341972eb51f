"""Count the requests of a month, to tell a used-up quota from too many requests per second.

The API returns 429 both for too many requests per second and for a used-up month, and its guide gives both the same
code. A 429 near the end of the monthly quota therefore counts as the second kind, because waiting a second would not
help. The response does not say which month it refers to either. The server's month may end later than this clock's.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from msgspec.structs import replace

from leadfeeder_async.errors import ErrorContext, LeadfeederError, QuotaExceededError, RateLimitedError
from leadfeeder_async.types import SharedQuota

EXHAUSTED_RATIO = 0.95
"""The part of the quota from which a 429 means that it is used up. Other programs may use the key too."""

ROLLOVER_GRACE_DAYS = 2
"""Days at the start of a month in which a used-up quota may refer to the previous month."""

ROLLOVER_RECHECK = timedelta(hours=1)
"""How long requests are blocked in that case, before another response shows which month it was."""


CLOCK_TOLERANCE = timedelta(minutes=1)
"""How far the clock may be set back while requests are blocked, as when it is synchronized."""


class MonthlyQuota:
    """Counts the requests of this month, and blocks all requests once the quota is used up.

    Args:
        requests: The monthly quota of the key.
        shared: A rate limiter that shares the count with other processes.

    """

    def __init__(self, requests: int, shared: SharedQuota | None = None) -> None:
        self._requests = requests
        self._shared = shared
        self._used = 0
        self._month = (0, 0)
        self._blocked_at: datetime | None = None
        self.blocked_until: datetime | None = None
        """The time from which requests may be sent again, once the quota was used up."""

    def reset(self) -> None:
        """Start to count for another key."""
        self._used, self._month = 0, (0, 0)
        self._blocked_at = self.blocked_until = None

    def record_request(self, now: datetime) -> None:
        """Count a request that is about to be sent."""
        month = (now.year, now.month)
        self._used = self._used + 1 if month == self._month else 1
        self._month = month

    def record_usage(self, used: int, now: datetime) -> None:
        """Record how many requests all programs used this month, as far as known. The highest number counts."""
        self._used = max(used, self._used_in(now))
        self._month = (now.year, now.month)
        if self._shared is not None:
            self._shared.record_usage(used)

    def block_if_used_up(self, error: LeadfeederError, now: datetime) -> LeadfeederError:
        """Return ``error``, or QuotaExceededError for a 429 near the end of the quota. Blocks requests if it is."""
        used = self.used(now)
        message = error.message
        if isinstance(error, RateLimitedError) and used >= EXHAUSTED_RATIO * self._requests:
            message = f"{message} About {used:,} of {self._requests:,} requests of this month are used."
        elif not isinstance(error, QuotaExceededError):
            return error
        self._blocked_at, self.blocked_until = now, self._end_of_block(now)
        return QuotaExceededError(message, error.context, hint=exhausted_hint(self.blocked_until, now))

    def used(self, now: datetime) -> int:
        """Return the requests of this month, as far as known."""
        return max(self._used_in(now), 0 if self._shared is None else self._shared.used)

    def blocked_until_after(self, now: datetime) -> datetime | None:
        """Return the time until which requests are blocked, or None if they are not blocked at ``now``."""
        return None if self.blocked_until is None or self.blocked_until <= now else self.blocked_until

    def check(self, now: datetime, context: ErrorContext) -> None:
        """Raise QuotaExceededError while the quota is used up.

        If the clock was set back since then, the block ends, and the next response shows if the quota is still used up.
        """
        if self._blocked_at is not None and now < self._blocked_at - CLOCK_TOLERANCE:
            self._blocked_at = self.blocked_until = None
        if self.blocked_until is not None and now < self.blocked_until:
            raise QuotaExceededError(
                "The monthly quota is used up, as the server reported before. Nothing was sent.",
                replace(context, code="quota_exceeded", retry_at=self.blocked_until),
                hint=exhausted_hint(self.blocked_until, now),
            )

    def _end_of_block(self, now: datetime) -> datetime:
        """Return the end of the block. Inform other processes if the quota cannot be that of the previous month."""
        if may_refer_to_previous_month(now, self._used_in(now), self._requests):
            return now + ROLLOVER_RECHECK
        if self._shared is not None:
            self._shared.mark_exhausted()
        return next_month(now)

    def _used_in(self, today: date) -> int:
        return self._used if self._month == (today.year, today.month) else 0


def may_refer_to_previous_month(now: datetime, counted: int, requests: int) -> bool:
    """Return True if a used-up quota may be the previous month's.

    That is the case if the month has just begun and this process has sent few requests in it. ``counted`` is the count
    of this process by its own clock, because the clock of another process may still be in the previous month.
    """
    return now.day <= ROLLOVER_GRACE_DAYS and counted < EXHAUSTED_RATIO * requests


def next_month(day: date) -> datetime:
    """Return the start of the next month, when the quota is reset."""
    first = date(day.year, day.month, 1) + timedelta(days=32)
    return datetime(first.year, first.month, 1, tzinfo=UTC)


def exhausted_hint(blocked_until: datetime, now: datetime) -> str:
    """Return how to proceed while the quota is used up."""
    if blocked_until.month != now.month:
        return QuotaExceededError.default_hint
    return "The month has just begun, so the server may have meant the previous one. Try again in an hour."
