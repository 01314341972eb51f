"""Rows of CSV files with long cells, and lines byte for byte as ``csv.writer`` writes them.

Lines take about a third of the time of ``csv.writer``. Most of its time is spent on cells with long JSON, because it
examines each character in turn. Cells with special characters are mostly in the same columns, so the cells of all other
columns are examined together.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress

MAX_CELL_CHARACTERS = 2**31 - 1
"""The highest limit that Python's reader accepts on every platform."""

_field_limit_lock = threading.Lock()


def next_row(reader: Iterator[list[str]]) -> list[str] | None:
    """Return the next row, with cells of up to ``MAX_CELL_CHARACTERS``, or None at the end.

    Python has one limit for the cells of all readers, so it is raised for one row and restored for other readers.
    """
    with _field_limit_lock:
        limit = csv.field_size_limit(MAX_CELL_CHARACTERS)
        try:
            return next(reader, None)
        finally:
            csv.field_size_limit(limit)


def csv_lines(rows: Iterable[Sequence[object]], delimiter: str = ",") -> Iterator[str]:
    """Yield the line of each row, with its line break. Only cells with special characters are quoted."""
    is_plain, quoted_columns = list[bool](), list[int]()
    for row in rows:
        cells = ["" if value is None else value if type(value) is str else str(value) for value in row]
        if len(is_plain) != len(cells):
            is_plain, quoted_columns = [True] * len(cells), []
        if _is_special("".join(compress(cells, is_plain)), delimiter):
            is_plain = [plain and not _is_special(cell, delimiter) for plain, cell in zip(is_plain, cells, strict=True)]
            quoted_columns = [index for index, plain in enumerate(is_plain) if not plain]
        for index in quoted_columns:
            cell = cells[index]
            if _is_special(cell, delimiter):
                cells[index] = '"' + cell.replace('"', '""') + '"'
        line = delimiter.join(cells)
        yield f"{line}\r\n" if line or not cells else '""\r\n'  # readers skip an empty line


def _is_special(cell: str, delimiter: str) -> bool:
    return '"' in cell or delimiter in cell or "\n" in cell or "\r" in cell
