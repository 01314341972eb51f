"""Lists that come as one response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, ConfigurationError, IncompleteListError
from tests.support.clients import KEY, client_of
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
    "count": {"meta": {"total_count": 21}},
    "pages": {"meta": {"pagination": {"page_count": 2}}},
    "pages and count of the page": {"meta": {"pagination": {"page_count": 2, "total_count": 20}}},
    "cursor": {"meta": {"pagination": {"next_cursor": "abc"}}},
    "cursor and count of the page": {"meta": {"pagination": {"next_cursor": "abc", "total_count": 20}}},
    "link": {"links": {"next": NEXT}},
    "link and count of the page": {"links": {"next": {"href": NEXT}}, "meta": {"total_count": 20}},
}


@pytest.mark.parametrize("kind", WHOLE_LISTS)
@pytest.mark.parametrize("sign", INCOMPLETE)
async def test_incomplete_list(kind: str, sign: str) -> None:
    """A server that says in any way that there are more rows than it returned is not believed to have returned all."""
    rows = [{"id": str(number), "type": "row", "attributes": {"name": str(number)}} for number in range(1, 21)]

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"data": rows, **INCOMPLETE[sign]})

    async with handler_server(handle) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match=r"more rows than the 20 that arrived|1 of 21 rows are missing"):
            await WHOLE_LISTS[kind](lf)


@pytest.mark.parametrize("kind", WHOLE_LISTS)
@pytest.mark.parametrize(
    ("count", "response"),
    [
        (20, {"links": {"next": None}}),
        (20, {"meta": {"total_count": 20}}),
        (20, {"meta": {"pagination": {"page_count": 1, "total_count": 20}}}),
        (23, {"meta": {"pagination": {"page_count": 2, "total_count": 23}}}),
        (23, {"meta": {"total_count": 23}, "links": {"next": NEXT}}),
        (25, {"meta": {"total_count": 25, "page_count": 1}, "links": {"next": NEXT}}),
        (147, {"meta": {"pagination": {"page_count": 2, "total_count": 147}}}),
        (20, {"links": {"next": "/v1/x?page%5Bsize%5D=100"}}),
    ],
)
async def test_complete_list(kind: str, count: int, response: dict[str, Any]) -> None:
    """A list is complete if the server counts as many rows as it returned, and these cannot be one page of several."""
    rows = [{"id": str(number), "type": "row", "attributes": {"name": str(number)}} for number in range(count)]

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"data": rows, **response})

    async with handler_server(handle) as url, client_of(url) as lf:
        await WHOLE_LISTS[kind](lf)


async def test_undecodable_row_on_a_page_with_a_link() -> None:
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


LARGE: dict[str, Callable[[str], dict[str, Any]]] = {
    "metadata": lambda text: {"meta": {"facets": text}},
    "pagination": lambda text: {"meta": {"pagination": {"links": text}}},
    "links": lambda text: {"links": {"pages": text}},
}


@pytest.mark.parametrize("size", [60_000, 70_000, 700_000])
@pytest.mark.parametrize("kind", LARGE)
async def test_large_metadata(size: int, kind: str) -> None:
    """Cursor and counts are found beside metadata and links of any size, also on pages that need normalization."""

    async def handle(request: web.Request) -> web.Response:
        start = int(request.query.get("page[cursor]", 1))
        rows = [{"id": number, "type": "company"} for number in range(start, start + 100)]
        following = str(start + 100) if start < 201 else None
        response: dict[str, Any] = {"meta": {}, **LARGE[kind]("f" * size), "data": rows}
        pagination = response["meta"].setdefault("pagination", {})
        pagination["total_count"] = 300
        if kind == "links":
            response["links"]["next"] = following and f"/v1/companies/search?page%5Bcursor%5D={following}"
        else:
            pagination["next_cursor"] = following
        return web.json_response(response)

    async with handler_server(handle) as url, client_of(url) as lf:
        assert len(await lf.companies.search(filters={"has_email": True}).collect()) == 300


@pytest.mark.parametrize("link", ["/v1/x?page[num]=2", "https://api.test/v1/x", "/v1/companies/search"])
async def test_link_without_a_cursor(link: str) -> None:
    """A list that is charged does not follow a link without a cursor. It would return the same rows again."""

    async def handle(_: web.Request) -> web.Response:
        rows = [{"id": str(number), "type": "company"} for number in range(3)]
        meta = {"credits": {"charged": 3}, "pagination": {"total_count": 3}}
        return web.json_response({"data": rows, "links": {"next": link}, "meta": meta})

    async with handler_server(handle) as url, client_of(url) as lf:
        assert len(await lf.companies.search(filters={"has_email": True}).collect()) == 3
        assert (lf.stats.requests, lf.stats.credits_charged) == (1, 3)


@pytest.mark.parametrize("link", ["/v1/x?page%5Bsize%5D=100", "/v1/x?page%5Bcursor%5D=&page%5Bsize%5D=100"])
@pytest.mark.parametrize("is_counted", [False, True])
async def test_link_to_the_request_itself(link: str, is_counted: bool) -> None:
    """A link without the place of a page names no other page."""

    async def handle(_: web.Request) -> web.Response:
        rows = [{"id": str(number), "type": "company"} for number in range(100)]
        counts = {"total_count": 100} if is_counted else {}
        return web.json_response({"data": rows, "links": {"next": link}, "meta": {"pagination": counts}})

    async with handler_server(handle) as url, client_of(url) as lf:
        assert len(await lf.companies.search(filters={"has_email": True}).collect()) == 100
        assert lf.stats.requests == 1


@pytest.mark.parametrize(
    "cursor", ["/v1/x?starting_after=", "https://host.test/v1/next/", "/shard7/doc?", "?page_token=", "/9j/4AAQ=="]
)
async def test_any_cursor_of_the_metadata_is_sent(cursor: str) -> None:
    """The cursor in the metadata is the contract's, so it is sent whatever it looks like."""

    async def handle(request: web.Request) -> web.Response:
        start = int((request.query.get("page[cursor]") or f"{cursor}0").removeprefix(cursor))
        rows = [{"id": str(number), "type": "company"} for number in range(start, start + 100)]
        following = f"{cursor}{start + 100}" if start < 200 else None
        return web.json_response({"data": rows, "meta": {"pagination": {"next_cursor": following}}})

    async with handler_server(handle) as url, client_of(url) as lf:
        assert len(await lf.companies.search(filters={"has_email": True}).collect()) == 300


@pytest.mark.parametrize(
    "link", ["/v1/x?starting_after=7", "/v1/x?page%5Bnum%5D=2", "https://api.test/v1/next/7", "http://[?a=1"]
)
async def test_link_to_a_page_that_cannot_be_requested(link: str) -> None:
    """A list with cursors whose response links to another page without a cursor is not complete."""

    async def handle(_: web.Request) -> web.Response:
        rows = [{"id": str(number), "type": "company"} for number in range(100)]
        return web.json_response({"data": rows, "links": {"next": link}})

    async with handler_server(handle) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="reports another page"):
            await lf.companies.search(filters={"has_email": True}).collect()


async def test_only_account_of_several() -> None:
    """An account is not chosen if the server counts more of them than it returned."""

    async def handle(_: web.Request) -> web.Response:
        account = {"id": "11", "type": "account", "attributes": {"name": "A"}}
        return web.json_response({"data": [account], "meta": {"total_count": 3}})

    async with handler_server(handle) as url, AsyncLeadfeeder(KEY, base_url=url) as lf:
        with pytest.raises(ConfigurationError, match="This key has 3 accounts, and none was chosen"):
            await lf.tags.create(name="Hot")
        assert lf.stats.requests == 1
