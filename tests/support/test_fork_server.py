"""Tests for the servers that start processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import fork_server
from tests.support.fork_server import KILLED, ForkedProcess, ForkServer, process_server
from tests.support.paths import ROOT
from tests.support.requirements import needs_fork, needs_own_signals, needs_signals
from tests.support.terminal import terminal_output

MODULE = "tests.support.echo_process"


@pytest.fixture(params=[pytest.param("fork", marks=needs_fork), "new"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether servers fork."""
    monkeypatch.setattr(fork_server, "HAS_FORK", request.param == "fork")
    return str(request.param)


@pytest.mark.usefixtures("kind")
async def test_exit_codes_and_output(tmp_path: Path) -> None:
    """Processes run at the same time, and each has its own output and exit code."""
    async with process_server(MODULE) as server:
        outputs = [tmp_path / str(number) for number in range(5)]
        processes = [await server.start(str(number), stdout=outputs[number]) for number in range(5)]
        assert await asyncio.gather(*(process.wait() for process in processes)) == [0, 1, 2, 3, 4]
    assert [path.read_text(encoding="utf-8") for path in outputs] == [f"{number}\n" for number in range(5)]


@pytest.mark.usefixtures("kind")
async def test_killed_processes() -> None:
    """A killed process has the exit code of its signal, and running ones are killed on exit."""
    async with process_server(MODULE) as server:
        killed, running = [await server.start("sleep") for _ in range(2)]
        killed.kill()
        assert await killed.wait() == KILLED
        killed.kill()
        assert running.returncode is None
    assert await running.wait() == KILLED


@needs_own_signals
@needs_signals
@pytest.mark.usefixtures("kind")
async def test_terminated_process() -> None:
    """A process without a handler of SIGTERM ends."""
    async with process_server(MODULE) as server:
        process = await server.start("sleep")
        process.terminate()
        assert await process.wait() == -signal.SIGTERM


@pytest.mark.usefixtures("kind")
async def test_error_of_a_process() -> None:
    """A process that raises an error ends with 1, and the server continues."""
    async with process_server(MODULE) as server:
        process = await server.start("nonsense", stderr=PIPE)
        _, stderr = await process.communicate()
        assert (process.returncode, b"ValueError: invalid literal" in stderr) == (1, True)
        assert await (await server.start("0")).wait() == 0


@needs_own_signals
@needs_fork
@pytest.mark.parametrize("encoding", [None, "cp1252:replace", "unbuffered"])
async def test_forked_process_starts_like_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str | None
) -> None:
    """A forked process has the streams, the environment, the signals and the exit of a new Python."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    if encoding is not None:
        name, value = ("PYTHONUNBUFFERED", "1") if encoding == "unbuffered" else ("PYTHONIOENCODING", encoding)
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    async with process_server(MODULE) as server:
        monkeypatch.chdir(tmp_path)
        environment = {**os.environ, "LEADFEEDER_ACCOUNT_ID": "7"}
        forked = await server.start("describe", "ä", stdin=PIPE, stdout=PIPE, stderr=PIPE, environment=environment)
        given = b"from stdin"
        results = [(await forked.communicate(given), forked.returncode)]
        streams = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}
        command = (sys.executable, "-m", MODULE, "describe", "ä")
        new = await asyncio.create_subprocess_exec(*command, env=environment, **streams)
        results.append((await new.communicate(given), new.returncode))
    assert results[0] == results[1]
    assert results[0][1] == 1
    assert results[0][0][1].splitlines() == [b"a message", b"exit handlers run"]
    assert b"from stdin" in results[0][0][0]


@needs_own_signals
@needs_fork
async def test_forked_process_on_a_terminal() -> None:
    """A forked process on a terminal has the streams of a new Python there."""
    async with process_server(MODULE) as server:

        def fork(stream: int, environment: Mapping[str, str]) -> ForkedProcess:
            return server.fork("describe", stdin=stream, stdout=stream, stderr=stream, environment=environment)

        def start(stream: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
            command = (sys.executable, "-m", MODULE, "describe")
            return subprocess.Popen(command, stdin=stream, stdout=stream, stderr=stream, env=environment)

        outputs = [await asyncio.to_thread(terminal_output, how, {}, 80, "\x04") for how in (fork, start)]
    assert outputs[0] == outputs[1]
    assert b'"<stdin>"' in outputs[0][1]


@needs_fork
async def test_variables_of_the_start_need_a_new_python() -> None:
    """A variable that Python reads when it starts is refused if the server has another value of it."""
    async with process_server(MODULE) as server:
        with pytest.raises(AssertionError, match="needs a process of its own"):
            await server.start("0", environment={**os.environ, "PYTHONIOENCODING": "utf-16"})


@needs_fork
def test_processes_end_with_the_server() -> None:
    """A server whose test process disappears kills its processes, even if they ignore other signals."""
    server = ForkServer(MODULE)
    process = server.fork("sleep")
    process.send_signal(signal.SIGSTOP)
    server.stop()
    assert process.returncode == -9


@needs_fork
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "arguments", [["--collect-only", "-q", "tests"], ["tests/cli/test_record_commands.py", "-k", "charged or pipe"]]
)
def test_tests_without_posix(arguments: list[str]) -> None:
    """Without the modules and functions of POSIX, all tests can be collected, and some of commands run."""
    command = (sys.executable, "-m", "pytest", "-p", "tests.support.without_posix", "-p", "no:cacheprovider", "-n", "0")
    result = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 0, result.stdout
