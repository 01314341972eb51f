"""Shared credits when the server loses its data, and when a process forks."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from redis.asyncio import Redis

from leadfeeder_async import BudgetExceededError, RateLimiterUnavailableError
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.integrations import redis_credits
from leadfeeder_async.integrations._redis_script import key_of
from leadfeeder_async.integrations.redis import RedisCredits, RedisLimiter
from tests.support.paths import DOCS
from tests.support.redis import RedisServer
from tests.support.shared_credits import abandon, report, settled

KEY = "canary-key-1234567890"
SCHEDULES = 2_000 if os.environ.get("SOAK") else 6
CONTEXT = ErrorContext()


@pytest.fixture(autouse=True)
def empty_server(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    redis_server.execute("FLUSHALL")
    monkeypatch.setattr(redis_credits, "RECOVERY_TIME", 0.2)
    monkeypatch.setattr(redis_credits, "HEARTBEAT_INTERVAL", 0.02)


@pytest.fixture
async def pools() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def open_pool(stack: AsyncExitStack, server: RedisServer, limit: int = 10, name: str = "job") -> RedisCredits:
    return await stack.enter_async_context(RedisCredits(server.url, name, limit, KEY, timeout=5.0))


async def spend(pool: RedisCredits, count: int) -> int:
    """Spend credits one at a time until they are refused. Return how many were granted."""
    for spent in range(count):
        try:
            await pool.reserve(1, CONTEXT)
        except BudgetExceededError:
            return spent
        pool.settle(1, 1)
    return count


async def test_idle_process_is_counted_after_a_flush(pools: AsyncExitStack, redis_server: RedisServer) -> None:
    """A process that is idle when the data is lost reports its credits before others are granted any."""
    idle, other = await open_pool(pools, redis_server), await open_pool(pools, redis_server)
    assert await spend(idle, 10) == 10
    redis_server.execute("FLUSHALL")
    assert await spend(other, 1) == 0


async def test_evicted_record_is_counted_again(pools: AsyncExitStack, redis_server: RedisServer) -> None:
    """A record that the server evicted is restored like one that was flushed."""
    idle = await open_pool(pools, redis_server)
    assert await spend(idle, 4) == 4
    redis_server.execute("DEL", key_of(KEY, "credits:job"))
    assert await spend(await open_pool(pools, redis_server), 10) == 6


async def test_credits_of_finished_processes_are_restored(pools: AsyncExitStack, redis_server: RedisServer) -> None:
    """A process that runs restores the credits of finished processes that it has seen."""
    async with RedisCredits(redis_server.url, "job", 10, KEY, timeout=5.0) as finished:
        assert await spend(finished, 5) == 5
    idle = await open_pool(pools, redis_server)
    assert await spend(idle, 2) == 2
    redis_server.execute("FLUSHALL")
    assert await spend(await open_pool(pools, redis_server), 10) == 3


async def test_restored_sum_is_not_counted_twice(pools: AsyncExitStack, redis_server: RedisServer) -> None:
    """Two processes that both report after a loss of data leave the rest of the limit."""
    first, second = await open_pool(pools, redis_server), await open_pool(pools, redis_server)
    assert (await spend(first, 3), await spend(second, 3)) == (3, 3)
    redis_server.execute("FLUSHALL")
    assert await spend(await open_pool(pools, redis_server), 10) == 4


def wait_for_link(replica: RedisServer) -> None:
    """Wait until a replica has loaded the data of its master."""
    for _ in range(500):
        state = replica.execute("INFO", "replication")
        if isinstance(state, dict) and state["master_link_status"] == "up":
            return
        time.sleep(0.01)
    raise AssertionError("the replica did not connect within 5 s")


async def test_failback_with_older_data_is_noticed(
    pools: AsyncExitStack, redis_server: RedisServer, tmp_path: Path
) -> None:
    """A server that loads older data from a former replica keeps its run id, and grants nothing before a recovery."""
    other = RedisServer(tmp_path)
    other.start()
    try:
        idle = await open_pool(pools, redis_server)
        assert await spend(idle, 1) == 1
        redis_server.execute("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        other.execute("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        other.execute("REPLICAOF", "127.0.0.1", redis_server.port)
        await asyncio.to_thread(wait_for_link, other)
        other.execute("REPLICAOF", "NO", "ONE")
        async with RedisCredits(redis_server.url, "job", 10, KEY, timeout=5.0) as finished:
            assert await spend(finished, 7) == 7
        await report(idle)
        redis_server.execute("REPLICAOF", "127.0.0.1", other.port)
        await asyncio.to_thread(wait_for_link, redis_server)
        redis_server.execute("REPLICAOF", "NO", "ONE")
        assert await spend(await open_pool(pools, redis_server), 10) == 2
    finally:
        other.kill()


def stored_record(server: RedisServer) -> dict[str, str]:
    """Return the fields of the record of the totals."""
    fields = server.execute("HGETALL", key_of(KEY, "credits:job"))
    assert isinstance(fields, dict)
    return {str(field): str(value) for field, value in fields.items()}


def replace_record(server: RedisServer, stored: dict[str, str]) -> None:
    """Replace the record with an older copy, as RESTORE does."""
    server.execute("DEL", key_of(KEY, "credits:job"))
    server.execute("HSET", key_of(KEY, "credits:job"), *(part for field in stored.items() for part in field))


@pytest.mark.parametrize(("is_finished", "left"), [(True, 0), (False, 2)])
async def test_restored_key_grants_nothing_to_process_that_knows_more(
    pools: AsyncExitStack, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, is_finished: bool, left: int
) -> None:
    """A process that knows higher totals than the server restores them before it is granted credits.

    The older total of a process that has ended since is counted again, because nothing on the server shows its end.
    """
    monkeypatch.setattr(redis_credits, "HEARTBEAT_INTERVAL", 600)
    running, other = await open_pool(pools, redis_server), await open_pool(pools, redis_server)
    assert (await spend(running, 1), await spend(other, 2)) == (1, 2)
    older = stored_record(redis_server)
    assert await spend(other, 5) == 5
    if is_finished:
        await other.aclose()
    await report(running)
    replace_record(redis_server, older)
    assert await spend(running, 10) == left


async def test_heartbeat_restores_older_key(
    pools: AsyncExitStack, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle process restores the totals that it knows, and nothing is granted until others could do so too."""
    monkeypatch.setattr(redis_credits, "HEARTBEAT_INTERVAL", 600)
    idle, killed = await open_pool(pools, redis_server), await open_pool(pools, redis_server)
    other = await open_pool(pools, redis_server)
    assert await spend(idle, 1) == 1
    older = stored_record(redis_server)
    assert (await spend(killed, 3), await spend(other, 4)) == (3, 4)
    await report(idle)
    await abandon(killed)
    await abandon(other)
    epoch = stored_record(redis_server)["#epoch"]
    replace_record(redis_server, older)
    await report(idle)
    assert stored_record(redis_server)["#epoch"] != epoch
    assert stored_record(redis_server)["#open"] == "0"
    assert await spend(await open_pool(pools, redis_server), 10) == 2


async def test_key_of_an_older_epoch_is_noticed(pools: AsyncExitStack, redis_server: RedisServer) -> None:
    """If an older copy belongs to an earlier epoch, the totals that it lacks begin a new one."""
    idle = await open_pool(pools, redis_server)
    assert await spend(idle, 1) == 1
    older = stored_record(redis_server)
    redis_server.execute("FLUSHALL")
    assert await spend(idle, 7) == 7
    replace_record(redis_server, older)
    await report(idle)
    assert stored_record(redis_server)["#epoch"] not in {older["#epoch"], ""}
    assert stored_record(redis_server)["#open"] == "0"
    assert await spend(await open_pool(pools, redis_server), 10) == 2


@pytest.mark.parametrize("is_finished", [True, False])
async def test_deleted_field_is_restored(pools: AsyncExitStack, redis_server: RedisServer, is_finished: bool) -> None:
    """The total of a single process, or of those that have ended, is restored by a process that has seen it."""
    idle, other = await open_pool(pools, redis_server), await open_pool(pools, redis_server)
    assert (await spend(idle, 1), await spend(other, 7)) == (1, 7)
    process = other._process
    await (other.aclose() if is_finished else abandon(other))
    await report(idle)
    field = next(field for field in stored_record(redis_server) if field == process or field.startswith("ended:"))
    redis_server.execute("HDEL", key_of(KEY, "credits:job"), field)
    await report(idle)
    assert await spend(await open_pool(pools, redis_server), 10) == 2


async def test_wait_needs_no_clock_of_the_server(pools: AsyncExitStack, redis_server: RedisServer) -> None:
    """The script does not read the time, so a step of the server's clock cannot shorten or extend a recovery."""
    url = user_url(redis_server, "~*", "+@all", "-time")
    pool = await pools.enter_async_context(RedisCredits(url, "job", 10, KEY, timeout=5.0))
    assert await asyncio.wait_for(spend(pool, 10), 5) == 10


async def test_each_process_measures_the_wait(
    pools: AsyncExitStack, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the first process that waited is killed, the next one waits for the whole time from its own first response."""
    monkeypatch.setattr(redis_credits, "RECOVERY_TIME", 0.5)
    first, second = await open_pool(pools, redis_server), await open_pool(pools, redis_server)
    waiting = asyncio.create_task(first.reserve(1, CONTEXT))
    await asyncio.sleep(0.3)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await abandon(first)
    started = time.monotonic()
    assert await spend(second, 1) == 1
    assert time.monotonic() - started >= 0.5
    joined = await open_pool(pools, redis_server)
    monkeypatch.setattr(redis_credits, "RECOVERY_TIME", 600)
    assert await asyncio.wait_for(spend(joined, 1), 5) == 1


async def test_processes_that_end_cause_no_commands(
    pools: AsyncExitStack, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that sees others end takes nothing for lost. Each reservation and report is one command."""
    monkeypatch.setattr(redis_credits, "HEARTBEAT_INTERVAL", 600)
    pool = await open_pool(pools, redis_server, 100)
    assert await spend(pool, 1) == 1
    for number in range(1, 4):
        others = [await open_pool(pools, redis_server, 100) for _ in range(2)]
        for other in others:
            await other.reserve(number, CONTEXT)
            other.settle(number, 1)
        await report(pool)
        await others[0].aclose()
        sent = pool._script.calls
        await pool.reserve(2, CONTEXT)
        await others[1].aclose()
        pool.settle(2, 0)
        await settled(pool)
        assert pool._script.calls == sent + 2
    assert pool.spent == 7


async def see_totals(pools: list[RedisCredits]) -> None:
    """Let all processes report and see the totals, as their heartbeats do.

    A process that has reserved nothing sends no heartbeats. If the data is lost while only such processes run, the
    totals of those that have ended are lost, as the documentation says.
    """
    for pool in pools:
        await report(pool)


def spend_in_child(pool: RedisCredits, results: Queue[int]) -> None:
    async def run() -> int:
        async with pool:
            return await spend(pool, 10)

    results.put(asyncio.run(run()))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_children_of_a_fork_share_the_limit(redis_server: RedisServer) -> None:
    """A pool that was created before a fork counts each child by itself, below the common limit."""
    pool = RedisCredits(redis_server.url, "fork", 10, KEY, timeout=5.0)
    assert await spend(pool, 2) == 2
    context = multiprocessing.get_context("fork")
    results: Queue[int] = context.Queue()
    children = [context.Process(target=spend_in_child, args=(pool, results)) for _ in range(3)]
    for child in children:
        child.start()
    granted = [await asyncio.to_thread(results.get, timeout=30) for _ in children]
    for child in children:
        child.join()
    assert sum(granted) == 8
    assert await spend(pool, 1) == 0
    await pool.aclose()


async def test_random_losses_never_exceed_the_limit(redis_server: RedisServer) -> None:
    """Whatever is flushed or closed while a process that has seen the totals runs, the credits stay within the limit."""
    rng = random.Random(7)
    for number in range(SCHEDULES):
        spent = 0
        async with AsyncExitStack() as stack:
            running = [await open_pool(stack, redis_server, 12, f"job{number}") for _ in range(3)]
            for _ in range(rng.randrange(4, 12)):
                action, pool = rng.random(), rng.choice(running)
                if action < 0.6:
                    granted = await asyncio.gather(*(spend(one, rng.randrange(3)) for one in running))
                    spent += sum(granted)
                elif action < 0.8:
                    await see_totals(running)
                    redis_server.execute("FLUSHALL")
                elif len(running) > 1:
                    await pool.aclose()
                    running.remove(pool)
                    running.append(await open_pool(stack, redis_server, 12, f"job{number}"))
                assert spent <= 12


class ForgetfulClient:
    """A client of redis-py that flushes the server before each command."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def execute_command(self, *args: str | float) -> object:
        await self._client.execute_command("FLUSHALL")
        return await self._client.execute_command(*args)

    async def aclose(self) -> None:
        await self._client.aclose()


async def test_loss_before_each_command_ends_with_an_error(redis_server: RedisServer) -> None:
    """If each command finds the totals lost, reserving and closing end within the time of a recovery."""
    async with Redis(port=redis_server.port) as client:
        pool = RedisCredits(ForgetfulClient(client), "job", 10, KEY, outage_timeout=0.1)
        with pytest.raises(RateLimiterUnavailableError, match="repeatedly"):
            await asyncio.wait_for(pool.reserve(1, CONTEXT), 5)
        await asyncio.wait_for(pool.aclose(), 5)


async def test_loss_before_each_command_keeps_the_copy(redis_server: RedisServer) -> None:
    """If each command finds the totals lost, a process keeps its copy and restores it later."""
    gone = await open_pool(AsyncExitStack(), redis_server)
    assert await spend(gone, 6) == 6
    await gone.aclose()
    async with Redis(port=redis_server.port) as client:
        async with RedisCredits(client, "job", 10, KEY, outage_timeout=0.1) as pool:
            assert await spend(pool, 1) == 1
            pool._script._client = ForgetfulClient(client)
            with pytest.raises(RateLimiterUnavailableError, match="repeatedly"):
                await asyncio.wait_for(pool.reserve(1, CONTEXT), 5)
            pool._script._client = client
            assert await spend(pool, 10) == 3


async def test_loss_holds_concurrent_calls_no_longer(redis_server: RedisServer) -> None:
    """Calls that wait for each other end together if each command finds the totals lost."""
    async with Redis(port=redis_server.port) as client:
        pool = RedisCredits(ForgetfulClient(client), "job", 10, KEY, outage_timeout=0.2)
        started = time.monotonic()
        ends = await asyncio.gather(*(pool.reserve(1, CONTEXT) for _ in range(10)), return_exceptions=True)
        assert {type(end) for end in ends} == {RateLimiterUnavailableError}
        assert time.monotonic() - started < 4 * 0.4
        await asyncio.wait_for(pool.aclose(), 5)


async def test_loss_during_a_wait_is_not_repeated(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time in which a call waits for others does not count, so one loss of the totals fails no call."""
    monkeypatch.setattr(redis_credits, "RECOVERY_TIME", 0.3)
    async with RedisCredits(redis_server.url, "job", 10, KEY, timeout=5.0, outage_timeout=0.1) as pool:
        assert await spend(pool, 1) == 1
        async with pool._turn:
            call = asyncio.create_task(pool.reserve(1, CONTEXT))
            await asyncio.sleep(0.8)  # more than the two recoveries that repeated losses may take
            redis_server.execute("FLUSHALL")
        await asyncio.wait_for(call, 5)


async def test_refused_restore_ends_after_the_outage_timeout(pools: AsyncExitStack, redis_server: RedisServer) -> None:
    """A server that answers a command, but refuses to restore the totals, holds no call longer than an outage."""
    assert await spend(await open_pool(pools, redis_server), 1) == 1
    redis_server.execute("CONFIG", "SET", "maxmemory", "1")
    try:
        async with RedisCredits(redis_server.url, "job", 10, KEY, timeout=5.0, outage_timeout=0.2) as pool:
            with pytest.raises(RateLimiterUnavailableError, match="OutOfMemory"):
                await asyncio.wait_for(pool.reserve(1, CONTEXT), 5)
    finally:
        redis_server.execute("CONFIG", "SET", "maxmemory", "0")


def user_url(server: RedisServer, *permissions: str) -> str:
    """Create a user with these permissions and return the URL for it."""
    server.execute("ACL", "SETUSER", "app", "reset", "on", ">pa55", *permissions)
    return server.url.replace("redis://", "redis://app:pa55@")


async def test_user_without_info_gets_no_credits(redis_server: RedisServer) -> None:
    """Without INFO, a restart with older data would go unnoticed, so the first call names the permission."""
    url = user_url(redis_server, "~*", "&*", "+@all", "-@dangerous")
    async with RedisCredits(url, "job", 10, KEY, timeout=5.0) as pool:
        with pytest.raises(RateLimiterUnavailableError, match=r"run id.*\(\+info\)"):
            await asyncio.wait_for(pool.reserve(1, CONTEXT), 5)
    assert redis_server.execute("DBSIZE") == 0


async def test_withdrawn_permission_stops_credits(redis_server: RedisServer) -> None:
    """If INFO is forbidden later, nothing is granted until it is permitted again, and the totals are kept."""
    async with RedisCredits(user_url(redis_server, "~*", "+@all"), "job", 10, KEY, timeout=5.0) as pool:
        assert await spend(pool, 4) == 4
        redis_server.execute("ACL", "SETUSER", "app", "-info")
        with pytest.raises(RateLimiterUnavailableError, match=r"\+info"):
            await pool.reserve(1, CONTEXT)
        redis_server.execute("ACL", "SETUSER", "app", "+info")
        assert await spend(pool, 10) == 6


async def test_documented_permissions_suffice(redis_server: RedisServer) -> None:
    """A user with the permissions of the documentation can use both limits, and each of them is needed."""
    documented = re.search(r"ACL SETUSER leadfeeder on >PASSWORD (.+)", (DOCS / "redis.md").read_text(encoding="utf-8"))
    assert documented is not None
    permissions = documented[1].split()
    assert await use_both_limits(user_url(redis_server, *permissions)) is None
    for permission in permissions:
        others = [other for other in permissions if other != permission]
        redis_server.execute("SCRIPT", "FLUSH")
        assert await use_both_limits(user_url(redis_server, *others)) is not None, permission


async def use_both_limits(url: str) -> RateLimiterUnavailableError | None:
    """Use all commands of both limits. Return the error if the server refuses one."""
    try:
        async with (
            RedisLimiter(url, KEY, timeout=5.0, outage_timeout=0) as limiter,
            RedisCredits(url, "job", 100, KEY, timeout=5.0, outage_timeout=0) as pool,
        ):
            await limiter.acquire()
            limiter.pause(0.001)
            await limiter.acquire()
            await pool.reserve(2, CONTEXT)
            pool.settle(2, 1)
            await pool.aclose()
            await pool.reserve(1, CONTEXT)
    except RateLimiterUnavailableError as error:
        return error
    return None
