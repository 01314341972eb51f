"""Input files: CSV with any usual delimiter, JSON lines, or one key a line, checked whole before a credit is spent."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterable
from itertools import chain, islice
from pathlib import Path
from typing import IO, NoReturn

import msgspec

from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.jobs.enrich.keys import (
    KNOWN_NAMES,
    By,
    FileRow,
    escape_surrogates,
    find_column,
    normalize_column_name,
)

_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_DELIMITERS = ",;\t"
_JSON_LINES = frozenset({".ndjson", ".jsonl"})
_LINE_ENDS = frozenset("\r\n")
_UNCLOSED_QUOTE_HINT = (
    "Look for a quote that opens in this row and is not closed; within a quoted cell, a quote is written twice."
)


class InputFile(Iterable[FileRow]):
    """The rows of a file, read anew each time it is iterated over.

    ``.ndjson`` and ``.jsonl`` hold a JSON object or text a line, ``.txt`` a key a line, anything else is CSV: delimited
    by commas, semicolons or tabs, with a header if one of its names is known or is ``column``. Text is UTF-8, or UTF-16
    with a byte order mark, unless ``encoding`` says otherwise. Making one reads the file once; ConfigurationError names
    the line that cannot be read, or the columns where none holds the key. Rows of CSV that would hide others (a key
    over several lines, more cells than columns) are there, with their ``problem``.
    """

    def __init__(self, path: Path, by: By, column: str | None = None, encoding: str | None = None) -> None:
        self.path = path
        self._by: By = by
        self._column = column
        self._encoding = encoding or _encoding_of(path)
        self._delimiter = ","
        self._head = _CsvHeader()
        if path.suffix not in _JSON_LINES and path.suffix != ".txt":
            self._detect_dialect()
        self._rows = sum(1 for _ in self)

    def __len__(self) -> int:
        return self._rows

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns; none where it has no header."""
        return self._head.names

    def __iter__(self) -> Generator[FileRow]:
        try:
            with self._open() as file:
                yield from self._rows_in(file)
        except UnicodeDecodeError as error:
            self._refuse_encoding(error)

    def _rows_in(self, file: IO[str]) -> Generator[FileRow]:
        if self.path.suffix in _JSON_LINES:
            yield from self._json_lines(file)
        elif self.path.suffix == ".txt":
            yield from (FileRow(text.strip(), number) for number, text in enumerate(file, 1) if text.strip())
        else:
            rows = self._csv_rows(file)
            yield from (self._head.row(*row) for row in islice(rows, 1 if self.columns else 0, None))

    def _csv_rows(self, file: IO[str]) -> Generator[tuple[list[str], int, int]]:
        """Read the rows that are not blank, each with its first line and its last."""
        reader, begin = csv.reader(file, delimiter=self._delimiter, strict=True), 1
        try:
            for cells in reader:
                if any(map(str.strip, cells)):
                    yield cells, begin, reader.line_num
                begin = reader.line_num + 1
        except csv.Error as error:
            self._refuse_line(begin, f"no CSV ({error})", _UNCLOSED_QUOTE_HINT)

    def _json_lines(self, file: IO[str]) -> Generator[FileRow]:
        decoder = msgspec.json.Decoder(dict[str, object] | str)
        for number, text in enumerate(file, 1):
            if text.strip():
                try:
                    row = decoder.decode(text)
                except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
                    self._refuse_line(number, "neither a JSON object nor a JSON text")
                yield FileRow(row, number, text.strip())

    def _detect_dialect(self) -> None:
        """Find the delimiter, and whether the first row is a header."""
        try:
            with self._open() as file:
                first = next((text for text in file if text.strip()), "")
                outside = "".join(first.split('"')[::2])
                self._delimiter = max(_DELIMITERS, key=outside.count)
                file.seek(0)
                names, _, _ = next(self._csv_rows(file), (list[str](), 1, 1))
        except UnicodeDecodeError as error:
            self._refuse_encoding(error)
        check_argument(bool(names), f"{self.path} is empty: it has no header and no rows.")
        known = [normalize_column_name(name) for name in names]
        wanted = find_column(known, self._by) if self._column is None else normalize_column_name(self._column)
        has_header = wanted in known or not KNOWN_NAMES.isdisjoint(known)
        if wanted not in known and (len(names) > 1 or has_header or self._column is not None):
            self._refuse_columns(names)
        if has_header:
            self._head = _CsvHeader(_unique_column_names(names), known.index(wanted) if wanted in known else 0)

    def _open(self) -> IO[str]:
        try:
            return self.path.open(encoding=self._encoding, newline="")
        except LookupError:
            raise ConfigurationError(
                f"There is no encoding {self._encoding!r}.", hint="Try cp1252.", argument="encoding"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}.") from None

    def _refuse_columns(self, names: Iterable[str]) -> NoReturn:
        wanted = f"{self._by!r}" if self._column is None else f"{self._column!r}"
        raise ConfigurationError(
            f"{self.path} has no column for {wanted}; it has {', '.join(map(repr, names))}.",
            hint="Pass column= with one of these names.",
            argument="column",
        )

    def _refuse_line(self, number: int, what: str, hint: str = "") -> NoReturn:
        raise ConfigurationError(f"{self.path}, line {number:,}: this is {what}.", hint=hint) from None

    def _refuse_encoding(self, error: UnicodeDecodeError) -> NoReturn:
        raise ConfigurationError(
            f"{self.path}, line {self._bad_line():,}: this is not {self._encoding}: {error.reason}.",
            hint='Save it as UTF-8, or pass its encoding, such as encoding="cp1252".',
            argument="encoding",
        ) from None

    def _bad_line(self) -> int:
        """Return the number of the first line that is not UTF-8, or of the last."""
        number = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):  # noqa: B007 - the last counts
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    break
        return number


class _CsvHeader(msgspec.Struct, frozen=True):
    """What the header says; without names, a row is its first cell."""

    names: tuple[str, ...] = ()
    key: int = 0
    """Which cell holds the key."""

    def row(self, cells: list[str], begin: int, end: int) -> FileRow:
        """Make a row of its cells, and say what is wrong with it; cells without a name are called by their place."""
        width = max(1, len(self.names))
        problem = ""
        if any(map(str.strip, cells[width:])):
            problem = f"line {begin:,} has {len(cells):,} cells, and there are {width:,} columns"
        elif len(cells) > self.key and not _LINE_ENDS.isdisjoint(cells[self.key].strip()):
            problem = f"its key spans lines {begin:,} to {end:,} (an unclosed quote?)"
        if not self.names and len(cells) == 1:
            return FileRow(cells[0], begin, problem=problem)
        beyond = (f"column {place}" for place in range(len(self.names) + 1, len(cells) + 1))
        return FileRow(dict(zip(chain(self.names, beyond), cells, strict=False)), begin, problem=problem)


def _unique_column_names(names: list[str]) -> tuple[str, ...]:
    """Give a name of its own to each column: one that is empty, or there already, is called by its place as well."""
    found = dict[str, str]()
    for place, given in enumerate(map(escape_surrogates, names), 1):
        name = given
        while not name.strip() or normalize_column_name(name) in found:
            name = f"{name} column {place}".strip()
        found[normalize_column_name(name)] = name
    return tuple(found.values())


def _encoding_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            beginning = file.read(4)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    return next((name for mark, name in _BOMS if beginning.startswith(mark)), "utf-8")
