"""Input files: tables, JSON lines, or one key per line. They are checked completely before a credit is spent."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, NoReturn

import msgspec

from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.jobs.enrich.file_format import detect_format, separator_of
from leadfeeder_async.jobs.enrich.header_check import find_data_above, find_number_in_key, find_repeated_column
from leadfeeder_async.jobs.enrich.header_search import (
    MAX_HEADER_ROWS,
    count_known_names,
    find_header,
    find_second_header,
    fold_names,
    is_likely_header,
    is_other_header,
    is_value,
    unique_column_names,
    unique_name,
)
from leadfeeder_async.jobs.enrich.key_normalization import (
    CUSTOMER_NAMES,
    KEY_AND_LOCATION_NAMES,
    By,
    FileRow,
    KeyRule,
    find_names,
    has_value,
    normalize_column_name,
    parse_rules,
    unshared_key,
)
from leadfeeder_async.jobs.enrich.table_footer import TableFooter
from leadfeeder_async.jobs.enrich.table_source import (
    CsvSource,
    SheetSource,
    TableRow,
    TableSource,
    check_width,
    clean_lines,
    open_text,
)
from leadfeeder_async.jobs.hidden_rows import RowShapes, rows_within

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
"""The delimiters that are detected, and their names."""

_SAMPLE_ROWS = 50
_SAMPLE_CHARACTERS = 65_536
_LINE_ENDS = frozenset("\r\n")

_MAX_SHOWN_NAMES, _MAX_SHOWN_CHARACTERS = 100, 100
"""The most names of columns in an error, and the most characters of each."""


class InputFile(Iterable[FileRow]):
    """The rows of a file, which can be read several times.

    ``.ndjson`` and ``.jsonl`` files have one JSON object or string per line, and ``.txt`` files one key per line.
    ``.xlsx``, ``.xlsm``, ``.xlsb``, ``.xls`` and ``.ods`` files are workbooks, which need the extra ``excel``. All
    other files are CSV, with commas, semicolons, tabs or pipes, or with the separator of a first line such as
    ``sep=;``. The constructor reads the file once.

    A row has a ``problem`` if an unclosed quote may hide other rows in it, or if it may be a note.

    Args:
        path: The file.
        by: The kind of key, or several. See ``lf.enrich.companies``.
        column: The column that contains the key. By default, it is detected by common names.
        encoding: The encoding of a text file. The default is UTF-8, or UTF-16 and UTF-32 if the file shows that.
        sheet: The sheet of a workbook. The default is the first one that is visible.

    Raises:
        ConfigurationError: The file cannot be read, a line is not valid, or no column contains the key.

    """

    def __init__(
        self,
        path: Path,
        by: str | Collection[str],
        column: str | None = None,
        encoding: str | None = None,
        sheet: str | None = None,
    ) -> None:
        self.path = path
        self._rules = parse_rules(by, column)
        self._format, self._encoding = detect_format(path, encoding)
        check_argument(
            sheet is None or self._format == "workbook",
            f"{path} is not a workbook, so it has no sheets.",
            "Leave out the name of the sheet.",
            argument="sheet",
        )
        self._header = Header()
        self._json_columns = dict[str, str]()
        """The columns of JSON objects that rules may use, by normalized name."""
        self._source: TableSource | None = None
        try:
            self._source = self._find_source(sheet)
            if self._source is not None:
                self._header = self._find_header(self._source)
        except UnicodeError as error:
            self._raise_encoding(error)
        self._rows = self._count_rows()

    def __len__(self) -> int:
        return self._rows

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns. Empty if the file has no header."""
        return self._header.names

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that may contain keys, in any row."""
        return self.columns or tuple(self._json_columns.values())

    @property
    def description(self) -> str:
        """The format, the encoding and the columns of the keys, as they were detected."""
        return ". ".join((", ".join(self._describe_format()), self._describe_keys()))

    def __iter__(self) -> Generator[FileRow]:
        """Yield the rows that were counted at the start.

        Raises:
            ConfigurationError: The file has more or fewer rows now.
        """
        count = 0
        with closing(self._read_rows()) as rows:
            for row in rows:
                if count == self._rows:
                    self._raise_changed("more")
                count += 1
                yield row
        if count < self._rows:
            self._raise_changed("fewer")

    def _count_rows(self) -> int:
        count, names, found, seen = 0, tuple[str, ...](), dict[str, str](), dict[str, str]()
        first = list[Mapping[str, object]]()
        has_strings = False
        for row in self._read_rows():
            count += 1
            if self._source is not None or not isinstance(row.cells, Mapping):
                has_strings = True
                continue
            if tuple(row.cells) != names:
                names = tuple(row.cells)
                found = find_names(names, self._rules)
                seen |= found
            self._json_columns |= {alias: name for alias, name in found.items() if has_value(row.cells[name])}
            if len(first) < MAX_HEADER_ROWS:
                first.append(row.cells)
        if first and not has_strings and all(rule.choose_name(seen) is None for rule in self._rules):
            self._raise_no_column(list(dict.fromkeys(name for row in first for name in row)))
        names = self.key_columns
        self._check_numbers(names, [[_shown(row.get(name)) for name in names] for row in first])
        return count

    def _read_rows(self) -> Generator[FileRow]:
        try:
            if self._source is not None:
                footer = self._header.footer()
                for row in islice(self._source.rows(), self._header.skipped_rows, None):
                    yield self._header.row(row, footer)
                return
            with open_text(self.path, self._encoding) as file:
                yield from self._json_lines(file) if self._format == "json lines" else _text_lines(file)
        except UnicodeError as error:
            self._raise_encoding(error)

    def _json_lines(self, file: IO[str]) -> Generator[FileRow]:
        decoder = msgspec.json.Decoder(dict[str, object] | str)
        for number, text in enumerate(clean_lines(file), 1):
            if text.strip():
                try:
                    row = decoder.decode(text)
                except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
                    raise ConfigurationError(
                        f"{self.path}, line {number:,} is not a JSON object or a JSON string.",
                        hint="Write each row on a line of its own. `jq -c '.[]'` converts an array.",
                    ) from None
                check_width(self.path, number, 1 if isinstance(row, str) else len(row))
                yield FileRow(row, number, text.strip())

    # detection

    def _find_source(self, sheet: str | None) -> TableSource | None:
        """Return the table of the file, or None if it has one key or one JSON value per line."""
        if self._format == "workbook":
            return SheetSource(self.path, sheet)
        if self._format == "json lines":
            return None
        with open_text(self.path, self._encoding) as file:
            beginning = file.read(_SAMPLE_CHARACTERS).removeprefix("\ufeff")
        line_end = _line_end_of(beginning)
        first_lines = beginning.split(line_end, 20)
        blank = next((place for place, line in enumerate(first_lines) if line.strip()), 0)
        first_line = first_lines[blank]
        separator = separator_of(first_line)
        # Quotes may follow spaces only if they do so in the header. Otherwise, such a quote is a part of its cell.
        header = first_lines[blank : blank + 1] if separator is None else first_lines[blank + 1 : blank + 2]
        spaced = any(map(_SPACE_BEFORE_QUOTE.search, header))
        if separator is not None:
            return CsvSource(self.path, self._encoding, separator, line_end, blank + 1, ignores_spaces=spaced)
        candidates = [
            CsvSource(self.path, self._encoding, delimiter, line_end, 0, ignores_spaces=spaced)
            for delimiter in DELIMITERS
            if delimiter in beginning
        ]
        scores = [(self._score(source), source) for source in candidates]
        best = max(scores, key=lambda pair: pair[0], default=None)
        source = best[1] if best else CsvSource(self.path, self._encoding, ",", line_end, 0, ignores_spaces=spaced)
        if self._format == "text":
            has_columns = "\t" in first_line or any(rule.column is not None for rule in self._rules)
            return source if has_columns or self._has_header(source) else None
        return source

    def _score(self, source: CsvSource) -> tuple[float, ...]:
        """Return how well a delimiter fits: the keys that have a column, the known names, and rows of equal length."""
        try:
            rows = [row.cells for row in islice(source.rows(), _SAMPLE_ROWS)]
        except ConfigurationError:
            return (-1,)
        header = find_header(rows, self._rules)
        names = rows[header or 0] if rows else []
        known = count_known_names(names)
        found = 0 if header is None else sum(rule.find_column(names) is not None for rule in self._rules)
        below = rows[(header or 0) + 1 :]
        if len(names) > 1 and 2 * sum(len(cells) > 1 for cells in below) < len(below):
            found = known = 0  # a comma within a name of the header
        equal = sum(len(cells) == len(names) for cells in rows) / len(rows) if len(names) > 1 else 0
        return (found, known, equal, len(names))

    def _has_header(self, source: CsvSource) -> bool:
        try:
            rows = [row.cells for row in islice(source.rows(), MAX_HEADER_ROWS)]
        except ConfigurationError:
            return False
        place = find_header(rows, self._rules)
        if place is None:
            return False
        below = rows[place + 1 :]
        is_table = 2 * sum(len(cells) == len(rows[place]) for cells in below) > len(below) > 0
        return place == 0 or is_table or is_likely_header(rows[place])

    def _find_header(self, source: TableSource) -> Header:
        rows = list(islice(source.rows(), MAX_HEADER_ROWS))
        check_argument(rows, f"{self.path} is empty: it has no header and no rows.")
        place = find_header([row.cells for row in rows], self._rules)
        if place is not None:
            self._check_explicit_columns(rows[place].cells)
            below = rows[place + 1 :]
            second = find_second_header(rows[place].cells, [row.cells for row in below], self._rules)
            if second is not None:
                raise ConfigurationError(
                    f"Line {rows[place].first_line:,} and line {below[second].first_line:,} of {self.path} may both be "
                    "the header.",
                    hint="Delete the line that is not the header, name all columns, or pass column=.",
                )
            self._check_header(rows, place)
            return Header.of(rows[place], self._rules, place + 1, source)
        first = rows[0].cells
        has_known_name = count_known_names(first) > 0 or normalize_column_name(first[0]) in CUSTOMER_NAMES
        is_explicit = any(rule.column is not None or rule.location for rule in self._rules)
        has_cells = [len(row.cells) > 1 for row in rows]
        is_table = 2 * sum(has_cells) > len(rows) or (len(rows) > 1 and all(has_cells[-2:]))
        if len(first) > 1 or is_table or has_known_name or is_explicit:
            widest = max(rows, key=lambda row: len(row.cells)).cells
            self._raise_no_column(list(unique_column_names(widest).values()))
        return Header()

    def _check_header(self, rows: Sequence[TableRow], place: int) -> None:
        """Raise ConfigurationError if the rows around a header show that it may be another one."""
        cells, header = [row.cells for row in rows], rows[place].cells
        repeated = find_repeated_column(header, self._rules)
        if repeated is not None:
            normalized = normalize_column_name(repeated)
            unique = zip(header, unique_column_names(header).values(), strict=True)
            names = [name for given, name in unique if normalize_column_name(given) == normalized]
            raise ConfigurationError(
                f"{self.path} has several columns with the name {repeated!r}.",
                hint=f"Pass column= with one of {_list_of(names)}."
                if len(self._rules) == 1
                else f"Name the column in its key, such as domain=Website. There is {_list_of(names)}.",
                argument="column" if len(self._rules) == 1 else "by",
            )
        self._check_numbers(header, cells[place + 1 :])
        data = find_data_above(cells, place, self._rules) if place else None
        if data is not None:
            raise ConfigurationError(
                f"Line {rows[place].first_line:,} of {self.path} may be its header or a row, because line "
                f"{rows[data].first_line:,} has a key too.",
                hint="Delete the lines above the header, or add a header as the first line.",
            )

    def _check_numbers(self, header: Sequence[str], below: Sequence[Sequence[str]]) -> None:
        number = find_number_in_key(header, below, self._rules)
        if number is not None:
            kind, column, value = number
            wanted = _KEY_NAMES[kind]
            raise ConfigurationError(
                f"The column {column!r} of {self.path} has numbers such as {value!r} instead of a {wanted}.",
                hint=f"Pass column= with the column of the {wanted}. If the header is further below, delete the lines "
                "above it.",
                argument="column",
            )

    # descriptions and errors

    def _describe_format(self) -> Iterator[str]:
        if isinstance(self._source, SheetSource):
            count = len(self._source.names)
            more = f" (one of {count:,})" if count > 1 else ""
            yield f"workbook, sheet {self._source.name!r}{more}"
        elif isinstance(self._source, CsvSource):
            delimiter = DELIMITERS.get(self._source.delimiter, repr(self._source.delimiter))
            yield f"table separated by {delimiter}" if len(self.columns) > 1 else "table with one column"
        else:
            yield _FORMAT_NAMES[self._format]
        if self._encoding:
            yield f"encoding {self._encoding}"
        if self.columns:
            skipped = self._header.skipped_rows - 1
            above = f" (rows above it: {skipped:,})" if skipped else ""
            yield f"header in line {self._header.line:,}{above}"
        elif self._source is not None:
            yield "no header, so that each line is a key"

    def _describe_keys(self) -> str:
        if not self.key_columns:
            return f"Key: {', then '.join(map(str, self._rules))}"
        found = [(rule, rule.find_column(self.key_columns)) for rule in self._rules]
        used = [f"{rule.kind} in column {column!r}" for rule, column in found if column is not None]
        missing = [rule.kind for rule, column in found if column is None]
        unused = f" (no column for {', '.join(missing)})" if missing else ""
        return f"Key: {', then '.join(used)}{unused}"

    def _check_explicit_columns(self, cells: Sequence[str]) -> None:
        chosen = [rule.column for rule in self._rules if rule.column is not None]
        names = list(unique_column_names(cells, chosen).values())
        for rule in self._rules:
            for column in rule.missing_columns(names):
                self._raise_no_column(names, column)
            if rule.column is not None and _is_data_row(names, rule.column, rule.kind):
                raise ConfigurationError(
                    f"{self.path} has no header: its column {rule.column!r} is named like a key.",
                    hint="Add a line with the names of the columns.",
                    argument="column",
                )

    def _raise_no_column(self, names: Sequence[str], column: str | None = None) -> NoReturn:
        person = ""
        is_by_name = any(rule.kind == "name" for rule in self._rules)
        if is_by_name and any(normalize_column_name(name) == "name" for name in names[:_MAX_SHOWN_NAMES]):
            person = " A column 'name' beside a first or last name is taken for persons."
        wanted = repr(column) if column else " or ".join(repr(rule.column or rule.kind) for rule in self._rules)
        raise ConfigurationError(
            f"{self.path} has no column for {wanted}. It has {_list_of(names)}.",
            hint="Pass column= with one of these names. If the header is further below, delete the lines above it. If "
            f"there is none, add one.{person}",
            argument="column",
        )

    def _raise_changed(self, change: str) -> NoReturn:
        raise ConfigurationError(
            f"{self.path} has {change} rows now than the {self._rows:,} that were counted at the start.",
            hint="Use a copy that no program changes.",
        )

    def _raise_encoding(self, error: UnicodeError) -> NoReturn:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        line = f", line {self._bad_line():,}" if self._encoding.casefold().startswith("utf-8") else ""
        raise ConfigurationError(
            f"{self.path}{line} is not valid {self._encoding}: {reason}.",
            hint='Save it as UTF-8, or pass its encoding, such as encoding="cp1252".',
            argument="encoding",
        ) from None

    def _bad_line(self) -> int:
        """Return the number of the first line that is not UTF-8, or of the last line."""
        number = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):  # noqa: B007 - the last one counts
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    break
        return number


_KEY_NAMES: dict[By, str] = {"name": "company name", "vat": "VAT ID"}

_FORMAT_NAMES: dict[str, str] = {"json lines": "JSON lines", "text": "one key per line"}


_SPACE_BEFORE_QUOTE = re.compile(r'[,;|\t] +"')

MIN_NAMED_COLUMNS = 3
"""The fewest columns in which lines of a note are not likely to look like rows with a name."""


class Header(msgspec.Struct, frozen=True):
    """The header of a table. Without names, the first cell of a row is the key."""

    names: tuple[str, ...] = ()
    normalized_names: frozenset[str] = frozenset()
    keys: tuple[int, ...] = (0,)
    """The positions of the cells that contain keys."""
    skipped_rows: int = 0
    """The number of rows up to the header, which is one of them."""
    line: int = 0
    has_names_as_keys: bool = False
    """True if a company name can be the key, so that any text would be looked up."""
    kinds: Mapping[int, By] = msgspec.field(default_factory=dict[int, By])
    """The kinds of the keys that are not names, by the positions of their cells."""
    delimiter: str = ""
    """The character between two cells of a CSV file."""
    shapes: RowShapes | None = None
    """The shapes of the rows of a CSV file."""
    folded_names: frozenset[str] = frozenset()
    """The names as the file has them, to recognize a header that is repeated."""

    @classmethod
    def of(cls, row: TableRow, rules: Iterable[KeyRule], skipped_rows: int, source: TableSource) -> Header:
        """Return the header for a row of names."""
        rules = list(rules)
        unique_names = unique_column_names(row.cells, [rule.column for rule in rules if rule.column is not None])
        names = tuple(unique_names.values())
        columns = {rule: column for rule in rules if (column := rule.find_column(names)) is not None}
        keys = tuple(sorted(map(names.index, columns.values())))
        return cls(
            names,
            frozenset(unique_names),
            keys,
            skipped_rows,
            row.first_line,
            has_names_as_keys=any(rule.kind == "name" for rule in columns),
            kinds={names.index(column): rule.kind for rule, column in columns.items() if rule.kind != "name"},
            delimiter=source.delimiter,
            shapes=_row_shapes(row, skipped_rows, source) if source.delimiter else None,
            folded_names=fold_names(row.cells),
        )

    def footer(self) -> TableFooter | None:
        """Return an object that finds notes and totals below a table with names, for one reading of the table."""
        return TableFooter(set(self.keys) - self.kinds.keys()) if self.has_names_as_keys else None

    def row(self, row: TableRow, footer: TableFooter | None) -> FileRow:
        """Return a row of the table, with the reason if it cannot be used. Extra cells are named by their position."""
        cells, problem = row.cells, self._problem(row)
        if footer is not None:
            problem = footer.problem(row) or problem
        if not self.names and len(cells) == 1:
            return FileRow(cells[0], row.first_line, problem=problem)
        named = dict(zip(self.names, cells, strict=False))
        for place, cell in enumerate(cells[len(self.names) :], len(self.names) + 1):
            named[unique_name("", place, self.normalized_names)] = cell
        return FileRow(named, row.first_line, problem=problem)

    def _problem(self, row: TableRow) -> str:
        cells, line, width = row.cells, row.first_line, max(1, len(self.names))
        if self._is_header(cells):
            return f"line {line:,} repeats the header, or has only names of columns"
        if any(map(str.strip, cells[width:])):
            return f"line {line:,} has {len(cells):,} cells, and there are {width:,} columns"
        if self.delimiter and any(
            not _LINE_ENDS.isdisjoint(cells[place].strip()) for place in self.keys if place < len(cells)
        ):
            return f"its key spans lines {line:,} to {row.last_line:,} (an unclosed quote?)"
        if row.last_line > row.first_line and self.shapes and self._hides_rows(cells, self.shapes):
            return f"lines {line:,} to {row.last_line:,} are one row, but others have a key too (an unclosed quote?)"
        if self.has_names_as_keys and len(cells) == 1 < width - 1:
            return f"line {line:,} has 1 cell, and there are {width:,} columns (a note or a broken line?)"
        return ""

    def _is_header(self, cells: Sequence[str]) -> bool:
        """Return True if a row repeats the header, or looks like that of another table."""
        if cells and cells[0].strip().casefold() in self.folded_names and fold_names(cells) == self.folded_names:
            return True
        return any(_is_name(cells[place]) for place in self.keys if place < len(cells)) and is_other_header(cells)

    def _hides_rows(self, cells: Sequence[str], shapes: RowShapes) -> bool:
        """Return True if a line within a cell has all cells of a row and another key, or several lines have its key.

        Any text can be a name. If a name can be the key, it therefore suffices that the last two lines of a cell have
        all cells of a row and equally many. The first line of the cell does not count as one of them.
        """
        own = {unshared_key(cells[place], kind) for place, kind in self.kinds.items() if place < len(cells)}
        rows, with_own_key = list[tuple[int, int]](), 0
        for row in rows_within(cells, self.delimiter, shapes):
            keys = {unshared_key(row.cell(place), kind) for place, kind in self.kinds.items()} - {None}
            with_own_key += bool(keys & own) and row.lines_before > 0
            if keys - own or with_own_key > 1:
                return True
            if row.lines_before:
                rows.append((row.lines_after, row.width))
        is_table = any((first, last) == ((1, last[1]), (0, first[1])) for first, last in pairwise(rows))
        return self.has_names_as_keys and len(self.names) >= MIN_NAMED_COLUMNS and is_table


def _is_name(cell: str) -> bool:
    """Return True if a cell is probably the common name of a column. This takes little time, for each row."""
    return cell.strip().casefold().replace(" ", "_") in KEY_AND_LOCATION_NAMES


def _shown(value: object) -> str:
    """Return a JSON value as the text of a cell."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _is_data_row(names: Iterable[str], column: str, kind: By) -> bool:
    """Return True if a header contains a number or an address, and the name of the key's column is a key itself."""
    return kind != "name" and unshared_key(column, kind) is not None and any(map(is_value, names))


def _row_shapes(header: TableRow, skipped_rows: int, source: TableSource) -> RowShapes:
    rows = islice(source.rows(), skipped_rows, skipped_rows + MAX_SHAPE_ROWS)
    on_one_line = (row.cells for row in rows if row.first_line == row.last_line)
    return RowShapes(header.cells, on_one_line, has_spaces=source.ignores_spaces)


MAX_SHAPE_ROWS = 1_000
"""The rows at the beginning of a table that show how many cells its rows have."""


def _list_of(names: Sequence[str]) -> str:
    """Return the beginning of a list of names for an error."""
    shown = [repr(name[:_MAX_SHOWN_CHARACTERS]) for name in names[:_MAX_SHOWN_NAMES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _text_lines(file: IO[str]) -> Generator[FileRow]:
    yield from (FileRow(text.strip(), number) for number, text in enumerate(clean_lines(file), 1) if text.strip())


def _line_end_of(text: str) -> str:
    """Return the character at which the lines of a text end: a line feed, or a carriage return without one."""
    is_quoted = False
    for place, char in enumerate(text):
        if char == '"':
            is_quoted = not is_quoted
        elif char == "\n" and not is_quoted:
            return "\n"
        elif char == "\r" and not is_quoted:
            return "\n" if text[place + 1 : place + 2] == "\n" else "\r"
    return "\n"
