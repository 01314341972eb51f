"""The state that a client and all its copies share: connection pool, limits, statistics and lifetime."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from leadfeeder_async._core.attempt import logger
from leadfeeder_async._core.credential import Credential
from leadfeeder_async._core.monthly_quota import MonthlyQuota
from leadfeeder_async._core.record_lock import RecordLocks
from leadfeeder_async._core.retry import RetryBudget
from leadfeeder_async._core.routes import Routes
from leadfeeder_async._core.server_clock import ServerClock
from leadfeeder_async._core.waiting import PendingWaits
from leadfeeder_async.budget import Price
from leadfeeder_async.errors import (
    AuthenticationError,
    BudgetExceededError,
    ClientClosedError,
    ConfigurationError,
    ErrorContext,
    LeadfeederError,
    UsageError,
    WrongLoopError,
    may_concern_one_account,
)
from leadfeeder_async.types import Health, KeyedRateLimiter, LastError, SharedQuota, Stats

if TYPE_CHECKING:
    import aiohttp

    from leadfeeder_async._core.endpoint import Endpoint
    from leadfeeder_async._core.rate_limit import Throttle
    from leadfeeder_async._core.transport import Transport
    from leadfeeder_async._secret import Secret
    from leadfeeder_async.settings import Settings
    from leadfeeder_async.types import OnAttempt, RateLimiter

FORK_HINT = "Create the client in the process that uses it. Its connections cannot be shared."

OTHER_LOOP_HINT = "Close it in its own loop: asyncio.run_coroutine_threadsafe(lf.aclose(), loop)."

ASYNCIO_HINT = "Use asyncio.run(), or the asyncio backend of anyio. The client does not run on trio."


NOT_READY_TIME = timedelta(minutes=1)
"""The time for which ``health()`` reports a client as not ready after the server rejected a renewable credential."""


class LookupFailure(msgspec.Struct, frozen=True):
    """A failed lookup of the account. Calls that waited for it with the same options do not repeat it."""

    timeout: float
    retries: int
    error: LeadfeederError


class OpenResources(msgspec.Struct, frozen=True):
    """The parts of a client that exist only while it is open."""

    transport: Transport
    throttle: Throttle
    loop: asyncio.AbstractEventLoop
    pid: int
    pending: PendingWaits


class ClientState:
    """Opens on the first call, belongs to that call's event loop, and closes once.

    Args:
        settings: The settings of the client.
        session: An aiohttp session to use instead of an own one. It is not closed.
        limiter: A rate limiter to use instead of the token bucket.
        on_attempt: Receives an event after each attempt.
        trace_configs: Trace configurations for aiohttp.

    """

    def __init__(
        self,
        settings: Settings,
        session: aiohttp.ClientSession | None = None,
        limiter: RateLimiter | None = None,
        on_attempt: OnAttempt | None = None,
        trace_configs: Sequence[aiohttp.TraceConfig] = (),
    ) -> None:
        self.settings = settings
        self.on_attempt = on_attempt
        self.observe_call: Callable[[ErrorContext], AbstractContextManager[object]] | None = None
        """Returns a context manager that surrounds a call with all its attempts."""
        self.credential = Credential(settings.credential, self._use_key)
        self.redactor = self.credential.redactor
        self.stats = Stats()
        self.quota = MonthlyQuota(settings.monthly_quota, limiter if isinstance(limiter, SharedQuota) else None)
        self.retry_budget = RetryBudget()
        self.routes = Routes(settings.paths)
        self.server_clock = ServerClock()
        self.account_id: str | None = None
        """The only account of the key, once it was looked up."""
        self.account_lock = asyncio.Lock()
        self.account_failure: LookupFailure | None = None
        """The latest lookup of the account, if it failed."""
        self.record_locks = RecordLocks()
        self.owner: object = None
        """The client or the copy whose ``async with`` block was entered first. The end of its blocks closes it."""
        self.open_contexts = 0
        """The number of open blocks of the owner."""
        self.open_budgets = 0
        """The number of open ``lf.budget()`` blocks that limit credits."""
        self._has_warned_about_budget = False
        self._last_success_at: datetime | None = None
        self._last_error: LastError | None = None
        self._rejected_at: datetime | None = None
        self._prices = dict[str, Price]()
        """The prices of the operations that may charge."""
        self._external_session = session
        self._limiter = limiter
        self._trace_configs = tuple(trace_configs)
        self._resources: OpenResources | None = None
        self._closed = False

    def ensure_open(self) -> OpenResources:
        """Return the open resources. The first call opens them."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise WrongLoopError("No asyncio event loop is running.", hint=ASYNCIO_HINT) from None
        resources = self._resources
        if resources is None:
            return self._open()
        if resources.pid != os.getpid():
            raise WrongLoopError("This client was opened in another process, before a fork.", hint=FORK_HINT)
        if resources.loop is not loop:
            raise WrongLoopError("This client belongs to another event loop.")
        return resources

    def warn_about_budget(self, operation: str) -> None:
        """Log once that a call that may charge is not limited by an open budget of this client."""
        if not self._has_warned_about_budget:
            self._has_warned_about_budget = True
            logger.warning(
                "%s may charge credits, and no open budget of this client limits it. A block limits only the calls "
                "inside it, and those of tasks that it starts. To limit all calls, use "
                "lf.with_options(budget=Budget(...)).",
                operation,
            )

    def price(self, endpoint: Endpoint[object]) -> Price:
        """Return the price of one item of an endpoint. The responses of all copies update it."""
        price = self._prices.get(endpoint.operation)
        if price is None:
            is_published = endpoint.is_price_published
            price = Price(is_published, is_known=is_published, may_be_free=not endpoint.is_billing_known)
            self._prices[endpoint.operation] = price
        return price

    async def aclose(self) -> None:
        """Close the connections. Waiting and later calls raise ClientClosedError, and calls in flight fail.

        Raises:
            WrongLoopError: The event loop of the client runs in another thread.
        """
        resources = self._resources
        if resources is not None and resources.pid != os.getpid():
            self._closed = True  # the connections are those of the other process
            return
        if resources is not None and resources.loop is not asyncio.get_running_loop() and resources.loop.is_running():
            raise WrongLoopError("This client belongs to another event loop.", hint=OTHER_LOOP_HINT)
        self._closed, self._resources = True, None
        if resources is not None:
            resources.pending.close()
            import anyio  # importing the client should be fast

            try:
                await self.credential.aclose()
            finally:
                with anyio.CancelScope(shield=True):
                    await resources.transport.aclose()

    @property
    def closed(self) -> bool:
        """True if :meth:`aclose` was called."""
        return self._closed

    def record_success(self) -> None:
        """Record that a call succeeded."""
        self._last_success_at, self._rejected_at = datetime.now(UTC), None

    def record_error(self, error: LeadfeederError) -> None:
        """Record the error of a call, unless the caller caused it."""
        if isinstance(error, BudgetExceededError) or (isinstance(error, UsageError) and error.phase != "credential"):
            return
        is_rejection = isinstance(error, AuthenticationError | ConfigurationError)
        is_denied_in_part = self._last_success_at is not None and may_concern_one_account(error)
        now = datetime.now(UTC)
        if is_rejection and not is_denied_in_part:
            self._rejected_at = now
        elif not is_rejection and error.status is not None:  # a lost connection says nothing about the credential
            self._rejected_at = None
        self._last_error = LastError(
            at=now,
            error=type(error).__name__,
            operation=error.context.operation,
            status=error.status,
            code=error.code,
            request_id=error.request_id,
        )

    def health(self) -> Health:
        """Return the state of the client, without a request."""
        now = datetime.now(UTC)
        blocked_until = self.quota.blocked_until_after(now)
        rate, paused_for = self._limiter_statistics()
        return Health(
            ready=not (self._closed or self._is_rejected(now) or blocked_until),
            in_flight=self.stats.in_flight,
            waiting=self.stats.waiting,
            rate=rate,
            paused_for=paused_for,
            requests_this_month=self.quota.used(now),
            monthly_quota=self.settings.monthly_quota,
            quota_blocked_until=blocked_until,
            token_expires_at=self.credential.expires_at,
            last_success_at=self._last_success_at,
            last_error=self._last_error,
        )

    def _is_rejected(self, now: datetime) -> bool:
        """Return True if the credential was rejected. One that can be renewed counts as rejected for a minute."""
        if self._rejected_at is None:
            return False
        return not self.credential.is_renewable or abs(now - self._rejected_at) < NOT_READY_TIME

    def _limiter_statistics(self) -> tuple[float | None, float]:
        """Return the current rate and the seconds of the current pause."""
        from leadfeeder_async._core.rate_limit import TokenBucket

        if self._resources is None:
            return (self.settings.rate if self._limiter is None else None), 0.0
        limiter = self._resources.throttle.limiter
        if not isinstance(limiter, TokenBucket):
            return None, 0.0
        statistics = limiter.statistics(self._resources.loop.time())
        return statistics.rate, statistics.paused_for

    def _use_key(self, secret: Secret) -> None:
        """Let the rate limit and the monthly quota count for a new API key, because the API counts per key."""
        self.quota.reset()
        limiter = None if self._resources is None else self._resources.throttle.limiter
        if isinstance(limiter, KeyedRateLimiter):
            limiter.use_key(secret.reveal())

    def _open(self) -> OpenResources:
        # Imported here so that `import leadfeeder_async` does not import aiohttp and anyio.
        from leadfeeder_async._core.rate_limit import Throttle, TokenBucket
        from leadfeeder_async._core.transport import Transport

        if self._closed:
            raise ClientClosedError("This client is closed.")
        limiter = self._limiter or TokenBucket(self.settings.rate, self.settings.burst)
        throttle = Throttle(self.settings.max_concurrency, limiter, self.stats)
        transport = Transport(
            self.settings,
            self.credential,
            self._external_session,
            throttle.first_connection.open,
            self._trace_configs,
        )
        self._resources = OpenResources(
            transport, throttle, asyncio.get_running_loop(), os.getpid(), PendingWaits(self.stats)
        )
        return self._resources
