"""Attempt events, the retry budget, closing, forks and threads."""

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
    ConfigurationError,
    ConnectError,
    LeadfeederError,
    OutcomeUnknownError,
    RateLimitedError,
    ServerError,
    WrongLoopError,
)
from leadfeeder_async._core.attempt import AttemptTrace
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async._core.retry import RetryBudget
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import KEY, client_for, client_of
from tests.support.requirements import needs_fork
from tests.support.servers import cut, handler_server, http, raw_server, silence

ME = http(b'{"data":{"id":"u-1"},"meta":{"request_id":"r-7","credits":{"charged":2}}}')


async def test_event_per_attempt() -> None:
    """Each attempt emits one event with its status, phases, durations and charge, without the delay before it."""
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
    assert good.phase_durations["slot"] < 0.1
    assert KEY not in repr(events)


@pytest.mark.parametrize(
    ("step", "sent", "phase"), [(cut(b""), "maybe", "headers"), (cut(ME[:-5]), "yes", "body")], ids=["head", "body"]
)
async def test_event_of_disconnected_attempt(step: object, sent: str, phase: str) -> None:
    """The event of a broken connection has the phase and the sent state."""
    events = list[AttemptEvent]()
    async with raw_server(step) as server, client_of(server.url, retries=0, on_attempt=events.append) as lf:
        with pytest.raises(LeadfeederError):
            await lf.users.me()
    assert [(event.sent, event.phase, event.error) for event in events] == [(sent, phase, "DisconnectedError")]


async def test_event_of_refused_connection() -> None:
    """The event of a refused connection has the state "not sent"."""
    events = list[AttemptEvent]()
    async with client_of("http://127.0.0.1:9", retries=1, on_attempt=events.append) as lf:
        with pytest.raises(ConnectError):
            await lf.users.me()
    assert [(event.attempt, event.sent, event.phase, event.status) for event in events] == [
        (1, "no", "connect", None),
        (2, "no", "connect", None),
    ]


async def test_rate_limit_wait_is_not_server_time() -> None:
    """The wait for a token is counted in the limiter phase, not in the phases of the server."""
    events = list[AttemptEvent]()
    async with raw_server(ME) as server, client_of(server.url, rate=20, burst=1, on_attempt=events.append) as lf:
        await asyncio.gather(*(lf.users.me() for _ in range(4)))
    waits = sorted(event.phase_durations["limiter"] for event in events)
    assert waits[-1] >= 0.1
    assert all(event.phase_durations["headers"] < 0.1 for event in events)


async def test_failing_callback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the callback is logged and does not fail the call."""

    def broken(_: AttemptEvent) -> None:
        raise ZeroDivisionError

    async with raw_server(ME) as server, client_of(server.url, on_attempt=broken) as lf:
        assert (await lf.users.me()).data.id == "u-1"
    assert "on_attempt failed" in caplog.text


async def test_no_event_before_first_attempt() -> None:
    """A call that ends while it waits for a token emits no event."""
    events = list[AttemptEvent]()
    async with raw_server(ME) as server, client_of(server.url, rate=0.01, burst=1, on_attempt=events.append) as lf:
        await lf.users.me()
        with pytest.raises(LeadfeederError):
            await lf.with_options(deadline=0.02).users.me()
    assert len(events) == 1


async def test_falsy_callback_is_called() -> None:
    """A callback that is an empty list receives the first event."""

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


async def test_trace_configs() -> None:
    """Trace configs of the caller run beside the client's own and are removed from a borrowed session."""
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
    """For every order of failures and successes, retries stay within the budget."""

    def __init__(self) -> None:
        super().__init__()
        self.budget, self.retries, self.successes = RetryBudget(), 0, 0

    @rule(times=st.integers(1, 40))
    def fail(self, times: int) -> None:
        for _ in range(times):
            before = self.budget.tokens
            assert self.budget.try_consume() is (before >= 1)
            self.retries += before >= 1

    @rule(times=st.integers(1, 200))
    def succeed(self, times: int) -> None:
        for _ in range(times):
            self.budget.record_success()
        self.successes += times

    @invariant()
    def bounded(self) -> None:
        assert 0 <= self.budget.tokens <= 20
        assert self.retries <= 20 + self.successes / 5 + 1e-6


TestRetryBudget = RetryBudgetMachine.TestCase


@pytest.mark.usefixtures("short_backoff")
async def test_outage_is_not_amplified() -> None:
    """If every response is a 500, two hundred calls send at most a tenth more requests."""

    async def fail(_: web.Request) -> web.Response:
        return web.json_response({}, status=500)

    async with handler_server(fail) as url, client_of(url, max_concurrency=64) as lf:
        errors = await asyncio.gather(*(lf.users.me() for _ in range(200)), return_exceptions=True)
        assert lf.stats.requests <= 220
    assert {type(error) for error in errors} == {ServerError}
    assert sum("most recent requests failed" in str(error) for error in errors) >= 180


@pytest.mark.usefixtures("short_backoff")
async def test_successes_refill_retry_budget(sandbox: Sandbox) -> None:
    """After an outage, five successful responses allow one retry."""
    async with client_for(sandbox, retries=1) as lf:
        await exhaust_retry_budget(lf, sandbox)
        sandbox.fail_next(500)
        with pytest.raises(ServerError, match="Not retried"):
            await lf.users.me()
        for _ in range(5):
            await lf.users.me()
        sandbox.fail_next(500)
        await lf.users.me()


@pytest.mark.usefixtures("short_backoff")
async def test_429_does_not_use_retry_budget(sandbox: Sandbox) -> None:
    """A 429 is retried although the retry budget is exhausted."""
    async with client_for(sandbox, retries=1) as lf:
        await exhaust_retry_budget(lf, sandbox)
        sandbox.fail_next(429)
        assert (await lf.users.me()).data.id


async def exhaust_retry_budget(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """Fail calls that have one retry each until no retry is left."""
    calls = int(RetryBudget.CAPACITY)
    sandbox.fail_next(500, times=2 * calls)
    await asyncio.gather(*(lf.users.me() for _ in range(calls)), return_exceptions=True)
    assert lf.stats.retries == calls


async def test_close_interrupts_rate_limit_pause() -> None:
    """Closing the client ends calls that wait for a pause, and they were not sent."""
    bucket = TokenBucket(1e6, 100_000)
    async with raw_server(ME) as server:
        lf = client_of(server.url, limiter=bucket)
        await lf.users.me()
        bucket.pause(60)
        errors = await errors_of_closing(lf)
    assert errors == {(ClientClosedError, "no")}


async def test_close_interrupts_slot_waits() -> None:
    """Closing the client ends calls that wait for a concurrency slot, and they were not sent."""
    async with raw_server(silence) as server:
        lf = client_of(server.url, max_concurrency=1)
        first = asyncio.create_task(lf.users.me())
        while not server.requests:
            await asyncio.sleep(0.001)
        errors = await errors_of_closing(lf, first)
    assert errors == {(ClientClosedError, "no")}


async def errors_of_closing(lf: AsyncLeadfeeder, *sent: asyncio.Task[object]) -> set[tuple[type[BaseException], str]]:
    """Close a client while calls wait, and return their errors. Calls that are ``sent`` already end too."""
    calls = [asyncio.create_task(lf.users.me()) for _ in range(20)]
    while lf.stats.waiting < 20:
        await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        await lf.aclose()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.gather(*sent, return_exceptions=True)
    assert lf.stats.waiting == 0
    return {(type(error), getattr(error, "sent", "")) for error in errors if isinstance(error, BaseException)}


async def test_close_interrupts_backoff() -> None:
    """Closing the client ends a call that waits for its retry."""
    async with raw_server(http(b"{}", "503 Busy", "Retry-After: 50\r\n")) as server:
        lf = client_of(server.url)
        call = asyncio.create_task(lf.users.me())
        while not lf.stats.waiting:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(5):
            await lf.aclose()
            with pytest.raises(LeadfeederError):
                await call


@pytest.mark.parametrize("after_first_call", [True, False])
@needs_fork
def test_fork(after_first_call: bool) -> None:
    """A forked child rejects a client that the parent has used, and accepts one that was only created."""
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
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=30, check=True
    ).stdout
    assert output.startswith("WrongLoopError" if after_first_call else "ConnectError"), output
    assert not after_first_call or "in the process that uses it" in output


async def test_use_from_another_thread() -> None:
    """A call on the event loop of another thread raises WrongLoopError and leaves the client usable."""
    async with raw_server(ME) as server, client_of(server.url) as lf:
        await lf.users.me()

        def call_in_thread() -> str:
            try:
                asyncio.run(lf.users.me())
            except LeadfeederError as error:
                return type(error).__name__
            return "nothing"

        assert await anyio.to_thread.run_sync(call_in_thread) == "WrongLoopError"
        assert (await lf.users.me()).data.id == "u-1"


async def test_429_on_every_attempt() -> None:
    """A 429 on the last attempt raises RateLimitedError, which mentions other users of the key."""
    async with raw_server(http(b"{}", "429 Slow", "Retry-After: 0.001\r\n")) as server, client_of(server.url) as lf:
        with pytest.raises(RateLimitedError, match="Another program may be using this key"):
            await lf.users.me()
        assert len(server.requests) == 3


async def test_event_of_unknown_outcome() -> None:
    """The event of a billed call without a response has no credits."""
    events = list[AttemptEvent]()
    async with raw_server(cut(b"")) as server, client_of(server.url, on_attempt=events.append) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.companies.get("1")
    assert [(event.sent, event.credits_charged, event.error) for event in events] == [
        ("maybe", None, "DisconnectedError")
    ]


@needs_fork
def test_child_that_closes_the_client() -> None:
    """A forked child can close the client of its parent, whose connections stay usable."""
    code = """
import asyncio, os, warnings
from leadfeeder_async import *
from leadfeeder_async.sandbox import Sandbox
warnings.simplefilter("ignore")
async def main():
    async with Sandbox(rate_limit=False) as sandbox:
        async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id=sandbox.account_id) as lf:
            await lf.users.me()
            child = os.fork()
            if not child:
                await lf.aclose()
                try: await lf.users.me()
                except WrongLoopError: os._exit(0)
                os._exit(1)
            print(os.waitpid(child, 0)[1], end=" ")
            async with asyncio.timeout(5):
                await lf.users.me()
            print(lf.stats.requests, lf.stats.retries)
asyncio.run(main())
"""
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=30, check=True
    ).stdout
    assert output == "0 2 0\n"


async def test_close_from_another_thread() -> None:
    """A client that another thread closes stays open and usable."""
    async with raw_server(ME) as server, client_of(server.url) as lf:
        await lf.users.me()

        def close_in_thread() -> None:
            with pytest.raises(WrongLoopError, match="run_coroutine_threadsafe"):
                asyncio.run(lf.aclose())

        await anyio.to_thread.run_sync(close_in_thread)
        assert (await lf.users.me()).data.id == "u-1"


@pytest.mark.parametrize("kind", ["function", "method"])
def test_coroutine_function_as_hook(kind: str) -> None:
    """A hook that would never be awaited is rejected."""

    async def hook(_: object) -> None:
        pass

    class Hook:
        __call__ = staticmethod(hook)

    with pytest.raises(ConfigurationError, match="must not be a coroutine function"):
        AsyncLeadfeeder("k", on_attempt=hook if kind == "function" else Hook())  # type: ignore[arg-type]
