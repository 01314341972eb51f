"""The credits of one call."""

from __future__ import annotations

from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.budget import Budget
from leadfeeder_async.types import Stats


class CallMeter:
    """Measures the credits of one call, including those of rejected attempts."""

    def __init__(self) -> None:
        self._budget = Budget()
        self._stats = Stats()

    def attach(self, executor: RequestExecutor) -> RequestExecutor:
        """Return an executor whose calls are measured."""
        return executor.with_budget(self._budget).with_stats(self._stats)

    @property
    def charged(self) -> int:
        """The credits that the responses charged."""
        return self._stats.credits_charged

    @property
    def spent(self) -> int:
        """The credits that the responses charged, and those that lost responses may have charged."""
        return max(self.charged, self._budget.credits)

    @property
    def possibly_charged(self) -> int:
        """The credits that lost responses may have charged."""
        return self.spent - self.charged
