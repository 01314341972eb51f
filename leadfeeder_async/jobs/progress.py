"""The progress of a long job."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from leadfeeder_async.types import Stats


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a job."""

    done: int
    """Rows so far, including those of earlier runs."""
    total: int | None
    """All rows of the job, as the server counts them or as the input contains them, or None if unknown."""
    pages: int
    """Pages of a list, or batches of results."""
    requests: int
    rate_limited: int
    """Responses with status 429."""
    credits: int
    elapsed: float
    """Seconds of this run."""
    done_before: int = 0
    """Rows of earlier runs, which ``done`` includes."""

    @property
    def rate(self) -> float:
        """Rows per second of this run."""
        return (self.done - self.done_before) / self.elapsed if self.elapsed else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds left at this rate, or None if it is unknown."""
        if self.total is None or not self.rate:
            return None
        return max(0.0, (self.total - self.done) / self.rate)


OnProgress: TypeAlias = Callable[[Progress], None]
"""Receives the progress of a job, on the event loop. It must not block."""


def notify(progress: Progress, on_progress: OnProgress | None) -> None:
    """Call the hook, if there is one."""
    if on_progress is not None:
        on_progress(progress)


class ProgressTracker:
    """Counts the rows and pages of a job, and takes its requests and credits from statistics.

    Args:
        stats: The statistics of the job, or of a client that nothing else uses.
        limit: The most rows of the job.
    """

    def __init__(self, stats: Stats, limit: int | None = None) -> None:
        self._stats = stats
        self._limit = limit
        self._before = (stats.requests, stats.rate_limited, stats.credits_charged)
        self._started = time.perf_counter()
        self._rows = self._rows_before = self._pages = 0
        self._total: int | None = None

    def start_from(self, rows: int) -> None:
        """Include the rows of an earlier run."""
        self._rows = self._rows_before = rows

    def count(self, rows: int, total: int | None) -> Progress:
        """Add the rows of a page or batch, and return the progress."""
        self._rows += rows
        self._pages += 1
        self._total = total if self._limit is None or total is None else min(self._limit, total)
        return self.now()

    def now(self) -> Progress:
        """Return the progress."""
        requests, rate_limited, credits_charged = self._before
        return Progress(
            done=self._rows,
            total=self._total,
            pages=self._pages,
            requests=self._stats.requests - requests,
            rate_limited=self._stats.rate_limited - rate_limited,
            credits=self._stats.credits_charged - credits_charged,
            elapsed=time.perf_counter() - self._started,
            done_before=self._rows_before,
        )
