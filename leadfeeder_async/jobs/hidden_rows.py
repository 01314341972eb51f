"""Rows that are hidden in a cell, because a quote before them is not closed. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

MAX_CHECKED_LINES, MAX_CHECKED_CHARACTERS, MAX_CHECKED_CELLS = 100, 262_144, 16
"""The most lines and characters at each end of a cell that are searched for other rows, and the most cells of a row."""


_LINE_BREAKS = frozenset("\n\r")


class RowShapes:
    """The numbers of cells that rows of a table have, and whether spaces follow the delimiters.

    Rows may end with a delimiter that the header lacks, or lack the last cells if these are empty.

    Args:
        header: The cells of the header.
        rows: The cells of rows that are on a single line.
        has_spaces: True if spaces after a delimiter are known not to belong to a cell.

    """

    def __init__(self, header: Sequence[str], rows: Iterable[Sequence[str]] = (), *, has_spaces: bool = False) -> None:
        self._width = len(header)
        self._widths = Counter({self._width: MIN_ROWS_OF_WIDTH})
        self._rows = self._rows_with_spaces = 0
        self._has_spaces = has_spaces or any(name.startswith(" ") for name in header[1:])
        for row in rows:
            self.add(row)

    def add(self, cells: Sequence[str]) -> None:
        """Record a row on a single line. A row with text in further cells is a broken one, and does not count."""
        if len(cells) > 1 and not any(map(str.strip, cells[self._width :])):
            self._widths[len(cells)] += 1
            self._rows += 1
            self._rows_with_spaces += all(map(_begins_with_one_space, cells[1:]))

    def allow(self, width: int) -> None:
        """Let rows have this number of cells, if that is more than one."""
        if width > 1:
            self._widths[width] = MIN_ROWS_OF_WIDTH

    def has(self, width: int) -> bool:
        """Return True if rows have this number of cells."""
        return self._widths[width] >= MIN_ROWS_OF_WIDTH

    @property
    def has_spaces(self) -> bool:
        """True if spaces follow the delimiters. Otherwise, a line with one space after each delimiter is text."""
        return self._has_spaces or self._rows_with_spaces > self._rows / 2


MIN_ROWS_OF_WIDTH = 2
"""The fewest rows that must have a number of cells before it counts as a usual one."""


def _begins_with_one_space(cell: str) -> bool:
    return cell[:1] == " " != cell[1:2]


class RowInCell(msgspec.Struct, frozen=True):
    """A line within a cell that has all cells of a row."""

    cells: Sequence[str]
    """The cells in this line."""
    place: int
    """The position of the first one in its row."""
    lines_before: int
    """The number of lines before it within the cell."""
    lines_after: int
    """The number of lines that follow within the cell."""
    width: int
    """The number of cells of the row."""

    def cell(self, place: int) -> str:
        """Return the cell at a position of the row, or an empty string if it is not in this line."""
        return self.cells[place - self.place] if 0 <= place - self.place < len(self.cells) else ""


def rows_within(cells: Sequence[str], delimiter: str, shapes: RowShapes) -> Iterator[RowInCell]:
    """Yield the lines within cells that have all cells of a row, as after an unclosed quote.

    Only the longest cells with several lines are searched, and only their first and last lines. After an unclosed
    quote, the lines up to the end of the cell are rows.

    Args:
        cells: The cells of a row.
        delimiter: The character between two cells.
        shapes: The shapes of the rows of the table.
    """
    spanning = [place for place, cell in enumerate(cells) if not _LINE_BREAKS.isdisjoint(cell)]
    longest = sorted(spanning, key=lambda place: len(cells[place]), reverse=True)[:MAX_CHECKED_CELLS]
    has_spaces = shapes.has_spaces
    for place in longest:
        for number, lines_after, line in _lines_at_ends(cells[place]):
            parts, first = line.split(delimiter), 0 if number else place
            rest = 0 if lines_after else len(cells) - place - 1  # the last line continues after the closing quote
            width = first + len(parts) + rest
            is_text = len(parts) > 1 and not has_spaces and all(map(_begins_with_one_space, parts[1:]))
            if (shapes.has(width) or width == len(cells) > 1) and not is_text:
                yield RowInCell(parts, first, number, lines_after, width)


def _lines_at_ends(cell: str) -> Iterator[tuple[int, int, str]]:
    """Yield the first and the last lines of a cell, each with a number of lines before and after it.

    If the cell is long, these numbers only tell whether there are any, and whether lines follow each other.
    """
    if len(cell) <= 2 * MAX_CHECKED_CHARACTERS:
        lines = cell.splitlines()
        numbers = [*range(len(lines))[:MAX_CHECKED_LINES], *range(MAX_CHECKED_LINES, len(lines))[-MAX_CHECKED_LINES:]]
        yield from ((number, len(lines) - number - 1, lines[number]) for number in numbers)
        return
    head = cell[:MAX_CHECKED_CHARACTERS].splitlines()[:-1][:MAX_CHECKED_LINES]
    tail = cell[-MAX_CHECKED_CHARACTERS:].splitlines()[1:][-MAX_CHECKED_LINES:]
    yield from ((number, len(tail) + len(head) - number, line) for number, line in enumerate(head))
    yield from ((len(head) + 1 + number, len(tail) - 1 - number, line) for number, line in enumerate(tail))
