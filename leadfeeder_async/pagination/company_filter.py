"""Lists of which only the rows of some companies are returned."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.page import Page

U = TypeVar("U")


class CompanyFilter(msgspec.Struct, frozen=True):
    """Keeps the rows of some companies, because the API has no filter for them."""

    description: str
    """The filter in words. It is part of the description of the list."""
    load: Callable[[], Awaitable[frozenset[str]]]
    """Requests the ids of the companies."""

    async def apply(self, pages: AsyncGenerator[Page[U], None]) -> AsyncGenerator[Page[U], None]:
        """Yield pages with the rows of these companies. Their number is not known in advance."""
        async with aclosing(pages):
            companies = await self.load()
            async for page in pages:
                kept = tuple(item for item in page.items if _company_of(item) in companies)
                yield replace(page, items=kept, total=None)
                del page  # so that the next page can use its memory


class _Related(msgspec.Struct, frozen=True, gc=False):
    id: str | None = None


class _Relationships(msgspec.Struct, frozen=True, gc=False):
    company: _Related | None = None


class _Row(msgspec.Struct, frozen=True, gc=False):
    relationships: _Relationships | None = None


_ROW = msgspec.json.Decoder(_Row)


def _company_of(item: object) -> str | None:
    """Return the id of the company of a visit, as a model or undecoded."""
    if isinstance(item, WebVisit):
        return None if item.company is None else item.company.id
    if not isinstance(item, msgspec.Raw):
        return None
    try:
        relationships = _ROW.decode(item).relationships
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None if relationships is None or relationships.company is None else relationships.company.id
