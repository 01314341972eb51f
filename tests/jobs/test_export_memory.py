"""The memory of an export does not grow with the length of the list."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from leadfeeder_async.sandbox import Sandbox

VISITS = 1_000_000 if os.environ.get("SOAK") else 60_000
MB = 1 << 20

CHILD = """
import asyncio, json, resource, sys
from leadfeeder_async import AsyncLeadfeeder

page = resource.getpagesize()
sizes = []

def on_progress(progress):
    with open("/proc/self/statm") as file:
        sizes.append((progress.done, int(file.read().split()[1]) * page))

async def main(url, key, account, since, until, out):
    async with AsyncLeadfeeder(key, base_url=url, account_id=account, rate=1e6, burst=10_000) as lf:
        await lf.web_visits.search(start_date=since, end_date=until).to_file(out, on_progress=on_progress)
    print(json.dumps(sizes[::20] + sizes[-1:]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
@pytest.mark.timeout(1_800)
async def test_memory_is_flat(tmp_path: Path) -> None:
    """The process uses at most 100 MB, and hardly more at the end than near the start."""
    out = tmp_path / "visits.ndjson"
    async with Sandbox(companies=400, visits=VISITS, days=max(30, VISITS // 4_000), rate_limit=False) as sandbox:
        arguments = (sandbox.url, sandbox.api_key, sandbox.account_id, str(sandbox.start_date), str(sandbox.end_date))
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, *arguments, str(out), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate()
    sizes = json.loads(output)
    with out.open("rb") as lines:
        assert sum(1 for _ in lines) == VISITS
    settled = max(size for done, size in sizes if done <= 20_000)
    peak = max(size for _, size in sizes)
    print(f"{VISITS:,} visits: peak {peak / MB:.1f} MB, {(peak - settled) / MB:+.1f} MB after the first 20,000")  # noqa: T201 - shown with -s
    assert peak <= 100 * MB
    assert peak - settled <= 6 * MB  # date ranges of different sizes remember different numbers of ids
