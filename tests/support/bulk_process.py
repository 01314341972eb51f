"""A process that tags companies and can be killed: ``python -m tests.support.bulk_process URL KEY ACCOUNT TAG IDS FILE``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async._core import retry


async def main(url: str, key: str, account: str, tag: str, ids: str, file: str) -> None:
    async with AsyncLeadfeeder(key, base_url=url, account_id=account, rate=1e6, burst=10_000) as lf:
        job = lf.bulk.assign_tags(Path(ids).read_text(encoding="utf-8").split(), [tag])
        await job.to_file(Path(file), resume=True)


if __name__ == "__main__":
    retry.INITIAL_BACKOFF = 0.02
    asyncio.run(main(*sys.argv[1:]))
