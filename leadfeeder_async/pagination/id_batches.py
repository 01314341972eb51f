"""Lists by id: batches of at most 100 ids, in the order of the ids."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.pagination.page import Page, PageDecoder, ResumePosition
from leadfeeder_async.pagination.source import PagerOptions, PrefetchQueue

T = TypeVar("T")

MAX_IDS_PER_REQUEST = 100
"""The most ids that the API accepts in one request."""


class IdBatchSource(msgspec.Struct, frozen=True):
    """Requests records by their ids, and prefetches several batches."""

    executor: RequestExecutor
    request: ApiRequest[bytes]
    ids: tuple[str, ...]

    def describe(self) -> str:
        """Return the number of ids."""
        return f"{len(self.ids):,} ids"

    def count_request(self, options: PagerOptions) -> ApiRequest[bytes]:
        """Return the request for the first batch."""
        return self._request_for(next(iter(self.batches(options)), ()))

    def batches(self, options: PagerOptions) -> list[tuple[str, ...]]:
        """Return the ids of each request, after the position of ``options``."""
        size, done = batch_size(options.limit), options.position.ids
        return [self.ids[start : start + size] for start in range(done, len(self.ids), size)]

    async def pages(self, decoder: PageDecoder[T], options: PagerOptions) -> AsyncGenerator[Page[T], None]:
        """Yield the pages in order."""
        batches, queue = self.batches(options), PrefetchQueue(self.executor)
        wanted = min(len(batches), options.pages_wanted or len(batches))
        completed, requested, total = options.position.ids, 0, None
        try:
            for number, batch in enumerate(batches, start=1):
                body = await queue.next() if queue else await self.executor.execute(self._request_for(batch))
                requested = max(requested, number)
                page = decoder.decode(body)
                completed += len(batch)
                total = page.meta.total_count if total is None else total
                while requested < wanted and len(queue) < options.prefetch:
                    queue.start(self._request_for(batches[requested]))
                    requested += 1
                yield replace(page, total=total, position=ResumePosition(ids=completed))
                del page, body  # so that the next page can use their memory
        finally:
            queue.close()

    def _request_for(self, batch: tuple[str, ...]) -> ApiRequest[bytes]:
        return self.request.with_params({"ids": batch})


def batch_size(limit: int | None) -> int:
    """Return the number of ids per request. If records are limited, no more ids are requested, as each may charge."""
    if not limit:
        return MAX_IDS_PER_REQUEST
    requests = -(-limit // MAX_IDS_PER_REQUEST)
    return -(-limit // requests)
