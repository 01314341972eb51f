"""Jobs under the API's limit of 10 requests a second with a burst of 15, by a real clock and a simulated one."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import date, timedelta

import aiohttp

from benchmarks.contenders import VISITS
from benchmarks.data import PAGES_A_DAY
from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async._core.rate_limit import TokenBucket
from tests.support.clock import VirtualLoop

FIRST = date(2026, 1, 5)
LATENCIES = ((80, 150), (300, 600))


@dataclass(frozen=True)
class Job:
    """How long a job took."""

    pages: int
    latency: str
    consumer: float
    """Seconds the consumer takes for a page."""
    ours: float
    naive: float | None
    """What one page after the other took."""
    bound: float
    """The shortest that the limit allows."""
    rejected: int
    """Answers 429."""
    requests: int


async def jobs(url: str, pages: int, long: int | None) -> list[Job]:
    """Do all jobs at once, each with a key and so a limit of its own: they wait more than they work."""
    planned: list[Awaitable[Job]] = [_job(url, pages, low, high) for low, high in LATENCIES]
    planned += [_job(url, pages, *LATENCIES[0], consumer=0.05)]
    if long is not None:
        planned += [_job(url, long, *LATENCIES[0], naive=False)]
    return list(await asyncio.gather(*planned))


async def _job(url: str, pages: int, low: int, high: int, consumer: float = 0.0, *, naive: bool = True) -> Job:
    base = f"{url}/limited/{low}-{high}"
    (took, rejected, requests), slow = await asyncio.gather(
        _ours(base, pages, consumer), _naive(base, pages, consumer) if naive else _nothing()
    )
    bound = (pages - 15) / 10 + low / 1000
    return Job(pages, f"{low}-{high} ms", consumer, took, slow, bound, rejected, requests)


async def _ours(base: str, pages: int, consumer: float) -> tuple[float, int, int]:
    key = f"ours-{pages}-{consumer}-{base[-7:].replace('/', '')}"
    async with AsyncLeadfeeder(key, account_id="1", base_url=base) as lf:
        started = time.perf_counter()
        last = FIRST + timedelta(pages // PAGES_A_DAY - 1)
        async for _ in lf.web_visits.search(start_date=FIRST, end_date=last).pages():
            await asyncio.sleep(consumer)
        return time.perf_counter() - started, lf.stats.rate_limited, lf.stats.requests


async def _naive(base: str, pages: int, consumer: float) -> float:
    headers = {"X-Api-Key": f"naive-{pages}-{consumer}-{base[-7:].replace('/', '')}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        started = time.perf_counter()
        for page in range(1, pages + 1):
            body = f'{{"start_date":"{FIRST}","end_date":"{FIRST}"}}'.encode()
            async with session.post(f"{base}/v1/web-visits?page%5Bnum%5D={page}", data=body) as answer:
                VISITS.decode(await answer.read())
            await asyncio.sleep(consumer)
        return time.perf_counter() - started


async def _nothing() -> None:
    return None


def simulated(jobs_wanted: int) -> int:
    """Return the 429s of many jobs of 100 requests, on a virtual clock, with the limiter that ships.

    Requests are up to 150 ms longer on their way than others, the first twelve, which set up TLS, up to 250 ms; the
    server's clock is half a percent slow.
    """
    draw, rejected = random.Random(5), 0
    for _ in range(jobs_wanted):
        loop = VirtualLoop()
        try:
            rejected += loop.run_until_complete(_simulated_job(draw))
        finally:
            loop.close()
    return rejected


async def _simulated_job(draw: random.Random) -> int:
    bucket, loop = TokenBucket(), asyncio.get_running_loop()
    arrivals = list[float]()
    for number in range(100):
        await bucket.acquire()
        arrivals.append(loop.time() + draw.uniform(0, 0.25 if number < 12 else 0.15))
    tokens, since, rejected = 15.0, 0.0, 0
    for arrival in sorted(arrivals):
        tokens, since = min(15.0, tokens + (arrival - since) * 10 * 0.995), arrival
        rejected += tokens < 1
        tokens -= tokens >= 1
    return rejected


async def grants(waiting: int) -> float:
    """Return microseconds of CPU a grant while ``waiting`` tasks wait in the limiter."""
    from benchmarks.measure import cpu

    bucket = TokenBucket(1e6, 1)
    before = cpu()
    await asyncio.gather(*(bucket.acquire() for _ in range(max(waiting, 1_000))))
    return 1e6 * (cpu() - before) / max(waiting, 1_000)


async def grant_errors(seconds: float) -> tuple[float, float]:
    """Return how many milliseconds late grants are once the burst is used up: the median and the 99th percentile."""
    bucket, loop = TokenBucket(10, 12), asyncio.get_running_loop()
    for _ in range(12):
        await bucket.acquire()
    began, late = loop.time(), list[float]()
    for number in range(1, int(10 * seconds) + 1):
        await bucket.acquire()
        late.append(1e3 * (loop.time() - began - number / 10))
    late.sort()
    return late[len(late) // 2], late[int(0.99 * (len(late) - 1))]
