"""Budgets of calls whose price is not published: concurrent calls never spend more than the budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from leadfeeder_async import (
    AsyncLeadfeeder,
    Budget,
    BudgetExceededError,
    ClientClosedError,
    DeadlineExceededError,
    LeadfeederError,
    OutcomeUnknownError,
)
from leadfeeder_async.budget import PRICE_MARGIN, BudgetReservation, Price
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import handler_server

Call = Callable[[AsyncLeadfeeder, int], Awaitable[object]]


def _enrich(lf: AsyncLeadfeeder, number: int) -> Awaitable[object]:
    return lf.ip.enrich(f"8.8.{number // 250}.{number % 250}")


def _contact(lf: AsyncLeadfeeder, number: int) -> Awaitable[object]:
    return lf.contacts.get(str(number))


def _request(lf: AsyncLeadfeeder, number: int) -> Awaitable[object]:
    return lf.request("GET", "/v1/unknown", params={"ip": str(number)})


@dataclass
class Seller:
    """A server that charges a price for each request, and the ledger of what it has charged."""

    price: int
    faults: list[str] = field(default_factory=list)
    delay: float = 0.002
    ledger: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        fault = self.faults.pop(0) if self.faults else "ok"
        if fault == "reject":
            return web.json_response({"errors": [{"title": "bad"}]}, status=422)
        if fault == "limit":
            return web.json_response({"errors": [{"title": "slow"}]}, status=429, headers={"Retry-After": "0.01"})
        charged = 0 if fault == "free" else 1 if request.path.startswith("/v1/companies/") else self.price
        self.ledger += charged
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.in_flight -= 1
        if fault == "cut" and request.transport is not None:
            request.transport.close()
        if fault in {"error", "broken"}:
            return web.Response(status=500 if fault == "error" else 200, body=b"{")
        data = {"id": "1", "type": "enriched_ip", "attributes": {}, "relationships": {}}
        return web.json_response({"data": data, "meta": {"credits": {"charged": charged}}})


@asynccontextmanager
async def selling(price: int, faults: Sequence[str] = (), delay: float = 0.002) -> AsyncIterator[Seller]:
    seller = Seller(price, list(faults), delay)
    async with handler_server(seller.answer) as seller.url:
        yield seller


@pytest.mark.parametrize("call", [_enrich, _contact, _request])
@pytest.mark.parametrize(("limit", "price", "spent"), [(12, 3, 12), (13, 3, 12), (3, 3, 3), (40, 1, 40), (100, 7, 98)])
async def test_concurrent_calls_stay_within_the_budget(call: Call, limit: int, price: int, spent: int) -> None:
    """Calls that are started together spend the budget and not more, by the ledger of the server."""
    async with selling(price) as seller, client_of(seller.url) as lf, lf.budget(max_credits=limit) as budget:
        results = await asyncio.gather(*(call(lf, number) for number in range(60)), return_exceptions=True)
    assert seller.ledger == budget.credits == spent
    assert (budget.reserved, budget.credits_left) == (0, limit - spent)
    assert all(isinstance(one, BudgetExceededError) for one in results if isinstance(one, BaseException))


async def test_clients_that_share_a_budget_stay_within_it() -> None:
    """Several clients of one budget wait for each other, although each learns the price by itself."""
    budget = Budget(max_credits=12)
    async with selling(3) as seller, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(seller.url)) for _ in range(4)]
        copies = [lf.with_options(budget=budget) for lf in clients]
        await asyncio.gather(*(_enrich(copies[one % 4], one) for one in range(40)), return_exceptions=True)
    assert seller.ledger == budget.credits == 12


async def test_budget_tells_a_new_client_the_price() -> None:
    """A client that has seen no charge spends no more than is left, if another client of the budget knows the price."""
    budget = Budget(max_credits=10)
    async with selling(6) as seller, client_of(seller.url) as first, client_of(seller.url) as second:
        await first.with_options(budget=budget).ip.enrich("8.8.8.8")
        with pytest.raises(BudgetExceededError, match="6 credits, and 4 of 10"):
            await second.with_options(budget=budget).ip.enrich("8.8.8.8")
    assert seller.ledger == 6


async def test_sandbox_charges_no_more_than_the_budget(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Lookups, records and jobs together stay within one budget, by the ledger of the sandbox."""
    async with lf.budget(max_credits=20) as budget, client_for(sandbox) as other:
        second = other.with_options(budget=budget)
        job = lf.enrich.ips([f"198.18.1.{number}" for number in range(30)])
        calls: list[Awaitable[object]] = [_results(job)]
        calls += [client.ip.enrich(f"198.18.0.{number}") for number in range(30) for client in (lf, second)]
        calls += [lf.companies.get(str(159_000_000 + number)) for number in range(5)]
        await asyncio.gather(*calls, return_exceptions=True)
    assert 0 < sandbox.ledger.credits_charged == budget.credits <= 20


async def _results(job: AsyncIterable[object]) -> list[object]:
    return [one async for one in job]


async def test_known_price_lets_calls_go_together() -> None:
    """Once a response has shown the price, calls go together while the budget covers a multiple of it."""
    async with selling(2, delay=0.02) as seller, client_of(seller.url) as lf, lf.budget(max_credits=2_000):
        await asyncio.gather(*(_enrich(lf, number) for number in range(40)))
    assert seller.most_in_flight > 6


async def test_calls_without_a_limit_do_not_wait() -> None:
    """A budget without credits, or no budget, holds no call back."""
    async with selling(2, delay=0.02) as seller, client_of(seller.url) as lf:
        await asyncio.gather(*(_enrich(lf, number) for number in range(12)))
        assert seller.most_in_flight > 6
        seller.most_in_flight = 0
        async with lf.budget(max_requests=100):
            await asyncio.gather(*(_enrich(lf, number) for number in range(12)))
    assert seller.most_in_flight > 6


async def test_published_price_that_is_exceeded_is_learned() -> None:
    """A response that charges more than the published price makes later calls as careful as unpublished ones."""
    async with selling(3) as seller, client_of(seller.url) as lf, lf.budget(max_credits=13) as budget:
        with suppress(LeadfeederError):
            await lf.contacts.get("1")
        await asyncio.gather(*(lf.contacts.get(str(one)) for one in range(30)), return_exceptions=True)
    assert seller.ledger == budget.credits == 12


async def test_published_calls_wait_for_unpublished_ones() -> None:
    """A call for which the credits suffice is not refused because a lookup reserves more than it spends."""
    async with selling(1, delay=0.02) as seller, client_of(seller.url) as lf, lf.budget(max_credits=5) as budget:
        lookup = asyncio.create_task(lf.ip.enrich("8.8.8.8"))
        await asyncio.sleep(0.005)
        assert budget.credits_left == 0
        await asyncio.gather(*(lf.companies.get(str(number)) for number in range(4)), return_exceptions=True)
        await lookup
    assert seller.ledger == budget.credits == 5


@pytest.mark.parametrize("fault", ["cut", "error", "broken"])
async def test_lost_response_without_a_known_price_keeps_a_multiple(fault: str) -> None:
    """Ten credits count as spent, and no further call is sent until ten credits are left."""
    async with selling(9, [fault] * 5) as seller, client_of(seller.url) as lf:
        async with lf.budget(max_credits=25) as budget:
            for expected in (10, 20):
                with pytest.raises(OutcomeUnknownError):
                    await lf.ip.enrich("8.8.8.8")
                assert (budget.credits, budget.reserved) == (expected, 0)
            with pytest.raises(BudgetExceededError, match="10 credits, and 5 of 25"):
                await lf.ip.enrich("8.8.8.8")
        assert seller.ledger == 18


async def test_lost_response_with_a_known_price_keeps_the_price() -> None:
    """A lost response counts as the highest charge so far."""
    async with selling(3, ["ok", "cut"]) as seller, client_of(seller.url) as lf, lf.budget(max_credits=100) as budget:
        await lf.ip.enrich("8.8.8.8")
        with pytest.raises(OutcomeUnknownError):
            await lf.ip.enrich("8.8.8.8")
        assert (budget.credits, budget.reserved, seller.ledger) == (6, 0, 6)


async def test_response_without_a_charge_counts_one_credit() -> None:
    """A route whose responses contain no charge counts one credit for each item, as without a known price."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"data": {"id": "1"}})

    async with handler_server(answer) as url, client_of(url) as lf, lf.budget(max_credits=5) as budget:
        for _ in range(3):
            await lf.request("GET", "/v1/unknown")
        assert (budget.credits, budget.reserved) == (3, 0)


async def test_waiting_calls_end_with_their_deadline_and_their_client() -> None:
    """A call that waits for others is bounded by its deadline, and closing the client ends it."""
    async with selling(1, delay=0.3) as seller, client_of(seller.url) as lf, lf.budget(max_credits=5) as budget:
        first = asyncio.create_task(lf.ip.enrich("8.8.8.8"))
        await asyncio.sleep(0.05)
        with pytest.raises(DeadlineExceededError):
            await lf.with_options(deadline=0.05).ip.enrich("8.8.8.9")
        waiting = asyncio.create_task(lf.ip.enrich("8.8.8.7"))
        await asyncio.sleep(0.05)
        await lf.aclose()
        with pytest.raises(ClientClosedError):
            await waiting
        with pytest.raises(LeadfeederError):
            await first
        assert budget.reserved == 0
    assert seller.ledger == 1


async def test_canceled_waiting_calls_pass_their_turn_on() -> None:
    """Calls behind a canceled one are sent, in the order of their arrival."""
    done = list[int]()

    async def enrich(lf: AsyncLeadfeeder, number: int) -> None:
        await _enrich(lf, number)
        done.append(number)

    async with selling(1, delay=0.01) as seller, client_of(seller.url) as lf, lf.budget(max_credits=8) as budget:
        tasks = [asyncio.create_task(enrich(lf, number)) for number in range(8)]
        await asyncio.sleep(0.005)
        for index in (1, 4, 5):
            tasks[index].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert done == [0, 2, 3, 6, 7]
    assert seller.ledger == budget.credits == 5


async def test_nested_budgets_hold_together() -> None:
    """Calls under an inner and an outer budget exceed neither, and none waits for ever."""
    async with selling(3) as seller, client_of(seller.url) as lf, lf.budget(max_credits=20) as outer:

        async def inner(most: int) -> int:
            async with lf.budget(max_credits=most) as budget:
                await asyncio.gather(*(_enrich(lf, number) for number in range(10)), return_exceptions=True)
            assert budget.credits <= most
            return budget.credits

        spent = await asyncio.gather(*(inner(most) for most in (3, 5, 9, 50)))
    assert sum(spent) == outer.credits == seller.ledger == 18


class Pool:
    """Shared credits in memory. A stale one does not notice what others reserve."""

    def __init__(self, limit: int, *, stale: bool = False) -> None:
        self.limit, self.spent, self._is_stale = limit, 0, stale

    @property
    def credits_left(self) -> int:
        return self.limit if self._is_stale else self.limit - self.spent

    async def reserve(self, most: int, context: ErrorContext) -> None:
        await asyncio.sleep(0)
        if self.spent + most > self.limit:
            raise BudgetExceededError("The pool is used up.", context)
        self.spent += most

    def settle(self, reserved: int, charged: int) -> None:
        self.spent += charged - reserved


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("others", [0, 1, 30])
async def test_shared_credits_cover_unpublished_prices(stale: bool, others: int) -> None:
    """A pool is used up to its limit and not further, also if other processes leave little of it."""
    pool = Pool(40, stale=stale)
    await pool.reserve(others, ErrorContext())
    async with selling(3) as seller, client_of(seller.url) as lf, lf.budget(shared=pool) as budget:
        for _ in range(2):
            await asyncio.gather(*(_enrich(lf, number) for number in range(30)), return_exceptions=True)
    highest = (40 - others) // 3 * 3
    assert seller.ledger == budget.credits == pool.spent - others <= highest
    assert stale or seller.ledger == highest


async def test_free_calls_that_charge_are_shared_by_all_clients() -> None:
    """A pool counts the charge of a free call of each client, and refuses the calls that it does not cover."""
    pool, charged = Pool(7), 0

    async def match(_: web.Request) -> web.Response:
        nonlocal charged
        charged += 3
        return web.json_response({"data": [[]], "meta": {"credits": {"charged": 3}}})

    budget = Budget(shared=pool)
    async with handler_server(match) as url:
        for _ in range(4):
            async with client_of(url) as lf:
                with suppress(BudgetExceededError):
                    await lf.with_options(budget=budget).companies.match([{"url": "a.test"}])
    assert charged == pool.spent == budget.credits == 6


FAULTS = ["ok", "ok", "free", "reject", "limit", "cut", "error", "broken"]


@settings(max_examples=40, deadline=None)
@given(
    price=st.integers(1, PRICE_MARGIN),
    limit=st.integers(PRICE_MARGIN + 5, 60),  # beside the five published calls, the first lookup must fit
    faults=st.lists(st.sampled_from(FAULTS), max_size=25),
    canceled=st.dictionaries(st.integers(0, 24), st.floats(0, 0.02), max_size=8),
    clients=st.integers(1, 3),
)
def test_any_schedule_stays_within_the_budget(
    price: int, limit: int, faults: list[str], canceled: dict[int, float], clients: int
) -> None:
    """Failures, cancellations and lost responses of concurrent calls never let the ledger exceed the budget."""

    async def run() -> None:
        budget = Budget(max_credits=limit)
        async with selling(price, faults) as seller, AsyncExitStack() as stack:
            lfs = [await stack.enter_async_context(client_of(seller.url, retries=1)) for _ in range(clients)]
            copies = [lf.with_options(budget=budget) for lf in lfs]
            calls: list[Awaitable[object]] = []
            for number in range(25):
                lf = copies[number % clients]
                call = lf.companies.get("1") if number % 5 == 4 else _enrich(lf, number)
                calls.append(asyncio.wait_for(call, canceled.get(number, 10)))
            await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 20)
            assert seller.ledger <= budget.credits <= limit
            assert (budget.reserved, budget.credits_left) == (0, limit - budget.credits)

    asyncio.run(run())


def test_price_is_learned_from_charges() -> None:
    """The highest charge for one item counts, and a response that charged nothing shows no price."""
    price = Price(is_published=False, is_known=False)
    assert (price.least(2), price.most(2), price.of_lost_response(2)) == (2, 20, 20)
    price.record_charge(0)
    assert not price.is_known
    price.record_charge(5, 2)
    assert (price.least(2), price.most(2), price.of_lost_response(2)) == (6, 60, 6)
    price.record_charge(1)
    assert price == Price(is_published=False, highest=3)


def test_free_calls_reserve_nothing_whatever_waits() -> None:
    """A call that charges nothing reserves nothing, even in a budget that is reserved."""
    budget = Budget(max_credits=1)
    with BudgetReservation([budget], 1, Price(is_published=False, is_known=False), ErrorContext()) as first:
        assert first.reserve_at_once()
        assert BudgetReservation([budget], 0, Price(), ErrorContext()).reserve_at_once()
