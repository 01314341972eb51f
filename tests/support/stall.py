"""Measure how long an event loop is blocked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Stall:
    """The longest time, in seconds, for which other tasks of the event loop had to wait."""

    def __init__(self) -> None:
        self.longest = 0.0


@asynccontextmanager
async def measured_stall() -> AsyncIterator[Stall]:
    """Measure the longest stall of the event loop while the block runs."""
    stall = Stall()

    async def beat() -> None:
        latest = time.perf_counter()
        while True:
            await asyncio.sleep(0.002)
            now = time.perf_counter()
            stall.longest, latest = max(stall.longest, now - latest), now

    task = asyncio.create_task(beat())
    await asyncio.sleep(0.01)
    try:
        yield stall
    finally:
        await asyncio.sleep(0.01)
        task.cancel()
