"""Credits of enrichments: limits hold, all charges are counted, and no record is lost, however servers respond."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    Budget,
    BudgetExceededError,
    CheckpointError,
    ConfigurationError,
    ErrorContext,
    LeadfeederError,
    Outcome,
    PermissionDeniedError,
)
from leadfeeder_async.jobs import resumable_file
from leadfeeder_async.jobs.checkpoint import Checkpoint
from leadfeeder_async.jobs.enrich import pending_rows
from leadfeeder_async.jobs.enrich.enrichment_state import EnrichmentState
from leadfeeder_async.jobs.enrich.lookup import CompanyLookup
from leadfeeder_async.jobs.enrich.output import _write_parts
from leadfeeder_async.jobs.enrich.request_queue import MAX_FETCH_REQUESTS
from leadfeeder_async.jobs.enrich.results import ResultLine
from tests.support.clients import client_of
from tests.support.servers import handler_server

SOAK = bool(os.environ.get("SOAK"))
SCHEDULES = 3_000 if SOAK else 30
FIRST_SEED = int(os.environ.get("FIRST_SEED", "0"))


class Ledger:
    """A server that charges each company once, at a price. Key ``a7.test`` matches company 7.

    Args:
        merged: The current IDs of merged companies.
        price: The price of a company.

    """

    def __init__(self, merged: dict[str, str] | None = None, *, price: int = 1) -> None:
        self.merged, self.price = merged or {}, price
        self.unlocked = set[str]()
        self.charged = 0
        self.requests = list[list[str]]()
        self.fetch: Callable[[list[str]], Awaitable[web.Response]] = self.respond

    async def handle(self, request: web.Request) -> web.Response:
        if request.path.endswith("/match"):
            urls = [company["url"] for company in (await request.json())["companies"]]
            matches = [[{"id": url[1:].split(".")[0], "type": "company_match", "attributes": {}}] for url in urls]
            return web.json_response({"data": matches})
        ids = request.query["ids"].split(",")
        self.requests.append(ids)
        return await self.fetch(ids)

    def charge(self, ids: list[str]) -> tuple[list[dict[str, Any]], int]:
        """Return the records of some IDs, and the credits that they are charged now."""
        current = list(dict.fromkeys(self.merged.get(company_id, company_id) for company_id in ids))
        charged = self.price * len(set(current) - self.unlocked)
        self.unlocked.update(current)
        self.charged += charged
        return [{"id": company_id, "type": "company", "attributes": {}} for company_id in current], charged

    async def respond(self, ids: list[str]) -> web.Response:
        """Return the records of all IDs."""
        return self.page(*self.charge(ids))

    def page(self, data: list[dict[str, Any]], charged: int | None, **body: object) -> web.Response:
        meta = {} if charged is None else {"meta": {"credits": {"charged": charged}}}
        return web.json_response({"data": data, **meta, **body})


def keys(*numbers: int) -> list[str]:
    return [f"a{number}.test" for number in numbers]


def checkpoint_of(out: Path) -> Checkpoint[EnrichmentState]:
    return msgspec.json.decode(resumable_file.checkpoint_path(out).read_bytes(), type=Checkpoint[EnrichmentState])


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


class Pool:
    """Credits that several processes share."""

    def __init__(self, limit: int) -> None:
        self.limit, self.spent = limit, 0

    @property
    def credits_left(self) -> int:
        return self.limit - self.spent

    async def reserve(self, most: int, context: ErrorContext) -> None:
        if self.spent + most > self.limit:
            raise BudgetExceededError("The pool is used up.", context)
        self.spent += most

    def settle(self, reserved: int, charged: int) -> None:
        self.spent += charged - reserved


async def interrupt(lf: AsyncLeadfeeder, job_keys: list[str], out: Path, moment: asyncio.Event, limit: int) -> None:
    """Run a job until a moment, and cancel it."""
    task = asyncio.create_task(lf.enrich.companies(job_keys, by="domain", max_credits=limit).to_file(out))
    await moment.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("how", ["absent", "errors", "status 500", "no record"])
async def test_absent_ids_are_not_requested_unbudgeted_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Only IDs that were certainly charged are requested outside the limit of the next run."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    out, server, moment, is_healthy = tmp_path / "out.ndjson", Ledger(), asyncio.Event(), False

    async def fetch(ids: list[str]) -> web.Response:
        if is_healthy:
            return await server.respond(ids)
        if "0" in ids:
            page = await server.respond(ids)
            await asyncio.sleep(30)
            return page
        if "10" in ids:
            moment.set()
        if not 10 <= int(ids[0]) < 20:
            return await server.respond(ids)
        data, charged = server.charge([one for one in ids if one == "10"])
        if how == "status 500":
            return web.json_response({"errors": [{}], "meta": {"credits": {"charged": charged}}}, status=500)
        errors = {"errors": [{"code": "unavailable", "title": "x"}]} if how == "errors" else {}
        return server.page([] if how == "no record" else data, charged, **errors)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        await interrupt(lf, keys(*range(60)), out, moment, 25)
        state = checkpoint_of(out).state
        assert state.reserved_credits >= server.charged
        is_healthy = True
        await lf.enrich.companies(keys(*range(60)), by="domain", max_credits=25).to_file(out, resume=True)
    assert server.charged <= 25
    matched = {line["id"] for line in lines(out) if line["outcome"] == "matched"}
    assert matched >= {str(number) for number in range(10)}


@pytest.mark.parametrize(("rows", "absent"), [(20, 9), (14, 1), (14, 3)])
@pytest.mark.parametrize("errors", [True, False])
@pytest.mark.parametrize("limit", ["job", "budget", "pool"])
async def test_absent_ids_beside_a_merged_one_stay_within_the_limit(
    monkeypatch: pytest.MonkeyPatch, rows: int, absent: int, errors: bool, limit: str
) -> None:
    """An ID that a response leaves out is requested again within all limits, also if the response has a merged company."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server = Ledger({"0": "99"})

    async def fetch(ids: list[str]) -> web.Response:
        left_out = [one for one in ids if len(ids) > 1 and 1 <= int(one) <= absent]
        data, charged = server.charge([one for one in ids if one not in left_out])
        return server.page(data, charged, **({"errors": [{"title": "x"}]} if left_out and errors else {}))

    server.fetch = fetch
    pool = Pool(10)
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        budget = Budget(max_credits=10 if limit == "budget" else None, shared=pool if limit == "pool" else None)
        job = lf.with_options(budget=budget).enrich.companies(
            keys(*range(rows)), by="domain", max_credits=10 if limit == "job" else None
        )
        results = [result async for result in job]
    assert server.charged == 10 == job.summary.credits == budget.credits
    assert sum(result.charged or 0 for result in results) == 10
    assert sum(result.outcome is Outcome.MATCHED for result in results) == 10
    assert pool.spent == (10 if limit == "pool" else 0)


@pytest.mark.parametrize("limit", ["job", "budget", "pool"])
async def test_all_ids_of_a_response_are_merged(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """If each absent ID has one of the records, all of them are requested again although no credit is left."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, pool = Ledger({str(number): str(100 + number) for number in range(10)}), Pool(10)
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        budget = Budget(max_credits=10 if limit == "budget" else None, shared=pool if limit == "pool" else None)
        job = lf.with_options(budget=budget).enrich.companies(
            keys(*range(12)), by="domain", max_credits=10 if limit == "job" else None
        )
        results = [result async for result in job]
    assert [result.outcome for result in results] == ["matched"] * 10 + ["skipped_by_budget"] * 2
    assert [result.charged for result in results] == [1] * 10 + [0] * 2
    assert server.charged == 10 == job.summary.credits


async def test_free_requests_need_requests() -> None:
    """If a budget permits no more requests, merged rows are skipped with their records."""
    server = Ledger({"0": "90", "1": "91"})
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf, lf.budget(max_requests=3):
        job = lf.enrich.companies(keys(0, 1), by="domain", max_credits=2)
        results = [result async for result in job]
    assert [result.outcome for result in results] == ["matched", "skipped_by_budget"]
    assert [candidate.id for candidate in results[1].candidates] == ["91"]
    assert [result.charged for result in results] == [1, 1]


@pytest.mark.parametrize("extra", [1, 3])
@pytest.mark.parametrize("absent", [0, 1, 3])
async def test_unrequested_records_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, extra: int, absent: int
) -> None:
    """Records that no row has requested are candidates of a row, and at most one of them is mistaken for a merged one."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, pool, out = Ledger(), Pool(10), tmp_path / "out.ndjson"

    async def fetch(ids: list[str]) -> web.Response:
        if len(ids) == 1:
            return await server.respond(ids)
        data, charged = server.charge(ids[: 10 - absent])
        pool.limit = charged  # another process spends the others
        return server.page([*data, *({"id": str(900 + n), "type": "company"} for n in range(extra))], charged)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf, lf.budget(shared=pool):
        job = lf.enrich.companies(keys(*range(30)), by="domain")
        await job.to_file(out)
    kept = {record["id"] for line in lines(out) for record in [line["record"], *line["candidates"]] if record}
    assert kept >= {str(900 + number) for number in range(extra)} | server.unlocked
    assert server.charged == job.summary.credits <= 10 - absent + (absent == extra > 1)
    assert pool.spent == server.charged


async def test_absent_ids_are_skipped_if_credits_are_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """If another process spends the credits, absent IDs beside a merged one keep the record as their candidate."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, pool = Ledger({"0": "99"}), Pool(10)

    async def fetch(ids: list[str]) -> web.Response:
        data, charged = server.charge([one for one in ids if one != "1" or len(ids) == 1])
        pool.limit = charged
        return server.page(data, charged)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf, lf.budget(shared=pool):
        job = lf.enrich.companies(keys(*range(10)), by="domain")
        results = [result async for result in job]
    assert [result.outcome for result in results] == ["skipped_by_budget"] * 2 + ["matched"] * 8
    assert [candidate.id for candidate in results[0].candidates] == ["99"]
    assert server.charged == 9 == sum(result.charged or 0 for result in results)


async def test_record_without_id_is_kept(tmp_path: Path) -> None:
    """A record without an ID belongs to the only requested company, or is a candidate."""
    server, out = Ledger(), tmp_path / "out.ndjson"

    async def fetch(ids: list[str]) -> web.Response:
        data, charged = server.charge(ids)
        return server.page([{**record, "id": None} for record in data], charged)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.companies(keys(5), by="domain")
        await job.to_file(out)
    [line] = lines(out)
    assert (line["outcome"], line["id"], line["charged"]) == ("matched", "5", 1)
    assert line["record"]["type"] == "company"


async def test_candidates_with_unexpected_types() -> None:
    """A record that cannot be assigned nor decoded does not end the iteration."""
    server = Ledger({"0": "90", "1": "91"})

    async def fetch(ids: list[str]) -> web.Response:
        if len(ids) == 1:
            return web.json_response({"errors": [{"title": "broken"}]}, status=400)
        data, charged = server.charge(ids)
        return server.page([{**record, "attributes": {"name": ["A"]}} for record in data], charged)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.companies(keys(0, 1), by="domain", max_credits=2)
        results = [result async for result in job]
    assert [[candidate.id for candidate in result.candidates] for result in results] == [["90", "91"]] * 2
    assert sum(result.charged or 0 for result in results) == job.summary.credits == 2


@pytest.mark.parametrize("status", [400, 402, 403, 404, 422, 429, 500])
async def test_charged_failures_count(tmp_path: Path, status: int) -> None:
    """A failed response with a charge counts in the totals and in the checkpoint, and its rows are not requested again."""
    server, out = Ledger(), tmp_path / "out.ndjson"

    async def fetch(ids: list[str]) -> web.Response:
        server.charged += 3
        return web.json_response({"errors": [{}], "meta": {"credits": {"charged": 3}}}, status=status)

    server.fetch = fetch
    runs = 0
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        while not out.exists() and runs < 10:
            before, runs = server.charged, runs + 1
            job = lf.enrich.companies(keys(*range(4)), by="domain", max_credits=10)
            with suppress(LeadfeederError):
                await job.to_file(out, resume=True)
            assert (job.summary.credits, job.summary.credits_possibly_charged) == (server.charged - before, 0)
            if not out.exists():
                assert checkpoint_of(out).state.reserved_credits == server.charged
    assert server.charged <= 12  # the last request has one item, which charges three credits
    assert out.exists()
    requested = [one for ids in server.requests for one in ids]
    assert status in {402, 403, 429} or len(requested) == len(set(requested))


@pytest.mark.parametrize("status", [404, 422])
async def test_charged_rejection_of_one_row(status: int) -> None:
    """The row of a charged rejection shows the charge."""

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"errors": [{}], "meta": {"credits": {"charged": 2}}}, status=status)

    async with handler_server(handle) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.ips(["8.8.8.8"], max_credits=10)
        [result] = [result async for result in job]
    assert (result.charged, job.summary.credits) == (2, 2)
    assert result.outcome is (Outcome.NOT_FOUND if status == 404 else Outcome.FAILED)


async def test_charged_matches_count(tmp_path: Path) -> None:
    """If the server charges a match, which should be free, the limit and the totals include it."""
    server, out = Ledger(), tmp_path / "out.ndjson"

    async def handle(request: web.Request) -> web.Response:
        response = await server.handle(request)
        if not request.path.endswith("/match"):
            return response
        server.charged += 4
        return web.json_response({**json.loads(response.body or b""), "meta": {"credits": {"charged": 4}}})  # type: ignore[arg-type]

    async with handler_server(handle) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.companies(keys(*range(20)), by="domain", max_credits=10)
        await job.to_file(out)
    assert server.charged == 10 == job.summary.credits
    assert job.summary.outcomes == {"matched": 6, "skipped_by_budget": 14}


async def test_charge_of_a_canceled_call_is_saved(tmp_path: Path) -> None:
    """If a call is canceled after a charge beyond its reservation, the next run knows the charge."""
    server, out, moment = Ledger(price=3), tmp_path / "out.ndjson", asyncio.Event()

    async def fetch(ids: list[str]) -> web.Response:
        moment.set()
        return await server.respond(ids)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        decode_page = lf._executor.decode_page.__func__  # type: ignore[attr-defined]

        async def slow(*arguments: object) -> object:
            await asyncio.sleep(30)
            return await decode_page(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(lf._executor), "decode_page", slow)
            await interrupt(lf, keys(*range(5)), out, moment, 100)
        assert server.charged == checkpoint_of(out).state.reserved_credits == 15


@pytest.mark.parametrize("price", [1, 3])
@pytest.mark.parametrize("first_limit", [None, 40])
async def test_charges_of_prepaid_ids_count_beyond_their_reservation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, price: int, first_limit: int | None
) -> None:
    """If IDs of a killed run charge more than it has reserved, the second run reserves less for the others."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, out, moment = Ledger(price=price), tmp_path / "out.ndjson", asyncio.Event()

    async def hang(_: list[str]) -> web.Response:
        moment.set()
        await asyncio.sleep(30)
        return web.json_response({})

    server.fetch = hang
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        await interrupt(lf, keys(*range(10)), out, moment, first_limit or 10**6)
        assert checkpoint_of(out).state.reserved_credits == 10
        responded = asyncio.Event()

        async def respond(ids: list[str]) -> web.Response:
            asyncio.get_running_loop().call_later(0.1, responded.set)
            return await server.respond(ids)

        async def rows() -> AsyncIterator[str]:
            for key in keys(*range(10)):
                yield key
            await responded.wait()
            for key in keys(*range(10, 60)):
                yield key

        server.fetch = respond
        summary = await lf.enrich.companies(rows(), by="domain", max_credits=40).to_file(out, resume=True)
    assert 38 <= server.charged == summary.credits <= 40


@pytest.mark.parametrize("absent", [False, True])
async def test_merged_group_after_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: bool) -> None:
    """Merged companies that were charged are free in the next run, unless an absent one may be among them."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, out, moment = Ledger({"0": "100", "1": "101"}), tmp_path / "out.ndjson", asyncio.Event()

    async def fetch(ids: list[str]) -> web.Response:
        if len(ids) == 1:
            moment.set()
            await asyncio.sleep(30)
        return server.page(*server.charge([one for one in ids if one != "2" or not absent]))

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        limit = 9 if absent else 10
        await interrupt(lf, keys(*range(10)), out, moment, 10)
        state = checkpoint_of(out).state
        assert set(state.paid_ids) >= {"3", "4", "5", "6", "7", "8", "9"}
        assert ({"0", "1"} <= set(state.paid_ids)) is not absent
        server.fetch = server.respond
        await lf.enrich.companies(keys(*range(10)), by="domain", max_credits=10).to_file(out, resume=True)
    assert limit <= server.charged <= 10
    assert sum(line["outcome"] == "matched" for line in lines(out)) >= (7 if absent else 10)


async def test_finished_retry_is_not_started_again_by_resume(tmp_path: Path) -> None:
    """If a retry was finished before its caller was canceled, resuming it starts no retry with credits of its own."""
    server, out = Ledger(), tmp_path / "out.ndjson"
    async with handler_server(server.handle) as url, client_of(url) as lf:
        job = lf.enrich.companies(keys(*range(30)), by="domain", max_credits=0)
        await job.to_file(out)
        retry = lf.enrich.companies(keys(*range(30)), by="domain", max_credits=10)
        await retry.to_file(out, retry_failed=True)
        finished = out.read_bytes()
        with pytest.raises(CheckpointError, match="no unfinished retry"):
            await retry.to_file(out, retry_failed=True, resume=True)
    assert (server.charged, out.read_bytes()) == (10, finished)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("status", [401, 402])
async def test_records_behind_a_fatal_error_are_returned(
    monkeypatch: pytest.MonkeyPatch, ordered: bool, status: int
) -> None:
    """Records of requests in flight are returned before the error that stops the job, also with a gap before them."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, others = Ledger(), asyncio.Event()

    async def fetch(ids: list[str]) -> web.Response:
        if "10" in ids:
            await others.wait()
            return web.json_response({"errors": [{"title": "no"}]}, status=status)
        page = await server.respond(ids)
        if server.charged == 30:
            others.set()
        await asyncio.sleep(0.1)
        return page

    server.fetch, got = fetch, list[str | None]()
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        with pytest.raises(LeadfeederError) as caught:
            async for result in lf.enrich.companies(keys(*range(40)), by="domain", ordered=ordered):
                got.append(result.id)
    assert caught.value.status == status
    assert (sorted(map(int, filter(None, got))), server.charged) == ([*range(10), *range(20, 40)], 30)


@pytest.mark.parametrize("status", [408, 499])
async def test_timeout_of_a_proxy_may_have_charged(status: int) -> None:
    """After a 408, which does not show that the request was not carried out, no record is requested again."""
    server = Ledger()

    async def fetch(ids: list[str]) -> web.Response:
        server.charge(ids)
        return web.json_response({"errors": [{"title": "timeout"}]}, status=status)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=2) as lf:
        job = lf.enrich.companies(keys(*range(30)), by="domain", max_credits=30)
        outcomes = [result.outcome async for result in job]
    assert (server.charged, len(server.requests), set(outcomes)) == (30, 1, {Outcome.FAILED})
    assert job.summary.credits_possibly_charged == 30


async def test_surplus_cells_of_csv_rows() -> None:
    """Rows of csv.DictReader that have more cells than the header keep their keys."""
    text = "domain,name\na1.test,x,surplus\na2.test,y\n"
    async with handler_server(Ledger().handle) as url, client_of(url) as lf:
        job = lf.enrich.companies(csv.DictReader(io.StringIO(text)), by="domain", max_credits=10)
        assert [result.id async for result in job] == ["1", "2"]


async def test_rows_that_fail_return_the_records_in_flight() -> None:
    """An exception of a row ends the job after the results of the rows before it."""

    class Broken(dict[str, str]):
        def __iter__(self) -> Iterator[str]:
            raise ZeroDivisionError

    async def rows() -> AsyncIterator[dict[str, str]]:
        for number in range(20):
            yield {"domain": f"a{number}.test"}
        await asyncio.sleep(0.2)
        yield Broken()

    got = list[str | None]()
    async with handler_server(Ledger().handle) as url, client_of(url) as lf:
        with pytest.raises(ZeroDivisionError):
            async for result in lf.enrich.companies(rows(), by="domain", max_credits=100):
                got.append(result.id)
    assert got == [str(number) for number in range(20)]


@pytest.mark.parametrize("response", ["lost", "without charge"])
async def test_lost_ids_are_prepaid_in_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, response: str
) -> None:
    """IDs whose charge is not known stay counted, so the next run requests them although no credit is left."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, out, moment = Ledger(), tmp_path / "out.ndjson", asyncio.Event()

    async def fetch(ids: list[str]) -> web.Response:
        data, _ = server.charge(ids)
        moment.set()
        if "0" in ids:
            await asyncio.sleep(30)
        return web.Response(body=b"{") if response == "lost" else server.page(data, None)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        await interrupt(lf, keys(*range(20)), out, moment, 20)
        server.fetch = server.respond
        await lf.enrich.companies(keys(*range(20)), by="domain", max_credits=20).to_file(out, resume=True)
    assert [line["outcome"] for line in lines(out)] == ["matched"] * 20
    assert server.charged == 20


async def test_unlocked_companies_are_reserved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a response shows only the sum of its charges, the next run reserves credits for its records again."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, out, moment = Ledger(), tmp_path / "out.ndjson", asyncio.Event()
    server.unlocked = {str(number) for number in range(15, 20)}

    async def fetch(ids: list[str]) -> web.Response:
        page = await server.respond(ids)
        if "0" in ids:
            moment.set()
            await asyncio.sleep(30)
        return page

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        await interrupt(lf, keys(*range(20)), out, moment, 20)
        assert server.charged == 15 == checkpoint_of(out).state.reserved_credits
        server.unlocked -= {str(number) for number in range(15, 20)}  # their twelve months end
        server.fetch = server.respond
        await lf.enrich.companies(keys(*range(20)), by="domain", max_credits=17).to_file(out, resume=True)
    assert server.charged == 17
    assert sum(line["outcome"] == "matched" for line in lines(out)) == 17


async def test_lost_response_of_charged_ids_is_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a prepaid request is lost, only credits that may not be charged yet are possibly charged."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, out, moment = Ledger(), tmp_path / "out.ndjson", asyncio.Event()

    async def fetch(ids: list[str]) -> web.Response:
        page = await server.respond(ids)
        if "0" in ids:
            moment.set()
            await asyncio.sleep(30)
        return page

    async def lose(_: list[str]) -> web.Response:
        return web.Response(body=b"{")

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        await interrupt(lf, keys(*range(20)), out, moment, 20)
        server.fetch = lose
        job = lf.enrich.companies(keys(*range(20)), by="domain", max_credits=20)
        await job.to_file(out, resume=True)
    assert (job.summary.credits, job.summary.credits_possibly_charged) == (0, 10)
    assert job.summary.credits_of_previous_runs == 20 == server.charged


async def test_retry_of_an_interrupted_job_stays_within_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry that is interrupted keeps its limit, and finishes with each record that was charged."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 5)
    server, out, moment = Ledger(), tmp_path / "out.ndjson", asyncio.Event()

    async def partial(ids: list[str]) -> web.Response:
        if ids[0] == "15":
            moment.set()
            await asyncio.sleep(30)
        data, charged = server.charge(ids[:1])
        return server.page(data, charged, errors=[{"title": "x"}])

    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        job = lambda limit: lf.enrich.companies(keys(*range(40)), by="domain", max_credits=limit)  # noqa: E731
        await job(0).to_file(out)
        server.fetch = partial
        task = asyncio.create_task(job(30).to_file(out, retry_failed=True))
        await moment.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        server.fetch = server.respond
        await job(30).to_file(out, retry_failed=True, resume=True)
    assert server.charged <= 30
    assert {line["id"] for line in lines(out) if line["outcome"] == "matched"} == server.unlocked


@pytest.mark.parametrize(
    ("company", "outcome", "company_id"),
    [
        ({"id": "7", "attributes": {"name": ["A", "B"]}}, "matched", "7"),
        ({"data": {"id": 7, "type": "company", "attributes": {"name": 5}}}, "matched", "7"),
        ({"id": ["7"]}, "matched", None),
        (["odd"], "matched", None),
        (None, "not_found", None),
    ],
)
async def test_ip_record_of_unexpected_types_is_kept(
    tmp_path: Path, company: object, outcome: str, company_id: str | None
) -> None:
    """A charged record of an IP address keeps its data and its charge, and a retry does not request it again."""
    out, requests = tmp_path / "out.ndjson", 0

    async def handle(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        record = {"id": "x", "type": "ip", "attributes": {"ip": 5}, "relationships": {"company": company}}
        return web.json_response({"data": record, "meta": {"credits": {"charged": 2}}})

    async with handler_server(handle) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.ips(["8.8.8.8", "8.8.4.4"])
        summary = await job.to_file(out)
        await lf.enrich.ips(["8.8.8.8", "8.8.4.4"]).to_file(out, retry_failed=True)
    assert (summary.credits, summary.credits_possibly_charged, requests) == (4, 0, 2)
    for line in lines(out):
        assert (line["outcome"], line["id"], line["charged"]) == (outcome, company_id, 2)
        assert line["record"]["relationships"]["company"] == company


class Schedule:
    """Runs of one job against a server that leaves out, merges, rejects and loses, with kills between them."""

    def __init__(self, seed: int, folder: Path, counts: Counter[str]) -> None:
        self.random, self.folder, self.counts = random.Random(seed), folder, counts
        merged = {
            str(n): str(self.random.choice([n + 100, n // 2, 200])) for n in range(40) if self.random.random() < 0.2
        }
        merged = {old: new for old, new in merged.items() if new not in merged}
        self.server = Ledger(merged)
        self.server.fetch = self.fetch
        self.server.unlocked = {str(n) for n in range(240) if self.random.random() < self.random.choice([0, 0, 0.3])}
        self.rows = keys(*(self.random.randint(0, 40) for _ in range(self.random.randint(5, 80))))
        self.delivered = set[str]()
        """The records that this run has received."""
        self.number = 0
        self.until_kill = 0
        self.killed = asyncio.Event()
        self.highest = 10**6

    @property
    def out(self) -> Path:
        return self.folder / str(self.number) / "out.ndjson"

    async def run(self) -> None:
        is_retry = False
        async with handler_server(self.server.handle) as url:
            for _ in range(self.random.randint(1, 6)):
                is_retry |= await self.run_once(url, is_retry=is_retry)

    async def run_once(self, url: str, *, is_retry: bool) -> bool:
        """Run the job until it ends or is killed. Return True if it has finished."""
        before = self.server.charged
        limit = self.random.choice([None, *range(0, 60, 5)])
        base = before if is_retry and not resumable_file.checkpoint_path(self.out).exists() else None
        if base is not None:
            self.base = base
        start = getattr(self, "base", 0) if is_retry else 0
        self.highest = 10**6 if limit is None else max(start + limit, before)
        self.delivered.clear()
        self.until_kill, self.killed = self.random.randint(1, 25), asyncio.Event()
        self.out.parent.mkdir(exist_ok=True)
        pool = Pool(limit) if limit is not None and self.random.random() < 0.3 else None
        async with client_of(url, retries=0) as lf:
            scoped = lf if pool is None else lf.with_options(budget=Budget(shared=pool))
            job = scoped.enrich.companies(self.rows, by="domain", max_credits=limit)
            task = asyncio.create_task(job.to_file(self.out, resume=True, retry_failed=is_retry))
            killed = asyncio.create_task(self.killed.wait())
            await asyncio.wait([task, killed], return_when=asyncio.FIRST_COMPLETED)
            is_killed = self.killed.is_set()
            is_finished = task.done() and task.exception() is None
            task.cancel()
            killed.cancel()
            with suppress(asyncio.CancelledError, LeadfeederError):
                await task
        charged = self.server.charged - before
        self.counts["killed" if is_killed else "ended"] += 1
        assert self.server.charged <= self.highest, (self.server.charged, self.highest)
        assert job.summary.credits + job.summary.credits_possibly_charged >= charged
        assert job.summary.credits <= charged
        if pool is not None:
            assert charged <= pool.spent <= pool.limit or not charged
        if is_killed:
            self.number += 1
            return False
        if not is_finished:
            state = resumable_file.checkpoint_path(self.out)
            assert not charged or checkpoint_of(self.out).state.reserved_credits >= self.server.charged - start
            self.counts["kept"] += state.exists()
            return False
        got = lines(self.out)
        assert [line["key"] for line in got] == self.rows
        kept = {record["id"] for line in got for record in [line["record"], *line["candidates"]] if record}
        assert kept >= self.delivered
        return True

    async def fetch(self, ids: list[str]) -> web.Response:
        if self.killed.is_set():
            await asyncio.sleep(60)
        run = self.number
        fault = self.random.choice(
            ["none"] * 4 + ["absent"] * 4 + ["errors", "reject", "paid reject", "lose", "bare", "402"]
        )
        self.counts[fault] += 1
        if fault == "reject":
            return web.json_response({"errors": [{"title": "bad"}]}, status=422)
        is_partial = fault in {"absent", "errors", "paid reject"}
        returned = [one for one in ids if not is_partial or self.random.random() < 0.5]
        data, charged = self.server.charge(returned)
        self.until_kill -= 1
        if self.until_kill == 0:
            target = self.folder / str(self.number + 1)
            target.mkdir()
            for path in self.out.parent.glob("out.ndjson*"):
                shutil.copy(path, target)
            self.killed.set()
            await asyncio.sleep(60)
        await asyncio.sleep(self.random.choice([0, 0, 0.002]))
        meta = {"meta": {"credits": {"charged": charged}}}
        match fault:
            case "lose":
                return web.Response(body=b"{")
            case "402":
                return web.json_response({"errors": [{}], **meta}, status=402)
            case "paid reject":
                return web.json_response({"errors": [{}], **meta}, status=self.random.choice([404, 422, 500]))
            case _:
                errors = {"errors": [{"title": "x"}]} if fault == "errors" and len(returned) < len(ids) else {}
                self.delivered.update(record["id"] for record in data if run == self.number)
                return self.server.page(data, None if fault == "bare" else charged, **errors)


@pytest.mark.timeout(14_400 if SOAK else 90)
async def test_random_schedules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent, merged and unlocked companies, charged failures and kills never let a job exceed its limit."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 5)
    counts = Counter[str]()
    for seed in range(FIRST_SEED, FIRST_SEED + SCHEDULES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            await Schedule(seed, folder, counts).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        shutil.rmtree(folder)
    print(SCHEDULES, "schedules", dict(counts))  # noqa: T201
    assert counts["killed"]
    assert counts["kept"]


class BrokenPool(Pool):
    """A pool whose connection is lost at one reservation, while other requests are in flight."""

    def __init__(self, number: int) -> None:
        super().__init__(1_000_000)
        self.remaining = number

    async def reserve(self, most: int, context: ErrorContext) -> None:
        self.remaining -= 1
        if self.remaining == 0:
            await asyncio.sleep(0.05)
            raise ConnectionResetError("the pool is gone")
        await super().reserve(most, context)


class LaggingPool(Pool):
    """A pool that learns at each reservation what other processes have released."""

    known = 0

    @property
    def credits_left(self) -> int:
        return self.known

    async def reserve(self, most: int, context: ErrorContext) -> None:
        self.known = self.limit - self.spent
        await super().reserve(most, context)


@pytest.mark.parametrize("limit", [60, 0])
async def test_shared_credits_that_others_have_released(limit: int) -> None:
    """A job that knows of no credits asks the pool again before it skips rows."""
    server = Ledger()
    async with handler_server(server.handle) as url, client_of(url) as lf, lf.budget(shared=LaggingPool(limit)):
        outcomes = Counter([result.outcome async for result in lf.enrich.companies(keys(*range(150)), by="domain")])
    assert (outcomes[Outcome.MATCHED], server.charged) == (limit, limit)
    assert outcomes[Outcome.SKIPPED_BY_BUDGET] == 150 - limit


@pytest.mark.parametrize("number", [1, 2, 5])
async def test_paid_records_are_returned_before_another_error(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """If a pool of credits raises an error of its own, the records in flight are returned first."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, got = Ledger(), list[str | None]()

    async def fetch(ids: list[str]) -> web.Response:
        response = await server.respond(ids)
        await asyncio.sleep(0.2)
        return response

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        with pytest.raises(ConnectionResetError, match="the pool is gone"):
            async with lf.budget(shared=BrokenPool(number)):
                async for result in lf.enrich.companies(keys(*range(80)), by="domain"):
                    got.append(result.id)
    assert len(got) == server.charged


async def test_few_paid_addresses_wait_for_a_slow_one(tmp_path: Path) -> None:
    """An interrupted file of IP addresses has paid for few results that wait for an earlier row."""
    charged, out = list[str](), tmp_path / "out.ndjson"

    async def respond(request: web.Request) -> web.Response:
        address = request.query["ip"]
        charged.append(address)
        if address.endswith(".5") and len(charged) < 100:
            await asyncio.sleep(0.5)
            return web.json_response({"errors": [{"code": "x"}]}, status=402)
        return web.json_response({"data": {"type": "ip", "attributes": {}}, "meta": {"credits": {"charged": 1}}})

    addresses = [f"8.8.8.{number}" for number in range(1, 201)]
    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        with pytest.raises(LeadfeederError):
            await lf.enrich.ips(addresses, max_credits=1_000).to_file(out)
        assert len(charged) <= 4 + 1 + 2 * MAX_FETCH_REQUESTS
        charged.extend([""] * 100)
        await lf.enrich.ips(addresses, max_credits=1_000).to_file(out, resume=True)
    assert len(lines(out)) == 200


@pytest.mark.parametrize("kind", ["generator", "csv", "asynchronous"])
async def test_iterator_is_read_once(tmp_path: Path, kind: str) -> None:
    """A second use of a job raises if its rows are an iterator, and changes no file."""

    async def asynchronous() -> AsyncIterator[str]:
        for key in keys(*range(30)):
            yield key

    rows: Any = iter(keys(*range(30)))
    if kind == "csv":
        rows = csv.DictReader(["domain", *keys(*range(30))])
    elif kind == "asynchronous":
        rows = asynchronous()
    server, out = Ledger(), tmp_path / "out.ndjson"
    async with handler_server(server.handle) as url, client_of(url) as lf:
        job = lf.enrich.companies(rows, by="domain", max_credits=100)
        await job.to_file(out)
        before = out.read_bytes()
        for use in (job.estimate, lambda: job.to_file(out, overwrite=True)):
            with pytest.raises(ConfigurationError, match="can be read only once"):
                await use()
    assert out.read_bytes() == before
    assert (len(lines(out)), server.charged) == (30, 30)


@pytest.mark.parametrize("status", [400, 422, 500, 502, 504])
async def test_charged_match_that_fails_is_not_sent_again(status: int) -> None:
    """A match is documented as free. If a failed one reports a charge, it is not repeated."""
    server, matches = Ledger(), 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal matches
        matches += 1
        body = {"errors": [{"title": "no"}], "meta": {"credits": {"charged": 5}}}
        return web.json_response(body, status=status)

    async with handler_server(handle) as url, client_of(url) as lf:
        job = lf.enrich.companies(keys(*range(20)), by="domain", max_credits=100)
        results = [result async for result in job]
    assert (matches, job.summary.credits, server.requests) == (1, 5, [])
    assert {(result.outcome, result.charged) for result in results} == {(Outcome.FAILED, None)}


async def test_first_match_under_a_limit_is_sent_alone() -> None:
    """Matches are documented as free. Under a limit, others follow when the first response has not charged."""
    server, matches = Ledger(), 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal matches
        matches += 1
        response = await server.handle(request)
        body = json.loads(response.body or b"")  # type: ignore[arg-type]
        return web.json_response({**body, "meta": {"credits": {"charged": 200}}})

    async with handler_server(handle) as url, client_of(url) as lf:
        job = lf.enrich.companies(keys(*range(2_000)), by="domain", max_credits=10)
        outcomes = [result.outcome async for result in job]
    assert (matches, job.summary.credits, server.requests) == (1, 200, [])
    assert set(outcomes) == {Outcome.SKIPPED_BY_BUDGET}


async def test_jobs_of_one_budget_wait_for_reservations() -> None:
    """Credits that another job of the budget has reserved, but does not spend, are waited for."""
    server = Ledger(price=0)

    async def fetch(ids: list[str]) -> web.Response:
        await asyncio.sleep(0.3)
        return await server.respond(ids)

    async def run(lf: AsyncLeadfeeder, first: int) -> set[Outcome]:
        job = lf.enrich.companies(keys(*range(first, first + 100)), by="domain")
        return {result.outcome async for result in job}

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url) as lf, lf.budget(max_credits=100) as budget:
        assert await asyncio.gather(run(lf, 0), run(lf, 500)) == [{Outcome.MATCHED}] * 2
    assert budget.credits == 0


@pytest.mark.parametrize("lagging", [1, 5])
async def test_charge_without_records_is_requested_once_more(lagging: int) -> None:
    """If a response charges for companies and contains none, they are requested once more."""
    server = Ledger()

    async def fetch(ids: list[str]) -> web.Response:
        rows, charged = server.charge(ids)
        return server.page(rows if len(server.requests) > lagging else [], charged if len(server.requests) == 1 else 3)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url) as lf:
        job = lf.enrich.companies(keys(*range(3)), by="domain", max_credits=100)
        outcomes = {result.outcome async for result in job}
    assert (len(server.requests), outcomes) == (2, {Outcome.MATCHED if lagging == 1 else Outcome.NOT_FOUND})


@pytest.mark.parametrize("data", [None, []])
async def test_ip_address_without_data_is_not_found(data: object) -> None:
    """An address for which the response has no data is not found, and its charge counts."""

    async def respond(_: web.Request) -> web.Response:
        return web.json_response({"data": data, "meta": {"credits": {"charged": 1}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        job = lf.enrich.ips([f"8.8.8.{number}" for number in range(40)], max_credits=100)
        charged = [(result.outcome, result.charged) async for result in job]
    assert (set(charged), job.summary.credits) == ({(Outcome.NOT_FOUND, 1)}, 40)


async def test_used_up_limit_does_not_wait_for_others() -> None:
    """A job whose own limit is spent ends, although calls of an outer budget with enough credits are in flight."""
    server, is_done = Ledger(), asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/999"):
            await is_done.wait()
        return await server.handle(request)

    async with handler_server(handle) as url, client_of(url) as lf, lf.budget(max_credits=1_000):
        sibling = asyncio.create_task(lf.companies.get("999"))
        await asyncio.sleep(0.05)
        job = lf.enrich.companies(keys(*range(6)), by="domain", max_credits=2)
        outcomes = Counter([result.outcome async for result in job])
        sibling.cancel()
        is_done.set()
    assert outcomes == {Outcome.MATCHED: 2, Outcome.SKIPPED_BY_BUDGET: 4}


@pytest.mark.parametrize("problem", [{"errors": [{"code": "backend_unavailable"}]}, {"success": False}])
async def test_matches_with_errors_are_not_final(problem: dict[str, object], tmp_path: Path) -> None:
    """If a match response reports an error, keys without a match have failed, and can be requested again."""
    server, out, is_down = Ledger(), tmp_path / "out.ndjson", True

    async def handle(request: web.Request) -> web.Response:
        response = await server.handle(request)
        body = json.loads(response.body or b"")  # type: ignore[arg-type]
        if not (is_down and request.path.endswith("/match")):
            return response
        urls = [one["url"] for one in (await request.json())["companies"]]
        data = [found if url == "a0.test" else [] for url, found in zip(urls, body["data"], strict=True)]
        return web.json_response({"data": data, **problem})

    async with handler_server(handle) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.companies(keys(*range(5)), by="domain")
        await job.to_file(out)
        assert job.summary.outcomes == {Outcome.MATCHED: 1, Outcome.FAILED: 4}
        is_down = False
        job = lf.enrich.companies(keys(*range(5)), by="domain")
        await job.to_file(out, retry_failed=True)
    assert (job.summary.outcomes, server.charged) == ({Outcome.MATCHED: 5}, 5)


async def test_error_beside_matches_of_which_some_are_left_out() -> None:
    """If a response about some of the keys has fewer entries than keys, these keys have failed."""

    async def respond(request: web.Request) -> web.Response:
        count = len((await request.json())["companies"])
        entries = count if count == 8 else count - 1
        return web.json_response({"data": [[]] * entries, "errors": [{"code": "invalid_url"}]})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        outcomes = [result.outcome async for result in lf.enrich.companies(keys(*range(8)), by="domain")]
    assert outcomes == [Outcome.FAILED] * 8


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_error_beside_complete_matches(count: int) -> None:
    """An error beside the matches of all keys changes nothing."""
    server = Ledger()

    async def handle(request: web.Request) -> web.Response:
        response = await server.handle(request)
        body = json.loads(response.body or b"")  # type: ignore[arg-type]
        return web.json_response({**body, "errors": [{"code": "warning"}]})

    async with handler_server(handle) as url, client_of(url, retries=0) as lf:
        outcomes = [result.outcome async for result in lf.enrich.companies(keys(*range(count)), by="domain")]
    assert outcomes == [Outcome.MATCHED] * count


@pytest.mark.parametrize(("rejected", "requests"), [({"7"}, 17), (set(map(str, range(150))), 17)])
async def test_error_about_some_keys_of_a_match(rejected: set[str], requests: int) -> None:
    """The keys that an error beside the matches is about are found with few requests. The others are not found."""
    matches = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal matches
        matches += 1
        numbers = {one["url"].removeprefix("c").removesuffix(".test") for one in (await request.json())["companies"]}
        errors = [{"code": "invalid_url"}] if numbers & rejected else []
        return web.json_response({"data": [[]] * len(numbers), "errors": errors})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        rows = [f"c{number}.test" for number in range(150)]
        outcomes = Counter([result.outcome async for result in lf.enrich.companies(rows, by="domain")])
    assert matches <= requests
    assert outcomes[Outcome.FAILED] == len(rejected)
    assert outcomes[Outcome.NOT_FOUND] == 150 - len(rejected)


async def test_entry_that_is_no_record_beside_a_merged_company() -> None:
    """The other ids of a response with a null are requested again, as without it."""
    server = Ledger({"2": "1"})

    async def fetch(ids: list[str]) -> web.Response:
        rows, charged = server.charge([one for one in ids if one != "4"])
        distinct = list({row["id"]: row for row in rows}.values())
        return server.page([*distinct, *[None] * ("4" in ids)], charged)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url) as lf:
        results = [result async for result in lf.enrich.companies(keys(*range(1, 6)), by="domain")]
    assert [result.outcome for result in results] == [Outcome.MATCHED] * 3 + [Outcome.FAILED, Outcome.MATCHED]


async def test_cancellation_between_parts_loses_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation while several results are written waits until all are."""
    monkeypatch.setattr(pending_rows, "MAX_PART_BYTES", 1)
    lines = [ResultLine(row=row, outcome=Outcome.NOT_FOUND) for row in range(5)]
    written = list[int]()

    class Journal:
        def write(self, lines: list[ResultLine], _: object) -> None:
            written.extend(line.row for line in lines)
            if len(written) == 2:
                task.cancel()

    task = asyncio.create_task(_write_parts(Journal(), lines, None))  # type: ignore[arg-type]
    await asyncio.gather(task, return_exceptions=True)
    assert (task.cancelled(), written) == (True, list(range(5)))


@pytest.mark.parametrize("data", [None, [], {}, {"id": "1", "relationships": {"company": None}}])
async def test_ip_lookup_with_errors_is_not_final(data: object) -> None:
    """An address without a company has failed if the response reports an error."""

    async def respond(_: web.Request) -> web.Response:
        return web.json_response({"data": data, "errors": [{"code": "backend_unavailable"}]})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        results = [result async for result in lf.enrich.ips(["8.8.8.8", "8.8.4.4"], max_credits=100)]
    assert {result.outcome for result in results} == {Outcome.FAILED}
    assert all(result.error is not None for result in results)


@pytest.mark.parametrize("entry", [None, 5, []])
async def test_entries_that_are_no_records_fail_their_rows(entry: object) -> None:
    """An entry that is no object is not taken for the record of a company that is missing."""
    server = Ledger()

    async def fetch(ids: list[str]) -> web.Response:
        rows, charged = server.charge([one for one in ids if one != "2"])
        return server.page([*rows[:2], entry, *rows[2:]], charged)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url) as lf:
        results = [result async for result in lf.enrich.companies(keys(*range(5)), by="domain")]
    assert [result.outcome for result in results].count(Outcome.MATCHED) == 4
    [failed] = [result for result in results if result.outcome is Outcome.FAILED]
    assert (failed.id, failed.record) == ("2", None)


async def test_server_returns_only_some_of_the_companies() -> None:
    """If a response contains fewer companies than it has charged, the others are requested again."""
    server = Ledger()

    async def fetch(ids: list[str]) -> web.Response:
        rows, charged = server.charge(ids)
        return server.page(rows[:20], charged)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url) as lf:
        job = lf.enrich.companies(keys(*range(300)), by="domain")
        outcomes = [result.outcome async for result in job]
    assert (set(outcomes), server.charged) == ({Outcome.MATCHED}, 300)


async def test_left_out_company_beyond_the_limit_can_be_retried(tmp_path: Path) -> None:
    """A company that a charged response has left out is not reported as not found while the budget is spent."""
    server, out = Ledger(), tmp_path / "out.ndjson"

    async def fetch(ids: list[str]) -> web.Response:
        rows, charged = server.charge(ids)
        return server.page([row for row in rows if row["id"] != "7" or len(ids) == 1], charged)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url) as lf:
        job = lf.enrich.companies(keys(*range(100)), by="domain", max_credits=100)
        await job.to_file(out)
        assert job.summary.outcomes == {Outcome.MATCHED: 99, Outcome.SKIPPED_BY_BUDGET: 1}
        job = lf.enrich.companies(keys(*range(100)), by="domain", max_credits=101)
        await job.to_file(out, retry_failed=True)
    assert (job.summary.outcomes, server.charged) == ({Outcome.MATCHED: 100}, 100)


@pytest.mark.parametrize("status", [401, 402])
async def test_merged_records_before_a_fatal_error_are_returned(status: int) -> None:
    """Records that cannot be assigned are candidates of their rows, if the error of a later request stops the job."""
    server = Ledger({"1": "m1", "2": "m2", "3": "m3"})

    async def fetch(ids: list[str]) -> web.Response:
        if len(ids) == 1:
            return web.json_response({"errors": [{"title": "no"}]}, status=status)
        return await server.respond(ids)

    server.fetch, got = fetch, list[str | None]()
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        with pytest.raises(LeadfeederError):
            async for result in lf.enrich.companies(keys(*range(10)), by="domain"):
                got += [result.id] if result.record else []
                got += [str(candidate.relationships.company_summary.id) for candidate in result.candidates]
    assert set(got) == {"0", "4", "5", "6", "7", "8", "9", "m1", "m2", "m3"}


async def test_company_that_is_not_permitted_fails_alone() -> None:
    """A 403 for one of many companies fails its row. If too many in a row are not permitted, the job stops."""
    server, forbidden = Ledger(), {"17"}

    async def fetch(ids: list[str]) -> web.Response:
        if forbidden.intersection(ids):
            return web.json_response({"errors": [{"title": "no"}]}, status=403)
        return await server.respond(ids)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url) as lf:
        job = lf.enrich.companies(keys(*range(500)), by="domain")
        assert [result.id async for result in job if result.outcome is Outcome.FAILED] == ["17"]
        forbidden.update(map(str, range(50, 500)))
        with pytest.raises(PermissionDeniedError):
            async for _ in lf.enrich.companies(keys(*range(500)), by="domain"):
                pass
    assert len(server.requests) < 150


@pytest.mark.parametrize("limit", [15, 16, 18, 25, 40])
async def test_partly_charged_ids_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Paid companies of a response that had free ones are returned within any limit, also after new earlier rows."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, out = Ledger(), tmp_path / "out.ndjson"
    server.unlocked = {str(number) for number in range(15, 30)}

    async def fetch(ids: list[str]) -> web.Response:
        if "0" in ids:  # nothing is charged
            await asyncio.sleep(0.05)
            return web.json_response({"errors": [{"code": "rate_limit_exceeded"}]}, status=429)
        return await server.respond(ids)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        with pytest.raises(LeadfeederError):
            await lf.enrich.companies(keys(*range(30)), by="domain").to_file(out)
        assert (server.charged, checkpoint_of(out).rows) == (5, 0)
        server.fetch = server.respond
        await lf.enrich.companies(keys(*range(30)), by="domain", max_credits=limit).to_file(out, resume=True)
    found = {line["id"] for line in lines(out) if line["outcome"] == "matched"}
    assert {str(number) for number in range(10, 20)} <= found
    assert server.charged <= limit


@pytest.mark.parametrize("missing", ["absent", "free"])
async def test_merged_ids_that_wait_for_their_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Merged companies that were charged are returned after an interruption before they are requested one by one."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 10)
    server, out, moment = Ledger({"3": "7003", "5": "7005", "7": "7007"}), tmp_path / "out.ndjson", asyncio.Event()
    server.unlocked = {"8"} if missing == "free" else set()

    async def fetch(ids: list[str]) -> web.Response:
        ids = [one for one in ids if missing != "absent" or one != "9"]
        if len(ids) < 2:
            moment.set()
            await asyncio.sleep(30)
        return await server.respond(ids)

    async def respond(ids: list[str]) -> web.Response:
        return await server.respond([one for one in ids if missing != "absent" or one != "9"])

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0) as lf:
        await interrupt(lf, keys(*range(10)), out, moment, 10)
        assert server.charged == 9
        server.fetch = respond
        await lf.enrich.companies(keys(*range(10)), by="domain", max_credits=10).to_file(out, resume=True)
    matched = {line["row"] - 1 for line in lines(out) if line["outcome"] == "matched"}
    assert matched == set(range(9 if missing == "absent" else 10))
    assert server.charged == 9


async def test_resume_whose_paid_records_are_written(tmp_path: Path) -> None:
    """A lower limit is accepted if all records that were paid are in the file."""
    server, out = Ledger(), tmp_path / "out.ndjson"

    async def fetch(ids: list[str]) -> web.Response:
        if server.charged >= 300:
            return web.json_response({"errors": [{"code": "insufficient_credits"}]}, status=402)
        return await server.respond(ids)

    server.fetch = fetch
    async with handler_server(server.handle) as url, client_of(url, retries=0, max_concurrency=1) as lf:
        with pytest.raises(LeadfeederError):
            await lf.enrich.companies(keys(*range(1_000)), by="domain").to_file(out)
        assert checkpoint_of(out).rows == server.charged == 300
        summary = await lf.enrich.companies(keys(*range(1_000)), by="domain", max_credits=200).to_file(out, resume=True)
    assert (summary.outcomes[Outcome.MATCHED], server.charged) == (300, 300)
