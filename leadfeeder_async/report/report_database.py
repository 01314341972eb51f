"""Opening a synced database for reading: only the right kind, never for writing, never with a network."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from leadfeeder_async.errors import DatabaseError, DatabaseLockedError, check_argument
from leadfeeder_async.jobs.sync.sync_database import VERSION

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")

_SYNC = "Make the database with `leadfeeder sync`."
_CLOSED = {"autoinstall_known_extensions": False, "autoload_known_extensions": False, "enable_external_access": False}
_COLUMNS = "SELECT table_name || '.' || column_name || ' ' || data_type AS name FROM information_schema.columns"


class SchemaColumn(msgspec.Struct, frozen=True):
    """A column of a table, and its type."""

    name: str


@contextmanager
def open_database(path: Path) -> Generator[DuckDBPyConnection]:
    """Open the database at ``path`` read-only, with its times in UTC.

    Raises ConfigurationError where DuckDB is not installed, DatabaseLockedError where something writes to it, and
    DatabaseError where it is missing, no DuckDB database, or not of this package's schema.
    """
    check_argument(find_spec("duckdb") is not None, "A report needs DuckDB.", "pip install 'leadfeeder-async[duckdb]'")
    if not path.is_file():
        raise DatabaseError(f"There is no database at {path}.", hint=_SYNC)
    database = _connect(path)
    try:
        database.execute("SET TimeZone = 'UTC'")
        _check_schema(database, path)
        yield database
    finally:
        database.close()


def _connect(path: Path) -> DuckDBPyConnection:
    import duckdb  # noqa: PLC0415 - an extra

    try:
        return duckdb.connect(path, read_only=True, config={**_CLOSED})
    except duckdb.ConnectionException:
        raise DatabaseLockedError(
            f"This process has {path} open already.", hint="Close that connection before the report is made."
        ) from None
    except duckdb.Error as error:
        if "lock" in str(error) or "used by another process" in str(error):
            raise DatabaseLockedError(f"Something is writing to {path}: {_first_line(error)}") from None
        raise DatabaseError(f"{path} cannot be read as a DuckDB database: {_first_line(error)}", hint=_SYNC) from None


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def rows(
    database: DuckDBPyConnection, query: str, kind: type[T], parameters: Mapping[str, object] | None = None
) -> tuple[T, ...]:
    """Return what a query gives, each row as a Struct with the names of its columns."""
    found = database.execute(query, parameters or {})
    names = [str(column[0]) for column in found.description]
    return tuple(msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in found.fetchall())


class _Version(msgspec.Struct, frozen=True):
    version: int


def _check_schema(database: DuckDBPyConnection, path: Path) -> None:
    missing = _expected_columns() - {one.name for one in rows(database, _COLUMNS, SchemaColumn)}
    if missing:
        some = ", ".join(sorted(missing)[:3])
        raise DatabaseError(f"{path} is not a synced database: it has no {some}, for example.", hint=_SYNC)
    for found in rows(database, "SELECT DISTINCT version FROM sync_state", _Version):
        if found.version != VERSION:
            raise DatabaseError(
                f"{path} has schema version {found.version}, and this package reads {VERSION}.",
                hint="Use the version of leadfeeder-async that synced it, or sync into a new file.",
            )


def _expected_columns() -> set[str]:
    import duckdb  # noqa: PLC0415 - an extra

    with duckdb.connect(config={**_CLOSED}) as empty:
        empty.execute(files("leadfeeder_async.jobs.sync").joinpath("schema.sql").read_text("utf-8"))
        return {one.name for one in rows(empty, _COLUMNS, SchemaColumn)}
