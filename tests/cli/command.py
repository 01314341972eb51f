"""Run the ``leadfeeder`` command, forked or in a Python of its own, with pipes or in a pseudo-terminal.

Most tests fork, if the system can: `leadfeeder`, `start` and `leadfeeder_on_terminal`. A test of something that Python does when it starts
or that an import changes uses `COMMAND`, which starts a new Python.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import locale
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, Any, Literal

from leadfeeder_async.sandbox import Sandbox
from tests.support.fork_server import ForkedProcess, ForkServer, PipedProcess, ProcessServer, start_server
from tests.support.requirements import is_windows
from tests.support.terminal import Start, run_on_terminal

# A test run in the background ignores SIGINT, and its child processes would inherit that.
HANDLE_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
RUN_MAIN = "from leadfeeder_async.cli import main; main()"

COMMAND = (sys.executable, "-c", HANDLE_SIGINT + RUN_MAIN)
"""The command in a Python of its own."""


@functools.cache
def command_server() -> ProcessServer:
    """Return the server that starts the commands of this process."""
    server = start_server("tests.support.command_process")
    atexit.register(server.stop)
    return server


async def leadfeeder(
    sandbox: Sandbox | None, *arguments: str | Path, stdin: bytes | IO[bytes] | None = None, **environment: str
) -> tuple[int, str, str]:
    """Run the command with pipes. Return its exit code, stdout and stderr."""
    given = PIPE if isinstance(stdin, bytes) else stdin
    process = await start(sandbox, *arguments, stdin=given, stdout=PIPE, **environment)
    return await _result(process, stdin if isinstance(stdin, bytes) else None)


async def leadfeeder_in_new_python(
    sandbox: Sandbox | None, *arguments: str | Path, command: tuple[str, ...] = COMMAND, **environment: str
) -> tuple[int, str, str]:
    """Run the command in a Python of its own, with pipes. Return its exit code, stdout and stderr."""
    env = _environment(sandbox, environment)
    process = await asyncio.create_subprocess_exec(*command, *map(str, arguments), env=env, stdout=PIPE, stderr=PIPE)
    return await _result(process)


async def start(
    sandbox: Sandbox | None,
    *arguments: str | Path,
    sigint: Literal["handle", "ignore"] = "handle",
    stdin: int | IO[bytes] | None = None,
    stdout: int = DEVNULL,
    **environment: str,
) -> PipedProcess:
    """Start the command with a pipe for stderr."""
    env = _environment(sandbox, environment)
    return await command_server().start(
        sigint, *map(str, arguments), stdin=stdin, stdout=stdout, stderr=PIPE, environment=env
    )


async def leadfeeder_on_terminal(
    sandbox: Sandbox | None,
    *arguments: str,
    columns: int = 80,
    answer: str = "",
    interrupt_at: str = "",
    answer_at: str = "[y/N] ",
) -> tuple[int, str]:
    """Run the command in a pseudo-terminal. Return its exit code and the text on the screen.

    ``answer`` is typed after the question of the command, or after another text, or at once if ``answer_at`` is empty.
    """
    environment = sandbox.environment if sandbox else {}
    return await asyncio.to_thread(
        run_on_terminal, forked(*arguments), environment, columns, answer, interrupt_at, answer_at
    )


def forked(*arguments: str) -> Start:
    """Return the function that forks the command for a terminal."""

    def start_forked(stream: int, environment: Mapping[str, str]) -> ForkedProcess:
        server, streams = command_server(), {"stdin": stream, "stdout": stream, "stderr": stream}
        assert isinstance(server, ForkServer)
        return server.fork("handle", *arguments, **streams, environment=environment)

    return start_forked


def in_new_python(*arguments: str) -> Start:
    """Return the function that starts the command in a Python of its own for a terminal."""

    def start_python(stream: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=stream,
            stdout=stream,
            stderr=stream,
            env=environment,
            start_new_session=True,
        )

    return start_python


def _environment(sandbox: Sandbox | None, environment: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "LEADFEEDER_KEYRING": "0", **(sandbox.environment if sandbox else {}), **environment}


async def _result(
    process: PipedProcess | asyncio.subprocess.Process, stdin: bytes | None = None
) -> tuple[int, str, str]:
    stdout, stderr = await process.communicate(stdin)
    assert process.returncode is not None
    errors = stderr.decode(locale.getencoding() if is_windows else "utf-8").replace(os.linesep, "\n")
    return process.returncode, stdout.decode(), errors


def json_lines(text: str) -> list[dict[str, Any]]:
    """Parse JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def ids(text: str) -> list[str]:
    """Return the id of each JSON line."""
    return [record["id"] for record in json_lines(text)]


def all_visit_ids(sandbox: Sandbox) -> list[str]:
    """Return the ids of all visits of a sandbox, in order."""
    return list(sandbox.world.visit_ids())


def set_credits(sandbox: Sandbox, number: int) -> None:
    """Set the credits of a sandbox's account."""
    sandbox.set_credits(number)


def resume_command(stderr: str) -> list[str]:
    """Return the arguments of the command that stderr shows, without the program."""
    (command,) = [line for line in stderr.splitlines() if line.startswith("  ")]
    return command.split()[1:]
