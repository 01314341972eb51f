"""Run a command in a pseudo-terminal and read its screen. A test that does this is skipped on Windows."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable, Mapping
from typing import Protocol

import pyte
import pytest

try:
    import fcntl
    import pty
    import termios
except ImportError:  # Windows
    HAS_TERMINALS = False
else:
    HAS_TERMINALS = True

ROWS = 120


class Process(Protocol):
    """A running process, such as ``subprocess.Popen``."""

    def wait(self) -> int: ...

    def send_signal(self, number: int, /) -> None: ...


Start = Callable[[int, Mapping[str, str]], Process]
"""Start a process with a file descriptor for its standard streams, and its environment."""


def run_on_terminal(
    start: Start,
    environment: Mapping[str, str],
    columns: int,
    answer: str = "",
    interrupt_at: str = "",
    answer_at: str = "",
) -> tuple[int, str]:
    """Run a process in a terminal and return its exit code and the text on the screen."""
    code, output = terminal_output(start, environment, columns, answer, interrupt_at, answer_at)
    screen = pyte.Screen(columns, ROWS)
    pyte.ByteStream(screen).feed(output)
    return code, "\n".join(line.rstrip() for line in screen.display).rstrip() + "\n"


def terminal_output(
    start: Start,
    environment: Mapping[str, str],
    columns: int,
    answer: str = "",
    interrupt_at: str = "",
    answer_at: str = "",
) -> tuple[int, bytes]:
    """Run a process in a terminal and return its exit code and the bytes that it wrote.

    Args:
        start: The function that starts the process.
        environment: The environment variables to add.
        columns: The width of the terminal.
        answer: The text to type.
        interrupt_at: The text that triggers a SIGINT when it first appears on the screen.
        answer_at: The text after which the answer is typed. A prompt for a password discards earlier input.
    """
    if not HAS_TERMINALS:
        pytest.skip("needs pseudo-terminals")
    terminal, command_side = pty.openpty()
    fcntl.ioctl(command_side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    env = {**os.environ, **environment, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        env.pop(name, None)
    process = start(command_side, env)
    os.close(command_side)
    if answer and not answer_at:
        os.write(terminal, answer.encode())
    output, interrupted = b"", False
    while chunk := _read(terminal):
        if answer_at and answer_at.encode() in output + chunk and answer_at.encode() not in output:
            os.write(terminal, answer.encode())
        output += chunk
        if interrupt_at and not interrupted and interrupt_at.encode() in output:
            interrupted = True
            process.send_signal(signal.SIGINT)
    os.close(terminal)
    return process.wait(), output


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux raises EIO after the other side is closed
        return b""
