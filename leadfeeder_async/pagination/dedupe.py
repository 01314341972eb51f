"""Removal of rows that an earlier page contained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import Generic, TypeVar

import msgspec

from leadfeeder_async._core.normalize import UNREADABLE

T = TypeVar("T")


class NewRows(msgspec.Struct, Generic[T], frozen=True):
    """The rows of a page that no earlier page contained."""

    rows: tuple[T, ...]
    """The rows to return."""
    count: int
    """The rows that no earlier page of this list or date range had. Other date ranges may have returned them."""
    count_in_pass: int
    """The number of rows that no earlier page of the same pass contained."""
    unidentified: int = 0
    """The number of rows without an id."""
    repeated: int = 0
    """The number of rows that an earlier page of the same pass contained."""


class SeenIds(msgspec.Struct):
    """The ids of the rows of one list, or of one date window.

    If several rows may have the same id, an id here is the result of :func:`row_identity`. Each row without an id
    counts as a different row, unless its page repeats the one before. Only the first pass over a list returns them.
    """

    ids: set[str] = msgspec.field(default_factory=set[str])
    inherited: tuple[AbstractSet[str], ...] = ()
    """The ids of other windows, and of earlier runs. Their rows are not returned again."""
    shared: set[str] | None = None
    """The ids of all windows, if a row may belong to several."""
    pass_ids: set[str] | None = None
    """The ids of the current pass, from the second pass on."""

    @classmethod
    def excluding(
        cls, exclude_ids: AbstractSet[str], *, is_same_list: bool = False, shared: set[str] | None = None
    ) -> SeenIds:
        """Return the ids to begin a list with.

        Args:
            exclude_ids: The ids of rows that an earlier run returned, or the results of :func:`row_identity`.
            is_same_list: True if these rows count as rows of this list, because they do not come again.
            shared: The ids of all windows, if a row may belong to several.
        """
        if is_same_list:
            return cls(set(exclude_ids), shared=shared)
        return cls(inherited=(exclude_ids,), shared=shared)

    def start_pass(self) -> None:
        """Begin another pass over the same list."""
        self.pass_ids = set()

    def filter_new(self, rows: tuple[T, ...], ids: Sequence[str | None], *, is_repeated: bool = False) -> NewRows[T]:
        """Record the ids of a page, and return its new rows.

        Args:
            rows: The rows of the page.
            ids: The id of each row, or None.
            is_repeated: True if the rows without an id are those of the page before.
        """
        unique = set(filter(None, ids))  # nearly always, all rows are new
        if self.pass_ids is None and len(unique) == len(rows) and self._are_new(unique):
            self._add(unique)
            return NewRows(rows, len(rows), len(rows))
        return self._filter(rows, ids, returns_unidentified=self.pass_ids is None and not is_repeated)

    def _filter(self, rows: tuple[T, ...], ids: Sequence[str | None], *, returns_unidentified: bool) -> NewRows[T]:
        returned, count, count_in_pass, unidentified = list[T](), 0, 0, 0
        before = self.ids if self.pass_ids is None else self.pass_ids
        repeated = len(before.intersection(filter(None, ids)))
        for row, row_id in zip(rows, ids, strict=True):
            if row_id is None:
                unidentified += 1
                if returns_unidentified:
                    returned.append(row)
                    count += 1
                continue
            count += row_id not in self.ids
            count_in_pass += self.pass_ids is not None and row_id not in self.pass_ids
            if self._are_new({row_id}):
                returned.append(row)
            self._add({row_id})
        count_in_pass = count if self.pass_ids is None else count_in_pass
        return NewRows(tuple(returned), count, count_in_pass, unidentified, repeated)

    def _are_new(self, ids: AbstractSet[str]) -> bool:
        return (
            ids.isdisjoint(self.ids)
            and (self.shared is None or ids.isdisjoint(self.shared))
            and all(map(ids.isdisjoint, self.inherited))
        )

    def _add(self, ids: AbstractSet[str]) -> None:
        self.ids |= ids
        if self.shared is not None:
            self.shared |= ids
        if self.pass_ids is not None:
            self.pass_ids |= ids


SEPARATOR = "\0"
"""The character between the parts of an identity."""


class _Identified(msgspec.Struct, frozen=True, gc=False):
    id: str | int | float | None = None


_IDENTIFIED = msgspec.json.Decoder(_Identified)

_ID_FIRST = re.compile(rb'\{\s*"id"\s*:\s*"([^"\\]+)"')
"""A row that begins with its id, as the API sends them. It need not be decoded."""


class RelatedId(msgspec.Struct, frozen=True, gc=False):
    """A related record, or an object that contains it."""

    id: str | int | float | None = None
    data: RelatedId | None = None


class _Relationships(msgspec.Struct, frozen=True, gc=False):
    company: RelatedId | None = None
    location: RelatedId | None = None


class _RelatedRow(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None
    relationships: _Relationships | None = None


_RELATED = msgspec.json.Decoder(_RelatedRow)


def row_identity(row: bytes) -> str | None:
    """Return the id, type, company and location of an undecoded row as one string, or None if it has no id.

    They tell rows apart in a list in which several rows may have the same id. A row whose relationships cannot be read
    is only equal to the same row.
    """
    found = row_id(row)
    if found is None:
        return None
    try:
        related = _RELATED.decode(row)
        references = related.relationships or _Relationships()
        ids = (id_of(references.company), id_of(references.location))
    except UNREADABLE:
        return SEPARATOR.join([found, sha256(row).hexdigest()])
    return SEPARATOR.join([found, related.type or "", *(related_id or "" for related_id in ids)])


def id_of(reference: RelatedId | None) -> str | None:
    """Return the id of a related record, or None if there is none.

    Raises:
        ValidationError: It is a number whose last digits are not known.
    """
    if reference is None:
        return None
    value = reference.id if reference.data is None else reference.data.id
    text = id_text(value)
    if text is None and value not in {None, ""}:
        raise msgspec.ValidationError("the id of a related record is too large a number")
    return text


def row_id(row: bytes) -> str | None:
    """Return the id of an undecoded row, or None if it has none."""
    try:
        first = _ID_FIRST.match(row)
        if first:
            return first[1].decode()
        return id_text(_IDENTIFIED.decode(row).id)
    except UNREADABLE:
        return None


def id_text(value: str | float | None) -> str | None:
    """Return an id that may be a number as text, or None if there is none.

    A float that is too large for its last digits counts as none, because several ids would be the same.
    """
    if isinstance(value, float):
        if abs(value) >= MAX_EXACT_FLOAT:
            return None
        value = int(value) if value.is_integer() else value
    return None if value is None or value == "" else str(value)


MAX_EXACT_FLOAT = 2**53
"""Floats below this have all digits of an integer."""
