"""Lists that the API returns in one response."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.codec import page_meta
from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import Meta, Response
from leadfeeder_async.pagination.completeness import filter_new, missing_rows_error, next_page, page_facts
from leadfeeder_async.pagination.dedupe import SeenIds
from leadfeeder_async.pagination.end_detection import EndDetector, PageFacts, Verdict
from leadfeeder_async.pagination.page import Page, PageDecoder, ResumePosition
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE, PagerOptions

T = TypeVar("T")


async def fetch_whole_list(
    executor: RequestExecutor, request: ApiRequest[Response[tuple[T, ...]]]
) -> Response[tuple[T, ...]]:
    """Return a list that comes as one response.

    Raises:
        IncompleteListError: The server has more rows than it returned.
    """
    response = await executor.execute(request)
    meta, rows = page_meta(response), len(response.data)
    facts = PageFacts(
        rows,
        rows,
        total_count=meta.total_count,
        page_count=meta.pages,
        is_last=True,
        next_page=_further_page(meta),
    )
    detector = EndDetector(MAX_PAGE_SIZE, can_restart=False).record(facts)
    if detector.verdict is Verdict.INCOMPLETE:
        raise missing_rows_error(detector, request.undecoded)
    return response


class SinglePageSource(msgspec.Struct, frozen=True):
    """Requests a list that comes as one response."""

    executor: RequestExecutor
    request: ApiRequest[bytes]

    def describe(self) -> str:
        """Return an empty string, because the list adds nothing to the description."""
        return ""

    def count_request(self, options: PagerOptions) -> ApiRequest[bytes]:  # noqa: ARG002 - as the other sources
        """Return the request for the list."""
        return self.request

    async def pages(self, decoder: PageDecoder[T], options: PagerOptions) -> AsyncGenerator[Page[T], None]:
        """Yield the only page. If the server counts more rows than it returned, the list is requested again."""
        seen = SeenIds.excluding(options.exclude_ids)
        detector = EndDetector(options.page_size, not self.request.endpoint.is_billed)
        while detector.verdict is not Verdict.COMPLETE:
            page = await decoder.decode(await self.executor.execute(self.request))
            new = await filter_new(seen, page, decoder)
            facts = page_facts(page, new, detector, is_last=True)
            detector = detector.record(replace(facts, next_page=_further_page(page.meta)))
            position = ResumePosition(ended=True) if detector.verdict is Verdict.COMPLETE else None
            yield replace(page, items=new.rows, total=page.meta.total_count, position=position)
            if detector.verdict is Verdict.INCOMPLETE:
                error = missing_rows_error(detector, self.request)
                position = ResumePosition(ended=not detector.can_restart)  # a list that may charge is not read again
                yield Page((), Meta(), page.meta.total_count, position=position, partial_errors=(error,))
                return
            if detector.verdict is Verdict.RESTART:
                detector = detector.restarted()
                seen.start_pass()


def _further_page(meta: Meta) -> str | None:
    """Return the next page that a response names, or a placeholder if it only reports several pages."""
    return next_page(meta) or ("another page" if (meta.pages or 1) > 1 else None)
