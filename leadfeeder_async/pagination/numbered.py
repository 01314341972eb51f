"""Lists that are walked over numbered pages, in windows of days that are cut where they hold too many rows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Generic, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.codec import decode_meta
from leadfeeder_async._core.endpoint import ApiRequest, QueryValue
from leadfeeder_async.errors import IncompleteListError, IncompleteWindowError, LeadfeederError, OffsetExceededError
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.pagination.date_range import MAX_SEARCH_ROWS, DateWindow, split_count, split_window
from leadfeeder_async.pagination.page import (
    MAX_EMPTY_PAGES,
    IdBatches,
    Page,
    PageSource,
    ResumePosition,
    SeenIds,
    drop_seen_rows,
    error_context_of,
    spawn_fetch,
)

T = TypeVar("T")

MAX_REPEATED_PAGES = 3
"""This many pages in a row that begin as the one before are taken for a server that ignores the page number."""

CallAt: TypeAlias = "Callable[[DateWindow | None], ApiRequest[object]]"
"""Makes the call for one window."""

ParamsOf: TypeAlias = "Callable[[int], Mapping[str, QueryValue]]"
"""Makes the query parameters of one page, by its number from 1."""


class WindowProgress(msgspec.Struct):
    """A run of numbered pages: one window's, or the batches of a list of ids."""

    seen: SeenIds
    call: ApiRequest[object]
    window: DateWindow | None = None
    last: int | None = None
    """The number of the last page, once known."""
    batches: IdBatches | None = None
    """The pages are the caller's own batches: no count of the server's changes how many there are."""
    requested: int = 0
    consumed: int = 0
    rows: int = 0
    total: int | None = None
    """The most rows the server counted."""
    last_total: int | None = None
    """The rows the server counted last."""
    ended: bool = False
    first_id: str | None = None
    """The first row of the page taken last."""
    repeated_pages: int = 0
    """How many pages in a row have begun as the one before."""
    repeated_rows: int = 0
    """The rows of those pages."""
    stalled: bool = False
    """The server counts more rows, and sends the same page or nothing for them, though its last rows filled a page."""
    tasks: deque[asyncio.Task[bytes]] = msgspec.field(default_factory=deque[asyncio.Task[bytes]])

    def can_request(self) -> bool:
        """Whether the next page can be asked for: the first always, the others once known to exist."""
        if self.last is None:
            return self.requested == self.consumed and not self.ended
        return self.requested < self.last

    def count(self, meta: Meta) -> None:
        """Learn from an answer's meta how many pages and rows there are."""
        if meta.pages is not None and self.batches is None:
            self.last = max(meta.pages, self.last or 1)
        if meta.total_count is not None:
            self.last_total = meta.total_count
            self.total = max(meta.total_count, self.total or 0)

    def record_page(self, page: Page[T], first_id: str, page_size: int) -> None:
        """Learn from the page just taken whether more follow; counts alone never end a list early.

        Past what the server counts, the same page again and again ends the list, and so do empty ones: some servers
        ignore the page number, and some count too many pages. Once or twice it may be that as many rows as a page
        holds came in before it. Where more rows are counted than came, such an end is not taken for one in order.
        """
        same = first_id == self.first_id
        self.repeated_pages = self.repeated_pages + 1 if same else 0
        self.repeated_rows = self.repeated_rows + page.row_count if same and first_id else 0
        self.first_id = first_id
        self.consumed += 1
        self.rows += page.row_count
        self.count(page.meta)
        if self.batches is None:
            self._detect_end(page, page_size)

    def _detect_end(self, page: Page[T], page_size: int) -> None:
        full = page.row_count >= page_size
        missing = 0 if self.last_total is None else max(0, self.last_total - self.rows + self.repeated_rows)
        if self.repeated_pages >= self._repeat_limit(page, missing):
            self.stalled = missing > 0
            self.end()
        elif self.last is None:
            self.ended = not (full or (page.row_count and missing))
        elif self.consumed == self.last and full and (missing or self.last_total is None):
            self.last += 1
        if (self.ended or self.consumed == self.last) and not page.row_count and self.rows % page_size == 0:
            self.stalled |= missing >= page_size

    def _repeat_limit(self, page: Page[T], missing: int) -> int:
        """How many pages in a row that begin as the one before end the list; rows that cannot be read begin as none."""
        readable_or_beyond = self.first_id or not (page.row_count or missing)
        return MAX_REPEATED_PAGES if readable_or_beyond else MAX_EMPTY_PAGES

    def is_truncated(self, page_size: int) -> bool:
        """Whether the server stopped handing out rows at the wall although it counts, or may have, more.

        A count that is the wall itself says nothing: some servers count no further.
        """
        if self.rows + page_size <= MAX_SEARCH_ROWS:
            return False
        return self.rows % page_size == 0 if self.total in {None, MAX_SEARCH_ROWS} else self.rows < (self.total or 0)

    def has_shrunk(self) -> bool:
        """Whether a page is missing because the list became shorter while it was walked."""
        return (
            self.last_total not in {None, MAX_SEARCH_ROWS} and self.consumed > 0 and self.rows >= (self.last_total or 0)
        )

    def needs_split(self) -> bool:
        """Whether the window holds, or may hold, more rows than the API hands out, and can be cut."""
        return (
            self.total is not None
            and self.total >= MAX_SEARCH_ROWS
            and self.window is not None
            and self.window.days > 1
        )

    @property
    def position(self) -> ResumePosition | None:
        """Where the list goes on after the page taken last; None where numbers have lost their meaning by then."""
        if self.batches is not None:
            return ResumePosition(ids=self.batches.completed_after(self.consumed))
        return ResumePosition(day=self.window.start) if self.window else None

    def end(self) -> None:
        """Take the page taken last for the list's last one."""
        self.close()
        self.last = self.requested = self.consumed

    def close(self) -> None:
        """Cancel what is under way."""
        for task in self.tasks:
            task.cancel()
        self.tasks.clear()


class NumberedPages(Generic[T]):
    """Takes numbered pages in order while up to ``ahead`` of them are under way.

    A window past the API's wall is cut into smaller ones, which take its place. Where one day alone is past it, or a
    list stops moving before its end, a page says so, and what comes after is read.
    """

    def __init__(
        self,
        source: PageSource[T],
        call_at: CallAt,
        params_of: ParamsOf,
        window: DateWindow | None,
        *,
        batches: IdBatches | None = None,
    ) -> None:
        self._source = source
        self._call_at = call_at
        self._params_of = params_of
        seen, last = SeenIds(inherited=(source.exclude_ids,)), batches.count if batches else None
        self._windows = deque([WindowProgress(seen, call_at(window), window, last, batches=batches)])
        self._launched = 0
        self._total: int | None = None

    async def pages(self) -> AsyncGenerator[Page[T], None]:
        """Yield the pages; dropping the generator cancels what is under way."""
        try:
            while self._windows:
                page = await self._next_page(self._windows[0])
                if page is not None:
                    yield page
                del page
        finally:
            for section in self._windows:
                section.close()

    async def _next_page(self, section: WindowProgress) -> Page[T] | None:
        if not section.tasks and not section.can_request():
            return self._finish(section)
        try:
            page = self._source.decode(await self._next_body(section))
        except OffsetExceededError as error:
            if section.has_shrunk():
                section.end()
                return None
            return self._split(section, 2, error)
        return self._take(section, page)

    async def _next_body(self, section: WindowProgress) -> bytes:
        if not section.tasks:
            return await self._fetch(section)
        task = section.tasks.popleft()
        if task.done():
            await asyncio.sleep(0)  # pages that wait are read one by one, so that the loop is held for one at most
        return await task

    def _take(self, section: WindowProgress, page: Page[T]) -> Page[T] | None:
        ids = self._source.ids_of(page.items)
        section.record_page(page, ids[0] if ids else "", self._source.page_size)
        if self._total is None:
            self._total = section.total
        if section.consumed == 1 and section.needs_split():
            return self._split(section, split_count(section.total or 0))
        self._prefetch()
        fresh = drop_seen_rows(self._source, section.seen, page.items, ids)
        return replace(page, items=fresh, total=self._total, window=section.window, position=section.position)

    def _finish(self, section: WindowProgress) -> Page[T] | None:
        if section.window is not None and section.is_truncated(self._source.page_size):
            return self._split(section, 2)
        self._advance(section)
        return self._gap_page(section, _given_up(section)) if section.stalled else None

    def _advance(self, section: WindowProgress) -> None:
        """Go on with what comes after a section."""
        section.close()
        self._windows.popleft()
        if self._windows and self._source.partitioned_by_day:
            following = self._windows[0].seen
            following.inherited = (section.seen.ids, *following.inherited)

    def _split(self, section: WindowProgress, parts: int, error: OffsetExceededError | None = None) -> Page[T] | None:
        """Put the parts of a window in its place, or say that it cannot be cut."""
        window = section.window
        if window is None:
            raise error or AssertionError("only windows are cut")
        if window.days == 1:
            self._advance(section)
            return self._gap_page(section, _incomplete(section, window, error))
        section.close()
        self._windows.popleft()
        self._windows.extendleft(
            WindowProgress(self._seen_of_part(section), self._call_at(part), part)
            for part in reversed(split_window(window, parts))
        )
        return None

    def _gap_page(self, section: WindowProgress, error: LeadfeederError) -> Page[T]:
        """Return a page that holds nothing but what is missing of a section."""
        return Page((), Meta(), self._total, section.window, section.position, partial_errors=(error,))

    def _seen_of_part(self, section: WindowProgress) -> SeenIds:
        if not self._source.partitioned_by_day:
            return section.seen
        return SeenIds(inherited=(*section.seen.inherited, section.seen.ids))

    def _prefetch(self) -> None:
        """Ask for the pages that come next, through the windows in order, as far as they are known."""
        waiting = sum(len(section.tasks) for section in self._windows)
        for section in self._windows:
            _peek_total(section)
            while section.can_request() and waiting < self._source.prefetch:
                if not self._source.can_prefetch(self._launched):
                    return
                section.tasks.append(spawn_fetch(self._fetch(section)))
                waiting += 1

    def _fetch(self, section: WindowProgress) -> Coroutine[None, None, bytes]:
        """Return what fetches the next page that nobody has asked for."""
        section.requested += 1
        self._launched += 1
        return self._source.fetch(section.call.with_params(self._params_of(section.requested)))


def _incomplete(
    section: WindowProgress, window: DateWindow, error: OffsetExceededError | None
) -> IncompleteWindowError:
    """Return what is wrong with a day that holds more than the API hands out."""
    counted, holds = f" of {section.total:,}" if section.total else "", "holds"
    if section.total in {None, MAX_SEARCH_ROWS}:
        holds = "may hold"
    said = f"{window} {holds} more rows than the API hands out: {section.rows:,}{counted}."
    return IncompleteWindowError(said, error.context if error else error_context_of(section.call))


def _given_up(section: WindowProgress) -> IncompleteListError:
    """Return what is wrong with a list that stopped moving before all its rows came."""
    came, what = section.rows - section.repeated_rows, "repeats a page" if section.first_id else "sends empty pages"
    said = f"The server {what} after {came:,} rows, though it counts {section.last_total:,}."
    return IncompleteListError(
        said, error_context_of(section.call), hint="The rows so far are good; start again later."
    )


def _peek_total(section: WindowProgress) -> None:
    """Learn the number of pages of a later window from its first answer, without decoding the rows."""
    if section.last is not None or section.consumed or not section.tasks:
        return
    first = section.tasks[0]
    if first.done() and not first.cancelled() and first.exception() is None:
        section.count(decode_meta(first.result()))
        if section.needs_split():
            section.last = 1
