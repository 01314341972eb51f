"""Changes of the tables inside one transaction, and their SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import TypeAlias

import msgspec

from leadfeeder_async.jobs.duckdb_file import Connection
from leadfeeder_async.jobs.sync.schema import KEYS, Types

Value: TypeAlias = "str | int | float | bool | list[str] | None"
"""A value of a row. Days and times are ISO 8601 strings."""

Row: TypeAlias = "dict[str, Value]"

KEEP_IF_NULL = {"companies": frozenset({"tag_ids", "list_ids"})}
"""Columns in which null means that the response did not include them, so that a known value is kept."""


class SyncChanges(msgspec.Struct, frozen=True):
    """The changes of a table's rows. Rows that were read again without a change are not counted."""

    new: int = 0
    updated: int = 0
    removed: int = 0

    def __add__(self, other: SyncChanges) -> SyncChanges:
        return SyncChanges(self.new + other.new, self.updated + other.updated, self.removed + other.removed)


class SyncState(msgspec.Struct, frozen=True):
    """The days of an account that are synced, from the first to the last."""

    first_day: date
    last_day: date


class Transaction:
    """Changes rows and counts the changes.

    Args:
        connection: The connection, inside a transaction.
        types: The types of all columns.
    """

    def __init__(self, connection: Connection, types: Types) -> None:
        self._connection = connection
        self._types = types
        self.changes = dict.fromkeys(KEYS, SyncChanges())

    def upsert(self, table: str, rows: Sequence[Row]) -> None:
        """Insert rows, or replace those with the same keys. A row with only key columns replaces nothing."""
        for columns in sorted({tuple(row) for row in rows}, key=len, reverse=True):  # complete rows first
            self._upsert(table, columns, [row for row in rows if tuple(row) == columns])

    def _upsert(self, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
        unique = {tuple(str(row[key]) for key in KEYS[table]): row for row in rows}.values()
        before = self._number(f'SELECT count(*) FROM "{table}"')  # noqa: S608 - the name of our table
        statement = upsert_sql(table, columns, self._types)
        affected = self._number(statement, [[row[column] for row in unique] for column in columns])
        new = self._number(f'SELECT count(*) FROM "{table}"') - before  # noqa: S608 - the name of our table
        self.changes[table] += SyncChanges(new=new, updated=affected - new)

    def replace_all(self, table: str, account_id: str, rows: Sequence[Row]) -> None:
        """Insert or replace the rows of an account, and delete all its other rows."""
        self.upsert(table, rows)
        gone = f'DELETE FROM "{table}" WHERE account_id = ? AND id NOT IN (SELECT UNNEST(?::VARCHAR[]))'  # noqa: S608
        removed = self._number(gone, [account_id, [row["id"] for row in rows]])
        self.changes[table] += SyncChanges(removed=removed)

    def delete_stale_engagements(self, account_id: str, steps: dict[str, int]) -> None:
        """Delete the engagements of visits beyond their number of steps."""
        removed = self._number(_DELETE_STALE, [list(steps), list(steps.values()), account_id])
        self.changes["engagements"] += SyncChanges(removed=removed)

    def read_state(self, account_id: str) -> SyncState | None:
        """Return the days of an account that are synced, or None if there are none."""
        row = self._connection.execute(_STATE, [account_id]).fetchone()
        return SyncState(*row) if row else None

    def _number(self, statement: str, values: Iterable[object] = ()) -> int:
        row = self._connection.execute(statement, list(values)).fetchone()
        return int(row[0]) if row else 0


def upsert_sql(table: str, columns: Sequence[str], types: Types) -> str:
    """Return the statement that inserts or replaces rows. Its parameters are one list of values per column.

    Lists are about thirty times as fast as one statement per row. A value that does not fit the type of its column
    becomes null. A row that would not change is not written, so reading days again writes nothing.
    """
    # Numbered, because DuckDB 1.x numbers the question marks of an INSERT in another order.
    selected = ", ".join(
        f"TRY_CAST(UNNEST(${number}) AS {types[table, column]})" for number, column in enumerate(columns, 1)
    )
    names = ", ".join(f'"{column}"' for column in columns)
    changed = {column: _incoming(table, column) for column in columns if column not in KEYS[table]}
    statement = f'INSERT INTO "{table}" ({names}) SELECT {selected} ON CONFLICT DO '
    if not changed:
        return statement + "NOTHING"
    sets = ", ".join(f'"{column}" = {incoming}' for column, incoming in changed.items())
    differs = " OR ".join(f'"{table}"."{column}" IS DISTINCT FROM {incoming}' for column, incoming in changed.items())
    return f"{statement}UPDATE SET {sets} WHERE {differs}"


def _incoming(table: str, column: str) -> str:
    incoming = f'excluded."{column}"'
    return f'COALESCE({incoming}, "{table}"."{column}")' if column in KEEP_IF_NULL.get(table, ()) else incoming


_STATE = "SELECT first_day, last_day FROM sync_state WHERE account_id = ? AND last_day IS NOT NULL"

_DELETE_STALE = """
DELETE FROM engagements USING (SELECT UNNEST($1::VARCHAR[]) AS visit_id, UNNEST($2::INTEGER[]) AS steps) AS visit
WHERE engagements.account_id = $3 AND engagements.visit_id = visit.visit_id AND engagements.step > visit.steps
"""
