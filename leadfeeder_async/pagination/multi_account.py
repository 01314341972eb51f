"""The same list of several accounts at once, under one key's limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Generic, TypeVar

from leadfeeder_async.errors import (
    AuthenticationError,
    BudgetExceededError,
    LeadfeederError,
    QuotaExceededError,
    RateLimiterUnavailableError,
    UsageError,
)
from leadfeeder_async.pagination.page import DEFAULT_PREFETCH, Page, incomplete_list_error
from leadfeeder_async.pagination.pager import HasId, Pager

T = TypeVar("T", bound=HasId)

FATAL_ERRORS = (
    AuthenticationError,
    BudgetExceededError,
    RateLimiterUnavailableError,
    QuotaExceededError,
    UsageError,
)
"""Errors that no other account of the same key escapes."""


class MultiAccountPager(Generic[T]):
    """The lists of several accounts, read at once and fairly: ``async for account_id, row in lf.sweep(...)``.

    The pages under way are shared out evenly and handed out in turn, so that a large account does not hold up a small
    one. The rows of one account come in its list's order. Costs what the lists cost.

    An account whose list fails costs that account only: the others are read to their end, and then
    :class:`~leadfeeder_async.IncompleteListError` names it in ``problems``. What stops every account, such as a refused
    key or a used-up quota or budget, is raised at once. Breaking out of a loop cancels what is under way.
    """

    def __init__(self, pagers: Mapping[str, Pager[T]]) -> None:
        self._pagers = dict(pagers)

    def __repr__(self) -> str:
        return f"<Sweep of {len(self._pagers):,} accounts>"

    def __aiter__(self) -> AsyncGenerator[tuple[str, T], None]:  # noqa: PYI058 - its aclose is part of the promise
        """Iterate over the rows, each with the account it belongs to."""
        return self._rows()

    async def _rows(self) -> AsyncGenerator[tuple[str, T], None]:
        async with aclosing(self.pages()) as pages:
            async for account_id, page in pages:
                for item in page.items:
                    yield account_id, item

    async def pages(self) -> AsyncGenerator[tuple[str, Page[T]], None]:
        """Iterate over the pages, each with the account it belongs to."""
        ahead = max(1, DEFAULT_PREFETCH // max(1, len(self._pagers)))
        lanes = [_AccountStream(account_id, pager.prefetch(ahead)) for account_id, pager in self._pagers.items()]
        problems = list[LeadfeederError]()
        try:
            while coming := [lane.next_page for lane in lanes if lane.next_page is not None]:
                await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
                for lane in lanes:
                    page = lane.take(problems)
                    if page is not None:
                        yield lane.account_id, page
        finally:
            await asyncio.gather(*(lane.aclose() for lane in lanes))
        if problems:
            raise incomplete_list_error(problems)


class _AccountStream(Generic[T]):
    """One account's list, with its next page under way."""

    def __init__(self, account_id: str, pager: Pager[T]) -> None:
        self.account_id = account_id
        self._pages = pager.pages()
        self.next_page: asyncio.Task[Page[T] | None] | None = asyncio.create_task(self._next())

    async def _next(self) -> Page[T] | None:
        return await anext(self._pages, None)

    def take(self, problems: list[LeadfeederError]) -> Page[T] | None:
        """Return the next page if it has come, and ask for the one after; note what is wrong with it."""
        if self.next_page is None or not self.next_page.done():
            return None
        try:
            page = self.next_page.result()
        except FATAL_ERRORS:
            raise
        except LeadfeederError as error:
            page = None
            problems.append(self._with_account(error))
        self.next_page = None if page is None else asyncio.create_task(self._next())
        problems.extend(self._with_account(one) for one in (page.problems if page else ()))
        return page

    def _with_account(self, error: LeadfeederError) -> LeadfeederError:
        """Say in an error which account it is about."""
        error.message = f"Account {self.account_id}: {error.message}"
        return error

    async def aclose(self) -> None:
        """Cancel what is under way, and end the list."""
        if self.next_page is not None:
            self.next_page.cancel()
            await asyncio.wait([self.next_page])
            if not self.next_page.cancelled():
                self.next_page.exception()  # it counts as seen
        await self._pages.aclose()
