"""Near-contract responses, brought into the shape of the contract.

The contract is a reconstruction, so a response that the strict decoder rejects is normalized and decoded again:
``relationships.x.data`` wrappers are removed, records of a top-level ``included`` are placed in the relationships that
name them, ids become strings, nulls in place of sections count as absent, and a single object counts as a list of one.
Responses that decode at once cost nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_NULLABLE_KEYS = frozenset({"attributes", "relationships", "meta", "type"})
"""Keys whose null counts as absent."""

MAX_RESOLVED = 20_000
"""Included records that one response can place. Records that all contain each other would otherwise have no end."""

_ESCAPE = re.compile(rb"\\(?:(u[dD][89abAB]..)(\\u[dD][c-fC-F]..)?|(u[dD][c-fC-F]..)|.)", re.DOTALL)
"""A JSON escape: a high surrogate with or without its low surrogate, a low surrogate alone, or any other."""


def replace_lone_surrogates(body: bytes) -> bytes:
    """Return a JSON body with unpaired surrogate escapes replaced by U+FFFD."""
    return _ESCAPE.sub(lambda match: rb"\ufffd" if (match[1] and not match[2]) or match[3] else match[0], body)


def normalize_response(response: Json, *, is_list: bool, is_empty: bool) -> Json:
    """Return a response in the shape of the contract."""
    if not isinstance(response, dict):
        return response
    data = _normalize_record(response.get("data"), IncludedResolver(response.get("included")))
    normalized: dict[str, Json] = {
        "data": None if is_empty else _as_list(data, "data" in response) if is_list else _as_object(data)
    }
    meta, errors = response.get("meta"), response.get("errors")
    if isinstance(meta, dict):
        normalized["meta"] = _without_nulls(meta)
    if isinstance(errors, list):
        normalized["errors"] = [_normalize_error(error) for error in errors]
    return normalized


def _as_list(data: Json, is_given: bool) -> Json:  # noqa: FBT001 - private
    if isinstance(data, dict):
        return [data]
    return [] if data is None and is_given else data


def _as_object(data: Json) -> Json:
    return data[0] if isinstance(data, list) and len(data) == 1 else data


class IncludedResolver:
    """Finds the included records that relationships name.

    Args:
        included: The top-level ``included`` of a response.

    """

    def __init__(self, included: Json) -> None:
        records: Iterable[Json] = included if isinstance(included, list) else ()
        self._records = {
            (str(record.get("type")), str(record.get("id"))): record for record in records if isinstance(record, dict)
        }
        self._open = set[tuple[str, str]]()
        self._remaining = MAX_RESOLVED

    def resolve(self, identifier: dict[str, Json]) -> Json:
        """Return the included record of an identifier, or the identifier if there is none or it contains itself."""
        key = (str(identifier.get("type")), str(identifier["id"]))
        record = self._records.get(key)
        if record is None or key in self._open or not self._remaining:
            return identifier
        self._remaining -= 1
        self._open.add(key)
        try:
            return _normalize_record(record, self)
        finally:
            self._open.remove(key)


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
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}


def _id_string(value: Json) -> Json:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _without_nulls(meta: dict[str, Json]) -> dict[str, Json]:
    return {
        key: _id_string(value) if key == "request_id" else value for key, value in meta.items() if value is not None
    }
