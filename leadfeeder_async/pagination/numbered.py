"""Read numbered pages of one list, or of several date windows in order."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import (
    APIStatusError,
    BadRequestError,
    IncompleteListError,
    IncompleteWindowError,
    LeadfeederError,
    OffsetExceededError,
)
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.pagination.completeness import missing_rows_error
from leadfeeder_async.pagination.country_split import (
    CountryGroup,
    find_country_groups,
    requested_countries,
    with_countries,
)
from leadfeeder_async.pagination.date_range import DateWindow, split_count, split_window
from leadfeeder_async.pagination.day_in_groups import DayInGroups
from leadfeeder_async.pagination.dedupe import SeenIds
from leadfeeder_async.pagination.end_detection import MAX_COUNT, EndDetector, Verdict
from leadfeeder_async.pagination.page import Page, PageDecoder
from leadfeeder_async.pagination.source import MAX_PREFETCHED_BYTES, PagerOptions, PrefetchQueue
from leadfeeder_async.pagination.split_check import RECOUNTS, SplitRange, SplitRanges
from leadfeeder_async.pagination.window_progress import LIMIT_ERRORS, WindowProgress

T = TypeVar("T")

_ONE_ROW = {"page[num]": 1, "page[size]": 1}
"""The parameters of a request that needs only the count of its response."""


class NumberedSource(msgspec.Struct, frozen=True):
    """Requests numbered pages, and prefetches several."""

    executor: RequestExecutor
    request: ApiRequest[bytes]

    def describe(self) -> str:
        """Return an empty string, because a numbered list adds nothing to the description."""
        return ""

    def count_request(self, options: PagerOptions) -> ApiRequest[bytes]:  # noqa: ARG002 - as the other sources
        """Return a request for one row, whose response tells the number of rows."""
        return self.request.with_params(_ONE_ROW)

    def pages(self, decoder: PageDecoder[T], options: PagerOptions) -> AsyncGenerator[Page[T], None]:
        """Yield the pages in order."""
        return NumberedPages(self.executor, self.request, decoder, options, None).pages()


class DateWindowSource(msgspec.Struct, frozen=True):
    """Requests numbered pages of a date range. A range over the row limit is split into smaller ones."""

    executor: RequestExecutor
    request: ApiRequest[bytes]
    """The request without its dates."""
    window: DateWindow
    caller_days: DateWindow | None = None
    """The days that the caller passed, if ``window`` has more days. The server may then reject days after today."""

    def describe(self) -> str:
        """Return the date range."""
        return str(self.window)

    def count_request(self, options: PagerOptions) -> ApiRequest[bytes]:
        """Return a request for one row, whose response tells the number of rows."""
        window = self.remaining(options)
        return self.request.with_dates(window.start, window.end).with_params(_ONE_ROW)

    def pages(self, decoder: PageDecoder[T], options: PagerOptions) -> AsyncGenerator[Page[T], None]:
        """Yield the pages in order."""
        window = self.remaining(options)
        pages = NumberedPages(self.executor, self.request, decoder, options, window, caller_days=self.caller_days)
        return pages.pages()

    def remaining(self, options: PagerOptions) -> DateWindow:
        """Return the part of the date range that begins at the position of ``options``."""
        day = options.position.day
        return self.window if day is None else DateWindow(max(day, self.window.start), self.window.end)


class NumberedPages(Generic[T]):
    """Yields numbered pages in order, with requests in flight for those that follow.

    A window over the row limit is replaced by its parts: shorter windows, or groups of countries for a single day. If
    fewer rows arrive than the server counts, a page without rows reports the gap, and the next window is read.

    Args:
        executor: Executes the requests.
        request: The request without dates and page.
        decoder: Decodes the pages.
        options: The options of the pager.
        window: The date range, or None for a list without dates.
        caller_days: The days that the caller passed, if ``window`` has more days.

    """

    def __init__(
        self,
        executor: RequestExecutor,
        request: ApiRequest[bytes],
        decoder: PageDecoder[T],
        options: PagerOptions,
        window: DateWindow | None,
        *,
        caller_days: DateWindow | None = None,
    ) -> None:
        self._executor = executor
        self._request = request
        self._decoder = decoder
        self._options = options
        self._caller_days = caller_days
        self._requested = 0
        self._total: int | None = None
        self._largest_body = 1
        self._charges = request.endpoint.is_billed
        self._splits = SplitRanges()
        shared = None if request.endpoint.partitioned_by_day or window is None else set[str]()
        self._windows = deque([self._new_progress(window, SeenIds.excluding(options.exclude_ids, shared=shared))])

    async def pages(self) -> AsyncGenerator[Page[T], None]:
        """Yield the pages. Closing the generator cancels the requests in flight."""
        try:
            while self._windows:
                page = await self._next_page(self._windows[0])
                if page is not None:
                    yield page
                del page  # so that the next page can use its memory
                while (gap := await self._splits.next_gap(self._count_window)) is not None:
                    yield self._split_gap_page(*gap)
        finally:
            for progress in self._windows:
                progress.queue.close()

    async def _next_page(self, progress: WindowProgress) -> Page[T] | None:
        if not progress.queue and not progress.can_request():
            return await self._finish(progress)
        try:
            body = await self._next_body(progress)
            self._largest_body = max(self._largest_body, len(body))
            page = await self._decoder.decode(body)
            del body
        except APIStatusError as error:
            if self._leave_out_future_days(progress, error):
                return None
            if not progress.ends_at_rejected_page(error):
                if isinstance(error, LIMIT_ERRORS) and progress.is_limit_error(error):
                    return await self._split(progress, error)
                raise
            page = Page((), Meta())
        # The counts decide whether the window is split before its first page is recorded.
        progress.detector = progress.detector.record_counts(page.meta.pages, page.meta.total_count)
        if self._total is None:
            self._total = progress.detector.total
        if (
            not progress.detector.current_pass.pages
            and progress.may_exceed_limit
            and await self._split_at_once(progress)
        ):
            return None
        return await self._accept(progress, page)

    def _leave_out_future_days(self, progress: WindowProgress, error: APIStatusError) -> bool:
        """Leave out the days after today if the first page of a window was rejected, and return True.

        The day after today is left out last, because the days of the API may be ahead of UTC. Return False if the
        window has no such days, or if the caller passed only later days.
        """
        window, detector = progress.window, progress.detector
        is_first = detector.current_pass.pages == 0 and detector.passes == 1
        if self._caller_days is None or window is None or not is_first or not isinstance(error, BadRequestError):
            return False
        today = self._executor.server_now().date()
        if window.end <= today or self._caller_days.start > today + timedelta(1):
            return False
        self._advance(progress)
        end = min(window.end - timedelta(1), today + timedelta(1))
        if window.start > end:
            self._finish_part(progress, 0)
        else:
            shorter = self._new_progress(DateWindow(window.start, end), progress.seen)
            shorter.split = progress.split
            self._windows.appendleft(shorter)
        return True

    async def _next_body(self, progress: WindowProgress) -> bytes:
        return await progress.queue.next() if progress.queue else await self._executor.execute(self._take(progress))

    async def _accept(self, progress: WindowProgress, page: Page[T]) -> Page[T] | None:
        """Record a page, and return it without rows of earlier pages. Return None if it adds nothing."""
        is_first = progress.detector.passes == 1
        rows_before = progress.detector.rows
        items = await progress.record(page, self._decoder)
        is_repeated = page.row_count > 0 and progress.detector.rows == rows_before
        if progress.detector.verdict is Verdict.RESTART and not progress.is_truncated:
            progress.restart()
        if not self._charges and not progress.detector.can_restart:
            self._charges = True
            for following in self._windows:
                following.detector = replace(following.detector, can_restart=False)
        self._prefetch()
        if not items and (is_repeated or not is_first):
            return None
        errors, undecodable = (page.decode_errors, page.undecodable) if is_first else ((), 0)
        return replace(
            page,
            items=items,
            decode_errors=errors,
            undecodable=undecodable,
            total=self._total,
            window=progress.window,
            position=progress.position,
        )

    async def _finish(self, progress: WindowProgress) -> Page[T] | None:
        """Split a window that the server truncated. Otherwise end it, and report a gap if rows are missing."""
        if progress.is_truncated:
            return await self._split(progress)
        self._advance(progress)
        is_complete = progress.detector.verdict is Verdict.COMPLETE
        if progress.day is not None:
            progress.day.is_truncated |= not is_complete
            return await self._finish_group(progress, progress.day)
        self._finish_part(progress, 0 if is_complete else progress.detector.total)
        if is_complete:
            return None
        return self._gap_page(progress, missing_rows_error(progress.detector, progress.request, progress.rejection))

    async def _finish_group(self, progress: WindowProgress, day: DayInGroups) -> Page[T] | None:
        """Report a gap after the last group if rows of the day are missing."""
        day.groups_left -= 1
        day.without_group -= progress.seen.ids
        if day.groups_left:
            return None
        await self._count_missing(day)
        self._splits.add_part(day.split, day.ids, len(day.ids) if day.is_complete else day.rows, progress.position)
        if day.is_complete:
            return None
        return self._gap_page(progress, _incomplete_window_error(progress, day))

    async def _count_missing(self, day: DayInGroups) -> None:
        """Count the rows without a country that did not arrive.

        The server counts the rows of the day again, and those with a country, because rows may have been added and
        removed since the first counts.
        """
        if day.total is None or day.has_unreliable_count:  # a limited count is still the least that the day should have
            day.missing = max(0, (day.total or 0) - len(day.ids))
            return
        codes = requested_countries(day.request)
        for _ in range(RECOUNTS):
            before = await self._count_rows(day.request)
            with_country = await self._count_rows(day.request, codes)
            after = await self._count_rows(day.request)
            if before is None or with_country is None or after is None:
                day.missing = max(0, day.rows - len(day.ids))
                return
            day.record_counts(before, with_country, after)
            if before == after or not day.missing:
                return

    def _advance(self, progress: WindowProgress) -> None:
        progress.queue.close()
        self._windows.popleft()
        if not self._windows or not self._request.endpoint.partitioned_by_day:
            return
        following = self._windows[0]
        if following.day is None or following.day is not progress.day:
            ids = progress.seen.ids if progress.day is None else progress.day.ids
            following.seen.inherited = (ids, *following.seen.inherited)

    async def _split_at_once(self, progress: WindowProgress) -> bool:
        """Split a window over the row limit before its first page is used. Return False if its pages are read first.

        The pages of a single day are read first if they may have rows without a country, or if the limit of the pager
        needs no other pages.
        """
        total, window = progress.detector.total or 0, progress.window
        if window is None or progress.day is not None:
            return False
        if window.days > 1:
            self._split_window(progress, window, split_count(total, progress.max_search_rows))
            return True
        limit = self._options.limit
        if limit is not None and limit <= progress.max_search_rows:
            return False
        groups = await self._find_groups(progress)
        if progress.has_unreliable_count or sum(group.count for group in groups) < total:
            return False
        progress.queue.close()
        self._windows.popleft()
        self._insert_groups(progress, window, groups)
        return True

    async def _split(self, progress: WindowProgress, error: APIStatusError | None = None) -> Page[T] | None:
        """Replace a window by its parts, or report a gap if it cannot be split."""
        window = progress.window
        if window is None:
            raise error or AssertionError("only windows are split")
        if window.days > 1:
            self._split_window(progress, window, 2)
            return None
        groups = [] if progress.day is not None else await self._find_groups(progress)
        self._advance(progress)
        if groups:
            self._insert_groups(progress, window, groups)
            return None
        if progress.day is None and progress.has_all_rows:
            self._finish_part(progress, 0)
            return None
        if progress.day is not None:
            progress.day.is_truncated |= progress.is_truncated or progress.detector.missing != 0
            return await self._finish_group(progress, progress.day)
        self._finish_part(progress, progress.detector.total)
        return self._gap_page(progress, _incomplete_window_error(progress, None, error))

    def _split_window(self, progress: WindowProgress, window: DateWindow, parts: int) -> None:
        progress.queue.close()
        self._windows.popleft()
        windows = split_window(window, parts)
        ids = None if progress.seen.shared is None else set[str]()
        split = SplitRange(window, windows, progress.detector.total or 0, progress.split, ids)
        for part in reversed(windows):
            following = self._new_progress(part, self._seen_for_part(progress))
            following.split = split
            self._windows.appendleft(following)

    def _finish_part(self, progress: WindowProgress, reported: int | None) -> None:
        """Add a finished window to the split range that contains it.

        Args:
            progress: The window.
            reported: The rows that it should have, if it reports a gap itself. Otherwise 0.
        """
        rows = max(progress.detector.rows, reported or 0)
        self._splits.add_part(progress.split, progress.seen.ids, rows, progress.position)

    def _split_gap_page(self, split: SplitRange, missing: int) -> Page[T]:
        """Return a page that reports that the parts of a range have fewer rows than the range."""
        error = IncompleteListError(
            f"{missing:,} of {split.total:,} rows of {split.window} are missing: the server counts them in this date "
            "range, but neither counts nor returns them in its parts.",
            self._request.endpoint.error_context(),
            hint="The rows so far are valid. Try again later.",
        )
        return Page((), Meta(), self._total, split.window, split.position, partial_errors=(error,))

    async def _count_window(self, window: DateWindow) -> int | None:
        """Return the number of rows of a date range. Return None if it is not reported, and MAX_COUNT if rejected."""
        return await self._count_rows(self._request.with_dates(window.start, window.end), rejected=MAX_COUNT)

    async def _find_groups(self, progress: WindowProgress) -> list[CountryGroup]:
        """Return the groups of countries of a day, or an empty list if it cannot be split by country."""
        if progress.groups is None:
            progress.groups = []
            if self._request.endpoint.split_filter and self._options.split_days:
                codes = requested_countries(progress.request)
                # The last page under the limit must be full, as the server may reject one that crosses it.
                max_search_rows = progress.max_search_rows - progress.max_search_rows % self._options.page_size
                found = await find_country_groups(codes, max_search_rows, partial(self._count_rows, progress.request))
                progress.groups = found or []
                progress.has_unreliable_count = await self._has_unreliable_count(progress, progress.groups)
        return progress.groups

    async def _has_unreliable_count(self, progress: WindowProgress, groups: list[CountryGroup]) -> bool:
        """Return True if the server counts only the rows of a page, or no further than its row limit.

        The groups then have more rows than the day.
        """
        total, counted = progress.detector.total, sum(group.count for group in groups)
        if total is not None and total < progress.detector.rows:  # some servers count the rows of the page
            return True
        may_be_capped = total is not None and total - progress.max_search_rows in {0, 1}  # some count one row further
        if may_be_capped or total is None or total >= counted:
            return may_be_capped
        now = await self._count_rows(progress.request)  # visits may have arrived meanwhile
        return now is None or now < counted

    async def _count_rows(
        self, request: ApiRequest[bytes], codes: tuple[str, ...] = (), *, rejected: int | None = None
    ) -> int | None:
        """Return the number of rows of a request, or None if it is not reported.

        Args:
            request: The request.
            codes: Count only the rows of these countries.
            rejected: The number if the server rejects the count. Defaults to the row limit of a search.
        """
        search = with_countries(request, codes) if codes else request
        try:
            return (await self._executor.fetch_meta(search.with_params(_ONE_ROW))).total_count
        except OffsetExceededError:  # some servers reject any page of a search with too many rows
            return self._executor.max_search_rows if rejected is None else rejected

    def _insert_groups(self, progress: WindowProgress, window: DateWindow, groups: list[CountryGroup]) -> None:
        """Put the groups of a day in front of the windows that follow."""
        day = DayInGroups(
            progress.request,
            progress.detector.total,
            sum(group.count for group in groups),
            progress.seen.ids,
            set(progress.seen.ids),
            progress.has_unreliable_count,
            len(groups),
            progress.split,
        )
        for group in reversed(groups):
            seen = SeenIds(inherited=progress.seen.inherited, shared=day.ids)
            part = self._new_progress(window, seen)
            part.request, part.day = with_countries(part.request, group.codes), day
            self._windows.appendleft(part)

    def _gap_page(self, progress: WindowProgress, error: LeadfeederError) -> Page[T]:
        """Return a page without rows that reports a gap."""
        return Page((), Meta(), self._total, progress.window, progress.position, partial_errors=(error,))

    def _seen_for_part(self, progress: WindowProgress) -> SeenIds:
        if progress.seen.shared is not None:
            return replace(progress.seen, ids=set(), pass_ids=None)
        return SeenIds(inherited=(*progress.seen.inherited, progress.seen.ids))

    def _new_progress(self, window: DateWindow | None, seen: SeenIds) -> WindowProgress:
        request = self._request if window is None else self._request.with_dates(window.start, window.end)
        detector = EndDetector(self._options.page_size, not self._charges)
        queue = PrefetchQueue(self._executor)
        return WindowProgress(request, window, seen, detector, queue, self._executor.max_search_rows)

    def _prefetch(self) -> None:
        """Request the next pages of the windows, in order, if they are known to exist and free."""
        if self._charges or not self._options.prefetch:
            return
        waiting = sum(len(progress.queue) for progress in self._windows)
        prefetch = min(self._options.prefetch, max(1, MAX_PREFETCHED_BYTES // self._largest_body))
        for progress in self._windows:
            progress.peek_total()
            while progress.can_request() and waiting < prefetch:
                wanted = self._options.pages_wanted
                if wanted is not None and self._requested >= wanted:
                    return
                progress.queue.start(self._take(progress))
                waiting += 1

    def _take(self, progress: WindowProgress) -> ApiRequest[bytes]:
        """Return the request of the next page that was not requested yet."""
        self._requested += 1
        return progress.take_request(self._options.page_size)


def _incomplete_window_error(
    progress: WindowProgress, day: DayInGroups | None, error: APIStatusError | None = None
) -> IncompleteWindowError:
    """Return the error for a day that contains more rows than the API returns."""
    if day is None:
        rows, total = progress.detector.rows, progress.detector.total
        total = None if total is not None and total < rows else total  # then it counts a page and not the day
        is_known = total not in {None, progress.max_search_rows}
    else:
        rows, total = len(day.ids), day.rows
        is_known = total > rows
    verb = "contains" if is_known else "may contain"
    of_total = f" of {total:,}" if total and is_known else ""
    missing = f", {total - rows:,} are missing" if total and total > rows else ""
    return IncompleteWindowError(
        f"{progress.window} {verb} more rows than the API returns: {rows:,}{of_total} were returned{missing}.",
        error.context if error else progress.request.endpoint.error_context(),
    )
