"""Bulk changes: one outcome per id, errors that stop a job, and continuing it."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    AuthenticationError,
    Budget,
    BudgetExceededError,
    BulkOutcome,
    BulkResult,
    CheckpointError,
    ConfigurationError,
    InvalidIdError,
    LeadfeederError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    ServerError,
)
from leadfeeder_async.jobs.bulk.change_queue import (
    MAX_CONSECUTIVE_FAILURES,
    MAX_CONSECUTIVE_REJECTIONS,
    MAX_IN_FLIGHT,
    ChangeDecision,
    ChangeQueue,
)
from leadfeeder_async.jobs.resumable_file import partial_path
from leadfeeder_async.sandbox import Sandbox
from tests.jobs.helpers import Stopped, is_open, names_in, read_lines, stop_after
from tests.support.clients import client_for, client_of
from tests.support.servers import handler_server

CHANGED, FAILED, UNKNOWN = BulkOutcome.CHANGED, BulkOutcome.FAILED, BulkOutcome.UNKNOWN


pytestmark = pytest.mark.usefixtures("short_backoff")


@pytest.fixture
def tag(sandbox: Sandbox) -> str:
    return sandbox.records.tags.add({"name": "Hot", "color": 1})


def tagged(sandbox: Sandbox) -> list[str]:
    return [company_id for company_id, _ in sandbox.records.company_tags]


async def test_one_result_per_id_in_order(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str) -> None:
    """Each id has one result, in the order of the input. An unknown and an invalid id fail alone."""
    ids = sandbox.world.company_ids()
    given = [*ids[:30], "unknown", *ids[30:], ""]
    results = [result async for result in lf.bulk.assign_tags(given, [tag])]
    assert [(result.row, result.id) for result in results] == list(enumerate(given, 1))
    assert Counter(result.outcome for result in results) == {CHANGED: 60, FAILED: 2}
    assert isinstance(results[30].error, NotFoundError)
    assert isinstance(results[-1].error, InvalidIdError)
    assert sorted(tagged(sandbox)) == ids
    assert sandbox.ledger.count("assign_tags_to_company") == 61


async def test_unassign_and_lists(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str) -> None:
    """Tags are removed again, and lists of companies and contacts are changed."""
    companies, contacts = sandbox.world.company_ids()[:5], sandbox.world.contact_ids()[:5]
    await lf.bulk.assign_tags(companies, [tag]).run()
    assert (await lf.bulk.unassign_tags(companies[:3], [tag]).run()).outcomes == {CHANGED: 3}
    assert sorted(tagged(sandbox)) == companies[3:]
    for scope, ids in (("company", companies), ("contact", contacts)):
        target = sandbox.records.lists.add({"name": scope, "scope": scope})
        assert (await lf.bulk.add_to_lists(ids, [target], scope=scope).run()).not_changed == 0  # type: ignore[arg-type]
        assert [member for _, member in sandbox.records.members_of(target)] != []
        assert (await lf.bulk.remove_from_lists(ids, [target], scope=scope).run()).rows == 5  # type: ignore[arg-type]
        assert sandbox.records.members_of(target) == []


async def test_arguments_are_checked_before_anything_is_sent(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A single ID, an empty list of IDs and an unknown scope are rejected before anything is sent."""
    with pytest.raises(ConfigurationError, match="single id"):
        lf.bulk.assign_tags("159", ["1"])
    with pytest.raises(ConfigurationError, match="at least one id"):
        lf.bulk.assign_tags(["159"], [])
    with pytest.raises(ConfigurationError, match="scope="):
        lf.bulk.add_to_lists(["159"], ["1"], scope="tag")  # type: ignore[arg-type]
    assert sandbox.ledger.requests == []


async def test_repeats_in_flight_share_a_request(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str) -> None:
    """Equal ids next to each other are sent once, and each has a result."""
    company = sandbox.world.company_ids()[0]
    results = [result async for result in lf.bulk.assign_tags([company] * 10, [tag])]
    assert [result.outcome for result in results] == [CHANGED] * 10
    assert sandbox.ledger.count("assign_tags_to_company") == 1


async def test_lost_responses_are_retried(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str) -> None:
    """A change whose response failed after the work is sent again and succeeds."""
    sandbox.fail_next(502, operation="assign_tags_to_company", after_work=True, times=9)
    summary = await lf.bulk.assign_tags(sandbox.world.company_ids(), [tag]).run()
    assert summary.outcomes == {CHANGED: 60}


async def test_results_before_the_input_continues(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str) -> None:
    """Results of an async iterable are yielded while its next id is awaited."""
    ids, released = sandbox.world.company_ids(), asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        yield ids[0]
        await released.wait()
        yield ids[1]

    async with aclosing(aiter(lf.bulk.assign_tags(slow(), [tag]))) as results:
        async with asyncio.timeout(5):
            assert (await anext(results)).id == ids[0]
            released.set()
            assert [result.id async for result in results] == ids[1:2]


async def test_memory_and_back_pressure(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str) -> None:
    """No more ids are read than results are taken, up to the limit of pending ids."""
    ids, read = sandbox.world.company_ids(), 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield ids[read % len(ids)]

    async with aclosing(aiter(lf.bulk.assign_tags(endless(), [tag]))) as results:
        for _ in range(3):
            await anext(results)
        await asyncio.sleep(0.1)
        assert read <= 2_000


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(401, "invalid_api_key", AuthenticationError), (429, "quota_exceeded", QuotaExceededError)],
)
async def test_fatal_errors_stop_the_job(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str, status: int, code: str, kind: type[Exception]
) -> None:
    """Results in flight are yielded before the error, and no further request is sent."""
    ids, results = sandbox.world.company_ids(), list[BulkResult]()
    job = lf.bulk.assign_tags(ids, [tag])
    with pytest.raises(kind):
        async for result in job:
            results.append(result)
            if len(results) == 20:
                sandbox.fail_next(status, code=code, operation="assign_tags_to_company", times=60)
    assert 20 <= len(results) < 60
    assert {result.id for result in results} == set(tagged(sandbox))
    assert job.summary.rows == len(results)


async def test_budget_stops_the_job(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str) -> None:
    """A budget of requests ends the job before it is exceeded."""
    limited = lf.with_options(budget=Budget(max_requests=10))
    job = limited.bulk.assign_tags(sandbox.world.company_ids(), [tag])
    with pytest.raises(BudgetExceededError):
        await job.run()
    assert job.summary.rows == len(tagged(sandbox)) == 10


async def test_server_that_fails_constantly_stops_the_job(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str) -> None:
    """After 20 failed calls in a row, the job stops. Ids that failed have no result, so that they are repeated."""
    sandbox.flaky = 1.0
    job = lf.with_options(retries=0).bulk.assign_tags(sandbox.world.company_ids(), [tag])
    with pytest.raises(ServerError):
        await job.run()
    assert job.summary.rows == 0
    assert sandbox.ledger.count("assign_tags_to_company") <= MAX_CONSECUTIVE_FAILURES + MAX_IN_FLIGHT


async def test_id_that_always_fails_is_unknown() -> None:
    """An id for which the server always fails does not stop the others, wherever it is."""

    async def handle(request: web.Request) -> web.Response:
        return web.json_response({"meta": {}}, status=500 if "/bad" in request.path else 200)

    async with handler_server(handle) as url, client_of(url, retries=0) as lf:
        for ids in (["bad1", "1", "2", "3"], ["1", "2", "bad1", "bad2"], ["bad1"]):
            results = [result async for result in lf.bulk.assign_tags(ids, ["7"])]
            expected = [UNKNOWN if each.startswith("bad") else CHANGED for each in ids]
            assert [result.outcome for result in results] == expected
            assert all(isinstance(result.error, ServerError) for result in results if result.outcome is UNKNOWN)


@pytest.mark.parametrize("bad", [{5, 7, 9, 11, 13}, {10, 60, 110, 160, 210}, set(range(290, 299))])
async def test_several_ids_that_always_fail(tmp_path: Path, bad: set[int]) -> None:
    """If others were changed, a few ids for which the server always fails are unknown, close together or far apart."""

    async def handle(request: web.Request) -> web.Response:
        return web.json_response({"meta": {}}, status=500 if int(request.path.split("/")[3]) in bad else 200)

    async with handler_server(handle) as url, client_of(url, rate=1e4, burst=1_000, retries=0) as lf:
        ids = [str(number) for number in range(300)]
        await lf.bulk.assign_tags(ids, ["7"]).to_file(tmp_path / "out.ndjson")
        results = [result async for result in lf.bulk.assign_tags(ids, ["7"])]
    written = read_lines(tmp_path / "out.ndjson")
    assert {int(line["id"]) for line in written if line["outcome"] == "unknown"} == bad
    assert {int(result.id) for result in results if result.outcome is UNKNOWN} == bad


@pytest.mark.parametrize("data", [[], {}, None, [{"type": "tag", "id": "7"}]])
async def test_error_beside_the_data(data: object) -> None:
    """An id whose response reports an error may not have been changed, although its status is 200."""

    async def handle(request: web.Request) -> web.Response:
        errors = [{"code": "tag_limit_reached"}] if request.path.startswith("/v1/companies/2/") else []
        return web.json_response({"data": data, "errors": errors}, status=207 if data else 200)

    async with handler_server(handle) as url, client_of(url) as lf:
        job = lf.bulk.assign_tags(["1", "2", "3"], ["7"])
        results = [result async for result in job]
    outcomes = [result.outcome for result in results]
    assert (outcomes[0], outcomes[1] is CHANGED, outcomes[2]) == (CHANGED, False, CHANGED)
    assert results[1].error is not None
    assert "tag_limit_reached" in results[1].error.message


@pytest.mark.parametrize(
    ("code", "error"), [("unauthorized", AuthenticationError), ("quota_exceeded", QuotaExceededError)]
)
async def test_access_error_beside_the_data_stops_the_job(
    tmp_path: Path, code: str, error: type[LeadfeederError]
) -> None:
    """An error of the key beside the data stops the job, and no id gets an outcome."""
    errors = [{"code": code}]

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"data": [], "errors": errors})

    async with handler_server(handle) as url, client_of(url) as lf:
        ids = [str(number) for number in range(60)]
        for resume in (False, True):
            with pytest.raises(error):
                await lf.bulk.assign_tags(ids, ["7"]).to_file(tmp_path / "out.ndjson", resume=resume)
        errors.clear()
    async with handler_server(handle) as url, client_of(url) as lf:
        summary = await lf.bulk.assign_tags(ids, ["7"]).to_file(tmp_path / "out.ndjson")
    assert summary.outcomes[CHANGED] == 60


async def test_errors_beside_all_data_stop_the_job() -> None:
    """A server that reports an error in each response is not asked for all ids."""
    requests = 0

    async def handle(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return web.json_response({"data": [], "errors": [{"code": "tag_limit_reached"}]})

    async with handler_server(handle) as url, client_of(url, rate=1e4, burst=1_000) as lf:
        with pytest.raises(LeadfeederError, match="tag_limit_reached"):
            await lf.bulk.assign_tags(map(str, range(1_000)), ["7"]).run()
    assert requests < 50


@pytest.mark.parametrize("place", [0, 5, 99])
async def test_denied_id_does_not_stop_the_job(place: int) -> None:
    """An id to which the server denies access fails, and the others are changed, wherever it is."""

    async def handle(request: web.Request) -> web.Response:
        is_denied = request.path.startswith(f"/v1/companies/{place}/")
        error = {"errors": [{"code": "insufficient_entitlements"}]}
        return web.json_response(error if is_denied else {"meta": {}}, status=403 if is_denied else 200)

    async with handler_server(handle) as url, client_of(url, rate=1_000, burst=1_000) as lf:
        results = [result async for result in lf.bulk.assign_tags(map(str, range(100)), ["7"])]
        assert [result.id for result in results if result.outcome is FAILED] == [str(place)]
        assert sum(result.outcome is CHANGED for result in results) == 99
        (alone,) = [result async for result in lf.bulk.assign_tags([str(place)], ["7"])]
        assert isinstance(alone.error, PermissionDeniedError)


async def test_denied_ids_after_an_interruption(tmp_path: Path) -> None:
    """A resumed job continues past denied ids, as it would have without the interruption."""
    stops = True

    async def handle(request: web.Request) -> web.Response:
        number = int(request.path.split("/")[3])
        if stops and number >= 50:
            await asyncio.sleep(60)
        return web.json_response({"meta": {}}, status=403 if 50 <= number < 60 else 200)

    async with handler_server(handle) as url, client_of(url, rate=1_000, burst=1_000) as lf:
        ids, out = [str(number) for number in range(100)], tmp_path / "out.ndjson"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lf.bulk.assign_tags(ids, ["7"]).to_file(out), 0.5)
        stops = False
        summary = await lf.bulk.assign_tags(ids, ["7"]).to_file(out, resume=True)
    assert (summary.outcomes[CHANGED], summary.outcomes[FAILED]) == (90, 10)


async def test_denied_key_after_an_interruption(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """If every call of a resumed job is denied, no id is recorded as failed, so the job can be resumed again."""
    ids, out = sandbox.world.company_ids()[:8], tmp_path / "out.ndjson"
    tag = sandbox.records.tags.add({"name": "Hot", "color": 1})

    async def interrupted() -> AsyncIterator[str]:
        for company_id in ids[:4]:
            yield company_id
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lf.bulk.assign_tags(interrupted(), [tag]).to_file(out), 0.5)
    sandbox.fail_next(403, code="insufficient_entitlements", operation="assign_tags_to_company", times=1_000)
    with pytest.raises(PermissionDeniedError):
        await lf.bulk.assign_tags(ids, [tag]).to_file(out, resume=True)
    sandbox.clear_faults()
    summary = await lf.bulk.assign_tags(ids, [tag]).to_file(out, resume=True)
    assert summary.outcomes[CHANGED] == 8


async def test_denied_key_stops_the_job(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """If every call is denied, the job stops early, and no id is recorded as failed."""
    sandbox.fail_next(403, code="insufficient_entitlements", operation="assign_tags_to_company", times=1_000)
    job = lf.bulk.assign_tags(sandbox.world.company_ids(), ["7"])
    with pytest.raises(PermissionDeniedError):
        await job.run()
    assert (job.summary.rows, sandbox.ledger.count("assign_tags_to_company") <= 20) == (0, True)


@pytest.mark.parametrize("second", [400, 404, 409, 422])
@pytest.mark.parametrize("retries", [0, 3])
async def test_rejection_after_a_lost_response_is_unknown(second: int, retries: int) -> None:
    """If a retry is rejected, the first request, whose response was lost, may have changed the record."""
    seen = set[str]()

    async def handle(request: web.Request) -> web.Response:
        is_first = request.path not in seen
        seen.add(request.path)
        if "/lost" in request.path:
            return web.json_response({"errors": [{"code": "x"}]}, status=504 if is_first else second)
        return web.json_response({"meta": {}}, status=second if "/bad" in request.path else 200)

    async with handler_server(handle) as url, client_of(url, retries=retries) as lf:
        results = [result async for result in lf.bulk.remove_from_lists(["1", "lost", "bad", "2"], ["7"])]
    assert [result.outcome for result in results] == [CHANGED, UNKNOWN, FAILED, CHANGED]


@pytest.mark.parametrize("first", [429, 401])
async def test_rejection_after_a_rejection_is_a_failure(first: int) -> None:
    """If the first request was rejected before any work, a later rejection shows that nothing was changed."""
    seen = set[str]()

    async def handle(request: web.Request) -> web.Response:
        is_first = request.path not in seen
        seen.add(request.path)
        return web.json_response(
            {"errors": [{"code": "unauthorized" if is_first and first == 401 else "x"}]},
            status=first if is_first else 404,
        )

    keys = iter("abcdefgh")
    async with (
        handler_server(handle) as url,
        AsyncLeadfeeder(lambda: next(keys) * 40, base_url=url, account_id="1") as lf,
    ):
        results = [result async for result in lf.bulk.remove_from_lists(["1", "2"], ["7"])]
    assert [result.outcome for result in results] == [FAILED, FAILED]


async def test_rejected_ids_in_a_row_stop_the_job(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A tag that does not exist is rejected for every id, so the job stops."""
    job = lf.bulk.assign_tags((str(number) for number in range(1_000)), ["nothing"])
    with pytest.raises(NotFoundError):
        await job.run()
    assert MAX_CONSECUTIVE_REJECTIONS <= sandbox.ledger.count("assign_tags_to_company") < 300


def test_queue_retries_other_ids_first() -> None:
    """After a failure, one call is in flight at a time, and ids that were not tried come first."""
    queue = ChangeQueue()
    for name in ("a", "b", "c"):
        queue.add(name)
    first = queue.next()
    assert first is not None
    assert queue.record_failure(first, ServerError("no")) is ChangeDecision.RETRY
    queue.in_flight = 1
    assert queue.next() is None
    queue.in_flight = 0
    assert [change.id for change in (queue.next(), queue.next(), queue.next()) if change] == ["b", "c", "a"]
    assert queue.is_empty


async def test_file_and_progress(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str, tmp_path: Path) -> None:
    """The file has one line per id, and progress counts all ids."""
    ids = [*sandbox.world.company_ids(), "unknown"]
    seen = list[tuple[int, int | None]]()
    job = lf.bulk.assign_tags(ids, [tag])
    summary = await job.to_file(tmp_path / "out.ndjson", on_progress=lambda each: seen.append((each.done, each.total)))
    assert seen[-1] == (61, 61)
    assert summary.outcomes == {CHANGED: 60, FAILED: 1}
    lines = read_lines(tmp_path / "out.ndjson")
    assert [line["id"] for line in lines] == ids
    assert lines[-1]["error"]["status"] == 404
    await job.to_file(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[0] == "row,id,outcome,error"
    assert names_in(tmp_path) == ["out.csv", "out.ndjson"]
    with pytest.raises(CheckpointError, match="exists"):
        await job.to_file(tmp_path / "out.csv")


async def test_resume_in_another_account(tmp_path: Path) -> None:
    """A job without an account is one of the account of its key. A key of another account cannot continue its file."""
    account, changes, out = "111", 0, tmp_path / "out.ndjson"

    async def respond(request: web.Request) -> web.Response:
        nonlocal changes
        if request.path == "/v1/accounts":
            return web.json_response({"data": [{"id": account, "type": "account", "attributes": {}}]})
        changes += 1
        return web.json_response({"data": None}, status=401 if changes == 30 else 200)

    ids = [str(number) for number in range(60)]
    async with handler_server(respond) as url:
        async with client_of(url, account_id=None) as lf:
            with pytest.raises(AuthenticationError):
                await lf.bulk.assign_tags(ids, ["5"]).to_file(out)
        account, done = "222", changes
        async with client_of(url, account_id=None) as lf:
            with pytest.raises(CheckpointError, match="assign_tags_to_company, account 111"):
                await lf.bulk.assign_tags(ids, ["5"]).to_file(out, resume=True)
    assert changes == done


@pytest.mark.parametrize("to_file", [False, True])
async def test_progress_counts_no_other_calls(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str, tmp_path: Path, to_file: bool
) -> None:
    """The requests of a job's progress are its own, although the client sends others meanwhile."""

    async def ids() -> AsyncIterator[str]:
        for company_id in sandbox.world.company_ids()[:3]:
            await lf.users.me()
            yield company_id

    requests, job = list[int](), lf.bulk.assign_tags(ids(), [tag])
    if to_file:
        await job.to_file(tmp_path / "out.ndjson", on_progress=lambda each: requests.append(each.requests))
    else:
        await job.run(on_progress=lambda each: requests.append(each.requests))
    assert requests[-1] == 3


async def test_resume_repeats_at_most_what_was_in_flight(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str, tmp_path: Path
) -> None:
    """A continued job sends each id once, apart from those in flight at the interruption."""
    ids, out = sandbox.world.company_ids(), tmp_path / "out.ndjson"
    with pytest.raises(Stopped):
        await lf.bulk.assign_tags(ids, [tag]).to_file(out, on_progress=stop_after(20))
    with pytest.raises(CheckpointError, match="unfinished bulk change"):
        await lf.bulk.assign_tags(ids, [tag]).to_file(out)
    with pytest.raises(CheckpointError, match="another job"):
        await lf.bulk.unassign_tags(ids, [tag]).to_file(out, resume=True)
    with pytest.raises(CheckpointError, match="Row 1 of the input") as caught:
        await lf.bulk.assign_tags(ids[1:], [tag]).to_file(out, resume=True)
    assert not hasattr(caught.value, "__notes__")  # its hint tells how to go on
    assert not is_open(partial_path(out))  # the exception, which is kept, does not keep it open
    with pytest.raises(CheckpointError, match="The input has 1 ids"):
        await lf.bulk.assign_tags(ids[:1], [tag]).to_file(out, resume=True)
    summary = await lf.bulk.assign_tags(ids, [tag]).to_file(out, resume=True)
    assert summary.outcomes == {CHANGED: 60}
    assert [line["id"] for line in read_lines(out)] == ids
    assert sandbox.ledger.count("assign_tags_to_company") <= 60 + MAX_IN_FLIGHT


async def test_error_says_how_to_continue(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str, tmp_path: Path) -> None:
    """A file that a used-up quota stopped is continued with resume=True."""
    ids, out = sandbox.world.company_ids(), tmp_path / "out.ndjson"
    limited = lf.with_options(budget=Budget(max_requests=25))
    with pytest.raises(BudgetExceededError) as caught:
        await limited.bulk.assign_tags(ids, [tag]).to_file(out)
    assert any("25 ids are done. Pass resume=True" in note for note in caught.value.__notes__)
    assert (await lf.bulk.assign_tags(ids, [tag]).to_file(out, resume=True)).rows == 60
    assert sandbox.ledger.count("assign_tags_to_company") == 60


async def test_file_has_no_rows_behind_a_gap(tmp_path: Path) -> None:
    """Results behind the id that stopped the job are not written, and its continuation has all ids in order."""
    refused = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal refused
        if "/c3/" in request.path and not refused:
            refused += 1
            await asyncio.sleep(0.1)
            return web.json_response({"errors": [{"code": "invalid_api_key"}]}, status=401)
        return web.json_response({"meta": {}})

    ids, out = [f"c{number}" for number in range(1, 11)], tmp_path / "out.ndjson"
    async with handler_server(handle) as url, client_of(url) as lf:
        with pytest.raises(AuthenticationError):
            await lf.bulk.assign_tags(ids, ["7"]).to_file(out)
        assert [line["id"] for line in read_lines(partial_path(out))] == ids[:2]
        await lf.bulk.assign_tags(ids, ["7"]).to_file(out, resume=True)
    assert [line["id"] for line in read_lines(out)] == ids


async def test_leaving_a_loop_cancels_the_requests(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str) -> None:
    """Closing the iterator leaves no task behind."""
    before = asyncio.all_tasks()
    sandbox.latency = 0.05
    async with aclosing(aiter(lf.bulk.assign_tags(sandbox.world.company_ids(), [tag]))) as results:
        await anext(results)
    gc.collect()
    assert {task for task in asyncio.all_tasks() - before if "bulk" in task.get_name()} == set()


async def test_input_that_fails(sandbox: Sandbox, tag: str) -> None:
    """An error of the input stops the job and is raised as it is."""

    def broken() -> Iterator[str]:
        yield sandbox.world.company_ids()[0]
        raise RuntimeError("no more")

    async with client_for(sandbox) as lf:
        job, results = lf.bulk.assign_tags(broken(), [tag]), list[BulkResult]()
        with pytest.raises(RuntimeError, match="no more"):
            async for result in job:
                results.append(result)
    assert len(results) <= 1


async def test_iterator_is_read_once(sandbox: Sandbox, lf: AsyncLeadfeeder, tag: str) -> None:
    """A second use of a job raises if its ids are an iterator, because it would continue where the first one ended."""
    job = lf.bulk.assign_tags(iter(sandbox.world.company_ids()[:5]), [tag])
    await job.run()
    with pytest.raises(ConfigurationError, match="can be read only once"):
        await job.run()
    assert len(tagged(sandbox)) == 5
