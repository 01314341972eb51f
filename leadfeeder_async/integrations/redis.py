"""One limit for all processes that use a key, kept on a Redis server (6.2 or newer, or Valkey); the extra ``redis``.

One script, run on the server and on the server's clock, gives out the tokens: a caller is told how long to wait for
the one it took, so nobody polls, and who asked first goes first. A process holds one token at a time, for its own
callers in their order: it is one place in the line, however many tasks it has, and one killed takes one token along.

A token whose caller is cancelled goes to the next caller of the process. Where there is none, it is given back if
nobody took a later one; else this process keeps it while it is good, ``(burst - 1) / rate`` seconds at most.
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
)
from leadfeeder_async.integrations.redis_credits import RedisCredits
from leadfeeder_async.settings import DEFAULT_BURST, DEFAULT_RATE, read_api_key

__all__ = ["RedisCredits", "RedisLimiter"]

T = TypeVar("T")

logger = logging.getLogger("leadfeeder_async")

MAX_WAKEUP_DELAY = 0.1
"""A caller that wakes so many seconds late uses its token all the same; after a longer stall it takes a new one."""


class _Token(msgspec.Struct, frozen=True):
    """The right to send one request, between two moments of the loop's clock."""

    at: float
    until: float
    name: int
    pauses: int
    """How many pauses this process had met when it was taken; a later one makes it worthless."""


class RedisLimiter:
    """The rate limit and the month's requests of one key, shared by every process that names the same server.

    ::

        async with RedisLimiter("redis://localhost:6379/0") as limiter, AsyncLeadfeeder(limiter=limiter) as lf:
            await lf.users.me()

    ``redis`` is an address, or a client of redis-py's ``redis.asyncio``, which is never closed here. ``api_key``
    defaults to LEADFEEDER_API_KEY; only a hash of it names the entry on the server. ``rate`` and ``burst`` are those of
    all processes together, and the same in each. ``share`` is for bulk work: with 0.5 it leaves half the burst to
    others, who need not wait for it; when nobody else wants anything, it has the whole rate.

    A server that does not answer within ``timeout`` seconds is tried for ``outage_timeout`` seconds; then
    :class:`~leadfeeder_async.RateLimiterUnavailableError` is raised, at once for every call, until it answers again.
    With ``fallback_share=0.25`` this process instead goes on by itself, at a quarter of the rate and without a burst.

    Make one per process and event loop. It opens on the first call; close it after the client.
    """

    def __init__(
        self,
        redis: str | RedisClient,
        api_key: str | None = None,
        *,
        rate: float = DEFAULT_RATE,
        burst: int = DEFAULT_BURST,
        burst_share: float = 1.0,
        timeout: float = 1.0,
        outage_timeout: float = 10.0,
        fallback_share: float | None = None,
    ) -> None:
        check_argument(0 < rate < inf, f"rate={rate!r} must be more than 0 requests a second.")
        check_argument(burst >= 1, f"burst={burst!r} must be 1 or more.")
        check_argument(0 < burst_share <= 1, f"burst_share={burst_share!r} must be more than 0, and 1 at most.")
        check_argument(0 < timeout < inf, f"timeout={timeout!r} must be more than 0 seconds.")
        check_argument(0 <= outage_timeout < inf, f"outage_timeout={outage_timeout!r} must be 0 seconds or more.")
        fits = fallback_share is None or 0 < fallback_share <= 1
        check_argument(fits, f"fallback_share={fallback_share!r} must be more than 0, and 1 at most.")
        self._key = key_of(read_api_key(api_key).reveal(), "limit")
        self._settings = (rate, burst, burst_share)
        self._outage_timeout = outage_timeout
        self._script = RedisScript(redis, "rate_limit.lua", timeout)
        self._local = None if fallback_share is None else TokenBucket(rate * fallback_share, 1)
        self._used_fallback = False
        self._outage = OutageTracker()
        self._turn = anyio.Lock(fast_acquire=True)
        self._unused_tokens = list[_Token]()
        self._not_before = 0.0
        self._pauses = 0
        self._tasks = set[asyncio.Task[object]]()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.used = 0
        """The month's requests of all processes, as last heard."""

    def __repr__(self) -> str:
        rate, burst, share = self._settings
        return f"<RedisLimiter {self._key} {rate:g}/s, burst {burst}, share {share:g}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Tell the server what is left to tell, and close the connections; takes ``timeout`` seconds at most."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._script.aclose()

    @property
    def server_calls(self) -> int:
        """Commands this process has sent to the server."""
        return self._script.calls

    async def acquire(self) -> None:
        """Wait in order for this process's turn, and for the token it took from the shared bucket.

        Raises LimiterUnavailableError where the server has been down for ``outage_timeout`` seconds, QuotaExceededError
        where a process has met the end of the month's requests. Nothing was sent then.
        """
        self._bind()
        async with self._turn:
            while not await self._wait_for_token(await self._token()):
                pass

    def pause(self, seconds: float) -> None:
        """Hold every process back for ``seconds``, and empty the bucket: the server answered 429.

        This process stops at once. Another may still send the one request whose token it had taken before.
        """
        self._pauses += 1
        self._not_before = max(self._not_before, self._bind().time() + seconds)
        self._unused_tokens.clear()
        if self._local is not None:
            self._local.pause(seconds)
        self._spawn(self._notify_server("pause", round(seconds * 1e6)))

    def record_usage(self, requests: int) -> None:
        """Tell every process how many of the month's requests are used; the most counts."""
        self._spawn(self._notify_server("used", requests))

    def mark_exhausted(self) -> None:
        """Tell every process that the month's requests are used up."""
        self._spawn(self._notify_server("quota_exhausted", int(f"{datetime.now(UTC):%Y%m}")))

    def _bind(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop not in {None, loop}:
            raise WrongLoopError("This RedisLimiter belongs to another event loop.")
        self._loop = loop
        return loop

    async def _token(self) -> _Token | None:
        """Return a token that was kept or a new one; None where this process goes by itself."""
        while True:
            if self._unused_tokens:
                token = self._unused_tokens.pop(0)
                if _now() <= token.until:
                    return token
                continue
            if self._outage.may_try(_now()):
                try:
                    return await self._take()
                except FAILURES as error:
                    self._note_failure(error)
            if self._local is not None:
                self._used_fallback = True
                await self._local.acquire()
                return None
            self._raise_if_down()
            await asyncio.sleep(RETRY_INTERVAL)

    def _note_failure(self, error: BaseException) -> None:
        now = _now()
        if self._outage.since is None:
            logger.warning("The shared limit cannot be asked (%s: %s)", type(error).__name__, error)
        patient = self._local is None and self._outage.duration(now) < self._outage_timeout
        self._outage.record_failure(error, now, 0.0 if patient else PROBE_INTERVAL)

    def _raise_if_down(self) -> None:
        lasted, last = self._outage.duration(_now()), self._outage.last
        if lasted >= self._outage_timeout:
            said = f"The shared limit has not answered for {lasted:.1f} s ({type(last).__name__}: {last})."
            raise RateLimiterUnavailableError(said) from last

    async def _take(self) -> _Token:
        """Take a token from the server. A caller cancelled meanwhile leaves it to the next one."""
        asking = self._spawn(self._request_token())
        try:
            token = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(self._keep_answer)
            raise
        if self._outage.record_success():
            logger.warning("The shared limit answers again")
        if not isinstance(token, _Token):
            said = "The month's requests are used up, as a process that shares this limit was told."
            raise QuotaExceededError(said, ErrorContext(code="quota_exceeded", retry_at=token))
        return token

    async def _request_token(self) -> _Token | datetime:
        """Ask for a token; return when the month ends instead, where its requests are used up."""
        began, pauses, alone = _now(), self._pauses, self._used_fallback
        wait, good, name, self.used = await self._run("acquire_after_outage" if alone else "take")
        if wait < 0:
            return next_month(date(name // 100, name % 100, 1))
        self._used_fallback = self._used_fallback and not alone
        return _Token(_now() + wait / 1e6, began + (wait + good) / 1e6, name, pauses)

    async def _wait_for_token(self, token: _Token | None) -> bool:
        """Wait until a token may be used; tell whether it is still good then."""
        if token is None:
            return True
        try:
            while (wait := max(token.at, self._not_before) - _now()) > 0:  # noqa: ASYNC110 - as in limits.py
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self._recycle(token)
            raise
        return token.pauses == self._pauses and _now() <= max(token.until, token.at + MAX_WAKEUP_DELAY)

    def _keep_answer(self, asking: asyncio.Task[_Token | datetime]) -> None:
        if not asking.cancelled() and asking.exception() is None and isinstance(token := asking.result(), _Token):
            self._recycle(token)

    def _recycle(self, token: _Token) -> None:
        """Leave a token that was not used to the next caller of this process, or else give it back."""
        if self._turn.statistics().tasks_waiting:
            self._unused_tokens.append(token)
        elif token.pauses == self._pauses:
            self._spawn(self._give_back(token))

    async def _give_back(self, token: _Token) -> None:
        given_back = await self._notify_server("release", token.name)
        if not given_back and token.pauses == self._pauses:
            self._unused_tokens.append(token)

    async def _notify_server(self, what: str, value: int = 0) -> bool:
        """Tell the server something that nobody waits for; tell whether it took it."""
        try:
            _, done, _, self.used = await self._run(what, value)
        except FAILURES as error:
            logger.warning("The shared limit was not told %r (%s: %s)", what, type(error).__name__, error)
            return False
        return bool(done)

    async def _run(self, what: str, value: int = 0) -> tuple[int, int, int, int]:
        wait, done, name, used = await self._script.run(self._key, what, *self._settings, value)
        return wait, done, name, used

    def _spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        task = self._bind().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _now() -> float:
    return asyncio.get_running_loop().time()
