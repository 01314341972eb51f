"""A lock file beside an output, so that one job at a time writes it. It works on POSIX and on Windows."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True


def lock_path(path: Path) -> Path:
    """Return the name of the lock file of an output."""
    return path.with_name(path.name + ".lock")


class OutputLock:
    """The lock on one output, held by this process until it is released.

    The operating system releases the lock of a process that dies. A lock file that is left behind is therefore
    harmless. It is removed while the lock is held: a job that opened it before finds that the name no longer belongs to
    its file, and opens it again.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> Self | None:
        """Lock an output, or return None if another job has locked it."""
        lock = lock_path(path)
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open_current(lock)
        return None if descriptor is None else cls(lock, descriptor)

    def release(self) -> None:
        """Release the lock and remove its file."""
        if sys.platform != "win32":
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        if sys.platform == "win32":
            with suppress(OSError):  # Windows removes no file that is open, and another job may have opened it
                self._path.unlink()


def _open_current(lock: Path) -> int | None:
    """Open and lock the file that has the name, or return None if another job has locked it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            if not _try_lock(descriptor):
                os.close(descriptor)
                return None
            if _has_name(descriptor, lock):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _has_name(descriptor: int, lock: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(lock.stat(), os.fstat(descriptor))
    return False
