"""The statements that merge rows into a table. Pure functions.

The temporary tables of a merge are ``incoming`` (the rows), ``known`` (the pairs of row numbers with the same keys) and
``changed`` (the rows of ``known`` that differ). Most rows are not known, so only the keys of the table are compared
first. The statements use no feature that DuckDB 1.2 does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from leadfeeder_async.jobs.sync.schema import FIRST_SEEN, KEYS, TABLES_WITH_FIRST_SEEN, Types

KEEP_IF_NULL = {"companies": frozenset({"tag_ids", "list_ids"})}
"""Columns in which null means that the response did not include them, so that a known value is kept."""


def json_type(sql_type: str) -> str:
    """Return the type as which a value is read from JSON. It is cast later, because a cast may fail."""
    return "VARCHAR[]" if sql_type.endswith("[]") else "VARCHAR"


def json_shape(table: str, columns: Sequence[str], types: Types) -> str:
    """Return the types of a JSON object with the values of columns, as the JSON functions of DuckDB write them."""
    is_list = {column: types[table, column].endswith("[]") for column in columns}
    return msgspec.json.encode({column: ["VARCHAR"] if is_list[column] else "VARCHAR" for column in columns}).decode()


def cast(value: str, sql_type: str, column: str) -> str:
    """Return the expression of a column. A value that does not fit its type becomes null."""
    fitting = value if sql_type in {"VARCHAR", "VARCHAR[]"} else f"TRY_CAST({value} AS {sql_type})"
    return f'{fitting} AS "{column}"'


def select_rows(table: str, columns: Sequence[str], types: Types) -> str:
    """Return a query of rows. Its parameter is a JSON array of them."""
    shape = json_shape(table, columns, types)
    selected = ", ".join(cast(f'"{column}"', types[table, column], column) for column in columns)
    return f"SELECT {selected} FROM (SELECT UNNEST(json_transform(?::JSON, '[{shape}]'), max_depth := 2))"  # noqa: S608


def select_incoming(table: str, columns: Sequence[str], source: str, *, is_unique: bool) -> str:
    """Return a query of the rows to merge. Of several rows with the same keys, the last one counts.

    Args:
        table: The table.
        columns: Its columns that the rows have.
        source: The query of the rows.
        is_unique: True if no keys repeat.
    """
    if is_unique:
        return source
    keys = _names(KEYS[table])
    kept = KEEP_IF_NULL.get(table, ())
    before = f"(PARTITION BY {keys} ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    selected = ", ".join(
        f'last_value("{column}" IGNORE NULLS) OVER {before} AS "{column}"' if column in kept else f'"{column}"'
        for column in columns
    )
    numbered = f"SELECT row_number() OVER () AS n, * FROM ({source})"  # noqa: S608
    return f"SELECT {selected} FROM ({numbered}) QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY n DESC) = 1"  # noqa: S608


def select_known(table: str) -> str:
    """Return a query of the incoming rows whose keys the table has."""
    same = " AND ".join(f'old."{key}" = incoming."{key}"' for key in KEYS[table])
    return f'SELECT old.rowid AS old, incoming.rowid AS new FROM "{table}" AS old JOIN temp.incoming ON {same}'  # noqa: S608


def select_changed(table: str, columns: Sequence[str]) -> str:
    """Return a query of the known rows that differ, with their values after the merge."""
    values = {column: _after(table, column) for column in columns if column not in KEYS[table]}
    selected = ", ".join(f'{value} AS "{column}"' for column, value in values.items())
    differs = " OR ".join(f'old."{column}" IS DISTINCT FROM {value}' for column, value in values.items())
    return (
        f'SELECT known.old, {selected} FROM temp.known JOIN "{table}" AS old ON old.rowid = known.old '  # noqa: S608
        f"JOIN temp.incoming ON incoming.rowid = known.new WHERE {differs}"
    )


def update_changed(table: str, columns: Sequence[str]) -> str:
    """Return the statement that updates the rows that differ."""
    sets = ", ".join(f'"{column}" = changed."{column}"' for column in columns if column not in KEYS[table])
    return f'UPDATE "{table}" SET {sets} FROM temp.changed WHERE "{table}".rowid = changed.old'  # noqa: S608


def insert_new(table: str, columns: Sequence[str]) -> str:
    """Return the statement that inserts the rows that are not known."""
    names = _names(columns)
    if table in TABLES_WITH_FIRST_SEEN:  # all rows of one transaction have the same time
        selected = f"{names}, current_timestamp"
        names = f'{names}, "{FIRST_SEEN}"'
    else:
        selected = names
    new = "FROM temp.incoming ANTI JOIN temp.known ON incoming.rowid = known.new"
    return f'INSERT INTO "{table}" ({names}) SELECT {selected} {new}'


def _after(table: str, column: str) -> str:
    incoming = f'incoming."{column}"'
    return f'COALESCE({incoming}, old."{column}")' if column in KEEP_IF_NULL.get(table, ()) else incoming


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
