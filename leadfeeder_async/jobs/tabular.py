"""Tables made of JSON lines, with one column for each field of a record, in the order of the model.

A column is named after the path of its value: ``id``, then the attributes under their own names (``page.path`` for
nested ones), then ``company.id`` and the like for related records. Lists and open objects become JSON strings.
"""

from __future__ import annotations

import csv
import json
import types
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec

from leadfeeder_async.errors import CheckpointError, DatabaseError, check_argument
from leadfeeder_async.jobs.atomic_file import replace_atomically, temporary_beside
from leadfeeder_async.jobs.duckdb_file import connect_in_memory, require_duckdb, translate_errors

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | msgspec.Raw | None"
"""A value of a row. Raw is a number outside the range of Python's numbers, as it was sent."""

MAX_ROW_BYTES = 16 * 1024 * 1024
"""The longest row that DuckDB expects, unless the table has a longer one."""

MAX_BYTES_PER_CHARACTER = 4
"""The most bytes of a character in UTF-8."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    name: str
    path: tuple[str, ...]
    """The keys of its value, from the outside in."""
    type: type[object]
    """The type of its values, or ``dict`` if they are JSON strings."""

    def value_of(self, row: Json) -> Json:
        """Return the value of a row in this column."""
        for key in self.path:
            row = row.get(key) if isinstance(row, dict) else None
        return msgspec.json.encode(row).decode() if isinstance(row, dict | list | msgspec.Raw) else row


def columns_of(model: type[object]) -> tuple[Column, ...]:
    """Return the columns of a model's table."""
    columns = [Column("id", ("id",), str)]
    hints = get_type_hints(model)
    for part in ("attributes", "relationships"):
        if part in hints:
            columns.extend(_columns(hints[part], (part,), is_related=part == "relationships"))
    return tuple(columns)


def _columns(hint: object, path: tuple[str, ...], *, is_related: bool) -> Iterator[Column]:
    kind = _without_none(hint)
    name = ".".join(path[1:])
    if is_related and len(path) == 2:
        if _is_struct(kind):
            yield Column(f"{name}.id", (*path, "id"), str)
            return
        kind = dict
    if _is_struct(kind):
        for key, field in get_type_hints(kind).items():
            yield from _columns(field, (*path, key), is_related=is_related)
    elif name:
        yield Column(name, path, kind if kind in {str, int, float, bool, date, datetime} else dict)


def _without_none(hint: object) -> type[object]:
    choices = [choice for choice in get_args(hint) if choice is not type(None)]
    if get_origin(hint) not in {Union, types.UnionType}:
        return hint if isinstance(hint, type) else dict
    return _without_none(choices[0]) if len(choices) == 1 else dict


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def is_table(path: Path) -> bool:
    """Return True if a file of this name is a table, and False if it contains JSON lines."""
    return path.suffix.lower() in _WRITERS


def check_table(path: Path) -> None:
    """Raise ConfigurationError if the suffix belongs to no format, or if its format needs an extra."""
    suffix = path.suffix.lower()
    is_known = suffix in {"", ".ndjson", ".jsonl", *_WRITERS}
    check_argument(
        is_known,
        f"{path.name} has the unknown suffix {suffix}.",
        "Use .ndjson or .jsonl (JSON lines), .csv or .parquet.",
    )
    if suffix == ".parquet":
        require_duckdb("A .parquet file", "parquet")


def write_table(rows: Path, path: Path, columns: Callable[[], tuple[Column, ...]]) -> None:
    """Convert a file of JSON lines into the format of a suffix, under its final name.

    JSON lines are renamed, so the file of rows no longer exists. A table that fails leaves no file.

    Args:
        rows: The JSON lines.
        path: The final name.
        columns: Returns the columns of the table.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        replace_atomically(rows, path)
        return
    with temporary_beside(path, path) as temporary:
        writer(rows, path, temporary, columns())
        replace_atomically(temporary, path)


def _read(rows: Path) -> Iterator[Json]:
    with rows.open("rb") as lines:
        yield from map(decode_row, lines)


def decode_row(row: bytes | msgspec.Raw) -> Json:
    """Return a row decoded. Numbers outside the range of Python's stay JSON."""
    try:
        return _DECODER.decode(row)
    except msgspec.ValidationError:
        value: Json = json.loads(bytes(row), parse_int=_parse_number, parse_float=_parse_number)
        return value


_DECODER: msgspec.json.Decoder[Json] = msgspec.json.Decoder()


def _parse_number(number: str) -> msgspec.Raw:
    """Keep the JSON of numbers, because some are outside the range of Python's: 1e400, or 5,000 digits."""
    return msgspec.Raw(number.encode())


def _write_csv(rows: Path, _: Path, temporary: Path, columns: tuple[Column, ...]) -> None:
    _write_rows(rows, temporary, columns, "\r\n")


def _write_rows(rows: Path, table: Path, columns: tuple[Column, ...], line_end: str) -> int:
    """Write a CSV table, and return the number of characters of its longest row."""
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator=line_end)
        writer.writerow(column.name for column in columns)
        return max(
            (writer.writerow([_cell(column.value_of(row)) for column in columns]) for row in _read(rows)), default=0
        )


def _cell(value: Json) -> Json:
    return str(value).lower() if isinstance(value, bool) else value


def _write_parquet(rows: Path, path: Path, temporary: Path, columns: tuple[Column, ...]) -> None:
    """Let DuckDB convert a CSV table. A value of another type than its column becomes null.

    DuckDB detects nothing about the table, because its strings may contain quotes and line breaks of any kind.
    """
    with temporary_beside(path, path) as table:
        longest = _write_rows(rows, table, columns, "\n")
        try:
            with translate_errors(path), connect_in_memory() as database:
                database.execute("SET TimeZone = 'UTC'")
                row_bytes = max(MAX_ROW_BYTES, MAX_BYTES_PER_CHARACTER * longest)
                database.execute(_copy(table, temporary, columns, row_bytes))
        except DatabaseError as error:
            raise CheckpointError(
                error.message,
                hint="Fix the problem and pass resume=True, which requests no row again. Or export to .csv.",
                reason="not_writable",
            ) from None  # DuckDB's message may contain a whole row


def _copy(table: Path, path: Path, columns: tuple[Column, ...], longest: int) -> str:
    """Return the statement that converts a CSV table. Names and paths are quoted."""
    selected = ", ".join(map(_cast, columns))
    names = ", ".join(f"{_quoted(column.name)}: 'VARCHAR'" for column in columns)
    dialect = f"columns={{{names}}}, auto_detect=false, header=true, delim=',', quote='\"', escape='\"'"
    source = f"read_csv({_quoted(table)}, {dialect}, max_line_size={longest}, parallel=false)"
    return f"COPY (SELECT {selected} FROM {source}) TO {_quoted(path)} (FORMAT parquet, USE_TMP_FILE false)"  # noqa: S608


def _cast(column: Column) -> str:
    name = '"' + column.name.replace('"', '""') + '"'
    kind = _SQL_TYPES.get(column.type)
    # DuckDB would move a cast of the bare column into the CSV reader, which fails at the first value of another type.
    return f"TRY_CAST(NULLIF({name}, '') AS {kind}) AS {name}" if kind else name


def _quoted(text: Path | str) -> str:
    return "'" + str(text).replace("'", "''") + "'"


_SQL_TYPES: dict[type[object], str] = {
    int: "BIGINT",
    float: "DOUBLE",
    bool: "BOOLEAN",
    date: "DATE",
    datetime: "TIMESTAMPTZ",
}

_WRITERS: dict[str, Callable[[Path, Path, Path, tuple[Column, ...]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
"""The writer of each suffix. Its arguments are the rows, the final path, a temporary file to write, and the columns."""
