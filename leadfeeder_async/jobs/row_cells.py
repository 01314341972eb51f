"""The cells of a table's rows, read from JSON lines.

Most lines have the types of the model. They are decoded into a Struct with one field for each column, which takes about
a third of the time of plain objects. Any other line is decoded into plain objects, with the same result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from leadfeeder_async.jobs.tabular import Column, Json

_Fields: TypeAlias = "dict[str, Column | _Fields]"
"""The columns of an object by their keys. Nested objects are nested mappings."""

_Read: TypeAlias = "Callable[[object], Sequence[Json]]"
"""Returns the cells of an object."""


def read_cells(rows: Path, columns: Sequence[Column]) -> Iterator[list[Json]]:
    """Yield the cells of each line, in the order of the columns.

    Args:
        rows: The JSON lines.
        columns: The columns.
    """
    if any(_ESCAPED.search(key) for column in columns for key in column.path):
        with rows.open("rb") as lines:
            yield from (_plain_cells(line, columns) for line in lines)
        return
    kind, read = _object_reader(_nested(columns))
    decoder = msgspec.json.Decoder(kind)
    json_columns = [index for index, column in enumerate(columns) if column.type is dict]
    booleans = [index for index, column in enumerate(columns) if column.type is bool]
    with rows.open("rb") as lines:
        for line in lines:
            try:
                cells = list(read(decoder.decode(line)))
                for index in json_columns:
                    cells[index] = _json_cell(cells[index])
            except (msgspec.ValidationError, ValueError):
                yield _plain_cells(line, columns)
                continue
            for index in booleans:
                cells[index] = _cell(cells[index])
            yield cells


def _nested(columns: Sequence[Column]) -> _Fields:
    fields: _Fields = {}
    for column in columns:
        inner = fields
        for key in column.path[:-1]:
            found = inner.setdefault(key, {})
            assert isinstance(found, dict)
            inner = found
        inner[column.path[-1]] = column
    return fields


def _object_reader(fields: _Fields) -> tuple[type[msgspec.Struct], _Read]:
    """Return the Struct of an object, and a function that returns its cells."""
    types, readers = list[tuple[str, object, object]](), list[_Read]()
    names = {key: f"field_{number}" for number, key in enumerate(fields)}
    for is_nested, group in groupby(fields.items(), lambda field: isinstance(field[1], dict)):
        keys = dict(group)
        if is_nested:
            for key, inner in keys.items():
                assert isinstance(inner, dict)
                kind, read = _object_reader(inner)
                types.append((names[key], kind | None, None))
                readers.append(_nested_reader(attrgetter(names[key]), read, kind()))
        else:
            for key, column in keys.items():
                assert not isinstance(column, dict)
                types.append((names[key], _TYPES.get(column.type, str | None), None))
            readers.append(_values_reader([names[key] for key in keys]))
    rename = {name: key for key, name in names.items()}
    kind = msgspec.defstruct("Row", types, rename=rename, gc=False)
    return kind, readers[0] if len(readers) == 1 else _joined_reader(readers)


def _values_reader(names: Sequence[str]) -> _Read:
    if len(names) == 1:
        get_value: Callable[[object], Json] = attrgetter(names[0])
        return lambda row: (get_value(row),)
    get_values: _Read = attrgetter(*names)
    return get_values


def _nested_reader(get: Callable[[object], object], read: _Read, empty: msgspec.Struct) -> _Read:
    blank = tuple(read(empty))

    def cells(row: object) -> Sequence[Json]:
        inner = get(row)
        return blank if inner is None else read(inner)

    return cells


def _joined_reader(readers: Sequence[_Read]) -> _Read:
    def cells(row: object) -> Sequence[Json]:
        joined: list[Json] = []
        for read in readers:
            joined += read(row)
        return joined

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
    """Return a row decoded. Numbers outside the range of Python's stay JSON."""
    try:
        return _PLAIN.decode(row)
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
    int: int | float | None,
    float: int | float | None,  # an integer stays one
    bool: bool | None,
    dict: msgspec.Raw,
}
"""The types of values by the types of their columns. All others are strings."""
