"""The pace of requests, on a virtual clock: nothing here waits for real."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async._http.limits import Limits, TokenBucket
from tests.support.clock import VirtualLoop


def grants(loop: VirtualLoop, count: int, tasks: int = 1, *, rate: float = 9.9, burst: int = 12) -> list[float]:
    """Return when each of ``count`` grants came, in seconds from the start."""

    async def work() -> list[float]:
        bucket = TokenBucket(rate, burst)
        start, left, times = loop.time(), iter(range(count)), list[float]()

        async def caller() -> None:
            for _ in left:
                await bucket.acquire()
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
            await bucket.acquire()
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
def test_cancelled_callers_take_nothing_with_them(cancelled: list[bool], after: float) -> None:
    """Callers cancelled at any moment, in a pause too, neither block the others nor use up their tokens."""
    loop = VirtualLoop()

    async def scenario() -> float:
        bucket = TokenBucket(10, 1)
        start = loop.time()
        bucket.pause(1.0)
        tasks = [asyncio.create_task(bucket.acquire()) for _ in cancelled]
        await asyncio.sleep(after)
        for task, drop in zip(tasks, cancelled, strict=True):
            if drop:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return loop.time() - start

    try:
        took = loop.run_until_complete(scenario())
    finally:
        loop.close()
    assert took <= max(after, 1.0) + len(cancelled) * 0.1 + 0.01


def test_slots_bound_what_is_under_way(virtual: VirtualLoop) -> None:
    """No more than ``slots`` hold a slot at once, and a cancelled holder gives it back."""

    async def scenario() -> int:
        limits, inside, most = Limits(3, TokenBucket(1e6, 1000)), 0, 0

        async def caller() -> None:
            nonlocal inside, most
            async with limits.slots:
                inside += 1
                most = max(most, inside)
                try:
                    await asyncio.sleep(1)
                finally:
                    inside -= 1

        tasks = [asyncio.create_task(caller()) for _ in range(10)]
        await asyncio.sleep(0.5)
        for task in tasks[:5]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limits.slots.value == 3
        return most

    assert virtual.run_until_complete(scenario()) == 3
