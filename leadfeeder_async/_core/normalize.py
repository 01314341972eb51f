"""Second chances for answers whose shape differs from the contract in a way that evidence allows.

The contract is a reconstruction, so an answer that does not fit at once is brought into shape and tried again:
``relationships.x.data`` wrappers are taken off, a top-level ``included`` is put where it belongs, ids become texts,
nulls in place of whole sections count as absent, and one object stands for a list of one. The common case pays nothing
for this: it only runs after the strict decoder refused.
"""

from __future__ import annotations

import re
from typing import TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_NULLABLE_KEYS = frozenset({"attributes", "relationships", "meta", "type"})
"""Keys whose null means that nothing is there."""


MAX_RESOLVED = 20_000
"""This many records of one answer are put in their places; records that all lead to each other would have no end."""

_ESCAPE = re.compile(rb"\\(?:(u[dD][89abAB]..)(\\u[dD][c-fC-F]..)?|(u[dD][c-fC-F]..)|.)", re.DOTALL)
"""An escape of JSON: first half of a character, with the second or without it; a second half alone; any other."""


def replace_lone_surrogates(body: bytes) -> bytes:
    """Put the sign for what is missing in place of each half of a character, such as a cut text ends with."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if (found[1] and not found[2]) or found[3] else found[0], body)


def normalize_response(answer: Json, *, wants_list: bool, wants_nothing: bool) -> Json:
    """Return an answer in the contract's shape."""
    if not isinstance(answer, dict):
        return answer
    related = IncludedResolver(answer.get("included"))
    data: Json = _normalize_record(answer.get("data"), related)
    if wants_nothing:
        data = None
    elif wants_list and isinstance(data, dict):
        data = [data]
    elif wants_list and data is None and "data" in answer:
        data = []
    elif not wants_list and isinstance(data, list) and len(data) == 1:
        data = data[0]
    meta = answer.get("meta")
    relaxed: dict[str, Json] = {"data": data}
    if isinstance(meta, dict):
        relaxed["meta"] = _without_nulls(meta)
    errors = answer.get("errors")
    if isinstance(errors, list):
        relaxed["errors"] = [_error(one) for one in errors]
    return relaxed


class IncludedResolver:
    """The records that an answer shows whole, for as long as putting them in their places comes to an end."""

    def __init__(self, included: Json) -> None:
        rows = included if isinstance(included, list) else []
        self._records = {(str(row.get("type")), str(row.get("id"))): row for row in rows if isinstance(row, dict)}
        self._on_the_way = set[tuple[str, str]]()
        self._left = MAX_RESOLVED

    def resolve(self, stub: dict[str, Json]) -> Json:
        """Return the record that a stub stands for; the stub itself inside that record, and where there is none."""
        key = (str(stub.get("type")), str(stub["id"]))
        whole = self._records.get(key)
        if whole is None or key in self._on_the_way or not self._left:
            return stub
        self._left -= 1
        self._on_the_way.add(key)
        try:
            return _normalize_record(whole, self)
        finally:
            self._on_the_way.remove(key)


def _normalize_record(value: Json, related: IncludedResolver) -> Json:
    """Bring one record, or a list of them, into the contract's shape; places in a list stay, and so do attributes."""
    if isinstance(value, list):
        return [_normalize_record(one, related) for one in value]
    if not isinstance(value, dict):
        return value
    shaped = {
        key: one if key == "attributes" else _normalize_record(one, related)
        for key, one in value.items()
        if not (one is None and key in _NULLABLE_KEYS)
    }
    if "id" in shaped:
        shaped["id"] = _text(shaped["id"])
    relations = shaped.get("relationships")
    if isinstance(relations, dict):
        shaped["relationships"] = {name: _normalize_relationship(one, related) for name, one in relations.items()}
    return shaped


def _normalize_relationship(value: Json, related: IncludedResolver) -> Json:
    """Take a related record out of its wrapper, and whole where the answer includes it."""
    if isinstance(value, dict) and "data" in value and "id" not in value:
        value = value["data"]
    if isinstance(value, list):
        return [one for one in (_normalize_relationship(each, related) for each in value) if one is not None]
    if not isinstance(value, dict) or "id" not in value:
        return value
    if value["id"] is None or value["id"] == "":
        return None
    return value if "attributes" in value else related.resolve(value)


def _error(value: Json) -> Json:
    """Keep the texts of an error, whatever else is odd about it."""
    return {key: one for key, one in value.items() if isinstance(one, str)} if isinstance(value, dict) else {}


def _text(value: Json) -> Json:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _without_nulls(meta: dict[str, Json]) -> dict[str, Json]:
    return {key: _text(one) if key == "request_id" else one for key, one in meta.items() if one is not None}
