"""A process that shares a limit: ``python -m tests.support.redis_process REDIS URL KEY ACCOUNT TASKS CALLS [OPTION=VALUE]...``.

It says ``ready``, waits for a line, makes its calls in so many tasks, and prints when each was sent, on the system's
monotonic clock, which all processes share. With ``clock=SECONDS`` its wall clock is off.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

from leadfeeder_async import AsyncLeadfeeder, AttemptEvent
from leadfeeder_async.integrations.redis import RedisLimiter


async def main(redis: str, url: str, key: str, account: str, tasks: int, calls: int, **options: float) -> None:
    sent = list[float]()

    def note(attempt: AttemptEvent) -> None:
        since = sum(took for phase, took in attempt.phase_durations.items() if phase in {"headers", "body"})
        sent.append(time.monotonic() - since)

    async with (
        RedisLimiter(redis, key, **options) as limiter,
        AsyncLeadfeeder(key, account_id=account, base_url=url, limiter=limiter, on_attempt=note) as lf,
    ):
        await asyncio.to_thread(_wait_for_the_start)
        left = iter(range(calls))

        async def work() -> None:
            for _ in left:
                await lf.users.me()

        await asyncio.gather(*(work() for _ in range(tasks)))
        print(json.dumps({"sent": sent, "rate_limited": lf.stats.rate_limited, "server_calls": limiter.server_calls}))  # noqa: T201


def _wait_for_the_start() -> None:
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()


class Limited:
    """Such a process, seen from a test."""

    def __init__(self, *words: str | int, **options: float) -> None:
        settings = [f"{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "tests.support.redis_process", *map(str, words), *settings]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, list[float]]:
        """Wait for its end; return what it printed."""
        said, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == 0
        told: dict[str, list[float]] = json.loads(said)
        return told

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    words, settings = sys.argv[1:7], dict(word.split("=") for word in sys.argv[7:])
    off = float(settings.pop("clock", 0))
    if off:
        real = time.time
        time.time = lambda: real() + off
    numbers = {name: int(value) if name == "burst" else float(value) for name, value in settings.items()}
    asyncio.run(main(*words[:4], *map(int, words[4:]), **numbers))
