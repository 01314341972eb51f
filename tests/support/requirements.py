"""Marks for tests of things that Windows does not have. There, the tests are skipped."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
needs_permissions = pytest.mark.skipif(sys.platform == "win32", reason="needs the file permissions of POSIX")
needs_posix_shell = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs signals that processes can handle")


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
