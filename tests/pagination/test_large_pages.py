"""Pages with very many rows, as servers send them that ignore the page size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leadfeeder_async import AsyncLeadfeeder, Pager
from leadfeeder_async._core import worker_thread
from leadfeeder_async.sandbox import Sandbox

LISTS: dict[str, Callable[[AsyncLeadfeeder, dict[str, Any]], Pager[Any]]] = {
    "by page number": lambda lf, days: lf.web_visits.search(**days),
    "without dates": lambda lf, _: lf.campaigns.list(),
    "by cursor": lambda lf, _: lf.companies.search(locations=[{"country_code": "DE"}]),
    "one page": lambda lf, _: lf.buyer_personas.list(),
    "local days": lambda lf, days: lf.web_visits.search(**days, tz="Asia/Tokyo"),
    "custom feed": lambda lf, options: lf.web_visits.search(**options),
    "newest first": lambda lf, days: lf.web_visits.search(**days, order="newest"),
}

FILTERED_OR_SORTED = {"local days", "custom feed", "newest first"}


@pytest.mark.parametrize("name", LISTS)
async def test_many_rows_are_processed_in_a_thread(
    lf: AsyncLeadfeeder, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Rows are compared, filtered and sorted in a thread if they are many, with the same result."""
    days = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
    if name == "custom feed":
        days["custom_feed_id"] = sandbox.records.custom_feeds.add({"name": "All", "filters": {}})
    pager = LISTS[name](lf, days)
    expected = [row.id async for row in pager]
    calls = list[object]()

    async def run_in_worker_thread(function: Callable[[], object]) -> object:
        calls.append(function)
        return function()

    monkeypatch.setattr(worker_thread, "run_in_worker_thread", run_in_worker_thread)
    assert [row.id async for row in pager] == expected
    assert not calls
    monkeypatch.setattr(worker_thread, "MAX_INLINE_ROWS", 0)
    pages = [page async for page in pager.pages()]
    assert [row.id for page in pages for row in page.items] == expected != []
    assert len(calls) >= len(pages) * (2 if name in FILTERED_OR_SORTED else 1)
