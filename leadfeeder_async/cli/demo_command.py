"""``leadfeeder demo``: an export, a sync and a report with generated data."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from leadfeeder_async.cli.export_job import export_list
from leadfeeder_async.cli.printing import print_err
from leadfeeder_async.cli.progress_bar import progress_bar
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import CheckpointError, IncompleteWindowError
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.date_range import utc_today

if TYPE_CHECKING:
    from leadfeeder_async.pagination.date_range import DateWindow
    from leadfeeder_async.sync import SyncResult


COMPANIES = 400
"""The companies of the generated account. Half of them visit."""

DAYS = 90


@dataclass(frozen=True, slots=True)
class FileContents:
    """The number of distinct values in a file of visits."""

    visits: int
    companies: int
    days: int


async def demo(
    *,
    out: Annotated[Path, Parameter(help="The output file.")] = Path("demo/visits.ndjson"),
    visits: Annotated[int, Parameter(help="The number of visits to generate.")] = 12_345,
    overwrite: Annotated[
        bool, Parameter(negative=(), help="Replace the output file, demo.duckdb and demo.html next to it.")
    ] = False,
) -> None:
    """Export, sync and report the visits of a generated account.

    Exports 90 days of visits and checks the file, syncs the same visits to the database demo.duckdb and writes the HTML
    report demo.html next to it. Needs no key and no network connection.
    """
    database, page = out.with_name("demo.duckdb"), out.with_name("demo.html")
    has_report = find_spec("duckdb") is not None and find_spec("jinja2") is not None
    _check_files(out, *((database, page) if has_report else ()), overwrite=overwrite)
    today = utc_today()
    exported = await _export(out, visits, today, overwrite=overwrite)
    if has_report:
        await _sync_and_report(out, exported, database, page, today, overwrite=overwrite)
    else:
        print_err("\nTo also make a report, run: pip install duckdb jinja2")
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
    if has_report:
        print_err(f"\nNow open {page} in a browser.")


def _check_files(*paths: Path, overwrite: bool) -> None:
    """Raise CheckpointError if a file exists or is unfinished, unless it is to be replaced."""
    from leadfeeder_async.jobs.resumable_file import checkpoint_path, validate_target

    for path in paths:
        validate_target(path, overwrite=overwrite)
        if not overwrite and checkpoint_path(path).exists():
            raise CheckpointError(
                f"{path} is unfinished.", hint="Choose another path, or pass overwrite=True.", reason="exists"
            )


async def _export(out: Path, visits: int, today: date, *, overwrite: bool) -> FileContents:
    from leadfeeder_async.sandbox import Sandbox

    async with Sandbox(companies=COMPANIES, visits=visits, days=DAYS, end_date=today) as sandbox:
        print_err(
            f"A generated account with {visits:,} visits in {DAYS} days is served at {sandbox.url}, "
            "with the rate limit of the API."
        )
        client = AsyncLeadfeeder(sandbox.api_key, account_id=sandbox.account_id, base_url=sandbox.url, trust_env=False)
        async with client as lf:
            pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date)
            await export_list(pager, lf.stats, out, "visit", overwrite=overwrite)
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
    return contents


async def _sync_and_report(
    out: Path, exported: FileContents, database: Path, page: Path, today: date, *, overwrite: bool
) -> None:
    from leadfeeder_async.report import write_report

    if overwrite:
        _remove_demo_database(database)
    result = await _sync(database, exported.visits, today)
    synced_visits, synced_companies = result.tables["visits"].new, result.tables["companies"].new
    report = await asyncio.to_thread(
        write_report, database, page, since="30d", title="Demonstration", overwrite=overwrite
    )
    expected = read_contents(out, report.window)
    shown = (report.totals.visits, report.totals.companies)
    synced = (synced_visits, synced_companies)
    if synced != (exported.visits, exported.companies) or shown != (expected.visits, expected.companies):
        raise IncompleteWindowError(f"{database} and {page} do not have the visits of {out}.")
    print_err(
        f"\n{database}: the same {synced_visits:,} visits of {synced_companies:,} companies, "
        f"synced in {result.elapsed:.1f} s\n"
        f"{page}: the last {report.window.days} complete days of them, "
        f"{expected.visits:,} visits of {expected.companies:,} companies"
    )


def _remove_demo_database(database: Path) -> None:
    """Remove the database of an earlier demonstration, which has other data, and the files that a kill left."""
    from leadfeeder_async.jobs.duckdb_file import remove_database
    from leadfeeder_async.jobs.sync.visit_spool import SpoolState, open_spool

    with open_spool(database) as spool:
        spool.begin(SpoolState())
        remove_database(database)


async def _sync(database: Path, visits: int, today: date) -> SyncResult:
    """Sync the same account from a sandbox without a rate limit, to save time."""
    from leadfeeder_async.sandbox import Sandbox
    from leadfeeder_async.sync import sync_account

    async with Sandbox(companies=COMPANIES, visits=visits, days=DAYS, end_date=today, rate_limit=False) as sandbox:
        client = AsyncLeadfeeder(
            sandbox.api_key,
            account_id=sandbox.account_id,
            base_url=sandbox.url,
            rate=1_000,
            burst=1_000,
            trust_env=False,
        )
        async with client as lf:
            with progress_bar("visits") as on_progress:
                return await sync_account(lf, database, since=sandbox.start_date, on_progress=on_progress)


def read_contents(path: Path, window: DateWindow | None = None) -> FileContents:
    """Count the distinct visits, companies and days in a file of visits, or in some of its days."""
    decoder = msgspec.json.Decoder(WebVisit)
    visits, companies, days = set[str](), set[str](), set[date]()
    with path.open("rb") as lines:
        for visit in map(decoder.decode, lines):
            if visit.started_at is None or (window and not window.start <= visit.started_at.date() <= window.end):
                continue
            visits.add(visit.id)
            companies.add(visit.company_id or "")
            days.add(visit.started_at.date())
    return FileContents(len(visits), len(companies), len(days))
