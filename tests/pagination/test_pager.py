"""Lists of every paging style, from servers that behave, lie, loop and end early."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from contextlib import aclosing
from datetime import date, timedelta
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async import (
    AsyncLeadfeeder,
    BadRequestError,
    ConfigurationError,
    CursorExpiredError,
    CursorLoopError,
    IncompleteListError,
    IncompleteWindowError,
    InvalidIdError,
    OffsetExceededError,
    PermissionDeniedError,
    ServerError,
)
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import handler_server, http, raw_server

Reply = tuple[int, dict[str, Any]]
DAY = date(2026, 11, 1)


def rows(*ids: object) -> list[dict[str, Any]]:
    return [{"id": str(one), "type": "row"} for one in ids]


class Script:
    """A server of one answer function, which counts what it is asked."""

    def __init__(self, answer: Callable[[web.Request, dict[str, Any]], Reply]) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read() or b"{}")
        self.asked.append({**request.query, **body})
        status, content = self.answer(request, body)
        return web.json_response(content, status=status)


def numbered(ids: list[Any], **lies: Any) -> Callable[[web.Request, dict[str, Any]], Reply]:
    """Answer numbered pages of ``ids``, with the counts as given or as they are."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        size, page = int(request.query["page[size]"]), int(request.query["page[num]"])
        counts = {"page_num": page, "page_count": -(-len(ids) // size), "total_count": len(ids)} | lies
        return 200, {"data": rows(*ids[(page - 1) * size : page * size]), "meta": {"pagination": counts}}

    return answer


def chain(pages: list[tuple[list[Any], str | None]]) -> Callable[[web.Request, dict[str, Any]], Reply]:
    """Answer pages by cursor: each with its ids and the cursor it names next."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        cursor = request.query.get("page[cursor]")
        place = 0 if cursor is None else 1 + [following for _, following in pages].index(cursor)
        ids, following = pages[place]
        total = len({one for page, _ in pages for one in page})
        return 200, {"data": rows(*ids), "meta": {"pagination": {"next_cursor": following, "total_count": total}}}

    return answer


async def visits(lf: AsyncLeadfeeder, days: int = 1, **options: Any) -> list[str]:
    end = DAY + timedelta(days - 1)
    return [visit.id async for visit in lf.web_visits.search(start_date=DAY, end_date=end, **options)]


async def found(lf: AsyncLeadfeeder, **options: Any) -> list[str]:
    return [company.id async for company in lf.companies.search(search_terms=["x"], **options)]


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=5), min_size=1, max_size=12),
    st.lists(st.text(min_size=1, max_size=8), min_size=12, max_size=12, unique=True),
)
def test_any_chain_of_cursors_gives_every_row_once(pages: list[list[int]], names: list[str]) -> None:
    """Pages of any size, empty ones too, with cursors of any text: all ids in order, repeated ones once."""
    cursors = [*names[: len(pages) - 1], None]

    async def scenario() -> list[str]:
        script = Script(chain(list(zip(pages, cursors, strict=True))))
        async with handler_server(script) as url, client_of(url) as lf:
            return await found(lf)

    with asyncio.Runner() as runner:
        assert runner.run(scenario()) == list(dict.fromkeys(str(one) for page in pages for one in page))


async def test_ended_chain_asks_for_nothing_more() -> None:
    """However long the consumer takes over the last page, no page past it, and no first one anew, is fetched."""
    script = Script(chain([([1], "a"), ([2], None)]))
    async with handler_server(script) as url, client_of(url) as lf:
        async for _ in lf.companies.search(search_terms=["x"]):
            await lf.users.me()
    assert [one.get("page[cursor]") for one in script.asked if "page[size]" in one] == [None, "a"]


@pytest.mark.parametrize("end", [None, ""])
async def test_chain_ends_without_a_cursor(end: str | None) -> None:
    """Null and empty cursors both end a list; ``total_count`` does not."""
    script = Script(chain([([1], "a"), ([2], end)]))
    async with handler_server(script) as url, client_of(url) as lf:
        assert await found(lf) == ["1", "2"]


@pytest.mark.parametrize("length", [1, 2, 3, 7])
async def test_circle_of_cursors_is_an_error(length: int) -> None:
    """A circle of any length ends in CursorLoopError, after the rows, without one request more than a round."""
    names = [f"c{number}" for number in range(length)]

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        cursor = request.query.get("page[cursor]", names[-1])
        following = names[(names.index(cursor) + 1) % length]
        return 200, {"data": rows(cursor), "meta": {"pagination": {"next_cursor": following}}}

    script, got = Script(answer), list[str]()
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(CursorLoopError, match="same cursor twice"):
            async for company in lf.companies.search(search_terms=["x"]):
                got.append(company.id)
    assert sorted(got) == sorted(names)
    assert len(script.asked) == length + 1


async def test_empty_pages_without_end_are_an_error() -> None:
    """Fifty empty pages in a row, each with a new cursor, are taken for a loop."""
    numbers = iter(range(1_000))

    def answer(_: web.Request, __: dict[str, Any]) -> Reply:
        return 200, {"data": [], "meta": {"pagination": {"next_cursor": f"c{next(numbers)}"}}}

    script = Script(answer)
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(CursorLoopError, match="50 consecutive pages had no new rows"):
            await found(lf)
    assert len(script.asked) == 50


def expiring(times: int, *, status: int = 400) -> Script:
    """Two pages; the cursor between them is refused some times."""
    left = times

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        nonlocal left
        if "page[cursor]" not in request.query:
            return 200, {"data": rows(1, 2), "meta": {"pagination": {"next_cursor": "c"}}}
        left -= 1
        if left >= 0:
            return status, {"errors": [{"code": "invalid_cursor"}]}
        return 200, {"data": rows(2, 3)}

    return Script(answer)


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_expired_cursor_of_a_free_list_begins_it_anew(status: int) -> None:
    """A free list is walked again from its start when its cursor has expired, and every row comes once."""
    script = expiring(1, status=status)
    async with handler_server(script) as url, client_of(url) as lf:
        assert await found(lf) == ["1", "2", "3"]
    assert len(script.asked) == 4


async def test_a_list_whose_cursors_keep_expiring_is_read_as_long_as_it_grows() -> None:
    """Each walk may come a page further than the one before: as long as it does, it begins anew, and all rows come once."""
    reach = 1

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        nonlocal reach
        page = int(request.query.get("page[cursor]", "0"))
        if page >= reach:
            reach += 1
            return 400, {"errors": [{"code": "invalid_cursor"}]}
        following = {"pagination": {"next_cursor": str(page + 1)}} if page < 4 else {}
        return 200, {"data": rows(page), "meta": following}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        assert await found(lf) == ["0", "1", "2", "3", "4"]
    assert reach == 5


async def test_cursor_that_always_expires_is_named() -> None:
    """Beginning anew without finding a new row leads nowhere: an error, not a circle."""
    async with handler_server(expiring(9)) as url, client_of(url) as lf:
        with pytest.raises(CursorExpiredError, match="'c'"):
            await found(lf)


async def test_expired_cursor_of_a_charging_list_is_named() -> None:
    """A list that charges is not read a second time unasked."""
    script = expiring(1)
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(CursorExpiredError):
            await lf.companies.search_signals(company_ids=["1"]).collect()
    assert len(script.asked) == 2


async def test_first_page_that_is_refused_is_the_server_s_error() -> None:
    """A bad request is a bad request, not an expired cursor."""
    script = Script(lambda *_: (400, {"errors": [{"code": "invalid_request"}]}))
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(BadRequestError):
            await found(lf)
    assert len(script.asked) == 1


@given(st.integers(0, 700), st.sampled_from([1, 7, 20, 100]), st.integers(0, 400))
def test_numbered_pages_in_order(count: int, size: int, limit: int) -> None:
    """Any number of rows comes whole and in order, and a limit gives exactly its first rows."""

    async def scenario() -> None:
        script = Script(numbered(list(range(count))))
        async with handler_server(script) as url, client_of(url) as lf:
            everything = [str(one) for one in range(count)]
            assert await visits(lf, page_size=size) == everything
            assert len(script.asked) == max(1, -(-count // size))
            script.asked.clear()
            assert await visits(lf, page_size=size, limit=limit) == everything[:limit]
            assert len(script.asked) <= max(1, -(-limit // size))

    with asyncio.Runner() as runner:
        runner.run(scenario())


@pytest.mark.parametrize(
    "lies",
    [
        {"page_count": None, "total_count": None},
        {"page_count": None},
        {"total_count": None},
        {"page_count": 2},
        {"page_count": 2, "total_count": None},
        {"page_count": 9},
        {"page_count": 9, "total_count": None},
        {"total_count": 3},
        {"total_count": 0},
        {"total_count": -1, "page_count": None},
        {"page_count": 1, "total_count": 430},
    ],
)
async def test_counts_that_lie_lose_nothing(lies: dict[str, Any]) -> None:
    """Missing, low and invalid counts, and high page counts, neither end a list early nor keep it from ending."""
    script = Script(numbered(list(range(430)), **lies))
    async with handler_server(script) as url, client_of(url) as lf:
        assert await visits(lf) == [str(one) for one in range(430)]


async def test_page_count_beside_the_pagination() -> None:
    """``meta.page_count`` serves where ``meta.pagination.page_count`` is missing."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        page = int(request.query["page[num]"])
        return 200, {"data": rows(page) if page <= 3 else [], "meta": {"page_count": 3}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        assert await visits(lf, page_size=1) == ["1", "2", "3"]


async def test_row_that_moves_to_the_next_page_is_returned_once() -> None:
    """A row that an insertion pushes to the next page is returned once, and the inserted one is found in a second pass."""
    ids: list[Any] = [1, 2, 3, 4, 5]

    def answer(request: web.Request, body: dict[str, Any]) -> Reply:
        reply = numbered(ids)(request, body)
        if 0 not in ids:
            ids.insert(0, 0)
        return reply

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        assert await visits(lf, page_size=3) == ["1", "2", "3", "4", "5", "0"]


async def test_pages_are_fetched_ahead_and_bounded() -> None:
    """Up to sixteen pages are under way or waiting, never more, and they come in order whatever their latency."""
    inside = most = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal inside, most
        inside, page = inside + 1, int(request.query["page[num]"])
        most = max(most, inside)
        await asyncio.sleep(0.02 if page % 2 else 0.001)
        inside -= 1
        counts = {"page_count": 60, "total_count": 60}
        return web.json_response({"data": rows(page), "meta": {"pagination": counts}})

    async with handler_server(handle) as url, client_of(url, max_concurrency=64) as lf:
        assert await visits(lf, page_size=1) == [str(page) for page in range(1, 61)]
    assert 8 <= most <= 16


@pytest.mark.parametrize("how", ["break", "aclose", "cancel", "raise"])
async def test_leaving_a_loop_leaves_nothing_running(sandbox: Sandbox, how: str) -> None:
    """Whatever ends a loop early, the pages under way are canceled and the client goes on."""
    async with client_for(sandbox) as lf:
        sandbox.latency = 0.05
        await lf.users.me()
        before = _own_tasks()
        pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=5)

        async def walk() -> None:
            async with aclosing(pager.pages()) as pages:
                async for page in pages:
                    if how == "raise":
                        raise ZeroDivisionError
                    if how != "cancel" and page.items:
                        break

        if how == "break":
            async for _ in pager:
                break
        elif how == "cancel":
            task = asyncio.create_task(walk())
            await asyncio.sleep(0.08)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif how == "raise":
            with pytest.raises(ZeroDivisionError):
                await walk()
        else:
            await walk()
        assert await _settled() == before
        assert lf.stats.in_flight == 0
        assert await pager.count() == 500


async def _settled() -> int:
    """Give canceled tasks the moment they need to end, and count what is left."""
    for _ in range(20):
        await asyncio.sleep(0.001)
    return _own_tasks()


def _own_tasks() -> int:
    return sum("RequestHandler" not in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_pages_that_wait_leave_the_loop_to_others_in_between(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """However many pages are there, other tasks get a turn between two of them: the loop is held for one at most."""
    turns = list[int]()

    async def other() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=10, limit=150)
    alone = _own_tasks()
    pages = pager.pages()
    await anext(pages)
    while _own_tasks() > alone:  # until all pages ahead are there
        await asyncio.sleep(0.01)
    task = asyncio.create_task(other())
    before = [len(turns) async for _ in pages]
    task.cancel()
    assert len(before) == 14
    assert before == sorted(set(before))


async def test_error_in_the_middle_is_raised_in_its_place() -> None:
    """The rows before a failing page are handed out, then its error comes."""

    def answer(request: web.Request, body: dict[str, Any]) -> Reply:
        if request.query["page[num]"] == "4":
            return 500, {"errors": [{"code": "internal_server_error"}]}
        return numbered(list(range(700)))(request, body)

    got = list[str]()
    async with handler_server(Script(answer)) as url, client_of(url, retries=0) as lf:
        with pytest.raises(ServerError):
            async for visit in lf.web_visits.search(start_date=DAY, end_date=DAY):
                got.append(visit.id)
    assert got == [str(one) for one in range(300)]


async def test_sweep_past_the_wall_is_complete() -> None:
    """A range of more than 10,000 visits comes whole, once and in order, with few requests more than its pages."""
    async with Sandbox(companies=50, visits=23_456, rate_limit=False) as sandbox:
        async with client_for(sandbox) as lf:
            got = await lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date).collect()
        assert [visit.id for visit in got] == list(sandbox.world.visit_ids())
        assert len(sandbox.ledger.requests) <= 235 + 8
        assert all(entry.status == 200 for entry in sandbox.ledger.requests)


class DailyVisits:
    """A server of ``per_day`` visits a day that refuses what lies past ``wall`` rows, and may hide its counts."""

    def __init__(self, per_day: dict[date, int], wall: int, *, counts: bool = True) -> None:
        self.per_day, self.wall, self.counts = per_day, wall, counts

    def ids(self, start: date, end: date) -> list[str]:
        days = sorted(day for day in self.per_day if start <= day <= end)
        return [f"{day}/{number}" for day in days for number in range(self.per_day[day])]

    def __call__(self, request: web.Request, body: dict[str, Any]) -> Reply:
        ids = self.ids(date.fromisoformat(body["start_date"]), date.fromisoformat(body["end_date"]))
        if int(request.query["page[num]"]) * int(request.query["page[size]"]) > self.wall:
            return 416, {"errors": [{"code": "offset_exceeded", "title": "too deep"}]}
        lies: dict[str, Any] = {} if self.counts else {"total_count": None, "page_count": None}
        return numbered(ids, **lies)(request, body)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=9), st.booleans())
def test_windows_are_cut_until_they_fit(per_day: list[int], counts: bool) -> None:
    """However the rows lie on their days, with counts or without: every row once, or a named error.

    The wall is lowered to forty rows so that small days meet it.
    """
    server = DailyVisits({DAY + timedelta(number): count for number, count in enumerate(per_day)}, 40, counts=counts)

    async def scenario() -> list[str]:
        async with handler_server(Script(server)) as url, client_of(url) as lf:
            return await visits(lf, len(per_day), page_size=10)

    with asyncio.Runner() as runner:
        if counts or all(count < 40 for count in per_day):
            assert runner.run(scenario()) == server.ids(DAY, DAY + timedelta(len(per_day)))


@pytest.mark.parametrize("counts", [True, False])
async def test_day_past_the_wall_is_an_error(counts: bool) -> None:
    """A single day of too many rows raises after all rows that can be read; it is never cut silently."""
    server = DailyVisits({DAY: 30, DAY + timedelta(1): 60, DAY + timedelta(2): 30}, 40, counts=counts)
    got = list[str]()
    async with handler_server(Script(server)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError, match="2026-11-02") as caught:
            async for visit in lf.web_visits.search(start_date=DAY, end_date=DAY + timedelta(2), page_size=10):
                got.append(visit.id)
    full, last = DAY + timedelta(1), DAY + timedelta(2)
    assert got == [*server.ids(DAY, DAY), *server.ids(full, full)[:40], *server.ids(last, last)]
    assert "search_web_visits" in str(caught.value)


async def test_silent_wall_is_noticed() -> None:
    """A server that just stops at 10,000 rows while it counts more does not pass for complete."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        page = int(request.query["page[num]"])
        ids = [f"{page}-{number}" for number in range(100)] if page <= 100 else []
        counts = {"page_count": 100, "total_count": 12_000}
        return 200, {"data": rows(*ids), "meta": {"pagination": counts}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError, match="10,000 of 12,000"):
            await visits(lf)


async def test_wall_of_a_list_without_dates_is_the_server_s_error() -> None:
    """Where there are no dates to cut, the 416 itself is raised."""

    def answer(_: web.Request, __: dict[str, Any]) -> Reply:
        return 416, {"errors": [{"code": "offset_exceeded"}]}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        with pytest.raises(OffsetExceededError):
            await found(lf)


async def test_rows_shared_by_windows_come_once() -> None:
    """A visitor company that came in several parts of a cut range is listed once."""
    async with Sandbox(companies=22_000, visits=60_000, rate_limit=False) as sandbox:
        async with client_for(sandbox) as lf:
            span = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
            got = [row.id for row in await lf.web_visits.companies(**span).collect()]
        expected = {f"{company}-loc-{location}" for company, location in sandbox.world.visitor_companies(**span)}
        assert len(expected) > 10_000
        assert sorted(got) == sorted(expected)


def locked_count(sandbox: Sandbox, company_ids: list[str]) -> int:
    """Return the number of companies that have not visited, which charge a credit each."""
    return sum(not sandbox.world.has_visited(company_id) for company_id in company_ids)


async def test_ids_of_any_number_go_a_hundred_at_a_time(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """250 ids make three requests, and 190 missing ids two more; repeated ids are requested once, in their order."""
    ids = [str(159_000_000 + number) for number in range(59, -1, -1)]
    unknown = [f"x{number}" for number in range(190)]
    got = await lf.companies.get_many([*ids, *ids, *unknown]).collect()
    assert [company.id for company in got] == ids
    assert sandbox.ledger.count("retrieve_companies") == 5
    assert lf.stats.credits_charged == sandbox.ledger.credits_charged == locked_count(sandbox, ids)
    assert await lf.companies.get_many([]).collect() == []


async def test_ids_of_an_empty_response_are_not_requested_again() -> None:
    """If no record was returned, no id was merged into one of them, so the request is not repeated, as it may charge."""
    empty = http(b'{"data":[],"meta":{"credits":{"charged":2}}}')
    async with raw_server(empty) as server, client_of(server.url) as lf:
        pager = lf.companies.get_many(["1", "2"])
        assert await pager.collect() == []
        assert pager.missing == ("1", "2")
    assert len(server.requests) == 1


async def test_the_other_ways_to_read_a_list(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """First, count, collect, batches, pages and raw pages all see the same rows."""
    pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date)
    everything = await pager.collect()
    assert len(everything) == await pager.count() == 500
    assert await pager.first() == everything[0]
    assert await pager.collect(limit=150) == everything[:150]
    batches = [batch async for batch in pager.batches(120)]
    assert [len(batch) for batch in batches] == [120, 120, 120, 120, 20]
    assert [visit for batch in batches for visit in batch] == everything
    raw = [json.loads(item)["id"] async for page in pager.raw_pages() for item in page.items]
    assert raw == [visit.id for visit in everything]
    pages = [page async for page in pager.pages()]
    assert [page.total for page in pages] == [500] * 5
    beside = [(page.meta.pagination, page.total, page.window, page.position) for page in pages]
    raw_pages = [page async for page in pager.raw_pages()]
    assert [(page.meta.pagination, page.total, page.window, page.position) for page in raw_pages] == beside


async def test_first_asks_for_one_page(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """``first`` costs one request, and None is the answer of an empty list."""
    await lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date).first()
    assert len(sandbox.ledger.requests) == 1
    assert await lf.companies.search(search_terms=["no such company"]).first() is None


async def test_raw_items_keep_every_field_and_stand_on_one_line() -> None:
    """Unknown fields survive, and only white space between tokens of a pretty-printed answer goes."""
    item = {"id": "1", "type": "web_visit", "new": {"text": "two\nlines, é", "n": 1.50}, "attributes": None}
    pretty = json.dumps({"data": [item], "meta": {}}, indent=2, ensure_ascii=False)

    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=pretty, content_type="application/json")

    async with handler_server(handle) as url, client_of(url) as lf:
        pages = [page async for page in lf.web_visits.search(start_date=DAY, end_date=DAY).raw_pages()]
    (raw,) = pages[0].items
    assert b"\n" not in raw
    assert b"1.5" in raw
    assert json.loads(raw) == item


@pytest.mark.parametrize(("option", "value"), [("page_size", 0), ("page_size", 101), ("limit", -1)])
async def test_bounds_are_checked_before_sending(lf: AsyncLeadfeeder, option: str, value: int) -> None:
    """Page sizes out of 1 to 100 and negative limits name the argument and its bound."""
    with pytest.raises(ConfigurationError, match=option):
        lf.web_visits.search(start_date=DAY, end_date=DAY, **{option: value})
    assert lf.stats.requests == 0


async def test_server_that_ignores_the_page_number_ends() -> None:
    """The same full page again and again is the whole list, not an endless one."""

    def answer(_: web.Request, __: dict[str, Any]) -> Reply:
        return 200, {"data": rows(*range(100)), "meta": {}}

    def counting(_: web.Request, __: dict[str, Any]) -> Reply:
        return 200, {"data": rows(*range(100)), "meta": {"page_count": 1}}

    for script in (Script(answer), Script(counting)):
        async with handler_server(script) as url, client_of(url) as lf:
            assert len(await visits(lf)) == 100
        assert len(script.asked) == 4


async def test_a_whole_page_of_new_rows_does_not_end_a_list() -> None:
    """Where as many rows as a page holds came in before the reader's place, the next page is the one before again."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        page = int(request.query["page[num]"])
        held = [*(range(1_000, 1_100) if page > 2 else ()), *range(250)]
        return 200, {"data": rows(*held[(page - 1) * 100 : page * 100]), "meta": {}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        assert await visits(lf) == [str(number) for number in range(250)]


async def test_server_that_gives_smaller_pages_than_asked() -> None:
    """A short page does not end a list whose count says that more follow."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        page = int(request.query["page[num]"])
        counts = {"pagination": {"total_count": 430}}
        return 200, {"data": rows(*range(430)[(page - 1) * 50 : page * 50]), "meta": counts}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        assert len(await visits(lf)) == 430


@pytest.mark.parametrize(("size", "total"), [(30, 12_000), (100, None), (100, 10_001)])
async def test_silent_wall_in_other_clothes(size: int, total: int | None) -> None:
    """A wall between two pages, without counts, or that the list grows past while it is walked, is noticed."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        page = int(request.query["page[num]"])
        ids = [f"{page}-{number}" for number in range(size)] if page * size <= 10_000 else []
        counted = 9_900 if total == 10_001 and page < 50 else total
        return 200, {"data": rows(*ids), "meta": {"pagination": {"total_count": counted}}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError):
            await visits(lf, page_size=size)


async def test_list_that_shrinks_while_it_is_walked_just_ends() -> None:
    """A 416 past the end of a list that lost a row is no wall."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        page = int(request.query["page[num]"])
        if page == 5:
            return 416, {"errors": [{"code": "offset_exceeded"}]}
        counts = {"page_count": 5, "total_count": 401} if page < 4 else {"page_count": 4, "total_count": 400}
        return 200, {"data": rows(*range(400)[(page - 1) * 100 : page * 100]), "meta": {"pagination": counts}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        assert len(await visits(lf)) == 400


@pytest.mark.parametrize("counts", [{"page_count": 3}, {"total_count": 1_000}])
async def test_counts_do_not_change_how_many_ids_are_asked_for(counts: dict[str, Any]) -> None:
    """A list by ids sends its own batches and no more, whatever the answers count."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        return 200, {"data": rows(*request.query["ids"].split(",")), "meta": {"pagination": counts}}

    script = Script(answer)
    async with handler_server(script) as url, client_of(url) as lf:
        assert len(await lf.companies.get_many(map(str, range(200))).collect()) == 200
    assert [len(one["ids"].split(",")) for one in script.asked] == [100, 100]


@pytest.mark.parametrize("item", [b'{"id":5}', b"{}", b'{"name":"x"}', b'{"id":{"a":1}}'])
async def test_raw_row_without_a_usual_id_is_passed_on(item: bytes) -> None:
    """Rows without an id are never taken for repeats. Equal ids are."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=b'{"data":[' + item + b"," + item + b"]}", content_type="application/json")

    async with handler_server(handle) as url, client_of(url) as lf:
        pages = [page async for page in lf.tags.list().raw_pages()]
    has_id = item == b'{"id":5}'
    assert [page.items for page in pages] == [(item,) if has_id else (item, item)]


async def test_raw_row_is_known_by_its_id_wherever_that_stands() -> None:
    """An id after other keys, or a number, tells undecoded rows apart as well as the usual one."""
    first, second, again = b'{"type":"tag","id":"1"}', b'{"type":"tag","id":2}', b'{"id":"1","name":"x"}'

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=b'{"data":[' + b",".join((first, second, again)) + b"]}")

    async with handler_server(handle) as url, client_of(url) as lf:
        pages = [page async for page in lf.tags.list().raw_pages()]
    assert [page.items for page in pages] == [(first, second)]


async def test_raw_row_that_is_no_text_is_named() -> None:
    """Bytes that are no UTF-8 would spoil a file of JSON lines: they are an error beside the good rows."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=b'{"data":[{"id":"1"},{"id":"\xff"}]}', content_type="application/json")

    async with handler_server(handle) as url, client_of(url) as lf:
        pages = [page async for page in lf.tags.list().raw_pages()]
    assert [(page.items, len(page.decode_errors)) for page in pages] == [((b'{"id":"1"}',), 1)]
    assert (pages[0].decode_errors[0].sent, pages[0].decode_errors[0].phase) == ("yes", "decode")


ONE_BAD = [{"id": str(number), "type": "tag", "attributes": {"name": "x"}} for number in range(99)]
ONE_BAD.insert(40, {"id": "bad", "type": "tag", "attributes": {"name": {"not": "a text"}}})


@pytest.mark.parametrize("way", ["items", "batches", "collect"])
async def test_one_bad_row_costs_one_row(way: str) -> None:
    """The other 99 rows of its page and the pages after it are handed out, and then an error tells of it."""

    async def handle(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        rows = ONE_BAD if page == 1 else [{"id": "last", "type": "tag"}]
        return web.json_response({"data": rows, "meta": {"pagination": {"page_count": 2, "total_count": 101}}})

    got = list[str]()
    async with handler_server(handle) as url, client_of(url) as lf:
        pager = lf.tags.list()
        with pytest.raises(IncompleteListError, match="Row 40") as caught:
            match way:
                case "items":
                    async for tag in pager:
                        got.append(tag.id)
                case "batches":
                    async for batch in pager.batches(7):
                        got.extend(tag.id for tag in batch)
                case _:
                    await pager.collect()
        assert len(caught.value.problems) == 1
        assert "bad" in str(caught.value.problems[0])
        assert pickle.loads(pickle.dumps(caught.value)).problems[0].message == caught.value.problems[0].message
        pages = [page async for page in pager.pages()]
    assert got == ([] if way == "collect" else [*map(str, range(99)), "last"])
    assert [(len(page.items), len(page.decode_errors)) for page in pages] == [(99, 1), (1, 0)]


async def test_rows_read_one_by_one_find_what_is_included() -> None:
    """A bad row among them does not cost the others their related records."""
    good = {"id": "1", "type": "web_visit", "relationships": {"company": {"data": {"id": "9", "type": "company"}}}}
    answer = {"data": [good, 7], "included": [{"id": "9", "type": "company", "attributes": {"name": "N"}}]}

    async def handle(_: web.Request) -> web.Response:
        return web.json_response(answer)

    async with handler_server(handle) as url, client_of(url) as lf:
        (page,) = [page async for page in lf.web_visits.search(start_date=DAY, end_date=DAY).pages()]
    assert (len(page.items), len(page.decode_errors)) == (1, 1)
    assert page.items[0].company is not None
    assert page.items[0].company.name == "N"


@pytest.mark.parametrize("odd", [{}, {"code": 5}, "text", None])
async def test_errors_beside_data_are_not_dropped(odd: object) -> None:
    """An answer with data and errors gives its rows, and the errors at the end."""
    errors = [{"code": "insufficient_scope", "title": "No contacts"}, odd]

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "1"}], "errors": errors})

    async with handler_server(handle) as url, client_of(url) as lf:
        got = list[str]()
        with pytest.raises(IncompleteListError, match="No contacts") as caught:
            async for tag in lf.tags.list():
                got.append(tag.id)
        assert (got, type(caught.value.problems[0]), len(caught.value.problems)) == (["1"], PermissionDeniedError, 2)
        raw = [page async for page in lf.tags.list().raw_pages()]
        assert len(raw[0].problems) == 2


async def test_leaving_a_cursor_list_cancels_the_page_ahead() -> None:
    """The page fetched ahead is canceled when a cursor loop is left."""

    async def handle(request: web.Request) -> web.Response:
        if "page[cursor]" in request.query:
            await asyncio.sleep(30)
        return web.json_response({"data": rows(1), "meta": {"pagination": {"next_cursor": "c"}}})

    async with handler_server(handle) as url, client_of(url) as lf:
        await lf.request("GET", "/v1/x")
        before = _own_tasks()
        async for _ in lf.companies.search(search_terms=["x"]):
            await asyncio.sleep(0.05)
            break
        assert await _settled() == before


async def test_charging_list_fetches_no_page_ahead() -> None:
    """A list that charges by page asks for a page only when its rows are wanted."""
    pages: list[tuple[list[Any], str | None]] = [([number], f"c{number}") for number in range(5)]
    script = Script(chain([*pages, ([9], None)]))
    async with handler_server(script) as url, client_of(url) as lf:
        async for _ in lf.companies.search_signals(company_ids=["1"]):
            await asyncio.sleep(0.05)
            break
        assert len(script.asked) == 1
        assert len(await lf.companies.search_signals(company_ids=["1"]).collect()) == 6


async def test_empty_pages_here_and_there_are_no_loop() -> None:
    """Only empty pages in a row are counted."""
    pages: list[tuple[list[Any], str | None]] = [
        ([number] if number % 2 else [], f"c{number}") for number in range(120)
    ]
    async with handler_server(Script(chain([*pages, ([], None)]))) as url, client_of(url) as lf:
        assert len(await found(lf)) == 60


async def test_ids_that_moved_and_ids_that_are_gone() -> None:
    """Records come in the order of their ids; old ids are matched to the record they live in, lost ones are named."""
    moved = {"old-a": "2", "old-b": "7", "old-c": "2"}

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        asked = {moved.get(one, one) for one in request.query["ids"].split(",")}
        return 200, {"data": rows(*sorted((one for one in asked if one.isdecimal()), reverse=True)), "meta": {}}

    script = Script(answer)
    async with handler_server(script) as url, client_of(url) as lf:
        ids = ["3", "gone", "old-a", "1", "old-b", "old-c"]
        ambiguous = lf.companies.get_many(ids)
        assert [company.id for company in await ambiguous.collect()] == ["3", "1", "7", "2"]
        assert (ambiguous.missing, dict(ambiguous.merged)) == ((), {})
        assert (ambiguous.unresolved, len(script.asked)) == (("gone", "old-a", "old-b", "old-c"), 1)
        pager = lf.companies.get_many(ids, resolve_merged=True)
        assert [company.id for company in await pager.collect()] == ["3", "2", "1", "7"]
        assert (pager.missing, dict(pager.merged)) == (("gone",), moved)
        single = lf.companies.get_many(["1", "old-a"])
        script.asked.clear()
        assert [company.id for company in await single.collect()] == ["1", "2"]
        assert (dict(single.merged), len(script.asked)) == ({"old-a": "2"}, 1)
        assert [company.id for company in await pager.collect(limit=2)] == ["3", "2"]
        script.asked.clear()
        assert (await pager.count(), script.asked) == (None, [])


async def test_record_that_nobody_asked_for_is_handed_out() -> None:
    """A record that no id leads to was sent all the same, and is not dropped."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        asked = request.query["ids"].split(",")
        return 200, {"data": rows("77", *asked) if len(asked) > 1 else rows(*asked), "meta": {}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        pager = lf.companies.get_many(["1", "2"])
        assert [company.id for company in await pager.collect()] == ["1", "2", "77"]
    assert (pager.missing, dict(pager.merged)) == ((), {})


async def test_merged_ids_across_batches_come_once() -> None:
    """A record that two batches lead to comes once, and none of its ids counts as missing."""
    ids = ["old", *map(str, range(2, 101)), "1", *map(str, range(101, 150))]

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        asked = request.query["ids"].split(",")
        return 200, {"data": rows(*("1" if one == "old" else one for one in asked)), "meta": {}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        pager = lf.companies.get_many(ids)
        got = [company.id for company in await pager.collect()]
    assert got == ["1", *map(str, range(2, 150))]
    assert (pager.missing, dict(pager.merged)) == ((), {"old": "1"})


async def test_windows_that_share_a_row_give_it_once() -> None:
    """A visit that a server counts to two neighboring windows comes once."""

    def answer(request: web.Request, body: dict[str, Any]) -> Reply:
        if body["start_date"] != body["end_date"]:
            return 200, {"data": rows(0), "meta": {"pagination": {"page_count": 101, "total_count": 10_001}}}
        return 200, {"data": rows(body["start_date"], "shared"), "meta": {"pagination": {"page_count": 1}}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        assert await visits(lf, 2) == ["2026-11-01", "shared", "2026-11-02"]


async def test_pages_ahead_reach_into_the_next_window() -> None:
    """While one window is read, the pages of the next are under way: a sweep of small days keeps its pace."""
    inside = most = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal inside, most
        body = json.loads(await request.read())
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.01)
        inside -= 1
        if body["start_date"] != body["end_date"]:
            counts = {"page_count": 1_000, "total_count": 100_000}
            return web.json_response({"data": rows(0), "meta": {"pagination": counts}})
        page = int(request.query["page[num]"])
        counts = {"page_count": 3, "total_count": 3}
        return web.json_response({"data": rows(f"{body['start_date']}/{page}"), "meta": {"pagination": counts}})

    async with handler_server(handle) as url, client_of(url) as lf:
        got = await visits(lf, 8, page_size=1)
    days = [DAY + timedelta(number) for number in range(8)]
    assert got == [f"{day}/{page}" for day in days for page in (1, 2, 3)]
    assert most >= 6


def counted(*totals: int | None) -> Callable[[web.Request, dict[str, Any]], Reply]:
    """Answer a page of one row for each count, by cursor."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        place = int(request.query.get("page[cursor]", "0"))
        following = str(place + 1) if place + 1 < len(totals) else None
        counts = {"next_cursor": following, "total_count": totals[place]}
        return 200, {"data": rows(place), "meta": {"pagination": counts}}

    return answer


@pytest.mark.parametrize(("totals", "told"), [((2, 3, 3), [2, 2, 2]), ((None, 3, 3), [None, 3, 3])])
async def test_total_of_a_cursor_list_is_the_first_that_was_counted(totals: Any, told: list[int | None]) -> None:
    """Pages tell one total: progress that is measured against it does not jump."""
    async with handler_server(Script(counted(*totals))) as url, client_of(url) as lf:
        assert [page.total async for page in lf.companies.search(search_terms=["x"]).pages()] == told


@pytest.mark.parametrize(("limit", "asked"), [(None, 2), (100, 1), (101, 2)])
async def test_cursor_list_is_one_page_ahead_where_it_is_wanted(limit: int | None, asked: int) -> None:
    """While the first page is read, the second is under way, unless the limit ends with the first."""
    script = Script(counted(3, 3, 3))
    async with handler_server(script) as url, client_of(url) as lf:
        async with aclosing(lf.companies.search(search_terms=["x"], limit=limit).pages()) as pages:
            await anext(pages)
            await asyncio.sleep(0.05)
            assert len(script.asked) == asked


async def test_cursor_list_runs_no_further_ahead_than_its_limit() -> None:
    """Pages ahead are counted from the first: a limit of two pages asks for two."""
    script = Script(counted(*[9] * 6))
    async with handler_server(script) as url, client_of(url) as lf:
        async with aclosing(lf.companies.search(search_terms=["x"], limit=2, page_size=1).pages()) as pages:
            await anext(pages)
            await anext(pages)
            await asyncio.sleep(0.05)
    assert len(script.asked) == 2


@pytest.mark.parametrize("fault", ["circle", "empty"])
async def test_loop_of_cursors_names_its_call(fault: str) -> None:
    """The error of a loop says which list it was."""
    numbers = iter(range(100))

    def answer(_: web.Request, __: dict[str, Any]) -> Reply:
        cursor = "c" if fault == "circle" else f"c{next(numbers)}"
        return 200, {"data": rows(*([1] if fault == "circle" else [])), "meta": {"pagination": {"next_cursor": cursor}}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        with pytest.raises(CursorLoopError) as caught:
            await found(lf)
    facts = caught.value.context
    assert (facts.operation, facts.method, facts.path) == ("search_companies", "POST", "/v1/companies/search")
    assert caught.value.message == (
        "The server returned the same cursor twice."
        if fault == "circle"
        else "50 consecutive pages had no new rows, each with a new cursor."
    )


def refusing(*kept: int) -> Script:
    """Rows 0, 1, 2, … a page each; the cursor after each row is refused, except for those that ``kept`` allows once."""
    left = list(kept)

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        place = int(request.query.get("page[cursor]", "0"))
        if place and place not in left:
            return 400, {"errors": [{"code": "invalid_cursor", "title": "too old"}]}
        if place:
            left.remove(place)
        return 200, {"data": rows(place), "meta": {"pagination": {"next_cursor": str(place + 1)}}}

    return Script(answer)


@pytest.mark.parametrize(("kept", "got"), [((), 1), ((1,), 2), ((1, 1, 2), 3), ((1, 1, 1, 2, 2, 3), 4)], ids=repr)
async def test_walk_begins_anew_as_long_as_that_leads_on(kept: tuple[int, ...], got: int) -> None:
    """Each new start must find a row that was not there before: then it may begin anew once more, else it is over."""
    script, ids = refusing(*kept), list[str]()
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(CursorExpiredError, match="too old") as caught:
            async for company in lf.companies.search(search_terms=["x"]):
                ids.append(company.id)
    assert ids == [str(one) for one in range(got)]
    assert (caught.value.status, caught.value.code) == (400, "invalid_cursor")


async def test_empty_pages_are_counted_anew_after_a_new_start() -> None:
    """What was empty before a list began anew does not count against it, nor does the page with which it begins."""
    refused = False

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        nonlocal refused
        place = int(request.query.get("page[cursor]", "0"))
        if place == 49 and not refused:
            refused = True
            return 400, {"errors": [{"code": "invalid_cursor"}]}
        following = None if place == 49 else str(place + 1)
        return 200, {"data": rows(1) if place == 49 else [], "meta": {"pagination": {"next_cursor": following}}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        assert await found(lf) == ["1"]


async def test_page_with_rows_ends_a_run_of_empty_ones() -> None:
    """Forty-nine empty pages after a full one are no loop."""
    pages: list[tuple[list[Any], str | None]] = [([], "a0"), ([1], "a1"), *(([], f"c{one}") for one in range(49))]
    async with handler_server(Script(chain([*pages, ([2], None)]))) as url, client_of(url) as lf:
        assert await found(lf) == ["1", "2"]


async def test_page_that_is_gone_after_the_first_ends_a_list_that_shrank() -> None:
    """A 416 where all rows that the server counts were handed out is the end, on the second page too."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        if request.query["page[num]"] == "2":
            return 416, {"errors": [{"code": "offset_exceeded"}]}
        return 200, {"data": rows(1), "meta": {"pagination": {"page_count": 2, "total_count": 1}}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        assert await visits(lf) == ["1"]


async def test_wall_of_a_numbered_list_without_dates_is_the_server_s_error() -> None:
    """Where there are no dates to cut, the 416 itself is raised, with what the server said."""
    script = Script(lambda *_: (416, {"errors": [{"code": "offset_exceeded", "title": "too deep"}]}))
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(OffsetExceededError, match="too deep"):
            await lf.tags.list().collect()


async def test_day_past_the_wall_says_what_the_server_said() -> None:
    """The error of a day that cannot be cut keeps the status and code of the 416, or names the call without one."""
    script = Script(lambda *_: (416, {"errors": [{"code": "offset_exceeded"}], "meta": {"request_id": "r-1"}}))
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError) as caught:
            await visits(lf)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (416, "offset_exceeded", "r-1")
    assert caught.value.message == "2026-11-01 may contain more rows than the API returns: 0 were returned."


def at_most(most: int) -> Callable[[web.Request, dict[str, Any]], Reply]:
    """Answer numbered pages of 12,000 rows, and nothing past ``most``, without a refusal."""

    def answer(request: web.Request, body: dict[str, Any]) -> Reply:
        status, content = numbered(list(range(12_000)))(request, body)
        if int(request.query["page[num]"]) * int(request.query["page[size]"]) > most:
            content["data"] = []
        return status, content

    return answer


async def test_silent_wall_of_one_day_names_the_call() -> None:
    """Where the server only stops handing out rows, the error says how many came, of how many, and for which call."""
    async with handler_server(Script(at_most(10_000))) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError) as caught:
            await visits(lf)
    assert caught.value.message == (
        "2026-11-01 contains more rows than the API returns: 10,000 of 12,000 were returned, 2,000 are missing."
    )
    assert caught.value.context.operation == "search_web_visits"


async def test_bounds_of_sizes_and_limits() -> None:
    """One is the smallest batch and page, nothing the smallest limit, and mistakes are told as they were made."""
    script = Script(numbered([1, 2, 3]))
    async with handler_server(script) as url, client_of(url) as lf:
        pager = lf.web_visits.search(start_date=DAY, end_date=DAY, limit=2)
        assert [[one.id for one in batch] async for batch in pager.batches(1)] == [["1"], ["2"]]
        assert [[one.id for one in batch] async for batch in pager.batches(2)] == [["1", "2"]]
        assert [len(await pager.collect(limit)) for limit in (0, 1, 2, 3)] == [0, 1, 2, 2]
        with pytest.raises(ConfigurationError, match=r"^size=0 must be 1 or more\."):
            await anext(pager.batches(0))
        with pytest.raises(ConfigurationError, match=r"^limit=-1 must be 0 or more\."):
            await pager.collect(-1)


async def test_full_batch_comes_before_the_next_page_is_needed() -> None:
    """A batch is handed out as soon as it is full, though the next page never comes."""

    async def handle(request: web.Request) -> web.Response:
        if request.query["page[num]"] != "1":
            await asyncio.sleep(30)
        counts = {"page_count": 2, "total_count": 4}
        return web.json_response({"data": rows(1, 2), "meta": {"pagination": counts}})

    async with handler_server(handle) as url, client_of(url) as lf:
        batches = lf.web_visits.search(start_date=DAY, end_date=DAY, page_size=2).batches(2)
        async with aclosing(batches), asyncio.timeout(2):
            assert [one.id for one in await anext(batches)] == ["1", "2"]


async def test_counting_asks_for_one_row_of_the_first_page() -> None:
    """A count costs the server as little as can be, on every kind of list."""
    script = Script(numbered([1, 2, 3]))
    async with handler_server(script) as url, client_of(url) as lf:
        assert await lf.web_visits.search(start_date=DAY, end_date=DAY).count() == 3
        assert (script.asked[0]["page[num]"], script.asked[0]["page[size]"]) == ("1", "1")
        script.answer = lambda *_: (200, {"data": rows(1), "meta": {"pagination": {"total_count": 5}}})
        assert await lf.companies.search(search_terms=["x"]).count() == 5
        assert script.asked[1]["page[size]"] == "1"


async def test_first_row_fetches_no_page_it_does_not_need() -> None:
    """With pages of one row, the first row takes one request."""
    script = Script(numbered(list(range(9))))
    async with handler_server(script) as url, client_of(url) as lf:
        first = await lf.web_visits.search(start_date=DAY, end_date=DAY, page_size=1).first()
        await asyncio.sleep(0.05)
    assert first is not None
    assert (first.id, len(script.asked)) == ("0", 1)


async def test_pager_says_what_it_lists() -> None:
    """Its repr names the operation and the days."""
    async with client_of("http://127.0.0.1:9") as lf:
        assert repr(lf.web_visits.search(start_date=DAY, end_date=DAY)) == "<Pager search_web_visits 2026-11-01>"
        assert repr(lf.tags.list()) == "<Pager retrieve_tags>"


@pytest.mark.parametrize("pages", [True, False])
@pytest.mark.parametrize("per_day", [15, 40, 45])
async def test_count_that_stops_at_the_wall_is_no_count(pages: bool, per_day: int) -> None:
    """Where the server counts no further than it hands out, a range is cut, and one full day may hold more.

    The wall is lowered to forty rows.
    """
    server = DailyVisits({DAY + timedelta(number): per_day for number in range(4)}, 40)

    def capped(request: web.Request, body: dict[str, Any]) -> Reply:
        status, content = server(request, body)
        if status == 200:
            counts = content["meta"]["pagination"]
            counts["total_count"] = min(counts["total_count"], 40)
            counts["page_count"] = min(counts["page_count"], 4) if pages else None
        return status, content

    got, script = list[str](), Script(capped)
    async with handler_server(script) as url, client_of(url, max_search_rows=40) as lf:
        search = lf.web_visits.search(start_date=DAY, end_date=DAY + timedelta(3), page_size=10)
        if per_day < 40:
            got = [visit.id for visit in await search.collect()]
            assert len(script.asked) <= (7 if pages else 9), (
                "it is cut at its first page, before the others are asked for in vain"
            )
        else:
            with pytest.raises(
                IncompleteWindowError,
                match=r"2026-11-01 may contain .*: 40 of 40 were returned\. 2026-11-02 .*2026-11-04",
            ):
                async for visit in search:
                    got.append(visit.id)
    days = [DAY + timedelta(number) for number in range(4)]
    assert got == [one for day in days for one in server.ids(day, day)[:40]]


async def test_new_cursors_to_the_same_page_are_a_loop() -> None:
    """A server that ignores the cursor, and makes a new one each time, is noticed after fifty pages."""
    numbers = iter(range(1_000))

    def answer(_: web.Request, __: dict[str, Any]) -> Reply:
        return 200, {"data": rows(1, 2), "meta": {"pagination": {"next_cursor": f"c{next(numbers)}"}}}

    script, got = Script(answer), list[str]()
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(CursorLoopError, match="had no new rows"):
            async for company in lf.companies.search(search_terms=["x"]):
                got.append(company.id)
    assert (got, len(script.asked)) == (["1", "2"], 51)


async def test_page_count_that_lies_high_ends() -> None:
    """Empty pages past the rows that are counted end a list soon; nothing that came is lost."""
    script = Script(numbered(list(range(300)), page_count=3_000))
    async with handler_server(script) as url, client_of(url) as lf:
        assert await visits(lf) == [str(one) for one in range(300)]
        await asyncio.sleep(0)
    assert len(script.asked) <= 3 + 4 + 16


@pytest.mark.parametrize("pages", [3_000, 60, 5, None])
@pytest.mark.parametrize(("stuck_at", "missing"), [(1, 300), (3, 100), (None, 100)])
async def test_missing_rows_are_requested_again_then_an_error(
    pages: int | None, stuck_at: int | None, missing: int
) -> None:
    """If the server counts more rows than it returns, they are requested again, and then the list is incomplete."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        page = min(int(request.query["page[num]"]), stuck_at or 9_999)
        data = rows(*range(100 * (page - 1), 100 * page)) if page <= 3 else []
        return 200, {"data": data, "meta": {"pagination": {"page_count": pages, "total_count": 400}}}

    got, script = list[str](), Script(answer)
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match=rf"^{missing} of 400 rows are missing") as caught:
            async for visit in lf.web_visits.search(start_date=DAY, end_date=DAY):
                got.append(visit.id)
        await asyncio.sleep(0)
    assert got == [str(one) for one in range(100 * (stuck_at or 3))]
    assert len(script.asked) <= 3 * 7
    assert (caught.value.context.operation, caught.value.problems) == ("search_web_visits", ())


async def test_same_page_of_nothing_but_bad_rows_ends_a_list() -> None:
    """A server that ignores the page number and whose rows cannot be read is not asked for ever."""
    script = Script(lambda *_: (200, {"data": [{"id": {}}, {"id": {}}]}))
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="100 rows or parts"):
            await visits(lf, page_size=2)
    assert len(script.asked) <= 54


async def test_inserted_page_is_found_in_a_second_pass() -> None:
    """If a page of rows is inserted before the current one, all rows are returned, the inserted ones at the end."""
    ids = list(range(400))
    requests = 0

    def answer(request: web.Request, body: dict[str, Any]) -> Reply:
        nonlocal requests
        requests += 1
        if requests == 3:
            ids[:0] = range(400, 500)
        return numbered(list(ids))(request, body)

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        got = await visits(lf, page_size=100)
    assert sorted(map(int, got)) == list(range(500))


async def test_pages_of_nothing_but_bad_rows_do_not_end_a_list() -> None:
    """Rows that cannot be read are rows: pages that hold no others are not taken for empty ones."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        page = int(request.query["page[num]"])
        data = [{"id": None}, {"id": None}] if page < 7 else rows(*(["last", "one"] if page == 7 else []))
        return 200, {"data": data, "meta": {"pagination": {"page_count": 7}}}

    got = list[str]()
    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError) as caught:
            async for visit in lf.web_visits.search(start_date=DAY, end_date=DAY, page_size=2):
                got.append(visit.id)
    assert got == ["last", "one"]
    assert len(caught.value.problems) == 12


async def test_rest_of_a_list_of_ids_is_asked_for_in_its_place() -> None:
    """After 100 of 250 ids, the rest is two requests, no id is asked for twice, and none counts as merged."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        return 200, {"data": rows(*request.query["ids"].split(",")), "meta": {}}

    script = Script(answer)
    async with handler_server(script) as url, client_of(url) as lf:
        pager = lf.companies.get_many(map(str, range(250))).prefetch(0)
        async with aclosing(pager.pages()) as pages:
            position = (await anext(pages)).position
        assert position is not None
        assert position.ids == 100
        script.asked.clear()
        rest = pager.resume_from(position)
        assert [company.id for company in await rest.collect()] == [str(one) for one in range(100, 250)]
    assert [len(one["ids"].split(",")) for one in script.asked] == [100, 50]
    assert (rest.missing, dict(rest.merged)) == ((), {})


@pytest.mark.parametrize(("limit", "asked"), [(1, [1]), (5, [5]), (100, [100]), (150, [75, 75]), (250, [84, 84, 84])])
async def test_list_by_id_asks_for_no_more_than_is_wanted(
    sandbox: Sandbox, lf: AsyncLeadfeeder, limit: int, asked: list[int]
) -> None:
    """Each record may charge, so a limit bounds the ids that are asked for, and not only what is handed out."""
    got = await lf.companies.get_many([str(159_000_000 + number) for number in range(60)]).collect(limit)
    assert len(got) == min(limit, 60)
    assert sandbox.ledger.credits_charged == locked_count(sandbox, [company.id for company in got])

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        return 200, {"data": rows(*request.query["ids"].split(",")), "meta": {}}

    script = Script(answer)
    async with handler_server(script) as url, client_of(url) as other:
        assert len(await other.companies.get_many(map(str, range(1_000))).collect(limit)) == limit
    assert [len(one["ids"].split(",")) for one in script.asked] == asked


async def test_first_of_a_list_by_id_goes_on_past_what_is_gone() -> None:
    """The first record that comes back is found, one id at a time."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        return 200, {"data": rows(*(one for one in request.query["ids"].split(",") if one == "3")), "meta": {}}

    script = Script(answer)
    async with handler_server(script) as url, client_of(url) as lf:
        found = await lf.companies.get_many(map(str, range(1_000))).first()
    assert found is not None
    assert (found.id, [one["ids"] for one in script.asked]) == ("3", ["0", "1", "2", "3"])


async def test_two_readings_of_one_list_of_ids_keep_apart() -> None:
    """Each reading finds out for itself what is missing; the pager tells of the one that began last."""

    def answer(request: web.Request, _: dict[str, Any]) -> Reply:
        return 200, {"data": rows(*(one for one in request.query["ids"].split(",") if one != "5")), "meta": {}}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        pager = lf.companies.get_many(map(str, range(10)))
        await asyncio.gather(pager.collect(), pager.collect())
    assert pager.missing == ("5",)


@pytest.mark.parametrize("ids", [[123], [None], ["1", ""], ["a\ud800"]])
async def test_what_is_no_id_is_refused(lf: AsyncLeadfeeder, ids: list[Any]) -> None:
    """A number, nothing and half a character are refused by name before anything is sent, in lists as elsewhere."""
    with pytest.raises(InvalidIdError):
        lf.companies.get_many(ids)
    with pytest.raises(InvalidIdError):
        await lf.companies.ips(ids)
    with pytest.raises(InvalidIdError):
        await lf.companies.assign_tags("1", ids)
    with pytest.raises(InvalidIdError):
        await lf.companies.get(ids[-1])


MISUSES: list[tuple[Callable[[Any], object], str]] = [
    (iter, "{} is not iterable. Use `async for`, or `await pager.collect()`."),
    (lambda pager: pager.__await__(), "{} is not awaitable. Use `async for`, or `await pager.collect()`."),
    (len, "{} has no length. Use `await pager.count()`, or `len(await pager.collect())`."),
    (lambda pager: pager[0], "{} has no item 0. Use `await pager.first()`, or index `await pager.collect()`."),
    (bool, "{} is neither true nor false. To check if it is empty, use `await pager.first()`."),
]


@pytest.mark.parametrize(("misuse", "message"), MISUSES)
def test_synchronous_use_shows_the_correction(misuse: Callable[[Any], object], message: str) -> None:
    """Using a pager like a list or an awaitable raises TypeError with the expression to write."""
    lf = client_of("http://127.0.0.1:9")
    for pager in (lf.tags.list(), lf.companies.get_many(["1"])):
        with pytest.raises(TypeError) as caught:
            misuse(pager)
        assert str(caught.value) == message.format(type(pager).__name__)


async def test_await_of_a_pager_shows_the_correction() -> None:
    """``await pager`` raises the same error."""
    pager: Any = client_of("http://127.0.0.1:9").tags.list()
    with pytest.raises(TypeError, match=r"not awaitable\. Use `async for`"):
        await pager
