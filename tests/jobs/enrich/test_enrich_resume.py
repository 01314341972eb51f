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
    BudgetExceededError,
    CheckpointError,
    Company,
    Enrichment,
    InsufficientCreditsError,
    Outcome,
)
from leadfeeder_async.jobs import resumable_file
from leadfeeder_async.jobs.checkpoint import Checkpoint
from leadfeeder_async.jobs.enrich.enrichment_state import EnrichmentState
from leadfeeder_async.jobs.enrich.request_queue import (
    MAX_CONSECUTIVE_FAILURES,
    MAX_CONSECUTIVE_REJECTIONS,
    MAX_MATCH_REQUESTS,
)
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
        MAX_CONSECUTIVE_FAILURES <= one - before <= MAX_CONSECUTIVE_FAILURES + MAX_MATCH_REQUESTS
        for before, one in pairwise([0, *safe])
    )
    assert len(safe) >= 100 // (MAX_CONSECUTIVE_FAILURES + MAX_MATCH_REQUESTS)


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


async def test_resume_after_negative_charge(tmp_path: Path) -> None:
    """A charge below nothing counts as none: the job goes on after an interruption, and its account stays right."""
    out, place = tmp_path / "out.ndjson", Place()
    place.back = 2
    with_error, has_answered = place.fetch, asyncio.Event()

    async def fetch_first(ids: list[str]) -> web.Response:
        if ids[0] != "0":
            await has_answered.wait()  # otherwise the error may arrive first
            return web.json_response({"errors": [{"title": "Gone"}]}, status=401)
        response = await with_error(ids)
        asyncio.get_running_loop().call_later(0.1, has_answered.set)
        return response

    place.fetch = fetch_first
    async with client_at(place) as lf:
        job = lambda: lf.enrich.companies(keys(300), by="domain", max_credits=300)  # noqa: E731
        with pytest.raises(Exception, match="Gone"):
            await job().to_file(out)
        assert safe_rows(out) == 100
        place.fetch = with_error
        tally = await job().to_file(out, resume=True)
    assert tally.outcomes == {"matched": 300}
    assert tally.credits == 0


class Priced:
    """A server that charges a price for each IP address, or nothing for those in ``free``."""

    def __init__(self, price: int, free: Iterable[str] = ()) -> None:
        self.price, self.free = price, set(free)
        self.charged = self.requests = self.in_flight = self.most_in_flight = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.in_flight += 1
        self.requests += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0.02)
        self.in_flight -= 1
        ip = request.query["ip"]
        charged = 0 if ip in self.free else self.price
        self.charged += charged
        data = {"id": ip, "type": "enriched_ip", "attributes": {}, "relationships": {}}
        return web.json_response({"data": data, "meta": {"credits": {"charged": charged}}})


@pytest.mark.parametrize(
    ("max_credits", "price", "spent"), [(12, 3, 12), (13, 3, 12), (3, 3, 3), (40, 1, 40), (0, 3, 0)]
)
@pytest.mark.parametrize("is_file", [True, False])
async def test_unknown_price_is_probed(tmp_path: Path, max_credits: int, price: int, spent: int, is_file: bool) -> None:
    """The first addresses are looked up alone until the price is known, so that the limit holds."""
    place = Priced(price, free=["8.8.8.0", "8.8.8.1"])
    async with handler_server(place.answer) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.ips([f"8.8.8.{number}" for number in range(50)], max_credits=max_credits)
        if is_file:
            await job.to_file(tmp_path / "out.ndjson")
        else:
            assert len([one async for one in job]) == 50
    assert place.charged == job.summary.credits == spent


@pytest.mark.parametrize("meta", ["", ',"meta":{"credits":{"charged":1}}'])
@pytest.mark.parametrize("data", ["null", "5"])
async def test_undecodable_lookups_count_within_the_limit(tmp_path: Path, data: str, meta: str) -> None:
    """Undecodable lookups count what they charged, or may have charged, and all together no more than the limit."""
    body = f'{{"data":{data}{meta}}}'.encode()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async with handler_server(answer) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.ips([f"8.8.8.{number}" for number in range(8)], max_credits=5)
        summary = await job.to_file(tmp_path / "out.ndjson")
    assert (summary.credits, summary.credits_possibly_charged) == ((5, 0) if meta else (0, 5))


async def test_known_price_is_looked_up_together() -> None:
    """Once the price is known and the credits cover a multiple of it, requests go out together."""
    place = Priced(2)
    async with handler_server(place.answer) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.ips([f"8.8.8.{number}" for number in range(100)], max_credits=2_000)
        assert len([one async for one in job]) == 100
    assert place.most_in_flight > 6


async def test_unlimited_file_records_the_price_before_it_is_spent(tmp_path: Path) -> None:
    """Without a limit, the checkpoint still has the cost of all requests in flight, for a later run with a limit."""
    out, place, lowest = tmp_path / "out.ndjson", Priced(3), list[int]()

    async def answer(request: web.Request) -> web.Response:
        response = await place.answer(request)
        state = msgspec.json.decode(
            resumable_file.checkpoint_path(out).read_bytes(), type=Checkpoint[EnrichmentState]
        ).state
        lowest.append(state.reserved_credits - place.charged)
        return response

    async with handler_server(answer) as url, client_of(url, retries=0) as lf:
        await lf.enrich.ips([f"8.8.8.{number}" for number in range(40)]).to_file(out)
    assert lowest[0] == 10 - 3  # nobody knows the price of the first one
    assert min(lowest[1:]) >= 0


class KilledJob(Place):
    """A server that copies the files of a job when companies are charged, as a kill would leave them.

    Args:
        folder: The folder of the output ``out.ndjson``.
        charges: The number of charged companies at the kill.
        free: Companies that an earlier job has paid.
    """

    def __init__(self, folder: Path, charges: int, free: Iterable[str] = ()) -> None:
        super().__init__()
        self.free = frozenset(free)
        self.charged |= self.free
        self.out, self.saved = folder / "out.ndjson", folder / "saved"
        self.saved.mkdir()
        self._charges = charges
        self._is_killed = asyncio.Event()

    @property
    def paid(self) -> set[str]:
        """The companies that this job has paid."""
        return self.charged - self.free

    async def answer(self, request: web.Request) -> web.Response:
        if self._is_killed.is_set():  # a killed job would not have sent this
            raise web.HTTPServiceUnavailable
        response = await super().answer(request)
        if len(self.paid) >= self._charges and not any(self.saved.iterdir()):
            for path in self.out.parent.glob("out.*"):
                shutil.copy(path, self.saved)
            self._is_killed.set()
        return response

    async def kill(self, job: Enrichment[Company]) -> Path:
        """Run a job until the kill, and return the copy of its output."""
        running = asyncio.create_task(job.to_file(self.out))
        await self._is_killed.wait()
        running.cancel()
        await asyncio.wait([running])
        await asyncio.sleep(0.1)
        self._is_killed.clear()
        return self.saved / "out.ndjson"


async def test_unlimited_run_counts_in_a_limited_one(tmp_path: Path) -> None:
    """A run without a limit that is stopped counts all it may have spent, so a later limit holds for both."""
    place, rows = KilledJob(tmp_path, 300), keys(2_500)
    async with client_at(place) as lf:
        target = await place.kill(lf.enrich.companies(rows, by="domain"))
        before = len(place.charged)
        with pytest.raises(BudgetExceededError, match=r"may have been charged [\d,]+ credits") as caught:
            await lf.enrich.companies(rows, by="domain", max_credits=before - 200).to_file(target, resume=True)
        assert len(place.charged) == before
        reserved = int("".join(filter(str.isdigit, caught.value.message.split("credits")[0])))
        summary = await lf.enrich.companies(rows, by="domain", max_credits=reserved).to_file(target, resume=True)
    assert before <= len(place.charged) == reserved == summary.outcomes[Outcome.MATCHED]
    assert summary.outcomes[Outcome.SKIPPED_BY_BUDGET] == 2_500 - reserved


@pytest.mark.parametrize("free", [2, 3])
@pytest.mark.parametrize("limit", [300, None])
async def test_paid_records_among_free_ones(tmp_path: Path, free: int, limit: int | None) -> None:
    """After a kill, all paid records are returned within the same limit, also if a response had free ones."""
    place, rows = KilledJob(tmp_path, 250, free=map(str, range(0, 1_000, free))), keys(1_000)
    async with client_at(place) as lf:
        target = await place.kill(lf.enrich.companies(rows, by="domain", max_credits=limit))
        paid = place.paid
        await lf.enrich.companies(rows, by="domain", max_credits=limit or 1_000).to_file(target, resume=True)
    lines = list(map(msgspec.json.decode, target.read_bytes().splitlines()))
    assert paid <= {line["id"] for line in lines if line["outcome"] == "matched"}
    assert len(place.paid) <= (limit or 1_000)


async def test_account_of_the_key_is_part_of_the_job(tmp_path: Path) -> None:
    """A file that was begun with the key of one account is not continued with the key of another one."""
    out, place, account = tmp_path / "out.ndjson", Place(), "1"

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/v1/accounts":
            return web.json_response({"data": [{"id": account, "type": "account", "attributes": {"name": "x"}}]})
        assert request.query["account_id"] == account
        if place.charged and not request.path.endswith("/match"):
            return web.json_response({"errors": [{"code": "no_credits"}]}, status=402)
        return await place.answer(request)

    async with handler_server(answer) as url:
        async with client_of(url, retries=0, account_id=None) as lf:
            with pytest.raises(InsufficientCreditsError):
                await lf.enrich.companies(keys(150), by="domain", max_credits=150).to_file(out)
        account = "2"
        async with client_of(url, retries=0, account_id=None) as lf:
            with pytest.raises(CheckpointError, match=r"account 1.*account 2"):
                await lf.enrich.companies(keys(150), by="domain", max_credits=150).to_file(out, resume=True)
        assert len(place.charged) == 100


class Merged(Place):
    """A server whose companies were merged into others."""

    def __init__(self, current: dict[str, str], *, fails_alone: bool = False) -> None:
        super().__init__()
        self.current, self.fails_alone = current, fails_alone

    async def fetch(self, ids: list[str]) -> web.Response:
        if self.fails_alone and len(ids) == 1:
            return web.json_response({"errors": [{"title": "broken"}]}, status=400)
        return await super().fetch(list(dict.fromkeys(self.current.get(one, one) for one in ids)))


@pytest.mark.parametrize(
    ("current", "max_credits", "ids"),
    [
        ({"0": "90", "1": "91"}, 2, ["90", "91"]),
        ({"0": "1"}, 2, ["1", "1"]),
        ({"0": "9", "1": "9"}, 2, ["9", "9"]),
        ({"0": "9"}, 2, ["9", "1"]),
    ],
)
async def test_merged_records_are_never_discarded(current: dict[str, str], max_credits: int, ids: list[str]) -> None:
    """Each row gets the record that was charged for it, within the same limit, and the charges of the rows add up."""
    place = Merged(current)
    async with handler_server(place.answer) as url, client_of(url, retries=0) as lf, lf.budget(max_credits=max_credits):
        job = lf.enrich.companies(keys(2), by="domain", max_credits=max_credits)
        results = [one async for one in job]
    assert [(one.outcome, one.id) for one in results] == [(Outcome.MATCHED, one) for one in ids]
    charges = [one.charged for one in results]
    assert sum(charge or 0 for charge in charges) == job.summary.credits == len(place.charged)


async def test_records_that_cannot_be_assigned_become_candidates(tmp_path: Path) -> None:
    """If the request for a merged company fails, its row has the records that came."""
    place, out = Merged({"0": "90", "1": "91"}, fails_alone=True), tmp_path / "out.ndjson"
    async with handler_server(place.answer) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.companies(keys(2), by="domain", max_credits=2)
        results = [one async for one in job]
        await lf.enrich.companies(keys(2), by="domain", max_credits=2).to_file(out)
    for one in results:
        assert one.outcome is Outcome.FAILED
        assert [candidate.id for candidate in one.candidates] == ["90", "91"]
        assert all(candidate.company is not None for candidate in one.candidates)
    assert all(
        b'"company_summary":{"id":"90","type":"company"' in line.replace(b" ", b"")
        for line in out.read_bytes().splitlines()
    )


async def test_absent_ids_are_not_requested_beyond_the_limit() -> None:
    """An id that is absent is requested once more only if the budget covers it."""
    place = Place()

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/match"):
            return await place.answer(request)
        ids = request.query["ids"].split(",")
        return await place.fetch(ids[: max(1, len(ids) // 2)])  # the first half, as a server with a page size does

    async with handler_server(answer) as url, client_of(url, retries=0) as lf:
        results = [one async for one in lf.enrich.companies(keys(100), by="domain", max_credits=60)]
    assert len(place.charged) <= 60
    assert sum(one.outcome is Outcome.MATCHED for one in results) == len(place.charged)


async def test_resume_of_a_finished_file(tmp_path: Path) -> None:
    """The error names the argument that requests failed and skipped rows again."""
    out = tmp_path / "out.ndjson"
    async with client_at(Place()) as lf:
        await lf.enrich.companies(keys(3), by="domain", max_credits=1).to_file(out)
        with pytest.raises(CheckpointError, match=r"nothing to resume.*retry_failed=True") as caught:
            await lf.enrich.companies(keys(3), by="domain", max_credits=3).to_file(out, resume=True)
    assert caught.value.reason == "finished"
