"""A credit limit for several processes, judged by the sandbox's ledger. Each client represents a process."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from leadfeeder_async import (
    AsyncLeadfeeder,
    Budget,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    Outcome,
    OutcomeUnknownError,
    RateLimiterUnavailableError,
    WrongLoopError,
)
from leadfeeder_async.budget import BudgetReservation, Price
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.integrations import redis_credits
from leadfeeder_async.integrations._redis_script import key_of
from leadfeeder_async.integrations.redis import RedisCredits
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_of
from tests.support.examples import examples
from tests.support.paths import DOCS
from tests.support.redis import RedisServer, unused_port
from tests.support.servers import http, raw_server
from tests.support.shared_credits import abandon, report, settled

KEY = "canary-key-1234567890"


@pytest.fixture(autouse=True)
def empty_server(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush the server. A recovery is short, and only tests that set the interval send heartbeats."""
    redis_server.execute("FLUSHALL")
    monkeypatch.setattr(redis_credits, "RECOVERY_TIME", 0.02)
    monkeypatch.setattr(redis_credits, "HEARTBEAT_INTERVAL", 600)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(companies=400, visits=5, rate_limit=False) as running:
        yield running


def company(number: int) -> str:
    """Return the id of a company of the sandbox."""
    return str(159_000_000 + number)


def credits_on(server: RedisServer, max_credits: int, **options: float) -> RedisCredits:
    """Return a credit limit on a server, with a timeout that a slow machine does not reach."""
    return RedisCredits(server.url, "job", max_credits, KEY, **{"timeout": 5.0, **options})


class RecordingClient:
    """A client of redis-py that records its commands, so that a test can send them again."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.commands = list[tuple[str | float, ...]]()

    async def execute_command(self, *args: str | float) -> object:
        self.commands.append(args)
        return await self._client.execute_command(*args)

    async def aclose(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def recorded(server: RedisServer, max_credits: int) -> AsyncIterator[tuple[RedisCredits, RecordingClient]]:
    """Open a credit limit on a server together with its recording client."""
    async with Redis(port=server.port) as client:
        recorder = RecordingClient(client)
        async with RedisCredits(recorder, "job", max_credits, KEY) as shared:
            yield shared, recorder


def total(server: RedisServer) -> int:
    """Return the credits that are stored on the server."""
    entry = server.execute("HGETALL", key_of(KEY, "credits:job"))
    assert isinstance(entry, dict)
    return sum(int(str(value).split()[-1]) for field, value in entry.items() if not str(field).startswith("#"))


async def wait_for_total(server: RedisServer, accepts: Callable[[int], bool]) -> None:
    """Wait until the credits on the server are as expected. Reports after ``settle`` are sent in the background."""
    for _ in range(500):
        if accepts(total(server)):
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"the server has {total(server)} credits")


@asynccontextmanager
async def process(sandbox: Sandbox, shared: RedisCredits) -> AsyncIterator[AsyncLeadfeeder]:
    """Open a client whose calls use the shared credits, as one process does."""
    lf = AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id=sandbox.account_id, rate=5_000, burst=500)
    async with shared, lf:
        yield lf.with_options(budget=Budget(shared=shared))


async def test_processes_never_exceed_the_limit(redis_server: RedisServer, sandbox: Sandbox) -> None:
    """Three processes with 60 tasks each spend exactly the limit of 40 credits, according to the sandbox."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(process(sandbox, credits_on(redis_server, 40))) for _ in range(3)]
        calls = (clients[number % 3].companies.get(company(number)) for number in range(180))
        results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    assert sandbox.ledger.credits_charged == 180 - len(errors) == 40
    assert all(isinstance(error, BudgetExceededError) and error.sent == "no" for error in errors)
    assert total(redis_server) == 40


async def test_free_records_release_their_reservation(redis_server: RedisServer, sandbox: Sandbox) -> None:
    """A record that is already unlocked uses none of the shared credits."""
    async with (
        process(sandbox, credits_on(redis_server, 2)) as first,
        process(sandbox, credits_on(redis_server, 2)) as second,
    ):
        for _ in range(4):
            await first.companies.get(company(1))
        await second.companies.get(company(1))
        await second.companies.get(company(2))
        with pytest.raises(BudgetExceededError, match=r"1 of 2 credits of 'job'.* spent or reserved 2\."):
            await first.companies.get(company(3))
    assert sandbox.ledger.credits_charged == 2


async def test_lost_response_keeps_its_reservation(redis_server: RedisServer, sandbox: Sandbox) -> None:
    """If a call was possibly charged, no process can spend its credit again."""
    sandbox.fail_next(502, after_work=True)
    async with process(sandbox, credits_on(redis_server, 1)) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.companies.get(company(1))
        with pytest.raises(BudgetExceededError):
            await lf.companies.get(company(2))
    assert (sandbox.ledger.credits_charged, total(redis_server)) == (1, 1)


KILLED_PROCESS = """
import asyncio, os, sys
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.integrations import redis_credits

redis_credits.RECOVERY_TIME = 0.05

async def main():
    await redis_credits.RedisCredits(sys.argv[1], "job", 15, sys.argv[2]).reserve(10, ErrorContext())
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_killed_process_keeps_its_reservation(redis_server: RedisServer) -> None:
    """A killed process may have sent its call, so the other processes can only use the remaining credits."""
    command = [sys.executable, "-c", KILLED_PROCESS, redis_server.url, KEY]
    done = await asyncio.to_thread(subprocess.run, command, check=False)
    assert done.returncode == -9
    async with credits_on(redis_server, 15) as shared:
        with pytest.raises(BudgetExceededError):
            await shared.reserve(6, ErrorContext())
        assert shared.credits_left == 5
        await shared.reserve(5, ErrorContext())


async def test_total_is_reported_again_after_data_loss(redis_server: RedisServer) -> None:
    """After a flush, each process reports all credits it has spent, so the limit holds for running processes."""
    async with credits_on(redis_server, 10) as first, credits_on(redis_server, 10) as second:
        await first.reserve(6, ErrorContext())
        redis_server.execute("FLUSHALL")
        await first.reserve(1, ErrorContext())
        with pytest.raises(BudgetExceededError):
            await second.reserve(4, ErrorContext())
        await second.reserve(3, ErrorContext())
    assert total(redis_server) == 10


async def test_idle_process_restores_its_total(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a flush, a new process cannot spend the credits of a process that makes no calls."""
    monkeypatch.setattr(redis_credits, "HEARTBEAT_INTERVAL", 0.02)
    monkeypatch.setattr(redis_credits, "RECOVERY_TIME", 0.3)
    async with credits_on(redis_server, 5) as idle, credits_on(redis_server, 5) as other:
        await idle.reserve(5, ErrorContext())
        redis_server.execute("FLUSHALL")
        with pytest.raises(BudgetExceededError):
            await other.reserve(1, ErrorContext())
    assert total(redis_server) == 5


@pytest.mark.parametrize("is_killed", [True, False])
async def test_running_process_restores_totals_of_others(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    """After a loss of data, a process restores the totals of processes that have ended or were killed."""
    monkeypatch.setattr(redis_credits, "HEARTBEAT_INTERVAL", 0.02)
    async with credits_on(redis_server, 8) as running, credits_on(redis_server, 8) as new:
        gone = credits_on(redis_server, 8)
        await running.reserve(1, ErrorContext())
        await gone.reserve(5, ErrorContext())
        if is_killed:
            await abandon(gone)
        else:
            await gone.aclose()
        await asyncio.sleep(0.2)
        redis_server.execute("DEL", key_of(KEY, "credits:job"))  # as an eviction does
        await asyncio.sleep(0.2)
        with pytest.raises(BudgetExceededError):
            await new.reserve(3, ErrorContext())
        await new.reserve(2, ErrorContext())
    assert total(redis_server) == 8


async def test_nothing_is_granted_after_a_restart_with_older_data(redis_server: RedisServer) -> None:
    """If another server process loaded a snapshot, credits are granted after the running processes reported again."""
    key = key_of(KEY, "credits:job")
    async with credits_on(redis_server, 5) as running, credits_on(redis_server, 5) as new:
        await running.reserve(1, ErrorContext())
        stored = redis_server.execute("HGETALL", key)
        await running.reserve(4, ErrorContext())
        assert isinstance(stored, dict)
        redis_server.execute("DEL", key)
        redis_server.execute("HSET", key, *[str(part) for item in stored.items() for part in item])
        redis_server.execute("HSET", key, "#server", "the process before the restart")
        await report(running)
        with pytest.raises(BudgetExceededError):
            await new.reserve(1, ErrorContext())


async def test_repeated_loss_of_data_raises(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the server loses its data again and again, a call is not sent, and the error names the reason."""
    monkeypatch.setattr(redis_credits, "RECOVERY_TIME", 0.15)
    async with credits_on(redis_server, 5, outage_timeout=0.1) as shared:

        async def flush() -> None:
            while True:
                redis_server.execute("FLUSHALL")
                await asyncio.sleep(0.02)

        flushing = asyncio.create_task(flush())
        with pytest.raises(RateLimiterUnavailableError, match="repeatedly"):
            await shared.reserve(1, ErrorContext())
        flushing.cancel()


FORKED = """
import asyncio, multiprocessing, sys
from leadfeeder_async import BudgetExceededError
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.integrations import redis_credits

redis_credits.RECOVERY_TIME = 0.05
shared = redis_credits.RedisCredits(sys.argv[1], "job", 5, sys.argv[2], timeout=5.0)

async def spend(most):
    granted = 0
    async with shared:
        for _ in range(most):
            try:
                await shared.reserve(1, ErrorContext())
                granted += 1
            except BudgetExceededError:
                pass
    return granted

def child(queue):
    queue.put(asyncio.run(spend(5)))

async def parent():
    await shared.reserve(2, ErrorContext())
    queue = multiprocessing.get_context("fork").Queue()
    children = [multiprocessing.get_context("fork").Process(target=child, args=(queue,)) for _ in range(3)]
    for process in children:
        process.start()
    print(2 + sum([await asyncio.to_thread(queue.get) for _ in children]))
    await shared.aclose()

asyncio.run(parent())
"""


async def test_forked_processes_share_the_limit(redis_server: RedisServer) -> None:
    """An object that was used before a fork counts each child as a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED, redis_server.url, KEY]
    done = await asyncio.to_thread(
        subprocess.run, command, check=True, capture_output=True, encoding="utf-8", timeout=30
    )
    assert done.stdout.strip() == "5"
    assert total(redis_server) == 5


async def test_passed_client_is_refused_after_a_fork(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections of a client of the caller belong to the parent, so nothing is reserved with them."""
    async with recorded(redis_server, 5) as (shared, _):
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            with pytest.raises(WrongLoopError, match="before a fork"):
                await shared.reserve(1, ErrorContext())


async def test_copy_of_a_call_in_a_child_settles_nothing(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a child destroys its copy of a call in flight, its total does not fall below what it has spent."""
    async with credits_on(redis_server, 5) as shared:
        with (
            BudgetReservation([Budget(shared=shared)], 3, Price(), ErrorContext()) as reservation,
            monkeypatch.context() as patch,
        ):
            await reservation.reserve()
            patch.setattr(os, "getpid", lambda: -1)
            reservation.__exit__()
        await settled(shared)
        assert total(redis_server) == 3


async def test_close_reports_the_total_after_data_loss(redis_server: RedisServer) -> None:
    """Closing reports the credits that were spent before a flush, even if no call was made after it."""
    async with credits_on(redis_server, 10) as shared:
        await shared.reserve(6, ErrorContext())
        shared.settle(6, 6)
        redis_server.execute("FLUSHALL")
    assert total(redis_server) == 6


async def test_total_continues_after_the_processes_end(redis_server: RedisServer) -> None:
    """The credits of finished processes count once, and a closed object can be used again."""
    for spent in (2, 3, 5):
        async with credits_on(redis_server, 10) as shared:
            await shared.reserve(spent, ErrorContext())
            shared.settle(spent, spent)
        await shared.aclose()
        await shared.aclose()
    assert total(redis_server) == 10
    async with shared:
        with pytest.raises(BudgetExceededError):
            await shared.reserve(1, ErrorContext())
    fields = redis_server.execute("HKEYS", key_of(KEY, "credits:job"))
    assert isinstance(fields, list)
    assert [str(field).split(":")[0] for field in fields if not str(field).startswith("#")] == ["ended"]


@pytest.mark.parametrize(("charged", "difference"), [(0, 0), (2, 0), (3, 0), (5, 2)])
async def test_close_with_call_in_flight(redis_server: RedisServer, charged: int, difference: int) -> None:
    """The reservation stays counted and nothing is sent after closing, until the object is used again."""
    async with recorded(redis_server, 10) as (shared, recorder):
        await shared.reserve(4, ErrorContext())
        shared.settle(4, 4)
        await shared.reserve(3, ErrorContext())
        await shared.aclose()
        sent = len(recorder.commands)
        shared.settle(3, charged)
        for _ in range(10):  # the report of a closed object needs no network
            await asyncio.sleep(0)
        assert (total(redis_server), len(recorder.commands)) == (7, sent)
        async with credits_on(redis_server, 10) as other:
            await other.reserve(1, ErrorContext())
            other.settle(1, 1)
        await shared.reserve(0, ErrorContext())
        assert total(redis_server) == 8 + difference
        with pytest.raises(BudgetExceededError):
            await shared.reserve(6 - charged, ErrorContext())
        await shared.reserve(5 - charged, ErrorContext())
        assert total(redis_server) == 10
        shared.settle(5 - charged, 0)
        await wait_for_total(redis_server, lambda stored: stored == 8 + difference)


async def test_reservation_during_close_is_kept(redis_server: RedisServer) -> None:
    """A call that begins while the object is being closed waits for that, and is counted once."""
    async with Redis(port=redis_server.port) as client:
        shared = RedisCredits(client, "job", 10, KEY)
        await shared.reserve(4, ErrorContext())
        await asyncio.gather(shared.aclose(), shared.reserve(3, ErrorContext()))
        assert total(redis_server) == 7


async def test_call_that_ends_during_close_is_settled(redis_server: RedisServer) -> None:
    """Credits released while the object is being closed are available when it is used again."""
    async with recorded(redis_server, 10) as (shared, recorder):
        await shared.reserve(4, ErrorContext())
        sent = len(recorder.commands)
        closing = asyncio.create_task(shared.aclose())
        while len(recorder.commands) <= sent:  # the end
            await asyncio.sleep(0)
        shared.settle(4, 0)
        await closing
        assert total(redis_server) == 4
        await shared.reserve(10, ErrorContext())
        assert total(redis_server) == 10


async def test_negative_charge_counts_as_free(redis_server: RedisServer) -> None:
    """A response with a negative charge does not raise the limit, and every process continues."""
    refund = http(b'{"data":{"id":"1"},"meta":{"credits":{"charged":-1}}}')
    async with raw_server(refund) as server, client_of(server.url) as lf:
        async with credits_on(redis_server, 1) as shared, lf.budget(shared=shared):
            await lf.companies.get("1")
            await lf.companies.get("2")
    async with credits_on(redis_server, 1) as other:
        await other.reserve(1, ErrorContext())
    assert total(redis_server) == 1


@pytest.mark.parametrize("value", ["1 -1", "-1", "", "?"])
async def test_invalid_totals_count_as_zero(redis_server: RedisServer, value: str) -> None:
    """A stored total that is negative or cannot be read does not make the name unusable."""
    for process_id in ("ended", "f00d"):
        redis_server.execute("HSET", key_of(KEY, "credits:job"), process_id, value)
    async with credits_on(redis_server, 3, outage_timeout=0.1) as shared:
        await shared.reserve(2, ErrorContext())
        assert shared.spent == 2
        with pytest.raises(BudgetExceededError):
            await shared.reserve(2, ErrorContext())


async def test_repeated_end_counts_once(redis_server: RedisServer) -> None:
    """If the response to the last command of a process is lost, the command can be sent again."""
    async with recorded(redis_server, 10) as (shared, recorder):
        await shared.reserve(4, ErrorContext())
        await shared.aclose()
        await recorder.execute_command(*recorder.commands[-1])
        assert total(redis_server) == 4


async def test_canceled_caller_reserves_nothing(redis_server: RedisServer) -> None:
    """A reservation that is canceled at any point is made or not made, and leaves no credits behind."""
    async with credits_on(redis_server, 10) as shared:
        for turns in range(25):
            task = asyncio.create_task(shared.reserve(3, ErrorContext()))
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.done():
                shared.settle(3, 0)
                continue
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
    assert total(redis_server) == 0


async def test_billed_calls_are_not_sent_during_an_outage(sandbox: Sandbox) -> None:
    """Calls that may charge raise an error, and free calls continue."""
    url = f"redis://127.0.0.1:{unused_port()}/0"
    async with process(sandbox, RedisCredits(url, "job", 10, KEY, timeout=0.1, outage_timeout=0.15)) as lf:
        for _ in range(3):
            with pytest.raises(RateLimiterUnavailableError) as caught:
                await lf.companies.get(company(1))
            assert (caught.value.sent, caught.value.phase) == ("no", "budget")
        await lf.users.me()
    assert [request.operation for request in sandbox.ledger.requests] == ["get_current_user"]


async def test_credits_recover_after_an_outage(redis_server: RedisServer) -> None:
    """When the server is back without data, the total of this process is reported again."""
    async with credits_on(redis_server, 10, timeout=0.2, outage_timeout=0.1) as shared:
        await shared.reserve(4, ErrorContext())
        redis_server.kill()
        with pytest.raises(RateLimiterUnavailableError):
            await shared.reserve(1, ErrorContext())
        redis_server.start()
        for _ in range(40):
            try:
                await shared.reserve(2, ErrorContext())
                break
            except RateLimiterUnavailableError:
                await asyncio.sleep(0.1)
        assert total(redis_server) == 6


async def test_deadline_limits_the_wait(sandbox: Sandbox) -> None:
    """A call with a deadline does not wait for ``outage_timeout``, and its local budget is released."""
    url = f"redis://127.0.0.1:{unused_port()}/0"
    async with process(sandbox, RedisCredits(url, "job", 10, KEY)) as lf, lf.budget(max_credits=5) as spent:
        with pytest.raises(DeadlineExceededError):
            await lf.with_options(deadline=0.1).companies.get(company(1))
        assert (spent.reserved, spent.credits, spent.requests) == (0, 0, 0)


async def test_two_enrichments_share_credits(redis_server: RedisServer, sandbox: Sandbox) -> None:
    """Two enrichments spend at most 130 credits together, and the other rows are skipped by the budget.

    The companies of the five visits are free. Credits that they release late may remain.
    """
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(process(sandbox, credits_on(redis_server, 130))) for _ in range(2)]

        async def enrich(index: int) -> list[Outcome]:
            rows = (f"company-{number}.test" for number in range(index * 150, index * 150 + 150))
            return [result.outcome async for result in clients[index].enrich.companies(rows, by="domain")]

        outcomes = [outcome for results in await asyncio.gather(enrich(0), enrich(1)) for outcome in results]
    matched, charged = outcomes.count(Outcome.MATCHED), sandbox.ledger.credits_charged
    assert 125 <= charged <= 130 <= matched <= charged + 5
    assert outcomes.count(Outcome.SKIPPED_BY_BUDGET) == 300 - matched


async def test_recipe_in_the_documentation(
    redis_server: RedisServer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example in the documentation runs and prints the credits that were spent."""
    blocks = re.findall(r"```py\n(.*?)```", (DOCS / "redis.md").read_text(encoding="utf-8"), re.DOTALL)
    (source,) = (block for block in blocks if "RedisCredits(" in block)
    for name, value in {**sandbox.environment, "REDIS_URL": redis_server.url}.items():
        monkeypatch.setenv(name, value)
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    await namespace["enrich_some"]([company(1), company(2)])
    assert "2 of 5,000 credits" in capsys.readouterr().out


@pytest.mark.parametrize("invalid", [{"name": ""}, {"max_credits": -1}, {"timeout": 0}, {"outage_timeout": -1}])
def test_invalid_arguments_raise(invalid: dict[str, object]) -> None:
    """The error names the invalid argument."""
    arguments: dict[str, object] = {"redis": "redis://127.0.0.1", "name": "job", "max_credits": 1, "api_key": KEY}
    create: Callable[..., RedisCredits] = RedisCredits
    with pytest.raises(ConfigurationError, match=next(iter(invalid))):
        create(**{**arguments, **invalid})


async def test_api_key_is_not_stored_on_the_server(redis_server: RedisServer) -> None:
    """The name of the entry contains only a hash of the API key."""
    async with credits_on(redis_server, 10) as shared:
        await shared.reserve(1, ErrorContext())
        assert KEY not in repr(shared)
    assert KEY not in str(redis_server.execute("KEYS", "*"))


STEPS = st.lists(
    st.tuples(st.sampled_from(["reserve", "settle", "close", "flush", "repeat"]), st.integers(0, 2), st.integers(0, 7)),
    max_size=30,
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(25))
@given(steps=STEPS)
def test_limit_holds_for_any_sequence(redis_server: RedisServer, steps: list[tuple[str, int, int]]) -> None:
    """Three processes reserve, settle, close, lose the server's data, and repeat an old command, in any order.

    As long as the server has its data, it counts the credits of all processes and never more than the limit. It may
    count more than they use after a process was closed with calls in flight. After a loss of data, each running process
    is counted again from its next report.
    """
    asyncio.run(_run_steps(redis_server, steps))


async def _run_steps(server: RedisServer, steps: list[tuple[str, int, int]]) -> None:
    server.execute("FLUSHALL")
    limit = 12
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(recorded(server, limit)) for _ in range(3)]
        reserved: list[list[int]] = [[], [], []]
        spent, data_lost, closed_in_flight = [0, 0, 0], False, False
        for step, index, amount in steps:
            (shared, recorder), own = processes[index], reserved[index]
            before = sum(spent) + sum(map(sum, reserved))
            if step == "reserve":
                try:
                    await shared.reserve(amount, ErrorContext())
                    own.append(amount)
                    assert data_lost or before + amount <= limit
                except BudgetExceededError:
                    # After a loss the test does not wait for the report of a settled call, which comes a bit later.
                    assert closed_in_flight or data_lost or before + amount > limit
            elif step == "settle" and own:
                charged = min(amount, own[-1])
                spent[index] += charged
                shared.settle(own.pop(), charged)
            elif step == "close":
                closed_in_flight = closed_in_flight or bool(own)
                await shared.aclose()
                recorder.commands.clear()  # a closed object begins a new sequence
            elif step == "flush":
                server.execute("FLUSHALL")
                data_lost = True
                for _, each in processes:
                    each.commands.clear()  # without its data, the server cannot detect an old command
            elif step == "repeat" and len(recorder.commands) > 1:
                await recorder.execute_command(*recorder.commands[0])
            if not data_lost:
                actual = sum(spent) + sum(map(sum, reserved))
                upper = limit if closed_in_flight else actual
                await wait_for_total(server, lambda stored, actual=actual, upper=upper: actual <= stored <= upper)
                assert actual <= limit


async def test_namespace_replaces_the_key_of_credits(redis_server: RedisServer) -> None:
    """Limits with the same name and namespace are shared without a key, and others are separate."""
    names = set[str]()
    for options in ({"namespace": "prod"}, {"namespace": "prod"}, {"namespace": "test"}, {"api_key": KEY}):
        shared = RedisCredits(redis_server.url, "job", 5, **options)
        names.add(shared._key)
        await shared.aclose()
    assert len(names) == 3
    assert not [name for name in names if "prod" in name or KEY in name]
    with pytest.raises(ConfigurationError, match="cannot be combined"):
        RedisCredits(redis_server.url, "job", 5, KEY, namespace="prod")
