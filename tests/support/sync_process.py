"""A process that syncs and can be killed: ``python -m tests.support.sync_process URL KEY ACCOUNT SINCE FILE``.

It reads small slices, so that a run has many positions, and looks back no day, so that no mistake is mended later. With ``--careless`` it moves its range of days over a slice
before the slice is read, as a wrong build would. With ``--file-limit`` no file may grow past a number of bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import sys

from leadfeeder_async import AsyncLeadfeeder, DatabaseError
from leadfeeder_async._core import retry
from leadfeeder_async.jobs.sync import date_plan, sync_run
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.sync import sync_account


def be_careless() -> None:
    """Count the days of a slice in a moment before they are read."""
    right = sync_run.SyncRun._read_slice

    async def read_slice(self: sync_run.SyncRun, window: DateWindow) -> None:
        known = await self._database.transact(lambda transaction: transaction.read_state(self._account))
        await self._save(date_plan.extended(known, window))
        await right(self, window)

    sync_run.SyncRun._read_slice = read_slice


async def main(url: str, key: str, account: str, since: str, file: str) -> None:
    async with AsyncLeadfeeder(key, base_url=url, account_id=account, rate=1e6, burst=10_000, retries=6) as lf:
        await sync_account(lf, file, since=since, lookback_days=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs=5)
    parser.add_argument("--careless", action="store_true")
    parser.add_argument("--file-limit", type=int)
    options = parser.parse_args()
    if options.careless:
        be_careless()
    if options.file_limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_limit, options.file_limit))
    date_plan.SLICE_ROWS, retry.INITIAL_BACKOFF = 100, 0.02
    try:
        asyncio.run(main(*options.words))
    except DatabaseError as error:
        sys.exit(str(error))
