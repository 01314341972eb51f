"""The one place that touches redis-py: scripts run on a server, within a time limit."""

from __future__ import annotations

import asyncio
from hashlib import sha1, sha256
from pathlib import Path
from typing import Protocol

import msgspec

from leadfeeder_async.errors import ConfigurationError

try:
    from redis.asyncio import from_url
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import NoScriptError, RedisError
except ImportError:
    raise ConfigurationError(
        "Sharing a limit needs redis-py, which is not installed.", hint="pip install 'leadfeeder-async[redis]'"
    ) from None

FAILURES = (RedisError, OSError, TimeoutError, msgspec.ValidationError)
"""What a server that is down, slow, failed over or out of memory makes of a script."""

RETRY_INTERVAL = 0.1
"""Seconds between tries while a server that has just gone is waited for."""

PROBE_INTERVAL = 1.0
"""Seconds between tries once it is known to be down."""


class RedisClient(Protocol):
    """What is needed of redis-py's asynchronous clients: a single server's, a Sentinel's or a cluster's."""

    async def execute_command(self, *args: str | float) -> object:
        """Send a command and return its reply."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class RedisScript:
    """A Lua script on a server. It is sent whole only where the server does not have it."""

    def __init__(self, redis: str | RedisClient, name: str, timeout: float) -> None:
        self._text = (Path(__file__).parent / name).read_text(encoding="utf-8")
        self._sha = sha1(self._text.encode(), usedforsecurity=False).hexdigest()
        self._own = isinstance(redis, str)
        self._client = _connect(redis, timeout) if isinstance(redis, str) else redis
        self._timeout = timeout
        self.calls = 0
        """Commands sent so far."""

    async def run(self, key: str, *args: str | float) -> tuple[int, ...]:
        """Run it on one key; raises one of ``FAILURES`` where the server does not answer in time, or wrongly."""
        async with asyncio.timeout(self._timeout):
            try:
                reply = await self._send("EVALSHA", self._sha, 1, key, *args)
            except NoScriptError:  # flushed, restarted, failed over
                reply = await self._send("EVAL", self._text, 1, key, *args)
        return msgspec.convert(reply, tuple[int, ...])

    async def aclose(self) -> None:
        """Close the connections, unless the client was brought along."""
        if self._own:
            await self._client.aclose()

    async def _send(self, *command: str | float) -> object:
        self.calls += 1
        return await self._client.execute_command(*command)


class OutageTracker:
    """What is known of a server that does not answer."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.last: BaseException | None = None
        self._next_try = 0.0

    def may_try(self, now: float) -> bool:
        """Whether the server is to be asked now."""
        return self.since is None or now >= self._next_try

    def record_failure(self, error: BaseException, now: float, pause: float) -> None:
        """Learn of a failure; the next try comes after ``pause``."""
        self.since = now if self.since is None else self.since
        self.last, self._next_try = error, now + pause

    def duration(self, now: float) -> float:
        """For how many seconds it has lasted."""
        return 0.0 if self.since is None else now - self.since

    def record_success(self) -> bool:
        """Learn of an answer; tell whether there was an outage."""
        was, self.since, self.last = self.since is not None, None, None
        return was


def _connect(url: str, timeout: float) -> RedisClient:
    try:
        return from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1),
            decode_responses=True,
        )
    except ValueError as error:
        raise ConfigurationError(f"This is no address of a Redis server: {error}", hint="redis://host:6379/0") from None


def key_of(api_key: str, kind: str) -> str:
    """Name what the server holds for a key, without telling the key; one slot of a cluster holds it all."""
    return f"leadfeeder:{{{sha256(api_key.encode()).hexdigest()[:16]}}}:{kind}"
