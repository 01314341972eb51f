"""A lock file beside an output, so that only one job at a time writes the output."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from stat import S_ISREG
from typing import Protocol, Self

from leadfeeder_async.jobs.atomic_file import unknown_file_error

MAX_TRIES = 100
"""Attempts to lock a file that other jobs remove at the same moment."""


class LockCalls(Protocol):
    """The calls of an operating system that lock a file."""

    removes_open_files: bool
    """True if a file can be removed while it is open."""

    def try_lock(self, descriptor: int) -> bool:
        """Lock a file, or return False if another process has locked it."""
        ...

    def unlock(self, descriptor: int) -> None:
        """Release the lock."""
        ...


class FcntlCalls:
    """Locks a file on Linux, macOS and other POSIX systems."""

    removes_open_files = True

    def __init__(self) -> None:
        self._fcntl = import_module("fcntl")

    def try_lock(self, descriptor: int) -> bool:
        """Lock a file, or return False if another process has locked it."""
        try:
            self._fcntl.flock(descriptor, self._fcntl.LOCK_EX | self._fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        """Release the lock, also for a forked process that inherited it."""
        self._fcntl.flock(descriptor, self._fcntl.LOCK_UN)


class MsvcrtCalls:
    """Locks the first byte of a file on Windows. The file may be empty."""

    removes_open_files = False

    def __init__(self) -> None:
        self._msvcrt = import_module("msvcrt")

    def try_lock(self, descriptor: int) -> bool:
        """Lock a file, or return False if another process has locked it."""
        try:
            self._msvcrt.locking(descriptor, self._msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        """Release the lock. Windows may do so with a delay if a file is only closed."""
        self._msvcrt.locking(descriptor, self._msvcrt.LK_UNLCK, 1)


def choose_lock_calls() -> LockCalls:
    """Return the calls of this operating system."""
    try:
        return FcntlCalls()
    except ImportError:
        return MsvcrtCalls()


LOCK_CALLS = choose_lock_calls()


def lock_path(path: Path) -> Path:
    """Return the name of the lock file of an output."""
    return path.with_name(path.name + ".lock")


class OutputLock:
    """The lock on one output, held until it is released.

    The operating system releases the lock of a process that dies, so a lock file that a killed job left is harmless.
    The next job locks that file again.

    A job removes its lock file at the end. On POSIX systems it does so while it holds the lock. A job that opened the
    file before finds that the name no longer belongs to it, and opens the name again. Windows does not remove a file
    that another process has open, so there the file is removed after the lock is released.

    Args:
        path: The lock file.
        descriptor: The open lock file.
        calls: The calls that locked it.
    """

    def __init__(self, path: Path, descriptor: int, calls: LockCalls) -> None:
        self._path = path
        self._descriptor = descriptor
        self._calls = calls

    @classmethod
    def acquire(cls, path: Path, calls: LockCalls = LOCK_CALLS) -> Self | None:
        """Lock an output, or return None if another job has locked it.

        Args:
            path: The output.
            calls: The calls of the operating system.

        Raises:
            CheckpointError: A file with the name of the lock file exists, and no job wrote it.
            OSError: The lock file cannot be created.
        """
        lock = lock_path(path)
        lock.parent.mkdir(parents=True, exist_ok=True)
        if lock.is_symlink():  # Windows has no O_NOFOLLOW
            raise unknown_file_error(lock)
        for _ in range(MAX_TRIES):
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            try:
                _check_is_ours(lock, descriptor)
                if not calls.try_lock(descriptor):
                    break
                if not calls.removes_open_files or _has_name(descriptor, lock):
                    held, descriptor = descriptor, -1
                    return cls(lock, held, calls)
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        return None

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._calls.removes_open_files and _has_name(self._descriptor, self._path):
            self._remove()
        with suppress(OSError):
            self._calls.unlock(self._descriptor)
        os.close(self._descriptor)
        if not self._calls.removes_open_files:
            self._remove()

    def _remove(self) -> None:
        with suppress(OSError):  # a lock file that is left is harmless
            self._path.unlink()


def _check_is_ours(lock: Path, descriptor: int) -> None:
    """Raise CheckpointError unless a file can be a lock file, which is always empty."""
    status = os.fstat(descriptor)
    if status.st_size or not S_ISREG(status.st_mode):
        raise unknown_file_error(lock)


def _has_name(descriptor: int, lock: Path) -> bool:
    """Return True if the name still belongs to the open file."""
    with suppress(FileNotFoundError):
        return os.path.samestat(lock.lstat(), os.fstat(descriptor))
    return False
