"""Ask the user to confirm a command."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from leadfeeder_async.cli import windows_stdin
from leadfeeder_async.cli.printing import print_err
from leadfeeder_async.errors import check_argument, escape_control_characters


def check_can_confirm(
    *,
    yes: bool,
    problem: str = "This command changes the account, and there is no terminal to ask for confirmation.",
    hint: str = "Add --yes to confirm.",
) -> None:
    """Raise ConfigurationError before anything is sent if there is no terminal for a question.

    Args:
        yes: True if the question is answered already.
        problem: The message of the error.
        hint: The options that answer the question.

    """
    check_argument(yes or (sys.stdin.isatty() and sys.stderr.isatty()), problem, hint)


async def confirm(question: str, *, yes: bool, refusal: str = "Nothing was changed.") -> bool:
    """Ask a question on the terminal, and return True if the user agrees. Otherwise, print ``refusal``."""
    if yes:
        return True
    _discard_earlier_input()
    sys.stderr.write(f"{escape_control_characters(question)} [y/N] ")
    sys.stderr.flush()
    if (await _read_line()).strip().lower() in {"y", "yes"}:
        return True
    print_err(refusal)
    return False


def _discard_earlier_input() -> None:
    """Discard lines that were typed before the question, because they answer something else."""
    if sys.platform != "win32":
        import termios

        with suppress(OSError, ValueError, termios.error):  # stdin of a test has no terminal
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


async def _read_line() -> str:
    """Read a line from the terminal without blocking the event loop, so that Ctrl-C works."""
    if not windows_stdin.LOOP_READS_STDIN:
        return (await windows_stdin.read_chunk()).decode(errors="replace")
    loop, has_input = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, has_input.set)
    try:
        await has_input.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()
