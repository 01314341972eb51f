"""Results that are read back from a finished table, so that its failed rows can be requested again.

A table has less than the response: unknown fields and candidates are missing. Everything that it has is read, so
writing the same results as a table again changes nothing.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import msgspec

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs import excel_csv
from leadfeeder_async.jobs.duckdb_file import connect_in_memory, translate_errors
from leadfeeder_async.jobs.enrich.results import ResultLine
from leadfeeder_async.jobs.enrich.row_intake import START_OVER_HINT
from leadfeeder_async.jobs.enrich.table_source import CsvSource
from leadfeeder_async.models.columns import Column, KeyPath

_Json: TypeAlias = "dict[str, _Json] | list[_Json] | str | msgspec.Raw | None"

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
"""A number in JSON. Any other text was a string, such as ``007``."""

_NUMBER_WITH_COMMA = re.compile(r"-?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")

_MAX_HEADER_BYTES = 1_048_576
"""The bytes at the beginning of a file that must contain its header."""


def read_result_table(path: Path, columns: Sequence[Column]) -> Iterator[ResultLine]:
    """Yield the results of a .csv or .parquet file.

    Args:
        path: The file.
        columns: The columns that the enrichment writes.

    Raises:
        CheckpointError: The file was not written by this enrichment.

    """
    names, has_commas = [column.name for column in columns], False
    if path.suffix.lower() == ".parquet":
        rows = _read_parquet(path)
    else:
        is_excel, delimiter = _dialect(path, len(names))
        rows, has_commas = _read_csv(path, delimiter, is_excel=is_excel), is_excel and delimiter == ";"
    if list(next(rows, ())) != names:
        raise _not_a_result(path, "its columns are not those of this enrichment")
    for number, cells in enumerate(rows, 1):
        if len(cells) != len(columns):
            raise _not_a_result(path, f"row {number:,} does not have {len(columns):,} columns")
        try:
            yield _result(cells, columns, has_commas=has_commas)
        except msgspec.MsgspecError:
            raise _not_a_result(path, f"row {number:,} is not a result") from None


def _not_a_result(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be retried: {reason}.",
        hint=f"Pass the path of the file that this enrichment wrote. {START_OVER_HINT}",
        reason="damaged",
    )


def _dialect(path: Path, column_count: int) -> tuple[bool, str]:
    """Return True if a CSV file was written for Excel, and the separator that gives its header that many columns."""
    with path.open("rb") as file:
        beginning = file.read(_MAX_HEADER_BYTES)
    text = beginning.decode("utf-8-sig", "replace")
    has_semicolons = _width(text, ";") == column_count != _width(text, ",")
    return beginning.startswith(b"\xef\xbb\xbf"), ";" if has_semicolons else ","


def _width(text: str, delimiter: str) -> int:
    """Return the number of cells in the first row of a CSV text, or 0 if it is not valid."""
    try:
        return len(next(csv.reader(StringIO(text, ""), delimiter=delimiter), ()))
    except csv.Error:
        return 0


def _read_csv(path: Path, delimiter: str, *, is_excel: bool) -> Iterator[Sequence[str | None]]:
    """Yield the header and the rows of a CSV file."""
    source = CsvSource(path, excel_csv.ENCODING, delimiter, "\n", 0, keeps_nul=True)
    try:
        for row in source.rows():
            yield [(excel_csv.remove_guard(cell) if is_excel else cell) or None for cell in row.cells]
    except UnicodeDecodeError:
        raise _not_a_result(path, "it is not encoded in UTF-8") from None


def _read_parquet(path: Path) -> Iterator[Sequence[str | None]]:
    """Yield the header and the rows of a Parquet file."""
    with translate_errors(path), connect_in_memory() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet(?)", [str(path)])
        yield [column[0] for column in database.description or ()]
        while rows := database.fetchmany(200):
            yield from rows


def _result(cells: Sequence[str | None], columns: Sequence[Column], *, has_commas: bool) -> ResultLine:
    line: dict[str, _Json] = {"charged": None}  # an empty cell, but a missing field would be 0
    for column, cell in zip(columns, cells, strict=True):
        if cell is not None and column.path[0] not in {"line", "input"}:  # the input has them
            _set(line, column.path, _value(cell, column, has_commas=has_commas))
    if "error" in line:
        line["error"] = {"type": "LeadfeederError", **line["error"]} if isinstance(line["error"], dict) else {}
    return msgspec.json.decode(msgspec.json.encode(line), type=ResultLine)


def _set(line: dict[str, _Json], path: KeyPath, value: _Json) -> None:
    """Set a value in nested objects. The first item of a list becomes its only one."""
    target = line
    for key, following in pairwise((*path, None)):
        if isinstance(key, int):
            continue  # the step before it has added the item
        if following is None:
            target[str(key)] = value
            return
        inner = target.setdefault(str(key), [dict[str, _Json]()] if isinstance(following, int) else {})
        first = inner[0] if isinstance(inner, list) else inner
        target = first if isinstance(first, dict) else {}


def _value(cell: str, column: Column, *, has_commas: bool) -> _Json:
    """Return a cell as the JSON value from which it was written. In some regions, numbers for Excel have commas."""
    if column.type in {int, float, bool}:
        cell = cell.replace(",", ".") if has_commas and _NUMBER_WITH_COMMA.fullmatch(cell) else cell
        is_literal = _NUMBER.fullmatch(cell) or cell in {"true", "false"}
        return msgspec.Raw(cell.encode()) if is_literal else cell
    if column.type is dict and cell[:1] in {"[", "{"}:
        try:
            msgspec.json.decode(cell)
        except msgspec.MsgspecError:
            return cell
        return msgspec.Raw(cell.encode())
    return cell
