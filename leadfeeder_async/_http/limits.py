"""How fast and how many at once: slots, tokens and the shared pause.

A request takes a slot first and a token last, right before it is sent: a token taken early goes stale while its
request queues for a slot, and stale tokens fire together.

The API gives a key 10 requests a second and a burst of 15. The default bucket stays a little below both, 9.9 a second
and 12, because requests do not arrive as evenly as they leave: in simulation the exact figures met a 429 in four jobs
of five, and these in none, with up to 250 ms of jitter and clocks that differ by half a percent.

A 429 moves one not-before time, which every caller waits for; the latest wins. It is a time and not an event, so that
no call which finishes meanwhile can open the gate early. And it empties the bucket, since the server's is empty too.
"""

from __future__ import annotations

import asyncio

import anyio
from aiolimiter import AsyncLimiter

from leadfeeder_async._http.limiter import RateLimiter

DEFAULT_RATE = 9.9
DEFAULT_BURST = 12
DEFAULT_SLOTS = 16


class TokenBucket:
    """The default limiter: aiolimiter's bucket behind a queue that keeps callers in order."""

    def __init__(self, rate: float = DEFAULT_RATE, burst: int = DEFAULT_BURST) -> None:
        self._rate, self._burst = rate, burst
        self._turn = anyio.Lock(fast_acquire=True)
        self._bucket = self._new_bucket()
        self._not_before = 0.0
        self._spent = False

    def __repr__(self) -> str:
        return f"<TokenBucket {self._rate:g}/s, burst {self._burst}, not before {self._not_before:.3f}>"

    async def acquire(self) -> None:
        """Wait in order for one token, and for any pause to end."""
        async with self._turn:
            while True:
                await self._past_pause()
                await self._bucket.acquire()
                if not self._paused():
                    return

    def pause(self, seconds: float) -> None:
        """Hold every caller back for ``seconds`` from now, and empty the bucket."""
        self._not_before = max(self._not_before, _now() + seconds)
        self._spent = True

    async def _past_pause(self) -> None:
        if self._spent:
            self._spent, self._bucket = False, self._new_bucket()
            await self._bucket.acquire(self._burst)
        while (wait := self._not_before - _now()) > 0:  # noqa: ASYNC110 - a time, and not an event: see above
            await anyio.sleep(wait)

    def _paused(self) -> bool:
        return self._spent or _now() < self._not_before

    def _new_bucket(self) -> AsyncLimiter:
        return AsyncLimiter(self._burst, self._burst / self._rate)


class WarmUp:
    """Lets one call connect before the others take their tokens: tokens that wait for DNS and TLS go stale."""

    def __init__(self) -> None:
        self._begun = False
        self._ended = anyio.Event()

    async def wait(self) -> None:
        """Let the first caller pass at once, and the others when it is connected or has failed."""
        if self._begun:
            await self._ended.wait()
        self._begun = True

    def end(self) -> None:
        """Let everyone pass from now on."""
        self._ended.set()


class Limits:
    """The slots and the limiter that all calls of one client share."""

    def __init__(self, slots: int, limiter: RateLimiter) -> None:
        self.slots = anyio.Semaphore(slots, fast_acquire=True)
        self.limiter = limiter
        self.warm_up = WarmUp()


def _now() -> float:
    return asyncio.get_running_loop().time()
