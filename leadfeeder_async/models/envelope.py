"""The envelope of responses: data, metadata, credits, pagination and errors."""

from __future__ import annotations

import re
from typing import Generic, TypeVar
from urllib.parse import unquote_plus

import msgspec

from leadfeeder_async.models.base import Model

T = TypeVar("T")


MAX_URL_CHARS = 65_536
"""The longest URL or cursor that is examined. Servers accept much shorter ones."""

_CURSOR_IN_URL = re.compile(r"[?&]page(?:\[|%5B)cursor(?:\]|%5D)=([^&#]+)", re.IGNORECASE)


class Credits(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The credits of one response (contract: ``MetaCreditsV1``)."""

    charged: int | None = None
    """The credits that the request charged."""


class Pagination(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The position of a page in its list (contract: ``MetaPaginationV1``)."""

    next_cursor: str | None = None
    """The cursor of the next page, in lists with cursors. None on the last page."""
    total_count: int | None = None
    """The number of records in the list."""
    page_num: int | None = None
    """The number of the page, in lists with page numbers. The first page is 1."""
    page_count: int | None = None


class Meta(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The metadata of a response (contract: ``MetaV1``)."""

    request_id: str | None = None
    """The id of the request on the server, for questions to the API's support."""
    pagination: Pagination | None = None
    credits: Credits | None = None
    num_results: int | None = None
    page_count: int | None = None
    """The number of pages in responses that do not have it in ``pagination``. :attr:`pages` reads both."""
    outer_total_count: int | None = msgspec.field(default=None, name="total_count")
    """The number of records in responses that do not have it in ``pagination``. :attr:`total_count` reads both."""
    outer_next_cursor: str | None = msgspec.field(default=None, name="next_cursor")
    """The cursor in responses that do not have it in ``pagination``. :attr:`next_cursor` reads both."""
    next_link: str | None = None
    """The URL of the next page, if the response has no cursor but links."""

    @property
    def charged(self) -> int:
        """The credits that the request charged. 0 if the response does not report them."""
        return (self.credits.charged or 0) if self.credits else 0

    @property
    def pages(self) -> int | None:
        """The number of pages in the list. None if the response does not report it."""
        if self.pagination is not None and self.pagination.page_count is not None:
            return self.pagination.page_count
        return self.page_count

    @property
    def total_count(self) -> int | None:
        """The number of records in the list. None if the response does not report it."""
        if self.pagination is not None and self.pagination.total_count is not None:
            return self.pagination.total_count
        return self.outer_total_count

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page, also if the response has it in a URL. None on the last page."""
        cursor = (self.pagination.next_cursor if self.pagination else None) or self.outer_next_cursor or None
        url = cursor or self.next_link or ""
        found = _CURSOR_IN_URL.search(url) if len(url) <= MAX_URL_CHARS else None
        return cursor if found is None else unquote_plus(found[1])


class ErrorObject(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """One error in a response (contract: ``ErrorObjectV1``)."""

    code: str | None = None
    title: str | None = None
    detail: str | None = None
    message: str | None = None


class Response(Model, Generic[T], frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A response of the API: data and metadata (contract: ``Response``)."""

    data: T
    """One record, a tuple of records, or None if the call returns nothing."""
    meta: Meta = Meta()
    """The metadata. ``meta.charged`` is the number of credits that the request charged."""
    errors: tuple[ErrorObject, ...] = ()
    """Errors of a partial response. The records that they are about are missing from ``data``."""
    _included: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="included")
    # Set only while a response is decoded. The decoder moves included records into the relationships.
    _error: object = msgspec.field(default=msgspec.UNSET, name="error")
    _code: object = msgspec.field(default=msgspec.UNSET, name="code")
    _message: object = msgspec.field(default=msgspec.UNSET, name="message")
    _success: object = msgspec.field(default=msgspec.UNSET, name="success")
    # Other forms in which servers report an error. The decoder moves them to ``errors``.
    _links: object = msgspec.field(default=None, name="links")
    # The links of a page. Lists without a cursor in ``meta`` use the link to the next page.


class ResourceIdentifier(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The id and type of a record, without its attributes (contract: ``ResourceIdentifierV1``)."""

    id: str
    type: str = ""


class ErrorBody(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The body of an error response in any of its three forms (contract: ``ErrorBodyV1``)."""

    errors: tuple[ErrorObject, ...] | None = None
    error: ErrorObject | None = None
    code: str | None = None
    message: str | None = None
    meta: Meta | None = None


class EmptyResponse(Response[None], frozen=True, kw_only=True, gc=False):
    """The response of a call that returns nothing (contract: ``EmptySuccessResponse``)."""

    data: None = None
