"""Concurrency slots, rate-limit tokens and the pause that all calls of a client share.

A request takes a slot first, and a token right before it is sent. A token taken earlier would expire while its request
waits for a slot, and requests with expired tokens are sent all at once.

The API allows a key 10 requests per second and a burst of 15. The default bucket stays slightly below both, with 9.9
per second and 12, because requests do not arrive as evenly as they are sent. In simulations with up to 150 ms of jitter
and clocks that differ by half a percent, the exact figures caused a 429 in four of five jobs, and the defaults in none.

After a 429, all callers wait until the same time. If several 429s arrive, the latest time counts. It is a time and not
an event, so a call that finishes meanwhile cannot end the pause early. The bucket is emptied, because the server's is
empty too. If 429s repeat, other programs use the key or the server counts differently, so the rate is reduced and
recovers slowly.
"""

from __future__ import annotations

import asyncio
from math import inf

import anyio
import msgspec
from aiolimiter import AsyncLimiter

from leadfeeder_async._core.attempt import AttemptTrace
from leadfeeder_async._core.waiting import WaitBounds
from leadfeeder_async.settings import DEFAULT_BURST, DEFAULT_RATE
from leadfeeder_async.types import RateLimiter, Stats


class LimiterStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a token bucket."""

    rate: float
    """Requests per second at present. Repeated 429s reduce it."""
    burst: int
    waiting: int
    """Calls that wait for a token."""
    paused_for: float
    """Seconds for which a 429 still holds back all callers."""


class AdaptiveRate:
    """The rate of a bucket, reduced after repeated 429s.

    A 429 within a minute of the previous one reduces the rate by a tenth, to a minimum of a tenth of the full rate, and
    removes the burst. Ten seconds without a repeated 429 restore a hundredth of the full rate. The burst returns with
    the full rate.

    Args:
        rate: Requests per second.
        burst: Requests that may be sent at once.

    """

    REPEAT_WINDOW = 60.0
    RECOVERY_INTERVAL = 10.0

    def __init__(self, rate: float, burst: int) -> None:
        self._full_rate, self._full_burst = rate, burst
        self.rate, self.burst = rate, burst
        self.is_reduced = False
        """True while the rate is below the full rate."""
        self._last_429 = -inf
        self._next_step = inf

    def on_rate_limited(self, now: float) -> None:
        """Record a 429 that no earlier pause explains."""
        if now - self._last_429 < self.REPEAT_WINDOW:
            self.rate, self.burst = max(self.rate * 0.9, self._full_rate / 10), 1
            self.is_reduced = True
            self._next_step = now + self.RECOVERY_INTERVAL
        self._last_429 = now

    def recover(self, now: float) -> bool:
        """Restore the part of the rate that is due, and return True if the rate changed."""
        if now < self._next_step:
            return False
        steps = 1 + int((now - self._next_step) / self.RECOVERY_INTERVAL)
        self.rate = min(self._full_rate, self.rate + steps * self._full_rate / 100)
        self._next_step += steps * self.RECOVERY_INTERVAL
        if self.rate == self._full_rate:
            self.burst, self._next_step, self.is_reduced = self._full_burst, inf, False
        return True


class TokenBucket:
    """The default rate limiter: the bucket of aiolimiter behind a queue that keeps callers in order.

    Args:
        rate: Requests per second.
        burst: Requests that may be sent at once.

    """

    def __init__(self, rate: float = DEFAULT_RATE, burst: int = DEFAULT_BURST) -> None:
        self._full = rate, burst
        self._adaptive_rate = AdaptiveRate(rate, burst)
        self._fifo_lock = anyio.Lock(fast_acquire=True)
        self._bucket = self._new_bucket()
        self._not_before = 0.0
        self._drain_pending = False

    def __repr__(self) -> str:
        return f"<TokenBucket {self._adaptive_rate.rate:g}/s, burst {self._adaptive_rate.burst}>"

    def statistics(self, now: float | None = None) -> LimiterStatistics:
        """Return the current state.

        Args:
            now: The time of the event loop's clock. Defaults to the running loop's.

        """
        lock = self._fifo_lock.statistics()
        return LimiterStatistics(
            rate=self._adaptive_rate.rate,
            burst=self._adaptive_rate.burst,
            waiting=lock.tasks_waiting + lock.locked,
            paused_for=max(0.0, self._not_before - (_now() if now is None else now)),
        )

    async def try_acquire(self) -> bool:
        """Take a token if one is free and no caller waits, and return True if it was taken."""
        if (
            self._drain_pending
            or self._fifo_lock.locked()
            or self._adaptive_rate.is_reduced
            or (self._not_before and _now() < self._not_before)
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
                if self._is_paused():
                    await self._wait_for_pause()
                await self._bucket.acquire()
                if not self._is_paused():
                    return

    def pause(self, seconds: float) -> None:
        """Hold back all callers for ``seconds`` from now, and empty the bucket."""
        now = _now()
        if now >= self._not_before:  # otherwise the 429 has the same cause as the current pause
            self._adaptive_rate.on_rate_limited(now)
        self._not_before = max(self._not_before, now + seconds)
        self._drain_pending = True

    def use_key(self, api_key: str) -> None:
        """Start with a full bucket and the full rate, because the API counts per key."""
        del api_key  # a traceback with locals would show it
        self._adaptive_rate = AdaptiveRate(*self._full)
        self._bucket = self._new_bucket()
        self._not_before, self._drain_pending = 0.0, False

    async def _wait_for_pause(self) -> None:
        if self._drain_pending:
            self._drain_pending, self._bucket = False, self._new_bucket()
            await self._bucket.acquire(self._adaptive_rate.burst)
        while (remaining := self._not_before - _now()) > 0:  # noqa: ASYNC110 - a time and not an event: see above
            await anyio.sleep(remaining)

    def _is_paused(self) -> bool:
        return self._drain_pending or (self._not_before > 0 and _now() < self._not_before)

    def _new_bucket(self) -> AsyncLimiter:
        return AsyncLimiter(self._adaptive_rate.burst, self._adaptive_rate.burst / self._adaptive_rate.rate)


class FirstConnectionGate:
    """Holds back all calls but one until the first connection is established.

    Tokens would otherwise expire while their requests wait for DNS and TLS.
    """

    def __init__(self) -> None:
        self._has_started = False
        self._opened = anyio.Event()
        self.is_open = False
        """True once the first connection is established, or its request has ended. Each call reads it."""

    async def wait(self) -> None:
        """Return at once for the first caller, and for the others when it has connected or failed."""
        if self._has_started:
            await self._opened.wait()
        self._has_started = True

    def open(self) -> None:
        """Let all callers pass from now on."""
        if not self.is_open:
            self.is_open = True
            self._opened.set()


class Throttle:
    """The concurrency slots and the rate limiter that all calls of one client share.

    Args:
        max_concurrency: The number of concurrency slots.
        limiter: The rate limiter.
        stats: Statistics that count the slots in use.

    """

    def __init__(self, max_concurrency: int, limiter: RateLimiter, stats: Stats) -> None:
        self.limiter = limiter
        self.first_connection = FirstConnectionGate()
        self._semaphore = anyio.Semaphore(max_concurrency, fast_acquire=True)
        self._bucket = limiter if isinstance(limiter, TokenBucket) else None
        self._stats = stats

    async def acquire_slot(self, call: WaitBounds, trace: AttemptTrace) -> None:
        """Acquire a concurrency slot, which the caller releases with ``release_slot``.

        All callers but the first wait until its request has a connection, or has ended.

        Args:
            call: The call, whose deadline limits the wait.
            trace: The attempt, which records the phase.

        Raises:
            ClientClosedError: The client was closed during the wait.
            DeadlineExceededError: The deadline passed during the wait.

        """
        try:
            self._semaphore.acquire_nowait()
        except anyio.WouldBlock:
            await call.wait(self._semaphore.acquire(), "slot")
        self._stats.in_flight += 1
        if not self.first_connection.is_open:
            trace.start_phase("connect")
            try:
                await call.wait(self.first_connection.wait(), "connect")
            except BaseException:
                self._release()
                raise

    def release_slot(self) -> None:
        """Release a slot after its request. If it was the first one, the others may connect now, even if it failed."""
        if not self.first_connection.is_open:
            self.first_connection.open()
        self._release()

    def _release(self) -> None:
        self._stats.in_flight -= 1
        self._semaphore.release()

    async def acquire_token(self, call: WaitBounds) -> None:
        """Acquire a rate-limit token, waiting only if none is available.

        Raises:
            ClientClosedError: The client was closed during the wait.
            DeadlineExceededError: The deadline passed during the wait.

        """
        if self._bucket is None or not await self._bucket.try_acquire():
            await call.wait(self.limiter.acquire(), "limiter")
        if call.pending.closed or (call.deadline is not None and call.exceeds_deadline()):
            raise call.interrupted_error("limiter")


def _now() -> float:
    return asyncio.get_running_loop().time()
