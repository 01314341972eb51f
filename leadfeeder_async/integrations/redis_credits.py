"""A credit limit that several processes share, counted on a Redis server."""

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
    """A limit on the credits that all processes with the same ``name`` spend together.

    ::

        async with RedisCredits("redis://localhost:6379/0", "november", max_credits=5_000) as credits:
            async with AsyncLeadfeeder() as lf, lf.budget(shared=credits):
                await lf.companies.get("1")

    Before a call is sent, the most that it can charge is reserved on the server. The response says how many credits
    were charged, and the rest of the reservation is released. If the response is lost or the process is killed, the
    reservation is kept, because the credits may have been charged. Free calls send no command to the server.

    The credits of a name are kept for 400 days after its last use. If the name is used again in this time, it continues
    with the credits that were spent before.

    If the server does not respond for ``outage_timeout`` seconds, calls that may charge raise
    :class:`~leadfeeder_async.RateLimiterUnavailableError`, and nothing is sent. After a loss of data, each running
    process reports its total again. Only the totals of finished processes are lost, so use a server that saves to disk.

    Create one object per process and event loop, and close it after its calls. Reservations of calls that are in flight
    when it is closed stay counted.

    Args:
        redis: The URL of the server, or an asynchronous client of redis-py. A client is not closed.
        name: The name of the limit. Processes with the same name and API key share it.
        max_credits: The most credits that all processes may spend together. Use the same value in each process, because
            each process applies its own.
        api_key: The API key. Defaults to LEADFEEDER_API_KEY. Only a hash of it is stored on the server.
        timeout: Seconds to wait for one Redis command.
        outage_timeout: Seconds to wait for a server that does not respond.

    Raises:
        ConfigurationError: An argument is out of range, or the URL is invalid.
        MissingKeyError: No API key was given.

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
        try:
            self._key = key_of(read_api_key(api_key).reveal(), f"credits:{name}")
        finally:
            del api_key  # a traceback with locals would show it
        check_argument(bool(name), "name='' must not be empty.")
        check_argument(max_credits >= 0, f"max_credits={max_credits!r} must be 0 or more.")
        check_argument(timeout > 0, f"timeout={timeout!r} must be more than 0 seconds.")
        check_argument(outage_timeout >= 0, f"outage_timeout={outage_timeout!r} must be 0 seconds or more.")
        self.name: str = name
        """The name of the limit."""
        self.max_credits: int = max_credits
        """The most credits that all processes may spend together."""
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
        self.spent: int = 0
        """Credits that all processes have spent or reserved, as last reported by the server."""

    def __repr__(self) -> str:
        return f"<RedisCredits {self.name!r} {self.spent:,} of {self.max_credits:,}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Report the credits of this process and close the connections.

        Reservations of calls in flight are reported as spent. No further updates are sent until the object is used
        again.
        """
        while self._tasks:
            await asyncio.wait(self._tasks)
        async with self._turn:
            self._closed = True
            if self._total or self._reported != self._total:  # after a loss of data, "end" needs a report before it
                await self._try_report("report")
            if self._sequence and await self._try_report("end"):
                self._process, self._reserved, self._reported = uuid4().hex, self._reserved - self._reported, 0
        await self._script.aclose()

    @property
    def credits_left(self) -> int:
        """Credits that a call can still reserve, as last reported by the server."""
        return max(0, self.max_credits - self.spent)

    @property
    def _total(self) -> int:
        """The total to report. Calls that were in flight at the last close can make ``_reserved`` negative."""
        return max(0, self._reserved)

    async def reserve(self, most: int, context: ErrorContext) -> None:
        """Reserve credits for a call. The client calls this.

        Args:
            most: The most credits that the call can charge.
            context: The call, for errors.

        Raises:
            BudgetExceededError: All processes together would exceed ``max_credits``.
            RateLimiterUnavailableError: The server has not responded for ``outage_timeout`` seconds.

        """
        async with self._turn:
            self._closed = False
            self._reserved += most
            try:
                accepted = await self._send_reservation(context)
            except BaseException:
                self.settle(most, 0)  # the server may have received the reservation
                raise
            if accepted:
                return
            self._reserved -= most
            raise BudgetExceededError(
                f"This call may charge {most:,} of {self.max_credits:,} credits of {self.name!r}, and all processes "
                f"together have spent or reserved {self.spent:,}.",
                context,
                hint="Increase max_credits in each process, or request fewer records at once.",
            )

    def settle(self, reserved: int, charged: int) -> None:
        """Replace a reservation with the credits that were charged. The client calls this.

        Args:
            reserved: The credits that were reserved.
            charged: The credits that were charged.

        """
        self._reserved += charged - reserved
        task = asyncio.get_running_loop().create_task(self._report())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_reservation(self, context: ErrorContext) -> bool:
        while True:
            if self._outage.may_try(_now()):
                try:
                    return await self._send("reserve")
                except FAILURES as error:
                    self._record_failure(error)
            if self._outage.duration(_now()) >= self._outage_timeout:
                last = self._outage.last
                message = f"The shared credits of {self.name!r} are unavailable ({type(last).__name__}: {last})."
                raise RateLimiterUnavailableError(
                    message, context, hint="Check the Redis server and its address."
                ) from last
            await asyncio.sleep(RETRY_INTERVAL)

    async def _report(self) -> None:
        async with self._turn:
            if not self._closed and self._reported != self._total and self._outage.may_try(_now()):
                await self._try_report("report")

    async def _try_report(self, command: Literal["report", "end"]) -> bool:
        try:
            return await self._send(command)
        except FAILURES as error:
            self._record_failure(error)
            logger.warning("Redis did not receive the credits of %r (%s: %s)", self.name, type(error).__name__, error)
            return False

    def _record_failure(self, error: BaseException) -> None:
        now = _now()
        self._outage.record_failure(
            error, now, 0.0 if self._outage.duration(now) < self._outage_timeout else PROBE_INTERVAL
        )

    async def _send(self, command: Literal["reserve", "report", "end"]) -> bool:
        """Send the total of this process. Return True if the server accepted it."""
        self._sequence += 1
        total, self._reported = self._total, -1  # unknown until the server responds
        accepted, self.spent = await self._script.run(
            self._key, self._process, self._sequence, total, command, self.max_credits
        )
        self._outage.record_success()
        if accepted:
            self._reported = total
        return bool(accepted)


def _now() -> float:
    return asyncio.get_running_loop().time()
