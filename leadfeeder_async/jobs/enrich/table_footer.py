"""Rows that end a table: totals, and notes after a blank line. Any text can be a name, so they look like companies."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from leadfeeder_async.jobs.enrich.header_search import count_filled
from leadfeeder_async.jobs.enrich.key_normalization import is_placeholder
from leadfeeder_async.jobs.enrich.table_source import TableRow

_NUMBER = r"[-+]?\d[\d.,'\s]*"
_CURRENCY = r"(?:€|\$|£|EUR|USD|GBP|CHF)"
_SCALE = r"(?:k|m|mn|mio\.?|million|millionen|bn|mrd\.?)"
_LABEL = re.compile(rf"(?P<label>[^:=(]+)(?:[:=]\s*(?P<number>{_NUMBER})?|\(\s*(?P<count>{_NUMBER})[^()]*\)?)?")
_AMOUNT = re.compile(
    rf"{_NUMBER}{_SCALE}?\s*(?:%|{_CURRENCY})?|{_CURRENCY}\s*{_NUMBER}{_SCALE}?|[-\u2013\u2014]", re.IGNORECASE
)
"""A number, or the sign of an empty cell."""

_PLAIN_NUMBER = re.compile(rf"{_NUMBER}|[-\u2013\u2014]")

TOTALS = frozenset(
    {
        *("total", "totals", "grand total", "grand totals", "sum", "average", "count"),
        *("subtotal", "subtotals", "sub total", "sub totals"),
        *("summe", "gesamt", "gesamtsumme", "zwischensumme", "insgesamt", "durchschnitt", "mittelwert", "anzahl"),
        *(
            "total général",
            "somme",
            "totale",
            "totaal",
            "suma",
            "soma",
            "totalt",
            "summa",
            "yhteensä",
            "razem",
            "celkem",
        ),
    }
)
"""Words that exported tables have in the row of a total."""

MAX_CHARACTERS = 60
"""The most characters of a cell with a total."""


class TableFooter:
    """Finds the rows that end a table. Each reading of the table needs its own.

    Args:
        names: The positions of the cells that contain names of companies.
    """

    def __init__(self, names: Collection[int]) -> None:
        self._names = names
        self._last_line: int | None = None
        self._has_full_rows = False
        """True if rows before had several cells that are not empty."""
        self._has_sparse_rows = False
        """True if rows before had only one cell that is not empty, so that another one is no note."""
        self._is_in_note = False

    def problem(self, row: TableRow) -> str:
        """Return the reason if the next row of the table is not a company, or an empty string."""
        is_sparse = count_filled(row.cells) == 1
        follows_blank = self._last_line is not None and row.first_line > self._last_line + 1
        self._last_line = row.last_line
        self._is_in_note = (
            is_sparse and self._has_full_rows and not self._has_sparse_rows and (follows_blank or self._is_in_note)
        )
        if self._is_in_note:
            return f"line {row.first_line:,} has only one cell with text, below a blank line (a note?)"
        self._has_sparse_rows |= is_sparse
        self._has_full_rows |= not is_sparse
        if any(_is_total(row.cells, place) for place in self._names if place < len(row.cells)):
            return f"line {row.first_line:,} has a total instead of a company"
        return ""


def is_total_word(text: str) -> bool:
    """Return True for a word such as ``Total:`` or ``Sub-Total``."""
    return len(text) <= MAX_CHARACTERS and re.sub(r"[\s-]+", " ", text).strip(" :").casefold() in TOTALS


def _is_total(cells: Sequence[str], place: int) -> bool:
    """Return True if a row has a name, and consists of a word such as ``Total`` and numbers or signs of empty cells."""
    filled = [text for cell in cells if (text := cell.strip())]
    name = cells[place].strip()
    if not name or any(len(text) > MAX_CHARACTERS for text in filled):
        return False
    if _AMOUNT.fullmatch(name) and not _PLAIN_NUMBER.fullmatch(name):  # 3M is a company
        return False
    texts = [text for text in filled if not (_AMOUNT.fullmatch(text) or is_placeholder(text))]
    found = _LABEL.fullmatch(texts[0]) if len(texts) == 1 else None
    if found is None or not is_total_word(found["label"]):
        return False
    return len(filled) > 1 or found["number"] is not None or found["count"] is not None
