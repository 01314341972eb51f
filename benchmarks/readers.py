"""Readers of a database that is synced at the same time: how many are refused, and for how long.

``python -m benchmarks.readers --visits 200000`` runs a first sync, and 100 readers that open the file at random times,
from four processes. A sync opens the file while it merges rows. A reader that is refused tries again.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from benchmarks import data
from benchmarks.processes import ROOT

PROCESSES, READERS = 4, 100
PAUSE = 0.05


def read_at_random_times(database: Path, seed: int) -> list[float]:
    """Open the file for each reader of one process. Return the seconds for which each was refused."""
    rng, refused = random.Random(seed), list[float]()
    while not database.exists():
        time.sleep(PAUSE)
    for _ in range(READERS // PROCESSES):
        time.sleep(rng.uniform(0, 0.4))
        started = tried = time.monotonic()
        while not _read(database):
            time.sleep(PAUSE)
            tried = time.monotonic()
        refused.append(tried - started)
    return refused


def _read(database: Path) -> bool:
    """Count the visits. Return False if another process has opened the file to write."""
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            connection.execute("SELECT count(*) FROM visits").fetchall()
    except (duckdb.IOException, duckdb.CatalogException):
        return False
    return True


def main() -> None:
    """Run the sync and its readers, or be one of the processes."""
    parser = argparse.ArgumentParser(prog="benchmarks.readers", description=__doc__)
    parser.add_argument("--visits", type=int, default=200_000)
    parser.add_argument("child", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    match options.child:
        case ["read", database, seed]:
            print(json.dumps(read_at_random_times(Path(database), int(seed))))
        case _:
            _measure(options.visits)


def _measure(visits: int) -> None:
    first_day = datetime.now(UTC).date() - timedelta(-(-visits // data.ROWS_A_DAY) - 1)
    with tempfile.TemporaryDirectory() as folder:
        server = _start("benchmarks.long_jobs", "serve")
        assert server.stdout is not None
        url, database = server.stdout.readline().strip(), str(Path(folder, "visits.duckdb"))
        try:
            sync = _start("benchmarks.long_jobs", "run", "first sync", url, str(first_day), str(visits), folder)
            readers = [_start("benchmarks.readers", "read", database, str(seed)) for seed in range(PROCESSES)]
            refused = sorted(seconds for process in readers for seconds in json.loads(process.communicate()[0]))
            is_running = sync.poll() is None
            sync.communicate()
        finally:
            server.terminate()
            server.wait()
    print(
        f"{len(refused)} readers during a sync of {visits:,} visits: {sum(s > 0 for s in refused)} refused, "
        f"{sum(s > 1 for s in refused)} longer than a second, the longest {refused[-1]:.2f} s. "
        f"The sync {'was still running' if is_running else 'ended before the last reader'}."
    )


def _start(module: str, *arguments: str) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", module, *arguments)
    return subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


if __name__ == "__main__":
    main()
