"""Lists that charge, although they should be free: no page is requested twice, or before it is needed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, CursorExpiredError, CursorLoopError, IncompleteListError, Pager
from tests.support.clients import client_of
from tests.support.servers import handler_server


class ChargedRows:
    """A server of 1,000 rows that charges each of them.

    Args:
        count: The number of rows that it counts.
        ends: The page after which it rejects requests.
        empty: The number of a page that has no rows.
    """

    def __init__(self, count: int = 1_000, ends: int = 10, empty: int = 0) -> None:
        self.count, self.ends, self.empty = count, ends, empty
        self.requests = 0

    async def __call__(self, request: web.Request) -> web.Response:
        self.requests += 1
        cursor = request.query.get("page[cursor]")
        number = int(cursor or request.query.get("page[num]", "1"))
        if cursor is not None and number > self.ends:
            return web.json_response({"errors": [{"code": "invalid_cursor"}]}, status=400)
        start = (number - 1) * 100
        end = start if number == self.empty or number > self.ends else start + 100
        rows = [{"id": str(row)} for row in range(start, end)]
        pagination: dict[str, int | None] = {"total_count": self.count}
        if "companies" in request.path:
            pagination["next_cursor"] = number + 1 if number < 10 else None
        meta = {"pagination": pagination, "credits": {"charged": len(rows)}}
        return web.json_response({"data": rows, "meta": meta})


def tags(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.tags.list()


def companies(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.companies.search(search_terms=["x"])


def visits(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-09")


@pytest.mark.parametrize("make", [tags, companies, visits])
@pytest.mark.parametrize("server", [{"count": 1_007}, {"empty": 3}])
async def test_charged_list_is_not_read_again(make: Any, server: dict[str, int]) -> None:
    """If rows of a list that charges are missing, an error reports it, and no page was requested twice."""
    async with handler_server(charged := ChargedRows(**server)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError):
            await make(lf).collect()
        assert charged.requests <= 14  # up to three without rows, after the last page
        assert lf.stats.credits_charged == 1_000 - 100 * ("empty" in server)


async def test_export_of_a_charged_list_is_not_read_again(tmp_path: Path) -> None:
    """An export of a list that charges, and lacks rows, is finished without requests."""
    async with handler_server(charged := ChargedRows(count=1_007)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError):
            await companies(lf).to_file(tmp_path / "x.ndjson")
        assert (await companies(lf).to_file(tmp_path / "x.ndjson", resume=True)).done == 1_000
        assert charged.requests == 10


@pytest.mark.parametrize("interrupted", [False, True])
async def test_charged_list_with_a_repeated_cursor(tmp_path: Path, interrupted: bool) -> None:
    """A list that charges, and whose last page names itself, is exported without a second request for a page."""
    cursors, fails = list[str | None](), interrupted

    async def respond(request: web.Request) -> web.Response:
        cursor = request.query.get("page[cursor]")
        if fails and cursor == "3":
            return web.json_response({}, status=404)
        cursors.append(cursor)
        number = int(cursor or 1)
        rows = [{"id": str(row)} for row in range(100 * number, 100 * number + 100)]
        meta = {"pagination": {"next_cursor": min(3, number + 1)}, "credits": {"charged": 100}}
        return web.json_response({"data": rows, "meta": meta})

    path = tmp_path / "x.ndjson"
    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        if interrupted:
            with pytest.raises(CursorExpiredError):
                await companies(lf).to_file(path)
            fails = False
        with pytest.raises(CursorLoopError):
            await companies(lf).to_file(path, resume=interrupted)
        await companies(lf).to_file(path, resume=True)
        assert len(path.read_bytes().splitlines()) == 300
    assert cursors == [None, "2", "3"]


async def test_charged_list_is_not_restarted_after_a_rejection() -> None:
    """A rejected cursor of a list that charges ends it."""
    async with handler_server(charged := ChargedRows(ends=5)) as url, client_of(url) as lf:
        with pytest.raises(CursorExpiredError):
            await companies(lf).collect()
        assert (charged.requests, lf.stats.credits_charged) == (6, 500)


@pytest.mark.parametrize("make", [tags, companies, visits])
async def test_charged_list_is_not_prefetched(make: Any) -> None:
    """A loop over a list that charges is charged for the pages that it used."""
    async with handler_server(charged := ChargedRows()) as url, client_of(url) as lf:
        rows = 0
        async for _ in make(lf):
            rows += 1
            if rows % 100 == 50:
                await asyncio.sleep(0.02)  # enough for requests that are in flight
            if rows == 150:
                break
        assert (charged.requests, lf.stats.credits_charged) == (2, 200)
