"""Compare a header that was found by its names with the rows around it. Pure functions.

Each public function returns the column, the value or the row that makes the header doubtful, or None.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from leadfeeder_async.jobs.enrich.header_search import count_filled, count_known_names, is_likely_header, is_value
from leadfeeder_async.jobs.enrich.key_normalization import By, KeyRule, normalize_column_name, unshared_key

MIN_VAT_DIGITS = 8
"""The fewest digits of most VAT IDs without a country. Fewer digits are an amount or the number of a record."""

MIN_ROWS_OF_TABLE = 3
"""The fewest rows with a number that show that two columns are a table, and not the criteria of a report."""

_SHOWN_CHARACTERS = 40
_AMOUNT = re.compile(r"[-+]?[\d.,'\s]*\d\s*(?:%|€|\$|EUR|USD)?", re.IGNORECASE)


def find_repeated_column(header: Sequence[str], rules: Iterable[KeyRule]) -> str | None:
    """Return the column of a key that occurs several times, if the caller has not chosen one."""
    normalized = list(map(normalize_column_name, header))
    columns = (rule.find_column(header) for rule in rules if rule.column is None)
    return next((name for name in columns if name and normalized.count(normalize_column_name(name)) > 1), None)


def find_number_in_key(
    header: Sequence[str], below: Sequence[Sequence[str]], rules: Iterable[KeyRule]
) -> tuple[By, str, str] | None:
    """Return the kind, the column and a value if most values of the column that was detected cannot be its keys.

    They are numbers instead of names, or amounts and short numbers instead of VAT IDs.
    """
    for rule in rules:
        column = rule.find_column(header)
        if column is None or not _is_ambiguous(rule, normalize_column_name(column)):
            continue
        place = list(header).index(column)
        values = [row[place].strip() for row in below if place < len(row) and row[place].strip()]
        numbers = list(filter(_is_short_number if rule.kind == "vat" else _is_number, values))
        if 2 * len(numbers) > len(values):
            return rule.kind, column, numbers[0][:_SHOWN_CHARACTERS]
    return None


def _is_ambiguous(rule: KeyRule, name: str) -> bool:
    """Return True if a column was detected, and columns of this name can contain something else."""
    if rule.column is not None or name == rule.preferred:
        return False
    return rule.kind == "name" or name in _AMBIGUOUS_VAT_NAMES


def find_data_above(rows: Sequence[Sequence[str]], place: int, rules: Sequence[KeyRule]) -> int | None:
    """Return the place of a row above a header that is probably data, or None.

    Its key is in the same column as a key of another row or of the header, or it is below another header. If common
    names are most of the cells of the header, keys above it may also be those of a letterhead, or the values of
    criteria, so they count only at the beginning of rows with other cells.
    """
    kinds: list[By] = [rule.kind for rule in rules if rule.kind != "name"]
    is_likely, keys = is_likely_header(rows[place]), dict[int, int]()
    for number, cells in enumerate(rows[: place + 1]):
        for column, cell in enumerate(cells[:1] if is_likely else cells):
            is_alone = is_likely and count_filled(cells) == 1
            if is_alone or cell.strip().isdigit() or not _is_key(cell, kinds):
                continue
            if column in keys:
                return keys[column]
            keys[column] = number
    return _find_row_of_other_header(rows[:place], rules)


def _find_row_of_other_header(rows: Sequence[Sequence[str]], rules: Sequence[KeyRule]) -> int | None:
    """Return the place of a row that belongs to a header above it, or None."""
    for number, header in enumerate(rows[:-1]):
        for rule in rules:
            column = rule.find_column(header)
            if column is None or any(map(is_value, header)):
                continue
            place = list(header).index(column)
            filled = [
                below
                for below, cells in enumerate(rows[number + 1 :], number + 1)
                if place < len(cells) and _is_filled(cells, place, rule.kind, width=count_filled(header))
            ]
            with_numbers = sum(any(map(is_value, rows[below])) for below in filled)
            has_keys = rule.kind != "name" and len(filled) > 1
            if filled and (has_keys or _is_certain_header(header) or with_numbers >= MIN_ROWS_OF_TABLE):
                return filled[0]
    return None


def _is_certain_header(cells: Sequence[str]) -> bool:
    """Return True if a row has several common names. The criteria of a report have one."""
    return is_likely_header(cells) and count_known_names(cells) > 1


def _is_filled(cells: Sequence[str], place: int, kind: By, *, width: int) -> bool:
    """Return True if a row has a key of a kind in a column. Any text may be a name, if the row is as wide as others."""
    if kind != "name":
        return _is_key(cells[place], [kind])
    return bool(cells[place].strip()) and 1 < count_filled(cells) <= width and not is_likely_header(cells)


def _is_key(cell: str, kinds: Iterable[By]) -> bool:
    return bool(cell.strip()) and any(unshared_key(cell, kind) is not None for kind in kinds)


def _is_number(value: str) -> bool:
    return "@" not in value and is_value(value)


def _is_short_number(value: str) -> bool:
    digits = sum(map(str.isdigit, value))
    return _AMOUNT.fullmatch(value) is not None and (digits < MIN_VAT_DIGITS or "%" in value)


_AMBIGUOUS_VAT_NAMES = frozenset({"vat", "uid"})
"""Columns of amounts of tax or of the ids of records can have these names too."""
