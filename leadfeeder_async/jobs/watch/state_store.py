"""Storage for the state of a watch: memory, a file, or a store of the caller."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

import anyio

from leadfeeder_async._argument_checks import check_path, reject
from leadfeeder_async.errors import CheckpointError, ConfigurationError
from leadfeeder_async.jobs.atomic_file import remove_temporaries, write_atomically
from leadfeeder_async.jobs.output_lock import OutputLock
from leadfeeder_async.jobs.resumable_file import translate_os_errors, validate_target
from leadfeeder_async.jobs.watch.watch_state import Acknowledged, WatchState, encode_acknowledged, encode_state

SAVE_TIMEOUT = 30.0
"""Seconds that a store may take to save a state. Saving is not canceled before."""

_HINT = "Free space or make the file writable, then start again with the same path. Another path starts a new watch."


@runtime_checkable
class WatchStore(Protocol):
    """A place for the state of a watch, such as a key in Redis or a row in a database.

    Only one watch at a time may use it. A store that several processes can reach must ensure that itself.
    """

    async def load(self) -> bytes | None:
        """Return the state that was saved last, or None."""
        ...

    async def save(self, data: bytes) -> None:
        """Replace the state. When this returns, the state must survive a crash."""
        ...


class StateJournal(Protocol):
    """Saves a state completely, or only a visit that was delivered since then."""

    name: str
    """The name of the file or store, for errors."""

    def open(self) -> AbstractAsyncContextManager[None]:
        """Lock the state, so that no other watch uses it."""
        ...

    async def load(self) -> bytes:
        """Return the saved bytes. They are empty if nothing was saved."""
        ...

    async def save(self, state: WatchState) -> None:
        """Save a state."""
        ...

    async def acknowledge(self, state: WatchState, visit: Acknowledged) -> None:
        """Save a delivered visit, which ``state`` includes already."""
        ...


class StoreJournal:
    """Saves each state completely in a store of the caller, or nowhere.

    Args:
        store: The store. None keeps the state in memory.
        name: The name of the state in messages.

    """

    def __init__(self, store: WatchStore | None, name: str = "The state in the store") -> None:
        self._store = store
        self.name = name

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Do nothing: the store decides who may use it."""
        yield

    async def load(self) -> bytes:
        """Return the saved bytes. They are empty if nothing was saved."""
        if self._store is None:
            return b""
        with self._translate_cancellation("loaded"):
            return _check_bytes(await self._store.load(), self.name)

    async def save(self, state: WatchState) -> None:
        """Save a state, also if the watch is being canceled."""
        if self._store is None:
            return
        with anyio.move_on_after(SAVE_TIMEOUT, shield=True) as scope, self._translate_cancellation("saved"):
            await self._store.save(encode_state(state))
        if scope.cancelled_caught:
            raise CheckpointError(
                f"{self.name} was not saved within {SAVE_TIMEOUT:.0f} s.",
                hint="Check the store, then start again. The last visit may be delivered again.",
            )

    async def acknowledge(self, state: WatchState, visit: Acknowledged) -> None:  # noqa: ARG002 - as FileJournal
        """Save the state."""
        await self.save(state)

    @contextmanager
    def _translate_cancellation(self, action: str) -> Generator[None]:
        """Raise CheckpointError if the store raises CancelledError by itself, which would end the watch in silence."""
        try:
            yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise CheckpointError(
                f"{self.name} was not {action}, because the store raised CancelledError.", hint="Check the store."
            ) from None


def _check_bytes(data: object, name: str) -> bytes:
    if data is None:
        return b""
    if not isinstance(data, bytes | bytearray):
        raise CheckpointError(
            f"{name} was not read, because load() returned {type(data).__name__} instead of bytes.",
            hint="Return the bytes that save() received. A Redis client needs decode_responses=False.",
        )
    return bytes(data)


class FileJournal:
    """Saves a state in a file, and appends a line for each visit that was delivered since then.

    The file is replaced in one step, and is readable only by its owner unless it existed with other permissions. A
    lock file beside it keeps out a second watch.

    Args:
        path: The file.

    """

    def __init__(self, path: Path) -> None:
        validate_target(path, overwrite=True)
        self.name = str(path)
        self._path = path
        self._file: IO[bytes] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Lock the file."""
        with translate_os_errors(self._path, _HINT):
            lock = OutputLock.acquire(self._path)
        if lock is None:
            raise CheckpointError(
                f"Another watch is using {self._path}.", hint="Stop it, or choose another path.", reason="locked"
            )
        try:
            validate_target(self._path, overwrite=True)
            remove_temporaries(self._path)
            yield
        finally:
            self._close()
            lock.release()

    async def load(self) -> bytes:
        """Return the saved bytes. They are empty if nothing was saved."""
        with translate_os_errors(self._path, _HINT, action="read"):
            try:
                return self._path.read_bytes()
            except FileNotFoundError:
                return b""

    async def save(self, state: WatchState) -> None:
        """Replace the file."""
        self._close()
        with translate_os_errors(self._path, _HINT):
            if not self._path.exists():
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # for the owner only
            write_atomically(self._path, encode_state(state), self._path)

    async def acknowledge(self, state: WatchState, visit: Acknowledged) -> None:
        """Append a line, and wait until it is on the disk. If the file was deleted, save the state again."""
        with translate_os_errors(self._path, _HINT):
            if not self._path.exists():
                await self.save(state)
                return
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
            size, line = os.fstat(self._file.fileno()).st_size, encode_acknowledged(visit)
            try:
                _write_line(self._file, line)
            except OSError:
                self._file.truncate(size)  # otherwise the next line would continue this one
                raise

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_line(file: IO[bytes], line: bytes) -> None:
    """Append a line, and wait until it is on the disk."""
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file.fileno())


def make_journal(state: object) -> StateJournal:
    """Return the journal for the ``state`` argument of a watch."""
    if state is None or (isinstance(state, WatchStore) and not isinstance(state, type)):
        return StoreJournal(state)
    return FileJournal(check_path("state", state))


def make_account_journals(state: object, account_ids: Iterable[str]) -> dict[str, StateJournal]:
    """Return the journal of each account for the ``state`` argument of a watch of several accounts.

    Raises:
        ConfigurationError: The function returned no store, or ``state`` is not a path.
        CheckpointError: The directory cannot be created.

    """
    if state is None:
        return {account_id: StoreJournal(None) for account_id in account_ids}
    if callable(state):
        return {
            account_id: StoreJournal(
                _check_store(state(account_id), account_id), f"The state of account {account_id} in the store"
            )
            for account_id in account_ids
        }
    directory = check_path("state", state)
    if not str(state).strip():
        reject("state", state, "is empty.", "Pass the path of a directory.")
    with translate_os_errors(directory, "Pass a directory that this program can write to."):
        directory.mkdir(mode=0o700, exist_ok=True)
    return {account_id: FileJournal(directory / f"{account_id}.state") for account_id in account_ids}


def _check_store(store: object, account_id: str) -> WatchStore:
    """Return the store of an account, or raise ConfigurationError."""
    if not isinstance(store, WatchStore) or isinstance(store, type):
        raise ConfigurationError(
            f"state returned {store!r} for account {account_id}, which is not an object with load() and save().",
            argument="state",
        )
    return store
