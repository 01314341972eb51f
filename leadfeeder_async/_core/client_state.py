"""The state that a client and all its copies share: connection pool, limits, statistics and lifetime."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from leadfeeder_async._core.error_mapping import Redactor
from leadfeeder_async._core.monthly_quota import MonthlyQuota
from leadfeeder_async._core.retry import RetryBudget
from leadfeeder_async._core.routes import Routes
from leadfeeder_async._core.server_clock import ServerClock
from leadfeeder_async._core.waiting import PendingWaits
from leadfeeder_async.errors import ClientClosedError, WrongLoopError
from leadfeeder_async.types import SharedQuota, Stats

if TYPE_CHECKING:
    import aiohttp

    from leadfeeder_async._core.rate_limit import Throttle
    from leadfeeder_async._core.transport import Transport
    from leadfeeder_async.settings import Settings
    from leadfeeder_async.types import OnAttempt, RateLimiter

FORK_HINT = "Create the client in the process that uses it. Its connections cannot be shared."


ASYNCIO_HINT = "Use asyncio.run(), or the asyncio backend of anyio. The client does not run on trio."


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
        self.redactor = Redactor(settings.api_key)
        self.stats = Stats()
        self.quota = MonthlyQuota(settings.monthly_quota, limiter if isinstance(limiter, SharedQuota) else None)
        self.retry_budget = RetryBudget()
        self.routes = Routes(settings.paths)
        self.server_clock = ServerClock()
        self.account_id: str | None = None
        """The only account of the key, once it was looked up."""
        self.account_lock = asyncio.Lock()
        self.creation_lock = asyncio.Lock()
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

    async def aclose(self) -> None:
        """Close the connections. Waiting and later calls raise ClientClosedError, and calls in flight fail."""
        self._closed = True
        resources, self._resources = self._resources, None
        if resources is not None:
            resources.pending.close()
            await resources.transport.aclose()

    @property
    def closed(self) -> bool:
        """True if :meth:`aclose` was called."""
        return self._closed

    def _open(self) -> OpenResources:
        # Imported here so that `import leadfeeder_async` does not import aiohttp and anyio.
        from leadfeeder_async._core.rate_limit import Throttle, TokenBucket
        from leadfeeder_async._core.transport import Transport

        if self._closed:
            raise ClientClosedError("This client is closed.")
        limiter = self._limiter or TokenBucket(self.settings.rate, self.settings.burst)
        throttle = Throttle(self.settings.max_concurrency, limiter, self.stats)
        transport = Transport(
            self.settings, self.redactor, self._external_session, throttle.first_connection.open, self._trace_configs
        )
        self._resources = OpenResources(
            transport, throttle, asyncio.get_running_loop(), os.getpid(), PendingWaits(self.stats)
        )
        return self._resources
