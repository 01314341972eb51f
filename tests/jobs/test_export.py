"""Exports of lists: complete or absent, and resumable after any interruption."""

from __future__ import annotations

import asyncio
import csv
import errno
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    AuthenticationError,
    BudgetExceededError,
    CheckpointError,
    DecodeError,
    IncompleteListError,
    IncompleteWindowError,
    LeadfeederError,
    Pager,
    Progress,
    ResumePosition,
    ServerError,
)
from leadfeeder_async.jobs import resumable_file
from leadfeeder_async.jobs.export_state import EXPORT, DayOffset, ExportState
from leadfeeder_async.jobs.resumable_file import checkpoint_path, load_unfinished, partial_path
from leadfeeder_async.jobs.row_cells import decode_row
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.sandbox import Sandbox
from tests.jobs.helpers import interrupt, names_in, read_ids, read_lines, small_disk
from tests.support.clients import client_for, client_of
from tests.support.requirements import needs_permissions
from tests.support.servers import handler_server, http, raw_server

DAY = date(2026, 11, 1)
PARTIAL_ERROR = {"title": "A part is down"}


def visits(lf: AsyncLeadfeeder, sandbox: Sandbox, **options: Any) -> Pager[WebVisit]:
    return lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=20, **options)


def all_ids(sandbox: Sandbox) -> list[str]:
    return list(sandbox.world.visit_ids())


class TagServer:
    """A server with a list of tags, 100 per page. A page is a list of errors beside its rows, or a status."""

    def __init__(self, *pages: list[dict[str, str]] | int, page_rows: int = 100) -> None:
        self.pages = list(pages)
        self.page_rows = page_rows
        self.requests = 0
        self.repeats_first_page = False

    async def __call__(self, request: web.Request) -> web.Response:
        self.requests += 1
        number = 1 if self.repeats_first_page else int(request.query["page[num]"])
        page = self.pages[number - 1]
        if isinstance(page, int):
            return web.json_response({}, status=page)
        data = [{"id": f"{number}.{row}", "type": "tag"} for row in range(self.page_rows)]
        counts = {"page_count": len(self.pages), "total_count": len(self.pages) * self.page_rows}
        body: dict[str, Any] = {"data": data, "meta": {"pagination": counts}}
        return web.json_response({**body, "errors": page} if page else body)


class VisitServer:
    """A server with some visits on each day, which returns no row past the first 40 of a search."""

    def __init__(self, *per_day: int) -> None:
        self.per_day = {DAY + timedelta(number): count for number, count in enumerate(per_day)}
        self.requests = 0
        self.account = "1"
        self.shared_ids = dict[date, str]()
        """The id of the first visit of a day, if it is the id of a visit of the day before."""

    async def __call__(self, request: web.Request) -> web.Response:
        self.requests += 1
        if request.method == "GET":
            return web.json_response({"data": [{"id": self.account, "type": "account"}]})
        body = await request.json()
        size, number = int(request.query["page[size]"]), int(request.query["page[num]"])
        days = [day for day in self.per_day if body["start_date"] <= str(day) <= body["end_date"]]
        ids = [f"{day}/{row}" for day in days for row in range(self.per_day[day])]
        shared = {f"{day}/0": one for day, one in self.shared_ids.items()}
        ids = [shared.get(one, one) for one in ids]
        if number * size > 40:
            return web.json_response({"errors": [{"code": "offset_exceeded", "title": "too deep"}]}, status=416)
        data = [{"id": one, "type": "web_visit"} for one in ids[(number - 1) * size : number * size]]
        counts = {"page_num": number, "page_count": -(-len(ids) // size), "total_count": len(ids)}
        return web.json_response({"data": data, "meta": {"pagination": counts}})


@pytest.fixture
async def full_day() -> AsyncIterator[tuple[Pager[WebVisit], VisitServer]]:
    """A list of three days, the second of which contains more visits than the server returns."""
    server = VisitServer(30, 60, 30)
    async with handler_server(server) as url, client_of(url) as lf:
        yield lf.web_visits.search(start_date=DAY, end_date=DAY + timedelta(2), page_size=10).prefetch(0), server


async def test_day_over_row_limit_leaves_a_gap(full_day: tuple[Pager[WebVisit], VisitServer], tmp_path: Path) -> None:
    """All other rows are saved, the error reports the day, and resuming finishes the file without requests."""
    (pager, server), out = full_day, tmp_path / "visits.ndjson"
    with pytest.raises(IncompleteWindowError, match="2026-11-02 contains more rows") as caught:
        await pager.to_file(out)
    assert "resume=True" in caught.value.hint
    assert not out.exists()
    unfinished = load_unfinished(out, EXPORT)
    assert unfinished is not None
    assert (unfinished.rows, unfinished.state.gaps_acknowledged) == (100, True)
    requests = server.requests
    await pager.to_file(out, resume=True)
    assert server.requests == requests
    assert Counter(row_id[:10] for row_id in read_ids(out)) == {"2026-11-01": 30, "2026-11-02": 40, "2026-11-03": 30}


async def test_gap_is_reported_after_an_interruption(
    full_day: tuple[Pager[WebVisit], VisitServer], tmp_path: Path
) -> None:
    """A run that resumes after the full day reports its gap too."""
    (pager, _), out = full_day, tmp_path / "visits.ndjson"
    await interrupt(pager, out, 90)
    with pytest.raises(IncompleteListError, match=r"could not be read\. 2026-11-02 contains") as caught:
        await pager.to_file(out, resume=True)
    assert caught.value.problems == ()
    await pager.to_file(out, resume=True)
    assert len(set(read_ids(out))) == 100


async def test_gaps_of_a_page_that_is_read_again_are_forgotten(tmp_path: Path) -> None:
    """The gap of a page is dropped if the page is read again, and is not counted twice."""
    out = tmp_path / "tags.ndjson"
    server = TagServer([PARTIAL_ERROR], 500)
    async with handler_server(server) as url, client_of(url, retries=0) as lf:
        for _ in range(2):
            with pytest.raises(ServerError):
                await lf.tags.list().to_file(out, resume=True)
        server.pages = [[PARTIAL_ERROR], []]
        with pytest.raises(IncompleteListError, match="1 row or part") as caught:
            await lf.tags.list().prefetch(0).to_file(out, resume=True)
        assert len(caught.value.problems) == 1
        server.pages = [[PARTIAL_ERROR], 500]
        with pytest.raises(ServerError):
            await lf.tags.list().prefetch(0).to_file(out, overwrite=True)
        server.pages = [[], []]
        await lf.tags.list().to_file(out, resume=True)
    assert len(read_lines(out)) == 200


@pytest.mark.parametrize("kind", ["plain", "rows without an id", "newest"])
async def test_rows_that_stay_missing_do_not_stop_an_export(tmp_path: Path, kind: str) -> None:
    """If a date range has fewer rows than counted in two runs, the rest is exported, and a third one finishes."""
    day, out = date(2026, 11, 1), tmp_path / "visits.ndjson"

    async def respond(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        days = [f"{day + timedelta(number)}" for number in range(3)]
        days = [one for one in days if body["start_date"] <= one <= body["end_date"]]
        size, page = int(request.query["page[size]"]), int(request.query["page[num]"])
        ids = [f"{one}/{number}" for one in days for number in range(60)]
        total = len(ids) + (f"{day}" in days)
        if page * size > 150:
            return web.json_response({"errors": [{"code": "offset_exceeded"}]}, status=416)
        data = [{"id": one, "type": "web_visit"} for one in ids[(page - 1) * size : page * size]]
        if kind == "rows without an id":
            data = [{**row, "id": "" if row["id"].endswith("/59") else row["id"]} for row in data]
        return web.json_response({"data": data, "meta": {"pagination": {"total_count": total}}})

    async with handler_server(respond) as url, client_of(url, max_search_rows=150) as lf:
        order: Any = "newest" if kind == "newest" else "oldest"
        pager = lf.web_visits.search(start_date=day, end_date=day + timedelta(2), page_size=10, order=order)
        with pytest.raises(IncompleteListError, match=r"1 of [0-9]+ rows are missing"):
            await pager.to_file(out)
        with pytest.raises(IncompleteListError, match=r"Pass resume=True to finish the file"):
            await pager.to_file(out, resume=True)
        await pager.to_file(out, resume=True)
    assert len(read_ids(out)) == 180
    assert len(set(read_ids(out))) == (178 if kind == "rows without an id" else 180)


async def test_list_that_stopped_keeps_the_previous_file(tmp_path: Path) -> None:
    """An export of a list that stops early does not replace the previous file. The next run reads all rows."""
    out, server = tmp_path / "tags.ndjson", TagServer([], [], [])
    async with handler_server(server) as url, client_of(url) as lf:
        await lf.tags.list().to_file(out)
        server.repeats_first_page = True
        with pytest.raises(IncompleteListError, match="200 of 300 rows are missing"):
            await lf.tags.list().to_file(out, resume=True, overwrite=True)
        assert len(read_lines(out)) == 300
        server.repeats_first_page = False
        await lf.tags.list().to_file(out, resume=True, overwrite=True)
    assert len(read_lines(out)) == 300


@pytest.mark.parametrize("limit", [100, 150, 300, 350])
async def test_page_cut_by_a_limit_is_read_again(tmp_path: Path, limit: int) -> None:
    """A cursor list that failed at its limit and is resumed without it contains every row of the page it cut."""
    out = tmp_path / "companies.ndjson"

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query.get("page[cursor]", "1"))
        data = [{"id": f"{page}.{row}", "type": "company"} for row in range(100)]
        errors = {"errors": [PARTIAL_ERROR]} if page == 1 else {}
        pagination = {"next_cursor": str(page + 1) if page < 4 else None}
        return web.json_response({"data": data, "meta": {"pagination": pagination}, **errors})

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError):
            await lf.companies.search(search_terms=["x"], limit=limit).to_file(out)
        for _ in range(2):
            if not out.exists():
                with suppress(IncompleteListError):
                    await lf.companies.search(search_terms=["x"]).to_file(out, resume=True)
    assert len(set(read_ids(out))) == len(read_ids(out)) == 400


async def test_unrecorded_gaps_are_forgotten_if_read_again(tmp_path: Path) -> None:
    """Beyond 100 gaps only their number is saved. It is dropped if their days are read again."""
    out, is_broken = tmp_path / "visits.ndjson", True

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        data = [{"id": f"{page}.{row}", "type": "web_visit"} for row in range(20)]
        pagination = {"page_count": 9, "total_count": 180}
        errors = [PARTIAL_ERROR] * (40 if is_broken else 0)
        return web.json_response({"data": data, "meta": {"pagination": pagination}, "errors": errors})

    async with handler_server(respond) as url, client_of(url) as lf:
        pager = lf.web_visits.search(start_date=DAY, end_date=DAY, page_size=20).prefetch(0)
        await interrupt(pager, out, 100)
        unfinished = load_unfinished(out, EXPORT)
        assert unfinished is not None
        assert (len(unfinished.state.gaps), unfinished.state.gap_count) == (100, 200)
        is_broken = False
        await pager.to_file(out, resume=True)
    assert len(set(read_ids(out))) == 180


async def test_limit_is_not_the_end_of_a_list(tmp_path: Path) -> None:
    """An export of the first rows with gaps reads all other rows if it is resumed without its limit."""
    out = tmp_path / "tags.ndjson"
    async with handler_server(TagServer([PARTIAL_ERROR], [], [])) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError):
            await lf.tags.list(limit=100).to_file(out)
        with pytest.raises(IncompleteListError):
            await lf.tags.list().to_file(out, resume=True)
        await lf.tags.list().to_file(out, resume=True)
    assert len(read_lines(out)) == 300


@pytest.mark.parametrize("replaces", [False, True])
async def test_export_without_readable_rows(tmp_path: Path, replaces: bool) -> None:
    """An export in which no row could be read can be finished as well, without a request."""
    out, server = tmp_path / "tags.ndjson", TagServer([PARTIAL_ERROR], page_rows=0)
    if replaces:
        out.write_text("old", encoding="utf-8")
    async with handler_server(server) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError):
            await lf.tags.list().to_file(out, overwrite=replaces)
        await lf.tags.list().to_file(out, resume=True, overwrite=replaces)
    assert out.read_bytes() == b""
    assert server.requests == 1


@needs_permissions
async def test_checkpoint_has_the_permissions_of_its_rows(tmp_path: Path) -> None:
    """A checkpoint can quote a row that could not be read, so it is as private as the file."""
    out = tmp_path / "tags.ndjson"
    out.write_text("old", encoding="utf-8")
    out.chmod(0o600)
    async with handler_server(TagServer([PARTIAL_ERROR])) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError):
            await lf.tags.list().to_file(out, overwrite=True)
    assert names_in(tmp_path) == ["tags.ndjson", "tags.ndjson.checkpoint", "tags.ndjson.part"]
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


async def test_rows_are_written_as_sent(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Each row is a line, in order, and no other file is left."""
    progress = await visits(lf, sandbox).to_file(tmp_path / "new" / "visits.ndjson")
    assert read_ids(tmp_path / "new" / "visits.ndjson") == all_ids(sandbox)
    assert (progress.done, progress.total, progress.pages) == (500, 500, 25)
    assert names_in(tmp_path / "new") == ["visits.ndjson"]


@pytest.mark.parametrize("stop", [1, 100, 333, 480])
async def test_resume_continues_in_the_date_range(sandbox: Sandbox, tmp_path: Path, stop: int) -> None:
    """A resumed export continues in the date range that was being read, and contains every row once."""
    out = tmp_path / "visits.ndjson"
    async with client_for(sandbox, max_search_rows=100) as lf:
        await interrupt(visits(lf, sandbox), out, stop)
        assert not out.exists()
        sandbox.world.add_visits(5)
        before = lf.stats.requests
        progress = await visits(lf, sandbox).to_file(out, resume=True)
        assert read_ids(out) == all_ids(sandbox)
        assert progress.done == 505
        # At most one date range is read again, and the last page of each other one may be short.
        assert lf.stats.requests - before <= (505 - stop) / 20 + 20


@pytest.mark.parametrize("stop", [10, 25, 33])
async def test_resume_of_rows_of_several_days(sandbox: Sandbox, tmp_path: Path, stop: int) -> None:
    """A company that is returned for several date ranges is written once, whichever range was interrupted."""
    out = tmp_path / "companies.ndjson"
    async with client_for(sandbox, max_search_rows=30) as lf:
        pager = lf.web_visits.companies(start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=10)
        expected = [company.id async for company in pager]
        assert len(expected) > 33, "the list is split into several date ranges"
        await interrupt(pager, out, stop)
        await pager.to_file(out, resume=True)
    assert sorted(read_ids(out)) == sorted(expected)


async def test_resume_of_a_cursor_list(lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """A cursor list continues at the page that it had reached."""
    out, search = tmp_path / "c.ndjson", lf.companies.search(search_terms=["a"], page_size=5)
    expected = [company.id async for company in search]
    await interrupt(search, out, 12)
    before = lf.stats.requests
    await search.to_file(out, resume=True)
    assert read_ids(out) == expected
    assert lf.stats.requests - before == -(-len(expected) // 5) - 3


async def test_resume_of_an_id_list_charges_once(tmp_path: Path) -> None:
    """A list by id continues after the batches that are saved."""
    out = tmp_path / "c.ndjson"
    async with Sandbox(companies=250, visits=0, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        pager = lf.companies.get_many(sandbox.world.company_ids())
        await interrupt(pager, out, 100)
        before = lf.stats.requests
        await pager.to_file(out, resume=True)
        assert lf.stats.requests - before == 2
        assert sorted(read_ids(out)) == sorted(sandbox.world.company_ids())
        assert sandbox.ledger.credits_charged == 250


async def test_resume_after_the_last_page(lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """An export that was stopped after its last row is finished without a request."""
    out, search = tmp_path / "c.ndjson", lf.companies.search(search_terms=["a"])
    count = len(await search.collect())
    await interrupt(search, out, count)
    before = lf.stats.requests
    assert (await search.to_file(out, resume=True)).done == count
    assert (len(read_ids(out)), lf.stats.requests - before) == (count, 0)


async def test_limit_is_a_total_of_all_runs(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A resumed export with a limit contains as many rows in total."""
    out = tmp_path / "visits.ndjson"
    await interrupt(visits(lf, sandbox, limit=110), out, 60)
    await visits(lf, sandbox, limit=110).to_file(out, resume=True)
    assert read_ids(out) == all_ids(sandbox)[:110]


async def test_resume_without_an_unfinished_file(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A job may always pass ``resume``. The first run starts the export."""
    await visits(lf, sandbox).to_file(tmp_path / "visits.ndjson", resume=True)
    assert read_ids(tmp_path / "visits.ndjson") == all_ids(sandbox)


async def test_another_query_is_refused(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Rows of two queries are never mixed. The error names both queries."""
    out, start = tmp_path / "visits.ndjson", sandbox.start_date
    await interrupt(visits(lf, sandbox), out, 60)
    others: list[Pager[Any]] = [
        lf.web_visits.search(start_date=start, end_date=start),
        visits(lf, sandbox, company_id="5"),
        visits(lf, sandbox, include=["company"]),
        visits(lf, sandbox, account_id="7"),
        lf.tags.list(),
    ]
    for other in others:
        with pytest.raises(CheckpointError, match=f"{start} to .* This job: ") as caught:
            await other.to_file(out, resume=True)
        assert caught.value.reason == "other_job"
        assert ("with other options" in caught.value.message) is (other is others[1] or other is others[2])
    await lf.web_visits.search(start_date=start, end_date=sandbox.end_date, page_size=50).to_file(out, resume=True)
    assert read_ids(out) == all_ids(sandbox)


BEGIN = b'{"format":"leadfeeder-async checkpoint"'
"""The beginning of each checkpoint."""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BEGIN, "damaged"),
        (BEGIN + b',"version":2,"fingerprint":5}', "damaged"),
        (BEGIN + b',"version":2,"fingerprint":"x","kind":"export","rows":-1}', "damaged"),
        (BEGIN + b',"version":2,"x":' + b"[" * 10_000, "damaged"),
        (BEGIN + b',"version":1,"fingerprint":"x","query":"y","rows":60}', "other_version"),
        (BEGIN + b',"version":99,"fingerprint":"x","kind":"export"}', "other_version"),
        (BEGIN + b',"version":2,"fingerprint":"x","kind":"enrichment"}', "other_job"),
        (BEGIN[:-1], "not_ours"),
        (b'{"version":2,"fingerprint":"x","kind":"export"}', "not_ours"),
        (b"{", "not_ours"),
        (b"", "not_ours"),
        (b"\xff", "not_ours"),
    ],
)
async def test_checkpoint_that_cannot_be_used(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, content: bytes, reason: str
) -> None:
    """A checkpoint that is damaged, of another version or of another kind of job is refused before any request."""
    out = tmp_path / "visits.ndjson"
    await interrupt(visits(lf, sandbox), out, 60)
    checkpoint_path(out).write_bytes(content)
    before = lf.stats.requests
    with pytest.raises(CheckpointError, match=r"visits\.ndjson\.checkpoint") as caught:
        await visits(lf, sandbox).to_file(out, resume=True)
    assert caught.value.reason == reason
    assert ("overwrite=True" in caught.value.hint) == (reason != "not_ours")
    assert lf.stats.requests == before
    if reason == "not_ours":
        rows = partial_path(out).read_bytes()
        with pytest.raises(CheckpointError, match=r"visits\.ndjson\.checkpoint") as caught:
            await visits(lf, sandbox).to_file(out, overwrite=True)
        assert "visits.ndjson.part" in caught.value.hint
        assert (checkpoint_path(out).read_bytes(), partial_path(out).read_bytes()) == (content, rows)
        checkpoint_path(out).unlink()
        partial_path(out).unlink()
    await visits(lf, sandbox).to_file(out, overwrite=True)
    assert read_ids(out) == all_ids(sandbox)


@pytest.mark.parametrize("length", [300, 248, 240, 0])
async def test_impossible_file_names(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, length: int) -> None:
    """A name that is too long with the suffixes of working files, or contains a null, is refused before any request."""
    name = "x" * (length - 7) + ".ndjson" if length else "x\0.ndjson"
    with pytest.raises(
        LeadfeederError,
        match=r"File name too long|The path is too long|contains a character that no file name can have",
    ):
        await visits(lf, sandbox).to_file(tmp_path / name)
    assert (sandbox.ledger.requests, names_in(tmp_path)) == ([], [])


def test_remaining_time() -> None:
    """The remaining time follows from the rate so far, and is None if the total or the rate is unknown."""
    progress = Progress(done=50, total=200, pages=1, requests=1, rate_limited=0, credits=0, elapsed=10.0)
    assert (progress.rate, progress.eta) == (5.0, 30.0)
    assert msgspec.structs.replace(progress, total=40).eta == 0.0
    assert msgspec.structs.replace(progress, total=None).eta is None
    assert msgspec.structs.replace(progress, done=0).eta is None
    assert msgspec.structs.replace(progress, elapsed=0.0).eta is None
    resumed = msgspec.structs.replace(progress, done_before=30)
    assert (resumed.rate, resumed.eta) == (2.0, 75.0)
    assert msgspec.structs.replace(progress, done_before=50).eta is None


async def test_full_disk(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A full disk ends the export with an error. When there is space again, the export is completed."""
    out = tmp_path / "visits.ndjson"
    with small_disk(150_000), pytest.raises(CheckpointError, match="cannot be written") as caught:
        await visits(lf, sandbox).to_file(out)
    assert (caught.value.reason, "resume=True" in caught.value.hint) == ("not_writable", True)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    unfinished = load_unfinished(out, EXPORT)
    assert unfinished is not None
    assert unfinished.rows >= 40, "complete rows are saved although the checkpoint interval had not passed"
    assert partial_path(out).stat().st_size == unfinished.size
    before = len(sandbox.ledger.requests)
    progress = await visits(lf, sandbox).to_file(out, resume=True)
    assert read_ids(out) == all_ids(sandbox)
    assert progress.done == 500
    assert len(sandbox.ledger.requests) - before < 30


async def test_resume_and_overwrite_continue_a_replacement(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path
) -> None:
    """An unfinished export that replaces a file needs both arguments, and the error says so."""
    out = tmp_path / "visits.ndjson"
    out.write_text("old", encoding="utf-8")
    await interrupt(visits(lf, sandbox), out, 100, overwrite=True)
    with pytest.raises(CheckpointError, match=r"resume=True and overwrite=True") as caught:
        await visits(lf, sandbox).to_file(out, resume=True)
    assert caught.value.reason == "replaces_unfinished"
    progress = await visits(lf, sandbox).to_file(out, resume=True, overwrite=True)
    assert progress.done == 500
    assert read_ids(out) == all_ids(sandbox)
    with pytest.raises(CheckpointError, match="nothing to resume") as caught:
        await visits(lf, sandbox).to_file(out, resume=True)
    assert caught.value.reason == "exists"


@pytest.mark.parametrize("error", [AuthenticationError, BudgetExceededError, ServerError])
async def test_rows_are_kept_if_the_job_fails(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, error: type[Exception]
) -> None:
    """A revoked key, an exhausted budget or a server failure keeps the rows so far, and the job can be resumed."""
    out = tmp_path / "visits.ndjson"

    def fail(progress: Progress) -> None:
        if progress.pages == 4 and error is not BudgetExceededError:
            sandbox.fail_next(401 if error is AuthenticationError else 500, times=60)

    async with lf.budget(max_requests=12 if error is BudgetExceededError else None):
        with pytest.raises(error):
            await visits(lf, sandbox).to_file(out, on_progress=fail)
    sandbox.clear_faults()
    assert len(read_ids(partial_path(out))) >= 80
    await visits(lf, sandbox).to_file(out, resume=True)
    assert read_ids(out) == all_ids(sandbox)


async def test_canceled_export_is_saved(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Cancellation keeps every page that was written."""
    out, has_started = tmp_path / "visits.ndjson", asyncio.Event()
    sandbox.latency = 0.01
    job = asyncio.create_task(visits(lf, sandbox).to_file(out, on_progress=lambda _: has_started.set()))
    await has_started.wait()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    unfinished = load_unfinished(out, EXPORT)
    assert unfinished is not None
    assert unfinished.rows == len(read_ids(partial_path(out))) > 0
    assert unfinished.state.days == DateWindow(sandbox.start_date, sandbox.end_date)


def test_day_offsets_cover_rows_that_may_repeat() -> None:
    """The offset of a date range is kept while part of the range is still unread, and dropped afterwards."""
    whole, first, second = DateWindow(DAY, DAY.replace(day=9)), DateWindow(DAY, DAY.replace(day=4)), DateWindow(
        DAY.replace(day=5), DAY.replace(day=9)
    )  # fmt: skip
    state = ExportState().after_page(None, whole, 0).after_page(None, first, 700)
    assert state.offsets == (DayOffset(end=whole.end, offset=0), DayOffset(end=first.end, offset=700))
    state = state.after_page(ResumePosition(day=second.start), second, 900)
    assert (state.offsets[0], state.resume_offset) == (DayOffset(end=whole.end, offset=0), 0)
    third, fourth = (
        DateWindow(DAY.replace(day=10), DAY.replace(day=10)),
        DateWindow(DAY.replace(day=11), DAY.replace(day=12)),
    )
    state = ExportState().after_page(None, first, 0).after_page(None, second, 700).after_page(None, third, 900)
    state = state.after_page(ResumePosition(day=fourth.start), fourth, 1_000)
    # Rows near midnight may be returned for the day before as well.
    assert state.offsets == (DayOffset(end=third.end, offset=900), DayOffset(end=fourth.end, offset=1_000))
    assert state.resume_offset == 900


async def test_row_of_two_days_is_written_once_after_a_resume(tmp_path: Path) -> None:
    """A visit near midnight that is returned for both days comes once, although the export stopped between them."""
    server, out = VisitServer(30, 30, 30, 30), tmp_path / "visits.ndjson"
    server.shared_ids = {DAY + timedelta(1): f"{DAY}/29"}
    async with handler_server(server) as url, client_of(url, max_search_rows=40) as lf:
        pager = lf.web_visits.search(start_date=DAY, end_date=DAY + timedelta(3), page_size=10).prefetch(0)
        await interrupt(pager, out, 40)
        await pager.to_file(out, resume=True)
    assert Counter(read_ids(out)) == Counter(
        {f"{DAY + timedelta(day)}/{row}" for day in range(4) for row in range(30)}
    ) - (Counter([f"{DAY + timedelta(1)}/0"]))


async def test_account_of_another_key_is_refused(tmp_path: Path) -> None:
    """An export that resumes with the key of another account stops before its first row, and keeps the file."""
    server, out = VisitServer(30, 30), tmp_path / "visits.ndjson"
    days = {"start_date": DAY, "end_date": DAY + timedelta(1)}
    async with handler_server(server) as url:
        async with AsyncLeadfeeder("first-key", base_url=url) as lf:
            await interrupt(lf.web_visits.search(**days, page_size=10), out, 30)
        rows, server.account, server.requests = partial_path(out).read_bytes(), "2", 0
        async with AsyncLeadfeeder("second-key", base_url=url) as lf:
            pager = lf.web_visits.search(**days, page_size=10)
            with pytest.raises(CheckpointError, match="has rows of account 1, but this job reads account 2") as caught:
                await pager.to_file(out, resume=True)
            assert (caught.value.reason, partial_path(out).read_bytes()) == ("other_job", rows)
            assert server.requests == 1
            await pager.to_file(out, overwrite=True)
    assert len(read_ids(out)) == 60


async def test_checkpoint_of_a_file_that_was_moved_is_ignored(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was killed in its last step does not stop the next one, although its file was moved since."""
    out = tmp_path / "visits.ndjson"
    with monkeypatch.context() as patch:
        patch.setattr(resumable_file, "remove_checkpoint", lambda path: None)
        await visits(lf, sandbox).to_file(out)
    assert names_in(tmp_path) == ["visits.ndjson", "visits.ndjson.checkpoint"]
    out.rename(tmp_path / "archived.ndjson")
    assert load_unfinished(out, EXPORT) is None
    await visits(lf, sandbox).to_file(out)
    assert sorted(read_ids(out)) == sorted(all_ids(sandbox))
    assert names_in(tmp_path) == ["archived.ndjson", "visits.ndjson"]


async def test_position_survives_json(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """A page's position that was saved as JSON continues the list, without the ids that were returned."""
    ids = list[str]()
    pager = visits(lf, sandbox)
    async for page in pager.pages():
        ids.extend(item.id for item in page.items)
        if len(ids) >= 100:
            position = msgspec.json.decode(msgspec.json.encode(page.position), type=ResumePosition)
            break
    ids.extend([item.id async for item in pager.resume_from(position, ids)])
    assert ids == all_ids(sandbox)


async def test_progress_counts_its_own_export(tmp_path: Path) -> None:
    """Four exports of one client at once count their own requests, and together those of the client."""
    async with Sandbox(companies=50, visits=400, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        visits = lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-30", page_size=10)
        exports = (visits.to_file(tmp_path / f"{number}.ndjson") for number in range(4))
        progress = await asyncio.gather(*exports)
        assert len({one.requests for one in progress}) <= 2
        assert sum(one.requests for one in progress) == lf.stats.requests


async def test_account_of_the_key_is_looked_up(tmp_path: Path) -> None:
    """An export without an account looks up the only account of the key once, and names it in its checkpoint."""
    async with Sandbox(companies=9, visits=90, rate_limit=False) as sandbox:
        async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url) as lf:
            pager = lf.with_options(deadline=30).web_visits.search(
                start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=20
            )
            await interrupt(pager, tmp_path / "out.ndjson", 40)
            other = lf.with_options(account_id="7").web_visits.search(
                start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=20
            )
            with pytest.raises(CheckpointError, match="account"):
                await other.to_file(tmp_path / "out.ndjson", resume=True)
            assert (await pager.to_file(tmp_path / "out.ndjson", resume=True)).done == 90
        assert sandbox.ledger.count("list_accounts") == 1


async def test_large_pages_with_line_breaks(tmp_path: Path) -> None:
    """Rows of large pages are one line each, and a row that is not UTF-8 is a gap of the export."""
    row = '{\n "id": "%d", "type": "web_visit", "attributes": {"landing_page_path": "%s"}}'
    rows = [(row % (number, "x" * 4_000)).encode() for number in range(100)]
    rows[7] = rows[7].replace(b"xx", b"\xff\xff", 1)
    body = b'{"data":[' + b",".join(rows) + b'],"meta":{"pagination":{"total_count":100,"page_count":1}}}'
    async with raw_server(http(body)) as server, client_of(server.url) as lf:
        pager = lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-01")
        with pytest.raises(IncompleteListError, match="not UTF-8"):
            await pager.to_file(tmp_path / "out.ndjson")
    assert read_ids(partial_path(tmp_path / "out.ndjson")) == [str(number) for number in range(100) if number != 7]


@pytest.mark.parametrize(
    ("first", "cell"),
    [
        ({}, ""),
        ({"relationships": None}, ""),
        ({"relationships": {"company": None, "tags": []}}, ""),
        ({"relationships": {"company": {"id": "8"}}}, "8"),
        ({"relationships": {"location": {"id": "7"}, "company": {"data": {"id": "8"}}}}, "8"),
    ],
)
async def test_wrapped_relationships_after_other_rows(tmp_path: Path, first: dict[str, Any], cell: str) -> None:
    """Relationships are unwrapped on a page whose first row has none, or has some without wrappers."""
    wrapped = {"id": "2", "relationships": {"company": {"data": {"id": "9"}}}}
    body = json.dumps({"data": [{"id": "1", **first}, wrapped], "meta": {"pagination": {"total_count": 2}}})
    async with raw_server(http(body.encode())) as server, client_of(server.url) as lf:
        pager = lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-01")
        await pager.to_file(tmp_path / "out.csv", fields=["id", "company.id"])
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").split() == ["id,company.id", f"1,{cell}", "2,9"]


@pytest.mark.parametrize("padding", [0, 4_000])
async def test_wrapped_relationships_fill_the_columns(tmp_path: Path, padding: int) -> None:
    """A file has the related ids of rows that wrap relationships in ``data`` as JSON:API servers do."""

    def row(number: int) -> dict[str, Any]:
        company = {"data": {"id": number * 10, "type": "company_summary"}}
        related = {"company": company, "location": {"links": {}, "data": None}}
        attributes = {"source": "data", "landing_page_path": "x" * padding}
        return {"id": str(number), "type": "web_visit", "attributes": attributes, "relationships": related}

    async def handle(request: web.Request) -> web.Response:
        rows = [row(number) for number in range(100)]
        return web.json_response({"data": rows, "meta": {"pagination": {"total_count": 100, "page_count": 1}}})

    async with handler_server(handle) as url, client_of(url) as lf:
        pager = lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-01")
        await pager.to_file(tmp_path / "out.csv")
        await pager.to_file(tmp_path / "out.ndjson")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8-sig") as file:
        cells = [line["company.id"] for line in csv.DictReader(file)]
    assert cells == [str(number * 10) for number in range(100)]
    related = [line["relationships"] for line in read_lines(tmp_path / "out.ndjson")]
    assert related[7] == {"company": {"id": 70, "type": "company_summary"}, "location": None}


@pytest.mark.parametrize("wrapped", [False, True])
async def test_attributes_named_data_stay_unchanged(tmp_path: Path, wrapped: bool) -> None:
    """Only the relationships of a row are unwrapped. Everything else is exported as the server sent it."""
    company = '{"data":{"id":null,"type":"c"},"meta":{}}' if wrapped else '{"id":"9","type":"c","data":{"id":"8"}}'
    row = f'{{"id":"1","attributes":{{"data":{{"id":null}},"x":1e400}},"relationships":{{"company":{company}}}}}'
    body = f'{{"data":[{row}],"meta":{{"pagination":{{"total_count":1,"page_count":1}}}}}}'.encode()
    async with raw_server(http(body)) as server, client_of(server.url) as lf:
        await lf.tags.list().to_file(tmp_path / "out.ndjson")
    text = (tmp_path / "out.ndjson").read_text(encoding="utf-8").strip()
    assert text == (row.replace(company, '{"id":null,"type":"c"}') if wrapped else row)


NO_RECORDS = [
    '{"data":{}}',
    '{"data":{"id":null}}',
    '{"data":{"items":[{"id":"1","type":"tag","attributes":{"name":"a"}}],"total":1}}',
    '{"data":[{"data":{"id":"1","type":"tag","attributes":{"name":"a"}}}],"meta":{"pagination":{"total_count":1}}}',
    '{"data":[{}],"meta":{"pagination":{"total_count":1}}}',
]


@pytest.mark.parametrize("body", NO_RECORDS)
@pytest.mark.parametrize("suffix", [".ndjson", ".csv"])
async def test_objects_that_are_no_records_are_reported(tmp_path: Path, body: str, suffix: str) -> None:
    """A list whose rows cannot be found is an error of an export, as it is of a loop, and not a blank row."""
    async with raw_server(*2 * [http(body.encode())]) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(LeadfeederError):
            await lf.tags.list().collect()
        with pytest.raises(LeadfeederError):
            await lf.tags.list().to_file(tmp_path / f"out{suffix}")


async def test_charged_record_that_cannot_be_found(tmp_path: Path) -> None:
    """An export of companies by id reports a response without records."""
    body = b'{"data":{"items":[{"id":"1","type":"company"}]}}'
    async with raw_server(http(body)) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(LeadfeederError):
            await lf.companies.get_many(["1"]).to_file(tmp_path / "out.csv")


@pytest.mark.parametrize("row_id", [None, 7.0])
async def test_rows_without_string_ids_are_written_once(tmp_path: Path, row_id: float | None) -> None:
    """A resumed export of rows without ids reads them again from the start, and rows with numbers as ids continue."""
    is_healthy = False

    async def handle(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        if page == 2 and not is_healthy:
            return web.Response(status=500)
        rows = [
            {"type": "tag", "attributes": {"name": f"{page}-{row}"}}
            | ({} if row_id is None else {"id": 100.0 * page + row})
            for row in range(10)
        ]
        return web.json_response({"data": rows, "meta": {"pagination": {"page_count": 3, "total_count": 30}}})

    out = tmp_path / "tags.ndjson"
    async with handler_server(handle) as url, client_of(url, retries=0) as lf:
        with pytest.raises(LeadfeederError):
            await lf.tags.list().to_file(out)
        is_healthy = True
        progress = await lf.tags.list().to_file(out, resume=True)
    names = [line["attributes"]["name"] for line in read_lines(out)]
    assert names == [f"{page}-{row}" for page in (1, 2, 3) for row in range(10)]
    assert progress.done == 30


async def test_rows_without_ids_of_another_account_are_kept(tmp_path: Path) -> None:
    """An export of rows without ids that resumes with the key of another account is refused, and keeps its rows."""
    account = "1"

    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith("/accounts"):
            return web.json_response({"data": [{"id": account, "type": "account", "attributes": {}}]})
        if request.query["page[num]"] == "2":
            return web.Response(status=500)
        rows = [{"type": "tag", "attributes": {"name": str(row)}} for row in range(10)]
        return web.json_response({"data": rows, "meta": {"pagination": {"page_count": 2, "total_count": 20}}})

    out = tmp_path / "tags.ndjson"
    async with handler_server(handle) as url:
        async with AsyncLeadfeeder("first-key", base_url=url, retries=0) as lf:
            with pytest.raises(LeadfeederError):
                await lf.tags.list().to_file(out)
        rows, account = partial_path(out).read_bytes(), "2"
        async with AsyncLeadfeeder("second-key", base_url=url, retries=0) as lf:
            with pytest.raises(CheckpointError, match="has rows of account 1"):
                await lf.tags.list().to_file(out, resume=True)
    assert (len(rows.splitlines()), partial_path(out).read_bytes()) == (10, rows)


@pytest.mark.parametrize("suffix", [".ndjson", ".csv"])
async def test_rows_that_are_not_objects_are_reported(tmp_path: Path, suffix: str) -> None:
    """A row that is not an object is reported as in a loop, and not written."""
    body = {"data": [None, 5, {"id": "1", "type": "tag", "attributes": {"name": "a"}}]}
    out = tmp_path / f"tags{suffix}"
    async with raw_server(*2 * [http(json.dumps(body).encode())]) as server, client_of(server.url) as lf:
        with pytest.raises(IncompleteListError, match="A row is not a record: 'null'"):
            await lf.tags.list().to_file(out)
        await lf.tags.list().to_file(out, resume=True)
    assert len(out.read_text(encoding="utf-8").splitlines()) == (1 if suffix == ".ndjson" else 2)


def test_deeply_nested_row_is_an_error_of_a_table() -> None:
    """A row that is nested too deeply for a table is reported with a hint."""
    with pytest.raises(DecodeError, match="nested too deeply"):
        decode_row(b'{"a":' * 100_001 + b"1" + b"}" * 100_001)  # Python 3.13 allows several thousand levels
