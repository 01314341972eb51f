"""Rows of different companies that have the same id, where the contract does not say that ids are unique."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    ConfigurationError,
    IncompleteListError,
    LeadfeederError,
    Pager,
    ResumePosition,
)
from leadfeeder_async.pagination.dedupe import row_identity
from tests.support.clients import client_of
from tests.support.servers import handler_server

ROWS = [("1", "A", "x"), ("1", "B", "x"), ("1", "A", "y"), ("2", "A", "x"), ("1", "A", "x"), ("3", "C", "x")]
"""The id, company and location of each row. The fifth one repeats the first."""


def row_of(row_id: str, company: str, location: str, *, is_nested: bool) -> dict[str, Any]:
    references = {"company": {"id": company}, "location": {"id": location}}
    related = {name: {"data": one} for name, one in references.items()} if is_nested else references
    return {"id": row_id, "type": "row", "relationships": related}


def signals(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.companies.search_signals(company_ids=["A", "B", "C"], page_size=3)


def companies(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.web_visits.companies(start_date="2026-11-01", end_date="2026-11-01", page_size=3)


def key_of(row: dict[str, Any]) -> tuple[str, str, str]:
    related = row["relationships"]
    company, location = (related[name].get("data") or related[name] for name in ("company", "location"))
    return row["id"], company["id"], location["id"]


@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize("make", [signals, companies])
async def test_rows_with_the_same_id(make: Any, is_nested: bool, tmp_path: Path) -> None:
    """Each row is returned and exported once, also if the export is interrupted and resumed."""
    fails = False
    rows = ROWS[:2] + ROWS[3:] if make is signals else ROWS  # a signal has no location
    different = sorted(set(rows))

    async def respond(request: web.Request) -> web.Response:
        second = request.query.get("page[cursor]") == "2" or request.query.get("page[num]") == "2"
        if fails and second:
            return web.json_response({}, status=400)
        data = [row_of(*row, is_nested=is_nested) for row in (rows[3:] if second else rows[:3])]
        meta = {"page_count": 2, "total_count": len(different), "next_cursor": None if second else "2"}
        return web.json_response({"data": data, "meta": {"pagination": meta}})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        assert len([row async for row in make(lf)]) == len(different)
        path = tmp_path / "rows.ndjson"
        fails = True
        with pytest.raises(LeadfeederError):
            await make(lf).to_file(path)
        fails = False
        await make(lf).to_file(path, resume=True)
    written = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert sorted(map(key_of, written)) == different


@pytest.mark.parametrize("relationships", ["[]", "null", "5", '{"company":{"data":[]}}', '{"company":"A"}'])
def test_other_relationships(relationships: str) -> None:
    """A row whose relationships have another form is only equal to the same row."""
    row = f'{{"id":"1","relationships":{relationships}}}'.encode()
    other = f'{{"id":"1","number":1,"relationships":{relationships}}}'.encode()
    assert row_identity(row) == row_identity(bytes(row)) != row_identity(b'{"id":"1","type":"row"}')
    assert (row_identity(row) == row_identity(other)) is (relationships == "null")


def test_identity_of_numbers() -> None:
    """A related id is the same as a number and as text, and a float is an id only if all its digits are known."""
    row = '{"id":%s,"relationships":{"company":{"id":%s}}}'
    expected = row_identity((row % ('"7"', '"0"')).encode())
    for same in (("7", "0"), ("7.0", "0.0"), ("7", '"0"')):
        assert row_identity((row % same).encode()) == expected
    assert row_identity((row % ("7", "1")).encode()) != expected
    assert row_identity((row % ("9007199254740993.0", "0")).encode()) is None
    large = [row_identity((row % ("7", f"1e17{digit}")).encode()) for digit in ("", "1")]
    assert None not in large
    assert len({*large, row_identity((row % ("7", "null")).encode())}) == 3


@pytest.mark.parametrize("make", [signals, companies])
@pytest.mark.parametrize("count", [None, 5, 6])
async def test_row_with_another_company_on_a_later_page(make: Any, count: int | None) -> None:
    """A row whose id was on an earlier page, but with another company, is returned and counted too."""

    async def respond(request: web.Request) -> web.Response:
        second = request.query.get("page[cursor]") == "2" or request.query.get("page[num]") == "2"
        data = [row_of("3", "C", "x", is_nested=True), row_of("1", "B", "x", is_nested=True)]
        if not second:
            data = [row_of(*row, is_nested=True) for row in (ROWS[0], ROWS[3], ("4", "D", "x"))]
        meta = {"page_count": 2, "total_count": count, "next_cursor": None if second else "2"}
        return web.json_response({"data": data, "meta": {"pagination": meta}})

    got = list[str]()
    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="1 of 6 rows") if count == 6 else nullcontext():
            async for row in make(lf):
                got.append(row.id)
    assert sorted(got) == ["1", "1", "2", "3", "4"]


@pytest.mark.parametrize("make", [signals, companies])
def test_ids_do_not_exclude_rows_that_share_them(make: Any) -> None:
    """A list whose rows may share ids continues after rows, not after ids, which would hide other rows."""
    lf = AsyncLeadfeeder("key", account_id="1")
    with pytest.raises(ConfigurationError, match="Pass the rows instead of their ids") as caught:
        make(lf).resume_from(ResumePosition(day=date(2026, 11, 1)), ["1"])
    assert caught.value.argument == "exclude_ids"


@pytest.mark.parametrize("make", [signals, companies])
async def test_repeated_page_with_shared_ids_is_not_counted(make: Any) -> None:
    """A server that returns the same page for each request, in another order, does not make a list complete."""
    requests = 0

    async def respond(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        rows = ROWS[:4] if requests % 2 else ROWS[3::-1]
        data = [row_of(*row, is_nested=True) for row in rows]
        meta = {"total_count": 9, "page_count": 3, "next_cursor": str(requests) if requests < 9 else None}
        return web.json_response({"data": data, "meta": {"pagination": meta}})

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match=r"[56] of 9 rows"):
            await make(lf).collect()
    assert requests <= 60


async def test_resumed_signals_count_the_same_rows(tmp_path: Path) -> None:
    """A resumed export of signals finds a missing row, and does not report one that is not missing."""
    interrupted = False
    pages = {None: [ROWS[0], ROWS[1], ROWS[3]], "2": [("1", "C", "x"), ("4", "A", "x")], "3": [("5", "A", "x")]}

    async def respond(request: web.Request) -> web.Response:
        cursor = request.query.get("page[cursor]")
        if interrupted and cursor == "3":
            return web.json_response({}, status=400)
        data = [row_of(*row, is_nested=True) for row in pages[cursor]]
        meta = {"total_count": total, "next_cursor": {None: "2", "2": "3"}.get(cursor)}
        return web.json_response({"data": data, "meta": {"pagination": meta}})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        for total in (6, 7):  # all rows, and one row more
            path = tmp_path / f"{total}.ndjson"
            interrupted = True
            with pytest.raises(LeadfeederError):
                await signals(lf).to_file(path)
            interrupted = False
            with nullcontext() if total == 6 else pytest.raises(IncompleteListError, match="1 of 7 rows"):
                await signals(lf).to_file(path, resume=True)


@pytest.mark.parametrize("total", [4, 5])
async def test_excluded_rows_hide_no_missing_row(total: int) -> None:
    """Rows that are left out count as rows that arrived, and no others do."""

    async def respond(request: web.Request) -> web.Response:
        second = request.query.get("page[num]") == "2"
        data = [row_of(*row, is_nested=True) for row in ([("2", "A", "x")] if second else ROWS[:3])]
        return web.json_response({"data": data, "meta": {"pagination": {"total_count": total, "page_count": 2}}})

    got = list[str]()
    async with handler_server(respond) as url, client_of(url) as lf:
        known = await companies(lf).collect(limit=3)
        pager = companies(lf).resume_from(ResumePosition(day=date(2026, 11, 1)), known)
        with nullcontext() if total == 4 else pytest.raises(IncompleteListError, match="1 of 5 rows"):
            async for row in pager:
                got.append(row.id)
    assert got == ["2"]


LOCATIONS = [(str(number % 100), str(number % 100), str(number // 100)) for number in range(300)]
"""100 companies with three locations each: each page of 100 rows has the ids of the page before."""

BOUNDARY = [(str(number // 3), str(number // 3), str(number % 3)) for number in range(300)]
"""The same rows in the order of the companies: one id is on the last row of a page and on the first one of the next."""


def page_server(rows: list[tuple[str, str, str]], meta: dict[str, Any], bad_page: str | None = None) -> Any:
    """Return a handler of pages of 100 rows, of which one is empty when it is first requested."""
    failed = set[str]()

    async def respond(request: web.Request) -> web.Response:
        page = request.query.get("page[num]") or request.query.get("page[cursor]") or "1"
        first = 100 * (int(page) - 1)
        data = [row_of(*row, is_nested=True) for row in rows[first : first + 100]]
        if page == bad_page and page not in failed:
            failed.add(page)
            data = []
        following = str(int(page) + 1) if first + 100 < len(rows) else None
        return web.json_response({"data": data, "meta": {"pagination": {**meta, "next_cursor": following}}})

    return respond


@pytest.mark.parametrize("rows", [LOCATIONS, BOUNDARY])
@pytest.mark.parametrize("meta", [{}, {"page_count": 3}, {"total_count": 300}])
@pytest.mark.parametrize("make", [signals, companies])
async def test_pages_with_the_same_ids(rows: list[tuple[str, str, str]], meta: dict[str, Any], make: Any) -> None:
    """Pages whose ids were all on earlier pages have new rows, so the list is complete and is read once."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return await pages(request)

    expected = rows if make is companies else [(row_id, company, "x") for row_id, company, _ in rows]
    if make is signals:  # a signal has no location
        rows = expected = [(row_id, location, "x") for row_id, _, location in rows]
    pages = page_server(rows, meta)
    async with handler_server(respond) as url, client_of(url) as lf:
        pager = make(lf).prefetch(0)
        got = [key_of(msgspec.json.decode(row)) async for page in pager.raw_pages() for row in page.items]
    assert got == expected
    assert requests <= 4


@pytest.mark.parametrize("meta", [{"page_count": 3}, {"total_count": 300}])
async def test_later_pass_finds_rows_with_shared_ids(meta: dict[str, Any]) -> None:
    """If a page of rows with shared ids was empty once, the next pass returns its rows."""
    async with handler_server(page_server(LOCATIONS, meta, "2")) as url, client_of(url) as lf:
        rows = await companies(lf).collect()
    assert len(rows) == 300


@pytest.mark.parametrize("make", [signals, companies])
async def test_list_continues_after_rows_with_shared_ids(make: Any) -> None:
    """A list that continues after the rows of its first page returns all others, although they have the same ids."""
    rows = LOCATIONS if make is companies else [(row_id, location, "x") for row_id, _, location in LOCATIONS]
    async with handler_server(page_server(rows, {"total_count": 300})) as url, client_of(url) as lf:
        stored, position = list[Any](), None
        async for page in make(lf).pages():
            stored, position = list(page.items), page.position
            break
        rest = await make(lf).resume_from(position or ResumePosition(), stored).collect()
    assert (len(stored), len(rest)) == (100, 200)
