"""Waits of calls before a request, bounded by the call's deadline and by the closing of the client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async.errors import (
    ClientClosedError,
    DeadlineExceededError,
    ErrorContext,
    LeadfeederError,
    RequestPhase,
)
from leadfeeder_async.types import Stats

T = TypeVar("T")


class PendingWaits:
    """Pending waits of calls before a request. Closing the client ends them.

    Args:
        stats: Statistics that count the pending waits.

    """

    def __init__(self, stats: Stats) -> None:
        self._scopes = set[asyncio.Timeout]()
        self._stats = stats
        self.closed = False

    def add(self, scope: asyncio.Timeout) -> None:
        """Register a wait. If the client is already closed, end it immediately."""
        self._scopes.add(scope)
        self._stats.waiting += 1
        if self.closed:
            scope.reschedule(0.0)

    def discard(self, scope: asyncio.Timeout) -> None:
        """Unregister a wait."""
        self._scopes.discard(scope)
        self._stats.waiting -= 1

    def close(self) -> None:
        """End all waits, including later ones."""
        self.closed = True
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(0.0)


class WaitBounds(msgspec.Struct):
    """The deadline of a call, and the means to wait no longer than it allows."""

    pending: PendingWaits
    loop: asyncio.AbstractEventLoop
    deadline: float | None
    """The time on the loop's clock at which the call must be done, or None."""
    context: ErrorContext
    """The call and its current attempt, for errors."""

    def remaining_timeout(self, timeout: float) -> float:
        """Return ``timeout``, or the remaining time until the deadline if that is shorter."""
        if self.deadline is None:
            return timeout
        return min(timeout, max(self.deadline - self.loop.time(), 0.001))

    def exceeds_deadline(self, delay: float = 0.0) -> bool:
        """Return True if the deadline will have passed after ``delay`` seconds."""
        return self.deadline is not None and self.loop.time() + delay >= self.deadline

    async def wait(self, awaitable: Awaitable[T], phase: RequestPhase) -> T:
        """Wait, but not past the deadline or the closing of the client.

        Errors that a rate limiter or a credit pool raises get the context of the call.
        """
        scope = asyncio.timeout_at(self.deadline)
        try:
            async with scope:
                self.pending.add(scope)
                try:
                    return await awaitable
                finally:
                    self.pending.discard(scope)
        except LeadfeederError as error:
            raise _with_call(error, self.context, phase) from error.__cause__
        except TimeoutError:
            if not scope.expired():  # raised by the awaitable itself
                raise
        raise self.interrupted_error(phase)

    def interrupted_error(self, phase: RequestPhase) -> LeadfeederError:
        """Return the error for a wait that ended because of the deadline or the closing of the client."""
        context = replace(self.context, phase=phase)
        if self.pending.closed:
            return ClientClosedError("The client was closed while the call waited.", context)
        return DeadlineExceededError("The deadline passed while the call waited.", context)


def _with_call(error: LeadfeederError, call: ErrorContext, phase: RequestPhase) -> LeadfeederError:
    """Add the call to an error of a rate limiter or a credit pool, which do not know the call."""
    own = error.context
    return error.with_context(
        replace(own, operation=call.operation, method=call.method, path=call.path, phase=phase, attempts=call.attempts)
    )
