"""Calls that are canceled at random moments and in every phase."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from leadfeeder_async import AsyncLeadfeeder, Budget, LeadfeederError
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for
from tests.support.requirements import is_windows
from tests.support.servers import settle
from tests.support.tasks import running_tasks

CANCELLATIONS = 300


async def one_call(lf: AsyncLeadfeeder, rng: random.Random) -> None:
    """Make a call that waits for slots, tokens, responses, backoffs or pages."""
    match rng.randrange(4):
        case 0:
            await lf.companies.get(str(159_001_425 + rng.randrange(3)))
        case 1:
            await lf.users.me()
        case 2:
            await lf.companies.search(search_terms=["a"], page_size=5).collect()
        case _:
            async for _ in lf.web_visits.search(start_date="2020-01-01", end_date="2030-01-01", page_size=9):
                if rng.random() < 0.02:
                    break


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_cancellations(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 300 cancellations, all slots are free, no task or reservation is left, and calls succeed."""
    monkeypatch.setattr("leadfeeder_async._core.retry.INITIAL_BACKOFF", 0.01)
    rng, budget, others = random.Random(seed), Budget(), running_tasks()
    async with Sandbox(companies=40, visits=200, rate_limit=False, flaky=0.05, latency=0.001) as sandbox:
        serving = running_tasks() - others
        bucket = TokenBucket(900, 5)
        async with client_for(sandbox, max_concurrency=3, limiter=bucket) as lf:
            await lf.users.me()
            paid = lf.with_options(budget=budget)
            for _ in range(CANCELLATIONS // 12):
                tasks = [asyncio.create_task(one_call(paid, rng)) for _ in range(12)]
                if rng.random() < 0.2:
                    bucket.pause(0.02)
                for task in tasks:
                    await asyncio.sleep(rng.random() * 0.004)
                    task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(result, asyncio.CancelledError | LeadfeederError | None) for result in done)
            await asyncio.sleep(0.05)
            sandbox.flaky = 0
            assert (lf.stats.in_flight, lf.stats.waiting, budget.reserved) == (0, 0, 0)
            async with asyncio.timeout(2):
                await asyncio.gather(*(lf.users.me() for _ in range(9)))
    await asyncio.sleep(0.02)
    assert [task for task in running_tasks() - others - serving if not task.done()] == []


async def assert_nothing_left(
    lf: AsyncLeadfeeder, bucket: TokenBucket, budget: Budget, others: set[asyncio.Task[object]]
) -> None:
    """Check that every slot, connection, wait, task and reservation is released, and that calls succeed."""
    for _ in range(200):
        if not running_tasks() - others:
            break
        await asyncio.sleep(0.001)
    assert running_tasks() - others == set()
    assert (lf.stats.in_flight, lf.stats.waiting, budget.reserved, bucket.statistics().waiting) == (0, 0, 0, 0)
    async with asyncio.timeout(2):  # more calls than slots and connections
        await asyncio.gather(*(lf.users.me() for _ in range(5)))


def open_files() -> int:
    """Return the number of open files, or 0 on Windows, which has no list of them."""
    return 0 if is_windows else len(list(Path("/dev/fd").iterdir()))


async def billed_call(lf: AsyncLeadfeeder) -> None:
    await lf.companies.get("159000001")


async def numbered_list(lf: AsyncLeadfeeder) -> None:
    await lf.web_visits.search(start_date="2020-01-01", end_date="2030-01-01", page_size=9, limit=30).collect()


async def cursor_list(lf: AsyncLeadfeeder) -> None:
    await lf.companies.search(search_terms=["a"], page_size=5, limit=12).collect()


@pytest.mark.parametrize("call", [billed_call, numbered_list, cursor_list])
async def test_cancellation_at_every_loop_iteration(call: Callable[[AsyncLeadfeeder], Awaitable[None]]) -> None:
    """A call that is canceled after any number of loop iterations leaves nothing behind."""
    budget, others, turns, done = Budget(), running_tasks(), 0, False
    files = open_files()
    async with Sandbox(companies=20, visits=40, rate_limit=False) as sandbox:
        while not done:
            # Each client looks up the account, so that this wait is canceled too.
            bucket = TokenBucket(1e6, 100_000)
            async with client_for(sandbox, max_concurrency=2, account_id=None, limiter=bucket) as lf:
                serving = running_tasks()
                task = asyncio.ensure_future(call(lf.with_options(budget=budget)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                done, turns = task.done(), turns + 1
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                handlers = {task for task in running_tasks() if "RequestHandler" in repr(task.get_coro())}
                await assert_nothing_left(lf, bucket, budget, serving | handlers)
            assert turns < 2_000
    await settle()
    assert turns > 10
    assert running_tasks() - others == set()
    assert open_files() == files


class GroupLimiter:
    """A rate limiter that asks two servers in a task group and survives the failure of one."""

    async def acquire(self) -> None:
        """Ask both servers."""

        async def fail() -> None:
            await asyncio.sleep(0.002)
            raise OSError("one server is down")

        with suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0.001))
                group.create_task(fail())

    def pause(self, seconds: float) -> None:
        """Do nothing."""


async def test_limiter_with_a_task_group(sandbox: Sandbox) -> None:
    """Task groups of Python 3.11 can leave a cancellation counted that nobody requested. It ends no call."""
    async with client_for(sandbox, limiter=GroupLimiter()) as lf, asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(lf.users.me())
    assert sandbox.ledger.count("get_current_user") == 5
