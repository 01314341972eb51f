"""Tables made of JSON lines, with the columns of :mod:`leadfeeder_async.models.columns`."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from leadfeeder_async._argument_checks import reject
from leadfeeder_async.errors import check_argument
from leadfeeder_async.jobs import excel_csv
from leadfeeder_async.jobs.atomic_file import replace_atomically, temporary_beside
from leadfeeder_async.jobs.duckdb_file import require_duckdb
from leadfeeder_async.jobs.parquet import write_parquet
from leadfeeder_async.jobs.row_cells import read_cells
from leadfeeder_async.models.columns import Column
from leadfeeder_async.types import CsvDialect


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
        writer = csv.writer(file)
        writer.writerow(column.name for column in columns)
        writer.writerows(read_cells(rows, columns))


def _write_excel_csv(rows: Path, _: Path, temporary: Path, columns: tuple[Column, ...]) -> None:
    with temporary.open("w", encoding=excel_csv.ENCODING, newline="") as file:
        writer = csv.writer(file, delimiter=excel_csv.list_separator())
        writer.writerow(excel_csv.guard_formula(column.name) for column in columns)
        for cells in read_cells(rows, columns):
            writer.writerow([excel_csv.guard_formula(cell) if isinstance(cell, str) else cell for cell in cells])


_WRITERS: dict[str, Callable[[Path, Path, Path, tuple[Column, ...]], None]] = {
    ".csv": _write_csv,
    ".parquet": write_parquet,
}
"""The writer of each suffix. Its arguments are the rows, the final path, a temporary file to write, and the columns."""
