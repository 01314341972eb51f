"""Batches in flight, which reserve their credits in order."""

from __future__ import annotations

import asyncio
import sys

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.budget import Budget
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.pagination.source import PrefetchQueue


class NotSentError(Exception):
    """Ends a batch that was not sent because the batch before it was refused."""


class BatchQueue(PrefetchQueue):
    """Requests in flight that may charge, in the order in which their pages are needed.

    Under a budget, each request waits until the one before it has reserved its credits. If the budget refused that one,
    the request is not sent, even if it is smaller and the budget would cover it.
    """

    def __init__(self, executor: RequestExecutor) -> None:
        super().__init__(executor)
        self._latest: _Turn | None = None

    def start(self, request: ApiRequest[bytes]) -> None:
        """Send a request in a task, in turn if a budget limits its credits."""
        if self._executor.credits_left() is None:
            super().start(request)
            return
        before, self._latest = self._latest, _Turn()
        self.add(self._execute_in_turn(request, before, self._latest))

    async def _execute_in_turn(self, request: ApiRequest[bytes], before: _Turn | None, turn: _Turn) -> bytes:
        try:
            if before is not None and not await before.is_reserved():
                raise NotSentError
            return await self._executor.with_budget(Budget(shared=turn)).execute(request)
        finally:
            turn.end()


class _Turn:
    """The turn of one request to reserve its credits.

    It is passed as the last shared pool of the request, so its ``reserve`` is called after those of all others. Its own
    credits are unlimited.
    """

    credits_left = sys.maxsize

    def __init__(self) -> None:
        self._is_reserved = False
        self._ended = asyncio.Event()

    async def is_reserved(self) -> bool:
        """Wait for the end of the turn, and return True if the credits were reserved."""
        await self._ended.wait()
        return self._is_reserved

    def end(self) -> None:
        """End the turn."""
        self._ended.set()

    async def reserve(self, most: int, context: ErrorContext) -> None:  # noqa: ARG002 - as every pool
        """Record that the credits are reserved, and end the turn."""
        self._is_reserved = True
        self.end()

    def settle(self, reserved: int, charged: int) -> None:
        """Do nothing, because nothing is limited."""
