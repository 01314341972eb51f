"""A command in a real pseudo-terminal, and the screen that a person would see."""

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
    command: Sequence[str], environment: Mapping[str, str], columns: int, answer: str = "", interrupt_at: str = ""
) -> tuple[int, str]:
    """Run a command in a terminal of some width, typing ``answer``; return its exit code and what is on the screen.

    ``interrupt_at`` interrupts it once, when that is on the screen.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    env = {**os.environ, **environment, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        env.pop(name, None)
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        if answer:
            os.write(ours, answer.encode())
        drawn = b""
        while more := _read(ours):
            seen_before, drawn = interrupt_at.encode() in drawn, drawn + more
            if interrupt_at and not seen_before and interrupt_at.encode() in drawn:
                process.send_signal(signal.SIGINT)
    os.close(ours)
    screen = pyte.Screen(columns, ROWS)
    pyte.ByteStream(screen).feed(drawn)
    return process.returncode, "\n".join(line.rstrip() for line in screen.display).rstrip() + "\n"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux says EIO when the other side is closed
        return b""
