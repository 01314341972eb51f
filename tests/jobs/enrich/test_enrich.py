"""Bulk enrichment: every row has its outcome, nothing is asked or charged twice, and no budget is passed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest
from aiohttp import web
from hypothesis import example, given, settings
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
from leadfeeder_async.jobs.enrich import pipeline, request_queue
from leadfeeder_async.jobs.enrich.input_file import InputFile
from leadfeeder_async.jobs.enrich.keys import key_of, normalize_domain, normalize_public_ip, normalize_vat_id
from leadfeeder_async.jobs.enrich.lookup import MatchPolicy
from leadfeeder_async.jobs.enrich.results import SerializedError
from leadfeeder_async.jobs.resumable_file import partial_path
from leadfeeder_async.models.companies import CompanyMatch, CompanyMatchAttributes
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.enrich_process import rows as rows_to_kill
from tests.support.servers import handler_server, http, raw_server

SOAK = bool(os.environ.get("SOAK"))
SWEEPS = 60 if SOAK else 3
MANY = 200_000 if SOAK else 40_000


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
    return [json.loads(line) for line in path.read_text().splitlines()]


def tasks() -> set[asyncio.Task[Any]]:
    """All tasks but those of the sandbox, which keeps its connections."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task.get_coro())}


def fetched(sandbox: Sandbox) -> int:
    return sandbox.ledger.count("retrieve_companies")


async def test_ten_thousand_rows_with_one_in_a_hundred_bad() -> None:
    """9,900 rows have their company and 100 a typed outcome; the account is the server's, and no request is wasted."""
    async with Sandbox(companies=10_000, visits=0, rate_limit=False, credits=20_000) as sandbox:
        bad = {number: ("", "nobody.test", domain(number))[number // 100 % 3] for number in range(0, 10_000, 100)}
        refused = [company(number) for number in bad if bad[number] == domain(number)]
        for one in refused:
            sandbox.reject_company(one)
        async with client_for(sandbox, retries=0) as lf:
            job = lf.enrich.companies([bad.get(number, domain(number)) for number in range(10_000)], by="domain")
            got = [one async for one in job]
    assert [one.row for one in got] == list(range(1, 10_001))
    good = [one for one in got if one.outcome is Outcome.MATCHED]
    assert [one.record and one.record.id for one in good] == [company(n) for n in range(10_000) if n not in bad]
    counts = Counter(one.outcome for one in got)
    assert counts == {"matched": 9_900, "unusable": 34, "not_found": 33, "failed": 33} == job.summary.outcomes
    assert all(isinstance(one.error, BadRequestError) for one in got if one.outcome is Outcome.FAILED)
    assert sandbox.ledger.credits_charged == job.summary.credits == sum(one.charged or 0 for one in got) == 9_900
    assert len(set(sandbox.ledger.charges)) == 9_900
    assert sandbox.ledger.count("match_companies") == 50
    assert fetched(sandbox) <= 100 + 33 * 2 * 7


async def test_a_key_is_asked_once_however_often_it_comes(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Repeats share what is under way, and far apart what was learned; two keys of one company share its record."""
    keys = ["company-1.test", "HTTPS://WWW.Company-1.test/about", "company-1.test."] * 2_000
    keys[4_000:4_000] = [domain(2)] * 10
    sandbox.latency = 0.01
    async with aclosing(aiter(lf.enrich.companies(keys, by="domain"))) as job:
        got = [one async for one in job]
    assert {one.id for one in got} == {company(1), company(2)}
    assert all(one.record and one.record.id == one.id for one in got)
    assert (sandbox.ledger.count("match_companies"), fetched(sandbox)) == (2, 2)
    assert sum(one.charged or 0 for one in got) == sandbox.ledger.credits_charged == 2


async def test_memory_does_not_grow_with_the_rows(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """However many rows there are, no more than a fixed number is read ahead of those handed out."""
    read = handed_out = ahead = 0

    def rows() -> Iterator[str]:
        nonlocal read, ahead
        for number in range(MANY):
            read += 1
            ahead = max(ahead, read - handed_out)
            yield domain(number % 997)

    job = lf.enrich.companies(rows(), by="domain")
    async for one in job:
        handed_out = one.row
    assert (read, job.summary.rows, sandbox.ledger.credits_charged) == (MANY, MANY, 997)
    assert ahead <= pipeline.MAX_PENDING_ROWS + 1


async def test_nothing_is_read_while_nobody_takes(lf: AsyncLeadfeeder) -> None:
    """A consumer that stops taking rows stops the reading."""
    source = iter(domain(number) for number in range(20_000))
    async with aclosing(aiter(lf.enrich.companies(source, by="domain", max_credits=0))) as job:
        await anext(job)
        await asyncio.sleep(0.05)
    assert sum(1 for _ in source) >= 20_000 - pipeline.MAX_PENDING_ROWS


async def test_leaving_early_leaves_nothing(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Breaking out of the loop, or canceling it, ends every request and the wait for the input."""
    before = tasks()
    sandbox.latency = 0.02

    async def slow() -> AsyncIterator[str]:
        for number in range(500):
            yield domain(number)
        await asyncio.sleep(3_600)

    async def take(least: int) -> None:
        async with aclosing(aiter(lf.enrich.companies(slow(), by="domain"))) as job:
            async for one in job:
                if one.row >= least:
                    break

    await take(10)
    assert tasks() == before
    for wait in (0.01, 0.03, 0.06, 0.1):
        task = asyncio.create_task(take(10_000))
        await asyncio.sleep(wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tasks() == before
    assert (lf.stats.in_flight, lf.stats.waiting) == (0, 0)


async def test_a_slow_input_is_not_waited_for(lf: AsyncLeadfeeder) -> None:
    """The rows that came are worked on while the next one does not come."""
    more = asyncio.Event()

    async def rows() -> AsyncIterator[str]:
        yield domain(1)
        yield domain(2)
        await more.wait()
        yield domain(3)

    got = list[str | None]()
    async with aclosing(aiter(lf.enrich.companies(rows(), by="domain"))) as job:
        async for one in job:
            got.append(one.id)
            if len(got) == 2:
                more.set()
    assert got == [company(1), company(2), company(3)]


@pytest.mark.parametrize("ordered", [True, False])
async def test_order(sandbox: Sandbox, lf: AsyncLeadfeeder, ordered: bool) -> None:
    """Rows come in the order of the input, or as they are done: then a late answer holds up only its own rows."""
    sandbox.fail_next(503, operation="match_companies")  # the first two hundred are asked once more
    got = [one.row async for one in lf.enrich.companies(map(domain, range(900)), by="domain", ordered=ordered)]
    assert sorted(got) == list(range(1, 901))
    assert (got == sorted(got)) is ordered


@pytest.mark.parametrize("most", [0, 1, 30, 100, 130, 299, 300])
async def test_budget_is_used_up_and_never_passed(sandbox: Sandbox, lf: AsyncLeadfeeder, most: int) -> None:
    """Every credit allowed is used, none more; what is not covered is named with the company it would be."""
    job = lf.enrich.companies(map(domain, range(300)), by="domain", max_credits=most)
    got = [one async for one in job]
    assert sandbox.ledger.credits_charged == job.summary.credits == most
    skipped = [one for one in got if one.outcome is Outcome.SKIPPED_BY_BUDGET]
    assert [one.id for one in skipped] == [company(number) for number in range(most, 300)]
    assert job.summary.outcomes[Outcome.MATCHED] == most
    assert fetched(sandbox) == -(-most // 100)


async def test_what_is_unlocked_takes_nothing_from_the_budget(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Credits that were reserved and not charged are used for the next rows."""
    await lf.companies.get_many(map(company, range(120))).collect()
    job = lf.enrich.companies(map(domain, range(200)), by="domain", max_credits=50)
    matched = [one.id async for one in job if one.outcome is Outcome.MATCHED]
    assert (matched, job.summary.credits) == ([company(number) for number in range(170)], 50)
    assert sandbox.ledger.credits_charged == 170


@pytest.mark.parametrize("ordered", [True, False])
async def test_the_first_rows_have_the_credits(sandbox: Sandbox, lf: AsyncLeadfeeder, ordered: bool) -> None:
    """Whichever matches are answered first, and whatever is refused: what the budget covers are the first rows."""
    sandbox.fail_next(503, operation="match_companies", times=2)  # the first four hundred are asked once more
    sandbox.reject_company(company(57))
    job = lf.enrich.companies(map(domain, range(900)), by="domain", max_credits=450, ordered=ordered)
    got = [one async for one in job]
    matched = sorted(one.row for one in got if one.outcome is Outcome.MATCHED)
    assert matched == [row for row in range(1, 452) if row != 58]
    assert sandbox.ledger.credits_charged == 450


async def test_budgets_around_a_job_hold(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A job keeps to the budgets it runs under, also where several jobs share them."""

    async def run(start: int) -> Counter[Outcome]:
        job = lf.enrich.companies(map(domain, range(start, start + 300)), by="domain", max_credits=250)
        return Counter([one.outcome async for one in job])

    async with lf.budget(max_credits=330) as spent:
        counts = await asyncio.gather(run(0), run(300), run(600))
    assert sandbox.ledger.credits_charged == spent.credits <= 330
    assert sum(one[Outcome.MATCHED] for one in counts) == spent.credits
    assert sum(one.total() for one in counts) == 900
    async with lf.budget(max_requests=2):
        got = [one async for one in lf.enrich.companies(map(domain, range(300)), by="domain")]
    assert all(one.outcome is Outcome.SKIPPED_BY_BUDGET for one in got)
    assert any(isinstance(one.error, BudgetExceededError) for one in got)


async def test_lost_answer_fails_its_rows_and_is_not_sent_again(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Where an answer that may have charged is lost, its rows say so, its credits stay counted, and nobody asks again."""
    sandbox.fail_next(500, operation="retrieve_companies", after_work=True)
    keys = [*map(domain, range(100)), *map(domain, range(100)), *map(domain, range(100, 150))]
    job = lf.enrich.companies(keys, by="domain", max_credits=140)
    got = [one async for one in job]
    lost = [one for one in got if one.outcome is Outcome.FAILED]
    assert len(lost) == 200
    assert all(isinstance(one.error, OutcomeUnknownError) and one.charged in {None, 0} for one in lost)
    assert (job.summary.credits_possibly_charged, job.summary.credits, sandbox.ledger.credits_charged) == (100, 40, 140)
    assert job.summary.outcomes[Outcome.SKIPPED_BY_BUDGET] == 10


async def test_free_requests_are_tried_again(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A match that fails is sent again, since it costs nothing; one that keeps failing is cut down to what spoils it."""
    sandbox.fail_next(500, operation="match_companies", times=2)
    job = lf.enrich.companies(map(domain, range(600)), by="domain")
    assert {one.outcome async for one in job} == {Outcome.MATCHED}
    assert (sandbox.ledger.count("match_companies"), job.summary.credits) == (5, 600)


@pytest.mark.parametrize(("status", "outcome"), [(400, Outcome.FAILED), (404, Outcome.NOT_FOUND)])
async def test_one_bad_id_costs_one_row(sandbox: Sandbox, lf: AsyncLeadfeeder, status: int, outcome: Outcome) -> None:
    """A request that is refused for the sake of one id is cut in two until that id is alone."""
    sandbox.reject_company(company(57), status)
    got = [one async for one in lf.enrich.companies(map(domain, range(100)), by="domain")]
    assert [one.row for one in got if one.outcome is not Outcome.MATCHED] == [58]
    assert (got[57].outcome, got[57].id, got[57].charged) == (outcome, company(57), 0)
    assert isinstance(got[57].error, NotFoundError if status == 404 else BadRequestError)
    assert (sandbox.ledger.credits_charged, fetched(sandbox)) == (99, 1 + 2 * 7)


@pytest.mark.parametrize(
    ("first", "last", "status"),
    [(0, 30, 400), (50, 80, 400), (70, 170, 422), (0, 50, 404), (100, 250, 404)],
    ids=["the first", "within a request", "over two", "gone", "gone over two"],
)
async def test_bad_rows_that_stand_together_cost_only_themselves(
    sandbox: Sandbox, lf: AsyncLeadfeeder, first: int, last: int, status: int
) -> None:
    """However many bad ids follow each other in a request, the job goes on while others are answered well."""
    for number in range(first, last):
        sandbox.reject_company(company(number), status)
    job = lf.enrich.companies(map(domain, range(300)), by="domain")
    got = [one async for one in job]
    other = Outcome.NOT_FOUND if status == 404 else Outcome.FAILED
    assert [one.outcome for one in got] == [
        other if first <= number < last else Outcome.MATCHED for number in range(300)
    ]
    assert sandbox.ledger.credits_charged == job.summary.credits == 300 - (last - first)


async def test_only_gone_companies_are_an_answer(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A 404 for a company, or for an address, tells of that one: a short job of nothing else does not end by it."""
    for number in range(50):
        sandbox.reject_company(company(number), 404)
    got = [one.outcome async for one in lf.enrich.companies(map(domain, range(50)), by="domain")]
    sandbox.fail_next(404, operation="enrich_ip", times=50)
    got += [one.outcome async for one in lf.enrich.ips(f"198.18.1.{number}" for number in range(50))]
    assert got == [Outcome.NOT_FOUND] * 100


@pytest.mark.parametrize(
    ("operation", "status", "patience"),
    [
        ("match_companies", 404, request_queue.MAX_CONSECUTIVE_FAILURES),
        ("match_companies", 422, request_queue.MAX_CONSECUTIVE_FAILURES),
        ("retrieve_companies", 400, request_queue.MAX_CONSECUTIVE_FAILURES),
        ("retrieve_companies", 404, request_queue.MAX_CONSECUTIVE_REJECTIONS),
        ("enrich_ip", 400, request_queue.MAX_CONSECUTIVE_FAILURES),
        ("enrich_ip", 404, request_queue.MAX_CONSECUTIVE_REJECTIONS),
    ],
)
async def test_what_refuses_every_row_ends_the_job(
    sandbox: Sandbox, lf: AsyncLeadfeeder, operation: str, status: int, patience: int
) -> None:
    """Where nothing but refusals comes, the job ends with them after a bounded number of requests, not two a row."""
    sandbox.fail_next(status, operation=operation, times=10_000)
    by_address = lf.enrich.ips(f"198.18.{number // 250}.{number % 250}" for number in range(1_000))
    job = by_address if operation == "enrich_ip" else lf.enrich.companies(map(domain, range(1_000)), by="domain")
    with pytest.raises(NotFoundError if status == 404 else BadRequestError):
        [one async for one in job]
    cuts = 0 if operation == "enrich_ip" else 8 * request_queue.MAX_FETCHES + patience
    assert patience <= sandbox.ledger.count(operation) <= patience + request_queue.MAX_FETCHES + cuts
    assert sandbox.ledger.credits_charged == 0


async def test_what_begins_to_refuse_every_row_ends_the_job() -> None:
    """A way that closes in the middle of a job ends it as well, after more patience."""
    requests = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if requests > 100:
            return web.json_response({"errors": [{"title": "The format has changed"}]}, status=400)
        return web.json_response({"data": {"id": "1", "type": "enriched_ip"}, "meta": {"credits": {"charged": 0}}})

    async with handler_server(answer) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.ips(f"198.18.{number // 250}.{number % 250}" for number in range(1_000))
        with pytest.raises(BadRequestError, match="The format has changed"):
            [one async for one in job]
    assert job.summary.outcomes == {"not_found": 100, "failed": requests - 100}
    assert (
        request_queue.MAX_CONSECUTIVE_REJECTIONS
        <= requests - 100
        <= request_queue.MAX_CONSECUTIVE_REJECTIONS + 2 * request_queue.MAX_FETCHES
    )


async def test_answers_of_another_length_end_the_job() -> None:
    """A server that drops a place from each answer to a match is not asked twice for every row."""
    requests = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return web.json_response({"data": [[] for _ in (await request.json())["companies"][1:]]})

    async with handler_server(answer) as url, client_of(url, retries=0) as lf:
        with pytest.raises(DecodeError, match="The response contains 0 entries for 1 keys"):
            [one async for one in lf.enrich.companies(map(domain, range(1_000)), by="domain")]
    assert requests <= 8 * request_queue.MAX_MATCHES + 2 * request_queue.MAX_CONSECUTIVE_FAILURES


async def test_merged_and_missing(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A company that lives on in another is matched under its current id; one that is gone is not found."""
    for old, into in ((3, 900), (4, 901)):
        sandbox.world.merge_company(company(old), company(into))
    got = [one async for one in lf.enrich.companies(map(domain, range(3, 5)), by="domain")]
    assert [(one.outcome, one.id) for one in got] == [("matched", company(900)), ("matched", company(901))]
    sandbox.world.remove_company(company(700))
    gone = [one async for one in lf.enrich.companies(map(domain, (10, 700)), by="domain")]
    assert [(one.outcome, one.id) for one in gone] == [("matched", company(10)), ("not_found", company(700))]
    assert sandbox.ledger.credits_charged == 3


@pytest.mark.parametrize(
    ("came", "outcome", "own"),
    [
        (["5", "9"], Outcome.MATCHED, "5"),
        (["9", "5"], Outcome.MATCHED, "5"),
        (["9"], Outcome.MATCHED, "9"),
        (["8", "9"], Outcome.FAILED, "5"),
        ([], Outcome.NOT_FOUND, "5"),
    ],
)
async def test_a_row_never_has_a_strangers_record(came: list[str], outcome: Outcome, own: str) -> None:
    """Asked for one id, its own record counts, whatever comes with it; only one record in its place is the merged one."""

    async def answer(request: web.Request) -> web.Response:
        if "match" in request.path:
            return web.json_response({"data": [[{"id": "5", "attributes": {"match_score": 1.0}}]]})
        rows = [{"id": one, "type": "company", "attributes": {"name": f"Firm {one}"}} for one in came]
        return web.json_response({"data": rows, "meta": {"credits": {"charged": len(came)}}})

    async with handler_server(answer) as url, client_of(url, retries=0) as lf:
        job = lf.enrich.companies(["a.test"], by="domain")
        [one] = [one async for one in job]
    assert (one.outcome, one.id) == (outcome, own)
    assert (one.record and one.record.name) == (f"Firm {own}" if outcome is Outcome.MATCHED else None)
    assert one.charged == job.summary.credits == len(came)


async def test_by_name_and_by_vat(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A name that several companies bear is ambiguous and costs nothing; a VAT id is not."""
    world = sandbox.world
    names = Counter(str(world.company(company(number))["name"]) for number in range(1_000))
    unique = next(name for name, count in names.items() if count == 1 and sum(name in other for other in names) == 1)
    common = names.most_common(1)[0][0]
    rows = [{"Company Name": unique, "City": "Hamburg", "country": "de"}, {"Company Name": common}, {"x": "y"}]
    got = [one async for one in lf.enrich.companies(rows, by="name")]
    assert [one.outcome for one in got] == ["matched", "ambiguous", "unusable"]
    assert got[0].record is not None
    assert (got[0].record.name, got[0].key, got[0].score) == (unique, f"{unique}, Hamburg, DE", 0.95)
    assert len(got[1].candidates) == 3
    assert got[1].candidates[0].company is not None
    by_vat = [one async for one in lf.enrich.companies(["de 100 000 007", "-"], by="vat")]
    assert [(one.outcome, one.id) for one in by_vat] == [("matched", company(7)), ("unusable", None)]
    assert sandbox.ledger.credits_charged == 2


HALF = "\ud800"
"""Half of a character: Python's texts may hold it, and no file or request can."""


@pytest.mark.parametrize(
    ("by", "bad", "key"),
    [
        ("name", f"bad {HALF} GmbH", r"bad \ud800 GmbH"),
        ("name", {"name": "Alster", "city": HALF}, r"Alster, \ud800"),
        ("domain", f"{HALF}.test", r"\ud800.test"),
        ("vat", f"DE{HALF}", r"DE\ud800"),
    ],
    ids=["name", "city", "domain", "vat"],
)
async def test_half_a_character_costs_one_row(
    lf: AsyncLeadfeeder, tmp_path: Path, by: Literal["name", "domain", "vat"], bad: Any, key: str
) -> None:
    """A key that cannot be sent is unusable, and written so that a file can hold it; the rows around it go on."""
    good = {"name": "Nobody", "domain": "nobody.test", "vat": "DE999999999"}[by]
    job = lf.enrich.companies([good, bad, good], by=by)
    got = [one async for one in job]
    assert [(one.outcome, one.key) for one in got] == [("not_found", good), ("unusable", key), ("not_found", good)]
    assert r"\ud800" in str(got[1].error)
    for suffix in ("ndjson", "csv"):
        assert (await job.to_file(tmp_path / f"out.{suffix}")).rows == 3
    assert (await job.to_file(tmp_path / "out.ndjson", retry_failed=True)).rows == 3


async def test_a_city_that_is_not_sent_may_be_anything(lf: AsyncLeadfeeder) -> None:
    """Only what is sent makes a row unusable."""
    rows = [{"domain": domain(1), "city": HALF, HALF: HALF}]
    assert [one.outcome async for one in lf.enrich.companies(rows, by="domain")] == [Outcome.MATCHED]


async def test_a_request_id_may_hold_any_bytes(tmp_path: Path) -> None:
    """What a server puts into its headers does not keep an error from being written down."""
    refused = http(b'{"errors":[{"title":"no"}]}', "400 Bad Request", "X-Request-Id: a?b\r\n").replace(b"?", b"\xff")
    async with raw_server(refused) as server, client_of(server.url, retries=0) as lf:
        await lf.enrich.companies(["a.test"], by="domain").to_file(tmp_path / "out.ndjson")
    [line] = lines(tmp_path / "out.ndjson")
    assert (line["outcome"], line["error"]["request_id"]) == ("failed", "a?b")


async def test_ips(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Each address is asked for once; private ones never; two addresses of one company cost what the server says."""
    ips = ["198.18.0.0", "198.18.0.1", "::ffff:198.18.0.1", "192.168.0.9", "203.0.113.1", "no", "198.18.0.0"]
    job = lf.enrich.ips(ips, max_credits=10)
    got = [one async for one in job]
    assert [one.outcome for one in got] == [
        "matched", "matched", "matched", "unusable", "not_found", "unusable", "matched",
    ]  # fmt: skip
    assert got[4].record is not None
    assert got[4].record.attributes.company_type == "isp"
    assert sandbox.ledger.count("enrich_ip") == 3
    assert job.summary.credits == sandbox.ledger.credits_charged == 1
    estimate = await lf.enrich.ips(ips).estimate()
    assert (estimate.max_credits, estimate.requests, sandbox.ledger.count("enrich_ip")) == (None, 3, 3)


async def test_dry_run_charges_nothing_and_tells_the_most(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """The estimate is what the job then charges at most, and exactly its requests."""
    keys = [*map(domain, range(450)), "nobody.test", "?", domain(3)]
    job = lf.enrich.companies(keys, by="domain")
    estimate = await job.estimate()
    assert (sandbox.ledger.credits_charged, fetched(sandbox)) == (0, 0)
    assert (estimate.rows, estimate.distinct, estimate.max_credits, estimate.requests) == (453, 451, 450, 8)
    assert estimate.outcomes == {"matched": 451, "not_found": 1, "unusable": 1}
    before = len(sandbox.ledger.requests)
    assert len([one async for one in job]) == 453
    assert (sandbox.ledger.credits_charged, len(sandbox.ledger.requests) - before) == (450, 8)
    assert (await lf.enrich.companies(keys, by="domain", max_credits=7).estimate()).max_credits == 7


def trouble(sandbox: Sandbox, kind: type[Exception]) -> None:
    if kind is AuthenticationError:
        sandbox.revoke_key()
    elif kind is InsufficientCreditsError:
        sandbox.set_credits(150)
    elif kind is QuotaExceededError:
        sandbox.quota = len(sandbox.ledger.requests)


@pytest.mark.parametrize("kind", [AuthenticationError, InsufficientCreditsError, QuotaExceededError])
async def test_what_ends_a_job_keeps_what_is_done(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, kind: type[Exception]
) -> None:
    """A key revoked, credits or quota used up in mid-job: the rows so far are safe, and once mended the job goes on."""
    out = tmp_path / "out.ndjson"
    keys = list(map(domain, range(1_000))) * 2
    seen = list[int]()

    def watch(progress: Any) -> None:
        seen.append(progress.done)
        trouble(sandbox, kind)

    with_room = client_for(sandbox, retries=0, max_concurrency=1)
    async with with_room as lf:
        with pytest.raises(kind):
            await lf.enrich.companies(keys, by="domain").to_file(out, on_progress=watch)
        done = len(lines(partial_path(out)))
        assert 0 < done < 2_000
        sandbox.restore_key()
        sandbox.quota = 10**6
        sandbox.set_credits(10**6)
    async with client_for(sandbox) as lf:
        tally = await lf.enrich.companies(keys, by="domain").to_file(out, resume=True)
    assert [one["id"] for one in lines(out)] == [company(number) for number in range(1_000)] * 2
    assert [one["row"] for one in lines(out)] == list(range(1, 2_001))
    assert tally.rows == 2_000
    assert sandbox.ledger.credits_charged == 1_000
    assert [path.name for path in tmp_path.iterdir()] == ["out.ndjson"]


async def test_network_that_stays_down_ends_the_job() -> None:
    """When nothing gets through, the job ends with that error after a bounded number of tries, and charges nothing."""
    async with Sandbox(companies=10, visits=0, rate_limit=False) as sandbox:
        pass
    async with client_for(sandbox, retries=0) as lf:
        job = lf.enrich.companies(map(domain, range(5_000)), by="domain")
        with pytest.raises(ConnectError):
            [one async for one in job]
        assert job.summary.rows == 0
        assert lf.stats.requests <= request_queue.MAX_CONSECUTIVE_FAILURES + request_queue.MAX_MATCHES


async def test_after_a_lost_answer_one_record_tries_the_way() -> None:
    """While charging requests fail, only single records are risked, one after the other; then all goes on."""
    async with Sandbox(companies=2_000, visits=0, rate_limit=False) as sandbox, client_for(sandbox, retries=0) as lf:
        sandbox.fail_next(500, operation="retrieve_companies", times=request_queue.MAX_FETCHES + 3)
        job = lf.enrich.companies(map(domain, range(2_000)), by="domain")
        counts = Counter([one.outcome async for one in job])
    assert counts[Outcome.MATCHED] + counts[Outcome.FAILED] == 2_000
    assert counts[Outcome.FAILED] <= 100 * request_queue.MAX_FETCHES + 3
    assert job.summary.credits_possibly_charged == counts[Outcome.FAILED]
    assert sandbox.ledger.credits_charged == job.summary.credits == counts[Outcome.MATCHED]


async def test_resume_refuses_another_input_or_job(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """Lines of two inputs, or of two kinds of job, never end up in one file; more rows at the end are welcome."""
    out, keys = tmp_path / "out.ndjson", list(map(domain, range(900)))

    def stop(progress: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lf.enrich.companies(keys, by="domain").to_file(out, on_progress=stop)
    before = len(sandbox.ledger.requests)
    changed = [*keys[:5], "other.test", *keys[6:]]
    with pytest.raises(CheckpointError, match=r"Row 6 of the input is 'other.test'"):
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
    assert [one["key"] for one in lines(out)] == [*keys, domain(950)]
    assert sandbox.ledger.credits_charged == 901


async def test_max_credits_counts_over_all_runs(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """However often a job is stopped and goes on, it stays within its credits, and uses them."""
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
    assert Counter(one["outcome"] for one in lines(out)) == {"matched": 650, "skipped_by_budget": 350}
    assert job.summary.rows == 0


async def test_retry_asks_again_for_what_failed_only(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """A finished file is improved: what failed or was skipped is asked again, all else is copied and costs nothing."""
    out, keys = tmp_path / "out.ndjson", [*map(domain, range(250)), "nobody.test"]
    sandbox.fail_next(500, operation="retrieve_companies", after_work=True)
    await lf.enrich.companies(keys, by="domain", max_credits=220).to_file(out)
    counts = Counter(one["outcome"] for one in lines(out))
    assert (counts["failed"], counts["skipped_by_budget"]) == (100, 30)
    failed = next(one for one in lines(out) if one["outcome"] == "failed")
    assert (failed["error"]["type"], failed["charged"]) == ("OutcomeUnknownError", None)
    before = len(sandbox.ledger.requests)
    with pytest.raises(CheckpointError, match="exists"):
        await lf.enrich.companies(keys, by="domain").to_file(out, resume=True)
    tally = await lf.enrich.companies(keys, by="domain", max_credits=130).to_file(out, retry_failed=True)
    assert tally.outcomes == {"matched": 250, "not_found": 1}
    assert [one["key"] for one in lines(out)] == keys
    assert tally.credits == 30  # the lost answer had charged, so asking again is free
    assert sandbox.ledger.credits_charged == 250
    assert [entry.operation for entry in sandbox.ledger.requests[before:]] == [
        "match_companies", "retrieve_companies", "retrieve_companies",
    ]  # fmt: skip
    with pytest.raises(CheckpointError, match="cannot be retried"):
        await lf.enrich.companies(keys, by="domain").to_file(tmp_path / "none.ndjson", retry_failed=True)


@pytest.mark.parametrize(
    "line",
    [b'{"id":"1","type":"company"}', b"\0", b'{"outcome":"matched","key":"\xff"}', b'{"outcome":"matched"'],
    ids=["a company", "zeros", "other text", "cut short"],
)
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
async def test_a_file_that_is_none_of_its_lines_is_named(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, line: bytes, finished: bool
) -> None:
    """A file of something else, or a damaged one, is refused with its line and what to do; nothing is sent for it."""
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
        CheckpointError, match=r"ndjson(\.part)?, line 2 is damaged or is not a result of an enrichment"
    ) as caught:
        await lf.enrich.companies(keys, by="domain").to_file(out, resume=not finished, retry_failed=finished)
    assert "overwrite=True" in caught.value.hint
    assert (written.read_bytes(), len(sandbox.ledger.requests)) == (damaged, before)
    assert (await lf.enrich.companies(keys, by="domain").to_file(out, overwrite=True)).rows == 900


@pytest.mark.parametrize("left", [0, 5])
async def test_a_file_that_is_not_whole_is_not_retried(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, left: int
) -> None:
    """Where lines are missing at its end, a second try would be a first one, and cost as much: it is refused instead."""
    out, keys = tmp_path / "out.ndjson", list(map(domain, range(300)))
    await lf.enrich.companies(keys[:10], by="domain").to_file(out)
    out.write_bytes(b"".join(out.read_bytes().splitlines(keepends=True)[:left]))
    kept, before = out.read_bytes(), len(sandbox.ledger.requests)
    with pytest.raises(CheckpointError, match=rf"has {left} lines, but the input has a different number of rows"):
        await lf.enrich.companies(keys, by="domain").to_file(out, retry_failed=True)
    assert (out.read_bytes(), len(sandbox.ledger.requests)) == (kept, before)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("how", ["limit", "list", "generator"])
async def test_a_retry_drops_no_line(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, how: str) -> None:
    """With a limit or an input that is shorter than the file, the lines beyond it would be lost: it is refused."""
    out, keys = tmp_path / "out.ndjson", list(map(domain, range(30)))
    await lf.enrich.companies(keys, by="domain").to_file(out)
    kept, limit = out.read_bytes(), 10 if how == "limit" else None
    rows = keys if how == "limit" else keys[:10] if how == "list" else iter(keys[:10])
    with pytest.raises(CheckpointError, match="has 30 lines, but the input has a different number of rows"):
        await lf.enrich.companies(rows, by="domain", limit=limit).to_file(out, retry_failed=True)
    assert out.read_bytes() == kept
    if how == "generator":
        partial_path(out).unlink(missing_ok=True)
        out.with_name("out.ndjson.checkpoint").unlink(missing_ok=True)
    assert (await lf.enrich.companies(keys, by="domain").to_file(out, retry_failed=True)).rows == 30


async def test_a_retry_of_an_input_without_end_writes_what_it_paid(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path
) -> None:
    """Where an input whose length nobody knows turns out longer than its file, what was charged by then is written."""
    out, keys = tmp_path / "out.ndjson", list(map(domain, range(5_000)))
    await lf.enrich.companies(keys[:4_990], by="domain", max_credits=0).to_file(out)
    sandbox.latency = 0.02
    with pytest.raises(CheckpointError, match="has 4,990 lines, but the input has a different number of rows"):
        await lf.enrich.companies(iter(keys), by="domain").to_file(out, retry_failed=True)
    written = [one for one in lines(partial_path(out)) if one["outcome"] == "matched"]
    assert sandbox.ledger.credits_charged == len(written) > 0


async def test_a_line_holds_its_own_row_of_a_file_or_none(lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """Copied lines keep what they hold of a file's rows; others that ask the same do not take it over."""
    source, out = tmp_path / "in.txt", tmp_path / "out.ndjson"
    source.write_text("company-1.test\n")
    await lf.enrich.companies(InputFile(source, "domain"), by="domain").to_file(out)
    out.write_text(out.read_text() + '{"row":2,"key":"company-1.test","outcome":"failed"}\n')
    await lf.enrich.companies([domain(1), domain(1)], by="domain").to_file(out, retry_failed=True)
    first, second = lines(out)
    assert (first["line"], first["input"], second["outcome"]) == (1, "company-1.test", "matched")
    assert second.keys() == first.keys() - {"line", "input"}


async def test_tables(lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """A .csv or .parquet has the row's own columns, then those of its record, whatever came."""
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


async def sweep(seed: int, out: Path, *careless: str) -> tuple[list[dict[str, Any]], Sandbox, int]:
    """Enrich, kill and go on until the file is there; return its lines, the sandbox and the kills."""
    luck, kills = random.Random(seed), 0
    async with Sandbox(seed=seed, companies=2_000, visits=0, rate_limit=False) as sandbox:
        sandbox.world.match_index  # noqa: B018 - built before the first match
        sandbox.latency = 0.005
        words = (sandbox.url, sandbox.api_key, sandbox.account_id, "5000", "2000", "1500", str(out), *careless)
        for _ in range(20):
            if out.exists():
                break
            child = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.enrich_process", *words)
            asked = len(sandbox.ledger.requests)
            try:
                async with asyncio.timeout(40):
                    while child.returncode is None:
                        await asyncio.sleep(0.005)
                        if kills < 5 and len(sandbox.ledger.requests) > asked + luck.randrange(2, 18):
                            with suppress(ProcessLookupError):
                                os.kill(child.pid, signal.SIGKILL)  # child.kill() would reap one that ended just now
                            kills += 1
                            await child.wait()
            finally:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
    return lines(out), sandbox, kills


@pytest.mark.timeout(1_500 if SOAK else 120)
async def test_killed_at_any_instant(tmp_path: Path) -> None:
    """Every row is in the file once and in order, no company is charged twice, and max_credits holds over all runs.

    Real time: processes have to be started and killed.
    """
    kills = 0
    for seed in range(SWEEPS):
        got, sandbox, killed = await sweep(seed, tmp_path / f"{seed}.ndjson")
        kills += killed
        assert [one["row"] for one in got] == list(range(1, 5_001))
        keys = rows_to_kill(5_000, 2_000)
        assert [one["key"] for one in got] == [normalize_domain(key) or key for key in keys]
        assert sandbox.ledger.credits_charged == len(set(sandbox.ledger.charges)) <= 1_500
        matched = {one["id"] for one in got if one["outcome"] == "matched"}
        assert matched == set(sandbox.ledger.charges)
        assert len(matched) >= 1_400
    assert kills >= 2 * SWEEPS


@pytest.mark.timeout(60)
async def test_the_harness_bites(tmp_path: Path) -> None:
    """A build that does not write down what it is about to spend is caught.

    Real time: processes have to be started and killed.
    """
    charged = 0
    for seed in range(4):
        _, sandbox, _ = await sweep(seed, tmp_path / f"{seed}.ndjson", "--careless")
        charged = max(charged, sandbox.ledger.credits_charged)
        if charged > 1_500:
            break
    assert charged > 1_500


HOSTS = st.from_regex(r"[a-zäöüß0-9]([a-zäöüßé0-9-]{0,8}[a-z0-9])?(\.[a-z]{2,5}){1,2}", fullmatch=True)


@given(HOSTS, st.sampled_from(["", "http://", "https://", "HTTPS://", "//"]), st.booleans(), st.booleans())
def test_spellings_of_one_domain_are_one_key(host: str, scheme: str, www: bool, loud: bool) -> None:
    """Scheme, www, port, path, query, user and case do not matter; what came out goes in again unchanged."""
    plain = normalize_domain(host)
    spelt = f"{scheme}{'www.' if www and not host.startswith('www.') else ''}{host}"
    assert normalize_domain(f"  {spelt.upper() if loud and 'ß' not in spelt else spelt}:443/a?b=c#d ") == plain
    assert plain is not None
    assert normalize_domain(f"someone@{host}") == plain == normalize_domain(plain)
    assert plain.isascii()


@given(st.text())
@example("http://[::1]/")
@example("a..b")
@example("\ud800.test")
@example("www.")
def test_any_text_is_a_domain_or_none(text: str) -> None:
    """No text makes it fail, and what it gives is stable."""
    found = normalize_domain(text)
    assert found is None or normalize_domain(found) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://user:pw@WWW.Nordlicht.test:8080/a?b", "nordlicht.test"),
        ("info@nordlicht.test", "nordlicht.test"),
        ("www.www.nordlicht.test.", "nordlicht.test"),
        ("www.test", "www.test"),
        ("müller.test", "xn--mller-kva.test"),
        ("straße.test", "xn--strae-oqa.test"),
        ("\uff4eord\uff0etest", "nord.test"),
        ("localhost", None),
        ("10.0.0.1", None),
        ("nord licht.test", None),
        ("-a.test", None),
        ("", None),
    ],
)
def test_domains(text: str, found: str | None) -> None:
    """Domains as people paste them."""
    assert normalize_domain(text) == found


def test_addresses_and_vat_ids() -> None:
    """Only public addresses are asked for, in one form; VAT ids lose their separators."""
    inside = (
        "10.1.2.3",
        "127.0.0.1",
        "169.254.1.1",
        "192.168.1.1",
        "100.64.0.1",
        "fe80::1",
        "fc00::1",
        "::",
        "224.0.0.1",
    )
    assert [normalize_public_ip(one) for one in inside] == [None] * len(inside)
    assert normalize_public_ip(" [2001:0DB8::0001] ") == "2001:db8::1"
    assert normalize_public_ip("::ffff:203.0.113.9") == "203.0.113.9"
    assert normalize_public_ip("1.2.3") is None
    assert [normalize_vat_id(one) for one in ("de 123.456-789", "12 345 678", "x", "DE", "")] == [
        "DE123456789", "12345678", None, None, None,
    ]  # fmt: skip
    assert key_of({"IP Address": "203.0.113.9"}, "ip").value == "203.0.113.9"
    assert key_of({"a": "203.0.113.9"}, "ip", "A").value == "203.0.113.9"
    assert key_of({"a": None, "ip": None}, "ip").problem == "it has no value for ip"


@given(st.lists(st.floats(0, 1), max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_only_a_clear_match_is_taken(scores: list[float], min_score: float, min_lead: float) -> None:
    """A company is taken only if it is good enough and far enough ahead, in whatever order the matches come."""
    made = [
        CompanyMatch(id=str(place), attributes=CompanyMatchAttributes(match_score=score))
        for place, score in enumerate(scores)
    ]
    line = MatchPolicy(min_score, min_lead).evaluate(made)
    best = sorted(scores, reverse=True)
    if line.outcome is Outcome.MATCHED:
        assert best[0] == line.score >= min_score
        assert len(best) == 1 or best[0] - best[1] >= min_lead - 1e-6
    else:
        assert line.outcome is (Outcome.AMBIGUOUS if scores else Outcome.NOT_FOUND)
        assert len(line.candidates) == len(scores)


@settings(max_examples=25)
@given(
    st.lists(st.integers(-2, 40), max_size=700),
    st.one_of(st.none(), st.integers(0, 45)),
    st.booleans(),
    st.lists(
        st.sampled_from([(503, "match_companies"), (400, "retrieve_companies"), (500, "match_companies")]), max_size=3
    ),
)
def test_any_input_under_any_budget(
    numbers: list[int], most: int | None, ordered: bool, faults: list[tuple[int, str]]
) -> None:
    """Whatever the rows, the budget and the faults: one outcome a row, each company charged once, never too much."""

    async def scenario() -> None:
        async with Sandbox(companies=40, visits=0, rate_limit=False) as sandbox, client_for(sandbox, retries=0) as lf:
            for status, operation in faults:
                sandbox.fail_next(status, operation=operation)
            keys = ["?" if number < 0 else domain(number) for number in numbers]
            job = lf.enrich.companies(keys, by="domain", max_credits=most, ordered=ordered)
            got = sorted([one async for one in job], key=lambda one: one.row)
            assert [one.key for one in got] == keys
            ledger = sandbox.ledger
            assert job.summary.credits == ledger.credits_charged == len(set(ledger.charges))
            assert sum(one.charged or 0 for one in got) == ledger.credits_charged
            assert most is None or ledger.credits_charged <= most
            assert {one.id for one in got if one.outcome is Outcome.MATCHED} == set(ledger.charges)
            assert all((one.outcome is Outcome.UNUSABLE) == (one.key == "?") for one in got)

    asyncio.run(scenario())


def test_errors_survive_a_file() -> None:
    """What is written of an error makes the same error again."""
    from leadfeeder_async.errors import ErrorContext

    error = OutcomeUnknownError(
        "Lost.", ErrorContext(operation="retrieve_companies", attempts=2, sent="maybe", phase="body")
    )
    again = SerializedError.from_error(error).to_error()
    assert (type(again), again.message, again.sent, again.attempts) == (OutcomeUnknownError, "Lost.", "maybe", 2)
    assert type(SerializedError(type="Exit", message="x").to_error()).__name__ == "LeadfeederError"


async def test_wrong_use_is_refused(lf: AsyncLeadfeeder) -> None:
    """A text in place of rows, an unknown key or a bound below zero are mistakes."""
    bad: Iterable[Any] = (
        lambda: lf.enrich.companies("company-1.test", by="domain"),
        lambda: lf.enrich.companies([], by="phone"),  # type: ignore[arg-type]
        lambda: lf.enrich.companies([], by="domain", max_credits=-1),
        lambda: lf.enrich.ips("203.0.113.1"),
        lambda: lf.enrich.ips([], limit=-1),
    )
    for call in bad:
        with pytest.raises(ConfigurationError):
            call()
    assert [one async for one in lf.enrich.companies([], by="domain")] == []
    assert [one.row async for one in lf.enrich.companies(map(domain, range(9)), by="domain", limit=3)] == [1, 2, 3]
