"""Tables made of JSON lines, with the columns of :mod:`leadfeeder_async.models.columns`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from leadfeeder_async._argument_checks import check_strings, reject, spelling_hint
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.jobs import excel_csv
from leadfeeder_async.jobs.atomic_file import replace_atomically, temporary_beside
from leadfeeder_async.jobs.csv_format import csv_lines
from leadfeeder_async.jobs.duckdb_file import duckdb_path, require_duckdb
from leadfeeder_async.jobs.parquet import write_parquet
from leadfeeder_async.jobs.row_cells import decode_row, read_cells
from leadfeeder_async.models.columns import Column
from leadfeeder_async.types import CsvDialect


def pick_columns(columns: Sequence[Column], fields: Iterable[str] | None) -> tuple[Column, ...]:
    """Return the columns with some names, in the order of the names. None returns all columns.

    Raises:
        ConfigurationError: A name is unknown or repeated.
    """
    if fields is None:
        return tuple(columns)
    known, names = {column.name: column for column in columns}, check_strings("fields", fields)
    check_argument(names, "fields is empty.", "Name a column, or leave it out for all columns.", argument="fields")
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"fields contains the unknown name {name!r}.", hint=field_hint(name, list(known)), argument="fields"
            )
        check_argument(names.count(name) == 1, f"fields contains {name!r} twice.", argument="fields")
    return tuple(known[name] for name in names)


def field_hint(name: str, known: Sequence[str], otherwise: str = "") -> str:
    """Return a hint with the column that an unknown name probably means, or else another hint."""
    nested = [column for column in known if column.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
    if 0 < len(nested) <= 3:
        return f"Did you mean {' or '.join(map(repr, nested))}?"
    return spelling_hint(name, known, otherwise)


def flat_lines(lines: bytes, columns: Sequence[Column]) -> bytes:
    """Return JSON lines with one key for each column."""
    return b"".join(_flat_line(line, columns) for line in lines.splitlines())


def _flat_line(line: bytes, columns: Sequence[Column]) -> bytes:
    row = decode_row(line)
    return msgspec.json.encode({column.name: column.find(row) for column in columns}) + b"\n"


WORKBOOKS = frozenset({".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"})
"""The suffixes of workbooks, which are only read."""


def is_table(path: Path) -> bool:
    """Return True if a file of this name is a table, and False if it contains JSON lines."""
    return path.suffix.lower() in _WRITERS


def check_table(path: Path, csv_dialect: CsvDialect) -> None:
    """Raise ConfigurationError if the format of a suffix is unknown, needs an extra, or does not have the dialect."""
    suffix = path.suffix.lower()
    check_argument(
        suffix not in WORKBOOKS,
        f"{path.name} cannot be written, because {suffix} files are only read.",
        'To get a file for Excel, use a name that ends in .csv and csv_dialect="excel".',
        argument="csv_dialect",
    )
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
        duckdb_path(path.absolute())


def write_table(
    rows: Path,
    path: Path,
    columns: Callable[[], tuple[Column, ...]],
    csv_dialect: CsvDialect = "plain",
    *,
    only_columns: bool = False,
) -> None:
    """Convert a file of JSON lines into the format of a suffix, under its final name.

    JSON lines are renamed, so the file of rows no longer exists. A table that fails leaves no file.

    Args:
        rows: The JSON lines.
        path: The final name.
        columns: Returns the columns of the table.
        csv_dialect: The dialect of a .csv file.
        only_columns: Write only these columns into JSON lines too. Defaults to False: they have complete records.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None and only_columns:
        writer = _write_flat_lines
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


def _write_flat_lines(rows: Path, _: Path, temporary: Path, columns: tuple[Column, ...]) -> None:
    with rows.open("rb") as lines, temporary.open("wb") as file:
        file.writelines(_flat_line(line, columns) for line in lines)


def _write_excel_csv(rows: Path, _: Path, temporary: Path, columns: tuple[Column, ...]) -> None:
    region = excel_csv.current_region()

    def text(cell: object) -> object:
        if isinstance(cell, str):
            return excel_csv.guard_formula(cell)
        return excel_csv.number_text(cell, region.decimal_sign) if isinstance(cell, float) else cell

    with temporary.open("w", encoding=excel_csv.ENCODING, newline="") as file:
        file.writelines(csv_lines([[text(column.name) for column in columns]], region.separator))
        file.writelines(csv_lines((list(map(text, cells)) for cells in read_cells(rows, columns)), region.separator))


_WRITERS: dict[str, Callable[[Path, Path, Path, tuple[Column, ...]], None]] = {
    ".csv": _write_csv,
    ".parquet": write_parquet,
}
"""The writer of each suffix. Its arguments are the rows, the final path, a temporary file to write, and the columns."""
