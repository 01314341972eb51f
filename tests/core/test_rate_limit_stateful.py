"""The token bucket as a state machine on a virtual clock."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from leadfeeder_async._core.rate_limit import TokenBucket
from tests.support.clock import VirtualLoop


class LimiterMachine(RuleBasedStateMachine):
    """The rate is never exceeded, no grant falls into a pause, callers are served in order, and all are served."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.waiting: list[tuple[int, asyncio.Task[None]]] = []
        self.grants: list[tuple[int, float]] = []
        self.pauses: list[tuple[float, float]] = []
        self.callers = 0

    @initialize(rate=st.sampled_from([0.5, 2.0, 9.9]), burst=st.integers(1, 5))
    def start(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.bucket = TokenBucket(rate, burst)

    async def call(self, number: int) -> None:
        if not await self.bucket.try_acquire():
            await self.bucket.acquire()
        self.grants.append((number, self.loop.time()))

    def run(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.waiting = [(number, task) for number, task in self.waiting if not task.done()]

    @rule(count=st.integers(1, 6))
    def request(self, count: int) -> None:
        for _ in range(count):
            self.callers += 1
            self.waiting.append((self.callers, self.loop.create_task(self.call(self.callers))))
        self.run(0)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 100))
    def cancel(self, which: int) -> None:
        self.waiting[which % len(self.waiting)][1].cancel()
        self.run(0)

    @rule(seconds=st.floats(0.01, 3))
    def pause(self, seconds: float) -> None:
        async def now() -> None:
            self.bucket.pause(seconds)

        self.loop.run_until_complete(now())
        self.pauses.append((self.loop.time(), self.loop.time() + seconds))

    @rule(seconds=st.floats(0.01, 5))
    def wait(self, seconds: float) -> None:
        self.run(seconds)

    @invariant()
    def in_order(self) -> None:
        numbers = [number for number, _ in self.grants]
        assert numbers == sorted(numbers)

    @invariant()
    def never_too_fast(self) -> None:
        times = [time for _, time in self.grants][-40:]
        for first, begin in enumerate(times):
            for last, end in enumerate(times[first:], first):
                assert last - first + 1 <= self.burst + self.rate * (end - begin) + 1e-3

    @invariant()
    def never_in_a_pause(self) -> None:
        assert not [time for _, time in self.grants for begin, end in self.pauses if begin + 1e-6 < time < end - 1e-6]

    def teardown(self) -> None:
        """Give each waiting caller a turn: one second and one token each, after the longest pause."""
        if hasattr(self, "bucket"):
            rate = min(self.rate / 10, 0.05)
            self.run(4 + (len(self.waiting) + self.burst + 1) / rate)
            assert self.waiting == []
        self.loop.close()


TestLimiter = LimiterMachine.TestCase
TestLimiter.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
