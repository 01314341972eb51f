"""A client that makes one call and prints its longest stall and its memory: ``python -m tests.support.hostile_client URL CALL``."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from leadfeeder_async import AsyncLeadfeeder, LeadfeederError
from tests.support.stall import measured_stall


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    match = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert match is not None
    return 1024 * int(match[1])


async def first_page(lf: AsyncLeadfeeder) -> object:
    async for page in lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-02").pages():
        return page
    return None


CALLS: dict[str, Callable[[AsyncLeadfeeder], Awaitable[object]]] = {
    "list": first_page,
    "record": lambda lf: lf.users.me(),
    "charged": lambda lf: lf.companies.get("1"),
}


async def main(url: str, call: str) -> None:
    async with AsyncLeadfeeder("k", base_url=url, account_id="1", retries=0) as lf:
        await lf.users.me()
        await asyncio.to_thread(int)
        before = peak_memory()
        async with measured_stall() as stall:
            with suppress(LeadfeederError):
                await CALLS[call](lf)
        print(stall.longest, peak_memory() - before)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
