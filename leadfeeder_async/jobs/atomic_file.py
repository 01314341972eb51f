"""What a long job asks of the disk: one writer a file, and files that survive a power cut."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_IRUSR, S_IWUSR
from typing import IO

if sys.platform == "win32":
    from leadfeeder_async.errors import ConfigurationError

    def lock_exclusive(_: IO[bytes]) -> None:
        """Refuse: Windows neither locks a file for one process nor renames one that is open."""
        raise ConfigurationError("Long jobs write files by POSIX means.", hint="Run them on Linux, macOS or WSL.")

else:
    import fcntl

    def lock_exclusive(file: IO[bytes]) -> None:
        """Lock ``file`` for this process until it is closed; raise OSError if another has it."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def replace_atomically(fresh: Path, path: Path) -> None:
    """Give a file that is written to its end its name, in one step that survives a power cut."""
    _sync(fresh)
    with suppress(FileNotFoundError):
        fresh.chmod(S_IMODE(path.stat().st_mode))
    fresh.replace(path)
    with suppress(OSError):  # not every file system can sync a folder
        _sync(path.parent)


def copy_permissions(path: Path, working: Path) -> None:
    """Let a working file, made if need be, be read by no one else than the file whose place will be taken.

    Its owner can write it, whatever the mode of that file.
    """
    with suppress(FileNotFoundError):
        mode = S_IMODE(path.stat().st_mode)
        working.touch()
        working.chmod(mode | S_IRUSR | S_IWUSR)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
