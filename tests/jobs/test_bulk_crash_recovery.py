"""Bulk changes that are killed with SIGKILL at random moments, while the server fails and some ids are bad."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from leadfeeder_async.jobs.bulk.change_queue import MAX_IN_FLIGHT
from leadfeeder_async.sandbox import Sandbox
from tests.jobs.helpers import read_lines
from tests.support.fork_server import KILLED, process_server

IDS, KILLS = (10_000, 25) if os.environ.get("SOAK") else (1_000, 4)


@pytest.mark.timeout(1_200 if IDS > 1_000 else 120)
async def test_report_equals_the_ledger(tmp_path: Path) -> None:
    """However often a job is killed, its file has the true outcome of each id, and few changes are repeated.

    The test starts and kills processes, so it takes real time.
    """
    rng, kills, out = random.Random(1), 0, tmp_path / "tagged.ndjson"
    async with Sandbox(companies=IDS, visits=10, rate_limit=False, flaky=0.05) as sandbox:
        tag = sandbox.records.tags.add({"name": "Hot", "color": 1})
        ids = sandbox.world.company_ids()
        bad = set(rng.sample(range(IDS), IDS // 100))
        given = [f"bad-{number}" if number in bad else ids[number] for number in range(IDS)]
        (tmp_path / "ids.txt").write_text("\n".join(given), encoding="utf-8")
        arguments = (sandbox.url, sandbox.api_key, sandbox.account_id, tag, str(tmp_path / "ids.txt"), str(out))
        async with process_server("tests.support.bulk_process") as server:
            while not out.exists():
                sandbox.fail_next(502, operation="assign_tags_to_company", after_work=True, times=5)
                before = len(sandbox.ledger.requests)
                child = await server.start(*arguments)
                goal = rng.randrange(IDS // (KILLS + 1)) if kills < KILLS else IDS * 9
                while child.returncode is None and len(sandbox.ledger.requests) < before + goal:
                    await asyncio.sleep(0.002)
                if child.returncode is None:
                    child.kill()
                    kills += 1
                assert await child.wait() in {0, KILLED}
        requests = Counter(
            request.path.split("/")[3] for request in sandbox.ledger.requests if request.status in {200, 404}
        )
        tagged = {company_id for company_id, _ in sandbox.records.company_tags}
    lines = read_lines(out)
    assert [line["id"] for line in lines] == given
    assert {line["id"] for line in lines if line["outcome"] == "changed"} == tagged
    assert {line["id"] for line in lines if line["outcome"] != "changed"} == {given[number] for number in bad}
    assert kills == KILLS
    assert sum(requests.values()) - IDS <= KILLS * MAX_IN_FLIGHT
