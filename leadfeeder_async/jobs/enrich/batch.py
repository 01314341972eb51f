"""The items of one request of an enrichment."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async.jobs.enrich.unassigned_records import UnassignedRecords

T = TypeVar("T")


class Batch(msgspec.Struct, Generic[T]):
    """The items of one request."""

    items: list[T]
    order: int
    """The position of the first item among all requested items."""
    attempts: int = 0
    reserved: int = 0
    """The credits that the budgets reserve for the request."""
    cost: int = 0
    """The credits that count as spent if the response is lost."""
    is_prepaid: bool = False
    """True if the request does not count in the budget of this run, because an earlier one may have paid for it."""
    is_free: bool = False
    """True if no credits are reserved, because this item is certainly charged already and no credits are left."""
    unassigned: UnassignedRecords | None = None
    """The records of an earlier response, one of which may be that of this item."""
    is_repeat: bool = False
    """True if an earlier response charged these items and contained no record."""

    @property
    def is_certainly_charged(self) -> bool:
        """True if an earlier response has certainly charged the record of this item."""
        return self.unassigned is not None and self.unassigned.is_certain

    @property
    def is_reserved_by_earlier_run(self) -> bool:
        """True if an earlier run has reserved the credits of this request."""
        return self.is_prepaid and not self.is_free

    def split(self, at: int) -> tuple[Batch[T], Batch[T]]:
        """Return the items before and after a position as two batches."""
        return (
            replace(self, items=self.items[:at], attempts=0),
            replace(self, items=self.items[at:], order=self.order + at, attempts=0),
        )
