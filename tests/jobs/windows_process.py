"""A process that runs jobs with the calls of Windows: ``python -m tests.jobs.windows_process FOLDER``.

It runs on Linux. fcntl cannot be imported, msvcrt is a fake, and calls that only POSIX has are removed. As on Windows, an
open file can be neither renamed nor removed, a folder cannot be opened, and only a file that is open for writing can be
synced.
"""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess  # noqa: F401 - imported before msvcrt exists, whose presence it takes for Windows
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

POSIX_NAMES = ("fchmod", "fchown", "fdatasync", "fork", "mkfifo", "O_DIRECTORY", "O_NOFOLLOW")


class FakeMsvcrt(ModuleType):
    """The part of msvcrt that locks files."""

    LK_UNLCK, LK_NBLCK = 0, 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.holders = dict[tuple[int, int], int]()
        """The descriptor that locked each file."""

    def locking(self, descriptor: int, mode: int, size: int) -> None:
        """Lock or unlock the first byte of a file. A second descriptor is refused."""
        status = os.fstat(descriptor)
        file = (status.st_dev, status.st_ino)
        assert size == 1
        if mode == self.LK_UNLCK:
            assert self.holders.pop(file) == descriptor
        elif self.holders.setdefault(file, descriptor) != descriptor:
            raise PermissionError(errno.EACCES, "Permission denied")


def is_open(path: Path) -> bool:
    """Return True if this process has a file open, in Python or in DuckDB."""
    links = list(Path("/proc/self/fd").iterdir())
    return path.exists() and any(link.exists() and link.samefile(path) for link in links)


def simulate_windows() -> FakeMsvcrt:
    """Replace the calls of this process with those of Windows. Return the fake module that locks files."""
    msvcrt = FakeMsvcrt()
    sys.modules["msvcrt"], sys.modules["fcntl"] = msvcrt, None  # type: ignore[assignment] - fails to import
    for name in POSIX_NAMES:
        delattr(os, name)
    os_open, fsync, replace, unlink = os.open, os.fsync, os.replace, os.unlink
    writable = set[int]()

    def check_is_closed(path: str | Path) -> None:
        if is_open(Path(path)):
            raise PermissionError(errno.EACCES, "The file is used by another process", str(path))

    def open_file(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        descriptor = os_open(path, flags, mode, dir_fd=dir_fd)
        (writable.add if flags & (os.O_WRONLY | os.O_RDWR) else writable.discard)(descriptor)
        return descriptor

    def sync_file(descriptor: int) -> None:
        if descriptor not in writable:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(descriptor)

    def replace_file(source: str | Path, target: str | Path, **options: Any) -> None:
        check_is_closed(source)
        check_is_closed(target)
        replace(source, target, **options)

    def remove_file(path: str | Path, **options: Any) -> None:
        check_is_closed(path)
        unlink(path, **options)

    os.open, os.fsync, os.replace, os.unlink = open_file, sync_file, replace_file, remove_file
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile  # as on Windows, which cannot unlink an open file
    return msvcrt


async def main(folder: Path) -> None:
    """Export, enrich and sync, with interruptions, replacements and two jobs for one file."""
    from leadfeeder_async import AsyncLeadfeeder, AuthenticationError, CheckpointError, Progress
    from leadfeeder_async.sandbox import Sandbox
    from leadfeeder_async.sync import sync_account
    from tests.support.clients import client_for

    def stop(progress: Progress) -> None:
        if progress.done >= 100:
            raise ZeroDivisionError

    async with Sandbox(companies=60, visits=500, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        visits = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=20)
        for name in ("visits.ndjson", "visits.csv", "visits.parquet"):
            with suppress(ZeroDivisionError):
                await visits.to_file(folder / name, on_progress=stop)
            await visits.to_file(folder / name, resume=True)
            await visits.to_file(folder / name, overwrite=True)
        jobs = [visits.to_file(folder / "twice.ndjson", resume=True) for _ in range(2)]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert [result.reason for result in results if isinstance(result, CheckpointError)] == ["locked"], results
        enrichment = lf.enrich.companies(
            [f"company-{number}.test" for number in range(60)], by="domain", max_credits=30
        )
        await enrichment.to_file(folder / "companies.ndjson")
        await enrichment.to_file(folder / "companies.ndjson", retry_failed=True)
        for _ in range(2):
            await sync_account(lf, folder / "leadfeeder.duckdb")
        async with AsyncLeadfeeder("wrong", base_url=sandbox.url) as rejected:
            with suppress(AuthenticationError):
                await sync_account(rejected, folder / "rejected.duckdb")


if __name__ == "__main__":
    locks = simulate_windows()
    asyncio.run(main(Path(sys.argv[1])))
    assert locks.holders == {}
