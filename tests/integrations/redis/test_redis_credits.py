"""One bound on credits for many processes, judged by the sandbox's ledger. Each client here stands for a process."""

from __future__ import annotations

import asyncio
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
    Outcome,
    OutcomeUnknownError,
    RateLimiterUnavailableError,
)
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.integrations._redis_script import key_of
from leadfeeder_async.integrations.redis import RedisCredits
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_of
from tests.support.paths import DOCS
from tests.support.redis import RedisServer, unused_port
from tests.support.servers import http, raw_server

KEY = "canary-key-1234567890"


@pytest.fixture(autouse=True)
def fresh(redis_server: RedisServer) -> None:
    redis_server.execute("FLUSHALL")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(companies=400, visits=5, rate_limit=False) as running:
        yield running


def company(number: int) -> str:
    return str(159_000_000 + number)


def credits_of(server: RedisServer, most: int, **options: float) -> RedisCredits:
    return RedisCredits(server.url, "job", most, KEY, **options)


def held(server: RedisServer) -> int:
    """Count what the server holds, by reading its entry."""
    entry = server.execute("HGETALL", key_of(KEY, "credits:job"))
    assert isinstance(entry, dict)
    return sum(int(str(value).split()[-1]) for value in entry.values())


@asynccontextmanager
async def process(sandbox: Sandbox, shared: RedisCredits) -> AsyncIterator[AsyncLeadfeeder]:
    """What one process has: a client whose calls fall under the shared credits."""
    lf = AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id=sandbox.account_id, rate=5_000, burst=500)
    async with shared, lf:
        yield lf.with_options(budget=Budget(shared=shared))


async def test_processes_never_spend_more_together(redis_server: RedisServer, sandbox: Sandbox) -> None:
    """Three processes of 60 tasks each spend exactly the 40 credits there are, by the server's own ledger."""
    async with AsyncExitStack() as stack:
        three = [await stack.enter_async_context(process(sandbox, credits_of(redis_server, 40))) for _ in range(3)]
        calls = (three[n % 3].companies.get(company(n)) for n in range(180))
        results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in results if isinstance(one, BaseException)]
    assert sandbox.ledger.credits_charged == 180 - len(refused) == 40
    assert {type(error) for error in refused} == {BudgetExceededError}
    assert all(isinstance(error, BudgetExceededError) and error.sent == "no" for error in refused)
    assert held(redis_server) == 40


async def test_what_was_free_is_given_back(redis_server: RedisServer, sandbox: Sandbox) -> None:
    """A record that is unlocked already takes nothing of what the others may spend."""
    async with (
        process(sandbox, credits_of(redis_server, 2)) as one,
        process(sandbox, credits_of(redis_server, 2)) as two,
    ):
        for _ in range(4):
            await one.companies.get(company(1))
        await two.companies.get(company(1))
        await two.companies.get(company(2))
        with pytest.raises(BudgetExceededError, match=r"1 of 2 credits of 'job'.* spent or reserved 2\."):
            await one.companies.get(company(3))
    assert sandbox.ledger.credits_charged == 2


async def test_a_lost_answer_stays_reserved(redis_server: RedisServer, sandbox: Sandbox) -> None:
    """Where a call may have been charged, no process may spend that credit again."""
    sandbox.fail_next(502, after_work=True)
    async with process(sandbox, credits_of(redis_server, 1)) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.companies.get(company(1))
        with pytest.raises(BudgetExceededError):
            await lf.companies.get(company(2))
    assert (sandbox.ledger.credits_charged, held(redis_server)) == (1, 1)


async def test_what_a_killed_process_reserved_stays(redis_server: RedisServer) -> None:
    """A process that is gone may have sent its call: the others go on within what is left."""
    words = "import asyncio, os, sys\nfrom leadfeeder_async.errors import ErrorContext\n"
    words += "from leadfeeder_async.integrations.redis import RedisCredits\n"
    words += "credits = RedisCredits(sys.argv[1], 'job', 15, sys.argv[2])\n"
    words += "async def main():\n    await credits.reserve(10, ErrorContext())\n    os.kill(os.getpid(), 9)\nasyncio.run(main())"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", words, redis_server.url, KEY], check=False)
    assert done.returncode == -9
    async with credits_of(redis_server, 15) as shared:
        with pytest.raises(BudgetExceededError):
            await shared.reserve(6, ErrorContext())
        assert shared.credits_left == 5
        await shared.reserve(5, ErrorContext())


async def test_a_server_that_forgot_is_told_again(redis_server: RedisServer) -> None:
    """After a flush each process states all it has spent, so the bound holds for those that live."""
    async with credits_of(redis_server, 10) as one, credits_of(redis_server, 10) as two:
        await one.reserve(6, ErrorContext())
        redis_server.execute("FLUSHALL")
        await one.reserve(1, ErrorContext())
        with pytest.raises(BudgetExceededError):
            await two.reserve(4, ErrorContext())
        await two.reserve(3, ErrorContext())
    assert held(redis_server) == 10


async def test_a_server_that_forgot_hears_all_at_the_end(redis_server: RedisServer) -> None:
    """What a process spent before the server was emptied is told when it closes, though nothing was said since."""
    async with credits_of(redis_server, 10) as shared:
        await shared.reserve(6, ErrorContext())
        shared.settle(6, 6)
        await asyncio.gather(*shared._tasks)
        redis_server.execute("FLUSHALL")
    assert held(redis_server) == 6


async def test_it_goes_on_after_the_processes(redis_server: RedisServer) -> None:
    """What ended processes spent stays counted, each once, and one object may be used again after its end."""
    for spent in (2, 3, 5):
        async with credits_of(redis_server, 10) as shared:
            await shared.reserve(spent, ErrorContext())
            shared.settle(spent, spent)
        await shared.aclose()
        await shared.aclose()
    assert held(redis_server) == 10
    async with shared:
        with pytest.raises(BudgetExceededError):
            await shared.reserve(1, ErrorContext())
    assert len(str(redis_server.execute("HKEYS", key_of(KEY, "credits:job")))) < 20


@pytest.mark.parametrize(("charged", "more"), [(0, 0), (2, 0), (3, 0), (5, 2)])
async def test_closed_with_a_call_under_way(redis_server: RedisServer, charged: int, more: int) -> None:
    """What it reserved stays counted, nothing is said after the end, and others go on; used again, it knows better."""
    async with credits_of(redis_server, 10) as shared:
        await shared.reserve(4, ErrorContext())
        shared.settle(4, 4)
        await shared.reserve(3, ErrorContext())
    said = shared._script.calls
    shared.settle(3, charged)
    await asyncio.gather(*shared._tasks)
    assert (held(redis_server), shared._script.calls) == (7, said)
    async with credits_of(redis_server, 10) as other:
        await other.reserve(1, ErrorContext())
        other.settle(1, 1)
    async with shared:
        await shared.reserve(0, ErrorContext())
        assert held(redis_server) == 8 + more
        with pytest.raises(BudgetExceededError):
            await shared.reserve(6 - charged, ErrorContext())
        await shared.reserve(5 - charged, ErrorContext())
        assert held(redis_server) == 10
        shared.settle(5 - charged, 0)
        await asyncio.gather(*shared._tasks)
        assert held(redis_server) == 8 + more


async def test_a_reservation_made_while_it_closes_is_kept(redis_server: RedisServer) -> None:
    """A call that begins while the last word is under way waits for it, and is counted once."""
    async with Redis(port=redis_server.port) as client:
        shared = RedisCredits(client, "job", 10, KEY)
        await shared.reserve(4, ErrorContext())
        await asyncio.gather(shared.aclose(), shared.reserve(3, ErrorContext()))
        assert held(redis_server) == 7


async def test_a_call_that_ends_while_it_closes_is_not_forgotten(redis_server: RedisServer) -> None:
    """What it gave back while the last word was under way is there when the object is used again."""
    async with credits_of(redis_server, 10) as shared:
        await shared.reserve(4, ErrorContext())
        closing, said = asyncio.create_task(shared.aclose()), shared._script.calls
        while shared._script.calls < said + 2:  # the total once more, and then the last word
            await asyncio.sleep(0)
        shared.settle(4, 0)
        await closing
        assert held(redis_server) == 4
        await shared.reserve(10, ErrorContext())
        assert held(redis_server) == 10


async def test_a_refund_does_not_break_the_name(redis_server: RedisServer) -> None:
    """An answer that charges less than nothing counts as free, and every process goes on."""
    refund = http(b'{"data":{"id":"1"},"meta":{"credits":{"charged":-1}}}')
    async with raw_server(refund) as server, client_of(server.url) as lf:
        async with credits_of(redis_server, 1) as shared, lf.budget(shared=shared):
            await lf.companies.get("1")
            await lf.companies.get("2")
    async with credits_of(redis_server, 1) as other:
        await other.reserve(1, ErrorContext())
    assert held(redis_server) == 1


@pytest.mark.parametrize("left", ["1 -1", "-1", "", "?"])
async def test_what_an_older_version_left_is_survived(redis_server: RedisServer, left: str) -> None:
    """A total below zero, or one that cannot be read, counts as none: the name is not lost for everyone."""
    for process in ("ended", "f00d"):
        redis_server.execute("HSET", key_of(KEY, "credits:job"), process, left)
    async with credits_of(redis_server, 3, outage_timeout=0.1) as shared:
        await shared.reserve(2, ErrorContext())
        assert shared.spent == 2
        with pytest.raises(BudgetExceededError):
            await shared.reserve(2, ErrorContext())


async def test_a_last_word_that_is_repeated_counts_once(redis_server: RedisServer) -> None:
    """Where the answer to it was lost, the server hears the same last word again."""
    async with credits_of(redis_server, 10) as shared:
        await shared.reserve(4, ErrorContext())
        for _ in range(2):
            await shared._script.run(key_of(KEY, "credits:job"), shared._process, 2, 4, "end", 10)
        assert held(redis_server) == 4


async def test_a_cancelled_caller_reserves_nothing(redis_server: RedisServer) -> None:
    """Cancelled after any turn of the loop, a reservation is made or is not there: nothing is left over."""
    async with credits_of(redis_server, 10) as shared:
        for turns in range(25):
            task = asyncio.create_task(shared.reserve(3, ErrorContext()))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not task.cancelled():
                shared.settle(3, 0)
        while shared._tasks:
            await asyncio.wait(shared._tasks)
        assert held(redis_server) == 0


async def test_nothing_that_charges_is_sent_while_the_server_is_away(sandbox: Sandbox) -> None:
    """Calls that may charge fail by name; free ones do not even ask."""
    url = f"redis://127.0.0.1:{unused_port()}/0"
    async with process(sandbox, RedisCredits(url, "job", 10, KEY, timeout=0.1, outage_timeout=0.15)) as lf:
        for _ in range(3):
            with pytest.raises(RateLimiterUnavailableError) as caught:
                await lf.companies.get(company(1))
            assert (caught.value.sent, caught.value.phase) == ("no", "budget")
        await lf.users.me()
    assert [one.operation for one in sandbox.ledger.requests] == ["get_current_user"]


async def test_it_recovers_by_itself(redis_server: RedisServer) -> None:
    """A server that comes back empty is told what this process holds, and asked again."""
    async with credits_of(redis_server, 10, timeout=0.2, outage_timeout=0.1) as shared:
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
        assert held(redis_server) == 6


async def test_a_deadline_ends_the_wait(sandbox: Sandbox) -> None:
    """A call with a deadline does not wait for a server's patience, and gives its own budget back."""
    url = f"redis://127.0.0.1:{unused_port()}/0"
    async with process(sandbox, RedisCredits(url, "job", 10, KEY)) as lf, lf.budget(max_credits=5) as spent:
        with pytest.raises(Exception, match="deadline") as caught:
            await lf.with_options(deadline=0.1).companies.get(company(1))
        assert type(caught.value).__name__ == "DeadlineExceededError"
        assert (spent.reserved, spent.credits, spent.requests) == (0, 0, 0)


async def test_two_enrichments_share_what_there_is(redis_server: RedisServer, sandbox: Sandbox) -> None:
    """Two jobs at once fetch exactly 130 companies between them; the other rows are skipped by name."""
    async with AsyncExitStack() as stack:
        two = [await stack.enter_async_context(process(sandbox, credits_of(redis_server, 130))) for _ in range(2)]

        async def job(place: int) -> list[Outcome]:
            rows = (f"company-{n}.test" for n in range(place * 150, place * 150 + 150))
            return [line.outcome async for line in two[place].enrich.companies(rows, by="domain")]

        outcomes = [outcome for each in await asyncio.gather(job(0), job(1)) for outcome in each]
    assert outcomes.count(Outcome.MATCHED) == sandbox.ledger.credits_charged == 130
    assert outcomes.count(Outcome.SKIPPED_BY_BUDGET) == 170


async def test_the_recipe(
    redis_server: RedisServer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the docs show runs as pasted, and says what was spent."""
    page = DOCS / "redis.md"
    (text,) = (one for one in re.findall(r"```py\n(.*?)```", page.read_text(), re.DOTALL) if "RedisCredits(" in one)
    for name, value in {**sandbox.environment, "REDIS_URL": redis_server.url}.items():
        monkeypatch.setenv(name, value)
    pasted: dict[str, Any] = {}
    exec(text, pasted)
    await pasted["enrich_some"]([company(1), company(2)])
    assert "2 of 5,000 credits" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"name": ""}, {"max_credits": -1}, {"timeout": 0}, {"outage_timeout": -1}])
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    """Each setting that makes no sense is named."""
    settings: dict[str, object] = {"redis": "redis://127.0.0.1", "name": "job", "max_credits": 1, "api_key": KEY}
    make: Callable[..., RedisCredits] = RedisCredits
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        make(**{**settings, **wrong})


async def test_the_key_is_not_on_the_server(redis_server: RedisServer) -> None:
    """Only a hash of the key names what is stored."""
    async with credits_of(redis_server, 10) as shared:
        await shared.reserve(1, ErrorContext())
        assert KEY not in repr(shared)
    assert KEY not in str(redis_server.execute("KEYS", "*"))


STEPS = st.lists(
    st.tuples(st.sampled_from(["reserve", "settle", "end", "flush", "late"]), st.integers(0, 2), st.integers(0, 7)),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(steps=STEPS)
def test_the_bound_holds_in_any_order(redis_server: RedisServer, steps: list[tuple[str, int, int]]) -> None:
    """Three processes that reserve, settle, end, meet a server that forgot, and repeat an old statement.

    While the server remembers, what all hold is what it holds, and never more than there is. It may hold more than they do
    once a process ended with calls under way. After it forgot, each process that lives and speaks is counted again.
    """
    asyncio.run(_in_any_order(redis_server, steps))


async def _in_any_order(server: RedisServer, steps: list[tuple[str, int, int]]) -> None:
    server.execute("FLUSHALL")
    most = 12
    async with AsyncExitStack() as stack:
        three = [await stack.enter_async_context(credits_of(server, most)) for _ in range(3)]
        reserved: list[list[int]] = [[], [], []]
        spent, forgot, early = [0, 0, 0], False, False
        for what, place, amount in steps:
            one, own = three[place], reserved[place]
            before = sum(spent) + sum(map(sum, reserved))
            if what == "reserve":
                try:
                    await one.reserve(amount, ErrorContext())
                    own.append(amount)
                    assert forgot or before + amount <= most
                except BudgetExceededError:
                    assert early or before + amount > most
            elif what == "settle" and own:
                spent[place] += (charged := min(amount, own[-1]))
                one.settle(own.pop(), charged)
            elif what == "end":
                early = early or bool(own)
                await one.aclose()
            elif what == "flush":
                server.execute("FLUSHALL")
                forgot = True
            elif what == "late":
                entry, script = key_of(KEY, "credits:job"), one._script
                await script.run(entry, one._process, min(one._sequence, 1), 0, "state", most)
            while one._tasks:
                await asyncio.wait(one._tasks)
            if not forgot:
                there, known = sum(spent) + sum(map(sum, reserved)), held(server)
                assert there <= known <= most if early else there == known <= most
