"""The demonstration: a month of visits, from a sandbox, into a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from leadfeeder_async.cli import output
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import IncompleteWindowError
from leadfeeder_async.models.visits import WebVisit
from leadfeeder_async.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file of visits holds."""

    visits: int
    companies: int
    days: int


async def run(out: Path, visits: int) -> None:
    """Sweep the sandbox's visits into ``out``, read the file back, and say what it holds."""
    async with Sandbox(companies=400, visits=visits) as sandbox:
        output.note(f"A sandbox with {visits:,} visits in 30 days answers at {sandbox.url}.")
        async with AsyncLeadfeeder(sandbox.api_key, account_id=sandbox.account_id, base_url=sandbox.url) as lf:
            pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date)
            await output.export(pager, lf.stats, out, "visits", overwrite=True)
        contents = read_back(out)
        ledger, me = sandbox.ledger, sys.argv[0]
    if contents.visits != visits:
        raise IncompleteWindowError(f"The sandbox holds {visits:,} visits, and {out} {contents.visits:,}.")
    output.note(
        f"\n{out} holds every one of them, each once:\n"
        f"  visits           {contents.visits:>8,}\n"
        f"  companies        {contents.companies:>8,}\n"
        f"  days             {contents.days:>8,}\n"
        f"  requests sent    {len(ledger.requests):>8,}\n"
        f"  answers 429      {ledger.rate_limited:>8,}\n"
        f"  credits charged  {ledger.credits_charged:>8,}\n"
        "\nNext:\n"
        f"  {me} sandbox\n      a local Leadfeeder to try things on\n"
        f"  LEADFEEDER_API_KEY=... {me} export visits --since 30d --out visits.ndjson\n"
        "      the same with your own account\n"
        f"  {me} --help"
    )


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
