"""What is done to the tables inside one transaction, and the SQL for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    import duckdb

Value: TypeAlias = "str | int | float | bool | list[str] | None"
"""A value of a row: days and times are ISO 8601 texts."""

Row: TypeAlias = "dict[str, Value]"

Types: TypeAlias = "dict[tuple[str, str], str]"
"""The SQL types of columns, by table and name."""

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
"""The tables, and what makes a row of each the same row."""

KEEP_IF_NULL = {"companies": frozenset({"tag_ids", "list_ids"})}
"""The columns where null means that the server did not show them this time."""


class SyncChanges(msgspec.Struct, frozen=True):
    """What became of a table's rows; those that came again unchanged are not counted."""

    new: int = 0
    updated: int = 0
    removed: int = 0

    def __add__(self, other: SyncChanges) -> SyncChanges:
        return SyncChanges(self.new + other.new, self.updated + other.updated, self.removed + other.removed)


class SyncState(msgspec.Struct, frozen=True):
    """The days of an account that the database holds, both included."""

    first_day: date
    last_day: date


class Transaction:
    """Changes rows and counts what became of them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, types: Types) -> None:
        self._connection = connection
        self._types = types
        self.changes = dict.fromkeys(KEYS, SyncChanges())

    def upsert(self, table: str, rows: Sequence[Row]) -> None:
        """Insert rows, or replace those with the same keys; rows of nothing but keys replace none."""
        for columns in sorted({tuple(row) for row in rows}, key=len, reverse=True):  # those with more to tell first
            self._upsert(table, columns, [row for row in rows if tuple(row) == columns])

    def _upsert(self, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
        unique = {tuple(str(row[key]) for key in KEYS[table]): row for row in rows}.values()
        before = self._number(f'SELECT count(*) FROM "{table}"')  # noqa: S608 - a name of ours
        statement = upsert_sql(table, columns, self._types)
        affected = self._number(statement, [[row[column] for row in unique] for column in columns])
        new = self._number(f'SELECT count(*) FROM "{table}"') - before  # noqa: S608 - a name of ours
        self.changes[table] += SyncChanges(new=new, updated=affected - new)

    def replace_all(self, table: str, account_id: str, rows: Sequence[Row]) -> None:
        """Make an account's rows those that the server has, and no others."""
        self.upsert(table, rows)
        gone = f'DELETE FROM "{table}" WHERE account_id = ? AND id NOT IN (SELECT UNNEST(?::VARCHAR[]))'  # noqa: S608
        removed = self._number(gone, [account_id, [row["id"] for row in rows]])
        self.changes[table] += SyncChanges(removed=removed)

    def delete_stale_engagements(self, account_id: str, steps: dict[str, int]) -> None:
        """Remove what visits no longer have beyond their number of steps."""
        removed = self._number(_CUT, [list(steps), list(steps.values()), account_id])
        self.changes["engagements"] += SyncChanges(removed=removed)

    def read_state(self, account_id: str) -> SyncState | None:
        """Read the days that are here; None before the first were."""
        found = self._connection.execute(_STATE, [account_id]).fetchone()
        return SyncState(*found) if found else None

    def _number(self, statement: str, values: Iterable[object] = ()) -> int:
        found = self._connection.execute(statement, list(values)).fetchone()
        return int(found[0]) if found else 0


def read_types(connection: duckdb.DuckDBPyConnection) -> Types:
    """Read the types of all columns, by table and name."""
    return {(table, column): kind for table, column, kind in connection.execute(_TYPES).fetchall()}


def upsert_sql(table: str, columns: Sequence[str], types: Types) -> str:
    """Return the statement that takes one list of values for each column.

    Lists are some thirty times as fast as a statement for each row. A value that is not of its column's type
    becomes null. A row that would not change is left alone, so that days read again write nothing.
    """
    shown = ", ".join(f"TRY_CAST(UNNEST(?) AS {types[table, column]})" for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    changed = {column: _incoming(table, column) for column in columns if column not in KEYS[table]}
    statement = f'INSERT INTO "{table}" ({names}) SELECT {shown} ON CONFLICT DO '
    if not changed:
        return statement + "NOTHING"
    sets = ", ".join(f'"{column}" = {incoming}' for column, incoming in changed.items())
    differs = " OR ".join(f'"{table}"."{column}" IS DISTINCT FROM {incoming}' for column, incoming in changed.items())
    return f"{statement}UPDATE SET {sets} WHERE {differs}"


def _incoming(table: str, column: str) -> str:
    incoming = f'excluded."{column}"'
    return f'COALESCE({incoming}, "{table}"."{column}")' if column in KEEP_IF_NULL.get(table, ()) else incoming


_TYPES = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = current_database()"

_STATE = "SELECT first_day, last_day FROM sync_state WHERE account_id = ? AND last_day IS NOT NULL"

_CUT = """
DELETE FROM engagements USING (SELECT UNNEST(?::VARCHAR[]) AS visit_id, UNNEST(?::INTEGER[]) AS steps) AS whole
WHERE engagements.account_id = ? AND engagements.visit_id = whole.visit_id AND engagements.step > whole.steps
"""
