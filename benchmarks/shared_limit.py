"""Compare the Redis limiter of this package with pyrate-limiter: two processes share one limit.

``python -m benchmarks.shared_limit`` needs redis-server and pyrate-limiter.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from bisect import bisect_right

RATE, BURST, CALLS = 10, 15, 60
IDEAL = (2 * CALLS - BURST) / RATE


async def ours(url: str, calls: int) -> list[float]:
    """Acquire tokens from the limiter of this package. Return the time of each."""
    from leadfeeder_async.integrations.redis import RedisLimiter

    async with RedisLimiter(url, "key", rate=RATE, burst=BURST) as limiter:

        async def acquire() -> float:
            await limiter.acquire()
            return time.monotonic()

        return list(await asyncio.gather(*(acquire() for _ in range(calls))))


async def pyrate_limiter(url: str, calls: int) -> list[float]:
    """Acquire tokens from pyrate-limiter's state bucket on Redis. Return the time of each."""
    from pyrate_limiter import Duration, Limiter, Rate, RedisStateStore, StateBucket
    from redis.asyncio import Redis

    client = Redis.from_url(url)
    rate = Rate(BURST, BURST * Duration.SECOND // RATE)
    limiter = Limiter(StateBucket([rate], store=RedisStateStore(client, "bench")))

    async def acquire() -> float:
        await limiter.try_acquire_async("key")
        return time.monotonic()

    times = list(await asyncio.gather(*(acquire() for _ in range(calls))))
    await client.aclose()
    return times


def main() -> None:
    """Run each limiter in two processes and print a table."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(["redis-server", "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        print("| limiter | time / ideal | most in one second | commands per call |\n|---|---|---|---|")
        for name in ("ours", "pyrate_limiter"):
            print(measure(name, port))
    finally:
        server.terminate()
        server.wait()


def measure(name: str, port: int) -> str:
    """Return a table row for one limiter that two processes use."""
    command = [sys.executable, "-m", "benchmarks.shared_limit", name, f"redis://127.0.0.1:{port}/0"]
    subprocess.run([*command, "1"], stdout=subprocess.DEVNULL, check=True)  # a new key starts without a burst
    time.sleep(1 + BURST / RATE)
    before = command_count(port)
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    times = sorted(moment for process in processes for moment in json.loads(process.communicate()[0]))
    most = max(bisect_right(times, moment + 1) - index for index, moment in enumerate(times))
    per_call = (command_count(port) - before) / len(times)
    return f"| {name} | {(times[-1] - times[0]) / IDEAL:.3f} | {most} | {per_call:.1f} |"


def command_count(port: int) -> int:
    """Return the number of commands that the limiters have sent to the server."""
    from redis import Redis

    with Redis(port=port) as client:
        stats = client.info("commandstats")
    return sum(stat["calls"] for name, stat in stats.items() if name.split("_")[1].startswith(("eval", "get", "set")))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        calls = int(sys.argv[3]) if len(sys.argv) > 3 else CALLS
        print(
            json.dumps(asyncio.run({"ours": ours, "pyrate_limiter": pyrate_limiter}[sys.argv[1]](sys.argv[2], calls)))
        )
    else:
        main()
