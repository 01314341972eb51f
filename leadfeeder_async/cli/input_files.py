"""Input files of commands: no command overwrites its input, and Ctrl-C ends the reading."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from leadfeeder_async._argument_checks import reading
from leadfeeder_async.errors import check_argument


@contextmanager
def interruptible() -> Generator[None]:
    """Let Ctrl-C and SIGTERM end a block that does not return to the event loop, such as reading a pipe.

    The handler of the event loop only cancels the task of the command, and a task in such a block does not notice that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def read_text(path: Path) -> str | bytes:
    """Return the text of a file in UTF-8, UTF-16 or UTF-32. If it has another encoding, return its bytes.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    from leadfeeder_async.jobs.enrich.file_format import SAMPLE_BYTES, detect_encoding  # not always needed

    with reading(path), interruptible():
        data = path.read_bytes()
    try:
        return data.decode(detect_encoding(data[:SAMPLE_BYTES]))
    except UnicodeDecodeError:
        return data


def check_output_is_not_input(source: Path, out: Path | None) -> None:
    """Raise ConfigurationError if the output or one of its temporary files is the input file.

    Args:
        source: The input file.
        out: The output file, or None for stdout.
    """
    from leadfeeder_async.jobs.resumable_file import checkpoint_path, is_same_file, partial_path  # not always needed

    if out is None:
        check_argument(not _is_stdout(source), f"stdout is the input file {source}.", "Write to another file.")
        return
    for path in (out, partial_path(out), checkpoint_path(out)):
        is_input = is_same_file(path, source)
        check_argument(not is_input, f"{path} is the input file and would be overwritten.", "Change --out.")


def _is_stdout(path: Path) -> bool:
    """Return True if stdout is redirected to a regular file, and the path names this file."""
    try:
        stdout = os.fstat(1)
        return stat.S_ISREG(stdout.st_mode) and os.path.samestat(stdout, path.stat())
    except OSError:
        return False
