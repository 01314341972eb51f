"""The synced database of a report, opened read-only and checked for its tables."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from leadfeeder_async.errors import DatabaseError
from leadfeeder_async.jobs.duckdb_file import Connection, open_read_only, require_duckdb
from leadfeeder_async.jobs.sync.schema import ADDED_COLUMNS, check_newest_version, expected_types, read_types

T = TypeVar("T")

_SYNC_HINT = "Create the database with `sync_account`."


@contextmanager
def open_database(path: Path) -> Generator[Connection]:
    """Open a synced database for reading, with its times in UTC.

    Raises:
        ConfigurationError: DuckDB is not installed.
        DatabaseLockedError: The database is open for writing.
        DatabaseError: The file does not exist, is not a DuckDB database, or has other tables.
    """
    require_duckdb("A report", "duckdb")
    if not path.is_file():
        raise DatabaseError(f"There is no database at {path}.", hint=_SYNC_HINT, reason="missing")
    with open_read_only(path) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _check_schema(connection, path)
        yield connection


def rows(
    connection: Connection, query: str, kind: type[T], parameters: Mapping[str, object] | None = None
) -> tuple[T, ...]:
    """Return the rows of a query, each as a Struct that has the columns as fields."""
    result = connection.execute(query, parameters or {})
    names = [str(column[0]) for column in result.description]
    return tuple(msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in result.fetchall())


def _check_schema(connection: Connection, path: Path) -> None:
    needed = {(key, kind) for key, kind in expected_types().items() if key not in ADDED_COLUMNS}
    missing = needed - read_types(connection).items()
    if missing:
        columns = sorted(f"{table}.{column} {type_}" for (table, column), type_ in missing)
        raise DatabaseError(
            f"{path} is not a synced database: it has no {', '.join(columns[:3])}, for example.",
            hint=_SYNC_HINT,
            reason="not_synced",
        )
    check_newest_version(connection, path)
