"""How things are measured: CPU seconds of this process, in turns that are shuffled, as ratios within one turn."""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import statistics
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
    for _ in range(turns):
        draw.shuffle(order)
        for name in order:
            gc.collect()
            await asyncio.sleep(0)
            before = cpu()
            items = await contenders[name]()
            taken[name].append((cpu() - before) / items)
    return {
        name: Result(
            spread_of([one / of for one, of in zip(took, taken[base], strict=True)]),
            spread_of([1e6 * one for one in took]),
        )
        for name, took in taken.items()
    }
