"""Lua scripts on a Redis server. This is the only module that uses redis-py."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from hashlib import sha1, sha256
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from leadfeeder_async._core.redaction import MIN_PASSWORD_CHARS, Redactor
from leadfeeder_async._secret import Secret
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.settings import find_api_key

try:
    from redis.asyncio import Redis, from_url
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.credentials import CredentialProvider
    from redis.exceptions import NoScriptError, RedisError
except ImportError:
    raise ConfigurationError(
        "redis-py is not installed. Shared limits require it.",
        hint="Run pip install redis, or install the extra redis.",
    ) from None

T = TypeVar("T")

FAILURES = (RedisError, OSError, TimeoutError, msgspec.MsgspecError)
"""The errors of a script if the server is down, slow, failing over or out of memory."""


_QUOTED_ARGUMENTS = re.compile(r",? with args beginning with:.*", re.DOTALL)


class RunIdError(RedisError):
    """The script could not read the run id of the server. The message is the server's reason."""


RETRY_INTERVAL = 0.1
"""Seconds between attempts while callers wait for a server that stopped responding."""

PROBE_INTERVAL = 1.0
"""Seconds between attempts when callers no longer wait for the server."""


class RedisClient(Protocol):
    """An asynchronous client of redis-py, for a single server, Sentinel or a cluster."""

    async def execute_command(self, *args: str | float) -> object:
        """Send a command and return its response."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class RedisScript:
    """A Lua script on a server. Its source is sent only if the server does not have it.

    Args:
        redis: The URL of the server, or a client.
        name: The file of the script.
        timeout: Seconds to wait for one command.

    """

    def __init__(self, redis: str | RedisClient, name: str, timeout: float) -> None:
        self._source = (Path(__file__).parent / name).read_text(encoding="utf-8")
        self._sha = sha1(self._source.encode(), usedforsecurity=False).hexdigest()
        self._url: Secret | None = None
        try:
            if isinstance(redis, str):
                self._url = Secret(redis)
            self._redactor = Redactor(*_passwords_of(redis))
            self._client: RedisClient = _connect(Secret(redis), timeout) if isinstance(redis, str) else redis
        finally:
            redis = ""  # a traceback with locals would show the password
        self._timeout = timeout
        self.calls = 0
        """The number of commands sent."""

    async def run(self, key: str, *args: str | float) -> object:
        """Run the script on one key and return its response.

        Raises one of ``FAILURES`` if the server fails or does not respond in time. Errors are raised outside the except
        block, without the frames of redis-py and without the arguments of commands, which hold the password.
        """
        failure: BaseException
        try:
            return await self._run(key, *args)
        except BaseException as error:  # noqa: BLE001 - cancellations must lose those frames too
            failure = error
        failure.__cause__ = failure.__context__ = None
        failure.args = tuple(self._without_password(arg) if isinstance(arg, str) else arg for arg in failure.args)
        raise failure.with_traceback(None)

    def _without_password(self, text: str) -> str:
        """Return an error message without the password. A server that does not know a command quotes its arguments."""
        return _QUOTED_ARGUMENTS.sub(" with arguments that are not shown", self._redactor.text(text))

    async def _run(self, key: str, *args: str | float) -> object:
        async with asyncio.timeout(self._timeout):
            try:
                return await self._send("EVALSHA", self._sha, 1, key, *args)
            except NoScriptError:  # after a flush, a restart or a failover
                return await self._send("EVAL", self._source, 1, key, *args)

    def reconnect(self) -> bool:
        """Replace the connections after a fork, and return True. Return False if the client was passed in."""
        if self._url is None:
            return False
        self._client = _connect(self._url, self._timeout)
        return True

    async def aclose(self) -> None:
        """Close the connections, unless the client was passed in."""
        if self._url is not None:
            await self._client.aclose()

    async def _send(self, *command: str | float) -> object:
        self.calls += 1
        return await _keep_cancellation(self._client.execute_command(*command))


async def _keep_cancellation(command: Awaitable[T]) -> T:
    """Return the response to a command, or raise CancelledError if the task was canceled meanwhile.

    redis-py uses ``asyncio.wait_for``, which on Python 3.11 loses a cancellation if its result arrives at that moment.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        response = await command
    except Exception:
        if task is not None and task.cancelling() > before:
            await _raise_canceled()
        raise
    if task is not None and task.cancelling() > before:
        await _raise_canceled()
    return response


async def _raise_canceled() -> NoReturn:
    await asyncio.sleep(0)  # an anyio scope cancels the task again, with the exception that it expects
    raise asyncio.CancelledError


class OutageTracker:
    """The state of an outage: when it began, its last error, and when to try the server again."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.last: BaseException | None = None
        self._next_try = 0.0

    def may_try(self, now: float) -> bool:
        """Return True if a command should be sent now."""
        return self.since is None or now >= self._next_try

    def record_failure(self, error: BaseException, now: float, pause: float) -> None:
        """Record a failed command. The next attempt is due after ``pause`` seconds."""
        self.since = now if self.since is None else self.since
        self.last, self._next_try = error, now + pause

    def duration(self, now: float) -> float:
        """Return how many seconds the outage has lasted."""
        return 0.0 if self.since is None else now - self.since

    def record_success(self) -> bool:
        """Record a response. Return True if it ended an outage."""
        was_down, self.since, self.last = self.since is not None, None, None
        return was_down


class _Password(CredentialProvider):
    """The credentials of a URL. The objects of redis-py would show them as attributes."""

    def __init__(self, user: Secret | None, password: Secret) -> None:
        self._user, self._password = user, password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._password.reveal()
        return (password,) if self._user is None else (self._user.reveal(), password)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def _passwords_of(redis: str | RedisClient) -> list[Secret]:
    """Return the password of a URL or of a client, if there is one. Nothing is connected."""
    try:
        client = from_url(redis) if isinstance(redis, str) else redis
    except ValueError:
        return []
    finally:
        redis = ""  # a traceback with locals would show the password
    password = client.connection_pool.connection_kwargs.get("password") if isinstance(client, Redis) else None
    if isinstance(password, bytes):
        password = password.decode(errors="replace")
    return [Secret(password)] if isinstance(password, str) and len(password) >= MIN_PASSWORD_CHARS else []


def _connect(url: Secret, timeout: float) -> RedisClient:
    client = _client_of(url, timeout)
    if client is None:
        raise ConfigurationError(
            "Invalid Redis URL (its value is not shown).",
            hint="Use a URL such as redis://host:6379/0, and percent-encode special characters of the login.",
        )
    return client


def _client_of(url: Secret, timeout: float) -> RedisClient | None:
    """Return a client, or None if the URL is invalid. The error of redis-py may contain a part of the password."""
    if "://" not in url.reveal():  # redis-py would ignore the host and connect to this machine
        return None
    try:
        if "@" in "".join(urlsplit(url.reveal())[2:]):  # a character of the password that is not encoded
            return None
        client = from_url(
            url.reveal(),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1),
            decode_responses=True,
        )
        arguments = client.connection_pool.connection_kwargs
        client.connection_pool.connection_class(**arguments)  # not connected; it rejects unknown parameters of the URL
    except (ValueError, TypeError, AttributeError):
        return None
    if arguments.get("credential_provider") is not None:
        return None
    user, password = arguments.pop("username", None), arguments.pop("password", None)
    if user or password:
        arguments["credential_provider"] = _Password(Secret(user) if user else None, Secret(password or ""))
    return client


def limit_key(api_key: str | None, namespace: str | None, kind: str) -> str:
    """Return the name of an entry on the server for a namespace or, without one, for an API key."""
    try:
        if namespace is None:
            return key_of(find_api_key(api_key).reveal(), kind)
        check_argument(api_key is None, "api_key and namespace cannot be combined.", "Pass one of them.")
        check_argument(namespace, "namespace='' must not be empty.")
        return key_of(f"namespace {namespace}", kind)
    finally:
        api_key = None  # a traceback with locals would show it


def key_of(api_key: str, kind: str) -> str:
    """Return the name of an entry for an API key. It contains a hash of the key and fits into one slot of a cluster."""
    return f"leadfeeder:{{{sha256(api_key.encode()).hexdigest()[:16]}}}:{kind}"
