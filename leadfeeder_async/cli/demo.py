"""The demonstration: a month of visits, from a sandbox, into a file; then a quarter into a database and on a page."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from leadfeeder_async.cli import terminal
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import IncompleteWindowError
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.sandbox import Sandbox

if TYPE_CHECKING:
    from leadfeeder_async.sync import SyncResult


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file of visits holds."""

    visits: int
    companies: int
    days: int


async def run(out: Path, visits: int) -> None:
    """Sweep the sandbox's visits into ``out``, say what it holds, and make a report beside it."""
    await _sweep(out, visits)
    if find_spec("duckdb") is None:
        terminal.print_note("\nWith DuckDB a report would follow: pip install 'leadfeeder-async[cli,duckdb]'")
    else:
        await _report(out.with_name("leadfeeder.duckdb"), out.with_name("report.html"))
    me = sys.argv[0]
    terminal.print_note(
        "\nNext:\n"
        f"  {me} sandbox\n      a local Leadfeeder to try things on\n"
        f"  LEADFEEDER_API_KEY=... {me} export visits --since 30d --out visits.ndjson\n"
        "      the same with your own account\n"
        f"  {me} --help"
    )


async def _sweep(out: Path, visits: int) -> None:
    """Export a month of visits at the API's own pace, and read the file back."""
    async with Sandbox(companies=400, visits=visits) as sandbox:
        terminal.print_note(f"A sandbox with {visits:,} visits in 30 days answers at {sandbox.url}.")
        async with AsyncLeadfeeder(sandbox.api_key, account_id=sandbox.account_id, base_url=sandbox.url) as lf:
            pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date)
            await terminal.export(pager, lf.stats, out, "visits", overwrite=True)
        contents, ledger = read_back(out), sandbox.ledger
    if contents.visits != visits:
        raise IncompleteWindowError(f"The sandbox holds {visits:,} visits, and {out} {contents.visits:,}.")
    terminal.print_note(
        f"\n{out} holds every one of them, each once:\n"
        f"  visits           {contents.visits:>8,}\n"
        f"  companies        {contents.companies:>8,}\n"
        f"  days             {contents.days:>8,}\n"
        f"  requests sent    {len(ledger.requests):>8,}\n"
        f"  answers 429      {ledger.rate_limited:>8,}\n"
        f"  credits charged  {ledger.credits_charged:>8,}"
    )


async def _report(db: Path, page: Path) -> None:
    """Sync a made-up quarter, and make a page of it."""
    from leadfeeder_async.report import write_report

    db.unlink(missing_ok=True)  # noqa: ASYNC240 - the demonstration's own, of another made-up world
    synced = await _sync(db)
    made = await asyncio.to_thread(write_report, db, page, since="30d", title="A made-up quarter", overwrite=True)
    terminal.print_note(
        f"\n{db}: {synced.tables['visits'].new:,} visits of 90 days in tables, in {synced.elapsed:.1f} s\n"
        f"{page}: the last 30 of them on a page, {made.totals.visits:,} visits of {made.totals.companies:,} companies"
    )


async def _sync(db: Path) -> SyncResult:
    """Sync from a sandbox that has no limit, so that nobody waits."""
    from leadfeeder_async.sync import sync_account

    async with Sandbox(companies=4_000, visits=6_000, days=90, rate_limit=False) as quarter:
        account, url = quarter.account_id, quarter.url
        async with AsyncLeadfeeder(quarter.api_key, account_id=account, base_url=url, rate=1_000, burst=1_000) as lf:
            with terminal.progress_bar("visits") as on_progress:
                return await sync_account(lf, db, since=quarter.start_date, on_progress=on_progress)


def read_back(path: Path) -> Contents:
    """Count what a file of visits holds, by distinct ids."""
    visits, companies, days = set[str](), set[str](), set[str]()
    for visit in _visits(path):
        visits.add(visit.id)
        companies.add(visit.company.id if visit.company else "")
        days.add(str(visit.started_at)[:10])
    return Contents(len(visits), len(companies), len(days))


def _visits(path: Path) -> Iterator[WebVisit]:
    decoder = msgspec.json.Decoder(WebVisit)
    with path.open("rb") as lines:
        yield from map(decoder.decode, lines)
