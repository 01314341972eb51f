"""The results of a bulk change: of each id, and of all ids."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

import msgspec

from leadfeeder_async.errors import LeadfeederError
from leadfeeder_async.jobs.serialized_error import SerializedError


class BulkOutcome(StrEnum):
    """The outcome of one id."""

    CHANGED = "changed"
    """The server confirmed the change. It does not tell whether the record had the tag or list before."""
    FAILED = "failed"
    """The server rejected the change, or no request could be sent. Nothing was changed."""
    UNKNOWN = "unknown"
    """No usable response arrived, so the record may have been changed. Repeating the change is safe."""


class ChangeLine(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one id, as one line of a file."""

    row: int
    """The position of the id in the input, from 1."""
    id: str
    outcome: BulkOutcome
    error: SerializedError | None = None

    def to_result(self) -> BulkResult:
        """Return the public form of this result."""
        error = None if self.error is None else self.error.to_error()
        return BulkResult(row=self.row, id=self.id, outcome=self.outcome, error=error)


class BulkResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one id."""

    row: int
    """The position of the id in the input, from 1."""
    id: str
    """The id of the company or contact."""
    outcome: BulkOutcome
    error: LeadfeederError | None = None
    """The error of an id that was not changed, or may not have been."""


class BulkSummary(msgspec.Struct):
    """The totals of a bulk change, updated while it runs."""

    outcomes: Counter[BulkOutcome] = msgspec.field(default_factory=Counter[BulkOutcome])
    """Ids by outcome, including those of earlier runs into the same file."""

    @property
    def rows(self) -> int:
        """The number of finished ids."""
        return self.outcomes.total()

    @property
    def not_changed(self) -> int:
        """The number of ids that failed or whose outcome is unknown."""
        return self.rows - self.outcomes[BulkOutcome.CHANGED]
