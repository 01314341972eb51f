"""Lists in files: whole or not there, resumable, and in three formats."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    AuthenticationError,
    BudgetExceededError,
    CheckpointError,
    IncompleteListError,
    IncompleteWindowError,
    Pager,
    Progress,
    ResumePosition,
    ServerError,
)
from leadfeeder_async.cli import exit_code, terminal
from leadfeeder_async.jobs import resumable_file
from leadfeeder_async.jobs.checkpoint import Checkpoint, DayOffset
from leadfeeder_async.jobs.tabular import Column, columns_of
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination import numbered
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.sandbox import Sandbox
from tests.pagination.test_pager import DAY, DailyVisits, Script
from tests.support.clients import client_of
from tests.support.servers import handler_server, http, raw_server


def visits(lf: AsyncLeadfeeder, sandbox: Sandbox, **options: Any) -> Pager[WebVisit]:
    return lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=20, **options)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ids(path: Path) -> list[str]:
    return [line["id"] for line in lines(path)]


def truth(sandbox: Sandbox) -> list[str]:
    return list(sandbox.world.visit_ids())


class Stopped(Exception):  # noqa: N818 - not an error
    pass


def stop_after(rows: int) -> Callable[[Progress], None]:
    """Stop an export from its own progress callback."""

    def watch(progress: Progress) -> None:
        if progress.done >= rows:
            raise Stopped

    return watch


async def interrupted(pager: Pager[Any], path: Path, rows: int) -> None:
    with pytest.raises(Stopped):
        await pager.to_file(path, on_progress=stop_after(rows))


@pytest.fixture
async def full_day() -> AsyncIterator[tuple[Pager[WebVisit], Script]]:
    """A list of three days, on a server of which the second holds 60 visits and gives 40, and the list of its requests."""
    server = DailyVisits({DAY: 30, DAY + timedelta(1): 60, DAY + timedelta(2): 30}, 40)
    script = Script(server)
    async with handler_server(script) as url, client_of(url) as lf:
        yield lf.web_visits.search(start_date=DAY, end_date=DAY + timedelta(2), page_size=10).prefetch(0), script


async def test_a_full_day_costs_its_own_rest_and_no_other_day(
    full_day: tuple[Pager[WebVisit], Script], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """All that can be read is read, the file does not pass for whole, and who knows that can finish it."""
    (pager, script), out = full_day, tmp_path / "visits.ndjson"
    monkeypatch.setattr(sys, "argv", ["leadfeeder", "export", "visits", "--out", str(out), "--overwrite"])
    with pytest.raises(IncompleteWindowError, match=r"2026-11-02 holds .*--resume\) finishes the file") as caught:
        await pager.to_file(out)
    assert not out.exists()
    terminal.ResumeHint(lambda _: None).print_resume_hint(out, caught.value)
    said = "100 rows safe in {}.part. To finish it without what is missing:\n  leadfeeder export visits --out {} --resume\n"
    assert capsys.readouterr().err.replace(str(out), "{}").endswith(said)
    asked = len(script.asked)
    await pager.to_file(out, resume=True)
    assert len(script.asked) == asked
    assert Counter(one[:10] for one in ids(out)) == {"2026-11-01": 30, "2026-11-02": 40, "2026-11-03": 30}


async def test_what_is_missing_is_remembered_over_an_interruption(
    full_day: tuple[Pager[WebVisit], Script], tmp_path: Path
) -> None:
    """A run that goes on after the full day was passed tells of it too: a list that lacks rows never passes for whole."""
    (pager, _), out = full_day, tmp_path / "visits.ndjson"
    await interrupted(pager, out, 90)
    with pytest.raises(IncompleteListError, match=r"could not be read\. 2026-11-02 holds") as caught:
        await pager.to_file(out, resume=True)
    assert caught.value.problems == ()
    await pager.to_file(out, resume=True)
    assert len(set(ids(out))) == 100


def tags(*pages: tuple[int, bool] | int) -> Script:
    """Serve a list of tags, 100 a page: each with its rows and whether errors stand beside them, or a status."""

    def answer(request: web.Request, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        number = int(request.query["page[num]"])
        page = script.pages[number - 1]
        if isinstance(page, int):
            return page, {}
        data = [{"id": f"{number}.{one}", "type": "tag"} for one in range(page[0])]
        counts = {
            "page_count": len(script.pages),
            "total_count": sum(one[0] for one in pages if not isinstance(one, int)),
        }
        content: dict[str, Any] = {"data": data, "meta": {"pagination": counts}}
        return 200, {**content, "errors": [{"title": "A part is down"}]} if page[1] else content

    script = Script(answer)
    script.pages = list(pages)
    return script


async def test_what_is_read_again_may_be_whole_this_time(tmp_path: Path) -> None:
    """What was missing of a page is forgotten where that page is read once more, and not counted twice."""
    out = tmp_path / "tags.ndjson"
    script = tags((100, True), 500)
    async with handler_server(script) as url, client_of(url, retries=0) as lf:
        for _ in range(2):
            with pytest.raises(ServerError):
                await lf.tags.list().to_file(out, resume=True)
        script.pages = [(100, True), (100, False)]
        with pytest.raises(IncompleteListError, match="1 row or part") as caught:
            await lf.tags.list().prefetch(0).to_file(out, resume=True)
        assert len(caught.value.problems) == 1
        out.with_name("tags.ndjson.checkpoint").unlink()
        script.pages = [(100, True), 500]
        with pytest.raises(ServerError):
            await lf.tags.list().prefetch(0).to_file(out, overwrite=True)
        script.pages = [(100, False), (100, False)]
        await lf.tags.list().to_file(out, resume=True)
    assert len(lines(out)) == 200


async def test_a_list_that_stopped_is_read_on_and_replaces_nothing_before(tmp_path: Path) -> None:
    """An export, as from cron, of a list that stopped once keeps the file of before, and has all rows the next time."""
    out, script = tmp_path / "tags.ndjson", tags((100, False), (100, False), (100, False))
    honest = script.answer
    async with handler_server(script) as url, client_of(url) as lf:
        await lf.tags.list().to_file(out)
        script.answer = lambda request, body: honest(
            request.clone(rel_url=request.rel_url.update_query({"page[num]": "1"})), body
        )
        with pytest.raises(IncompleteListError, match=r"repeats a page .* start again later\.$"):
            await lf.tags.list().to_file(out, resume=True, overwrite=True)
        assert len(lines(out)) == 300
        script.answer = honest
        await lf.tags.list().to_file(out, resume=True, overwrite=True)
    assert len(lines(out)) == 300


@pytest.mark.parametrize("limit", [100, 150, 300, 350])
async def test_a_page_that_a_limit_cut_is_read_again(tmp_path: Path, limit: int) -> None:
    """An export along cursors that failed at its limit, and goes on with a larger one, lacks no row of the page it cut."""
    out = tmp_path / "companies.ndjson"

    async def answer(request: web.Request) -> web.Response:
        page = int(request.query.get("page[cursor]", "1"))
        data = [{"id": f"{page}.{one}", "type": "company"} for one in range(100)]
        beside = {"errors": [{"title": "A part is down"}]} if page == 1 else {}
        counts = {"next_cursor": str(page + 1) if page < 4 else None}
        return web.json_response({"data": data, "meta": {"pagination": counts}, **beside})

    async with handler_server(answer) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError):
            await lf.companies.search(search_terms=["x"], limit=limit).to_file(out)
        for _ in range(2):
            if not out.exists():
                with suppress(IncompleteListError):
                    await lf.companies.search(search_terms=["x"]).to_file(out, resume=True)
    assert len(set(ids(out))) == len(ids(out)) == 400


async def test_what_is_counted_only_is_forgotten_where_it_is_read_again(tmp_path: Path) -> None:
    """Of very many things that are missing only the number is kept; it goes as well where their days are read anew."""
    out, bad = tmp_path / "visits.ndjson", True

    def answer(request: web.Request, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        page = int(request.query["page[num]"])
        data = [{"id": f"{page}.{one}", "type": "web_visit"} for one in range(20)]
        counts = {"page_count": 9, "total_count": 180}
        return 200, {"data": data, "meta": {"pagination": counts}, "errors": [{"title": "Down"}] * (40 if bad else 0)}

    async with handler_server(Script(answer)) as url, client_of(url) as lf:
        pager = lf.web_visits.search(start_date=DAY, end_date=DAY, page_size=20).prefetch(0)
        await interrupted(pager, out, 100)
        state = msgspec.json.decode(out.with_name("visits.ndjson.checkpoint").read_bytes(), type=Checkpoint)
        assert (len(state.gaps), state.gap_count) == (100, 200)
        bad = False
        await pager.to_file(out, resume=True)
    assert len(set(ids(out))) == 180


async def test_a_limit_is_not_the_end_of_a_list(tmp_path: Path) -> None:
    """An export of the first rows, some missing, that goes on without the limit, reads all the others."""
    out = tmp_path / "tags.ndjson"
    async with handler_server(tags((100, True), (100, False), (100, False))) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError):
            await lf.tags.list(limit=100).to_file(out)
        with pytest.raises(IncompleteListError):
            await lf.tags.list().to_file(out, resume=True)
        await lf.tags.list().to_file(out, resume=True)
    assert len(lines(out)) == 300


@pytest.mark.parametrize("replaces", [False, True])
async def test_an_export_of_nothing_that_could_be_read(tmp_path: Path, replaces: bool) -> None:
    """One without a readable row can be finished as well, and asks for nothing more."""
    out, script = tmp_path / "tags.ndjson", tags((0, True))
    if replaces:
        out.write_text("old")
    async with handler_server(script) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError):
            await lf.tags.list().to_file(out, overwrite=replaces)
        await lf.tags.list().to_file(out, resume=True, overwrite=replaces)
    assert out.read_bytes() == b""
    assert len(script.asked) == 1


async def test_a_checkpoint_is_as_private_as_its_rows(tmp_path: Path) -> None:
    """It can speak of a row that could not be read."""
    out, modes = tmp_path / "tags.ndjson", set[int]()
    out.write_text("old")
    out.chmod(0o600)
    async with handler_server(tags((100, True))) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError):
            await lf.tags.list().to_file(out, overwrite=True)
    modes = {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert (len(list(tmp_path.iterdir())), modes) == (3, {0o600})


@pytest.fixture
def low_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut visits into ranges of days as if the API handed out no more than 100 rows of a search."""
    monkeypatch.setattr("leadfeeder_async.pagination.date_range.MAX_SEARCH_ROWS", 100)
    monkeypatch.setattr(numbered, "MAX_SEARCH_ROWS", 100)


async def test_rows_are_what_the_api_sent(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Each row is a line, in order, as the API sent it; nothing else is left in the folder."""
    progress = await visits(lf, sandbox).to_file(tmp_path / "new" / "visits.ndjson")
    assert ids(tmp_path / "new" / "visits.ndjson") == truth(sandbox)
    assert (progress.done, progress.total, progress.pages) == (500, 500, 25)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["visits.ndjson"]


@pytest.mark.parametrize("stop", [1, 100, 333, 480])
@pytest.mark.usefixtures("low_wall")
async def test_resume_reads_the_rest_only(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, stop: int) -> None:
    """An interrupted export goes on in the range of days where it was, and ends with every row once."""
    out = tmp_path / "visits.ndjson"
    await interrupted(visits(lf, sandbox), out, stop)
    assert not out.exists()
    sandbox.world.add_visits(5)
    before = lf.stats.requests
    progress = await visits(lf, sandbox).to_file(out, resume=True)
    assert ids(out) == truth(sandbox)
    assert progress.done == 505
    assert lf.stats.requests - before <= (505 - stop) / 20 + 20  # at most one range again, and the ends of the others


@pytest.mark.parametrize("stop", [10, 40, 60])
async def test_resume_of_rows_that_belong_to_many_days(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """A company that came in several ranges of days is in the file once, whichever range was interrupted."""
    monkeypatch.setattr("leadfeeder_async.pagination.date_range.MAX_SEARCH_ROWS", 40)
    monkeypatch.setattr(numbered, "MAX_SEARCH_ROWS", 40)
    out, first, last = tmp_path / "companies.ndjson", sandbox.start_date, sandbox.end_date
    companies = lf.web_visits.companies(start_date=first, end_date=last, page_size=10)
    everything = [one.id async for one in companies]
    assert len(everything) > 60  # more than one range hands out here
    await interrupted(companies, out, stop)
    await companies.to_file(out, resume=True)
    assert sorted(ids(out)) == sorted(everything)


async def test_nothing_is_left_of_a_kill_between_two_checkpoints(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A checkpoint that was written, and did not take its place before a kill, is gone when the export is whole."""
    out = tmp_path / "visits.ndjson"
    with pytest.raises(Stopped):
        await visits(lf, sandbox).to_file(out, on_progress=stop_after(100))
    resumable_file.checkpoint_path(out).with_name("visits.ndjson.checkpoint.new").touch()
    await visits(lf, sandbox).to_file(out, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["visits.ndjson"]


async def test_resume_of_a_cursor_list(lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """A list along a cursor goes on at the page it had reached."""
    out, search = tmp_path / "c.ndjson", lf.companies.search(search_terms=["a"], page_size=5)
    everything = [one.id async for one in search]
    await interrupted(search, out, 12)
    before = lf.stats.requests
    await search.to_file(out, resume=True)
    assert ids(out) == everything
    assert lf.stats.requests - before == -(-len(everything) // 5) - 3


async def test_resume_of_a_list_by_ids_charges_nothing_twice(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A list by ids goes on after the batches that are safe."""
    wanted = [one.id async for one in lf.companies.search(filters={"has_email": True})]
    out, pager = tmp_path / "c.ndjson", lf.companies.get_many(wanted)
    await pager.to_file(out)
    assert sorted(ids(out)) == sorted(wanted)
    assert sandbox.ledger.credits_charged == len(wanted)


async def test_resume_after_the_last_page(lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """An export that was stopped after its last row only has to take its name."""
    out, search = tmp_path / "c.ndjson", lf.companies.search(search_terms=["a"])
    count = len(await search.collect())
    await interrupted(search, out, count)
    before = lf.stats.requests
    assert (await search.to_file(out, resume=True)).done == count
    assert (len(ids(out)), lf.stats.requests - before) == (count, 0)


async def test_limit_holds_over_a_resume(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """``limit`` is a total of both runs."""
    out = tmp_path / "visits.ndjson"
    await interrupted(visits(lf, sandbox, limit=110), out, 60)
    await visits(lf, sandbox, limit=110).to_file(out, resume=True)
    assert ids(out) == truth(sandbox)[:110]


async def test_resume_without_anything_to_resume(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A job may always pass ``resume``: the first run begins."""
    await visits(lf, sandbox).to_file(tmp_path / "visits.ndjson", resume=True)
    assert ids(tmp_path / "visits.ndjson") == truth(sandbox)


async def test_unfinished_export_is_not_thrown_away(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Without ``resume`` an unfinished export is named, not overwritten; ``overwrite`` begins anew."""
    out = tmp_path / "visits.ndjson"
    await interrupted(visits(lf, sandbox), out, 60)
    with pytest.raises(CheckpointError, match="60 rows"):
        await visits(lf, sandbox).to_file(out)
    await visits(lf, sandbox).to_file(out, overwrite=True)
    assert ids(out) == truth(sandbox)


async def test_another_query_is_refused(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Rows of two queries never end up in one file; the error names both."""
    out, start = tmp_path / "visits.ndjson", sandbox.start_date
    await interrupted(visits(lf, sandbox), out, 60)
    others = [
        lf.web_visits.search(start_date=start, end_date=start),
        visits(lf, sandbox, company_id="5"),
        visits(lf, sandbox, include=["company"]),
        visits(lf, sandbox, account_id="7"),
        lf.tags.list(),
    ]
    for other in others:
        with pytest.raises(CheckpointError, match=f"{start} to .* asked for now: "):
            await other.to_file(out, resume=True)
    await lf.web_visits.search(start_date=start, end_date=sandbox.end_date, page_size=50).to_file(out, resume=True)
    assert ids(out) == truth(sandbox)


@pytest.mark.parametrize(
    "spoil",
    [
        b"{",
        b"",
        b"\xff",
        b'{"fingerprint":5}',
        msgspec.json.encode(Checkpoint(version=99, fingerprint="x", query="y")),
    ],
)
async def test_checkpoint_that_cannot_be_used(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, spoil: bytes
) -> None:
    """A broken checkpoint, or one of another version, is named before anything is sent."""
    out = tmp_path / "visits.ndjson"
    await interrupted(visits(lf, sandbox), out, 60)
    resumable_file.checkpoint_path(out).write_bytes(spoil)
    before = lf.stats.requests
    with pytest.raises(CheckpointError, match="--overwrite"):
        await visits(lf, sandbox).to_file(out, resume=True)
    assert lf.stats.requests == before


@pytest.mark.parametrize("length", [300, 248, 242, 0])
async def test_names_that_cannot_be(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, length: int) -> None:
    """A name too long, by itself or with what is added while it is written, or with a null, is refused at once."""
    name = ("x" * length).removesuffix("x" * 7) + ".ndjson" if length else "x\0.ndjson"
    with pytest.raises(CheckpointError, match=r"File name too long|not a file's name"):
        await visits(lf, sandbox).to_file(tmp_path / name)
    assert (sandbox.ledger.requests, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
async def test_a_folder_in_the_place_of_the_checkpoint(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, options: dict[str, bool]
) -> None:
    """It is named before anything is sent."""
    resumable_file.checkpoint_path(tmp_path / "visits.ndjson").mkdir()
    with pytest.raises(CheckpointError, match=r"visits\.ndjson\.checkpoint cannot be written"):
        await visits(lf, sandbox).to_file(tmp_path / "visits.ndjson", **options)
    assert sandbox.ledger.requests == []


NOBODYS = resumable_file.JobIdentity("f", "q")


@pytest.mark.parametrize("suffix", [".ndjson", ".csv"])
def test_a_file_that_is_finished_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Who opened a working file that another job finished before it could be locked leaves everything as it is."""
    out, lock = tmp_path / f"o{suffix}", resumable_file.lock_exclusive
    first = resumable_file.open_resumable(out, NOBODYS, resume=False, overwrite=False)
    part = first.__enter__()
    part.append(b'{"id":"1"}\n', 1)

    def finish_first(file: Any) -> None:
        monkeypatch.setattr(resumable_file, "lock_exclusive", lock)
        part.finish(lambda: (Column("id", ("id",), str),))
        first.__exit__(None, None, None)
        lock(file)

    monkeypatch.setattr(resumable_file, "lock_exclusive", finish_first)
    with (
        pytest.raises(CheckpointError, match="Another export is writing"),
        resumable_file.open_resumable(out, NOBODYS, resume=False, overwrite=True),
    ):
        pass
    assert ("1" in out.read_text(), list(tmp_path.iterdir())) == (True, [out])


def test_an_end_between_the_last_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the file has its name, whatever ends the job leaves no new checkpoint."""
    out = tmp_path / "o.ndjson"

    def stop(_: Path) -> None:
        raise Stopped

    with pytest.raises(Stopped), resumable_file.open_resumable(out, NOBODYS, resume=False, overwrite=False) as part:
        part.append(b'{"id":"1"}\n', 1)
        monkeypatch.setattr(resumable_file, "remove_checkpoint", stop)
        part.finish(tuple)
    assert (ids(out), list(tmp_path.iterdir())) == (["1"], [out])


def test_the_name_is_looked_at_again_under_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that appears after the first look is not replaced, and no empty working file is left beside it."""
    out, lock = tmp_path / "o.ndjson", resumable_file.lock_exclusive

    def appear(file: Any) -> None:
        out.write_text("precious")
        lock(file)

    monkeypatch.setattr(resumable_file, "lock_exclusive", appear)
    with (
        pytest.raises(CheckpointError, match="exists"),
        resumable_file.open_resumable(out, NOBODYS, resume=False, overwrite=False),
    ):
        pass
    assert (out.read_text(), list(tmp_path.iterdir())) == ("precious", [out])


def test_nobody_begins_before_all_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that would overwrite has to wait until who finishes has removed the checkpoint, which could be its own."""
    out, remove = tmp_path / "o.ndjson", resumable_file.remove_checkpoint
    with resumable_file.open_resumable(out, NOBODYS, resume=False, overwrite=False) as part:
        part.append(b'{"id":"1"}\n', 1)
        part.commit()

        def begin_another(path: Path) -> None:
            monkeypatch.setattr(resumable_file, "remove_checkpoint", remove)
            assert out.exists()
            with (
                pytest.raises(CheckpointError, match="Another export is writing"),
                resumable_file.open_resumable(out, NOBODYS, resume=False, overwrite=True),
            ):
                pass
            remove(path)

        monkeypatch.setattr(resumable_file, "remove_checkpoint", begin_another)
        part.finish(tuple)
    assert (ids(out), list(tmp_path.iterdir())) == (["1"], [out])
    with resumable_file.open_resumable(out, NOBODYS, resume=False, overwrite=True) as part:
        part.finish(tuple)
    assert ids(out) == []


@pytest.mark.parametrize("again", [False, True])
async def test_a_kill_after_the_file_took_its_name(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, again: bool
) -> None:
    """The checkpoint of a finished file is no unfinished export, not even after a second kill: the next one begins."""
    out = tmp_path / "visits.ndjson"
    await interrupted(visits(lf, sandbox), out, 60)
    saved = resumable_file.checkpoint_path(out).read_bytes()
    await visits(lf, sandbox).to_file(out, resume=True)
    resumable_file.checkpoint_path(out).write_bytes(saved)
    if again:
        resumable_file.partial_path(out).touch()
    assert resumable_file.load_unfinished(out) is None
    sandbox.world.add_visits(5)
    await visits(lf, sandbox).to_file(out, resume=True, overwrite=True)
    assert ids(out) == truth(sandbox)
    assert list(tmp_path.iterdir()) == [out]


def test_credits_that_were_spent_are_not_forgotten(tmp_path: Path) -> None:
    """A checkpoint without rows counts where credits were spent, and one without either does not."""
    out = tmp_path / "o.ndjson"
    out.touch()
    for credits in (0, 3):  # noqa: A001 - the API's word
        state = Checkpoint(fingerprint="f", query="q", credits=credits)
        resumable_file.partial_path(out).touch()
        resumable_file.checkpoint_path(out).write_bytes(msgspec.json.encode(state))
        assert resumable_file.load_unfinished(out) == (state if credits else None)


@pytest.mark.parametrize("name", [b"size", b"rows", b"credits"])
async def test_checkpoint_of_less_than_nothing(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, name: bytes
) -> None:
    """A checkpoint that counts below 0 cannot be read."""
    out = tmp_path / "visits.ndjson"
    await interrupted(visits(lf, sandbox), out, 60)
    saved = resumable_file.checkpoint_path(out)
    saved.write_bytes(re.sub(rb'"%b":\d+' % name, b'"%b":-5' % name, saved.read_bytes()))
    with pytest.raises(CheckpointError, match="cannot be read"):
        await visits(lf, sandbox).to_file(out, resume=True)


async def test_rows_that_vanished_are_noticed(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A file shorter than its checkpoint says is not gone on with."""
    out = tmp_path / "visits.ndjson"
    await interrupted(visits(lf, sandbox), out, 60)
    resumable_file.partial_path(out).write_bytes(b"{}\n")
    with pytest.raises(CheckpointError, match="shorter"):
        await visits(lf, sandbox).to_file(out, resume=True)


async def test_rows_after_the_checkpoint_are_read_again(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Half a row that a kill left behind is cut off."""
    out = tmp_path / "visits.ndjson"
    await interrupted(visits(lf, sandbox), out, 60)
    with resumable_file.partial_path(out).open("ab") as part:
        part.write(b'{"id":"half')
    await visits(lf, sandbox).to_file(out, resume=True)
    assert ids(out) == truth(sandbox)


@contextmanager
def small_disk(size: int) -> Iterator[Callable[[int], None]]:
    """Let no file of this process grow past ``size``, or past what the function is told that is given."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def shrink(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    shrink(size)
    try:
        yield shrink
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_time_left() -> None:
    """The rate so far tells how long the rest takes; nothing does where no total or no row is known, nor a total too small."""
    progress = Progress(done=50, total=200, pages=1, requests=1, rate_limited=0, credits=0, elapsed=10.0)
    assert (progress.rate, progress.eta) == (5.0, 30.0)
    assert msgspec.structs.replace(progress, total=40).eta == 0.0
    assert msgspec.structs.replace(progress, total=None).eta is None
    assert msgspec.structs.replace(progress, done=0).eta is None
    assert msgspec.structs.replace(progress, elapsed=0.0).eta is None


async def test_full_disk(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A disk that fills up ends the export by name; with room again it goes on and is whole."""
    out = tmp_path / "visits.ndjson"
    with small_disk(150_000), pytest.raises(CheckpointError, match=r"cannot be written: .*--resume") as caught:
        await visits(lf, sandbox).to_file(out)
    assert exit_code(caught.value) == 5
    unfinished = resumable_file.load_unfinished(out)
    assert unfinished is not None
    assert unfinished.rows >= 40, "whole rows that were there before it was full are kept, though no second had passed"
    assert resumable_file.partial_path(out).stat().st_size == unfinished.size
    before = len(sandbox.ledger.requests)
    progress = await visits(lf, sandbox).to_file(out, resume=True)
    assert ids(out) == truth(sandbox)
    assert progress.done == 500
    assert len(sandbox.ledger.requests) - before < 30


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling link"])
async def test_only_a_plain_file_is_replaced(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, kind: str) -> None:
    """A device, a pipe or a link stays what it is: a finished export would take its place."""
    out, target = tmp_path / "visits.ndjson", tmp_path / "target"
    if kind == "pipe":
        os.mkfifo(out)
    else:
        out.symlink_to(target)
    if kind == "link":
        target.write_text("kept")
    was = out.lstat()
    with pytest.raises(CheckpointError, match="a link, a device or a pipe"):
        await visits(lf, sandbox).to_file(out, overwrite=True)
    assert os.path.samestat(out.lstat(), was)
    assert sandbox.ledger.requests == []
    assert sorted(tmp_path.iterdir()) == sorted([out, target] if kind == "link" else [out])


@pytest.mark.parametrize("suffix", [".ndjson", ".csv", ".parquet"])
async def test_a_file_that_is_replaced_keeps_its_mode(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """What no one else could read before, no one else can read while it is written anew, nor after."""
    out, modes = tmp_path / f"visits{suffix}", dict[str, set[int]]()
    out.write_text("old")
    out.chmod(0o600)

    def look(*_: object) -> None:
        for file in tmp_path.glob(f"*visits{suffix}*"):
            if file.stat().st_size and ".checkpoint" not in file.name:
                modes.setdefault(file.name, set()).add(file.stat().st_mode & 0o777)

    synced, unlinked = os.fsync, Path.unlink
    monkeypatch.setattr(os, "fsync", lambda file: (look(), synced(file)))
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: (look(), unlinked(path, missing_ok)))
    await visits(lf, sandbox).to_file(out, overwrite=True, on_progress=look)
    made = {".ndjson": (), ".csv": (".new",), ".parquet": (".new", ".new.csv")}[suffix]
    assert modes == {f"{out.name}{one}": {0o600} for one in ("", ".part", *made)}
    assert out.stat().st_mode & 0o777 == 0o600


async def test_replacing_goes_on_with_both_flags(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Where a finished file is being replaced, the command that is shown goes on, and without --overwrite that is said."""
    out = tmp_path / "visits.ndjson"
    out.write_text("old")
    monkeypatch.setattr(sys, "argv", ["leadfeeder", "export", "visits", "--out", "visits.ndjson", "--overwrite"])
    watch = terminal.ResumeHint(stop_after(100))
    with pytest.raises(Stopped) as caught:
        await visits(lf, sandbox).to_file(out, overwrite=True, on_progress=watch)
    watch.print_resume_hint(out, caught.value)
    assert capsys.readouterr().err.endswith("--out visits.ndjson --overwrite --resume\n")
    with pytest.raises(CheckpointError, match="--resume --overwrite"):
        await visits(lf, sandbox).to_file(out, resume=True)
    await visits(lf, sandbox).to_file(out, resume=True, overwrite=True)
    assert ids(out) == truth(sandbox)
    with pytest.raises(CheckpointError, match="nothing to do"):
        await visits(lf, sandbox).to_file(out, resume=True)


async def test_a_read_only_file_can_be_replaced_in_two_goes(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The working file of one that nobody may write can be written: an export to its place goes on, and ends read-only."""
    out, modes = tmp_path / "visits.ndjson", set[int]()
    out.write_text("old")
    out.chmod(0o444)
    with pytest.raises(Stopped):
        await visits(lf, sandbox).to_file(out, overwrite=True, on_progress=stop_after(100))
    modes.add(resumable_file.partial_path(out).stat().st_mode & 0o777)
    await visits(lf, sandbox).to_file(out, overwrite=True, resume=True)
    assert (modes, out.stat().st_mode & 0o777) == ({0o644}, 0o444)


@pytest.mark.parametrize("suffix", [".ndjson", ".csv", ".parquet"])
async def test_done_survives_a_power_cut(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """The file's bytes are on the disk before it takes its name, and its name before the working file goes."""
    steps = list[tuple[str, str]]()
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def synced(descriptor: int) -> None:
        entry = os.fstat(descriptor)
        found = [tmp_path, *tmp_path.iterdir()]
        steps.extend(("sync", one.name) for one in found if os.path.samestat(one.stat(), entry))
        fsync(descriptor)

    def named(fresh: Path, path: Path) -> Path:
        steps.append((f"to {path.name}", fresh.name))
        return replace(fresh, path)

    def removed(path: Path, missing_ok: bool = False) -> None:  # noqa: FBT002 - as pathlib has it
        steps.append(("remove", path.name))
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", named)
    monkeypatch.setattr(Path, "unlink", removed)
    out = tmp_path / f"visits{suffix}"
    await visits(lf, sandbox).to_file(out)
    done = f"to {out.name}"
    place = next(place for place, (what, _) in enumerate(steps) if what == done)
    made = steps[place][1]
    assert ("sync", made) in steps[:place]
    assert steps[place + 1] == ("sync", tmp_path.name)
    assert ("remove", f"{out.name}.part") in steps[place:]
    assert ("remove", f"{out.name}.checkpoint") in steps[place:]


@pytest.mark.parametrize("error", [AuthenticationError, BudgetExceededError, ServerError])
async def test_what_is_done_is_kept(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, error: type[Exception]
) -> None:
    """A key revoked, a budget spent or a server down in mid-job keeps the rows so far, and the job can go on."""
    out = tmp_path / "visits.ndjson"

    def trouble(progress: Progress) -> None:
        if progress.pages == 4 and error is not BudgetExceededError:
            sandbox.fail_next(401 if error is AuthenticationError else 500, times=60)

    async with lf.budget(max_requests=12 if error is BudgetExceededError else None):
        with pytest.raises(error):
            await visits(lf, sandbox).to_file(out, on_progress=trouble)
    sandbox.clear_faults()
    assert len(ids(resumable_file.partial_path(out))) >= 80
    await visits(lf, sandbox).to_file(out, resume=True)
    assert ids(out) == truth(sandbox)


async def test_cancelled_export_is_committed(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Cancelling keeps every page that was written."""
    out, seen = tmp_path / "visits.ndjson", asyncio.Event()
    sandbox.latency = 0.01
    job = asyncio.create_task(visits(lf, sandbox).to_file(out, on_progress=lambda _: seen.set()))
    await seen.wait()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    saved = msgspec.json.decode(resumable_file.checkpoint_path(out).read_bytes(), type=Checkpoint)
    assert saved.rows == len(ids(resumable_file.partial_path(out))) > 0


async def test_csv(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A CSV file has one documented column for each field, whatever the rows hold."""
    out = tmp_path / "visits.csv"
    await interrupted(visits(lf, sandbox), out, 60)
    await visits(lf, sandbox).to_file(out, resume=True)
    with out.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["id"] for row in table] == truth(sandbox)
    first = await visits(lf, sandbox).first()
    assert first is not None
    assert first.company is not None
    assert table[0]["company.id"] == first.company.id
    assert table[0]["landing_page_path"] == first.attributes.landing_page_path
    assert len(json.loads(table[0]["engagements"])) == len(first.attributes.engagements or ())
    assert list(table[0]) == [column.name for column in columns_of(WebVisit)]
    assert [path.name for path in tmp_path.iterdir()] == ["visits.csv"]


async def test_parquet(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A parquet file has the same columns, typed."""
    out = tmp_path / "it's visits.parquet"
    await visits(lf, sandbox).to_file(out)
    table = duckdb.sql(f"SELECT * FROM read_parquet('{str(out).replace(chr(39), chr(39) * 2)}')")
    types = dict(zip(table.columns, map(str, table.types), strict=True))
    assert (types["id"], types["page_depth"], types["visit_length"]) == ("VARCHAR", "BIGINT", "DOUBLE")
    assert types["started_at"] == "TIMESTAMP WITH TIME ZONE"
    assert [row[0] for row in table.select("id").fetchall()] == truth(sandbox)
    assert table.filter("page_depth IS NULL OR started_at IS NULL").fetchall() == []
    assert [path.name for path in tmp_path.iterdir()] == ["it's visits.parquet"]


def test_marks_keep_what_later_rows_may_repeat() -> None:
    """Rows of a range must be known while any part of it is still to come, and may be forgotten after."""
    day = date(2026, 11, 1)
    whole, first, second = DateWindow(day, day.replace(day=9)), DateWindow(day, day.replace(day=4)), DateWindow(
        day.replace(day=5), day.replace(day=9)
    )  # fmt: skip
    state = Checkpoint(fingerprint="x", query="y")
    state = msgspec.structs.replace(state, offsets=state.with_offset(whole, 0))
    state = msgspec.structs.replace(state, offsets=state.with_offset(first, 700))
    assert state.offsets == (DayOffset(end=whole.end, offset=0), DayOffset(end=first.end, offset=700))
    state = msgspec.structs.replace(
        state, offsets=state.with_offset(second, 900), position=ResumePosition(day=second.start)
    )
    assert (state.offsets, state.resume_offset) == ((DayOffset(end=whole.end, offset=0),), 0)


def read_table(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    table = duckdb.sql(f"SELECT * FROM '{path}'")
    return [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]


ODD = (
    b'{"id":"1","type":"tag","attributes":{"name":"a","color":1e400}},'
    b'{"id":"2","type":"tag","attributes":{"name":"b","color":%b}},'
    b'{"id":"3","type":"tag","attributes":{"name":{"x":[1e400,0.5]},"color":3}},'
    b'{"id":"4","type":"tag","attributes":{"name":"","color":"red"}}'
) % (b"7" * 5_000)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
async def test_values_that_no_column_takes(tmp_path: Path, suffix: str) -> None:
    """A number past all bounds or a value of another kind does not end the table; a CSV file has it as it was sent."""
    out = tmp_path / f"tags{suffix}"
    async with raw_server(http(b'{"data":[%b]}' % ODD)) as server, client_of(server.url) as lf:
        await lf.tags.list().to_file(out)
    table = read_table(out)
    assert [row["id"] for row in table] == ["1", "2", "3", "4"]
    assert [row["name"] or "" for row in table] == ["a", "b", '{"x":[1e400,0.5]}', ""]
    kept = ["1e400", "7" * 5_000, "3", "red"] if suffix == ".csv" else [None, None, 3, None]
    assert [row["color"] for row in table] == kept


async def test_a_very_long_row(tmp_path: Path) -> None:
    """A parquet file takes a row of more than 16 MiB."""
    out, name = tmp_path / "tags.parquet", "\N{SNOWMAN}" * 6_000_000
    body = msgspec.json.encode({"data": [{"id": "1", "type": "tag", "attributes": {"name": name}}]})
    async with raw_server(http(body)) as server, client_of(server.url) as lf:
        await lf.tags.list().to_file(out)
    assert [(row["id"], row["name"]) for row in read_table(out)] == [("1", name)]


@pytest.mark.parametrize(
    ("name", "tags", "room", "problem"),
    [
        ("tags.csv", 500, 20_000, "written"),
        ("tags.parquet", 500, 20_000, "written"),
        ("tags.parquet", 1, 600, "made"),  # room for the CSV table that DuckDB reads, and not for what it writes
    ],
)
async def test_a_table_that_finds_no_room(tmp_path: Path, name: str, tags: int, room: int, problem: str) -> None:
    """It leaves nothing but the rows, and with room again it is made without a request."""
    out, body = tmp_path / name, {"data": [{"id": str(one), "attributes": {"name": "x" * 100}} for one in range(tags)]}
    async with raw_server(http(msgspec.json.encode(body))) as server, client_of(server.url) as lf:
        with small_disk(resource.RLIM_INFINITY) as shrink:
            with pytest.raises(CheckpointError, match=rf"cannot be {problem}: .*--resume"):
                await lf.tags.list().to_file(out, on_progress=lambda _: shrink(room))
        assert sorted(one.name for one in tmp_path.iterdir()) == [f"{name}.checkpoint", f"{name}.part"]
        sent = len(server.requests)
        await lf.tags.list().to_file(out, resume=True)
        assert len(server.requests) == sent
    assert len(read_table(out)) == tags


def test_rows_are_safe_before_a_table_is_made(tmp_path: Path) -> None:
    """A table may fill the disk, and then nothing could be made safe."""
    out, counted = tmp_path / "o.csv", list[int]()

    def columns() -> tuple[Column, ...]:
        found = resumable_file.load_unfinished(out)
        counted.append(found.rows if found else 0)
        return (Column("id", ("id",), str),)

    with resumable_file.open_resumable(out, NOBODYS, resume=False, overwrite=False) as part:
        part.append(b'{"id":"1"}\n', 1)
        part.finish(columns)
    assert counted == [1]


async def test_position_of_a_page_goes_on(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """A page's position survives JSON and gives the rest of the list, without the ids handed out."""
    got = list[str]()
    pager = visits(lf, sandbox)
    async for page in pager.pages():
        got.extend(item.id for item in page.items)
        if len(got) >= 100:
            position = msgspec.json.decode(msgspec.json.encode(page.position), type=ResumePosition)
            break
    got.extend([item.id async for item in pager.resume_from(position, got)])
    assert got == truth(sandbox)
