"""Convert responses that nearly match the contract into its shape.

The contract is a reconstruction, so a response that the strict decoder rejects is normalized and decoded again.
``relationships.x.data`` wrappers are removed, records of a top-level ``included`` are placed in the relationships that
name them, ids become strings, nulls in place of sections count as absent, and a single record counts as a list of one.
Responses that the strict decoder accepts are not processed here.
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from math import ceil, isfinite
from typing import TypeAlias

import msgspec

from leadfeeder_async._core.json_text import replace_lone_surrogates

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""Exceptions that decoding a body can raise. A ValueError is invalid UTF-8, or a time beyond the year 9999."""

_NULLABLE_KEYS = frozenset({"attributes", "relationships", "meta", "type"})
"""Keys whose null counts as absent."""

MAX_RESOLVED = 20_000
"""Included records that one response can place. Records that all contain each other would otherwise have no end."""

MAX_RESOLVED_BYTES = 4 * 1024 * 1024
"""The size of these records, beyond the size of the response. One large record may be in many relationships."""

MAX_RECORD_BYTES = 1024 * 1024
"""The largest record that is normalized. Its values take several times its size."""

MAX_SECTION_BYTES = 65_536
"""The largest ``errors``, or part of ``meta`` or ``links``, that is normalized."""


class _Body(msgspec.Struct):
    """A response with its records undecoded, so that only one of them is decoded at a time."""

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    included: msgspec.Raw = msgspec.Raw()
    meta: msgspec.Raw = msgspec.Raw()
    errors: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    code: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()
    success: msgspec.Raw = msgspec.Raw()
    links: msgspec.Raw = msgspec.Raw()


class _Parts(msgspec.Struct):
    """The known parts of metadata, of its pagination and of links. Others may be of any size."""

    pagination: msgspec.Raw = msgspec.Raw()
    credits: msgspec.Raw = msgspec.Raw()
    request_id: msgspec.Raw = msgspec.Raw()
    num_results: msgspec.Raw = msgspec.Raw()
    page_count: msgspec.Raw = msgspec.Raw()
    total_count: msgspec.Raw = msgspec.Raw()
    next_cursor: msgspec.Raw = msgspec.Raw()
    next: msgspec.Raw = msgspec.Raw()


class _Identifier(msgspec.Struct, gc=False):
    id: str | int | None = None
    type: str | int | None = None


_BODY = msgspec.json.Decoder(_Body)
_RECORDS = msgspec.json.Decoder(tuple[msgspec.Raw, ...])
_PARTS = msgspec.json.Decoder(_Parts)
_IDENTIFIER = msgspec.json.Decoder(_Identifier)
_JSON: msgspec.json.Decoder[Json] = msgspec.json.Decoder()


def normalize_response(body: bytes, *, is_list: bool, is_empty: bool, has_list_rows: bool = False) -> bytes:
    """Return a response in the shape of the contract, or raise an error of msgspec if it is not a JSON object."""
    try:
        response = _BODY.decode(body)
    except UNREADABLE:
        body = replace_lone_surrogates(body)
        response = _BODY.decode(body)
    normalized = BytesIO()  # takes half the memory of joining a list
    normalized.write(b'{"data":')
    if is_empty:
        normalized.write(b"null")
    else:
        _write_data(normalized, response, len(body), is_list=is_list, has_list_rows=has_list_rows)
    meta, errors = _known_parts(response.meta), _reported_errors(response)
    if isinstance(meta, dict):
        normalized.write(b',"meta":' + msgspec.json.encode(_normalize_meta(meta)))
    if errors:
        normalized.write(b',"errors":' + msgspec.json.encode(errors))
    links = _known_parts(response.links)
    if isinstance(links, dict):
        normalized.write(b',"links":' + msgspec.json.encode(links))
    normalized.write(b"}")
    return normalized.getvalue()


def normalize_meta(body: bytes) -> bytes:
    """Return the metadata of a body in the shape of the contract, or raise an error of msgspec if it is not JSON."""
    meta = _known_parts(_BODY.decode(body).meta)
    return msgspec.json.encode(_normalize_meta(meta if isinstance(meta, dict) else {}))


def _reported_errors(response: _Body) -> list[Json]:
    """Return the errors of a response, in whatever form it reports them."""
    listed, single = _section(response.errors), _section(response.error)
    is_large = max(len(response.errors), len(response.error)) > MAX_SECTION_BYTES
    found: list[Json] = [{"message": "The report of an error is too large."}] if is_large else []
    if isinstance(listed, list):
        found += [_normalize_error(error) for error in listed]
    elif listed:
        found.append(_normalize_error(listed))
    if single:
        found.append(_normalize_error(single))
    code, message, success = _section(response.code), _section(response.message), _section(response.success)
    if has_unlisted_error(None, code, message, success):
        found.append({"code": code, "message": message or "The response reports that it was not successful."})
    return found


def outline(body: bytes) -> dict[str, Json]:
    """Return the errors of a response of any size, and True as ``data`` if it has data.

    The result is empty if the response is not a JSON object.
    """
    try:
        response = _BODY.decode(body)
    except UNREADABLE:
        return {}
    has_data = not isinstance(response.data, msgspec.UnsetType) and bytes(memoryview(response.data)[:1]) != b"n"
    return {"data": True if has_data else None, "errors": _reported_errors(response)}


def has_unlisted_error(error: object, code: object, message: object, success: object) -> bool:
    """Return True if fields beside ``data`` report an error: ``error``, ``code`` with ``message``, or ``success``."""
    is_code = isinstance(code, str) and isinstance(message, str) and code.casefold() not in _CODES_OF_SUCCESS
    return bool(error) or success is False or is_code


_CODES_OF_SUCCESS = frozenset({"", "0", "200", "ok", "success"})


def _section(raw: msgspec.Raw) -> Json:
    """Return a small part of the response decoded. A large one counts as absent."""
    try:
        return _JSON.decode(raw) if 0 < len(raw) <= MAX_SECTION_BYTES else None
    except UNREADABLE:
        return None


def _known_parts(raw: msgspec.Raw, depth: int = 1) -> Json:
    """Return metadata or links decoded. If the object is large, only its known parts and their known parts are."""
    if len(raw) <= MAX_SECTION_BYTES or depth > MAX_PARTS_DEPTH:
        return _section(raw)
    try:
        parts = msgspec.structs.asdict(_PARTS.decode(raw))
    except UNREADABLE:
        return None
    return {name: _known_parts(part, depth + 1) for name, part in parts.items()}


MAX_PARTS_DEPTH = 2
"""The depth of the known parts: those of metadata, and those of its pagination."""


def _write_data(output: BytesIO, response: _Body, size: int, *, is_list: bool, has_list_rows: bool) -> None:
    if isinstance(response.data, msgspec.UnsetType):
        output.write(b"null")
        return
    included = IncludedResolver(response.included, MAX_RESOLVED_BYTES + size)
    begin = bytes(memoryview(response.data)[:1])
    if begin != b"[":
        record = _normalize_raw(response.data, included)
        if is_list and begin == b"n":
            record = b"[]"
        elif is_list and begin == b"{" and is_record(record):
            record = b"[" + record + b"]"
        output.write(record)
    elif is_list:
        _write_rows(output, _RECORDS.decode(response.data), included, has_list_rows=has_list_rows)
    else:
        rows = _RECORDS.decode(response.data)
        output.write(_normalize_raw(rows[0], included) if len(rows) == 1 else b"[]")  # only a list of one is a record


def _write_rows(
    output: BytesIO, rows: tuple[msgspec.Raw, ...], included: IncludedResolver, *, has_list_rows: bool
) -> None:
    separator = b"["
    for row in rows:
        output.write(separator)
        is_null = has_list_rows and bytes(memoryview(row)[:5]) == b"null"
        output.write(b"[]" if is_null else _normalize_raw(row, included))
        separator = b","
    output.write(b"]" if rows else b"[]")


def _normalize_raw(record: msgspec.Raw, included: IncludedResolver) -> bytes:
    """Return a record in the shape of the contract, or as it is if it is too large or cannot be decoded."""
    if len(record) > MAX_RECORD_BYTES:
        return bytes(record)
    try:
        return msgspec.json.encode(_normalize_record(_JSON.decode(record), included))
    except UNREADABLE:
        return bytes(record)


def unwrap_relationships(row: bytes) -> bytes:
    """Return a row without ``data`` wrappers around its related records. Everything else stays as it is."""
    if b'"data"' not in row:
        return row
    try:
        parts = _RAW_PARTS.decode(row)
        related = _RAW_PARTS.decode(parts.get("relationships", b"{}"))
    except UNREADABLE:
        return row
    unwrapped = {name: _without_wrapper(record) for name, record in related.items()}
    if all(unwrapped[name] is record for name, record in related.items()):
        return row
    parts["relationships"] = msgspec.Raw(msgspec.json.encode(unwrapped))
    return msgspec.json.encode(parts)


def _without_wrapper(related: msgspec.Raw) -> msgspec.Raw:
    try:
        found = _WRAPPER.decode(related)
    except UNREADABLE:
        return related
    return found.data if isinstance(found.data, msgspec.Raw) and found.id is msgspec.UNSET else related


class _Wrapper(msgspec.Struct):
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_RAW_PARTS, _WRAPPER = msgspec.json.Decoder(dict[str, msgspec.Raw]), msgspec.json.Decoder(_Wrapper)


def is_record(value: bytes) -> bool:
    """Return True if a JSON object has a part of a record: an ``id``, ``attributes`` or ``relationships``."""
    try:
        found = _RECORD.decode(value)
    except UNREADABLE:
        return False
    has_id = isinstance(found.id, msgspec.Raw) and bytes(memoryview(found.id)) != b"null"
    return has_id or found.attributes is not msgspec.UNSET or found.relationships is not msgspec.UNSET


class _Record(msgspec.Struct):
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    attributes: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    relationships: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_RECORD = msgspec.json.Decoder(_Record)


class IncludedResolver:
    """Finds the included records that relationships name.

    Args:
        included: The top-level ``included`` of a response.
        max_bytes: The size of the records that it returns at most.

    """

    def __init__(self, included: msgspec.Raw, max_bytes: int) -> None:
        self._records = dict[tuple[str, str], msgspec.Raw]()
        for record in _decode_records(included):
            with suppress(*UNREADABLE):
                found = _IDENTIFIER.decode(record)
                self._records[str(found.type), str(found.id)] = record
        self._open = set[tuple[str, str]]()
        self._remaining = MAX_RESOLVED
        self._remaining_bytes = max_bytes

    def resolve(self, identifier: dict[str, Json]) -> Json:
        """Return the included record of an identifier, or the identifier if there is none or it contains itself."""
        key = (str(identifier.get("type")), str(identifier["id"]))
        raw = self._records.get(key)
        if raw is None or key in self._open or not self._remaining or len(raw) > self._remaining_bytes:
            return identifier
        try:
            record = _JSON.decode(raw)
        except UNREADABLE:
            return identifier
        self._remaining -= 1
        self._remaining_bytes -= len(raw)
        self._open.add(key)
        try:
            return _normalize_record(record, self)
        finally:
            self._open.remove(key)


def _decode_records(records: msgspec.Raw) -> tuple[msgspec.Raw, ...]:
    try:
        return _RECORDS.decode(records)
    except UNREADABLE:
        return ()


def _normalize_record(value: Json, included: IncludedResolver) -> Json:
    """Return a record, or a list of records, in the shape of the contract. Attributes stay as they are."""
    if isinstance(value, list):
        return [_normalize_record(item, included) for item in value]
    if not isinstance(value, dict):
        return value
    record = {
        key: item if key == "attributes" else _normalize_record(item, included)
        for key, item in value.items()
        if not (item is None and key in _NULLABLE_KEYS)
    }
    if "id" in record:
        record["id"] = _id_string(record["id"])
    relationships = record.get("relationships")
    if isinstance(relationships, dict):
        record["relationships"] = {
            name: _normalize_relationship(item, included) for name, item in relationships.items()
        }
    return record


def _normalize_relationship(value: Json, included: IncludedResolver) -> Json:
    """Return a related record without its ``data`` wrapper, and complete if the response includes it."""
    if isinstance(value, dict) and "data" in value and "id" not in value:
        value = value["data"]
    if isinstance(value, list):
        items = (_normalize_relationship(item, included) for item in value)
        return [item for item in items if item is not None]
    if not isinstance(value, dict) or "id" not in value:
        return value
    if value["id"] is None or value["id"] == "":
        return None
    return value if "attributes" in value else included.resolve(value)


def _normalize_error(value: Json) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        return {"message": value if isinstance(value, str) else msgspec.json.encode(value).decode()}
    texts: dict[str, Json] = {key: text for key, text in value.items() if isinstance(text, str)}
    return texts or {"message": msgspec.json.encode(value).decode()}


def _id_string(value: Json) -> Json:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_COUNTS = frozenset({"total_count", "page_count", "page_num", "num_results"})


def _normalize_meta(meta: dict[str, Json]) -> dict[str, Json]:
    """Return metadata, or its pagination, without sections and counts that have other types."""
    normalized = dict[str, Json]()
    for key, value in meta.items():
        if key in _COUNTS:
            normalized[key] = _count(value)
        elif key == "pagination":
            normalized[key] = _normalize_meta(value) if isinstance(value, dict) else None
        elif key == "credits":
            normalized[key] = {"charged": _charge(value.get("charged"))} if isinstance(value, dict) else None
        elif key == "next_cursor":
            normalized[key] = None if value is False else _id_string(value)
        elif key == "request_id":
            found = _id_string(value)
            normalized[key] = found if isinstance(found, str) else None
        else:
            normalized[key] = value
    return {key: value for key, value in normalized.items() if value is not None}


def _count(value: Json) -> int | None:
    """Return a count that may be a string, a float, or in an object as search engines send it."""
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _charge(value: Json) -> int | None:
    """Return a number of credits that may be a string or a float. A part of a credit counts as one."""
    with suppress(ValueError):
        value = float(value) if isinstance(value, str) and len(value) <= _MAX_DIGITS else value
    if isinstance(value, float) and isfinite(value):
        value = ceil(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_CHARGE else None


MAX_CHARGE = 2**63 - 1
"""The largest charge that JSON can contain as an integer of 64 bits."""

_MAX_DIGITS = 18
"""The most digits of a count or a charge that is a string."""


def next_link(links: object) -> str | None:
    """Return the URL of the next page from the links of a response, or None on the last page."""
    with suppress(msgspec.ValidationError):
        following = msgspec.convert(links, _Links).next
        return following.href if isinstance(following, _Link) else following
    return None


class _Link(msgspec.Struct, gc=False):
    href: str | None = None


class _Links(msgspec.Struct):
    next: str | _Link | None = None
