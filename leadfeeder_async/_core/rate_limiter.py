"""What paces requests, whoever provides it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class RateLimiter(Protocol):
    """What paces requests; pass your own as ``AsyncLeadfeeder(limiter=...)`` to share a limit.

    These two methods are all it needs. One with ``used``, ``note_used`` and ``month_over`` too also shares the month's
    requests, as ``leadfeeder_async.integrations.redis.RedisLimiter`` does between processes.
    """

    async def acquire(self) -> None:
        """Wait for the right to send one request now; an error raised here ends the call, and nothing is sent."""
        ...

    def pause(self, seconds: float) -> None:
        """Hold every caller back for ``seconds``: the server answered 429."""
        ...
