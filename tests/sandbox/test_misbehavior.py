"""Tests for the arguments that simulate servers that do not page correctly."""

from __future__ import annotations

from typing import Any

import pytest

from leadfeeder_async import AsyncLeadfeeder, IncompleteListError
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for

VISITS = 500


def sandbox_of(**options: Any) -> Sandbox:
    return Sandbox(companies=60, visits=VISITS, rate_limit=False, **options)


def dates_of(sandbox: Sandbox) -> dict[str, str]:
    return {"start_date": str(sandbox.start_date), "end_date": str(sandbox.end_date)}


async def visit_page(lf: AsyncLeadfeeder, sandbox: Sandbox, number: int, size: int = 100) -> tuple[list[str], Any]:
    """Return the visit IDs on a page, and its pagination."""
    params = {"page[num]": number, "page[size]": size}
    content: Any = await lf.request("POST", "/v1/web-visits", params=params, json=dates_of(sandbox))
    return [row["id"] for row in content["data"]], content["meta"]["pagination"]


async def test_correct_pages_by_default() -> None:
    """Without these arguments, the pages are the same on each request and contain each row once."""
    async with sandbox_of() as sandbox, client_for(sandbox) as lf:
        pages = [await visit_page(lf, sandbox, number) for number in range(1, 6)]
        assert [visit_id for ids, _ in pages for visit_id in ids] == list(sandbox.world.visit_ids())
        assert [pagination["total_count"] for _, pagination in pages] == [VISITS] * 5
        assert await visit_page(lf, sandbox, 1) == pages[0]


async def test_unstable_order() -> None:
    """Neighboring rows change places between requests, so some rows are on two pages and others on none."""
    async with sandbox_of(unstable_order=True) as sandbox, client_for(sandbox) as lf:
        pages = [(await visit_page(lf, sandbox, number))[0] for number in range(1, 6)]
        assert [len(ids) for ids in pages] == [100] * 5
        found = {visit_id for ids in pages for visit_id in ids}
        assert len(found) < VISITS
        assert found < set(sandbox.world.visit_ids())
        assert (await visit_page(lf, sandbox, 1))[0] != pages[0]


async def test_unstable_order_on_one_page() -> None:
    """A page with all rows contains each row once, in another order."""
    async with Sandbox(companies=60, visits=90, unstable_order=True, rate_limit=False) as sandbox:
        async with client_for(sandbox) as lf:
            ids, _ = await visit_page(lf, sandbox, 1)
        assert sorted(ids) == sorted(sandbox.world.visit_ids())
        assert ids != list(sandbox.world.visit_ids())


async def test_short_numbered_pages() -> None:
    """A short page has half of its rows, and the other half is not on the next page."""
    async with sandbox_of(short_pages=1.0) as sandbox, client_for(sandbox) as lf:
        ids, pagination = await visit_page(lf, sandbox, 1)
        assert ids == list(sandbox.world.visit_ids())[:50]
        assert pagination == {"page_num": 1, "page_count": 5, "total_count": VISITS}
        assert (await visit_page(lf, sandbox, 2))[0] == list(sandbox.world.visit_ids())[100:150]


async def test_short_pages_are_random() -> None:
    """The fraction of short pages is close to the argument, and the same page is complete later."""
    async with sandbox_of(short_pages=0.5) as sandbox, client_for(sandbox) as lf:
        sizes = [len((await visit_page(lf, sandbox, 1))[0]) for _ in range(40)]
    assert set(sizes) == {50, 100}
    assert 8 <= sizes.count(50) <= 32


async def test_short_cursor_pages() -> None:
    """The cursor of a short page continues after its last row."""
    async with sandbox_of(short_pages=1.0) as sandbox, client_for(sandbox) as lf:
        search = lf.companies.search(locations=[{"country_code": "DE"}], page_size=4)
        found = [company.id async for company in search]
        assert len(found) == len(set(found)) == await search.count() > 4
        assert sandbox.ledger.count("search_companies") >= len(found) / 2


async def test_page_cap() -> None:
    """Pages have at most ``page_cap`` rows, and ``page_count`` is computed from the requested size."""
    async with sandbox_of(page_cap=50) as sandbox, client_for(sandbox) as lf:
        ids, pagination = await visit_page(lf, sandbox, 2)
        assert ids == list(sandbox.world.visit_ids())[50:100]
        assert pagination == {"page_num": 2, "page_count": 5, "total_count": VISITS}
        assert len((await visit_page(lf, sandbox, 1, 20))[0]) == 20


@pytest.mark.parametrize("count", [0, -1])
async def test_wrong_counts(count: Any) -> None:
    """The counts have the value of the argument, and the rows are correct."""
    async with sandbox_of(wrong_counts=count) as sandbox, client_for(sandbox) as lf:
        ids, pagination = await visit_page(lf, sandbox, 1)
        assert len(ids) == 100
        assert pagination == {"page_num": 1, "page_count": count, "total_count": count}
        assert len(await lf.companies.search(search_terms=["e"]).collect()) == 60


async def test_missing_counts() -> None:
    """``wrong_counts="missing"`` omits the counts, but not the cursor."""
    async with sandbox_of(wrong_counts="missing") as sandbox, client_for(sandbox) as lf:
        assert (await visit_page(lf, sandbox, 1))[1] == {"page_num": 1}
        assert len(await lf.companies.search(search_terms=["e"], page_size=10).collect()) == 60


@pytest.mark.parametrize(
    "options",
    [
        {"unstable_order": True},
        {"short_pages": 0.3},
        {"page_cap": 50},
        {"wrong_counts": 0},
        {"wrong_counts": -1},
        {"wrong_counts": "missing"},
        {"page_cap": 30, "wrong_counts": "missing"},
    ],
)
async def test_client_loses_no_row_silently(options: dict[str, Any]) -> None:
    """The client returns each visit once from each of these servers, or raises an error."""
    async with sandbox_of(**options) as sandbox, client_for(sandbox) as lf:
        found = list[str]()
        try:
            async for visit in lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date):
                found.append(visit.id)
        except IncompleteListError:
            assert len(set(found)) < VISITS
        else:
            assert set(found) == set(sandbox.world.visit_ids())
        assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"short_pages": 1.5}, "short_pages=1.5 must be 0 to 1"),
        ({"flaky": -0.1}, "flaky=-0.1 must be 0 to 1"),
        ({"page_cap": 0}, "page_cap=0 must be 1 or more"),
        ({"wrong_counts": 7}, "wrong_counts=7 must be 0, -1 or 'missing'"),
        ({"latency": -1}, "latency=-1 must be 0 or more"),
        ({"credits": -1}, "credits=-1 must be 0 or more"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    """Arguments that are out of range raise errors."""
    with pytest.raises(ValueError, match=message):
        sandbox_of(**options)
