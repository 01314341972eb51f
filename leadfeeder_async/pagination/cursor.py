"""Lists that are walked along cursors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Generic, TypeVar

from msgspec.structs import replace

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async.errors import APIStatusError, BadRequestError, CursorExpiredError, CursorLoopError, NotFoundError
from leadfeeder_async.pagination.page import (
    MAX_EMPTY_PAGES,
    Page,
    PageSource,
    ResumePosition,
    SeenIds,
    drop_seen_rows,
    error_context_of,
    spawn_fetch,
)

T = TypeVar("T")


async def cursor_pages(
    source: PageSource[T], call: ApiRequest[object], cursor: str | None = None
) -> AsyncGenerator[Page[T], None]:
    """Follow ``next_cursor`` from page to page, fetching one page ahead.

    A cursor that the server no longer takes has expired: a free list is then walked from its start, without the rows
    that were handed out.
    """
    seen, trail, pages = SeenIds(inherited=(source.exclude_ids,)), _CursorHistory(call), _NextPage(source, call)
    total: int | None = None
    pages.schedule(cursor, ahead=False)
    try:
        while True:
            try:
                page = source.decode(await pages.get())
            except (BadRequestError, NotFoundError) as error:
                if cursor is None:
                    raise
                trail.restart(source, cursor, error)
                cursor = None
                pages.schedule(cursor, ahead=False)
                continue
            cursor = page.meta.next_cursor
            ids = source.ids_of(page.items)
            fault = trail.detect_loop(cursor, page.row_count, ids[0] if ids else "")
            if cursor is not None and fault is None:
                pages.schedule(cursor, ahead=source.can_prefetch(trail.pages))
            total = page.meta.total_count if total is None else total
            page = _fresh(source, seen, page, ids, total)
            trail.made_progress = trail.made_progress or bool(page.items)
            yield page
            del page  # its memory is used again by the next one
            if fault is not None:
                raise fault
            if cursor is None:
                return
    finally:
        pages.close()


def _fresh(source: PageSource[T], seen: SeenIds, page: Page[T], ids: Sequence[str], total: int | None) -> Page[T]:
    """Return a page as it is handed out: without rows that came before, and with its place in the list."""
    rows, cursor = drop_seen_rows(source, seen, page.items, ids), page.meta.next_cursor
    return replace(page, items=rows, total=total, position=ResumePosition(cursor=cursor, ended=cursor is None))


class _NextPage(Generic[T]):
    """The next page of a cursor walk, under way or not yet asked for."""

    def __init__(self, source: PageSource[T], call: ApiRequest[object]) -> None:
        self._source = source
        self._call = self._next = call
        self._coming: asyncio.Task[bytes] | None = None

    def schedule(self, cursor: str | None, *, ahead: bool) -> None:
        """Say which page comes next, and fetch it at once if ``ahead``."""
        self._next = self._call if cursor is None else self._call.with_params({"page[cursor]": cursor})
        self._coming = spawn_fetch(self._source.fetch(self._next)) if ahead else None

    async def get(self) -> bytes:
        """Return the next page's body."""
        return await (self._coming or self._source.fetch(self._next))

    def close(self) -> None:
        """Cancel what is under way."""
        if self._coming is not None:
            self._coming.cancel()


class _CursorHistory:
    """The cursors a walk has followed."""

    def __init__(self, call: ApiRequest[object]) -> None:
        self._facts = error_context_of(call)
        self._cursors = set[str]()
        self._stuck = 0
        self._first_id = ""
        self._restarts = 0
        self.pages = 0
        self.made_progress = False
        """Whether rows were handed out since the walk began, or began anew."""

    def detect_loop(self, cursor: str | None, received: int, first_id: str) -> CursorLoopError | None:
        """Take the next cursor; return what is wrong with following it.

        A page stands for the one before where it is empty or begins with the same row: a server that ignores the cursor
        may make a new one each time.
        """
        self.pages += 1
        stuck = not received or (first_id != "" and first_id == self._first_id)
        self._stuck, self._first_id = self._stuck + 1 if stuck else 0, first_id
        if cursor is None:
            return None
        if cursor in self._cursors:
            return CursorLoopError("A cursor came back a second time.", self._facts)
        if self._stuck >= MAX_EMPTY_PAGES:
            said = f"{self._stuck} pages came in a row that are empty or the same, each with a new cursor."
            return CursorLoopError(said, self._facts)
        self._cursors.add(cursor)
        return None

    def restart(self, source: PageSource[T], cursor: str, error: APIStatusError) -> None:
        """Begin anew because ``cursor`` was refused, unless that may charge or led nowhere before."""
        if source.charges or (self._restarts and not self.made_progress):
            said = f"The server no longer takes its own cursor {cursor!r}: {error.message}"
            raise CursorExpiredError(said, error.context) from error
        self._restarts += 1
        self._stuck, self.made_progress = 0, False
        self._cursors.clear()
