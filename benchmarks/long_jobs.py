"""The long jobs: exports, tables, a sync and a report, each in a process of its own.

``python -m benchmarks.long_jobs --visits 100000`` prints the CPU time of each job per visit, and as a ratio to the
export of the same visits to JSON lines. The server sends 2,000 visits a day of 9,000 companies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from benchmarks import data, server
from benchmarks.measure import cpu
from benchmarks.processes import ROOT, rss_peak
from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.report import write_report
from leadfeeder_async.sync import sync_account

JOBS = ("ndjson", "csv", "parquet", "first sync", "sync without news", "sync that reads all days", "report of 30 days")
COMPANIES = 9_000
TODAY = datetime.now(UTC).date()


@dataclass(frozen=True)
class Figures:
    """The cost of one job."""

    seconds: float
    """CPU time."""
    peak: float
    """The most memory, in MB."""
    requests: int


async def run(job: str, url: str, first_day: str, folder: Path) -> Figures:
    """Run one job in this process."""
    database, requests = folder / "visits.duckdb", 0
    async with AsyncExitStack() as stack:
        before = cpu()
        if job.startswith("report"):
            write_report(database, folder / "report.html")
            return Figures(cpu() - before, rss_peak(), 0)
        lf = await stack.enter_async_context(
            AsyncLeadfeeder("key", account_id="1", base_url=url, rate=1e6, burst=100_000)
        )
        before = cpu()
        if "sync" in job:
            lookback = 100_000 if "all days" in job else 3
            requests = (await sync_account(lf, database, since=first_day, lookback_days=lookback)).requests
        else:
            visits = lf.web_visits.search(start_date=first_day, end_date=TODAY)
            requests = (await visits.to_file(folder / f"visits.{job}")).requests
        return Figures(cpu() - before, rss_peak(), requests)


def measure(visits: int) -> dict[str, Figures]:
    """Run all jobs, each in a new process."""
    days = -(-visits // data.ROWS_A_DAY)
    first_day = str(TODAY - timedelta(days - 1))
    with tempfile.TemporaryDirectory() as folder:
        child = _start("serve")
        assert child.stdout is not None
        url, figures = child.stdout.readline().strip(), dict[str, Figures]()
        try:
            for job in JOBS:
                with _start("run", job, url, first_day, folder) as process:
                    figures[job] = Figures(**json.loads(process.communicate()[0]))
        finally:
            child.terminate()
            child.wait()
    return figures


def table(figures: dict[str, Figures], visits: int) -> str:
    """Return the figures as a Markdown table."""
    base = figures["ndjson"].seconds
    lines = ["| job | us a visit | of ndjson | peak MB | requests |", "|-|-|-|-|-|"]
    lines += [
        f"| {job} | {1e6 * found.seconds / visits:.1f} | {found.seconds / base:.2f}x | {found.peak:.0f} "
        f"| {found.requests:,} |"
        for job, found in figures.items()
    ]
    return "\n".join(lines)


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "benchmarks.long_jobs", *arguments)
    return subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _visits(query: str, body: bytes) -> bytes:
    search = json.loads(body)
    first, last = (datetime.fromisoformat(search[name]).date() for name in ("start_date", "end_date"))
    page = int(server.parameter(query, "page[num]") or 1)
    total = (last - first).days * data.ROWS_A_DAY + data.ROWS_A_DAY
    if data.PAGE * (page - 1) >= total:
        return b'{"data":[]}'
    day = first + timedelta((page - 1) // data.PAGES_A_DAY)
    rows = data.visits_page(first.toordinal() * data.PAGES_A_DAY + page - 1, total - (total == server.ROW_LIMIT), page)
    return rows.replace(b"2026-11-20T", f"{day}T".encode())


def _visitors(query: str, _: bytes) -> bytes:
    first = data.PAGE * (int(server.parameter(query, "page[num]") or 1) - 1)
    rows = b",".join(_visitor(number) for number in range(first, min(COMPANIES, first + data.PAGE)))
    pagination = b'{"page_count":%d,"total_count":%d}' % (COMPANIES // data.PAGE, COMPANIES)
    return b'{"data":[%b],"meta":{"pagination":%b}}' % (rows, pagination)


@cache
def _visitor(number: int) -> bytes:
    company = json.loads(data.companies_page(data.FIRST_COMPANY + number, 1))["data"][0]
    row = {"id": str(number), "type": "company_location", "relationships": {"company": company}}
    return json.dumps(row, separators=(",", ":")).encode()


def _nothing(_query: str, _body: bytes) -> bytes:
    return b'{"data":[]}'


class _Routes(dict[str, Callable[[str, bytes], bytes]]):
    def __missing__(self, route: str) -> Callable[[str, bytes], bytes]:
        return _nothing


def main() -> None:
    """Measure the jobs, or be one of the processes."""
    parser = argparse.ArgumentParser(prog="benchmarks.long_jobs", description=__doc__)
    parser.add_argument("--visits", type=int, default=100_000)
    parser.add_argument("child", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    match options.child:
        case ["serve"]:
            routes = _Routes({"/v1/web-visits": _visits, "/v1/web-visits/companies": _visitors})
            asyncio.run(server.serve(routes, cached=0))
        case ["run", job, url, first_day, folder]:
            found = asyncio.run(run(job, url, first_day, Path(folder)))
            print(json.dumps({"seconds": found.seconds, "peak": found.peak, "requests": found.requests}))
        case _:
            print(table(measure(options.visits), options.visits))


if __name__ == "__main__":
    main()
