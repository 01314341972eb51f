"""The request rate on a virtual clock, without real waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async._core.attempt import AttemptTrace
from leadfeeder_async._core.rate_limit import AdaptiveRate, Throttle, TokenBucket
from leadfeeder_async._core.waiting import PendingWaits, WaitBounds
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.types import Stats
from tests.support.clock import VirtualLoop


async def take_token(bucket: TokenBucket) -> None:
    """Take a token as calls do: without waiting if one is available."""
    if not await bucket.try_acquire():
        await bucket.acquire()


def grants(loop: VirtualLoop, count: int, tasks: int = 1, *, rate: float = 9.9, burst: int = 12) -> list[float]:
    """Return the times of ``count`` grants, in seconds from the start."""

    async def work() -> list[float]:
        bucket = TokenBucket(rate, burst)
        start, remaining, times = loop.time(), iter(range(count)), list[float]()

        async def caller() -> None:
            for _ in remaining:
                await take_token(bucket)
                times.append(loop.time() - start)

        await asyncio.gather(*(caller() for _ in range(tasks)))
        return times

    return loop.run_until_complete(work())


@pytest.mark.parametrize("tasks", [1, 50, 500])
def test_burst_then_rate(virtual: VirtualLoop, tasks: int) -> None:
    """Twelve tokens are granted at once, then 9.9 per second, for any number of tasks."""
    times = grants(virtual, 1_000, tasks)
    assert times[11] < 0.001
    assert times[-1] == pytest.approx((1_000 - 12) / 9.9, rel=1e-4)


@given(rate=st.floats(0.5, 50), burst=st.integers(1, 15), count=st.integers(2, 80), tasks=st.integers(1, 20))
def test_grants_stay_below_bucket_limit(rate: float, burst: int, count: int, tasks: int) -> None:
    """In any interval there are at most ``burst`` grants plus the refill of the interval."""
    loop = VirtualLoop()
    try:
        times = grants(loop, count, tasks, rate=rate, burst=burst)
    finally:
        loop.close()
    for first in range(count):
        for last in range(first, count):
            assert last - first + 1 <= burst + rate * (times[last] - times[first]) + 1e-3


def test_callers_are_served_in_order_after_a_stall(virtual: VirtualLoop) -> None:
    """A new caller does not overtake waiting callers, even after the event loop was blocked."""

    async def scenario() -> list[int]:
        bucket, order = TokenBucket(10, 2), list[int]()

        async def caller(number: int) -> None:
            await take_token(bucket)
            order.append(number)

        tasks = [asyncio.create_task(caller(number)) for number in range(20)]
        await asyncio.sleep(0.05)
        virtual.now += 0.7  # the loop was blocked
        tasks += [asyncio.create_task(caller(number)) for number in range(20, 30)]
        await asyncio.gather(*tasks)
        return order

    assert virtual.run_until_complete(scenario()) == list(range(30))


def test_pause_holds_all_callers(virtual: VirtualLoop) -> None:
    """After a 429, no caller proceeds before the pause ends, and no burst follows."""

    async def scenario() -> list[float]:
        bucket, times = TokenBucket(10, 5), list[float]()
        start = virtual.time()
        await bucket.acquire()
        bucket.pause(3.0)

        async def caller() -> None:
            await bucket.acquire()
            times.append(virtual.time() - start)

        await asyncio.gather(*(caller() for _ in range(10)))
        return times

    times = virtual.run_until_complete(scenario())
    assert min(times) >= 3.0
    assert max(later - earlier for earlier, later in pairwise(times[5:])) <= 0.11
    assert sum(time < 3.001 for time in times) <= 5


def test_pause_empties_the_bucket(virtual: VirtualLoop) -> None:
    """After a short pause only the tokens refilled during the pause are available."""

    async def scenario() -> list[float]:
        bucket, times = TokenBucket(10, 5), list[float]()
        start = virtual.time()
        bucket.pause(0.2)

        async def caller() -> None:
            await bucket.acquire()
            times.append(virtual.time() - start)

        await asyncio.gather(*(caller() for _ in range(6)))
        return times

    times = virtual.run_until_complete(scenario())
    assert sum(time < 0.29 for time in times) == 2


def test_pause_applies_to_waiting_callers(virtual: VirtualLoop) -> None:
    """A caller that already waits for a token also waits for the end of the pause."""

    async def scenario() -> float:
        bucket = TokenBucket(1, 1)
        start = virtual.time()
        await bucket.acquire()
        waiting = asyncio.create_task(bucket.acquire())
        await asyncio.sleep(0.5)
        bucket.pause(10.0)
        await waiting
        return virtual.time() - start

    assert virtual.run_until_complete(scenario()) >= 10.5


def test_longest_pause_wins(virtual: VirtualLoop) -> None:
    """A later and shorter pause does not end an earlier one."""

    async def scenario() -> float:
        bucket = TokenBucket(10, 5)
        start = virtual.time()
        bucket.pause(8.0)
        bucket.pause(1.0)
        await bucket.acquire()
        return virtual.time() - start

    assert virtual.run_until_complete(scenario()) >= 8.0


@given(st.lists(st.booleans(), min_size=2, max_size=30), st.floats(0, 3))
def test_canceled_callers_use_no_tokens(canceled: list[bool], after: float) -> None:
    """Canceled callers neither block the others nor use up tokens."""
    loop = VirtualLoop()

    async def scenario() -> float:
        bucket = TokenBucket(10, 1)
        start = loop.time()
        bucket.pause(1.0)
        tasks = [asyncio.create_task(bucket.acquire()) for _ in canceled]
        await asyncio.sleep(after)
        for task, drop in zip(tasks, canceled, strict=True):
            if drop:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return loop.time() - start

    try:
        took = loop.run_until_complete(scenario())
    finally:
        loop.close()
    assert took <= max(after, 1.0) + len(canceled) * 0.1 + 0.01


def simulate(loop: VirtualLoop, allow: Callable[[float], bool], seconds: float, clients: int = 1) -> list[bool]:
    """Send requests for some time, each client through a bucket with 16 callers, and return the results."""
    accepted = list[bool]()

    async def work() -> None:
        end = loop.time() + seconds

        async def caller(bucket: TokenBucket) -> None:
            while loop.time() < end:
                await take_token(bucket)
                await asyncio.sleep(0.05)
                accepted.append(allow(loop.time()))
                if not accepted[-1]:
                    bucket.pause(0.5)
                await asyncio.sleep(0.05)

        buckets = [TokenBucket() for _ in range(clients)]
        await asyncio.gather(*(caller(bucket) for bucket in buckets for _ in range(16)))

    loop.run_until_complete(work())
    return accepted


def sliding_second(most: int) -> Callable[[float], bool]:
    """A server that accepts ``most`` requests in any second and does not count rejected ones."""
    taken = deque[float]()

    def allow(now: float) -> bool:
        while taken and taken[0] <= now - 1:
            taken.popleft()
        if len(taken) >= most:
            return False
        taken.append(now)
        return True

    return allow


def bucket_of(rate: float, burst: float) -> Callable[[float], bool]:
    """A server with a token bucket."""
    tokens, last = burst, 1_000.0

    def allow(now: float) -> bool:
        nonlocal tokens, last
        tokens, last = min(burst, tokens + (now - last) * rate), now
        if tokens < 1:
            return False
        tokens -= 1
        return True

    return allow


def test_rate_adapts_to_stricter_server(virtual: VirtualLoop) -> None:
    """If a server allows ten requests per second, few are rejected and four fifths of the limit are used."""
    accepted = simulate(virtual, sliding_second(10), 600)
    late = accepted[len(accepted) // 6 :]
    assert late.count(False) <= 0.005 * len(late)
    assert late.count(True) >= 0.8 * 10 * 500


def test_rate_adapts_to_second_process(virtual: VirtualLoop) -> None:
    """Two independent clients of one key settle at its limit, with few 429s and little unused capacity."""
    accepted = simulate(virtual, bucket_of(10, 15), 600, clients=2)
    late = accepted[len(accepted) // 3 :]
    assert late.count(False) <= 0.02 * len(late)
    assert late.count(True) >= 0.8 * 10 * 390


def test_single_429_does_not_lower_rate() -> None:
    """One 429 per minute does not lower the rate."""
    adaptive_rate = AdaptiveRate(9.9, 12)
    for now in (0.0, 60.0, 120.0):
        adaptive_rate.on_rate_limited(now)
    assert (adaptive_rate.rate, adaptive_rate.burst, adaptive_rate.recover(1e6)) == (9.9, 12, False)


def test_rate_falls_and_recovers() -> None:
    """Each repeated 429 lowers the rate by a tenth, and it recovers by a hundredth every ten seconds."""
    adaptive_rate = AdaptiveRate(10, 12)
    adaptive_rate.on_rate_limited(0)
    adaptive_rate.on_rate_limited(59)
    assert (adaptive_rate.rate, adaptive_rate.burst) == (9.0, 1)
    assert not adaptive_rate.recover(68.9)
    assert adaptive_rate.recover(69)
    assert adaptive_rate.rate == pytest.approx(9.1)
    assert adaptive_rate.recover(95)
    assert (adaptive_rate.rate, adaptive_rate.burst) == (pytest.approx(9.3), 1)
    assert adaptive_rate.recover(175)
    assert (adaptive_rate.rate, adaptive_rate.burst, adaptive_rate.recover(1e6)) == (10, 12, False)
    for second in range(1_000, 1_100):
        adaptive_rate.on_rate_limited(second)
    assert adaptive_rate.rate == 1


def test_bucket_recovers_rate_and_burst(virtual: VirtualLoop) -> None:
    """Long after the last 429, the rate and the burst are as they were at the start."""

    async def scenario() -> list[float]:
        bucket = TokenBucket(10, 5)
        for _ in range(2):
            bucket.pause(1.0)
            await take_token(bucket)
        assert "9/s, burst 1" in repr(bucket)
        for _ in range(2):
            await asyncio.sleep(1_000)
            await take_token(bucket)
        await asyncio.sleep(10)
        start = virtual.time()
        return [virtual.time() - start for _ in range(15) if await take_token(bucket) is None]

    times = virtual.run_until_complete(scenario())
    assert times[4] < 0.001
    assert times[14] == pytest.approx(1.0, abs=0.01)


def test_simultaneous_429s_count_once(virtual: VirtualLoop) -> None:
    """Several 429s of requests that were in flight together do not lower the rate."""

    async def scenario() -> str:
        bucket = TokenBucket(10, 5)
        for _ in range(16):
            bucket.pause(1.0)
            await asyncio.sleep(0.01)
        return repr(bucket)

    assert "10/s, burst 5" in virtual.run_until_complete(scenario())


def test_concurrency_slots(virtual: VirtualLoop) -> None:
    """No more than ``max_concurrency`` calls hold a slot, and a canceled call releases its slot."""

    async def scenario() -> int:
        stats, most = Stats(), 0
        throttle = Throttle(3, TokenBucket(1e6, 1000), stats)
        throttle.first_connection.open()

        async def caller() -> None:
            nonlocal most
            call = WaitBounds(PendingWaits(stats), virtual, None, ErrorContext())
            await throttle.acquire_slot(call, AttemptTrace(None, ErrorContext()))
            try:
                most = max(most, stats.in_flight)
                await asyncio.sleep(1)
            finally:
                throttle.release_slot()

        tasks = [asyncio.create_task(caller()) for _ in range(10)]
        await asyncio.sleep(0.5)
        for task in tasks[:5]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (stats.in_flight, stats.waiting) == (0, 0)
        return most

    assert virtual.run_until_complete(scenario()) == 3
