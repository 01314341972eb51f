"""Closing, cancellation, deadlines and failing limiters that coincide."""

from __future__ import annotations

import asyncio
import threading
import time

import aiohttp
import pytest

from leadfeeder_async import (
    AsyncLeadfeeder,
    AttemptTimeoutError,
    BudgetExceededError,
    ClientClosedError,
    ConnectError,
    DeadlineExceededError,
    LeadfeederError,
    OutcomeUnknownError,
    QuotaExceededError,
    ServerError,
)
from leadfeeder_async._core import codec
from leadfeeder_async._core.executor import MAX_INLINE_NORMALIZED
from leadfeeder_async.models import Meta
from tests.support.clients import KEY, client_of
from tests.support.servers import cut, http, listening, port_of, raw_server, silence

OK = http(b'{"data":{"id":"1"}}')


class Gate:
    """A limiter that blocks all callers until it opens."""

    def __init__(self) -> None:
        self.opens = asyncio.Event()

    async def acquire(self) -> None:
        await self.opens.wait()

    def pause(self, seconds: float) -> None:
        raise AssertionError


async def test_close_during_token_wait() -> None:
    """A call that gets its token while the client closes is not sent on a borrowed session."""
    async with raw_server(cut(b"")) as server, aiohttp.ClientSession() as session:
        gate = Gate()
        lf = client_of(server.url, session=session, limiter=gate)

        async def close_first() -> None:
            await gate.opens.wait()
            await lf.aclose()

        closing = asyncio.create_task(close_first())
        await asyncio.sleep(0)
        async with lf.budget(max_credits=1) as spent:
            call = asyncio.create_task(lf.companies.get("1"))
            await asyncio.sleep(0.01)
            gate.opens.set()
            await closing
            with pytest.raises(ClientClosedError):
                await call
    assert (server.requests, spent.credits, spent.requests) == ([], 0, 0)


async def test_limiter_timeout_is_not_the_deadline() -> None:
    """A TimeoutError of a custom limiter is raised unchanged if the call has no deadline."""

    class Remote:
        async def acquire(self) -> None:
            raise TimeoutError("the limiter's server does not respond")

        def pause(self, seconds: float) -> None:
            raise AssertionError

    async with client_of("http://127.0.0.1:9", limiter=Remote()) as lf:
        with pytest.raises(TimeoutError, match="limiter's server"):
            await lf.users.me()
        assert lf.stats.in_flight == 0


async def test_cancellation_before_sending_releases_credits() -> None:
    """A call that is cancel_call while it connects or waits for a retry is not charged."""

    async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(stalled) as server, client_of(f"https://127.0.0.1:{port_of(server)}") as lf:
        async with lf.budget(max_credits=1) as spent:
            await cancel_call(lf, 1)
    assert (spent.credits, spent.reserved, spent.requests) == (0, 0, 1)
    async with client_of("http://127.0.0.1:9", retries=30) as lf, lf.budget(max_credits=1) as spent:
        await cancel_call(lf, 4)
    assert (spent.credits, spent.reserved) == (0, 0)


async def test_cancellation_during_429_pause_releases_credits() -> None:
    """A call that is cancel_call during the pause after a 429 is not charged."""
    async with raw_server(http(b"{}", "429 Slow", "Retry-After: 50\r\n")) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=1) as spent:
            call = asyncio.create_task(lf.companies.get("1"))
            while not lf.stats.rate_limited:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
    assert (len(server.requests), spent.credits, spent.reserved) == (1, 0, 0)


async def cancel_call(lf: AsyncLeadfeeder, requests: int) -> None:
    """Cancel a billed call after it has started this number of attempts."""
    call = asyncio.create_task(lf.companies.get("1"))
    while lf.stats.requests < requests:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.03)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_sent_covers_all_attempts() -> None:
    """The sent state is "maybe" if the first attempt may have arrived and the next one was not sent."""
    async with raw_server(cut(b"")) as server, client_of(server.url, retries=30) as lf:
        call = asyncio.create_task(lf.tags.delete("1"))
        while lf.stats.retries < 3:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        await lf.aclose()
        with pytest.raises(LeadfeederError) as caught:
            await call
    assert (caught.value.sent, caught.value.attempts > 2) == ("maybe", True)


@pytest.mark.usefixtures("short_backoff")
async def test_refused_connection_after_lost_attempt() -> None:
    """The sent state is "maybe" if an earlier attempt may have arrived and the last one was refused."""

    async def close_server(writer: asyncio.StreamWriter) -> None:
        server.server.close()
        writer.close()

    async with raw_server(close_server) as server, client_of(server.url) as lf:
        with pytest.raises(ConnectError) as caught:
            await lf.tags.delete("1")
    assert (caught.value.sent, caught.value.attempts) == ("maybe", 3)


async def test_account_lookup_counts_toward_deadline() -> None:
    """A call that waits for another call's account lookup ends at its own deadline and when the client closes."""
    async with raw_server(silence) as server:
        lf = AsyncLeadfeeder(KEY, base_url=server.url)
        first = asyncio.create_task(lf.tags.list().collect())
        while not server.requests:
            await asyncio.sleep(0.001)
        start = time.monotonic()
        with pytest.raises(DeadlineExceededError) as caught:
            await asyncio.wait_for(lf.with_options(deadline=0.05).tags.list().collect(), 2)
        assert (caught.value.sent, caught.value.phase) == ("no", "account")
        assert time.monotonic() - start < 1
        second = asyncio.create_task(lf.tags.list().collect())
        await asyncio.sleep(0.01)
        await lf.aclose()
        errors = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 2)
    assert isinstance(errors[1], ClientClosedError)


async def test_deadline_during_blocked_loop() -> None:
    """A call whose deadline passed while the event loop was blocked is not sent."""
    gate = Gate()
    async with raw_server(OK) as server, client_of(server.url, limiter=gate) as lf:
        gate.opens.set()
        await lf.users.me()
        gate.opens.clear()
        call = asyncio.create_task(lf.with_options(deadline=0.05).companies.get("1"))
        await asyncio.sleep(0.01)
        gate.opens.set()
        time.sleep(0.06)  # noqa: ASYNC251 - blocks the loop like the caller's code
        with pytest.raises(DeadlineExceededError) as caught:
            await call
    assert (caught.value.sent, len(server.requests)) == ("no", 1)


async def test_timeout_shortened_by_deadline() -> None:
    """The error says that the deadline shortened the timeout."""
    async with raw_server(silence) as server, client_of(server.url) as lf:
        with_deadline = lf.with_options(deadline=0.0912345)
        with pytest.raises(OutcomeUnknownError, match=r"within 0\.0\d{1,2} s \(the timeout was shortened"):
            await with_deadline.companies.get("1")
        with pytest.raises(DeadlineExceededError, match="No complete response within"):
            await with_deadline.users.me()
        with pytest.raises(OutcomeUnknownError) as caught:
            await lf.with_options(timeout=0.05).companies.get("1")
    assert "deadline" not in str(caught.value)


async def test_custom_request_counts_as_one_credit() -> None:
    """A custom request counts as one credit unless the caller declares it free."""
    async with raw_server(OK) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=0):
            with pytest.raises(BudgetExceededError, match="may charge 1 credit, and 0 of 0"):
                await lf.request("POST", "/v1/new")
            await lf.request("POST", "/v1/new", idempotent=True, may_charge=False)
        async with lf.budget(max_credits=1) as spent:
            await lf.request("GET", "/v1/new")
    assert (len(server.requests), spent.credits) == (2, 1)


async def test_monthly_quota_stops_waiting_calls() -> None:
    """Calls that wait for a slot are not sent if another call learns that the monthly quota is used up."""
    quota = http(b'{"errors":[{"code":"quota_exceeded"}]}', "429 Too Many")
    async with raw_server(quota) as server, client_of(server.url, max_concurrency=2) as lf:
        errors = await asyncio.gather(*(lf.users.me() for _ in range(50)), return_exceptions=True)
    assert {type(error) for error in errors} == {QuotaExceededError}
    assert len(server.requests) <= 2


async def test_failed_account_lookup_is_shared() -> None:
    """Calls that waited for a failed lookup of the account raise its error, and later calls repeat it."""
    async with raw_server(silence) as server:
        async with AsyncLeadfeeder(KEY, base_url=server.url, timeout=0.3, retries=0, rate=1e6, burst=1_000) as lf:
            calls = [lf.tags.list().collect() for _ in range(20)]
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(error) for error in errors} == {AttemptTimeoutError}
            assert len({id(error) for error in errors}) == 20
            assert lf.stats.requests == 1
            with pytest.raises(AttemptTimeoutError):
                await lf.tags.list().collect()
            assert lf.stats.requests == 2


async def test_failed_account_lookup_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call right after a failed lookup repeats it, also if the clock of the loop has not moved, as in uvloop."""
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    async with raw_server(http(b"{}", status="500 Error")) as server:
        async with AsyncLeadfeeder(KEY, base_url=server.url, retries=0, rate=1e6, burst=1_000) as lf:
            for requests in (1, 2, 3):
                with pytest.raises(ServerError):
                    await lf.tags.list().collect()
                assert lf.stats.requests == requests


async def test_canceled_call_reads_its_charge_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is canceled while a thread searches a large body for its charge does not repeat the search."""
    body = b'{"meta":{"credits":{"charged":3}},"data":"' + b"x" * 2 * MAX_INLINE_NORMALIZED + b'"}'
    decode, loop, searching, threads = codec.decode_meta, asyncio.get_running_loop(), asyncio.Event(), list[str]()

    def decode_slowly(content: bytes) -> Meta:
        threads.append(threading.current_thread().name)
        loop.call_soon_threadsafe(searching.set)
        time.sleep(0.1)
        return decode(content)

    monkeypatch.setattr(codec, "decode_meta", decode_slowly)
    async with raw_server(http(body)) as server, client_of(server.url) as lf:
        call = asyncio.create_task(lf.users.me())
        await searching.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert lf.stats.credits_charged == 3
    assert len(threads) == 1
    assert threads[0] != threading.current_thread().name


async def test_failed_account_lookup_with_other_options() -> None:
    """The deadline or timeout of one call does not end others that wait for the account with more time."""
    accounts = http(b'{"data":[{"id":"1"}]}')
    async with raw_server(silence, accounts, http(b'{"data":[]}')) as server:
        async with AsyncLeadfeeder(KEY, base_url=server.url, retries=0) as lf:
            hasty = lf.with_options(timeout=0.2)
            first = asyncio.create_task(hasty.tags.list().collect())
            await asyncio.sleep(0)
            second = asyncio.create_task(lf.tags.list().collect())
            with pytest.raises(AttemptTimeoutError):
                await first
            assert await second == []
