"""``leadfeeder demo``: an export, a sync and a report with generated data."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from leadfeeder_async.cli import terminal
from leadfeeder_async.cli.printing import print_err
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import IncompleteWindowError
from leadfeeder_async.models.records import WebVisit

if TYPE_CHECKING:
    from leadfeeder_async.sync import SyncResult


@dataclass(frozen=True, slots=True)
class FileContents:
    """The number of distinct values in a file of visits."""

    visits: int
    companies: int
    days: int


async def demo(
    *,
    out: Annotated[Path, Parameter(help="The output file. An existing file is replaced.")] = Path("demo/visits.ndjson"),
    visits: Annotated[int, Parameter(help="The number of visits to generate.")] = 12_345,
) -> None:
    """Export visits from a local sandbox and make a report.

    Exports 30 days of generated visits, checks the file, syncs 90 days to a database and writes an HTML report next to
    it. Needs no key and no network connection.
    """
    await _export(out, visits)
    if find_spec("duckdb") is None:
        print_err("\nTo also make a report, run: pip install duckdb jinja2")
    else:
        await _sync_and_report(out.with_name("leadfeeder.duckdb"), out.with_name("report.html"))
    command = sys.argv[0]
    print_err(
        "\nNext steps:\n"
        f"  {command} sandbox\n"
        "      run a local server for your own tests\n"
        f"  {command} export visits --out visits.ndjson\n"
        "      export the visits of your account, after you set LEADFEEDER_API_KEY\n"
        f"  {command} --help\n"
        "      list all commands"
    )


async def _export(out: Path, visits: int) -> None:
    from leadfeeder_async.sandbox import Sandbox

    async with Sandbox(companies=400, visits=visits) as sandbox:
        print_err(f"A sandbox with {visits:,} visits in 30 days is running at {sandbox.url}.")
        client = AsyncLeadfeeder(sandbox.api_key, account_id=sandbox.account_id, base_url=sandbox.url, trust_env=False)
        async with client as lf:
            pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date)
            await terminal.export(pager, lf.stats, out, "visit", overwrite=True)
        contents, ledger = read_contents(out), sandbox.ledger
    if contents.visits != visits:
        raise IncompleteWindowError(f"The sandbox has {visits:,} visits, but {out} has {contents.visits:,}.")
    print_err(
        f"\n{out} contains every visit exactly once:\n"
        f"  visits           {contents.visits:>8,}\n"
        f"  companies        {contents.companies:>8,}\n"
        f"  days             {contents.days:>8,}\n"
        f"  requests sent    {len(ledger.requests):>8,}\n"
        f"  rate-limited     {ledger.rate_limited:>8,}\n"
        f"  credits charged  {ledger.credits_charged:>8,}"
    )


async def _sync_and_report(database: Path, page: Path) -> None:
    from leadfeeder_async.report import write_report

    database.unlink(missing_ok=True)  # noqa: ASYNC240 - a file of an earlier demonstration, with other data
    result = await _sync(database)
    report = await asyncio.to_thread(write_report, database, page, since="30d", title="Demonstration", overwrite=True)
    print_err(
        f"\n{database}: {result.tables['visits'].new:,} visits in 90 days, synced in {result.elapsed:.1f} s\n"
        f"{page}: a report of 30 days, {report.totals.visits:,} visits by {report.totals.companies:,} companies"
    )


async def _sync(database: Path) -> SyncResult:
    """Sync from a sandbox without a rate limit, to save time."""
    from leadfeeder_async.sandbox import Sandbox
    from leadfeeder_async.sync import sync_account

    async with Sandbox(companies=4_000, visits=6_000, days=90, rate_limit=False) as sandbox:
        client = AsyncLeadfeeder(
            sandbox.api_key,
            account_id=sandbox.account_id,
            base_url=sandbox.url,
            rate=1_000,
            burst=1_000,
            trust_env=False,
        )
        async with client as lf:
            with terminal.progress_bar("visits") as on_progress:
                return await sync_account(lf, database, since=sandbox.start_date, on_progress=on_progress)


def read_contents(path: Path) -> FileContents:
    """Count the distinct visits, companies and days in a file of visits."""
    decoder = msgspec.json.Decoder(WebVisit)
    visits, companies, days = set[str](), set[str](), set[str]()
    with path.open("rb") as lines:
        for visit in map(decoder.decode, lines):
            visits.add(visit.id)
            companies.add(visit.company.id if visit.company else "")
            days.add(str(visit.started_at)[:10])
    return FileContents(len(visits), len(companies), len(days))
