"""How fast and how many at once: slots, tokens and the shared pause.

A request takes a slot first and a token last, right before it is sent: a token taken early goes stale while its
request queues for a slot, and stale tokens fire together.

The API gives a key 10 requests a second and a burst of 15. The default bucket stays a little below both, 9.9 a second
and 12, because requests do not arrive as evenly as they leave: in simulation the exact figures met a 429 in four jobs
of five, and these in none, with up to 150 ms of jitter and clocks that differ by half a percent.

A 429 moves one not-before time, which every caller waits for; the latest wins. It is a time and not an event, so that
no call which finishes meanwhile can open the gate early. And it empties the bucket, since the server's is empty too.

Where 429s come again soon, someone else uses the key, or the server counts in another way: the pace is lowered, step by
step, and comes back slowly.
"""

from __future__ import annotations

import asyncio
from math import inf

import anyio
from aiolimiter import AsyncLimiter

from leadfeeder_async._core.rate_limiter import RateLimiter
from leadfeeder_async.settings import DEFAULT_BURST, DEFAULT_RATE


class AdaptiveRate:
    """How fast a bucket may be, as its 429s teach.

    A 429 within a minute of the one before lowers the rate by a tenth, down to a tenth of what was set, and leaves no
    burst. Each ten seconds without one give back a hundredth; the burst returns with the full rate.
    """

    REPEAT_WINDOW = 60.0
    RECOVERY_INTERVAL = 10.0

    def __init__(self, rate: float, burst: int) -> None:
        self._full_rate, self._full_burst = rate, burst
        self.rate, self.burst = rate, burst
        self._last_429 = -inf
        self._next_step = inf

    @property
    def is_reduced(self) -> bool:
        """Whether there is something to give back."""
        return self._next_step != inf

    def on_rate_limited(self, now: float) -> None:
        """Learn of a 429 that no pause explains."""
        if now - self._last_429 < self.REPEAT_WINDOW:
            self.rate, self.burst = max(self.rate * 0.9, self._full_rate / 10), 1
            self._next_step = now + self.RECOVERY_INTERVAL
        self._last_429 = now

    def recover(self, now: float) -> bool:
        """Give back what time has earned; tell whether anything changed."""
        if now < self._next_step:
            return False
        steps = 1 + int((now - self._next_step) / self.RECOVERY_INTERVAL)
        self.rate = min(self._full_rate, self.rate + steps * self._full_rate / 100)
        self._next_step += steps * self.RECOVERY_INTERVAL
        if self.rate == self._full_rate:
            self.burst, self._next_step = self._full_burst, inf
        return True


class TokenBucket:
    """The default limiter: aiolimiter's bucket behind a queue that keeps callers in order."""

    def __init__(self, rate: float = DEFAULT_RATE, burst: int = DEFAULT_BURST) -> None:
        self._adaptive_rate = AdaptiveRate(rate, burst)
        self._fifo_lock = anyio.Lock(fast_acquire=True)
        self._bucket = self._new_bucket()
        self._not_before = 0.0
        self._drain_pending = False

    def __repr__(self) -> str:
        now = self._adaptive_rate
        return f"<TokenBucket {now.rate:g}/s, burst {now.burst}, not before {self._not_before:.3f}>"

    async def try_acquire(self) -> bool:
        """Take a token if one is free at once: nobody waits, nothing holds back; tell whether it was."""
        if (
            self._fifo_lock.locked()
            or self._adaptive_rate.is_reduced
            or self._paused()
            or not self._bucket.has_capacity()
        ):
            return False
        await self._bucket.acquire()
        return True

    async def acquire(self) -> None:
        """Wait in order for one token, and for any pause to end."""
        async with self._fifo_lock:
            while True:
                if self._adaptive_rate.recover(_now()):
                    self._drain_pending = True
                if self._paused():
                    await self._wait_for_pause()
                await self._bucket.acquire()
                if not self._paused():
                    return

    def pause(self, seconds: float) -> None:
        """Hold every caller back for ``seconds`` from now, and empty the bucket."""
        now = _now()
        if now >= self._not_before:  # else the answer belongs to the trouble that began the pause
            self._adaptive_rate.on_rate_limited(now)
        self._not_before = max(self._not_before, now + seconds)
        self._drain_pending = True

    async def _wait_for_pause(self) -> None:
        if self._drain_pending:
            self._drain_pending, self._bucket = False, self._new_bucket()
            await self._bucket.acquire(self._adaptive_rate.burst)
        while (wait := self._not_before - _now()) > 0:  # noqa: ASYNC110 - a time, and not an event: see above
            await anyio.sleep(wait)

    def _paused(self) -> bool:
        return self._drain_pending or (self._not_before > 0 and _now() < self._not_before)

    def _new_bucket(self) -> AsyncLimiter:
        return AsyncLimiter(self._adaptive_rate.burst, self._adaptive_rate.burst / self._adaptive_rate.rate)


class FirstConnectionGate:
    """Lets one call connect before the others take their tokens: tokens that wait for DNS and TLS go stale."""

    def __init__(self) -> None:
        self._begun = False
        self._opened = anyio.Event()

    @property
    def is_open(self) -> bool:
        """Whether everyone may pass."""
        return self._opened.is_set()

    async def wait(self) -> None:
        """Let the first caller pass at once, and the others when it is connected or has failed."""
        if self._begun:
            await self._opened.wait()
        self._begun = True

    def open(self) -> None:
        """Let everyone pass from now on."""
        self._opened.set()


class Throttle:
    """The slots and the limiter that all calls of one client share."""

    def __init__(self, slots: int, limiter: RateLimiter) -> None:
        self.slots = anyio.Semaphore(slots, fast_acquire=True)
        self.limiter = limiter
        self.first_connection = FirstConnectionGate()

    @property
    def bucket(self) -> TokenBucket | None:
        """The limiter, where it is the one that can tell whether a token is free."""
        return self.limiter if isinstance(self.limiter, TokenBucket) else None

    def try_acquire_slot(self) -> bool:
        """Take a slot if one is free; tell whether it was."""
        try:
            self.slots.acquire_nowait()
        except anyio.WouldBlock:
            return False
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()
