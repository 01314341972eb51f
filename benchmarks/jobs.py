"""Jobs under the API's limit of 10 requests a second with a burst of 15, in real and in simulated time."""

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
    """The duration of a job."""

    pages: int
    latency: str
    consumer: float
    """Seconds that the consumer works on each page."""
    ours: float
    """Seconds with this package."""
    naive: float | None
    """Seconds with aiohttp and sequential pages. None if not measured."""
    bound: float
    """The least number of seconds that the rate limit allows."""
    rejected: int
    """Responses with status 429."""
    requests: int


async def jobs(url: str, pages: int, long: int | None) -> list[Job]:
    """Run all jobs at the same time, each with its own key and rate limit. They wait most of the time."""
    planned: list[Awaitable[Job]] = [_job(url, pages, low, high) for low, high in LATENCIES]
    planned += [_job(url, pages, *LATENCIES[0], consumer=0.05)]
    if long is not None:
        planned += [_job(url, long, *LATENCIES[0], naive=False)]
    return list(await asyncio.gather(*planned))


async def _job(url: str, pages: int, low: int, high: int, consumer: float = 0.0, *, naive: bool = True) -> Job:
    base = f"{url}/limited/{low}-{high}"
    (seconds, rejected, requests), naive_seconds = await asyncio.gather(
        _ours(base, pages, consumer), _naive(base, pages, consumer) if naive else _not_measured()
    )
    bound = (pages - 15) / 10 + low / 1000
    return Job(pages, f"{low}-{high} ms", consumer, seconds, naive_seconds, bound, rejected, requests)


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
            async with session.post(f"{base}/v1/web-visits?page%5Bnum%5D={page}", data=body) as response:
                VISITS.decode(await response.read())
            await asyncio.sleep(consumer)
        return time.perf_counter() - started


async def _not_measured() -> None:
    return None


def simulated(job_count: int) -> int:
    """Return the number of 429 responses in jobs of 100 requests, on a virtual clock, with the default rate limiter.

    Each request is delayed by up to 150 ms. The first twelve are delayed by up to 250 ms because they set up TLS. The
    server's clock is 0.5 % slow.
    """
    rng, rejected = random.Random(5), 0
    for _ in range(job_count):
        loop = VirtualLoop()
        try:
            rejected += loop.run_until_complete(_simulated_job(rng))
        finally:
            loop.close()
    return rejected


async def _simulated_job(rng: random.Random) -> int:
    bucket, loop = TokenBucket(), asyncio.get_running_loop()
    arrivals = list[float]()
    for number in range(100):
        await bucket.acquire()
        arrivals.append(loop.time() + rng.uniform(0, 0.25 if number < 12 else 0.15))
    tokens, last_arrival, rejected = 15.0, 0.0, 0
    for arrival in sorted(arrivals):
        tokens, last_arrival = min(15.0, tokens + (arrival - last_arrival) * 10 * 0.995), arrival
        rejected += tokens < 1
        tokens -= tokens >= 1
    return rejected


async def grants(waiting: int) -> float:
    """Return the microseconds of CPU per rate-limit token while ``waiting`` tasks wait for one."""
    from benchmarks.measure import cpu

    bucket = TokenBucket(1e6, 1)
    before = cpu()
    await asyncio.gather(*(bucket.acquire() for _ in range(max(waiting, 1_000))))
    return 1e6 * (cpu() - before) / max(waiting, 1_000)


async def grant_errors(seconds: float) -> tuple[float, float]:
    """Return the delay of rate-limit tokens after the burst in milliseconds: median and 99th percentile."""
    bucket, loop = TokenBucket(10, 12), asyncio.get_running_loop()
    for _ in range(12):
        await bucket.acquire()
    started, delays = loop.time(), list[float]()
    for number in range(1, int(10 * seconds) + 1):
        await bucket.acquire()
        delays.append(1e3 * (loop.time() - started - number / 10))
    delays.sort()
    return delays[len(delays) // 2], delays[int(0.99 * (len(delays) - 1))]
