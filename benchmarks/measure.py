"""How things are measured: CPU seconds of this process, in turns that are shuffled, as ratios within one turn.

On a machine that others use too, the processor is up to twice as slow from one second to the next. A fixed piece of
work before and after each turn tells which turns it was quiet in, whatever the turn itself took.
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
"""Does one turn's work; returns how many items it read."""


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
    """What one contender took."""

    ratio: Spread
    """Its CPU per item over that of the base, turn by turn."""
    micros: Spread
    """Its CPU per item, in microseconds."""
    quiet: float | None
    """The same ratio of medians, of those turns in which the processor was quiet; None where they are too few."""
    quiet_turns: int


QUIET = 1.15
"""A turn counts as quiet where the fixed work took no more than so many times its best."""

FEW = 5
"""Fewer quiet turns than this say nothing."""


def fixed_work() -> float:
    """Return the CPU seconds that some plain Python takes now."""
    before = time.thread_time()
    for _ in range(50_000):
        pass
    return time.thread_time() - before


def cpu() -> float:
    """Return the CPU seconds that this process has used, in user and in system mode."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def spread_of(values: list[float]) -> Spread:
    """Return the median and the quartiles of some values."""
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return Spread(low, median, high)


async def rotated(contenders: Mapping[str, Turn], base: str, turns: int, seed: int = 1) -> dict[str, Result]:
    """Let all contenders work in turns, in a new order each time, and compare them within each turn."""
    order, draw = list(contenders), random.Random(seed)
    for name in order:
        await contenders[name]()
    taken: dict[str, list[float]] = {name: [] for name in order}
    noise: dict[str, list[float]] = {name: [] for name in order}
    for _ in range(turns):
        draw.shuffle(order)
        for name in order:
            gc.collect()
            await asyncio.sleep(0)
            work, before = fixed_work(), cpu()
            items = await contenders[name]()
            taken[name].append((cpu() - before) / items)
            noise[name].append(max(work, fixed_work()))
    best = min(min(slow) for slow in noise.values())
    quiet = {name: _quiet(took, noise[name], best) for name, took in taken.items()}
    return {name: _result(took, taken[base], quiet[name], quiet[base]) for name, took in taken.items()}


def _quiet(took: list[float], noise: list[float], best: float) -> list[float]:
    return [one for one, slow in zip(took, noise, strict=True) if slow <= QUIET * best]


def _result(took: list[float], of: list[float], quiet: list[float], quiet_of: list[float]) -> Result:
    enough = min(len(quiet), len(quiet_of)) >= FEW
    return Result(
        spread_of([one / other for one, other in zip(took, of, strict=True)]),
        spread_of([1e6 * one for one in took]),
        statistics.median(quiet) / statistics.median(quiet_of) if enough else None,
        len(quiet),
    )
