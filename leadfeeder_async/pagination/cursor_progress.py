"""The progress of reading a list by cursors: its rows so far, and whether it ends, continues or is read again."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from typing import TypeVar

from msgspec.structs import replace

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async.errors import (
    APIStatusError,
    CursorExpiredError,
    CursorLoopError,
    IncompleteListError,
    LeadfeederError,
    PaginationError,
)
from leadfeeder_async.models.envelope import MAX_URL_CHARS
from leadfeeder_async.pagination.completeness import filter_new, missing_rows_error, page_facts
from leadfeeder_async.pagination.dedupe import SeenIds
from leadfeeder_async.pagination.end_detection import EndDetector, PassState, Verdict
from leadfeeder_async.pagination.page import Page, PageDecoder, ResumePosition
from leadfeeder_async.pagination.source import PagerOptions

T = TypeVar("T")

EXPIRED_CURSOR_STATUSES = frozenset({400, 404, 409, 410, 416, 422})
"""The statuses with which a server may reject a cursor that has expired."""

MAX_PAGES_AFTER_END = 2
"""Consecutive pages without new rows after which a list ends if all counted rows arrived."""

MAX_LOOP_PAGES = 50
"""Consecutive pages without new rows, each with a new cursor, that are considered a loop."""

MAX_SHORT_LOOP_PAGES = 3
"""The limit in place of ``MAX_LOOP_PAGES`` for pages that charge, and in a pass that is longer than the first one."""

MAX_CURSOR_HASHES = 1_000
"""The most cursors of a list that may charge whose hashes its position contains."""


class CursorProgress:
    """The rows and cursors of one cursor list so far.

    Args:
        request: The request of the first page.
        options: The options of the pager.
        max_search_rows: The number of rows at which a server may stop counting.

    """

    def __init__(self, request: ApiRequest[bytes], options: PagerOptions, max_search_rows: int) -> None:
        self._request = request
        self._max_search_rows = max_search_rows
        self._pages_wanted = options.pages_wanted
        position, self._excluded = options.position, options.exclude_ids
        self._resumes = position.cursor is not None
        # In a resumed list, the excluded ids count as rows that arrived. In a list from its start they do not, because
        # the server sends them again.
        self._seen = SeenIds.excluding(self._excluded, is_same_list=self._resumes)
        self._cursors = {position.cursor} if position.cursor is not None else set[str]()
        self._cursor_hashes = dict.fromkeys(position.cursor_hashes)
        self._rejections = 0
        self._unidentified = 0
        """The number of rows without an id."""
        self._pages = 0
        self._has_new_rows = False
        """True if a row arrived in this run that no page before had, also if it is excluded."""
        self._made_progress = False
        self._has_looped = False
        """True if a pass from the start ended with ``end_error``, so that its length is known."""
        self.is_free = not (request.endpoint.is_billed or position.may_charge)
        """True if reading the list again charges nothing."""
        self.end_error: PaginationError | None = None
        """The error at which no further page can be requested: a loop, or a cursor that is too long."""
        rows = position.rows if self._resumes else 0
        if rows is None and self._excluded:
            rows = len(self._excluded)
        self._is_comparable = rows is not None
        """True if the rows so far can be compared with the server's count."""
        rows = rows or 0
        self._highest_total = position.total if self._resumes else None
        self._knows_ids = not self._resumes or bool(self._excluded) or position.rows == 0
        """True if the rows before the position are recognized. If not, they would be returned again."""
        self._skips_rows = position.skips_rows if self._resumes else bool(self._excluded)
        """True if rows after the position may be excluded, because an earlier run returned them."""
        self.detector: EndDetector = EndDetector(
            options.page_size,
            self.is_free and self._knows_ids,
            is_cursor_list=True,
            rows=rows,
            current_pass=PassState(rows=rows, fall=position.fall if self._resumes else 0),
            total=self._highest_total if self._is_comparable else None,
        )
        self._rows_before = rows
        self._processed_rows = _ProcessedRows(self._excluded, position, rows) if self._resumes else None
        self._last_id = position.last_id
        self._was_complete = self._resumes and position.has_all_rows
        """True if the list had all counted rows at the position, until new rows arrive or the count changes."""

    @property
    def has_ended(self) -> bool:
        """True if the list requests no further page."""
        return self.end_error is not None or self.detector.verdict in {Verdict.COMPLETE, Verdict.INCOMPLETE}

    def position(self, cursor: str | None) -> ResumePosition:
        """Return the position before a cursor. In a later pass, it counts the rows of this pass."""
        detector = self.detector
        rows = detector.rows if detector.passes == 1 else detector.current_pass.rows + self._unidentified
        return ResumePosition(
            cursor=cursor,
            ended=detector.verdict is Verdict.COMPLETE or (self.has_ended and not self.is_free),
            total=self._highest_total,
            fall=detector.current_pass.fall,
            rows=rows if self._is_comparable else None,
            last_id=self._last_id,
            skips_rows=self._skips_rows or detector.passes > 1,
            has_all_rows=self._has_all_rows,
            may_charge=not self.is_free,
            cursor_hashes=tuple(self._cursor_hashes),
        )

    @property
    def _has_all_rows(self) -> bool:
        """True if all counted rows arrived, in this run or before its position.

        False at the row limit, because some servers count no further, and if rows may be counted twice.
        """
        has_counted_rows = self._knows_ids and self._has_new_rows and self.detector.has_counted_rows
        return (self._was_complete or has_counted_rows) and (self.detector.total or 0) < self._max_search_rows

    @property
    def wants_more(self) -> bool:
        """True unless the limit of the pager is reached."""
        return self._pages_wanted is None or self._pages < self._pages_wanted

    async def record(self, page: Page[T], decoder: PageDecoder[T], cursor: str | None) -> Page[T]:
        """Record a page, and return it with its new rows, and with the error that ends the list, if any.

        In a later pass, rows that cannot be decoded are left out, because the first pass reported them. After a
        rejected cursor, they are reported again.

        Args:
            page: The page.
            decoder: Finds the ids of its rows.
            cursor: The cursor of the next page, or None.

        Raises:
            CursorExpiredError: After a rejected cursor, a row has no id, so that it may have been returned before.
        """
        new = await filter_new(self._seen, page, decoder)
        self._unidentified += new.unidentified
        if self._rejections and self._unidentified:
            raise self._expired_error("The server rejected the cursor of the next page")
        facts = page_facts(page, new, self.detector, is_last=cursor is None)
        if not self._is_comparable:
            facts = replace(facts, total_count=None)
        elif self._processed_rows is not None and page.items:
            rows = self._processed_rows.count(decoder.row_ids(page.items), facts.new_rows, is_free=self.is_free)
            facts = replace(facts, new_rows=rows, new_to_pass=rows)
        self._pages += 1
        self.is_free &= not facts.is_charged
        self._last_id = next(filter(None, decoder.row_ids(page.items[-1:])), self._last_id)
        self.detector = self.detector.record(facts)
        if self.detector.total is not None:
            self._highest_total = max(self._highest_total or 0, self.detector.total)
        if facts.new_rows > 0:
            self._made_progress = self._has_new_rows = True
        self._was_complete &= self.detector.missing == 0 and not facts.new_rows
        self._end_loop(cursor, is_charged=facts.is_charged)
        page = replace(page, items=new.rows)
        # A rejected cursor ends a pass early, so the next pass has errors that were not reported.
        if self.detector.passes > 1 and not self._rejections:
            page = replace(page, decode_errors=(), undecodable=0)
        error = self._final_error()
        return page if error is None else replace(page, partial_errors=(*page.partial_errors, error))

    def _end_loop(self, cursor: str | None, *, is_charged: bool) -> None:
        """End the list or begin another pass if no further cursor is likely to bring rows."""
        detector, self.end_error = self.detector, self._record_cursor(cursor, is_charged=is_charged)
        is_stuck = detector.current_pass.pages_without_new_rows >= MAX_PAGES_AFTER_END
        if self._has_all_rows and (self.end_error is not None or is_stuck):
            self.end_error, self.detector = None, replace(detector, verdict=Verdict.COMPLETE)
        elif (
            self.end_error is not None
            and (detector.may_lack_rows or detector.current_pass.rise)
            and detector.can_begin_pass
        ):
            self._has_looped |= not self._resumes
            self.end_error, self.detector = None, replace(detector, verdict=Verdict.RESTART)

    def _final_error(self) -> LeadfeederError | None:
        """Return the error to report with the page at which the list ends, or None."""
        if self.end_error is not None:
            return None if self.is_free else self.end_error  # that of a free list is raised
        is_incomplete = self.detector.verdict is Verdict.INCOMPLETE
        return missing_rows_error(self.detector, self._request) if is_incomplete else None

    def restart(self) -> None:
        """Begin another pass over the list, after which all of its rows are known.

        If the list began at a position, the rows before it come again, and all rows are counted anew.
        """
        self.detector = self.detector.restarted()
        if self._resumes:
            self._resumes, self._processed_rows = False, None
            self._is_comparable = self._knows_ids = True
            without_id = max(0, self._rows_before - len(self._excluded)) if self._excluded else 0
            self.detector = replace(self.detector, rows=without_id + self._unidentified, can_restart=self.is_free)
            self._seen = SeenIds(inherited=(self._seen.ids,))
        self._highest_total = self.detector.total
        self._seen.start_pass()
        self._cursors.clear()

    def record_rejection(self, cursor: str | None, error: APIStatusError) -> None:
        """End the list if all counted rows arrived. Otherwise, begin another pass.

        Raises:
            APIStatusError: The first page was rejected, or the status is not that of an expired cursor.
            CursorExpiredError: Another pass may charge, the pass before brought no new rows, or a row has no id.
        """
        if cursor is None or error.status not in EXPIRED_CURSOR_STATUSES:
            raise error
        if self._has_all_rows:
            self.detector = replace(self.detector, verdict=Verdict.COMPLETE)
            return
        is_stuck = self._rejections > 0 and not self._made_progress
        if not self.is_free or is_stuck or self._unidentified:
            raise self._expired_error(
                f"The server rejected the cursor of the next page: {error.message}", error
            ) from error
        self._rejections += 1
        self._made_progress = False
        self.restart()

    def _expired_error(self, message: str, error: APIStatusError | None = None) -> CursorExpiredError:
        context = self._request.endpoint.error_context() if error is None else error.context
        if self._unidentified:
            message = f"{message.rstrip('.')}. Some rows have no id, so reading the list again would repeat them."
        return CursorExpiredError(message, context)

    def _record_cursor(self, cursor: str | None, *, is_charged: bool) -> PaginationError | None:
        """Record the cursor of the next page, and return an error if it should not be requested."""
        context = self._request.endpoint.error_context()
        if cursor is None:
            return None
        if len(cursor) > MAX_URL_CHARS:
            message = f"The cursor of the next page has {len(cursor):,} characters, and {MAX_URL_CHARS:,} can be sent."
            hint = "The rows so far are valid. Narrow the search, and report this to the authors of this package."
            return IncompleteListError(message, context, hint=hint)
        cursor_hash = None if self.is_free else _hash(cursor)
        if cursor in self._cursors or cursor_hash in self._cursor_hashes:
            return CursorLoopError("The server returned the same cursor twice.", context)
        current = self.detector.current_pass
        is_past_end = self._has_looped and current.pages > self.detector.first_pass_pages
        pages_without_new_rows = current.pages_without_new_rows
        if pages_without_new_rows >= (MAX_SHORT_LOOP_PAGES if is_charged or is_past_end else MAX_LOOP_PAGES):
            message = f"{pages_without_new_rows} consecutive pages had no new rows, each with a new cursor."
            return CursorLoopError(message, context)
        self._cursors.add(cursor)
        if cursor_hash is not None and len(self._cursor_hashes) < MAX_CURSOR_HASHES:
            self._cursor_hashes[cursor_hash] = None
        return None


def _hash(cursor: str) -> str:
    return blake2b(cursor.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


class _ProcessedRows:
    """Counts the rows of a resumed list that have arrived, also if they are excluded.

    The caller may have processed rows of the pages after the position. If the list skips rows of earlier runs, excluded
    rows may be on any page. At most as many count as there are excluded ids beyond the rows before the position.

    Args:
        excluded: The excluded ids.
        position: The position.
        rows_before: The number of rows before it.

    """

    def __init__(self, excluded: AbstractSet[str], position: ResumePosition, rows_before: int) -> None:
        self._excluded = excluded
        self._last_id = position.last_id
        self._skips_rows = position.skips_rows
        self._remaining = max(0, len(excluded) - rows_before)
        self._counted = set[str]()
        self._may_be_processed = True
        """True until a page has new rows, because pages are processed in order."""

    def count(self, ids: Sequence[str | None], new_rows: int, *, is_free: bool) -> int:
        """Return the number of rows of a page that count as arrived: its new rows, and processed ones.

        The rows up to the last one before the position come again. In a free list, a page without new rows only counts
        if it has all processed rows, unless the list skips rows. Otherwise, the list is read again.
        """
        may_be_processed, self._may_be_processed = self._may_be_processed, False
        if self._last_id is not None and self._last_id in ids:
            repeated = ids.index(self._last_id) + 1
            ids = ids[repeated:]
            if not self._excluded:  # so that the repeated rows were not recognized
                return max(0, new_rows - repeated)
        if not self._remaining or not (may_be_processed or self._skips_rows):
            return new_rows
        found = (self._excluded & set(filter(None, ids))) - self._counted
        if is_free and not self._skips_rows and not new_rows and len(found) != self._remaining:
            return 0
        self._may_be_processed = may_be_processed and bool(found) and not new_rows
        self._counted |= found
        used = min(len(found), self._remaining)
        self._remaining -= used
        return new_rows + used
