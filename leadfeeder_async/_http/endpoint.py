"""One inert row per API operation, and one call of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import Generic, TypeAlias, TypeVar, get_args, get_origin

import msgspec
from msgspec.structs import replace

from leadfeeder_async.errors import Facts
from leadfeeder_async.models.envelope import Done, Response

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")

QueryValue: TypeAlias = "str | int | bool | tuple[str, ...] | None"
"""A query parameter; None is left out, a tuple becomes a comma list."""


class Resend(Enum):
    """What may be done with a request whose outcome is unknown."""

    READ = "read"
    """Changes nothing, charges nothing: may be sent again."""
    FREE_SEARCH = "free_search"
    """A search by POST that charges nothing: may be sent again."""
    CHARGING_READ = "charging_read"
    """May charge credits: sent again only with proof that it never left."""
    CREATES = "creates"
    """Makes something: sent again only with proof that it never left."""
    SET_LIKE = "set_like"
    """Leaves the same state however often it is sent: may be sent again."""


class Spend(Enum):
    """What an answer may charge."""

    FREE = "free"
    CHARGES = "charges"
    """Credits per record that is not unlocked; ``meta.credits.charged`` tells."""


class Paging(Enum):
    """How an operation hands out its rows."""

    NONE = "none"
    CURSOR = "cursor"
    NUMBER = "page-number"
    IDS = "ids"
    """By a list of ids, at most 100 a request."""


class Account(Enum):
    """Whether a call names an account."""

    REQUIRED = "required"
    NONE = "none"


class Shape(Enum):
    """What the data of an answer is."""

    ONE = "one"
    MANY = "many"
    NOTHING = "nothing"
    OTHER = "other"
    """Not the API's envelope."""


class Endpoint(msgspec.Struct, Generic[T_co], frozen=True, dict=True):
    """An API operation: where it lives, what it returns, and what may be done with it."""

    operation: str
    """The ``operationId`` of the contract."""
    method: str
    path: str
    returns: type[T_co]
    params: tuple[str, ...] = ()
    """The query parameters it takes, beside the account's and its paging style's."""
    resend: Resend = Resend.READ
    spend: Spend = Spend.FREE
    paging: Paging = Paging.NONE
    account: Account = Account.REQUIRED
    rows_of_a_day: bool = False
    """Each row belongs to one day, so date windows share none."""
    reconcile: str = ""
    """How to find out whether a lost request took effect."""

    def returning(self, returns: type[U]) -> Endpoint[U]:
        """Return the same operation with answers decoded another way."""
        return Endpoint(
            self.operation,
            self.method,
            self.path,
            returns,
            params=self.params,
            resend=self.resend,
            spend=self.spend,
            paging=self.paging,
            account=self.account,
            rows_of_a_day=self.rows_of_a_day,
            reconcile=self.reconcile,
        )

    @cached_property
    def shape(self) -> Shape:
        """What the data of an answer is."""
        if self.returns is Done:
            return Shape.NOTHING
        if get_origin(self.returns) is not Response:
            return Shape.OTHER
        return Shape.MANY if get_origin(get_args(self.returns)[0]) is tuple else Shape.ONE

    @cached_property
    def answered(self) -> Facts:
        """What is known about an answer of it that came."""
        return Facts(operation=self.operation, method=self.method, path=self.path, attempts=1)

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[T_co]:
        """The decoder of this operation's answers, built once."""
        return msgspec.json.Decoder(self.returns)


class Call(msgspec.Struct, Generic[T_co], frozen=True, gc=False):
    """One request of an operation, its body already encoded."""

    row: Endpoint[T_co]
    ids: tuple[str, ...] = ()
    params: Mapping[str, QueryValue] = msgspec.field(default_factory=dict[str, QueryValue])
    body: bytes | None = None
    account_id: str | None = None
    records: int | None = None
    """How many records it is about, where the parameters do not show it."""

    @property
    def most_credits(self) -> int:
        """The most credits it can charge: one for each record it is about."""
        if self.row.spend is Spend.FREE:
            return 0
        for name in ("ids", "company_ids"):
            if isinstance(ids := self.params.get(name), tuple):
                return len(ids)
        size = self.params.get("page[size]")
        records = 1 if self.records is None else self.records
        return min(records, size) if isinstance(size, int) else records

    def with_params(self, extra: Mapping[str, QueryValue]) -> Call[T_co]:
        """Return the same call with more query parameters."""
        return replace(self, params={**self.params, **extra})
