"""Budgets and deadlines: what a call may spend, in money and in time."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from leadfeeder_async import (
    AsyncLeadfeeder,
    AttemptTimeoutError,
    Budget,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    OutcomeUnknownError,
    ResponseTooLargeError,
    ServerError,
)
from leadfeeder_async.budget import ACTIVE_BUDGETS, BudgetReservation, Price
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.models.accounts import User
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import cut, http, raw_server, silence

OK = http(b'{"data":{"id":"1"}}')


def company(number: int) -> str:
    return str(159_000_000 + number)


async def test_credits_are_never_exceeded_by_many_tasks(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A hundred tasks at once spend no more than the budget, by the server's own ledger."""
    async with lf.budget(max_credits=10) as spent:
        calls = (lf.companies.get(company(number % 60)) for number in range(100))
        results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in results if isinstance(one, BudgetExceededError)]
    assert all(error.sent == "no" for error in refused)
    assert sandbox.ledger.credits_charged == spent.credits <= 10
    assert (len(results) - len(refused), spent.reserved) == (spent.requests, 0)


async def test_what_was_free_is_given_back(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A record that is unlocked already costs nothing of the budget."""
    await lf.companies.get(company(1))
    async with lf.budget(max_credits=1) as spent:
        for _ in range(5):
            await lf.companies.get(company(1))
        await lf.companies.get(company(2))
        with pytest.raises(BudgetExceededError, match="1 of 1 are spent"):
            await lf.companies.get(company(3))
    assert (spent.credits, sandbox.ledger.credits_charged) == (1, 2)


async def test_a_batch_reserves_all_its_records(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A request for many records is refused whole where the budget might not cover them all."""
    ids = [company(number) for number in range(30)]
    async with lf.budget(max_credits=29):
        for call in (lf.companies.get_many(ids).collect(), lf.companies.ips(ids)):
            with pytest.raises(BudgetExceededError, match="30 credits, but 0 of 29"):
                await call
        assert len(await lf.companies.get_many(ids[:29]).collect()) == 29
    assert sandbox.ledger.count("retrieve_companies") == 1


async def test_a_page_of_signals_reserves_what_it_can_cost(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A page charges for no more companies than were asked about, nor than it has rows."""
    ids = [company(number) for number in range(20)]
    async with lf.budget(max_credits=20):
        assert await lf.companies.search_signals(company_ids=ids).collect()
    async with lf.budget(max_credits=4):
        with pytest.raises(BudgetExceededError, match="5 credits, but 0 of 4"):
            await lf.companies.search_signals(company_ids=ids, page_size=5).first()


async def test_dry_run_sends_nothing_that_charges(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """With no credits, free calls go on and charging ones never leave."""
    async with lf.budget(max_credits=0):
        assert await lf.companies.search(search_terms=["e"]).first()
        for call in (lf.companies.get(company(1)), lf.ip.enrich("198.18.0.1"), lf.contacts.get("52000001")):
            with pytest.raises(BudgetExceededError):
                await call
    assert [entry.operation for entry in sandbox.ledger.requests] == ["search_companies"]


async def test_requests_are_counted_with_their_repeats() -> None:
    """Every attempt counts, a resent one too; at the end nothing more is sent."""
    async with raw_server(http(b"", "503 Busy"), OK) as server, client_of(server.url) as lf:
        async with lf.budget(max_requests=2) as spent:
            await lf.users.me()
            with pytest.raises(BudgetExceededError, match="2 requests"):
                await lf.users.me()
        await lf.users.me()
    assert (spent.requests, len(server.requests)) == (2, 3)


SIGNALS: dict[str, Any] = {"json": {"company_ids": [str(159_000_000 + number) for number in range(10)]}}


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize(
    ("method", "path", "request_arguments", "most"),
    [
        ("GET", "/v1/companies", {"params": {"ids": "159000000,159000001,159000002"}}, 3),
        ("GET", "/v1/companies", {"params": {"ids": ("159000000", "159000001")}}, 2),
        ("POST", "/v1/companies/signals", SIGNALS, 10),
        ("POST", "/v1/companies/signals", {**SIGNALS, "params": {"page[size]": 20}}, 20),
    ],
)
async def test_unknown_route_reserves_its_items(
    sandbox: Sandbox,
    lf: AsyncLeadfeeder,
    method: str,
    path: str,
    request_arguments: dict[str, Any],
    most: int,
    idempotent: bool,
) -> None:
    """A call of any route is refused if its ids or its page could exceed the budget, and its charge is counted."""
    async with lf.budget(max_credits=most - 1):
        with pytest.raises(BudgetExceededError):
            await lf.request(method, path, idempotent=idempotent, **request_arguments)
    assert sandbox.ledger.credits_charged == 0
    async with lf.budget(max_credits=most) as spent:
        await lf.request(method, path, idempotent=idempotent, **request_arguments)
    assert 0 < spent.credits == sandbox.ledger.credits_charged <= most


async def test_free_route_reserves_nothing_and_counts_its_charge() -> None:
    """A route that is claimed to be free is sent under any budget, and a charge is counted nevertheless."""
    charged = http(b'{"data":{"id":"1"},"meta":{"credits":{"charged":2}}}')
    async with raw_server(charged) as server, client_of(server.url) as lf, lf.budget(max_credits=0) as spent:
        with pytest.raises(BudgetExceededError):
            await lf.request("GET", "/v1/new", idempotent=True)
        await lf.request("GET", "/v1/new", may_charge=False)
        assert (spent.credits, lf.stats.credits_charged) == (2, 2)


async def test_budgets_nest_and_end(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """The tightest budget decides, every one counts, and after its block a budget binds no more."""
    async with lf.budget(max_requests=5) as outer:
        async with lf.budget(max_requests=1) as inner:
            await asyncio.create_task(lf.users.me())
            with pytest.raises(BudgetExceededError):
                await asyncio.create_task(lf.users.me())
        await lf.users.me()
    await lf.users.me()
    assert (inner.requests, outer.requests, lf.stats.requests) == (1, 2, 3)


async def _users(lf: AsyncLeadfeeder, most: int) -> AsyncIterator[User]:
    """A generator with a budget inside, which its consumer's calls fall under too while it is open."""
    async with lf.budget(max_requests=most):
        while True:
            yield (await lf.users.me()).data


async def test_budget_of_an_abandoned_generator_ends_with_it(lf: AsyncLeadfeeder) -> None:
    """Left in the middle, it is closed by the loop, in another context: quietly, and it binds neither caller nor task."""
    complaints = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    for _ in range(3):
        async for _ in _users(lf, 1):
            break
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        await lf.users.me()
        await asyncio.create_task(lf.users.me())
        assert len(ACTIVE_BUDGETS.get()) <= 1
    assert complaints == []


async def test_budgets_of_generators_end_in_any_order(lf: AsyncLeadfeeder) -> None:
    """Two that are read in turns, the first closed first: the second still binds, and then nothing does."""
    first, second = _users(lf, 3), _users(lf, 2)
    await anext(first)
    await anext(second)
    await first.aclose()
    await lf.users.me()
    with pytest.raises(BudgetExceededError, match="budget of 2"):
        await lf.users.me()
    await second.aclose()
    await lf.users.me()
    assert ACTIVE_BUDGETS.get() == ()


async def test_one_block_may_be_entered_by_many_tasks(lf: AsyncLeadfeeder) -> None:
    """Tasks that use the same scope share its budget, each until it leaves, whoever leaves first."""
    scope, left = lf.budget(max_requests=2), asyncio.Event()

    async def stays() -> None:
        async with scope:
            await left.wait()
            await lf.users.me()
            with pytest.raises(BudgetExceededError):
                await lf.users.me()

    async def leaves() -> None:
        async with scope, scope:
            await lf.users.me()
        left.set()
        for _ in range(3):
            await lf.users.me()

    await asyncio.gather(stays(), leaves())


async def test_a_task_that_outlives_the_block_stays_under_its_budget(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """What a dry run started does not spend once the block is over."""
    over = asyncio.Event()

    async def late() -> None:
        await over.wait()
        await lf.companies.get(company(1))

    async with lf.budget(max_credits=0):
        task = asyncio.create_task(late())
        await asyncio.sleep(0)
    over.set()
    with pytest.raises(BudgetExceededError):
        await task
    assert sandbox.ledger.requests == []


async def test_blocks_leave_nothing_behind(lf: AsyncLeadfeeder) -> None:
    """However many blocks a task enters and leaves, nested or not, what calls look through stays as short."""
    for _ in range(100):
        async with lf.budget(max_requests=1), lf.budget(max_credits=1):
            assert len(ACTIVE_BUDGETS.get()) == 2
        assert ACTIVE_BUDGETS.get() == ()


async def test_budget_binds_one_client_only(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Another client in the same block is free, a copy of this one is not; ``with_options`` binds without a block."""
    async with client_for(sandbox) as other, lf.budget(max_requests=0):
        await other.users.me()
        with pytest.raises(BudgetExceededError):
            await lf.with_options(retries=0).users.me()
    capped = lf.with_options(budget=Budget(max_requests=1))
    await capped.users.me()
    with pytest.raises(BudgetExceededError):
        await capped.users.me()
    await lf.users.me()


async def test_a_copy_of_a_capped_client_stays_capped(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A second ``with_options(budget=)`` is one more bound, in place of none; one that binds twice counts once."""
    outer, inner = Budget(max_credits=0), Budget(max_credits=5)
    with pytest.raises(BudgetExceededError):
        await lf.with_options(budget=outer).with_options(budget=inner).companies.get(company(1))
    assert sandbox.ledger.requests == []
    async with lf.budget(max_credits=2) as spent:
        await lf.with_options(budget=spent).with_options(budget=spent).companies.get(company(1))
    assert (spent.credits, spent.requests, spent.reserved) == (1, 1, 0)


async def test_a_negative_charge_refills_nothing() -> None:
    """An answer that gives credits back counts as free: what was spent before stays spent."""
    charges = [http(b'{"data":{"id":"1"},"meta":{"credits":{"charged":%d}}}' % charged) for charged in (1, -5)]
    async with raw_server(*charges) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=2) as spent:
            await lf.companies.get("1")
            await lf.companies.get("2")
    assert (spent.credits, spent.reserved, spent.credits_left) == (1, 0, 1)


@pytest.mark.parametrize("answer", [cut(b""), http(b"", "500 Oops"), cut(OK[:30])])
async def test_lost_answer_keeps_its_credits(answer: object) -> None:
    """Where an answer was lost, the money counts as spent, for it may be."""
    async with raw_server(answer) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=1) as spent:
            with pytest.raises(OutcomeUnknownError):
                await lf.companies.get("1")
            assert (spent.credits, spent.reserved) == (1, 0)
            with pytest.raises(BudgetExceededError):
                await lf.companies.get("1")


async def test_refusal_and_failure_to_send_give_credits_back() -> None:
    """A definitive refusal and a request that never left cost nothing."""
    async with raw_server(http(b"", "404 No")) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=1) as spent:
            for _ in range(3):
                with pytest.raises(Exception, match="404"):
                    await lf.companies.get("1")
        assert (spent.credits, spent.reserved, spent.requests) == (0, 0, 3)


async def test_answer_that_cannot_be_used_keeps_its_credits() -> None:
    """An answer too large to read was charged all the same; a limiter that breaks before sending cost nothing."""

    class Broken:
        async def acquire(self) -> None:
            raise ZeroDivisionError

        def pause(self, seconds: float) -> None:
            raise AssertionError

    async with raw_server(http(b'{"data":"' + b" " * 5_000 + b'"}')) as server:
        async with client_of(server.url, max_body_bytes=1_000) as lf, lf.budget(max_credits=5) as spent:
            with pytest.raises(ResponseTooLargeError):
                await lf.companies.get("1")
            assert (spent.credits, spent.reserved) == (1, 0)
        async with client_of(server.url, limiter=Broken()) as lf, lf.budget(max_credits=5) as spent:
            with pytest.raises(ZeroDivisionError):
                await lf.companies.get("1")
            assert (spent.credits, spent.reserved, spent.requests) == (0, 0, 0)


@pytest.mark.parametrize(("sent", "held"), [(True, 1), (False, 0)])
async def test_cancelled_call_keeps_credits_only_if_it_may_have_left(sent: bool, held: int) -> None:
    """Canceled while its answer was due, a call may have charged; canceled in the queue, it cannot have."""
    async with raw_server(silence) as server, client_of(server.url, max_concurrency=1) as lf:
        async with lf.budget(max_credits=5) as spent:
            first = asyncio.create_task(lf.users.me() if not sent else lf.companies.get("1"))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(lf.companies.get("2"))
            await asyncio.sleep(0.02)
            (first if sent else second).cancel()
            await asyncio.sleep(0.02)
            assert spent.credits == held
            for task in (second, first):
                task.cancel()
            await asyncio.gather(first, second, return_exceptions=True)
        assert spent.reserved == 0


@pytest.mark.parametrize("name", ["max_requests", "max_credits"])
def test_negative_budget_is_refused(name: str) -> None:
    """A bound below zero is a mistake."""
    with pytest.raises(ConfigurationError, match=name):
        Budget(**{name: -1})


class BudgetMachine(RuleBasedStateMachine):
    """Any order of calls that begin, are counted, succeed, fail or are lost, under two nested budgets."""

    def __init__(self) -> None:
        super().__init__()
        self.budgets = [Budget(max_requests=20, max_credits=15), Budget(max_credits=9)]
        self.under_way: list[tuple[BudgetReservation, int]] = []
        self.charged = 0

    @rule(most=st.integers(0, 6))
    def begin(self, most: int) -> None:
        try:
            reservation = BudgetReservation(self.budgets, most, Price(), ErrorContext())
            assert reservation.reserve_at_once()
            self.under_way.append((reservation, most))
        except BudgetExceededError:
            assert any(
                budget.max_credits is not None and budget.credits + budget.reserved + most > budget.max_credits
                for budget in self.budgets
            )

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def attempt(self, data: st.DataObject) -> None:
        spending, _ = data.draw(st.sampled_from(self.under_way))
        before = [budget.requests for budget in self.budgets]
        try:
            spending.consume_request(ErrorContext())
        except BudgetExceededError:
            assert [budget.requests for budget in self.budgets] == before

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.under_way) - 1))
        spending, most = self.under_way.pop(place)
        charged = data.draw(st.one_of(st.none(), st.integers(0, most)))
        if charged is None:
            spending.possibly_charged = True
        else:
            spending.record_charge(charged)
        spending.__exit__()
        self.charged += most if charged is None else charged

    @invariant()
    def nothing_is_exceeded(self) -> None:
        for budget in self.budgets:
            assert budget.max_credits is None or budget.credits + budget.reserved <= budget.max_credits
            assert budget.max_requests is None or budget.requests <= budget.max_requests
            assert budget.credits == self.charged
            assert budget.reserved == sum(most for _, most in self.under_way)


BudgetMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBudgetMachine = BudgetMachine.TestCase


@pytest.mark.parametrize("deadline", [0.02, 0.1, 0.3])
async def test_deadline_ends_a_call_in_time(deadline: float) -> None:
    """A silent server, however long each attempt may take, holds a call no longer than its deadline."""
    async with raw_server(silence) as server, client_of(server.url) as lf:
        started = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceededError) as caught:
            await lf.with_options(deadline=deadline).users.me()
        took = asyncio.get_running_loop().time() - started
    assert deadline <= took < deadline + 0.1
    assert (caught.value.sent, caught.value.phase) == ("maybe", "headers")
    assert isinstance(caught.value.__cause__, AttemptTimeoutError)


async def test_deadline_counts_the_waits() -> None:
    """Waiting for a slot or a token counts, the error names the phase, and nothing was sent."""
    async with raw_server(silence) as server, client_of(server.url, max_concurrency=1) as lf:
        first = asyncio.create_task(lf.users.me())
        await asyncio.sleep(0.05)
        with pytest.raises(DeadlineExceededError) as caught:
            await lf.with_options(deadline=0.05).companies.get("1")
        assert (caught.value.phase, caught.value.sent) == ("slot", "no")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert lf.stats.in_flight == 0
    async with raw_server(OK) as server, client_of(server.url, rate=0.1, burst=1) as lf:
        await lf.users.me()
        with pytest.raises(DeadlineExceededError) as caught:
            await lf.with_options(deadline=0.05).companies.get("1")
        assert (caught.value.phase, caught.value.sent, len(server.requests)) == ("limiter", "no", 1)


async def test_deadline_does_not_sleep_past_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the next attempt could only begin after the deadline, the call ends at once with the last error."""
    monkeypatch.setattr(random, "random", lambda: 1.0)  # the whole half second
    async with raw_server(http(b"", "500 Oops")) as server, client_of(server.url, retries=9) as lf:
        with pytest.raises(DeadlineExceededError, match="ServerError") as caught:
            await lf.with_options(deadline=0.4).users.me()
    assert isinstance(caught.value.__cause__, ServerError)
    assert (caught.value.status, len(server.requests)) == (500, 1)


async def test_deadline_of_a_charging_call_leaves_the_outcome_open() -> None:
    """A charging call that the deadline cuts off may have charged, and says so."""
    async with raw_server(silence) as server, client_of(server.url) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.with_options(deadline=0.05).companies.get("1")
    assert len(server.requests) == 1


ASKED = ErrorContext(operation="get_company", method="GET", path="/v1/companies/{id}")


def test_refusal_of_a_budget_says_which_call_and_what_to_do() -> None:
    """The call, what it may charge, what is spent, and the setting to change."""
    budget = Budget(max_requests=1_000, max_credits=2_000)
    budget.requests, budget.credits, budget.reserved = 1_000, 1_200, 300
    with pytest.raises(BudgetExceededError) as credit:
        BudgetReservation([budget], 1_001, Price(), ASKED).reserve_at_once()
    with BudgetReservation([budget], 0, Price(), ASKED) as reservation, pytest.raises(BudgetExceededError) as request:
        reservation.check_request(ASKED)
    assert credit.value.message == "This call may charge 1,001 credits, but 1,500 of 2,000 are spent or reserved."
    assert credit.value.hint == "Raise max_credits, or request fewer records at once."
    assert request.value.message == "The budget of 1,000 requests is used up."
    assert request.value.hint == "Raise max_requests, or continue later."
    assert credit.value.context is request.value.context is ASKED


def test_bound_of_a_budget_can_be_reached_and_be_zero() -> None:
    """The last request and the last credit of a budget may be spent, and nothing is a bound too."""
    budget = Budget(max_requests=1, max_credits=3)
    with BudgetReservation([budget], 3, Price(), ASKED) as reservation:
        assert reservation.reserve_at_once()
        reservation.consume_request(ASKED)
        assert (budget.requests, budget.reserved) == (1, 3)
        reservation.possibly_charged = True
    assert (budget.credits, budget.reserved) == (3, 0)
    with pytest.raises(ConfigurationError, match=r"^max_credits=-1 must be 0 or more\.$"):
        Budget(0, -1)
    assert BudgetReservation([Budget(0, 0)], 0, Price(), ASKED).reserve_at_once()
