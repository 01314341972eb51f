"""Lists that are walked over numbered pages, in windows of days that are cut where they hold too many rows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Generic, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._http.endpoint import Call, QueryValue
from leadfeeder_async._http.wire import meta_of
from leadfeeder_async._walks.pages import (
    EMPTY_PAGES,
    Batches,
    Page,
    Position,
    Seen,
    Source,
    facts_of,
    fresh_rows,
    start,
)
from leadfeeder_async.errors import IncompleteListError, IncompleteWindowError, LeadfeederError, OffsetExceededError
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.windows import WALL, Window, parts_for, split

T = TypeVar("T")

REPEATS = 3
"""This many pages in a row that begin as the one before are taken for a server that ignores the page number."""

CallAt: TypeAlias = "Callable[[Window | None], Call[object]]"
"""Makes the call for one window."""

ParamsOf: TypeAlias = "Callable[[int], Mapping[str, QueryValue]]"
"""Makes the query parameters of one page, by its number from 1."""


class Section(msgspec.Struct):
    """A run of numbered pages: one window's, or the batches of a list of ids."""

    seen: Seen
    call: Call[object]
    window: Window | None = None
    last: int | None = None
    """The number of the last page, once known."""
    batches: Batches | None = None
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
    repeats: int = 0
    """How many pages in a row have begun as the one before."""
    repeated: int = 0
    """The rows of those pages."""
    given_up: bool = False
    """The server counts more rows, and sends the same page or nothing for them, though its last rows filled a page."""
    tasks: deque[asyncio.Task[bytes]] = msgspec.field(default_factory=deque[asyncio.Task[bytes]])

    def may_launch(self) -> bool:
        """Whether the next page can be asked for: the first always, the others once known to exist."""
        if self.last is None:
            return self.launched == self.taken and not self.ended
        return self.launched < self.last

    def count(self, meta: Meta) -> None:
        """Learn from an answer's meta how many pages and rows there are."""
        if meta.pages is not None and self.batches is None:
            self.last = max(meta.pages, self.last or 1)
        if meta.total_count is not None:
            self.latest = meta.total_count
            self.total = max(meta.total_count, self.total or 0)

    def learn(self, page: Page[T], first_id: str, page_size: int) -> None:
        """Learn from the page just taken whether more follow; counts alone never end a list early.

        Past what the server counts, the same page again and again ends the list, and so do empty ones: some servers
        ignore the page number, and some count too many pages. Once or twice it may be that as many rows as a page
        holds came in before it. Where more rows are counted than came, such an end is not taken for one in order.
        """
        same = first_id == self.first_id
        self.repeats = self.repeats + 1 if same else 0
        self.repeated = self.repeated + page.received if same and first_id else 0
        self.first_id = first_id
        self.taken += 1
        self.rows += page.received
        self.count(page.meta)
        if self.batches is None:
            self._judge(page, page_size)

    def _judge(self, page: Page[T], page_size: int) -> None:
        full = page.received >= page_size
        missing = 0 if self.latest is None else max(0, self.latest - self.rows + self.repeated)
        if self.repeats >= self._patience(page, missing):
            self.given_up = missing > 0
            self.end()
        elif self.last is None:
            self.ended = not (full or (page.received and missing))
        elif self.taken == self.last and full and (missing or self.latest is None):
            self.last += 1
        if (self.ended or self.taken == self.last) and not page.received and self.rows % page_size == 0:
            self.given_up |= missing >= page_size

    def _patience(self, page: Page[T], missing: int) -> int:
        """How many pages in a row that begin as the one before end the list; rows that cannot be read begin as none."""
        readable_or_beyond = self.first_id or not (page.received or missing)
        return REPEATS if readable_or_beyond else EMPTY_PAGES

    def hit_wall(self, page_size: int) -> bool:
        """Whether the server stopped handing out rows at the wall although it counts, or may have, more.

        A count that is the wall itself says nothing: some servers count no further.
        """
        if self.rows + page_size <= WALL:
            return False
        return self.rows % page_size == 0 if self.total in {None, WALL} else self.rows < (self.total or 0)

    def shrank(self) -> bool:
        """Whether a page is missing because the list became shorter while it was walked."""
        return self.latest not in {None, WALL} and self.taken > 0 and self.rows >= (self.latest or 0)

    def too_large(self) -> bool:
        """Whether the window holds, or may hold, more rows than the API hands out, and can be cut."""
        return self.total is not None and self.total >= WALL and self.window is not None and self.window.days > 1

    @property
    def position(self) -> Position | None:
        """Where the list goes on after the page taken last; None where numbers have lost their meaning by then."""
        if self.batches is not None:
            return Position(ids=self.batches.done_after(self.taken))
        return Position(day=self.window.start) if self.window else None

    def end(self) -> None:
        """Take the page taken last for the list's last one."""
        self.close()
        self.last = self.launched = self.taken

    def close(self) -> None:
        """Cancel what is under way."""
        for task in self.tasks:
            task.cancel()
        self.tasks.clear()


class NumberedWalk(Generic[T]):
    """Takes numbered pages in order while up to ``ahead`` of them are under way.

    A window past the API's wall is cut into smaller ones, which take its place. Where one day alone is past it, or a
    list stops moving before its end, a page says so, and what comes after is read.
    """

    def __init__(
        self,
        source: Source[T],
        call_at: CallAt,
        params_of: ParamsOf,
        window: Window | None,
        *,
        batches: Batches | None = None,
    ) -> None:
        self._source = source
        self._call_at = call_at
        self._params_of = params_of
        seen, last = Seen(earlier=(source.handed_out,)), batches.count if batches else None
        self._sections = deque([Section(seen, call_at(window), window, last, batches=batches)])
        self._launched = 0
        self._total: int | None = None

    async def pages(self) -> AsyncGenerator[Page[T], None]:
        """Yield the pages; dropping the generator cancels what is under way."""
        try:
            while self._sections:
                page = await self._next_page(self._sections[0])
                if page is not None:
                    yield page
                del page
        finally:
            for section in self._sections:
                section.close()

    async def _next_page(self, section: Section) -> Page[T] | None:
        if not section.tasks and not section.may_launch():
            return self._finish(section)
        try:
            page = self._source.decode(await self._next_body(section))
        except OffsetExceededError as error:
            if section.shrank():
                section.end()
                return None
            return self._cut(section, 2, error)
        return self._take(section, page)

    async def _next_body(self, section: Section) -> bytes:
        if not section.tasks:
            return await self._fetch(section)
        task = section.tasks.popleft()
        if task.done():
            await asyncio.sleep(0)  # pages that wait are read one by one, so that the loop is held for one at most
        return await task

    def _take(self, section: Section, page: Page[T]) -> Page[T] | None:
        ids = self._source.ids_of(page.items)
        section.learn(page, ids[0] if ids else "", self._source.page_size)
        if self._total is None:
            self._total = section.total
        if section.taken == 1 and section.too_large():
            return self._cut(section, parts_for(section.total or 0))
        self._run_ahead()
        fresh = fresh_rows(self._source, section.seen, page.items, ids)
        return replace(page, items=fresh, total=self._total, window=section.window, position=section.position)

    def _finish(self, section: Section) -> Page[T] | None:
        if section.window is not None and section.hit_wall(self._source.page_size):
            return self._cut(section, 2)
        self._leave(section)
        return self._without(section, _given_up(section)) if section.given_up else None

    def _leave(self, section: Section) -> None:
        """Go on with what comes after a section."""
        section.close()
        self._sections.popleft()
        if self._sections and self._source.rows_of_a_day:
            following = self._sections[0].seen
            following.earlier = (section.seen.ids, *following.earlier)

    def _cut(self, section: Section, parts: int, error: OffsetExceededError | None = None) -> Page[T] | None:
        """Put the parts of a window in its place, or say that it cannot be cut."""
        window = section.window
        if window is None:
            raise error or AssertionError("only windows are cut")
        if window.days == 1:
            self._leave(section)
            return self._without(section, _incomplete(section, window, error))
        section.close()
        self._sections.popleft()
        self._sections.extendleft(
            Section(self._seen_of_part(section), self._call_at(part), part) for part in reversed(split(window, parts))
        )
        return None

    def _without(self, section: Section, error: LeadfeederError) -> Page[T]:
        """Return a page that holds nothing but what is missing of a section."""
        return Page((), Meta(), self._total, section.window, section.position, errors=(error,))

    def _seen_of_part(self, section: Section) -> Seen:
        if not self._source.rows_of_a_day:
            return section.seen
        return Seen(earlier=(*section.seen.earlier, section.seen.ids))

    def _run_ahead(self) -> None:
        """Ask for the pages that come next, through the windows in order, as far as they are known."""
        waiting = sum(len(section.tasks) for section in self._sections)
        for section in self._sections:
            _peek(section)
            while section.may_launch() and waiting < self._source.ahead:
                if not self._source.may_run_ahead(self._launched):
                    return
                section.tasks.append(start(self._fetch(section)))
                waiting += 1

    def _fetch(self, section: Section) -> Coroutine[None, None, bytes]:
        """Return what fetches the next page that nobody has asked for."""
        section.launched += 1
        self._launched += 1
        return self._source.fetch(section.call.with_params(self._params_of(section.launched)))


def _incomplete(section: Section, window: Window, error: OffsetExceededError | None) -> IncompleteWindowError:
    """Return what is wrong with a day that holds more than the API hands out."""
    counted, holds = f" of {section.total:,}" if section.total else "", "holds"
    if section.total in {None, WALL}:
        holds = "may hold"
    said = f"{window} {holds} more rows than the API hands out: {section.rows:,}{counted}."
    return IncompleteWindowError(said, error.facts if error else facts_of(section.call))


def _given_up(section: Section) -> IncompleteListError:
    """Return what is wrong with a list that stopped moving before all its rows came."""
    came, what = section.rows - section.repeated, "repeats a page" if section.first_id else "sends empty pages"
    said = f"The server {what} after {came:,} rows, though it counts {section.latest:,}."
    return IncompleteListError(said, facts_of(section.call), advice="The rows so far are good; start again later.")


def _peek(section: Section) -> None:
    """Learn the number of pages of a later window from its first answer, without decoding the rows."""
    if section.last is not None or section.taken or not section.tasks:
        return
    first = section.tasks[0]
    if first.done() and not first.cancelled() and first.exception() is None:
        section.count(meta_of(first.result()))
        if section.too_large():
            section.last = 1
