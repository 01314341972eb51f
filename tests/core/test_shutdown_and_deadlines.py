"""Things that end at the same moment: closing, canceling, deadlines and limiters that break."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from leadfeeder_async import (
    AsyncLeadfeeder,
    BudgetExceededError,
    ClientClosedError,
    ConnectError,
    DeadlineExceededError,
    LeadfeederError,
    OutcomeUnknownError,
    QuotaExceededError,
)
from tests.support.clients import KEY, client_of
from tests.support.servers import cut, http, listening, port_of, raw_server, silence

OK = http(b'{"data":{"id":"1"}}')


class Gate:
    """A limiter that everyone waits for until it opens."""

    def __init__(self) -> None:
        self.opens = asyncio.Event()

    async def acquire(self) -> None:
        await self.opens.wait()

    def pause(self, seconds: float) -> None:
        raise AssertionError


async def test_call_whose_turn_comes_as_the_client_closes_is_not_sent() -> None:
    """On a borrowed session, a request sent after the end would be unwatched: its loss would pass for proof."""
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


async def test_time_out_of_a_limiter_is_not_the_deadline() -> None:
    """What a limiter of the user's own raises comes out as it is: no deadline was set, so none has passed."""

    class Remote:
        async def acquire(self) -> None:
            raise TimeoutError("the limiter's own server is silent")

        def pause(self, seconds: float) -> None:
            raise AssertionError

    async with client_of("http://127.0.0.1:9", limiter=Remote()) as lf:
        with pytest.raises(TimeoutError, match="limiter's own server"):
            await lf.users.me()
        assert lf.stats.in_flight == 0


async def test_call_cancelled_before_it_left_gives_its_credits_back() -> None:
    """Canceled while its connection is made, or while it waits to be tried again, a call cannot have charged."""

    async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(stalled) as server, client_of(f"https://127.0.0.1:{port_of(server)}") as lf:
        async with lf.budget(max_credits=1) as spent:
            await canceled(lf, 1)
    assert (spent.credits, spent.reserved, spent.requests) == (0, 0, 1)
    async with client_of("http://127.0.0.1:9", retries=30) as lf, lf.budget(max_credits=1) as spent:
        await canceled(lf, 4)
    assert (spent.credits, spent.reserved) == (0, 0)


async def test_call_cancelled_while_a_pause_holds_it_gives_its_credits_back() -> None:
    """A 429 is refused before any work: a call canceled in the pause that follows cannot have charged."""
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


async def canceled(lf: AsyncLeadfeeder, requests: int) -> None:
    """Cancel a charging call once it has come to attempt number ``requests``."""
    call = asyncio.create_task(lf.companies.get("1"))
    while lf.stats.requests < requests:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.03)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_sent_speaks_of_all_attempts() -> None:
    """A write whose first attempt may have arrived is not called unsent because its second one never left."""
    async with raw_server(cut(b"")) as server, client_of(server.url, retries=30) as lf:
        call = asyncio.create_task(lf.tags.delete("1"))
        while lf.stats.retries < 3:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        await lf.aclose()
        with pytest.raises(LeadfeederError) as caught:
            await call
    assert (caught.value.sent, caught.value.attempts > 2) == ("maybe", True)


async def test_refused_after_a_lost_attempt_is_not_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last attempt found nobody listening, but the one before may have arrived."""
    monkeypatch.setattr("leadfeeder_async._core.retry.INITIAL_BACKOFF", 0.001)

    async def last_words(writer: asyncio.StreamWriter) -> None:
        server.server.close()
        writer.close()

    async with raw_server(last_words) as server, client_of(server.url) as lf:
        with pytest.raises(ConnectError) as caught:
            await lf.tags.delete("1")
    assert (caught.value.sent, caught.value.attempts) == ("maybe", 3)


async def test_look_up_of_the_account_counts_toward_the_deadline() -> None:
    """A call that waits for another's look-up of the key's account ends at its own deadline, and with its client."""
    async with raw_server(silence) as server:
        lf = AsyncLeadfeeder(KEY, base_url=server.url)
        first = asyncio.create_task(lf.tags.list().collect())
        while not server.requests:
            await asyncio.sleep(0.001)
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError) as caught:
            await asyncio.wait_for(lf.with_options(deadline=0.05).tags.list().collect(), 2)
        assert (caught.value.sent, caught.value.phase) == ("no", "account")
        assert time.monotonic() - began < 1
        second = asyncio.create_task(lf.tags.list().collect())
        await asyncio.sleep(0.01)
        await lf.aclose()
        errors = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 2)
    assert isinstance(errors[1], ClientClosedError)


async def test_deadline_that_passed_meanwhile_sends_nothing() -> None:
    """Where the loop was blocked past a call's deadline, the call ends unsent instead of with no time to be answered."""
    gate = Gate()
    async with raw_server(OK) as server, client_of(server.url, limiter=gate) as lf:
        gate.opens.set()
        await lf.users.me()
        gate.opens.clear()
        call = asyncio.create_task(lf.with_options(deadline=0.05).companies.get("1"))
        await asyncio.sleep(0.01)
        gate.opens.set()
        time.sleep(0.06)  # noqa: ASYNC251 - this is what the user's code does
        with pytest.raises(DeadlineExceededError) as caught:
            await call
    assert (caught.value.sent, len(server.requests)) == ("no", 1)


async def test_a_time_out_that_the_deadline_made_short_says_so() -> None:
    """Who set no time-out of a fraction of a second is told where it comes from, whatever the call's class."""
    async with raw_server(silence) as server, client_of(server.url) as lf:
        hurried = lf.with_options(deadline=0.0512345)
        with pytest.raises(OutcomeUnknownError, match=r"within 0\.05\d? s \(the timeout was shortened"):
            await hurried.companies.get("1")
        with pytest.raises(DeadlineExceededError, match="No complete response within"):
            await hurried.users.me()
        with pytest.raises(OutcomeUnknownError) as caught:
            await lf.with_options(timeout=0.05).companies.get("1")
    assert "deadline" not in str(caught.value)


async def test_dry_run_sends_no_unknown_route_that_may_charge() -> None:
    """Where nobody says that a route is safe to repeat, it may charge, and counts as one credit."""
    async with raw_server(OK) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=0):
            with pytest.raises(BudgetExceededError, match="may charge 1 credits, but 0 of 0"):
                await lf.request("POST", "/v1/new")
            await lf.request("POST", "/v1/new", idempotent=True, may_charge=False)
        async with lf.budget(max_credits=1) as spent:
            await lf.request("GET", "/v1/new")
    assert (len(server.requests), spent.credits) == (2, 1)


async def test_end_of_the_month_s_requests_stops_those_who_wait() -> None:
    """Calls that queue for a slot while another learns that the month is used up are not sent any more."""
    quota = http(b'{"errors":[{"code":"quota_exceeded"}]}', "429 Too Many")
    async with raw_server(quota) as server, client_of(server.url, max_concurrency=2) as lf:
        errors = await asyncio.gather(*(lf.users.me() for _ in range(50)), return_exceptions=True)
    assert {type(error) for error in errors} == {QuotaExceededError}
    assert len(server.requests) <= 2
