"""One inert row per API operation, and one call of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import Generic, TypeAlias, TypeVar, get_args, get_origin

import msgspec
from msgspec.structs import replace

from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.models.envelope import EmptyResponse, Response

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")

QueryValue: TypeAlias = "str | int | bool | tuple[str, ...] | None"
"""A query parameter; None is left out, a tuple becomes a comma list."""


class RetrySafety(Enum):
    """What may be done with a request whose outcome is unknown."""

    SAFE = "read"
    """Changes nothing, charges nothing: may be sent again."""
    SAFE_SEARCH = "free_search"
    """A search by POST that charges nothing: may be sent again."""
    BILLED_READ = "charging_read"
    """May charge credits: sent again only with proof that it never left."""
    NON_IDEMPOTENT = "creates"
    """Makes something: sent again only with proof that it never left."""
    IDEMPOTENT = "set_like"
    """Leaves the same state however often it is sent: may be sent again."""


class Billing(Enum):
    """What an answer may charge."""

    FREE = "free"
    BILLED = "charges"
    """Credits per record that is not unlocked; ``meta.credits.charged`` tells."""


class PaginationStyle(Enum):
    """How an operation hands out its rows."""

    NONE = "none"
    CURSOR = "cursor"
    PAGE_NUMBER = "page-number"
    ID_BATCH = "ids"
    """By a list of ids, at most 100 a request."""


class AccountScope(Enum):
    """Whether a call names an account."""

    REQUIRED = "required"
    NONE = "none"


class ResponseShape(Enum):
    """What the data of an answer is."""

    OBJECT = "one"
    LIST = "many"
    EMPTY = "nothing"
    RAW = "other"
    """Not the API's envelope."""


class Endpoint(msgspec.Struct, Generic[T_co], frozen=True, dict=True):
    """An API operation: where it lives, what it returns, and what may be done with it."""

    operation: str
    """The ``operationId`` of the contract."""
    method: str
    path: str
    response_type: type[T_co]
    params: tuple[str, ...] = ()
    """The query parameters it takes, beside the account's and its paging style's."""
    retry_safety: RetrySafety = RetrySafety.SAFE
    billing: Billing = Billing.FREE
    pagination: PaginationStyle = PaginationStyle.NONE
    account: AccountScope = AccountScope.REQUIRED
    partitioned_by_day: bool = False
    """Each row belongs to one day, so date windows share none."""
    verification_hint: str = ""
    """How to find out whether a lost request took effect."""

    def with_response_type(self, returns: type[U]) -> Endpoint[U]:
        """Return the same operation with answers decoded another way."""
        return Endpoint(
            self.operation,
            self.method,
            self.path,
            returns,
            params=self.params,
            retry_safety=self.retry_safety,
            billing=self.billing,
            pagination=self.pagination,
            account=self.account,
            partitioned_by_day=self.partitioned_by_day,
            verification_hint=self.verification_hint,
        )

    @cached_property
    def shape(self) -> ResponseShape:
        """What the data of an answer is."""
        if self.response_type is EmptyResponse:
            return ResponseShape.EMPTY
        if get_origin(self.response_type) is not Response:
            return ResponseShape.RAW
        return ResponseShape.LIST if get_origin(get_args(self.response_type)[0]) is tuple else ResponseShape.OBJECT

    @cached_property
    def error_context(self) -> ErrorContext:
        """What is known about an answer of it that came."""
        return ErrorContext(operation=self.operation, method=self.method, path=self.path, attempts=1)

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[T_co]:
        """The decoder of this operation's answers, built once."""
        return msgspec.json.Decoder(self.response_type)


class ApiRequest(msgspec.Struct, Generic[T_co], frozen=True, gc=False):
    """One request of an operation, its body already encoded."""

    endpoint: Endpoint[T_co]
    path_params: tuple[str, ...] = ()
    params: Mapping[str, QueryValue] = msgspec.field(default_factory=dict[str, QueryValue])
    body: bytes | None = None
    account_id: str | None = None
    billable_records: int | None = None
    """How many records it is about, where the parameters do not show it."""

    @property
    def max_credits(self) -> int:
        """The most credits it can charge: one for each record it is about."""
        if self.endpoint.billing is Billing.FREE:
            return 0
        for name in ("ids", "company_ids"):
            if isinstance(ids := self.params.get(name), tuple):
                return len(ids)
        size = self.params.get("page[size]")
        records = 1 if self.billable_records is None else self.billable_records
        return min(records, size) if isinstance(size, int) else records

    def with_params(self, extra: Mapping[str, QueryValue]) -> ApiRequest[T_co]:
        """Return the same call with more query parameters."""
        return replace(self, params={**self.params, **extra})
