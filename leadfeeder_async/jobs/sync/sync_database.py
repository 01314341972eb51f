"""The database file: one transaction at a time, in a thread of its own.

A transaction of a page's rows takes some 20 ms, and its commit waits for the disk, so it must not hold up the event
loop, where up to 16 pages are under way. Only one thread speaks to the connection: the order is kept, and closing waits
for the transaction that runs, whatever was cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from leadfeeder_async.errors import DatabaseError, DatabaseLockedError, check_argument
from leadfeeder_async.jobs.sync.transaction import Transaction, read_types

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

VERSION = 1
"""The version of the tables, kept with each account's state."""


class SyncDatabase:
    """A synced database, open in this process. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_new = not path.exists()
        with translate_duckdb_errors(path):
            self._connection = _open(path)
            self._types = read_types(self._connection)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leadfeeder-sync")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True)
        with translate_duckdb_errors(self._path):
            self._connection.close()
        if self._is_new:
            _remove_if_empty(self._path)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Do ``work`` in one transaction: all of it is kept, or nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[Transaction], T]) -> T:
        with translate_duckdb_errors(self._path):
            self._connection.execute("BEGIN")
            try:
                result = work(Transaction(self._connection, self._types))
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
            return result


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the database at ``path``; make it first, under another name until its tables are there."""
    import duckdb  # noqa: PLC0415 - an extra

    if not path.exists():
        _create(path)
    elif _is_of_sqlite(path):  # DuckDB would fetch from the net what reads it
        raise _problem(path, _FOREIGN)
    connection = duckdb.connect(str(path))
    try:
        _check_version(connection, path)
        _check_tables(connection, path)
        connection.execute(_schema())
    except BaseException:
        connection.close()
        raise
    return connection


def _is_of_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _create(path: Path) -> None:
    import duckdb  # noqa: PLC0415 - an extra

    fresh = path.with_name(path.name + ".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(fresh)
    try:
        with duckdb.connect(str(fresh)) as made:
            made.execute(_schema())
            made.execute("CHECKPOINT")
        fresh.rename(path)
    except BaseException:
        _remove(fresh)
        raise


def _remove(fresh: Path) -> None:
    """Remove a database that is not made to its end, which on a full disk would be in the way."""
    for one in (fresh, fresh.with_name(fresh.name + ".wal")):
        one.unlink(missing_ok=True)


def _remove_if_empty(path: Path) -> None:
    """Remove what a sync left that failed before its first page, unless anybody has it open, who may add rows."""
    import duckdb  # noqa: PLC0415 - an extra

    with suppress(duckdb.Error, OSError), duckdb.connect(str(path), read_only=True) as alone:
        if _is_empty(alone):
            path.unlink()


def _is_empty(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether no table holds a row."""
    tables = sorted({table for table, _ in read_types(connection)})
    rows = " UNION ALL ".join(f'SELECT 1 FROM "{table}"' for table in tables)  # noqa: S608 - names of ours
    return connection.execute(f"SELECT 1 FROM ({rows}) LIMIT 1").fetchone() is None  # noqa: S608


def _schema() -> str:
    return (files("leadfeeder_async.jobs.sync") / "schema.sql").read_text(encoding="utf-8")


def _check_version(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    if not connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'sync_state'").fetchone():
        return
    newest = connection.execute("SELECT max(version) FROM sync_state").fetchone()
    if newest and newest[0] is not None and newest[0] > VERSION:
        raise DatabaseError(
            f"{path} was written by a newer version of this package (tables {newest[0]}, here {VERSION}).",
            hint="Upgrade with pip install --upgrade 'leadfeeder-async[duckdb]', or choose another file.",
        )


def _check_tables(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Refuse a file whose own tables have our names, before anything is changed in it."""
    import duckdb  # noqa: PLC0415 - an extra

    with duckdb.connect() as blank:
        blank.execute(_schema())
        wanted = read_types(blank)
    found = read_types(connection)
    present = {table for table, _ in found}
    wrong = sorted(key for key, kind in wanted.items() if key[0] in present and found.get(key) != kind)
    if wrong:
        raise DatabaseError(
            f"{path} has a table {wrong[0][0]!r} of another shape: its column {wrong[0][1]!r} is missing or different.",
            hint="Choose another file; this one was not changed.",
        )


_DATA = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"})
"""DuckDB takes files called so for data, and would open them as a view that goes with the process."""


def check_usable(path: Path) -> None:
    """Raise ConfigurationError where DuckDB is missing, or would not take ``path`` for a database."""
    check_argument(path.suffix.lower() not in _DATA, f"{path} is not a database's name.", "Name it .duckdb.")
    found = find_spec("duckdb") is not None
    check_argument(found, "A sync needs DuckDB, which keeps its tables.", "pip install 'leadfeeder-async[duckdb]'")


@contextmanager
def translate_duckdb_errors(path: Path) -> Generator[None]:
    """Say what is wrong with the database, and what to do."""
    import duckdb  # noqa: PLC0415 - an extra

    try:
        yield
    except duckdb.Error as error:
        raise _problem(path, str(error)) from error
    except OSError as error:
        raise _problem(path, error.strerror or str(error)) from error


def _problem(path: Path, said: str) -> DatabaseError:
    for sign, problem, hint in _PROBLEMS:
        if sign in said:
            kind = DatabaseLockedError if sign == _LOCKED else DatabaseError
            return kind(f"{path} {problem}.", hint=hint)
    first = said.splitlines()[0]
    return DatabaseError(
        f"{path} cannot be used: {first}", hint="Everything committed before is kept; mend that and sync again."
    )


_LOCKED, _FOREIGN = "Could not set lock", "not a valid DuckDB"

_KEPT = "Everything committed is kept: make room and run the same sync again."

_PROBLEMS = (
    (_LOCKED, "is open in another process", "Wait for it, close it there, or choose another file."),
    (_FOREIGN, "exists and is not a DuckDB database", "Choose another name; the file was not touched."),
    ("version number", "was written by a newer DuckDB", "Upgrade with pip install --upgrade duckdb."),
    ("No space left", "cannot grow: the disk is full", _KEPT),
    ("File too large", "cannot grow: a limit on the size of files is reached", _KEPT),
)
