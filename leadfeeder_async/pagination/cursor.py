"""Cursor pagination: each response names the cursor of the next page."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import APIStatusError
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.pagination.cursor_progress import CursorProgress
from leadfeeder_async.pagination.end_detection import Verdict
from leadfeeder_async.pagination.page import Page, PageDecoder, ResumePosition
from leadfeeder_async.pagination.source import PagerOptions, PrefetchQueue

T = TypeVar("T")


class CursorSource(msgspec.Struct, frozen=True):
    """Follows ``next_cursor`` from page to page, and prefetches one page.

    A list that may charge is not prefetched. A free list is restarted if the server rejects a cursor that it had
    issued, or ends the list before all rows that it counts were returned. Rows that were returned before are left out.
    """

    executor: RequestExecutor
    request: ApiRequest[bytes]

    def describe(self) -> str:
        """Return an empty string, because a cursor list adds nothing to the description."""
        return ""

    def count_request(self, options: PagerOptions) -> ApiRequest[bytes]:  # noqa: ARG002 - as the other sources
        """Return a request for one row, whose response tells the number of rows."""
        return self.request.with_params({"page[size]": 1})

    async def pages(self, decoder: PageDecoder[T], options: PagerOptions) -> AsyncGenerator[Page[T], None]:
        """Yield the pages in order."""
        if self.request.endpoint.is_billed and options.limit and options.position.cursor is None:
            # Each company of a page may be charged.
            options = replace(options, page_size=min(options.page_size, options.limit))
        first = self.request.with_params({"page[size]": options.page_size})
        progress = CursorProgress(first, options, self.executor.max_search_rows)
        cursor, total = options.position.cursor, None
        queue = PrefetchQueue(self.executor)
        try:
            while True:
                try:
                    body = await queue.next() if queue else await self.executor.execute(_at(first, cursor))
                    page = await decoder.decode(body)
                except APIStatusError as error:
                    progress.record_rejection(cursor, error)
                    if progress.detector.verdict is Verdict.COMPLETE:
                        yield Page((), Meta(), total, position=ResumePosition(ended=True))
                        return
                    cursor = None
                    continue
                cursor = page.meta.next_cursor
                first = first.after_charge(page.meta)
                page = await progress.record(page, decoder, cursor)
                is_next = progress.detector.verdict is Verdict.CONTINUE and progress.end_error is None
                if cursor is not None and is_next and options.prefetch > 0 and progress.is_free and progress.wants_more:
                    queue.start(_at(first, cursor))
                total = page.meta.total_count if total is None else total
                yield replace(page, total=total, position=progress.position(cursor))
                del page, body  # so that the next page can use their memory
                if progress.end_error is not None and progress.is_free:
                    raise progress.end_error
                if progress.has_ended:
                    return
                if progress.detector.verdict is Verdict.RESTART:
                    progress.restart()
                    cursor = None
        finally:
            queue.close()


def _at(first: ApiRequest[bytes], cursor: str | None) -> ApiRequest[bytes]:
    return first if cursor is None else first.with_params({"page[cursor]": cursor})
