"""Compare a header that was found by its names with the rows around it. Pure functions.

Each function returns the reason why the header is not trustworthy, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from leadfeeder_async.jobs.enrich.header_search import count_known_names, is_likely_header, is_value
from leadfeeder_async.jobs.enrich.key_normalization import By, KeyRule, normalize_column_name, unshared_key

MIN_VAT_DIGITS = 8
"""The fewest digits of a VAT ID without a country. Fewer digits are an amount or the number of a record."""

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
        if column is None or rule.column is not None or rule.preferred is not None or rule.kind not in _IS_NUMBER:
            continue
        place = list(header).index(column)
        values = [row[place].strip() for row in below if place < len(row) and row[place].strip()]
        numbers = [value for value in values if _IS_NUMBER[rule.kind](value)]
        if 2 * len(numbers) > len(values):
            return rule.kind, column, numbers[0][:_SHOWN_CHARACTERS]
    return None


def find_data_above(rows: Sequence[Sequence[str]], place: int, rules: Sequence[KeyRule]) -> int | None:
    """Return the place of a row above a header that is probably data, or None.

    Its key is in the same column as a key of another row or of the header, or it is below another header.
    """
    kinds: list[By] = [rule.kind for rule in rules if rule.kind != "name"]
    keys = dict[int, int]()
    for number, cells in enumerate(rows[: place + 1]):
        for column, cell in enumerate(cells):
            if _is_key(cell, kinds):
                if column in keys:
                    return keys[column]
                keys[column] = number
    return _find_row_of_other_header(rows[:place], rules)


def _find_row_of_other_header(rows: Sequence[Sequence[str]], rules: Sequence[KeyRule]) -> int | None:
    for number, header in enumerate(rows[:-1]):
        if not is_likely_header(header) or count_known_names(header) < 2:
            continue
        for rule in rules:
            column = rule.find_column(header)
            place = None if column is None else list(header).index(column)
            for below, cells in enumerate(rows[number + 1 :], number + 1):
                if place is not None and place < len(cells) and _is_filled(cells, place, rule.kind):
                    return below
    return None


def _is_filled(cells: Sequence[str], place: int, kind: By) -> bool:
    """Return True if a row has a key of a kind in a column. Any text may be a name, unless the row is a title."""
    if kind != "name":
        return _is_key(cells[place], [kind])
    return bool(cells[place].strip()) and sum(1 for cell in cells if cell.strip()) > 1 and not is_likely_header(cells)


def _is_key(cell: str, kinds: Iterable[By]) -> bool:
    return bool(cell.strip()) and any(unshared_key(cell, kind) is not None for kind in kinds)


def _is_short_number(value: str) -> bool:
    digits = sum(map(str.isdigit, value))
    return _AMOUNT.fullmatch(value) is not None and (digits < MIN_VAT_DIGITS or "%" in value)


def _is_number(value: str) -> bool:
    return "@" not in value and is_value(value)


_IS_NUMBER: Mapping[By, Callable[[str], bool]] = {"name": _is_number, "vat": _is_short_number}
"""The functions that recognize values that are no keys of a kind."""
