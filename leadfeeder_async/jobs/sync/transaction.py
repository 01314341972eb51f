"""Changes of the tables inside one transaction.

Rows are merged as sets: all new rows with one statement, and all changed ones with another. Both return the number of
rows, so nothing is counted before or after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TypeAlias

import msgspec

from leadfeeder_async._core.normalize import UNREADABLE
from leadfeeder_async.jobs.duckdb_file import Connection
from leadfeeder_async.jobs.sync import merge_sql, spool_sql
from leadfeeder_async.jobs.sync.schema import KEYS, VERSION, Types
from leadfeeder_async.pagination.date_range import DateWindow

Value: TypeAlias = "str | int | float | bool | list[str] | None"
"""A value of a row. Days and times are ISO 8601 strings."""

Row: TypeAlias = "dict[str, Value]"


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
    reread_on: date | None = None
    """The day on which all days of the lookback were last read."""
    visit_counts: Mapping[str, int] = msgspec.field(default_factory=dict[str, int])
    """The visits of recent days (ISO 8601), as the server counted them before they were last read.

    The database can differ: it keeps visits that were deleted, and the days of the server may not be those in UTC.
    """


def load_spool(path: Path, max_line_bytes: int, connection: Connection) -> None:
    """Load all rows of a spool into a temporary table.

    Args:
        path: The spool.
        max_line_bytes: The bytes that no line exceeds, or 0 for ``DEFAULT_MAX_LINE_BYTES``.
        connection: A connection.
    """
    select = spool_sql.select_spool(path, max_line_bytes)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE spool AS {select}")
    connection.execute(spool_sql.DELETE_REPEATED_VISITS)


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
            same = [row for row in rows if tuple(row) == columns]
            source = merge_sql.select_rows(table, columns, self._types)
            self._merge(table, columns, source, [msgspec.json.encode(same).decode()])

    def replace_all(self, table: str, account_id: str, rows: Sequence[Row]) -> None:
        """Insert or replace the rows of an account, and delete all its other rows."""
        self.upsert(table, rows)
        gone = f'DELETE FROM "{table}" WHERE account_id = ? AND id NOT IN (SELECT UNNEST(?::VARCHAR[]))'  # noqa: S608
        removed = self._execute_and_count(gone, [account_id, [row["id"] for row in rows]])
        self.changes[table] += SyncChanges(removed=removed)

    def merge_spool(self, account_id: str) -> None:
        """Merge all rows of the spool that ``load_spool`` has loaded.

        Args:
            account_id: The account of the rows.
        """
        has_known_visits = False
        for source in spool_sql.sources(self._types):
            known = self._merge(source.table, source.columns, source.select, [account_id], is_unique=source.is_unique)
            has_known_visits |= source.table == "visits" and known > 0
        if has_known_visits:
            removed = self._execute_and_count(spool_sql.DELETE_STALE_ENGAGEMENTS, [account_id])
            self.changes["engagements"] += SyncChanges(removed=removed)
        for name in ("spool", "incoming", "known"):
            self._connection.execute(f"DROP TABLE IF EXISTS temp.{name}")

    def read_states(self) -> dict[str, SyncState]:
        """Return the days that are synced, by account."""
        states = dict[str, SyncState]()
        for account, first_day, last_day, reread_on, counts in self._connection.execute(_STATES).fetchall():
            states[str(account)] = SyncState(first_day, last_day, reread_on, _counts_in(counts))
        return states

    def save_state(self, account_id: str, state: SyncState, *, is_finished: bool = False) -> None:
        """Save the days of an account that are synced.

        Args:
            account_id: The account.
            state: The days.
            is_finished: True if this is the end of a run. Its time is that of ``first_seen_at`` in this transaction,
                by the clock of this machine, so that both can be compared.
        """
        row: Row = {
            "account_id": account_id,
            "version": VERSION,
            "first_day": state.first_day.isoformat(),
            "last_day": state.last_day.isoformat(),
            "reread_on": state.reread_on.isoformat() if state.reread_on else None,
            "visit_counts": msgspec.json.encode(state.visit_counts, order="sorted").decode(),
        }
        if is_finished:
            previous, now = self._select_time(_FINISHED_AT, [account_id]), self._select_time(_NOW)
            row |= {"finished_at": now, "previous_finished_at": previous}
        self.upsert("sync_state", [row])

    def _select_time(self, statement: str, values: Sequence[object] = ()) -> str | None:
        found = self._connection.execute(statement, list(values)).fetchone()
        return found[0].isoformat() if found and found[0] else None

    def last_visit_day(self, account_id: str, until: date) -> date | None:
        """Return the day of the last visit of an account up to a day, or None without visits."""
        row = self._connection.execute(_LAST_VISIT_DAY, [account_id, until]).fetchone()
        return row[0] if row else None

    def save_account_name(self, account_id: str, name: str | None) -> None:
        """Save the name of an account. None keeps the name."""
        if name is not None:
            self._execute_and_count("UPDATE sync_state SET account_name = ? WHERE account_id = ?", [name, account_id])

    def count_visits(self, account_id: str, window: DateWindow) -> int:
        """Return the number of visits of some days."""
        return self._execute_and_count(_COUNT_VISITS, [account_id, window.start, window.end])

    def range_with_unnamed(self, account_id: str, known_ids: Sequence[str]) -> DateWindow | None:
        """Return the range of the visits of unnamed companies that were first written after the last finished sync.

        Args:
            account_id: The account.
            known_ids: The companies of which it is known that they have no name. They do not count.
        """
        row = self._connection.execute(_DAYS_OF_UNNAMED, [account_id, list(known_ids)]).fetchone()
        return DateWindow(row[0], row[1]) if row and row[0] else None

    def _merge(
        self, table: str, columns: Sequence[str], source: str, values: Sequence[object], *, is_unique: bool = False
    ) -> int:
        """Insert the rows of a query that are new, update those that differ, and return the number of known ones."""
        if not self._create_temporary(
            "incoming", merge_sql.select_incoming(table, columns, source, is_unique=is_unique), values
        ):
            return 0
        updated, known = 0, self._create_temporary("known", merge_sql.select_known(table))
        if known and len(columns) > len(KEYS[table]):
            updated = self._create_temporary("changed", merge_sql.select_changed(table, columns))
            if updated:
                self._execute_and_count(merge_sql.update_changed(table, columns))
        new = self._execute_and_count(merge_sql.insert_new(table, columns))
        self.changes[table] += SyncChanges(new=new, updated=updated)
        return known

    def _create_temporary(self, name: str, select: str, values: Iterable[object] = ()) -> int:
        """Create a temporary table, and return the number of its rows."""
        return self._execute_and_count(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}", values)

    def _execute_and_count(self, statement: str, values: Iterable[object] = ()) -> int:
        row = self._connection.execute(statement, list(values)).fetchone()
        return int(row[0]) if row else 0


def _counts_in(text: str | None) -> dict[str, int]:
    """Return the stored counts. If another program damaged them, there are none, so all recent days are read again."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, int])
    except UNREADABLE:
        return {}


_STATES = "SELECT account_id, first_day, last_day, reread_on, visit_counts FROM sync_state WHERE last_day IS NOT NULL"

_LAST_VISIT_DAY = """
SELECT max(started_at)::DATE FROM visits
WHERE account_id = ? AND started_at >= '0001-01-01' AND started_at < ?::DATE::TIMESTAMP + INTERVAL 1 DAY
"""
_DAYS_OF_UNNAMED = """
SELECT min(v.started_at)::DATE, max(v.started_at)::DATE
FROM companies AS c
JOIN visits AS v ON v.account_id = c.account_id AND v.company_id = c.id
LEFT JOIN sync_state AS s ON s.account_id = c.account_id
WHERE c.account_id = ? AND c.name IS NULL AND c.id NOT IN (SELECT UNNEST(?::VARCHAR[]))
AND c.first_seen_at > coalesce(s.finished_at, '-infinity')
AND v.started_at BETWEEN '0001-01-01' AND '9999-12-31'  -- the dates that Python can hold
"""

_NOW = "SELECT current_timestamp AT TIME ZONE 'UTC'"
_FINISHED_AT = "SELECT finished_at AT TIME ZONE 'UTC' FROM sync_state WHERE account_id = ?"

_COUNT_VISITS = """
SELECT count(*) FROM visits
WHERE account_id = ? AND started_at >= ?::DATE::TIMESTAMP AND started_at < ?::DATE::TIMESTAMP + INTERVAL 1 DAY
"""
