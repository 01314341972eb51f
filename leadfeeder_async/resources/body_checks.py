"""Find the argument for which a request body is invalid, and describe the mistake.

msgspec validates the bodies of searches. This is fast, but its errors do not show values and do not suggest other
keys. For searches, these functions run only if msgspec rejects a body, or if a value may have been lost in JSON. The
arguments of calls that create or change records are always checked here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from math import isfinite
from typing import NoReturn

import msgspec
from msgspec import UNSET, inspect

from leadfeeder_async._argument_checks import (
    argument_of,
    check_boolean,
    check_dict,
    check_list,
    check_string,
    is_collection,
    is_mapping,
    reject,
    spelling_hint,
)
from leadfeeder_async.errors import ConfigurationError


def check_arguments(kind: type[msgspec.Struct], arguments: Mapping[str, object]) -> None:
    """Raise ConfigurationError for the first argument that a field of the body ``kind`` does not accept."""
    fields = struct_fields(kind)
    for name, value in arguments.items():
        if value is not UNSET:
            _check(fields[name].type, value, name)


@cache
def struct_fields(kind: type[msgspec.Struct]) -> Mapping[str, inspect.Field]:
    """Return the fields of a Struct, by their keys in JSON."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: field for field in info.fields}


def nested_struct(expected: inspect.Type) -> type[msgspec.Struct] | None:
    """Return the Struct that a field contains, or None if it contains another type."""
    members = expected.types if isinstance(expected, inspect.UnionType) else (expected,)
    return next((member.cls for member in members if isinstance(member, inspect.StructType)), None)


def check_json_value(name: str, value: object) -> None:
    """Raise ConfigurationError if a value cannot be sent as JSON without loss."""
    given = value  # the patterns below would narrow its type to one with unknown items
    match value:
        case float() if not isfinite(value):
            reject(name, given, "is not a finite number.")
        case list() | tuple() | set() | frozenset():
            for index, item in enumerate(check_list(name, given)):
                check_json_value(f"{name}[{index}]", item)
        case dict():
            for key, item in check_dict(name, given).items():
                check_json_value(f"{name}.{key}", item)
        case str():
            check_string(name, value)
        case bytes() | bytearray() | memoryview():
            reject(name, given, "cannot be sent as JSON.", "Pass a string.")
        case _:
            try:
                msgspec.json.encode(value)
            except (TypeError, ValueError, OverflowError, RecursionError):
                reject(name, given, "cannot be sent as JSON.", "Pass strings, numbers, lists and dicts.")


def _check(expected: inspect.Type, value: object, path: str) -> None:  # noqa: C901, PLR0912 - one line for each type
    match expected:
        case inspect.UnionType(types=types):
            if value is not None:  # each union consists of one type and None
                _check(next(member for member in types if not isinstance(member, inspect.NoneType)), value, path)
        case inspect.StrType(pattern=pattern):
            if not check_string(path, value).strip() and pattern is not None:
                reject(path, value, "is empty.", "Leave it out.")
            if pattern is not None and re.search(pattern, str(value)) is None:
                reject(path, value, "is not a country code.", "Write two capital letters, such as DE.")
        case inspect.BoolType():
            check_boolean(path, value)
        case inspect.IntType(ge=least, le=most) | inspect.FloatType(ge=least, le=most):
            _check_number(value, path, least, most, only_integers=isinstance(expected, inspect.IntType))
        case inspect.DateType():
            _check_date(value, path)
        case inspect.LiteralType(values=values):
            if check_string(path, value) not in values:
                choices = [str(choice) for choice in values]
                reject(path, value, "is not a known value.", spelling_hint(str(value), choices))
        case inspect.VarTupleType(item_type=item_type, min_length=least, max_length=most):
            items = check_list(path, value)
            if not is_collection(value):
                reject(path, value, "must be a list.", f"Write {path}=list(...).")
            if least and not items:
                reject(path, value, "is empty.", "Leave it out, or add an item.")
            if most is not None and len(items) > most:
                raise ConfigurationError(
                    f"{path} has {len(items)} items.", hint=f"Pass at most {most}.", argument=argument_of(path)
                )
            for index, item in enumerate(items):
                _check(item_type, item, f"{path}[{index}]")
        case inspect.StructType(cls=cls):
            _check_struct(cls, value, path)
        case inspect.DictType():
            if not check_dict(path, value):
                _raise_without_conditions(path, value)
            check_json_value(path, value)
        case _:
            check_json_value(path, value)


def _check_number(value: object, path: str, least: float | None, most: float | None, *, only_integers: bool) -> None:
    words = "an integer" if only_integers else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float):
        reject(path, value, f"must be {words}.")
    if isinstance(value, float) and not isfinite(value):
        reject(path, value, "is not a finite number.", "Leave it out if it is unknown.")
    if abs(value) >= 2**63:
        reject(path, value, "is too large.")
    if only_integers and not isinstance(value, int):
        reject(path, value, f"must be {words}.", f"Write {round(value)}.")
    if (least is not None and value < least) or (most is not None and value > most):
        reject(path, value, f"must be {least} {'or more' if most is None else f'to {most}'}.")


def _check_date(value: object, path: str) -> None:
    if isinstance(value, datetime) or not isinstance(value, date | str):
        hint = f'Write "{value:%Y-%m-%d}".' if isinstance(value, datetime) else "Pass a date, or write YYYY-MM-DD."
        reject(path, value, "must be a date.", hint)
    try:
        msgspec.convert(value, date)
    except msgspec.ValidationError:
        reject(path, value, "is not a date.", "Write it as YYYY-MM-DD.")


def _check_struct(kind: type[msgspec.Struct], value: object, path: str) -> None:
    fields = struct_fields(kind)
    is_struct = isinstance(value, kind)
    if not is_struct and not is_mapping(value):
        reject(path, value, f"must be a dict or {kind.__name__}.")
    if is_struct:
        given = {name: getattr(value, field.name) for name, field in fields.items()}
    else:
        given = check_dict(path, value)
    for name, item in given.items():
        if name not in fields:
            problem = f"Unknown filter {name!r}." if path == "filters" else f"Unknown key {name!r} in {path}."
            raise ConfigurationError(problem, hint=_key_hint(name, fields, path), argument=argument_of(path))
        _check(fields[name].type, item, f"{path}.{name}")
    missing = [name for name, field in fields.items() if field.required and given.get(name) is None]
    if missing:
        reject(path, value, f"has no {missing[0]!r}.", "Add it.")
    known = {name: item for name, item in given.items() if item is not None and item is not UNSET}
    if not known:
        _raise_without_conditions(path, value)
    try:
        msgspec.convert(known, kind)
    except msgspec.ValidationError as error:
        problem = str(error)
    else:
        return
    reject(path, value, f"is invalid: {problem}.")


def _key_hint(name: str, fields: Mapping[str, inspect.Field], path: str) -> str:
    hint = f"Use one of {', '.join(fields)}."
    if path.isidentifier():
        hint += f" A new key of the API can be sent with extra={{{path!r}: {{{name!r}: ...}}}}."
    return spelling_hint(name, fields, hint)


def _raise_without_conditions(path: str, value: object) -> NoReturn:
    reject(path, value, "has no condition, so it would match everything.", f"Leave {path} out, or add a condition.")
