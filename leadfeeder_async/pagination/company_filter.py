"""Lists of which only the rows of some companies are returned."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.normalize import UNREADABLE
from leadfeeder_async._core.worker_thread import run_for_rows
from leadfeeder_async.errors import DecodeError, LeadfeederError
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.dedupe import RelatedId, id_of
from leadfeeder_async.pagination.page import Page
from leadfeeder_async.pagination.problems import ProblemLog

U = TypeVar("U")


class CompanyFilter(msgspec.Struct, frozen=True):
    """Keeps the rows of some companies, because the API has no filter for them."""

    description: str
    """The filter in words. It is part of the description of the list."""
    load: Callable[[], Awaitable[tuple[frozenset[str], ProblemLog]]]
    """Requests the companies. Returns their ids, and the errors about companies that could not be read."""

    async def apply(self, pages: AsyncGenerator[Page[U], None]) -> AsyncGenerator[Page[U], None]:
        """Yield pages with the rows of these companies. ``total`` is None, because their number is not known."""
        async with aclosing(pages):
            companies, problems = await self.load()
            position, window = None, None
            async for page in pages:
                position, window = page.position, page.window
                yield await run_for_rows(partial(_filtered, page, companies), len(page.items))
                del page  # so that the next page can use its memory
            if problems.count:  # visits of companies that could not be read are missing
                others = problems.count - len(problems.problems)
                errors = tuple(problems.problems)
                yield Page((), Meta(), None, window, position, partial_errors=errors, further_errors=others)


async def read_company_ids(
    pages: AsyncGenerator[Page[CompanyLocation], None],
) -> tuple[frozenset[str], ProblemLog]:
    """Return the ids of visitor companies, and the errors about those that could not be read."""
    found, problems = set[str](), ProblemLog()
    async with aclosing(pages):
        async for page in pages:
            ids = [row.company.id for row in page.items if row.company is not None and row.company.id]
            found.update(ids)
            problems.add(page)
            if len(ids) < len(page.items):
                problems.extend([_WITHOUT_COMPANY], len(page.items) - len(ids))
    return frozenset(found), problems


def _filtered(page: Page[U], companies: frozenset[str]) -> Page[U]:
    kept, errors = list[U](), list[LeadfeederError]()
    for item in page.items:
        try:
            if _company_of(item) in companies:
                kept.append(item)
        except UNREADABLE:
            errors.append(_UNREADABLE)
    return replace(page, items=tuple(kept), total=None, partial_errors=(*page.partial_errors, *errors))


class _Relationships(msgspec.Struct, frozen=True, gc=False):
    company: RelatedId | None = None


class _Row(msgspec.Struct, frozen=True, gc=False):
    relationships: _Relationships | None = None


_ROW = msgspec.json.Decoder(_Row)
_WITHOUT_COMPANY = DecodeError("A row of the visitor companies has no company, so its visits may be missing.")
_UNREADABLE = DecodeError("The company of a visit cannot be read, so the visit may be missing.")


def _company_of(item: object) -> str | None:
    """Return the id of the company of a visit, as a model or undecoded.

    Raises:
        MsgspecError: The company of an undecoded visit has another type.
    """
    if isinstance(item, WebVisit):
        return None if item.company is None else item.company.id
    assert isinstance(item, msgspec.Raw)
    relationships = _ROW.decode(item).relationships
    return None if relationships is None else id_of(relationships.company)
