"""Credits that several processes spend of, counted on a Redis server."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Literal, Self
from uuid import uuid4

import anyio

from leadfeeder_async.errors import BudgetExceededError, ErrorContext, RateLimiterUnavailableError, check_argument
from leadfeeder_async.integrations._redis_script import (
    FAILURES,
    PROBE_INTERVAL,
    RETRY_INTERVAL,
    OutageTracker,
    RedisClient,
    RedisScript,
    key_of,
)
from leadfeeder_async.settings import read_api_key

logger = logging.getLogger("leadfeeder_async")


class RedisCredits:
    """A bound on the credits that all processes which give it the same ``name`` may spend together.

    ::

        async with RedisCredits("redis://localhost:6379/0", "november", max_credits=5_000) as credits:
            async with AsyncLeadfeeder() as lf, lf.budget(shared=credits):
                await lf.companies.get("1")

    A call that may charge reserves the most it can cost on the server before it is sent; what its answer says it
    charged replaces that. Where an answer is lost, or a process is killed, the reservation stays: the money may be
    gone. What was spent stays counted until the server has not heard of the name for 400 days; a name that is used
    again goes on from there. Give ``max_credits`` the same in each process: each keeps to its own.

    ``redis`` is an address, or a client of redis-py's ``redis.asyncio``, which is never closed here. ``api_key``
    defaults to LEADFEEDER_API_KEY; only a hash of it names the entry on the server. While the server does not answer
    within ``timeout`` seconds, calls that may charge wait up to ``outage_timeout`` seconds; then
    :class:`~leadfeeder_async.RateLimiterUnavailableError` is raised, and nothing is sent. Free calls never ask. A
    server that forgot is told again by each process what that one has spent; only what ended processes spent is lost,
    so keep it on a server that saves to disk.

    Make one per process and event loop; close it after its calls. What a call under way has reserved when it is closed
    stays counted, as that of a lost answer does.
    """

    def __init__(
        self,
        redis: str | RedisClient,
        name: str,
        max_credits: int,
        api_key: str | None = None,
        *,
        timeout: float = 1.0,
        outage_timeout: float = 10.0,
    ) -> None:
        check_argument(bool(name), "name='' must say what the credits are for.")
        check_argument(max_credits >= 0, f"max_credits={max_credits!r} must be 0 or more.")
        check_argument(timeout > 0, f"timeout={timeout!r} must be more than 0 seconds.")
        check_argument(outage_timeout >= 0, f"outage_timeout={outage_timeout!r} must be 0 seconds or more.")
        self.name = name
        self.max_credits = max_credits
        self._key = key_of(read_api_key(api_key).reveal(), f"credits:{name}")
        self._script = RedisScript(redis, "credit_pool.lua", timeout)
        self._outage_timeout = outage_timeout
        self._outage = OutageTracker()
        self._turn = anyio.Lock(fast_acquire=True)
        self._process = uuid4().hex
        self._sequence = 0
        self._reserved = 0
        self._reported = 0
        self._closed = False
        self._tasks = set[asyncio.Task[None]]()
        self.spent = 0
        """Credits that all processes have spent or reserved, as last heard."""

    def __repr__(self) -> str:
        return f"<RedisCredits {self.name!r} {self.spent:,} of {self.max_credits:,}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Tell the server what this process has spent, and close the connections; until it is used again, that is all.

        Reservations of calls under way are told as spent.
        """
        while self._tasks:
            await asyncio.wait(self._tasks)
        async with self._turn:
            self._closed = True
            if self._total or self._reported != self._total:  # a server that forgot takes no end of nothing
                await self._try_report("state")
            if self._sequence and await self._try_report("end"):
                self._process, self._reserved, self._reported = uuid4().hex, self._reserved - self._reported, 0
        await self._script.aclose()

    @property
    def credits_left(self) -> int:
        """Credits that a call may still reserve, as last heard."""
        return max(0, self.max_credits - self.spent)

    @property
    def _total(self) -> int:
        """What to state. Below zero is what calls that were under way at the last end gave back since then."""
        return max(0, self._reserved)

    async def reserve(self, most: int, context: ErrorContext) -> None:
        """Reserve ``most`` credits for a call; called by the client.

        Raises BudgetExceededError where all processes together would pass ``max_credits``, LimiterUnavailableError
        where the server has been down for ``outage_timeout`` seconds.
        """
        async with self._turn:
            self._closed = False
            self._reserved += most
            try:
                taken = await self._claim(context)
            except BaseException:
                self.settle(most, 0)  # the server may have heard it
                raise
            if taken:
                return
            self._reserved -= most
            raise BudgetExceededError(
                f"This call may charge {most:,} of {self.max_credits:,} credits of {self.name!r}, and all processes "
                f"together have spent or reserved {self.spent:,}.",
                context,
                hint="Raise max_credits in each process, or ask for fewer records at once.",
            )

    def settle(self, reserved: int, charged: int) -> None:
        """Replace a reservation by what was charged; called by the client."""
        self._reserved += charged - reserved
        task = asyncio.get_running_loop().create_task(self._report())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _claim(self, context: ErrorContext) -> bool:
        while True:
            if self._outage.may_try(_now()):
                try:
                    return await self._send("claim")
                except FAILURES as error:
                    self._note_failure(error)
            if self._outage.duration(_now()) >= self._outage_timeout:
                last = self._outage.last
                said = f"The shared credits of {self.name!r} cannot be asked for ({type(last).__name__}: {last})."
                raise RateLimiterUnavailableError(
                    said, context, hint="Check the Redis server and its address."
                ) from last
            await asyncio.sleep(RETRY_INTERVAL)

    async def _report(self) -> None:
        async with self._turn:
            if not self._closed and self._reported != self._total and self._outage.may_try(_now()):
                await self._try_report("state")

    async def _try_report(self, what: Literal["state", "end"]) -> bool:
        try:
            return await self._send(what)
        except FAILURES as error:
            self._note_failure(error)
            logger.warning("The shared credits of %r were not told (%s: %s)", self.name, type(error).__name__, error)
            return False

    def _note_failure(self, error: BaseException) -> None:
        now = _now()
        self._outage.record_failure(
            error, now, 0.0 if self._outage.duration(now) < self._outage_timeout else PROBE_INTERVAL
        )

    async def _send(self, what: Literal["claim", "state", "end"]) -> bool:
        """State this process's whole total; tell whether it was taken."""
        self._sequence += 1
        total, self._reported = self._total, -1  # not known, if no answer comes
        taken, self.spent = await self._script.run(
            self._key, self._process, self._sequence, total, what, self.max_credits
        )
        self._outage.record_success()
        if taken:
            self._reported = total
        return bool(taken)


def _now() -> float:
    return asyncio.get_running_loop().time()
