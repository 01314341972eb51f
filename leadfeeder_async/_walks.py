"""How lists are walked: along cursors, or over numbered pages fetched ahead.

Pages wait as bytes and are decoded when the consumer takes them: decoded pages in a queue go cold, which costs a
quarter more CPU. The generators hold no lock, slot or cancel scope while they wait for their consumer; what they leave
behind when dropped is a handful of tasks, which their ``finally`` cancels.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Generic, TypeAlias, TypeVar

from leadfeeder_async._http.endpoint import Call
from leadfeeder_async._http.wire import meta_of
from leadfeeder_async.errors import (
    CursorLoopError,
    DecodeError,
    Facts,
    IncompleteListError,
    IncompleteWindowError,
    LeadfeederError,
    OffsetExceededError,
    StatusError,
)
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.windows import WALL, Window, parts_for, split

T = TypeVar("T")

CallAt: TypeAlias = "Callable[[Window | None, int], Call[object]]"
"""Makes the call for one page, by its number from 1, of one window."""

AHEAD = 16
"""How many numbered pages are under way or waiting at most."""

EMPTY_PAGES = 50
"""This many empty pages with a cursor in a row are taken for a loop."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, without the rows that came before."""

    items: tuple[T, ...]
    meta: Meta
    total: int | None = None
    """The rows of the whole list, as the server counted them at its start."""
    window: Window | None = None
    """The days this page belongs to, in a list that is cut by date."""
    bad: tuple[DecodeError, ...] = ()
    """The rows of it that cannot be read, one error each."""
    errors: tuple[StatusError, ...] = ()
    """What the server says went wrong beside its data."""

    @property
    def problems(self) -> tuple[LeadfeederError, ...]:
        """Everything that keeps it from being whole."""
        return (*self.bad, *self.errors)

    @property
    def received(self) -> int:
        """How many rows came, those that cannot be read included."""
        return len(self.items) + len(self.bad)


async def whole(walk: AsyncGenerator[Page[T], None]) -> AsyncGenerator[Page[T], None]:
    """Hand out all pages, and raise IncompleteListError at the end if something was not in them."""
    problems = list[LeadfeederError]()
    async with aclosing(walk) as pages:
        async for page in pages:
            problems.extend(page.problems)
            yield page
    raise_problems(problems)


def raise_problems(problems: Sequence[LeadfeederError]) -> None:
    """Raise IncompleteListError where there are problems."""
    if problems:
        said = f"{len(problems):,} rows or parts of this list cannot be read; all others were handed out."
        error = IncompleteListError(f"{said} The first: {problems[0].message}", problems[0].facts)
        error.problems = tuple(problems)
        raise error


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """Where pages come from and how they are read."""

    fetch: Callable[[Call[object]], Coroutine[None, None, bytes]]
    decode: Callable[[bytes], Page[T]]
    id_of: Callable[[T], str]
    page_size: int
    ahead: int = AHEAD
    """How many pages may be under way or waiting; 0 fetches each page when it is asked for."""
    pages_wanted: int | None = None
    """Run ahead no further than this many pages from the start."""
    dedupe: bool = True
    """Leave out rows whose id came before."""
    rows_of_a_day: bool = False
    """Each row belongs to one day, so that ids need not be remembered from window to window."""

    def may_run_ahead(self, launched: int) -> bool:
        """Whether one more page may be fetched before it is asked for."""
        return self.ahead > 0 and (self.pages_wanted is None or launched < self.pages_wanted)


@dataclass(slots=True)
class Seen:
    """The ids a walk has handed out."""

    ids: set[str] = field(default_factory=set[str])
    earlier: tuple[set[str], ...] = ()
    """The ids of the window before, and of the wider windows this one was cut from."""

    def is_new(self, row_id: str) -> bool:
        """Remember an id; tell whether it was new."""
        if row_id in self.ids or any(row_id in ids for ids in self.earlier):
            return False
        self.ids.add(row_id)
        return True


async def cursor_pages(source: Source[T], call: Call[object]) -> AsyncGenerator[Page[T], None]:
    """Follow ``next_cursor`` from page to page, fetching one page ahead."""
    seen, trail = Seen(), _Trail(call)
    coming: asyncio.Task[bytes] | None = None
    total: int | None = None
    following = call
    try:
        while True:
            page = source.decode(await (coming or source.fetch(following)))
            coming = None
            cursor = page.meta.next_cursor
            fault = trail.fault(cursor, empty=not page.received)
            following = call.with_params({"page[cursor]": cursor})
            if cursor and fault is None and source.may_run_ahead(trail.pages):
                coming = _start(source.fetch(following))
            total = page.meta.total_count if total is None else total
            yield replace(page, items=_fresh(source, seen, page.items), total=total)
            if fault is not None:
                raise fault
            if cursor is None:
                return
    finally:
        if coming is not None:
            coming.cancel()


class _Trail:
    """The cursors a walk has followed."""

    def __init__(self, call: Call[object]) -> None:
        self._facts = _facts_of(call)
        self._cursors = set[str]()
        self._empty = 0
        self.pages = 0

    def fault(self, cursor: str | None, *, empty: bool) -> CursorLoopError | None:
        """Take the next cursor; return what is wrong with following it."""
        self.pages += 1
        self._empty = self._empty + 1 if empty else 0
        if cursor is None:
            return None
        if cursor in self._cursors:
            return CursorLoopError("A cursor came back a second time.", self._facts)
        if self._empty >= EMPTY_PAGES:
            return CursorLoopError(f"{self._empty} empty pages came in a row, each with a cursor.", self._facts)
        self._cursors.add(cursor)
        return None


@dataclass(slots=True)
class Section:
    """A run of numbered pages: one window's, or the batches of a list of ids."""

    seen: Seen
    window: Window | None = None
    last: int | None = None
    """The number of the last page, once known."""
    fixed: bool = False
    """The pages are the caller's own batches: no count of the server's changes how many there are."""
    launched: int = 0
    taken: int = 0
    rows: int = 0
    total: int | None = None
    """The most rows the server counted."""
    latest: int | None = None
    """The rows the server counted last."""
    ended: bool = False
    first_id: str | None = None
    """The first row of the page taken last."""
    tasks: deque[asyncio.Task[bytes]] = field(default_factory=deque[asyncio.Task[bytes]])

    def may_launch(self) -> bool:
        """Whether the next page can be asked for: the first always, the others once known to exist."""
        if self.last is None:
            return self.launched == self.taken and not self.ended
        return self.launched < self.last

    def count(self, meta: Meta) -> None:
        """Learn from an answer's meta how many pages and rows there are."""
        if meta.pages is not None and not self.fixed:
            self.last = max(meta.pages, self.last or 1)
        if meta.total_count is not None:
            self.latest = meta.total_count
            self.total = max(meta.total_count, self.total or 0)

    def learn(self, page: Page[T], first_id: str, page_size: int) -> None:
        """Learn from the page just taken whether more follow; counts alone never end a list early.

        Past what the server counts, the same page once more ends the list: some servers ignore the page number.
        """
        same, self.first_id = first_id == self.first_id, first_id
        self.taken += 1
        self.rows += page.received
        self.count(page.meta)
        full = page.received >= page_size
        short = self.latest is not None and self.rows < self.latest
        if self.last is None:
            self.ended = same or not (full or (page.received and short))
        elif self.taken == self.last and full and not same and not self.fixed and (short or self.latest is None):
            self.last += 1

    def hit_wall(self, page_size: int) -> bool:
        """Whether the server stopped handing out rows at the wall although it counts, or may have, more."""
        if self.rows + page_size <= WALL:
            return False
        return self.rows % page_size == 0 if self.total is None else self.rows < self.total

    def shrank(self) -> bool:
        """Whether a page is missing because the list became shorter while it was walked."""
        return self.latest is not None and self.taken > 0 and self.rows >= self.latest

    def too_large(self) -> bool:
        """Whether the window holds more rows than the API hands out, and can be cut."""
        return self.total is not None and self.total > WALL and self.window is not None and self.window.days > 1

    def close(self) -> None:
        """Cancel what is under way."""
        for task in self.tasks:
            task.cancel()
        self.tasks.clear()


class NumberedWalk(Generic[T]):
    """Takes numbered pages in order while up to ``ahead`` of them are under way.

    A window past the API's wall is cut into smaller ones, which take its place; one day past it is an error.
    """

    def __init__(self, source: Source[T], call: CallAt, window: Window | None, last: int | None = None) -> None:
        self._source = source
        self._call = call
        self._sections = deque([Section(Seen(), window, last, fixed=last is not None)])
        self._launched = 0
        self._total: int | None = None

    async def pages(self) -> AsyncGenerator[Page[T], None]:
        """Yield the pages; dropping the generator cancels what is under way."""
        try:
            while self._sections:
                page = await self._next_page(self._sections[0])
                if page is not None:
                    yield page
        finally:
            for section in self._sections:
                section.close()

    async def _next_page(self, section: Section) -> Page[T] | None:
        self._launch_first(section)
        if not section.tasks:
            self._finish(section)
            return None
        try:
            body = await section.tasks.popleft()
        except OffsetExceededError as error:
            if section.shrank():
                section.close()
                section.last = section.launched = section.taken
            else:
                self._cut(section, 2, error)
            return None
        return self._take(section, self._source.decode(body))

    def _take(self, section: Section, page: Page[T]) -> Page[T] | None:
        first_id = self._source.id_of(page.items[0]) if page.items else ""
        section.learn(page, first_id, self._source.page_size)
        if self._total is None:
            self._total = section.total
        if section.taken == 1 and section.too_large():
            self._cut(section, parts_for(section.total or 0))
            return None
        self._run_ahead()
        fresh = _fresh(self._source, section.seen, page.items)
        return replace(page, items=fresh, total=self._total, window=section.window)

    def _finish(self, section: Section) -> None:
        if section.window is not None and section.hit_wall(self._source.page_size):
            return self._cut(section, 2)
        self._sections.popleft()
        if self._sections and self._source.rows_of_a_day:
            following = self._sections[0].seen
            following.earlier = (section.seen.ids, *following.earlier)
        return None

    def _cut(self, section: Section, parts: int, error: OffsetExceededError | None = None) -> None:
        """Put the parts of a window in its place, or say that it cannot be cut."""
        window = section.window
        if window is None:
            raise error or AssertionError("only windows are cut")
        if window.days == 1:
            raise self._incomplete(section, window, error)
        section.close()
        self._sections.popleft()
        self._sections.extendleft(Section(self._seen_of_part(section), part) for part in reversed(split(window, parts)))

    def _incomplete(self, section: Section, window: Window, error: OffsetExceededError | None) -> IncompleteWindowError:
        counted = f" of {section.total:,}" if section.total else ""
        said = f"{window} holds more rows than the API hands out: {section.rows:,}{counted}."
        return IncompleteWindowError(said, error.facts if error else _facts_of(self._call(window, 1)))

    def _seen_of_part(self, section: Section) -> Seen:
        if not self._source.rows_of_a_day:
            return section.seen
        return Seen(earlier=(*section.seen.earlier, section.seen.ids))

    def _launch_first(self, section: Section) -> None:
        if not section.tasks and section.may_launch():
            self._launch(section)

    def _run_ahead(self) -> None:
        """Ask for the pages that come next, through the windows in order, as far as they are known."""
        waiting = sum(len(section.tasks) for section in self._sections)
        for section in self._sections:
            _peek(section)
            while section.may_launch() and waiting < self._source.ahead:
                if not self._source.may_run_ahead(self._launched):
                    return
                self._launch(section)
                waiting += 1

    def _launch(self, section: Section) -> None:
        section.launched += 1
        self._launched += 1
        section.tasks.append(_start(self._source.fetch(self._call(section.window, section.launched))))


def _facts_of(call: Call[object]) -> Facts:
    return Facts(operation=call.row.operation, method=call.row.method, path=call.row.path)


def _peek(section: Section) -> None:
    """Learn the number of pages of a later window from its first answer, without decoding the rows."""
    if section.last is not None or section.taken or not section.tasks:
        return
    first = section.tasks[0]
    if first.done() and not first.cancelled() and first.exception() is None:
        section.count(meta_of(first.result()))
        if section.too_large():
            section.last = 1


def _fresh(source: Source[T], seen: Seen, rows: tuple[T, ...]) -> tuple[T, ...]:
    """Keep the rows whose ids were not handed out before."""
    if not source.dedupe:
        return rows
    return tuple(row for row in rows if seen.is_new(source.id_of(row)))


def _start(coroutine: Coroutine[None, None, bytes]) -> asyncio.Task[bytes]:
    task = asyncio.create_task(coroutine)
    task.add_done_callback(_retrieve)
    return task


def _retrieve(task: asyncio.Task[bytes]) -> None:
    """Mark an error as seen: a page fetched ahead may never be taken."""
    if not task.cancelled():
        task.exception()
