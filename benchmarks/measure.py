"""Measure the CPU time of contenders in shuffled turns, as ratios within one turn.

On a shared machine, the processor can be twice as slow from one second to the next. A fixed piece of work before and
after each turn shows whether the processor was quiet, that is, not used by other processes.
"""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Turn: TypeAlias = Callable[[], Awaitable[int]]
"""Do the work of one turn and return the number of items read."""


@dataclass(frozen=True)
class Spread:
    """A median and its quartiles."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}-{self.high:.2f}]"


@dataclass(frozen=True)
class Result:
    """The CPU time of one contender."""

    ratio: Spread
    """CPU time per item, divided by that of the base in the same turn."""
    micros: Spread
    """CPU time per item in microseconds."""
    quiet: float | None
    """Ratio of the medians of the turns with a quiet processor. None if there were too few."""
    quiet_turns: int


MAX_SLOWDOWN = 1.15
"""A turn counts as quiet if the fixed work took at most this many times its shortest time."""

MIN_QUIET_TURNS = 5
"""The least number of quiet turns for a ratio."""


def fixed_work() -> float:
    """Return the CPU seconds of a fixed amount of plain Python."""
    before = time.thread_time()
    for _ in range(50_000):
        pass
    return time.thread_time() - before


def cpu() -> float:
    """Return the CPU seconds of this process in user and system mode."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def spread_of(values: list[float]) -> Spread:
    """Return the median and the quartiles of ``values``."""
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return Spread(low, median, high)


async def rotated(contenders: Mapping[str, Turn], base: str, turns: int, seed: int = 1) -> dict[str, Result]:
    """Run all contenders in turns, in a new order each time, and compare them within each turn."""
    order, draw = list(contenders), random.Random(seed)
    for name in order:
        await contenders[name]()
    times: dict[str, list[float]] = {name: [] for name in order}
    noise: dict[str, list[float]] = {name: [] for name in order}
    for _ in range(turns):
        draw.shuffle(order)
        for name in order:
            gc.collect()
            await asyncio.sleep(0)
            fixed_before, before = fixed_work(), cpu()
            items = await contenders[name]()
            times[name].append((cpu() - before) / items)
            noise[name].append(max(fixed_before, fixed_work()))
    shortest = min(min(fixed) for fixed in noise.values())
    quiet = {name: _quiet_times(own, noise[name], shortest) for name, own in times.items()}
    return {name: _result(own, times[base], quiet[name], quiet[base]) for name, own in times.items()}


def _quiet_times(times: list[float], noise: list[float], shortest: float) -> list[float]:
    return [time for time, fixed in zip(times, noise, strict=True) if fixed <= MAX_SLOWDOWN * shortest]


def _result(times: list[float], base: list[float], quiet: list[float], quiet_base: list[float]) -> Result:
    enough = min(len(quiet), len(quiet_base)) >= MIN_QUIET_TURNS
    return Result(
        spread_of([own / other for own, other in zip(times, base, strict=True)]),
        spread_of([1e6 * own for own in times]),
        statistics.median(quiet) / statistics.median(quiet_base) if enough else None,
        len(quiet),
    )
