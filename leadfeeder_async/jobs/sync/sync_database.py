"""The database of a sync: one transaction at a time, in a thread of its own.

Other processes can read the file between two transactions, so it is opened and closed for each of them. A transaction
may take seconds and must not block the event loop. Leaving the context waits for a transaction that is running, even if
its task was canceled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic, Self, TypeAlias, TypeVar

import msgspec

from leadfeeder_async.errors import DatabaseError, DatabaseLockedError, check_argument
from leadfeeder_async.jobs.duckdb_file import (
    Connection,
    check_creatable,
    check_files,
    create_database,
    hide_progress_bar,
    open_writable,
    require_duckdb,
    translate_errors,
)
from leadfeeder_async.jobs.sync.schema import (
    ADDED_COLUMNS,
    Types,
    check_newest_version,
    expected_types,
    read_types,
    schema_sql,
)
from leadfeeder_async.jobs.sync.transaction import SyncState, Transaction

T = TypeVar("T")

LoadRows: TypeAlias = "Callable[[Connection], None]"
"""Creates temporary tables."""

RETRY_INTERVAL = 0.1
"""Seconds between two attempts of a run to merge rows or to open the spool. Other tasks run meanwhile."""

MAX_WAIT_FOR_READER = 0.5
"""Seconds to wait for a reader that has the file open.

After that, the next slice is read, and both are merged together, which is slower.
"""

_RUN_AGAIN = "Nothing was written since then. Put the synced file back, and run the same call again."

_WRITE_LOG = "COMMENT ON TABLE sync_state IS 'The days of each account that are synced'"
"""A small change of its own, before each transaction.

If the first change of a connection does not fit on the disk, DuckDB 1.2 and 1.3 drop the log. A log of earlier
connections was written to the database when the file was opened.
"""

_DATA_SUFFIXES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"})
"""DuckDB would open such a file as data, in a view that is lost when the process ends."""


def check_usable(path: Path) -> None:
    """Raise ConfigurationError if DuckDB is not installed, or would not open ``path`` as a database."""
    check_argument(
        path.suffix.lower() not in _DATA_SUFFIXES,
        f"{path} has the suffix of a data file, not of a database.",
        "Use the suffix .duckdb.",
    )
    require_duckdb("A sync", "duckdb")


class Committed(msgspec.Struct, Generic[T], frozen=True):
    """The result of a transaction that was committed."""

    result: T


class SyncDatabase:
    """A synced database, which is open only during transactions. A context manager.

    Args:
        path: The file. The first transaction creates it if it does not exist.
        wait: The seconds to wait for a file that is open elsewhere.
    """

    def __init__(self, path: Path, wait: float) -> None:
        self._path = path
        self._wait = wait
        self._locked_since: float | None = None
        self._checked: tuple[int, int] | None = None
        """The identity of the file whose tables were checked."""
        self._types: Types = {}
        self._states: dict[str, SyncState] | None = None
        """The synced days by account at the end of the last transaction."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leadfeeder-sync")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True)

    @property
    def exists(self) -> bool:
        """True if the file exists."""
        return self._path.exists()

    def check_file(self) -> None:
        """Raise DatabaseError if the path is not a regular file, or DuckDB did not write a log beside it."""
        with translate_errors(self._path):
            check_files(self._path)

    async def read_states(self) -> dict[str, SyncState]:
        """Return the days that are synced, by account.

        Raises:
            DatabaseError: The file cannot be used, or cannot be created.
        """
        if self.exists:
            return await self.transact(Transaction.read_states)
        check_creatable(self._path)
        self._states = {}
        return {}

    async def transact(self, work: Callable[[Transaction], T], load: LoadRows | None = None) -> T:
        """Run ``work`` in one transaction. Either all of its changes are committed or none.

        Args:
            work: Changes rows.
            load: Creates temporary tables for ``work``. Other processes can open the file meanwhile.

        Raises:
            DatabaseLockedError: The file was open elsewhere for too long.
        """
        while True:
            done = await self.try_transact(work, load)
            if done is not None:
                return done.result
            await asyncio.sleep(RETRY_INTERVAL)

    async def try_transact(self, work: Callable[[Transaction], T], load: LoadRows | None = None) -> Committed[T] | None:
        """Run ``work`` in one transaction, or return None if the file is open elsewhere and ``wait`` has not passed."""
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work, load)
        except DatabaseLockedError:
            now = time.monotonic()
            self._locked_since = now if self._locked_since is None else self._locked_since
            if now - self._locked_since >= self._wait:
                raise
            return None
        self._locked_since = None
        return Committed(result)

    def _transact(self, work: Callable[[Transaction], T], load: LoadRows | None) -> T:
        if self._states and not self.exists:
            raise DatabaseError(f"{self._path} was moved or removed during the sync.", hint=_RUN_AGAIN)
        create_database(self._path, schema_sql())
        try:
            return self._run(work, load, is_bounded=True)
        except DatabaseError as error:
            if error.reason != "unusable":
                raise
        # An error without a known reason may be a lack of memory, which very long rows need.
        return self._run(work, load, is_bounded=False)

    def _run(self, work: Callable[[Transaction], T], load: LoadRows | None, *, is_bounded: bool) -> T:
        opened = open_writable(self._path, is_bounded=is_bounded, wait=min(self._wait / 4, MAX_WAIT_FOR_READER))
        with translate_errors(self._path), opened as database:
            connection = database.connection
            types = self._prepare(connection)
            connection.execute("SET SESSION TimeZone = 'UTC'")
            hide_progress_bar(connection)
            if load is not None:
                with database.released():
                    load(connection)
            connection.execute(_WRITE_LOG)
            connection.execute("BEGIN")
            try:
                transaction = Transaction(connection, types)
                self._check_states(transaction)
                result, states = work(transaction), transaction.read_states()
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            self._states = states
            return result

    def _check_states(self, transaction: Transaction) -> None:
        """Raise DatabaseError if the synced days are not those that this run has written or read before."""
        has_states = ("sync_state", "version") in self._types
        if self._states is not None and (transaction.read_states() if has_states else {}) != self._states:
            raise DatabaseError(f"Another program replaced {self._path} during the sync.", hint=_RUN_AGAIN)

    def _prepare(self, connection: Connection) -> Types:
        """Check the tables of a file and add missing ones, once in a run. Return the types of all columns."""
        file = self._path.stat()
        if self._checked == (file.st_dev, file.st_ino):
            check_newest_version(connection, self._path)
        else:
            self._types = _check_schema(connection, self._path)
            if self._states:  # before anything is written to another file
                self._check_states(Transaction(connection, self._types))
            connection.execute(schema_sql())
            if not self._types.keys() >= expected_types().keys():
                self._types = read_types(connection)
            self._checked = file.st_dev, file.st_ino
        return self._types


def _check_schema(connection: Connection, path: Path) -> Types:
    """Return the types of all columns.

    Raises:
        DatabaseError: A newer version wrote the database, or it has other tables of these names. Nothing changes.
    """
    types = read_types(connection)
    if ("sync_state", "version") in types:
        check_newest_version(connection, path)
    tables = {table for table, _ in types}
    expected = {key: kind for key, kind in expected_types().items() if key in types or key not in ADDED_COLUMNS}
    different = sorted(key for key, kind in expected.items() if key[0] in tables and types.get(key) != kind)
    if different:
        table, column = different[0]
        raise DatabaseError(
            f"{path} has a different table {table!r}: its column {column!r} is missing or has another type.",
            hint="Choose another file. This one was not changed.",
            reason="not_synced",
        )
    return types
