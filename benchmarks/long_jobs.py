"""The long jobs: exports, tables, syncs, a report and an enrichment, each in a process of its own.

``python -m benchmarks.long_jobs --visits 100000 --rounds 3`` prints the CPU time of each job per visit or row, and as a
ratio to the export of the same visits to JSON lines in the same round. ``--write`` also writes them to results.md. The
server sends 2,000 visits a day of 9,000 companies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from benchmarks import data, server
from benchmarks.measure import cpu, spread_of
from benchmarks.processes import ROOT, rss_peak
from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.report import write_report
from leadfeeder_async.sync import sync_account

BASE, COMPANIES_SUFFIX = "ndjson", " with companies"
SYNC, NO_NEWS, ALL_DAYS = "first sync", "sync without news", "sync that reads all days"
REPORT, ENRICHMENT = "report of 30 days", "enrichment by domain"
JOBS = (
    BASE,
    "csv",
    "parquet",
    "ndjson with companies",
    "csv with companies",
    "parquet with companies",
    SYNC,
    NO_NEWS,
    ALL_DAYS,
    REPORT,
    ENRICHMENT,
)
COMPANIES = 9_000
GOALS = {
    ("csv with companies", None): "2x",
    ("parquet with companies", None): "2x, 200 MB",
    (SYNC, 100_000): "6x",
    (SYNC, 1_000_000): "9x, 350 MB",
    (ALL_DAYS, 100_000): "6x",
    (REPORT, 1_000_000): "0.8 s, 175 MB",
    (NO_NEWS, 1_000_000): "1.5 s",
    (ENRICHMENT, None): "70 MB",
}
"""The goal of a job, by the number of visits. None is any number."""

TODAY = datetime.now(UTC).date()


@dataclass(frozen=True)
class Figures:
    """The cost of one job."""

    seconds: float
    """CPU time."""
    peak: float
    """The most memory, in MB."""
    requests: int


async def run(job: str, url: str, first_day: str, visits: int, folder: Path) -> Figures:
    """Run one job in this process."""
    database = folder / "visits.duckdb"
    async with AsyncExitStack() as stack:
        before = cpu()
        if job == REPORT:
            write_report(database, folder / "report.html")
            return Figures(cpu() - before, rss_peak(), 0)
        lf = await stack.enter_async_context(
            AsyncLeadfeeder("key", account_id="1", base_url=url, rate=1e6, burst=100_000)
        )
        before = cpu()
        if job in {SYNC, NO_NEWS, ALL_DAYS}:
            lookback = 100_000 if job == ALL_DAYS else 3
            requests = (await sync_account(lf, database, since=first_day, lookback_days=lookback)).requests
        elif job == ENRICHMENT:
            domains = (f"https://www.company-{number}.test/about" for number in range(visits))
            await lf.enrich.companies(domains, by="domain").to_file(folder / "enriched.ndjson")
            requests = lf.stats.requests
        else:
            suffix, _, include = job.partition(" with ")
            found = lf.web_visits.search(
                start_date=first_day, end_date=TODAY, include=("company",) if include else None
            )
            requests = (await found.to_file(folder / f"visits{len(include)}.{suffix}")).requests
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
                with _start("run", job, url, first_day, str(visits), folder) as process:
                    figures[job] = Figures(**json.loads(process.communicate()[0]))
        finally:
            child.terminate()
            child.wait()
    return figures


def section(rounds: Sequence[dict[str, Figures]], visits: int) -> str:
    """Return the figures as a section of results.md."""
    machine = (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{TODAY}, load {os.getloadavg()[0]:.1f}, rounds: {len(rounds)}. CPU time, medians. "
        "Jobs with companies are compared with the export of visits with companies."
    )
    lines = [
        f"## Jobs of {visits:,} visits or rows",
        "",
        machine,
        "",
        "| job | us per visit or row | of ndjson [quartiles] | goal | peak MB | requests |",
        "|---|---|---|---|---|---|",
    ]
    for job in JOBS:
        base = f"{BASE}{COMPANIES_SUFFIX}" if job.endswith(COMPANIES_SUFFIX) else BASE
        ratios = spread_of([figures[job].seconds / figures[base].seconds for figures in rounds])
        micros = statistics.median(1e6 * figures[job].seconds / visits for figures in rounds)
        peak, requests = max(figures[job].peak for figures in rounds), rounds[-1][job].requests
        goal = GOALS.get((job, visits), GOALS.get((job, None), ""))
        lines.append(f"| {job} | {micros:.1f} | {ratios} | {goal} | {peak:.0f} | {requests:,} |")
    return "\n".join((*lines, "", ""))


def write(text: str, results: Path) -> None:
    """Replace a section of a Markdown file, or insert it before the first one."""
    heading, content = text.partition("\n")[0], results.read_text(encoding="utf-8")
    without = re.sub(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", "", content, flags=re.MULTILINE | re.DOTALL)
    start = without.index("\n## ") + 1
    results.write_text(without[:start] + text + without[start:], encoding="utf-8")


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
    rows = rows.replace(b"2026-11-20T", f"{day}T".encode())
    return _COMPANY.sub(_with_company, rows) if "include" in query else rows


_COMPANY = re.compile(rb'\{"id":"(\d+)","type":"company"\}')


def _with_company(found: re.Match[bytes]) -> bytes:
    return _company(int(found[1]))


@cache
def _company(number: int) -> bytes:
    return json.dumps(json.loads(data.companies_page(number, 1))["data"][0], separators=(",", ":")).encode()


def _companies(query: str, _: bytes) -> bytes:
    ids = (server.parameter(query, "ids") or "").split(",")
    rows = b",".join(_COMPANY_ID.sub(b'"id":"%b"' % number.encode(), _company(0), count=1) for number in ids)
    return b'{"data":[%b],"meta":{"credits":{"charged":%d}}}' % (rows, len(ids))


_COMPANY_ID = re.compile(rb'"id":"\d+"')


def _matches(_: str, body: bytes) -> bytes:
    keys = [re.sub(r"\D", "", company["url"]) for company in json.loads(body)["companies"]]
    match = '[{"id":"%s","type":"company","attributes":{"match_score":0.97,"name":"Firm"}}]'
    return f'{{"data":[{",".join(match % key for key in keys)}]}}'.encode()


def _visitors(query: str, _: bytes) -> bytes:
    first = data.PAGE * (int(server.parameter(query, "page[num]") or 1) - 1)
    rows = b",".join(_visitor(number) for number in range(first, min(COMPANIES, first + data.PAGE)))
    pagination = b'{"page_count":%d,"total_count":%d}' % (COMPANIES // data.PAGE, COMPANIES)
    return b'{"data":[%b],"meta":{"pagination":%b}}' % (rows, pagination)


@cache
def _visitor(number: int) -> bytes:
    company = _company(data.FIRST_COMPANY + number)
    return b'{"id":"%d","type":"company_location","relationships":{"company":%b}}' % (number, company)


def _nothing(_query: str, _body: bytes) -> bytes:
    return b'{"data":[]}'


class _Routes(dict[str, Callable[[str, bytes], bytes]]):
    def __missing__(self, route: str) -> Callable[[str, bytes], bytes]:
        return _nothing


def main() -> None:
    """Measure the jobs, or be one of the processes."""
    parser = argparse.ArgumentParser(prog="benchmarks.long_jobs", description=__doc__)
    parser.add_argument("--visits", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the section of these visits to results.md")
    parser.add_argument("child", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    match options.child:
        case ["serve"]:
            asyncio.run(server.serve(_ROUTES, cached=0))
        case ["run", job, url, first_day, visits, folder]:
            found = asyncio.run(run(job, url, first_day, int(visits), Path(folder)))
            print(json.dumps({"seconds": found.seconds, "peak": found.peak, "requests": found.requests}))
        case _:
            text = section([measure(options.visits) for _ in range(options.rounds)], options.visits)
            print(text)
            if options.write:
                write(text, Path(__file__).with_name("results.md"))


_ROUTES = _Routes(
    {
        "/v1/web-visits": _visits,
        "/v1/web-visits/companies": _visitors,
        "/v1/companies": _companies,
        "/v1/companies/match": _matches,
    }
)


if __name__ == "__main__":
    main()
