"""A process that uses a shared rate limit: ``python -m tests.support.redis_process REDIS URL KEY ACCOUNT TASKS CALLS [OPTION=VALUE]...``.

It prints ``ready``, waits for a line, and makes its calls in several tasks. Then it prints when each request was sent, on
the system's monotonic clock, which all processes share. ``clock=SECONDS`` shifts its wall clock.
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

    def record(attempt: AttemptEvent) -> None:
        since_sent = sum(seconds for phase, seconds in attempt.phase_durations.items() if phase in {"headers", "body"})
        sent.append(time.monotonic() - since_sent)

    async with (
        RedisLimiter(redis, key, **options) as limiter,
        AsyncLeadfeeder(key, account_id=account, base_url=url, limiter=limiter, on_attempt=record) as lf,
    ):
        await asyncio.to_thread(_wait_for_start)
        remaining = iter(range(calls))

        async def work() -> None:
            for _ in remaining:
                await lf.users.me()

        await asyncio.gather(*(work() for _ in range(tasks)))
        print(json.dumps({"sent": sent, "rate_limited": lf.stats.rate_limited, "server_calls": limiter.server_calls}))  # noqa: T201


def _wait_for_start() -> None:
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()


class RedisProcess:
    """A handle of such a process for tests."""

    def __init__(self, *arguments: str | int, **options: float) -> None:
        settings = [f"{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "tests.support.redis_process", *map(str, arguments), *settings]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        self._is_ready = False

    def wait_until_ready(self) -> None:
        """Wait until the process has started. Several processes can start at the same time."""
        if not self._is_ready:
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == "ready\n"
            self._is_ready = True

    def start_calls(self) -> None:
        """Let the process make its calls."""
        self.wait_until_ready()
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, list[float]]:
        """Wait for the process to end and return its output."""
        output, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == 0
        result: dict[str, list[float]] = json.loads(output)
        return result

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    arguments, settings = sys.argv[1:7], dict(setting.split("=") for setting in sys.argv[7:])
    offset = float(settings.pop("clock", 0))
    if offset:
        real_time = time.time
        time.time = lambda: real_time() + offset
    numbers = {name: int(value) if name == "burst" else float(value) for name, value in settings.items()}
    asyncio.run(main(*arguments[:4], *map(int, arguments[4:]), **numbers))
