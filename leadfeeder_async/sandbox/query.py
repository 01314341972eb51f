"""The request that an operation receives, the result that it returns, and its route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias, TypeVar

import msgspec
import msgspec.inspect

from leadfeeder_async.sandbox.sample_data import Json
from leadfeeder_async.sandbox.server_state import ApiError, SandboxAccount, SandboxState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Query:
    """A request after routing and authorization, with its path parameters, query parameters and body."""

    state: SandboxState
    account: SandboxAccount | None
    path_params: Mapping[str, str]
    params: Mapping[str, str]
    includes: frozenset[str]
    """The relations in ``include``, with the relations that contain them."""
    body: Json

    def require_account(self) -> SandboxAccount:
        """Return the account of the request, or raise a 400 error if it has none."""
        if self.account is None:
            raise ApiError(400, "invalid_request", "account_id is missing")
        return self.account

    def id_list(self, name: str, max_count: int = 100) -> list[str]:
        """Return the ids in a comma-separated query parameter."""
        ids = split_list(self.params.get(name, ""))
        if not 1 <= len(ids) <= max_count:
            raise ApiError(400, "invalid_request", f"{name} takes 1 to {max_count} ids")
        return ids

    def decode_body(self, type_: type[T]) -> T:
        """Convert the body, or raise a 400 error if it is not valid or has unknown keys."""
        if not self.state.lax:
            path = find_unknown_key(self.body, _type_info(type_))
            if path:
                raise ApiError(400, "invalid_request", f"The body has an unknown key: {path}")
        return self._convert(self.body, type_)

    def decode_params(self, type_: type[T]) -> T:
        """Convert the query parameters, or raise a 400 error if they are not valid."""
        return self._convert(dict(self.params), type_)

    def _convert(self, value: object, type_: type[T]) -> T:
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


def split_list(text: str) -> list[str]:
    """Return the values of a comma-separated parameter. Spaces around a value are removed."""
    return [value for value in map(str.strip, text.split(",")) if value]


def parse_includes(text: str, relations: tuple[str, ...], *, lax: bool) -> frozenset[str]:
    """Return the relations in ``include`` with the relations that contain them.

    Raise a 400 error if a relation is unknown, unless ``lax`` is True.
    """
    requested = set(split_list(text))
    unknown = sorted(requested - set(relations))
    if unknown and not lax:
        raise ApiError(400, "invalid_request", f"include has an unknown relation: {suggest(unknown[0], relations)}")
    parts = (relation.split(".") for relation in requested)
    return frozenset(".".join(part[:length]) for part in parts for length in range(1, len(part) + 1))


def suggest(name: str, known: tuple[str, ...]) -> str:
    """Return an unknown name, with the most similar known one if there is one."""
    similar = get_close_matches(name, known, 1)
    return f"{name} (did you mean {similar[0]}?)" if similar else name


_type_infos = dict[type[object], msgspec.inspect.Type]()


def _type_info(type_: type[object]) -> msgspec.inspect.Type:
    """Return the fields of a type. Reading them takes longer than the rest of a request, so they are kept."""
    if type_ not in _type_infos:
        _type_infos[type_] = msgspec.inspect.type_info(type_)
    return _type_infos[type_]


def find_unknown_key(value: object, type_: msgspec.inspect.Type, path: str = "") -> str | None:
    """Return the path of the first key that the structs in a type do not have, or None if all are known."""
    members = list[tuple[object, msgspec.inspect.Type, str]]()
    if isinstance(type_, msgspec.inspect.Metadata):
        members.append((value, type_.type, path))
    elif isinstance(type_, msgspec.inspect.UnionType):
        members.extend((value, member_type, path) for member_type in type_.types)
    elif isinstance(type_, msgspec.inspect.ListType) and isinstance(value, list):
        items = msgspec.convert(value, list[object])
        members.extend((item, type_.item_type, f"{path}[{index}]") for index, item in enumerate(items))
    elif isinstance(type_, msgspec.inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in type_.fields}
        prefix = path and f"{path}."
        for key, member in msgspec.convert(value, dict[str, object]).items():
            if key not in fields:
                return prefix + suggest(key, tuple(fields))
            members.append((member, fields[key], prefix + key))
    return next(filter(None, (find_unknown_key(*member) for member in members)), None)


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
    relations: tuple[str, ...] = ()
    """The values that ``include`` accepts."""
    pagination: Literal["none", "number", "cursor"] = "none"
    account: Literal["required", "optional", "none"] = "required"

    @property
    def name(self) -> str:
        """The operation name in the contract."""
        return self.operation.__name__

    @property
    def allowed_params(self) -> tuple[str, ...]:
        """All query parameters that the operation accepts."""
        return ("account_id", *self.params, *_PAGINATION_PARAMS[self.pagination])

    def query(
        self, state: SandboxState, account: SandboxAccount | None, path_params: Mapping[str, str],
        params: Mapping[str, str], body: Json,
    ) -> Query:  # fmt: skip
        """Return the query for the operation, or raise a 400 error if a parameter or a relation is unknown."""
        unknown = sorted(set(params) - set(self.allowed_params))
        if unknown and not state.lax:
            name = suggest(unknown[0], self.allowed_params)
            raise ApiError(400, "invalid_request", f"This operation has no parameter {name}")
        includes = parse_includes(params.get("include", ""), self.relations, lax=state.lax)
        body = {name: value for name, value in body.items() if name != "account_id"}
        return Query(state, account, path_params, params, includes, body)
