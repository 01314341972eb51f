"""Public types that signatures show: protocols to implement, events to receive, and aliases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from leadfeeder_async.errors import RequestPhase, SentState

QueryValue: TypeAlias = "str | int | bool | tuple[str, ...] | None"
"""A query parameter. None is left out, a tuple becomes a comma-separated list."""

CsvDialect: TypeAlias = Literal["plain", "excel"]
"""The form of a .csv file: with commas and unchanged text, or as Excel opens it by a double-click."""

VisitOrder: TypeAlias = Literal["oldest", "newest"]
"""The order of visits: days in order, or from the latest visit backwards."""


class AttemptEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One finished attempt, as passed to ``on_attempt``. It never contains the key, a query string or a body."""

    operation: str
    """The ``operationId`` of the contract, or ``request`` for other routes."""
    method: str
    path: str
    """The path template, without ids."""
    attempt: int
    """1 for the first attempt of a call."""
    started_at: datetime
    """When the attempt began to wait for a concurrency slot, in UTC."""
    elapsed: float
    """Seconds from ``started_at`` to the end of the attempt."""
    phase_durations: Mapping[RequestPhase, float]
    """Seconds per phase. ``slot`` and ``limiter`` are waits before sending, ``headers`` is the server's time."""
    phase: RequestPhase
    """The last phase that was reached."""
    sent: SentState
    status: int | None = None
    """The HTTP status, or None if no response arrived."""
    error: str | None = None
    """The class name of the exception that ended the attempt, or None on success."""
    request_id: str | None = None
    credits_charged: int | None = None
    """The credits that the response charged, or None if it does not say."""


OnAttempt: TypeAlias = Callable[[AttemptEvent], None]
"""Receives the event of each attempt, on the event loop. It must not block."""


class Stats(msgspec.Struct):
    """Request statistics of a client and its copies."""

    requests: int = 0
    """Requests sent, including retries."""
    rate_limited: int = 0
    """Responses with status 429."""
    retries: int = 0
    """Requests sent again after a failure."""
    credits_charged: int = 0
    """Credits charged by the responses that arrived."""
    in_flight: int = 0
    """Calls that hold a concurrency slot at present."""
    waiting: int = 0
    """Calls that wait for a slot, a token, a connection or a retry at present."""


@runtime_checkable
class RateLimiter(Protocol):
    """A rate limiter for ``AsyncLeadfeeder(limiter=...)``, to share a limit or to use another algorithm.

    These two methods are required. A limiter with ``used``, ``record_usage`` and ``mark_exhausted`` also shares the
    monthly quota, as ``leadfeeder_async.integrations.redis.RedisLimiter`` does.
    """

    async def acquire(self) -> None:
        """Wait until one request may be sent. An error raised here ends the call, and nothing is sent."""
        ...

    def pause(self, seconds: float) -> None:
        """Hold back all callers for ``seconds``, because the server returned 429."""
        ...


@runtime_checkable
class SharedQuota(Protocol):
    """Optional methods of a rate limiter that also shares the monthly quota between processes.

    Such a limiter counts each token that it grants, and its ``acquire`` raises QuotaExceededError once the quota is
    used up.
    """

    @property
    def used(self) -> int:
        """The requests of this month, as far as known."""
        ...

    def record_usage(self, requests: int) -> None:
        """Record how many requests were used. The highest number counts."""
        ...

    def mark_exhausted(self) -> None:
        """Record that the quota is used up."""
        ...
