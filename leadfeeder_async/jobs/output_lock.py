"""A lock file beside an output, so that only one job at a time writes the output."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Protocol, Self

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.atomic_file import open_working_file, unknown_file_error

MARK = b"leadfeeder-async lock\n"
"""The content of a lock file. A job removes a lock file only if it has this content, or if the job created it."""

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


_LOCKED_BYTE = 1 << 30
"""The byte of a file that is locked on Windows. It is after the content, because a locked byte cannot be read."""


class MsvcrtCalls:
    """Locks a byte of a file on Windows. The file may end before that byte."""

    removes_open_files = False

    def __init__(self) -> None:
        self._msvcrt = import_module("msvcrt")

    def try_lock(self, descriptor: int) -> bool:
        """Lock a file, or return False if another process has locked it."""
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            self._msvcrt.locking(descriptor, self._msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        """Release the lock. Windows may do so with a delay if a file is only closed."""
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
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

    A job removes its lock file at the end. On POSIX systems it removes the file before it releases the lock. If another
    job opened the file before, that job finds another file or none at the path, and opens the path again. Windows does
    not remove a file that another process has open, so there the file is removed after the lock is released.

    An empty file with the name of a lock file is locked and never removed. It may be the lock file of a program that
    runs the job, such as ``flock``.

    Args:
        path: The lock file.
        descriptor: The open lock file.
        calls: The calls that locked it.
        is_created: This job created the file.
    """

    def __init__(self, path: Path, descriptor: int, calls: LockCalls, *, is_created: bool) -> None:
        self._path = path
        self._descriptor = descriptor
        self._calls = calls
        self._is_created = is_created

    @classmethod
    def acquire(cls, path: Path, calls: LockCalls = LOCK_CALLS) -> Self | None:
        """Lock an output, or return None if another job has locked it.

        Args:
            path: The output.
            calls: The calls of the operating system.

        Raises:
            CheckpointError: A file with the name of the lock file exists, and no job wrote it, or the file system has
                no locks.
            OSError: The lock file cannot be created.
        """
        lock = lock_path(path)
        make_folder(lock.parent)
        failure: OSError | None = None
        for _ in range(MAX_TRIES):
            opened = _try_open(lock, calls)
            if isinstance(opened, OSError):
                failure = opened
                continue
            descriptor, is_created = opened
            try:
                if not MARK.startswith(_read(descriptor)):
                    raise unknown_file_error(lock)
                try:
                    if not _try_lock(descriptor, path, calls):
                        return None
                except CheckpointError:
                    if is_created:  # nobody can have locked it, and Windows removes no open file
                        os.close(descriptor)
                        descriptor = -1
                        lock.unlink(missing_ok=True)
                    raise
                if not calls.removes_open_files or _has_name(descriptor, lock):
                    locked, descriptor = descriptor, -1
                    return cls(lock, locked, calls, is_created=is_created)
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        if failure is not None:
            raise failure
        return None

    def release(self) -> None:
        """Release the lock and remove its file, if a job created it."""
        is_ours = self._is_created or _read(self._descriptor) == MARK
        if is_ours and self._calls.removes_open_files and _has_name(self._descriptor, self._path):
            self._remove()
        with suppress(OSError):
            self._calls.unlock(self._descriptor)
        os.close(self._descriptor)
        if is_ours and not self._calls.removes_open_files:
            self._remove()

    def _remove(self) -> None:
        with suppress(OSError):  # a lock file that is left is harmless
            self._path.unlink()


def make_folder(folder: Path) -> None:
    """Create the folder of a file, and those above it, if they do not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # the error of a folder, which does not say that a file has its name
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None


def _try_lock(descriptor: int, path: Path, calls: LockCalls) -> bool:
    """Lock the file of an output, or return False if another process has locked it."""
    try:
        return calls.try_lock(descriptor)
    except OSError as error:
        if error.errno not in NO_LOCK_ERRORS:
            raise
        raise CheckpointError(
            f"{path} cannot be locked: {error.strerror}.",
            hint="Its file system has no file locks, as some network drives. Choose a path on a local disk.",
        ) from error


NO_LOCK_ERRORS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""The errors of file systems that cannot lock files."""


def _try_open(lock: Path, calls: LockCalls) -> tuple[int, bool] | OSError:
    """Open or create a lock file, or return the error if another job has just removed it."""
    try:
        return _open(lock)
    except FileNotFoundError as error:
        return error
    except PermissionError as error:
        if calls.removes_open_files:
            raise
        time.sleep(0.001)  # Windows cannot open a file that another job is removing at the same moment
        return error


def _open(lock: Path) -> tuple[int, bool]:
    """Open or create a lock file. Return its descriptor, and True if it was created."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except FileExistsError:
        return open_working_file(lock, os.O_RDWR), False
    with suppress(OSError):  # the disk may be full
        os.write(descriptor, MARK)
    return descriptor, True


def _read(descriptor: int) -> bytes:
    """Return the content of a lock file, or the beginning of another one."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, len(MARK) + 1)


def _has_name(descriptor: int, lock: Path) -> bool:
    """Return True if the name still belongs to the open file."""
    with suppress(FileNotFoundError):
        return os.path.samestat(lock.lstat(), os.fstat(descriptor))
    return False
