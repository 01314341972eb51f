"""What paces requests, whoever provides it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class RateLimiter(Protocol):
    """What paces requests; pass your own as ``AsyncLeadfeeder(limiter=...)`` to share a limit."""

    async def acquire(self) -> None:
        """Wait for the right to send one request now."""
        ...

    def pause(self, seconds: float) -> None:
        """Hold every caller back for ``seconds``: the server answered 429."""
        ...
