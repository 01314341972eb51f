"""A process that enriches generated rows and can be killed: ``python -m tests.support.enrich_process URL KEY ACCOUNT ROWS FILE``.

With ``--careless`` it counts credits only after they are spent, as a wrong build would.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async._core import retry
from leadfeeder_async.jobs import resumable_file
from leadfeeder_async.jobs.enrich import output


def rows(number: int, companies: int) -> list[str]:
    """Every company's domain, many of them twice and far apart, with some that are unknown or none."""
    return [
        "no domain" if one % 53 == 0 else f"https://company-{(one * 11) % (companies + companies // 20)}.test"
        for one in range(number)
    ]


def spent(book: output.CheckpointCostJournal, most: int, charged: int) -> None:
    book._settled += charged


def be_careless() -> None:
    """Do not write down what is about to be spent, but only what was."""
    output.CheckpointCostJournal.reserve = lambda self, ids, most: None
    output.CheckpointCostJournal.settle = spent


async def main(url: str, key: str, account: str, number: str, companies: str, most: str, file: str) -> None:
    async with AsyncLeadfeeder(key, base_url=url, account_id=account, rate=1e6, burst=10_000, retries=6) as lf:
        some: Iterable[str] = rows(int(number), int(companies))
        job = lf.enrich.companies(some, by="domain", max_credits=int(most))
        await job.to_file(Path(file), resume=True)


if __name__ == "__main__":
    if sys.argv[-1] == "--careless":
        sys.argv.pop()
        be_careless()
    resumable_file.CHECKPOINT_INTERVAL = retry.INITIAL_BACKOFF = 0.02
    asyncio.run(main(*sys.argv[1:]))
