"""The columns of records. A record has the same columns in ``to_row``, CSV, parquet, data frames and the terminal.

A column is named after its value: ``id``, then the attributes (``page.path`` for nested ones), then the related
records. A related record has its id and a few everyday fields, such as ``company.id`` and ``company.name``. Lists and
open objects are JSON strings.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeAlias, TypeGuard, Union, get_args, get_origin, get_type_hints

import msgspec

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | msgspec.Raw | None"
"""A value of a JSON object. Raw is a number outside the range of Python's numbers, as it was sent."""

Cell: TypeAlias = str | int | float | bool | date | datetime | None
"""A value of a row."""

KeyPath: TypeAlias = tuple[str | int, ...]
"""The keys and list positions of a value, from the outside in."""

Read: TypeAlias = Callable[[object], Sequence[Any]]
"""Returns the values of an object."""

Tree: TypeAlias = "dict[str | int, Column | Tree]"
"""Columns by the keys of their paths. The number 0 is the first item of a list."""

SCALARS = frozenset({str, int, float, bool, date, datetime})

_COMPANY_COLUMNS: Mapping[str, str] = {
    "name": "name",
    "url": "url",
    "country": "address.country",
    "country_code": "address.country_code",
    "city": "address.city",
    "industry": "industries.industry.0.name",
    "employee_range": "employee_range",
    "employee_count": "employee_count",
    "revenue_eur": "revenue.value_eur",
}

RELATED_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "Company": {**_COMPANY_COLUMNS, "intent_score": "intent.score"},
    "CompanySummary": _COMPANY_COLUMNS,
    "Location": {"city": "city", "region": "region", "country": "country", "country_code": "country_code"},
    "Network": {"name": "name", "asn": "asn", "cidr": "cidr"},
    "List": {"name": "name"},
    "CustomFeedFolder": {"name": "name"},
    "CRMRecord": {"name": "name", "crm_url": "crm_url"},
    "CRMUser": {"name": "name", "email": "email"},
}
"""The everyday fields of a related record: the name of each column, and the path of its value in the attributes."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    name: str
    path: KeyPath
    type: type[object]
    """The type of its values, or ``dict`` if they are JSON strings."""

    def find(self, row: Json) -> Json:
        """Return the value of a JSON object in this column, with objects and lists as they are."""
        found = json_at(row, self.path)
        if found is None and len(self.path) > 2 and self.path[0] == "relationships":
            return _related_value(json_at(row, self.path[:2]), self.path[2:])
        return found

    def value_of(self, row: Json) -> Json:
        """Return the value of a JSON object in this column, with objects and lists as JSON."""
        found = self.find(row)
        return msgspec.json.encode(found).decode() if isinstance(found, dict | list | msgspec.Raw) else found


def _related_value(related: Json, path: KeyPath) -> Json:
    """Return a value of a related record that is its id or in a list. Several records have a list of values."""
    values: list[Json] = []
    for record in related if isinstance(related, list) else [related]:
        is_id = isinstance(record, str | int) and not isinstance(record, bool)
        if is_id or isinstance(record, dict):
            values.append(record if is_id and path == ("id",) else json_at(record, path))
    return None if all(value is None for value in values) else values if len(values) > 1 else values[0]


def json_at(value: Json, path: Sequence[str | int]) -> Json:
    """Return the value at a path of a JSON object, or None if it has none."""
    for key in path:
        if isinstance(key, int):
            value = value[key] if isinstance(value, list) and key < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def columns_of(model: type[object]) -> tuple[Column, ...]:
    """Return the columns of a model's rows."""
    if model not in _COLUMNS:
        _COLUMNS[model] = tuple(_find_columns(model))
    return _COLUMNS[model]


def _find_columns(model: type[object]) -> list[Column]:
    hints = get_type_hints(model)
    columns = [Column("id", ("id",), str)]
    if _is_struct(model) and any(f.name == "type" and f.default == "" for f in msgspec.structs.fields(model)):
        columns.append(Column("type", ("type",), str))  # records of several types
    columns.extend(_attribute_columns(hints.get("attributes"), ("attributes",)))
    if "relationships" in hints:
        for name, hint in get_type_hints(hints["relationships"]).items():
            columns.extend(_related_columns(name, _column_type(hint)))
    elif _column_type(hints.get("attributes")) is dict:
        columns.append(Column("attributes", ("attributes",), dict))
    return columns


def _attribute_columns(hint: object, path: tuple[str, ...]) -> Iterator[Column]:
    kind, name = _column_type(hint), ".".join(path[1:])
    if _is_struct(kind):
        for key, field in get_type_hints(kind).items():
            yield from _attribute_columns(field, (*path, key))
    elif name:
        yield Column(name, path, kind)


def _related_columns(name: str, kind: type[object]) -> Iterator[Column]:
    path = ("relationships", name)
    if not _is_struct(kind):
        yield Column(name, path, dict)
        return
    yield Column(f"{name}.id", (*path, "id"), str)
    for field, keys in RELATED_COLUMNS.get(kind.__name__, {}).items():
        inner = tuple(int(key) if key.isdecimal() else key for key in keys.split("."))
        attributes = get_type_hints(kind)["attributes"]
        yield Column(f"{name}.{field}", (*path, "attributes", *inner), _type_at(attributes, inner))


def _type_at(hint: object, path: KeyPath) -> type[object]:
    for key in path:
        if isinstance(key, int):
            hint = next(item for choice in get_args(hint) for item in get_args(choice))
        else:
            hint = get_type_hints(_column_type(hint))[key]
    return _column_type(hint)


def _column_type(hint: object) -> type[object]:
    """Return the type of a column. Several simple types become ``str``, and nested values ``dict``."""
    if get_origin(hint) not in {Union, types.UnionType}:
        return hint if isinstance(hint, type) and (hint in SCALARS or _is_struct(hint)) else dict
    choices = [choice for choice in get_args(hint) if choice is not type(None)]
    if len(choices) > 1 and SCALARS.issuperset(choices):
        return str
    return _column_type(choices[0]) if len(choices) == 1 else dict


def _is_struct(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def row_of(record: object) -> dict[str, Cell]:
    """Return the row of a record, by the names of its columns."""
    model = type(record)
    if model not in _READERS:
        columns = columns_of(model)
        _READERS[model] = tuple(column.name for column in columns), record_reader(columns)
    names, read = _READERS[model]
    return dict(zip(names, read(record), strict=True))


_COLUMNS: dict[type[object], tuple[Column, ...]] = {}
"""The columns of each model. They are made when they are first needed, because that takes a while."""

_READERS: dict[type[object], tuple[tuple[str, ...], Callable[[object], list[Cell]]]] = {}
"""The names of a model's columns, and the function that reads them. They are made when they are first needed."""


def record_reader(columns: Sequence[Column]) -> Callable[[object], list[Cell]]:
    """Return a function that returns the cells of a record in some columns of its model."""
    read = tree_reader(tree_of(columns), columns)
    converters = [
        (index, _CONVERTERS[column.type]) for index, column in enumerate(columns) if column.type in _CONVERTERS
    ]

    def cells(record: object) -> list[Cell]:
        row = list[Cell](read(record))
        for index, convert in converters:
            if row[index] is not None:
                row[index] = convert(row[index])
        return row

    return cells


def _to_text(value: object) -> Cell:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _to_utc(value: object) -> Cell:
    assert isinstance(value, datetime)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


_CONVERTERS: dict[type[object], Callable[[object], Cell]] = {dict: _to_text, str: _to_text, datetime: _to_utc}
"""The conversion of a model's values by the type of their column. All others are used as they are."""


def tree_of(columns: Sequence[Column]) -> Tree:
    """Return columns as a tree of their paths."""
    tree: Tree = {}
    for column in columns:
        inner = tree
        for key in column.path[:-1]:
            found = inner.setdefault(key, {})
            assert isinstance(found, dict)
            inner = found
        inner[column.path[-1]] = column
    return tree


def tree_reader(tree: Tree, columns: Sequence[Column], names: Callable[[str], str] = str) -> Read:
    """Return a function that returns the values of an object in the order of the columns.

    Args:
        tree: The columns as a tree.
        columns: The columns in order.
        names: Returns the attribute for a key.
    """
    leaves = list(_leaves(tree))
    read = _branch_reader(tree, names)
    if leaves == list(columns):
        return read
    positions = [leaves.index(column) for column in columns]

    def reordered(record: object) -> Sequence[Any]:
        values = read(record)
        return [values[position] for position in positions]

    return reordered


def _leaves(tree: Tree) -> Iterator[Column]:
    for inner in tree.values():
        if isinstance(inner, Column):
            yield inner
        else:
            yield from _leaves(inner)


def _branch_reader(tree: Tree, names: Callable[[str], str]) -> Read:
    if 0 in tree:
        return _first_item_reader(tree, names)
    readers = list[Read]()
    for is_nested, group in groupby(tree.items(), lambda field: isinstance(field[1], dict)):
        fields = {names(str(key)): inner for key, inner in group}
        if not is_nested:
            readers.append(_values_reader(list(fields)))
            continue
        for name, inner in fields.items():
            assert isinstance(inner, dict)
            blank = (None,) * sum(1 for _ in _leaves(inner))
            readers.append(_nested_reader(attrgetter(name), _branch_reader(inner, names), blank))
    return readers[0] if len(readers) == 1 else _joined_reader(readers)


def _first_item_reader(tree: Tree, names: Callable[[str], str]) -> Read:
    inner = tree[0]
    assert isinstance(inner, dict)
    read, blank = _branch_reader(inner, names), (None,) * sum(1 for _ in _leaves(inner))

    def values(items: Any) -> Sequence[Any]:
        return read(items[0]) if items and items[0] is not None else blank

    return values


def _values_reader(names: Sequence[str]) -> Read:
    if len(names) == 1:
        get_value = attrgetter(names[0])
        return lambda record: (get_value(record),)
    return attrgetter(*names)


def _nested_reader(get: Callable[[object], object], read: Read, blank: Sequence[None]) -> Read:
    def values(record: object) -> Sequence[Any]:
        inner = get(record)
        return blank if inner is None else read(inner)

    return values


def _joined_reader(readers: Sequence[Read]) -> Read:
    def values(record: object) -> Sequence[Any]:
        joined = list[Any]()
        for read in readers:
            joined += read(record)
        return joined

    return values
