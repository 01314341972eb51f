"""What stays the same over all attempts of one call, and how it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.attempt import AttemptTrace
from leadfeeder_async._core.client_state import OpenResources
from leadfeeder_async._core.codec import HttpRequest
from leadfeeder_async.budget import BudgetReservation
from leadfeeder_async.errors import (
    ClientClosedError,
    DeadlineExceededError,
    ErrorContext,
    LeadfeederError,
    RequestPhase,
)

T = TypeVar("T")


class Bounds(msgspec.Struct, frozen=True):
    """What ends the waits of a call: its deadline, and the end of its client."""

    resources: OpenResources
    context: ErrorContext
    """The call that waits."""
    deadline: float | None
    """When it must be over, on the loop's clock."""

    def remaining_timeout(self, timeout: float) -> float:
        """Return the seconds one attempt may take: ``timeout``, or what is left of the deadline."""
        if self.deadline is None:
            return timeout
        return min(timeout, max(self.deadline - self.resources.loop.time(), 0.001))

    def exceeds_deadline(self, wait: float) -> bool:
        """Whether the deadline comes before the next attempt could begin."""
        return self.deadline is not None and self.resources.loop.time() + wait >= self.deadline

    async def wait_until_deadline(self, waiting: Awaitable[object], phase: RequestPhase) -> None:
        """Wait, but neither past the deadline nor past the end of the client.

        An error of a limiter, which does not know the call, is told which one it ended.
        """
        scope = asyncio.timeout_at(self.deadline)
        try:
            async with scope:
                self.resources.waits.add(scope)
                try:
                    await waiting
                finally:
                    self.resources.waits.discard(scope)
        except LeadfeederError as error:
            now = self.context
            error.context = replace(
                error.context, operation=now.operation, method=now.method, path=now.path, phase=phase
            )
            raise
        except TimeoutError:
            if not scope.expired():  # it is the limiter's own
                raise
        else:
            return
        raise self._interrupted_error(phase)

    def _interrupted_error(self, phase: RequestPhase) -> LeadfeederError:
        context = replace(self.context, phase=phase)
        if self.resources.waits.closed:
            return ClientClosedError("This client was closed while the call waited.", context)
        return DeadlineExceededError("The deadline passed while the call waited.", context)


class CallContext(Bounds, frozen=True):
    """One call on its way: what it sends, on what, for whose money and until when."""

    request: HttpRequest
    reservation: BudgetReservation
    has_side_effects: bool
    """A lost answer leaves open what was charged or made."""
    accepts_any_json: bool
    """An answer need not be an object."""

    async def take_token(self) -> None:
        """Take a token of the client's limiter, with the means to wait only where there is none.

        Raises where a wait was over in the same moment as the client or the deadline.
        """
        limits, bucket = self.resources.throttle, self.resources.throttle.bucket
        if bucket is None or not await bucket.try_acquire():
            await self.wait_until_deadline(limits.limiter.acquire(), "limiter")
        if self.resources.waits.closed or self.exceeds_deadline(0.0):
            raise self._interrupted_error("limiter")

    async def in_slot(self, passage: AttemptTrace, send: Callable[[], Awaitable[T]]) -> T:
        """Hold one of the client's slots while ``send`` runs, past the door that the first call opens by connecting."""
        slots, warm_up = self.resources.throttle.slots, self.resources.throttle.first_connection
        if not self.resources.throttle.try_acquire_slot():
            await self.wait_until_deadline(slots.acquire(), "slot")
        try:
            if not warm_up.is_open:
                passage.start_phase("connect")
                await self.wait_until_deadline(warm_up.wait(), "connect")
            try:
                return await send()
            finally:
                warm_up.open()
        finally:
            slots.release()
