"""What a walk is made of: pages, where they come from, and where a list goes on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from datetime import date
from typing import Generic, TypeVar

import msgspec

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async.errors import (
    DecodeError,
    ErrorContext,
    IncompleteListError,
    IncompleteWindowError,
    LeadfeederError,
    PaginationError,
)
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.pagination.date_range import DateWindow

T = TypeVar("T")

IDS_PER_REQUEST = 100
"""The API takes at most this many ids in one request."""

MAX_EMPTY_PAGES = 50
"""This many pages in a row that hold nothing, or what the one before held, are taken for a loop."""

MAX_SHOWN_PROBLEMS = 20
"""How many problems an error of a whole list names."""

DEFAULT_PREFETCH = 16
"""How many numbered pages are under way or waiting at most."""


class ResumePosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where a list goes on after the pages so far; make it JSON with ``msgspec.json.encode``."""

    cursor: str | None = None
    """The cursor of the next page."""
    day: date | None = None
    """The first day of the range being read: it is read again, so its rows may come once more."""
    ids: int = 0
    """How many of the ids asked for are done."""
    ended: bool = False
    """Nothing follows."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, without the rows that came before."""

    items: tuple[T, ...]
    meta: Meta
    total: int | None = None
    """The rows of the whole list, as the server counted them at its start."""
    window: DateWindow | None = None
    """The days this page belongs to, in a list that is cut by date."""
    position: ResumePosition | None = None
    """Where the list goes on after this page; None where only from its start."""
    decode_errors: tuple[DecodeError, ...] = ()
    """The rows of it that cannot be read, one error each."""
    partial_errors: tuple[LeadfeederError, ...] = ()
    """What the server says went wrong beside its data, or which rows of the list it does not hand out."""

    @property
    def problems(self) -> tuple[LeadfeederError, ...]:
        """Everything that keeps it from being whole."""
        return (*self.decode_errors, *self.partial_errors)

    @property
    def row_count(self) -> int:
        """How many rows came, those that cannot be read included."""
        return len(self.items) + len(self.decode_errors)


class IdBatches(msgspec.Struct, frozen=True):
    """The requests for a list of ids: those after the first ``done``, ``size`` of them a request."""

    ids: tuple[str, ...]
    completed: int = 0
    size: int = IDS_PER_REQUEST

    @property
    def count(self) -> int:
        """How many requests there are."""
        return -(-max(0, len(self.ids) - self.completed) // self.size)

    def batch(self, number: int) -> tuple[str, ...]:
        """Return the ids of one request, by its number from 1."""
        start = self.completed + (number - 1) * self.size
        return self.ids[start : start + self.size]

    def completed_after(self, number: int) -> int:
        """Return how many ids are done after so many requests."""
        return min(len(self.ids), self.completed + number * self.size)


def batch_size(limit: int | None) -> int:
    """Return how many ids to ask for at once where ``limit`` records are wanted: no more, for each may charge."""
    if not limit:
        return IDS_PER_REQUEST
    requests = -(-limit // IDS_PER_REQUEST)
    return -(-limit // requests)


class PageSource(msgspec.Struct, Generic[T], frozen=True):
    """Where pages come from and how they are read."""

    fetch: Callable[[ApiRequest[object]], Coroutine[None, None, bytes]]
    decode: Callable[[bytes], Page[T]]
    ids_of: Callable[[Sequence[T]], list[str]]
    page_size: int
    prefetch: int = DEFAULT_PREFETCH
    """How many pages may be under way or waiting; 0 fetches each page when it is asked for."""
    pages_wanted: int | None = None
    """Run ahead no further than this many pages from the start."""
    dedupe: bool = True
    """Leave out rows whose id came before."""
    partitioned_by_day: bool = False
    """Each row belongs to one day, so that ids need not be remembered from window to window."""
    exclude_ids: frozenset[str] = frozenset()
    """The ids that an earlier walk of the same list handed out."""
    charges: bool = False
    """Reading a page again may charge again."""

    def can_prefetch(self, launched: int) -> bool:
        """Whether one more page may be fetched before it is asked for."""
        return self.prefetch > 0 and (self.pages_wanted is None or launched < self.pages_wanted)


class SeenIds(msgspec.Struct):
    """The ids a walk has handed out."""

    ids: set[str] = msgspec.field(default_factory=set[str])
    inherited: tuple[AbstractSet[str], ...] = ()
    """The ids of the window before, and of the wider windows this one was cut from."""

    def filter_new(self, rows: tuple[T, ...], ids: Sequence[str]) -> tuple[T, ...]:
        """Remember the ids of a page's rows; return those that are new: nearly always all."""
        fresh = set(ids)
        if len(fresh) == len(rows) and fresh.isdisjoint(self.ids) and all(map(fresh.isdisjoint, self.inherited)):
            self.ids |= fresh
            return rows
        return tuple(row for row, row_id in zip(rows, ids, strict=True) if self._is_new(row_id))

    def _is_new(self, row_id: str) -> bool:
        if row_id in self.ids or any(row_id in ids for ids in self.inherited):
            return False
        self.ids.add(row_id)
        return True


class _Identified(msgspec.Struct, frozen=True, gc=False):
    id: str | int


_IDENTIFIED = msgspec.json.Decoder(_Identified)

_ID_FIRST = re.compile(rb'\{\s*"id"\s*:\s*"([^"\\]+)"')
"""How the API begins its rows: no need to read such a row to its end."""


def row_ids(rows: Sequence[bytes]) -> list[str]:
    """Return the ids of undecoded rows, as :func:`row_id` does, in one go."""
    return [first[1].decode() if (first := _ID_FIRST.match(row)) else row_id(row) for row in rows]


def row_id(row: bytes) -> str:
    """Return the id of an undecoded row; one without stands for itself, since it is passed on whatever it lacks."""
    try:
        first = _ID_FIRST.match(row)
        return first[1].decode() if first else str(_IDENTIFIED.decode(row).id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return bytes(row).decode()


def drop_seen_rows(source: PageSource[T], seen: SeenIds, rows: tuple[T, ...], ids: Sequence[str]) -> tuple[T, ...]:
    """Keep the rows whose ids were not handed out before."""
    return seen.filter_new(rows, ids) if source.dedupe else rows


async def raise_at_end(walk: AsyncGenerator[Page[T], None]) -> AsyncGenerator[Page[T], None]:
    """Hand out all pages, and raise at the end if something was not in them."""
    problems = list[LeadfeederError]()
    async with aclosing(walk) as pages:
        async for page in pages:
            problems.extend(page.problems)
            yield page
            del page
    raise_problems(problems)


def raise_problems(problems: Sequence[LeadfeederError]) -> None:
    """Raise what is wrong with a list, after all that is good of it."""
    if problems:
        raise combine_problems(problems)


def combine_problems(problems: Sequence[LeadfeederError]) -> PaginationError:
    """Return one error for all that is wrong with one list."""
    days = tuple(one for one in problems if isinstance(one, IncompleteWindowError))
    if isinstance(problems[0], PaginationError) and len(problems) == 1:
        return problems[0]
    if len(days) < len(problems):
        return incomplete_list_error(problems)
    error = IncompleteWindowError(join_messages([one.message for one in days], len(days)), days[0].context)
    error.problems = days
    return error


def incomplete_list_error(problems: Sequence[LeadfeederError]) -> IncompleteListError:
    """Return the error that holds everything that is wrong with a list, or with several."""
    said = f"{count_gaps(len(problems))} of this list cannot be read; all others were handed out."
    said = f"{said} The first: {problems[0].message}"
    error = IncompleteListError(said, problems[0].context)
    error.problems = tuple(problems)
    return error


def count_gaps(count: int) -> str:
    """Name what a list can lack, so many of it."""
    return "1 row or part" if count == 1 else f"{count:,} rows or parts"


def join_messages(messages: Sequence[str], count: int) -> str:
    """Put some messages into one line, as far as there is room."""
    named = messages[:MAX_SHOWN_PROBLEMS]
    return " ".join([*named, f"And {count - len(named):,} more."] if count > len(named) else named)


def error_context_of(call: ApiRequest[object]) -> ErrorContext:
    """Return what is known about a call before it is sent."""
    return ErrorContext(operation=call.endpoint.operation, method=call.endpoint.method, path=call.endpoint.path)


def spawn_fetch(coroutine: Coroutine[None, None, bytes]) -> asyncio.Task[bytes]:
    """Fetch a page ahead, in a task whose error counts as seen: it may never be taken."""
    task = asyncio.create_task(coroutine)
    task.add_done_callback(_mark_retrieved)
    return task


def _mark_retrieved(task: asyncio.Task[bytes]) -> None:
    if not task.cancelled():
        task.exception()
