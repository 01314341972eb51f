"""One process and its shared rate limit: canceled callers, outages of the server, and messages of other processes.

Tests that wait for a server run in real time.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from datetime import UTC, datetime, tzinfo

import anyio
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from leadfeeder_async import AsyncLeadfeeder, ConfigurationError, QuotaExceededError, RateLimiterUnavailableError
from leadfeeder_async._core.monthly_quota import next_month
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.integrations import redis as integration
from leadfeeder_async.integrations._redis_script import RedisScript, key_of
from leadfeeder_async.integrations.redis import RedisCredits, RedisLimiter
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for
from tests.support.redis import RedisServer, unused_port

KEY = "canary-key-1234567890"


def limiter_on(server: RedisServer, **options: float) -> RedisLimiter:
    """Return a limiter that uses a server."""
    settings: dict[str, float] = {"rate": 50.0, "burst": 5, **options}
    return RedisLimiter(server.url, KEY, **settings)


def stored(server: RedisServer, field: str, key: str = KEY) -> object:
    """Return a field of the entry of a key on the server."""
    return server.execute("HGET", key_of(key, "limit"), field)


@pytest.fixture(autouse=True)
def empty_server(redis_server: RedisServer) -> None:
    redis_server.execute("FLUSHALL")


async def test_canceled_caller_returns_its_token(redis_server: RedisServer) -> None:
    """The number of requests and the time of the next token are as if the caller had never existed."""
    async with limiter_on(redis_server, rate=4) as limiter:
        await limiter.acquire()  # an empty server lets no caller send for a second
        before = stored(redis_server, "next")
        for _ in range(2):
            await limiter.acquire()
        used = limiter.used
        task = asyncio.create_task(limiter.acquire())
        while stored(redis_server, "used") != str(used + 1):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert stored(redis_server, "used") == str(used)
    assert stored(redis_server, "next") != before


async def test_canceled_caller_leaves_its_token_to_the_next(redis_server: RedisServer) -> None:
    """If the first of three callers is canceled, the others use one token each, and no token is lost."""
    async with limiter_on(redis_server, burst=2) as limiter:
        tasks = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tasks[0].cancelled()
        assert limiter.used <= 3
    assert stored(redis_server, "used") in {"2", "3"}


async def test_connections_are_closed_in_a_canceled_scope(redis_server: RedisServer) -> None:
    """Leaving the context in a canceled scope of anyio closes the connections to the server."""
    for _ in range(5):
        with anyio.CancelScope() as scope:
            async with (
                RedisCredits(redis_server.url, "x", 9, KEY) as pool,
                limiter_on(redis_server) as limiter,
            ):
                await limiter.acquire()
                await pool.reserve(1, ErrorContext())
                scope.cancel()
    await asyncio.sleep(0.05)
    clients = str(redis_server.execute("CLIENT", "LIST"))
    assert clients.count("name=") == 1  # the one that asks


async def test_api_key_is_not_stored_on_the_server(redis_server: RedisServer) -> None:
    """The name of the entry contains only a hash of the API key."""
    async with limiter_on(redis_server) as limiter:
        await limiter.acquire()
        assert KEY not in repr(limiter)
    assert KEY not in str(redis_server.execute("KEYS", "*"))
    assert key_of(KEY, "limit") in str(redis_server.execute("KEYS", "*"))


async def test_nothing_is_sent_during_an_outage() -> None:
    """Without a fallback, every call raises an error, immediately after the first, and the API gets no request."""
    url = f"redis://127.0.0.1:{unused_port()}/0"
    async with (
        Sandbox(companies=5, visits=5, rate_limit=False) as sandbox,
        RedisLimiter(url, sandbox.api_key, outage_timeout=0.15, timeout=0.1) as limiter,
        AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id="310042", limiter=limiter) as lf,
    ):
        for _ in range(3):
            with pytest.raises(RateLimiterUnavailableError) as caught:
                await lf.users.me()
            assert (caught.value.sent, caught.value.context.operation) == ("no", "get_current_user")
        assert sandbox.ledger.requests == []


async def test_fallback_share_of_the_rate() -> None:
    """During an outage, calls continue at the fallback share of the rate."""
    url = f"redis://127.0.0.1:{unused_port()}/0"
    async with RedisLimiter(url, KEY, rate=400, fallback_share=0.25, timeout=0.1) as limiter:
        loop = asyncio.get_running_loop()
        await limiter.acquire()
        started = loop.time()
        for _ in range(20):
            await limiter.acquire()
        assert loop.time() - started >= 0.9 * 20 / 100


async def test_limiter_recovers_after_an_outage(redis_server: RedisServer) -> None:
    """The same limiter uses the server again when it is back."""
    async with limiter_on(redis_server, timeout=0.2, outage_timeout=0.1) as limiter:
        await limiter.acquire()
        redis_server.kill()
        with pytest.raises(RateLimiterUnavailableError):
            await limiter.acquire()
        redis_server.start()
        for _ in range(40):
            try:
                await limiter.acquire()
                break
            except RateLimiterUnavailableError:
                await asyncio.sleep(0.1)
        assert stored(redis_server, "used") is not None


async def test_exhausted_quota_stops_every_process(redis_server: RedisServer) -> None:
    """After one client learns that the monthly quota is used up, another client sends nothing."""
    async with (
        Sandbox(companies=5, visits=5, rate_limit=False, quota=2) as sandbox,
        RedisLimiter(redis_server.url, sandbox.api_key, rate=1_000) as first_limiter,
        RedisLimiter(redis_server.url, sandbox.api_key, rate=1_000) as second_limiter,
        client_for(sandbox, limiter=first_limiter, monthly_quota=2) as first,
        client_for(sandbox, limiter=second_limiter, monthly_quota=2) as second,
    ):
        await first.users.me()
        await second.users.me()
        with pytest.raises(QuotaExceededError):
            await first.users.me()
        await first_limiter.aclose()
        sent = len(sandbox.ledger.requests)
        with pytest.raises(QuotaExceededError) as caught:
            await second.users.me()
        assert len(sandbox.ledger.requests) == sent
        assert caught.value.retry_at is not None
        assert caught.value.retry_at.date() > datetime.now(UTC).date()


class SlowClock(datetime):
    """The clock of a process that is behind."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime(2026, 10, 31, 23, 59, 59, tzinfo=tz)


async def test_exhausted_month_is_the_callers_month(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The month that is used up is the month of the process that reports it, even if the report arrives later."""
    monkeypatch.setattr(integration, "datetime", SlowClock)
    async with limiter_on(redis_server) as limiter:
        limiter.mark_exhausted()
    assert stored(redis_server, "ended") == "202610"


async def test_retry_at_is_the_end_of_the_servers_month(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the end of the server's month, even if the clock of this process is behind."""
    async with limiter_on(redis_server) as reporting:
        reporting.mark_exhausted()
    expected = next_month(datetime.now(UTC))
    monkeypatch.setattr(integration, "datetime", SlowClock)
    async with limiter_on(redis_server) as other:
        with pytest.raises(QuotaExceededError) as caught:
            await other.acquire()
    assert caught.value.retry_at == expected


async def test_reported_usage_is_shared(redis_server: RedisServer) -> None:
    """The number of requests that ``usage.get`` returns is stored for all processes."""
    async with (
        Sandbox(companies=5, visits=5, rate_limit=False) as sandbox,
        RedisLimiter(redis_server.url, sandbox.api_key, rate=1_000) as limiter,
        AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id="310042", rate=1_000, burst=100) as unshared,
        AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id="310042", limiter=limiter) as lf,
    ):
        for _ in range(30):
            await unshared.users.me()
        month = f"{datetime.now(UTC):%Y-%m}"
        await lf.usage.get(start_period=month, end_period=month)
        await limiter.aclose()
        assert int(str(stored(redis_server, "used", sandbox.api_key))) >= 30


class HourAhead:
    """A client of redis-py whose server assigns tokens in an hour."""

    async def execute_command(self, *args: str | float) -> object:
        return [3_600_000_000, 100_000, 1, 1]

    async def aclose(self) -> None: ...


async def test_token_in_an_hour_raises() -> None:
    """A caller is not held for an hour without an error, whatever the server responds."""
    async with RedisLimiter(HourAhead(), KEY) as limiter:
        with pytest.raises(RateLimiterUnavailableError, match="assigned a token in 3,600 s"):
            await asyncio.wait_for(limiter.acquire(), 5)


async def test_state_of_a_server_an_hour_ahead_holds_nobody(redis_server: RedisServer) -> None:
    """A process gets a token soon, although another server has left times that are an hour ahead."""
    async with limiter_on(redis_server) as limiter:
        await limiter.acquire()
        for field in ("next", "not_before"):
            ahead = round((datetime.now(UTC).timestamp() + 3600) * 1e6)
            redis_server.execute("HSET", key_of(KEY, "limit"), field, ahead)
            await asyncio.wait_for(limiter.acquire(), 5)


async def test_lower_rate_of_an_ended_process_limits_nobody(redis_server: RedisServer) -> None:
    """The rate of a process holds for its own tokens. Only a 429 reduces the rate of others."""
    async with RedisLimiter(redis_server.url, KEY, rate=2, burst=1) as limiter:
        await limiter.acquire()
    async with RedisLimiter(redis_server.url, KEY, rate=1_000, burst=10) as limiter:
        await limiter.acquire()
        started = time.monotonic()
        for _ in range(100):
            await limiter.acquire()
        assert time.monotonic() - started < 2  # 50 s at the lower rate


async def test_namespace_replaces_the_key(redis_server: RedisServer) -> None:
    """With a namespace, the limiter needs no key, and a new key of the client changes nothing."""
    async with RedisLimiter(redis_server.url, namespace="prod", rate=50, burst=5) as limiter:
        await limiter.acquire()
        limiter.use_key("other")
        await limiter.acquire()
        assert limiter.used == 2
    with pytest.raises(ConfigurationError, match="cannot be combined"):
        RedisLimiter(redis_server.url, KEY, namespace="prod")
    with pytest.raises(ConfigurationError, match="must not be empty"):
        RedisLimiter(redis_server.url, namespace="")


@pytest.mark.parametrize("url", ["redis://:{}@{}/0", "redis://{1}/0?password={0}", "client"])
async def test_server_that_returns_the_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the server that contains the password in any form is shown without it."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4_096):
            writer.write(b"-WRONGPASS pa'55word, pa%2755word and cGEnNTV3b3Jk are invalid\r\n")
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = Redis(port=port, password="pa'55word", retry=Retry(NoBackoff(), 0))
    target = client if url == "client" else url.format("pa%2755word", f"127.0.0.1:{port}")
    async with server, client, RedisLimiter(target, KEY, rate=50, burst=5, outage_timeout=0.2) as limiter:
        with pytest.raises(RateLimiterUnavailableError, match=r"\*\*\* are invalid") as caught:
            await limiter.acquire()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "55word" not in shown
    assert "cGEnNTV3b3Jk" not in shown


def test_short_passwords_are_not_searched_for() -> None:
    """A password that is part of many words would make errors unreadable."""
    for password, shown in (("e", "the server"), (b"server", "the ***")):
        script = RedisScript(Redis(password=password), "rate_limit.lua", 1)
        assert script._without_password("the server") == shown


async def test_limit_follows_the_key_of_the_client(redis_server: RedisServer) -> None:
    """After a rotation, the limit and the quota are those of the new key."""
    async with Sandbox(companies=5, visits=5, rate_limit=False) as sandbox:
        old = sandbox.api_key
        async with (
            RedisLimiter(redis_server.url, old, rate=50, burst=5) as limiter,
            AsyncLeadfeeder(
                lambda: sandbox.api_key, base_url=sandbox.url, account_id=sandbox.account_id, limiter=limiter
            ) as lf,
        ):
            await lf.users.me()
            new = sandbox.rotate_key()
            await lf.users.me()
            await lf.users.me()
            assert limiter.used == 2
    assert (stored(redis_server, "used", old), stored(redis_server, "used", new)) == ("2", "2")


@pytest.mark.parametrize("protocol", [2, 3])
async def test_server_that_quotes_the_password(protocol: int, caplog: pytest.LogCaptureFixture) -> None:
    """Servers that do not know a command quote its arguments, which are in no error and no log."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while received := await reader.read(4_096):
            arguments = " ".join(
                f"'{part.decode()}'" for part in received.split(b"\r\n") if part and part[0] not in b"*$"
            )
            writer.write(f"-ERR unknown command, with args beginning with: {arguments}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        url = f"redis://:pa%2755word@127.0.0.1:{port}/0?protocol={protocol}"
        async with RedisLimiter(url, KEY, rate=50, burst=5, outage_timeout=0.2) as limiter:
            with pytest.raises(RateLimiterUnavailableError, match="arguments that are not shown") as caught:
                await limiter.acquire()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "55word" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1/0?bogus=1",
        "redis://127.0.0.1/0?ssl_password=secret-word",
        "redis://127.0.0.1/0?credential_provider=secret-word",
        "redis:/:secret-word@127.0.0.1/0",
        "127.0.0.1:6379",
        "redis://:4711/secret-word@127.0.0.1:6379/0",
        "redis://:4711?secret-word@127.0.0.1:6379/0",
        "redis://app:4711#secret-word@127.0.0.1:6379/0",
    ],
)
def test_invalid_urls(url: str) -> None:
    """A URL with unknown parameters, without a host or with a split password is an error. It is not shown."""
    with pytest.raises(ConfigurationError, match="Invalid Redis URL") as caught:
        RedisLimiter(url, KEY)
    assert "secret-word" not in str(caught.value)
