"""Types of public signatures: protocols to implement, events to receive, and aliases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, NoReturn, Protocol, TypeAlias, runtime_checkable

import msgspec

from leadfeeder_async.errors import RequestPhase, SentState, check_argument

QueryValue: TypeAlias = "str | int | bool | tuple[str, ...] | None"
"""A query parameter. None is left out, a tuple becomes a comma-separated list."""

CsvDialect: TypeAlias = Literal["plain", "excel"]
"""The form of a .csv file: with commas and unchanged text, or as Excel opens it by a double-click."""

VisitOrder: TypeAlias = Literal["oldest", "newest"]
"""The order of visits: days in order, or from the latest visit backwards."""


class AccessToken:
    """An OAuth2 access token and its expiry, as returned by the callable of ``AsyncLeadfeeder(access_token=...)``.

    The ``repr`` does not contain the token, and the object cannot be pickled.

    Args:
        token: The token, without ``Bearer``.
        expires_at: The time at which it expires, with a time zone. None if it is not known. The token is then renewed
            only after the server has rejected it.

    Raises:
        ConfigurationError: ``expires_at`` has no time zone.

    """

    __slots__ = ("_token", "expires_at")

    def __init__(self, token: str, expires_at: datetime | None = None) -> None:
        self._token = token
        del token  # a traceback with locals would show it
        check_argument(
            expires_at is None or expires_at.tzinfo is not None,
            f"expires_at={expires_at!s} has no time zone.",
            "Use datetime.now(UTC) + timedelta(seconds=...).",
            argument="expires_at",
        )
        self.expires_at: datetime | None = None if expires_at is None else expires_at.astimezone(UTC)

    def __repr__(self) -> str:
        return f"AccessToken('***', expires_at={self.expires_at!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("An access token cannot be pickled. Request one in the process that uses it.")

    def reveal(self) -> str:
        """Return the token."""
        return self._token


ApiKeyProvider: TypeAlias = Callable[[], "str | Awaitable[str]"]
"""Returns the current API key. It can be a function or a coroutine function."""

AccessTokenProvider: TypeAlias = Callable[[], "AccessToken | Awaitable[AccessToken]"]
"""Returns a new access token. It can be a function or a coroutine function."""


class AttemptEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that has ended, as passed to ``on_attempt``. It never contains the key, a query string or a body.

    An attempt that ends before it requests a connection has no event.
    """

    operation: str
    """The ``operationId`` of the contract, or ``request`` for other routes."""
    method: str
    path: str
    """The path template, without ids. For other routes, the path that was passed to ``lf.request``."""
    attempt: int
    """1 for the first attempt of a call."""
    started_at: datetime
    """When the attempt began to wait for a concurrency slot, in UTC. A retry begins after its backoff."""
    elapsed: float
    """Seconds from ``started_at`` to the end of the attempt."""
    phase_durations: Mapping[RequestPhase, float]
    """Seconds per phase. ``slot``, ``credential`` and ``limiter`` are waits before sending. ``headers`` is the wait for
    the response."""
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
    """Request statistics of a client and its copies, or of one job."""

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
    """Calls that wait for an account, a budget, a slot, the rate limit, a connection, a credential or a retry."""


class LastError(msgspec.Struct, frozen=True, kw_only=True):
    """The error of the latest failed call of a client. Errors of a budget and of invalid arguments do not count."""

    at: datetime
    """When the call ended, in UTC."""
    error: str
    """The class name of the exception."""
    operation: str | None = None
    status: int | None = None
    code: str | None = None
    request_id: str | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a client and its copies, as :meth:`AsyncLeadfeeder.health` returns it."""

    ready: bool
    """False if calls would fail, because the client is closed, the quota is used up, or the credential is rejected."""
    in_flight: int
    """Calls that hold a concurrency slot."""
    waiting: int
    """Calls that wait for an account, a budget, a slot, the rate limit, a connection, a credential or a retry."""
    rate: float | None
    """Requests per second at present. Repeated 429s reduce it. None for a custom rate limiter."""
    paused_for: float
    """Seconds for which a 429 still holds back all calls. 0 for a custom rate limiter."""
    requests_this_month: int
    """Requests of this month, as far as known."""
    monthly_quota: int
    quota_blocked_until: datetime | None
    """The time, in UTC, until which a used-up quota stops all calls."""
    token_expires_at: datetime | None
    """The expiry of the access token, if there is one and its expiry is known."""
    last_success_at: datetime | None
    """When the latest successful call ended, in UTC."""
    last_error: LastError | None


@runtime_checkable
class RateLimiter(Protocol):
    """A rate limiter for ``AsyncLeadfeeder(limiter=...)``, to share a limit or to use another algorithm.

    These two methods are required. A limiter with ``used``, ``record_usage`` and ``mark_exhausted`` also shares the
    monthly quota, as ``leadfeeder_async.integrations.redis.RedisLimiter`` does. One with ``use_key`` is told when the
    client uses another API key.
    """

    async def acquire(self) -> None:
        """Wait until one request may be sent. An error raised here ends the call, and nothing is sent.

        A cancellation must end the wait. On Python 3.11, ``asyncio.wait_for`` can lose one, so use ``asyncio.timeout``.
        """
        ...

    def pause(self, seconds: float) -> None:
        """Hold back all callers for ``seconds``, because the server returned 429."""
        ...


@runtime_checkable
class SharedQuota(Protocol):
    """Optional members of a rate limiter that also shares the monthly quota between processes.

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


@runtime_checkable
class KeyedRateLimiter(Protocol):
    """Optional method of a rate limiter that counts per API key."""

    def use_key(self, api_key: str) -> None:
        """Count for another key from now on, because the client has replaced its key."""
        ...
