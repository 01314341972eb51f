"""Holds the rows and Structs of this package against an OpenAPI document: what differs, and what to do about it.

The paths here come from public evidence, since the vendor's own document could not be had; whoever has it can check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

import msgspec
from msgspec.inspect import Field, StructType, Type, UnionType, type_info

from leadfeeder_async._core.endpoint import AccountScope, Endpoint, PaginationStyle
from leadfeeder_async.models.schemas import SCHEMAS

Json: TypeAlias = "dict[str, object]"

_METHODS = frozenset({"get", "post", "put", "patch", "delete"})
_PAGING_PARAMS: Mapping[PaginationStyle, frozenset[str]] = {
    PaginationStyle.PAGE_NUMBER: frozenset({"page[num]", "page[size]"}),
    PaginationStyle.CURSOR: frozenset({"page[cursor]", "page[size]"}),
}
_JSON_TYPES: Mapping[str, frozenset[str]] = {
    "string": frozenset({"StrType", "DateType", "DateTimeType", "LiteralType"}),
    "integer": frozenset({"IntType", "FloatType"}),
    "number": frozenset({"FloatType"}),
    "boolean": frozenset({"BoolType"}),
    "array": frozenset({"VarTupleType"}),
    "object": frozenset({"StructType", "DictType"}),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which the document and this package differ."""

    where: str
    what: str
    breaking: bool = False
    override: str | None = None
    """The path to pass as ``paths={operation: path}``, where that mends it."""


@dataclass(frozen=True, slots=True)
class _Operation:
    id: str
    method: str
    path: str
    params: Mapping[str, bool]
    """Query parameters, and whether each is required."""


def compare(document: Json, rows: list[Endpoint[object]]) -> list[Difference]:
    """Return what differs between an OpenAPI document and ``rows``, breaking things first."""
    operations = list(_operations(document))
    taken = {(row.method, row.path) for row in rows}
    free = [one for one in operations if (one.method, one.path) not in taken]
    found = [one for row in rows for one in _compare_row(row, operations, free)]
    known = {row.operation for row in rows} | {(row.method, row.path) for row in rows}
    found += [
        Difference(one.id, f"{one.method} {one.path} is new: call it with lf.request(...)")
        for one in operations
        if one.id not in known and (one.method, one.path) not in known
    ]
    found += _compare_schemas(document)
    return sorted(dict.fromkeys(found), key=lambda one: not one.breaking)


def _operations(document: Json) -> Iterator[_Operation]:
    shared = _members(_members(document.get("components")).get("parameters"))
    for path, item in _members(document.get("paths")).items():
        for method, operation in _members(item).items():
            if method not in _METHODS:
                continue
            facts = _members(operation)
            listed = [*_items(_members(item).get("parameters")), *_items(facts.get("parameters"))]
            found = [_resolved(one, shared) for one in listed]
            params = {str(one["name"]): bool(one.get("required")) for one in found if one.get("in") == "query"}
            yield _Operation(str(facts.get("operationId", f"{method} {path}")), method.upper(), path, params)


def _compare_row(row: Endpoint[object], operations: list[_Operation], free: list[_Operation]) -> Iterator[Difference]:
    match = _find(row, operations)
    if match is None:
        candidates = {one.path for one in free if one.method == row.method}
        near = get_close_matches(row.path, candidates, n=3, cutoff=0.5)
        hint = f"; perhaps {' or '.join(near)}" if near else ""
        yield Difference(
            row.operation, f"{row.method} {row.path} is not in the document{hint}", True, next(iter(near), None)
        )
        return
    if match.path != row.path and _shape(match.path) != _shape(row.path):
        yield Difference(row.operation, f"lives at {match.path}, not at {row.path}", True, match.path)
    if match.method != row.method:
        yield Difference(row.operation, f"takes {match.method}, not {row.method}", True)
    sent = {
        *row.params,
        *_PAGING_PARAMS.get(row.pagination, ()),
        *(() if row.account is AccountScope.NONE else ("account_id",)),
    }
    for name, required in match.params.items():
        if required and name not in sent:
            yield Difference(row.operation, f"needs the parameter {name}, which is never sent", True)
    for name in sorted(sent - set(match.params)):
        yield Difference(row.operation, f"does not know the parameter {name}")


def _find(row: Endpoint[object], operations: list[_Operation]) -> _Operation | None:
    by_id = [one for one in operations if one.id == row.operation]
    by_path = [one for one in operations if (one.method, _shape(one.path)) == (row.method, _shape(row.path))]
    return next(iter([*by_id, *by_path]), None)


def _shape(path: str) -> list[str]:
    """Return a path without the names of its ids."""
    return ["{}" if part.startswith("{") else part for part in path.split("/")]


def _compare_schemas(document: Json) -> Iterator[Difference]:
    published = _members(_members(document.get("components")).get("schemas"))
    for name, schema in published.items():
        if name not in SCHEMAS:
            yield Difference(name, "is a new schema")
            continue
        info = type_info(SCHEMAS[name])
        if isinstance(info, StructType):
            yield from _compare_struct(name, _members(schema), info, published)


def _compare_struct(where: str, schema: Json, info: StructType, published: Json) -> Iterator[Difference]:
    fields = {field.encode_name: field for field in info.fields}
    tag = {info.tag_field} if info.tag_field else set[str]()
    for name, sub in _members(schema.get("properties")).items():
        if name in fields:
            yield from _compare_field(f"{where}.{name}", _members(sub), fields[name], published)
        elif name not in tag:
            yield Difference(f"{where}.{name}", "is a new field: exports keep it, the Struct leaves it out")


def _compare_field(where: str, schema: Json, field: Field, published: Json) -> Iterator[Difference]:
    kinds = list(_kinds(field.type))
    names = {type(kind).__name__ for kind in kinds}
    if "AnyType" in names or "CustomType" in names:
        return
    for json_type in _json_types(schema):
        if json_type in _JSON_TYPES and not names & _JSON_TYPES[json_type]:
            yield Difference(where, f"is {json_type} in the document, and {' or '.join(sorted(names))} here", True)
    for kind in kinds:
        if isinstance(kind, StructType) and "properties" in schema:
            yield from _compare_struct(where, schema, kind, published)


def _kinds(info: Type) -> Iterator[Type]:
    yield from info.types if isinstance(info, UnionType) else (info,)


def _json_types(schema: Json) -> list[str]:
    found = schema.get("type")
    return [found] if isinstance(found, str) else [str(one) for one in _items(found) if one != "null"]


def _resolved(parameter: object, shared: Json) -> Json:
    facts = _members(parameter)
    reference = facts.get("$ref")
    return _members(shared.get(str(reference).rsplit("/", maxsplit=1)[-1])) if reference else facts


def _members(value: object) -> Json:
    return msgspec.convert(value, dict[str, object]) if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return msgspec.convert(value, list[object]) if isinstance(value, list) else []
