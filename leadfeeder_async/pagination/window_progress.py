"""The progress of reading one date window, or one list of numbered pages without dates."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import msgspec

from leadfeeder_async._core.codec import decode_meta
from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import MAX_INLINE_BYTES
from leadfeeder_async._core.worker_thread import run_for_rows
from leadfeeder_async.errors import APIStatusError, BadRequestError, NotFoundError, OffsetExceededError
from leadfeeder_async.pagination.completeness import UnidentifiedRows, page_facts
from leadfeeder_async.pagination.country_split import CountryGroup
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.day_in_groups import DayInGroups
from leadfeeder_async.pagination.dedupe import NewRows, SeenIds
from leadfeeder_async.pagination.end_detection import EndDetector, Verdict
from leadfeeder_async.pagination.page import Page, PageDecoder, ResumePosition
from leadfeeder_async.pagination.source import PrefetchQueue
from leadfeeder_async.pagination.split_check import SplitRange

T = TypeVar("T")


LIMIT_ERRORS = (OffsetExceededError, NotFoundError, BadRequestError)
"""The errors with which servers reject a page beyond the row limit or the end of a list."""

_STATUSES_OF_KEY = frozenset({401, 402, 429})
"""Statuses that concern the key or the account, and not the page."""

ROUND_COUNT = 500
"""A count that is a multiple of this may be the limit of a server."""


class WindowProgress(msgspec.Struct):
    """The progress of reading one date window, or a list without dates, in one or several passes over its pages."""

    request: ApiRequest[bytes]
    window: DateWindow | None
    seen: SeenIds
    detector: EndDetector
    queue: PrefetchQueue
    max_search_rows: int
    """The most rows of one search that the API returns."""
    unidentified: UnidentifiedRows = msgspec.field(default_factory=UnidentifiedRows)
    requested: int = 0
    """The number of pages of this pass that were requested."""
    groups: list[CountryGroup] | None = None
    """The groups of countries by which the day will be read after these pages."""
    has_unreliable_count: bool = False
    """True if the server counts no further than its row limit, as the groups show, or only the rows of a page."""
    day: DayInGroups | None = None
    """The day that this group of countries belongs to."""
    split: SplitRange | None = None
    """The date range that this window is a part of."""
    rejection: APIStatusError | None = None
    """The error for the rejected page at which this pass ended, although counted rows are missing."""

    def can_request(self) -> bool:
        """Return True if the list continues, and the next page is known to exist or all requested ones have arrived."""
        if self.detector.verdict is not Verdict.CONTINUE:
            return False
        return self.requested == self.detector.current_pass.pages or self.requested < self.detector.known_pages

    async def record(self, page: Page[T], decoder: PageDecoder[T]) -> tuple[T, ...]:
        """Record a page, and return its new rows."""
        new, is_repeated = await run_for_rows(partial(self._filter_new, page, decoder), len(page.items))
        facts = page_facts(page, new, self.detector, is_repeated=is_repeated, is_last=self.rejection is not None)
        self.detector = self.detector.record(facts)
        if self.detector.verdict is not Verdict.CONTINUE:
            self.queue.close()
        return new.rows

    def _filter_new(self, page: Page[T], decoder: PageDecoder[T]) -> tuple[NewRows[T], bool]:
        """Return the new rows of a page, and True if its rows without an id are those of the page before."""
        ids = decoder.row_ids(page.items)
        is_repeated = self.unidentified.is_repeated(page, ids)
        return self.seen.filter_new(page.items, ids, is_repeated=is_repeated), is_repeated

    def restart(self) -> None:
        """Begin another pass."""
        self.queue.close()
        self.rejection = None
        self.detector = self.detector.restarted()
        self.seen.start_pass()
        self.requested = 0

    def ends_at_rejected_page(self, error: APIStatusError) -> bool:
        """Return True if a pass ends at a rejected page. Otherwise, the caller splits the window or raises the error.

        A pass ends if the list has no such page. If rows are missing, ``rejection`` is set.
        """
        if not isinstance(error, LIMIT_ERRORS):
            return self._needs_no_page and error.status not in _STATUSES_OF_KEY
        has_pages = self.detector.current_pass.pages > 0
        if has_pages and (self._has_ended or self._has_repeated_all):
            return True  # the response named another page, or reported more pages of another size
        if self._lacks_last_page(error):
            self.rejection = error
            return True
        if isinstance(error, OffsetExceededError):
            return self.detector.missing == 0 and not self._count_may_be_capped
        return isinstance(error, NotFoundError) and has_pages and self._ends_with_404(error)

    def _ends_with_404(self, error: NotFoundError) -> bool:
        missing, lacks_rows = self.detector.missing, self.detector.lacks_rows
        if not lacks_rows and self.detector.current_pass.pages < (self.detector.last_page or 0):
            return False  # nothing else would show that rows are missing
        if self.window is None and missing == 0 and self.may_exceed_limit:
            return False  # the server may count no further
        is_complete = missing is not None and not lacks_rows and not self.is_truncated
        return is_complete or not self.is_limit_error(error)

    def _lacks_last_page(self, error: APIStatusError) -> bool:
        """Return True if a rejected page is the last counted one, or if that one came but rows are missing.

        The list is then read again. If the rows are still missing, it ends with an error. In a search by date, the last
        page must have come if the rejected one may be at the row limit. Several days are then split.
        """
        detector, window = self.detector, self.window
        if window is not None and window.start != window.end and isinstance(error, OffsetExceededError):
            return False
        may_exceed_limit = self._is_round(detector.current_pass.rows) or self._pages_exceed_limit(detector.known_pages)
        pages_needed = detector.known_pages - (window is None or not may_exceed_limit)
        is_near_end = 0 < pages_needed <= detector.current_pass.pages
        is_capped = self.may_exceed_limit or self._is_round(detector.total or 0)
        return detector.can_restart and is_near_end and detector.lacks_rows and not is_capped

    @property
    def _needs_no_page(self) -> bool:
        """True if all counted rows arrived, and the count is not capped, so that the list needs no further page."""
        return self.detector.has_counted_rows and not self._count_may_be_capped

    @property
    def _has_repeated_all(self) -> bool:
        """True if a later pass contains as many rows as the server counts. Rows removed since are no longer counted."""
        detector = self.detector
        is_complete = detector.passes > 1 and detector.current_pass.rows == detector.total
        return is_complete and not self._count_may_be_capped

    @property
    def _has_ended(self) -> bool:
        """True if all counted rows arrived, or all reported pages without a count.

        With a count, it is below the row limit and did not rise. The latest page is also small, or it names no further
        page and the count is not capped. Without a count, the last page has fewer rows than another one, or is the last
        that the server reports, and the row limit is far.
        """
        detector, current = self.detector, self.detector.current_pass
        if detector.has_usable_count:
            is_complete = detector.missing == 0 and not current.rise and (detector.total or 0) < self.max_search_rows
            names_page = (
                detector.latest_next is not None and detector.last_page is None and not detector.has_counted_rows
            )
            return is_complete and (detector.latest_is_small or not (names_page or self._count_may_be_capped))
        latest, is_reported = current.latest_rows or 0, current.pages == detector.last_page
        is_last = latest < max(detector.largest_page, 1) or (is_reported and not self._is_round(detector.rows))
        return (
            is_last and current.pages >= (detector.last_page or 0) and not self._pages_exceed_limit(current.pages + 1)
        )

    def _is_round(self, rows: int) -> bool:
        """Return True if a number of rows may be the limit of a server for searches by date."""
        return self.window is not None and rows % ROUND_COUNT == 0

    def _pages_exceed_limit(self, pages: int) -> bool:
        """Return True if a number of pages has more rows than the limit. The server may filter rows of a page."""
        largest, requested = self.detector.largest_page, self.detector.page_size
        is_filtered = self.detector.current_pass.has_short_page and 2 * largest > requested
        return pages * (requested if is_filtered else largest) > self.max_search_rows

    @property
    def _count_may_be_capped(self) -> bool:
        """True if the server may count no further than it returns rows, so that its count proves nothing."""
        total = self.detector.total or 0
        is_early = self.detector.current_pass.pages < (self.detector.last_page or 0)
        return is_early or total >= self.max_search_rows or self._is_round(total)

    def is_limit_error(self, error: APIStatusError) -> bool:
        """Return True if a page was rejected because of the row limit. Some servers respond with 404 or 400."""
        if isinstance(error, OffsetExceededError):
            return True
        detector, pages = self.detector, self.detector.current_pass.pages
        may_be_limit = detector.missing == 0 and self._count_may_be_capped
        if isinstance(error, BadRequestError) and not detector.has_usable_count:
            # Without a count, a multiple of 500 rows may be the limit.
            may_be_limit = self._is_round(detector.rows) and pages >= (detector.last_page or 0)
        return self.window is not None and ((may_be_limit and pages > 0) or self._pages_exceed_limit(pages + 1))

    @property
    def may_exceed_limit(self) -> bool:
        """True if the list has, or may have, more rows than the row limit. Some servers count no further."""
        return self.detector.total is not None and self.detector.total >= self.max_search_rows

    @property
    def has_all_rows(self) -> bool:
        """True if all counted rows and reported pages arrived, and the count is below the row limit."""
        is_last = self.detector.current_pass.pages >= (self.detector.last_page or 0)
        return self.detector.missing == 0 and is_last and not self.may_exceed_limit

    @property
    def is_truncated(self) -> bool:
        """True if the server stopped a search by date at its row limit although it counts, or may have, more rows.

        A total equal to the limit is not conclusive, because some servers count no further. A total below the number of
        rows that arrived is not conclusive either, because some servers count the rows of the page.
        """
        total, largest = self.detector.total, max(self.detector.largest_page, 1)
        if self.window is None:
            return False
        if self.may_exceed_limit and total != self.max_search_rows:
            return self.detector.rows < (total or 0)
        if total not in {None, self.max_search_rows} and self.detector.rows <= (total or 0):
            return False
        # The last page ends at the limit, or the server rejects the page that crosses it. A later pass may end early.
        is_filtered = self.detector.current_pass.has_short_page and self.detector.rows < self.max_search_rows
        return (is_filtered and self._pages_exceed_limit(self.detector.current_pass.pages)) or any(
            rows == self.max_search_rows or (rows + largest > self.max_search_rows and rows % largest == 0)
            for rows in (self.detector.current_pass.received, self.detector.rows)
        )

    def peek_total(self) -> None:
        """Read the counts of a first response that is waiting, without decoding its rows."""
        if self.detector.total is not None or self.detector.current_pass.pages:
            return
        body = self.queue.peek()
        if body is not None and len(body) <= MAX_INLINE_BYTES:
            meta = decode_meta(body)
            self.detector = self.detector.record_counts(meta.pages, meta.total_count)

    def take_request(self, page_size: int) -> ApiRequest[bytes]:
        """Return the request of the next page, and count it."""
        self.requested += 1
        return self.request.with_params({"page[num]": self.requested, "page[size]": page_size})

    @property
    def position(self) -> ResumePosition | None:
        """The position after the latest page. Page numbers are not stable, so a window is read again."""
        return ResumePosition(day=self.window.start) if self.window else None
