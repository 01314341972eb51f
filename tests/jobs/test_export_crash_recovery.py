"""Exports that are killed with SIGKILL at random moments, while visits are added and the server fails."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from leadfeeder_async.jobs.export_state import EXPORT
from leadfeeder_async.jobs.resumable_file import load_unfinished
from leadfeeder_async.sandbox import Sandbox
from tests.jobs.helpers import read_ids
from tests.support.clients import client_for
from tests.support.fork_server import KILLED, ProcessServer, process_server

SEQUENCES = 150 if os.environ.get("SOAK") else 4
"""The number of exports of each list. Each of them is killed several times."""

MAX_VISITS = 1_650
"""No more visits are added. On a slow machine, more of them would bring the last day over the row limit."""


async def run_until_finished(
    server: ProcessServer, seed: int, noun: str, out: Path, *options: str
) -> tuple[list[str], set[str], int]:
    """Export and kill until the file is finished. Return its ids, the ids that it must contain, and the kills."""
    rng, kills = random.Random(seed), 0
    async with Sandbox(seed=seed, companies=1_500, visits=1_500, rate_limit=False) as sandbox:
        expected = set(sandbox.world.visit_ids())
        if noun == "companies":
            async with client_for(sandbox) as lf:
                expected = {company.id async for company in lf.companies.search(locations=[{"country_code": "DE"}])}
        sandbox.flaky = 0.1
        days = (str(sandbox.start_date), str(sandbox.end_date))
        arguments = (noun, sandbox.url, sandbox.api_key, sandbox.account_id, *days, str(out), *options)
        for _ in range(20):
            if out.exists():
                break
            before = len(sandbox.ledger.requests)
            child = await server.start(*arguments)
            while child.returncode is None and len(sandbox.ledger.requests) == before:
                await asyncio.sleep(0.01)  # until the process has started, however long that takes
            try:
                async with asyncio.timeout(rng.uniform(0.02, 0.5) if kills < 6 else 40):
                    while child.returncode is None:
                        if sandbox.world.visit_count < MAX_VISITS:
                            sandbox.world.add_visits(rng.randrange(3))
                        await asyncio.sleep(0.01)
            except TimeoutError:
                child.kill()
                await child.wait()
                kills += 1
            assert child.returncode in {0, 1, KILLED}
    return read_ids(out), expected, kills


async def is_wrong(server: ProcessServer, seed: int, noun: str, folder: Path, *options: str) -> tuple[bool, int]:
    """Run one sequence. Return whether it lost or duplicated rows, and the number of kills."""
    ids, expected, kills = await run_until_finished(server, seed, noun, folder / f"{seed}.ndjson", *options)
    return not expected <= set(ids) or len(ids) != len(set(ids)), kills


@pytest.mark.timeout(3_000 if SEQUENCES > 100 else 300)
@pytest.mark.parametrize("noun", ["visits", "companies"])
async def test_nothing_is_lost_or_doubled(noun: str, tmp_path: Path) -> None:
    """However often an export is killed, every row that existed at its start is in the file once.

    The test starts and kills processes, so it takes real time.
    """
    slots = asyncio.Semaphore(2)

    async with process_server("tests.support.export_process") as server:

        async def run(seed: int) -> tuple[bool, int]:
            async with slots:
                return await is_wrong(server, seed, noun, tmp_path)

        results = await asyncio.gather(*map(run, range(SEQUENCES)))
    assert [seed for seed, (wrong, _) in enumerate(results) if wrong] == []
    assert sum(kills for _, kills in results) >= SEQUENCES // 2
    # A kill between the last steps leaves working files, which do not matter to the next job.
    assert {path.suffix for path in tmp_path.iterdir()} - {".checkpoint", ".lock", ".tmp"} == {".ndjson"}
    assert [load_unfinished(path, EXPORT) for path in tmp_path.glob("*.ndjson")] == [None] * SEQUENCES


@pytest.mark.timeout(200)
async def test_detects_doubled_rows_of_a_broken_build(tmp_path: Path) -> None:
    """A build that keeps uncounted rows writes them twice, and one of the sequences notices.

    The test starts and kills processes, so it takes real time.
    """
    async with process_server("tests.support.export_process") as server:
        for seed in range(SEQUENCES):
            if (await is_wrong(server, seed, "companies", tmp_path, "--inject-truncation-bug"))[0]:
                return
    pytest.fail("no sequence has duplicated rows")
