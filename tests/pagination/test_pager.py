"""Lists of every pagination style, from servers that behave, miscount, loop and end early."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from contextlib import aclosing
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async import (
    APIStatusError,
    AsyncLeadfeeder,
    BadRequestError,
    ConfigurationError,
    CursorExpiredError,
    CursorLoopError,
    IncompleteListError,
    IncompleteWindowError,
    InvalidIdError,
    NotFoundError,
    OffsetExceededError,
    PermissionDeniedError,
    ServerError,
)
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import handler_server, http, raw_server
from tests.support.tasks import client_tasks, client_tasks_after_cancellation

StatusAndBody = tuple[int, dict[str, Any]]
DAY = date(2026, 11, 1)


def rows(*ids: object) -> list[dict[str, Any]]:
    return [{"id": str(row_id), "type": "row"} for row_id in ids]


class FakeApi:
    """A server with one response function. It records the requests."""

    def __init__(self, respond: Callable[[web.Request, dict[str, Any]], StatusAndBody]) -> None:
        self.respond = respond
        self.requests: list[dict[str, Any]] = []

    async def __call__(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read() or b"{}")
        self.requests.append({**request.query, **body})
        status, content = self.respond(request, body)
        return web.json_response(content, status=status)


def numbered_pages(ids: list[Any], **overrides: Any) -> Callable[[web.Request, dict[str, Any]], StatusAndBody]:
    """Return numbered pages of ``ids``, with the actual counts or the given ones."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        size, page = int(request.query["page[size]"]), int(request.query["page[num]"])
        counts = {"page_num": page, "page_count": -(-len(ids) // size), "total_count": len(ids)} | overrides
        return 200, {"data": rows(*ids[(page - 1) * size : page * size]), "meta": {"pagination": counts}}

    return respond


def cursor_pages(pages: list[tuple[list[Any], str | None]]) -> Callable[[web.Request, dict[str, Any]], StatusAndBody]:
    """Return pages by cursor: each has its ids and the cursor of the next page."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        cursor = request.query.get("page[cursor]")
        index = 0 if cursor is None else 1 + [next_cursor for _, next_cursor in pages].index(cursor)
        ids, next_cursor = pages[index]
        total = len({row_id for page, _ in pages for row_id in page})
        return 200, {"data": rows(*ids), "meta": {"pagination": {"next_cursor": next_cursor, "total_count": total}}}

    return respond


async def visit_ids(lf: AsyncLeadfeeder, days: int = 1, **options: Any) -> list[str]:
    end = DAY + timedelta(days - 1)
    return [visit.id async for visit in lf.web_visits.search(start_date=DAY, end_date=end, **options)]


async def company_ids(lf: AsyncLeadfeeder, **options: Any) -> list[str]:
    return [company.id async for company in lf.companies.search(search_terms=["x"], **options)]


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=5), min_size=1, max_size=12),
    st.lists(st.text(min_size=1, max_size=8), min_size=12, max_size=12, unique=True),
)
def test_cursor_pages_return_each_row_once(pages: list[list[int]], names: list[str]) -> None:
    """Pages of any size with any cursors return all ids in order and each id once."""
    cursors = [*names[: len(pages) - 1], None]

    async def scenario() -> list[str]:
        api = FakeApi(cursor_pages(list(zip(pages, cursors, strict=True))))
        async with handler_server(api) as url, client_of(url) as lf:
            return await company_ids(lf)

    with asyncio.Runner() as runner:
        assert runner.run(scenario()) == list(dict.fromkeys(str(row_id) for page in pages for row_id in page))


async def test_last_cursor_page_prefetches_nothing() -> None:
    """While the last page is read, no other page is fetched."""
    api = FakeApi(cursor_pages([([1], "a"), ([2], None)]))
    async with handler_server(api) as url, client_of(url) as lf:
        async for _ in lf.companies.search(search_terms=["x"]):
            await lf.users.me()
    assert [request.get("page[cursor]") for request in api.requests if "page[size]" in request] == [None, "a"]


@pytest.mark.parametrize("end", [None, ""])
async def test_null_and_empty_cursor_end_a_list(end: str | None) -> None:
    """A cursor that is null or empty ends a list, and ``total_count`` does not."""
    api = FakeApi(cursor_pages([([1], "a"), ([2], end)]))
    async with handler_server(api) as url, client_of(url) as lf:
        assert await company_ids(lf) == ["1", "2"]


@pytest.mark.parametrize("length", [1, 2, 3, 7])
async def test_cursor_loop(length: int) -> None:
    """A loop of any length raises CursorLoopError after its rows and at most one more request."""
    names = [f"c{number}" for number in range(length)]

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        cursor = request.query.get("page[cursor]", names[-1])
        next_cursor = names[(names.index(cursor) + 1) % length]
        return 200, {"data": rows(cursor), "meta": {"pagination": {"next_cursor": next_cursor}}}

    api, got = FakeApi(respond), list[str]()
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(CursorLoopError, match="same cursor twice"):
            async for company in lf.companies.search(search_terms=["x"]):
                got.append(company.id)
    assert sorted(got) == sorted(names)
    assert len(api.requests) == length + 1


async def test_empty_pages_with_new_cursors() -> None:
    """Fifty empty pages in a row, each with a new cursor, are a loop."""
    numbers = iter(range(1_000))

    def respond(_: web.Request, __: dict[str, Any]) -> StatusAndBody:
        return 200, {"data": [], "meta": {"pagination": {"next_cursor": f"c{next(numbers)}"}}}

    api = FakeApi(respond)
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(CursorLoopError, match="50 consecutive pages had no new rows"):
            await company_ids(lf)
    assert len(api.requests) == 50


def expiring(times: int, *, status: int = 400) -> FakeApi:
    """Return two pages. The cursor between them is rejected this many times."""
    remaining = times

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        nonlocal remaining
        if "page[cursor]" not in request.query:
            return 200, {"data": rows(1, 2), "meta": {"pagination": {"next_cursor": "c"}}}
        remaining -= 1
        if remaining >= 0:
            return status, {"errors": [{"code": "invalid_cursor"}]}
        return 200, {"data": rows(2, 3)}

    return FakeApi(respond)


@pytest.mark.parametrize("status", [400, 404, 409, 410, 416, 422])
async def test_expired_cursor_of_free_list_restarts_it(status: int) -> None:
    """A free list is read again from its start if its cursor has expired, and each row is returned once."""
    api = expiring(1, status=status)
    async with handler_server(api) as url, client_of(url) as lf:
        assert await company_ids(lf) == ["1", "2", "3"]
    assert len(api.requests) == 4


async def test_expiring_cursors_restart_while_rows_are_new() -> None:
    """A list restarts for each expired cursor as long as the previous attempt returned new rows."""
    reach = 1

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        nonlocal reach
        page = int(request.query.get("page[cursor]", "0"))
        if page >= reach:
            reach += 1
            return 400, {"errors": [{"code": "invalid_cursor"}]}
        meta = {"pagination": {"next_cursor": str(page + 1)}} if page < 4 else {}
        return 200, {"data": rows(page), "meta": meta}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        assert await company_ids(lf) == ["0", "1", "2", "3", "4"]
    assert reach == 5


@pytest.mark.parametrize("knows_ids", [True, False])
async def test_expired_cursor_of_resumed_list(knows_ids: bool) -> None:
    """A resumed list that is read again from its start is compared with the server's count."""
    is_expired = False

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = int(request.query.get("page[cursor]", "0"))
        if page == 2 and is_expired:
            return 410, {"errors": [{"code": "cursor_expired"}]}
        cursor = str(page + 1) if page < (1 if is_expired else 3) else None
        return 200, {"data": rows(page), "meta": {"pagination": {"next_cursor": cursor, "total_count": 4}}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        pager = lf.companies.search(search_terms=["a"])
        first = [page async for page in pager.prefetch(0).pages()][1]
        is_expired = True
        ids = ["0", "1"] if knows_ids else []
        with pytest.raises(IncompleteListError, match="2 of 4 rows are missing"):
            await pager.resume_from(first.position, ids).collect()


async def test_unreadable_row_after_an_expired_cursor() -> None:
    """A row that cannot be decoded is reported, although only the pass after an expired cursor reached it."""
    rejections = 0

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        nonlocal rejections
        page = int(request.query.get("page[cursor]", "0"))
        if page == 1 and not rejections:
            rejections += 1
            return 410, {"errors": [{"code": "cursor_expired"}]}
        data = [*rows(page), {"id": "bad", "attributes": 5}][: page + 1]
        return 200, {"data": data, "meta": {"pagination": {"next_cursor": str(page + 1) if page < 1 else None}}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match=r"^1 row or part of this list could not be read"):
            await company_ids(lf)


async def test_later_passes_report_no_error_again(tmp_path: Path) -> None:
    """A row that cannot be decoded is reported once, and a gap that a resumed export has filled is not reported."""
    returned = 2

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        data = [*rows(*range(returned)), {"id": "bad", "attributes": 5}]
        return 200, {"data": data, "meta": {"pagination": {"next_cursor": None, "total_count": 4}}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        pager = lf.companies.search(search_terms=["a"])
        with pytest.raises(IncompleteListError, match=r"^2 rows or parts of this list could not be read"):
            await pager.collect()
        with pytest.raises(IncompleteListError, match="1 of 4 rows are missing"):
            await pager.to_file(tmp_path / "out.ndjson")
        returned = 3
        await pager.to_file(tmp_path / "out.ndjson", resume=True)
    assert len((tmp_path / "out.ndjson").read_bytes().splitlines()) == 4


async def test_expired_cursor_without_progress() -> None:
    """A cursor that expires again without new rows raises CursorExpiredError."""
    async with handler_server(expiring(9)) as url, client_of(url) as lf:
        with pytest.raises(CursorExpiredError, match="rejected the cursor of the next page"):
            await company_ids(lf)


async def test_expired_cursor_of_billed_list() -> None:
    """A list that charges is not restarted."""
    api = expiring(1)
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(CursorExpiredError):
            await lf.companies.search_signals(company_ids=["1"]).collect()
    assert len(api.requests) == 2


async def test_rejected_first_page() -> None:
    """A rejected first page raises BadRequestError and not CursorExpiredError."""
    api = FakeApi(lambda *_: (400, {"errors": [{"code": "invalid_request"}]}))
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(BadRequestError):
            await company_ids(lf)
    assert len(api.requests) == 1


@given(st.integers(0, 700), st.sampled_from([1, 7, 20, 100]), st.integers(0, 400))
def test_numbered_pages(count: int, size: int, limit: int) -> None:
    """Any number of rows is complete and in order, and a limit returns exactly the first rows."""

    async def scenario() -> None:
        api = FakeApi(numbered_pages(list(range(count))))
        async with handler_server(api) as url, client_of(url) as lf:
            all_rows = [str(number) for number in range(count)]
            assert await visit_ids(lf, page_size=size) == all_rows
            assert len(api.requests) == max(1, -(-count // size))
            api.requests.clear()
            assert await visit_ids(lf, page_size=size, limit=limit) == all_rows[:limit]
            assert len(api.requests) <= max(1, -(-limit // size))

    with asyncio.Runner() as runner:
        runner.run(scenario())


@pytest.mark.parametrize(
    "overrides",
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
async def test_wrong_counts_lose_no_rows(overrides: dict[str, Any]) -> None:
    """Missing, low and invalid counts and high page counts lose no rows, and the list ends."""
    api = FakeApi(numbered_pages(list(range(430)), **overrides))
    async with handler_server(api) as url, client_of(url) as lf:
        assert await visit_ids(lf) == [str(number) for number in range(430)]


async def test_page_count_outside_pagination() -> None:
    """``meta.page_count`` is used if ``meta.pagination.page_count`` is missing."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = int(request.query["page[num]"])
        return 200, {"data": rows(page) if page <= 3 else [], "meta": {"page_count": 3}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        assert await visit_ids(lf, page_size=1) == ["1", "2", "3"]


async def test_row_moved_by_insertion() -> None:
    """A row that an insertion moves to the next page is returned once. A second pass finds the inserted row."""
    ids: list[Any] = [1, 2, 3, 4, 5]

    def respond(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        response = numbered_pages(ids)(request, body)
        if 0 not in ids:
            ids.insert(0, 0)
        return response

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        assert await visit_ids(lf, page_size=3) == ["1", "2", "3", "4", "5", "0"]


async def test_prefetch_is_limited_and_ordered() -> None:
    """At most sixteen pages are prefetched, and they are returned in order for any latency."""
    active = most = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal active, most
        active, page = active + 1, int(request.query["page[num]"])
        most = max(most, active)
        await asyncio.sleep(0.02 if page % 2 else 0.001)
        active -= 1
        counts = {"page_count": 60, "total_count": 60}
        return web.json_response({"data": rows(page), "meta": {"pagination": counts}})

    async with handler_server(handle) as url, client_of(url, max_concurrency=64) as lf:
        assert await visit_ids(lf, page_size=1) == [str(page) for page in range(1, 61)]
    assert 8 <= most <= 16


@pytest.mark.parametrize("exit_by", ["break", "aclose", "cancel", "raise"])
async def test_early_exit_cancels_prefetch(sandbox: Sandbox, exit_by: str) -> None:
    """If a loop ends early, the pages in flight are canceled and the client stays usable."""
    async with client_for(sandbox) as lf:
        sandbox.latency = 0.05
        await lf.users.me()
        before = client_tasks()
        pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=5)

        async def read_pages() -> None:
            async with aclosing(pager.pages()) as pages:
                async for page in pages:
                    if exit_by == "raise":
                        raise ZeroDivisionError
                    if exit_by != "cancel" and page.items:
                        break

        if exit_by == "break":
            async for _ in pager:
                break
        elif exit_by == "cancel":
            task = asyncio.create_task(read_pages())
            await asyncio.sleep(0.08)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif exit_by == "raise":
            with pytest.raises(ZeroDivisionError):
                await read_pages()
        else:
            await read_pages()
        assert await client_tasks_after_cancellation() == before
        assert lf.stats.in_flight == 0
        assert await pager.count() == 500


async def test_prefetched_pages_yield_to_other_tasks(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Other tasks run between two prefetched pages."""
    turns = list[int]()

    async def other() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=10, limit=150)
    alone = len(client_tasks())
    pages = pager.pages()
    await anext(pages)
    while len(client_tasks()) > alone:  # until all prefetched pages have arrived
        await asyncio.sleep(0.01)
    task = asyncio.create_task(other())
    before = [len(turns) async for _ in pages]
    task.cancel()
    assert len(before) == 14
    assert before == sorted(set(before))


async def test_error_of_a_later_page() -> None:
    """The rows before a failing page are returned, then its error is raised."""

    def respond(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        if request.query["page[num]"] == "4":
            return 500, {"errors": [{"code": "internal_server_error"}]}
        return numbered_pages(list(range(700)))(request, body)

    got = list[str]()
    async with handler_server(FakeApi(respond)) as url, client_of(url, retries=0) as lf:
        with pytest.raises(ServerError):
            async for visit in lf.web_visits.search(start_date=DAY, end_date=DAY):
                got.append(visit.id)
    assert got == [str(number) for number in range(300)]


async def test_date_range_over_row_limit_is_complete() -> None:
    """A range of more than 10,000 visits is complete and in order, with few additional requests."""
    async with Sandbox(companies=50, visits=23_456, rate_limit=False) as sandbox:
        async with client_for(sandbox) as lf:
            got = await lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date).collect()
        assert [visit.id for visit in got] == list(sandbox.world.visit_ids())
        assert len(sandbox.ledger.requests) <= 235 + 8
        assert all(entry.status == 200 for entry in sandbox.ledger.requests)


class DailyVisits:
    """A server of ``per_day`` visits a day that returns a 416 after ``row_limit`` rows, and may omit its counts."""

    def __init__(self, per_day: dict[date, int], row_limit: int, *, counts: bool = True, status: int = 416) -> None:
        self.per_day, self.row_limit, self.counts, self.status = per_day, row_limit, counts, status

    def ids(self, start: date, end: date) -> list[str]:
        days = sorted(day for day in self.per_day if start <= day <= end)
        return [f"{day}/{number}" for day in days for number in range(self.per_day[day])]

    def __call__(self, request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        ids = self.ids(date.fromisoformat(body["start_date"]), date.fromisoformat(body["end_date"]))
        if int(request.query["page[num]"]) * int(request.query["page[size]"]) > self.row_limit:
            code = "offset_exceeded" if self.status == 416 else "bad_page"
            return self.status, {"errors": [{"code": code, "title": "too deep"}]}
        overrides: dict[str, Any] = {} if self.counts else {"total_count": None, "page_count": None}
        return numbered_pages(ids, **overrides)(request, body)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=9), st.booleans())
def test_date_ranges_are_split_until_they_fit(per_day: list[int], counts: bool) -> None:
    """For any distribution of rows over days, each row is returned once. The row limit is 40."""
    server = DailyVisits({DAY + timedelta(number): count for number, count in enumerate(per_day)}, 40, counts=counts)

    async def scenario() -> list[str]:
        async with handler_server(FakeApi(server)) as url, client_of(url) as lf:
            return await visit_ids(lf, len(per_day), page_size=10)

    with asyncio.Runner() as runner:
        if counts or all(count < 40 for count in per_day):
            assert runner.run(scenario()) == server.ids(DAY, DAY + timedelta(len(per_day)))


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("status", [400, 404, 416])
async def test_day_over_row_limit_raises(counts: bool, status: int) -> None:
    """A single day with too many rows raises an error after all rows that can be read, whatever the server responds."""
    server = DailyVisits({DAY: 30, DAY + timedelta(1): 60, DAY + timedelta(2): 30}, 40, counts=counts, status=status)
    got = list[str]()
    async with handler_server(FakeApi(server)) as url, client_of(url, max_search_rows=40) as lf:
        with pytest.raises(IncompleteWindowError, match="2026-11-02") as caught:
            async for visit in lf.web_visits.search(start_date=DAY, end_date=DAY + timedelta(2), page_size=10):
                got.append(visit.id)
    full, last = DAY + timedelta(1), DAY + timedelta(2)
    assert got == [*server.ids(DAY, DAY), *server.ids(full, full)[:40], *server.ids(last, last)]
    assert "search_web_visits" in str(caught.value)


async def test_truncation_at_row_limit() -> None:
    """A server that stops at 10,000 rows but counts more raises IncompleteWindowError."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = int(request.query["page[num]"])
        ids = [f"{page}-{number}" for number in range(100)] if page <= 100 else []
        counts = {"page_count": 100, "total_count": 12_000}
        return 200, {"data": rows(*ids), "meta": {"pagination": counts}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError, match="10,000 of 12,000"):
            await visit_ids(lf)


@pytest.mark.parametrize("end", ["404", "400", "416", "204", "empty"])
async def test_row_limit_of_server_that_counts_pages(end: str) -> None:
    """A server that counts the rows of the page, and ends at its limit in any way, returns all days."""
    per_day = {DAY + timedelta(number): 30 for number in range(3)}

    def respond(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        days = [f"{day}" for day in per_day if body["start_date"] <= f"{day}" <= body["end_date"]]
        size, page = int(request.query["page[size]"]), int(request.query["page[num]"])
        if page * size > 40 and end != "empty":
            return int(end), {} if end == "204" else {"errors": [{"code": "bad_page"}]}
        ids = [f"{day}/{number}" for day in days for number in range(30)][:40][(page - 1) * size : page * size]
        return 200, {"data": rows(*ids), "meta": {"pagination": {"total_count": len(ids)}}}

    async with handler_server(FakeApi(respond)) as url, client_of(url, max_search_rows=40) as lf:
        assert len(set(await visit_ids(lf, 3, page_size=10))) == 90


@pytest.mark.parametrize("end", ["400", "416", "empty"])
@pytest.mark.parametrize("counts_page", [False, True])
async def test_filtered_pages_at_the_row_limit(end: str, counts_page: bool) -> None:
    """All days are returned if the server leaves out rows of each page, and ends at its limit in any way."""

    def respond(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        days = [f"{DAY + timedelta(number)}" for number in range(4)]
        every = [
            f"{day}/{number}" for day in days if body["start_date"] <= day <= body["end_date"] for number in range(60)
        ]
        size, page = int(request.query["page[size]"]), int(request.query["page[num]"])
        if page * size > 100 and end != "empty":
            return int(end), {"errors": [{"code": "bad_page"}]}
        ids = [visit for visit in every[:100][(page - 1) * size : page * size] if int(visit[11:]) % 7 != 6]
        counts = {"total_count": len(ids)} if counts_page else {}
        link = {"next": f"/v1/web-visits?page%5Bnum%5D={page + 1}"} if page * size < len(every) else {}
        return 200, {"data": rows(*ids), "meta": {"pagination": counts}, "links": link}

    async with handler_server(FakeApi(respond)) as url, client_of(url, max_search_rows=100) as lf:
        assert len(set(await visit_ids(lf, 4, page_size=10))) == 4 * 52


@pytest.mark.parametrize("per_day", [(65,), (60,), (95, 4), (30, 30, 30)])
@pytest.mark.parametrize("size", [6, 8])
@pytest.mark.parametrize("end", [200, 404])
async def test_small_pages_of_a_server_below_its_limit(end: int, size: int, per_day: tuple[int, ...]) -> None:
    """Days below the row limit are complete if the server has no count and returns smaller pages than requested."""

    def respond(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        days = [f"{DAY + timedelta(number)}" for number in range(len(per_day))]
        every = [f"{day}/{number}" for day, count in zip(days, per_day, strict=True) for number in range(count)]
        ids = [visit for visit in every if body["start_date"] <= visit[:10] <= body["end_date"]]
        start = (int(request.query["page[num]"]) - 1) * size
        status = 200 if start < len(ids) or not start else end
        return status, {"data": rows(*ids[start : start + size]), "meta": {}}

    async with handler_server(FakeApi(respond)) as url, client_of(url, max_search_rows=100) as lf:
        assert len(await visit_ids(lf, len(per_day), page_size=10)) == sum(per_day)
        assert lf.stats.requests <= -(-sum(per_day) // size) + 1


@pytest.mark.parametrize("status", [400, 416])
@pytest.mark.parametrize("size", [15, 20, 30, 100])
async def test_rejected_page_between_full_pages(size: int, status: int) -> None:
    """A rejected page is not taken for the end of a list without a count, whatever the page size of the server is."""

    async def handle(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        if page == 4:
            return web.json_response({"errors": [{"code": "bad_page"}]}, status=status)
        tags = rows(*(f"{page}/{number}" for number in range(size)))
        return web.json_response({"data": tags, "links": {"next": f"/v1/tags?page%5Bnum%5D={page + 1}"}})

    async with handler_server(handle) as url, client_of(url) as lf:
        with pytest.raises(APIStatusError):
            await lf.tags.list().collect()


async def test_rejected_page_of_server_that_counts_up_to_the_limit() -> None:
    """A page that is rejected once does not hide that a day has more rows than the server counts and returns."""
    rejections = 0

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        nonlocal rejections
        page = int(request.query["page[num]"])
        if page == 2 and not rejections:
            rejections += 1
            return 404, {"errors": [{"code": "not_found"}]}
        ids = [f"{number}" for number in range(40)][(page - 1) * 10 : page * 10]  # of 100
        return 200, {"data": rows(*ids), "meta": {"pagination": {"total_count": 40}}}

    async with handler_server(FakeApi(respond)) as url, client_of(url, max_search_rows=40) as lf:
        with pytest.raises(IncompleteWindowError):
            await lf.web_visits.search(start_date=DAY, end_date=DAY, page_size=10, split_days=False).collect()


@pytest.mark.parametrize("counted", [200, 201])
async def test_rejected_page_after_the_last_row(counted: int) -> None:
    """A 404 for a page that only a wrong count promises is the end of the list, whose gap is reported."""

    def respond(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        if int(request.query["page[num]"]) > 2:
            return 404, {"errors": [{"code": "not_found"}]}
        return numbered_pages([f"{number}" for number in range(200)], total_count=counted)(request, body)

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        if counted == 200:
            assert len(await visit_ids(lf)) == 200
        else:
            with pytest.raises(IncompleteListError, match="1 of 201 rows are missing"):
                await visit_ids(lf)


@pytest.mark.parametrize("counts", [{"total_count": None}, {"total_count": 100}, {}])
async def test_rejected_page_before_the_last_row(counts: dict[str, Any]) -> None:
    """A 404 for a page in the middle is an error, or the page is requested again, but the list does not end there."""
    rejections = 0

    def respond(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        nonlocal rejections
        if request.query["page[num]"] == "3" and not rejections:
            rejections += 1
            return 404, {"errors": [{"code": "not_found"}]}
        return numbered_pages([f"{number}" for number in range(500)], **counts)(request, body)

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        if counts:
            with pytest.raises(NotFoundError):
                await visit_ids(lf)
        else:
            assert len(await visit_ids(lf)) == 500


async def test_rows_without_an_id_and_an_expired_cursor(tmp_path: Path) -> None:
    """A list with rows without an id is not read again from its start, because these rows would repeat."""
    is_expired = True

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = int(request.query.get("page[cursor]", "0"))
        if page == 2 and is_expired:
            return 410, {"errors": [{"code": "cursor_expired"}]}
        cursor = str(page + 1) if page < 3 else None
        data = [{"id": str(page), "type": "list_item"}, {"id": "", "type": "list_item", "attributes": {"n": page}}]
        return 200, {"data": data, "meta": {"pagination": {"next_cursor": cursor}}}

    out = tmp_path / "rows.ndjson"
    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        for resume in (False, True):
            with pytest.raises(CursorExpiredError, match="Some rows have no id"):
                await lf.lists.items("1").to_file(out, resume=resume)
        is_expired = False
        await lf.lists.items("1").to_file(out, resume=True)
    assert len(out.read_bytes().splitlines()) == 8


async def test_row_limit_of_cursor_list() -> None:
    """A list without dates raises the 416 of the server."""

    def respond(_: web.Request, __: dict[str, Any]) -> StatusAndBody:
        return 416, {"errors": [{"code": "offset_exceeded"}]}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        with pytest.raises(OffsetExceededError):
            await company_ids(lf)


async def test_rows_shared_by_split_ranges() -> None:
    """A visitor company in several parts of a split range is returned once."""
    async with Sandbox(companies=22_000, visits=60_000, rate_limit=False) as sandbox:
        async with client_for(sandbox) as lf:
            date_range = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
            got = [row.id for row in await lf.web_visits.companies(**date_range).collect()]
        expected = {f"{company}-loc-{location}" for company, location in sandbox.world.visitor_companies(**date_range)}
        assert len(expected) > 10_000
        assert sorted(got) == sorted(expected)


def locked_count(sandbox: Sandbox, company_ids: list[str]) -> int:
    """Return the number of companies that have not visited. Each of them charges one credit."""
    return sum(not sandbox.world.has_visited(company_id) for company_id in company_ids)


async def test_ids_are_requested_in_batches_of_100(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """250 ids take three requests and 190 missing ids two more, and repeated ids are requested once."""
    ids = [str(159_000_000 + number) for number in range(59, -1, -1)]
    unknown = [f"x{number}" for number in range(190)]
    got = await lf.companies.get_many([*ids, *ids, *unknown]).collect()
    assert [company.id for company in got] == ids
    assert sandbox.ledger.count("retrieve_companies") == 5
    assert lf.stats.credits_charged == sandbox.ledger.credits_charged == locked_count(sandbox, ids)
    assert await lf.companies.get_many([]).collect() == []


async def test_ids_of_an_empty_response_are_requested_once() -> None:
    """If a response has no record and no charge, no id was merged and nothing was paid, so it is not repeated."""
    empty = http(b'{"data":[],"meta":{"credits":{"charged":0}}}')
    async with raw_server(empty) as server, client_of(server.url) as lf:
        pager = lf.companies.get_many(["1", "2"])
        assert await pager.collect() == []
        assert pager.missing == ("1", "2")
    assert len(server.requests) == 1


async def test_ways_to_read_a_list(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """``first``, ``count``, ``collect``, ``batches``, ``pages`` and ``raw_pages`` return the same rows."""
    pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date)
    all_rows = await pager.collect()
    assert len(all_rows) == await pager.count() == 500
    assert await pager.first() == all_rows[0]
    assert await pager.collect(limit=150) == all_rows[:150]
    batches = [batch async for batch in pager.batches(120)]
    assert [len(batch) for batch in batches] == [120, 120, 120, 120, 20]
    assert [visit for batch in batches for visit in batch] == all_rows
    raw = [json.loads(item)["id"] async for page in pager.raw_pages() for item in page.items]
    assert raw == [visit.id for visit in all_rows]
    pages = [page async for page in pager.pages()]
    assert [page.total for page in pages] == [500] * 5
    expected = [(page.meta.pagination, page.total, page.window, page.position) for page in pages]
    raw_pages = [page async for page in pager.raw_pages()]
    assert [(page.meta.pagination, page.total, page.window, page.position) for page in raw_pages] == expected


async def test_count_takes_one_request(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """``count`` takes one request for each style of list. It is None if the server returns no total."""
    sandbox.records.tags.add({"name": "Hot", "color": 1})
    for pager, expected in (
        (lf.tags.list(), 1),
        (lf.companies.search(search_terms=["e"]), len(await lf.companies.search(search_terms=["e"]).collect())),
        (lf.icps.list(), None),
    ):
        before = len(sandbox.ledger.requests)
        assert await pager.count() == expected
        assert len(sandbox.ledger.requests) == before + 1


def test_repr_names_the_list() -> None:
    """The representation has the operation, and the dates or the number of ids."""
    lf = AsyncLeadfeeder("k")
    assert repr(lf.icps.list()) == "<Pager list_icps>"
    assert repr(lf.companies.get_many(["1", "2"])).endswith("retrieve_companies 2 ids>")
    assert "2026-11-01" in repr(lf.web_visits.search(start_date=DAY, end_date=DAY))


async def test_first_takes_one_request(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """``first`` takes one request and returns None for an empty list."""
    await lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date).first()
    assert len(sandbox.ledger.requests) == 1
    assert await lf.companies.search(search_terms=["no such company"]).first() is None


async def test_raw_items_keep_unknown_fields() -> None:
    """Raw items keep unknown fields and lose only the white space between tokens."""
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
async def test_size_and_limit_are_checked_before_sending(lf: AsyncLeadfeeder, option: str, value: int) -> None:
    """An invalid page size or limit is rejected, and the error names the argument."""
    with pytest.raises(ConfigurationError, match=option):
        lf.web_visits.search(start_date=DAY, end_date=DAY, **{option: value})
    assert lf.stats.requests == 0


async def test_server_ignores_page_number() -> None:
    """If a server returns the same full page for each page number, the list ends."""

    def respond(_: web.Request, __: dict[str, Any]) -> StatusAndBody:
        return 200, {"data": rows(*range(100)), "meta": {}}

    def counting(_: web.Request, __: dict[str, Any]) -> StatusAndBody:
        return 200, {"data": rows(*range(100)), "meta": {"page_count": 1}}

    for api in (FakeApi(respond), FakeApi(counting)):
        async with handler_server(api) as url, client_of(url) as lf:
            assert len(await visit_ids(lf)) == 100
        assert len(api.requests) == 4


async def test_repeated_full_page_after_insertion() -> None:
    """A full page that an insertion repeats does not end a list."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = int(request.query["page[num]"])
        held = [*(range(1_000, 1_100) if page > 2 else ()), *range(250)]
        return 200, {"data": rows(*held[(page - 1) * 100 : page * 100]), "meta": {}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        assert await visit_ids(lf) == [str(number) for number in range(250)]


async def test_smaller_pages_than_requested() -> None:
    """A short page does not end a list if the total is higher."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = int(request.query["page[num]"])
        counts = {"pagination": {"total_count": 430}}
        return 200, {"data": rows(*range(430)[(page - 1) * 50 : page * 50]), "meta": counts}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        assert len(await visit_ids(lf)) == 430


@pytest.mark.parametrize(("size", "total"), [(30, 12_000), (100, None), (100, 10_001)])
async def test_truncation_without_416(size: int, total: int | None) -> None:
    """Truncation between two pages, without a total, or during growth raises IncompleteWindowError."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = int(request.query["page[num]"])
        ids = [f"{page}-{number}" for number in range(size)] if page * size <= 10_000 else []
        total_sent = 9_900 if total == 10_001 and page < 50 else total
        return 200, {"data": rows(*ids), "meta": {"pagination": {"total_count": total_sent}}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError):
            await visit_ids(lf, page_size=size)


async def test_416_after_list_has_shrunk() -> None:
    """A 416 past the end of a list that lost a row is not the row limit."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = int(request.query["page[num]"])
        if page == 5:
            return 416, {"errors": [{"code": "offset_exceeded"}]}
        counts = {"page_count": 5, "total_count": 401} if page < 4 else {"page_count": 4, "total_count": 400}
        return 200, {"data": rows(*range(400)[(page - 1) * 100 : page * 100]), "meta": {"pagination": counts}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        assert len(await visit_ids(lf)) == 400


@pytest.mark.parametrize("counts", [{"page_count": 3}, {"total_count": 1_000}])
async def test_counts_do_not_change_id_batches(counts: dict[str, Any]) -> None:
    """The counts of the server do not change the batches of a list by id."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        return 200, {"data": rows(*request.query["ids"].split(",")), "meta": {"pagination": counts}}

    api = FakeApi(respond)
    async with handler_server(api) as url, client_of(url) as lf:
        assert len(await lf.companies.get_many(map(str, range(200))).collect()) == 200
    assert [len(request["ids"].split(",")) for request in api.requests] == [100, 100]


@pytest.mark.parametrize("item", [b'{"id":5}', b'{"attributes":{}}', b'{"id":null,"attributes":{}}', b'{"id":{"a":1}}'])
async def test_raw_row_without_id(item: bytes) -> None:
    """Rows without an id are never duplicates, and rows with equal ids are."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=b'{"data":[' + item + b"," + item + b"]}", content_type="application/json")

    async with handler_server(handle) as url, client_of(url) as lf:
        pages = [page async for page in lf.tags.list().raw_pages()]
    has_id = item == b'{"id":5}'
    assert [page.items for page in pages] == [(item,) if has_id else (item, item)]


async def test_position_and_type_of_raw_id() -> None:
    """An id after other keys, or a number, identifies a raw row."""
    first, second, again = b'{"type":"tag","id":"1"}', b'{"type":"tag","id":2}', b'{"id":"1","name":"x"}'

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=b'{"data":[' + b",".join((first, second, again)) + b"]}")

    async with handler_server(handle) as url, client_of(url) as lf:
        pages = [page async for page in lf.tags.list().raw_pages()]
    assert [page.items for page in pages] == [(first, second)]


async def test_raw_row_that_is_not_utf8() -> None:
    """A row that is not valid UTF-8 is an error expected the valid rows."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=b'{"data":[{"id":"1"},{"id":"\xff"}]}', content_type="application/json")

    async with handler_server(handle) as url, client_of(url) as lf:
        pages = [page async for page in lf.tags.list().raw_pages()]
    assert [(page.items, len(page.decode_errors)) for page in pages] == [((b'{"id":"1"}',), 1)]
    assert (pages[0].decode_errors[0].sent, pages[0].decode_errors[0].phase) == ("yes", "decode")


ONE_INVALID = [{"id": str(number), "type": "tag", "attributes": {"name": "x"}} for number in range(99)]
ONE_INVALID.insert(40, {"id": "bad", "type": "tag", "attributes": {"name": {"not": "a string"}}})


@pytest.mark.parametrize("method", ["items", "batches", "collect"])
async def test_undecodable_row_is_skipped(method: str) -> None:
    """The other rows of the page and the next page are returned, and then the error is raised."""

    async def handle(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        rows = ONE_INVALID if page == 1 else [{"id": "last", "type": "tag"}]
        return web.json_response({"data": rows, "meta": {"pagination": {"page_count": 2, "total_count": 101}}})

    got = list[str]()
    async with handler_server(handle) as url, client_of(url) as lf:
        pager = lf.tags.list()
        with pytest.raises(IncompleteListError, match="Row 40") as caught:
            match method:
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
    assert got == ([] if method == "collect" else [*map(str, range(99)), "last"])
    assert [(len(page.items), len(page.decode_errors)) for page in pages] == [(99, 1), (1, 0)]


async def test_included_records_beside_undecodable_row() -> None:
    """The other rows keep their related records."""
    valid = {"id": "1", "type": "web_visit", "relationships": {"company": {"data": {"id": "9", "type": "company"}}}}
    body = {"data": [valid, 7], "included": [{"id": "9", "type": "company", "attributes": {"name": "N"}}]}

    async def handle(_: web.Request) -> web.Response:
        return web.json_response(body)

    async with handler_server(handle) as url, client_of(url) as lf:
        (page,) = [page async for page in lf.web_visits.search(start_date=DAY, end_date=DAY).pages()]
    assert (len(page.items), len(page.decode_errors)) == (1, 1)
    assert page.items[0].company is not None
    assert page.items[0].company.name == "N"


@pytest.mark.parametrize("error", [{}, {"code": 5}, "text", None])
async def test_errors_beside_data(error: object) -> None:
    """The rows of a response with data and errors are returned, and the errors are raised at the end."""
    errors = [{"code": "insufficient_scope", "title": "No contacts"}, error]

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


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_many_errors_beside_data_are_counted(order: Literal["oldest", "newest"]) -> None:
    """All errors of a response are counted, although only the first ones are kept."""

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "1"}], "errors": [{"title": "No contacts"}] * 400})

    async with handler_server(handle) as url, client_of(url) as lf:
        visits = lf.web_visits.search(start_date=DAY, end_date=DAY, order=order)
        with pytest.raises(IncompleteListError, match="400 rows or parts of this list") as caught:
            await visits.collect()
    assert len(caught.value.problems) == 100


async def test_early_exit_of_cursor_list_cancels_prefetch() -> None:
    """The prefetched page is canceled if a loop over a cursor list ends early."""

    async def handle(request: web.Request) -> web.Response:
        if "page[cursor]" in request.query:
            await asyncio.sleep(30)
        return web.json_response({"data": rows(1), "meta": {"pagination": {"next_cursor": "c"}}})

    async with handler_server(handle) as url, client_of(url) as lf:
        await lf.request("GET", "/v1/x")
        before = client_tasks()
        async for _ in lf.companies.search(search_terms=["x"]):
            await asyncio.sleep(0.05)
            break
        assert await client_tasks_after_cancellation() == before


async def test_billed_list_prefetches_nothing() -> None:
    """A list that charges per page fetches a page only when its rows are read."""
    pages: list[tuple[list[Any], str | None]] = [([number], f"c{number}") for number in range(5)]
    api = FakeApi(cursor_pages([*pages, ([9], None)]))
    async with handler_server(api) as url, client_of(url) as lf:
        async for _ in lf.companies.search_signals(company_ids=["1"]):
            await asyncio.sleep(0.05)
            break
        assert len(api.requests) == 1
        assert len(await lf.companies.search_signals(company_ids=["1"]).collect()) == 6


async def test_scattered_empty_pages() -> None:
    """Only consecutive empty pages count as a loop."""
    pages: list[tuple[list[Any], str | None]] = [
        ([number] if number % 2 else [], f"c{number}") for number in range(120)
    ]
    async with handler_server(FakeApi(cursor_pages([*pages, ([], None)]))) as url, client_of(url) as lf:
        assert len(await company_ids(lf)) == 60


async def test_merged_and_missing_ids() -> None:
    """Records are in the order of their ids, merged ids are mapped to their record, and missing ids are listed."""
    moved = {"old-a": "2", "old-b": "7", "old-c": "2"}

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        requested = {moved.get(row_id, row_id) for row_id in request.query["ids"].split(",")}
        return 200, {
            "data": rows(*sorted((row_id for row_id in requested if row_id.isdecimal()), reverse=True)),
            "meta": {},
        }

    api = FakeApi(respond)
    async with handler_server(api) as url, client_of(url) as lf:
        ids = ["3", "gone", "old-a", "1", "old-b", "old-c"]
        ambiguous = lf.companies.get_many(ids)
        assert [company.id for company in await ambiguous.collect()] == ["3", "1", "7", "2"]
        assert (ambiguous.missing, dict(ambiguous.merged)) == ((), {})
        assert (ambiguous.unresolved, len(api.requests)) == (("gone", "old-a", "old-b", "old-c"), 1)
        pager = lf.companies.get_many(ids, resolve_merged=True)
        assert [company.id for company in await pager.collect()] == ["3", "2", "1", "7"]
        assert (pager.missing, dict(pager.merged)) == (("gone",), moved)
        single = lf.companies.get_many(["1", "old-a"])
        api.requests.clear()
        assert [company.id for company in await single.collect()] == ["1", "2"]
        assert (dict(single.merged), len(api.requests)) == ({"old-a": "2"}, 1)
        assert [company.id for company in await pager.collect(limit=2)] == ["3", "2"]
        api.requests.clear()
        assert (await pager.count(), api.requests) == (None, [])


async def test_unrequested_record_is_returned() -> None:
    """A record that matches no requested id is returned at the end."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        requested = request.query["ids"].split(",")
        return 200, {"data": rows("77", *requested) if len(requested) > 1 else rows(*requested), "meta": {}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        pager = lf.companies.get_many(["1", "2"])
        assert [company.id for company in await pager.collect()] == ["1", "2", "77"]
    assert (pager.missing, dict(pager.merged)) == ((), {})


async def test_merged_ids_across_batches() -> None:
    """A record that matches ids of two batches is returned once, and none of its ids is missing."""
    ids = ["old", *map(str, range(2, 101)), "1", *map(str, range(101, 150))]

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        requested = request.query["ids"].split(",")
        return 200, {"data": rows(*("1" if row_id == "old" else row_id for row_id in requested)), "meta": {}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        pager = lf.companies.get_many(ids)
        got = [company.id for company in await pager.collect()]
    assert got == ["1", *map(str, range(2, 150))]
    assert (pager.missing, dict(pager.merged)) == ((), {"old": "1"})


async def test_row_in_neighboring_date_ranges() -> None:
    """A visit that the server returns for two neighboring date ranges is returned once."""

    def respond(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        if body["start_date"] != body["end_date"]:
            return 200, {"data": rows(0), "meta": {"pagination": {"page_count": 2, "total_count": 3}}}
        return 200, {
            "data": rows(body["start_date"], "shared"),
            "meta": {"pagination": {"page_count": 1, "total_count": 2}},
        }

    async with handler_server(FakeApi(respond)) as url, client_of(url, max_search_rows=3) as lf:
        assert await visit_ids(lf, 2) == ["2026-11-01", "shared", "2026-11-02"]


async def test_prefetch_across_date_ranges() -> None:
    """While one date range is read, pages of the next are in flight."""
    active = most = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal active, most
        body = json.loads(await request.read())
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.01)
        active -= 1
        if body["start_date"] != body["end_date"]:
            counts = {"page_count": 24, "total_count": 24}
            return web.json_response({"data": rows(0), "meta": {"pagination": counts}})
        page = int(request.query["page[num]"])
        counts = {"page_count": 3, "total_count": 3}
        return web.json_response({"data": rows(f"{body['start_date']}/{page}"), "meta": {"pagination": counts}})

    async with handler_server(handle) as url, client_of(url, max_search_rows=4) as lf:
        got = await visit_ids(lf, 8, page_size=1)
    days = [DAY + timedelta(number) for number in range(8)]
    assert got == [f"{day}/{page}" for day in days for page in (1, 2, 3)]
    assert most >= 6


def pages_with_totals(*totals: int | None) -> Callable[[web.Request, dict[str, Any]], StatusAndBody]:
    """Return one page of one row for each total, by cursor."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        index = int(request.query.get("page[cursor]", "0"))
        next_cursor = str(index + 1) if index + 1 < len(totals) else None
        counts = {"next_cursor": next_cursor, "total_count": totals[index]}
        return 200, {"data": rows(index), "meta": {"pagination": counts}}

    return respond


@pytest.mark.parametrize(("totals", "expected"), [((2, 3, 3), [2, 2, 2]), ((None, 3, 3), [None, 3, 3])])
async def test_total_of_cursor_list(totals: Any, expected: list[int | None]) -> None:
    """All pages have the first total that the server sent."""
    async with handler_server(FakeApi(pages_with_totals(*totals))) as url, client_of(url) as lf:
        assert [page.total async for page in lf.companies.search(search_terms=["x"]).pages()] == expected


@pytest.mark.parametrize(("limit", "requests"), [(None, 2), (100, 1), (101, 2)])
async def test_prefetch_of_cursor_list(limit: int | None, requests: int) -> None:
    """While the first page is read, the second is fetched unless the limit ends with the first."""
    api = FakeApi(pages_with_totals(3, 3, 3))
    async with handler_server(api) as url, client_of(url) as lf:
        async with aclosing(lf.companies.search(search_terms=["x"], limit=limit).pages()) as pages:
            await anext(pages)
            await asyncio.sleep(0.05)
            assert len(api.requests) == requests


async def test_prefetch_of_cursor_list_stops_at_limit() -> None:
    """A limit of two pages fetches two pages."""
    api = FakeApi(pages_with_totals(*[9] * 6))
    async with handler_server(api) as url, client_of(url) as lf:
        async with aclosing(lf.companies.search(search_terms=["x"], limit=2, page_size=1).pages()) as pages:
            await anext(pages)
            await anext(pages)
            await asyncio.sleep(0.05)
    assert len(api.requests) == 2


@pytest.mark.parametrize("fault", ["circle", "empty"])
async def test_context_of_cursor_loop_error(fault: str) -> None:
    """The error of a loop names its call."""
    numbers = iter(range(100))

    def respond(_: web.Request, __: dict[str, Any]) -> StatusAndBody:
        cursor = "c" if fault == "circle" else f"c{next(numbers)}"
        return 200, {"data": rows(*([1] if fault == "circle" else [])), "meta": {"pagination": {"next_cursor": cursor}}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        with pytest.raises(CursorLoopError) as caught:
            await company_ids(lf)
    context = caught.value.context
    assert (context.operation, context.method, context.path) == ("search_companies", "POST", "/v1/companies/search")
    assert caught.value.message == (
        "The server returned the same cursor twice."
        if fault == "circle"
        else "50 consecutive pages had no new rows, each with a new cursor."
    )


def expiring_except(*accepted: int) -> FakeApi:
    """Return rows 0, 1, 2, …, one per page. Each cursor is accepted as often as ``accepted`` contains it."""
    remaining = list(accepted)

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        index = int(request.query.get("page[cursor]", "0"))
        if index and index not in remaining:
            return 400, {"errors": [{"code": "invalid_cursor", "title": "too old"}]}
        if index:
            remaining.remove(index)
        return 200, {"data": rows(index), "meta": {"pagination": {"next_cursor": str(index + 1)}}}

    return FakeApi(respond)


@pytest.mark.parametrize(("accepted", "got"), [((), 1), ((1,), 2), ((1, 1, 2), 3), ((1, 1, 1, 2, 2, 3), 4)], ids=repr)
async def test_restarts_of_expiring_list(accepted: tuple[int, ...], got: int) -> None:
    """A list restarts only if the previous attempt returned a new row."""
    api, ids = expiring_except(*accepted), list[str]()
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(CursorExpiredError, match="too old") as caught:
            async for company in lf.companies.search(search_terms=["x"]):
                ids.append(company.id)
    assert ids == [str(number) for number in range(got)]
    assert (caught.value.status, caught.value.code) == (400, "invalid_cursor")


async def test_empty_pages_before_restart_are_not_counted() -> None:
    """Empty pages before a restart and the first page after it do not count as a loop."""
    rejected = False

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        nonlocal rejected
        index = int(request.query.get("page[cursor]", "0"))
        if index == 49 and not rejected:
            rejected = True
            return 400, {"errors": [{"code": "invalid_cursor"}]}
        next_cursor = None if index == 49 else str(index + 1)
        return 200, {"data": rows(1) if index == 49 else [], "meta": {"pagination": {"next_cursor": next_cursor}}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        assert await company_ids(lf) == ["1"]


async def test_row_resets_count_of_empty_pages() -> None:
    """Forty-nine empty pages after a page with rows are not a loop."""
    pages: list[tuple[list[Any], str | None]] = [([], "a0"), ([1], "a1"), *(([], f"c{number}") for number in range(49))]
    async with handler_server(FakeApi(cursor_pages([*pages, ([2], None)]))) as url, client_of(url) as lf:
        assert await company_ids(lf) == ["1", "2"]


async def test_416_on_second_page_of_shrunken_list() -> None:
    """A 416 ends a list if all counted rows were returned, also on the second page."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        if request.query["page[num]"] == "2":
            return 416, {"errors": [{"code": "offset_exceeded"}]}
        return 200, {"data": rows(1), "meta": {"pagination": {"page_count": 2, "total_count": 1}}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        assert await visit_ids(lf) == ["1"]


async def test_row_limit_of_numbered_list_without_dates() -> None:
    """A list without dates raises the 416 with the message of the server."""
    api = FakeApi(lambda *_: (416, {"errors": [{"code": "offset_exceeded", "title": "too deep"}]}))
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(OffsetExceededError, match="too deep"):
            await lf.tags.list().collect()


async def test_error_of_day_over_row_limit() -> None:
    """The error of a day over the row limit has the status, code and request ID of the 416."""
    api = FakeApi(lambda *_: (416, {"errors": [{"code": "offset_exceeded"}], "meta": {"request_id": "r-1"}}))
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError) as caught:
            await visit_ids(lf)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (416, "offset_exceeded", "r-1")
    assert caught.value.message == "2026-11-01 may contain more rows than the API returns: 0 were returned."


@pytest.mark.parametrize(("count", "repeats"), [(9_700, True), (9_750, True), (10_550, False), (9_950, False)])
async def test_complete_day_near_the_row_limit(count: int, repeats: bool) -> None:
    """Without counts, a day is complete if its last page is short, or if the pages after it repeat it."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = int(request.query["page[num]"])
        first = 100 * (min(page, -(-count // 100)) - 1 if repeats else page - 1)
        return 200, {"data": rows(*map(str, range(first, min(first + 100, count)))), "meta": {}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        assert len(await visit_ids(lf)) == count


async def test_416_after_a_full_last_page() -> None:
    """A 416 after as many rows as the server counts is the end of a list."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        if request.query["page[num]"] != "1":
            return 416, {"errors": [{"code": "offset_exceeded"}]}
        return 200, {"data": rows(*map(str, range(100))), "meta": {"pagination": {"total_count": 100}}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        assert len(await lf.tags.list().collect()) == 100


@pytest.mark.parametrize("page_size", [60, 90])
async def test_truncation_within_a_page(page_size: int) -> None:
    """A server without counts that ends the last page at its row limit raises IncompleteWindowError."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        first = (int(request.query["page[num]"]) - 1) * page_size
        return 200, {"data": rows(*map(str, range(first, min(first + page_size, 10_000)))), "meta": {}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError, match=r"may contain more rows .*: 10,000 were returned"):
            await visit_ids(lf, page_size=page_size)


async def test_truncation_without_counts_of_changing_day() -> None:
    """If visits arrive while a day is read, repeated rows do not hide that the server stopped at 10,000 rows."""
    pages = 0

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        nonlocal pages
        pages += 1
        newest = 15_000 + pages // 40
        first = (int(request.query["page[num]"]) - 1) * 100
        shown = range(first, min(first + 100, 10_000))
        return 200, {"data": rows(*(str(newest - number) for number in shown)), "meta": {}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError, match=r"may contain more rows .*: 9,998 were returned"):
            await visit_ids(lf)


def truncated_after(most: int) -> Callable[[web.Request, dict[str, Any]], StatusAndBody]:
    """Return numbered pages of 12,000 rows, and empty pages after ``most`` rows."""

    def respond(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        status, content = numbered_pages(list(range(12_000)))(request, body)
        if int(request.query["page[num]"]) * int(request.query["page[size]"]) > most:
            content["data"] = []
        return status, content

    return respond


async def test_truncated_day_names_the_call() -> None:
    """The error of a truncated day has the number of rows, the total and the operation."""
    async with handler_server(FakeApi(truncated_after(10_000))) as url, client_of(url) as lf:
        with pytest.raises(IncompleteWindowError) as caught:
            await visit_ids(lf)
    assert caught.value.message == (
        "2026-11-01 contains more rows than the API returns: 10,000 of 12,000 were returned, 2,000 are missing."
    )
    assert caught.value.context.operation == "search_web_visits"


async def test_smallest_sizes_and_limits() -> None:
    """The smallest batch and page have one row, the smallest limit is zero, and errors show the value."""
    api = FakeApi(numbered_pages([1, 2, 3]))
    async with handler_server(api) as url, client_of(url) as lf:
        pager = lf.web_visits.search(start_date=DAY, end_date=DAY, limit=2)
        assert [[visit.id for visit in batch] async for batch in pager.batches(1)] == [["1"], ["2"]]
        assert [[visit.id for visit in batch] async for batch in pager.batches(2)] == [["1", "2"]]
        assert [len(await pager.collect(limit)) for limit in (0, 1, 2, 3)] == [0, 1, 2, 2]
        with pytest.raises(ConfigurationError, match=r"^size=0 must be 1 or more\."):
            await anext(pager.batches(0))
        with pytest.raises(ConfigurationError, match=r"^limit=-1 must be 0 or more\."):
            await pager.collect(-1)


async def test_full_batch_does_not_wait_for_next_page() -> None:
    """A batch is yielded as soon as it is full."""

    async def handle(request: web.Request) -> web.Response:
        if request.query["page[num]"] != "1":
            await asyncio.sleep(30)
        counts = {"page_count": 2, "total_count": 4}
        return web.json_response({"data": rows(1, 2), "meta": {"pagination": counts}})

    async with handler_server(handle) as url, client_of(url) as lf:
        batches = lf.web_visits.search(start_date=DAY, end_date=DAY, page_size=2).batches(2)
        async with aclosing(batches), asyncio.timeout(2):
            assert [visit.id for visit in await anext(batches)] == ["1", "2"]


async def test_count_requests_one_row() -> None:
    """``count`` requests one row of the first page for each kind of list."""
    api = FakeApi(numbered_pages([1, 2, 3]))
    async with handler_server(api) as url, client_of(url) as lf:
        assert await lf.web_visits.search(start_date=DAY, end_date=DAY).count() == 3
        assert (api.requests[0]["page[num]"], api.requests[0]["page[size]"]) == ("1", "1")
        api.respond = lambda *_: (200, {"data": rows(1), "meta": {"pagination": {"total_count": 5}}})
        assert await lf.companies.search(search_terms=["x"]).count() == 5
        assert api.requests[1]["page[size]"] == "1"


async def test_first_prefetches_nothing() -> None:
    """With pages of one row, ``first`` takes one request."""
    api = FakeApi(numbered_pages(list(range(9))))
    async with handler_server(api) as url, client_of(url) as lf:
        first = await lf.web_visits.search(start_date=DAY, end_date=DAY, page_size=1).first()
        await asyncio.sleep(0.05)
    assert first is not None
    assert (first.id, len(api.requests)) == ("0", 1)


async def test_pager_repr() -> None:
    """The repr of a pager names the operation and the days."""
    async with client_of("http://127.0.0.1:9") as lf:
        assert repr(lf.web_visits.search(start_date=DAY, end_date=DAY)) == "<Pager search_web_visits 2026-11-01>"
        assert repr(lf.tags.list()) == "<Pager retrieve_tags>"


@pytest.mark.parametrize("pages", [True, False])
@pytest.mark.parametrize("per_day", [15, 40, 45])
async def test_total_capped_at_row_limit(pages: bool, per_day: int) -> None:
    """If the total is capped at the row limit, a range is split, and a full day may be incomplete."""
    server = DailyVisits({DAY + timedelta(number): per_day for number in range(4)}, 40)

    def capped(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        status, content = server(request, body)
        if status == 200:
            counts = content["meta"]["pagination"]
            counts["total_count"] = min(counts["total_count"], 40)
            counts["page_count"] = min(counts["page_count"], 4) if pages else None
        return status, content

    got, api = list[str](), FakeApi(capped)
    async with handler_server(api) as url, client_of(url, max_search_rows=40) as lf:
        search = lf.web_visits.search(start_date=DAY, end_date=DAY + timedelta(3), page_size=10)
        if per_day < 40:
            got = [visit.id for visit in await search.collect()]
            assert len(api.requests) <= (7 if pages else 9), (
                "it is split at its first page, before the others are requested"
            )
        else:
            with pytest.raises(
                IncompleteWindowError,
                match=r"2026-11-01 may contain .*: 40 were returned\. 2026-11-02 .*2026-11-04",
            ):
                async for visit in search:
                    got.append(visit.id)
    days = [DAY + timedelta(number) for number in range(4)]
    assert got == [visit_id for day in days for visit_id in server.ids(day, day)[:40]]


async def test_repeated_page_with_new_cursors() -> None:
    """A server that repeats a page with new cursors raises CursorLoopError after fifty pages."""
    numbers = iter(range(1_000))

    def respond(_: web.Request, __: dict[str, Any]) -> StatusAndBody:
        return 200, {"data": rows(1, 2), "meta": {"pagination": {"next_cursor": f"c{next(numbers)}"}}}

    api, got = FakeApi(respond), list[str]()
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(CursorLoopError, match="had no new rows"):
            async for company in lf.companies.search(search_terms=["x"]):
                got.append(company.id)
    assert (got, len(api.requests)) == (["1", "2"], 51)


async def test_high_page_count() -> None:
    """Empty pages after the counted rows end a list soon, and no row is lost."""
    api = FakeApi(numbered_pages(list(range(300)), page_count=3_000))
    async with handler_server(api) as url, client_of(url) as lf:
        assert await visit_ids(lf) == [str(number) for number in range(300)]
        await asyncio.sleep(0)
    assert len(api.requests) <= 3 + 4 + 16


@pytest.mark.parametrize("pages", [3_000, 60, 5, None])
@pytest.mark.parametrize(("stuck_at", "missing"), [(1, 300), (3, 100), (None, 100)])
async def test_missing_rows_are_requested_again(pages: int | None, stuck_at: int | None, missing: int) -> None:
    """Rows that the server counts but does not return are requested again, and then the list is incomplete."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = min(int(request.query["page[num]"]), stuck_at or 9_999)
        data = rows(*range(100 * (page - 1), 100 * page)) if page <= 3 else []
        return 200, {"data": data, "meta": {"pagination": {"page_count": pages, "total_count": 400}}}

    got, api = list[str](), FakeApi(respond)
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match=rf"^{missing} of 400 rows are missing") as caught:
            async for visit in lf.web_visits.search(start_date=DAY, end_date=DAY):
                got.append(visit.id)
        await asyncio.sleep(0)
    assert got == [str(number) for number in range(100 * (stuck_at or 3))]
    assert len(api.requests) <= 3 * 7
    assert (caught.value.context.operation, caught.value.problems) == ("search_web_visits", ())


async def test_repeated_undecodable_page_ends_a_list() -> None:
    """A list ends if a server repeats a page whose rows cannot be decoded."""
    api = FakeApi(lambda *_: (200, {"data": [{"id": {}}, {"id": {}}]}))
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="100 rows or parts"):
            await visit_ids(lf, page_size=2)
    assert len(api.requests) <= 54


async def test_inserted_page_is_found_in_second_pass() -> None:
    """If a page of rows is inserted before the current one, all rows are returned, the inserted ones at the end."""
    ids = list(range(400))
    requests = 0

    def respond(request: web.Request, body: dict[str, Any]) -> StatusAndBody:
        nonlocal requests
        requests += 1
        if requests == 3:
            ids[:0] = range(400, 500)
        return numbered_pages(list(ids))(request, body)

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        got = await visit_ids(lf, page_size=100)
    assert sorted(map(int, got)) == list(range(500))


async def test_undecodable_pages_do_not_end_a_list() -> None:
    """Pages whose rows cannot all be decoded do not count as empty."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        page = int(request.query["page[num]"])
        data = [{"id": None}, {"id": None}] if page < 7 else rows(*(["last", "row"] if page == 7 else []))
        return 200, {"data": data, "meta": {"pagination": {"page_count": 7}}}

    got = list[str]()
    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError) as caught:
            async for visit in lf.web_visits.search(start_date=DAY, end_date=DAY, page_size=2):
                got.append(visit.id)
    assert got == ["last", "row"]
    assert len(caught.value.problems) == 12


async def test_resume_list_of_ids() -> None:
    """After 100 of 250 ids, resuming takes two requests, and no id counts as merged."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        return 200, {"data": rows(*request.query["ids"].split(",")), "meta": {}}

    api = FakeApi(respond)
    async with handler_server(api) as url, client_of(url) as lf:
        pager = lf.companies.get_many(map(str, range(250))).prefetch(0)
        async with aclosing(pager.pages()) as pages:
            position = (await anext(pages)).position
        assert position is not None
        assert position.ids == 100
        api.requests.clear()
        rest = pager.resume_from(position)
        assert [company.id for company in await rest.collect()] == [str(number) for number in range(100, 250)]
    assert [len(request["ids"].split(",")) for request in api.requests] == [100, 50]
    assert (rest.missing, dict(rest.merged)) == ((), {})


@pytest.mark.parametrize(
    ("limit", "batches"), [(1, [1]), (5, [5]), (100, [100]), (150, [100, 50]), (250, [100, 100, 50])]
)
async def test_limit_bounds_requested_ids(
    sandbox: Sandbox, lf: AsyncLeadfeeder, limit: int, batches: list[int]
) -> None:
    """A limit bounds the ids that are requested, because each record may be charged."""
    got = await lf.companies.get_many([str(159_000_000 + number) for number in range(60)]).collect(limit)
    assert len(got) == min(limit, 60)
    assert sandbox.ledger.credits_charged == locked_count(sandbox, [company.id for company in got])

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        return 200, {"data": rows(*request.query["ids"].split(",")), "meta": {}}

    api = FakeApi(respond)
    async with handler_server(api) as url, client_of(url) as other:
        assert len(await other.companies.get_many(map(str, range(1_000))).collect(limit)) == limit
    assert [len(request["ids"].split(",")) for request in api.requests] == batches


async def test_first_of_id_list_skips_missing_ids() -> None:
    """``first`` requests one id at a time until a record is returned."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        return 200, {"data": rows(*(row_id for row_id in request.query["ids"].split(",") if row_id == "3")), "meta": {}}

    api = FakeApi(respond)
    async with handler_server(api) as url, client_of(url) as lf:
        company = await lf.companies.get_many(map(str, range(1_000))).first()
    assert company is not None
    assert (company.id, [request["ids"] for request in api.requests]) == ("3", ["0", "1", "2", "3"])


async def test_concurrent_iterations_of_id_list() -> None:
    """Each iteration detects missing ids by itself, and the pager has the result of the latest."""

    def respond(request: web.Request, _: dict[str, Any]) -> StatusAndBody:
        return 200, {"data": rows(*(row_id for row_id in request.query["ids"].split(",") if row_id != "5")), "meta": {}}

    async with handler_server(FakeApi(respond)) as url, client_of(url) as lf:
        pager = lf.companies.get_many(map(str, range(10)))
        await asyncio.gather(pager.collect(), pager.collect())
    assert pager.missing == ("5",)


@pytest.mark.parametrize("ids", [[123], [None], ["1", ""], ["a\ud800"]])
async def test_invalid_ids_in_lists(lf: AsyncLeadfeeder, ids: list[Any]) -> None:
    """A number, None, an empty string and an unpaired surrogate are rejected before anything is sent."""
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
