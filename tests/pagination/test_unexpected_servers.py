"""Servers that page in unexpected ways: each list is complete, or an error reports that it is not.

Each kind of server is read by a loop, an export, a sync and dlt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, LeadfeederError, Pager
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async.sync import sync_account
from tests.support.clients import client_of
from tests.support.servers import handler_server

ROWS = 250
"""The rows of each list, unless its server says otherwise."""

MAX_REQUESTS = 800
"""The most requests that any of these servers may receive for one list."""

Response: TypeAlias = "dict[str, Any] | web.Response"


class Query:
    """The page that a request names.

    Args:
        request: The request.
        rows: The number of rows of the list.
    """

    def __init__(self, request: web.Request, rows: int) -> None:
        self.num = int(request.query.get("page[num]", 1))
        self.size = int(request.query.get("page[size]", 20))
        self.cursor = request.query.get("page[cursor]")
        self.is_list = request.path in {"/v1/web-visits", "/v1/companies/search"}
        self.kind = "company" if "companies" in request.path else "web_visit"
        self.total = rows if self.is_list else 0
        self.requests = 0
        """The requests for this list so far."""

    @property
    def start(self) -> int:
        return int(self.cursor) if self.cursor else (self.num - 1) * self.size

    @property
    def pages(self) -> int:
        return -(-self.total // self.size)

    def record(self, number: int, **changes: Any) -> dict[str, Any]:
        attributes = {"started_at": f"2026-11-{number % 28 + 1:02}T10:00:00Z", "name": str(number)}
        return {"id": f"r{number}", "type": self.kind, "attributes": attributes, **changes}

    def data(self, start: int | None = None, size: int | None = None) -> list[dict[str, Any]]:
        first = self.start if start is None else start
        return [self.record(number) for number in range(first, min(self.total, first + (size or self.size)))]

    def body(self, data: list[Any] | None = None, **pagination: Any) -> dict[str, Any]:
        counts: dict[str, Any] = {"page_num": self.num, "page_count": self.pages, "total_count": self.total}
        if self.kind == "company" and self.is_list:
            following = self.start + self.size
            counts["next_cursor"] = str(following) if following < self.total else None
        counts |= pagination
        kept = {key: value for key, value in counts.items() if value != "absent"}
        return {"data": self.data() if data is None else data, "meta": {"pagination": kept}}


UNCOUNTED: dict[str, Any] = {"total_count": "absent", "page_count": "absent"}


def uncounted(past_end: Callable[[], Response]) -> Callable[[Query], Response]:
    """Return a server without counts, whose response after the last page is ``past_end``."""
    return lambda q: q.body(**UNCOUNTED) if q.start < q.total else past_end()


def error(status: int, code: str) -> web.Response:
    return web.json_response({"errors": [{"code": code}]}, status=status)


NUMBERED: dict[str, tuple[str, int, Callable[[Query], Response]]] = {
    "plain": ("complete", 250, lambda q: q.body()),
    "pages from 0": ("reported", 250, lambda q: q.body(q.data(q.num * q.size))),
    "page 0 is page 1": ("complete", 250, lambda q: q.body(q.data(max(0, q.num - 1) * q.size))),
    "204 for an empty list": ("complete", 0, lambda q: web.Response(status=204)),
    "204 after the last page": ("complete", 200, uncounted(lambda: web.Response(status=204))),
    "404 after the last page": ("complete", 200, uncounted(lambda: error(404, "not_found"))),
    "400 after the last page": ("reported", 200, uncounted(lambda: error(400, "invalid_page"))),
    "416 after the last page": ("either", 200, uncounted(lambda: error(416, "offset_exceeded"))),
    "{} after the last page": ("reported", 200, uncounted(dict)),
    "null after the last page": ("complete", 200, uncounted(lambda: {"data": None, "meta": None})),
    "400 after the last page, with a count": (
        "complete", 200, lambda q: q.body(page_count="absent") if q.start < q.total else error(400, "invalid_page")
    ),
    "400 after the only page, with its number": (
        "complete", 30, lambda q: q.body(total_count="absent") if q.num == 1 else error(400, "invalid_page")
    ),
    "416 after the only page, with its number": (
        "complete", 30, lambda q: q.body(total_count="absent") if q.num == 1 else error(416, "offset_exceeded")
    ),
    "400 after 500 counted rows": (
        "complete", 500, lambda q: q.body(page_count="absent") if q.start < q.total else error(400, "invalid_page")
    ),
    "second page empty once, count of the page": (
        "complete", 500, lambda q: q.body(total_count=100) if q.requests != 2 else q.body([], total_count=0)
    ),
    "third page empty once, count of the rows so far": (
        "complete", 500,
        lambda q: q.body([] if q.requests == 3 else q.data(), total_count=min(q.total, (q.num - (q.requests == 3)) * q.size)),
    ),
    "second page empty once, and a link": (
        "complete", 250,
        lambda q: {**q.body([] if q.requests == 2 else None, **UNCOUNTED), "links": link(q, "")},
    ),
    "second page repeats the first once, without a count": (
        "complete", 250, lambda q: q.body(q.data(0) if q.requests == 2 else None, total_count="absent")
    ),
    "second page repeats the first once, count of the page": (
        "complete", 500, lambda q: q.body(q.data(0) if q.requests == 2 else None, total_count=100)
    ),
    "third page repeats the second once, pages of 50": (
        "complete", 250, lambda q: q.body(
            q.data((q.num - 1 - (q.requests == 3)) * 50, min(q.size, 50)), total_count="absent", page_count=5
        ),
    ),
    "counts of the page and a link, pages of 25": (
        "complete", 260, lambda q: {
            **q.body(q.data((q.num - 1) * 25, min(q.size, 25)), total_count=len(q.data((q.num - 1) * 25, 25)), page_count=1),
            "links": {"next": f"/v1/x?page%5Bnum%5D={q.num + 1}" if q.num * 25 < q.total else None},
        },
    ),
    "always a link, pages of 50, and 400 after the last one": (
        "complete", 300, lambda q: (
            {
                **q.body(q.data((q.num - 1) * 50, min(q.size, 50)), page_count="absent"),
                "links": {"next": f"/v1/x?page%5Bnum%5D={q.num + 1}"},
            }
            if q.num < 7 else error(400, "invalid_page")
        ),
    ),
    "counts of one page, and always a link": (
        "complete", 100, lambda q: {**q.body(), "links": {"next": f"/v1/x?page%5Bnum%5D={q.num + 1}"}}
    ),
    "counts of one page, always a link, and 400 after it": (
        "complete", 100, lambda q: (
            {**q.body(), "links": {"next": "/v1/x?page%5Bnum%5D=2"}} if q.num == 1 else error(400, "invalid_page")
        ),
    ),
    "page numbers without effect, and a count of smaller pages": (
        "complete", 99, lambda q: q.body(q.data(0), total_count="absent", page_count=5)
    ),
    "limit of 500 rows, and of five pages": (
        "reported", 800,
        lambda q: error(416, "offset_exceeded") if q.num > 5 else q.body(total_count="absent", page_count=5),
    ),
    "page numbers without effect, and several pages": (
        "reported", 250, lambda q: q.body(q.data(0, min(q.size, 50)), total_count="absent", page_count=5)
    ),
    "404 for a page that is counted": (
        "reported", 250, lambda q: error(404, "not_found") if q.num == 2 and q.size > 1 else q.body()
    ),
    "counts only in a header": (
        "complete", 250,
        lambda q: web.json_response(q.body(**UNCOUNTED), headers={"X-Total-Count": str(q.total)}),
    ),
    "counts as strings": (
        "complete", 250, lambda q: q.body(total_count=str(q.total), page_count=str(q.pages))
    ),
    "counts as floats": ("complete", 250, lambda q: q.body(total_count=float(q.total), page_count=float(q.pages))),
    "counts that are no numbers": ("complete", 250, lambda q: q.body(total_count="many", page_count=[])),
    "counts as objects": (
        "complete", 250, lambda q: q.body(total_count={"value": q.total, "relation": "eq"}, page_count={})
    ),
    "count as boolean": ("complete", 250, lambda q: q.body(total_count=True, page_count=True)),
    "count beyond 64 bits": ("either", 250, lambda q: q.body(total_count=10**30, page_count=10**30)),
    "count of the page": ("complete", 250, lambda q: q.body(total_count=len(q.data()))),
    "count of the page without pages": (
        "complete", 250, lambda q: q.body(total_count=len(q.data()), page_count="absent")
    ),
    "count of the page, and full pages only": (
        "complete", 200, lambda q: q.body(total_count=len(q.data()), page_count="absent")
    ),
    "count of the rows so far": (
        "complete", 250, lambda q: q.body(total_count=min(q.total, q.num * q.size), page_count="absent")
    ),
    "count that is too low, and full pages of 50": (
        "complete", 220, lambda q: q.body(q.data((q.num - 1) * 50, min(q.size, 50)), total_count=200, page_count="absent")
    ),
    "short page, and count of the page": (
        "complete", 250, lambda q: q.body(short_second_page(q), total_count=len(short_second_page(q)))
    ),
    "short page, and a link": (
        "complete", 250, lambda q: {**q.body(short_second_page(q), **UNCOUNTED), "links": link(q, "")}
    ),
    "short page, a link, and count of the page": (
        "complete", 250,
        lambda q: {
            **q.body(short_second_page(q), page_count="absent", total_count=len(short_second_page(q))),
            "links": link(q, ""),
        },
    ),
    "link on each page": ("complete", 250, lambda q: {**q.body(), "links": {"next": f"/v1/x?page={q.num + 1}"}}),
    "link on each page, 416 after the last one": (
        "complete", 130,
        lambda q: {**q.body(**UNCOUNTED), "links": {"next": f"/v1/x?page={q.num + 1}"}}
        if q.start < q.total else error(416, "offset_exceeded"),
    ),
    "link on each page, last page repeats": (
        "complete", 250,
        lambda q: {
            **q.body(q.data((min(q.num, q.pages) - 1) * q.size), **UNCOUNTED), "links": {"next": f"/v1/x?page={q.num + 1}"}
        },
    ),
    "link on each page, pages begin again": (
        "complete", 150,
        lambda q: {
            **q.body(q.data((q.num - 1) % q.pages * q.size if q.pages else 0)),
            "links": {"next": f"/v1/x?page={q.num + 1}"},
        },
    ),
    "page count of another page size, 404 after the last page": (
        "complete", 101,
        lambda q: q.body(page_count=-(-q.total // 20)) if q.start < max(1, q.total) else error(404, "not_found"),
    ),
    "page count of another page size, 416 after the only page": (
        "complete", 33,
        lambda q: q.body(page_count=-(-q.total // 20)) if q.start < max(1, q.total) else error(416, "offset_exceeded"),
    ),
    "count of the rows that remain": (
        "complete", 250, lambda q: q.body(total_count=max(0, q.total - q.start), page_count="absent")
    ),
    "count that grows": ("reported", 250, lambda q: q.body(total_count=q.total + q.requests)),
    "count from 0": ("either", 250, lambda q: q.body(total_count=q.total - 1)),
    "page count from 0": ("complete", 250, lambda q: q.body(page_count=q.pages - 1, total_count="absent")),
    "page count of rows": ("complete", 250, lambda q: q.body(page_count=q.total, total_count="absent")),
    "page count of pages that remain": (
        "complete", 250, lambda q: q.body(page_count=max(0, q.pages - q.num), total_count="absent")
    ),
    "page count of another page size": (
        "complete", 250, lambda q: q.body(page_count=-(-q.total // 20), total_count="absent")
    ),
    "pages that overlap by one": ("complete", 250, lambda q: q.body(q.data((q.num - 1) * (q.size - 1)))),
    "pages with a gap of one": ("reported", 250, lambda q: q.body(q.data((q.num - 1) * (q.size + 1)))),
    "pages that begin again": ("complete", 200, lambda q: q.body(q.data(q.start % q.total), **UNCOUNTED)),
    "last page repeats": (
        "complete", 250, lambda q: q.body(q.data((min(q.num, q.pages) - 1) * q.size), **UNCOUNTED)
    ),
    "page size ignored": ("complete", 250, lambda q: q.body(q.data(0, 1_000), **UNCOUNTED)),
    "twice as many rows as requested": (
        "complete", 250, lambda q: q.body(q.data((q.num - 1) * 2 * q.size, 2 * q.size))
    ),
    "repeated rows on a page": (
        "complete", 95,
        lambda q: q.body([row for row in q.data(0, 1_000) for _ in range(2)][q.start : q.start + q.size],
                         page_count="absent", total_count=q.total),
    ),
    "page without its last row": ("reported", 250, lambda q: q.body(q.data()[:-1])),
    "null rows": ("reported", 250, lambda q: q.body([*q.data()[:-1], None])),
    "rows that are strings": ("reported", 250, lambda q: q.body([*q.data()[:-1], "row"])),
    "ids as integers": (
        "complete", 250,
        lambda q: q.body([{**row, "id": int(row["id"][1:]) + 1} for row in q.data()]),
    ),
    "rows in an object": (
        "reported", 250, lambda q: {**q.body(), "data": {str(row["id"]): row for row in q.data()}}
    ),
    "rows under another name": ("reported", 250, lambda q: {"items": q.data(), "meta": q.body()["meta"]}),
    "meta as a list": ("complete", 250, lambda q: {"data": q.data(), "meta": []}),
    "meta as a string": ("complete", 250, lambda q: {"data": q.data(), "meta": "none"}),
    "pagination as a list": ("complete", 250, lambda q: {"data": q.data(), "meta": {"pagination": [q.total]}}),
    "counts in camel case": (
        "complete", 250, lambda q: {"data": q.data(), "meta": {"pagination": {"totalCount": q.total}}}
    ),
    "every other response empty": (
        "complete", 250, lambda q: q.body([] if q.requests % 2 and q.size > 1 else None)
    ),
    "every other response empty, without counts": (
        "either", 250, lambda q: q.body([] if q.requests == 2 and q.size > 1 else None)
    ),
}  # fmt: skip
"""Servers of visits by name: the expected outcome, the number of rows, and the response to a query."""

CURSORS: dict[str, tuple[str, int, Callable[[Query], Response]]] = {
    "plain": ("complete", 250, lambda q: q.body()),
    "cursor as integer": ("complete", 250, lambda q: q.body(next_cursor=following(q))),
    "cursor as float": ("either", 250, lambda q: q.body(next_cursor=following(q, 0.5))),
    "cursor as object": ("reported", 250, lambda q: q.body(next_cursor={"after": following(q)})),
    "cursor false at the end": (
        "complete", 250, lambda q: q.body(next_cursor=False if following(q) is None else str(following(q)))
    ),
    "cursor in links only": (
        "complete", 250,
        lambda q: {**q.body(next_cursor="absent"), "links": link(q, "https://api.leadfeeder.com/v1/companies/search")},
    ),
    "cursor in links only, without counts": (
        "complete", 250,
        lambda q: {**q.body(next_cursor="absent", **UNCOUNTED), "links": link(q, "/v1/companies/search")},
    ),
    "link as an object": (
        "complete", 250,
        lambda q: {
            **q.body(next_cursor="absent", **UNCOUNTED),
            "links": {"next": None if following(q) is None else {"href": link(q, "")["next"]}},
        },
    ),
    "cursor is a relative URL": (
        "complete", 250, lambda q: q.body(next_cursor=link(q, "/v1/companies/search")["next"])
    ),
    "cursor is a URL": (
        "complete", 250, lambda q: q.body(next_cursor=link(q, "http://x.test/v1/companies/search")["next"])
    ),
    "cursor directly under meta": (
        "complete", 250,
        lambda q: {
            "data": q.data(),
            "meta": {"total_count": q.total, "next_cursor": None if following(q) is None else str(following(q))},
        },
    ),
    "cursor repeats": ("reported", 250, lambda q: q.body(next_cursor="100")),
    "cursors in a circle of three": (
        "complete", 250, lambda q: q.body(q.data(), next_cursor=str((q.start + 100) % 300))
    ),
    "cursors without end": (
        "either", 250, lambda q: q.body(q.data(q.start % 300), next_cursor=str(q.start + 100))
    ),
    "cursor of an empty page": (
        "complete", 200, lambda q: q.body(next_cursor=str(q.start + 100) if q.start < q.total else None)
    ),
    "404 for the cursor after the last page": (
        "complete", 200,
        lambda q: q.body(next_cursor=str(q.start + 100)) if q.start < q.total else error(404, "not_found"),
    ),
    "last page names its own cursor": (
        "complete", 250, lambda q: q.body(next_cursor=str(min(q.start + 100, 200)))
    ),
    "always a new cursor, and empty pages after the last one": (
        "complete", 250,
        lambda q: q.body(next_cursor=str(q.start + 100)) if q.requests < 6 else web.Response(status=500),
    ),
    "404 for the cursor after the last page, without counts": (
        "either", 200,
        lambda q: q.body(next_cursor=str(q.start + 100), **UNCOUNTED) if q.start < q.total else error(404, "not_found"),
    ),
    "count of the page": ("complete", 250, lambda q: q.body(total_count=len(q.data()))),
    "ended early by an empty cursor": ("reported", 250, lambda q: q.body(next_cursor="")),
    "repeated rows": ("reported", 250, lambda q: q.body([*q.data()[:-1], q.record(0)])),
}  # fmt: skip
"""Servers of companies by name, as above."""


def short_second_page(q: Query) -> list[dict[str, Any]]:
    """Return the rows of a page of which one was filtered after the pages were made: the second page is not full."""
    return q.data(q.start - (q.num > 2), q.size - (q.num == 2))


def following(q: Query, more: float = 0) -> Any:
    """Return the start of the next page, or None after the last one."""
    return (q.start + q.size + more) if q.start + q.size < q.total else None


def link(q: Query, path: str) -> dict[str, str | None]:
    after = following(q)
    return {"next": None if after is None else f"{path}?account_id=1&page%5Bcursor%5D={after}&page%5Bsize%5D={q.size}"}


class UnexpectedServer:
    """A server with one list of an unexpected kind. All its other lists are empty."""

    def __init__(self, rows: int, respond: Callable[[Query], Response]) -> None:
        self.rows = rows
        self.respond = respond
        self.requests = 0

    async def __call__(self, request: web.Request) -> web.Response:
        query = Query(request, self.rows)
        if not query.is_list:
            response: Response = query.body()
        else:
            self.requests += 1
            query.requests = self.requests
            try:
                response = self.respond(query)
            except ValueError:
                response = error(400, "invalid_cursor")
        if isinstance(response, dict):
            response = web.Response(body=msgspec.json.encode(response), content_type="application/json")
        response.headers["Date"] = "Mon, 30 Nov 2026 12:00:00 GMT"
        return response


Read: TypeAlias = Callable[[Pager[Any], AsyncLeadfeeder, Path], Awaitable[list[str]]]


async def read_loop(pager: Pager[Any], _: AsyncLeadfeeder, __: Path) -> list[str]:
    return [row.id async for row in pager]


async def read_file(pager: Pager[Any], _: AsyncLeadfeeder, folder: Path) -> list[str]:
    path = folder / "rows.ndjson"
    await pager.to_file(path)
    return [str(msgspec.json.decode(line)["id"]) for line in path.read_bytes().splitlines()]


async def read_sync(_: Pager[Any], lf: AsyncLeadfeeder, folder: Path) -> list[str]:
    path = folder / "rows.duckdb"
    await sync_account(lf, path, since="2026-11-01")
    with duckdb.connect(str(path), read_only=True) as database:
        return [str(row) for (row,) in database.execute("SELECT id FROM visits").fetchall()]


async def read_dlt(_: Pager[Any], lf: AsyncLeadfeeder, __: Path) -> list[str]:
    pytest.importorskip("dlt", reason="dlt is not installed")
    from leadfeeder_async.integrations.dlt import leadfeeder_source

    url = lf.base_url

    def extract() -> list[str]:
        source = leadfeeder_source("1", start_date="2026-11-01", api_key="k", base_url=url)
        return [str(row["id"]) for row in source.resources["visits"]]

    try:
        return await asyncio.to_thread(extract)
    except Exception as failure:  # noqa: BLE001 - dlt wraps the errors of its resources
        cause: BaseException | None = failure
        while cause is not None and not isinstance(cause, LeadfeederError):
            cause = cause.__cause__ or cause.__context__
        raise (cause or failure) from None


async def outcome_of(read: Read, server: UnexpectedServer, folder: Path, *, by_cursor: bool) -> str:
    """Return ``complete``, ``reported`` and the error, or the fault."""
    async with handler_server(server) as url, client_of(url, retries=0) as lf:
        pager: Pager[Any] = lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-30")
        if by_cursor:
            pager = lf.companies.search(search_terms=["x"])
        try:
            ids = await asyncio.wait_for(read(pager, lf, folder), 30)
        except LeadfeederError as failure:
            outcome = f"reported {type(failure).__name__}: {failure.message}"
        except TimeoutError:
            outcome = "endless"
        else:
            outcome = "doubled" if len(ids) != len(set(ids)) else "complete"
            if outcome == "complete" and len(ids) != server.rows:
                outcome = f"lost {server.rows - len(ids)}"
    return outcome if server.requests <= MAX_REQUESTS else f"{server.requests} requests, {outcome}"


@pytest.fixture(autouse=True)
def _dlt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with dlt up to the current day of the server, and without a rate limit."""
    if find_spec("dlt") is None:
        return
    monkeypatch.setattr("leadfeeder_async.integrations.dlt.utc_today", lambda: date(2026, 11, 30))
    monkeypatch.setattr("leadfeeder_async.integrations.dlt.TokenBucket", partial(TokenBucket, 1e6, 100_000))


@pytest.mark.parametrize("read", [read_loop, read_file, read_sync, read_dlt])
@pytest.mark.parametrize("kind", NUMBERED)
async def test_numbered_pages(kind: str, read: Read, tmp_path: Path) -> None:
    """Visits are complete, or an error is raised."""
    expected, rows, respond = NUMBERED[kind]
    outcome = await outcome_of(read, UnexpectedServer(rows, respond), tmp_path, by_cursor=False)
    assert outcome.partition(" ")[0] in ({"complete", "reported"} if expected == "either" else {expected}), outcome


@pytest.mark.parametrize("read", [read_loop, read_file])
@pytest.mark.parametrize("kind", CURSORS)
async def test_cursors(kind: str, read: Read, tmp_path: Path) -> None:
    """Companies are complete, or an error is raised."""
    expected, rows, respond = CURSORS[kind]
    outcome = await outcome_of(read, UnexpectedServer(rows, respond), tmp_path, by_cursor=True)
    assert outcome.partition(" ")[0] in ({"complete", "reported"} if expected == "either" else {expected}), outcome
