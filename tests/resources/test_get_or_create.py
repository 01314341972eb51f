"""``get_or_create`` of tags and lists."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    ConfigurationError,
    DeadlineExceededError,
    LeadfeederError,
    OutcomeUnknownError,
    UnexpectedStatusError,
)
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_of
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
    """A call waits for another one no longer than its deadline, and not at all for one of another account."""
    await lf.users.me()
    sandbox.latency = 1.0
    slow = asyncio.create_task(lf.tags.get_or_create("Hot"))
    await asyncio.sleep(0.05)
    with pytest.raises(DeadlineExceededError):
        await lf.with_options(deadline=0.2).tags.get_or_create("Cold")
    sandbox.latency = 0.0
    other = asyncio.create_task(lf.tags.get_or_create("Cold", account_id="2"))
    await asyncio.wait([other], timeout=0.5)
    assert (other.done(), slow.done()) == (True, False)
    await slow
    with pytest.raises(LeadfeederError):
        await other
