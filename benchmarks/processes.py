"""Benchmarks that need their own process: memory and import time.

``python -m benchmarks.processes stream URL VISITS`` and ``... held URL KIND DAYS`` print JSON.
"""

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
REPORTED_ROWS = (1_000, 10_000, 100_000, 1_000_000)
HELD = ("ours", "structs", "dicts", "pydantic")
IMPORTS = {
    "leadfeeder_async": "import leadfeeder_async",
    "leadfeeder_async, client": "from leadfeeder_async import AsyncLeadfeeder",
    "asyncio and msgspec": "import asyncio, msgspec",
    "all dependencies of leadfeeder_async": "import aiohttp, msgspec, anyio, aiolimiter",
    "openai": "import openai",
    "stripe": "import stripe",
}


def rss() -> float:
    """Return the resident memory of this process in MB."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return (
        next(
            int(line.split()[1]) for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmRSS")
        )
        / 1024
    )


def rss_peak() -> float:
    """Return the most resident memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(*arguments: str) -> dict[str, float]:
    """Run this module in a child process and return its figures."""
    command = (sys.executable, "-m", "benchmarks.processes", *arguments)
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if process.returncode:
        raise SystemExit(f"{arguments} failed:\n{process.stderr}")
    figures: dict[str, float] = json.loads(process.stdout)
    return figures


def imports(rounds: int) -> dict[str, float]:
    """Return the milliseconds of CPU of each import, without the start of the interpreter."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        bare = _children_cpu("pass")
        for name, code in IMPORTS.items():
            times[name].append(1e3 * (_children_cpu(code) - bare))
    return {name: statistics.median(times[name]) for name in IMPORTS}


def _children_cpu(code: str) -> float:
    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    return used() - before


async def stream(url: str, visits: int) -> dict[str, float]:
    """Stream visits and return memory and CPU per visit at each number of ``REPORTED_ROWS``."""
    from benchmarks.contenders import client_of

    figures, rows, reported_rows = dict[str, float](), 0, set(REPORTED_ROWS)
    async with client_of(url) as lf:
        await lf.users.me()
        rss_connected, peak = rss(), 0.0
        last = FIRST + timedelta(visits // ROWS_A_DAY - 1)
        cpu_before, rows_before = cpu(), 0
        async for _ in lf.web_visits.search(start_date=FIRST, end_date=last):
            rows += 1
            if rows % 1_000 == 0:
                peak = max(peak, rss())
            if rows in reported_rows:
                figures[f"micros {rows}"] = 1e6 * (cpu() - cpu_before) / (rows - rows_before)
                figures[f"rss {rows}"] = rss()
                cpu_before, rows_before = cpu(), rows
    return {**figures, "rows": rows, "rss connected": rss_connected, "rss end": rss(), "peak": peak}


async def held(url: str, kind: str, days: int) -> dict[str, float]:
    """Keep all visits of ``days`` days in memory as objects of one kind and return the bytes per visit."""
    import aiohttp

    from benchmarks import contenders

    kept = list[object]()
    async with contenders.client_of(url) as lf, aiohttp.ClientSession() as session:
        if kind == "ours":
            await lf.web_visits.search(start_date=FIRST, end_date=FIRST).collect(100)
        before = rss()
        if kind == "ours":
            kept += await lf.web_visits.search(start_date=FIRST, end_date=FIRST + timedelta(days - 1)).collect()
        for number in range(0 if kind == "ours" else days * 20):
            day = FIRST + timedelta(number // 20)
            body = json.dumps({"start_date": str(day), "end_date": str(day)}).encode()
            target = f"{url}/v1/web-visits?page%5Bnum%5D={number % 20 + 1}"
            async with session.post(target, data=body) as response:
                kept += _decode(await response.read(), kind)
        gc.collect()
        return {"bytes": (rss() - before) * 1024 * 1024 / len(kept), "rows": len(kept)}


def _decode(body: bytes, kind: str) -> list[object]:
    from benchmarks import contenders

    if kind == "structs":
        return list(contenders.VISITS.decode(body).data)
    if kind == "dicts":
        rows: list[object] = json.loads(body)["data"]
        return rows
    return list(contenders.Visits.model_validate_json(body).data)


if __name__ == "__main__":
    benchmark, address, *rest = sys.argv[1:]
    run = stream(address, int(rest[0])) if benchmark == "stream" else held(address, rest[0], int(rest[1]))
    print(json.dumps(asyncio.run(run)))
