"""Bulk enrichment: each row has an outcome, no request is repeated, and no budget is exceeded."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pandas as pd
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from leadfeeder_async import (
    AsyncLeadfeeder,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CheckpointError,
    ConfigurationError,
    ConnectError,
    DecodeError,
    InsufficientCreditsError,
    NotFoundError,
    Outcome,
    OutcomeUnknownError,
    QuotaExceededError,
)
from leadfeeder_async.jobs.enrich import pending_rows, pipeline, request_queue
from leadfeeder_async.jobs.enrich.input_file import InputFile
from leadfeeder_async.jobs.enrich.key_normalization import KeyFinder, normalize_domain, parse_rules
from leadfeeder_async.jobs.enrich.lookup import MatchPolicy
from leadfeeder_async.jobs.resumable_file import partial_path
from leadfeeder_async.jobs.serialized_error import SerializedError
from leadfeeder_async.models.companies import CompanyMatch, CompanyMatchAttributes
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.enrich_process import rows as rows_to_kill
from tests.support.examples import examples
from tests.support.fork_server import ProcessServer, process_server
from tests.support.servers import handler_server, http, raw_server
from tests.support.tasks import client_tasks

SOAK = bool(os.environ.get("SOAK"))
KILL_ROUNDS = 60 if SOAK else 2
MANY_ROWS = 200_000 if SOAK else 40_000


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(companies=1_000, visits=0, rate_limit=False) as running:
        yield running


@pytest.fixture
async def lf(sandbox: Sandbox) -> AsyncIterator[AsyncLeadfeeder]:
    async with client_for(sandbox, retries=0) as client:
        yield client


def domain(number: int) -> str:
    return f"company-{number}.test"


def company(number: int) -> str:
    return str(159_000_000 + number)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fetched(sandbox: Sandbox) -> int:
    return sandbox.ledger.count("retrieve_companies")


async def test_ten_thousand_rows() -> None:
    """9,900 rows have their company and 100 another outcome, and no request is wasted."""
    async with Sandbox(companies=10_000, visits=0, rate_limit=False, credits=20_000) as sandbox:
        other_keys = {
            number: ("", "nobody.test", domain(number))[number // 100 % 3] for number in range(0, 10_000, 100)
        }
        rejected = [company(number) for number in other_keys if other_keys[number] == domain(number)]
        for company_id in rejected:
            sandbox.reject_company(company_id)
        async with client_for(sandbox, retries=0) as lf:
            job = lf.enrich.companies([other_keys.get(number, domain(number)) for number in range(10_000)], by="domain")
            got = [result async for result in job]
    assert [result.row for result in got] == list(range(1, 10_001))
    matched = [result for result in got if result.outcome is Outcome.MATCHED]
    assert [result.record and result.record.id for result in matched] == [
        company(n) for n in range(10_000) if n not in other_keys
    ]
    counts = Counter(result.outcome for result in got)
    assert counts == {"matched": 9_900, "unusable": 34, "not_found": 33, "failed": 33} == job.summary.outcomes
    assert all(isinstance(result.error, BadRequestError) for result in got if result.outcome is Outcome.FAILED)
    assert sandbox.ledger.credits_charged == job.summary.credits == sum(result.charged or 0 for result in got) == 9_900
    assert len(set(sandbox.ledger.charges)) == 9_900
    assert sandbox.ledger.count("match_companies") == 50
    assert fetched(sandbox) <= 100 + 33 * 2 * 7


async def test_repeated_keys_are_requested_once(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Repeated keys share a request in flight or its cached result, and keys of one company share its record."""
    keys = ["company-1.test", "HTTPS://WWW.Company-1.test/about", "company-1.test."] * 2_000
    keys[4_000:4_000] = [domain(2)] * 10
    sandbox.latency = 0.01
    async with aclosing(aiter(lf.enrich.companies(keys, by="domain"))) as job:
        got = [result async for result in job]
    assert {result.id for result in got} == {company(1), company(2)}
    assert all(result.record and result.record.id == result.id for result in got)
    assert (sandbox.ledger.count("match_companies"), fetched(sandbox)) == (2, 2)
    assert sum(result.charged or 0 for result in got) == sandbox.ledger.credits_charged == 2


async def test_rows_in_memory_are_limited(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """At most a fixed number of rows is read ahead of the yielded ones."""
    read = yielded = ahead = 0

    def rows() -> Iterator[str]:
        nonlocal read, ahead
        for number in range(MANY_ROWS):
            read += 1
            ahead = max(ahead, read - yielded)
            yield domain(number % 997)

    job = lf.enrich.companies(rows(), by="domain")
    async for result in job:
        yielded = result.row
    assert (read, job.summary.rows, sandbox.ledger.credits_charged) == (MANY_ROWS, MANY_ROWS, 997)
    assert ahead <= pipeline.MAX_PENDING_ROWS + 1


async def test_input_is_not_read_without_consumer(lf: AsyncLeadfeeder) -> None:
    """If the consumer stops taking results, the job stops reading rows."""
    source = iter(domain(number) for number in range(20_000))
    async with aclosing(aiter(lf.enrich.companies(source, by="domain", max_credits=0))) as job:
        await anext(job)
        await asyncio.sleep(0.05)
    assert sum(1 for _ in source) >= 20_000 - pipeline.MAX_PENDING_ROWS


async def test_early_exit_cancels_requests(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Breaking out of the loop or canceling it ends all requests and the wait for the input."""
    before = client_tasks()
    sandbox.latency = 0.02

    async def slow_rows() -> AsyncIterator[str]:
        for number in range(500):
            yield domain(number)
        await asyncio.sleep(3_600)

    async def take(least: int) -> None:
        async with aclosing(aiter(lf.enrich.companies(slow_rows(), by="domain"))) as job:
            async for result in job:
                if result.row >= least:
                    break

    await take(10)
    assert client_tasks() == before
    for wait in (0.01, 0.03, 0.06, 0.1):
        task = asyncio.create_task(take(10_000))
        await asyncio.sleep(wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client_tasks() == before
    assert (lf.stats.in_flight, lf.stats.waiting) == (0, 0)


async def test_slow_input_does_not_delay_rows(lf: AsyncLeadfeeder) -> None:
    """Rows are processed while the input waits for the next one."""
    more = asyncio.Event()

    async def rows() -> AsyncIterator[str]:
        yield domain(1)
        yield domain(2)
        await more.wait()
        yield domain(3)

    got = list[str | None]()
    async with aclosing(aiter(lf.enrich.companies(rows(), by="domain"))) as job:
        async for result in job:
            got.append(result.id)
            if len(got) == 2:
                more.set()
    assert got == [company(1), company(2), company(3)]


@pytest.mark.parametrize("ordered", [True, False])
async def test_order(sandbox: Sandbox, lf: AsyncLeadfeeder, ordered: bool) -> None:
    """Results are in the order of the input, or in the order in which they are complete."""
    sandbox.fail_next(503, operation="match_companies")  # the first 200 are retried
    got = [result.row async for result in lf.enrich.companies(map(domain, range(900)), by="domain", ordered=ordered)]
    assert sorted(got) == list(range(1, 901))
    assert (got == sorted(got)) is ordered


@pytest.mark.parametrize("most", [0, 1, 30, 100, 130, 299, 300])
async def test_credit_budget_is_used_and_not_exceeded(sandbox: Sandbox, lf: AsyncLeadfeeder, most: int) -> None:
    """All allowed credits are used, and rows that are not covered have the ID of their company."""
    job = lf.enrich.companies(map(domain, range(300)), by="domain", max_credits=most)
    got = [result async for result in job]
    assert sandbox.ledger.credits_charged == job.summary.credits == most
    skipped = [result for result in got if result.outcome is Outcome.SKIPPED_BY_BUDGET]
    assert [result.id for result in skipped] == [company(number) for number in range(most, 300)]
    assert job.summary.outcomes[Outcome.MATCHED] == most
    assert fetched(sandbox) == -(-most // 100)


async def test_unlocked_companies_use_no_budget(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Credits that were reserved but not charged are used for the next rows."""
    await lf.companies.get_many(map(company, range(120))).collect()
    job = lf.enrich.companies(map(domain, range(200)), by="domain", max_credits=50)
    matched = [result.id async for result in job if result.outcome is Outcome.MATCHED]
    assert (matched, job.summary.credits) == ([company(number) for number in range(170)], 50)
    assert sandbox.ledger.credits_charged == 170


@pytest.mark.parametrize("ordered", [True, False])
async def test_first_rows_get_the_credits(sandbox: Sandbox, lf: AsyncLeadfeeder, ordered: bool) -> None:
    """The budget covers the first rows, whichever matches arrive first."""
    sandbox.fail_next(503, operation="match_companies", times=2)  # the first 400 are retried
    sandbox.reject_company(company(57))
    job = lf.enrich.companies(map(domain, range(900)), by="domain", max_credits=450, ordered=ordered)
    got = [result async for result in job]
    matched = sorted(result.row for result in got if result.outcome is Outcome.MATCHED)
    assert matched == [row for row in range(1, 452) if row != 58]
    assert sandbox.ledger.credits_charged == 450


async def test_outer_budgets_apply(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A job respects the budgets around it, which several jobs may share."""

    async def run(start: int) -> Counter[Outcome]:
        job = lf.enrich.companies(map(domain, range(start, start + 300)), by="domain", max_credits=250)
        return Counter([result.outcome async for result in job])

    async with lf.budget(max_credits=330) as spent:
        counts = await asyncio.gather(run(0), run(300), run(600))
    assert sandbox.ledger.credits_charged == spent.credits <= 330
    assert sum(result[Outcome.MATCHED] for result in counts) == spent.credits
    assert sum(result.total() for result in counts) == 900
    async with lf.budget(max_requests=2):
        got = [result async for result in lf.enrich.companies(map(domain, range(300)), by="domain")]
    assert all(result.outcome is Outcome.SKIPPED_BY_BUDGET for result in got)
    assert any(isinstance(result.error, BudgetExceededError) for result in got)


async def test_lost_response_is_not_retried(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """If a billed response is lost, its rows fail, its credits stay counted, and it is not retried."""
    sandbox.fail_next(500, operation="retrieve_companies", after_work=True)
    keys = [*map(domain, range(100)), *map(domain, range(100)), *map(domain, range(100, 150))]
    job = lf.enrich.companies(keys, by="domain", max_credits=140)
    got = [result async for result in job]
    lost = [result for result in got if result.outcome is Outcome.FAILED]
    assert len(lost) == 200
    assert all(isinstance(result.error, OutcomeUnknownError) and result.charged in {None, 0} for result in lost)
    assert (job.summary.credits_possibly_charged, job.summary.credits, sandbox.ledger.credits_charged) == (100, 40, 140)
    assert job.summary.outcomes[Outcome.SKIPPED_BY_BUDGET] == 10


async def test_free_requests_are_retried(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A match that fails is retried because it is free."""
    sandbox.fail_next(500, operation="match_companies", times=2)
    job = lf.enrich.companies(map(domain, range(600)), by="domain")
    assert {result.outcome async for result in job} == {Outcome.MATCHED}
    assert (sandbox.ledger.count("match_companies"), job.summary.credits) == (5, 600)


@pytest.mark.parametrize(("status", "outcome"), [(400, Outcome.FAILED), (404, Outcome.NOT_FOUND)])
async def test_rejected_id_fails_one_row(sandbox: Sandbox, lf: AsyncLeadfeeder, status: int, outcome: Outcome) -> None:
    """A request that is rejected because of one ID is split until that ID is alone."""
    sandbox.reject_company(company(57), status)
    got = [result async for result in lf.enrich.companies(map(domain, range(100)), by="domain")]
    assert [result.row for result in got if result.outcome is not Outcome.MATCHED] == [58]
    assert (got[57].outcome, got[57].id, got[57].charged) == (outcome, company(57), 0)
    assert isinstance(got[57].error, NotFoundError if status == 404 else BadRequestError)
    assert (sandbox.ledger.credits_charged, fetched(sandbox)) == (99, 1 + 2 * 7)


@pytest.mark.parametrize(
    ("first", "last", "status"),
    [(0, 30, 400), (50, 80, 400), (70, 170, 422), (0, 50, 404), (100, 250, 404)],
    ids=["the first", "within a request", "over two", "gone", "gone over two"],
)
async def test_consecutive_rejected_rows(
    sandbox: Sandbox, lf: AsyncLeadfeeder, first: int, last: int, status: int
) -> None:
    """Any number of consecutive rejected IDs fails only their rows while other requests succeed."""
    for number in range(first, last):
        sandbox.reject_company(company(number), status)
    job = lf.enrich.companies(map(domain, range(300)), by="domain")
    got = [result async for result in job]
    other = Outcome.NOT_FOUND if status == 404 else Outcome.FAILED
    assert [result.outcome for result in got] == [
        other if first <= number < last else Outcome.MATCHED for number in range(300)
    ]
    assert sandbox.ledger.credits_charged == job.summary.credits == 300 - (last - first)


async def test_all_not_found_is_a_result(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A short job in which every row is not expected does not end with an error."""
    for number in range(50):
        sandbox.reject_company(company(number), 404)
    got = [result.outcome async for result in lf.enrich.companies(map(domain, range(50)), by="domain")]
    sandbox.fail_next(404, operation="enrich_ip", times=50)
    got += [result.outcome async for result in lf.enrich.ips(f"198.18.1.{number}" for number in range(50))]
    assert got == [Outcome.NOT_FOUND] * 100


@pytest.mark.parametrize(
    ("operation", "status", "limit"),
    [
        ("match_companies", 404, request_queue.MAX_CONSECUTIVE_FAILURES),
        ("match_companies", 422, request_queue.MAX_CONSECUTIVE_FAILURES),
        ("retrieve_companies", 400, request_queue.MAX_CONSECUTIVE_FAILURES),
        ("retrieve_companies", 404, request_queue.MAX_CONSECUTIVE_REJECTIONS),
        ("enrich_ip", 400, request_queue.MAX_CONSECUTIVE_FAILURES),
        ("enrich_ip", 404, request_queue.MAX_CONSECUTIVE_REJECTIONS),
    ],
)
async def test_constant_rejection_ends_the_job(
    sandbox: Sandbox, lf: AsyncLeadfeeder, operation: str, status: int, limit: int
) -> None:
    """If every request is rejected, the job ends with that error after a limited number of requests."""
    sandbox.fail_next(status, operation=operation, times=10_000)
    by_ip = lf.enrich.ips(f"198.18.{number // 250}.{number % 250}" for number in range(1_000))
    job = by_ip if operation == "enrich_ip" else lf.enrich.companies(map(domain, range(1_000)), by="domain")
    with pytest.raises(NotFoundError if status == 404 else BadRequestError):
        [result async for result in job]
    splits = 0 if operation == "enrich_ip" else 8 * request_queue.MAX_FETCH_REQUESTS + limit
    assert limit <= sandbox.ledger.count(operation) <= limit + request_queue.MAX_FETCH_REQUESTS + splits
    assert sandbox.ledger.credits_charged == 0


async def test_rejections_that_start_later_end_the_job() -> None:
    """A job whose requests begin to be rejected ends after a higher limit."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if requests > 100:
            return web.json_response({"errors": [{"title": "The format has changed"}]}, status=400)
        return web.json_response({"data": {"id": "1", "type": "enriched_ip"}, "meta": {"credits": {"charged": 0}}})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.ips(f"198.18.{number // 250}.{number % 250}" for number in range(1_000))
        with pytest.raises(BadRequestError, match="The format has changed"):
            [result async for result in job]
    assert job.summary.outcomes == {"not_found": 100, "failed": requests - 100}
    assert (
        request_queue.MAX_CONSECUTIVE_REJECTIONS
        <= requests - 100
        <= request_queue.MAX_CONSECUTIVE_REJECTIONS + 2 * request_queue.MAX_FETCH_REQUESTS
    )


async def test_responses_with_missing_entries_end_the_job() -> None:
    """A server that omits an entry of each response ends the job after a limited number of requests."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return web.json_response({"data": [[] for _ in (await request.json())["companies"][1:]]})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        with pytest.raises(DecodeError, match="The response contains 0 entries for 1 keys"):
            [result async for result in lf.enrich.companies(map(domain, range(1_000)), by="domain")]
    assert requests <= 8 * request_queue.MAX_MATCH_REQUESTS + 2 * request_queue.MAX_CONSECUTIVE_FAILURES


async def test_merged_and_missing_companies(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A merged company is matched under its current ID, and a removed one is not expected."""
    for old, into in ((3, 900), (4, 901)):
        sandbox.world.merge_company(company(old), company(into))
    got = [result async for result in lf.enrich.companies(map(domain, range(3, 5)), by="domain")]
    assert [(result.outcome, result.id) for result in got] == [("matched", company(900)), ("matched", company(901))]
    sandbox.world.remove_company(company(700))
    gone = [result async for result in lf.enrich.companies(map(domain, (10, 700)), by="domain")]
    assert [(result.outcome, result.id) for result in gone] == [("matched", company(10)), ("not_found", company(700))]
    assert sandbox.ledger.credits_charged == 3


@pytest.mark.parametrize(
    ("returned", "outcome", "expected_id"),
    [
        (["5", "9"], Outcome.MATCHED, "5"),
        (["9", "5"], Outcome.MATCHED, "5"),
        (["9"], Outcome.MATCHED, "9"),
        (["8", "9"], Outcome.FAILED, "5"),
        ([], Outcome.NOT_FOUND, "5"),
    ],
)
async def test_unrequested_record_is_not_assigned(returned: list[str], outcome: Outcome, expected_id: str) -> None:
    """The record of the requested ID is used, or a single other record, which is the merged company."""

    async def respond(request: web.Request) -> web.Response:
        if "match" in request.path:
            return web.json_response({"data": [[{"id": "5", "attributes": {"match_score": 1.0}}]]})
        rows = [{"id": row_id, "type": "company", "attributes": {"name": f"Firm {row_id}"}} for row_id in returned]
        return web.json_response({"data": rows, "meta": {"credits": {"charged": len(returned)}}})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.companies(["a.test"], by="domain")
        [result] = [result async for result in job]
    assert (result.outcome, result.id) == (outcome, expected_id)
    assert (result.record and result.record.name) == (f"Firm {expected_id}" if outcome is Outcome.MATCHED else None)
    assert result.charged == job.summary.credits == len(returned)


async def test_lookup_by_name_and_vat(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A name of several companies is ambiguous and free, and a VAT ID is unique."""
    world = sandbox.world
    names = Counter(str(world.company(company(number))["name"]) for number in range(1_000))
    unique = next(name for name, count in names.items() if count == 1 and sum(name in other for other in names) == 1)
    common = names.most_common(1)[0][0]
    rows = [{"Company Name": unique, "City": "Hamburg", "country": "de"}, {"Company Name": common}, {"x": "y"}]
    got = [result async for result in lf.enrich.companies(rows, by="name")]
    assert [result.outcome for result in got] == ["matched", "ambiguous", "unusable"]
    assert got[0].record is not None
    assert (got[0].record.name, got[0].key, got[0].score) == (unique, f"{unique}, Hamburg, DE", 0.95)
    assert len(got[1].candidates) == 3
    assert got[1].candidates[0].company is not None
    by_vat = [result async for result in lf.enrich.companies(["de 100 000 007", "-"], by="vat")]
    assert [(result.outcome, result.id) for result in by_vat] == [("matched", company(7)), ("unusable", None)]
    assert sandbox.ledger.credits_charged == 2


LONE_SURROGATE = "\ud800"
"""An unpaired surrogate, which Python strings may contain but files and requests may not."""


@pytest.mark.parametrize(
    ("by", "invalid", "key"),
    [
        ("name", f"bad {LONE_SURROGATE} GmbH", r"bad \ud800 GmbH"),
        ("name", {"name": "Alster", "city": LONE_SURROGATE}, r"Alster, \ud800"),
        ("domain", f"{LONE_SURROGATE}.test", r"\ud800.test"),
        ("vat", f"DE{LONE_SURROGATE}", r"DE\ud800"),
    ],
    ids=["name", "city", "domain", "vat"],
)
async def test_unpaired_surrogate_makes_one_row_unusable(
    lf: AsyncLeadfeeder, tmp_path: Path, by: Literal["name", "domain", "vat"], invalid: Any, key: str
) -> None:
    """A key that cannot be sent is unusable and is escaped in files. Other rows are not affected."""
    valid = {"name": "Nobody", "domain": "nobody.test", "vat": "DE999999999"}[by]
    job = lf.enrich.companies([valid, invalid, valid], by=by)
    got = [result async for result in job]
    assert [(result.outcome, result.key) for result in got] == [
        ("not_found", valid),
        ("unusable", key),
        ("not_found", valid),
    ]
    assert r"\ud800" in str(got[1].error)
    for suffix in ("ndjson", "csv"):
        assert (await job.to_file(tmp_path / f"out.{suffix}")).rows == 3
    assert (await job.to_file(tmp_path / "out.ndjson", retry_failed=True)).rows == 3


async def test_unpaired_surrogate_in_unused_column(lf: AsyncLeadfeeder) -> None:
    """A column that is not sent may contain an unpaired surrogate."""
    rows = [{"domain": domain(1), "city": LONE_SURROGATE, LONE_SURROGATE: LONE_SURROGATE}]
    assert [result.outcome async for result in lf.enrich.companies(rows, by="domain")] == [Outcome.MATCHED]


async def test_request_id_with_any_bytes(tmp_path: Path) -> None:
    """A request ID with invalid characters is written to the file."""
    refused = http(b'{"errors":[{"title":"no"}]}', "400 Bad Request", "X-Request-Id: a?b\r\n").replace(b"?", b"\xff")
    async with raw_server(refused) as server, client_of(server.url, retries=0) as lf:
        await lf.enrich.companies(["a.test"], by="domain").to_file(tmp_path / "out.ndjson")
    [line] = lines(tmp_path / "out.ndjson")
    assert (line["outcome"], line["error"]["request_id"]) == ("failed", "a?b")


async def test_ips(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Each address is requested once, private ones never, and addresses of one company are charged once."""
    ips = ["198.18.0.0", "198.18.0.1", "::ffff:198.18.0.1", "192.168.0.9", "8.8.8.8", "no", "198.18.0.0"]
    job = lf.enrich.ips(ips, max_credits=10)
    got = [result async for result in job]
    assert [result.outcome for result in got] == [
        "matched", "matched", "matched", "unusable", "not_found", "unusable", "matched",
    ]  # fmt: skip
    assert got[4].record is not None
    assert got[4].record.attributes.company_type == "isp"
    assert sandbox.ledger.count("enrich_ip") == 3
    assert job.summary.credits == sandbox.ledger.credits_charged == 1
    estimate = await lf.enrich.ips(ips).estimate()
    assert (estimate.max_credits, estimate.requests, sandbox.ledger.count("enrich_ip")) == (None, 3, 3)


async def test_estimate(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """The estimate has the maximum charge and the exact number of requests of the job."""
    keys = [*map(domain, range(450)), "nobody.test", "?", domain(3)]
    job = lf.enrich.companies(keys, by="domain")
    estimate = await job.estimate()
    assert (sandbox.ledger.credits_charged, fetched(sandbox)) == (0, 0)
    assert (estimate.rows, estimate.distinct, estimate.max_credits, estimate.requests) == (453, 451, 450, 8)
    assert estimate.outcomes == {"matched": 451, "not_found": 1, "unusable": 1}
    before = len(sandbox.ledger.requests)
    assert len([result async for result in job]) == 453
    assert (sandbox.ledger.credits_charged, len(sandbox.ledger.requests) - before) == (450, 8)
    assert (await lf.enrich.companies(keys, by="domain", max_credits=7).estimate()).max_credits == 7


def inject_error(sandbox: Sandbox, kind: type[Exception]) -> None:
    if kind is AuthenticationError:
        sandbox.revoke_key()
    elif kind is InsufficientCreditsError:
        sandbox.set_credits(150)
    elif kind is QuotaExceededError:
        sandbox.quota = len(sandbox.ledger.requests)


@pytest.mark.parametrize("kind", [AuthenticationError, InsufficientCreditsError, QuotaExceededError])
async def test_fatal_error_keeps_finished_rows(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, kind: type[Exception]
) -> None:
    """If the key, the credits or the quota end a job, its rows are kept and it can be resumed."""
    out = tmp_path / "out.ndjson"
    keys = list(map(domain, range(1_000))) * 2
    seen = list[int]()

    def on_progress(progress: Any) -> None:
        seen.append(progress.done)
        inject_error(sandbox, kind)

    sequential = client_for(sandbox, retries=0, max_concurrency=1)
    async with sequential as lf:
        with pytest.raises(kind):
            await lf.enrich.companies(keys, by="domain").to_file(out, on_progress=on_progress)
        done = len(lines(partial_path(out)))
        assert 0 < done < 2_000
        sandbox.restore_key()
        sandbox.quota = 10**6
        sandbox.set_credits(10**6)
    async with client_for(sandbox) as lf:
        summary = await lf.enrich.companies(keys, by="domain").to_file(out, resume=True)
    assert [result["id"] for result in lines(out)] == [company(number) for number in range(1_000)] * 2
    assert [result["row"] for result in lines(out)] == list(range(1, 2_001))
    assert summary.rows == 2_000
    assert sandbox.ledger.credits_charged == 1_000
    assert [path.name for path in tmp_path.iterdir()] == ["out.ndjson"]


async def test_network_outage_ends_the_job() -> None:
    """Without a connection, the job ends with that error after a limited number of requests and no charge."""
    async with Sandbox(companies=10, visits=0, rate_limit=False) as sandbox:
        pass
    async with client_for(sandbox, retries=0) as lf:
        job = lf.enrich.companies(map(domain, range(5_000)), by="domain")
        with pytest.raises(ConnectError):
            [result async for result in job]
        assert job.summary.rows == 0
        assert lf.stats.requests <= request_queue.MAX_CONSECUTIVE_FAILURES + request_queue.MAX_MATCH_REQUESTS


async def test_single_records_after_lost_response() -> None:
    """While billed requests fail, only single records are requested, until one succeeds."""
    async with Sandbox(companies=2_000, visits=0, rate_limit=False) as sandbox, client_for(sandbox, retries=0) as lf:
        sandbox.fail_next(500, operation="retrieve_companies", times=request_queue.MAX_FETCH_REQUESTS + 3)
        job = lf.enrich.companies(map(domain, range(2_000)), by="domain")
        counts = Counter([result.outcome async for result in job])
    assert counts[Outcome.MATCHED] + counts[Outcome.FAILED] == 2_000
    assert counts[Outcome.FAILED] <= 100 * request_queue.MAX_FETCH_REQUESTS + 3
    assert job.summary.credits_possibly_charged == counts[Outcome.FAILED]
    assert sandbox.ledger.credits_charged == job.summary.credits == counts[Outcome.MATCHED]


async def test_resume_with_another_input_or_job(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """Resuming with another input or other options is rejected, and additional rows are allowed."""
    out, keys = tmp_path / "out.ndjson", list(map(domain, range(900)))

    def stop(progress: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lf.enrich.companies(keys, by="domain").to_file(out, on_progress=stop)
    before = len(sandbox.ledger.requests)
    changed = [*keys[:5], "other.test", *keys[6:]]
    with pytest.raises(CheckpointError, match=r"The key of row 6 is 'other.test'"):
        await lf.enrich.companies(changed, by="domain").to_file(out, resume=True)
    with pytest.raises(CheckpointError, match="The input has 5 rows"):
        await lf.enrich.companies(keys[:5], by="domain").to_file(out, resume=True)
    for other in (
        lf.enrich.companies(keys, by="name"),
        lf.enrich.companies(keys, by="domain", min_score=0.5),
        lf.enrich.companies(keys, by="domain", account_id="7"),
        lf.enrich.ips(keys),
    ):
        with pytest.raises(CheckpointError, match="belongs to another job"):
            await other.to_file(out, resume=True)
    with pytest.raises(CheckpointError, match="unfinished"):
        await lf.enrich.companies(keys, by="domain").to_file(out)
    assert len(sandbox.ledger.requests) == before
    await lf.enrich.companies([*keys, domain(950)], by="domain", max_credits=2_000).to_file(out, resume=True)
    assert [result["key"] for result in lines(out)] == [*keys, domain(950)]
    assert sandbox.ledger.credits_charged == 901


async def test_max_credits_applies_to_all_runs(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """A job that is stopped and resumed uses its credits and does not exceed them."""
    out = tmp_path / "out.ndjson"
    job = lf.enrich.companies(map(domain, range(1_000)), by="domain", max_credits=650)
    runs = 0
    while not out.exists():
        runs += 1
        task = asyncio.create_task(
            lf.enrich.companies(map(domain, range(1_000)), by="domain", max_credits=650).to_file(out, resume=True)
        )
        sandbox.latency = 0.004
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.02 * runs)
            task.cancel()
            await task
    assert runs > 2
    assert sandbox.ledger.credits_charged == 650
    assert Counter(result["outcome"] for result in lines(out)) == {"matched": 650, "skipped_by_budget": 350}
    assert job.summary.rows == 0


async def test_retry_failed_requests_failed_rows_only(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """Failed and skipped rows are requested restored, and the other rows are copied."""
    out, keys = tmp_path / "out.ndjson", [*map(domain, range(250)), "nobody.test"]
    sandbox.fail_next(500, operation="retrieve_companies", after_work=True)
    await lf.enrich.companies(keys, by="domain", max_credits=220).to_file(out)
    counts = Counter(result["outcome"] for result in lines(out))
    assert (counts["failed"], counts["skipped_by_budget"]) == (100, 30)
    failed = next(result for result in lines(out) if result["outcome"] == "failed")
    assert (failed["error"]["type"], failed["charged"]) == ("OutcomeUnknownError", None)
    before = len(sandbox.ledger.requests)
    with pytest.raises(CheckpointError, match="exists"):
        await lf.enrich.companies(keys, by="domain").to_file(out, resume=True)
    summary = await lf.enrich.companies(keys, by="domain", max_credits=130).to_file(out, retry_failed=True)
    assert summary.outcomes == {"matched": 250, "not_found": 1}
    assert [result["key"] for result in lines(out)] == keys
    assert summary.credits == 30  # The lost response was charged, so that another request is free.
    assert sandbox.ledger.credits_charged == 250
    assert [entry.operation for entry in sandbox.ledger.requests[before:]] == [
        "match_companies", "retrieve_companies", "retrieve_companies",
    ]  # fmt: skip
    with pytest.raises(CheckpointError, match="cannot be retried"):
        await lf.enrich.companies(keys, by="domain").to_file(tmp_path / "none.ndjson", retry_failed=True)


@pytest.mark.parametrize(
    "line",
    [b'{"id":"1","type":"company"}', b"\0", b'{"outcome":"matched","key":"\xff"}', b'{"outcome":"matched"'],
    ids=["a company", "zeros", "not UTF-8", "truncated"],
)
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
async def test_damaged_file_is_rejected(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, line: bytes, finished: bool
) -> None:
    """A damaged or unrelated file is rejected with the line number, and nothing is sent."""
    out, keys = tmp_path / "out.ndjson", list(map(domain, range(900)))

    def stop(progress: Any) -> None:
        if not finished:
            raise ZeroDivisionError

    with suppress(ZeroDivisionError):
        await lf.enrich.companies(keys, by="domain").to_file(out, on_progress=stop)
    written = out if finished else partial_path(out)
    first, second, *rest = written.read_bytes().split(b"\n")
    written.write_bytes(b"\n".join([first, line.ljust(len(second), line[-1:] if line == b"\0" else b" "), *rest]))
    damaged, before = written.read_bytes(), len(sandbox.ledger.requests)
    with pytest.raises(
        CheckpointError, match=r"ndjson(\.part)?, line 2 is damaged or is not a complete result of an enrichment"
    ) as caught:
        await lf.enrich.companies(keys, by="domain").to_file(out, resume=not finished, retry_failed=finished)
    assert "overwrite=True" in caught.value.hint
    assert (written.read_bytes(), len(sandbox.ledger.requests)) == (damaged, before)
    assert (await lf.enrich.companies(keys, by="domain").to_file(out, overwrite=True)).rows == 900


@pytest.mark.parametrize("line_count", [0, 5])
async def test_retry_failed_of_incomplete_file(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, line_count: int
) -> None:
    """A file with missing lines cannot be retried, because the retry could charge as much as a new job."""
    out, keys = tmp_path / "out.ndjson", list(map(domain, range(300)))
    await lf.enrich.companies(keys[:10], by="domain").to_file(out)
    out.write_bytes(b"".join(out.read_bytes().splitlines(keepends=True)[:line_count]))
    content, before = out.read_bytes(), len(sandbox.ledger.requests)
    with pytest.raises(CheckpointError, match=rf"has {line_count} lines, but the input has a different number of rows"):
        await lf.enrich.companies(keys, by="domain").to_file(out, retry_failed=True)
    assert (out.read_bytes(), len(sandbox.ledger.requests)) == (content, before)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("kind", ["limit", "list", "generator"])
async def test_retry_failed_keeps_all_lines(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, kind: str) -> None:
    """A limit or an input that is shorter than the file is rejected, because lines would be lost."""
    out, keys = tmp_path / "out.ndjson", list(map(domain, range(30)))
    await lf.enrich.companies(keys, by="domain").to_file(out)
    content, limit = out.read_bytes(), 10 if kind == "limit" else None
    rows = keys if kind == "limit" else keys[:10] if kind == "list" else iter(keys[:10])
    with pytest.raises(CheckpointError, match="has 30 lines, but the input has a different number of rows"):
        await lf.enrich.companies(rows, by="domain", limit=limit).to_file(out, retry_failed=True)
    assert out.read_bytes() == content
    if kind == "generator":
        partial_path(out).unlink(missing_ok=True)
        out.with_name("out.ndjson.checkpoint").unlink(missing_ok=True)
    assert (await lf.enrich.companies(keys, by="domain").to_file(out, retry_failed=True)).rows == 30


async def test_retry_failed_of_longer_iterator(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """If an iterator is longer than the file, the rows that were charged by then are written."""
    out, keys = tmp_path / "out.ndjson", list(map(domain, range(5_000)))
    await lf.enrich.companies(keys[:4_990], by="domain", max_credits=0).to_file(out)
    sandbox.latency = 0.02
    with pytest.raises(CheckpointError, match="has 4,990 lines, but the input has a different number of rows"):
        await lf.enrich.companies(iter(keys), by="domain").to_file(out, retry_failed=True)
    written = [result for result in lines(partial_path(out)) if result["outcome"] == "matched"]
    assert sandbox.ledger.credits_charged == len(written) > 0


async def test_copied_lines_keep_their_input_columns(lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """Copied lines keep their input columns, and other lines with the same key do not get them."""
    source, out = tmp_path / "in.txt", tmp_path / "out.ndjson"
    source.write_text("company-1.test\n", encoding="utf-8")
    await lf.enrich.companies(InputFile(source, "domain"), by="domain").to_file(out)
    out.write_text(
        out.read_text(encoding="utf-8") + '{"row":2,"key":"company-1.test","outcome":"failed","record":null}\n',
        encoding="utf-8",
    )
    await lf.enrich.companies([domain(1), domain(1)], by="domain").to_file(out, retry_failed=True)
    first, second = lines(out)
    assert (first["line"], first["input"], second["outcome"]) == (1, "company-1.test", "matched")
    assert second.keys() == first.keys() - {"line", "input"}


async def test_tables(lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """A CSV or Parquet file has the columns of the row and then those of its record."""
    for name in ("out.csv", "out.parquet"):
        await lf.enrich.companies([domain(1), "nobody.test", "?"], by="domain").to_file(tmp_path / name)
        table = duckdb.sql(f"SELECT row, key, outcome, id, name, error FROM '{tmp_path / name}' ORDER BY row")
        got = [tuple(map(str, row)) for row in table.fetchall()]
        assert [row[:4] for row in got] == [
            ("1", "company-1.test", "matched", company(1)),
            ("2", "nobody.test", "not_found", "None"),
            ("3", "?", "unusable", "None"),
        ]
        assert got[0][4] != "None"
        assert "is not a domain" in got[2][5]
    await lf.enrich.ips(["198.18.0.2"]).to_file(tmp_path / "ips.csv")
    assert duckdb.sql(f"SELECT \"company.id\", ip FROM '{tmp_path / 'ips.csv'}'").fetchall()[0] == (
        int(company(1)),
        "198.18.0.2",
    )


async def enrich_with_kills(
    server: ProcessServer, seed: int, out: Path, *options: str
) -> tuple[list[dict[str, Any]], Sandbox, int]:
    """Enrich, kill and resume until the file exists. Return its lines, the sandbox and the number of kills."""
    rng, kills = random.Random(seed), 0
    async with Sandbox(seed=seed, companies=2_000, visits=0, rate_limit=False) as sandbox:
        sandbox.world.match_index  # noqa: B018 - built before the first match
        sandbox.latency = 0.005
        address = (sandbox.url, sandbox.api_key, sandbox.account_id)
        for _ in range(20):
            if out.exists():
                break
            requests = len(sandbox.ledger.requests)
            child = await server.start(*address, "5000", "2000", "1500", str(out), *options)
            async with asyncio.timeout(40):
                while child.returncode is None:
                    await asyncio.sleep(0.005)
                    if kills < 5 and len(sandbox.ledger.requests) > requests + rng.randrange(2, 18):
                        child.kill()
                        kills += 1
                        await child.wait()
    return lines(out), sandbox, kills


@pytest.mark.timeout(1_500 if SOAK else 120)
async def test_kill_at_random_moments(tmp_path: Path) -> None:
    """Every row is in the file once and in order, no company is charged twice, and max_credits holds over all runs.

    The test starts and kills processes, so it takes real time.
    """
    kills = 0
    async with process_server("tests.support.enrich_process") as server:
        for seed in range(KILL_ROUNDS):
            got, sandbox, killed = await enrich_with_kills(server, seed, tmp_path / f"{seed}.ndjson")
            kills += killed
            assert [result["row"] for result in got] == list(range(1, 5_001))
            keys = rows_to_kill(5_000, 2_000)
            assert [result["key"] for result in got] == [normalize_domain(key) or key for key in keys]
            assert sandbox.ledger.credits_charged == len(set(sandbox.ledger.charges)) <= 1_500
            matched = {result["id"] for result in got if result["outcome"] == "matched"}
            assert matched == set(sandbox.ledger.charges)
            assert len(matched) >= 1_400
    assert kills >= 2 * KILL_ROUNDS


@pytest.mark.slow
async def test_kill_of_broken_build_is_detected(tmp_path: Path) -> None:
    """A build that does not record credits before it spends them exceeds the limit."""
    charged = 0
    async with process_server("tests.support.enrich_process") as server:
        for seed in range(4):
            out = tmp_path / f"{seed}.ndjson"
            _, sandbox, _ = await enrich_with_kills(server, seed, out, "--record-spending-late")
            charged = max(charged, sandbox.ledger.credits_charged)
            if charged > 1_500:
                break
    assert charged > 1_500


@given(st.lists(st.floats(0, 1), max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_only_clear_matches_are_taken(scores: list[float], min_score: float, min_lead: float) -> None:
    """A company is taken only if its score and its lead are high enough."""
    matches = [
        CompanyMatch(id=str(index), attributes=CompanyMatchAttributes(match_score=score))
        for index, score in enumerate(scores)
    ]
    line = MatchPolicy(min_score, min_lead).evaluate(matches)
    best = sorted(scores, reverse=True)
    if line.outcome is Outcome.MATCHED:
        assert best[0] == line.score >= min_score
        assert len(best) == 1 or best[0] - best[1] >= min_lead - 1e-6
    else:
        assert line.outcome is (Outcome.AMBIGUOUS if scores else Outcome.NOT_FOUND)
        assert len(line.candidates) == len(scores)


@settings(max_examples=examples(15))
@given(
    st.lists(st.integers(-2, 40), max_size=700),
    st.one_of(st.none(), st.integers(0, 45)),
    st.booleans(),
    st.lists(
        st.sampled_from([(503, "match_companies"), (400, "retrieve_companies"), (500, "match_companies")]), max_size=3
    ),
)
def test_any_input_and_budget(
    numbers: list[int], most: int | None, ordered: bool, faults: list[tuple[int, str]]
) -> None:
    """For any rows, budget and faults, each row has one outcome and each company is charged at most once."""

    async def scenario() -> None:
        async with Sandbox(companies=40, visits=0, rate_limit=False) as sandbox, client_for(sandbox, retries=0) as lf:
            for status, operation in faults:
                sandbox.fail_next(status, operation=operation)
            keys = ["?" if number < 0 else domain(number) for number in numbers]
            job = lf.enrich.companies(keys, by="domain", max_credits=most, ordered=ordered)
            got = sorted([result async for result in job], key=lambda result: result.row)
            assert [result.key for result in got] == keys
            ledger = sandbox.ledger
            assert job.summary.credits == ledger.credits_charged == len(set(ledger.charges))
            assert sum(result.charged or 0 for result in got) == ledger.credits_charged
            assert most is None or ledger.credits_charged <= most
            assert {result.id for result in got if result.outcome is Outcome.MATCHED} == set(ledger.charges)
            assert all((result.outcome is Outcome.UNUSABLE) == (result.key == "?") for result in got)

    asyncio.run(scenario())


def test_errors_survive_serialization() -> None:
    """A serialized error is restored with its type and context."""
    from leadfeeder_async.errors import ErrorContext

    error = OutcomeUnknownError(
        "Lost.", ErrorContext(operation="retrieve_companies", attempts=2, sent="maybe", phase="body")
    )
    restored = SerializedError.from_error(error).to_error()
    assert (type(restored), restored.message, restored.sent, restored.attempts) == (
        OutcomeUnknownError,
        "Lost.",
        "maybe",
        2,
    )
    assert type(SerializedError(type="Exit", message="x").to_error()).__name__ == "LeadfeederError"


async def test_invalid_arguments(lf: AsyncLeadfeeder) -> None:
    """A string in place of rows, an unknown key and a negative limit are rejected."""
    calls: Iterable[Any] = (
        lambda: lf.enrich.companies("company-1.test", by="domain"),
        lambda: lf.enrich.companies([], by="phone"),  # type: ignore[arg-type]
        lambda: lf.enrich.companies([], by="domain", max_credits=-1),
        lambda: lf.enrich.ips("203.0.113.1"),
        lambda: lf.enrich.ips([], limit=-1),
    )
    for call in calls:
        with pytest.raises(ConfigurationError):
            call()
    assert [result async for result in lf.enrich.companies([], by="domain")] == []
    assert [result.row async for result in lf.enrich.companies(map(domain, range(9)), by="domain", limit=3)] == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize("row", [None, float("nan"), pd.NA, pd.Series(["Nord"] * 2), ("Nord", "Kiel"), b"", 2.5])
@pytest.mark.parametrize("by", ["name", "vat"])
async def test_rows_that_are_neither_text_nor_mapping(
    sandbox: Sandbox, lf: AsyncLeadfeeder, row: Any, by: Literal["name", "vat"]
) -> None:
    """A row that is neither a text nor a mapping is unusable, and nothing is sent for it."""
    results = [result async for result in lf.enrich.companies([row], by=by, max_credits=10)]
    assert [(result.outcome, result.key) for result in results] == [(Outcome.UNUSABLE, "")]
    assert not sandbox.ledger.requests


class QueryResult(list[dict[str, str]]):
    """Rows of a database, with a method for their columns, such as those of SQLAlchemy."""

    def columns(self) -> tuple[str, ...]:
        return ("name",)


@pytest.mark.parametrize("as_mapping", [False, True])
async def test_keys_of_other_types(as_mapping: bool) -> None:
    """IP addresses, and integers of numpy, are keys as bare rows and in columns."""
    for by, value, text in (("ip", ip_address("8.8.8.8"), "8.8.8.8"), ("vat", np.int64(811569869), "811569869")):
        found = KeyFinder(parse_rules(by, None)).find({by: value} if as_mapping else value)  # type: ignore[arg-type]
        assert (found.problem, found.value) == ("", text)


async def test_table_as_rows_is_refused(lf: AsyncLeadfeeder) -> None:
    """A loop over a data frame returns the names of its columns, so it is refused."""
    frame = pd.DataFrame({"Company": ["Nord"]})
    with pytest.raises(ConfigurationError, match=r"rows is a table.*to_dict"):
        lf.enrich.companies(frame, by="name")
    assert lf.enrich.companies(frame["Company"], by="name")
    assert lf.enrich.companies(QueryResult(), by="name")
    assert lf.enrich.companies(frame.to_dict("records"), by="name")


async def test_many_rows_of_one_large_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the same company that finish at once are passed on in parts of a limited size."""
    monkeypatch.setattr(pending_rows, "MAX_PART_BYTES", 10_000)

    async def respond(request: web.Request) -> web.Response:
        if request.path.endswith("/match"):
            companies = (await request.json())["companies"]
            match = {"id": "1", "type": "company_match", "attributes": {"match_score": 0.95}}
            return web.json_response({"data": [[match]] * len(companies)})
        return web.json_response({"data": [{"id": "1", "type": "company", "attributes": {"name": "x" * 1_000}}]})

    async with handler_server(respond) as url, client_of(url) as lf:
        parts = [len(part) async for part in lf.enrich.companies(["a.test"] * 300, by="domain").raw_lines()]
    assert max(parts) < 20_000
    assert len(parts) > 20


@pytest.mark.parametrize("step", ["read", "find"])
async def test_slow_rows_do_not_block_the_event_loop(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Other tasks get a turn between rows that take long to read, or whose keys take long to find."""
    find, turn, turns = KeyFinder.find, 0, set[int]()

    async def take_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def wait(slow_step: str) -> None:
        if step == slow_step:
            time.sleep(0.005)
            turns.add(turn)

    def slow_find(finder: KeyFinder, row: Any) -> Any:
        wait("find")
        return find(finder, row)

    def rows() -> Iterator[str]:
        for _ in range(100):
            wait("read")
            yield "unknown.test"

    monkeypatch.setattr(KeyFinder, "find", slow_find)
    async with client_for(sandbox) as lf:
        other = asyncio.create_task(take_turns())
        results = [result async for result in lf.enrich.companies(rows(), by="domain", max_credits=10)]
        other.cancel()
    assert len(results) == 100
    assert len(turns) >= 25
