"""A rate limit on a Redis server, for all processes that use a key. Needs the extra ``redis``.

The server must be Redis 6.2 or newer, or Valkey. A script runs on the server, with the server's clock, and assigns
tokens in the order of the requests. Its response says how long to wait for the token, so no process polls. A process
holds one token at a time and uses it for its own callers in their order. It therefore has one place in the order
however many tasks it runs, and a process that is killed loses one token.

The token of a canceled caller is used by the next caller of the process. Without a next caller, the token is returned
if no later one was assigned. Otherwise the process keeps it until it expires, after ``(burst - 1) / rate`` seconds at
most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, date, datetime
from math import inf
from types import TracebackType
from typing import Self, TypeVar

import anyio
import msgspec

from leadfeeder_async._core.monthly_quota import next_month
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async.errors import (
    ErrorContext,
    QuotaExceededError,
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
    key_of,
    limit_key,
)
from leadfeeder_async.integrations.redis_credits import RedisCredits
from leadfeeder_async.settings import DEFAULT_BURST, DEFAULT_RATE

__all__ = ["RedisCredits", "RedisLimiter"]

T = TypeVar("T")

logger = logging.getLogger("leadfeeder_async")

MAX_WAIT = 300.0
"""The longest wait for a token that a queue of processes or a pause after a 429 can cause, in seconds."""

MAX_WAKEUP_DELAY = 0.1
"""Seconds that a caller may wake too late and still use its token. After a longer delay it acquires a new one."""


class _Token(msgspec.Struct, frozen=True):
    """The permission to send one request between two times of the event loop's clock."""

    at: float
    until: float
    name: int
    """The identifier of the token on the server, for returning it."""
    pauses: int
    """The number of pauses when the token was acquired. A later pause makes it invalid."""


class RedisLimiter:
    """A rate limit and a monthly quota that all processes with the same API key and Redis server share.

    ::

        async with RedisLimiter("redis://localhost:6379/0") as limiter, AsyncLeadfeeder(limiter=limiter) as lf:
            await lf.users.me()

    Create one limiter per process and event loop, and close it after the client. It connects on the first call.

    If the server does not respond for ``outage_timeout`` seconds, every call raises
    :class:`~leadfeeder_async.RateLimiterUnavailableError` immediately until the server responds again. With
    ``fallback_share``, the process continues alone instead.

    Args:
        redis: The URL of the server, or an asynchronous client of redis-py. A client is not closed by the limiter.
        api_key: The API key. Defaults to LEADFEEDER_API_KEY. Only a hash of it is stored on the server.
        namespace: A name of your choice for the limit, in place of the API key. All processes with the same name share
            the limit. Use it with access tokens, and with callables that return keys.
        rate: Requests per second of all processes together. Use the same value in each process.
        burst: Requests that may be sent at once by all processes together. Use the same value in each process.
        burst_share: The part of the burst that this process may use, more than 0 and at most 1. For bulk jobs, 0.5
            leaves half of the burst to other processes. If no other process sends requests, a bulk job still gets the
            full rate.
        timeout: Seconds to wait for one Redis command.
        outage_timeout: Seconds to wait for a server that does not respond.
        fallback_share: The part of ``rate`` that this process uses without Redis during an outage, without a burst. A
            good value is one divided by the number of processes. None raises an error instead.

    Raises:
        ConfigurationError: An argument is out of range, or the URL is invalid.
        MissingKeyError: No API key was given.

    """

    def __init__(
        self,
        redis: str | RedisClient,
        api_key: str | None = None,
        *,
        namespace: str | None = None,
        rate: float = DEFAULT_RATE,
        burst: int = DEFAULT_BURST,
        burst_share: float = 1.0,
        timeout: float = 1.0,
        outage_timeout: float = 10.0,
        fallback_share: float | None = None,
    ) -> None:
        self._key = ""  # a traceback of a failed constructor shows the limiter too
        self._settings = (rate, burst, burst_share)
        try:
            self._key = limit_key(api_key, namespace, "limit")
            self._script = RedisScript(redis, "rate_limit.lua", timeout)
        finally:
            redis, api_key = "", None  # a traceback with locals would show them
        check_argument(0 < rate < inf, f"rate={rate!r} must be more than 0 requests per second.")
        check_argument(burst >= 1, f"burst={burst!r} must be 1 or more.")
        check_argument(0 < burst_share <= 1, f"burst_share={burst_share!r} must be more than 0 and at most 1.")
        check_argument(0 < timeout < inf, f"timeout={timeout!r} must be more than 0 seconds.")
        check_argument(0 <= outage_timeout < inf, f"outage_timeout={outage_timeout!r} must be 0 seconds or more.")
        is_valid = fallback_share is None or 0 < fallback_share <= 1
        check_argument(is_valid, f"fallback_share={fallback_share!r} must be more than 0 and at most 1.")
        self._has_namespace = namespace is not None
        self._outage_timeout = outage_timeout
        self._local = None if fallback_share is None else TokenBucket(rate * fallback_share, 1)
        self._used_fallback = False
        self._outage = OutageTracker()
        self._turn = anyio.Lock(fast_acquire=True)
        self._unused_tokens = list[_Token]()
        self._not_before = 0.0
        self._pauses = 0
        self._tasks = set[asyncio.Task[object]]()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.used: int = 0
        """Requests of all processes in the current month, as last reported by the server."""

    def __repr__(self) -> str:
        rate, burst, share = self._settings
        return f"<RedisLimiter {self._key or 'without a key'} {rate}/s, burst {burst}, share {share}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Send pending messages to the server and close the connections. Takes twice ``timeout`` seconds at most."""
        with anyio.CancelScope(shield=True):
            try:
                while self._tasks:
                    await asyncio.wait(self._tasks)
            finally:
                await self._script.aclose()

    @property
    def server_calls(self) -> int:
        """Commands that this process has sent to the server."""
        return self._script.calls

    async def acquire(self) -> None:
        """Wait for a token. Callers of the process are served in their order.

        Raises:
            RateLimiterUnavailableError: The server has not responded for ``outage_timeout`` seconds, or its clock is
                wrong.
            QuotaExceededError: The monthly quota is used up, as one of the processes reported.
            WrongLoopError: The limiter was used in another event loop before.

        """
        self._bind()
        async with self._turn:
            while not await self._wait_for_token(await self._token()):
                pass

    def pause(self, seconds: float) -> None:
        """Pause all processes and empty the bucket, after a response with status 429.

        This process pauses immediately. Each other process may still send one request, if it already has a token.

        Args:
            seconds: The length of the pause.

        """
        self._pauses += 1
        self._not_before = max(self._not_before, self._bind().time() + seconds)
        self._unused_tokens.clear()
        if self._local is not None:
            self._local.pause(seconds)
        self._spawn(self._notify_server("pause", round(seconds * 1e6)))

    def use_key(self, api_key: str) -> None:
        """Use the limit of another API key from now on, unless the limit has a namespace.

        Args:
            api_key: The new key.

        """
        if not self._has_namespace:
            self._key = key_of(api_key, "limit")
            self._pauses += 1  # makes the token of a waiting caller invalid
            self._unused_tokens.clear()
            self._not_before, self.used = 0.0, 0
        del api_key

    def record_usage(self, requests: int) -> None:
        """Report the number of requests in the current month to all processes. The highest reported number is used.

        Args:
            requests: The number of requests.

        """
        self._spawn(self._notify_server("used", requests))

    def mark_exhausted(self) -> None:
        """Report to all processes that the monthly quota is used up."""
        self._spawn(self._notify_server("quota_exhausted", int(f"{datetime.now(UTC):%Y%m}")))

    def _bind(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop not in {None, loop}:
            raise WrongLoopError(
                "This RedisLimiter belongs to another event loop.", hint="Make one RedisLimiter for each event loop."
            )
        self._loop = loop
        return loop

    async def _token(self) -> _Token | None:
        """Return an unused token or a new one, or None after waiting for the local fallback limit."""
        while True:
            if self._unused_tokens:
                token = self._unused_tokens.pop(0)
                if anyio.current_time() <= token.until:
                    return token
                continue
            if self._outage.may_try(anyio.current_time()):
                try:
                    return await self._acquire_token()
                except FAILURES as error:
                    self._record_failure(error)
            if self._local is not None:
                self._used_fallback = True
                await self._local.acquire()
                return None
            self._raise_if_down()
            await asyncio.sleep(RETRY_INTERVAL)

    def _record_failure(self, error: BaseException) -> None:
        now = anyio.current_time()
        if self._outage.since is None:
            logger.warning("The rate limit on Redis is unavailable (%s: %s)", type(error).__name__, error)
        callers_wait = self._local is None and self._outage.duration(now) < self._outage_timeout
        self._outage.record_failure(error, now, 0.0 if callers_wait else PROBE_INTERVAL)

    def _raise_if_down(self) -> None:
        duration, last = self._outage.duration(anyio.current_time()), self._outage.last
        if duration >= self._outage_timeout:
            message = f"The Redis server has not responded for {duration:.1f} s ({type(last).__name__}: {last})."
            raise RateLimiterUnavailableError(message) from last

    async def _acquire_token(self) -> _Token:
        """Acquire a token from the server. If the caller is canceled meanwhile, the token is recycled."""
        request = self._spawn(self._request_token())
        try:
            token = await asyncio.shield(request)
        except asyncio.CancelledError:
            request.add_done_callback(self._recycle_result)
            raise
        if self._outage.record_success():
            logger.warning("The rate limit on Redis is available again")
        if not isinstance(token, _Token):
            message = "The monthly quota is used up, as a process that shares this limit reported."
            raise QuotaExceededError(message, ErrorContext(code="quota_exceeded", retry_at=token))
        return token

    async def _request_token(self) -> _Token | datetime:
        """Return a token, or the end of the month if the monthly quota is used up."""
        started, pauses, after_fallback = anyio.current_time(), self._pauses, self._used_fallback
        wait, validity, name, self.used = await self._run("acquire_after_outage" if after_fallback else "acquire")
        if wait < 0:
            return next_month(date(name // 100, name % 100, 1))
        if wait / 1e6 > max(self._outage_timeout, MAX_WAIT):
            message = f"The Redis server assigned a token in {wait / 1e6:,.0f} s. Its clock may have been ahead."
            raise RateLimiterUnavailableError(
                message, hint=f"Check the clock of the Redis server, then delete its key {self._key}."
            )
        self._used_fallback = self._used_fallback and not after_fallback
        return _Token(anyio.current_time() + wait / 1e6, started + (wait + validity) / 1e6, name, pauses)

    async def _wait_for_token(self, token: _Token | None) -> bool:
        """Wait until a token may be used. Return True if it is still valid then."""
        if token is None:
            return True
        try:
            while (wait := max(token.at, self._not_before) - anyio.current_time()) > 0:  # noqa: ASYNC110 - a pause can extend the wait
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self._recycle(token)
            raise
        return token.pauses == self._pauses and anyio.current_time() <= max(token.until, token.at + MAX_WAKEUP_DELAY)

    def _recycle_result(self, request: asyncio.Task[_Token | datetime]) -> None:
        if not request.cancelled() and request.exception() is None and isinstance(token := request.result(), _Token):
            self._recycle(token)

    def _recycle(self, token: _Token) -> None:
        """Keep an unused token for the next caller of this process, or return it to the server if there is none."""
        if self._turn.statistics().tasks_waiting:
            self._unused_tokens.append(token)
        elif token.pauses == self._pauses:
            self._spawn(self._release(token))

    async def _release(self, token: _Token) -> None:
        released = await self._notify_server("release", token.name)
        if not released and token.pauses == self._pauses:
            self._unused_tokens.append(token)

    async def _notify_server(self, command: str, value: int = 0) -> bool:
        """Send a command that no caller waits for. Return True if the server applied it."""
        try:
            _, applied, _, self.used = await self._run(command, value)
        except FAILURES as error:
            logger.warning("Redis did not receive %r (%s: %s)", command, type(error).__name__, error)
            return False
        return bool(applied)

    async def _run(self, command: str, value: int = 0) -> tuple[int, int, int, int]:
        response = await self._script.run(self._key, command, *self._settings, value)
        return msgspec.convert(response, tuple[int, int, int, int])

    def _spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        task = self._bind().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
