"""Prepare stdout and stderr for any locale, pipe or service, and leave them without an error at the end."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper


def prepare_streams() -> None:
    """Make stdout and stderr usable.

    A closed stream discards its text. JSON lines in a pipe or file are UTF-8 in any locale. On a terminal, characters
    that its encoding does not have are replaced.
    """
    for descriptor in range(3):
        _open_if_closed(descriptor)
    sys.stdout = sys.stdout or _discard()
    sys.stderr = sys.stderr or _discard()
    if isinstance(sys.stdout, TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="replace")
        else:
            sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="\n")
    if isinstance(sys.stderr, TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def flush_streams() -> bool:
    """Write the rest of the output. Return False if that is impossible.

    Then the rest is discarded, because Python would print an error and change the exit code.
    """
    return all([_flush(sys.stdout), _flush(sys.stderr)])


def _flush(stream: object) -> bool:
    if not isinstance(stream, TextIOWrapper):
        return True
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True


def _open_if_closed(descriptor: int) -> None:
    """Open a closed descriptor, so that no file or connection gets the number of a standard stream."""
    try:
        os.fstat(descriptor)
    except OSError:
        with suppress(OSError):
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _discard() -> TextIOWrapper:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - for the rest of the process
