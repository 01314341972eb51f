"""One request as the sandbox's operations see it, and the answer they give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import msgspec

from leadfeeder_async.sandbox.server_state import MAX_SEARCH_ROWS, ApiError, SandboxAccount, SandboxState

R = TypeVar("R")
Json: TypeAlias = "dict[str, object]"


@dataclass(frozen=True, slots=True)
class Query:
    """A request: its ids from the path, its parameters and its body."""

    state: SandboxState
    account: SandboxAccount | None
    ids: Mapping[str, str]
    params: Mapping[str, str]
    body: Json

    def the_account(self) -> SandboxAccount:
        """Return the account, which this operation needs."""
        if self.account is None:
            raise ApiError(400, "invalid_request", "account_id is missing")
        return self.account

    def ids_of(self, name: str, most: int = 100) -> list[str]:
        """Read a comma list of ids."""
        ids = [one for one in self.params.get(name, "").split(",") if one]
        if not 1 <= len(ids) <= most:
            raise ApiError(400, "invalid_request", f"{name} takes 1 to {most} ids")
        return ids

    def includes(self, allowed: Iterable[str]) -> set[str]:
        """Read ``include``, and refuse a relation this operation does not have."""
        asked = {one for one in self.params.get("include", "").split(",") if one}
        if not asked <= set(allowed):
            raise ApiError(400, "invalid_request", f"include does not know {sorted(asked - set(allowed))}")
        return asked

    def read(self, kind: type[R]) -> R:
        """Read the body as a ``kind``."""
        return self.convert(self.body, kind)

    def read_params(self, kind: type[R]) -> R:
        """Read the query parameters as a ``kind``."""
        return self.convert(dict(self.params), kind)

    def convert(self, value: object, kind: type[R]) -> R:
        """Read any part of a request as a ``kind``, and refuse what does not fit."""
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise ApiError(400, "invalid_request", str(error)) from None

    def number(self, name: str, default: int, most: int) -> int:
        """Read a whole number from 1 to ``most``."""
        text = self.params.get(name, str(default))
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise ApiError(400, "invalid_request", f"{name} must be 1 to {most}")
        return int(text)


class OperationResult(msgspec.Struct, frozen=True):
    """A good answer: data, and what goes into ``meta``."""

    data: object = None
    pagination: Json = {}
    charged: int | None = None
    status: int = 200
    counts: Json = {}
    """More facts for ``meta``."""


Operation: TypeAlias = Callable[[Query], OperationResult]

_PAGING = {"none": (), "number": ("page[num]", "page[size]"), "cursor": ("page[cursor]", "page[size]")}


@dataclass(frozen=True, slots=True)
class Route:
    """Where an operation lives, and the query parameters it takes."""

    method: str
    path: str
    operation: Operation
    params: tuple[str, ...] = ()
    paging: Literal["none", "number", "cursor"] = "none"
    account: Literal["required", "optional", "none"] = "required"

    @property
    def name(self) -> str:
        """The operation's name in the contract."""
        return self.operation.__name__

    @property
    def known(self) -> frozenset[str]:
        """Every query parameter of the route."""
        return frozenset(("account_id", *self.params, *_PAGING[self.paging]))


def numbered(query: Query, rows: Sequence[R], show: Callable[[R], object], *, wall: bool = False) -> OperationResult:
    """Answer one numbered page of ``rows``."""
    size, page = query.number("page[size]", 20, 100), query.number("page[num]", 1, 10**9)
    if wall and page * size > MAX_SEARCH_ROWS:
        raise ApiError(416, "offset_exceeded", f"Only the first {MAX_SEARCH_ROWS:,} rows can be paged")
    chosen = rows[(page - 1) * size : page * size]
    counts: Json = {"page_num": page, "page_count": -(-len(rows) // size), "total_count": len(rows)}
    return OperationResult([show(row) for row in chosen], counts)


def by_cursor(query: Query, rows: Sequence[R], show: Callable[[R], object], charged: int | None = 0) -> OperationResult:
    """Answer one page of ``rows`` and the cursor of the next."""
    size = query.number("page[size]", 20, 100)
    start = _read_cursor(query.params.get("page[cursor]"))
    following = start + size
    counts: Json = {
        "next_cursor": f"c.{following:x}/+=" if following < len(rows) else None,
        "total_count": len(rows),
    }
    return OperationResult([show(row) for row in rows[start:following]], counts, charged)


def _read_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.startswith("c.") and cursor.endswith("/+=")):
        raise ApiError(400, "invalid_cursor", "The cursor is not known")
    return int(cursor[2:-3], 16)
