"""Run a command in a pseudo-terminal and read its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence

import pyte

ROWS = 120


def run_on_terminal(
    command: Sequence[str],
    environment: Mapping[str, str],
    columns: int,
    answer: str = "",
    interrupt_at: str = "",
    answer_at: str = "",
) -> tuple[int, str]:
    """Run a command in a terminal and return its exit code and the text on the screen."""
    code, output = terminal_output(command, environment, columns, answer, interrupt_at, answer_at)
    screen = pyte.Screen(columns, ROWS)
    pyte.ByteStream(screen).feed(output)
    return code, "\n".join(line.rstrip() for line in screen.display).rstrip() + "\n"


def terminal_output(
    command: Sequence[str],
    environment: Mapping[str, str],
    columns: int,
    answer: str = "",
    interrupt_at: str = "",
    answer_at: str = "",
) -> tuple[int, bytes]:
    """Run a command in a terminal and return its exit code and the bytes that it wrote.

    Args:
        command: The command and its arguments.
        environment: The environment variables to add.
        columns: The width of the terminal.
        answer: The text to type.
        interrupt_at: The text that triggers a SIGINT when it first appears on the screen.
        answer_at: The text after which the answer is typed. A prompt for a password discards earlier input.
    """
    terminal, command_side = pty.openpty()
    fcntl.ioctl(command_side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    env = {**os.environ, **environment, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        env.pop(name, None)
    with subprocess.Popen(
        command, stdin=command_side, stdout=command_side, stderr=command_side, env=env, start_new_session=True
    ) as process:
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
    return process.returncode, output


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux raises EIO after the other side is closed
        return b""
