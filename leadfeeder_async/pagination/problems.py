"""Errors about rows that are missing from a list, collected while it is read and raised at its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

from leadfeeder_async.errors import (
    AuthenticationError,
    BudgetExceededError,
    IncompleteListError,
    IncompleteWindowError,
    LeadfeederError,
    PaginationError,
    QuotaExceededError,
    RateLimiterUnavailableError,
    UsageError,
    may_concern_one_account,
)
from leadfeeder_async.pagination.page import Page

T = TypeVar("T")

_FATAL_ERRORS = (AuthenticationError, BudgetExceededError, QuotaExceededError, RateLimiterUnavailableError, UsageError)

MAX_SHOWN_PROBLEMS = 20
"""Problems that the message of one error names."""


MAX_KEPT_PROBLEMS = 1_000
"""Problems of one list that are kept. More of them are only counted, so that a broken server cannot fill the memory."""


class ProblemLog:
    """The problems of one list, or of the lists of one job, so far."""

    def __init__(self) -> None:
        self.problems: list[LeadfeederError] = []
        """The first problems."""
        self.count = 0
        """The number of all problems."""

    def add(self, page: Page[T]) -> None:
        """Add the problems of a page."""
        self.extend(page.problems, page.problem_count)

    def extend(self, problems: Sequence[LeadfeederError], count: int) -> None:
        """Add problems.

        Args:
            problems: The first problems.
            count: The number of all problems.
        """
        self.count += count
        self.problems.extend(problems[: MAX_KEPT_PROBLEMS - len(self.problems)])

    def clear(self) -> None:
        """Remove all problems."""
        self.problems, self.count = [], 0

    def raise_any(self) -> None:
        """Raise one error for all problems, if there are any."""
        if self.problems:
            raise combine_problems(self.problems, self.count)


async def raise_at_end(pages: AsyncGenerator[Page[T], None]) -> AsyncGenerator[Page[T], None]:
    """Yield all pages, and raise at the end if any row was missing from them."""
    problems = ProblemLog()
    async with aclosing(pages):
        async for page in pages:
            problems.add(page)
            yield page
            del page
    problems.raise_any()


def affects_all_accounts(error: LeadfeederError) -> bool:
    """Return True if an error ends a call for several accounts. A denied access may concern only one of them."""
    return isinstance(error, _FATAL_ERRORS) and not may_concern_one_account(error)


def combine_problems(problems: Sequence[LeadfeederError], count: int) -> PaginationError:
    """Return one error for all problems of a list.

    Args:
        problems: The first problems.
        count: The number of all problems.

    """
    if len(problems) == count == 1 and isinstance(problems[0], PaginationError):
        return problems[0]
    days = [problem for problem in problems if isinstance(problem, IncompleteWindowError)]
    if len(days) < len(problems):
        return incomplete_list_error(problems, count)
    message = join_messages([day.message for day in days], count)
    return IncompleteWindowError(message, days[0].context, problems=days)


def incomplete_list_error(
    problems: Sequence[LeadfeederError], count: int, source: str = "this list"
) -> IncompleteListError:
    """Return the error that lists the first problems of a list, or of several lists, and the number of all."""
    message = (
        f"{count_gaps(count)} of {source} could not be read. All other rows were returned. "
        f"The first problem: {problems[0].message}"
    )
    return IncompleteListError(message, problems[0].context, problems=problems)


def account_error(account_id: str, error: LeadfeederError) -> LeadfeederError:
    """Return an error whose message names the account."""
    return error.with_context(error.context, message=f"Account {account_id}: {error.message}")


def count_gaps(count: int) -> str:
    """Return the number of missing rows or parts as a phrase."""
    return "1 row or part" if count == 1 else f"{count:,} rows or parts"


def join_messages(messages: Sequence[str], count: int) -> str:
    """Return the first messages as one line, and how many more there are."""
    shown = messages[:MAX_SHOWN_PROBLEMS]
    return " ".join([*shown, f"And {count - len(shown):,} more."] if count > len(shown) else shown)
