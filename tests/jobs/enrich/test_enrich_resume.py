"""Enrichments that go on: each run gets further, and none passes what the job may cost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    BadRequestError,
    InsufficientCreditsError,
    Outcome,
)
from leadfeeder_async.jobs import resumable_file
from leadfeeder_async.jobs.checkpoint import Checkpoint
from leadfeeder_async.jobs.enrich.enrichment_state import EnrichmentState
from leadfeeder_async.jobs.enrich.request_queue import MAX_CONSECUTIVE_FAILURES, MAX_CONSECUTIVE_REJECTIONS, MAX_MATCHES
from tests.support.clients import client_of
from tests.support.servers import handler_server


class Place:
    """A server that matches ``a7.test`` with company 7, refuses what is bad, and charges once for each company."""

    def __init__(self) -> None:
        self.charged = set[str]()
        self.back = 0
        """What it says it charged for each record less than nothing."""

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.endswith("/match"):
            keys = [one["url"] for one in (await request.json())["companies"]]
            return self.match(keys)
        return await self.fetch(request.query.get("ids", "").split(","))

    def match(self, keys: list[str]) -> web.Response:
        if any("bad" in key for key in keys):
            return web.json_response({"errors": [{"title": "No such thing"}]}, status=422)
        ids = ["".join(filter(str.isdigit, key)) for key in keys]
        found = [[{"id": one, "type": "company", "attributes": {"score": 1.0}}] for one in ids]
        return web.json_response({"data": found})

    async def fetch(self, ids: list[str]) -> web.Response:
        new = set(ids) - self.charged
        self.charged |= new
        data = [{"id": one, "type": "company", "attributes": {}} for one in ids]
        return web.json_response({"data": data, "meta": {"credits": {"charged": len(new) - self.back * len(ids)}}})


@asynccontextmanager
async def client_at(place: Place) -> AsyncIterator[AsyncLeadfeeder]:
    async with handler_server(place.answer) as url, client_of(url, retries=0) as lf:
        yield lf


def keys(count: int, bad: Iterable[int] = ()) -> list[str]:
    return [f"{'bad' if number in set(bad) else 'a'}{number}.test" for number in range(count)]


def safe_rows(out: Path) -> int:
    return resumable_file.partial_path(out).read_bytes().count(b"\n")


async def runs(lf: AsyncLeadfeeder, rows: list[str], out: Path) -> list[int]:
    """Go on until the file is there; return how many rows were safe after each run that ended early."""
    safe = list[int]()
    while not out.exists():
        try:
            await lf.enrich.companies(rows, by="domain").to_file(out, resume=True)
        except BadRequestError:
            safe.append(safe_rows(out))
        assert len(safe) < 30
    return safe


@pytest.mark.parametrize(("first", "bad"), [(200, 220), (200, 900), (950, 450)])
async def test_each_run_gets_further_through_rows_that_are_refused(tmp_path: Path, first: int, bad: int) -> None:
    """However many bad rows stand together: a run that ends by them has done a long run of them, and the next goes on."""
    out, count = tmp_path / "out.ndjson", first + bad + 130
    async with client_at(Place()) as lf:
        safe = await runs(lf, keys(count, range(first, first + bad)), out)
    assert len(safe) <= bad // MAX_CONSECUTIVE_REJECTIONS
    assert all(one - before >= MAX_CONSECUTIVE_REJECTIONS for before, one in pairwise([first, *safe]))
    outcomes = [msgspec.json.decode(line)["outcome"] for line in out.read_bytes().splitlines()]
    assert outcomes == ["matched"] * first + ["failed"] * bad + ["matched"] * 130


async def test_a_job_of_nothing_but_refusals_gets_further_too(tmp_path: Path) -> None:
    """Where nothing was ever answered well a run ends soon; still, what it found out is not asked for again."""
    out = tmp_path / "out.ndjson"
    async with client_at(Place()) as lf:
        safe = await runs(lf, keys(100, range(100)), out)
    assert all(
        MAX_CONSECUTIVE_FAILURES <= one - before <= MAX_CONSECUTIVE_FAILURES + MAX_MATCHES
        for before, one in pairwise([0, *safe])
    )
    assert len(safe) >= 100 // (MAX_CONSECUTIVE_FAILURES + MAX_MATCHES)


@pytest.mark.parametrize("kind", ["companies", "ips"])
async def test_a_retry_knows_that_others_were_answered(tmp_path: Path, kind: str) -> None:
    """Bad rows among good ones do not end a second try, which sees only them."""
    out, place = tmp_path / "out.ndjson", Place()
    refused = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal refused
        if kind == "companies":
            return await place.answer(request)
        if int(request.query["ip"].rpartition(".")[2]) % 7 == 0:
            refused += 1
            return web.json_response({"errors": [{"title": "No such address"}]}, status=422)
        record = {
            "id": "1",
            "type": "enriched_ip",
            "relationships": {"company": {"data": {"id": "1", "type": "company"}}},
        }
        return web.json_response({"data": record, "meta": {"credits": {"charged": 1}}})

    def job(lf: AsyncLeadfeeder) -> Any:
        if kind == "companies":
            return lf.enrich.companies(keys(420, range(0, 420, 7)), by="domain")
        return lf.enrich.ips(f"198.18.1.{number}" for number in range(250))

    async with handler_server(answer) as url, client_of(url, retries=0) as lf:
        first = await job(lf).to_file(out)
        second = await job(lf).to_file(out, retry_failed=True)
    assert first.outcomes[Outcome.FAILED] == second.outcomes[Outcome.FAILED] == (60 if kind == "companies" else 36)


async def test_credits_given_back_before_a_kill_are_not_spent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused counts no longer as paid for, in the checkpoint that counts its credits no longer."""
    monkeypatch.setattr(resumable_file, "CHECKPOINT_INTERVAL", 0.0)
    out, killed = tmp_path / "out.ndjson", tmp_path / "killed"
    killed.mkdir()
    refused, seen = asyncio.Event(), asyncio.Event()

    class Slow(Place):
        """Refuses the second hundred, answers the first after that, and the third when ``seen``."""

        async def fetch(self, ids: list[str]) -> web.Response:
            if seen.is_set():
                return await super().fetch(ids)
            if ids[0] == "100":
                refused.set()
                return web.json_response({"errors": [{"code": "insufficient_credits"}]}, status=402)
            await refused.wait()
            await asyncio.sleep(0.05)
            good = await super().fetch(ids)
            await (seen.wait() if ids[0] == "200" else asyncio.sleep(0))
            return good

    def copy(_: object) -> None:
        """Keep what a kill would leave here."""
        if not seen.is_set():
            for file in tmp_path.glob("out.*"):
                shutil.copy(file, killed / file.name)
        seen.set()

    place = Slow()
    async with client_at(place) as lf:
        job = lambda: lf.enrich.companies(keys(500), by="domain", max_credits=300)  # noqa: E731
        with pytest.raises(InsufficientCreditsError):
            await job().to_file(out, on_progress=copy)
        saved = msgspec.json.decode((killed / "out.ndjson.checkpoint").read_bytes(), type=Checkpoint[EnrichmentState])
        assert (saved.rows, saved.state.reserved_credits) == (100, 200)
        assert len(saved.state.paid_ids) <= 200
        tally = await job().to_file(killed / "out.ndjson", resume=True)
    assert len(place.charged) == 300
    assert tally.outcomes == {"matched": 300, "skipped_by_budget": 200}


async def test_a_server_that_gives_back_leaves_a_checkpoint_that_can_be_read(tmp_path: Path) -> None:
    """A charge below nothing counts as none: the job goes on after an interruption, and its account stays right."""
    out, place = tmp_path / "out.ndjson", Place()
    place.back = 2
    with_error = place.fetch

    async def fetch_once(ids: list[str]) -> web.Response:
        place.fetch = refuse
        return await with_error(ids)

    async def refuse(_: list[str]) -> web.Response:
        return web.json_response({"errors": [{"title": "Gone"}]}, status=401)

    place.fetch = fetch_once
    async with client_at(place) as lf:
        job = lambda: lf.enrich.companies(keys(300), by="domain", max_credits=300)  # noqa: E731
        with pytest.raises(Exception, match="Gone"):
            await job().to_file(out)
        assert safe_rows(out) == 100
        place.fetch = with_error
        tally = await job().to_file(out, resume=True)
    assert tally.outcomes == {"matched": 300}
    assert tally.credits == 0
