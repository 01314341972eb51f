"""Removal of rows that an earlier page contained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TypeVar

import msgspec

T = TypeVar("T")


class SeenIds(msgspec.Struct):
    """The ids of the rows that a list has returned."""

    ids: set[str] = msgspec.field(default_factory=set[str])
    inherited: tuple[AbstractSet[str], ...] = ()
    """The ids of the window before, and of the wider windows that this one was split from."""

    def filter_new(self, rows: tuple[T, ...], ids: Sequence[str]) -> tuple[T, ...]:
        """Record the ids of a page, and return the rows that are new. Nearly always, all are."""
        new = set(ids)
        if len(new) == len(rows) and new.isdisjoint(self.ids) and all(map(new.isdisjoint, self.inherited)):
            self.ids |= new
            return rows
        return tuple(row for row, row_id in zip(rows, ids, strict=True) if self._add(row_id))

    def _add(self, row_id: str) -> bool:
        if row_id in self.ids or any(row_id in ids for ids in self.inherited):
            return False
        self.ids.add(row_id)
        return True


class _Identified(msgspec.Struct, frozen=True, gc=False):
    id: str | int


_IDENTIFIED = msgspec.json.Decoder(_Identified)

_ID_FIRST = re.compile(rb'\{\s*"id"\s*:\s*"([^"\\]+)"')
"""A row that begins with its id, as the API sends them. It need not be decoded."""


def row_ids(rows: Sequence[bytes]) -> list[str]:
    """Return the id of each undecoded row."""
    return [first[1].decode() if (first := _ID_FIRST.match(row)) else row_id(row) for row in rows]


def row_id(row: bytes) -> str:
    """Return the id of an undecoded row, or the row itself if it has none."""
    try:
        first = _ID_FIRST.match(row)
        return first[1].decode() if first else str(_IDENTIFIED.decode(row).id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return bytes(row).decode()
