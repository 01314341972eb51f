"""A process that enriches generated rows and can be killed: ``python -m tests.support.enrich_process URL KEY ACCOUNT ROWS FILE``.

With ``--record-spending-late`` it records credits only after they are spent, as a broken build would.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async._core import retry
from leadfeeder_async.jobs import resumable_file
from leadfeeder_async.jobs.enrich import output


def rows(number: int, companies: int) -> list[str]:
    """Return the domains of the companies, many of them twice and far apart, and some unknown or invalid ones."""
    return [
        "no domain" if index % 53 == 0 else f"https://company-{(index * 11) % (companies + companies // 20)}.test"
        for index in range(number)
    ]


def settle(
    journal: output.CheckpointCostJournal,
    ids: Iterable[str],
    most: int,
    spent: int,
    paid: Mapping[str, int],
    uncertain: Iterable[str] = (),
) -> None:
    journal._settled += spent


def record_spending_late() -> None:
    """Record credits only after they are spent, not before."""
    output.CheckpointCostJournal.reserve = lambda self, ids, most: None
    output.CheckpointCostJournal.settle = settle


async def main(url: str, key: str, account: str, number: str, companies: str, most: str, file: str) -> None:
    async with AsyncLeadfeeder(key, base_url=url, account_id=account, rate=1e6, burst=10_000, retries=6) as lf:
        some: Iterable[str] = rows(int(number), int(companies))
        job = lf.enrich.companies(some, by="domain", max_credits=int(most))
        await job.to_file(Path(file), resume=True)


if __name__ == "__main__":
    if sys.argv[-1] == "--record-spending-late":
        sys.argv.pop()
        record_spending_late()
    resumable_file.CHECKPOINT_INTERVAL = retry.INITIAL_BACKOFF = 0.02
    asyncio.run(main(*sys.argv[1:]))
