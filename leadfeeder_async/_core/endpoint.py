"""Endpoints of the API as data, and requests to them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import Enum
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar, get_args, get_origin

import msgspec
from msgspec.structs import asdict, replace

from leadfeeder_async._argument_checks import check_account_id
from leadfeeder_async._core.json_text import check_json
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.models.envelope import EmptyResponse, Meta, Response
from leadfeeder_async.types import QueryValue

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class RetrySafety(Enum):
    """Whether a request may be sent again if its outcome is unknown."""

    SAFE = "safe"
    """Changes and charges nothing, such as a free search by POST. May be sent again."""
    BILLED_READ = "billed_read"
    """May charge credits. Sent again only if it was provably not sent, or rejected with a 429 or for its credential."""
    NON_IDEMPOTENT = "non_idempotent"
    """Creates or changes a record. Sent again in the same cases."""
    IDEMPOTENT = "idempotent"
    """Has the same effect however often it is sent. May be sent again."""


class Billing(Enum):
    """The unit that an endpoint charges credits for. ``meta.credits.charged`` of a response has the actual charge."""

    FREE = "free"
    PER_REQUEST = "request"
    """One credit per request, or one per record if ``ApiRequest.billable_records`` is set."""
    PER_ID = "id"
    """At most one credit per id in the query parameter ``Endpoint.billed_param``."""


class PaginationStyle(Enum):
    """How an endpoint splits a list into responses."""

    NONE = "none"
    CURSOR = "cursor"
    PAGE_NUMBER = "page-number"
    ID_BATCH = "ids"
    """By a list of ids, at most 100 per request."""


class ResponseShape(Enum):
    """The shape of a response's data."""

    OBJECT = "object"
    LIST = "list"
    EMPTY = "empty"
    RAW = "raw"
    """Not the API's envelope."""
    UNDECODED = "undecoded"
    """A body that is returned as it is."""


class ResponseDecoder(Protocol[T_co]):
    """Decodes a response body."""

    def decode(self, body: bytes, /) -> T_co:
        """Return the decoded body, or raise an error of msgspec."""
        ...


class Endpoint(msgspec.Struct, Generic[T_co], frozen=True, dict=True):
    """An endpoint of the API: its route, its response type, its billing and its retry safety."""

    operation: str
    """The ``operationId`` of the contract."""
    method: str
    path: str
    response_type: type[T_co]
    params: tuple[str, ...] = ()
    """Query parameters, without the account and those of the pagination style."""
    retry_safety: RetrySafety = RetrySafety.SAFE
    billing: Billing = Billing.FREE
    billed_param: str = ""
    """The query parameter with the ids that are charged, if ``billing`` is PER_ID."""
    is_price_published: bool = True
    """True if each unit of ``billing`` charges at most one credit."""
    is_billing_known: bool = True
    """False if a request may charge nothing at all, as those of unknown routes."""
    pagination: PaginationStyle = PaginationStyle.NONE
    names_account: bool = True
    """True if a request has the parameter ``account_id``."""
    partitioned_by_day: bool = False
    """True if each row belongs to one day, so that different date windows have no rows in common."""
    shares_ids: bool = False
    """True if rows of two companies may have the same id."""
    path_alternatives: tuple[str, ...] = ()
    """Other paths to try if ``path``, which is only inferred, does not exist."""
    split_filter: str = ""
    """The key in ``filters`` that selects countries, to read a day over the row limit. Empty if there is none."""
    verification_hint: str = ""
    """How to find out whether a lost request took effect."""

    @property
    def is_billed(self) -> bool:
        """True if a request may charge credits."""
        return self.billing is not Billing.FREE

    @cached_property
    def shape(self) -> ResponseShape:
        """The shape of the response's data."""
        if self.response_type is EmptyResponse:
            return ResponseShape.EMPTY
        if get_origin(self.response_type) is not Response:
            return ResponseShape.RAW
        is_list = get_origin(get_args(self.response_type)[0]) is tuple
        return ResponseShape.LIST if is_list else ResponseShape.OBJECT

    @cached_property
    def has_list_rows(self) -> bool:
        """True if each row of the response's data is a list, as in the matches of companies."""
        return self.shape is ResponseShape.LIST and get_origin(get_args(get_args(self.response_type)[0])[0]) is tuple

    @cached_property
    def decoder(self) -> ResponseDecoder[T_co]:
        """The strict decoder of responses, built once."""
        return msgspec.json.Decoder(self.response_type)

    @cached_property
    def undecoded(self) -> UndecodedEndpoint:
        """The same endpoint with bodies that are returned as they are, after a quick check."""
        return UndecodedEndpoint(**self._fields_with(bytes))

    def with_response_type(self, response_type: type[U]) -> Endpoint[U]:
        """Return the same endpoint with another response type."""
        return Endpoint(**self._fields_with(response_type))

    def _fields_with(self, response_type: type[object]) -> dict[str, Any]:
        return {**asdict(self), "response_type": response_type}

    def error_context(self, path: str = "") -> ErrorContext:
        """Return the context of errors about this endpoint."""
        return ErrorContext(operation=self.operation, method=self.method, path=path or self.path)


class UndecodedEndpoint(Endpoint[bytes], frozen=True, dict=True):
    """An endpoint whose response bodies are returned as they are, to be decoded later."""

    @cached_property
    def shape(self) -> ResponseShape:
        """The body is not decoded."""
        return ResponseShape.UNDECODED

    @cached_property
    def decoder(self) -> ResponseDecoder[bytes]:
        """Return bodies as they are, after a quick check."""
        return _CompleteBody(scan=self.retry_safety in {RetrySafety.BILLED_READ, RetrySafety.NON_IDEMPOTENT})


class _CompleteBody(msgspec.Struct, frozen=True):
    """Accepts bodies that look like a complete JSON object.

    Scanning the whole body takes a quarter of the time of decoding it. It is done only if a damaged response would
    leave open whether credits were charged.
    """

    scan: bool

    def decode(self, body: bytes, /) -> bytes:
        """Return the body, or raise DecodeError unless it is empty, or begins and ends like a JSON object."""
        stripped = body.strip()
        if stripped and not (stripped.startswith(b"{") and stripped.endswith(b"}")):
            raise msgspec.DecodeError("not a complete JSON object")
        if self.scan and stripped:
            check_json(stripped)
        return body


class ApiRequest(msgspec.Struct, Generic[T_co], frozen=True, gc=False):
    """A request to an endpoint, with its body already encoded."""

    endpoint: Endpoint[T_co]
    path_params: tuple[str, ...] = ()
    params: Mapping[str, QueryValue] = msgspec.field(default_factory=dict[str, QueryValue])
    body: bytes | None = None
    account_id: str | None = None
    billable_records: int | None = None
    """The most records that the request can be charged for, if its parameters do not contain their number."""

    def __post_init__(self) -> None:
        if self.account_id is not None:
            check_account_id("account_id", self.account_id)

    def after_charge(self, meta: Meta) -> ApiRequest[T_co]:
        """Return the same request for the next page, whose records were partly charged with this one."""
        charged = max(0, meta.charged)
        if self.billable_records is None or not charged:
            return self
        return replace(self, billable_records=max(0, self.billable_records - charged))

    @property
    def billable_items(self) -> int:
        """The most items that the request can be charged for, as its endpoint declares."""
        match self.endpoint.billing:
            case Billing.FREE:
                return 0
            case Billing.PER_REQUEST:
                return 1 if self.billable_records is None else self.billable_records
            case Billing.PER_ID:
                ids = self.params.get(self.endpoint.billed_param)
                return len(ids) if isinstance(ids, tuple) else 1

    def with_params(self, extra: Mapping[str, QueryValue]) -> ApiRequest[T_co]:
        """Return the same request with more query parameters."""
        return replace(self, params={**self.params, **extra})

    def with_dates(self, start: date, end: date) -> ApiRequest[T_co]:
        """Return the same request for a range of days, in the query of a GET and in the body of a POST."""
        if self.endpoint.method == "GET":
            return self.with_params({"start_date": str(start), "end_date": str(end)})
        fields = (self.body or b"{}").removeprefix(b"{")
        dates = f'{{"start_date":"{start}","end_date":"{end}"'.encode()
        return replace(self, body=dates + (b"" if fields == b"}" else b",") + fields)

    def with_body_field(self, name: str, value: object) -> ApiRequest[T_co]:
        """Return the same request with one field of its JSON body replaced."""
        fields = msgspec.json.decode(self.body or b"{}", type=dict[str, msgspec.Raw])
        return replace(self, body=msgspec.json.encode({**fields, name: value}))

    @property
    def undecoded(self) -> ApiRequest[bytes]:
        """The same request with a response body that is returned as it is."""
        return ApiRequest(
            self.endpoint.undecoded, self.path_params, self.params, self.body, self.account_id, self.billable_records
        )
