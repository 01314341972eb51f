"""Files that replace others in one step: written under a temporary name, synced, and renamed.

This module also checks working files, which a job writes beside its output: the unfinished file, its checkpoint and its
lock. A job uses a file with such a name only if a job can have written it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from stat import S_IMODE, S_IRUSR, S_ISREG, S_IWUSR

from leadfeeder_async.errors import CheckpointError

_RETRY_DELAYS = (0.01, 0.04, 0.15, 0.5)
"""Seconds before each further attempt to rename or remove a file on Windows."""

WINDOWS_FILE_IN_USE_ERRORS = (5, 32)
"""The errors of Windows for a file that another program has open: access denied and sharing violation."""


def temporary_path(path: Path) -> Path:
    """Return a random name in the folder of ``path``, which :func:`remove_temporaries` recognizes."""
    return path.with_name(f".{path.name}.leadfeeder-{token_hex(4)}.tmp")


@contextmanager
def temporary_beside(path: Path, like: Path) -> Generator[Path]:
    """Create an empty temporary file in the folder of ``path``, and remove it at the end if it still exists.

    Its name is random, so it replaces no file and follows no link.

    Args:
        path: The file that the temporary one belongs to.
        like: The file whose permissions it gets, if that exists.
    """
    temporary = temporary_path(path)
    create_exclusively(temporary, like)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(path: Path) -> None:
    """Remove the temporary files that killed jobs left beside ``path``. The caller holds its lock."""
    # DuckDB adds logs to a database.
    name = re.compile(rf"\.{re.escape(path.name)}\.leadfeeder-[0-9a-f]{{8}}\.tmp(\.wal(\.checkpoint|\.recovery)?)?")
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if name.fullmatch(entry.name):
                leftover = Path(entry.path)
                with suppress(CheckpointError):  # a link, or anything else that no job made
                    stat_working_file(leftover)
                    leftover.unlink()


def create_exclusively(path: Path, like: Path) -> None:
    """Create an empty file with the permissions of ``like``, or raise FileExistsError.

    If ``like`` does not exist, the file gets the usual permissions of a new file. At no time does it have more.
    """
    mode = _working_mode(like)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode))
    if mode is not None:
        path.chmod(mode)  # the umask may have removed some


def stat_working_file(path: Path) -> os.stat_result | None:
    """Return the status of a working file, or None if nothing has its name.

    Raises:
        CheckpointError: It is a link, has a second name, or is not a regular file, so no job made it.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    _check_is_plain(path, status)
    return status


def open_working_file(path: Path, flags: int) -> int:
    """Open a working file that exists, and return its descriptor. A pipe is not waited for, and a link not followed.

    Raises:
        CheckpointError: It is a link, has a second name, or is not a regular file, so no job made it.
        FileNotFoundError: Nothing has its name.
    """
    stat_working_file(path)  # Windows has no O_NOFOLLOW, and opening a device may have an effect
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    try:
        _check_is_plain(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_is_plain(path: Path, status: os.stat_result) -> None:
    if not S_ISREG(status.st_mode):
        raise unknown_file_error(path)
    if status.st_nlink > 1:
        raise CheckpointError(
            f"{path} is a hard link, so writing it would change another file.",
            hint="Move it away, or choose another path.",
            reason="not_ours",
        )


def unknown_file_error(path: Path) -> CheckpointError:
    """Return the error for a file that has the name of a working file although no job wrote it."""
    return CheckpointError(
        f"{path} exists, but no job wrote it.", hint="Move it away, or choose another path.", reason="not_ours"
    )


def copy_permissions(path: Path, like: Path) -> None:
    """Give ``path`` the permissions of ``like`` if that exists, and let its owner write it."""
    mode = _working_mode(like)
    if mode is not None:
        path.chmod(mode)


def replace_atomically(temporary: Path, path: Path) -> None:
    """Give a complete file its final name, in one step that survives a power failure.

    If it replaces a file, it gets the permissions of that file.
    """
    _sync_file(temporary)
    with suppress(FileNotFoundError):
        temporary.chmod(S_IMODE(path.stat().st_mode))
    _rename(temporary, path)


def write_atomically(path: Path, data: bytes, like: Path) -> None:
    """Write a file in one step, so that there is always a complete one. It gets the permissions of ``like``."""
    with temporary_beside(path, like) as temporary:
        temporary.write_bytes(data)
        _sync_file(temporary)
        _rename(temporary, path)


def retry_while_open(change: Callable[[], object]) -> None:
    """Rename or remove a file, with a few attempts on Windows if another program has the file open.

    A virus scanner or a search index opens each new file for a moment.
    """
    for delay in _RETRY_DELAYS:
        try:
            change()
        except PermissionError as error:
            if getattr(error, "winerror", None) not in WINDOWS_FILE_IN_USE_ERRORS:
                raise
            time.sleep(delay)
        else:
            return
    change()


def _working_mode(like: Path) -> int | None:
    """Return the permissions of a file, plus the owner's to read and write, or None if it does not exist."""
    with suppress(FileNotFoundError):
        return S_IMODE(like.stat().st_mode) | S_IRUSR | S_IWUSR
    return None


def _rename(temporary: Path, path: Path) -> None:
    retry_while_open(lambda: temporary.replace(path))
    with suppress(OSError):  # not every file system can sync a folder, and Windows cannot open one
        _sync(path.parent, os.O_RDONLY)


def _sync_file(path: Path) -> None:
    _sync(path, os.O_RDWR)  # Windows syncs only files that are open for writing


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
