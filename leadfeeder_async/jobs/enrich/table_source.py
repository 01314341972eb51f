"""Tables that can be read several times: CSV files and sheets of workbooks. Their cells are strings."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterator
from datetime import date, datetime, time, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from leadfeeder_async._argument_checks import reading
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.jobs.csv_format import next_row
from leadfeeder_async.jobs.enrich.workbook_check import check_workbook, unreadable_error

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

MAX_COLUMNS = 16_384
"""The most cells of a row, and the most keys of a JSON object. A sheet of Excel has as many columns."""

_UNCLOSED_QUOTE_HINT = (
    "Look for a quote that opens in this row and is not closed. Within a quoted cell, a quote is written twice."
)

CellValue: TypeAlias = "int | float | str | bool | time | date | datetime | timedelta"
"""A cell of a sheet."""


class TableRow(msgspec.Struct, frozen=True):
    """The cells of a row, with the lines of the file that it spans."""

    cells: list[str]
    first_line: int
    last_line: int


class TableSource(Protocol):
    """A table that can be read several times."""

    @property
    def delimiter(self) -> str:
        """The character between two cells of a CSV file, or an empty string."""
        ...

    @property
    def ignores_spaces(self) -> bool:
        """True if spaces after a delimiter do not belong to a cell."""
        ...

    def rows(self) -> Iterator[TableRow]:
        """Yield the rows that are not blank."""
        ...


def open_text(path: Path, encoding: str, newline: str = "") -> IO[str]:
    """Open a text file.

    Raises:
        ConfigurationError: The file cannot be read, or the encoding is unknown.

    """
    try:
        with reading(path):
            return path.open(encoding=encoding, newline=newline)
    except LookupError:
        raise ConfigurationError(
            f"There is no encoding {encoding!r}.", hint="Try cp1252.", argument="encoding"
        ) from None


class CsvSource:
    """A CSV file.

    Args:
        path: The file.
        encoding: The encoding.
        delimiter: The character between two cells.
        line_end: The character at which a line ends: a line feed, or a carriage return for files of old Macs.
        skipped_lines: The lines at the beginning that do not belong to the table.
        ignores_spaces: True if spaces after a delimiter do not belong to a cell, so that quotes may follow them.
        keeps_nul: True if NUL characters belong to the cells.

    """

    def __init__(
        self,
        path: Path,
        encoding: str,
        delimiter: str,
        line_end: str,
        skipped_lines: int,
        *,
        ignores_spaces: bool = False,
        keeps_nul: bool = False,
    ) -> None:
        self.delimiter = delimiter
        self._keeps_nul = keeps_nul
        self._path = path
        self._encoding = encoding
        self._line_end = line_end
        self._skipped_lines = skipped_lines
        self.ignores_spaces = ignores_spaces

    def rows(self) -> Iterator[TableRow]:
        """Yield the rows that are not blank.

        Raises:
            ConfigurationError: A row is not valid CSV, or has too many cells.

        """
        with open_text(self._path, self._encoding, self._line_end) as file:
            lines = clean_lines(file, keeps_nul=self._keeps_nul)
            for _ in range(self._skipped_lines):
                next(lines, None)
            yield from self._parse(lines)

    def _parse(self, lines: Iterator[str]) -> Generator[TableRow]:
        spaces = self.ignores_spaces
        reader = csv.reader(lines, delimiter=self.delimiter, skipinitialspace=spaces, strict=True)
        begin = 1 + self._skipped_lines
        try:
            while (cells := next_row(reader)) is not None:
                end = reader.line_num + self._skipped_lines
                check_width(self._path, begin, len(cells))
                if any(map(str.strip, cells)):
                    yield TableRow(cells, begin, end)
                begin = end + 1
        except csv.Error as error:
            raise ConfigurationError(
                f"{self._path}, line {begin:,} is not valid CSV: {error}.", hint=_hint(str(error))
            ) from None


def check_width(path: Path, line: int, width: int) -> None:
    """Raise ConfigurationError if a row has more cells than a table can have."""
    check_argument(
        width <= MAX_COLUMNS,
        f"{path}, line {line:,} has {width:,} columns, and tables are read up to {MAX_COLUMNS:,} columns.",
        "Remove the columns that are not needed.",
    )


def clean_lines(file: IO[str], *, keeps_nul: bool = False) -> Iterator[str]:
    """Yield the lines of a text without a byte order mark, and without NUL characters unless they are kept."""
    for number, line in enumerate(file):
        text = line.replace("\0", "") if "\0" in line and not keeps_nul else line
        yield text if number else text.removeprefix("\ufeff")


def _hint(error: str) -> str:
    if "new-line" in error:
        return "The file mixes line ends, or a cell with a line break has no quotes. Save it again as .csv or .xlsx."
    return _UNCLOSED_QUOTE_HINT


class SheetSource:
    """A sheet of a workbook: .xlsx, .xlsm, .xlsb, .xls or .ods. It needs the extra ``excel``.

    Args:
        path: The workbook.
        name: The name of the sheet, or None for the first one that is visible.

    """

    delimiter = ""
    ignores_spaces = False

    def __init__(self, path: Path, name: str | None) -> None:
        check_argument(
            find_spec("python_calamine") is not None,
            f"{path} is a workbook, and reading it needs python-calamine.",
            "Run pip install python-calamine, or save the table as .csv.",
        )
        from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415 - an extra

        check_workbook(path)
        self._path = path
        try:
            with path.open("rb") as file:
                workbook = CalamineWorkbook.from_filelike(file)
                self.names: tuple[str, ...] = _names_of_sheets(workbook)
                """The names of the visible sheets."""
                self.name = self._choose(path, name, workbook.sheet_names)
                self._sheet: CalamineSheet = workbook.get_sheet_by_name(self.name)
        except (CalamineError, OSError) as error:
            raise unreadable_error(path, error) from None

    def _choose(self, path: Path, name: str | None, all_names: list[str]) -> str:
        found = name if name is not None else next(iter(self.names), None)
        if found is None or found not in all_names:
            missing = "has no visible sheet" if found is None else f"has no sheet {found!r}"
            raise ConfigurationError(
                f"{path} {missing}. Its sheets are {', '.join(map(repr, all_names)) or 'none'}.",
                hint="Pass sheet= with one of these names.",
                argument="sheet",
            )
        return found

    def rows(self) -> Iterator[TableRow]:
        """Yield the rows that are not blank.

        Raises:
            ConfigurationError: The sheet has too many columns.

        """
        for number, values in enumerate(self._sheet.iter_rows(), 1):
            check_width(self._path, number, len(values))
            cells = list(map(_text_of, values))
            if any(map(str.strip, cells)):
                yield TableRow(cells, number, number)


def _names_of_sheets(workbook: CalamineWorkbook) -> tuple[str, ...]:
    from python_calamine import SheetTypeEnum, SheetVisibleEnum  # noqa: PLC0415 - an extra

    return tuple(
        sheet.name
        for sheet in workbook.sheets_metadata
        if sheet.visible == SheetVisibleEnum.Visible and sheet.typ == SheetTypeEnum.WorkSheet
    )


def _text_of(value: CellValue) -> str:
    """Return a cell as text, as a spreadsheet shows it. Whole numbers have no decimal point."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, date | time) else str(value)
