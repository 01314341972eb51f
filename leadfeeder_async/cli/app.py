"""The commands. What they need is imported when they run, so that ``--help`` is quick."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from leadfeeder_async._version import __version__
from leadfeeder_async.cli import output
from leadfeeder_async.cli.enrich import enrich
from leadfeeder_async.cli.exports import export
from leadfeeder_async.cli.report import report
from leadfeeder_async.cli.sync import sync

app = App(
    name="leadfeeder",
    help="Leadfeeder from the command line: visits, companies and accounts of the API v1.",
    help_epilogue="The key, the account and the address come from LEADFEEDER_API_KEY, LEADFEEDER_ACCOUNT_ID and "
    "LEADFEEDER_BASE_URL.",
    version=__version__,
    suppress_keyboard_interrupt=False,
)
contract = App(name="contract", help="What this package knows of the API.")
app.command(export)
app.command(enrich)
app.command(report)
app.command(sync)
app.command(contract)

DOCUMENT = "https://api.leadfeeder.com/openapi.yaml"


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
    """Sweep a month of made-up visits from a sandbox into a file, and report on a quarter: no key, no network."""
    from leadfeeder_async.cli.demo import run

    await run(out, visits)
