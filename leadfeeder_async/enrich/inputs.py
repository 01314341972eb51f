"""Input files: CSV with any usual delimiter, JSON lines, or one key a line, checked whole before a credit is spent."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import IO, NoReturn

import msgspec

from leadfeeder_async.enrich.keys import KNOWN_NAMES, By, Row, plain, usual_column
from leadfeeder_async.errors import ConfigurationError

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_DELIMITERS = ",;\t"
_JSON_LINES = frozenset({".ndjson", ".jsonl"})


class InputFile(Iterable[Row]):
    """The rows of a file, read anew each time it is iterated over.

    ``.ndjson`` and ``.jsonl`` hold a JSON object or text a line, ``.txt`` a key a line, anything else is CSV: delimited
    by commas, semicolons or tabs, with a header if one of its names is known or is ``column``. Text is UTF-8, or UTF-16
    with a byte order mark, unless ``encoding`` says otherwise. Making one reads the file once; ConfigurationError names
    the line that cannot be read, or the columns where none holds the key.
    """

    def __init__(self, path: Path, by: By, column: str | None = None, encoding: str | None = None) -> None:
        self.path = path
        self._by: By = by
        self._column = column
        self._encoding = encoding or _encoding_of(path)
        self._header: list[str] | None = None
        self._delimiter = ","
        if path.suffix not in _JSON_LINES and path.suffix != ".txt":
            self._look_at_first_line()
        self._rows = sum(1 for _ in self)

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Generator[Row]:
        try:
            with self._open() as file:
                yield from self._rows_in(file)
        except UnicodeDecodeError as error:
            self._refuse_encoding(error)

    def _rows_in(self, file: IO[str]) -> Generator[Row]:
        if self.path.suffix in _JSON_LINES:
            yield from self._json_lines(file)
        elif self.path.suffix == ".txt":
            yield from (text.strip() for text in file if text.strip())
        else:
            reader = csv.reader(file, delimiter=self._delimiter)
            try:
                yield from self._csv_rows(reader)
            except csv.Error as error:
                self._refuse_line(reader.line_num, f"no CSV ({error})")

    def _csv_rows(self, reader: Iterator[list[str]]) -> Generator[Row]:
        if self._header is not None:
            next(reader, None)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            yield cells[0] if self._header is None else dict(zip(self._header, cells, strict=False))

    def _json_lines(self, file: IO[str]) -> Generator[Row]:
        decoder = msgspec.json.Decoder(dict[str, object] | str)
        for number, text in enumerate(file, 1):
            if text.strip():
                try:
                    row = decoder.decode(text)
                except (msgspec.MsgspecError, RecursionError):
                    self._refuse_line(number, "neither a JSON object nor a JSON text")
                yield row

    def _look_at_first_line(self) -> None:
        """Find the delimiter, and whether the first line is a header."""
        try:
            with self._open() as file:
                first = next((text for text in file if text.strip()), "")
        except UnicodeDecodeError as error:
            self._refuse_encoding(error)
        outside = "".join(first.split('"')[::2])
        self._delimiter = max(_DELIMITERS, key=outside.count)
        names = next(csv.reader([first], delimiter=self._delimiter), list[str]())
        known = {plain(name) for name in names}
        wanted = usual_column(known, self._by) if self._column is None else plain(self._column)
        if wanted in known or known & KNOWN_NAMES:
            self._header = names
        if wanted not in known and (len(names) > 1 or self._header is not None or self._column is not None):
            self._refuse_columns(names)

    def _open(self) -> IO[str]:
        try:
            return self.path.open(encoding=self._encoding, newline="")
        except LookupError:
            raise ConfigurationError(f"There is no encoding {self._encoding!r}.", advice="Try cp1252.") from None
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}.") from None

    def _refuse_columns(self, names: Iterable[str]) -> NoReturn:
        wanted = f"{self._by!r}" if self._column is None else f"{self._column!r}"
        raise ConfigurationError(
            f"{self.path} has no column for {wanted}; it has {', '.join(map(repr, names))}.",
            advice="Name one with column= (--column).",
        )

    def _refuse_line(self, number: int, what: str) -> NoReturn:
        raise ConfigurationError(f"{self.path}, line {number:,}: this is {what}.")

    def _refuse_encoding(self, error: UnicodeDecodeError) -> NoReturn:
        raise ConfigurationError(
            f"{self.path}, line {self._bad_line():,}: this is not {self._encoding}: {error.reason}.",
            advice="Save it as UTF-8, or name its encoding (--encoding cp1252).",
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


def _encoding_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            beginning = file.read(4)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    return next((name for mark, name in _MARKS if beginning.startswith(mark)), "utf-8")
