"""Compare the endpoints and models of this package with an OpenAPI document. The functions are pure.

The paths in this package come from public sources, because the official OpenAPI document was not available. With the
document, users can check them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import TypeAlias

import msgspec
from msgspec.inspect import Field, StructType, Type, UnionType, type_info

from leadfeeder_async._core.endpoint import Endpoint, PaginationStyle
from leadfeeder_async.cli.openapi_document import string_keys
from leadfeeder_async.models.schemas import SCHEMAS

Json: TypeAlias = "dict[str, object]"

MAX_SIMILAR_PATHS = 500
"""The most paths of a document that are compared with a path that it does not contain."""

_METHODS = frozenset({"get", "post", "put", "patch", "delete"})
_PAGINATION_PARAMS: Mapping[PaginationStyle, frozenset[str]] = {
    PaginationStyle.PAGE_NUMBER: frozenset({"page[num]", "page[size]"}),
    PaginationStyle.CURSOR: frozenset({"page[cursor]", "page[size]"}),
}
_COMPATIBLE_TYPES: Mapping[str, frozenset[str]] = {
    "string": frozenset({"StrType", "DateType", "DateTimeType", "LiteralType"}),
    "integer": frozenset({"IntType", "FloatType"}),
    "number": frozenset({"FloatType"}),
    "boolean": frozenset({"BoolType"}),
    "array": frozenset({"VarTupleType"}),
    "object": frozenset({"StructType", "DictType"}),
}
"""The msgspec types that can decode each JSON type."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between the document and this package."""

    location: str
    """The operation, schema or field."""
    message: str
    breaking: bool = False
    override: str | None = None
    """The path to pass as ``paths={operation: path}`` if that corrects the difference."""


@dataclass(frozen=True, slots=True)
class _Operation:
    id: str
    method: str
    path: str
    params: Mapping[str, bool]
    """The query parameters. The value is True if the parameter is required."""


def compare(document: Json, endpoints: list[Endpoint[object]]) -> list[Difference]:
    """Return the differences between an OpenAPI document and this package, breaking ones first."""
    operations = list(_operations(document))
    known_routes = {(endpoint.method, endpoint.path) for endpoint in endpoints}
    known_ids = {endpoint.operation for endpoint in endpoints}
    unknown_routes = [item for item in operations if (item.method, item.path) not in known_routes]
    differences = [
        difference for endpoint in endpoints for difference in _compare_endpoint(endpoint, operations, unknown_routes)
    ]
    differences += [
        Difference(item.id, f"{item.method} {item.path} is new. Call it with lf.request(...).")
        for item in unknown_routes
        if item.id not in known_ids
    ]
    differences += _compare_schemas(document)
    return sorted(dict.fromkeys(differences), key=lambda difference: not difference.breaking)


def _operations(document: Json) -> Iterator[_Operation]:
    shared = _object(_object(document.get("components")).get("parameters"))
    for path, item in _object(document.get("paths")).items():
        for method, value in _object(item).items():
            if method not in _METHODS:
                continue
            operation = _object(value)
            listed = [*_array(_object(item).get("parameters")), *_array(operation.get("parameters"))]
            parameters = [_resolve(parameter, shared) for parameter in listed]
            query = {
                name: each.get("required") is True
                for each in parameters
                if each.get("in") == "query" and isinstance(name := each.get("name"), str)
            }
            yield _Operation(str(operation.get("operationId", f"{method} {path}")), method.upper(), path, query)


def _compare_endpoint(
    endpoint: Endpoint[object], operations: list[_Operation], unknown_routes: list[_Operation]
) -> Iterator[Difference]:
    match = _find(endpoint, operations)
    if match is None:
        similar = get_close_matches(endpoint.path, _similar_paths(endpoint, unknown_routes), n=3, cutoff=0.5)
        suggestion = f" Similar: {', '.join(similar)}." if similar else ""
        message = f"{endpoint.method} {endpoint.path} is not in the document.{suggestion}"
        yield Difference(endpoint.operation, message, breaking=True, override=next(iter(similar), None))
        return
    if match.path != endpoint.path and _template(match.path) != _template(endpoint.path):
        message = f"The path is {match.path}, not {endpoint.path}."
        yield Difference(endpoint.operation, message, breaking=True, override=match.path)
    if match.method != endpoint.method:
        message = f"The method is {match.method}, not {endpoint.method}."
        yield Difference(endpoint.operation, message, breaking=True)
    sent = {
        *endpoint.params,
        *_PAGINATION_PARAMS.get(endpoint.pagination, ()),
        *(("account_id",) if endpoint.names_account else ()),
    }
    for name, required in match.params.items():
        if required and name not in sent:
            yield Difference(endpoint.operation, f"The required parameter {name} is never sent.", breaking=True)
    for name in sorted(sent - set(match.params)):
        yield Difference(endpoint.operation, f"The parameter {name} is not in the document.")


def _similar_paths(endpoint: Endpoint[object], unknown_routes: list[_Operation]) -> list[str]:
    """Return the paths that have a segment of the endpoint's path. Comparing thousands of paths would take long."""
    words = set(endpoint.path.split("/")) - {"", "v1"}
    paths = (
        operation.path
        for operation in unknown_routes
        if operation.method == endpoint.method and not words.isdisjoint(operation.path.split("/"))
    )
    return list(islice(dict.fromkeys(paths), MAX_SIMILAR_PATHS))


def _find(endpoint: Endpoint[object], operations: list[_Operation]) -> _Operation | None:
    route = (endpoint.method, _template(endpoint.path))
    by_id = [operation for operation in operations if operation.id == endpoint.operation]
    by_route = [operation for operation in operations if (operation.method, _template(operation.path)) == route]
    return next(iter([*by_id, *by_route]), None)


def _template(path: str) -> list[str]:
    """Return the segments of a path, with the names of its parameters removed."""
    return ["{}" if segment.startswith("{") else segment for segment in path.split("/")]


def _compare_schemas(document: Json) -> Iterator[Difference]:
    for name, schema in _object(_object(document.get("components")).get("schemas")).items():
        if name not in SCHEMAS:
            yield Difference(name, "The schema is new.")
            continue
        info = type_info(SCHEMAS[name])
        if isinstance(info, StructType):
            yield from _compare_struct(name, _object(schema), info)


def _compare_struct(location: str, schema: Json, info: StructType) -> Iterator[Difference]:
    fields = {field.encode_name: field for field in info.fields}
    for name, field_schema in _object(schema.get("properties")).items():
        if name in fields:
            yield from _compare_field(f"{location}.{name}", _object(field_schema), fields[name])
        elif name != info.tag_field:
            yield Difference(f"{location}.{name}", "The field is new. Exports contain it, the model does not.")


def _compare_field(location: str, schema: Json, field: Field) -> Iterator[Difference]:
    types = list(_union_members(field.type))
    names = {type(each).__name__ for each in types}
    if "AnyType" in names or "CustomType" in names:
        return
    for json_type in _json_types(schema):
        if json_type in _COMPATIBLE_TYPES and not names & _COMPATIBLE_TYPES[json_type]:
            message = f"The type is {json_type}, but the model has {' or '.join(sorted(names))}."
            yield Difference(location, message, breaking=True)
    for each in types:
        if isinstance(each, StructType) and "properties" in schema:
            yield from _compare_struct(location, schema, each)


def _union_members(info: Type) -> Iterator[Type]:
    yield from info.types if isinstance(info, UnionType) else (info,)


def _json_types(schema: Json) -> list[str]:
    declared = schema.get("type")
    return [declared] if isinstance(declared, str) else [str(each) for each in _array(declared) if each != "null"]


def _resolve(parameter: object, shared: Json) -> Json:
    reference = _object(parameter).get("$ref")
    return _object(shared.get(str(reference).rsplit("/", maxsplit=1)[-1])) if reference else _object(parameter)


def _object(value: object) -> Json:
    return string_keys(msgspec.convert(value, dict[object, object])) if isinstance(value, dict) else {}


def _array(value: object) -> list[object]:
    return msgspec.convert(value, list[object]) if isinstance(value, list) else []
