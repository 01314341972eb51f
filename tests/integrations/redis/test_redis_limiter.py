"""One process and its shared limit: cancelled callers, a server that is away, and what other processes are told.

Real time, where a server has to be waited for.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, tzinfo

import pytest

from leadfeeder_async import AsyncLeadfeeder, QuotaExceededError, RateLimiterUnavailableError
from leadfeeder_async._core.monthly_quota import next_month
from leadfeeder_async.integrations import redis as integration
from leadfeeder_async.integrations._redis_script import key_of
from leadfeeder_async.integrations.redis import RedisLimiter
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for
from tests.support.redis import RedisServer, unused_port

KEY = "canary-key-1234567890"


def limiter_of(server: RedisServer, **options: float) -> RedisLimiter:
    settings: dict[str, float] = {"rate": 50.0, "burst": 5, **options}
    return RedisLimiter(server.url, KEY, **settings)


@pytest.fixture(autouse=True)
def fresh(redis_server: RedisServer) -> None:
    redis_server.execute("FLUSHALL")


async def test_a_cancelled_caller_gives_its_token_back(redis_server: RedisServer) -> None:
    """The month's count and the next token's time are as if it had never asked."""
    async with limiter_of(redis_server) as limiter:
        await limiter.acquire()  # a fresh server holds everyone back for a second
        before = redis_server.execute("HGET", key_of(KEY, "limit"), "next")
        for _ in range(10):
            await limiter.acquire()
        used = limiter.used
        task = asyncio.create_task(limiter.acquire())
        while redis_server.execute("HGET", key_of(KEY, "limit"), "used") != str(used + 1):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert redis_server.execute("HGET", key_of(KEY, "limit"), "used") == str(used)
    assert redis_server.execute("HGET", key_of(KEY, "limit"), "next") != before


async def test_a_cancelled_caller_leaves_its_token_to_the_next(redis_server: RedisServer) -> None:
    """Of three callers the first is cancelled while it waits: the others take one token each, and none is lost."""
    async with limiter_of(redis_server, burst=2) as limiter:
        tasks = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tasks[0].cancelled()
        assert limiter.used <= 3
    assert redis_server.execute("HGET", key_of(KEY, "limit"), "used") in {"2", "3"}


async def test_the_key_is_not_on_the_server(redis_server: RedisServer) -> None:
    """Only a hash of the key names what is stored."""
    async with limiter_of(redis_server) as limiter:
        await limiter.acquire()
        assert KEY not in repr(limiter)
    assert KEY not in str(redis_server.execute("KEYS", "*"))
    assert key_of(KEY, "limit") in str(redis_server.execute("KEYS", "*"))


async def test_nothing_is_sent_while_the_server_is_away() -> None:
    """Without a fallback every call fails by name, at once after the first, and the API sees none of them."""
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


async def test_it_goes_on_alone_where_it_may() -> None:
    """With a fallback share the calls go on at that part of the rate."""
    url = f"redis://127.0.0.1:{unused_port()}/0"
    async with RedisLimiter(url, KEY, rate=400, fallback_share=0.25, timeout=0.1) as limiter:
        loop = asyncio.get_running_loop()
        await limiter.acquire()
        began = loop.time()
        for _ in range(20):
            await limiter.acquire()
        assert loop.time() - began >= 0.9 * 20 / 100


async def test_it_recovers_by_itself(redis_server: RedisServer) -> None:
    """A server that comes back is used again, without a new limiter."""
    async with limiter_of(redis_server, timeout=0.2, outage_timeout=0.1) as limiter:
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
        assert redis_server.execute("HGET", key_of(KEY, "limit"), "used") is not None


async def test_the_end_of_the_month_reaches_every_process(redis_server: RedisServer) -> None:
    """Where one client meets the end of the month's requests, another sends nothing more."""
    async with (
        Sandbox(companies=5, visits=5, rate_limit=False, quota=2) as sandbox,
        RedisLimiter(redis_server.url, sandbox.api_key, rate=1_000) as one,
        RedisLimiter(redis_server.url, sandbox.api_key, rate=1_000) as two,
        client_for(sandbox, limiter=one, monthly_quota=2) as first,
        client_for(sandbox, limiter=two, monthly_quota=2) as second,
    ):
        await first.users.me()
        await second.users.me()
        with pytest.raises(QuotaExceededError):
            await first.users.me()
        await one.aclose()
        sent = len(sandbox.ledger.requests)
        with pytest.raises(QuotaExceededError) as caught:
            await second.users.me()
        assert len(sandbox.ledger.requests) == sent
        assert caught.value.retry_at is not None
        assert caught.value.retry_at.date() > datetime.now(UTC).date()


class Behind(datetime):
    """The clock of a process that is behind."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime(2026, 10, 31, 23, 59, 59, tzinfo=tz)


async def test_which_month_is_over_is_told_by_who_heard_it(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a month is kept under that month, by the clock of the process that met it, whenever the news comes."""
    monkeypatch.setattr(integration, "datetime", Behind)
    async with limiter_of(redis_server) as limiter:
        limiter.mark_exhausted()
    assert redis_server.execute("HGET", key_of(KEY, "limit"), "ended") == "202610"


async def test_when_requests_are_there_again_is_told_by_the_server(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the end of the month that the server means, whatever the clock of this process says."""
    async with limiter_of(redis_server) as one:
        one.mark_exhausted()
    ends = next_month(datetime.now(UTC))
    monkeypatch.setattr(integration, "datetime", Behind)
    async with limiter_of(redis_server) as other:
        with pytest.raises(QuotaExceededError) as caught:
            await other.acquire()
    assert caught.value.retry_at == ends


async def test_usage_starts_the_count(redis_server: RedisServer) -> None:
    """What the server says of the month's requests is known to every process."""
    async with (
        Sandbox(companies=5, visits=5, rate_limit=False) as sandbox,
        RedisLimiter(redis_server.url, sandbox.api_key, rate=1_000) as one,
        AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id="310042", rate=1_000, burst=100) as unshared,
        AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id="310042", limiter=one) as lf,
    ):
        for _ in range(30):
            await unshared.users.me()
        month = f"{datetime.now(UTC):%Y-%m}"
        await lf.usage.get(start_period=month, end_period=month)
        await one.aclose()
        assert int(str(redis_server.execute("HGET", key_of(sandbox.api_key, "limit"), "used"))) >= 30
