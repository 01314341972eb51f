"""Marks for tests of things that not every run has: Windows lacks some, and measured runs are slower."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from coverage import Coverage

is_windows = sys.platform == "win32"
"""True on Windows, for the few tests that expect other values there."""

is_measured = Coverage.current() is not None
"""True if the coverage of this run is measured. That changes the time, the signals and the variables of processes."""

PATTERN_FOLDER = "it's [a]b day=1" if is_windows else "it's [a]*b day=1"
"""A name with characters that DuckDB expands in paths. Windows allows no asterisk."""

needs_case_sensitive_variables = pytest.mark.skipif(is_windows, reason="needs variables that differ in case only")
needs_even_speed = pytest.mark.skipif(is_measured, reason="needs the speed of code whose coverage is not measured")
needs_fcntl = pytest.mark.skipif(is_windows, reason="needs the locks of POSIX")
needs_fifos = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
needs_memory_limits = pytest.mark.skipif(is_windows, reason="needs limits of the memory of a process")
needs_names_with_any_character = pytest.mark.skipif(
    is_windows, reason="needs file names with colons and question marks"
)
needs_names_with_any_bytes = pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are not UTF-8")
needs_open_files_removed = pytest.mark.skipif(is_windows, reason="needs to remove a file that is open")
needs_permissions = pytest.mark.skipif(is_windows, reason="needs the file permissions of POSIX")
needs_own_signals = pytest.mark.skipif(
    is_measured, reason="needs processes without the signals and variables of coverage"
)
needs_posix_shell = pytest.mark.skipif(is_windows, reason="needs a POSIX shell")
needs_signals = pytest.mark.skipif(is_windows, reason="needs signals that processes can handle")


def make_link(path: Path, target: Path, *, is_folder: bool = False) -> None:
    """Make a symbolic link, or skip the test. On Windows, only some users can do that."""
    try:
        path.symlink_to(target, is_folder)
    except (OSError, NotImplementedError):
        if not is_windows:
            raise
    if not path.is_symlink():
        pytest.skip("needs symbolic links")


def make_pipe(path: str | os.PathLike[str]) -> None:
    """Make a named pipe, or skip the test."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    os.mkfifo(path)


def make_socket(path: str | os.PathLike[str]) -> None:
    """Make the file of a socket, or skip the test."""
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("needs Unix sockets")
    folder = os.open(Path(path).parent, os.O_RDONLY)
    try:  # the path of a socket may have only 107 bytes
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{folder}/{Path(path).name}")
    except OSError:
        pytest.skip("needs /proc")
    finally:
        os.close(folder)
