"""A process that exports a list and can be killed: ``python -m tests.support.export_process LIST URL KEY ACCOUNT DAYS FILE``.

It takes the wall for a low one, so that visits are cut into many ranges of days. With ``--careless`` it saves its
position before its rows, as a wrong build would.
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
from leadfeeder_async.pagination import date_range, numbered
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.page import ResumePosition


def be_careless() -> None:
    """Save each position a moment before the rows that lead there."""
    right = resumable_file.ResumableFile.append

    def add(
        self: resumable_file.ResumableFile,
        lines: bytes,
        rows: int,
        position: ResumePosition | None = None,
        window: DateWindow | None = None,
    ) -> bool:
        ahead = msgspec.structs.replace(self.checkpoint, position=position)
        resumable_file.write_checkpoint(resumable_file.checkpoint_path(self._path), ahead, self.path)
        time.sleep(0.005)
        return right(self, lines, rows, position, window)

    resumable_file.ResumableFile.append = add


async def main(noun: str, url: str, key: str, account: str, since: str, until: str, file: str) -> None:
    async with AsyncLeadfeeder(key, base_url=url, account_id=account, rate=1e6, burst=10_000, retries=6) as lf:
        lists = {
            "visits": lf.web_visits.search(start_date=since, end_date=until, page_size=20),
            "companies": lf.companies.search(locations=[{"country_code": "DE"}], page_size=10),
        }
        await lists[noun].to_file(Path(file), resume=True)


if __name__ == "__main__":
    if sys.argv[-1] == "--careless":
        sys.argv.pop()
        be_careless()
    numbered.MAX_SEARCH_ROWS = date_range.MAX_SEARCH_ROWS = 400
    resumable_file.CHECKPOINT_INTERVAL = retry.INITIAL_BACKOFF = 0.02
    asyncio.run(main(*sys.argv[1:]))
