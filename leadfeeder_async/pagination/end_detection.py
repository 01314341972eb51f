"""The end of a list of numbered pages: a pure decision."""

from __future__ import annotations

import msgspec

MAX_REPEATED_PAGES = 3
"""Consecutive pages with the same first row after which the server is considered to ignore the page number."""

MAX_EMPTY_PAGES = 50
"""Consecutive pages without readable rows that are considered a loop."""


class PageFacts(msgspec.Struct, frozen=True):
    """The facts about one page that decide whether more pages follow."""

    row_count: int
    """Rows that arrived, including those that cannot be decoded."""
    first_id: str
    """The id of the first readable row, or an empty string."""
    total_count: int | None
    """The number of rows that the server reports."""
    page_count: int | None
    """The number of pages that the server reports."""


class EndDetector(msgspec.Struct, frozen=True):
    """Decides from the pages so far whether more pages follow. ``record_page`` returns the next state.

    ==========================  ========================  ============================================
    page                        reported by the server    decision
    ==========================  ========================  ============================================
    full                        no counts                 continue
    not full                    no page count             end, unless rows arrived and some are missing
    before the last page        a page count              continue
    last page, full             rows missing, no total    continue
    last page                   otherwise                 end
    same first row as before    fewer times than limit    as above
    same first row as before    limit reached             end, or stalled if rows are missing
    empty last page             a page of rows missing    stalled
    ==========================  ========================  ============================================

    Rows are missing if the server reported more rows than it returned. Totals alone never end a list.
    """

    page_size: int
    max_rows: int
    """The most rows that the API returns."""
    pages: int = 0
    rows: int = 0
    last_page: int | None = None
    """The number of the last page, once the server reported it."""
    total: int | None = None
    """The highest number of rows that the server reported."""
    last_total: int | None = None
    """The number of rows that the server reported last."""
    first_id: str | None = None
    """The first row of the latest page."""
    repeated_pages: int = 0
    """Consecutive pages that begin with the same row as the one before."""
    repeated_rows: int = 0
    """The rows of those pages."""
    ended: bool = False
    stalled: bool = False
    """True if the server reported more rows, but repeats a page or returns none, although the last rows filled one."""

    def record_counts(self, page_count: int | None, total_count: int | None) -> EndDetector:
        """Return the state after the server reported how many pages and rows there are."""
        detector = self
        if page_count is not None:
            detector = msgspec.structs.replace(detector, last_page=max(page_count, detector.last_page or 1))
        if total_count is not None:
            total = max(total_count, detector.total or 0)
            detector = msgspec.structs.replace(detector, last_total=total_count, total=total)
        return detector

    def record_page(self, page: PageFacts) -> EndDetector:
        """Return the state after a received page."""
        is_repeated = page.first_id == self.first_id
        detector = msgspec.structs.replace(
            self.record_counts(page.page_count, page.total_count),
            pages=self.pages + 1,
            rows=self.rows + page.row_count,
            first_id=page.first_id,
            repeated_pages=self.repeated_pages + 1 if is_repeated else 0,
            repeated_rows=self.repeated_rows + page.row_count if is_repeated and page.first_id else 0,
        )
        return detector._decide(page)  # noqa: SLF001 - the same class

    @property
    def missing(self) -> int:
        """The number of reported rows that did not arrive."""
        return 0 if self.last_total is None else max(0, self.last_total - self.rows + self.repeated_rows)

    @property
    def is_done(self) -> bool:
        """True if no further page follows."""
        return self.ended or (self.last_page is not None and self.pages >= self.last_page)

    def end(self) -> EndDetector:
        """Return the state in which the latest page is the last one."""
        return msgspec.structs.replace(self, ended=True, last_page=self.pages)

    def _decide(self, page: PageFacts) -> EndDetector:
        detector, missing, is_full = self, self.missing, page.row_count >= self.page_size
        if self.repeated_pages >= self._repeat_limit(page):
            detector = msgspec.structs.replace(self.end(), stalled=missing > 0)
        elif self.last_page is None:
            if not (is_full or (page.row_count and missing)):
                detector = msgspec.structs.replace(self, ended=True)
        elif self.pages == self.last_page and is_full and (missing or self.last_total is None):
            detector = msgspec.structs.replace(self, last_page=self.last_page + 1)
        if detector.is_done and not page.row_count and self.rows % self.page_size == 0 and missing >= self.page_size:
            detector = msgspec.structs.replace(detector, stalled=True)
        return detector

    def _repeat_limit(self, page: PageFacts) -> int:
        """Return how many repeated pages end the list. Pages without readable rows get a higher limit."""
        is_conclusive = page.first_id or not (page.row_count or self.missing)
        return MAX_REPEATED_PAGES if is_conclusive else MAX_EMPTY_PAGES

    @property
    def is_truncated(self) -> bool:
        """True if the server stopped at its row limit although it reported, or may have, more rows.

        A total equal to the limit is not conclusive, because some servers count no further.
        """
        if self.rows + self.page_size <= self.max_rows:
            return False
        if self.total in {None, self.max_rows}:
            return self.rows % self.page_size == 0
        return self.rows < (self.total or 0)

    @property
    def has_shrunk(self) -> bool:
        """True if a page is missing because the list became shorter while it was read."""
        return self.last_total not in {None, self.max_rows} and self.pages > 0 and self.rows >= (self.last_total or 0)

    @property
    def exceeds_limit(self) -> bool:
        """True if the list has, or may have, more rows than the API returns."""
        return self.total is not None and self.total >= self.max_rows
