"""Rows of CSV files with long cells."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator

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
