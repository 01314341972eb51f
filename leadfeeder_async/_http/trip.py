"""What stays the same over all attempts of one call, and how it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._http.attempt import Passage
from leadfeeder_async._http.connection import Open
from leadfeeder_async._http.wire import Request
from leadfeeder_async.budget import Spending
from leadfeeder_async.errors import ClientClosedError, DeadlineExceededError, Facts, LeadfeederError, Phase

T = TypeVar("T")


class Bounds(msgspec.Struct, frozen=True):
    """What ends the waits of a call: its deadline, and the end of its client."""

    opened: Open
    facts: Facts
    """The call that waits."""
    deadline: float | None
    """When it must be over, on the loop's clock."""

    def left(self, timeout: float) -> float:
        """Return the seconds one attempt may take: ``timeout``, or what is left of the deadline."""
        if self.deadline is None:
            return timeout
        return min(timeout, max(self.deadline - self.opened.loop.time(), 0.001))

    def is_late(self, wait: float) -> bool:
        """Whether the deadline comes before the next attempt could begin."""
        return self.deadline is not None and self.opened.loop.time() + wait >= self.deadline

    async def wait(self, waiting: Awaitable[object], phase: Phase) -> None:
        """Wait, but neither past the deadline nor past the end of the client.

        An error of a limiter, which does not know the call, is told which one it ended.
        """
        scope = asyncio.timeout_at(self.deadline)
        try:
            async with scope:
                self.opened.waits.add(scope)
                try:
                    await waiting
                finally:
                    self.opened.waits.discard(scope)
        except LeadfeederError as error:
            now = self.facts
            error.facts = replace(error.facts, operation=now.operation, method=now.method, path=now.path, phase=phase)
            raise
        except TimeoutError:
            if not scope.expired():  # it is the limiter's own
                raise
        else:
            return
        raise self._ended(phase)

    def _ended(self, phase: Phase) -> LeadfeederError:
        facts = replace(self.facts, phase=phase)
        if self.opened.waits.closed:
            return ClientClosedError("This client was closed while the call waited.", facts)
        return DeadlineExceededError("The deadline passed while the call waited.", facts)


class Trip(Bounds, frozen=True):
    """One call on its way: what it sends, on what, for whose money and until when."""

    request: Request
    spending: Spending
    may_cost: bool
    """A lost answer leaves open what was charged or made."""
    any_json: bool
    """An answer need not be an object."""

    async def take_token(self) -> None:
        """Take a token of the client's limiter, with the means to wait only where there is none.

        Raises where a wait was over in the same moment as the client or the deadline.
        """
        limits, bucket = self.opened.limits, self.opened.limits.bucket
        if bucket is None or not await bucket.take():
            await self.wait(limits.limiter.acquire(), "limiter")
        if self.opened.waits.closed or self.is_late(0.0):
            raise self._ended("limiter")

    async def in_slot(self, passage: Passage, send: Callable[[], Awaitable[T]]) -> T:
        """Hold one of the client's slots while ``send`` runs, past the door that the first call opens by connecting."""
        slots, warm_up = self.opened.limits.slots, self.opened.limits.warm_up
        if not self.opened.limits.take_slot():
            await self.wait(slots.acquire(), "slot")
        try:
            if not warm_up.ended:
                passage.enter("connect")
                await self.wait(warm_up.wait(), "connect")
            try:
                return await send()
            finally:
                warm_up.end()
        finally:
            slots.release()
