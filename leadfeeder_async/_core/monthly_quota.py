"""The month's requests of a key: counted here, so that their end is known when the server names it badly.

The API answers 429 for a too fast second and for a used-up month, and the guide gives both the same code. A 429 near
the end of the month's requests is therefore taken for the second kind: waiting a second would not help.

Nor does it say which month it speaks of. The server's may end later than ours: at another hour, or by another clock.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Protocol, runtime_checkable

from msgspec.structs import replace

from leadfeeder_async.errors import ErrorContext, LeadfeederError, QuotaExceededError, RateLimitedError

EXHAUSTED_RATIO = 0.95
"""From this part of the month's requests on, a 429 means that they are used up: others use the key too."""

ROLLOVER_GRACE_DAYS = 2
"""For so many days a used-up month that was not counted here may be the last one: a clock is fast, or a reset late."""

ROLLOVER_RECHECK = timedelta(hours=1)
"""How long nothing is sent then; one more answer tells which month it was."""


@runtime_checkable
class SharedQuota(Protocol):
    """What a limiter may offer beside its pace: the month's requests, as all processes that share it know them.

    Such a limiter counts each token it gives, and its ``acquire`` raises QuotaExceededError once the month is over.
    """

    @property
    def used(self) -> int:
        """The month's requests so far, as last heard."""
        ...

    def record_usage(self, requests: int) -> None:
        """Learn how many are used; the most counts."""
        ...

    def mark_exhausted(self) -> None:
        """Learn that they are used up."""
        ...


class MonthlyQuota:
    """Counts this month's requests, and stops all traffic once they are used up."""

    def __init__(self, requests: int, shared: SharedQuota | None = None) -> None:
        self._requests = requests
        self._shared = shared
        self._used = 0
        self._month = (0, 0)
        self.blocked_until: datetime | None = None
        """When to send again, once they were used up."""

    def count(self, today: date) -> None:
        """Count a request that is about to be sent."""
        self._used = self._used_in(today) + 1
        self._month = (today.year, today.month)

    def record_usage(self, used: int, today: date) -> None:
        """Learn how many requests were used this month, by everyone as far as known; the most counts."""
        self._used = max(used, self._used_in(today))
        self._month = (today.year, today.month)
        if self._shared is not None:
            self._shared.record_usage(used)

    def classify(self, failure: LeadfeederError, now: datetime) -> LeadfeederError:
        """Take a 429 near the month's end of requests for that end; remember the end."""
        used = max(self._used_in(now), 0 if self._shared is None else self._shared.used)
        if isinstance(failure, RateLimitedError) and used >= EXHAUSTED_RATIO * self._requests:
            said = f"{failure.message} About {used:,} of the month's {self._requests:,} requests are used."
            failure = QuotaExceededError(said, failure.context)
        if isinstance(failure, QuotaExceededError):
            self._block(failure, now)
        return failure

    def check(self, now: datetime, context: ErrorContext) -> None:
        """Raise if the month's requests are used up: sending more cannot succeed."""
        if self.blocked_until is not None and now < self.blocked_until:
            said = "The month's requests are used up, as the server said before; nothing was sent."
            context = replace(context, code="quota_exceeded", retry_at=self.blocked_until)
            raise QuotaExceededError(said, context, hint=exhausted_hint(self.blocked_until, now))

    def _block(self, failure: QuotaExceededError, now: datetime) -> None:
        """Hold everyone back. The other processes are told of a whole month only: each finds out about a new one."""
        if may_refer_to_previous_month(now, self._used_in(now), self._requests):
            self.blocked_until = now + ROLLOVER_RECHECK
        else:
            self.blocked_until = next_month(now)
            if self._shared is not None:
                self._shared.mark_exhausted()
        failure.hint = exhausted_hint(self.blocked_until, now)

    def _used_in(self, today: date) -> int:
        return self._used if self._month == (today.year, today.month) else 0


def may_refer_to_previous_month(now: datetime, counted: int, requests: int) -> bool:
    """Whether a month that is said to be used up may be the one before: this one is new, and was hardly used here.

    ``counted`` is what this process counted by its own clock; another's may be in the last month still.
    """
    return now.day <= ROLLOVER_GRACE_DAYS and counted < EXHAUSTED_RATIO * requests


def next_month(day: date) -> datetime:
    """Return when the month's requests begin anew."""
    first = date(day.year, day.month, 1) + timedelta(days=32)
    return datetime(first.year, first.month, 1, tzinfo=UTC)


def exhausted_hint(ends: datetime, now: datetime) -> str:
    """Tell what to do while requests are used up."""
    if ends.month != now.month:
        return QuotaExceededError.hint
    return "The month is new, so the server may have meant the last one: go on in an hour."
