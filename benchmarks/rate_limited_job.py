"""How close a rate-limited job comes to the fastest that the server's limit allows."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.sandbox import Sandbox


async def job(requests: int, latency: float) -> tuple[float, int]:
    """Send ``requests`` calls at once; return the seconds they took over the bound, and the answers 429."""
    async with Sandbox(latency=latency) as sandbox:
        async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id=sandbox.account_id) as lf:
            started = time.perf_counter()
            await asyncio.gather(*(lf.users.me() for _ in range(requests)))
            took = time.perf_counter() - started
        return took / ((requests - 15) / 10), sandbox.ledger.rate_limited


def main() -> None:
    """Print a table: median ratio over the bound, its range, and all answers 429."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print("| requests | latency | time / bound, median | lowest | highest | answers 429 |")
    print("|---|---|---|---|---|---|")
    for requests, latency in ((100, 0.115), (200, 0.0), (200, 0.115)):
        results = [asyncio.run(job(requests, latency)) for _ in range(rounds)]
        ratios = [ratio for ratio, _ in results]
        print(
            f"| {requests} | {1000 * latency:.0f} ms | {statistics.median(ratios):.3f} | {min(ratios):.3f} "
            f"| {max(ratios):.3f} | {sum(rejected for _, rejected in results)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
