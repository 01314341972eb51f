"""Prepare stdout and stderr for any locale, pipe or service, and leave them without an error at the end."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

STDOUT = 1


def prepare_streams() -> None:
    """Make stdout and stderr usable.

    Writing to a closed stdout is an error, and text for a closed stderr is discarded. JSON lines in a pipe or file are
    UTF-8 in any locale. On a terminal, characters that its encoding does not have are replaced.
    """
    for descriptor in range(3):
        _open_if_closed(descriptor)
    sys.stdout = sys.stdout or os.fdopen(STDOUT, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or _discard()
    if sys.stdout.isatty():
        _configure(sys.stdout, errors="replace")
    else:
        _configure(sys.stdout, encoding="utf-8", errors="replace", newline="\n")
    _configure(sys.stderr, errors="backslashreplace")


def _configure(stream: TextIO, **options: str) -> None:
    """Reconfigure a stream, unless a program has replaced it, for example with a ``StringIO``."""
    if isinstance(stream, TextIOWrapper):
        reconfigure: Callable[..., None] = stream.reconfigure
        reconfigure(**options)


def is_closed_pipe(error: OSError) -> bool:
    """Return True if the program that reads the output has ended. On Windows, Python reports an invalid argument."""
    is_invalid = os.name == "nt" and error.errno == errno.EINVAL and error.filename is None
    return is_invalid or isinstance(error, BrokenPipeError)


def flush_streams() -> bool:
    """Write the rest of the output. Return False if that is impossible.

    The rest is then discarded. Otherwise, Python would print an error and change the exit code.
    """
    return all([_flush(sys.stdout), _flush(sys.stderr)])


def _flush(stream: TextIO) -> bool:
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
            # The new descriptor gets the lowest number that is free. Nothing can be written to stdout.
            os.open(os.devnull, os.O_RDONLY if descriptor == STDOUT else os.O_RDWR)


def _discard() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - for the rest of the process
