"""Two processes on one Redis: this package's limiter beside pyrate-limiter's; needs redis-server and pyrate-limiter."""

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
    """Take tokens from the shared limit."""
    from leadfeeder_async.integrations.redis import RedisLimiter

    async with RedisLimiter(url, "key", rate=RATE, burst=BURST) as limiter:

        async def take() -> float:
            await limiter.acquire()
            return time.monotonic()

        return list(await asyncio.gather(*(take() for _ in range(calls))))


async def ready_made(url: str, calls: int) -> list[float]:
    """Take tokens from pyrate-limiter's bucket of state on Redis."""
    from pyrate_limiter import Duration, Limiter, Rate, RedisStateStore, StateBucket
    from redis.asyncio import Redis

    client = Redis.from_url(url)
    rate = Rate(BURST, BURST * Duration.SECOND // RATE)
    limiter = Limiter(StateBucket([rate], store=RedisStateStore(client, "bench")))

    async def take() -> float:
        await limiter.try_acquire_async("key")
        return time.monotonic()

    taken = list(await asyncio.gather(*(take() for _ in range(calls))))
    await client.aclose()
    return taken


def main() -> None:
    """Run each in two processes, and print a table."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(["redis-server", "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        print("| limiter | time / ideal | most in one second | commands a call |\n|---|---|---|---|")
        for name in ("ours", "ready_made"):
            print(measure(name, port))
    finally:
        server.terminate()
        server.wait()


def measure(name: str, port: int) -> str:
    """Let two processes take tokens, and say how it went."""
    words = [sys.executable, "-m", "benchmarks.shared_limit", name, f"redis://127.0.0.1:{port}/0"]
    subprocess.run([*words, "1"], stdout=subprocess.DEVNULL, check=True)  # a key in use; a new one begins without burst
    time.sleep(1 + BURST / RATE)
    before = commands(port)
    pair = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    taken = sorted(moment for process in pair for moment in json.loads(process.communicate()[0]))
    most = max(bisect_right(taken, moment + 1) - place for place, moment in enumerate(taken))
    asked = (commands(port) - before) / len(taken)
    return f"| {name} | {(taken[-1] - taken[0]) / IDEAL:.3f} | {most} | {asked:.1f} |"


def commands(port: int) -> int:
    """Return how many commands the server has done, without the ones that ask it."""
    from redis import Redis

    with Redis(port=port) as client:
        stats = client.info("commandstats")
    return sum(one["calls"] for name, one in stats.items() if name.split("_")[1].startswith(("eval", "get", "set")))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        calls = int(sys.argv[3]) if len(sys.argv) > 3 else CALLS
        print(json.dumps(asyncio.run({"ours": ours, "ready_made": ready_made}[sys.argv[1]](sys.argv[2], calls))))
    else:
        main()
