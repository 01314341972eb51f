"""Find the header of a table among its first rows."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from itertools import chain, count

from leadfeeder_async.jobs.enrich.key_normalization import (
    ALL_NAMES,
    KEY_AND_LOCATION_NAMES,
    MAX_COLUMN_NAME_CHARACTERS,
    KeyRule,
    normalize_column_name,
)
from leadfeeder_async.jobs.serialized_error import escape_surrogates

MAX_HEADER_ROWS = 20
"""The rows at the beginning in which the header is searched. Reports have a title above it."""

MIN_OTHER_NAMES = 3
"""The fewest names of columns in a row below the header that are not likely to be a company and its city."""

MAX_NUMBER_CHARACTERS = 40
"""The most characters of a cell that may be a number or a date, so that a long cell takes little time."""

_SUFFIX_CHARACTERS = 30
"""Room for the suffix that makes the name of a column unique."""

_UNIQUE_NAME = re.compile(r"(?:^| )column \d+(?: \d+)?$")
_YEAR = re.compile(r"(?:19|20)\d\d")
_NUMBER = re.compile(r"[\d.,:/ %€$-]*\d[\d.,:/ %€$-]*")


def find_header(rows: Sequence[Sequence[str]], rules: Sequence[KeyRule]) -> int | None:
    """Return the place of the header, or None if no row has a column for the key.

    The first rows are checked. A row is a candidate if it has a column for the key, and is the first row or has more
    cells than all rows above it, such as a title. Two rules choose among the candidates:

    - A later candidate is preferred if it has more common names, and these are most of its cells. The earlier one
      contains criteria of a report, or names groups of columns.
    - If a row above has nearly as many cells, it may be a header without the key. Common names must then be most of the
      cells of the candidate, unless the caller has chosen a column.
    """
    is_chosen = any(rule.column is not None for rule in rules)
    found, most_known, widest, widest_names = None, 0, 0, 0
    for place, cells in enumerate(rows[:MAX_HEADER_ROWS]):
        width, width_above, names_above = count_filled(cells), widest, widest_names
        widest = max(widest, width)
        if _has_label(cells):
            continue
        is_data = _has_values_beside_years(cells)
        widest_names = max(widest_names, 0 if is_data else width)
        if not (place == 0 or width > max(width_above, 1)) or not _has_key_column(cells, rules):
            continue
        known = count_known_names(cells, ALL_NAMES)
        is_better = known > max(most_known, 1) and 2 * known > width
        if found is None:
            is_narrow_above = 2 * names_above <= width or 4 * width_above < 3 * width
            is_below_title = 2 * width_above <= width or (is_narrow_above and not is_data)
            is_header = place == 0 or is_below_title or is_chosen or is_better
        else:
            is_header = is_better and _fills_key(rows[found], cells, rules)
        if is_header:
            found, most_known = place, known
    return found


def is_likely_header(cells: Sequence[str]) -> bool:
    """Return True if common names are most of the cells of a row."""
    return 2 * count_known_names(cells, ALL_NAMES) > count_filled(cells)


def find_second_header(header: Sequence[str], below: Sequence[Sequence[str]], rules: Sequence[KeyRule]) -> int | None:
    """Return the place of a row below a header that may be the header in its place, or None if there is none.

    Such a row has text in the column of the key. It differs from the header, and no later row has the same text in the
    column of the key. It is one of these:

    - the next row, if all of its cells are common names;
    - a row that names a column for the key, has no values, and has at least twice as many cells as the header;
    - the next row, if it names a column for the key and has no values, and the header names groups of columns: a cell
      between others is empty or repeated.

    If the caller has chosen a column, the row must contain its name.
    """
    chosen = [rule for rule in rules if rule.column is not None]
    names, has_gap, widest = fold_names(header), _has_gap(header), count_filled(header)
    for place, cells in enumerate(below):
        width, width_above = count_filled(cells), widest
        widest = max(widest, width)
        is_row = 1 < len(cells) <= len(header) and width > 1  # a row with more cells is reported as unusable
        if not is_row or fold_names(cells) == names or not _fills_key(header, cells, rules):
            continue
        if place == 0 and not chosen and has_only_names(cells):
            return place
        is_wide = width > width_above and width >= 2 * count_filled(header)
        may_replace = width >= width_above if chosen else is_wide or (place == 0 and has_gap)
        if may_replace and _is_name_row(cells, below[place + 1 :], chosen or rules):
            return place
    return None


def _is_name_row(cells: Sequence[str], below: Iterable[Sequence[str]], rules: Sequence[KeyRule]) -> bool:
    """Return True if a row has a column for the key, no values, and no later row has the same text in that column."""
    keys = _key_cells(cells, rules)
    is_repeated = any(place < len(row) and row[place] == name for row in below for place, name in keys)
    return _has_key_column(cells, rules) and not is_repeated and not _has_values_beside_years(cells)


def fold_names(cells: Iterable[str]) -> frozenset[str]:
    """Return the names in a row without their case and the white space around them."""
    return frozenset(cell.strip().casefold() for cell in cells)


def _fills_key(header: Sequence[str], cells: Sequence[str], rules: Iterable[KeyRule]) -> bool:
    """Return True if a row has text below a key column of a header. Without it, the header is merged vertically."""
    places = [place for place, _ in _key_cells(header, rules)]
    return not places or any(place < len(cells) and cells[place].strip() for place in places)


def _key_cells(cells: Sequence[str], rules: Iterable[KeyRule]) -> list[tuple[int, str]]:
    """Return the cells of a header that name a column of a key, with their places."""
    columns = [column for rule in rules if (column := rule.find_column(cells)) is not None]
    return [(list(cells).index(column), column) for column in columns if column in cells]


def _has_label(cells: Iterable[str]) -> bool:
    """Return True if a row begins with a label, as in ``Company: | Nordlicht GmbH``."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    return bool(filled) and filled[0].endswith(":") and not all(cell.endswith(":") for cell in filled)


def _has_values_beside_years(cells: Iterable[str]) -> bool:
    """Return True if a row has a number or an address. Columns can be named by years."""
    return any(is_value(cell) and not _YEAR.fullmatch(cell.strip()) for cell in cells)


def _has_gap(header: Sequence[str]) -> bool:
    """Return True if an empty cell, or one that repeats the cell before, comes before other cells."""
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    return any(place > 0 and name in {"", names[place - 1]} for place, name in enumerate(names))


def has_only_names(cells: Iterable[str]) -> bool:
    """Return True if a row has several cells, and all of them are common names of columns."""
    filled = [cell for cell in cells if cell.strip()]
    return len(filled) > 1 and count_known_names(filled, ALL_NAMES) == len(filled)


def is_other_header(cells: Sequence[str]) -> bool:
    """Return True if a row among the others has at least three cells, and all are common names of columns."""
    return count_filled(cells) >= MIN_OTHER_NAMES and has_only_names(cells)


def is_value(cell: str) -> bool:
    """Return True if a cell contains a number or an email address."""
    text = cell.strip()
    return "@" in cell or (len(text) <= MAX_NUMBER_CHARACTERS and _NUMBER.fullmatch(text) is not None)


def count_filled(cells: Iterable[str]) -> int:
    """Return the number of cells that are not empty."""
    return sum(1 for cell in cells if cell.strip())


def _has_key_column(cells: Sequence[str], rules: Sequence[KeyRule]) -> bool:
    if any(rule.find_column(cells) is not None for rule in rules):
        return True
    # Unique names of thousands of columns take time, so they are only made if one of them may be wanted.
    numbered = [rule for rule in rules if _UNIQUE_NAME.search(rule.column or "")]
    return any(rule.find_column(unique_column_names(cells).values()) is not None for rule in numbered)


def count_known_names(cells: Iterable[str], known_names: Container[str] = KEY_AND_LOCATION_NAMES) -> int:
    """Return how many cells of a row are in ``known_names``, by default those of a key or a location."""
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
