"""Exports killed with SIGKILL at random instants, while the data grow and the server fails."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from leadfeeder_async.jobs.resumable_file import load_unfinished
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for

SWEEPS = 300 if os.environ.get("SOAK") else 25

MOST_VISITS = 2_750
"""New visits come in up to here: on a slow machine, more would bring the last day to the wall."""


async def sweep(seed: int, noun: str, out: Path, *careless: str) -> tuple[list[str], set[str], int]:
    """Export, kill and go on until the file is there; return its ids, those that had to be in it, and the kills."""
    luck, kills = random.Random(seed), 0
    async with Sandbox(seed=seed, companies=3_000, visits=2_500, rate_limit=False) as sandbox:
        must = set(sandbox.world.visit_ids())
        if noun == "companies":
            async with client_for(sandbox) as lf:
                must = {one.id async for one in lf.companies.search(locations=[{"country_code": "DE"}])}
        sandbox.flaky = 0.1
        days = (str(sandbox.start_date), str(sandbox.end_date))
        words = (noun, sandbox.url, sandbox.api_key, sandbox.account_id, *days, str(out), *careless)
        for _ in range(20):
            if out.exists():
                break
            asked = len(sandbox.ledger.requests)
            child = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.export_process", *words)
            while child.returncode is None and len(sandbox.ledger.requests) == asked:
                await asyncio.sleep(0.01)  # how long a process takes to start is the machine's business
            try:
                async with asyncio.timeout(luck.uniform(0.02, 0.8) if kills < 6 else 40):
                    while child.returncode is None:
                        if sandbox.world.visit_count < MOST_VISITS:
                            sandbox.world.add_visits(luck.randrange(3))
                        await asyncio.sleep(0.01)
            except TimeoutError:
                with suppress(ProcessLookupError):  # it ended just now
                    os.kill(child.pid, signal.SIGKILL)  # child.kill() would reap one that ended just now
                await child.wait()
                kills += 1
            assert child.returncode in {0, 1, -9}
    return [json.loads(line)["id"] for line in out.read_text().splitlines()], must, kills


async def sweeps(seeds: range, nouns: Sequence[str], folder: Path, *careless: str) -> tuple[int, int]:
    """Run sweeps two at a time; return how many were wrong, and the kills."""
    both = asyncio.Semaphore(2)

    async def one(seed: int) -> tuple[bool, int]:
        async with both:
            got, must, kills = await sweep(seed, nouns[seed % len(nouns)], folder / f"{seed}.ndjson", *careless)
        return not must <= set(got) or len(got) != len(set(got)), kills

    results = await asyncio.gather(*(one(seed) for seed in seeds))
    return sum(wrong for wrong, _ in results), sum(kills for _, kills in results)


@pytest.mark.timeout(3_000 if SWEEPS > 100 else 300)
async def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """Every row that was there at the start is in the file once, and no row twice, however often it was killed.

    Real time: processes have to be started and killed.
    """
    wrong, kills = await sweeps(range(SWEEPS), ["visits", "companies"], tmp_path)
    assert wrong == 0
    assert kills >= SWEEPS // 2
    left = {path.suffix for path in tmp_path.iterdir()}
    assert left - {".checkpoint"} == {".ndjson"}  # which a kill between the last two steps leaves, and nobody heeds
    assert [load_unfinished(path) for path in tmp_path.glob("*.ndjson")] == [None] * SWEEPS


@pytest.mark.timeout(200)
async def test_the_harness_bites(tmp_path: Path) -> None:
    """A build that saves its position before its rows is caught.

    Real time: processes have to be started and killed.
    """
    assert (await sweeps(range(8), ["companies"], tmp_path, "--careless"))[0] > 0
