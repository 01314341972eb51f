"""Files that replace others in one step: written under a temporary name, synced, and renamed."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE, S_IRUSR, S_IWUSR
from tempfile import mkstemp


@contextmanager
def temporary_beside(path: Path, like: Path) -> Generator[Path]:
    """Create an empty temporary file in the folder of ``path``, and remove it at the end if it still exists.

    Its name is random, so it replaces no file and follows no link.

    Args:
        path: The file that the temporary one belongs to.
        like: The file whose permissions it gets, if that exists.
    """
    descriptor, name = mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent or ".")
    os.close(descriptor)
    temporary = Path(name)
    try:
        copy_permissions(like, temporary)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(path: Path) -> None:
    """Remove the temporary files that killed jobs left beside ``path``. The caller holds its lock."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.tmp")
    with suppress(OSError):
        for entry in path.parent.iterdir():
            if pattern.fullmatch(entry.name) and entry.is_file() and not entry.is_symlink():
                entry.unlink(missing_ok=True)


def create_exclusively(path: Path, like: Path) -> None:
    """Create an empty file with the permissions of ``like``, or raise FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    os.close(descriptor)
    copy_permissions(like, path)


def copy_permissions(like: Path, path: Path) -> None:
    """Give ``path`` the permissions of ``like`` if that exists, and let its owner write it."""
    with suppress(FileNotFoundError):
        path.chmod(S_IMODE(like.stat().st_mode) | S_IRUSR | S_IWUSR)


def replace_atomically(temporary: Path, path: Path) -> None:
    """Rename a complete file to its final name, in one step that survives a power failure."""
    _sync(temporary)
    with suppress(FileNotFoundError):
        temporary.chmod(S_IMODE(path.stat().st_mode))
    os.replace(temporary, path)
    with suppress(OSError):  # not every file system can sync a folder, and Windows cannot open one
        _sync(path.parent)


def write_atomically(path: Path, data: bytes, like: Path) -> None:
    """Write a file in one step, so that there is always a complete one. It gets the permissions of ``like``."""
    with temporary_beside(path, like) as temporary:
        temporary.write_bytes(data)
        _sync(temporary)
        os.replace(temporary, path)
        with suppress(OSError):
            _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" and path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
