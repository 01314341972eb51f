"""The same list of several accounts at once, under the limit of one key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from leadfeeder_async._argument_checks import check_type
from leadfeeder_async.errors import LeadfeederError
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.page import Page
from leadfeeder_async.pagination.pager import Pager, charges_per_page, may_charge, until_stopped
from leadfeeder_async.pagination.problems import (
    ProblemLog,
    account_error,
    affects_all_accounts,
    incomplete_list_error,
)
from leadfeeder_async.pagination.source import DEFAULT_PREFETCH

T = TypeVar("T", bound=HasId)


class MultiAccountPager(Generic[T]):
    """The lists of several accounts, read concurrently and fairly: ``async for account_id, row in lf.sweep(...)``.

    The prefetched pages are divided evenly between the accounts and returned in turn, so a large account does not delay
    a small one. The rows of one account keep the order of its list. Lists whose pages may charge are read one after the
    other, and each of their pages is requested when it is needed.

    If the list of an account fails, the others are read to their end, and
    :class:`~leadfeeder_async.IncompleteListError` then names it in ``problems``. An error that affects every account,
    such as a rejected key or a used-up quota or budget, ends the others too. The pages that they have requested are
    returned before it is raised, because they may have been charged. Leaving a loop cancels the requests in flight.
    """

    def __init__(self, pagers: Mapping[str, Pager[T]]) -> None:
        check_type("pagers", pagers, Mapping, "a mapping of account ids to lists")
        for account_id, pager in pagers.items():
            check_type(f"pagers[{account_id!r}]", pager, Pager, "a list of lf", "Pass pagers such as lf.tags.list().")
        self._pagers = dict(pagers)

    def __repr__(self) -> str:
        return f"<MultiAccountPager of {len(self._pagers):,} accounts>"

    def __aiter__(self) -> AsyncGenerator[tuple[str, T], None]:  # noqa: PYI058 - its aclose is part of the promise
        """Iterate over the rows, each with the id of its account."""
        return self._rows()

    if not TYPE_CHECKING:  # type checkers report these mistakes by themselves

        def __await__(self) -> NoReturn:
            raise TypeError("MultiAccountPager is not awaitable. Use `async for account_id, row in ...`.")

        def __iter__(self) -> NoReturn:
            raise TypeError("MultiAccountPager is not iterable. Use `async for account_id, row in ...`.")

        def __getitem__(self, index: object) -> NoReturn:
            raise TypeError(f"MultiAccountPager has no item {index!r}. Use `async for account_id, row in ...`.")

        def __len__(self) -> NoReturn:
            raise TypeError("MultiAccountPager has no length. Count the rows of `async for account_id, row in ...`.")

        def __bool__(self) -> NoReturn:
            raise TypeError("MultiAccountPager is neither true nor false. Use `async for account_id, row in ...`.")

    async def _rows(self) -> AsyncGenerator[tuple[str, T], None]:
        async with aclosing(self.pages()) as pages:
            async for account_id, page in pages:
                for item in page.items:
                    yield account_id, item

    async def pages(self) -> AsyncGenerator[tuple[str, Page[T]], None]:
        """Iterate over the pages, each with the id of its account."""
        billed = {account_id: pager for account_id, pager in self._pagers.items() if charges_per_page(pager)}
        free = {account_id: pager for account_id, pager in self._pagers.items() if account_id not in billed}
        problems = ProblemLog()
        for pages in (self._concurrent_pages(free, problems), self._consecutive_pages(billed, problems)):
            async with aclosing(pages):
                async for account_id, page in pages:
                    yield account_id, page
        if problems.count:
            raise incomplete_list_error(problems.problems, problems.count, "these lists")

    async def _consecutive_pages(
        self, pagers: Mapping[str, Pager[T]], problems: ProblemLog
    ) -> AsyncGenerator[tuple[str, Page[T]], None]:
        """Yield the pages of one account after the other. Each is requested when it is needed."""
        for account_id, pager in pagers.items():
            try:
                async with aclosing(pager.prefetch(0).pages()) as pages:
                    async for page in pages:
                        found = [account_error(account_id, problem) for problem in page.problems]
                        problems.extend(found, page.problem_count)
                        yield account_id, page
            except LeadfeederError as error:
                if affects_all_accounts(error):
                    raise
                problems.extend([account_error(account_id, error)], 1)

    async def _concurrent_pages(
        self, pagers: Mapping[str, Pager[T]], problems: ProblemLog
    ) -> AsyncGenerator[tuple[str, Page[T]], None]:
        """Yield the pages of all accounts in turn, with the next page of each in flight."""
        prefetch, stopped = max(1, DEFAULT_PREFETCH // max(1, len(pagers))), asyncio.Event()
        streams = [
            _AccountStream(account_id, until_stopped(pager, prefetch, stopped), is_drained=may_charge(pager))
            for account_id, pager in pagers.items()
        ]
        failure: LeadfeederError | None = None
        try:
            while pending := [stream.next_page for stream in streams if stream.next_page is not None]:
                await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for stream in streams:
                    try:
                        page = stream.take(problems, has_failed=failure is not None)
                    except LeadfeederError as error:
                        failure = failure or error
                        stopped.set()
                        continue
                    if page is not None:
                        yield stream.account_id, page
            if failure is not None:
                raise failure
        finally:
            for stream in streams:
                stream.cancel()
            await _close_all(streams)
            del failure  # its traceback references this frame


async def _close_all(streams: Sequence[_AccountStream[T]]) -> None:
    """Close some lists, also if the caller is canceled again meanwhile."""
    import anyio  # noqa: PLC0415 - only needed here

    closing = asyncio.gather(*(stream.aclose() for stream in streams), return_exceptions=True)
    _CLOSING.add(closing)
    closing.add_done_callback(_CLOSING.discard)
    with anyio.CancelScope(shield=True):  # a canceled scope would cancel the wait again in each iteration of the loop
        await asyncio.shield(closing)


_CLOSING = set[asyncio.Future[list[BaseException | None]]]()
"""The lists that are being closed. The event loop itself keeps no reference to a task."""


class _AccountStream(Generic[T]):
    """The list of one account, with its next page in flight.

    Args:
        account_id: The account.
        pager: The list.
        is_drained: True if pages that were requested are returned after the list of another account has failed.
    """

    def __init__(self, account_id: str, pager: Pager[T], *, is_drained: bool) -> None:
        self.account_id = account_id
        self._is_drained = is_drained
        self._pages = pager.pages()
        self.next_page: asyncio.Task[Page[T] | None] | None = asyncio.create_task(self._next())

    async def _next(self) -> Page[T] | None:
        return await anext(self._pages, None)

    def take(self, problems: ProblemLog, *, has_failed: bool) -> Page[T] | None:
        """Return the next page if it has arrived, and add its problems. Then request the next one.

        After another list failed, it is only requested if pages of this list may have been charged.
        """
        if self.next_page is None or not self.next_page.done():
            return None
        received, self.next_page = self.next_page, None
        try:
            page = received.result()
        except LeadfeederError as error:
            if affects_all_accounts(error):
                raise
            page = None
            problems.extend([account_error(self.account_id, error)], 1)
        if page is not None and (self._is_drained or not has_failed):
            self.next_page = asyncio.create_task(self._next())
        if page is not None and page.problem_count:
            problems.extend([account_error(self.account_id, problem) for problem in page.problems], page.problem_count)
        return page

    def cancel(self) -> None:
        """Cancel the request in flight."""
        if self.next_page is not None:
            self.next_page.cancel()

    async def aclose(self) -> None:
        """Close the list, after its request in flight has ended."""
        if self.next_page is not None:
            await asyncio.wait([self.next_page])
            if not self.next_page.cancelled():
                self.next_page.exception()  # marks it as retrieved
        await self._pages.aclose()
