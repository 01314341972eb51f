"""The request that an operation receives, the result that it returns, and its route."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import msgspec

from leadfeeder_async.sandbox.sample_data import Json
from leadfeeder_async.sandbox.server_state import ApiError, SandboxAccount, SandboxState

T = TypeVar("T")

MAX_PAGE_NUMBER = 10**9

_CURSOR = re.compile(r"c\.([0-9a-f]+)/\+=")
"""A cursor. It contains characters that a client must percent-encode."""


@dataclass(frozen=True, slots=True)
class Query:
    """A request after routing and authorization, with its path parameters, query parameters and body."""

    state: SandboxState
    account: SandboxAccount | None
    path_params: Mapping[str, str]
    params: Mapping[str, str]
    body: Json

    def require_account(self) -> SandboxAccount:
        """Return the account of the request, or raise a 400 error if it has none."""
        if self.account is None:
            raise ApiError(400, "invalid_request", "account_id is missing")
        return self.account

    def id_list(self, name: str, max_count: int = 100) -> list[str]:
        """Return the IDs in a comma-separated query parameter."""
        ids = [record_id for record_id in self.params.get(name, "").split(",") if record_id]
        if not 1 <= len(ids) <= max_count:
            raise ApiError(400, "invalid_request", f"{name} takes 1 to {max_count} ids")
        return ids

    def include(self, allowed: Iterable[str]) -> set[str]:
        """Return the relations in ``include``, or raise a 400 error if one is not in ``allowed``."""
        relations = {relation for relation in self.params.get("include", "").split(",") if relation}
        unknown = sorted(relations - set(allowed))
        if unknown:
            raise ApiError(400, "invalid_request", f"include has unknown relations: {', '.join(unknown)}")
        return relations

    def decode_body(self, type_: type[T]) -> T:
        """Convert the body, or raise a 400 error if it is not valid."""
        return self.convert(self.body, type_)

    def decode_params(self, type_: type[T]) -> T:
        """Convert the query parameters, or raise a 400 error if they are not valid."""
        return self.convert(dict(self.params), type_)

    def convert(self, value: object, type_: type[T]) -> T:
        """Convert part of the request, or raise a 400 error if it is not valid."""
        try:
            return msgspec.convert(value, type_)
        except msgspec.ValidationError as error:
            raise ApiError(400, "invalid_request", str(error)) from None

    def int_param(self, name: str, default: int, maximum: int) -> int:
        """Return a query parameter as an integer from 1 to ``maximum``."""
        text = self.params.get(name, str(default))
        if not text.isdecimal() or not 1 <= int(text) <= maximum:
            raise ApiError(400, "invalid_request", f"{name} must be 1 to {maximum}")
        return int(text)


class OperationResult(msgspec.Struct, frozen=True):
    """A successful response."""

    data: object = None
    pagination: Json = {}
    charged: int | None = None
    """The credits charged. If None, the response does not report credits."""
    status: int = 200
    extra_meta: Json = {}
    """More fields of ``meta``."""


Operation: TypeAlias = Callable[[Query], OperationResult]

_PAGINATION_PARAMS = {"none": (), "number": ("page[num]", "page[size]"), "cursor": ("page[cursor]", "page[size]")}


@dataclass(frozen=True, slots=True)
class Route:
    """The method, path and query parameters of an operation."""

    method: str
    path: str
    operation: Operation
    params: tuple[str, ...] = ()
    pagination: Literal["none", "number", "cursor"] = "none"
    account: Literal["required", "optional", "none"] = "required"

    @property
    def name(self) -> str:
        """The operation name in the contract."""
        return self.operation.__name__

    @property
    def allowed_params(self) -> frozenset[str]:
        """All query parameters that the operation accepts."""
        return frozenset(("account_id", *self.params, *_PAGINATION_PARAMS[self.pagination]))


def numbered_page(
    query: Query, rows: Sequence[T], to_json: Callable[[T], object], *, max_rows: int | None = None
) -> OperationResult:
    """Return the page of ``rows`` that the query requests by number.

    If ``max_rows`` is given, a page that ends after this row is a 416 error.
    """
    size, page = query.int_param("page[size]", 20, 100), query.int_param("page[num]", 1, MAX_PAGE_NUMBER)
    if max_rows is not None and page * size > max_rows:
        raise ApiError(416, "offset_exceeded", f"Only the first {max_rows:,} rows can be paged")
    page_rows = rows[(page - 1) * size : page * size]
    pagination: Json = {"page_num": page, "page_count": -(-len(rows) // size), "total_count": len(rows)}
    return OperationResult([to_json(row) for row in page_rows], pagination)


def cursor_page(
    query: Query, rows: Sequence[T], to_json: Callable[[T], object], charged: int | None = 0
) -> OperationResult:
    """Return the page of ``rows`` at the query's cursor, with the cursor of the next page."""
    size = query.int_param("page[size]", 20, 100)
    start = _decode_cursor(query.params.get("page[cursor]"))
    end = start + size
    pagination: Json = {
        "next_cursor": f"c.{end:x}/+=" if end < len(rows) else None,
        "total_count": len(rows),
    }
    return OperationResult([to_json(row) for row in rows[start:end]], pagination, charged)


def _decode_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ApiError(400, "invalid_cursor", "The cursor is not known")
    return int(match[1], 16)
