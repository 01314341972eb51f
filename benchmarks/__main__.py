"""Run all benchmarks: ``python -m benchmarks`` writes results.md, results.json and results.svg beside this file."""

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
    """Run all benchmarks and return the results. ``quick`` runs the same benchmarks with fewer turns."""
    turns, many_turns = (8, 12) if quick else (60, 120)
    async with running() as url:
        log("the server alone, and lists of visits")
        server = await throughput.server_rate(url)
        visits, missing = await throughput.visits(url, turns)
        log("lists by cursor and by id, and exports")
        cursors, companies = await throughput.cursors(url, many_turns), await throughput.companies(url, turns)
        exports = await throughput.exports(url, turns)
        log("small calls, many tasks, compressed pages, and blocking of the event loop")
        small = await throughput.small_calls(url, many_turns)
        tasks = await throughput.many_tasks(url, 10_000, rounds=1 if quick else 3)
        compressed = await throughput.compressed(url, turns)
        loop_held = await throughput.loop_held(url, 3 if quick else 10)
        log("memory")
        stream = await asyncio.to_thread(processes.child, "stream", url, "100000" if quick else "1000000")
        held = {
            kind: (await asyncio.to_thread(processes.child, "held", url, kind, "5" if quick else "15"))["bytes"]
            for kind in processes.HELD
        }
        log("imports and the rate limiter")
        imports = processes.imports(3 if quick else 11)
        grants = {waiting: await jobs.grants(waiting) for waiting in throughput.TASKS}
        late = await jobs.grant_errors(3 if quick else 20)
        simulated = await asyncio.to_thread(jobs.simulated, 200 if quick else 2_000)
        log("jobs under the rate limit, in real time")
        finished_jobs = await jobs.jobs(url, 40 if quick else 100, None if quick else 1_000)
    return Measured(
        server=server, visits=visits, missing=missing, cursors=cursors, companies=companies, exports=exports,
        small=small, tasks=tasks, compressed=compressed, loop_held=loop_held, stream=stream, held=held, imports=imports,
        grants=grants, late=late, simulated=simulated, simulated_jobs=200 if quick else 2_000, jobs=finished_jobs,
    )  # fmt: skip


def log(step: str) -> None:
    """Print the current step with the time."""
    print(f"{time.strftime('%H:%M:%S')} {step} ...", flush=True)


def main() -> None:
    """Run the benchmarks, print the results, and write them to files unless ``--quick`` is passed."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run fewer turns and write no files")
    quick = parser.parse_args().quick
    measured = asyncio.run(measure(quick=quick))
    text = as_markdown(measured)
    print(text)
    if not quick:
        (HERE / "results.md").write_text(text, encoding="utf-8")
        (HERE / "results.json").write_text(as_json(measured), encoding="utf-8")
        (HERE / "results.svg").write_text(picture(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
