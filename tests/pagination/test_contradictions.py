"""Servers without a count whose responses contradict the end of a list."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import (
    BadRequestError,
    CursorExpiredError,
    CursorLoopError,
    IncompleteListError,
    IncompleteWindowError,
    LeadfeederError,
    NotFoundError,
    OffsetExceededError,
    PermissionDeniedError,
    Tag,
)
from tests.support.clients import client_of
from tests.support.servers import handler_server


def rows(first: int, last: int, kind: str = "tag") -> list[dict[str, Any]]:
    return [{"id": str(number), "type": kind, "attributes": {}} for number in range(first, last)]


@pytest.mark.parametrize("hole", [3, 5])
@pytest.mark.parametrize("body", [None, {"data": []}, {"data": None}])
@pytest.mark.parametrize("is_permanent", [False, True])
async def test_empty_page_before_the_last(hole: int, body: Any, is_permanent: bool) -> None:
    """An empty page before the last reported page does not end a list. If it stays empty, rows are missing."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        page = int(request.query["page[num]"])
        if page == hole and (is_permanent or requests <= 6):
            return web.Response(status=204) if body is None else web.json_response(body)
        found = rows((page - 1) * 100, min(page * 100, 550))
        return web.json_response({"data": found, "meta": {"pagination": {"page_count": 6}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        found = list[Tag]()
        with pytest.raises(IncompleteListError, match="was empty in 3 passes") if is_permanent else nullcontext():
            async for tag in lf.tags.list():
                found.append(tag)
    assert len({tag.id for tag in found}) == len(found) == (450 if is_permanent else 550)
    assert requests == (18 if is_permanent else 12)


@pytest.mark.parametrize("meta", [{}, {"page_count": 5}, {"page_count": 5, "total_count": 0}])
async def test_order_that_is_not_stable_without_count(meta: dict[str, int]) -> None:
    """If rows trade places between the pages, a numbered list is read again until no pass has another row."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        page = int(request.query["page[num]"])
        # Every second response sorts equal rows, in groups of 70, the other way around.
        found = sorted(rows(0, 450), key=lambda row: (int(row["id"]) // 70, int(row["id"]) * (-1) ** requests))
        found = found[100 * page - 100 : 100 * page]
        return web.json_response({"data": found, "meta": {"pagination": meta}})

    async with handler_server(respond) as url, client_of(url) as lf:
        found = await lf.tags.list().prefetch(0).collect()
    assert len({tag.id for tag in found}) == len(found) == 450


@pytest.mark.parametrize(
    ("kind", "count", "requests"), [("padded", 230, 4), ("inclusive", 1_000, 11), ("inclusive", 991, 11)]
)
async def test_regular_repetitions_without_count(kind: str, count: int, requests: int) -> None:
    """A last page that is filled with earlier rows, or a row that each page repeats, leads to no second pass."""
    received = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal received
        received += 1
        first = (100 if kind == "padded" else 99) * (int(request.query["page[num]"]) - 1)
        if kind == "padded" and first < count:
            first = min(first, count - 100)
        return web.json_response({"data": rows(first, max(first, min(first + 100, count)))})

    async with handler_server(respond) as url, client_of(url) as lf:
        found = await lf.tags.list().prefetch(0).collect()
    assert len({tag.id for tag in found}) == len(found) == count
    assert received == requests


@pytest.mark.parametrize("charged", [0, 100])
async def test_row_added_before_the_next_page_without_count(charged: int) -> None:
    """A row that pushes others to the next page is found in a second pass, unless the list charges."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        page = int(request.query["page[num]"])
        found = rows(0 if requests > 1 else 1, 251)[100 * page - 100 : 100 * page]
        return web.json_response({"data": found, "meta": {"credits": {"charged": charged}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        found = await lf.tags.list().prefetch(0).collect()
    assert len({tag.id for tag in found}) == len(found) == (250 if charged else 251)
    assert requests == (3 if charged else 6)


@pytest.mark.parametrize("status", [400, 404, 416])
@pytest.mark.parametrize("kind", ["removed tag", "added and removed visit"])
async def test_later_pass_after_the_list_shrank(status: int, kind: str) -> None:
    """A later pass ends at a rejected page if it has all counted rows, although an earlier pass had more pages."""
    ids, requests = list(range(201 if "tag" in kind else 200)), 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if kind == "removed tag" and requests == 3:
            del ids[50]
        if kind != "removed tag" and requests == 2:
            ids.insert(0, 1_000)
        if kind != "removed tag" and requests == 5:
            ids.pop()
        start = 100 * int(request.query["page[num]"]) - 100
        if start >= len(ids):
            return web.json_response({"errors": [{"code": "invalid_page"}]}, status=status)
        found = [{"id": str(one), "type": "tag"} for one in ids[start : start + 100]]
        return web.json_response({"data": found, "meta": {"pagination": {"total_count": len(ids)}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        days = {"start_date": "2026-10-01", "end_date": "2026-10-01"}
        pager = lf.tags.list() if "tag" in kind else lf.web_visits.search(**days)
        found = {row.id for row in await pager.prefetch(0).collect()}
    assert set(map(str, ids)) <= found


@pytest.mark.parametrize("sizes", [(100, 40, 0, 100, 50), (100, 0, 60, 100, 50), (100, 100, 100, 0, 0)])
async def test_filtered_pages_without_count(sizes: tuple[int, ...]) -> None:
    """A list whose server removes rows from its pages, or reports too many pages, is complete with an empty page."""

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        found = rows(page * 100, page * 100 + sizes[page - 1])
        return web.json_response({"data": found, "meta": {"pagination": {"page_count": 5}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        assert len(await lf.tags.list().collect()) == sum(sizes)


@pytest.mark.parametrize("size", [50, 100])
@pytest.mark.parametrize("holes", [{3}, {3, 4}, {3, 4, 5}, {2, 3, 4, 5}])
async def test_outage_of_some_pages(holes: set[int], size: int) -> None:
    """Pages that are empty during an outage are read again, and all pages after them."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        page = int(request.query["page[num]"])
        found = (
            []
            if page in holes and requests <= 10
            else rows((page - 1) * size, page * size)[: 1_000 - page * size + size]
        )
        return web.json_response({"data": found, "meta": {"pagination": {"page_count": 1_000 // size}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        found = await lf.tags.list().prefetch(0).collect()
    assert len({tag.id for tag in found}) == len(found) == 1_000


async def test_page_count_that_is_much_too_high() -> None:
    """If a list has far fewer pages than reported, a few empty pages end it."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        page = int(request.query["page[num]"])
        found = rows((page - 1) * 100, min(page * 100, 250))
        return web.json_response({"data": found, "meta": {"pagination": {"page_count": 120}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        assert len(await lf.tags.list().prefetch(0).collect()) == 250
    assert requests == 18


async def test_short_last_page_needs_no_second_reading() -> None:
    """A page count that is one too high costs one more request, and no second reading."""
    pages = list[int]()

    async def respond(request: web.Request) -> web.Response:
        pages.append(int(request.query["page[num]"]))
        found = rows((pages[-1] - 1) * 100, min(pages[-1] * 100, 250))
        return web.json_response({"data": found, "meta": {"pagination": {"page_count": 4}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        assert len(await lf.tags.list().collect()) == 250
    assert sorted(pages) == [1, 2, 3, 4]


@pytest.mark.parametrize("meta", [{"next_cursor": "c2"}, {"pagination": {"next_cursor": "c2"}}, {"page_count": 3}])
@pytest.mark.parametrize("operation", ["custom_feeds", "icps", "tags"])
async def test_list_in_another_paging_style(meta: dict[str, Any], operation: str) -> None:
    """A list whose response names a page that cannot be requested is not complete."""

    async def respond(request: web.Request) -> web.Response:
        if operation == "tags" and "page_count" in meta:  # the style of this list
            page = int(request.query["page[num]"])
            return web.json_response({"data": rows((page - 1) * 100, min(page * 100, 250)), "meta": meta})
        return web.json_response({"data": rows(0, 100), "meta": meta})

    async with handler_server(respond) as url, client_of(url) as lf:
        pager: Any = getattr(lf, operation).list()
        if operation == "tags" and "page_count" in meta:
            assert len(await pager.collect()) == 250
            return
        found = list[str]()
        with pytest.raises(IncompleteListError, match=r"reports another page|the first page again"):
            async for record in pager:
                found.append(record.id)
    assert len(found) == len(set(found)) == 100


async def test_cursor_on_an_empty_last_page_is_ignored() -> None:
    """A numbered list of a server that always sends a cursor ends with its empty page."""

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        return web.json_response({"data": rows((page - 1) * 100, min(page * 100, 200)), "meta": {"next_cursor": "x"}})

    async with handler_server(respond) as url, client_of(url) as lf:
        assert len(await lf.tags.list().collect()) == 200


@pytest.mark.parametrize(("counted", "pages"), [(10_000, None), (5_000, 80)])
async def test_offset_error_at_a_capped_count(counted: int, pages: int | None) -> None:
    """A 416 after as many rows as a server can count is not the end of the list."""

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        if page * 100 > counted:
            return web.json_response({"errors": [{"code": "offset_exceeded"}]}, status=416)
        pagination = {"total_count": counted, "page_count": pages}
        body = {"data": rows((page - 1) * 100, page * 100), "meta": {"pagination": pagination}}
        return web.json_response(body)

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(OffsetExceededError):
            await lf.tags.list().collect()


@pytest.mark.parametrize("limit", [5_000, 2_000])
async def test_visits_beyond_a_capped_count(limit: int) -> None:
    """If a server counts and returns no more visits than a round number, the date range is split."""

    async def respond(request: web.Request) -> web.Response:
        body, page = json.loads(await request.read()), int(request.query["page[num]"])
        days = [day for day in ("2026-11-02", "2026-11-03") if body["start_date"] <= day <= body["end_date"]]
        found = [
            row
            for day in days
            for row in rows(0, limit - 500, "web_visit")
            if row.update(id=f"{day}-{row['id']}") is None
        ]
        if page * 100 > limit:
            return web.json_response({"errors": [{"code": "offset_exceeded"}]}, status=416)
        pagination = {"total_count": min(len(found), limit)}
        return web.json_response({"data": found[(page - 1) * 100 : page * 100], "meta": {"pagination": pagination}})

    async with handler_server(respond) as url, client_of(url) as lf:
        found = await lf.web_visits.search(start_date="2026-11-02", end_date="2026-11-03").collect()
    assert len({visit.id for visit in found}) == len(found) == 2 * limit - 1_000


@pytest.mark.parametrize("bad", [2, 3, 5])
@pytest.mark.parametrize("is_empty", [False, True])
async def test_page_that_is_wrong_once(bad: int, is_empty: bool) -> None:
    """If one of the reported pages is empty or repeats the one before, its rows arrive in the next pass."""
    failed = False

    async def respond(request: web.Request) -> web.Response:
        nonlocal failed
        page = int(request.query["page[num]"])
        if page == bad and not failed:
            failed, page = True, page - 1
            if is_empty:
                return web.json_response({"data": [], "meta": {"pagination": {"page_count": 5}}})
        found = rows(50 * page, 50 * page + 50) if page <= 5 else []
        return web.json_response({"data": found, "meta": {"pagination": {"page_count": 5}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        assert len(await lf.tags.list().prefetch(0).collect()) == 250


async def test_second_page_that_repeats_the_first_once() -> None:
    """A list of two pages whose second one repeats the first is read again, and is incomplete if it stays so."""
    repeated = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal repeated
        page = int(request.query["page[num]"])
        if page == 2 and repeated:
            page, repeated = 1, repeated - 1
        found = rows(50 * page, 50 * page + 50) if page <= 2 else []
        return web.json_response({"data": found, "meta": {"pagination": {"page_count": 2}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        for repeated in (1, 1_000):
            with nullcontext() if repeated == 1 else pytest.raises(IncompleteListError, match="first page again"):
                assert len(await lf.tags.list().prefetch(0).collect()) == 100


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 416, 422, 500])
@pytest.mark.parametrize("count", [300, 500])
async def test_rejected_page_after_all_counted_rows(status: int, count: int) -> None:
    """The page after all counted rows, which is requested because the count may be limited, may be rejected."""

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        if page > 3:
            return web.json_response({"errors": [{"code": "x"}]}, status=status)
        found = rows(100 * page, 100 * page + 100)
        return web.json_response({"data": found, "meta": {"pagination": {"total_count": count}}})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        with nullcontext() if count == 300 else pytest.raises(LeadfeederError):
            assert len(await lf.tags.list().collect()) == 300


async def test_export_of_a_list_whose_rows_never_arrive(tmp_path: Path) -> None:
    """A list with a count but without rows is exported after the missing rows were reported."""

    async def respond(_: web.Request) -> web.Response:
        return web.json_response({"data": [], "meta": {"pagination": {"total_count": 1}}})

    path = tmp_path / "tags.ndjson"
    async with handler_server(respond) as url, client_of(url) as lf:
        for resume in (False, True):
            with pytest.raises(IncompleteListError, match="1 of 1 rows"):
                await lf.tags.list().to_file(path, resume=resume)
        await lf.tags.list().to_file(path, resume=True)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("status", [401, 402, 403, 429, 500, 503])
@pytest.mark.parametrize("counts", [{}, {"total_count": 0}, {"total_count": 60}])
async def test_failure_after_a_short_page_is_raised(status: int, counts: dict[str, Any]) -> None:
    """A failed request is not taken for the end of a list, although the last page has fewer rows than another one."""

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        if page == (2 if counts.get("total_count") else 3):
            return web.json_response({"errors": [{"code": "x"}]}, status=status)
        size = 60 if page == 2 or counts.get("total_count") else 100
        links = {"next": f"/v1/tags?page[num]={page + 1}"}
        return web.json_response({"data": rows(100 * page, 100 * page + size), "links": links, "meta": counts})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        with pytest.raises(LeadfeederError):
            await lf.tags.list().collect()


@pytest.mark.parametrize("after", ["empty page", "rejected cursor"])
async def test_cursor_list_whose_count_is_capped(after: str) -> None:
    """A list with more rows than the server counts does not end at that count."""
    failed = False

    async def respond(request: web.Request) -> web.Response:
        nonlocal failed
        page = int(request.query.get("page[cursor]", "1"))
        following = str(page + 1) if page < 3 else None
        if page == 3 and not failed:
            failed = True
            if after == "rejected cursor":
                return web.json_response({"errors": [{"code": "invalid_cursor"}]}, status=400)
            return web.json_response({"data": [], "meta": {"total_count": 200, "next_cursor": "3"}})
        meta = {"total_count": 200, "next_cursor": following}
        return web.json_response({"data": rows(100 * page, 100 * page + 100, "company"), "meta": meta})

    async with handler_server(respond) as url, client_of(url, max_search_rows=200) as lf:
        if after == "empty page":  # the cursor repeats, so the list cannot continue
            with pytest.raises(CursorLoopError):
                await lf.companies.search(search_terms=["x"]).collect()
        else:
            assert len(await lf.companies.search(search_terms=["x"]).collect()) == 300


async def test_charged_page_without_readable_rows_is_read_once(tmp_path: Path) -> None:
    """An export continues after a page that was charged, although none of its rows was written."""
    cursors, fails = list[str | None](), True

    async def respond(request: web.Request) -> web.Response:
        cursor = request.query.get("page[cursor]")
        if cursor and fails:
            return web.json_response({}, status=503)
        cursors.append(cursor)
        data: list[Any] = rows(0, 3, "signal") if cursor else [1, 2, 3]
        meta = {"pagination": {"next_cursor": None if cursor else "2"}, "credits": {"charged": 3}}
        return web.json_response({"data": data, "meta": meta})

    path = tmp_path / "signals.ndjson"
    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        signals = lf.companies.search_signals(company_ids=["1"])
        with pytest.raises(LeadfeederError):
            await signals.to_file(path)
        fails = False
        with pytest.raises(IncompleteListError, match="3 rows"):
            await signals.to_file(path, resume=True)
        await signals.to_file(path, resume=True)
    assert cursors == [None, "2"]
    assert len(path.read_bytes().splitlines()) == 3


@pytest.mark.parametrize(("total", "error"), [(200, NotFoundError), (150, None), (300, IncompleteListError)])
async def test_rejected_page_at_a_capped_count(total: int, error: type[LeadfeederError] | None) -> None:
    """A 404 after as many rows as a server counts at most is raised. Otherwise, missing rows are reported."""

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        if page > 2:
            return web.json_response({"errors": [{"code": "x"}]}, status=404)
        found = rows(100 * page, 100 * page + min(100, total - 100 * (page - 1)))
        return web.json_response({"data": found, "meta": {"pagination": {"total_count": total}}})

    got = list[str]()
    async with handler_server(respond) as url, client_of(url, max_search_rows=200) as lf:
        with nullcontext() if error is None else pytest.raises(error):
            async for tag in lf.tags.list():
                got.append(tag.id)
    assert len(got) == min(200, total)


@pytest.mark.parametrize("status", [200, 400, 404, 416])
async def test_last_reported_page_that_is_repeated_once(status: int) -> None:
    """A last reported page that is once another one again is read again, also if further pages were requested."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        page = int(request.query["page[num]"])
        if page > 2:
            return web.json_response({"data": []}, status=status)
        found = rows(0, 100) if requests <= 2 else rows(100 * page - 100, min(150, 100 * page))
        return web.json_response({"data": found, "meta": {"pagination": {"page_count": 2}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        assert len(await lf.tags.list().collect()) == 150


async def test_count_after_an_empty_first_page(tmp_path: Path) -> None:
    """An export that is resumed after an empty page still compares its rows with the count."""
    fails = True

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query.get("page[cursor]", "1"))
        if page == 2 and fails:
            return web.json_response({}, status=403)
        found = rows(100 * page - 200, 100 * page - 100, "signal") if page > 1 else []
        meta = {"total_count": 300, "next_cursor": str(page + 1) if page < 3 else None}
        return web.json_response({"data": found, "meta": {"pagination": meta}})

    path = tmp_path / "signals.ndjson"
    async with handler_server(respond) as url, client_of(url) as lf:
        signals = lf.companies.search_signals(company_ids=["1"])
        with pytest.raises(PermissionDeniedError):
            await signals.to_file(path)
        fails = False
        with pytest.raises(IncompleteListError, match="100 of 300 rows are missing"):
            await signals.to_file(path, resume=True)


async def test_position_after_unknown_rows() -> None:
    """A list resumed without its rows does not claim to know their number."""

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query.get("page[cursor]", "1"))
        found = rows(0, 100) if page == 1 else rows(100, 200) if page == 3 else []
        meta = {"total_count": 200, "next_cursor": str(page + 1) if page < 3 else None}
        return web.json_response({"data": found, "meta": {"pagination": meta}})

    async with handler_server(respond) as url, client_of(url) as lf:
        pager = lf.companies.search(search_terms=["a"])
        got, position = 0, None
        for _ in range(3):
            async for page in pager.resume_from(position).pages() if position else pager.pages():
                got, position = got + len(page.items), page.position
                assert not page.problems
                break
    assert got == 200


@pytest.mark.parametrize("status", [400, 404, 416, 422])
@pytest.mark.parametrize("exists", [200, 250])
async def test_count_that_is_one_too_high(tmp_path: Path, status: int, exists: int) -> None:
    """A rejected page is a missing one if the server counts more rows, so that an export can be finished."""

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        found = rows(100 * page - 100, min(exists, 100 * page))
        if not found:
            return web.json_response({"errors": [{"code": "invalid_page"}]}, status=status)
        return web.json_response({"data": found, "meta": {"pagination": {"total_count": exists + 1}}})

    path = tmp_path / "tags.ndjson"
    async with handler_server(respond) as url, client_of(url) as lf:
        for resume in (False, True):
            with pytest.raises(IncompleteListError, match=f"1 of {exists + 1} rows") as caught:
                await lf.tags.list().to_file(path, resume=resume)
            reason = f"The last page was rejected: {status} invalid_page"
            assert (reason in caught.value.message) == (exists == 200)
        assert (await lf.tags.list().to_file(path, resume=True)).done == exists


async def test_rejected_page_in_the_middle_is_raised() -> None:
    """A rejected page before the last counted one is no end."""

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        if page == 2:
            return web.json_response({"errors": [{"code": "x"}]}, status=400)
        return web.json_response(
            {"data": rows(100 * page, 100 * page + 100), "meta": {"pagination": {"total_count": 400}}}
        )

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(BadRequestError):
            await lf.tags.list().prefetch(0).collect()


async def test_resumed_charged_list_with_all_counted_rows(tmp_path: Path) -> None:
    """A rejected last cursor ends a charged export whose rows were all written before."""
    status = 503

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query.get("page[cursor]", "1"))
        if page > 3:
            return web.json_response({}, status=status)
        meta = {"pagination": {"total_count": 300, "next_cursor": str(page + 1)}, "credits": {"charged": 100}}
        return web.json_response({"data": rows(100 * page, 100 * page + 100, "signal"), "meta": meta})

    path = tmp_path / "signals.ndjson"
    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        signals = lf.companies.search_signals(company_ids=["1"])
        with pytest.raises(LeadfeederError):
            await signals.to_file(path)
        status = 410
        assert (await signals.to_file(path, resume=True)).done == 300
        assert lf.stats.credits_charged == 300


@pytest.mark.parametrize("status", [400, 404, 416, 422])
async def test_day_with_a_round_number_and_no_count(tmp_path: Path, status: int) -> None:
    """A page rejected after exactly 500 rows of a day may be a limit. It is reported once. A 404 is the end."""

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        if page > 5:
            return web.json_response({"errors": [{"code": "invalid_page"}]}, status=status)
        found = rows(100 * page, 100 * page + 100, "visit")
        return web.json_response({"data": found, "meta": {"pagination": {"page_count": 5}}})

    path = tmp_path / "visits.ndjson"
    async with handler_server(respond) as url, client_of(url) as lf:
        visits = lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-01")
        if status != 404:
            with pytest.raises(IncompleteWindowError, match="500 were returned"):
                await visits.to_file(path)
        assert (await visits.to_file(path, resume=status != 404)).done == 500


@pytest.mark.parametrize("counts", ["so far", "of the page"])
@pytest.mark.parametrize("stored", ["file", "rows"])
async def test_expired_cursor_after_rising_counts(tmp_path: Path, counts: str, stored: str) -> None:
    """A resumed list whose counts are not those of the list does not end if its cursor is rejected."""
    status = 403

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query.get("page[cursor]", "1"))
        if page > 2:
            return web.json_response({"errors": [{"code": "cursor_expired"}]}, status=status)
        total = 100 * page if counts == "so far" else 200
        meta = {"pagination": {"total_count": total, "next_cursor": str(page + 1)}, "credits": {"charged": 100}}
        return web.json_response({"data": rows(100 * page, 100 * page + 100, "signal"), "meta": meta})

    path = tmp_path / "signals.ndjson"
    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        signals = lf.companies.search_signals(company_ids=["1"])
        found, position = list[Any](), None
        with pytest.raises(LeadfeederError):
            if stored == "file":
                await signals.to_file(path)
            async for page in signals.pages():
                found += page.items
                position = page.position
        assert len(found) == (0 if stored == "file" else 200)
        status = 410
        ends = counts == "of the page"  # 200 of 200 rows are there, as far as anyone can see
        with nullcontext() if ends else pytest.raises(CursorExpiredError):
            if stored == "file":
                await signals.to_file(path, resume=True)
            else:
                assert position is not None
                assert await signals.resume_from(position, found).collect() == []


async def test_resumed_list_of_small_pages(tmp_path: Path) -> None:
    """A list with all counted rows on pages smaller than requested ends after a resume as it would have before."""
    fails, requests = True, 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        page = int(request.query.get("page[cursor]", "1"))
        if page == 4 and fails:
            return web.json_response({}, status=403)
        found = rows(25 * page - 25, min(60, 25 * page), "company_summary")
        meta = {"pagination": {"total_count": 60, "next_cursor": str(page + 1)}}
        return web.json_response({"data": found, "meta": meta})

    path = tmp_path / "companies.ndjson"
    async with handler_server(respond) as url, client_of(url) as lf:
        pager = lf.companies.search(search_terms=["a"])
        with pytest.raises(PermissionDeniedError):
            await pager.to_file(path)
        fails, before = False, requests
        assert (await pager.to_file(path, resume=True)).done == 60
    assert requests - before <= 3


@pytest.mark.parametrize("is_paid", [False, True])
@pytest.mark.parametrize("used", [150, 200])
async def test_resume_in_the_middle_of_a_page(is_paid: bool, used: int) -> None:
    """Rows of a page that was used in part, or completely, after the position are not counted as missing."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        page = int(request.query.get("page[cursor]", "1"))
        meta = {"pagination": {"total_count": 300, "next_cursor": str(page + 1) if page < 3 else None}}
        return web.json_response({"data": rows(100 * page, 100 * page + 100, "signal"), "meta": meta})

    async with handler_server(respond) as url, client_of(url) as lf:
        pager = lf.companies.search_signals(company_ids=["1"]) if is_paid else lf.companies.search(search_terms=["a"])
        found, position = list[Any](), None
        async for page in pager.pages():
            found += page.items[: used - len(found)]
            if len(found) == used:
                break
            position = page.position
        assert position is not None
        found += await pager.resume_from(position, found).collect()
    assert len({row.id for row in found}) == len(found) == 300
    assert requests <= 6


async def test_unknown_ids_after_a_resume(tmp_path: Path) -> None:
    """A list of ids whose last ones do not exist can be finished after an interruption."""
    ids, fails = [str(number) for number in range(130)], True

    async def respond(request: web.Request) -> web.Response:
        requested = [int(one) for one in request.query["ids"].split(",")]
        if fails and requested[-1] >= 100:
            return web.json_response({}, status=403)
        found = [{"id": str(number), "type": "company"} for number in requested if number < 100]
        return web.json_response({"data": found}, status=200 if found else 404)

    path = tmp_path / "companies.ndjson"
    async with handler_server(respond) as url, client_of(url, rate=1e4, burst=1_000) as lf:
        with pytest.raises(PermissionDeniedError):
            await lf.companies.get_many(ids).to_file(path)
        fails = False
        assert (await lf.companies.get_many(ids).to_file(path, resume=True)).done == 100


@pytest.mark.parametrize("is_paid", [False, True])
@pytest.mark.parametrize("fault", ["short page", "expired cursor", "repeated page"])
async def test_excluded_ids_of_other_lists(fault: str, is_paid: bool) -> None:
    """Ids that are not in this list do not count as rows that arrived."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        page = int(request.query.get("page[cursor]", "1"))
        if fault == "expired cursor" and page == 3 and requests == 3:
            return web.json_response({"errors": [{"code": "cursor_expired"}]}, status=410)
        found = rows(100 * page, 100 * page + 100, "signal")
        if fault == "short page" and page == 2 and requests <= 2:
            found = found[:50]
        if fault == "repeated page" and page == 2 and requests <= 2:
            found = rows(100, 200, "signal")
        meta = {"pagination": {"total_count": 300, "next_cursor": str(page + 1) if page < 3 else None}}
        return web.json_response({"data": found, "meta": meta})

    async with handler_server(respond) as url, client_of(url) as lf:
        pager = lf.companies.search_signals(company_ids=["1"]) if is_paid else lf.companies.search(search_terms=["a"])
        pages = pager.pages()
        first = await anext(pages)
        await pages.aclose()
        assert first.position is not None
        foreign = [msgspec.structs.replace(row, id=f"{kind}{row.id}") for kind in "xy" for row in first.items]
        rest = list[Any]()
        with pytest.raises(LeadfeederError) if is_paid else nullcontext():
            async for row in pager.prefetch(0).resume_from(first.position, [*first.items, *foreign]):
                rest.append(row)
    assert is_paid or len({row.id for row in rest}) == len(rest) == 200


@pytest.mark.parametrize("status", [200, 400, 404, 416, 422])
@pytest.mark.parametrize("days", [1, 7])
@pytest.mark.parametrize("added", [1, -1])
@pytest.mark.parametrize("kind", ["visits", "companies"])
async def test_changed_row_of_a_short_date_range(tmp_path: Path, status: int, days: int, added: int, kind: str) -> None:
    """A list far below the row limit is read again if a row was added or removed, however a page past its end fails."""
    count, requests = 201 if added < 0 else 250, 0
    ids = [f"2026-11-{1 + number * days // count:02} {number}" for number in range(count)]

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if requests == 3:
            ids[:1] = [] if added < 0 else ["2026-11-01 new", ids[0]]
        dates = await request.json() if request.method == "POST" else request.query
        found = [one for one in ids if dates["start_date"] <= one[:10] <= dates["end_date"]]
        first = (int(request.query["page[num]"]) - 1) * 100
        if first >= len(found) and status != 200:
            return web.json_response({"errors": [{"code": "invalid_page"}]}, status=status)
        meta = {"pagination": {"total_count": len(found), "page_count": -(-len(found) // 100)}}
        return web.json_response({"data": [{"id": one} for one in found[first : first + 100]], "meta": meta})

    path = tmp_path / "rows.ndjson"
    async with handler_server(respond) as url, client_of(url) as lf:
        search = lf.web_visits.search if kind == "visits" else lf.web_visits.companies
        await search(start_date="2026-11-01", end_date=f"2026-11-{days:02}").prefetch(0).to_file(path)
    written = [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert set(ids) <= set(written)
    assert len(set(written)) == len(written)


async def test_count_of_the_rows_before_and_two_expired_cursors() -> None:
    """A count of an earlier pass proves nothing, so that a list whose cursors expire again ends with an error."""
    requests = list[str | None]()

    async def respond(request: web.Request) -> web.Response:
        cursor = request.query.get("page[cursor]")
        requests.append(cursor)
        if len(requests) in {4, 6}:
            return web.json_response({"errors": [{"code": "cursor_expired"}]}, status=400)
        start = int(cursor or 0)
        total = {0: 0, 3: 3, 6: 8}[start]
        end = {0: 3, 3: 6, 6: 8}[start]
        meta = {"pagination": {"next_cursor": str(end), "total_count": total}}
        return web.json_response({"data": rows(start, end, "company"), "meta": meta})

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(CursorExpiredError):
            await lf.companies.search(search_terms=["x"]).prefetch(0).collect()
    assert requests == [None, "3", "6", "8", None, "3"]
