"""What surrounds every answer: data, meta, credits, pagination and the error shapes."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from leadfeeder_async.models.base import Model

T = TypeVar("T")


class Credits(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """What one answer cost (contract: ``MetaCreditsV1``)."""

    charged: int | None = None


class Pagination(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Where a page stands in its list (contract: ``MetaPaginationV1``)."""

    next_cursor: str | None = None
    total_count: int | None = None
    page_num: int | None = None
    page_count: int | None = None


class Meta(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The facts beside the data (contract: ``MetaV1``)."""

    request_id: str | None = None
    pagination: Pagination | None = None
    credits: Credits | None = None
    num_results: int | None = None
    page_count: int | None = None
    """Some answers carry it here; read :attr:`pages`, which looks in both places."""
    outer_total_count: int | None = msgspec.field(default=None, name="total_count")
    """Some responses have it here. Read :attr:`total_count`, which looks in both places."""

    @property
    def charged(self) -> int:
        """The credits this answer charged; 0 where it names none."""
        return (self.credits.charged or 0) if self.credits else 0

    @property
    def pages(self) -> int | None:
        """The number of pages, from ``pagination`` or beside it."""
        if self.pagination is not None and self.pagination.page_count is not None:
            return self.pagination.page_count
        return self.page_count

    @property
    def total_count(self) -> int | None:
        """The number of rows in the whole list, as far as the server says."""
        if self.pagination is not None and self.pagination.total_count is not None:
            return self.pagination.total_count
        return self.outer_total_count

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page; None at the end."""
        return (self.pagination.next_cursor or None) if self.pagination else None


class ErrorObject(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """One error of an answer (contract: ``ErrorObjectV1``)."""

    code: str | None = None
    title: str | None = None
    detail: str | None = None
    message: str | None = None


class Response(Model, Generic[T], frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """One answer: the data and the facts beside it (contract: ``Response``)."""

    data: T
    meta: Meta = Meta()
    errors: tuple[ErrorObject, ...] = ()
    """What went wrong beside the data: some of what was asked for is not in it."""
    included: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Never set in what you get: what an answer includes is moved to its place among the relationships."""


class ResourceIdentifier(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A record named, not shown (contract: ``ResourceIdentifierV1``)."""

    id: str
    type: str = ""


class ErrorBody(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An error answer in any of its three shapes (contract: ``ErrorBodyV1``)."""

    errors: tuple[ErrorObject, ...] | None = None
    error: ErrorObject | None = None
    code: str | None = None
    message: str | None = None
    meta: Meta | None = None


class EmptyResponse(Response[None], frozen=True, kw_only=True, gc=False):
    """The answer of a write that returns nothing (contract: ``EmptySuccessResponse``)."""

    data: None = None
