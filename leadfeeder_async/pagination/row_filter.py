"""Conditions that the API has no filter for. They are part of the description of a list, so resuming checks them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol, TypeVar

from leadfeeder_async.pagination.page import Page

U = TypeVar("U")


class RowFilter(Protocol):
    """Keeps some rows of a list."""

    @property
    def description(self) -> str:
        """The condition in words."""
        ...

    def apply(self, pages: AsyncGenerator[Page[U], None]) -> AsyncGenerator[Page[U], None]:
        """Yield pages with the rows to keep. Their number is not known in advance."""
        ...
