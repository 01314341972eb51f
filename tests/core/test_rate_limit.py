"""The pace of requests, on a virtual clock: nothing here waits for real."""

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


async def taken_from(bucket: TokenBucket) -> None:
    """Take a token as calls do: at once, or by waiting."""
    if not await bucket.try_acquire():
        await bucket.acquire()


def grants(loop: VirtualLoop, count: int, tasks: int = 1, *, rate: float = 9.9, burst: int = 12) -> list[float]:
    """Return when each of ``count`` grants came, in seconds from the start."""

    async def work() -> list[float]:
        bucket = TokenBucket(rate, burst)
        start, left, times = loop.time(), iter(range(count)), list[float]()

        async def caller() -> None:
            for _ in left:
                await taken_from(bucket)
                times.append(loop.time() - start)

        await asyncio.gather(*(caller() for _ in range(tasks)))
        return times

    return loop.run_until_complete(work())


@pytest.mark.parametrize("tasks", [1, 50, 500])
def test_burst_then_rate(virtual: VirtualLoop, tasks: int) -> None:
    """Twelve at once, then 9.9 a second, whether one task asks or five hundred do."""
    times = grants(virtual, 1_000, tasks)
    assert times[11] < 0.001
    assert times[-1] == pytest.approx((1_000 - 12) / 9.9, rel=1e-4)


@given(rate=st.floats(0.5, 50), burst=st.integers(1, 15), count=st.integers(2, 80), tasks=st.integers(1, 20))
def test_never_more_than_the_bucket_allows(rate: float, burst: int, count: int, tasks: int) -> None:
    """Between any two moments there are at most ``burst`` grants plus what the rate adds."""
    loop = VirtualLoop()
    try:
        times = grants(loop, count, tasks, rate=rate, burst=burst)
    finally:
        loop.close()
    for first in range(count):
        for last in range(first, count):
            assert last - first + 1 <= burst + rate * (times[last] - times[first]) + 1e-3


def test_callers_are_served_in_order_even_after_a_stall(virtual: VirtualLoop) -> None:
    """Whoever asked first goes first: a newcomer after a stalled loop does not overtake those who queue."""

    async def scenario() -> list[int]:
        bucket, order = TokenBucket(10, 2), list[int]()

        async def caller(number: int) -> None:
            await taken_from(bucket)
            order.append(number)

        tasks = [asyncio.create_task(caller(number)) for number in range(20)]
        await asyncio.sleep(0.05)
        virtual.now += 0.7  # the loop was busy elsewhere
        tasks += [asyncio.create_task(caller(number)) for number in range(20, 30)]
        await asyncio.gather(*tasks)
        return order

    assert virtual.run_until_complete(scenario()) == list(range(30))


def test_pause_holds_everyone_and_empties_the_bucket(virtual: VirtualLoop) -> None:
    """After a 429 nobody sends before the pause ends, and then no burst follows."""

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
    """After a short pause there are only the tokens that came in meanwhile: the server's bucket was empty too."""

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


def test_pause_reaches_those_who_already_wait(virtual: VirtualLoop) -> None:
    """A caller that waits for its token when the 429 comes is held back too."""

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


def test_the_longest_pause_wins(virtual: VirtualLoop) -> None:
    """A later, shorter 429 does not open the gate that an earlier one closed for longer."""

    async def scenario() -> float:
        bucket = TokenBucket(10, 5)
        start = virtual.time()
        bucket.pause(8.0)
        bucket.pause(1.0)
        await bucket.acquire()
        return virtual.time() - start

    assert virtual.run_until_complete(scenario()) >= 8.0


@given(st.lists(st.booleans(), min_size=2, max_size=30), st.floats(0, 3))
def test_canceled_callers_take_nothing_with_them(canceled: list[bool], after: float) -> None:
    """Callers canceled at any moment, in a pause too, neither block the others nor use up their tokens."""
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


def simulated(loop: VirtualLoop, allow: Callable[[float], bool], seconds: float, clients: int = 1) -> list[bool]:
    """Send for some time, each client through its own bucket with 16 callers, and return what the server said."""
    said = list[bool]()

    async def work() -> None:
        end = loop.time() + seconds

        async def caller(bucket: TokenBucket) -> None:
            while loop.time() < end:
                await taken_from(bucket)
                await asyncio.sleep(0.05)
                said.append(allow(loop.time()))
                if not said[-1]:
                    bucket.pause(0.5)
                await asyncio.sleep(0.05)

        buckets = [TokenBucket() for _ in range(clients)]
        await asyncio.gather(*(caller(bucket) for bucket in buckets for _ in range(16)))

    loop.run_until_complete(work())
    return said


def sliding_second(most: int) -> Callable[[float], bool]:
    """A server that takes ``most`` requests in any second, and forgets those it refused."""
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
    """The server's own token bucket."""
    tokens, last = burst, 1_000.0

    def allow(now: float) -> bool:
        nonlocal tokens, last
        tokens, last = min(burst, tokens + (now - last) * rate), now
        if tokens < 1:
            return False
        tokens -= 1
        return True

    return allow


def test_pace_learns_a_stricter_server(virtual: VirtualLoop) -> None:
    """Where ten in any second is the law, the pace falls until it is kept: few 429s, and four fifths of the most."""
    said = simulated(virtual, sliding_second(10), 600)
    late = said[len(said) // 6 :]
    assert late.count(False) <= 0.005 * len(late)
    assert late.count(True) >= 0.8 * 10 * 500


def test_pace_makes_room_for_another_process(virtual: VirtualLoop) -> None:
    """Two clients that know nothing of each other settle below the key's limit: few 429s, little of it unused."""
    said = simulated(virtual, bucket_of(10, 15), 600, clients=2)
    late = said[len(said) // 3 :]
    assert late.count(False) <= 0.02 * len(late)
    assert late.count(True) >= 0.8 * 10 * 390


def test_pace_is_not_touched_by_a_single_429() -> None:
    """One 429 a minute is bad luck: the pause is answer enough."""
    pace = AdaptiveRate(9.9, 12)
    for now in (0.0, 60.0, 120.0):
        pace.on_rate_limited(now)
    assert (pace.rate, pace.burst, pace.recover(1e6)) == (9.9, 12, False)


def test_pace_falls_and_comes_back() -> None:
    """Each soon-following 429 takes a tenth, never below a tenth of the rate; a hundredth returns every ten seconds."""
    pace = AdaptiveRate(10, 12)
    pace.on_rate_limited(0)
    pace.on_rate_limited(59)
    assert (pace.rate, pace.burst) == (9.0, 1)
    assert not pace.recover(68.9)
    assert pace.recover(69)
    assert pace.rate == pytest.approx(9.1)
    assert pace.recover(95)
    assert (pace.rate, pace.burst) == (pytest.approx(9.3), 1)
    assert pace.recover(175)
    assert (pace.rate, pace.burst, pace.recover(1e6)) == (10, 12, False)
    for second in range(1_000, 1_100):
        pace.on_rate_limited(second)
    assert pace.rate == 1


def test_bucket_gets_back_its_rate_and_its_burst(virtual: VirtualLoop) -> None:
    """Long after the last 429, tokens come as fast and as many at once as in the beginning."""

    async def scenario() -> list[float]:
        bucket = TokenBucket(10, 5)
        for _ in range(2):
            bucket.pause(1.0)
            await taken_from(bucket)
        assert "9/s, burst 1" in repr(bucket)
        for _ in range(2):
            await asyncio.sleep(1_000)
            await taken_from(bucket)
        await asyncio.sleep(10)
        start = virtual.time()
        return [virtual.time() - start for _ in range(15) if await taken_from(bucket) is None]

    times = virtual.run_until_complete(scenario())
    assert times[4] < 0.001
    assert times[14] == pytest.approx(1.0, abs=0.01)


def test_429s_of_one_herd_count_once(virtual: VirtualLoop) -> None:
    """Requests that were under way together when the limit was met teach the pace one thing, not sixteen."""

    async def scenario() -> str:
        bucket = TokenBucket(10, 5)
        for _ in range(16):
            bucket.pause(1.0)
            await asyncio.sleep(0.01)
        return repr(bucket)

    assert "10/s, burst 5" in virtual.run_until_complete(scenario())


def test_slots_bound_what_is_under_way(virtual: VirtualLoop) -> None:
    """No more than ``slots`` hold a slot at once, and a canceled holder gives it back."""

    async def scenario() -> int:
        stats, most = Stats(), 0
        throttle = Throttle(3, TokenBucket(1e6, 1000), stats)
        throttle.first_connection.open()

        async def caller() -> None:
            nonlocal most
            call = WaitBounds(PendingWaits(stats), virtual, None, ErrorContext())
            async with throttle.slot(call, AttemptTrace(None, ErrorContext())):
                most = max(most, stats.in_flight)
                await asyncio.sleep(1)

        tasks = [asyncio.create_task(caller()) for _ in range(10)]
        await asyncio.sleep(0.5)
        for task in tasks[:5]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (stats.in_flight, stats.waiting) == (0, 0)
        return most

    assert virtual.run_until_complete(scenario()) == 3
