"""How far a long job is, told to whoever asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from leadfeeder_async.types import Stats


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is."""

    done: int
    """Rows so far."""
    total: int | None
    """Rows in all, as the server counted them; None where it did not."""
    pages: int
    requests: int
    rate_limited: int
    """Answers 429."""
    credits: int
    elapsed: float
    """Seconds."""

    @property
    def rate(self) -> float:
        """Rows a second so far."""
        return self.done / self.elapsed if self.elapsed else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds left at this rate; None where it cannot be said."""
        if self.total is None or not self.rate:
            return None
        return max(0.0, (self.total - self.done) / self.rate)


OnProgress: TypeAlias = Callable[[Progress], None]


def notify(progress: Progress, on_progress: OnProgress | None) -> None:
    """Call whoever asked to be told."""
    if on_progress is not None:
        on_progress(progress)


class ProgressTracker:
    """Counts a job's rows and pages, and takes its requests and credits from the client's own count."""

    def __init__(self, stats: Stats, limit: int | None = None) -> None:
        self._stats = stats
        self._limit = limit
        self._before = (stats.requests, stats.rate_limited, stats.credits_charged)
        self._started = time.perf_counter()
        self._rows = self._pages = 0
        self._total: int | None = None

    def start_from(self, rows: int) -> None:
        """Count in the rows of an earlier run."""
        self._rows = rows

    def count(self, rows: int, total: int | None) -> Progress:
        """Count one page."""
        self._rows += rows
        self._pages += 1
        self._total = total if self._limit is None or total is None else min(self._limit, total)
        return self.now()

    def now(self) -> Progress:
        """Return how far the job is."""
        requests, rate_limited, charged = self._before
        return Progress(
            done=self._rows,
            total=self._total,
            pages=self._pages,
            requests=self._stats.requests - requests,
            rate_limited=self._stats.rate_limited - rate_limited,
            credits=self._stats.credits_charged - charged,
            elapsed=time.perf_counter() - self._started,
        )
