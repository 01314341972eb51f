"""Answers that no server should give, and what they must not lead to."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from leadfeeder_async import (
    APIStatusError,
    AsyncLeadfeeder,
    AttemptEvent,
    BadRequestError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    IncompleteListError,
    InvalidIdError,
    LeadfeederError,
    OutcomeUnknownError,
    RedirectError,
)
from leadfeeder_async._core import codec, normalize
from tests.support.clients import KEY, client_of
from tests.support.servers import handler_server, http, raw_server


def answering(text: str) -> Any:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/json")

    return answer


CUT = [
    (rb"cut \ud83d", rb"cut \ufffd"),
    (rb"\ude00 first", rb"\ufffd first"),
    (rb"\uD83D\uD83D\uDE00", rb"\ufffd\uD83D\uDE00"),
    (rb"whole \ud83d\ude00", rb"whole \ud83d\ude00"),
    (rb"no escape \\ud83d", rb"no escape \\ud83d"),
]


@pytest.mark.parametrize(("text", "mended"), CUT)
def test_halves_of_characters_are_mended(text: bytes, mended: bytes) -> None:
    """Half a character becomes the sign for what is missing; whole ones and texts that look like one stay."""
    assert normalize.replace_lone_surrogates(text) == mended
    json.loads(b'"' + mended + b'"').encode()


async def test_text_cut_within_a_character_costs_nothing() -> None:
    """A page, a paid page, a raw page and an export with such a text come whole, and what was charged is known."""
    rows = ",".join(f'{{"id":"{n}","type":"x","attributes":{{"name":"{n} \\ud83d"}}}}' for n in range(3))
    body = f'{{"data":[{rows}],"meta":{{"credits":{{"charged":3}}}}}}'
    async with handler_server(answering(body)) as url, client_of(url) as lf:
        tags = await lf.tags.list().collect()
        assert [tag.name for tag in tags] == ["0 \ufffd", "1 \ufffd", "2 \ufffd"]
        async with lf.budget(max_credits=5) as spent:
            assert len(await lf.companies.get_many(["0", "1", "2"]).collect()) == 3
        assert (spent.credits, spent.reserved) == (3, 0)
        async for page in lf.tags.list().raw_pages():
            assert [json.loads(item)["id"] for item in page.items] == ["0", "1", "2"]


async def test_records_that_all_lead_to_each_other_end() -> None:
    """Included records that refer to one another in every way are put in place a bounded number of times."""
    everyone = range(12)
    included = [
        {
            "id": str(one),
            "type": "company",
            "relationships": {"tags": {"data": [{"id": str(other), "type": "company"} for other in everyone]}},
        }
        for one in everyone
    ]
    row = {"id": "v", "type": "web_visit", "relationships": {"company": {"data": {"id": "0", "type": "company"}}}}
    body = json.dumps({"data": [row], "included": included})
    started = time.process_time()
    async with handler_server(answering(body)) as url, client_of(url) as lf:
        (visit,) = await lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-01").collect()
    assert visit.company is not None
    assert visit.company.id == "0"
    assert time.process_time() - started < 20  # without a bound it would take years


ECHOES = [
    ('{"errors":[{"code":"invalid_api_key","title":"The key KEY is revoked"}]}', "me"),
    ('{"data":[],"errors":[{"title":"key KEY"}]}', "tags"),
    ('{"data":[{"id":5.5,"debug":"KEY"}]}', "tags"),
    ('{"data":{"id":5.5,"debug":"KEY"}}', "me"),
    ('{"data":[],"key":"KEY"', "tags"),
    ('{"data":[{"id":"1","x":"KEY \udce9"}]}', "raw"),
]


@pytest.mark.parametrize(("text", "call"), ECHOES)
async def test_key_that_a_good_status_echoes_is_shown_nowhere(text: str, call: str) -> None:
    """An answer 200 that holds the key may become an error; that and the event of the attempt do not hold it."""
    body = text.replace("KEY", KEY).encode(errors="surrogateescape")
    events = list[AttemptEvent]()

    async def raw_rows(lf: AsyncLeadfeeder) -> None:
        async for page in lf.tags.list().raw_pages():
            if page.problems:
                raise page.problems[0]

    calls: dict[str, Any] = {
        "me": lambda lf: lf.users.me(),
        "tags": lambda lf: lf.tags.list().collect(),
        "raw": raw_rows,
    }
    async with raw_server(http(body, headers=f"X-Request-Id: {KEY}\r\n")) as server:
        async with client_of(server.url, retries=0, on_attempt=events.append) as lf:
            with pytest.raises(LeadfeederError) as caught:
                await calls[call](lf)
    told = [caught.value, *getattr(caught.value, "problems", ())]
    assert KEY not in repr([(str(one), one.args, vars(one), one.__context__, one.__cause__) for one in told])
    assert KEY not in repr(events)
    assert "***" in repr((told, [str(one) for one in told], events))


@pytest.mark.parametrize("target", ["http://[broken", "caf\xe9", ""])
async def test_redirect_to_nowhere_is_a_redirect(target: str) -> None:
    """Whatever Location holds, the answer is a RedirectError, and for what creates an unknown outcome."""
    answer = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    async with raw_server(answer) as server, client_of(server.url) as lf:
        with pytest.raises(RedirectError):
            await lf.users.me()
        with pytest.raises((RedirectError, OutcomeUnknownError)):
            await lf.tags.create(name="x")


async def test_header_that_is_no_text_can_be_printed() -> None:
    """A request id of odd bytes becomes a text that UTF-8 can encode, in the error and in the event."""
    answer = b"HTTP/1.1 400 Bad\r\nX-Request-Id: caf\xe9\r\nContent-Length: 2\r\n\r\n{}"
    events = list[AttemptEvent]()
    async with raw_server(answer) as server, client_of(server.url, on_attempt=events.append) as lf:
        with pytest.raises(BadRequestError) as caught:
            await lf.users.me()
    assert str(caught.value).encode()
    assert (caught.value.request_id, events[0].request_id) == ("caf?", "caf?")


@pytest.mark.parametrize("text", ['{"data":null,"errors":[{"code":"entity_not_found"}]}', '{"errors":[{"code":"x"}]}'])
async def test_errors_in_place_of_data_are_raised(text: str) -> None:
    """Null beside errors is no data: a read and a change both raise what the server says."""
    async with handler_server(answering(text)) as url, client_of(url) as lf:
        with pytest.raises(APIStatusError):
            await lf.tags.get("1")
        with pytest.raises(APIStatusError):
            await lf.tags.delete("1")


async def test_route_of_one_s_own_may_answer_any_json() -> None:
    """``request`` decodes a list as well as an object, and still refuses what is no JSON."""
    async with handler_server(answering("[1, 2]")) as url, client_of(url) as lf:
        assert await lf.request("GET", "/v1/numbers", returns=list[int]) == [1, 2]
    async with handler_server(answering("[1, 2")) as url, client_of(url) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.request("GET", "/v1/numbers", returns=list[int])
        with pytest.raises(DecodeError):
            await lf.request("GET", "/v1/numbers", returns=list[int], may_charge=False)


async def test_looking_up_the_account_keeps_to_the_deadline() -> None:
    """Calls that wait for another's look-up end at their own deadline, and do not begin a new one."""

    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with handler_server(never) as url, AsyncLeadfeeder(KEY, base_url=url) as lf:
        hurried, loop = lf.with_options(deadline=0.4), asyncio.get_running_loop()

        async def ends_after(start: float) -> float:
            await asyncio.sleep(start)
            began = loop.time()
            with pytest.raises(DeadlineExceededError):
                await hurried.tags.get("1")
            return loop.time() - began

        assert max(await asyncio.gather(ends_after(0.0), ends_after(0.2))) < 0.6


async def test_empty_account_is_no_account(lf: AsyncLeadfeeder) -> None:
    """An empty account id is refused, on a call and on a copy, and does not stand for the client's own."""
    with pytest.raises(ConfigurationError, match="account_id"):
        await lf.tags.delete("77", account_id="")
    for wrong in ("", 310042):
        with pytest.raises(ConfigurationError, match="account_id"):
            lf.with_options(account_id=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["https://user:pa55@api.test", "ftp://user:pa55@api.test", "http://[broken"])
def test_address_with_a_password_is_refused_unseen(address: str) -> None:
    """A base URL with a name and password is refused without being shown, and a broken one by name."""
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        AsyncLeadfeeder(KEY, base_url=address)
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize("path", ["v1/tags/{id}", "3/v1/tags", "/v1/t\n", "/v1/{a}/{b}"])
async def test_path_that_cannot_be_one_is_refused(path: str) -> None:
    """A path without its slash would lead to another host; one with places for other ids than the call's to nowhere."""
    with pytest.raises(ConfigurationError, match="path"):
        async with AsyncLeadfeeder(KEY, account_id="1", base_url="http://127.0.0.1:9", paths={"get_tag": path}) as lf:
            await lf.tags.get("1")


async def test_half_a_character_is_not_sent(lf: AsyncLeadfeeder) -> None:
    """What UTF-8 cannot encode is refused by name, in a body, a query and a path."""
    with pytest.raises(ConfigurationError, match="unpaired surrogate"):
        await lf.companies.search(search_terms=["a\ud800"]).collect()
    with pytest.raises(ConfigurationError, match="unpaired surrogate"):
        await lf.request("GET", "/v1/tags", params={"q": "a\ud800"})
    with pytest.raises(InvalidIdError):
        await lf.tags.get("a\ud800")


async def test_bad_row_beside_half_a_character_costs_itself(tmp_path: Path) -> None:
    """Where one row cannot be read, the others are read one by one, mended too."""
    body = r'{"data":[{"id":null},{"id":"1","attributes":{"name":"a \ud83d"}}]}'
    async with handler_server(answering(body)) as url, client_of(url) as lf:
        got = list[str | None]()
        with pytest.raises(IncompleteListError) as caught:
            async for tag in lf.tags.list():
                got.append(tag.name)
    assert (got, len(caught.value.problems)) == (["a \ufffd"], 1)
    assert codec.decode_meta(b'{"x":"\\ud83d","meta":{"credits":{"charged":7}}}').charged == 7
