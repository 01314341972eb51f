"""Cursor pagination: each response names the cursor of the next page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import APIStatusError, CursorExpiredError, CursorLoopError
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.pagination.completeness import filter_new, gap_page, page_facts
from leadfeeder_async.pagination.dedupe import SeenIds
from leadfeeder_async.pagination.end_detection import EndDetector, PassState, Verdict
from leadfeeder_async.pagination.page import Page, PageDecoder, ResumePosition
from leadfeeder_async.pagination.source import PagerOptions, PrefetchQueue

T = TypeVar("T")

EXPIRED_CURSOR_STATUSES = frozenset({400, 404, 409, 410, 416, 422})
"""The statuses with which a server may reject a cursor that has expired."""

MAX_PAGES_AFTER_END = 2
"""Consecutive pages without new rows after which a list ends if all counted rows arrived."""

MAX_LOOP_PAGES = 50
"""Consecutive pages without new rows, each with a new cursor, that are considered a loop."""


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
        progress = _CursorProgress(first, options, self.executor.max_search_rows)
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
                is_next = progress.detector.verdict is Verdict.CONTINUE and progress.loop_error is None
                can_prefetch = options.prefetch > 0 and progress.detector.can_restart
                if cursor is not None and is_next and can_prefetch and progress.wants_more:
                    queue.start(_at(first, cursor))
                total = page.meta.total_count if total is None else total
                position = progress.position(cursor)
                yield replace(page, total=total, position=position)
                del page, body  # so that the next page can use their memory
                if position.ended:
                    return
                final = progress.final_page(first, total)
                if final is not None:
                    yield final
                    return
                if progress.detector.verdict is Verdict.RESTART:
                    progress.restart()
                    cursor = None
        finally:
            queue.close()


def _at(first: ApiRequest[bytes], cursor: str | None) -> ApiRequest[bytes]:
    return first if cursor is None else first.with_params({"page[cursor]": cursor})


class _CursorProgress:
    """The rows and cursors of one cursor list so far.

    Args:
        request: The request of the first page.
        options: The options of the pager.
        max_rows: The number of rows at which a server may stop counting.

    """

    def __init__(self, request: ApiRequest[bytes], options: PagerOptions, max_rows: int) -> None:
        self._request = request
        self._max_rows = max_rows
        self._pages_wanted = options.pages_wanted
        resumes = options.position.cursor is not None
        # In a resumed list, the excluded ids count as rows that arrived. In a list from its start they do not, because
        # the server sends them again.
        self._seen = SeenIds.after(options.exclude_ids, is_same_list=resumes)
        self._cursors = {options.position.cursor} if options.position.cursor is not None else set[str]()
        self._rejections = 0
        self._has_unidentified = False
        self._pages = 0
        self._has_new_rows = False
        """True if this run has returned a row."""
        self._made_progress = False
        self._is_comparable = not resumes or bool(options.exclude_ids) or options.position.rows == 0
        """True if the rows so far can be compared with the server's count, because the ids before the position are
        known."""
        self.loop_error: CursorLoopError | None = None
        total = options.position.total if resumes else None
        known = options.position.rows if resumes and options.exclude_ids else 0
        known = len(self._seen.ids) if known is None else known
        self._excluded = options.exclude_ids
        self._most_used = max(0, len(self._excluded) - known) if resumes else 0
        """The most rows of the page after the position that the caller may have used. Excluded ids of other lists
        count too."""
        self.detector = EndDetector(
            options.page_size,
            not request.endpoint.is_billed,
            is_cursor_list=True,
            rows=known,
            current_pass=PassState(rows=known),
            total=total if self._is_comparable else None,
        )
        self._highest_total = total
        self._was_complete = resumes and self._is_comparable and options.position.has_all_rows
        """True if the list had all counted rows at the position, until new rows arrive or the count changes."""

    def position(self, cursor: str | None) -> ResumePosition:
        """Return the position before a cursor, with the highest count, so that a resumed run detects a lower one."""
        ended = self.detector.verdict is Verdict.COMPLETE
        cursor = cursor if self.detector.passes == 1 else None  # a later pass leaves out rows of the first one
        rows = self.detector.rows if self._is_comparable else None
        return ResumePosition(
            cursor=cursor, ended=ended, total=self._highest_total, rows=rows, has_all_rows=self._has_all_rows
        )

    @property
    def _has_all_rows(self) -> bool:
        """True if all counted rows arrived, in this run or before its position.

        False at the row limit, because some servers count no further.
        """
        has_counted_rows = self._was_complete or (self._has_new_rows and self.detector.has_counted_rows)
        return has_counted_rows and (self.detector.total or 0) < self._max_rows

    @property
    def wants_more(self) -> bool:
        """True unless the limit of the pager is reached."""
        return self._pages_wanted is None or self._pages < self._pages_wanted

    async def record(self, page: Page[T], decoder: PageDecoder[T], cursor: str | None) -> Page[T]:
        """Record a page, and return it with its new rows. Its errors are left out if an earlier pass reported them.

        After a rejected cursor, the errors of pages that are read again are reported again.
        """
        new = await filter_new(self._seen, page, decoder)
        self._has_unidentified |= new.unidentified > 0
        if self._rejections and self._has_unidentified:
            raise self._expired_error("The server rejected the cursor of the next page")
        facts = page_facts(page, new, self.detector, is_last=cursor is None)
        if not self._is_comparable:
            facts = replace(facts, total_count=None)
        elif self._most_used:
            used = self._count_used(decoder.row_ids(page.items), facts.new_rows)
            facts = replace(facts, new_rows=facts.new_rows + used, new_to_pass=(facts.new_to_pass or 0) + used)
        self._pages += 1
        self.detector = self.detector.record(facts)
        if self.detector.total is not None:
            self._highest_total = max(self._highest_total or 0, self.detector.total)
        if facts.new_rows > 0:
            self._made_progress = self._has_new_rows = True
        self._was_complete &= self.detector.missing == 0 and not facts.new_rows
        self.loop_error, stuck_pages = self._detect_loop(cursor), self.detector.current_pass.stuck_pages
        if self._has_all_rows and (self.loop_error is not None or stuck_pages >= MAX_PAGES_AFTER_END):
            self.loop_error, self.detector = None, replace(self.detector, verdict=Verdict.COMPLETE)
        page = replace(page, items=new.rows)
        # A rejected cursor ends a pass early, so the next pass has errors that were not reported.
        drops_errors = self.detector.passes > 1 and not self._rejections
        return replace(page, decode_errors=(), undecodable=0) if drops_errors else page

    def _count_used(self, ids: Sequence[str | None], new_rows: int) -> int:
        """Return how many rows of the first page the caller had used although they came after the position.

        A page without new rows may also repeat rows before the position, unless the number of its rows proves it.
        """
        found, most = len(self._excluded.intersection(filter(None, ids))), self._most_used
        self._most_used = 0
        return min(found, most) if new_rows or found == most else 0

    def final_page(self, request: ApiRequest[bytes], total: int | None) -> Page[Any] | None:
        """Return a page that reports why the list ends early, or None if it continues.

        In a list that may charge, this includes a cursor that repeats. Resuming then does not request its page again.

        Raises:
            CursorLoopError: A cursor of a free list repeats.
        """
        if self.loop_error is None:
            is_incomplete = self.detector.verdict is Verdict.INCOMPLETE
            return gap_page(self.detector, request, total) if is_incomplete else None
        if self.detector.can_restart:
            raise self.loop_error
        return Page((), Meta(), total, position=ResumePosition(ended=True), partial_errors=(self.loop_error,))

    def restart(self) -> None:
        """Begin another pass over the list, after which all of its rows are known."""
        self._is_comparable = True
        self.detector = self.detector.restarted()
        self._highest_total = self.detector.total
        self._seen.start_pass()
        self._cursors.clear()

    def record_rejection(self, cursor: str | None, error: APIStatusError) -> None:
        """End the list if all rows arrived, or begin another pass.

        Raise if another pass may charge, made no progress before, or could return rows twice.
        """
        if cursor is None or error.status not in EXPIRED_CURSOR_STATUSES:
            raise error
        if self._has_all_rows:
            self.detector = replace(self.detector, verdict=Verdict.COMPLETE)
            return
        is_stuck = self._rejections > 0 and not self._made_progress
        if not self.detector.can_restart or is_stuck or self._has_unidentified:
            raise self._expired_error(
                f"The server rejected the cursor of the next page: {error.message}", error
            ) from error
        self._rejections += 1
        self._made_progress = False
        self.restart()

    def _expired_error(self, message: str, error: APIStatusError | None = None) -> CursorExpiredError:
        context = self._request.endpoint.error_context() if error is None else error.context
        if self._has_unidentified:
            message = f"{message.rstrip('.')}. Some rows have no id, so reading the list again would repeat them."
        return CursorExpiredError(message, context)

    def _detect_loop(self, cursor: str | None) -> CursorLoopError | None:
        context = self._request.endpoint.error_context()
        if cursor is None:
            return None
        if cursor in self._cursors:
            return CursorLoopError("The server returned the same cursor twice.", context)
        stuck_pages = self.detector.current_pass.stuck_pages
        if stuck_pages >= MAX_LOOP_PAGES:
            message = f"{stuck_pages} consecutive pages had no new rows, each with a new cursor."
            return CursorLoopError(message, context)
        self._cursors.add(cursor)
        return None
