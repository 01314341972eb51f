"""Input files of commands: they are kept, and reading them can be interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from leadfeeder_async.errors import ConfigurationError, check_argument


@contextmanager
def interruptible() -> Generator[None]:
    """Let Ctrl-C and SIGTERM end a block that does not return to the event loop, such as reading a pipe.

    The handler of the event loop cancels the task of the command, which gets no turn within such a block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def read_file(path: Path) -> bytes:
    """Return the content of a file that an option names.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None


def check_input_is_kept(source: Path, out: Path) -> None:
    """Raise ConfigurationError if the output or one of its temporary files is the input file."""
    from leadfeeder_async.jobs.resumable_file import checkpoint_path, partial_path  # not needed by other commands

    for path in (out, partial_path(out), checkpoint_path(out)):
        is_input = path.resolve() == source.resolve() or (path.exists() and source.exists() and path.samefile(source))
        check_argument(not is_input, f"{path} is the input file and would be overwritten.", "Change --out.")
