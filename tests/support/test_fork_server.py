"""Tests for the server that forks processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.fork_server import fork_server


async def test_exit_codes_and_output(tmp_path: Path) -> None:
    """Processes run at the same time, and each has its own output and exit code."""
    async with fork_server("tests.support.echo_process") as server:
        outputs = [tmp_path / str(number) for number in range(5)]
        processes = [await server.start(str(number), stdout=outputs[number]) for number in range(5)]
        assert await asyncio.gather(*(process.wait() for process in processes)) == [0, 1, 2, 3, 4]
    assert [path.read_text() for path in outputs] == [f"{number}\n" for number in range(5)]


async def test_killed_processes() -> None:
    """A killed process has the exit code of SIGKILL, and running ones are killed on exit."""
    async with fork_server("tests.support.echo_process") as server:
        killed, running = await server.start("sleep"), await server.start("sleep")
        killed.kill()
        assert await killed.wait() == -9
        assert running.returncode is None
    assert running.returncode == -9


async def test_error_of_a_process() -> None:
    """A process that raises an error ends with 1, and the server continues."""
    async with fork_server("tests.support.echo_process") as server:
        assert await (await server.start("nonsense")).wait() == 1
        assert await (await server.start("0")).wait() == 0
