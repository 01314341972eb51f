"""Ask the user to confirm a command."""

from __future__ import annotations

import asyncio
import sys

from leadfeeder_async.cli import windows_stdin
from leadfeeder_async.cli.printing import print_err
from leadfeeder_async.errors import check_argument, escape_control_characters


def check_can_confirm(problem: str, hint: str, *, yes: bool) -> None:
    """Raise ConfigurationError before anything is sent if there is no terminal for a question.

    Args:
        problem: The message of the error.
        hint: The options that answer the question.
        yes: True if the question is answered already.

    """
    check_argument(yes or (sys.stdin.isatty() and sys.stderr.isatty()), problem, hint)


async def confirm(question: str, refusal: str, *, yes: bool) -> bool:
    """Ask a question on the terminal, and return True if the user agrees. Otherwise, print ``refusal``."""
    if yes:
        return True
    sys.stderr.write(f"{escape_control_characters(question)} [y/N] ")
    sys.stderr.flush()
    if (await _read_line()).strip().lower() in {"y", "yes"}:
        return True
    print_err(refusal)
    return False


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
