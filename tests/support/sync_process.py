"""A process that syncs and can be killed: ``python -m tests.support.sync_process URL KEY ACCOUNT SINCE FILE``.

It reads small slices, so that a run saves its state often. It does not look back, so that a later run repairs nothing.
With ``--inject-ordering-bug`` it counts the days of a slice as synced before the slice is read. With ``--file-limit`` no
file may grow past a number of bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from leadfeeder_async import AsyncLeadfeeder, DatabaseError
from leadfeeder_async._core import retry
from leadfeeder_async.jobs.sync import date_plan, sync_run
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.sync import sync_account

NOT_FROZEN = ("tests.support.duckdb_preload",)
"""The modules that the fork server imports too. DuckDB reports leaks if its objects are not collected."""


def inject_ordering_bug() -> None:
    """Count the days of a slice as synced just before they are read."""
    read_slice = sync_run.SyncRun._read_slice

    async def save_then_read(self: sync_run.SyncRun, window: DateWindow) -> None:
        states = await self._database.transact(lambda transaction: transaction.read_states())
        state = date_plan.extended(states.get(self._account), window)
        await self._database.transact(lambda transaction: transaction.save_state(self._account, state))
        await read_slice(self, window)

    sync_run.SyncRun._read_slice = save_then_read


async def main(url: str, key: str, account: str, since: str, file: str) -> None:
    async with AsyncLeadfeeder(key, base_url=url, account_id=account, rate=1e6, burst=10_000, retries=6) as lf:
        await sync_account(lf, file, since=since, lookback_days=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("arguments", nargs=5)
    parser.add_argument("--inject-ordering-bug", action="store_true")
    parser.add_argument("--file-limit", type=int)
    options = parser.parse_args()
    if options.inject_ordering_bug:
        inject_ordering_bug()
    if options.file_limit:
        import resource  # Windows has no limits of file sizes

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_limit, options.file_limit))
    date_plan.SLICE_ROWS, retry.INITIAL_BACKOFF = 100, 0.02
    try:
        asyncio.run(main(*options.arguments))
    except DatabaseError as error:
        sys.exit(str(error))
