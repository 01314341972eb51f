"""Budgets and deadlines of calls."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from leadfeeder_async import (
    AccessToken,
    APIStatusError,
    AsyncLeadfeeder,
    AttemptTimeoutError,
    AuthenticationError,
    Budget,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    LeadfeederError,
    OutcomeUnknownError,
    ResponseTooLargeError,
    ServerError,
)
from leadfeeder_async.budget import ACTIVE_BUDGETS, BudgetReservation, Price
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.models.accounts import User
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import cut, handler_server, http, raw_server, silence

OK = http(b'{"data":{"id":"1"}}')


def company(number: int) -> str:
    return str(159_000_000 + number)


async def test_credit_budget_with_many_tasks(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A hundred concurrent calls spend no more than the budget, according to the server."""
    async with lf.budget(max_credits=10) as budget:
        calls = (lf.companies.get(company(number % 60)) for number in range(100))
        results = await asyncio.gather(*calls, return_exceptions=True)
    rejected = [result for result in results if isinstance(result, BudgetExceededError)]
    assert all(error.sent == "no" for error in rejected)
    assert sandbox.ledger.credits_charged == budget.credits <= 10
    assert (len(results) - len(rejected), budget.reserved) == (budget.requests, 0)


async def test_call_outside_of_an_open_budget_is_logged(lf: AsyncLeadfeeder, caplog: pytest.LogCaptureFixture) -> None:
    """A budget whose block does not reach a call, as in the lifespan of a web application, is named in the log once."""
    outside = contextvars.copy_context()
    async with lf.budget(max_credits=10) as budget:
        await lf.companies.get(company(1))
        assert not caplog.records
        for number in (2, 3):
            await asyncio.get_running_loop().create_task(lf.companies.get(company(number)), context=outside)
        await asyncio.get_running_loop().create_task(lf.tags.list().collect(), context=outside)
    await lf.companies.get(company(4))
    assert budget.credits == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no open budget of this client limits it" in caplog.text


async def test_limited_call_is_not_logged(lf: AsyncLeadfeeder, caplog: pytest.LogCaptureFixture) -> None:
    """A call that has a budget of its own, or that runs beside a limit on requests, is not named in the log."""
    outside, limited = contextvars.copy_context(), lf.with_options(budget=Budget(max_credits=5))
    async with lf.budget(max_requests=10) as requests:
        requests.max_credits = None if requests.max_credits else 50  # the budget counts as it was entered
        await asyncio.get_running_loop().create_task(lf.companies.get(company(1)), context=outside)
        async with lf.budget(max_credits=10):
            await asyncio.get_running_loop().create_task(limited.companies.get(company(2)), context=outside)
    await lf.companies.get(company(3))
    assert not caplog.records


async def test_free_records_release_their_credits(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A record that is already unlocked uses no credits of the budget."""
    await lf.companies.get(company(1))
    async with lf.budget(max_credits=1) as budget:
        for _ in range(5):
            await lf.companies.get(company(1))
        await lf.companies.get(company(2))
        with pytest.raises(BudgetExceededError, match="and 0 of 1 are left"):
            await lf.companies.get(company(3))
    assert (budget.credits, sandbox.ledger.credits_charged) == (1, 2)


@pytest.mark.parametrize("size", [10, 40_000])
@pytest.mark.parametrize("status", ["404 Not Found", "409 Conflict", "422 Unprocessable", "429 Busy"])
async def test_charge_of_a_rejection(status: str, size: int) -> None:
    """The charge of an unsuccessful response counts, however long it is, and its call is not sent again."""
    body = {"errors": [{"code": "x", "title": "y" * size}], "meta": {"credits": {"charged": 1}}}
    response = http(json.dumps(body).encode(), status, "Retry-After: 0\r\n")
    async with raw_server(*[response] * 9) as server, client_of(server.url) as lf, lf.budget(max_credits=3) as budget:
        for number in range(3):
            with pytest.raises(APIStatusError):
                await lf.companies.get(company(number))
        with pytest.raises(BudgetExceededError):
            await lf.companies.get(company(3))
    assert (budget.credits, lf.stats.credits_charged, len(server.requests)) == (3, 3, 3)


@pytest.mark.parametrize(("status", "code"), [("401 Unauthorized", "token_expired"), ("429 Busy", "rate_limited")])
async def test_lost_retry_after_a_free_rejection(status: str, code: str) -> None:
    """A rejection that reports no charge does not hide the charge of a retry whose response is lost."""
    body = json.dumps({"errors": [{"code": code}], "meta": {"credits": {"charged": 0}}}).encode()
    keys = (f"key-{number}" for number in range(9))
    async with raw_server(http(body, status, "Retry-After: 0\r\n"), cut(b"")) as server:
        async with AsyncLeadfeeder(lambda: next(keys), base_url=server.url, account_id="1") as lf:
            async with lf.budget(max_credits=1) as budget:
                with pytest.raises(OutcomeUnknownError):
                    await lf.companies.get("1")
                with pytest.raises(BudgetExceededError):
                    await lf.companies.get("2")
    assert (budget.credits, len(server.requests)) == (1, 2)


@pytest.mark.parametrize(
    "meta",
    [
        {"credits": {"charged": "4"}},
        {"credits": {"charged": 4.0}},
        {"credits": {"charged": 3.2}},
        {"credits": {"charged": 4}, "request_id": 17},
        {"credits": {"charged": 4}, "pagination": {"total_count": "9"}},
        {"credits": {"charged": 4}, "next_cursor": False, "page_count": 1.0},
        {"credits": {"charged": 4}, "pagination": [], "trace": "x" * 70_000},
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "429 Busy"])
async def test_charge_beside_metadata_of_other_types(status: str, meta: dict[str, object]) -> None:
    """A charge counts whatever types the metadata around it has, and the charged call is not sent again."""
    body = {"data": {"id": "1"}, "errors": [{"code": "x"}] if status != "200 OK" else [], "meta": meta}
    async with raw_server(*[http(json.dumps(body).encode(), status)] * 9) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=4) as budget:
            if status == "200 OK":
                assert (await lf.companies.get("1")).meta.charged in {4, 0 if "trace" in meta else 4}
            else:
                with pytest.raises(APIStatusError):
                    await lf.companies.get("1")
            with pytest.raises(BudgetExceededError):
                await lf.companies.get("2")
    assert (budget.credits, lf.stats.credits_charged, len(server.requests)) == (4, 4, 1)


@pytest.mark.parametrize("charged", ["", "four", True, [4], {}, "1" * 30, None])
async def test_charge_that_is_no_number(charged: object) -> None:
    """If the charge of a response is not a number, the least that the call can charge counts."""
    body = json.dumps({"data": {"id": "1"}, "meta": {"credits": {"charged": charged}}}).encode()
    async with raw_server(http(body)) as server, client_of(server.url) as lf, lf.budget(max_credits=4) as budget:
        await lf.companies.get("1")
    assert (budget.credits, lf.stats.credits_charged) == (1, 0)


@pytest.mark.parametrize("code", ["token_expired", "rate_limited", "too_many_requests"])
async def test_error_in_a_success_is_not_sent_again(code: str) -> None:
    """An error inside a 200 does not prove that nothing was charged or created, so its call is not sent again."""
    body = json.dumps({"errors": [{"code": code}]}).encode()
    keys = (f"key-{number}" for number in range(9))
    async with raw_server(*[http(body)] * 9) as server:
        async with AsyncLeadfeeder(lambda: next(keys), base_url=server.url, account_id="1") as lf:
            async with lf.budget(max_credits=1) as budget:
                with pytest.raises(LeadfeederError):
                    await lf.companies.get("1")
                with pytest.raises(LeadfeederError):
                    await lf.tags.create(name="new")
    assert (budget.credits, len(server.requests)) == (1, 2)


async def test_charged_call_is_not_sent_with_a_new_token() -> None:
    """A 401 that reports a charge is not sent again with another access token."""
    charged = b'{"errors":[{"code":"token_expired"}],"meta":{"credits":{"charged":1}}}'
    tokens = iter([AccessToken("one"), AccessToken("two")])
    async with raw_server(http(charged, "401 Unauthorized"), OK) as server:
        async with AsyncLeadfeeder(access_token=lambda: next(tokens), base_url=server.url, account_id="1") as lf:
            with pytest.raises(AuthenticationError, match="Not retried, because the server charged 1 credits"):
                await lf.companies.get("1")
    assert len(server.requests) == 1


async def test_batch_reserves_all_records(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A request for many records is rejected if the budget might not cover all of them."""
    ids = [company(number) for number in range(30)]
    async with lf.budget(max_credits=29):
        for call in (lf.companies.get_many(ids).collect(), lf.companies.ips(ids)):
            with pytest.raises(BudgetExceededError, match="30 credits, and 29 of 29"):
                await call
        assert len(await lf.companies.get_many(ids[:29]).collect()) == 29
    assert sandbox.ledger.count("retrieve_companies") == 1


async def test_signals_reserve_all_their_companies(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Any page may charge all companies of the search, except those that earlier pages have charged."""
    ids = [company(number) for number in range(20)]
    signals = lf.companies.search_signals(company_ids=ids, page_size=5)
    async with lf.budget(max_credits=19):
        with pytest.raises(BudgetExceededError, match="20 credits, and 19 of 19"):
            await signals.collect()
    async with lf.budget(max_credits=20) as spent:
        assert await signals.collect()
    assert 0 < spent.credits <= 20
    assert len(sandbox.ledger.requests) > 1


async def test_search_that_charges_is_refused_at_the_limit() -> None:
    """Searches are documented as free. If they charge, they end when a budget is spent."""
    charged = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal charged
        charged += 7
        rows = [{"id": f"{charged}-{number}", "type": "company_summary"} for number in range(100)]
        meta = {"credits": {"charged": 7}, "pagination": {"next_cursor": str(charged)}}
        return web.json_response({"data": rows, "meta": meta})

    async with handler_server(answer) as url, client_of(url) as lf:
        async with lf.budget(max_credits=20) as spent:
            with pytest.raises(BudgetExceededError, match="7 credits, and 6 of 20"):
                await lf.companies.search(search_terms=["e"]).collect()
        assert charged == spent.credits == 14
        async with lf.budget(max_credits=0):
            with pytest.raises(BudgetExceededError, match="7 credits, and 0 of 0"):
                await lf.companies.search(search_terms=["e"]).first()
    assert charged == 14


async def test_first_signal_charges_one_row(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A list that may charge requests no more rows than its limit."""
    signals = lf.companies.search_signals(company_ids=[company(number) for number in range(20)])
    async with lf.budget(max_credits=20) as spent:
        assert await signals.first() is not None
    assert spent.credits == 1


async def test_budget_of_zero_credits(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """With no credits, free calls are sent and billed ones are not."""
    async with lf.budget(max_credits=0):
        assert await lf.companies.search(search_terms=["e"]).first()
        for call in (lf.companies.get(company(1)), lf.ip.enrich("198.18.0.1"), lf.contacts.get("52000001")):
            with pytest.raises(BudgetExceededError):
                await call
    assert [entry.operation for entry in sandbox.ledger.requests] == ["search_companies"]


async def test_retries_count_as_requests() -> None:
    """Every attempt counts, and no more are sent after the limit."""
    async with raw_server(http(b"", "503 Busy"), OK) as server, client_of(server.url) as lf:
        async with lf.budget(max_requests=2) as budget:
            await lf.users.me()
            with pytest.raises(BudgetExceededError, match="2 requests"):
                await lf.users.me()
        await lf.users.me()
    assert (budget.requests, len(server.requests)) == (2, 3)


SIGNALS: dict[str, Any] = {"json": {"company_ids": [str(159_000_000 + number) for number in range(10)]}}


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize(
    ("method", "path", "request_arguments", "most"),
    [
        ("GET", "/v1/companies", {"params": {"ids": "159000000,159000001,159000002"}}, 3),
        ("GET", "/v1/companies", {"params": {"ids": ("159000000", "159000001")}}, 2),
        ("POST", "/v1/companies/signals", SIGNALS, 10),
        ("POST", "/v1/companies/signals", {**SIGNALS, "params": {"page[size]": 20}}, 20),
        ("POST", "/v1/companies/signals", {**SIGNALS, "params": {"page[size]": "20"}}, 20),
    ],
)
async def test_custom_request_reserves_its_items(
    sandbox: Sandbox,
    lf: AsyncLeadfeeder,
    method: str,
    path: str,
    request_arguments: dict[str, Any],
    most: int,
    idempotent: bool,
) -> None:
    """A custom request is rejected if its IDs or page could exceed the budget, and its charge is counted."""
    async with lf.budget(max_credits=most - 1):
        with pytest.raises(BudgetExceededError):
            await lf.request(method, path, idempotent=idempotent, **request_arguments)
    assert sandbox.ledger.credits_charged == 0
    async with lf.budget(max_credits=most) as budget:
        await lf.request(method, path, idempotent=idempotent, **request_arguments)
    assert 0 < budget.credits == sandbox.ledger.credits_charged <= most


@pytest.mark.parametrize(
    ("body", "most"),
    [({"ids": ["1", "2"], "more": {"ids": ["3"]}}, 3), ({"ids": "1,2,3"}, 3), ({"name": "Nord"}, 1)],
)
async def test_items_in_the_body_of_a_custom_request(body: dict[str, Any], most: int) -> None:
    """All lists of a body count together, and so does a text with commas."""
    async with raw_server(http(b'{"data":[]}')) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=most - 1):
            with pytest.raises(BudgetExceededError, match="may charge"):
                await lf.request("POST", "/v1/new", json=body, idempotent=True)
        assert not server.requests
        async with lf.budget(max_credits=10 * most):
            await lf.request("POST", "/v1/new", json=body, idempotent=True)


async def test_free_custom_request() -> None:
    """A request that the caller declares free is sent under any budget, and its charge is counted."""
    charged = http(b'{"data":{"id":"1"},"meta":{"credits":{"charged":2}}}')
    async with raw_server(charged) as server, client_of(server.url) as lf, lf.budget(max_credits=0) as budget:
        with pytest.raises(BudgetExceededError):
            await lf.request("GET", "/v1/new", idempotent=True)
        await lf.request("GET", "/v1/new", may_charge=False)
        assert (budget.credits, lf.stats.credits_charged) == (2, 2)


async def test_nested_budgets(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """The smallest budget decides, each one counts, and none applies after its block."""
    async with lf.budget(max_requests=5) as outer:
        async with lf.budget(max_requests=1) as inner:
            await asyncio.create_task(lf.users.me())
            with pytest.raises(BudgetExceededError):
                await asyncio.create_task(lf.users.me())
        await lf.users.me()
    await lf.users.me()
    assert (inner.requests, outer.requests, lf.stats.requests) == (1, 2, 3)


async def _users(lf: AsyncLeadfeeder, most: int) -> AsyncIterator[User]:
    """Yield users under a budget that also applies to the calls of the consumer while the generator is open."""
    async with lf.budget(max_requests=most):
        while True:
            yield (await lf.users.me()).data


async def test_budget_of_abandoned_generator(lf: AsyncLeadfeeder) -> None:
    """The budget of an abandoned generator ends without an error and no longer applies."""
    loop_errors = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_errors.append(context))
    for _ in range(3):
        async for _ in _users(lf, 1):
            break
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        await lf.users.me()
        await asyncio.create_task(lf.users.me())
        assert len(ACTIVE_BUDGETS.get()) <= 1
    assert loop_errors == []


async def test_budgets_of_interleaved_generators(lf: AsyncLeadfeeder) -> None:
    """If the first of two open generators is closed, the budget of the second still applies."""
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


async def test_budget_entered_by_many_tasks(lf: AsyncLeadfeeder) -> None:
    """Tasks that enter the same budget share it, each until it leaves the block."""
    scope, has_left = lf.budget(max_requests=2), asyncio.Event()

    async def stay() -> None:
        async with scope:
            await has_left.wait()
            await lf.users.me()
            with pytest.raises(BudgetExceededError):
                await lf.users.me()

    async def leave() -> None:
        async with scope, scope:
            await lf.users.me()
        has_left.set()
        for _ in range(3):
            await lf.users.me()

    await asyncio.gather(stay(), leave())


async def test_budget_of_task_that_outlives_the_block(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A task that was started under a budget stays under it after the block."""
    block_ended = asyncio.Event()

    async def call_later() -> None:
        await block_ended.wait()
        await lf.companies.get(company(1))

    async with lf.budget(max_credits=0):
        task = asyncio.create_task(call_later())
        await asyncio.sleep(0)
    block_ended.set()
    with pytest.raises(BudgetExceededError):
        await task
    assert sandbox.ledger.requests == []


async def test_budgets_are_removed_after_their_blocks(lf: AsyncLeadfeeder) -> None:
    """After each block, no budget of it is active."""
    for _ in range(100):
        async with lf.budget(max_requests=1), lf.budget(max_credits=1):
            assert len(ACTIVE_BUDGETS.get()) == 2
        assert ACTIVE_BUDGETS.get() == ()


async def test_budget_applies_to_one_client(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A budget applies to the client and its copies, not to another client, and ``with_options`` needs no block."""
    async with client_for(sandbox) as other, lf.budget(max_requests=0):
        await other.users.me()
        with pytest.raises(BudgetExceededError):
            await lf.with_options(retries=0).users.me()
    capped = lf.with_options(budget=Budget(max_requests=1))
    await capped.users.me()
    with pytest.raises(BudgetExceededError):
        await capped.users.me()
    await lf.users.me()


async def test_budget_of_copied_client(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A second ``with_options(budget=)`` adds a limit, and a budget that applies twice counts once."""
    outer, inner = Budget(max_credits=0), Budget(max_credits=5)
    with pytest.raises(BudgetExceededError):
        await lf.with_options(budget=outer).with_options(budget=inner).companies.get(company(1))
    assert sandbox.ledger.requests == []
    async with lf.budget(max_credits=2) as budget:
        await lf.with_options(budget=budget).with_options(budget=budget).companies.get(company(1))
    assert (budget.credits, budget.requests, budget.reserved) == (1, 1, 0)


async def test_negative_charge() -> None:
    """A negative charge counts as zero."""
    charges = [http(b'{"data":{"id":"1"},"meta":{"credits":{"charged":%d}}}' % charged) for charged in (1, -5)]
    async with raw_server(*charges) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=2) as budget:
            await lf.companies.get("1")
            await lf.companies.get("2")
    assert (budget.credits, budget.reserved, budget.credits_left) == (1, 0, 1)


@pytest.mark.parametrize("response", [cut(b""), http(b"", "500 Oops"), cut(OK[:30])])
async def test_lost_response_counts_as_charged(response: object) -> None:
    """If a response is lost, the credits count as spent."""
    async with raw_server(response) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=1) as budget:
            with pytest.raises(OutcomeUnknownError):
                await lf.companies.get("1")
            assert (budget.credits, budget.reserved) == (1, 0)
            with pytest.raises(BudgetExceededError):
                await lf.companies.get("1")


async def test_unreported_charge_of_an_unpublished_price_counts_as_lost() -> None:
    """A response without its charge counts as ten credits if the price is not published."""
    body = http(b'{"data":{"id":"1.1.1.1","type":"ip"}}')
    async with raw_server(*10 * [body]) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=30) as budget:
            with pytest.raises(BudgetExceededError):
                while True:
                    await lf.ip.enrich("1.1.1.1")
        assert (budget.credits, budget.requests) == (30, 3)


class Pool:
    """Credits that other processes have nearly used up."""

    credits_left = 15

    async def reserve(self, most: int, context: ErrorContext) -> None:
        if most > self.credits_left:
            raise BudgetExceededError("The pool is used up.", context)
        self.credits_left -= most

    def settle(self, reserved: int, charged: int) -> None:
        self.credits_left += reserved - charged


async def test_pool_refuses_a_call_after_a_lost_response() -> None:
    """After a response of unknown price was lost, a call that the pool does not cover is refused, not repeated."""
    async with raw_server(*3 * [cut(b"")]) as server, client_of(server.url, retries=0) as lf:
        async with asyncio.timeout(20), lf.budget(shared=Pool()):
            with pytest.raises(OutcomeUnknownError):
                await lf.ip.enrich("1.1.1.1")
            with pytest.raises(BudgetExceededError):
                await lf.ip.enrich("1.1.1.2")


async def test_rejected_request_releases_credits() -> None:
    """A rejected request is not charged."""
    async with raw_server(http(b"", "404 No")) as server, client_of(server.url) as lf:
        async with lf.budget(max_credits=1) as budget:
            for _ in range(3):
                with pytest.raises(Exception, match="404"):
                    await lf.companies.get("1")
        assert (budget.credits, budget.reserved, budget.requests) == (0, 0, 3)


async def test_unusable_response_counts_as_charged() -> None:
    """A response that is too large counts as charged, and an error of the limiter does not."""

    class Broken:
        async def acquire(self) -> None:
            raise ZeroDivisionError

        def pause(self, seconds: float) -> None:
            raise AssertionError

    async with raw_server(http(b'{"data":"' + b" " * 5_000 + b'"}')) as server:
        async with client_of(server.url, max_body_bytes=1_000) as lf, lf.budget(max_credits=5) as budget:
            with pytest.raises(ResponseTooLargeError):
                await lf.companies.get("1")
            assert (budget.credits, budget.reserved) == (1, 0)
        async with client_of(server.url, limiter=Broken()) as lf, lf.budget(max_credits=5) as budget:
            with pytest.raises(ZeroDivisionError):
                await lf.companies.get("1")
            assert (budget.credits, budget.reserved, budget.requests) == (0, 0, 0)


@pytest.mark.parametrize(("sent", "charged"), [(True, 1), (False, 0)])
async def test_cancellation_and_credits(sent: bool, charged: int) -> None:
    """A canceled call counts as charged if it was sent, and not if it waited for a slot."""
    async with raw_server(silence) as server, client_of(server.url, max_concurrency=1) as lf:
        async with lf.budget(max_credits=5) as budget:
            first = asyncio.create_task(lf.users.me() if not sent else lf.companies.get("1"))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(lf.companies.get("2"))
            await asyncio.sleep(0.02)
            (first if sent else second).cancel()
            await asyncio.sleep(0.02)
            assert budget.credits == charged
            for task in (second, first):
                task.cancel()
            await asyncio.gather(first, second, return_exceptions=True)
        assert budget.reserved == 0


@pytest.mark.parametrize("name", ["max_requests", "max_credits"])
def test_negative_budget(name: str) -> None:
    """A negative limit is rejected."""
    with pytest.raises(ConfigurationError, match=name):
        Budget(**{name: -1})


class BudgetMachine(RuleBasedStateMachine):
    """Any order of calls that start, are attempted, succeed, fail or are lost, under two nested budgets."""

    def __init__(self) -> None:
        super().__init__()
        self.budgets = [Budget(max_requests=20, max_credits=15), Budget(max_credits=9)]
        self.in_flight: list[tuple[BudgetReservation, int]] = []
        self.charged = 0

    @rule(most=st.integers(0, 6))
    def begin(self, most: int) -> None:
        try:
            reservation = BudgetReservation(self.budgets, most, Price(), ErrorContext())
            assert reservation.reserve_at_once()
            self.in_flight.append((reservation, most))
        except BudgetExceededError:
            assert any(
                budget.max_credits is not None and budget.credits + budget.reserved + most > budget.max_credits
                for budget in self.budgets
            )

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def attempt(self, data: st.DataObject) -> None:
        reservation, _ = data.draw(st.sampled_from(self.in_flight))
        before = [budget.requests for budget in self.budgets]
        try:
            reservation.consume_request(ErrorContext())
        except BudgetExceededError:
            assert [budget.requests for budget in self.budgets] == before

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        reservation, most = self.in_flight.pop(index)
        for rejection in data.draw(st.lists(st.sampled_from([None, 0]), max_size=2)):
            reservation.record_attempt(rejection, is_successful=False, may_have_charged=False)
        charged = data.draw(st.one_of(st.none(), st.integers(0, most)))
        reservation.record_attempt(charged, is_successful=False, may_have_charged=True)
        reservation.__exit__()
        self.charged += most if charged is None else charged

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        for budget in self.budgets:
            assert budget.max_credits is None or budget.credits + budget.reserved <= budget.max_credits
            assert budget.max_requests is None or budget.requests <= budget.max_requests
            assert budget.credits == self.charged
            assert budget.reserved == sum(most for _, most in self.in_flight)


BudgetMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBudgetMachine = BudgetMachine.TestCase


@pytest.mark.parametrize("deadline", [0.02, 0.1, 0.3])
async def test_deadline_with_silent_server(deadline: float) -> None:
    """A call to a server that does not respond ends at its deadline."""
    async with raw_server(silence) as server, client_of(server.url) as lf:
        start = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceededError) as caught:
            await lf.with_options(deadline=deadline).users.me()
        elapsed = asyncio.get_running_loop().time() - start
    assert deadline <= elapsed < deadline + 0.1
    assert (caught.value.sent, caught.value.phase) == ("maybe", "headers")
    assert isinstance(caught.value.__cause__, AttemptTimeoutError)


async def test_deadline_includes_waits() -> None:
    """Waiting for a slot or a token counts toward the deadline, and the error names the phase."""
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


async def test_deadline_before_next_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the next attempt would start after the deadline, the call ends at once with the last error."""
    monkeypatch.setattr(random, "random", lambda: 1.0)  # the maximum delay of half a second
    async with raw_server(http(b"", "500 Oops")) as server, client_of(server.url, retries=9) as lf:
        with pytest.raises(DeadlineExceededError, match="ServerError") as caught:
            await lf.with_options(deadline=0.4).users.me()
    assert isinstance(caught.value.__cause__, ServerError)
    assert (caught.value.status, len(server.requests)) == (500, 1)


async def test_deadline_of_billed_call() -> None:
    """A billed call that ends at its deadline may have been charged."""
    async with raw_server(silence) as server, client_of(server.url) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.with_options(deadline=0.05).companies.get("1")
    assert len(server.requests) == 1


CONTEXT = ErrorContext(operation="get_company", method="GET", path="/v1/companies/{id}")


def test_messages_of_exceeded_budgets() -> None:
    """Each message contains the maximum charge and the usage, and the hint names the setting."""
    budget = Budget(max_requests=1_000, max_credits=2_000)
    budget.requests, budget.credits, budget.reserved = 1_000, 1_200, 300
    with pytest.raises(BudgetExceededError) as credit:
        BudgetReservation([budget], 1_001, Price(), CONTEXT).reserve_at_once()
    with BudgetReservation([budget], 0, Price(), CONTEXT) as reservation, pytest.raises(BudgetExceededError) as request:
        reservation.check_request(CONTEXT)
    assert credit.value.message == "This call may charge 1,001 credits, and 500 of 2,000 are left."
    assert credit.value.hint == "Raise max_credits, or request fewer records at once."
    assert request.value.message == "The budget of 1,000 requests is used up."
    assert request.value.hint == "Raise max_requests, or continue later."
    assert credit.value.context is request.value.context is CONTEXT


def test_exact_and_zero_limits() -> None:
    """The last request and the last credit of a budget can be used, and zero is a valid limit."""
    budget = Budget(max_requests=1, max_credits=3)
    with BudgetReservation([budget], 3, Price(), CONTEXT) as reservation:
        assert reservation.reserve_at_once()
        reservation.consume_request(CONTEXT)
        assert (budget.requests, budget.reserved) == (1, 3)
        reservation.record_attempt(None, is_successful=False, may_have_charged=True)
    assert (budget.credits, budget.reserved) == (3, 0)
    with pytest.raises(ConfigurationError, match=r"^max_credits=-1 must be 0 or more\.$"):
        Budget(0, -1)
    assert BudgetReservation([Budget(0, 0)], 0, Price(), CONTEXT).reserve_at_once()
