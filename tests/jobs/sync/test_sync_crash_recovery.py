"""Syncs killed with SIGKILL at random instants, while the data grow and the server fails."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import sync_account
from tests.support.clients import client_for

SWEEPS = 200 if os.environ.get("SOAK") else 10


def contents(path: Path) -> dict[str, list[int]]:
    """Return the steps of each visit that is in a database, once for each time it is there."""
    with duckdb.connect(str(path), read_only=True) as database:
        rows = database.execute(
            "SELECT id, coalesce(list(step ORDER BY step) FILTER (step IS NOT NULL), []) FROM visits"
            " LEFT JOIN engagements ON visit_id = id GROUP BY id"
        ).fetchall()
        assert database.execute("SELECT count(*) FROM visits").fetchone() == (len(rows),)
    return dict(rows)


def truth(sandbox: Sandbox) -> dict[str, list[int]]:
    world = sandbox.world
    depths = {visit_id: int(str(world.visit(visit_id)["page_depth"])) for visit_id in world.visit_ids()}
    return {visit_id: list(range(1, depth + 1)) for visit_id, depth in depths.items()}


async def sweep(seed: int, file: Path, *careless: str) -> tuple[bool, int]:
    """Sync, kill and go on until a run ends, then sync once more; tell whether all is there, and the kills."""
    luck, kills = random.Random(seed), 0
    async with Sandbox(seed=seed, companies=100, visits=1_000, rate_limit=False) as sandbox:
        sandbox.flaky = 0.05
        words = (sandbox.url, sandbox.api_key, sandbox.account_id, str(sandbox.start_date), str(file), *careless)
        while True:
            child = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.sync_process", *words)
            last_request = len(sandbox.ledger.requests) + luck.randrange(1, 45)
            while child.returncode is None and (kills == 2 or len(sandbox.ledger.requests) < last_request):
                sandbox.world.add_visits(luck.randrange(10) // 9)
                await asyncio.sleep(luck.uniform(0.001, 0.01))
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)  # child.kill() would reap one that ended just now
                kills += 1
            await child.wait()
            assert child.returncode in {0, -9}
            if child.returncode == 0:
                break
        sandbox.flaky = 0
        async with client_for(sandbox) as lf:
            await sync_account(lf, file, lookback_days=0)
        return contents(file) == truth(sandbox), kills


async def sweeps(number: int, folder: Path, *careless: str) -> tuple[int, int]:
    """Run sweeps two at a time; return how many were wrong, and the kills."""
    both = asyncio.Semaphore(2)

    async def one(seed: int) -> tuple[bool, int]:
        async with both:
            return await sweep(seed, folder / f"{seed}.duckdb", *careless)

    results = await asyncio.gather(*map(one, range(number)))
    return sum(not right for right, _ in results), sum(kills for _, kills in results)


@pytest.mark.timeout(3_000 if SWEEPS > 100 else 120)
async def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """Every visit is there once with all its steps, however often the sync was killed.

    The last run looks back no day, so whatever an earlier one counted as read had to be there.
    Real time: processes have to be started and killed.
    """
    wrong, kills = await sweeps(SWEEPS, tmp_path)
    assert wrong == 0
    assert kills >= SWEEPS


@pytest.mark.timeout(100)
async def test_the_harness_bites(tmp_path: Path) -> None:
    """A build that saves its position before its rows is caught.

    Real time: processes have to be started and killed.
    """
    assert (await sweeps(4, tmp_path, "--careless"))[0] > 0
