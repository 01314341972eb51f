"""Lists of several accounts at once."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import anyio
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
from leadfeeder_async.models import CompanySummary, WebVisit
from leadfeeder_async.pagination.problems import MAX_KEPT_PROBLEMS
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import handler_server
from tests.support.tasks import client_tasks, client_tasks_after_cancellation


def sandbox_of(accounts: int, **options: Any) -> Sandbox:
    settings: dict[str, Any] = {"companies": 60, "visits": 500, "rate_limit": False, **options}
    return Sandbox(accounts=accounts, **settings)


def search_visits(
    sandbox: Sandbox, lf: AsyncLeadfeeder, ids: Any = None, **options: Any
) -> MultiAccountPager[WebVisit]:
    def pager_factory(account: AsyncLeadfeeder) -> Pager[WebVisit]:
        return account.web_visits.search(
            start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=20, **options
        )

    return lf.sweep(ids or sandbox.account_ids, pager_factory)


def test_repr_has_the_number_of_accounts() -> None:
    """The representation has the number of accounts, and no data of them."""
    assert repr(AsyncLeadfeeder("k").sweep(["1", "2"], lambda account: account.tags.list())) == (
        "<MultiAccountPager of 2 accounts>"
    )


async def test_rows_of_all_accounts() -> None:
    """The rows of each account are returned once and in order, with the account ID."""
    async with sandbox_of(3) as sandbox, client_for(sandbox) as lf:
        got = dict[str, list[str]]()
        async for account_id, visit in search_visits(sandbox, lf):
            got.setdefault(account_id, []).append(visit.id)
        expected = list(sandbox.world.visit_ids())
        assert got == dict.fromkeys(sandbox.account_ids, expected)


async def test_accounts_take_turns() -> None:
    """While all accounts have pages, no account is more than four pages ahead of another."""
    async with sandbox_of(4) as sandbox, client_for(sandbox) as lf:
        taken = dict.fromkeys(sandbox.account_ids, 0)
        async for account_id, _ in search_visits(sandbox, lf).pages():
            taken[account_id] += 1
            if max(taken.values()) < 25:
                assert max(taken.values()) - min(taken.values()) <= 4
        assert set(taken.values()) == {25}


async def test_rejected_account_does_not_stop_others() -> None:
    """The other accounts are read completely, then an error names the rejected account."""
    async with sandbox_of(2) as sandbox, client_for(sandbox) as lf:
        got = list[str]()
        with pytest.raises(IncompleteListError, match="Account 999: 403") as caught:
            async for account_id, _ in search_visits(sandbox, lf, ["999", *sandbox.account_ids]):
                got.append(account_id)
        assert {got.count(account_id) for account_id in sandbox.account_ids} == {500}
        assert [type(problem) for problem in caught.value.problems] == [PermissionDeniedError]


@pytest.mark.parametrize(("status", "ends_all"), [(403, False), (401, True)])
async def test_denied_access_to_one_account(status: int, ends_all: bool) -> None:
    """A 403 with ``access_denied`` may concern one account, so the others are read. A 401 ends the sweep."""

    async def respond(request: web.Request) -> web.Response:
        if request.query["account_id"] == "1":
            return web.json_response({"errors": [{"code": "access_denied"}]}, status=status)
        return web.json_response({"data": [{"id": str(number), "type": "tag"} for number in range(9)]})

    async with handler_server(respond) as url, client_of(url) as lf:
        rows = lf.sweep(["1", "2", "3"], lambda account: account.tags.list())
        with pytest.raises(AuthenticationError if ends_all else IncompleteListError, match="access_denied"):
            got = [account async for account, _ in rows]
        if not ends_all:
            got = list[str]()
            with pytest.raises(IncompleteListError, match="Account 1: 403"):
                async for account, _ in rows:
                    got.append(account)
            assert sorted(got) == ["2"] * 9 + ["3"] * 9


async def test_incomplete_lists_name_their_account() -> None:
    """The error of an incomplete list names each account with missing rows."""

    async def respond(request: web.Request) -> web.Response:
        account, counts = request.query["account_id"], {"page_count": 9, "total_count": 9}
        data = [{"id": "same", "type": "tag"}] if account != "3" else [{"id": str(n), "type": "tag"} for n in range(9)]
        return web.json_response({"data": data, "meta": {"pagination": counts}})

    async with handler_server(respond) as url, client_of(url) as lf:
        for accounts, incomplete in ((["1", "2", "3"], ["1", "2"]), (["1", "3"], ["1"])):
            with pytest.raises(IncompleteListError) as caught:
                async for _ in lf.sweep(accounts, lambda account: account.tags.list()):
                    pass
            names = [problem.message.partition(":")[0] for problem in caught.value.problems]
            assert sorted(names) == [f"Account {account_id}" for account_id in incomplete]


async def test_many_problems_are_counted() -> None:
    """Of many rows that cannot be decoded, the error contains the first ones and the number of all."""

    async def respond(request: web.Request) -> web.Response:
        number = int(request.query["page[num]"])
        rows = [{"id": [], "type": "tag"}] * 100 if number <= 8 else []
        return web.json_response({"data": rows, "meta": {"pagination": {"page_count": 8, "total_count": 800}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match=r"^1,600 rows or parts of these lists") as caught:
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


async def test_list_of_another_account_is_rejected() -> None:
    """A function that does not use the client of its argument is rejected before anything is sent."""
    async with sandbox_of(2) as sandbox, client_for(sandbox) as lf:
        first, second = sandbox.account_ids
        copy = lf.with_options(account_id=first)
        shared = copy.tags.list()
        for list_of in (
            lambda _: lf.tags.list(),
            lambda _: copy.tags.list(),
            lambda account: account.tags.list(account_id=first),
            lambda _: shared,
        ):
            with pytest.raises(ConfigurationError, match=r"the account \d+ reads the account (\d+|of the key)\."):
                lf.sweep([first, second], list_of)
        assert [
            account
            async for account, _ in lf.sweep(
                [first], lambda _: copy.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date)
            )
        ]
        assert {request.operation for request in sandbox.ledger.requests} == {"search_web_visits"}


async def test_invalid_key_stops_all_accounts() -> None:
    """A key that becomes invalid ends the iteration, and nothing more is sent."""
    async with sandbox_of(3) as sandbox, client_for(sandbox) as lf:
        pages = 0
        with pytest.raises(AuthenticationError):
            async for _ in search_visits(sandbox, lf).pages():
                pages += 1
                sandbox.api_key = "another"
        sent = lf.stats.requests  # the server may receive some of them later
        await asyncio.sleep(0.05)
        assert lf.stats.requests == sent <= pages + 16 * 3
        assert len(sandbox.ledger.requests) <= sent


async def test_slow_account_does_not_stop_others() -> None:
    """A deadline applies to each call, so that only the slow account is incomplete."""

    async def respond(request: web.Request) -> web.Response:
        account = request.query["account_id"]
        if account == "2":
            await asyncio.sleep(30)
        return web.json_response({"data": [{"id": f"{account}-{number}", "type": "tag"} for number in range(3)]})

    got = list[str]()
    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="Account 2: No time is left"):
            async for _, tag in lf.with_options(deadline=0.3).sweep(
                ["1", "2", "3"], lambda account: account.tags.list()
            ):
                got.append(tag.id)
    assert sorted(got) == ["1-0", "1-1", "1-2", "3-0", "3-1", "3-2"]


async def test_unavailable_limiter_stops_all_accounts() -> None:
    """If the shared rate limiter is unavailable, each account tries it at most once."""
    acquired = 0

    class Down:
        async def acquire(self) -> None:
            nonlocal acquired
            acquired += 1
            raise RateLimiterUnavailableError("The limiter does not respond.")

        def pause(self, seconds: float) -> None: ...

    async with sandbox_of(5) as sandbox, client_for(sandbox, limiter=Down()) as lf:
        with pytest.raises(RateLimiterUnavailableError):
            async for _ in search_visits(sandbox, lf):
                pass
    assert acquired <= 5


async def test_budget_covers_all_accounts() -> None:
    """A budget around the loop applies to all accounts together."""
    async with sandbox_of(3) as sandbox, client_for(sandbox) as lf:
        async with lf.budget(max_requests=10):
            with pytest.raises(BudgetExceededError):
                async for _ in search_visits(sandbox, lf):
                    pass
        assert len(sandbox.ledger.requests) <= 10


async def test_requested_pages_are_returned_before_a_used_up_budget() -> None:
    """After the budget of all accounts is used up, the pages that were already requested are returned."""
    has_failed = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        account_id = request.query["account_id"]
        if account_id == "2":
            await has_failed.wait()
        rows = [{"id": f"{account_id}-{number}", "type": "company", "attributes": {}} for number in range(2)]
        return web.json_response({"data": rows, "meta": {"next_cursor": "n"}})

    def search(account: AsyncLeadfeeder) -> Pager[CompanySummary]:
        return account.companies.search(search_terms=["nord"])

    async with handler_server(handle) as url, client_of(url, retries=0) as lf:
        got = list[str]()
        async with lf.budget(max_requests=2):
            with pytest.raises(BudgetExceededError):
                async for account_id, company in lf.sweep(["1", "2"], search):
                    got.append(company.id)
                    if account_id == "1":
                        asyncio.get_running_loop().call_later(0.1, has_failed.set)
        assert sorted(got) == ["1-0", "1-1", "2-0", "2-1"]


async def test_early_exit_cancels_all_accounts() -> None:
    """After the iteration is closed, no task of it is left and the client stays usable."""
    async with sandbox_of(3, latency=0.1) as sandbox, client_for(sandbox) as lf:
        await lf.users.me()
        before = client_tasks()
        pages = search_visits(sandbox, lf).__aiter__()
        assert (await anext(pages))[0] in sandbox.account_ids
        assert client_tasks() > before
        await pages.aclose()
        assert await client_tasks_after_cancellation() == before
        assert await lf.users.me()


async def test_cancellation_ends_iteration() -> None:
    """A canceled iteration ends immediately although no response arrives."""
    async with sandbox_of(2, latency=30) as sandbox, client_for(sandbox) as lf:
        task = asyncio.create_task(anext(aiter(search_visits(sandbox, lf))))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await lf.aclose()


@pytest.mark.parametrize("scoped", [False, True])
@pytest.mark.parametrize("operation", ["tags", "companies"])
async def test_canceled_sweep_sends_nothing_more(scoped: bool, operation: str) -> None:
    """A sweep that is canceled twice, or by an anyio scope, ends its requests, so that later pages are not charged."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        await asyncio.sleep(0.2)
        rows = [{"id": one, "type": "company"} for one in request.query.get("ids", "1").split(",")]
        return web.json_response({"data": rows, "meta": {"pagination": {"total_count": 400}}})

    def lists(account: AsyncLeadfeeder) -> Pager[Any]:
        if operation == "tags":
            return account.tags.list()
        return account.companies.get_many([str(number) for number in range(400)])

    async with handler_server(respond) as url, client_of(url) as lf:
        before = client_tasks()

        async def read() -> None:
            async for _ in lf.sweep(["1", "2"], lists):
                pass

        if scoped:
            with anyio.move_on_after(0.1):
                await read()
        else:
            task = asyncio.create_task(read())
            await asyncio.sleep(0.1)
            for _ in range(2):
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task
        sent = requests
        await asyncio.sleep(0.3)
        assert requests == sent
        assert client_tasks() == before
        assert lf.stats.in_flight == 0


async def test_paid_batches_are_returned_before_an_invalid_key() -> None:
    """Batches that were requested, and so may have been charged, are returned after another account has failed."""
    charged = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal charged
        ids = request.query["ids"].split(",")
        if request.query["account_id"] == "2":
            await asyncio.sleep(0.05)
            return web.json_response({}, status=401)
        charged += len(ids)
        rows = [{"id": one, "type": "company"} for one in ids]
        return web.json_response({"data": rows, "meta": {"credits": {"charged": len(ids)}}})

    ids, got = [str(number) for number in range(3_000)], 0
    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(AuthenticationError):
            async for _, page in lf.sweep(["1", "2"], lambda account: account.companies.get_many(ids)).pages():
                got += len(page.items)
                await asyncio.sleep(0.05)
    assert got == charged < 3_000


async def test_rejected_batch_is_not_split_after_an_invalid_key() -> None:
    """A batch that the server rejects is not requested in parts after the list of another account has failed."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        if request.query["account_id"] == "2":
            await asyncio.sleep(0.05)
            return web.json_response({}, status=401)
        requests += 1
        ids = request.query["ids"].split(",")
        await asyncio.sleep(0.02)
        if "7" in ids or len(ids) > 1:
            return web.json_response({}, status=404)
        return web.json_response({"data": [{"id": ids[0], "type": "company"}]})

    ids = [str(number) for number in range(800)]
    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(AuthenticationError):
            async for _ in lf.sweep(["1", "2"], lambda account: account.companies.get_many(ids)):
                pass
    assert requests <= 20


async def test_string_is_not_a_list_of_accounts() -> None:
    """A single ID in place of a list is rejected."""
    async with sandbox_of(1) as sandbox, client_for(sandbox) as lf:
        with pytest.raises(ConfigurationError):
            search_visits(sandbox, lf, "310042")


async def test_accounts_and_functions_that_are_not_ids_and_lists() -> None:
    """The errors name what to pass: the id of an account, and a function that returns a list."""
    async with sandbox_of(1) as sandbox, client_for(sandbox) as lf:
        accounts: Any = await lf.accounts.list()
        with pytest.raises(ConfigurationError, match=r"Pass the `id` of an account"):
            lf.sweep(list(accounts.data), lambda account: account.tags.list())
        wrong: Any = lambda account: account  # noqa: E731
        with pytest.raises(ConfigurationError, match=r"must be a list of lf, such as lf\.tags\.list\(\)"):
            lf.sweep([sandbox.account_id], wrong)


async def test_pages_that_charge_are_requested_when_needed() -> None:
    """No page of a list that charges is requested before the rows of the one before it were taken."""
    requested = list[str]()

    async def respond(request: web.Request) -> web.Response:
        account, cursor = request.query["account_id"], request.query.get("page[cursor]", "0")
        requested.append(f"{account}/{cursor}")
        row = {"id": f"{account}.{cursor}", "type": "signal", "attributes": {}}
        following = str(int(cursor) + 1) if cursor != "2" else None
        return web.json_response({"data": [row], "meta": {"next_cursor": following, "credits": {"charged": 1}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        sweep = lf.sweep(["a", "b"], lambda account: account.companies.search_signals(company_ids=["1"]))
        async with aclosing(sweep.__aiter__()) as rows:
            got = [(await anext(rows))[1].id]
            assert requested == ["a/0"]
            got += [row.id async for _, row in rows]
    assert got == [f"{account}.{page}" for account in "ab" for page in range(3)]
    assert requested == [f"{account}/{page}" for account in "ab" for page in range(3)]
