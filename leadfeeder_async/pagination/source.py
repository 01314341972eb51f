"""The options and the prefetch queue of all page sources."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine

import msgspec

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.pagination.page import ResumePosition

MAX_PAGE_SIZE = 100
"""The largest page of the API, and the default, because each page costs a request."""

DEFAULT_PREFETCH = 16
"""Pages that may be in flight or waiting to be read."""


MAX_PREFETCHED_BYTES = 32 * 1024 * 1024
"""The most bytes of all prefetched pages, if each is as large as the largest page so far."""


class PagerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a list is read."""

    page_size: int = MAX_PAGE_SIZE
    limit: int | None = None
    """The most rows to return."""
    split_days: bool = True
    """Split a day over the row limit by country."""
    prefetch: int = DEFAULT_PREFETCH
    """Pages that may be in flight or waiting to be read. 0 requests each page when it is needed."""
    position: ResumePosition = ResumePosition()
    """The position to continue from."""
    stopped: asyncio.Event | None = None
    """Set when no further request may be sent. Pages in flight that may be charged are returned."""
    exclude_ids: frozenset[str] = frozenset()
    """The ids of rows that an earlier run returned, or the results of :func:`row_identity`."""

    @property
    def is_stopped(self) -> bool:
        """True if no further request may be sent."""
        return self.stopped is not None and self.stopped.is_set()

    @property
    def pages_wanted(self) -> int | None:
        """The number of pages that ``limit`` needs. No more are prefetched."""
        return None if self.limit is None else -(-self.limit // self.page_size)


class PrefetchQueue:
    """Requests in flight, in the order in which their pages are needed."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor
        self._tasks = deque[asyncio.Task[bytes]]()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, request: ApiRequest[bytes]) -> None:
        """Send a request in a task."""
        self.add(self._executor.execute(request))

    def add(self, body: Coroutine[object, object, bytes]) -> None:
        """Start a task for a body. Its error is only raised if the page is needed."""
        task = asyncio.create_task(body)
        task.add_done_callback(_mark_retrieved)
        self._tasks.append(task)

    @property
    def has_failed(self) -> bool:
        """True if a request has failed whose page is not needed yet."""
        return any(task.done() and (task.cancelled() or task.exception() is not None) for task in self._tasks)

    async def next(self) -> bytes:
        """Return the next body."""
        task = self._tasks.popleft()
        if task.done():
            await asyncio.sleep(0)  # waiting pages are decoded one by one, so the loop is blocked for one at most
        return await task

    def peek(self) -> bytes | None:
        """Return the next body if it has arrived."""
        if not self._tasks or not self._tasks[0].done():
            return None
        task = self._tasks[0]
        return None if task.cancelled() or task.exception() is not None else task.result()

    def close(self) -> None:
        """Cancel all requests."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()


def _mark_retrieved(task: asyncio.Task[bytes]) -> None:
    if not task.cancelled():
        task.exception()
