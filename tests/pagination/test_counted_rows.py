"""Lists are compared with the server's counts by their distinct rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
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


class SplitVisits:
    """Visits of ten days, 1,200 a day as the whole range counts them, and fewer as its parts do.

    Args:
        lost: The rows of each day that neither its count nor its rows contain.
        removed: The rows of each day that are removed after the whole range was counted.
        uncounted: The number of days of a range whose count is left out of all responses but its first one.
    """

    def __init__(self, lost: int = 0, removed: int = 0, uncounted: int = 0) -> None:
        self.lost = lost
        self.removed = removed
        self.uncounted = uncounted
        self.ranges = list[int]()

    async def __call__(self, request: web.Request) -> web.Response:
        body = {**request.query, **msgspec.json.decode(await request.read() or b"{}")}
        first, last = int(body["start_date"][-2:]), int(body["end_date"][-2:])
        days, per_day = last - first + 1, 1_200
        if self.ranges:
            per_day -= self.removed
        self.ranges.append(days)
        if days < 10:
            per_day -= self.lost
        ids = [f"{day}-{number}" for day in range(first, last + 1) for number in range(per_day)]
        size, page = int(request.query["page[size]"]), int(request.query["page[num]"])
        data = [{"id": one, "type": "web_visit"} for one in ids[(page - 1) * size : page * size]]
        counts = {"total_count": len(ids), "page_count": -(-len(ids) // size)}
        if size == 1 and days == self.uncounted:
            counts = {}
        return web.json_response({"data": data, "meta": {"pagination": counts}})


@pytest.mark.parametrize("method", ["search", "companies"])
async def test_range_with_more_rows_than_its_parts(method: str, tmp_path: Path) -> None:
    """If a date range counts more rows than its parts return, the gap is reported after their rows."""
    got = list[str]()
    async with handler_server(SplitVisits(lost=700)) as url, client_of(url) as lf:
        visits: Pager[Any] = getattr(lf.web_visits, method)(start_date="2026-01-01", end_date="2026-01-10")
        with pytest.raises(IncompleteListError, match="7,000 of 12,000 rows of 2026-01-01 to 2026-01-10 are missing"):
            async for row in visits:
                got.append(row.id)
        assert len(got) == len(set(got)) == 5_000
        with pytest.raises(IncompleteListError, match="7,000 of 12,000"):
            await visits.to_file(tmp_path / "x.ndjson")
        with pytest.raises(IncompleteListError, match=r"7,000 of 12,000.*finish the file without the missing rows"):
            await visits.to_file(tmp_path / "x.ndjson", resume=True)
        assert (await visits.to_file(tmp_path / "x.ndjson", resume=True)).done == 5_000


@pytest.mark.parametrize("uncounted", [10, 5])
async def test_range_that_is_not_counted_again(uncounted: int) -> None:
    """A gap stays reported if the server leaves out the counts of the range or its parts later."""
    async with handler_server(SplitVisits(lost=700, uncounted=uncounted)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="7,000 of 12,000 rows"):
            await lf.web_visits.search(start_date="2026-01-01", end_date="2026-01-10").collect()


async def test_rows_removed_while_a_range_is_read_in_parts() -> None:
    """Rows that are removed after a range was counted are not missing: it is counted again once."""
    server = SplitVisits(removed=10)
    async with handler_server(server) as url, client_of(url) as lf:
        rows = await lf.web_visits.search(start_date="2026-01-01", end_date="2026-01-10").collect()
    assert len(rows) == 11_900
    assert server.ranges.count(10) == 2


async def test_complete_parts_are_not_counted_again() -> None:
    """A range whose parts have all rows takes one request for each page, and one to find its size."""
    server = SplitVisits()
    async with handler_server(server) as url, client_of(url) as lf:
        assert len(await lf.web_visits.search(start_date="2026-01-01", end_date="2026-01-10").collect()) == 12_000
    assert (server.ranges.count(10), len(server.ranges)) == (1, 121)


@pytest.mark.parametrize("responses", [1, 2, 3])
async def test_one_page_with_fewer_rows_than_counted(responses: int) -> None:
    """A list without pages is requested up to three times for rows that the server counts but did not return."""
    calls = 0

    async def respond(_: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        rows = [{"id": str(row)} for row in range(2 if calls < responses else 3)]
        return web.json_response({"data": rows, "meta": {"total_count": 3}})

    async with handler_server(respond) as url, client_of(url) as lf:
        assert [one.id for one in await lf.buyer_personas.list().collect()] == ["0", "1", "2"]
    assert calls == responses


async def test_one_page_that_stays_incomplete() -> None:
    """A list without pages that never has all rows reports the gap after its rows."""
    got = list[str]()

    async def respond(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "0"}], "meta": {"total_count": 2}})

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="1 of 2 rows are missing"):
            async for row in lf.buyer_personas.list():
                got.append(row.id)
    assert got == ["0"]


@pytest.mark.parametrize("status", [400, 404, 416])
async def test_day_with_a_round_number_of_companies(status: int) -> None:
    """A day with 500 counted companies is complete if the server rejects the page after them."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        start = (int(request.query["page[num]"]) - 1) * 100
        if start >= 500:
            return web.json_response({"errors": [{"code": "invalid_page"}]}, status=status)
        data = [{"id": str(number), "type": "company_location"} for number in range(start, start + 100)]
        return web.json_response({"data": data, "meta": {"pagination": {"total_count": 500}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        rows = await lf.web_visits.companies(start_date="2026-11-01", end_date="2026-11-01").collect()
        assert (len(rows), requests) == (500, 6)
