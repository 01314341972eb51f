"""Calls canceled at random instants, in every phase they can be in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from leadfeeder_async import AsyncLeadfeeder, Budget, LeadfeederError
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for
from tests.support.servers import settle

CANCELS = 300


async def one_call(lf: AsyncLeadfeeder, luck: random.Random) -> None:
    """Do something that waits for slots, tokens, answers, backoffs or pages."""
    match luck.randrange(4):
        case 0:
            await lf.companies.get(str(159_001_425 + luck.randrange(3)))
        case 1:
            await lf.users.me()
        case 2:
            await lf.companies.search(search_terms=["a"], page_size=5).collect()
        case _:
            async for _ in lf.web_visits.search(start_date="2020-01-01", end_date="2030-01-01", page_size=9):
                if luck.random() < 0.02:
                    break


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_cancels_leave_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 300 cancels every slot is back, no task and no reservation is left, no pause is held, and calls succeed."""
    monkeypatch.setattr("leadfeeder_async._core.retry.INITIAL_BACKOFF", 0.01)
    luck, budget, others = random.Random(seed), Budget(), asyncio.all_tasks()
    async with Sandbox(companies=40, visits=200, rate_limit=False, flaky=0.05, latency=0.001) as sandbox:
        serving = asyncio.all_tasks() - others
        bucket = TokenBucket(900, 5)
        async with client_for(sandbox, max_concurrency=3, limiter=bucket) as lf:
            await lf.users.me()
            paid = lf.with_options(budget=budget)
            for _ in range(CANCELS // 12):
                tasks = [asyncio.create_task(one_call(paid, luck)) for _ in range(12)]
                if luck.random() < 0.2:
                    bucket.pause(0.02)
                for task in tasks:
                    await asyncio.sleep(luck.random() * 0.004)
                    task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(one, asyncio.CancelledError | LeadfeederError | None) for one in done)
            await asyncio.sleep(0.05)
            sandbox.flaky = 0
            assert (lf.stats.in_flight, lf.stats.waiting, budget.reserved) == (0, 0, 0)
            async with asyncio.timeout(2):
                await asyncio.gather(*(lf.users.me() for _ in range(9)))
    await asyncio.sleep(0.02)
    assert [task for task in asyncio.all_tasks() - others - serving if not task.done()] == []


async def nothing_left(
    lf: AsyncLeadfeeder, bucket: TokenBucket, budget: Budget, others: set[asyncio.Task[object]]
) -> None:
    """Check that every slot, connection, wait, task and reservation is released, and that calls still succeed."""
    for _ in range(200):
        if not asyncio.all_tasks() - others:
            break
        await asyncio.sleep(0.001)
    assert asyncio.all_tasks() - others == set()
    assert (lf.stats.in_flight, lf.stats.waiting, budget.reserved, bucket.statistics().waiting) == (0, 0, 0, 0)
    async with asyncio.timeout(2):  # more calls than slots and connections
        await asyncio.gather(*(lf.users.me() for _ in range(5)))


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def charging(lf: AsyncLeadfeeder) -> None:
    await lf.companies.get("159000001")


async def numbered(lf: AsyncLeadfeeder) -> None:
    await lf.web_visits.search(start_date="2020-01-01", end_date="2030-01-01", page_size=9, limit=30).collect()


async def along_cursors(lf: AsyncLeadfeeder) -> None:
    await lf.companies.search(search_terms=["a"], page_size=5, limit=12).collect()


@pytest.mark.parametrize("call", [charging, numbered, along_cursors])
async def test_cancelled_at_every_turn_of_the_loop(call: Callable[[AsyncLeadfeeder], Awaitable[None]]) -> None:
    """A call canceled after one turn of the loop, after two, and so on to its end leaves nothing, wherever it was."""
    budget, others, turns, done = Budget(), asyncio.all_tasks(), 0, False
    files = open_files()
    async with Sandbox(companies=20, visits=40, rate_limit=False) as sandbox:
        while not done:
            # the account is looked up anew by each client, so that this wait is canceled too
            bucket = TokenBucket(1e6, 100_000)
            async with client_for(sandbox, max_concurrency=2, account_id=None, limiter=bucket) as lf:
                serving = asyncio.all_tasks()
                task = asyncio.ensure_future(call(lf.with_options(budget=budget)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                done, turns = task.done(), turns + 1
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                handlers = {one for one in asyncio.all_tasks() if "RequestHandler" in repr(one.get_coro())}
                await nothing_left(lf, bucket, budget, serving | handlers)
            assert turns < 2_000
    await settle()
    assert turns > 10
    assert asyncio.all_tasks() - others == set()
    assert open_files() == files
