"""The lock file beside an output: exclusive, released by a kill, and removed without a race."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from leadfeeder_async import AsyncLeadfeeder, CheckpointError, DatabaseError
from leadfeeder_async.jobs.output_lock import LOCK_CALLS, FcntlCalls, OutputLock, lock_path
from leadfeeder_async.sync import sync_account
from tests.jobs.helpers import names_in, small_disk
from tests.support.requirements import is_windows, needs_fcntl, needs_fork, needs_open_files_removed

HOLDER = """
import sys
from pathlib import Path
from leadfeeder_async.jobs.output_lock import OutputLock
lock = OutputLock.acquire(Path(sys.argv[1]))
print("locked" if lock else "refused", flush=True)
sys.stdin.read()
"""


def start_holder(out: Path) -> subprocess.Popen[str]:
    """Start a process that locks an output, and wait until it has."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    return holder


def acquire(out: Path) -> OutputLock:
    lock = OutputLock.acquire(out)
    assert lock is not None
    return lock


def test_lock_is_exclusive(tmp_path: Path) -> None:
    """An output is locked once at a time, and the lock file is removed at the end."""
    out = tmp_path / "new" / "o.ndjson"
    lock = acquire(out)
    assert OutputLock.acquire(out) is None
    lock.release()
    acquire(out).release()
    assert names_in(tmp_path / "new") == []


def test_kill_releases_the_lock(tmp_path: Path) -> None:
    """The lock of a process that is killed is free at once, and its lock file is used and removed."""
    out = tmp_path / "o.ndjson"
    with start_holder(out) as holder:
        assert OutputLock.acquire(out) is None
        holder.kill()
    assert lock_path(out).exists()
    acquire(out).release()
    assert not lock_path(out).exists()


@needs_fork
def test_lock_is_released_despite_forked_processes(tmp_path: Path) -> None:
    """A forked process that inherited the open lock file does not keep the lock."""
    lock = acquire(tmp_path / "o.ndjson")
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        lock.release()
        acquire(tmp_path / "o.ndjson").release()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class LockAfterRemoval(FcntlCalls):
    """Locks a file only after the job that had locked it has removed it."""

    def __init__(self, other: OutputLock) -> None:
        super().__init__()
        self._others = [other]

    def try_lock(self, descriptor: int) -> bool:
        while self._others:
            self._others.pop().release()
        return super().try_lock(descriptor)


@needs_fcntl
def test_removed_lock_file_is_not_held(tmp_path: Path) -> None:
    """A job that opened a lock file before it was removed locks the file that has the name."""
    out = tmp_path / "o.ndjson"
    lock = OutputLock.acquire(out, LockAfterRemoval(acquire(out)))
    assert lock is not None
    assert lock_path(out).exists()
    assert OutputLock.acquire(out) is None
    lock.release()
    assert names_in(tmp_path) == []


@needs_open_files_removed
def test_lock_file_of_another_job_is_not_removed(tmp_path: Path) -> None:
    """If somebody deletes the lock file, its job does not remove the lock file of the next job."""
    out = tmp_path / "o.ndjson"
    first = acquire(out)
    lock_path(out).unlink()
    second = acquire(out)
    first.release()
    assert OutputLock.acquire(out) is None
    second.release()
    assert names_in(tmp_path) == []


class NoLocks:
    """The calls on a file system without locks."""

    removes_open_files = True

    def __init__(self, code: int) -> None:
        self._code = code

    def try_lock(self, descriptor: int) -> bool:
        raise OSError(self._code, os.strerror(self._code))

    def unlock(self, descriptor: int) -> None: ...


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks(tmp_path: Path, code: int) -> None:
    """An output on a file system without locks is refused with the reason, and no file is left."""
    with pytest.raises(CheckpointError, match=r"o\.ndjson cannot be locked: .*no file locks.*local disk"):
        OutputLock.acquire(tmp_path / "o.ndjson", NoLocks(code))
    assert names_in(tmp_path) == []
    with pytest.raises(OSError, match="Input/output error"):
        OutputLock.acquire(tmp_path / "o.ndjson", NoLocks(errno.EIO))


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    """The error for an output below a file does not say that the output exists."""
    (tmp_path / "a.csv").touch()
    with pytest.raises(NotADirectoryError):
        OutputLock.acquire(tmp_path / "a.csv" / "o.ndjson")


async def test_sync_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync on a file system without locks keeps the hint, because running it again would not help."""
    monkeypatch.setattr(type(LOCK_CALLS), "try_lock", NoLocks(errno.ENOLCK).try_lock)
    async with AsyncLeadfeeder("k", account_id="1", base_url="http://127.0.0.1:9") as lf:
        with pytest.raises(DatabaseError, match=r"visits\.duckdb cannot be locked: .*local disk"):
            await sync_account(lf, tmp_path / "visits.duckdb")


def test_file_with_content_is_not_a_lock_file(tmp_path: Path) -> None:
    """A file that no job wrote is neither locked nor removed."""
    out = tmp_path / "o.ndjson"
    lock_path(out).write_text("precious", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"o\.ndjson\.lock exists, but no job wrote it") as caught:
        OutputLock.acquire(out)
    assert (caught.value.reason, lock_path(out).read_text(encoding="utf-8")) == ("not_ours", "precious")


def test_empty_file_is_locked_and_kept(tmp_path: Path) -> None:
    """An empty file, such as that of the command flock, keeps out a second job and is not removed or changed."""
    out = tmp_path / "o.ndjson"
    lock_path(out).touch()
    lock = acquire(out)
    assert OutputLock.acquire(out) is None
    lock.release()
    assert (names_in(tmp_path), lock_path(out).read_bytes()) == (["o.ndjson.lock"], b"")


def test_lock_file_on_a_full_disk(tmp_path: Path) -> None:
    """A lock file without content is removed by the job that created it."""
    out = tmp_path / "o.ndjson"
    with small_disk(0):
        lock = acquire(out)
    assert lock_path(out).read_bytes() == b""
    lock.release()
    assert names_in(tmp_path) == []


def count_holders(out: str, rounds: int, failures: multiprocessing.Queue[str]) -> None:
    """Lock an output again and again, and report if another process has it at the same time."""
    held = Path(f"{out}.held")
    for _ in range(rounds):
        lock = OutputLock.acquire(Path(out))
        if lock is not None:
            try:
                held.mkdir()
                held.rmdir()
            except OSError as error:
                failures.put(str(error))
            lock.release()


def test_processes_that_race_for_a_lock(tmp_path: Path) -> None:
    """Processes that lock, release and remove the same file at once never have it at the same time."""
    context = multiprocessing.get_context("spawn")
    failures: multiprocessing.Queue[str] = context.Queue()
    words = (str(tmp_path / "o.ndjson"), 2_000, failures)
    processes = [context.Process(target=count_holders, args=words) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert failures.empty(), failures.get()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    if not is_windows:  # where a process cannot remove the file while another one tries to lock it
        assert names_in(tmp_path) == []


def test_threads_share_no_lock(tmp_path: Path) -> None:
    """A second thread of the same process is refused as another process is."""
    lock, results = acquire(tmp_path / "o.ndjson"), list[OutputLock | None]()
    thread = threading.Thread(target=lambda: results.append(OutputLock.acquire(tmp_path / "o.ndjson")))
    thread.start()
    thread.join()
    assert results == [None]
    lock.release()


class WindowsCalls(FcntlCalls):
    """Behaves as on Windows, where an open file cannot be removed."""

    removes_open_files = False


@needs_fcntl
def test_lock_file_that_is_being_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows denies access to a lock file while another job removes it, so opening it is retried."""
    os_open, failures = os.open, [PermissionError(errno.EACCES, "Permission denied")] * 3

    def open_later(*args: Any) -> int:
        if failures:
            raise failures.pop()
        return os_open(*args)

    monkeypatch.setattr(os, "open", open_later)
    with pytest.raises(PermissionError):
        OutputLock.acquire(tmp_path / "o.ndjson")
    lock = OutputLock.acquire(tmp_path / "o.ndjson", WindowsCalls())
    assert (lock is not None, failures) == (True, [])


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_lock_file_that_cannot_be_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    """If a lock file cannot be created, the error is that of the operating system, and no job counts as running."""

    def refuse(*_: Any) -> int:
        raise error(errno.EACCES, "refused")

    monkeypatch.setattr(os, "open", refuse)
    for calls in (LOCK_CALLS, *([WindowsCalls()] if isinstance(LOCK_CALLS, FcntlCalls) else [])):
        with pytest.raises(error, match="refused"):
            OutputLock.acquire(tmp_path / "o.ndjson", calls)
