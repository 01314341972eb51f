"""``get_or_create`` of tags and lists."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    ConfigurationError,
    DeadlineExceededError,
    LeadfeederError,
    OutcomeUnknownError,
    RedirectError,
    UnexpectedStatusError,
)
from leadfeeder_async.models import List
from leadfeeder_async.models.request_bodies import Scope
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import handler_server


async def test_existing_records_are_returned(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A name is found without case and surrounding spaces, and a list only in its scope."""
    tag = sandbox.records.tags.add({"name": "Hot lead", "color": 1})
    contacts = sandbox.records.lists.add({"name": "DACH", "scope": "contact"})
    assert (await lf.tags.get_or_create(" hot LEAD")).id == tag
    assert (await lf.lists.get_or_create("dach", scope="contact")).id == contacts
    assert sandbox.ledger.creations == []
    assert (await lf.lists.get_or_create("DACH", scope="company")).id == sandbox.ledger.creations[0]


async def test_concurrent_calls_create_one_record(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Concurrent calls of a client and its copies create one tag."""
    sandbox.latency = 0.01
    copies = [lf, lf.with_options(timeout=5), lf.with_options(retries=1)]
    tags = await asyncio.gather(*(copy.tags.get_or_create("Hot", color=3) for copy in copies * 3))
    assert len({tag.id for tag in tags}) == len(sandbox.ledger.creations) == 1
    assert tags[0].attributes.color == 3


async def test_duplicates_are_named(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """If several records have the name, the error names their ids and none is chosen."""
    ids = [sandbox.records.tags.add({"name": name, "color": 1}) for name in ("Hot", "hot")]
    with pytest.raises(ConfigurationError, match=f"2 tags with the name 'HOT'.*{ids[0]}, {ids[1]}"):
        await lf.tags.get_or_create("HOT")
    with pytest.raises(ConfigurationError, match="empty"):
        await lf.lists.get_or_create(" ", scope="company")


async def test_lost_response_of_a_concurrent_call(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Calls that waited for one whose response was lost create nothing, because the list may not show its record yet."""
    sandbox.latency = 0.01
    sandbox.fail_next(502, operation="create_tag")
    calls = (lf.tags.get_or_create(name) for name in ("Hot", " HOT", "hot", "Cold"))
    *hot, cold = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in hot] == [OutcomeUnknownError] * 3
    assert [cold.id] == sandbox.ledger.creations if not isinstance(cold, BaseException) else cold
    assert (await lf.tags.get_or_create("Hot")).id in sandbox.ledger.creations


class SlowList:
    """A server that lists a new tag or list half a second later, and lets a test handle the first creation."""

    def __init__(self, fail: Callable[[], Awaitable[web.Response | None]]) -> None:
        self.fail = fail
        self.creations = 0
        self.lists_fail = 0

    async def __call__(self, request: web.Request) -> web.Response:
        """Answer a request."""
        if request.method != "POST":
            self.lists_fail -= 1
            return web.json_response({"data": [], "meta": {}}, status=403 if self.lists_fail >= 0 else 200)
        self.creations += 1
        response = await self.fail() if self.creations == 1 else None
        attributes = (await request.json())["data"]["attributes"]
        record = {"id": str(self.creations), "type": "tag", "attributes": attributes}
        return response or web.json_response({"data": record}, status=201)


async def _nothing() -> None:
    return None


async def _bad_gateway() -> web.Response:
    return web.json_response({}, status=502)


async def _slow() -> None:
    await asyncio.sleep(0.3)


async def _redirect() -> web.Response:
    return web.Response(status=302)


async def test_created_record_that_is_not_listed_yet() -> None:
    """Calls that waited for the creation of a record get it, also if the list does not show it yet."""
    server = SlowList(_nothing)
    async with handler_server(server) as url, client_of(url) as lf:
        tags = await asyncio.gather(*(lf.tags.get_or_create("Hot") for _ in range(4)))
        assert ({tag.id for tag in tags}, server.creations) == ({"1"}, 1)
        assert lf._executor._state.record_locks._locks == {}


async def test_deleted_record_is_not_returned_to_later_calls(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A call only gets the result of another one if that ended while it was waiting."""
    sandbox.latency = 0.01
    first = (await lf.tags.get_or_create("Hot")).id
    ids, is_over = list[str](), False

    async def call_often() -> None:
        while not is_over:
            ids.append((await lf.tags.get_or_create("Hot")).id)

    callers = [asyncio.create_task(call_often()) for _ in range(5)]
    await asyncio.sleep(0.05)
    await lf.tags.delete(first)
    await asyncio.sleep(0.05)  # the calls that began before
    ids.clear()
    await asyncio.sleep(0.1)
    is_over = True
    await asyncio.gather(*callers)
    assert len(ids) > 5
    assert first not in ids


async def test_canceled_creation() -> None:
    """If a call is canceled while its request is under way, a call that waited for it creates nothing."""
    server = SlowList(_slow)
    async with handler_server(server) as url, client_of(url) as lf:
        first = asyncio.create_task(lf.tags.get_or_create("Hot"))
        while not server.creations:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(lf.tags.get_or_create("HOT"))
        await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(OutcomeUnknownError, match=r"A concurrent call stopped while it created the tag 'Hot'\."):
            await second
        assert (first.cancelled(), server.creations) == (True, 1)


async def test_creation_that_is_canceled_before_it_is_sent(sandbox: Sandbox) -> None:
    """If a call is canceled while it waits for the rate limit, a call that waited for it creates the record."""
    async with client_for(sandbox, rate=2, burst=1) as lf:
        first = asyncio.create_task(lf.tags.get_or_create("Hot"))
        while not lf.stats.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # the list has arrived
        second = asyncio.create_task(lf.tags.get_or_create("Hot"))
        await asyncio.sleep(0.01)
        first.cancel()
        assert [(await second).id] == sandbox.ledger.creations


@pytest.mark.parametrize(
    ("fail", "error"), [(_bad_gateway, OutcomeUnknownError), (_redirect, RedirectError)], ids=["502", "redirect"]
)
async def test_creation_of_unknown_outcome(
    fail: Callable[[], Awaitable[web.Response]], error: type[LeadfeederError]
) -> None:
    """Whatever left the outcome unknown, calls that waited create nothing, in any spelling of the name."""
    server = SlowList(fail)
    async with handler_server(server) as url, client_of(url) as lf:
        names = ("Caf\u00e9 A", "Cafe\u0301 A", "CAFE\u0301\u00a0 a")
        results = await asyncio.gather(*(lf.tags.get_or_create(name) for name in names), return_exceptions=True)
        assert [type(result) for result in results] == [error, OutcomeUnknownError, OutcomeUnknownError]
        assert server.creations == 1


async def test_failed_look_up_after_a_lost_response() -> None:
    """If the records cannot be requested after a lost response, the error is still that the outcome is unknown."""
    server = SlowList(_bad_gateway)

    async def lose() -> web.Response:
        server.lists_fail = 1
        return await _bad_gateway()

    server.fail = lose
    async with handler_server(server) as url, client_of(url) as lf:
        results = await asyncio.gather(*(lf.tags.get_or_create("Hot") for _ in range(2)), return_exceptions=True)
    assert ([type(result) for result in results], server.creations) == ([OutcomeUnknownError] * 2, 1)


async def test_lists_of_both_scopes() -> None:
    """A lost response of one scope does not concern a list of the same name in the other scope."""
    server = SlowList(_bad_gateway)
    async with handler_server(server) as url, client_of(url) as lf:
        scopes: tuple[Scope, ...] = ("company", "contact")
        calls = (lf.lists.get_or_create("DACH", scope=scope) for scope in scopes)
        lost, created = await asyncio.gather(*calls, return_exceptions=True)
    assert (type(lost), type(created)) == (OutcomeUnknownError, List)


async def test_record_without_id() -> None:
    """If the server creates a record without an id and does not list it, no caller gets it, and none creates another."""
    creations = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal creations
        creations += request.method == "POST"
        record = {"id": "", "type": "tag", "attributes": {"name": "Hot"}}
        return web.json_response({"data": record if request.method == "POST" else [], "meta": {}})

    async with handler_server(handle) as url, client_of(url) as lf:
        calls = [lf.tags.get_or_create("Hot") for _ in range(3)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert ([type(result) for result in results], creations) == ([OutcomeUnknownError] * 3, 1)


async def test_lost_response(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """If the response is lost after the record was created, it is found in the list. Otherwise the error is raised."""
    sandbox.fail_next(502, operation="create_tag", after_work=True)
    assert (await lf.tags.get_or_create("Hot")).id in sandbox.ledger.creations
    sandbox.fail_next(502, operation="create_list", after_work=True)
    assert (await lf.lists.get_or_create("Nordics", scope="company")).id in sandbox.ledger.creations
    sandbox.fail_next(502, operation="create_tag")
    with pytest.raises(OutcomeUnknownError):
        await lf.tags.get_or_create("Cold")
    sandbox.fail_next(502, operation="create_list")
    with pytest.raises(OutcomeUnknownError):
        await lf.lists.get_or_create("DACH", scope="company")


@pytest.mark.parametrize(
    ("name", "stored"), [("Mu\u0308ller", "M\u00fcller"), ("Hot  lead", "Hot lead"), ("STRASSE", "Stra\u00dfe")]
)
async def test_names_that_a_server_stores_in_another_form(name: str, stored: str, lf: AsyncLeadfeeder) -> None:
    """A name is found in the Unicode form and with the spaces that the server stores."""
    tag = (await lf.tags.create(name=stored)).data
    assert (await lf.tags.get_or_create(name)).id == tag.id


async def test_conflict_with_another_program(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """If the server responds that the record exists, it is found in the list. Otherwise the error is raised."""
    sandbox.fail_next(409, operation="create_tag", after_work=True)
    assert (await lf.tags.get_or_create("Hot")).id in sandbox.ledger.creations
    sandbox.fail_next(409, operation="create_tag")
    with pytest.raises(UnexpectedStatusError):
        await lf.tags.get_or_create("Cold")


async def test_deadline_while_another_call_creates(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A call waits for one with the same name no longer than its deadline, and not at all for any other."""
    await lf.users.me()
    sandbox.latency = 1.0
    slow = asyncio.create_task(lf.tags.get_or_create("Hot"))
    await asyncio.sleep(0.05)
    with pytest.raises(DeadlineExceededError):
        await lf.with_options(deadline=0.2).tags.get_or_create("hot")
    sandbox.latency = 0.0
    other = asyncio.create_task(lf.tags.get_or_create("Hot", account_id="2"))
    cold = asyncio.create_task(lf.tags.get_or_create("Cold"))
    await asyncio.wait([other, cold], timeout=0.5)
    assert (other.done(), cold.done(), slow.done()) == (True, True, False)
    await asyncio.gather(slow, cold)
    with pytest.raises(LeadfeederError):
        await other
