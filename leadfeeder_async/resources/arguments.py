"""Validation and encoding of the arguments that methods of several resources accept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import TypeVar, get_args
from uuid import UUID

import msgspec

from leadfeeder_async._argument_checks import (
    check_dict,
    check_ids,
    check_integer,
    check_strings,
    is_collection,
    is_mapping,
    reject,
    show_value,
    spelling_hint,
)
from leadfeeder_async._core.codec import encode_json
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.models.envelope import ResourceIdentifier
from leadfeeder_async.models.request_bodies import (
    CustomFeedRequest,
    CustomFieldRequest,
    LinkagesRequest,
    ListChanges,
    ListRequest,
    TagRequest,
)
from leadfeeder_async.resources.body_checks import (
    check_arguments,
    check_json_value,
    nested_struct,
    struct_fields,
)

S = TypeVar("S", bound=msgspec.Struct)


_NOT_JSON = (bytes, bytearray, memoryview, date, datetime, UUID, Decimal)
"""Types that msgspec would encode as strings. They are checked as they are."""


def include_param(include: Iterable[str] | None, literal: object) -> tuple[str, ...] | None:
    """Return the names of relationships as a query parameter, or raise ConfigurationError for a misspelled one.

    ``literal`` has the known names. A name that resembles none of them is sent, because the API may know it.
    """
    if include is None:
        return None
    known = [str(name) for name in get_args(literal)]
    names = check_strings("include", include)
    for index, name in enumerate(names):
        near = [] if name in known else get_close_matches(name, known, 1, 0.7)
        if near or not name.strip():
            reject(f"include[{index}]", name, "is not a known relationship.", spelling_hint(name, known))
    return names or None


def check_range(name: str, value: int | None, least: int, most: int) -> int | None:
    """Return an integer, or raise ConfigurationError if it is out of range. None is left out of the query."""
    return None if value is None else check_integer(name, value, least, most)


def check_scope(scope: object) -> str:
    """Return the scope of lists or custom fields, or raise ConfigurationError."""
    check_arguments(ListChanges, {"scope": scope})
    return str(scope)


def check_some_ids(name: str, ids: Iterable[str], most: int | None = None) -> tuple[str, ...]:
    """Return the ids, or raise ConfigurationError if there are none or more than ``most``."""
    if is_mapping(ids):
        reject(name, ids, "must be a list.")
    wanted = check_ids(name, ids)
    check_argument(wanted, f"{name}={show_value(ids)} is empty.", "Pass at least one id.", argument=name)
    check_argument(
        most is None or len(wanted) <= most,
        f"{name} contains {len(wanted)} ids.",
        f"Pass at most {most} in one call.",
        argument=name,
    )
    return wanted


def optional_ids(name: str, ids: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the ids of a condition, or None if it is left out."""
    return None if ids is None else check_some_ids(name, ids)


def encode_validated(kind: type[msgspec.Struct], arguments: Mapping[str, object]) -> bytes:
    """Return the arguments as JSON, or raise ConfigurationError if they do not match the body ``kind``."""
    given = {name: value for name, value in arguments.items() if value is not None}
    body, problem = b"", ""
    try:
        plain: object = msgspec.to_builtins(given, builtin_types=_NOT_JSON, enc_hook=_to_plain)
        body = msgspec.json.encode(msgspec.convert(plain, kind))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        problem = str(error)
    if problem or b"null" in body or b"{}" in body:  # NaN becomes null, and a filter without conditions becomes {}
        fields = struct_fields(kind)
        check_arguments(
            kind, {name: value for name, value in arguments.items() if name in given or fields[name].required}
        )
        check_argument(not problem, f"Invalid arguments: {problem}.")
    return body


def _to_plain(value: object) -> object:
    """Return a mapping as a dict and a sequence or set as a list, for msgspec."""
    if is_mapping(value):
        return dict(value)
    if is_collection(value):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not supported")


def encode_search(
    kind: type[msgspec.Struct], conditions: Mapping[str, object], extra: Mapping[str, object] | None
) -> bytes:
    """Return the conditions of a search as JSON, or raise ConfigurationError if there are none."""
    check_argument(
        extra is not None or any(value is not None for value in conditions.values()),
        "The search needs at least one condition.",
        f"Pass one of {', '.join(conditions)}.",
    )
    return add_extra(kind, encode_validated(kind, conditions), extra)


def encode_linkages(kind: str, ids: Iterable[str], extra: Mapping[str, object] | None) -> bytes:
    """Return the ids of related records as the JSON body that adds or removes them."""
    data = tuple(ResourceIdentifier(id=one, type=kind) for one in check_some_ids(f"{kind}_ids", ids))
    return add_extra(LinkagesRequest, encode_json(LinkagesRequest(data=data)), extra)


def checked(kind: type[S], **arguments: object) -> S:
    """Return the attributes of a record to create or change, or raise ConfigurationError for an invalid argument."""
    check_arguments(kind, arguments)
    return kind(**arguments)


def encode_record(
    request: TagRequest | ListRequest | CustomFieldRequest | CustomFeedRequest, extra: Mapping[str, object] | None
) -> bytes:
    """Return the JSON body that creates or changes a record, with ``extra`` added to the attributes of the record."""
    if extra is None:
        return encode_json(request)
    data, attributes = request.data, request.data.attributes
    merged = _merge(type(attributes), msgspec.to_builtins(attributes), extra)
    return encode_json({"data": {**msgspec.to_builtins(data), "attributes": merged}})


def add_extra(kind: type[msgspec.Struct], body: bytes, extra: Mapping[str, object] | None) -> bytes:
    """Return a body with the fields in ``extra``, or raise ConfigurationError if ``kind`` already has such a field."""
    if extra is None:
        return body
    return encode_json(_merge(kind, msgspec.json.decode(body, type=dict[str, object]), extra))


def _merge(
    kind: type[msgspec.Struct], fields: Mapping[str, object], extra: object, path: str = "extra", argument: str = ""
) -> dict[str, object]:
    """Return fields with those in ``extra``. Fields of nested Structs are merged too."""
    merged, known = dict(fields), struct_fields(kind)
    for key, value in check_dict(path, extra).items():
        inner, argument_of_key = f"{path}[{key!r}]", argument or f"{key}="
        nested = nested_struct(known[key].type) if key in known else None
        if key not in known:
            check_json_value(inner, value)
            merged[key] = value
        elif nested is not None and is_mapping(value) and value:
            merged[key] = _merge(nested, check_dict(inner, merged.get(key) or {}), value, inner, argument_of_key)
        else:
            hint = f"Pass it in {argument_of_key} instead, if the call has this argument."
            raise ConfigurationError(f"{inner}={show_value(value)} is not a new field.", hint=hint, argument="extra")
    return merged
