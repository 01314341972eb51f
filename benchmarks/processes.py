"""What needs a process of its own: memory, and the time of imports. ``python -m benchmarks.processes WHAT ...``."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import statistics
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

from benchmarks.data import ROWS_A_DAY
from benchmarks.measure import cpu

ROOT = Path(__file__).parent.parent
FIRST = date(2020, 1, 6)
MARKS = (1_000, 10_000, 100_000, 1_000_000)
HELD = ("ours", "structs", "dicts", "pydantic")
IMPORTS = {
    "leadfeeder_async": "import leadfeeder_async",
    "its client": "from leadfeeder_async import AsyncLeadfeeder",
    "asyncio and msgspec alone": "import asyncio, msgspec",
    "its dependencies, eagerly": "import aiohttp, msgspec, anyio, aiolimiter",
    "openai": "import openai",
    "stripe": "import stripe",
}


def rss() -> float:
    """Return the memory this process holds, in MB."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS")) / 1024


def child(*arguments: str) -> dict[str, float]:
    """Run this module in a process of its own; return what it measured."""
    command = (sys.executable, "-m", "benchmarks.processes", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{arguments} failed:\n{done.stderr}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def imports(rounds: int) -> dict[str, float]:
    """Return the milliseconds of CPU that each import takes over a bare interpreter."""
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        bare = _children_cpu("pass")
        for name, code in IMPORTS.items():
            taken[name].append(1e3 * (_children_cpu(code) - bare))
    return {name: statistics.median(took) for name, took in taken.items()}


def _children_cpu(code: str) -> float:
    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    return used() - before


async def stream(url: str, visits: int) -> dict[str, float]:
    """Stream visits; tell memory and CPU a visit at each mark."""
    from benchmarks.contenders import client_of

    told, rows, marks = dict[str, float](), 0, set(MARKS)
    async with client_of(url) as lf:
        await lf.users.me()
        began, peak = rss(), 0.0
        last = FIRST + timedelta(visits // ROWS_A_DAY - 1)
        before, since = cpu(), 0
        async for _ in lf.web_visits.search(start_date=FIRST, end_date=last):
            rows += 1
            if rows % 1_000 == 0:
                peak = max(peak, rss())
            if rows in marks:
                told[f"micros {rows}"] = 1e6 * (cpu() - before) / (rows - since)
                told[f"rss {rows}"] = rss()
                before, since = cpu(), rows
    return {**told, "rows": rows, "rss connected": began, "rss end": rss(), "peak": peak}


async def held(url: str, how: str, days: int) -> dict[str, float]:
    """Hold every visit of some days; tell the bytes that each takes."""
    import aiohttp

    from benchmarks import contenders

    kept = list[object]()
    async with contenders.client_of(url) as lf, aiohttp.ClientSession() as session:
        if how == "ours":
            await lf.web_visits.search(start_date=FIRST, end_date=FIRST).collect(100)
        before = rss()
        if how == "ours":
            kept += await lf.web_visits.search(start_date=FIRST, end_date=FIRST + timedelta(days - 1)).collect()
        for number in range(0 if how == "ours" else days * 20):
            day = FIRST + timedelta(number // 20)
            body = json.dumps({"start_date": str(day), "end_date": str(day)}).encode()
            target = f"{url}/v1/web-visits?page%5Bnum%5D={number % 20 + 1}"
            async with session.post(target, data=body) as answer:
                kept += _decoded(await answer.read(), how)
        gc.collect()
        return {"bytes": (rss() - before) * 1024 * 1024 / len(kept), "rows": len(kept)}


def _decoded(body: bytes, how: str) -> list[object]:
    from benchmarks import contenders

    if how == "structs":
        return list(contenders.VISITS.decode(body).data)
    if how == "dicts":
        rows: list[object] = json.loads(body)["data"]
        return rows
    return list(contenders.Visits.model_validate_json(body).data)


if __name__ == "__main__":
    what, address, *rest = sys.argv[1:]
    work = stream(address, int(rest[0])) if what == "stream" else held(address, rest[0], int(rest[1]))
    print(json.dumps(asyncio.run(work)))
