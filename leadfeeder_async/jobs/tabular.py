"""Tables made of JSON lines, with one column for each field of a record, in the order of the model.

A column is named after the path of its value: ``id``, then the attributes under their own names (``page.path`` for
nested ones), then ``company.id`` and the like for related records. Lists and open objects become JSON strings.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec

from leadfeeder_async._argument_checks import reject
from leadfeeder_async.errors import check_argument
from leadfeeder_async.jobs import excel_csv
from leadfeeder_async.jobs.atomic_file import replace_atomically, temporary_beside
from leadfeeder_async.jobs.csv_lines import csv_lines
from leadfeeder_async.jobs.duckdb_file import require_duckdb
from leadfeeder_async.jobs.parquet import write_parquet
from leadfeeder_async.jobs.row_cells import read_cells
from leadfeeder_async.types import CsvDialect

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | msgspec.Raw | None"
"""A value of a row. Raw is a number outside the range of Python's numbers, as it was sent."""


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


def check_table(path: Path, csv_dialect: CsvDialect) -> None:
    """Raise ConfigurationError if the format of a suffix is unknown, needs an extra, or does not have the dialect."""
    suffix = path.suffix.lower()
    is_known = suffix in {"", ".ndjson", ".jsonl", *_WRITERS}
    check_argument(
        is_known,
        f"{path.name} has the unknown suffix {suffix}.",
        "Use .ndjson or .jsonl (JSON lines), .csv or .parquet.",
    )
    if csv_dialect not in ("plain", "excel"):
        reject("csv_dialect", csv_dialect, "must be plain or excel.")
    check_argument(
        csv_dialect == "plain" or suffix == ".csv",
        f"csv_dialect={csv_dialect!r} has no effect on {path.name}.",
        "Use a name that ends in .csv.",
    )
    if suffix == ".parquet":
        require_duckdb("A .parquet file", "parquet")


def write_table(
    rows: Path, path: Path, columns: Callable[[], tuple[Column, ...]], csv_dialect: CsvDialect = "plain"
) -> None:
    """Convert a file of JSON lines into the format of a suffix, under its final name.

    JSON lines are renamed, so the file of rows no longer exists. A table that fails leaves no file.

    Args:
        rows: The JSON lines.
        path: The final name.
        columns: Returns the columns of the table.
        csv_dialect: The dialect of a .csv file.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is _write_csv and csv_dialect == "excel":
        writer = _write_excel_csv
    if writer is None:
        replace_atomically(rows, path)
        return
    with temporary_beside(path, path) as temporary:
        writer(rows, path, temporary, columns())
        replace_atomically(temporary, path)


def _write_csv(rows: Path, _: Path, temporary: Path, columns: tuple[Column, ...]) -> None:
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_lines([[column.name for column in columns]]))
        file.writelines(csv_lines(read_cells(rows, columns)))


def _write_excel_csv(rows: Path, _: Path, temporary: Path, columns: tuple[Column, ...]) -> None:
    guard, separator = excel_csv.guard_formula, excel_csv.list_separator()
    with temporary.open("w", encoding=excel_csv.ENCODING, newline="") as file:
        file.writelines(csv_lines([[guard(column.name) for column in columns]], separator))
        guarded = (
            [guard(cell) if isinstance(cell, str) else cell for cell in cells] for cells in read_cells(rows, columns)
        )
        file.writelines(csv_lines(guarded, separator))


_WRITERS: dict[str, Callable[[Path, Path, Path, tuple[Column, ...]], None]] = {
    ".csv": _write_csv,
    ".parquet": write_parquet,
}
"""The writer of each suffix. Its arguments are the rows, the final path, a temporary file to write, and the columns."""
