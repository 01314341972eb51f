"""The cells of a table's rows, read from JSON lines.

Most lines have the types of the model. They are decoded into a Struct with one field for each column, which takes about
a third of the time of plain objects. Any other line is decoded into plain objects, with the same result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter
from pathlib import Path

import msgspec

from leadfeeder_async.errors import DecodeError
from leadfeeder_async.models.columns import Column, Json, Tree, tree_of, tree_reader


def read_cells(rows: Path, columns: Sequence[Column]) -> Iterator[list[Json]]:
    """Yield the cells of each line, in the order of the columns.

    Args:
        rows: The JSON lines.
        columns: The columns.
    """
    if any(_ESCAPED.search(str(key)) for column in columns for key in column.path):
        with rows.open("rb") as lines:
            yield from (_plain_cells(line, columns) for line in lines)
        return
    tree, names = tree_of(columns), dict[str, str]()
    try:
        kind = _object_type(tree, names)
    except ValueError:  # a column of an input file has a name that no field of a Struct can have
        with rows.open("rb") as lines:
            yield from (_plain_cells(line, columns) for line in lines)
        return
    read = _cell_reader(tree, columns, names)
    decoder = msgspec.json.Decoder(kind)
    json_columns = [index for index, column in enumerate(columns) if column.type is dict]
    booleans = [index for index, column in enumerate(columns) if column.type is bool]
    with rows.open("rb") as lines:
        for line in lines:
            try:
                cells = read(decoder.decode(line))
                for index in json_columns:
                    cells[index] = _json_cell(cells[index])
            except (msgspec.ValidationError, ValueError, RecursionError):
                yield _plain_cells(line, columns)
                continue
            for index in booleans:
                cells[index] = _cell(cells[index])
            yield cells


def _object_type(tree: Tree, names: dict[str, str]) -> type[msgspec.Struct]:
    """Return the Struct of an object. Its attributes are added to ``names``, because keys may be any text."""
    fields = list[tuple[str, object, object]]()
    for key, inner in tree.items():
        name = names.setdefault(str(key), f"field_{len(names)}")
        kind, default = (_TYPES[inner.type], None) if isinstance(inner, Column) else _nested(inner, names)
        fields.append((name, kind, default))
    rename = {names[str(key)]: str(key) for key in tree}
    return msgspec.defstruct("Row", fields, rename=rename, gc=False, frozen=True)


def _nested(tree: Tree, names: dict[str, str]) -> tuple[object, object]:
    """Return the type of a nested value, and the value that a missing one has: an object without values."""
    items = tree.get(0)
    if not isinstance(items, dict):
        kind = _object_type(tree, names)
        return kind | None, kind()
    return list[_object_type(items, names) | None] | None, None  # type: ignore[misc]


def _cell_reader(tree: Tree, columns: Sequence[Column], names: Mapping[str, str]) -> Callable[[object], list[Json]]:
    """Return a function that returns the cells of a Struct. One call reads them all, unless an object is null."""
    paths = [column.path[: column.path.index(0)] if 0 in column.path else column.path for column in columns]
    if len(paths) < 2:
        read_one = tree_reader(tree, columns, names.__getitem__)
        return lambda row: list(read_one(row))
    read_all = attrgetter(*(".".join(names[str(key)] for key in path) for path in paths))
    read_nullable = tree_reader(tree, columns, names.__getitem__)
    first_items = [
        (index, tree_reader(tree_of([inner]), [inner], names.__getitem__))
        for index, column in enumerate(columns)
        if 0 in column.path
        for inner in [Column(column.name, column.path[len(paths[index]) :], column.type)]
    ]

    def cells(row: object) -> list[Json]:
        try:
            found = list(read_all(row))
        except AttributeError:
            return list(read_nullable(row))
        for index, read_first in first_items:
            found[index] = read_first(found[index])[0]
        return found

    return cells


def _json_cell(value: Json) -> str | None:
    """Return an object or array as it was sent, or raise ValueError for another value or for escaped characters."""
    if not isinstance(value, msgspec.Raw):
        return None
    text = bytes(value).decode()
    if text == "null":
        return None
    if text[0] not in "[{" or "\\u" in text:
        raise ValueError
    return text


def _plain_cells(line: bytes, columns: Sequence[Column]) -> list[Json]:
    """Return the cells of a line whose values may have any type."""
    row = decode_row(line)
    return [_cell(column.value_of(row)) for column in columns]


def decode_row(row: bytes | msgspec.Raw) -> Json:
    """Return a row decoded. Numbers outside the range of Python's stay JSON.

    Raises:
        DecodeError: It is nested too deeply.
    """
    try:
        return _PLAIN.decode(row)
    except RecursionError:
        raise DecodeError(
            "A row is nested too deeply for a table or for single fields.", hint="Export complete rows as JSON lines."
        ) from None
    except msgspec.ValidationError:
        value: Json = json.loads(bytes(row), parse_int=_parse_number, parse_float=_parse_number)
        return value


def _parse_number(number: str) -> msgspec.Raw:
    """Keep the JSON of numbers, because some are outside the range of Python's: 1e400, or 5,000 digits."""
    return msgspec.Raw(number.encode())


def _cell(value: Json) -> Json:
    return str(value).lower() if isinstance(value, bool) else value


_ESCAPED = re.compile(r'[\\"\x00-\x1f]')
"""Characters that JSON escapes. A Struct cannot have fields with these in their names."""

_PLAIN: msgspec.json.Decoder[Json] = msgspec.json.Decoder()

_TYPES: dict[type[object], object] = {
    str: str | int | float | None,  # some are sent as numbers
    int: int | float | None,
    float: int | float | None,  # an integer stays one
    bool: bool | None,
    dict: msgspec.Raw,
    date: str | None,
    datetime: str | None,
}
"""The types of values by the types of their columns."""
