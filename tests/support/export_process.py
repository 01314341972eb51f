"""A process that exports a list and can be killed: ``python -m tests.support.export_process LIST URL KEY ACCOUNT DAYS FILE``.

It assumes a low row limit, so that visits are split into many date ranges. With ``--inject-ordering-bug`` it saves each
position before the rows of its page.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async._core import retry
from leadfeeder_async.jobs import resumable_file
from leadfeeder_async.jobs.export_state import ExportState
from leadfeeder_async.jobs.resumable_file import ResumableFile


def inject_ordering_bug() -> None:
    """Save each position just before the rows of its page."""
    append = ResumableFile.append

    def save_then_append(self: ResumableFile[ExportState], lines: bytes, rows: int, state: ExportState) -> bool:
        position_only = msgspec.structs.replace(self.state, position=state.position)
        self.save_state(position_only)
        time.sleep(0.005)
        return append(self, lines, rows, state)

    ResumableFile.append = save_then_append


async def main(noun: str, url: str, key: str, account: str, since: str, until: str, file: str) -> None:
    async with AsyncLeadfeeder(
        key, base_url=url, account_id=account, rate=1e6, burst=10_000, retries=6, max_search_rows=400
    ) as lf:
        lists = {
            "visits": lf.web_visits.search(start_date=since, end_date=until, page_size=20),
            "companies": lf.companies.search(locations=[{"country_code": "DE"}], page_size=10),
        }
        await lists[noun].to_file(Path(file), resume=True)


if __name__ == "__main__":
    if sys.argv[-1] == "--inject-ordering-bug":
        sys.argv.pop()
        inject_ordering_bug()
    resumable_file.CHECKPOINT_INTERVAL = retry.INITIAL_BACKOFF = 0.02
    asyncio.run(main(*sys.argv[1:]))
