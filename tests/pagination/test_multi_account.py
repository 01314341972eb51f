"""Lists of several accounts at once: complete, fair, and under one limit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    IncompleteListError,
    MultiAccountPager,
    Pager,
    PermissionDeniedError,
    RateLimiterUnavailableError,
)
from leadfeeder_async.models import WebVisit
from leadfeeder_async.pagination.problems import MAX_KEPT_PROBLEMS
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import handler_server


def sandbox_of(accounts: int, **options: Any) -> Sandbox:
    settings: dict[str, Any] = {"companies": 60, "visits": 500, "rate_limit": False, **options}
    return Sandbox(accounts=accounts, **settings)


def visits(sandbox: Sandbox, lf: AsyncLeadfeeder, ids: Any = None, **options: Any) -> MultiAccountPager[WebVisit]:
    def list_of(account: AsyncLeadfeeder) -> Pager[WebVisit]:
        return account.web_visits.search(
            start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=20, **options
        )

    return lf.sweep(ids or sandbox.account_ids, list_of)


async def test_every_row_of_every_account() -> None:
    """Each account's rows come once, in its own order, with its id."""
    async with sandbox_of(3) as sandbox, client_for(sandbox) as lf:
        got = dict[str, list[str]]()
        async for account_id, visit in visits(sandbox, lf):
            got.setdefault(account_id, []).append(visit.id)
        expected = list(sandbox.world.visit_ids())
        assert got == dict.fromkeys(sandbox.account_ids, expected)


async def test_accounts_take_turns() -> None:
    """While all have pages left, no account gets more than its share of pages ahead of another."""
    async with sandbox_of(4) as sandbox, client_for(sandbox) as lf:
        taken = dict.fromkeys(sandbox.account_ids, 0)
        async for account_id, _ in visits(sandbox, lf).pages():
            taken[account_id] += 1
            if max(taken.values()) < 25:
                assert max(taken.values()) - min(taken.values()) <= 4
        assert set(taken.values()) == {25}


async def test_a_refused_account_costs_itself_only() -> None:
    """The others are read to their end; then an error names the account that was refused."""
    async with sandbox_of(2) as sandbox, client_for(sandbox) as lf:
        got = list[str]()
        with pytest.raises(IncompleteListError, match="Account 999: 403") as caught:
            async for account_id, _ in visits(sandbox, lf, ["999", *sandbox.account_ids]):
                got.append(account_id)
        assert {got.count(one) for one in sandbox.account_ids} == {500}
        assert [type(one) for one in caught.value.problems] == [PermissionDeniedError]


async def test_what_an_account_lacks_is_told_with_its_name() -> None:
    """A list that stops in one account, and one that loops in another, are named, each with its account."""

    async def answer(request: web.Request) -> web.Response:
        account, counts = request.query["account_id"], {"page_count": 9, "total_count": 9}
        data = [{"id": "same", "type": "tag"}] if account != "3" else [{"id": str(n), "type": "tag"} for n in range(9)]
        return web.json_response({"data": data, "meta": {"pagination": counts}})

    async with handler_server(answer) as url, client_of(url) as lf:
        for accounts, lacking in ((["1", "2", "3"], ["1", "2"]), (["1", "3"], ["1"])):
            with pytest.raises(IncompleteListError) as caught:
                async for _ in lf.sweep(accounts, lambda account: account.tags.list()):
                    pass
            told = [one.message.partition(":")[0] for one in caught.value.problems]
            assert sorted(told) == [f"Account {one}" for one in lacking]


async def test_many_problems_are_counted() -> None:
    """Of many rows that cannot be decoded, the error contains the first ones and the number of all."""

    async def respond(request: web.Request) -> web.Response:
        number = int(request.query["page[num]"])
        rows = [{"id": [], "type": "tag"}] * 100 if number <= 8 else []
        return web.json_response({"data": rows, "meta": {"pagination": {"page_count": 8, "total_count": 800}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match=r"^1,600 rows or parts") as caught:
            async for _ in lf.sweep(["1", "2"], lambda account: account.tags.list()):
                pass
    assert len(caught.value.problems) == MAX_KEPT_PROBLEMS


async def test_synchronous_use_is_a_type_error() -> None:
    """A loop without `async`, `await`, `len` and other uses of a list raise an error with the expression to write."""
    pager: Any = MultiAccountPager[WebVisit]({})
    for use in (iter, len, bool, list, lambda value: value[0]):
        with pytest.raises(TypeError, match="async for"):
            use(pager)
    with pytest.raises(TypeError, match="async for"):
        await pager


async def test_what_stops_all_is_raised_at_once() -> None:
    """A key that is refused in the middle ends the sweep, and nothing more is sent."""
    async with sandbox_of(3) as sandbox, client_for(sandbox) as lf:
        pages = 0
        with pytest.raises(AuthenticationError):
            async for _ in visits(sandbox, lf).pages():
                pages += 1
                sandbox.api_key = "another"
        sent = len(sandbox.ledger.requests)
        await asyncio.sleep(0.05)
        assert len(sandbox.ledger.requests) == sent <= pages + 16 * 3


async def test_a_slow_account_costs_itself_only() -> None:
    """A deadline is one call's, so an account that misses it is named at the end and the others come whole."""

    async def answer(request: web.Request) -> web.Response:
        account = request.query["account_id"]
        if account == "2":
            await asyncio.sleep(30)
        return web.json_response({"data": [{"id": f"{account}-{number}", "type": "tag"} for number in range(3)]})

    got = list[str]()
    async with handler_server(answer) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="Account 2: The deadline"):
            async for _, tag in lf.with_options(deadline=0.3).sweep(
                ["1", "2", "3"], lambda account: account.tags.list()
            ):
                got.append(tag.id)
    assert sorted(got) == ["1-0", "1-1", "1-2", "3-0", "3-1", "3-2"]


async def test_a_shared_limit_that_is_down_stops_all() -> None:
    """Where the limit that all accounts share cannot be asked, one account finds out for all."""
    asked = 0

    class Down:
        async def acquire(self) -> None:
            nonlocal asked
            asked += 1
            raise RateLimiterUnavailableError("Nobody answers.")

        def pause(self, seconds: float) -> None: ...

    async with sandbox_of(5) as sandbox, client_for(sandbox, limiter=Down()) as lf:
        with pytest.raises(RateLimiterUnavailableError):
            async for _ in visits(sandbox, lf):
                pass
    assert asked <= 5


async def test_a_budget_covers_all_accounts() -> None:
    """The budget around the loop is shared by the accounts."""
    async with sandbox_of(3) as sandbox, client_for(sandbox) as lf:
        async with lf.budget(max_requests=10):
            with pytest.raises(BudgetExceededError):
                async for _ in visits(sandbox, lf):
                    pass
        assert len(sandbox.ledger.requests) <= 10


async def test_leaving_early_leaves_nothing() -> None:
    """After a break no task of the sweep is left, and the client goes on."""
    async with sandbox_of(3) as sandbox, client_for(sandbox) as lf:
        sweep = visits(sandbox, lf).__aiter__()
        assert (await anext(sweep))[0] in sandbox.account_ids
        await sweep.aclose()
        await asyncio.sleep(0)
        ours = [task for task in asyncio.all_tasks() if "_Lane" in repr(task) or "fetch" in repr(task)]
        assert ours == []
        assert await lf.users.me()


async def test_cancelling_ends_it() -> None:
    """A canceled sweep ends at once, though no answer ever comes."""
    async with sandbox_of(2, latency=30) as sandbox, client_for(sandbox) as lf:
        task = asyncio.create_task(anext(aiter(visits(sandbox, lf))))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await lf.aclose()


async def test_one_text_is_no_list_of_accounts() -> None:
    """A single id in place of a list is refused, not read letter by letter."""
    async with sandbox_of(1) as sandbox, client_for(sandbox) as lf:
        with pytest.raises(ConfigurationError):
            visits(sandbox, lf, "310042")
