"""Marks for tests of things that Windows does not have. There, the tests are skipped."""

from __future__ import annotations

import os
import sys

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
