"""Visits of the companies in a custom feed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from leadfeeder_async import IncompleteListError
from tests.cli.command import leadfeeder
from tests.jobs.helpers import read_ids
from tests.support.clients import client_of
from tests.support.servers import handler_server

DATES = {"start_date": "2026-11-01", "end_date": "2026-11-02"}


async def handle(request: web.Request) -> web.Response:
    """Return 250 visits of 10 companies, and a feed with companies 3 and 7."""
    if request.method == "GET":
        assert request.query["custom_feed_id"] == "6001"
        rows = [{"id": f"{one}-1", "relationships": {"company": {"id": one}}} for one in ("c3", "c7")]
        return web.json_response({"data": rows, "meta": {"pagination": {"total_count": 2, "page_count": 1}}})
    number, size = int(request.query["page[num]"]), int(request.query["page[size]"])
    visits = [{"id": f"v{one}", "relationships": {"company": {"id": f"c{one % 10}"}}} for one in range(250)]
    meta = {"pagination": {"total_count": 250, "page_count": -(-250 // size)}}
    return web.json_response({"data": visits[(number - 1) * size : number * size], "meta": meta})


EXPECTED = [f"v{one}" for one in range(250) if one % 10 in {3, 7}]


async def test_visits_of_a_feed(tmp_path: Path) -> None:
    """Only visits of the feed's companies are returned, exported and limited."""
    async with handler_server(handle) as url, client_of(url) as lf:
        pager = lf.web_visits.search(**DATES, custom_feed_id="6001")
        assert [visit.id async for visit in pager] == EXPECTED
        assert [visit.id for visit in await pager.collect(3)] == EXPECTED[:3]
        assert await pager.count() is None
        out = tmp_path / "visits.ndjson"
        await pager.to_file(out)
        assert read_ids(out) == EXPECTED


@pytest.mark.parametrize("relationships", [None, {}, {"company": None}, {"company": {"id": ""}}])
async def test_feed_rows_without_a_company(relationships: object, tmp_path: Path) -> None:
    """If a row of the feed has no company, visits may be missing, which is an error."""

    async def respond(request: web.Request) -> web.Response:
        row = {"id": "c1-1"} if relationships is None else {"id": "c1-1", "relationships": relationships}
        visit = {"id": "v", "relationships": {"company": {"id": "c1"}}}
        return web.json_response({"data": [row if request.method == "GET" else visit]})

    async with handler_server(respond) as url, client_of(url) as lf:
        pager = lf.web_visits.search(**DATES, custom_feed_id="6001")
        with pytest.raises(IncompleteListError, match="A row of the visitor companies has no company"):
            await pager.to_file(tmp_path / "visits.ndjson")


@pytest.mark.parametrize("company", [{"id": 7}, {"data": {"id": "7"}}, {"data": {"id": 7}}])
async def test_ids_in_other_forms(company: object, tmp_path: Path) -> None:
    """A file contains the visits that a loop returns, also if the server writes the company in another form."""

    async def respond(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "1", "relationships": {"company": company}}]})

    async with handler_server(respond) as url, client_of(url) as lf:
        pager = lf.web_visits.search(**DATES, custom_feed_id="6001")
        assert [visit.id async for visit in pager] == ["1"]
        await pager.to_file(tmp_path / "visits.ndjson")
        assert read_ids(tmp_path / "visits.ndjson") == ["1"]


async def test_unreadable_company_is_reported(tmp_path: Path) -> None:
    """A visit whose company cannot be read is missing from a file with an error."""

    async def respond(request: web.Request) -> web.Response:
        company = {"id": "7"} if request.method == "GET" else {"id": ["7"]}
        return web.json_response({"data": [{"id": "1", "relationships": {"company": company}}]})

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="company of a visit cannot be read"):
            await lf.web_visits.search(**DATES, custom_feed_id="6001").to_file(tmp_path / "visits.ndjson")


async def test_command(tmp_path: Path) -> None:
    """``export visits`` filters by feed."""
    async with handler_server(handle) as url:
        environment = {"LEADFEEDER_API_KEY": "k", "LEADFEEDER_BASE_URL": url, "LEADFEEDER_ACCOUNT_ID": "1"}
        options = ("--since", "2026-11-01", "--until", "2026-11-02", "--filter", '{"location_country_codes":["DE"]}')
        code, out, _ = await leadfeeder(None, "export", "visits", *options, "--feed", "6001", **environment)
        assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, EXPECTED)
        for encoding in ("utf-8-sig", "utf-16"):  # as PowerShell writes files
            (tmp_path / "filter.json").write_text('{"location_country_codes":["DE"]}', encoding=encoding)
            options = (*options[:5], str(tmp_path / "filter.json"))
            code, out, _ = await leadfeeder(None, "export", "visits", *options, "--feed", "6001", **environment)
            assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, EXPECTED)
        code, _, stderr = await leadfeeder(None, "export", "visits", "--filter", "[]", **environment)
        assert (code, "[] cannot be read" in stderr) == (2, True)


async def test_unreadable_company_of_a_feed(tmp_path: Path) -> None:
    """If a company of the feed cannot be read, all visits of the others are returned before the error."""

    async def respond(request: web.Request) -> web.Response:
        if request.method == "GET":
            rows = [{"id": "c3-1", "relationships": {"company": {"id": "c3"}}}, 7]
            return web.json_response({"data": rows, "meta": {"pagination": {"total_count": 2, "page_count": 1}}})
        return await handle(request)

    expected, got, out = [f"v{one}" for one in range(250) if one % 10 == 3], list[str](), tmp_path / "visits.ndjson"
    async with handler_server(respond) as url, client_of(url) as lf:
        pager = lf.web_visits.search(**DATES, custom_feed_id="6001")
        with pytest.raises(IncompleteListError):
            async for visit in pager:
                got.append(visit.id)
        assert got == expected
        with pytest.raises(IncompleteListError):
            await pager.to_file(out)
        assert (await pager.to_file(out, resume=True)).done == 25
    assert read_ids(out) == expected
