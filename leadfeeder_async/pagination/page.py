"""Pages of a list, and the position at which an interrupted list continues."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import date
from typing import Generic, Protocol, TypeVar

import msgspec

from leadfeeder_async.errors import DecodeError, LeadfeederError
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.pagination.date_range import DateWindow

T = TypeVar("T")
U = TypeVar("U")


class ResumePosition(msgspec.Struct, frozen=True, kw_only=True):
    """The position after some pages of a list. ``msgspec.json.encode`` turns it into JSON."""

    cursor: str | None = None
    """The cursor of the next page."""
    day: date | None = None
    """The first day of the date range that was being read. It is read again, so its rows may repeat."""
    ids: int = 0
    """The number of requested ids that are done."""
    missing_ids: tuple[str, ...] = ()
    """The ids among them that have no record yet. They are requested again."""
    ended: bool = False
    """True if resuming requests nothing more: the list is complete, or it ended and reading it again may charge."""
    total: int | None = None
    """The highest count that the server reported in the current pass over a cursor list."""
    rows: int | None = None
    """The distinct rows of the current pass over a cursor list, to compare with ``total``, or None if not known."""
    fall: int = 0
    """The rows by which the count of a cursor list fell. Later rows may have moved to a page that was already read."""
    last_id: str | None = None
    """The id of the last row of a cursor list so far.

    For signals and visitor companies, it also contains the type, the company and the location.
    """
    skips_rows: bool = False
    """True if rows that an earlier run returned may follow in a cursor list."""
    may_charge: bool = False
    """True if reading the list again may charge credits."""
    cursor_hashes: tuple[str, ...] = ()
    """Hashes of the cursors so far of a list that may charge, so that no page is charged again if cursors repeat."""
    has_all_rows: bool = False
    """True if all rows that the server counts in a cursor list have arrived. It may still name another cursor."""


def reads_from_start(position: ResumePosition | None) -> bool:
    """Return True if a list that continues at a position is read again from its start."""
    return position is None or not (
        position.cursor or position.day or position.ids or position.missing_ids or position.ended
    )


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, without rows that an earlier page contained."""

    items: tuple[T, ...]
    meta: Meta
    total: int | None = None
    """The number of rows of the whole list, as the server counted them at its start."""
    window: DateWindow | None = None
    """The date range of this page, in a list that is split by date."""
    position: ResumePosition | None = None
    """The position after this page, or None if the list can only be restarted."""
    decode_errors: tuple[DecodeError, ...] = ()
    """The errors for the first 100 rows of this page that cannot be decoded. ``undecodable`` counts them all."""
    undecodable: int = 0
    """The number of rows of this page that cannot be decoded."""
    partial_errors: tuple[LeadfeederError, ...] = ()
    """Errors that the server reports beside its data, and errors about rows that it does not return."""
    further_errors: int = 0
    """The number of errors that are not listed in ``partial_errors``, because there are too many."""

    @property
    def problems(self) -> tuple[LeadfeederError, ...]:
        """All errors about rows that are missing from this page."""
        return (*self.decode_errors, *self.partial_errors)

    @property
    def problem_count(self) -> int:
        """The number of missing rows or parts. It is larger than the number of ``problems`` if those are too many."""
        return self.undecodable + len(self.partial_errors) + self.further_errors

    @property
    def row_count(self) -> int:
        """The number of rows that arrived, including those that cannot be decoded."""
        return len(self.items) + self.undecodable


class PageDecoder(Protocol[T]):
    """Decodes page bodies, into models or into raw rows."""

    async def decode(self, body: bytes) -> Page[T]:
        """Return the page of a response body."""
        ...

    def row_ids(self, rows: Sequence[T]) -> list[str | None]:
        """Return the id of each row, or None for a row without one.

        If several rows may have the same id, return the results of :func:`row_identity`.
        """
        ...


class RowFilter(Protocol):
    """Keeps some rows of a list, by a condition that the API has no filter for.

    A resumed export compares its description with that of the interrupted run.
    """

    @property
    def description(self) -> str:
        """The condition in words."""
        ...

    def apply(self, pages: AsyncGenerator[Page[U], None]) -> AsyncGenerator[Page[U], None]:
        """Yield pages with the rows to keep. ``total`` is None, because their number is not known."""
        ...
