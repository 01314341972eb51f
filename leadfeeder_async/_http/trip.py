"""What stays the same over all attempts of one call, and how it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from leadfeeder_async._http.attempt import Passage
from leadfeeder_async._http.connection import Open
from leadfeeder_async._http.wire import Request
from leadfeeder_async.budget import Spending
from leadfeeder_async.errors import ClientClosedError, DeadlineExceededError, LeadfeederError, Phase

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trip:
    """One call on its way: what it sends, on what, for whose money and until when."""

    opened: Open
    request: Request
    spending: Spending
    may_cost: bool
    """A lost answer leaves open what was charged or made."""
    deadline: float | None
    """When the call must be over, on the loop's clock."""

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
        try:
            async with asyncio.timeout_at(self.deadline) as scope:
                self.opened.waits.add(scope)
                try:
                    await waiting
                finally:
                    self.opened.waits.discard(scope)
        except LeadfeederError as error:
            facts = self.spending.facts
            error.facts = replace(
                error.facts, operation=facts.operation, method=facts.method, path=facts.path, phase=phase
            )
            raise
        except TimeoutError:
            pass
        else:
            return
        facts = replace(self.spending.facts, phase=phase)
        if self.opened.waits.closed:
            raise ClientClosedError("This client was closed while the call waited.", facts)
        raise DeadlineExceededError("The deadline passed before it could be sent.", facts)

    async def take_token(self) -> None:
        """Take a token of the client's limiter, with the means to wait only where there is none."""
        limits = self.opened.limits
        await (limits.limiter.acquire() if limits.has_token else self.wait(limits.limiter.acquire(), "limiter"))

    async def in_slot(self, passage: Passage, send: Callable[[], Awaitable[T]]) -> T:
        """Hold one of the client's slots while ``send`` runs, past the door that the first call opens by connecting."""
        slots, warm_up = self.opened.limits.slots, self.opened.limits.warm_up
        if not self.opened.limits.take_slot():
            await self.wait(slots.acquire(), "slot")
        try:
            passage.enter("connect")
            if not warm_up.ended:
                await self.wait(warm_up.wait(), "connect")
            try:
                return await send()
            finally:
                warm_up.end()
        finally:
            slots.release()
