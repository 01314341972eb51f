"""Removal of rows that an earlier page contained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

import msgspec

from leadfeeder_async._core.normalize import UNREADABLE

T = TypeVar("T")


class NewRows(msgspec.Struct, Generic[T], frozen=True):
    """The rows of a page that no earlier page contained."""

    rows: tuple[T, ...]
    """The rows to return."""
    count: int
    """Their number, including rows that an earlier window or run returned. Rows with equal ids count once."""
    count_in_pass: int
    """The number of rows that no earlier page of the same pass contained."""
    unidentified: int = 0
    """The number of rows without an id."""


class SeenIds(msgspec.Struct):
    """The ids of the rows of one list, or of one date window.

    Each row without an id counts as a different row. Only the first pass over a list returns them.
    """

    ids: set[str] = msgspec.field(default_factory=set[str])
    inherited: tuple[AbstractSet[str], ...] = ()
    """The ids of other windows, and of earlier runs. Their rows are not returned again."""
    shared: set[str] | None = None
    """The ids of all windows, if a row may belong to several."""
    pass_ids: set[str] | None = None
    """The ids of the current pass, from the second pass on."""
    returned_keys: dict[str, set[str]] = msgspec.field(default_factory=dict[str, set[str]])
    """The keys by id of the rows that this run or an earlier one has returned, in lists with keys."""
    read_keys: dict[str, set[str]] = msgspec.field(default_factory=dict[str, set[str]])
    """The same of the rows on pages that had an id twice, or that of an earlier page."""

    @classmethod
    def after(
        cls, exclude_ids: AbstractSet[str], *, is_same_list: bool = False, shared: set[str] | None = None
    ) -> SeenIds:
        """Return the ids at the start of a list.

        Args:
            exclude_ids: The ids of rows that an earlier run returned, or their ids with their keys.
            is_same_list: True if these rows count as rows of this list, because they do not come again.
            shared: The ids of all windows, if a row may belong to several.
        """
        ids, keys = set[str](), dict[str, set[str]]()
        for one in exclude_ids:
            row_id, has_key, key = one.partition("\0")
            ids.add(row_id)
            if has_key:
                keys.setdefault(row_id, set()).add(key)
        if is_same_list:
            return cls(ids, shared=shared, returned_keys=keys)
        return cls(inherited=(ids,), shared=shared, returned_keys=keys)

    def start_pass(self) -> None:
        """Begin another pass over the same list."""
        self.pass_ids = set()

    def filter_new(
        self,
        rows: tuple[T, ...],
        ids: Sequence[str | None],
        keys: Sequence[str | None] = (),
        *,
        is_repeated: bool = False,
    ) -> NewRows[T]:
        """Record the ids of a page, and return its new rows. Nearly always, all rows are new.

        Args:
            rows: The rows of the page.
            ids: The id of each row, or None.
            keys: The key of each row, in a list of which several rows may have the same id. The first pass also returns
                a row whose id was read before, but with another key. It counts as a further row if both are on one
                page. Otherwise, it may be the same row after a change.
            is_repeated: True if the rows without an id are those of the page before.
        """
        unique = set(filter(None, ids))
        if self.pass_ids is None and len(unique) == len(rows) and self._are_new(unique):
            self._add(unique)
            for row_id, key in zip(ids, keys, strict=False):
                _add_key(self.returned_keys, row_id, key)
            return NewRows(rows, len(rows), len(rows))
        return self._filter(rows, ids, keys, returns_unidentified=self.pass_ids is None and not is_repeated)

    def _filter(
        self,
        rows: tuple[T, ...],
        ids: Sequence[str | None],
        keys: Sequence[str | None],
        *,
        returns_unidentified: bool,
    ) -> NewRows[T]:
        is_first_pass = self.pass_ids is None
        returned, count, count_in_pass, unidentified = list[T](), 0, 0, 0
        page_ids = set[str]()
        for row, row_id, key in zip(rows, ids, keys or ids, strict=True):
            if row_id is None:
                unidentified += 1
                if returns_unidentified:
                    returned.append(row)
                    count += 1
                continue
            has_keys = is_first_pass and row_id in self.returned_keys  # an id that a caller excludes has none
            is_further = has_keys and row_id in page_ids and key not in self.read_keys.get(row_id, {key})
            is_other_row = is_first_pass and key not in self.returned_keys.get(row_id, {key})
            count += row_id not in self.ids or is_further
            count_in_pass += self.pass_ids is not None and row_id not in self.pass_ids
            if is_other_row or self._are_new({row_id}):
                returned.append(row)
                if keys:
                    _add_key(self.returned_keys, row_id, key)
            self._add({row_id})
            page_ids.add(row_id)
            if keys:
                _add_key(self.read_keys, row_id, key)
        return NewRows(tuple(returned), count, count if is_first_pass else count_in_pass, unidentified)

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


def _add_key(keys: dict[str, set[str]], row_id: str | None, key: str | None) -> None:
    if row_id is not None and key is not None:
        keys.setdefault(row_id, set()).add(key)


class _Identified(msgspec.Struct, frozen=True, gc=False):
    id: str | int | float | None = None


_IDENTIFIED = msgspec.json.Decoder(_Identified)

_ID_FIRST = re.compile(rb'\{\s*"id"\s*:\s*"([^"\\]+)"')
"""A row that begins with its id, as the API sends them. It need not be decoded."""


class _Reference(msgspec.Struct, frozen=True, gc=False):
    """A related record, or an object that contains it."""

    id: str | int | float | None = None
    data: _Reference | None = None


class _Relationships(msgspec.Struct, frozen=True, gc=False):
    company: _Reference | None = None
    location: _Reference | None = None


class _Related(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None
    relationships: _Relationships | None = None


_RELATED = msgspec.json.Decoder(_Related)


def row_id_with_key(row: bytes) -> str | None:
    """Return the id of an undecoded row with its key, or None if it has no id."""
    found = row_id(row)
    return None if found is None else f"{found}\0{row_key(row)}"


def row_key(row: bytes) -> str:
    """Return the type of an undecoded row and the ids of its company and location, as far as it has them."""
    try:
        related = _RELATED.decode(row)
    except UNREADABLE:
        return ""
    references = related.relationships or _Relationships()
    ids = (_id_of(references.company), _id_of(references.location))
    return "\0".join([related.type or "", *(str(related_id or "") for related_id in ids)])


def _id_of(reference: _Reference | None) -> str | int | float | None:
    if reference is None:
        return None
    return reference.id if reference.data is None else reference.data.id


def row_ids(rows: Sequence[bytes]) -> list[str | None]:
    """Return the id of each undecoded row."""
    return [first[1].decode() if (first := _ID_FIRST.match(row)) else row_id(row) for row in rows]


def row_id(row: bytes) -> str | None:
    """Return the id of an undecoded row, or None if it has none."""
    try:
        first = _ID_FIRST.match(row)
        if first:
            return first[1].decode()
        found = _IDENTIFIED.decode(row).id
    except UNREADABLE:
        return None
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    return None if found is None or found == "" else str(found)
