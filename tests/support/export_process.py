"""A process that exports a list and can be killed: ``python -m tests.support.export_process LIST URL KEY ACCOUNT DAYS FILE``.

It assumes a low row limit, so that visits are split into many date ranges. With ``--inject-truncation-bug`` it keeps rows
that the checkpoint does not count.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async._core import retry
from leadfeeder_async.jobs import resumable_file
from leadfeeder_async.jobs.resumable_file import partial_path


def inject_truncation_bug() -> None:
    """Keep rows that the checkpoint does not count. The export writes them again."""
    open_part = resumable_file.open_partial_file
    resumable_file.open_partial_file = lambda path, size: open_part(path, max(size, partial_path(path).stat().st_size))


async def main(noun: str, url: str, key: str, account: str, since: str, until: str, file: str) -> None:
    async with AsyncLeadfeeder(
        key, base_url=url, account_id=account, rate=1e6, burst=10_000, retries=6, max_search_rows=240
    ) as lf:
        lists = {
            "visits": lf.web_visits.search(start_date=since, end_date=until, page_size=12),
            "companies": lf.companies.search(locations=[{"country_code": "DE"}], page_size=5),
        }
        await lists[noun].to_file(Path(file), resume=True)


if __name__ == "__main__":
    if sys.argv[-1] == "--inject-truncation-bug":
        sys.argv.pop()
        inject_truncation_bug()
    resumable_file.CHECKPOINT_INTERVAL = retry.INITIAL_BACKOFF = 0.02
    asyncio.run(main(*sys.argv[1:]))
