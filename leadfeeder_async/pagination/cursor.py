"""Cursor pagination: each response names the cursor of the next page."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import APIStatusError, BadRequestError, CursorExpiredError, CursorLoopError, NotFoundError
from leadfeeder_async.pagination.dedupe import SeenIds
from leadfeeder_async.pagination.end_detection import MAX_EMPTY_PAGES
from leadfeeder_async.pagination.page import Page, PageDecoder, ResumePosition
from leadfeeder_async.pagination.source import PagerOptions, PrefetchQueue

T = TypeVar("T")


class CursorSource(msgspec.Struct, frozen=True):
    """Follows ``next_cursor`` from page to page, and prefetches one page.

    A list that may charge is not prefetched. If the server rejects a cursor that it had issued, a free list is
    restarted, and rows that were returned before are left out.
    """

    executor: RequestExecutor
    request: ApiRequest[bytes]

    def describe(self) -> str:
        """Return an empty string: a cursor list has no part of its own in the description."""
        return ""

    def count_request(self, options: PagerOptions) -> ApiRequest[bytes]:  # noqa: ARG002 - as the other sources
        """Return a request for one row, whose response tells the number of rows."""
        return self.request.with_params({"page[size]": 1})

    async def pages(self, decoder: PageDecoder[T], options: PagerOptions) -> AsyncGenerator[Page[T], None]:
        """Yield the pages in order."""
        first = self.request.with_params({"page[size]": options.page_size})
        seen, history = SeenIds(inherited=(options.exclude_ids,)), _CursorHistory(first)
        can_prefetch = options.prefetch > 0 and not first.endpoint.is_billed
        cursor, total = options.position.cursor, None
        queue = PrefetchQueue(self.executor)
        try:
            while True:
                try:
                    page = decoder.decode(
                        await queue.next() if queue else await self.executor.execute(_at(first, cursor))
                    )
                except (BadRequestError, NotFoundError) as error:
                    if cursor is None:
                        raise
                    history.restart(cursor, error)
                    cursor = None
                    continue
                cursor = page.meta.next_cursor
                ids = decoder.row_ids(page.items)
                loop_error = history.detect_loop(cursor, page.row_count, ids[0] if ids else "")
                if cursor is not None and loop_error is None and can_prefetch and _is_wanted(history, options):
                    queue.start(_at(first, cursor))
                total = page.meta.total_count if total is None else total
                items = seen.filter_new(page.items, ids)
                history.made_progress = history.made_progress or bool(items)
                yield replace(
                    page, items=items, total=total, position=ResumePosition(cursor=cursor, ended=cursor is None)
                )
                del page, items  # so that the next page can use their memory
                if loop_error is not None:
                    raise loop_error
                if cursor is None:
                    return
        finally:
            queue.close()


def _at(first: ApiRequest[bytes], cursor: str | None) -> ApiRequest[bytes]:
    return first if cursor is None else first.with_params({"page[cursor]": cursor})


def _is_wanted(history: _CursorHistory, options: PagerOptions) -> bool:
    return options.pages_wanted is None or history.pages < options.pages_wanted


class _CursorHistory:
    """The cursors that were followed, to detect loops.

    Args:
        request: The request of the first page.

    """

    def __init__(self, request: ApiRequest[bytes]) -> None:
        self._request = request
        self._cursors = set[str]()
        self._stuck_pages = 0
        self._first_id = ""
        self._restarts = 0
        self.pages = 0
        self.made_progress = False
        """True if new rows were returned since the list was started or restarted."""

    def detect_loop(self, cursor: str | None, row_count: int, first_id: str) -> CursorLoopError | None:
        """Record a page, and return the error if following its cursor would loop.

        A page counts as stuck if it is empty or begins with the same row as the one before, because a server that
        ignores the cursor may create a new one each time.
        """
        self.pages += 1
        is_stuck = not row_count or (first_id != "" and first_id == self._first_id)
        self._stuck_pages, self._first_id = self._stuck_pages + 1 if is_stuck else 0, first_id
        if cursor is None:
            return None
        if cursor in self._cursors:
            return self._loop_error("The server returned the same cursor twice.")
        if self._stuck_pages >= MAX_EMPTY_PAGES:
            return self._loop_error(
                f"{self._stuck_pages} consecutive pages were empty or the same, each with a new cursor."
            )
        self._cursors.add(cursor)
        return None

    def restart(self, cursor: str, error: APIStatusError) -> None:
        """Prepare to restart the list, or raise if that could be charged or made no progress before."""
        if self._request.endpoint.is_billed or (self._restarts and not self.made_progress):
            message = f"The server rejected its own cursor {cursor!r}: {error.message}"
            raise CursorExpiredError(message, error.context) from error
        self._restarts += 1
        self._stuck_pages, self.made_progress = 0, False
        self._cursors.clear()

    def _loop_error(self, message: str) -> CursorLoopError:
        return CursorLoopError(message, self._request.endpoint.error_context())
