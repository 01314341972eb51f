"""Find the header of a table among its first rows."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from itertools import chain, count

from leadfeeder_async.jobs.enrich.key_normalization import (
    KNOWN_NAMES,
    MAX_COLUMN_NAME_CHARACTERS,
    OTHER_NAMES,
    KeyRule,
    normalize_column_name,
    unshared_key,
)
from leadfeeder_async.jobs.serialized_error import escape_surrogates

MAX_HEADER_ROWS = 20
"""The rows at the beginning in which the header is searched. Reports have a title above it."""

_SUFFIX_CHARACTERS = 30
"""Room for the suffix that makes the name of a column unique."""

_UNIQUE_NAME = re.compile(r"(?:^| )column \d+(?: \d+)?$")
_NUMBER = re.compile(r"[\d.,:/ %€$-]*\d[\d.,:/ %€$-]*")


def find_header(rows: Sequence[Sequence[str]], rules: Sequence[KeyRule]) -> int | None:
    """Return the place of the header, or None if no row has a column for the key.

    A row that is not the first one is only the header if it has no values, and if the rows above it, such as a title,
    have fewer cells. If several rows may be the header, it is the first one, unless that contains criteria of a report
    or names groups of columns: a later one has more common names, and they are most of its cells, or it has twice as
    many cells.
    """
    found, most_known, found_width, widest = None, 0, 0, 0
    for place, cells in enumerate(rows[:MAX_HEADER_ROWS]):
        width = _width_of(cells)
        is_wider, widest = width > max(widest, 1), max(widest, width)
        if not (place == 0 or is_wider) or not _has_key_column(cells, rules):
            continue
        known = count_known_names(cells, KNOWN_NAMES | OTHER_NAMES)
        is_better = (known > max(most_known, 1) and 2 * known > width) or (
            known >= most_known and width >= 2 * found_width
        )
        if place == 0 or (is_better and not has_values(cells, rules)):
            found, most_known, found_width = place, known, width
    return found


def is_second_header(header: Sequence[str], following: Sequence[str]) -> bool:
    """Return True if all cells of the row after a header are common names too. A repeated header is not another one."""
    width = _width_of(following)
    known = count_known_names(following, KNOWN_NAMES | OTHER_NAMES)
    return width > 1 and known == width and list(map(str.strip, header)) != list(map(str.strip, following))


def has_values(cells: Iterable[str], rules: Sequence[KeyRule]) -> bool:
    """Return True if a row contains a number, an email address, or a key other than a name."""
    return any(_is_value(cell.strip(), rules) for cell in cells)


def _is_value(cell: str, rules: Sequence[KeyRule]) -> bool:
    if _NUMBER.fullmatch(cell) or "@" in cell:
        return True
    last = cell.rpartition(".")[2]  # names of nested columns, such as company.name, look like domains
    if count_known_names([cell, last], KNOWN_NAMES | OTHER_NAMES):
        return False
    return any(rule.kind != "name" and unshared_key(cell, rule.kind) is not None for rule in rules)


def _width_of(cells: Iterable[str]) -> int:
    return sum(1 for cell in cells if cell.strip())


def _has_key_column(cells: Sequence[str], rules: Sequence[KeyRule]) -> bool:
    if any(rule.find_column(cells) is not None for rule in rules):
        return True
    # Unique names of thousands of columns take time, so they are only made if one of them may be wanted.
    numbered = [rule for rule in rules if _UNIQUE_NAME.search(rule.column or "")]
    return any(rule.find_column(unique_column_names(cells).values()) is not None for rule in numbered)


def count_known_names(cells: Iterable[str], known_names: Container[str] = KNOWN_NAMES) -> int:
    """Return how many cells of a row are common names of columns."""
    return sum(normalize_column_name(cell) in known_names for cell in cells)


def unique_column_names(names: Sequence[str], chosen: Container[str] = ()) -> dict[str, str]:
    """Return unique names of the columns by normalized name. A name that the caller has chosen is not changed."""
    given_names = list(map(escape_surrogates, names))
    chosen_places = dict[str, int]()
    for place, given in enumerate(given_names, 1):
        if given in chosen:
            chosen_places.setdefault(normalize_column_name(given), place)
    found = dict[str, str]()
    for place, given in enumerate(given_names, 1):
        normalized = normalize_column_name(given)
        is_free = chosen_places.get(normalized, place) == place
        name = unique_name(given, place, found if is_free else {*found, normalized})
        found[normalize_column_name(name)] = name
    return found


def unique_name(given: str, place: int, taken: Container[str]) -> str:
    """Return the name of a column. A name that is empty or taken is extended by the position of the column."""
    if given.strip() and normalize_column_name(given) not in taken:
        return given
    # Only the beginning of a name is compared, so the suffix must be in it. Otherwise, the new name is taken too.
    name = f"{given[: MAX_COLUMN_NAME_CHARACTERS - _SUFFIX_CHARACTERS]} column {place}".strip()
    names = chain([name], (f"{name} {number}" for number in count(2)))
    return next(name for name in names if normalize_column_name(name) not in taken)
