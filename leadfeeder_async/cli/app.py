"""The commands. What they need is imported when they run, so that ``--help`` is quick."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from leadfeeder_async._version import __version__
from leadfeeder_async.cli import terminal
from leadfeeder_async.cli.account_commands import accounts, usage
from leadfeeder_async.cli.brief import brief
from leadfeeder_async.cli.doctor import doctor
from leadfeeder_async.cli.enrich_command import enrich
from leadfeeder_async.cli.export_commands import export
from leadfeeder_async.cli.record_commands import companies, contacts, ip
from leadfeeder_async.cli.report_command import report
from leadfeeder_async.cli.sync_command import sync
from leadfeeder_async.cli.tag_and_list_commands import lists, tags
from leadfeeder_async.errors import ConfigurationError

app = App(
    name="leadfeeder",
    help="Leadfeeder from the command line: visits, companies and accounts of the API v1.",
    help_epilogue="The key, the account and the address come from LEADFEEDER_API_KEY, LEADFEEDER_ACCOUNT_ID and "
    "LEADFEEDER_BASE_URL.",
    version=__version__,
    suppress_keyboard_interrupt=False,
)
contract = App(name="contract", help="What this package knows of the API.")
for command in (
    accounts,
    brief,
    companies,
    contacts,
    contract,
    doctor,
    enrich,
    export,
    ip,
    lists,
    report,
    sync,
    tags,
    usage,
):
    app.command(command)

DOCUMENT = "https://api.leadfeeder.com/openapi.yaml"


@contract.command(name="check")
async def contract_check(
    source: Annotated[str, Parameter(help="An address or a file, YAML or JSON.")] = DOCUMENT,
) -> int:
    """Compare this package with the vendor's OpenAPI document; exit 1 where something would break."""
    from leadfeeder_async.cli.contract_command import check

    return 1 if await check(source) else 0


@app.command
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell to complete in.")],
    /,
) -> None:
    """Print a script that completes commands and options; `source <(leadfeeder completion bash)` turns it on."""
    terminal.print_out(app.generate_completion(shell=shell))


@app.command
async def sandbox(
    *,
    port: Annotated[int, Parameter(help="The port on 127.0.0.1; 0 takes a free one.")] = 0,
    seed: Annotated[int, Parameter(help="The same seed gives the same data.")] = 1,
    companies: Annotated[int, Parameter(help="How many companies to make up.")] = 200,
    visits: Annotated[int, Parameter(help="How many visits to make up.")] = 1_000,
    days: Annotated[int, Parameter(help="Over how many days, up to today.")] = 30,
    rate_limit: Annotated[bool, Parameter(help="Keep to 10 requests a second, burst 15.")] = True,
) -> None:
    """Run a local Leadfeeder until Ctrl-C, and print the lines that point a shell at it; it needs no key."""
    from leadfeeder_async.sandbox import Sandbox

    try:
        local = Sandbox(seed=seed, companies=companies, visits=visits, days=days, rate_limit=rate_limit, port=port)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    async with local:
        for name, value in local.environment.items():
            terminal.print_out(f"export {name}={value}")
        terminal.print_note(f"The sandbox answers at {local.url}; Ctrl-C ends it.")
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
