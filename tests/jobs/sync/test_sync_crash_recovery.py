"""Syncs that are killed with SIGKILL at random moments, while visits are added and the server fails."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import duckdb
import pytest

from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import sync_account
from tests.support.clients import client_for
from tests.support.fork_server import KILLED, ProcessServer, process_server

SEQUENCES = 200 if os.environ.get("SOAK") else 4
"""The number of syncs, each of which is killed several times."""


def read_contents(path: Path) -> dict[str, list[int]]:
    """Return the visits of a database and the steps of each, after checking that no visit is duplicated."""
    with duckdb.connect(str(path), read_only=True) as database:
        rows = database.execute(
            "SELECT id, coalesce(list(step ORDER BY step) FILTER (step IS NOT NULL), []) FROM visits"
            " LEFT JOIN engagements ON visit_id = id GROUP BY id"
        ).fetchall()
        assert database.execute("SELECT count(*) FROM visits").fetchone() == (len(rows),)
    return dict(rows)


def expected_contents(sandbox: Sandbox) -> dict[str, list[int]]:
    """Return the visits of a sandbox and the steps of each."""
    world = sandbox.world
    depths = {visit_id: int(str(world.visit(visit_id)["page_depth"])) for visit_id in world.visit_ids()}
    return {visit_id: list(range(1, depth + 1)) for visit_id, depth in depths.items()}


async def run_until_finished(server: ProcessServer, seed: int, path: Path, *options: str) -> tuple[bool, int]:
    """Sync and kill until a run finishes, then sync once more. Return whether all visits are there, and the kills."""
    rng, kills = random.Random(seed), 0
    async with Sandbox(seed=seed, companies=100, visits=1_000, rate_limit=False) as sandbox:
        sandbox.flaky = 0.05
        arguments = (sandbox.url, sandbox.api_key, sandbox.account_id, str(sandbox.start_date), str(path), *options)
        while True:
            child = await server.start(*arguments)
            last_request = len(sandbox.ledger.requests) + rng.randrange(1, 20)
            while child.returncode is None and (kills == 2 or len(sandbox.ledger.requests) < last_request):
                sandbox.world.add_visits(rng.randrange(10) // 9)
                await asyncio.sleep(rng.uniform(0.001, 0.01))
            if child.returncode is None:
                child.kill()
                kills += 1
            assert await child.wait() in {0, KILLED}
            if child.returncode == 0:
                break
        sandbox.flaky = 0
        async with client_for(sandbox) as lf:
            await sync_account(lf, path, lookback_days=0)
        return read_contents(path) == expected_contents(sandbox), kills


async def run_sequences(count: int, folder: Path, *options: str) -> tuple[int, int]:
    """Run some sequences, two at a time. Return how many lost or duplicated rows, and the number of kills."""
    slots = asyncio.Semaphore(2)

    async def run(seed: int) -> tuple[bool, int]:
        async with slots:
            return await run_until_finished(server, seed, folder / f"{seed}.duckdb", *options)

    async with process_server("tests.support.sync_process") as server:
        results = await asyncio.gather(*map(run, range(count)))
    return sum(not is_right for is_right, _ in results), sum(kills for _, kills in results)


@pytest.mark.timeout(3_000 if SEQUENCES > 100 else 600)  # DuckDB 1.2 and 1.3 start slowly
async def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """However often the sync is killed, every visit is there once with all its steps.

    The last run does not look back, so it repairs nothing that an earlier run counted as synced. The test starts and
    kills processes, so it takes real time.
    """
    wrong, kills = await run_sequences(SEQUENCES, tmp_path)
    assert wrong == 0
    assert kills >= SEQUENCES


@pytest.mark.timeout(300)
async def test_detects_lost_rows_in_a_broken_build(tmp_path: Path) -> None:
    """A build that saves its state before its rows loses rows, and the test notices.

    The test starts and kills processes, so it takes real time.
    """
    assert (await run_sequences(2, tmp_path, "--inject-ordering-bug"))[0] > 0
