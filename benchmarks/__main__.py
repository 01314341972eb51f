"""Measure everything: ``python -m benchmarks`` writes results.md, results.json and results.svg beside this file."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

from benchmarks import jobs, processes, throughput
from benchmarks.measured import Measured
from benchmarks.picture import picture
from benchmarks.report import as_json, as_markdown
from benchmarks.server import running

HERE = Path(__file__).parent


async def measure(*, quick: bool) -> Measured:
    """Measure all of it, or the same with fewer turns."""
    turns, many = (8, 12) if quick else (60, 120)
    async with running() as url:
        say("the server's own rate, and sweeps of visits")
        server = await throughput.server_rate(url)
        visits, missing = await throughput.visits(url, turns)
        say("sweeps along cursors and of companies by id; exports")
        cursors, companies = await throughput.cursors(url, many), await throughput.companies(url, turns)
        exports = await throughput.exports(url, turns)
        say("small calls, many tasks, compressed pages, how long the loop is held")
        small = await throughput.small_calls(url, many)
        tasks = await throughput.many_tasks(url, 10_000, rounds=1 if quick else 3)
        compressed = await throughput.compressed(url, turns)
        held_ms = await throughput.loop_held(url, 3 if quick else 10)
        say("memory")
        stream = await asyncio.to_thread(processes.child, "stream", url, "100000" if quick else "1000000")
        held = {
            how: (await asyncio.to_thread(processes.child, "held", url, how, "5" if quick else "15"))["bytes"]
            for how in processes.HELD
        }
        say("imports and the limiter")
        imports = processes.imports(3 if quick else 11)
        grants = {waiting: await jobs.grants(waiting) for waiting in throughput.TASKS}
        late = await jobs.grant_errors(3 if quick else 20)
        simulated = await asyncio.to_thread(jobs.simulated, 200 if quick else 2_000)
        say("jobs under the rate limit, by a real clock")
        done = await jobs.jobs(url, 40 if quick else 100, None if quick else 1_000)
    return Measured(
        server=server, visits=visits, missing=missing, cursors=cursors, companies=companies, exports=exports,
        small=small, tasks=tasks, compressed=compressed, loop_held=held_ms, stream=stream, held=held, imports=imports,
        grants=grants, late=late, simulated=simulated, simulated_jobs=200 if quick else 2_000, jobs=done,
    )  # fmt: skip


def say(what: str) -> None:
    """Tell what is measured now."""
    print(f"{time.strftime('%H:%M:%S')} {what} ...", flush=True)


def main() -> None:
    """Measure, print, and write the results unless ``--quick``."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer turns; writes nothing")
    quick = parser.parse_args().quick
    measured = asyncio.run(measure(quick=quick))
    text = as_markdown(measured)
    print(text)
    if not quick:
        (HERE / "results.md").write_text(text)
        (HERE / "results.json").write_text(as_json(measured))
        (HERE / "results.svg").write_text(picture(measured))


if __name__ == "__main__":
    main()
