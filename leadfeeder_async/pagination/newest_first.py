"""Visits from the newest to the oldest. The API has no order, so days are read backwards and sorted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from leadfeeder_async._core.worker_thread import run_for_rows
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.numbered import DateWindowSource
from leadfeeder_async.pagination.page import Page, PageDecoder
from leadfeeder_async.pagination.problems import ProblemLog
from leadfeeder_async.pagination.source import PagerOptions
from leadfeeder_async.pagination.visit_time import started_at

T = TypeVar("T")

FEW_ROWS = 100
"""If a range has fewer rows, the next one has twice as many days, so that quiet days need few requests."""


async def newest_first(
    source: DateWindowSource, decoder: PageDecoder[T], options: PagerOptions
) -> AsyncGenerator[Page[T], None]:
    """Yield the rows of a source from the newest to the oldest, one page for each range of days.

    The rows of a range are held in memory, because the API returns them in any order. The pages have no position.

    Args:
        source: The list.
        decoder: Decodes the pages.
        options: The options of the pager.
    """
    end, days = source.window.end, 1
    latest_ids = frozenset[str]()
    while end >= source.window.start:
        start = max(source.window.start, end - timedelta(days - 1))
        part = replace(source, window=DateWindow(start, end))
        # A visit near midnight may be returned for two days.
        unlimited = replace(options, limit=None, exclude_ids=options.exclude_ids | latest_ids)
        rows, problems = list[T](), ProblemLog()
        async with aclosing(part.pages(decoder, unlimited)) as pages:
            async for page in pages:
                rows += page.items
                problems.add(page)
                del page
        latest_ids, ordered = await run_for_rows(partial(_sorted, rows, decoder), len(rows))
        others = problems.count - len(problems.problems)
        yield Page(ordered, Meta(), partial_errors=tuple(problems.problems), further_errors=others)
        days = days * 2 if len(rows) < FEW_ROWS else 1
        end = start - timedelta(1)
        del rows, ordered


def _sorted(rows: Sequence[T], decoder: PageDecoder[T]) -> tuple[frozenset[str], tuple[T, ...]]:
    """Return the ids of rows, and the rows from the newest to the oldest. Those without a time come last."""
    ids = frozenset(row_id for row_id in decoder.row_ids(rows) if row_id is not None)
    return ids, tuple(sorted(rows, key=lambda row: started_at(row) or _EARLIEST, reverse=True))


_EARLIEST = datetime.min.replace(tzinfo=UTC)
