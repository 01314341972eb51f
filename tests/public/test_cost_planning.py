"""The formulas and the numbers of the page Cost planning, measured with the ledger of a sandbox."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, timedelta
from math import ceil
from pathlib import Path

import pytest

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.jobs.sync.date_plan import SLICE_ROWS
from leadfeeder_async.report import write_report
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import sync_account
from tests.support.clients import client_for
from tests.support.paths import DOCS

PAGE = (DOCS / "cost-planning.md").read_text(encoding="utf-8")
LAST_DAY = date(2026, 11, 20)
Job = Callable[[AsyncLeadfeeder, Sandbox, Path], Awaitable[object]]


def pages(rows: int, size: int = 100) -> int:
    return max(1, ceil(rows / size))


async def a_month_of_visits(lf: AsyncLeadfeeder, _: Sandbox, folder: Path) -> None:
    visits = lf.web_visits.search(start_date=LAST_DAY - timedelta(29), end_date=LAST_DAY)
    await visits.to_file(folder / "visits.ndjson")


async def companies_by_id(lf: AsyncLeadfeeder, sandbox: Sandbox, _: Path) -> None:
    await lf.companies.get_many(sandbox.world.company_ids()[:250]).collect()


async def companies_one_by_one(lf: AsyncLeadfeeder, sandbox: Sandbox, _: Path) -> None:
    for company_id in sandbox.world.company_ids()[:250]:
        await lf.companies.get(company_id)


async def domains(lf: AsyncLeadfeeder, sandbox: Sandbox, folder: Path) -> None:
    rows = [str(sandbox.world.company(company_id)["url"]) for company_id in sandbox.world.company_ids()[:500]]
    await lf.enrich.companies([*rows, *rows[:100]], by="domain").to_file(folder / "companies.ndjson")


async def addresses(lf: AsyncLeadfeeder, _: Sandbox, folder: Path) -> None:
    rows = [f"198.18.0.{number}" for number in range(1, 101)]
    await lf.enrich.ips([*rows, *rows]).to_file(folder / "ips.ndjson")


async def tags(lf: AsyncLeadfeeder, sandbox: Sandbox, folder: Path) -> None:
    tag = sandbox.records.tags.add({"name": "Hot", "color": 1})
    await lf.bulk.assign_tags(sandbox.world.company_ids()[:250], [tag]).to_file(folder / "tags.ndjson")


async def first_sync(lf: AsyncLeadfeeder, sandbox: Sandbox, folder: Path) -> None:
    await sync_account(lf, folder / "account.duckdb", since=sandbox.start_date)


async def report(_: AsyncLeadfeeder, __: Sandbox, folder: Path) -> None:
    write_report(folder / "account.duckdb", folder / "report.html")


SLICES = ceil(6_000 / SLICE_ROWS) + 2  # the recent days and today are read on their own

JOBS: dict[str, tuple[Job, Callable[[int, int], bool], int]] = {
    # the rows of the page: the job, whether a number of requests fits its formula, and the credits
    "export of visits": (a_month_of_visits, lambda n, _: n == pages(6_000), 0),
    "`companies.get_many`": (companies_by_id, lambda n, _: n == pages(250), 250),
    "the same again": (companies_by_id, lambda n, _: n == pages(250), 0),
    "`companies.get`": (companies_one_by_one, lambda n, _: n == 250, 0),
    "enrichment by domain": (domains, lambda n, _: n == pages(500, 200) + pages(500), 250),
    "enrichment by IP address": (addresses, lambda n, _: n == 100, 0),
    "assigning tags (`lf.bulk.assign_tags`)": (tags, lambda n, _: n == 250, 0),
    "first sync": (first_sync, lambda n, companies: 0 <= n - (10 + pages(6_000) + pages(companies)) <= SLICES, 0),
    "report": (report, lambda n, _: n == 0, 0),
}


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(companies=1_000, visits=6_000, end_date=LAST_DAY, rate_limit=False) as running:
        yield running


def documented() -> dict[str, tuple[int, int]]:
    """Return the measured requests and credits of each row of the page."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \| [^|]+ \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    return {name: (int(requests.replace(",", "")), int(charged.replace(",", ""))) for name, requests, charged in rows}


async def test_measured_numbers(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each job sends the requests of its formula and spends its credits, and the page has these numbers."""
    measured = dict[str, tuple[int, int]]()
    async with client_for(sandbox) as lf:
        for name, (job, fits, expected) in JOBS.items():
            requests, charged = len(sandbox.ledger.requests), sandbox.ledger.credits_charged
            await job(lf, sandbox, tmp_path)
            sent = sandbox.ledger.requests[requests:]
            companies = 100 * sum(one.operation == "retrieve_visitor_companies" for one in sent)
            measured[name] = len(sent), sandbox.ledger.credits_charged - charged
            assert fits(len(sent), companies), (name, measured[name])
            assert measured[name][1] == expected, name
            for file in tmp_path.glob("*.ndjson"):
                file.unlink()
    assert documented() == measured


def test_durations_follow_from_the_rate() -> None:
    """The durations on the page are the requests divided by 9.9 per second."""
    shown = re.findall(r"^\| ([\d,]+) \| (\d+) (s|min) \| ([\d.]+) % \|$", PAGE, re.MULTILINE)
    assert len(shown) >= 4
    for requests, duration, unit, share in shown:
        number = int(requests.replace(",", ""))
        assert float(share) == number / 1_000
        assert int(duration) == round(number / 9.9 / (60 if unit == "min" else 1))
