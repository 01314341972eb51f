"""The tables of a synced database."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

from leadfeeder_async.errors import DatabaseError
from leadfeeder_async.jobs.duckdb_file import Connection, connect_in_memory

VERSION = 4
"""The version of the tables, saved with the state of each account. Files of earlier versions are continued.

Files of version 1 have an index for each table, and keep it.
"""


def check_newest_version(connection: Connection, path: Path) -> None:
    """Raise DatabaseError if a newer version of this package wrote the database."""
    row = connection.execute("SELECT max(version) FROM sync_state").fetchone()
    version = row[0] if row else None
    if version is not None and version > VERSION:
        raise DatabaseError(
            f"{path} was written by a newer version of this package (table version {version}, not {VERSION}).",
            hint="Upgrade leadfeeder-async, or choose another file.",
            reason="newer_version",
        )


FIRST_SEEN = "first_seen_at"
"""The column with the time at which a row was first written. It is in no response."""

TABLES_WITH_FIRST_SEEN = frozenset({"visits", "companies"})

ADDED_COLUMNS = frozenset(
    {
        ("sync_state", "reread_on"),
        ("sync_state", "account_name"),
        ("sync_state", "previous_finished_at"),
        ("sync_state", "visit_counts"),
        *((table, FIRST_SEEN) for table in TABLES_WITH_FIRST_SEEN),
    }
)
"""The columns that files of earlier versions do not have. A sync adds them, and keeps all rows."""

Types: TypeAlias = "dict[tuple[str, str], str]"
"""The SQL types of columns, by table and column."""

KEYS = {
    "visits": ("account_id", "id"),
    "engagements": ("account_id", "visit_id", "step"),
    "companies": ("account_id", "id"),
    "locations": ("account_id", "id"),
    "tags": ("account_id", "id"),
    "lists": ("account_id", "id"),
    "usage": ("account_id", "month", "method", "endpoint"),
    "credits": ("account_id", "seen_at"),
    "sync_state": ("account_id",),
}
"""The tables and their keys."""


def schema_sql() -> str:
    """Return the statements that create missing tables and columns."""
    return (files("leadfeeder_async.jobs.sync") / "schema.sql").read_text(encoding="utf-8")


@cache
def expected_types() -> Types:
    """Return the types of all columns of this version. The caller must not change the result."""
    with connect_in_memory() as connection:
        connection.execute(schema_sql())
        return read_types(connection)


def read_types(connection: Connection) -> Types:
    """Return the types of all columns of a database."""
    return {(table, column): type_ for table, column, type_ in connection.execute(_TYPES).fetchall()}


# Views do not count, and DuckDB 1.2 adds its own to each database.
_TYPES = """
SELECT table_name, column_name, data_type FROM duckdb_columns()
WHERE database_name = current_database() AND schema_name = current_schema() AND NOT internal AND table_name IN (
    SELECT table_name FROM duckdb_tables()
    WHERE database_name = current_database() AND schema_name = current_schema()
)
"""
