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
    """The number of distinct rows on this page, including those that another date range or run has returned.

    Two rows with the same id on one page count twice if their relations differ.
    """
    count_in_pass: int
    """The number of rows that no earlier page of the same pass contained."""
    unidentified: int = 0
    """The number of rows without an id."""


class SeenIds(msgspec.Struct):
    """The ids of the rows of one list, or of one date window.

    Each row without an id counts as a different row, unless its page repeats the one before. Only the first pass over a
    list returns them. In a list in which several rows may have the same id, rows are told apart by their relations: the
    type of the row, and the ids of its company and location.
    """

    ids: set[str] = msgspec.field(default_factory=set[str])
    inherited: tuple[AbstractSet[str], ...] = ()
    """The ids of other windows, and of earlier runs. Their rows are not returned again."""
    shared: set[str] | None = None
    """The ids of all windows, if a row may belong to several."""
    pass_ids: set[str] | None = None
    """The ids of the current pass, from the second pass on."""
    returned_relations: dict[str, set[str]] = msgspec.field(default_factory=dict[str, set[str]])
    """The relations by id of the rows that this run or an earlier one has returned, if ids may be shared."""
    read_relations: dict[str, set[str]] = msgspec.field(default_factory=dict[str, set[str]])
    """The same for rows on pages with an id that appeared before."""

    @classmethod
    def after(
        cls, exclude_ids: AbstractSet[str], *, is_same_list: bool = False, shared: set[str] | None = None
    ) -> SeenIds:
        """Return the ids at the start of a list.

        Args:
            exclude_ids: The ids of rows that an earlier run returned, or the results of :func:`row_id_with_relations`.
            is_same_list: True if these rows count as rows of this list, because they do not come again.
            shared: The ids of all windows, if a row may belong to several.
        """
        ids, relations = set[str](), dict[str, set[str]]()
        for one in exclude_ids:
            row_id, has_relation, relation = one.partition("\0")
            ids.add(row_id)
            if has_relation:
                relations.setdefault(row_id, set()).add(relation)
        if is_same_list:
            return cls(ids, shared=shared, returned_relations=relations)
        return cls(inherited=(ids,), shared=shared, returned_relations=relations)

    def start_pass(self) -> None:
        """Begin another pass over the same list."""
        self.pass_ids = set()

    def filter_new(
        self,
        rows: tuple[T, ...],
        ids: Sequence[str | None],
        relations: Sequence[str | None] = (),
        *,
        is_repeated: bool = False,
    ) -> NewRows[T]:
        """Record the ids of a page, and return its new rows.

        Args:
            rows: The rows of the page.
            ids: The id of each row, or None.
            relations: The relations of each row, in a list in which several rows may have the same id. The first pass
                also returns a row whose id was read before, but with other relations. It counts as a further row if
                both are on one page. Otherwise, it may be the same row after a change.
            is_repeated: True if the rows without an id are those of the page before.
        """
        unique = set(filter(None, ids))  # nearly always, all rows are new
        if self.pass_ids is None and len(unique) == len(rows) and self._are_new(unique):
            self._add(unique)
            for row_id, relation in zip(ids, relations, strict=False):
                _add_relation(self.returned_relations, row_id, relation)
            return NewRows(rows, len(rows), len(rows))
        return self._filter(rows, ids, relations, returns_unidentified=self.pass_ids is None and not is_repeated)

    def _filter(
        self,
        rows: tuple[T, ...],
        ids: Sequence[str | None],
        relations: Sequence[str | None],
        *,
        returns_unidentified: bool,
    ) -> NewRows[T]:
        is_first_pass = self.pass_ids is None
        returned, count, count_in_pass, unidentified = list[T](), 0, 0, 0
        page_ids = set[str]()
        for row, row_id, relation in zip(rows, ids, relations or ids, strict=True):
            if row_id is None:
                unidentified += 1
                if returns_unidentified:
                    returned.append(row)
                    count += 1
                continue
            has_relations = is_first_pass and row_id in self.returned_relations  # an id that a caller excludes has none
            # Without relations, or for a new id, each default makes the relation of this row a known one.
            known = self.read_relations.get(row_id, {relation})
            is_further = has_relations and row_id in page_ids and relation not in known
            is_other_row = is_first_pass and relation not in self.returned_relations.get(row_id, {relation})
            count += row_id not in self.ids or is_further
            count_in_pass += self.pass_ids is not None and row_id not in self.pass_ids
            if is_other_row or self._are_new({row_id}):
                returned.append(row)
                if relations:
                    _add_relation(self.returned_relations, row_id, relation)
            self._add({row_id})
            page_ids.add(row_id)
            if relations:
                _add_relation(self.read_relations, row_id, relation)
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


def _add_relation(relations: dict[str, set[str]], row_id: str | None, relation: str | None) -> None:
    if row_id is not None and relation is not None:
        relations.setdefault(row_id, set()).add(relation)


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


def row_id_with_relations(row: bytes) -> str | None:
    """Return the id of an undecoded row with its relations, or None if it has no id."""
    found = row_id(row)
    return None if found is None else f"{found}\0{row_relations(row)}"


def row_relations(row: bytes) -> str:
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
    return list(map(row_id, rows))


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
