"""What a client and all its copies share: one pool, one limiter, one event loop, one end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from leadfeeder_async.errors import ClientClosedError, WrongLoopError

if TYPE_CHECKING:
    import aiohttp

    from leadfeeder_async._http.limiter import RateLimiter
    from leadfeeder_async._http.limits import Limits
    from leadfeeder_async._http.transport import Transport
    from leadfeeder_async.settings import Settings


@dataclass(slots=True)
class Stats:
    """What a client has sent so far."""

    requests: int = 0
    """Requests sent, resent ones included."""
    rate_limited: int = 0
    """Answers 429."""
    resent: int = 0
    """Requests sent again after a failure."""
    credits_charged: int = 0
    """Credits that the decoded answers charged."""


@dataclass(frozen=True, slots=True)
class Open:
    """The parts that exist only while a client is open."""

    transport: Transport
    limits: Limits
    loop: asyncio.AbstractEventLoop


class Connection:
    """Opens on the first call, belongs to that call's event loop, and closes once."""

    def __init__(
        self, settings: Settings, session: aiohttp.ClientSession | None = None, limiter: RateLimiter | None = None
    ) -> None:
        self.settings = settings
        self.stats = Stats()
        self.account_id: str | None = None
        """The key's only account, once looked up."""
        self.looking_up = asyncio.Lock()
        self.quota_used_up: date | None = None
        """The first day of the next month, once the server said that this month's requests are used up."""
        self._borrowed = session
        self._limiter = limiter
        self._open: Open | None = None
        self._closed = False

    def ready(self) -> Open:
        """Return the open parts, opening them on the first call."""
        if self._closed:
            raise ClientClosedError("This client is closed.")
        loop = asyncio.get_running_loop()
        if self._open is None:
            self._open = self._start(loop)
        if self._open.loop is not loop:
            raise WrongLoopError("This client belongs to another event loop.")
        return self._open

    def note_quota(self, today: date) -> None:
        """Remember that this month's requests are used up: sending more cannot succeed."""
        self.quota_used_up = (today.replace(day=1) + timedelta(days=32)).replace(day=1)

    def quota_ends(self, today: date) -> date | None:
        """Return when requests can be sent again, if they cannot be now."""
        return self.quota_used_up if self.quota_used_up and today < self.quota_used_up else None

    async def aclose(self) -> None:
        """Close the pool; calls in flight fail, and later ones raise ClientClosedError."""
        self._closed = True
        if self._open is not None:
            opened, self._open = self._open, None
            await opened.transport.aclose()

    @property
    def closed(self) -> bool:
        """Whether :meth:`aclose` was called."""
        return self._closed

    def _start(self, loop: asyncio.AbstractEventLoop) -> Open:
        # Imported here so that `import leadfeeder_async` does not pay for aiohttp and anyio.
        from leadfeeder_async._http.limits import Limits, TokenBucket
        from leadfeeder_async._http.transport import Transport

        limiter = self._limiter or TokenBucket(self.settings.rate, self.settings.burst)
        limits = Limits(self.settings.slots, limiter)
        return Open(Transport(self.settings, self._borrowed, limits.warm_up.end), limits, loop)
