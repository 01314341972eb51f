"""The one place that touches redis-py: scripts run on a server, within a time limit."""

from __future__ import annotations

import asyncio
from hashlib import sha1
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
        "Sharing a limit needs redis-py, which is not installed.", advice="pip install 'leadfeeder-async[redis]'"
    ) from None

FAILURES = (RedisError, OSError, TimeoutError, msgspec.ValidationError)
"""What a server that is down, slow, failed over or out of memory makes of a script."""


class Client(Protocol):
    """What is needed of redis-py's asynchronous clients: a single server's, a Sentinel's or a cluster's."""

    async def execute_command(self, *args: str | float) -> object:
        """Send a command and return its reply."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class Script:
    """A Lua script on a server. It is sent whole only where the server does not have it."""

    def __init__(self, redis: str | Client, name: str, timeout: float) -> None:
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


def _connect(url: str, timeout: float) -> Client:
    try:
        return from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1),
            decode_responses=True,
        )
    except ValueError as error:
        raise ConfigurationError(
            f"This is no address of a Redis server: {error}", advice="redis://host:6379/0"
        ) from None
