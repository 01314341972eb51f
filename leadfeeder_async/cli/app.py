"""The commands. What they need is imported when they run, so that ``--help`` is quick."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from leadfeeder_async._version import __version__
from leadfeeder_async.cli import output
from leadfeeder_async.errors import require

app = App(
    name="leadfeeder",
    help="Leadfeeder from the command line: visits, companies and accounts of the API v1.",
    help_epilogue="The key, the account and the address come from LEADFEEDER_API_KEY, LEADFEEDER_ACCOUNT_ID and "
    "LEADFEEDER_BASE_URL.",
    version=__version__,
    suppress_keyboard_interrupt=False,
)
export = App(name="export", help="Write a list to a file, or to stdout: one JSON object a line.")
contract = App(name="contract", help="What this package knows of the API.")
app.command(export)
app.command(contract)

DOCUMENT = "https://api.leadfeeder.com/openapi.yaml"

Out = Annotated[Path | None, Parameter(help="The file to write: .ndjson, .csv or .parquet; without it, stdout.")]
Resume = Annotated[bool, Parameter(negative=(), help="Go on where an unfinished export of the same query stopped.")]
Overwrite = Annotated[bool, Parameter(negative=(), help="Replace the file if it exists.")]
AccountId = Annotated[str | None, Parameter(help="The account; needed where the key has several.")]
Limit = Annotated[int | None, Parameter(help="Stop after this many rows.")]
Since = Annotated[str, Parameter(help="The first day: YYYY-MM-DD, `today`, or `30d` for the last 30 days.")]
Until = Annotated[str, Parameter(help="The last day, included: YYYY-MM-DD or `today`.")]


@export.command(name="visits")
async def export_visits(
    *,
    since: Since = "30d",
    until: Until = "today",
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    account_id: AccountId = None,
    company_id: Annotated[str | None, Parameter(help="Only visits of this company.")] = None,
    include_company: Annotated[bool, Parameter(negative=(), help="Show each company whole.")] = False,
    limit: Limit = None,
) -> None:
    """Export the visits of some days; free, and complete past the API's 10,000 rows."""
    from leadfeeder_async.client import AsyncLeadfeeder

    async with AsyncLeadfeeder(account_id=account_id) as lf:
        pager = lf.web_visits.search(
            start_date=read_day(since),
            end_date=read_day(until),
            company_id=company_id,
            include=["company"] if include_company else None,
            limit=limit,
        )
        await output.export(pager, lf.stats, out, "visits", limit=limit, resume=resume, overwrite=overwrite)


@export.command(name="companies")
async def export_companies(
    *,
    term: Annotated[list[str] | None, Parameter(negative=(), help="A word to search for; may be repeated.")] = None,
    country: Annotated[list[str] | None, Parameter(negative=(), help="A country code; may be repeated.")] = None,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    account_id: AccountId = None,
    limit: Limit = None,
) -> None:
    """Export the summaries of a company search; free."""
    from leadfeeder_async.client import AsyncLeadfeeder
    from leadfeeder_async.models.queries import SearchLocation

    async with AsyncLeadfeeder(account_id=account_id) as lf:
        pager = lf.companies.search(
            search_terms=term,
            locations=[SearchLocation(country_code=code) for code in country] if country else None,
            limit=limit,
        )
        await output.export(pager, lf.stats, out, "companies", limit=limit, resume=resume, overwrite=overwrite)


@contract.command(name="check")
async def contract_check(
    source: Annotated[str, Parameter(help="An address or a file, YAML or JSON.")] = DOCUMENT,
) -> int:
    """Compare this package with the vendor's OpenAPI document; exit 1 where something would break."""
    from leadfeeder_async.cli.contract import check

    return 1 if await check(source) else 0


@app.command
async def accounts() -> None:
    """List the accounts of the key."""
    from leadfeeder_async.client import AsyncLeadfeeder

    async with AsyncLeadfeeder() as lf:
        found = (await lf.accounts.list()).data
    output.show([{"id": account.id, "name": account.name} for account in found])


@app.command
async def sandbox(
    *,
    port: Annotated[int, Parameter(help="The port on 127.0.0.1; 0 takes a free one.")] = 0,
    seed: Annotated[int, Parameter(help="The same seed gives the same data.")] = 1,
    companies: int = 200,
    visits: int = 1_000,
    days: int = 30,
    rate_limit: Annotated[bool, Parameter(help="Keep to 10 requests a second, burst 15.")] = True,
) -> None:
    """Run a local Leadfeeder until Ctrl-C, and print the lines that point a shell at it."""
    from leadfeeder_async.sandbox import Sandbox

    local = Sandbox(seed=seed, companies=companies, visits=visits, days=days, rate_limit=rate_limit, port=port)
    async with local:
        for name, value in local.environment.items():
            output.say_out(f"export {name}={value}")
        output.note(f"The sandbox answers at {local.url}; Ctrl-C ends it.")
        await asyncio.Event().wait()


@app.command
async def demo(
    *,
    out: Annotated[Path, Parameter(help="The file to write; replaced if it exists.")] = Path("demo/visits.ndjson"),
    visits: Annotated[int, Parameter(help="How many visits to make up.")] = 12_345,
) -> None:
    """Sweep a month of made-up visits from a sandbox into a file: no key, no account, no network."""
    from leadfeeder_async.cli.demo import run

    await run(out, visits)


def read_day(text: str, today: date | None = None) -> date:
    """Read a day as people write it: ``2026-11-01``, ``today``, or ``30d`` for the first of the last 30 days."""
    today = today or datetime.now(UTC).date()
    if text == "today":
        return today
    if text.endswith("d") and text[:-1].isdecimal() and 1 <= int(text[:-1]) <= 3_660:
        return today - timedelta(int(text[:-1]) - 1)
    try:
        return date.fromisoformat(text)
    except ValueError:
        require(False, f"{text!r} is not a day.", "Write YYYY-MM-DD, `today`, or `30d` for the last 30 days.")
    return today
