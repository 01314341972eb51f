"""Decide from the pages so far whether a list has ended, and whether it is complete.

If the server reports a trustworthy count, a list is complete only if at least as many distinct rows arrived. A count of
zero, a negative count, a missing count and a count of more than a billion are not trustworthy.
"""

from __future__ import annotations

from enum import Enum

import msgspec
from msgspec.structs import replace

MAX_PAGES_WITHOUT_NEW_ROWS = 3
"""Consecutive pages without rows new to the pass after which it ends, if no further page is known to exist."""

MAX_KNOWN_PAGES_WITHOUT_NEW_ROWS = 50
"""The same limit if further pages should exist by the server's counts."""

MAX_PASSES = 6
"""Passes over one list after which missing rows are not requested again. An expired cursor begins further ones."""

MAX_PASSES_WITHOUT_NEW_ROWS = 2
"""Consecutive passes without new rows after which no further pass is made."""


COMMON_PAGE_LIMITS = frozenset({10, 20, 25, 50})
"""Sizes to which servers often limit a page, although a larger one was requested."""

MAX_COUNT = 1_000_000_000
"""Higher counts are not trustworthy."""


class Verdict(Enum):
    """What to do after a page."""

    CONTINUE = "request the next page"
    RESTART = "request the pages again from the first, because rows are missing"
    COMPLETE = "end: the list is complete"
    INCOMPLETE = "end: rows are missing"


class PageFacts(msgspec.Struct, frozen=True):
    """The facts about one page that decide whether more pages follow."""

    row_count: int
    """Rows that arrived, including those that cannot be decoded."""
    new_rows: int
    """Rows that no earlier page contained."""
    new_to_pass: int | None = None
    """Rows that no earlier page of this pass contained. Defaults to the new rows, as in a first pass."""
    repeated_rows: int = 0
    """Rows that an earlier page of this pass contained."""
    total_count: int | None = None
    """The number of rows that the server reports."""
    page_count: int | None = None
    """The number of pages that the server reports."""
    is_last: bool = False
    """True if no further page can be requested, for example because the response has no cursor."""
    next_page: str | None = None
    """The cursor or link of the next page, if the response names one."""
    has_cursor: bool = False
    """True if the response contains a cursor."""
    has_new_ids: bool = True
    """True if some of the new rows have an id, so that they are known to be new."""
    is_charged: bool = False
    """True if the page charged credits."""


class PassState(msgspec.Struct, frozen=True):
    """The pages of one pass over a list so far."""

    pages: int = 0
    rows: int = 0
    """Distinct rows that arrived in this pass."""
    received: int = 0
    """The rows of those pages that had rows new to this pass, including their repeated rows."""
    new_rows: int = 0
    """Rows that no earlier pass contained."""
    fall: int = 0
    """The rows by which the count fell."""
    rise: int = 0
    """The rows by which the count rose."""
    has_count: bool = False
    """True if a page of this pass reported a trustworthy count."""
    latest_rows: int | None = None
    """The rows of the latest page."""
    has_empty_page: bool = False
    """True if a page had no rows, although a later one had."""
    has_repeated_page: bool = False
    """True if a page had only rows of earlier ones, although a later page had rows new to this pass."""
    overlaps: int = 0
    """The pages that had rows of earlier ones beside new rows."""
    latest_overlap: int = 0
    """The rows of earlier pages that the latest page had."""
    largest_overlap: int = 0
    """The most rows of earlier pages that a page had, although a later page had rows new to this pass."""
    has_short_page: bool = False
    """True if a page had rows, but was not full, although it was not the last one."""
    pages_without_new_rows: int = 0
    """Consecutive pages without rows new to this pass."""

    @property
    def has_page_without_rows(self) -> bool:
        """True if a page that was empty, or only repeated rows, came before other rows."""
        return self.has_empty_page or self.has_repeated_page

    @property
    def has_overlap(self) -> bool:
        """True if rows moved to another page, because others were added or because the order is not stable.

        False if each page repeats one row, the last one of the page before, or if only the last page repeats rows.
        """
        is_regular = self.largest_overlap == 1 and self.overlaps >= self.pages - self.pages_without_new_rows - 1
        return self.largest_overlap > 0 and not is_regular

    @property
    def latest_is_repeated(self) -> bool:
        """True if the latest page had only rows of earlier ones."""
        return self.pages_without_new_rows > 0 and self.latest_rows != 0

    def record(self, page: PageFacts, largest_page: int) -> PassState:
        """Return the state after a received page. ``largest_page`` is the number of rows of the largest page so far."""
        new_to_pass = page.new_rows if page.new_to_pass is None else page.new_to_pass
        return replace(
            self,
            pages=self.pages + 1,
            rows=self.rows + new_to_pass,
            received=self.received + (page.row_count if new_to_pass else 0),
            new_rows=self.new_rows + page.new_rows,
            latest_rows=page.row_count,
            has_empty_page=self.has_empty_page or (self.latest_rows == 0 and page.row_count > 0),
            has_repeated_page=self.has_repeated_page or (self.latest_is_repeated and new_to_pass > 0),
            overlaps=self.overlaps + (new_to_pass > 0 and page.repeated_rows > 0),
            latest_overlap=page.repeated_rows,
            largest_overlap=max(self.largest_overlap, self.latest_overlap if new_to_pass else 0),
            has_short_page=self.has_short_page or 0 < (self.latest_rows or 0) < largest_page,
            pages_without_new_rows=0 if new_to_pass else self.pages_without_new_rows + 1,
        )


class EndDetector(msgspec.Struct, frozen=True):
    """Decides from the pages so far whether more pages follow. ``record`` returns the next state.

    ``missing`` is the last trustworthy count minus the distinct rows that arrived, or unknown without such a count.
    The first line that describes a page applies. A list with cursors continues until a response has no cursor. The
    caller ends it earlier if cursors repeat or are rejected.

    ===========  =================================================================  ===============================
    missing      page                                                               verdict
    ===========  =================================================================  ===============================
    unknown      with rows, the last that can be requested, although the response   INCOMPLETE
                 names another page
    unknown      the last that can be requested, or without new rows several        COMPLETE
                 times. Once is enough if no page was as large as requested, unless
                 more pages are reported or named
    unknown      full, or not the last of the reported pages, or if the response    CONTINUE
                 names another page
    unknown      any other                                                          COMPLETE
    above zero   the last that can be requested, the last of a later pass, or       RESTART if reading again is
                 without new rows several times                                     free and passes are left,
                                                                                    otherwise INCOMPLETE
    above zero   any other                                                          CONTINUE
    zero         the only one that can be requested, of a common size, although     INCOMPLETE
                 the response names another page
    zero         the last that can be requested, or of a later pass                 COMPLETE
    zero         with no more rows than one page has, or after the count changed,   CONTINUE
                 if more pages are reported or named: the count may be that of the
                 page, or of the rows so far
    zero         of a free list, full with new rows, and neither the last of the    CONTINUE
                 reported pages nor a first page of another than a common size: the
                 count may be that of the page
    zero         any other                                                          COMPLETE
    below zero   with rows, the last that can be requested, although the response   INCOMPLETE
                 names another page
    below zero   without new rows, unless more pages are reported or named          COMPLETE
    below zero   any other, because the count is that of the page or is outdated    as without a count
    ===========  =================================================================  ===============================

    A page is full if it has as many rows as the largest page so far. Common sizes are the requested one, 10, 20, 25 and
    50. A list continues to a named page only if the response names another one than the response before, and reports no
    number of pages or is full and of a common size. Its new rows, if any, must have ids. A list that turns out to
    charge is not free. At most six passes are made, and none after two without new rows. A later pass has
    as many pages as the first one and the rows that were added meanwhile. Without a count, or if the count fell in an
    earlier pass, it reads all of them.

    In these cases, the verdict is not COMPLETE. RESTART always requires a free list and passes that are left. Otherwise
    it is INCOMPLETE.

    - If the count fell during a pass, rows may have moved to a page that was already read. The verdict is RESTART until
      a pass without another fall contains as many rows as the count. It is INCOMPLETE if the last pass lacks more rows
      than were added and removed during it, or any row if an empty page came before other rows.
    - Without a count, or below zero, the verdict is RESTART if an empty or repeated page came before new rows or before
      the last reported page, or was that page although all others were full. The same applies if a page without a
      cursor had rows of earlier pages beside new ones, because rows may have moved to a page that was already read.
    - In the same case, it is INCOMPLETE if the rows of an empty or repeated page before the last one never arrive,
      although all others are full. If one of them is not full, the server may filter rows after it made the pages.
    - Without a count, or below zero, the verdict is INCOMPLETE if all pages repeat the first one and the response has a
      cursor.
    - Without a count, or below zero, the verdict is RESTART if all pages repeat the first one and the response reports
      several pages of a common size. It is INCOMPLETE after the last pass.
    """

    page_size: int
    """The rows per page that were requested. The server may return fewer."""
    can_restart: bool
    """True if reading the list again charges nothing."""
    is_cursor_list: bool = False
    """True for a list with cursors, in which each response shows whether a page follows."""
    current_pass: PassState = PassState()
    rows: int = 0
    """Distinct rows that arrived, in all passes."""
    largest_page: int = 0
    """The rows of the largest page so far."""
    last_page: int | None = None
    """The number of the last page, as the server reports it."""
    total: int | None = None
    """The last trustworthy count."""
    latest_next: str | None = None
    """The cursor or link to another page that the latest page named. A server may name the same one on each page."""
    count_fell_before: bool = False
    """True if the count fell during an earlier pass."""
    passes: int = 1
    first_pass_pages: int = 0
    """The pages of the first pass up to the last one with new rows, or up to the last known one that it read."""
    first_total: int = 0
    """The count at the end of the first pass."""
    passes_without_new_rows: int = 0
    """Consecutive earlier passes without new rows."""
    verdict: Verdict = Verdict.CONTINUE

    @property
    def missing(self) -> int | None:
        """The number of counted rows that did not arrive, or None without a trustworthy count."""
        return None if self.total is None else self.total - self.rows

    @property
    def lacks_rows(self) -> bool:
        """True if fewer rows arrived than the server counts."""
        return self.missing is not None and self.missing > 0

    @property
    def has_counted_rows(self) -> bool:
        """True if as many rows arrived as the server counts, on several pages of a pass in which the count is steady.

        If the count fell before, the pass must contain all of these rows itself.
        """
        current = self.current_pass
        rows = current.rows if self.count_fell_before else self.rows
        is_steady = not current.rise and not current.fall and (current.has_count or self.passes == 1)
        return is_steady and rows == self.total and current.pages > 0 and rows > self.largest_page

    @property
    def has_usable_count(self) -> bool:
        """True with a trustworthy count, unless more rows arrived. It is then that of a page, or outdated."""
        return self.missing is not None and self.missing >= 0

    @property
    def may_lack_rows(self) -> bool:
        """True if counted rows did not arrive, or if the count fell, so that rows may have moved to earlier pages."""
        return self.lacks_rows or self.current_pass.fall > 0 or self.missing_in_pass > 0

    @property
    def can_begin_pass(self) -> bool:
        """True if reading the list again is free, and passes are left after this one."""
        without_new_rows = self.passes_without_new_rows + (self.passes > 1 and not self.current_pass.new_rows)
        return self.can_restart and self.passes < MAX_PASSES and without_new_rows < MAX_PASSES_WITHOUT_NEW_ROWS

    @property
    def missing_in_pass(self) -> int:
        """The number of counted rows that did not arrive in this pass, or 0 if no earlier pass had a falling count."""
        return (self.total or 0) - self.current_pass.rows if self.count_fell_before else 0

    @property
    def lacks_page(self) -> bool:
        """True if a list without a count has an empty or repeated page between full ones, whose rows never arrived."""
        current = self.current_pass
        if self.has_usable_count or not current.has_page_without_rows or current.has_short_page:
            return False
        return self.rows <= ((self.last_page or 0) - 1) * self.largest_page

    @property
    def latest_is_small(self) -> bool:
        """True if the latest page is not full, or has neither the requested size nor a common one."""
        rows = self.current_pass.latest_rows or 0
        return rows < self.largest_page or (rows < self.page_size and rows not in COMMON_PAGE_LIMITS)

    @property
    def known_pages(self) -> int:
        """The number of pages that are known to exist."""
        if self.passes > 1 and self.total is None:
            return max(self.first_pass_pages, self.last_page or 0)
        if self.passes > 1:
            added = max(0, (self.total or 0) - self.first_total)
            return self.first_pass_pages + -(-added // max(1, self.largest_page))
        if self.total and self.largest_page:
            return -(-self.total // self.largest_page)
        return self.last_page or 1

    def record_counts(self, page_count: int | None, total_count: int | None) -> EndDetector:
        """Return the state after the server reported how many pages and rows there are."""
        last_page = self.last_page if page_count is None or page_count <= 0 else page_count
        if total_count is None or not 0 < total_count <= MAX_COUNT:
            return self if last_page == self.last_page else replace(self, last_page=last_page)
        current = self.current_pass if self.current_pass.has_count else replace(self.current_pass, has_count=True)
        if total_count == self.total:
            is_same = last_page == self.last_page and current is self.current_pass
            return self if is_same else replace(self, last_page=last_page, current_pass=current)
        # Later passes also have rows that were removed meanwhile.
        is_count_of_page = self.passes == 1 and not self.has_usable_count
        change = 0 if is_count_of_page or self.total is None else total_count - self.total
        if self.total is None and current.pages:  # the first page had no count, or a count of zero
            change = total_count
        current = replace(current, fall=current.fall + max(0, -change), rise=current.rise + max(0, change))
        return replace(self, last_page=last_page, total=total_count, current_pass=current)

    def record(self, page: PageFacts) -> EndDetector:
        """Return the state after a received page."""
        counted = self.record_counts(page.page_count, page.total_count)
        detector = replace(
            counted,
            can_restart=self.can_restart and not page.is_charged,
            current_pass=counted.current_pass.record(page, self.largest_page),
            rows=self.rows + page.new_rows,
            largest_page=max(self.largest_page, page.row_count),
        )
        verdict = detector._decide(page)  # noqa: SLF001 - the same class
        return replace(detector, latest_next=page.next_page, verdict=verdict)

    def restarted(self) -> EndDetector:
        """Return the state at the start of another pass."""
        ended = self.current_pass
        pages_to_repeat = max(ended.pages - ended.pages_without_new_rows, self.known_pages)
        return replace(
            self,
            current_pass=PassState(),
            count_fell_before=self.count_fell_before or ended.fall > 0,
            passes=self.passes + 1,
            first_pass_pages=self.first_pass_pages or min(ended.pages, pages_to_repeat),
            first_total=self.first_total or self.total or 0,
            passes_without_new_rows=0 if ended.new_rows else self.passes_without_new_rows + 1,
            verdict=Verdict.CONTINUE,
        )

    def _decide(self, page: PageFacts) -> Verdict:
        if self._pass_continues(page):
            return Verdict.CONTINUE
        repeats_first_page = page.row_count > 0 and self._repeats_first_page(page)
        ignores_page_numbers = repeats_first_page and page.has_cursor
        if page.row_count > 0 and (self._names_unreachable_page(page) or ignores_page_numbers):
            return Verdict.INCOMPLETE
        current = self.current_pass
        may_lack_page = repeats_first_page or (not self.has_usable_count and self._has_bad_page)
        if not (self.may_lack_rows or may_lack_page):
            return Verdict.COMPLETE
        if self.can_begin_pass:
            return Verdict.RESTART
        # Each added or removed row may explain one row that this pass does not contain, but not an empty page.
        explained = 0 if current.has_empty_page else current.fall + current.rise
        is_refuted = self.missing_in_pass > explained or self.lacks_page or repeats_first_page
        return Verdict.INCOMPLETE if self.lacks_rows or is_refuted else Verdict.COMPLETE

    @property
    def _has_bad_page(self) -> bool:
        """True if a page of this pass was empty, repeated or overlapping, so that rows may be missing."""
        current, last_page = self.current_pass, self.last_page or 0
        # Rows that change may move behind the cursor, so that they come again.
        if current.has_page_without_rows or (current.has_overlap and not self.is_cursor_list):
            return True
        # The last reported page may also be one too many, so it only counts if all others are full.
        pages_with_new_rows = current.pages - current.pages_without_new_rows
        lacks_last = last_page > 1 and pages_with_new_rows < last_page and not current.has_short_page
        ends_early = current.pages < last_page or lacks_last
        return ends_early and (current.latest_rows == 0 or current.latest_is_repeated)

    def _names_unreachable_page(self, page: PageFacts) -> bool:
        """Return True if the response names another page, and this is the last one that can be requested."""
        if not page.is_last or page.next_page is None or self.lacks_rows:
            return False
        is_more_than_a_page = self.current_pass.pages > 1 or self.rows > self.page_size
        ends_list = self.latest_is_small or is_more_than_a_page or self.last_page == self.current_pass.pages
        return not (self.missing == 0 and ends_list)

    def _repeats_first_page(self, page: PageFacts) -> bool:
        """Return True if each page was the first one again, although more should exist.

        A server that ignores page numbers does so. Others may repeat the last page.
        """
        if page.is_last or self.has_usable_count:
            return False
        has_more = page.has_cursor or ((self.last_page or 0) > 1 and not self.latest_is_small)
        return has_more and 0 < self.current_pass.pages_without_new_rows == self.current_pass.pages - 1

    def _may_count_page(self, page: PageFacts) -> bool:
        """Return True if the count may be only that of the page.

        Without a reported number of pages, a first page must have a common size.
        """
        if page.row_count >= self.page_size:
            return self.current_pass.pages != self.last_page
        if self.last_page is None:
            return self.current_pass.pages > 1 or page.row_count in COMMON_PAGE_LIMITS
        return self.current_pass.pages < self.last_page

    def _pass_continues(self, page: PageFacts) -> bool:
        if page.is_last or self.is_cursor_list:
            return not page.is_last
        # Without a count, empty pages show that a reported number of pages is too high.
        is_known = self.current_pass.pages < self.known_pages and (self.total is not None or page.row_count > 0)
        if self.current_pass.pages_without_new_rows >= (
            MAX_KNOWN_PAGES_WITHOUT_NEW_ROWS if is_known else MAX_PAGES_WITHOUT_NEW_ROWS
        ):
            return False
        is_full = page.row_count >= self.largest_page > 0
        if self.passes > 1:
            return self.current_pass.pages < self.known_pages and (self.count_fell_before or self.missing != 0)
        if not self.has_usable_count:
            return self._continues_without_count(page, is_full=is_full)
        # The count may be that of the page, or of the rows so far.
        if self.missing != 0 or (not self.has_counted_rows and self._has_more_pages(page)):
            return True
        return page.new_rows > 0 and self.can_restart and is_full and self._may_count_page(page)

    def _has_more_pages(self, page: PageFacts) -> bool:
        """Return True if the server reports more pages, or names another one that it does not count.

        A reported number of pages is believed after a page that is not full. Some servers always name another page.
        """
        if self.last_page is not None and (self.current_pass.pages < self.last_page or self.latest_is_small):
            return self.current_pass.pages < self.last_page
        return page.next_page not in {None, self.latest_next} and (page.has_new_ids or not page.new_rows)

    def _continues_without_count(self, page: PageFacts, *, is_full: bool) -> bool:
        is_early = not page.new_rows and self._has_more_pages(page)
        if self.largest_page < self.page_size and self.current_pass.pages_without_new_rows and not is_early:
            return False  # the first page was short, and the next one brought nothing: the list was complete
        if self.missing is not None and not page.new_rows and not is_early:
            return False  # the list was complete, although its count is too low
        return (is_full and page.row_count > 0) or self._has_more_pages(page)
