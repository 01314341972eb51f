"""Lists are compared with the server's counts by their distinct rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, IncompleteListError, Pager
from tests.support.clients import client_of
from tests.support.servers import handler_server


def tags(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.tags.list()


def companies(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.companies.search(search_terms=["x"])


class RepeatedRows:
    """A list of 250 rows, whose pages contain one row twice in place of another.

    Args:
        times: The number of responses to each page that do so.
    """

    def __init__(self, times: int) -> None:
        self.times = times
        self.requests = dict[int, int]()

    async def __call__(self, request: web.Request) -> web.Response:
        page = int(request.query.get("page[num]") or request.query.get("page[cursor]") or 1)
        self.requests[page] = self.requests.get(page, 0) + 1
        ids = list(range((page - 1) * 100, min(page * 100, 250)))
        if ids and self.requests[page] <= self.times:
            ids[4] = ids[3]
        counts = {"total_count": 250, "page_count": 3, "next_cursor": str(page + 1) if page < 3 else None}
        data = [{"id": str(one), "type": "tag", "attributes": {"name": "x"}} for one in ids]
        return web.json_response({"data": data, "meta": {"pagination": counts}})


@pytest.mark.parametrize("make", [tags, companies])
async def test_row_twice_on_each_page(make: Any, tmp_path: Path) -> None:
    """A list whose pages always repeat a row returns all others, and then reports the missing rows."""
    got, server = list[str](), RepeatedRows(1_000)
    async with handler_server(server) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="3 of 250 rows are missing"):
            async for row in make(lf):
                got.append(row.id)
        assert (len(got), len(set(got))) == (247, 247)
        with pytest.raises(IncompleteListError):
            await make(lf).to_file(tmp_path / "x.ndjson")


@pytest.mark.parametrize("make", [tags, companies])
async def test_row_twice_on_a_page_once(make: Any) -> None:
    """A list whose pages repeat a row for the first time only is read again and completed."""
    async with handler_server(RepeatedRows(1)) as url, client_of(url) as lf:
        got = [row.id async for row in make(lf)]
    assert sorted(got, key=int) == [str(number) for number in range(250)]
