"""The format of an input file: known suffixes and signatures, the encoding, and the first line of Excel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias

from leadfeeder_async._argument_checks import reading
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.jobs.tabular import WORKBOOKS

FileFormat: TypeAlias = Literal["json lines", "text", "table", "workbook"]
"""``text`` is one key per line, or a table if its first line shows that."""

SAMPLE_BYTES = 8_192
"""The bytes at the beginning of a file that show its format."""

_JSON_LINES = frozenset({".ndjson", ".jsonl"})

_UNPACK = ("is an archive", "Unpack it and pass the file inside.")
_SAVE_AS_TABLE = "Open it in a spreadsheet program and save the table as .csv or .xlsx."
_DATABASE = ("is a binary data file", "Export the rows as .csv or JSON lines, for example with DuckDB.")
_DOCUMENT = ("is a document, not a table", "Save the table as .csv or .xlsx.")
JSON_REFUSAL = (
    "is a JSON document",
    "Pass JSON lines in a file named .ndjson, with one object per line. `jq -c '.[]'` converts an array.",
)
_MARKUP = ("contains an HTML or XML table", _SAVE_AS_TABLE)
_BINARY = ("is not a text file", "Pass a table as .csv or .xlsx, JSON lines, or a .txt file with one key per line.")

_REFUSED_SUFFIXES = {
    ".json": JSON_REFUSAL,
    **dict.fromkeys((".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"), _UNPACK),
    **dict.fromkeys((".arrow", ".avro", ".db", ".duckdb", ".feather", ".orc", ".parquet", ".sqlite"), _DATABASE),
    **dict.fromkeys((".doc", ".docx", ".eml", ".msg", ".odt", ".pages", ".pdf", ".rtf", ".vcf"), _DOCUMENT),
    **dict.fromkeys((".htm", ".html", ".mht", ".mhtml", ".xml"), _MARKUP),
    ".numbers": ("is a Numbers document", "Export it as .csv or .xlsx."),
}
"""Suffixes of other formats, each with the reason and the hint of its error."""

_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_SIGNATURES = (
    (0, _ZIP, ("is a .zip archive or a workbook", "Rename it to .xlsx if it is a workbook. Otherwise, unpack it.")),
    (0, _OLE, ("is an old Excel workbook or another document", "Rename it to .xls if it is a workbook.")),
    (0, b"\x1f\x8b", _UNPACK),
    (0, b"BZh", _UNPACK),
    (0, b"\xfd7zXZ", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", _UNPACK),
    (0, b"Rar!\x1a\x07", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", _UNPACK),
    (257, b"ustar", _UNPACK),
    (0, b"PAR1", _DATABASE),
    (0, b"ARROW1", _DATABASE),
    (0, b"Obj\x01", _DATABASE),
    (0, b"SQLite format 3", _DATABASE),
    (8, b"DUCK", _DATABASE),
    (0, b"%PDF", _DOCUMENT),
    (0, b"{\\rtf", _DOCUMENT),
    (0, b"BEGIN:VCARD", _DOCUMENT),
)
"""Bytes at a position that identify other formats."""

_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)

_JSON_START = re.compile(r'\s*(\{\s*["}]|\[\s*[\[{"\]])')
_MARKUP_START = re.compile(r"\s*<(!doctype|!--|\?xml|html|head|meta|style|table)\b", re.IGNORECASE)
_SEPARATOR_LINE = re.compile(r'\s*"?sep=([^\s"]|\t| )"?[\s;,|"]*\Z', re.IGNORECASE)


def detect_format(path: Path, encoding: str | None) -> tuple[FileFormat, str]:
    """Return the format and the encoding of a file.

    Args:
        path: The file.
        encoding: The encoding that the caller knows, or None to detect it.

    Raises:
        ConfigurationError: The file cannot be read, or has a format that is not supported.

    """
    suffix = path.suffix.lower()
    sample = _read_sample(path)
    if suffix in _REFUSED_SUFFIXES:
        _raise_refused(path, *_REFUSED_SUFFIXES[suffix])
    if suffix in WORKBOOKS:
        _check_workbook(path, sample)
        return "workbook", ""
    found = encoding or detect_encoding(sample)
    is_json_lines = suffix in _JSON_LINES
    if refusal := find_refusal(sample, found, is_text=is_json_lines):
        _raise_refused(path, *refusal)
    if is_json_lines:
        return "json lines", found
    if _JSON_START.match(_decode(sample, found)):
        _raise_refused(path, *JSON_REFUSAL)
    return "text" if suffix == ".txt" else "table", found


def find_refusal(sample: bytes, encoding: str = "utf-8-sig", *, is_text: bool = False) -> tuple[str, str] | None:
    """Return the reason and the hint with which a file is refused, or None if it may be a table or JSON lines.

    Args:
        sample: The beginning of the file.
        encoding: The encoding of its text. Defaults to ``utf-8-sig``.
        is_text: True if only a signature can show another format. Defaults to False.
    """
    for position, signature, refusal in _SIGNATURES:
        if sample[position:].startswith(signature):
            return refusal
    text = "" if is_text else _decode(sample, encoding)
    if _MARKUP_START.match(text):
        return _MARKUP
    return _BINARY if _is_binary(text) else None


def detect_encoding(sample: bytes) -> str:
    """Return the encoding of a file that begins with some bytes. It is UTF-8 unless the bytes show another one."""
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    even, odd = sample[::2], sample[1::2]
    if len(odd) > 1 and even.count(0) * 10 < len(even) and odd.count(0) * 2 > len(odd):
        return "utf-16-le"
    if len(odd) > 1 and odd.count(0) * 10 < len(odd) and even.count(0) * 2 > len(even):
        return "utf-16-be"
    return "utf-8"


def separator_of(line: str) -> str | None:
    """Return the separator in a first line such as ``sep=;``, with which Excel marks a table, or None."""
    found = _SEPARATOR_LINE.match(line.lstrip("\ufeff"))
    return found[1] if found and not found[1].isalnum() else None


def _read_sample(path: Path) -> bytes:
    with reading(path):
        check_argument(
            path.is_file() or path.is_dir() or not path.exists(),
            f"{path} is a pipe or a device, but an input file is read more than once.",
            "Write its content to a file first.",
        )
        with path.open("rb") as file:
            return file.read(SAMPLE_BYTES)


def _check_workbook(path: Path, sample: bytes) -> None:
    """Raise ConfigurationError if a file with the suffix of a workbook is something else.

    Some programs write HTML or text into files that they call ``.xls``.
    """
    if sample.startswith((_ZIP, _OLE)) or sample[:2] == b"\x09\x08":
        return
    text = _decode(sample, detect_encoding(sample))
    if _MARKUP_START.match(text):
        _raise_refused(path, *_MARKUP)
    if not sample or _is_binary(text):
        _raise_refused(path, "is not a workbook", _SAVE_AS_TABLE)
    _raise_refused(path, "is a text file, not a workbook", "Rename it to .csv if it is a table.")


def _is_binary(text: str) -> bool:
    """Return True if too many characters are control characters. Some exports pad cells with NUL characters."""
    visible = text.replace("\0", "")
    controls = sum(char < " " and char not in "\t\n\v\f\r\x1c\x1d\x1e\x1f" for char in visible)
    return controls * 10 > len(visible) or bool(text and not visible)


def _decode(sample: bytes, encoding: str) -> str:
    try:
        return sample.decode(encoding, "ignore")
    except (LookupError, UnicodeError):
        return ""  # reading the file raises the error, with its line


def _raise_refused(path: Path, reason: str, hint: str) -> NoReturn:
    raise ConfigurationError(f"{path} {reason}.", hint=hint)
