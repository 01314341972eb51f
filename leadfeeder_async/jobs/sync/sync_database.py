"""The database of a sync: one transaction at a time, in a thread of its own.

A transaction with the rows of a page takes some 20 ms, and its commit waits for the disk. It must not block the event
loop, which has up to 16 pages in flight. Only one thread uses the connection. The order of transactions is therefore
kept, and closing waits for the one that is running, even if its task was canceled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from leadfeeder_async.errors import DatabaseError, check_argument
from leadfeeder_async.jobs.duckdb_file import (
    Connection,
    create_database,
    open_read_only,
    open_writable,
    remove_database,
    require_duckdb,
    translate_errors,
)
from leadfeeder_async.jobs.sync.schema import VERSION, expected_types, read_types, schema_sql
from leadfeeder_async.jobs.sync.transaction import Transaction

T = TypeVar("T")

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


class SyncDatabase:
    """A synced database, open for writing. A context manager.

    Args:
        path: The file. It is created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_new = create_database(path, schema_sql())
        self._connection = open_writable(path)
        try:
            with translate_errors(path):
                _check_schema(self._connection, path)
                self._connection.execute(schema_sql())
                self._types = read_types(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leadfeeder-sync")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True)
        with translate_errors(self._path):
            self._connection.close()
        if self._is_new:
            _remove_if_empty(self._path)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in one transaction. Either all of its changes are committed or none."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[Transaction], T]) -> T:
        with translate_errors(self._path):
            self._connection.execute("BEGIN")
            try:
                result = work(Transaction(self._connection, self._types))
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
            return result


def _check_schema(connection: Connection, path: Path) -> None:
    """Refuse a database of a newer version, or whose own tables have our names, before anything in it changes."""
    types = read_types(connection)
    if ("sync_state", "version") in types:
        newest = connection.execute("SELECT max(version) FROM sync_state").fetchone()
        if newest and newest[0] is not None and newest[0] > VERSION:
            raise DatabaseError(
                f"{path} was written by a newer version of this package (tables {newest[0]}, not {VERSION}).",
                hint="Upgrade with pip install --upgrade 'leadfeeder-async[duckdb]', or choose another file.",
                reason="newer_version",
            )
    tables = {table for table, _ in types}
    different = sorted(key for key, kind in expected_types().items() if key[0] in tables and types.get(key) != kind)
    if different:
        table, column = different[0]
        raise DatabaseError(
            f"{path} has a different table {table!r}: its column {column!r} is missing or has another type.",
            hint="Choose another file. This one was not changed.",
            reason="not_synced",
        )


def _remove_if_empty(path: Path) -> None:
    """Delete an empty database left by a sync that failed before its first page.

    If another process has it open, that process may add rows, and the file stays.
    """
    with suppress(DatabaseError), open_read_only(path) as connection:
        if _is_empty(connection):
            remove_database(path, connection)


def _is_empty(connection: Connection) -> bool:
    """Return True if no table has a row."""
    tables = sorted({table for table, _ in read_types(connection)})
    rows = " UNION ALL ".join(f'SELECT 1 FROM "{table}"' for table in tables)  # noqa: S608 - names of our tables
    return connection.execute(f"SELECT 1 FROM ({rows}) LIMIT 1").fetchone() is None  # noqa: S608
