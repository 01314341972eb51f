"""Read ids from arguments, from a file or from stdin: JSON lines, CSV, or one id per line."""

from __future__ import annotations

import asyncio
import codecs
import csv
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Container, Iterable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from leadfeeder_async._argument_checks import reading
from leadfeeder_async.cli import windows_stdin
from leadfeeder_async.cli.input_files import interruptible
from leadfeeder_async.cli.printing import pluralize, print_err
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.jobs.csv_format import next_row
from leadfeeder_async.models.columns import Json, json_at

if TYPE_CHECKING:
    from leadfeeder_async.jobs.hidden_rows import RowShapes

ID_COLUMNS = ("id", "{scope}_id", "{scope}.id")
"""The names of columns that contain an id of a scope, if ``--column`` is not given."""

_TYPES = {
    "company": frozenset({"company", "company_summary", "company_match"}),
    "contact": frozenset({"contact", "contact_summary"}),
}
"""The types of records whose ``id`` is that of a company or contact."""

_OTHER_TYPES = frozenset(
    {
        *_TYPES["company"],
        *_TYPES["contact"],
        "company_location",
        "list",
        "signal",
        "tag",
        "web_visit",
    }
)
"""Types of records that a file with ids may contain. A column of the user may have other values."""

MAX_NAMED_COLUMNS, MAX_NAME_CHARACTERS = 20, 40
"""The most columns that an error names, and the characters of a name that it shows."""

MAX_LINE_BYTES = 64 * 1024 * 1024
"""The longest line that is read from a pipe."""

_DECODER: msgspec.json.Decoder[dict[str, Json]] = msgspec.json.Decoder()
_DELIMITERS = ",;\t|"

_SPREADSHEET_VALUE = re.compile(r"[=']|\d+\.0+$|\d+(?:\.\d+)?[eE]\+|\d+\.\d+[eE]\d")
"""A formula, a text behind an apostrophe, or a number with decimals or an exponent."""


_QUOTE_HINT = "Look for a quote that is not closed. Within a quoted cell, a quote is written twice."


class IdParser:
    """Finds the id in each line of an input.

    A header, or the first quoted line, makes all following lines CSV. Otherwise, each line is a JSON object or an id.

    Args:
        source: The name of the input, for errors.
        scope: ``company`` or ``contact``, the type of the records.
        column: The column or JSON key of the id. None detects it.

    """

    def __init__(self, source: str, scope: str, column: str | None) -> None:
        self._source = source
        self._scope = scope
        self._column = column
        self._number = 0
        self._is_checked = False
        """True if a line before was neither blank nor the beginning of another format."""
        self._has_started = False
        self._delimiter = ","
        self._separator: str | None = None
        """The delimiter that the first line names, as Excel writes it."""
        self._cell: int | None = None
        """The position of the id in a row of CSV. None if the input is not CSV."""
        self._type_cell: int | None = None
        """The position of the type of the records in a row of CSV."""
        self._header = list[str]()
        self._known_names = set[str]()
        """The names of columns that may contain the id, in lower case."""
        self._width = 0
        """The number of columns of CSV. A column without a header is the only one."""
        self._row_shapes: RowShapes | None = None
        """The shapes of the CSV rows so far."""
        self._rows_without_id = 0
        self._unfinished = list[str]()
        """The lines of a CSV row that has an open quote."""
        self._id_lengths = dict[str, set[int]]()
        """The lengths of the ids of the CSV rows so far, by the kinds of their characters."""

    def feed(self, line: bytes) -> str | None:
        """Return the id in a line, or None if there is none: a blank line, a header, or part of a CSV row."""
        self._number += 1
        if not self._is_checked:
            self._check_format(line)
        try:
            text = line.decode("utf-8-sig")  # joined files have a byte order mark in the middle
        except UnicodeDecodeError:
            raise self._error("is not UTF-8", "Save the ids as UTF-8.") from None
        if not text.strip():
            return None
        self._is_checked = True
        if self._cell is not None:
            return self._id_in_row(text)
        if text.lstrip().startswith("{"):
            self._has_started = True
            found = self._id_in_json(text)
            self._rows_without_id += not found
            return self._single_id(found.strip()) if found else None
        if not self._has_started and self._read_separator_or_header(text):
            return None
        if text.lstrip().startswith('"'):  # a single column of quoted ids without a header
            self._cell, self._width = 0, 1
            return self._id_in_row(text)
        return self._single_id(text.strip())

    def _single_id(self, text: str) -> str:
        """Return a text that is an id, or raise ConfigurationError if it has several words or is another value."""
        from leadfeeder_async.jobs.enrich.key_normalization import is_placeholder, remove_invisible  # not always needed

        text = remove_invisible(text) if "\0" not in text else text
        if any(letter in _DELIMITERS or letter.isspace() or letter == "\0" for letter in text):
            raise self._error(
                f"is not a single id: {text[:40]!r}", "Give one id per line, or a header with an id column."
            )
        if _SPREADSHEET_VALUE.match(text) or is_placeholder(text):
            raise self._error(
                f"has {text[:40]!r} instead of an id", "Export the ids as text, and remove the lines without an id."
            )
        return text

    def _check_format(self, line: bytes) -> None:
        """Raise ConfigurationError if a first line shows that the input has another format."""
        from leadfeeder_async.jobs.enrich.file_format import JSON_REFUSAL, find_refusal  # not always needed

        text = line.removeprefix(codecs.BOM_UTF8).strip()
        if text.isalnum():  # some ids begin like an archive
            return
        refusal = JSON_REFUSAL if text.startswith(b"[") else find_refusal(line)
        if refusal is not None:
            hint = "Pass the ids as .csv, as JSON lines, or as text with one id per line."
            raise ConfigurationError(f"{self._source} {refusal[0]}.", hint=hint)

    def _read_separator_or_header(self, text: str) -> bool:
        """Return True if a line is the header of a CSV file, or names its delimiter."""
        from leadfeeder_async.jobs.enrich.file_format import separator_of  # not needed by other inputs

        if self._number == 1 and (separator := separator_of(text)) is not None:
            self._separator = separator
            return True
        self._has_started = True
        return self._read_header(text)

    def _read_header(self, text: str) -> bool:
        """Return True if a line is the header of a CSV file, and remember the position of the id."""
        wanted = [name.format(scope=self._scope) for name in ID_COLUMNS] if self._column is None else [self._column]
        self._known_names = {name.casefold() for name in wanted}
        names = self._split_header(text, self._known_names)
        found = [place for place, name in enumerate(names) if name.casefold() in self._known_names]
        if len(found) > 1:
            several = ", ".join(repr(names[place]) for place in found)
            raise ConfigurationError(
                f"{self._source} has several columns that may contain the id: {several}.",
                hint="Name the right one. Each name must occur once.",
                argument="column",
            )
        self._cell = found[0] if found else None
        if self._cell is None and (len(names) > 1 or self._column is not None):
            columns = ", ".join(repr(name[:MAX_NAME_CHARACTERS]) for name in names[:MAX_NAMED_COLUMNS])
            more = f", and {len(names) - MAX_NAMED_COLUMNS:,} more" if len(names) > MAX_NAMED_COLUMNS else ""
            raise ConfigurationError(
                f"{self._source} has no column {' or '.join(map(repr, wanted))}. Its columns are {columns}{more}.",
                hint="Without a header, give one id per line.",
                argument="column",
            )
        if self._cell is not None:
            from leadfeeder_async.jobs.hidden_rows import RowShapes  # not needed by other inputs

            folded = [name.casefold() for name in names]
            if self._column is None and folded[self._cell] == "id" and folded.count("type") == 1:
                self._type_cell = folded.index("type")

            self._width, self._header = len(names), self._cells([text]) or []
            self._row_shapes = RowShapes(text.split(self._delimiter))
            for width in (self._width - 1, self._width + 1):  # the first rows may be broken
                self._row_shapes.allow(width)
        return self._cell is not None

    def _split_header(self, text: str, known: Container[str]) -> list[str]:
        """Return the names in a header, and remember the delimiter: the most frequent one beside a known name."""
        likely = [self._separator] if self._separator else sorted(_DELIMITERS, key=text.count, reverse=True)
        longest, delimiter, failure = list[str](), likely[0], None
        for self._delimiter in likely:
            try:
                names = [name.strip() for name in self._cells([text]) or [text]]
            except ConfigurationError as error:  # quoted names with another delimiter
                failure = error
                continue
            if any(name.casefold() in known for name in names):
                return names
            if len(names) > len(longest):
                longest, delimiter = names, self._delimiter
        if failure is not None and not longest:
            raise failure
        self._delimiter = delimiter
        return longest

    def _id_in_row(self, text: str) -> str | None:
        self._unfinished.append(text)
        if len(self._unfinished) > 1 and ('"' not in text or self._cells(['"' + text]) is None):
            return None
        cells = self._cells(self._unfinished)
        if cells is None:
            return None
        is_single_line, self._unfinished = len(self._unfinished) == 1, []
        position = self._cell or 0
        self._check_cells(cells, position)
        found = cells[position].strip() if len(cells) > position else ""
        if len(found.split()) > 1 and not is_single_line:
            raise self._error(f"has an id with spaces or a line break: {found[:40]!r}", _QUOTE_HINT)
        if cells == self._header:  # of a file that was appended
            return None
        if found:
            self._check_type(cells)
            kind, length = _characters_of(found)
            self._id_lengths.setdefault(kind, set()).add(length)
        if is_single_line and self._row_shapes is not None:
            self._row_shapes.add(text.rstrip("\r\n").split(self._delimiter))
        if not is_single_line and self._contains_rows(cells):
            hint = "Check the quotes of the lines before it, or pass a file that has no other columns."
            raise self._error("ends a cell that contains rows with ids", hint)
        self._rows_without_id += not found and any(map(str.strip, cells))
        return self._single_id(found) if found else None

    def _check_cells(self, cells: Sequence[str], position: int) -> None:
        """Raise ConfigurationError if a row has more or fewer cells than needed, or is the header of a table."""
        if self._width and any(map(str.strip, cells[self._width :])):
            raise self._error(
                f"has {pluralize(len(cells), 'cell')} for {pluralize(self._width, 'column')}", _QUOTE_HINT
            )
        if len(cells) <= position and any(map(str.strip, cells)):
            raise self._error(f"has no cell in column {position + 1}, that of the id", _QUOTE_HINT)
        if cells != self._header and self._is_header(cells, position):
            hint = "Delete the lines above the header, or split the file."
            raise self._error("has names of columns, but the header is above it", hint)

    def _is_header(self, cells: Sequence[str], position: int) -> bool:
        """Return True if a row has the names of the header in another order, or only names before the first id."""
        names = {cell.strip().casefold() for cell in cells}
        if names == {name.strip().casefold() for name in self._header}:
            return True
        found = "".join(cells[position : position + 1]).strip()
        if not found or self._id_lengths or self._known_names.isdisjoint(names):
            return False
        from leadfeeder_async.jobs.enrich.header_search import has_only_names  # not needed by other inputs

        return has_only_names(cells)

    def _check_type(self, cells: Sequence[str]) -> None:
        """Raise ConfigurationError if a row has the type of other records, whose ids must not be sent."""
        if self._type_cell is None or len(cells) <= self._type_cell:
            return
        kind = cells[self._type_cell].strip()
        if kind in _OTHER_TYPES - _TYPES[self._scope]:
            hint = "Name the column of the id with --column, such as company.id."
            raise self._error(f"is a {kind}, not a {self._scope}", hint)

    def _contains_rows(self, cells: Sequence[str]) -> bool:
        """Return True if a line within a cell has all cells of a row and an id, as after an unclosed quote.

        A word is considered an id if its characters and its length resemble those of an id in an earlier row.
        """
        from leadfeeder_async.jobs.hidden_rows import rows_within  # not needed by other inputs

        if self._row_shapes is None:
            return False
        for row in rows_within(cells, self._delimiter, self._row_shapes):
            found = row.cell(self._cell or 0).strip()
            kind, length = _characters_of(found)
            lengths = self._id_lengths.get(kind, set[int]()) if self._id_lengths else {length}
            if len(found.split()) == 1 and any(abs(length - known) <= MAX_LENGTH_DIFFERENCE for known in lengths):
                return True
        return False

    def _id_in_json(self, text: str) -> str | None:
        try:
            record = _DECODER.decode(text)
        except (msgspec.MsgspecError, RecursionError):
            raise self._error("is not a JSON object", "Give one JSON object or one id per line.") from None
        found = record.get("type")
        kind = found.strip() if isinstance(found, str) else ""
        if self._column is None and kind and kind not in _TYPES[self._scope]:
            raise self._error(f"is a {kind}, not a {self._scope}", "Name the id with --column, such as company.id.")
        if self._column is None and not kind:
            return self._only_id(record)
        name = self._column or "id"
        path = name.split(".") if record.get(name) is None else [name]  # a flat row has a key such as `company.id`
        for key in (path, ["attributes", *path], ["relationships", *path]):
            found = _as_id(json_at(record, key))
            if found is not None:
                return found
        parent = json_at(record, path[:-1])
        if record.get(name, UNSET) is None or (isinstance(parent, dict) and parent.get(path[-1], UNSET) is None):
            return None  # a row that no company was found for
        if path == [self._scope, "id"] and (self._scope in record or "relationships" in record) and parent is None:
            return None  # a visit without a company
        hint = "Correct --column." if self._column else "Name the key of the id with --column."
        raise self._error(f"has no {self._column or 'id'!r}", hint)

    def _only_id(self, record: dict[str, Json]) -> str | None:
        """Return the id of an object without a ``type``, or None if it has a key of an id whose value is null."""
        names = [name.format(scope=self._scope) for name in ID_COLUMNS]
        values = dict[str, Json]()
        for name in names:
            *path, key = [name] if name in record else name.split(".")
            parent = json_at(record, path)
            if isinstance(parent, dict) and key in parent:
                values[name] = parent[key]
            elif path and path[0] in record and parent is None:
                values[name] = None
        ids = {name: found for name, value in values.items() if (found := _as_id(value)) is not None}
        if len(set(ids.values())) > 1 or (ids and any(record.get(name, UNSET) is None for name in values)):
            several = ", ".join(map(repr, values))
            raise self._error(
                f"has several keys that may contain the id: {several}", "Name the right one with --column."
            )
        if not ids and None not in values.values():
            raise self._error(f"has no {' or '.join(map(repr, names))}", "Name the key of the id with --column.")
        return next(iter(ids.values()), None)

    def _cells(self, lines: Sequence[str]) -> list[str] | None:
        """Return the cells of a CSV row, or None if it has an open quote at its end, so that the row continues."""
        is_open = False

        def given() -> Iterator[str]:
            nonlocal is_open
            yield from lines
            is_open = True  # the reader only gets here if the row continues

        try:
            reader = csv.reader(given(), delimiter=self._delimiter, skipinitialspace=True, strict=True)
            # A row of several lines may begin with a quote that is never closed, so its cells have Python's limit.
            cells = (next_row(reader) if len(lines) == 1 else next(reader, None)) or []
        except csv.Error:
            if is_open:
                return None
            if "\r" in lines[0].rstrip("\r\n") and '"' not in lines[0]:
                raise self._error("has old Mac line ends", "Save the file with other line ends.") from None
            raise self._error(
                f"is not valid CSV, or has several lines and a cell of more than {csv.field_size_limit():,} characters",
                _QUOTE_HINT,
            ) from None
        return None if is_open else cells

    def finish(self) -> None:
        """Check that the input did not end within a row, and print how many rows had no id.

        Raises:
            ConfigurationError: A quote was not closed.

        """
        if self._unfinished:
            self._number -= len(self._unfinished) - 1
            raise self._error("has a quote that is not closed", _QUOTE_HINT)
        if self._rows_without_id:
            print_err(f"{pluralize(self._rows_without_id, 'row')} of {self._source} without an id left out.")

    def _error(self, problem: str, hint: str) -> ConfigurationError:
        return ConfigurationError(f"Line {self._number:,} of {self._source} {problem}.", hint=hint)


MAX_LENGTH_DIFFERENCE = 2
"""The characters by which ids of one kind may differ in length."""


def _characters_of(text: str) -> tuple[str, int]:
    """Return the kinds of characters of a text, and its length."""
    kinds = ("digits" if any(map(str.isdigit, text)) else "", "letters" if any(map(str.isalpha, text)) else "")
    return " and ".join(filter(None, kinds)), len(text)


def _as_id(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def ids_in_lines(lines: Iterable[bytes], parser: IdParser) -> Iterator[str]:
    """Yield the id of each line that has one."""
    for line in lines:
        found = parser.feed(line)
        if found is not None:
            yield found
    parser.finish()


def read_ids_of_file(path: Path, scope: str, column: str | None) -> list[str]:
    """Return the ids in a file.

    Raises:
        ConfigurationError: The file cannot be read, or a line has no id.

    """
    from leadfeeder_async.jobs.tabular import WORKBOOKS  # not needed by ids in arguments

    check_argument(
        path.suffix.lower() not in WORKBOOKS,
        f"{path} is a workbook. Ids are read from text files only.",
        "Save the sheet as .csv, or pass the output file of `leadfeeder enrich`.",
    )
    with reading(path), interruptible(), path.open("rb") as file:
        return list(ids_in_lines(file, IdParser(str(path), scope, column)))


async def ids_from_stdin(scope: str, column: str | None) -> AsyncIterator[str]:
    """Yield the ids in stdin as they arrive."""
    parser = IdParser("stdin", scope, column)
    async with aclosing(_lines_of_stdin()) as lines:
        async for line in lines:
            found = parser.feed(line)
            if found is not None:
                yield found
    parser.finish()


async def _lines_of_stdin() -> AsyncGenerator[bytes, None]:
    if not windows_stdin.LOOP_READS_STDIN:
        async for line in windows_stdin.read_lines():
            yield line
        return
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
        )
    except (ValueError, OSError, NotImplementedError):  # a regular file, or a system without such pipes
        for line in sys.stdin.buffer:
            yield line
        return
    try:
        while line := await _next_line(reader):
            yield line
    finally:
        transport.close()


async def _next_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:  # of the reader, for a line above its limit
        raise ConfigurationError(
            f"A line of stdin is longer than {MAX_LINE_BYTES:,} bytes.", hint="Give one id per line."
        ) from None


def choose_ids(
    ids: Sequence[str] | None, source: str | None, scope: str, column: str | None
) -> Sequence[str] | AsyncIterator[str]:
    """Return the ids of a command: its arguments, or those in a file or in stdin.

    Args:
        ids: The arguments. A single ``-`` means stdin.
        source: The value of ``--ids``: a file, or ``-`` for stdin.
        scope: ``company`` or ``contact``.
        column: The value of ``--column``.

    Raises:
        ConfigurationError: There are no ids, or several sources of ids, or the file cannot be read.

    """
    if ids and list(ids) == ["-"] and source is None:
        ids, source = None, "-"
    for each in ids or ():
        check_argument(not each.startswith("-"), f"Unknown option or id {each!r}.", "See --help for the options.")
    check_argument(
        not ids or source is None, "Ids are given both as arguments and with --ids.", "Leave out one of them."
    )
    check_argument(
        ids or source is not None, "No ids are given.", "Give them as arguments, with --ids FILE, or `-` for stdin."
    )
    check_argument(column is None or source is not None, "--column needs a file of ids.", "Add --ids.")
    if source is None:
        return list(ids or ())
    if source == "-":
        check_argument(not sys.stdin.isatty(), "stdin is a terminal, so there are no ids to read.", "Pipe ids into it.")
        return ids_from_stdin(scope, column)
    return read_ids_of_file(Path(source), scope, column)
