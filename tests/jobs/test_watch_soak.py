"""A watch of many days on a virtual clock: late visits, ties, deletions, restarts, crashes and outages."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from leadfeeder_async import ServerError, WatchReading, WatchStatus
from leadfeeder_async.errors import ErrorContext
from tests.support.clock import VirtualLoop
from tests.support.visit_server import VisitServer

DAYS = 1_000 if os.environ.get("SOAK") else 30
LOOKBACK = 3
EVERY = 900


class Simulation:
    """A server with random visits, and watches that are restarted and killed at random moments."""

    def __init__(self, loop: VirtualLoop, state: Path, seed: int) -> None:
        self.server = VisitServer(loop)
        self.state = state
        self.rng = random.Random(seed)
        self.delivered = Counter[str]()
        self.expected = set[str]()
        self.crashes = self.restarts = 0
        self.statuses = list[WatchStatus]()
        self.model = 0
        """The requests that the cost model of the documentation allows."""
        self.started = self.server.now()
        self.end = self.started + timedelta(days=DAYS)

    def plan(self) -> None:
        """Plan all visits, deletions and outages. Some visits are late, and some share their second."""
        number = 0
        for day in range(DAYS):
            midnight = self.started + timedelta(days=day)
            for _ in range(self.rng.randrange(40)):
                start = midnight + timedelta(seconds=self.rng.randrange(86_400) // 60 * 60)
                late = timedelta(hours=self.rng.uniform(0.5, 24 * LOOKBACK - 12) if self.rng.random() < 0.05 else 0)
                number += 1
                visit_id, tie = f"v{number}", self.rng.randrange(1_000)
                self.server.at(start + late, lambda row=(visit_id, start, tie): self.server.add(*row))
                if self.rng.random() < 0.03:
                    gone = start + late + timedelta(hours=self.rng.uniform(0, 40))
                    self.server.at(gone, lambda row=(start, tie, visit_id): self.server.remove(row))
                elif start + late < self.end - timedelta(days=2):
                    self.expected.add(visit_id)
            if self.rng.random() < 0.2:
                start = midnight + timedelta(seconds=self.rng.randrange(86_400))
                self.server.at(start, self.begin_outage)
                self.server.at(start + timedelta(minutes=self.rng.uniform(1, 200)), self.end_outage)

    def begin_outage(self) -> None:
        self.server.error = ServerError("down", ErrorContext(status=503, sent="yes"))

    def end_outage(self) -> None:
        self.server.error = None

    async def run(self) -> None:
        self.plan()
        while self.server.now() < self.end:
            seconds = self.rng.expovariate(1 / (86_400 * 2))
            await self.watch(seconds, crashes=self.rng.random() < 0.5)
            await asyncio.sleep(self.rng.choice([1, 60, 7_200]))

    async def watch(self, seconds: float, *, crashes: bool) -> None:
        """Watch for some time, then stop it in order, or at the next visit without asking for another."""
        until = self.server.now() + timedelta(seconds=seconds)
        visits = self.server.watch(
            every=EVERY, since=self.started, state=self.state, lookback_days=LOOKBACK, on_status=self.count
        )

        async def consume() -> None:
            async for visit in visits:
                self.delivered[visit.id] += 1
                if crashes and self.server.now() >= until:
                    self.crashes += 1
                    return  # a crash: the visit was processed, and the next one was not requested
                if self.rng.random() < 0.02:
                    try:
                        await asyncio.sleep(self.rng.uniform(1, 4_000))
                    except asyncio.CancelledError:
                        self.crashes += 1  # stopped while a visit was being processed
                        raise

        task = asyncio.ensure_future(consume())
        if crashes:
            await asyncio.wait([task], timeout=seconds + 86_400 * 5)
        else:
            await asyncio.sleep(seconds)
            self.restarts += 1
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await visits.aclose()

    def count(self, status: WatchStatus) -> None:
        self.statuses.append(status)
        rows = sum(
            map(len, [v for d, v in self.server.days.items() if d >= (self.server.now() - timedelta(LOOKBACK)).date()])
        )
        whole = max(1, -(-rows // 100))
        if status.error is not None or status.reading is WatchReading.NOTHING:
            self.model += 1
        elif status.reading is WatchReading.TAIL:
            self.model += 1 + -(-status.delivered // 100)
        else:
            self.model += 1 + 1 + whole


@pytest.mark.timeout(1_800 if DAYS > 100 else 120)
def test_many_days(virtual: VirtualLoop, tmp_path: Path) -> None:
    """Each visit is delivered, at most one twice per crash, at the documented cost."""
    virtual._clock_resolution = 1e-6  # after 100 days, a float has no nanoseconds left
    simulation = Simulation(virtual, tmp_path / "visits.state", seed=DAYS)
    virtual.run_until_complete(simulation.run())
    delivered, server = simulation.delivered, simulation.server
    assert simulation.expected <= set(delivered)
    twice = sum(count - 1 for count in delivered.values())
    assert twice <= simulation.crashes
    assert max(delivered.values()) <= 1 + simulation.crashes
    assert simulation.crashes > DAYS / 20
    assert server.requests <= 1.05 * simulation.model
    assert simulation.state.stat().st_size < 30_000
