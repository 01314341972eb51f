"""Run the ``leadfeeder`` command in a process, with pipes or in a pseudo-terminal."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from leadfeeder_async.sandbox import Sandbox
from tests.support.terminal import run_on_terminal

# A test run in the background ignores SIGINT, and its child processes would inherit that.
HANDLE_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
IGNORE_SIGINT = HANDLE_SIGINT.replace("default_int_handler", "SIG_IGN")
RUN_MAIN = "from leadfeeder_async.cli import main; main()"

COMMAND = (sys.executable, "-c", HANDLE_SIGINT + RUN_MAIN)
BACKGROUND_COMMAND = (sys.executable, "-c", IGNORE_SIGINT + RUN_MAIN)


async def leadfeeder(
    sandbox: Sandbox | None, *arguments: str | Path, stdin: bytes | IO[bytes] | None = None, **environment: str
) -> tuple[int, str, str]:
    """Run the command with pipes. Return its exit code, stdout and stderr."""
    given = subprocess.PIPE if isinstance(stdin, bytes) else stdin
    process = await start(sandbox, *arguments, stdin=given, stdout=subprocess.PIPE, **environment)
    stdout, stderr = await process.communicate(stdin if isinstance(stdin, bytes) else None)
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


async def start(
    sandbox: Sandbox | None,
    *arguments: str | Path,
    command: tuple[str, ...] = COMMAND,
    stdin: int | IO[bytes] | None = None,
    stdout: int = subprocess.DEVNULL,
    **environment: str,
) -> asyncio.subprocess.Process:
    """Start the command with a pipe for stderr."""
    env = {**os.environ, "LEADFEEDER_KEYRING": "0", **(sandbox.environment if sandbox else {}), **environment}
    return await asyncio.create_subprocess_exec(
        *command, *map(str, arguments), env=env, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
    )


async def leadfeeder_on_terminal(
    sandbox: Sandbox | None,
    *arguments: str,
    columns: int = 80,
    answer: str = "",
    interrupt_at: str = "",
    answer_at: str = "",
) -> tuple[int, str]:
    """Run the command in a pseudo-terminal. Return its exit code and the text on the screen."""
    environment = sandbox.environment if sandbox else {}
    return await asyncio.to_thread(
        run_on_terminal, (*COMMAND, *arguments), environment, columns, answer, interrupt_at, answer_at
    )


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
