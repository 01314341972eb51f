"""The facts about a page that decide whether its list is complete, and the error if it is not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import parse_qsl

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.worker_thread import run_for_rows
from leadfeeder_async.errors import APIStatusError, IncompleteListError
from leadfeeder_async.models.envelope import MAX_URL_CHARS, Meta
from leadfeeder_async.pagination.dedupe import NewRows, SeenIds
from leadfeeder_async.pagination.end_detection import EndDetector, PageFacts
from leadfeeder_async.pagination.page import Page, PageDecoder

T = TypeVar("T")


MAX_UNDECODABLE_PAGES = 50
"""Consecutive pages with only undecodable rows and the same errors that are considered a loop."""


class UnidentifiedRows:
    """Recognizes a page whose rows without an id are those of the page before.

    If all rows of a page are undecodable, it is recognized only after many repetitions, because different undecodable
    rows can have the same error.
    """

    def __init__(self) -> None:
        self._latest: tuple[object, ...] = ()
        self._repetitions = 0

    def is_repeated(self, page: Page[T], ids: Sequence[str | None]) -> bool:
        """Record a page, and return True if it repeats the one before."""
        rows = [row for row, row_id in zip(page.items, ids, strict=True) if row_id is None] if None in ids else []
        if not rows and not page.decode_errors:  # as on nearly all pages
            self._latest, self._repetitions = (), 0
            return False
        now = (*rows, *(error.message for error in page.decode_errors))
        self._repetitions = self._repetitions + 1 if now == self._latest else 0
        self._latest = now
        return self._repetitions > 0 and (bool(page.items) or self._repetitions >= MAX_UNDECODABLE_PAGES)


async def filter_new(seen: SeenIds, page: Page[T], decoder: PageDecoder[T]) -> NewRows[T]:
    """Record the ids of a page, and return its new rows. Many rows are processed in a thread."""
    rows = page.items
    return await run_for_rows(lambda: seen.filter_new(rows, decoder.row_ids(rows)), len(rows))


def page_facts(
    page: Page[T], new: NewRows[T], detector: EndDetector, *, is_repeated: bool = False, is_last: bool = False
) -> PageFacts:
    """Return the facts about a page. Rows that cannot be decoded are new in the first pass only."""
    undecodable = page.undecodable if detector.passes == 1 and not is_repeated else 0
    return PageFacts(
        row_count=page.row_count,
        new_rows=new.count + undecodable,
        new_to_pass=new.count_in_pass + undecodable,
        repeated_rows=new.repeated,
        total_count=page.meta.total_count,
        page_count=page.meta.pages,
        is_last=is_last,
        next_page=next_page(page.meta),
        has_cursor=page.meta.next_cursor is not None,
        has_new_ids=new.count > new.unidentified,
        is_charged=page.meta.charged > 0,
    )


def next_page(meta: Meta) -> str | None:
    """Return the cursor or the URL of the next page, or None if a response names none.

    A URL that only has parameters for all pages names no other page. Some servers send the URL of the request.
    """
    cursor, link = meta.next_cursor, meta.next_link
    if cursor is not None or link is None:
        return cursor
    if len(link) > MAX_URL_CHARS:
        return link
    query = link.partition("?")[2].partition("#")[0]
    names_place = any(not _PARAMETER_OF_ALL_PAGES.fullmatch(name) for name, _ in parse_qsl(query))
    return link if names_place or not query else None


_PARAMETER_OF_ALL_PAGES = re.compile(
    r"page\[size\]|per_page|limit|size|account_id|include|sort|start_date|end_date|custom_feed_id|(?:filter|fields).*"
)
"""The parameters of a request that are equal for all pages of a list. Those without a value do not count."""


def missing_rows_error(
    detector: EndDetector, request: ApiRequest[bytes], rejection: APIStatusError | None = None
) -> IncompleteListError:
    """Return the error for a list that ended with fewer rows than the server counts, or without one of its pages.

    Args:
        detector: The state at the end of the list.
        request: The request of the list.
        rejection: The error for its last page, if the server rejected it.

    """
    missing, lacks_page = max(detector.missing or 0, detector.missing_in_pass), detector.lacks_page
    message = _describe_lost_page(detector) if lacks_page or missing <= 0 else _describe_missing(detector, missing)
    if rejection is not None:
        message = f"{message} The last page was rejected: {rejection.message}"
    hint = "The rows so far are valid. Try again later."
    if missing <= 0 and not lacks_page:
        hint = "Report the operation to the authors of this package, and request its other pages with lf.request()."
    return IncompleteListError(message, request.endpoint.error_context(), hint=hint)


def _describe_missing(detector: EndDetector, missing: int) -> str:
    if not detector.lacks_rows:
        return (
            f"The server's count fell while the list was read. The list was read again, and {missing:,} of "
            f"{detector.total:,} rows were missing."
        )
    return (
        f"{missing:,} of {detector.total:,} rows are missing: the server counts them, but did not return "
        f"them{_in_passes(detector)}."
    )


def _describe_lost_page(detector: EndDetector) -> str:
    current = detector.current_pass
    if detector.lacks_page:
        problem = "was empty" if current.has_empty_page else "repeated earlier rows"
        reason = f"a page before its last one {problem}{_in_passes(detector)}, and all others are full"
    elif current.pages_without_new_rows:
        reason = "the server returned the first page again for each further one"
    else:
        reason = "the last response reports another page, but this list cannot request it"
    return f"The list has more rows than the {detector.rows:,} that arrived: {reason}."


def _in_passes(detector: EndDetector) -> str:
    return f" in {detector.passes} passes over the list" if detector.passes > 1 else ""
