"""Lists that come as one response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, IncompleteListError
from tests.support.clients import client_of
from tests.support.servers import handler_server


async def _feeds(lf: AsyncLeadfeeder) -> object:
    return await lf.custom_feeds.list().collect()


WHOLE_LISTS: dict[str, Callable[[AsyncLeadfeeder], Awaitable[object]]] = {
    "accounts": lambda lf: lf.accounts.list(),
    "folders": lambda lf: lf.custom_feeds.folders(),
    "industries": lambda lf: lf.reference.industries(),
    "feeds": _feeds,
}

NEXT = "/v1/x?page%5Bnum%5D=2"

INCOMPLETE: dict[str, dict[str, Any]] = {
    "count": {"meta": {"total_count": 3}},
    "pages": {"meta": {"pagination": {"page_count": 2}}},
    "pages and count of the page": {"meta": {"pagination": {"page_count": 2, "total_count": 2}}},
    "cursor": {"meta": {"pagination": {"next_cursor": "abc"}}},
    "cursor and count of the page": {"meta": {"pagination": {"next_cursor": "abc", "total_count": 2}}},
    "link": {"links": {"next": NEXT}},
    "link and count of the page": {"links": {"next": {"href": NEXT}}, "meta": {"total_count": 2}},
}


@pytest.mark.parametrize("kind", WHOLE_LISTS)
@pytest.mark.parametrize("sign", INCOMPLETE)
async def test_incomplete_list(kind: str, sign: str) -> None:
    """A server that says in any way that there are more rows than it returned is not believed to have returned all."""
    rows = [{"id": str(number), "type": "row", "attributes": {"name": str(number)}} for number in (1, 2)]

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"data": rows, **INCOMPLETE[sign]})

    async with handler_server(handle) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match=r"more rows than the 2 that arrived|1 of 3 rows are missing"):
            await WHOLE_LISTS[kind](lf)


@pytest.mark.parametrize("kind", WHOLE_LISTS)
@pytest.mark.parametrize("meta", [{}, {"total_count": 2}, {"pagination": {"page_count": 1, "total_count": 2}}])
async def test_complete_list(kind: str, meta: dict[str, Any]) -> None:
    """A list is complete if the server counts as many rows as it returned, or none."""
    rows = [{"id": str(number), "type": "row", "attributes": {"name": str(number)}} for number in (1, 2)]

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"data": rows, "meta": meta, "links": {"next": None}})

    async with handler_server(handle) as url, client_of(url) as lf:
        await WHOLE_LISTS[kind](lf)


async def test_row_that_cannot_be_decoded_on_a_page_with_a_link() -> None:
    """The link to the next page is followed, although a row of this page cannot be decoded."""

    async def handle(request: web.Request) -> web.Response:
        start = int(request.query.get("page[cursor]", 0))
        rows: list[Any] = [{"id": f"c{number}", "type": "company"} for number in range(start, start + 100)]
        if start == 100:
            rows[7] = {"id": ["no id"], "type": "company"}
        following = f"/v1/companies/search?page%5Bcursor%5D={start + 100}" if start < 200 else None
        return web.json_response({"data": rows, "links": {"next": following}})

    async with handler_server(handle) as url, client_of(url) as lf:
        pages = [page async for page in lf.companies.search(filters={"has_email": True}).pages()]
    assert (sum(len(page.items) for page in pages), sum(len(page.problems) for page in pages)) == (299, 1)


@pytest.mark.parametrize("size", [60_000, 70_000, 700_000])
async def test_large_metadata(size: int) -> None:
    """Cursor and counts are found beside metadata of any size, also on pages that need normalization."""

    async def handle(request: web.Request) -> web.Response:
        start = int(request.query.get("page[cursor]", 1))
        rows = [{"id": number, "type": "company"} for number in range(start, start + 100)]
        pagination = {"total_count": 300, "next_cursor": str(start + 100) if start < 201 else None}
        return web.json_response({"meta": {"facets": "f" * size, "pagination": pagination}, "data": rows})

    async with handler_server(handle) as url, client_of(url) as lf:
        assert len(await lf.companies.search(filters={"has_email": True}).collect()) == 300
