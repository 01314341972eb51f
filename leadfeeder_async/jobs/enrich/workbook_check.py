"""A check of workbooks before they are read, because the reader builds each sheet in memory.

A small file can contain a sheet that fills any memory: a cell in the last row and the last column, a row that repeats a
million times, or one long string in many cells. An allocation that fails ends the process, so it cannot be caught.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NoReturn, Protocol
from xml.parsers import expat

from leadfeeder_async.errors import ConfigurationError

MAX_BYTES = 1024**3
"""The most bytes of a workbook when it is unpacked."""

MAX_CELLS = 20_000_000
"""The most cells of a sheet, with the empty cells between others. The reader needs 32 bytes or more for each cell."""

MAX_CHARACTERS = 500_000_000
"""The most characters of the strings of a sheet. A string counts once for each cell that contains it."""

MAX_CHILD_BYTES = 4 * 1024**3
"""The most bytes of memory of the process that checks a binary workbook."""

MAX_CHILD_SECONDS = 120
"""The most seconds of that process."""

_MAX_TAG_BYTES = 8 * 1024**2
"""The most bytes of a tag or a comment. Parsers keep it in memory until it ends."""

_CHUNK_BYTES = 256 * 1024

_SAVE_AS_CSV = "Delete stray cells far from the table, or save the sheet as .csv, which can have any size."

_LETTERS = re.compile(r"[A-Za-z]{1,3}")
_SHEET_TAG = re.compile(rb"[<:]sheetData")

_STRINGS, _ODS = "sharedstrings.xml", "content.xml"
"""Names of parts without folders: the strings of an .xlsx file, and the sheets of an .ods file."""


def check_workbook(path: Path) -> None:
    """Check the size of the sheets of a workbook without reading them into the memory of this process.

    The parts of .xlsx, .xlsm and .ods files are parsed as a stream. Other workbooks are binary. On POSIX systems, they
    are read once in a child process. Its time is limited, and its memory too if the system supports that.

    Raises:
        ConfigurationError: A sheet is too large, or the file is damaged.

    """
    try:
        with path.open("rb") as file:
            is_binary = file.read(4) != b"PK\x03\x04"  # an old workbook may end with an archive
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                is_binary |= any(_base_name(name) == "workbook.bin" for name in archive.namelist())
                _WorkbookCheck(path, archive).run()
    except ConfigurationError:
        raise
    except (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, ValueError, RuntimeError, OSError) as error:
        raise unreadable_error(path, error) from None
    if is_binary and sys.platform != "win32" and sys.executable and not hasattr(sys, "frozen"):
        _read_in_child(path)


_CHILD = """
import sys
path, size, sys.path[:] = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
import resource
try:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (size if hard < 0 else min(size, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (OSError, ValueError):
    pass  # macOS may not support the limit of memory
from python_calamine import CalamineError, CalamineWorkbook
try:
    with open(path, "rb") as file:
        workbook = CalamineWorkbook.from_filelike(file)
        for name in workbook.sheet_names:
            workbook.get_sheet_by_name(name)
except (CalamineError, OSError):
    pass  # the parent process raises the error
"""


def _read_in_child(path: Path) -> None:
    """Raise ConfigurationError if reading a workbook ends a process that has limited memory and time."""
    command = [sys.executable, "-I", "-c", _CHILD, str(path), str(MAX_CHILD_BYTES), *filter(None, sys.path)]
    try:
        result = subprocess.run(  # noqa: S603 - this interpreter, isolated from the current directory
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=MAX_CHILD_SECONDS, check=False
        )
        is_readable = result.returncode == 0
    except subprocess.TimeoutExpired:
        is_readable = False
    if not is_readable:
        raise ConfigurationError(
            f"{path} is damaged or too large. Reading it fails, or needs more than "
            f"{MAX_CHILD_BYTES:,} bytes of memory or {MAX_CHILD_SECONDS:,} seconds.",
            hint="Save the sheet as .csv, which can have any size.",
        )


def unreadable_error(path: Path, error: Exception) -> ConfigurationError:
    """Return the error for a workbook that is damaged."""
    return ConfigurationError(
        f"{path} cannot be read as a workbook: {error}.",
        hint="It may be damaged or protected by a password. Save the table as .csv or as a new .xlsx.",
    )


class _WorkbookCheck:
    """Checks each part of a workbook that the reader may use, whatever the part is called."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive

    def run(self) -> None:
        entries = self._archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > MAX_BYTES:
            self._refuse(f"unpacks to {size:,} bytes, and workbooks are read up to {MAX_BYTES:,} bytes")
        parts = [(_base_name(entry.filename), entry) for entry in entries]
        relations = _Relations()
        for name, entry in parts:
            if name.endswith(".xml.rels"):
                self._parse(entry, relations)
        strings = _SharedStrings()
        for name, entry in parts:
            if name == _STRINGS:
                self._parse(entry, strings)
        for name, entry in parts:
            if name == _ODS:
                self._parse(entry, _OdsSheets())
            elif name in relations.targets and name != _STRINGS:
                self._parse(entry, _XlsxSheet(strings.lengths))

    def _parse(self, entry: zipfile.ZipInfo, handler: _Handler) -> None:
        """Parse a part that is XML. A binary part, such as macros, is skipped if no sheet can be found in it."""
        chunks = self._chunks(entry)
        first = next(chunks, b"")
        if not first.lstrip(b"\xef\xbb\xbf\xff\xfe\0\t\r\n ").startswith(b"<"):
            self._check_binary(entry, chain([first], chunks))
            return
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        handler.attach(parser)
        size = 0
        for chunk in chain([first], chunks):
            parser.Parse(chunk, False)
            size += len(chunk)
            if size - parser.CurrentByteIndex > _MAX_TAG_BYTES:
                self._refuse(f"has a tag of more than {_MAX_TAG_BYTES:,} bytes in {entry.filename}")
            self._check(entry, handler)
        parser.Parse(b"", True)
        self._check(entry, handler)

    def _check_binary(self, entry: zipfile.ZipInfo, chunks: Iterable[bytes]) -> None:
        tail = b""
        for chunk in chunks:
            if _SHEET_TAG.search(tail + chunk):
                self._refuse(f"has a sheet in {entry.filename} that is not valid XML")
            tail = chunk[-16:]

    def _chunks(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        entry.file_size = MAX_BYTES + 1  # the size that the archive states may be wrong, and the reader ignores it
        size = 0
        with self._archive.open(entry) as file:
            while chunk := file.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_BYTES:
                    self._refuse(f"unpacks to more than {MAX_BYTES:,} bytes")
                yield chunk

    def _check(self, entry: zipfile.ZipInfo, handler: _Handler) -> None:
        if handler.cells > MAX_CELLS:
            self._refuse(f"has {handler.cells:,} cells in {entry.filename}, and {MAX_CELLS:,} cells are read at most")
        if handler.characters > MAX_CHARACTERS:
            self._refuse(
                f"has {handler.characters:,} characters in the cells of {entry.filename}, "
                f"and {MAX_CHARACTERS:,} characters are read at most"
            )

    def _refuse(self, fact: str) -> NoReturn:
        raise ConfigurationError(f"{self._path} {fact}.", hint=_SAVE_AS_CSV)

    def _refuse_doctype(self, *_: object) -> None:
        self._refuse("contains a document type declaration, which no spreadsheet program writes")


def _base_name(name: str) -> str:
    return re.split(r"[/\\]", name)[-1].lower()


def _local_name(name: str) -> str:
    return name.rpartition(":")[2]


class _Handler(Protocol):
    """Measures a part while it is parsed."""

    characters: int

    @property
    def cells(self) -> int:
        """The cells so far."""
        ...

    def attach(self, parser: expat.XMLParserType) -> None:
        """Receive the elements of a parser."""
        ...


class _Relations:
    """The names of the parts of a workbook, without their folders."""

    def __init__(self) -> None:
        self.characters = self.cells = 0
        self.targets = set[str]()

    def attach(self, parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = self._start

    def _start(self, _: str, attributes: Mapping[str, str]) -> None:
        if target := attributes.get("Target"):
            self.targets.add(_base_name(target))


class _SharedStrings:
    """The lengths of the strings that cells share."""

    def __init__(self) -> None:
        self.characters = self.cells = 0
        self.lengths = array("I")
        self._length = 0

    def attach(self, parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text

    def _start(self, name: str, _: Mapping[str, str]) -> None:
        if _local_name(name) == "si":
            self._length = 0

    def _end(self, name: str) -> None:
        if _local_name(name) == "si":
            self.lengths.append(self._length)
            self.cells += 1

    def _text(self, text: str) -> None:
        self._length += len(text)
        self.characters += len(text)


class _XlsxSheet:
    """The area of the cells of a sheet that have a value, and the characters of their strings.

    Args:
        lengths: The lengths of the strings that cells share.

    """

    def __init__(self, lengths: array[int]) -> None:
        self.characters = 0
        self._lengths = lengths
        self._columns = dict[str, int]()
        self._row = self._column = self._count = 0
        self._type = self._index = ""
        self._top = self._left = 1 << 62
        self._bottom = self._right = 0

    @property
    def cells(self) -> int:
        """The cells between the outermost ones that have a value, or the number of values if that is more."""
        area = (self._bottom - self._top + 1) * (self._right - self._left + 1) if self._count else 0
        return max(area, self._count)

    def attach(self, parser: expat.XMLParserType) -> None:
        self._parser = parser
        parser.StartElementHandler = self._start

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        name = name.rpartition(":")[2] if ":" in name else name
        if name == "c":
            self._column += 1
            self._type = attributes.get("t", "n")
            if (reference := attributes.get("r")) is not None:
                self._move(reference)
        elif name == "v":
            self._fill()
            if self._type == "s":
                self._index = ""
                self._parser.CharacterDataHandler, self._parser.EndElementHandler = self._read_index, self._end
            else:
                self._parser.CharacterDataHandler = None if self._type == "n" else self._count_text
        elif name == "is":
            self._fill()
            self._parser.CharacterDataHandler = self._count_text
        elif name == "row":
            self._row, self._column = int(attributes.get("r", self._row + 1)), 0

    def _move(self, reference: str) -> None:
        letters = reference.rstrip("0123456789")
        column = self._columns.get(letters)
        if column is None:
            column = self._columns[letters] = _column_number(letters)
        self._row, self._column = int(reference[len(letters) :]), column

    def _fill(self) -> None:
        self._count += 1
        row, column = self._row, self._column
        if not self._top <= row <= self._bottom:
            self._top, self._bottom = min(self._top, row), max(self._bottom, row)
        if not self._left <= column <= self._right:
            self._left, self._right = min(self._left, column), max(self._right, column)

    def _count_text(self, text: str) -> None:
        self.characters += len(text)

    def _read_index(self, text: str) -> None:
        self._index += text

    def _end(self, _: str) -> None:
        self._parser.CharacterDataHandler = self._parser.EndElementHandler = None
        index = int(self._index)
        if 0 <= index < len(self._lengths):
            self.characters += self._lengths[index]


def _column_number(letters: str) -> int:
    if not _LETTERS.fullmatch(letters):
        raise ValueError(f"the reference of a cell begins with {letters[:20]!r}")
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


class _OdsSheets:
    """The cells of all sheets of an .ods file and the characters of their strings. Rows and cells may be repeated."""

    def __init__(self) -> None:
        self.characters = 0
        self._finished_cells = 0
        self._is_in_table = False
        self._height = self._blank_rows = self._width = 0
        self._row_repeats = self._row_width = self._row_filled = self._row_characters = 0
        self._cell_repeats = self._cell_characters = 0
        self._has_value = False

    @property
    def cells(self) -> int:
        """The cells of the sheets so far, from the first row to the last one that has a value."""
        return self._finished_cells + self._height * self._width

    def attach(self, parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        match _local_name(name):
            case "table-cell" | "covered-table-cell":
                self._cell_repeats = int(attributes.get("table:number-columns-repeated", 1))
                self._has_value = any("value" in key or "formula" in key for key in attributes)
                self._cell_characters = sum(map(len, attributes.values())) if self._has_value else 0
            case "s":
                self._cell_characters += int(attributes.get("text:c", 1))
            case "table-row":
                self._row_repeats = int(attributes.get("table:number-rows-repeated", 1))
                self._row_width = self._row_filled = self._row_characters = 0
            case "table":
                if self._is_in_table:
                    raise ValueError("a table contains another table")
                self._is_in_table = True
            case _:
                pass

    def _end(self, name: str) -> None:
        match _local_name(name):
            case "table-cell" | "covered-table-cell":
                self._row_width += self._cell_repeats
                if self._has_value:
                    self._row_filled = self._row_width
                    self._row_characters += self._cell_repeats * self._cell_characters
            case "table-row":
                self._end_row()
            case "table":
                self._finished_cells, self._is_in_table = self.cells, False
                self._height = self._blank_rows = self._width = 0
            case _:
                pass

    def _end_row(self) -> None:
        if not self._row_filled:
            self._blank_rows += self._row_repeats
            return
        self._height += self._row_repeats + (self._blank_rows if self._height else 0)
        self._blank_rows = 0
        self._width = max(self._width, self._row_filled)
        self.characters += self._row_repeats * self._row_characters

    def _text(self, text: str) -> None:
        self._cell_characters += len(text)
