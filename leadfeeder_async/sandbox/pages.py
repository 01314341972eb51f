"""The pages of lists, with the faults that the sandbox was asked to simulate."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from leadfeeder_async.sandbox.query import OperationResult, Query
from leadfeeder_async.sandbox.sample_data import Json
from leadfeeder_async.sandbox.server_state import ApiError, PagingFaults

T = TypeVar("T")

MAX_PAGE_NUMBER = 10**9

TIED_ROWS = 61
"""The number of neighboring rows that change places if the order is unstable. Common page sizes are not multiples of
it, so rows also move to other pages."""

_CURSOR = re.compile(r"c\.([0-9a-f]+)/\+=")
"""A cursor. It contains characters that a client must percent-encode."""


def numbered_page(
    query: Query, rows: Sequence[T], to_json: Callable[[T], object], *, max_search_rows: int | None = None
) -> OperationResult:
    """Return the page of ``rows`` that the query requests by number.

    If ``max_search_rows`` is given, a request for a page that ends after this row fails with status 416.
    """
    faults = query.state.paging_faults
    requested_size, page = query.int_param("page[size]", 20, 100), query.int_param("page[num]", 1, MAX_PAGE_NUMBER)
    size = min(requested_size, faults.page_cap or requested_size)
    if max_search_rows is not None and page * size > max_search_rows:
        raise ApiError(416, "offset_exceeded", f"Only the first {max_search_rows:,} rows can be paged")
    page_rows = _read_rows(faults, rows, (page - 1) * size, size)
    counts: Json = {"page_count": -(-len(rows) // requested_size), "total_count": len(rows)}
    return OperationResult([to_json(row) for row in page_rows], {"page_num": page, **_reported(faults, counts)})


def cursor_page(
    query: Query, rows: Sequence[T], to_json: Callable[[T], object], charged: int | None = 0
) -> OperationResult:
    """Return the page of ``rows`` at the query's cursor, with the cursor of the next page."""
    faults = query.state.paging_faults
    size = query.int_param("page[size]", 20, 100)
    start = _decode_cursor(query.params.get("page[cursor]"))
    page_rows = _read_rows(faults, rows, start, min(size, faults.page_cap or size))
    end = start + len(page_rows)
    pagination: Json = {
        "next_cursor": f"c.{end:x}/+=" if end < len(rows) else None,
        **_reported(faults, {"total_count": len(rows)}),
    }
    return OperationResult([to_json(row) for row in page_rows], pagination, charged)


def _read_rows(faults: PagingFaults, rows: Sequence[T], start: int, size: int) -> list[T]:
    page_rows = [rows[index] for index in range(start, min(start + size, len(rows)))]
    if faults.unstable_order:
        page_rows = _read_unstable_rows(faults.rng, rows, start, len(page_rows))
    if faults.rng.random() < faults.short_pages:
        page_rows = page_rows[: -(-len(page_rows) // 2)]
    return page_rows


def _read_unstable_rows(rng: Random, rows: Sequence[T], start: int, size: int) -> list[T]:
    first = start - start % TIED_ROWS
    shuffled = list[T]()
    for tie_start in range(first, start + size, TIED_ROWS):
        tie = [rows[index] for index in range(tie_start, min(tie_start + TIED_ROWS, len(rows)))]
        rng.shuffle(tie)
        shuffled += tie
    return shuffled[start - first :][:size]


def _reported(faults: PagingFaults, counts: Json) -> Json:
    if faults.wrong_counts is None:
        return counts
    return {} if faults.wrong_counts == "missing" else dict.fromkeys(counts, faults.wrong_counts)


def _decode_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ApiError(400, "invalid_cursor", "The cursor is not known")
    return int(match[1], 16)
