"""Responses that violate the contract, and invalid arguments."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

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


def responding(text: str) -> Any:
    async def respond(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/json")

    return respond


SURROGATES = [
    (rb"cut \ud83d", rb"cut \ufffd"),
    (rb"\ude00 first", rb"\ufffd first"),
    (rb"\uD83D\uD83D\uDE00", rb"\ufffd\uD83D\uDE00"),
    (rb"whole \ud83d\ude00", rb"whole \ud83d\ude00"),
    (rb"no escape \\ud83d", rb"no escape \\ud83d"),
]


@pytest.mark.parametrize(("text", "repaired"), SURROGATES)
def test_unpaired_surrogates_are_replaced(text: bytes, repaired: bytes) -> None:
    """Unpaired surrogates become U+FFFD. Pairs and escaped backslashes stay."""
    assert normalize.replace_lone_surrogates(text) == repaired
    json.loads(b'"' + repaired + b'"').encode()


async def test_unpaired_surrogate_keeps_all_rows() -> None:
    """Lists, billed lists and raw pages with unpaired surrogates are complete, and the charge is known."""
    rows = ",".join(f'{{"id":"{n}","type":"x","attributes":{{"name":"{n} \\ud83d"}}}}' for n in range(3))
    body = f'{{"data":[{rows}],"meta":{{"credits":{{"charged":3}}}}}}'
    async with handler_server(responding(body)) as url, client_of(url) as lf:
        tags = await lf.tags.list().collect()
        assert [tag.name for tag in tags] == ["0 \ufffd", "1 \ufffd", "2 \ufffd"]
        async with lf.budget(max_credits=5) as spent:
            assert len(await lf.companies.get_many(["0", "1", "2"]).collect()) == 3
        assert (spent.credits, spent.reserved) == (3, 0)
        async for page in lf.tags.list().raw_pages():
            assert [json.loads(item)["id"] for item in page.items] == ["0", "1", "2"]


async def test_circular_included_records() -> None:
    """Included records that refer to each other are resolved a limited number of times."""
    numbers = range(12)
    included = [
        {
            "id": str(number),
            "type": "company",
            "relationships": {"tags": {"data": [{"id": str(other), "type": "company"} for other in numbers]}},
        }
        for number in numbers
    ]
    row = {"id": "v", "type": "web_visit", "relationships": {"company": {"data": {"id": "0", "type": "company"}}}}
    body = json.dumps({"data": [row], "included": included})
    started = time.process_time()
    async with handler_server(responding(body)) as url, client_of(url) as lf:
        (visit,) = await lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-01").collect()
    assert visit.company is not None
    assert visit.company.id == "0"
    assert time.process_time() - started < 20  # without a limit, this takes years


ECHOES = [
    ('{"errors":[{"code":"invalid_api_key","title":"The key KEY is revoked"}]}', "me"),
    ('{"data":[],"errors":[{"title":"key KEY"}]}', "tags"),
    ('{"data":[{"id":5.5,"debug":"KEY"}]}', "tags"),
    ('{"data":{"id":5.5,"debug":"KEY"}}', "me"),
    ('{"data":[],"key":"KEY"', "tags"),
    ('{"data":[{"id":"1","x":"KEY \udce9"}]}', "raw"),
]


@pytest.mark.parametrize(("text", "call"), ECHOES)
async def test_key_in_successful_response(text: str, call: str) -> None:
    """Neither the error nor the event of a response with status 200 contains the key."""
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
    errors = [caught.value, *getattr(caught.value, "problems", ())]
    assert KEY not in repr(
        [(str(error), error.args, vars(error), error.__context__, error.__cause__) for error in errors]
    )
    assert KEY not in repr(events)
    assert "***" in repr((errors, [str(error) for error in errors], events))


@pytest.mark.parametrize("target", ["http://[broken", "caf\xe9", ""])
async def test_redirect_with_invalid_location(target: str) -> None:
    """A redirect with an invalid Location header raises RedirectError."""
    response = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    async with raw_server(response) as server, client_of(server.url) as lf:
        with pytest.raises(RedirectError):
            await lf.users.me()
        with pytest.raises((RedirectError, OutcomeUnknownError)):
            await lf.tags.create(name="x")


async def test_request_id_that_is_not_ascii() -> None:
    """Invalid characters of a request ID are replaced in the error and in the event."""
    response = b"HTTP/1.1 400 Bad\r\nX-Request-Id: caf\xe9\r\nContent-Length: 2\r\n\r\n{}"
    events = list[AttemptEvent]()
    async with raw_server(response) as server, client_of(server.url, on_attempt=events.append) as lf:
        with pytest.raises(BadRequestError) as caught:
            await lf.users.me()
    assert str(caught.value).encode()
    assert (caught.value.request_id, events[0].request_id) == ("caf?", "caf?")


REPORTS = [
    '"errors":[{"code":"partial_result"}]',
    '"errors":{"code":"partial_result"}',
    '"errors":["partial_result"]',
    '"errors":"partial_result"',
    '"errors":{"shards":["partial_result"]}',
    '"error":{"code":"partial_result"}',
    '"error":"partial_result"',
    '"code":"partial_result","message":"2 of 5 shards timed out"',
    '"success":false,"message":"partial_result"',
    '"error":{"code":"partial_result","stack":"' + "x" * 70_000 + '"}',
]
"""The forms in which servers report an error with status 200."""


@pytest.mark.parametrize("report", REPORTS)
async def test_errors_beside_data_of_any_form(report: str) -> None:
    """A list is not complete if the server reports an error beside the data, in whatever form."""
    text = f'{{"data":[{{"id":"1","type":"tag"}}],{report}}}'
    async with handler_server(responding(text)) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match=r"partial_result|5 shards|too large"):
            await lf.tags.list().collect()


@pytest.mark.parametrize("report", ['"code":"OK","message":"done"', '"success":true', '"error":null', '"errors":[]'])
async def test_reports_of_success_beside_data(report: str) -> None:
    """Fields that report no error change nothing."""
    text = f'{{"data":[{{"id":"1","type":"tag"}}],{report}}}'
    async with handler_server(responding(text)) as url, client_of(url) as lf:
        assert len(await lf.tags.list().collect()) == 1


@pytest.mark.parametrize("call", ["list", "search", "match", "record"])
@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("data", ['"data":null,', ""])
async def test_errors_in_place_of_data_of_any_form(report: str, call: str, data: str) -> None:
    """An error in place of data is raised, and is not an empty list."""
    calls: dict[str, Any] = {
        "list": lambda lf: lf.tags.list().collect(),
        "search": lambda lf: lf.companies.search(search_terms=["x"]).collect(),
        "match": lambda lf: lf.companies.match([{"company_name": "x"}]),
        "record": lambda lf: lf.tags.get("1"),
    }
    async with handler_server(responding(f"{{{data}{report}}}")) as url, client_of(url) as lf:
        with pytest.raises(APIStatusError):
            await calls[call](lf)


@pytest.mark.parametrize("text", ['{"data":null,"errors":[{"code":"entity_not_found"}]}', '{"errors":[{"code":"x"}]}'])
async def test_errors_without_data(text: str) -> None:
    """Errors in a response without data are raised by a read and by a write."""
    async with handler_server(responding(text)) as url, client_of(url) as lf:
        with pytest.raises(APIStatusError):
            await lf.tags.get("1")
        with pytest.raises(APIStatusError):
            await lf.tags.delete("1")


async def test_request_accepts_any_json() -> None:
    """``request`` decodes a list, and rejects invalid JSON."""
    async with handler_server(responding("[1, 2]")) as url, client_of(url) as lf:
        assert await lf.request("GET", "/v1/numbers", returns=list[int]) == [1, 2]
    async with handler_server(responding("[1, 2")) as url, client_of(url) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.request("GET", "/v1/numbers", returns=list[int])
        with pytest.raises(DecodeError):
            await lf.request("GET", "/v1/numbers", returns=list[int], may_charge=False)


async def test_account_lookup_respects_deadline() -> None:
    """Calls that wait for another call's account lookup end at their own deadline."""

    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with handler_server(never) as url, AsyncLeadfeeder(KEY, base_url=url) as lf:
        with_deadline, loop = lf.with_options(deadline=0.4), asyncio.get_running_loop()

        async def time_to_deadline(delay: float) -> float:
            await asyncio.sleep(delay)
            start = loop.time()
            with pytest.raises(DeadlineExceededError):
                await with_deadline.tags.get("1")
            return loop.time() - start

        assert max(await asyncio.gather(time_to_deadline(0.0), time_to_deadline(0.2))) < 0.6


async def test_empty_account_id(lf: AsyncLeadfeeder) -> None:
    """An empty account ID is rejected by a call and by ``with_options``."""
    with pytest.raises(ConfigurationError, match="account_id"):
        await lf.tags.delete("77", account_id="")
    for invalid in ("", 310042):
        with pytest.raises(ConfigurationError, match="account_id"):
            lf.with_options(account_id=invalid)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "address", ["https://user:pa55@api.test", "ftp://user:pa55@api.test", "http://[broken", "//a?k=pa55"]
)
def test_base_url_with_credentials(address: str) -> None:
    """A base URL with credentials or a query is rejected, and the error does not contain them."""
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        AsyncLeadfeeder(KEY, base_url=address)
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize("path", ["v1/tags/{id}", "3/v1/tags", "/v1/t\n", "/v1/{a}/{b}"])
async def test_invalid_custom_path(path: str) -> None:
    """A path without a leading slash, or with placeholders that the call does not have, is rejected."""
    with pytest.raises(ConfigurationError, match="path"):
        async with AsyncLeadfeeder(KEY, account_id="1", base_url="http://127.0.0.1:9", paths={"get_tag": path}) as lf:
            await lf.tags.get("1")


async def test_unpaired_surrogate_is_not_sent(lf: AsyncLeadfeeder) -> None:
    """An unpaired surrogate in a body, a query or a path is rejected before sending."""
    with pytest.raises(ConfigurationError, match="unpaired surrogate"):
        await lf.companies.search(search_terms=["a\ud800"]).collect()
    with pytest.raises(ConfigurationError, match="unpaired surrogate"):
        await lf.request("GET", "/v1/tags", params={"q": "a\ud800"})
    with pytest.raises(InvalidIdError):
        await lf.tags.get("a\ud800")


async def test_undecodable_row_beside_unpaired_surrogate(tmp_path: Path) -> None:
    """If one row cannot be decoded, the surrogates of the other rows are still repaired."""
    body = r'{"data":[{"id":null},{"id":"1","attributes":{"name":"a \ud83d"}}]}'
    async with handler_server(responding(body)) as url, client_of(url) as lf:
        names = list[str | None]()
        with pytest.raises(IncompleteListError) as caught:
            async for tag in lf.tags.list():
                names.append(tag.name)
    assert (names, len(caught.value.problems)) == (["a \ufffd"], 1)
    assert codec.decode_meta(b'{"x":"\\ud83d","meta":{"credits":{"charged":7}}}').charged == 7


METADATA = st.fixed_dictionaries({}, optional={"credits": st.builds(lambda n: {"charged": n}, st.integers(0, 99))})
NESTED = st.recursive(
    METADATA | st.sampled_from(["meta", '"meta":', '{"meta":{"credits":{"charged":3}}}', None, 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["meta", "data", "x"]), inner),
    max_leaves=8,
)
MEMBERS = st.lists(st.tuples(st.just("meta"), METADATA) | st.tuples(st.sampled_from(["data", "links"]), NESTED))


@given(members=MEMBERS, separators=st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
def test_metadata_at_the_end(members: list[tuple[str, Any]], separators: tuple[str, str]) -> None:
    """Metadata that is read from the end of a body is that of the outermost object, also if keys are repeated."""
    comma, colon = separators
    body = comma.join(json.dumps(key) + colon + json.dumps(value, separators=separators) for key, value in members)
    found = codec.meta_at_end(f"{{{body}}}".encode())
    expected = msgspec.json.decode(f"{{{body}}}", type=dict[str, Any]).get("meta", {})
    if found is not None:
        assert found.charged == expected.get("credits", {}).get("charged", 0)
    elif members and members[-1][0] == "meta":
        assert separators == (" , ", " : ")


@pytest.mark.parametrize("prefix", ["", "\n", " \t\r\n"])
async def test_white_space_before_the_json(prefix: str, tmp_path: Path) -> None:
    """White space before a large response costs no record that was charged."""
    ids = [str(number) for number in range(100)]
    rows = [{"id": id_, "type": "company", "attributes": {"name": f"Ü{id_}", "description": "x" * 900}} for id_ in ids]
    body = prefix + json.dumps({"data": rows, "meta": {"credits": {"charged": 100}}})
    async with handler_server(responding(body)) as url, client_of(url) as lf, lf.budget(max_credits=300) as budget:
        assert [company.id async for company in lf.companies.get_many(ids)] == ids
        await lf.companies.get_many(ids).to_file(tmp_path / "companies.ndjson")
        assert len((tmp_path / "companies.ndjson").read_bytes().splitlines()) == 100
        raw = await lf.request("GET", "/v1/companies", may_charge=True)
        assert raw["data"] == rows
    assert budget.credits == 300


@pytest.mark.parametrize("request_id", [{"id": 1}, ["a"], 1.5, True])
async def test_odd_request_id_loses_no_record(request_id: object) -> None:
    """A request id of another type is ignored, and the records beside it are returned."""
    body = {"data": [{"id": "1", "type": "company"}], "meta": {"request_id": request_id, "credits": {"charged": 1}}}
    async with raw_server(http(json.dumps(body).encode())) as server, client_of(server.url) as lf:
        assert [company.id async for company in lf.companies.get_many(["1"])] == ["1"]
        assert lf.stats.credits_charged == 1
