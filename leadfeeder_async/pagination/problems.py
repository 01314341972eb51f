"""Errors about rows that are missing from a list, collected while it is read and raised at its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

from leadfeeder_async.errors import IncompleteListError, IncompleteWindowError, LeadfeederError, PaginationError
from leadfeeder_async.pagination.page import Page

T = TypeVar("T")

MAX_SHOWN_PROBLEMS = 20
"""Problems that the message of one error names."""


async def raise_at_end(pages: AsyncGenerator[Page[T], None]) -> AsyncGenerator[Page[T], None]:
    """Yield all pages, and raise at the end if any row was missing from them."""
    problems = list[LeadfeederError]()
    async with aclosing(pages):
        async for page in pages:
            problems.extend(page.problems)
            yield page
            del page
    raise_problems(problems)


def raise_problems(problems: Sequence[LeadfeederError]) -> None:
    """Raise one error for all problems of a list, if there are any."""
    if problems:
        raise combine_problems(problems)


def combine_problems(problems: Sequence[LeadfeederError]) -> PaginationError:
    """Return one error for all problems of a list."""
    if len(problems) == 1 and isinstance(problems[0], PaginationError):
        return problems[0]
    days = [problem for problem in problems if isinstance(problem, IncompleteWindowError)]
    if len(days) < len(problems):
        return incomplete_list_error(problems)
    message = join_messages([day.message for day in days], len(days))
    return IncompleteWindowError(message, days[0].context, problems=days)


def incomplete_list_error(problems: Sequence[LeadfeederError]) -> IncompleteListError:
    """Return the error that lists all problems of a list, or of several lists."""
    message = (
        f"{count_gaps(len(problems))} of this list could not be read. All other rows were returned. "
        f"The first problem: {problems[0].message}"
    )
    return IncompleteListError(message, problems[0].context, problems=problems)


def count_gaps(count: int) -> str:
    """Return the number of missing rows or parts as a phrase."""
    return "1 row or part" if count == 1 else f"{count:,} rows or parts"


def join_messages(messages: Sequence[str], count: int) -> str:
    """Return the first messages as one line, and how many more there are."""
    shown = messages[:MAX_SHOWN_PROBLEMS]
    return " ".join([*shown, f"And {count - len(shown):,} more."] if count > len(shown) else shown)
