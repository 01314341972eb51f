"""What is told of each attempt, and what bounds them all together."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import aiohttp
import anyio
import pytest
from aiohttp import web
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from leadfeeder_async import (
    AsyncLeadfeeder,
    AttemptEvent,
    ClientClosedError,
    ConnectError,
    LeadfeederError,
    OutcomeUnknownError,
    RateLimitedError,
    ServerError,
)
from leadfeeder_async._core.attempt import AttemptTrace
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async._core.retry import RetryBudget
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import KEY, client_for, client_of
from tests.support.servers import cut, handler_server, http, raw_server, silence

ME = http(b'{"data":{"id":"u-1"},"meta":{"request_id":"r-7","credits":{"charged":2}}}')


async def test_one_event_per_attempt() -> None:
    """Each attempt is told once: what, how far, how long and where, and what it charged."""
    events = list[AttemptEvent]()
    async with (
        raw_server(http(b"{}", "500 Oops", "X-Request-Id: r-5\r\n"), ME) as server,
        client_of(server.url, on_attempt=events.append) as lf,
    ):
        await lf.users.me()
    failed, good = events
    assert (failed.attempt, failed.status, failed.error, failed.request_id) == (1, 500, "ServerError", "r-5")
    assert (good.operation, good.method, good.path) == ("get_current_user", "GET", "/v1/users/me")
    assert (good.attempt, good.status, good.error, good.request_id, good.credits_charged) == (2, 200, None, "r-7", 2)
    assert (good.sent, good.phase) == ("yes", "body")
    assert set(good.phase_durations) >= {"slot", "limiter", "connect", "headers", "body"}
    assert good.elapsed == pytest.approx(sum(good.phase_durations.values()))
    assert KEY not in repr(events)


@pytest.mark.parametrize(
    ("step", "sent", "phase"), [(cut(b""), "maybe", "headers"), (cut(ME[:-5]), "yes", "body")], ids=["head", "body"]
)
async def test_event_of_a_broken_attempt(step: object, sent: str, phase: str) -> None:
    """An attempt that broke is told with its phase and whether it left."""
    events = list[AttemptEvent]()
    async with raw_server(step) as server, client_of(server.url, retries=0, on_attempt=events.append) as lf:
        with pytest.raises(LeadfeederError):
            await lf.users.me()
    assert [(one.sent, one.phase, one.error) for one in events] == [(sent, phase, "DisconnectedError")]


async def test_event_of_a_refused_connection() -> None:
    """Nothing left, and the event says so."""
    events = list[AttemptEvent]()
    async with client_of("http://127.0.0.1:9", retries=1, on_attempt=events.append) as lf:
        with pytest.raises(ConnectError):
            await lf.users.me()
    assert [(one.attempt, one.sent, one.phase, one.status) for one in events] == [
        (1, "no", "connect", None),
        (2, "no", "connect", None),
    ]


async def test_waits_are_told_apart() -> None:
    """The wait for a token counts as the limiter's, not as the server's."""
    events = list[AttemptEvent]()
    async with raw_server(ME) as server, client_of(server.url, rate=20, burst=1, on_attempt=events.append) as lf:
        await asyncio.gather(*(lf.users.me() for _ in range(4)))
    waits = sorted(one.phase_durations["limiter"] for one in events)
    assert waits[-1] >= 0.1
    assert all(one.phase_durations["headers"] < 0.1 for one in events)


async def test_callback_that_fails_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """A call that may have charged does not end in the user's bug; the log names it."""

    def broken(_: AttemptEvent) -> None:
        raise ZeroDivisionError

    async with raw_server(ME) as server, client_of(server.url, on_attempt=broken) as lf:
        assert (await lf.users.me()).data.id == "u-1"
    assert "on_attempt failed" in caplog.text


async def test_no_event_without_an_attempt() -> None:
    """A call that ends while it waits for its token was never tried."""
    events = list[AttemptEvent]()
    async with raw_server(ME) as server, client_of(server.url, rate=0.01, burst=1, on_attempt=events.append) as lf:
        await lf.users.me()
        with pytest.raises(LeadfeederError):
            await lf.with_options(deadline=0.02).users.me()
    assert len(events) == 1


async def test_callback_that_is_empty_is_called() -> None:
    """A list that can be called gets its events, the first one too."""

    class Events(list[AttemptEvent]):
        def __call__(self, attempt: AttemptEvent) -> None:
            self.append(attempt)

    events = Events()
    async with raw_server(ME) as server, client_of(server.url, on_attempt=events) as lf:
        await lf.users.me()
        assert len(events) == 1


def test_unobservable_attempt_counts_as_maybe_sent() -> None:
    """An attempt whose sending cannot be observed counts as possibly sent."""
    trace = AttemptTrace(None, ErrorContext(attempts=1))
    assert trace.sent == "no"
    trace.connect_started = True
    assert trace.sent == "maybe"
    trace.send_is_observable = True
    assert trace.sent == "no"
    trace.mark_connected()
    assert trace.sent == "maybe"


async def test_native_traces() -> None:
    """Aiohttp's own trace configs work beside ours, and are taken off a borrowed session at the end."""
    seen = list[str]()
    trace = aiohttp.TraceConfig()

    async def started(_: object, __: object, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(params.url.path)

    trace.on_request_start.append(started)
    async with raw_server(ME) as server, aiohttp.ClientSession() as session:
        async with client_of(server.url, trace_configs=[trace]) as lf:
            await lf.users.me()
        async with client_of(server.url, trace_configs=[trace], session=session) as lf:
            await lf.users.me()
        assert session.trace_configs == []
    assert seen == ["/v1/users/me"] * 2


class RetryBudgetMachine(RuleBasedStateMachine):
    """However failures and successes come, resends stay within the budget's promise."""

    def __init__(self) -> None:
        super().__init__()
        self.budget, self.taken, self.good = RetryBudget(), 0, 0

    @rule(times=st.integers(1, 40))
    def fail(self, times: int) -> None:
        for _ in range(times):
            before = self.budget.tokens
            assert self.budget.try_consume() is (before >= 1)
            self.taken += before >= 1

    @rule(times=st.integers(1, 200))
    def succeed(self, times: int) -> None:
        for _ in range(times):
            self.budget.record_success()
        self.good += times

    @invariant()
    def bounded(self) -> None:
        assert 0 <= self.budget.tokens <= 20
        assert self.taken <= 20 + self.good / 5 + 1e-6


TestRetryBudget = RetryBudgetMachine.TestCase


async def test_total_failure_is_not_amplified() -> None:
    """When every answer is a 500, two hundred calls become at most a tenth more requests, and the errors say why."""

    async def fail(_: web.Request) -> web.Response:
        return web.json_response({}, status=500)

    async with handler_server(fail) as url, client_of(url, max_concurrency=64) as lf:
        errors = await asyncio.gather(*(lf.users.me() for _ in range(200)), return_exceptions=True)
        assert lf.stats.requests <= 220
    assert {type(error) for error in errors} == {ServerError}
    assert sum("most recent requests failed" in str(error) for error in errors) >= 180


async def test_resends_come_back_with_success(sandbox: Sandbox) -> None:
    """After an outage, five good answers earn one resend."""
    async with client_for(sandbox, retries=1) as lf:
        await exhaust_retry_budget(lf, sandbox)
        sandbox.fail_next(500)
        with pytest.raises(ServerError, match="Not retried"):
            await lf.users.me()
        for _ in range(5):
            await lf.users.me()
        sandbox.fail_next(500)
        await lf.users.me()


async def test_429_takes_nothing_from_the_retry_budget(sandbox: Sandbox) -> None:
    """Refusals for speed are bounded by the pause, not by what failures may cost."""
    async with client_for(sandbox, retries=1) as lf:
        await exhaust_retry_budget(lf, sandbox)
        sandbox.fail_next(429)
        assert (await lf.users.me()).data.id


async def exhaust_retry_budget(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """Let calls with one retry each fail until no retry is left."""
    calls = int(RetryBudget.CAPACITY)
    sandbox.fail_next(500, times=2 * calls)
    await asyncio.gather(*(lf.users.me() for _ in range(calls)), return_exceptions=True)
    assert lf.stats.retries == calls


async def test_close_ends_a_pause_at_once() -> None:
    """Calls that wait for the end of a pause end with the client, and were not sent."""
    bucket = TokenBucket(1e6, 100_000)
    async with raw_server(ME) as server:
        lf = client_of(server.url, limiter=bucket)
        await lf.users.me()
        bucket.pause(60)
        errors = await errors_of_closing(lf)
    assert errors == {(ClientClosedError, "no")}


async def test_close_ends_waits_for_a_slot_at_once() -> None:
    """Calls that wait for a concurrency slot end with the client, and were not sent."""
    async with raw_server(silence) as server:
        lf = client_of(server.url, max_concurrency=1)
        first = asyncio.create_task(lf.users.me())
        while not server.requests:
            await asyncio.sleep(0.001)
        errors = await errors_of_closing(lf)
        await asyncio.gather(first, return_exceptions=True)
    assert errors == {(ClientClosedError, "no")}


async def errors_of_closing(lf: AsyncLeadfeeder) -> set[tuple[type[BaseException], str]]:
    """Close a client while calls wait, and return their errors."""
    calls = [asyncio.create_task(lf.users.me()) for _ in range(20)]
    while lf.stats.waiting < 20:
        await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        await lf.aclose()
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert lf.stats.waiting == 0
    return {(type(error), getattr(error, "sent", "")) for error in errors if isinstance(error, BaseException)}


async def test_close_ends_a_backoff() -> None:
    """A call that waits to be sent again ends with the client too."""
    async with raw_server(http(b"{}", "500 Oops")) as server:
        lf = client_of(server.url, retries=30)
        call = asyncio.create_task(lf.users.me())
        while lf.stats.retries < 4:  # by now the next wait is up to eight seconds
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        await lf.aclose()
        with pytest.raises(LeadfeederError):
            await call


@pytest.mark.parametrize("after_first_call", [True, False])
def test_fork(after_first_call: bool) -> None:
    """A child refuses the client its parent used, and may use one that was only made before the fork."""
    code = f"""
import asyncio, os, sys, warnings
from leadfeeder_async import *
warnings.simplefilter("ignore")
lf = AsyncLeadfeeder("k", base_url="http://127.0.0.1:9", retries=0)
async def call():
    try: await lf.users.me()
    except LeadfeederError as error: return error
if {after_first_call}: asyncio.run(call())
child = os.fork()
if not child:
    error = asyncio.run(call())
    print(type(error).__name__, error)
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True).stdout
    assert said.startswith("WrongLoopError" if after_first_call else "ConnectError"), said
    assert not after_first_call or "in the process that uses it" in said


async def test_thread() -> None:
    """Another thread's loop is refused by name, whatever the client does meanwhile."""
    async with raw_server(ME) as server, client_of(server.url) as lf:
        await lf.users.me()

        def elsewhere() -> str:
            try:
                asyncio.run(lf.users.me())
            except LeadfeederError as error:
                return type(error).__name__
            return "nothing"

        assert await anyio.to_thread.run_sync(elsewhere) == "WrongLoopError"
        assert (await lf.users.me()).data.id == "u-1"


async def test_429s_to_the_last_attempt_are_raised() -> None:
    """A key that someone else uses up is named as what it is."""
    async with raw_server(http(b"{}", "429 Slow", "Retry-After: 0.001\r\n")) as server, client_of(server.url) as lf:
        with pytest.raises(RateLimitedError, match="Another program may be using this key"):
            await lf.users.me()
        assert len(server.requests) == 3


async def test_lost_charge_is_told_as_maybe() -> None:
    """The event of a charging call whose answer was lost does not claim to know its price."""
    events = list[AttemptEvent]()
    async with raw_server(cut(b"")) as server, client_of(server.url, on_attempt=events.append) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.companies.get("1")
    assert [(one.sent, one.credits_charged, one.error) for one in events] == [("maybe", None, "DisconnectedError")]
