"""A credit limit that several processes share, counted on a Redis server."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from types import TracebackType
from typing import Literal, Self, TypeAlias
from uuid import uuid4

import anyio
import msgspec

from leadfeeder_async.errors import (
    BudgetExceededError,
    ErrorContext,
    RateLimiterUnavailableError,
    WrongLoopError,
    check_argument,
)
from leadfeeder_async.integrations._redis_script import (
    FAILURES,
    PROBE_INTERVAL,
    RETRY_INTERVAL,
    OutageTracker,
    RedisClient,
    RedisScript,
    RunIdError,
    limit_key,
)

logger = logging.getLogger("leadfeeder_async")


RECOVERY_TIME = 5.0
"""Seconds in which running processes restore the totals after a loss of data. No credits are granted meanwhile.

Each process measures them with its own monotonic clock, from the first response that shows the loss.
"""

HEARTBEAT_INTERVAL = 1.0
"""Seconds between two reports of a process. The response to a report shows if the totals were lost."""

MAX_RESTORES = 3
"""How often one command restores the totals. If they are lost each time, its caller waits before the next attempt."""


_Totals: TypeAlias = dict[str, tuple[int, int]]
"""The sequence number and the total of each process.

A field ``ended:...`` has the number of processes that ended in one epoch, and the sum of their totals.
"""


class _RunIdResponse(msgspec.Struct, frozen=True):
    """The response of the script, as far as it concerns the run id of the server."""

    run_id_error: str = ""
    """The reason of the server if its run id cannot be read."""


class _Response(msgspec.Struct, frozen=True):
    """The response of the script."""

    accepted: bool
    """True if the command was applied."""
    spent: int
    """The credits that all processes have spent or reserved."""
    epoch: str
    """The name of the record of the totals. A new record has a new one."""
    is_open: bool
    """True if credits can be reserved. The record of a new epoch is not open until the totals were restored."""
    totals: _Totals
    """The totals of all processes."""


class RedisCredits:
    """A limit on the credits that all processes with the same ``name`` spend together.

    ::

        async with RedisCredits("redis://localhost:6379/0", "november", max_credits=5_000) as credits:
            async with AsyncLeadfeeder() as lf, lf.budget(shared=credits):
                await lf.companies.get("1")

    Before a call is sent, the most that it can charge is reserved on the server. The response says how many credits
    were charged, and the rest of the reservation is released. If the response is lost or the process is killed, the
    reservation is kept, because the credits may have been charged. Free calls send no command to the server.

    Each process keeps a copy of the totals of all processes, and checks once a second that the server still has them.
    If the server lost any of them, was restarted or failed over, no credits are granted for five seconds, and all
    running processes restore their copies. The first use of a name waits for this time too, because a new name looks
    like a lost one. The totals are lost only if no process that has seen them is running. Use a server that saves to
    disk to keep them in this case too.

    The credits of a name are kept for 400 days after its last use. If the name is used again in this time, it continues
    with the credits that were spent before.

    If the server does not respond for ``outage_timeout`` seconds, or the Redis user may not call INFO, calls that may
    charge raise :class:`~leadfeeder_async.RateLimiterUnavailableError`, and nothing is sent.

    Create one object per event loop, and close it after its calls. Reservations of calls that are in flight when it is
    closed stay counted. After a fork, the object counts as another process. An object that was created with a client of
    redis-py cannot be used after a fork.

    Args:
        redis: The URL of the server, or an asynchronous client of redis-py. A client is not closed.
        name: The name of the limit. Processes with the same name and API key share it.
        max_credits: The most credits that all processes may spend together. Use the same value in each process, because
            each process applies its own.
        api_key: The API key. Defaults to LEADFEEDER_API_KEY. Only a hash of it is stored on the server.
        namespace: A name of your choice, in place of the API key. Use it with access tokens, and with callables that
            return keys, because a process with a new key would otherwise start a new limit.
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
        namespace: str | None = None,
        timeout: float = 1.0,
        outage_timeout: float = 10.0,
    ) -> None:
        self.name: str = name
        """The name of the limit."""
        self.max_credits: int = max_credits
        """The most credits that all processes may spend together."""
        self.spent: int = 0
        """Credits that all processes have spent or reserved, as last reported by the server."""
        try:
            self._key = limit_key(api_key, namespace, f"credits:{name}")
            self._script = RedisScript(redis, "credit_pool.lua", timeout)
        finally:
            redis, api_key = "", None  # a traceback with locals would show them
        check_argument(bool(name), "name='' must not be empty.")
        check_argument(max_credits >= 0, f"max_credits={max_credits!r} must be 0 or more.")
        check_argument(timeout > 0, f"timeout={timeout!r} must be more than 0 seconds.")
        check_argument(outage_timeout >= 0, f"outage_timeout={outage_timeout!r} must be 0 seconds or more.")
        self._outage_timeout = outage_timeout
        self._epoch = ""
        self._epoch_known_since = 0.0
        self._copy: _Totals = {}
        """The totals of all processes, as last reported by the server."""
        self._begin()

    def _begin(self) -> None:
        """Begin as a new process, which has reserved nothing."""
        self._pid: int = os.getpid()
        self._process: str = uuid4().hex
        self._sequence: int = 0
        self._reserved: int = 0
        self._reported: int = 0
        self._closed: bool = False
        self._outage: OutageTracker = OutageTracker()
        self._turn: anyio.Lock = anyio.Lock(fast_acquire=True)
        self._lost_since: float | None = None
        """When a reservation first found that the server had lost the totals."""
        self._lost_last = 0.0
        """When a reservation last found that."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._heartbeat: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<RedisCredits {self.name!r} {self.spent} of {self.max_credits}>"

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
        self._check_process()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        try:
            while self._tasks:
                await asyncio.wait(self._tasks)
            async with self._turn:
                self._closed = True
                if self._sequence and await self._try_report("end"):
                    self._process, self._reserved, self._reported = uuid4().hex, self._reserved - self._reported, 0
                    self._sequence = 0
        finally:
            with anyio.CancelScope(shield=True):
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
            RateLimiterUnavailableError: The server has not responded for ``outage_timeout`` seconds, loses the totals
                repeatedly, or does not permit INFO.

        """
        self._check_process()
        started = anyio.current_time()
        async with self._turn:
            self._closed = False
            try:
                accepted = await self._send_reservation(most, context, started)
            except BaseException:
                self._spawn_report()  # the server may have received the reservation
                raise
            self._start_heartbeat()
            if accepted:
                self._reserved += most
                return
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
        self._check_process()
        self._reserved += charged - reserved
        self._spawn_report()

    def _check_process(self) -> None:
        """Begin as a new process after a fork, because the parent process counts the earlier reservations."""
        if self._pid == os.getpid():
            return
        if not self._script.reconnect():
            raise WrongLoopError(
                "This RedisCredits was created in another process, before a fork.",
                hint="Create it in the process that uses it, or pass a URL.",
            )
        self._begin()

    def _spawn_report(self) -> None:
        task = asyncio.get_running_loop().create_task(self._report())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start_heartbeat(self) -> None:
        if self._heartbeat is None or self._heartbeat.done():
            self._heartbeat = asyncio.get_running_loop().create_task(self._send_heartbeats())

    async def _send_heartbeats(self) -> None:
        while not self._closed:
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            async with self._turn:
                if not self._closed and self._outage.may_try(anyio.current_time()):
                    await self._try_report("report")

    async def _send_reservation(self, most: int, context: ErrorContext, started: float) -> bool:
        """Send a reservation until the server responds and has its totals. Return True if it was accepted."""
        while True:
            if self._outage.may_try(anyio.current_time()):
                try:
                    response = await self._send("reserve", most)
                except RunIdError as error:
                    raise RateLimiterUnavailableError(
                        f"The shared credits of {self.name!r} need the run id of the Redis server, which it does not "
                        f"show ({error}).",
                        context,
                        hint="Permit the command INFO (+info) in the ACL of the Redis user.",
                    ) from None
                except FAILURES as error:
                    self._record_failure(error)
                else:
                    if response is not None and (response.accepted or response.is_open):
                        self._lost_since = None
                        return response.accepted
                    if self._has_lost_too_long(started, anyio.current_time()):
                        raise RateLimiterUnavailableError(
                            f"The Redis server loses the shared credits of {self.name!r} repeatedly.",
                            context,
                            hint="Check that the server has enough memory and is not flushed.",
                        )
            duration, last = self._outage.duration(anyio.current_time()), self._outage.last
            if last is not None and duration >= self._outage_timeout:
                message = f"The shared credits of {self.name!r} are unavailable ({type(last).__name__}: {last})."
                raise RateLimiterUnavailableError(
                    message, context, hint="Check the Redis server and its address."
                ) from last
            await asyncio.sleep(RETRY_INTERVAL)

    def _has_lost_too_long(self, started: float, now: float) -> bool:
        """Record that the server has lost the totals, and return True if it does so for too long.

        Calls wait for each other, so they share the time of the first loss. For a call that started after it, its own
        time counts. A loss is forgotten after a pause.
        """
        if self._lost_since is None or now - self._lost_last > RECOVERY_TIME:
            self._lost_since = now
        self._lost_last = now
        return now - max(self._lost_since, started) > max(self._outage_timeout, 2 * RECOVERY_TIME)

    async def _report(self) -> None:
        async with self._turn:
            if not self._closed and self._reported != self._total and self._outage.may_try(anyio.current_time()):
                await self._try_report("report")

    async def _try_report(self, command: Literal["report", "end"]) -> bool:
        try:
            response = await self._send(command)
        except FAILURES as error:
            if self._outage.since is None or command == "end":
                logger.warning(
                    "Redis did not receive the credits of %r (%s: %s)", self.name, type(error).__name__, error
                )
            self._record_failure(error)
            return False
        return response is not None and response.accepted

    def _record_failure(self, error: BaseException) -> None:
        now = anyio.current_time()
        self._outage.record_failure(
            error, now, 0.0 if self._outage.duration(now) < self._outage_timeout else PROBE_INTERVAL
        )

    async def _send(self, command: Literal["reserve", "report", "end"], most: int = 0) -> _Response | None:
        """Send the total of this process. If the server has lost any totals, restore them and send it again.

        Return None if they are lost again each time. The server has then not accepted the command.
        """
        total, self._reported = max(0, self._reserved + most), -1  # unknown until the server responds
        for _ in range(MAX_RESTORES + 1):
            response = await self._run(command, total)
            if response.epoch == self._epoch and not _is_older(response.totals, self._copy):
                self._outage.record_success()
                self.spent, self._copy = response.spent, response.totals
                if response.accepted:
                    self._reported = total
                return response
            await self._restore()
        self._outage.record_success()
        return None

    async def _restore(self) -> None:
        """Add the totals that this process knows to those on the server, and use the epoch of the server."""
        copy = {**self._copy, self._process: (self._sequence, self._total)}
        values = [text for field, numbers in copy.items() for text in (field, "{} {}".format(*numbers))]
        restored = await self._run("restore", 0, *values)
        if restored.epoch != self._epoch:
            self._epoch, self._epoch_known_since = restored.epoch, time.monotonic()
        self._copy = restored.totals

    async def _run(self, command: str, total: int, *values: str) -> _Response:
        self._sequence += 1
        response = await self._script.run(
            self._key,
            command,
            self._process,
            self._sequence,
            total,
            self.max_credits,
            self._epoch,
            int(time.monotonic() >= self._epoch_known_since + RECOVERY_TIME),
            uuid4().hex,
            *values,
        )
        if not isinstance(response, str | bytes):
            raise msgspec.ValidationError("the response of the script is not a string")
        reason = msgspec.json.decode(response, type=_RunIdResponse).run_id_error
        if reason:
            raise RunIdError(reason)
        return msgspec.json.decode(response, type=_Response)


def _is_older(totals: _Totals, copy: _Totals) -> bool:
    """Return True if ``totals`` lack credits that ``copy``, an earlier response, contains.

    A process is missing if it has ended, so the number of ended processes must have grown by at least as many.
    """
    if any(field in totals and totals[field] < numbers for field, numbers in copy.items()):
        return True
    missing = sum(field not in totals for field in copy)
    return missing > _number_of_ended(totals) - _number_of_ended(copy)


def _number_of_ended(totals: _Totals) -> int:
    return sum(number for field, (number, _) in totals.items() if field.startswith("ended:"))
