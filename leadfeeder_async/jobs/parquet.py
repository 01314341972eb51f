"""Conversion of JSON lines into a parquet file, by DuckDB.

DuckDB reads the JSON lines themselves if their objects are where the model has objects. It refuses a file with any
other line, with a key twice, or with a line that is too long. Such a file is converted into flat lines first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import msgspec

from leadfeeder_async.errors import CheckpointError, DatabaseError
from leadfeeder_async.jobs.atomic_file import temporary_beside
from leadfeeder_async.jobs.duckdb_file import (
    connect_in_memory,
    hide_progress_bar,
    json_lines_sql,
    quoted,
    quoted_name,
    struct_sql,
    translate_errors,
)
from leadfeeder_async.jobs.row_cells import read_cells
from leadfeeder_async.models.columns import Column, KeyPath

MAX_DIRECT_LINE_BYTES = 4 * 1024 * 1024
"""The longest line that is read as it is. DuckDB's buffers are a multiple of it."""

MEMORY_LIMIT = "200MB"
"""The memory of DuckDB. Files with very long rows need more, and are converted in smaller groups of rows."""

ROW_GROUP, SMALL_ROW_GROUP = 12_288, 2_048
"""The rows of a parquet file that are in memory at the same time."""


def write_parquet(rows: Path, path: Path, temporary: Path, columns: tuple[Column, ...]) -> None:
    """Write a parquet file. A value of another type than its column becomes null.

    Args:
        rows: The JSON lines.
        path: The final path.
        temporary: The file to write.
        columns: The columns of the table.

    Raises:
        CheckpointError: DuckDB cannot write the file.
    """
    try:
        try:
            _copy(_select_nested(rows, columns), path, temporary, ROW_GROUP, f"SET memory_limit = '{MEMORY_LIMIT}'")
        except DatabaseError as error:
            if error.reason == "no_space":
                raise
            with temporary_beside(path, path) as flat:
                select = _select_flat(flat, columns, _write_flat(rows, flat, columns))
                _copy(select, path, temporary, SMALL_ROW_GROUP)
    except DatabaseError as error:
        raise CheckpointError(
            error.message,
            hint="Fix the problem and pass resume=True, which requests no row again. Or export to .csv.",
            reason="not_writable",
        ) from None  # DuckDB's message may contain a whole row


def _copy(select: str, path: Path, temporary: Path, row_group: int, *settings: str) -> None:
    options = f"FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE {row_group}"
    with translate_errors(path), connect_in_memory() as database:
        hide_progress_bar(database)
        for setting in (*_SETTINGS, *settings):
            database.execute(setting)
        database.execute(f"COPY ({select}) TO {quoted(temporary)} ({options})")


def _select_nested(rows: Path, columns: Sequence[Column]) -> str:
    """Return the query of a file with the JSON lines of an export."""
    names = {column: f"top{''.join(map(_step, column.path))}" for column in columns}
    nested = dict[str, dict[KeyPath, str]]()
    for column in columns:
        key, *inner = column.path
        nested.setdefault(str(key), {})[tuple(inner)] = "VARCHAR"
    types = {key: fields.get((), None) or struct_sql(fields) for key, fields in nested.items()}
    selected = ", ".join(_cast(names[column], column) for column in columns)
    return f"SELECT {selected} FROM {json_lines_sql(rows, types, MAX_DIRECT_LINE_BYTES)} AS top"  # noqa: S608


def _step(key: str | int) -> str:
    return f"[{key + 1}]" if isinstance(key, int) else f".{quoted_name(key)}"


def _select_flat(flat: Path, columns: Sequence[Column], max_line_bytes: int) -> str:
    """Return the query of a file whose lines have one string or null for each column."""
    types = {f"c{number}": "VARCHAR" for number in range(len(columns))}
    selected = ", ".join(_cast(name, column) for name, column in zip(types, columns, strict=True))
    return f"SELECT {selected} FROM {json_lines_sql(flat, types, max_line_bytes)}"  # noqa: S608


def _write_flat(rows: Path, flat: Path, columns: Sequence[Column]) -> int:
    """Write flat lines, and return the bytes of the longest one."""
    encode, longest = msgspec.json.Encoder().encode, 0
    names = [f"c{number}" for number in range(len(columns))]
    with flat.open("wb") as file:
        for cells in read_cells(rows, columns):
            texts = (None if cell is None else str(cell) for cell in cells)
            longest = max(longest, file.write(encode(dict(zip(names, texts, strict=True))) + b"\n"))
    return longest


def _cast(value: str, column: Column) -> str:
    kind = _SQL_TYPES.get(column.type)
    cast = f"TRY_CAST({value} AS {kind})" if kind else value
    if kind == "DOUBLE":
        cast = f"CASE WHEN isfinite({cast}) THEN {cast} END"
    return f"{cast} AS {quoted_name(column.name)}"


_SETTINGS = (
    "SET TimeZone = 'UTC'",
    "SET threads = 1",  # each thread has buffers of its own
    "SET temp_directory = ''",
)

_SQL_TYPES: dict[type[object], str] = {
    int: "BIGINT",
    float: "DOUBLE",
    bool: "BOOLEAN",
    date: "DATE",
    datetime: "TIMESTAMPTZ",
}
