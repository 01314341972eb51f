"""What a client and all its copies share: one pool, one limiter, one event loop, one end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from leadfeeder_async._core.attempt import OnAttempt
from leadfeeder_async._core.monthly_quota import MonthlyQuota, SharedQuota
from leadfeeder_async._core.retry import RetryBudget
from leadfeeder_async.errors import ClientClosedError, WrongLoopError

if TYPE_CHECKING:
    import aiohttp

    from leadfeeder_async._core.rate_limit import Throttle
    from leadfeeder_async._core.rate_limiter import RateLimiter
    from leadfeeder_async._core.transport import Transport
    from leadfeeder_async.settings import Settings


FORK_HINT = "Make the client in the process that uses it; its connections cannot be shared."


class Stats(msgspec.Struct):
    """What a client has sent so far."""

    requests: int = 0
    """Requests sent, resent ones included."""
    rate_limited: int = 0
    """Answers 429."""
    retries: int = 0
    """Requests sent again after a failure."""
    credits_charged: int = 0
    """Credits that the decoded answers charged."""


class PendingWaits:
    """The waits of calls that were not sent yet; closing ends them, however long they would have been."""

    def __init__(self) -> None:
        self._scopes = set[asyncio.Timeout]()
        self.closed = False

    def add(self, scope: asyncio.Timeout) -> None:
        """Count a wait in; one that begins after the end ends at once."""
        self._scopes.add(scope)
        if self.closed:
            scope.reschedule(0.0)

    def discard(self, scope: asyncio.Timeout) -> None:
        """Count a wait out."""
        self._scopes.discard(scope)

    def close(self) -> None:
        """End all waits, those to come included."""
        self.closed = True
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(0.0)


class OpenResources(msgspec.Struct, frozen=True):
    """The parts that exist only while a client is open."""

    transport: Transport
    throttle: Throttle
    loop: asyncio.AbstractEventLoop
    pid: int
    waits: PendingWaits = msgspec.field(default_factory=PendingWaits)


class ClientState:
    """Opens on the first call, belongs to that call's event loop, and closes once."""

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
        self.stats = Stats()
        self.quota = MonthlyQuota(settings.monthly_quota, limiter if isinstance(limiter, SharedQuota) else None)
        self.retry_budget = RetryBudget()
        self.account_id: str | None = None
        """The key's only account, once looked up."""
        self.account_lock = asyncio.Lock()
        self._external_session = session
        self._limiter = limiter
        self._trace_configs = tuple(trace_configs)
        self._open: OpenResources | None = None
        self._closed = False

    def ensure_open(self) -> OpenResources:
        """Return the open parts, opening them on the first call."""
        if self._closed:
            raise ClientClosedError("This client is closed.")
        if self._open is not None and self._open.pid != os.getpid():
            raise WrongLoopError("This client was opened in another process, before a fork.", hint=FORK_HINT)
        loop = asyncio.get_running_loop()
        if self._open is None:
            self._open = self._start(loop)
        if self._open.loop is not loop:
            raise WrongLoopError("This client belongs to another event loop.")
        return self._open

    async def aclose(self) -> None:
        """Close the pool; calls that wait and later ones raise ClientClosedError, those in flight fail."""
        self._closed = True
        if self._open is not None:
            opened, self._open = self._open, None
            opened.waits.close()
            await opened.transport.aclose()

    @property
    def closed(self) -> bool:
        """Whether :meth:`aclose` was called."""
        return self._closed

    def _start(self, loop: asyncio.AbstractEventLoop) -> OpenResources:
        # Imported here so that `import leadfeeder_async` does not pay for aiohttp and anyio.
        from leadfeeder_async._core.rate_limit import Throttle, TokenBucket
        from leadfeeder_async._core.transport import Transport

        limiter = self._limiter or TokenBucket(self.settings.rate, self.settings.burst)
        limits = Throttle(self.settings.max_concurrency, limiter)
        transport = Transport(self.settings, self._external_session, limits.first_connection.open, self._trace_configs)
        return OpenResources(transport, limits, loop, os.getpid())
