"""Responses that are small on the wire block neither the event loop nor fill the memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from leadfeeder_async import AttemptEvent, DecodeError, IncompleteListError, LeadfeederError
from leadfeeder_async._core import json_text, normalize
from leadfeeder_async._core.codec import MAX_ITEM_ERRORS, MIN_BYTES_PER_ROW_OF_LARGE_BODY, decode_page
from leadfeeder_async._core.executor import MAX_INLINE_BYTES, MAX_INLINE_NORMALIZED
from leadfeeder_async.pagination.problems import MAX_KEPT_PROBLEMS
from leadfeeder_async.resources.web_visits import SEARCH_WEB_VISITS
from tests.support.clients import KEY, REDACTOR, client_of
from tests.support.fork_server import ProcessServer, process_server
from tests.support.servers import handler_server, http, raw_server
from tests.support.stall import measured_stall

MIB = 1024 * 1024
SIZE = 16 * MIB

MAX_STALL = 1.5
"""Seconds. The goal is 0.05 s more than a plain decode, but the machine that runs the tests may be busy."""


def repeated(begin: bytes, part: bytes, end: bytes) -> bytes:
    """Return a body of 16 MiB that repeats a part."""
    return begin + part * (SIZE // len(part)) + end


def rows(row: Callable[[int], bytes], count: int, rest: bytes = b"") -> bytes:
    """Return a list with this number of rows."""
    return b'{"data":[' + b",".join(map(row, range(count))) + b"]" + rest + b"}"


BODIES: dict[str, Callable[[], bytes]] = {
    "escapes and a broken end": lambda: repeated(b'{"data":"', b"\\n", b'"x}'),
    "backslashes": lambda: repeated(b'{"data":"\\ud800', b"\\\\", b'"}'),
    "lone surrogates": lambda: repeated(b'{"data":"', b"\\ud800", b'"}'),
    "surrogate pairs and a lone one": lambda: repeated(b'{"data":"\\ud800', b"\\ud83d\\ude00", b'"}'),
    "escapes in a row of the wrong shape": lambda: repeated(b'{"data":[{"id":"1","type":5,"x":"', b"\\n", b'"}]}'),
    "empty objects": lambda: repeated(b'{"data":[', b"{},", b"{}]}"),
    "empty lists": lambda: repeated(b'{"data":[', b"[],", b"[]]}"),
    "numbers": lambda: repeated(b'{"data":[', b"1,", b"1]}"),
    "keys": lambda: repeated(b'{"data":{', b'"a":1,', b'"a":1}}'),
    "nested lists": lambda: b'{"data":' + b"[" * (SIZE // 2) + b"]" * (SIZE // 2) + b"}",
    "short rows": lambda: repeated(b'{"data":[', b'{"id":"123456","type":"web_visit"},', b'{"id":"1","type":"t"}]}'),
    "very short rows": lambda: repeated(b'{"data":[', b'{"id":"1"},', b'{"id":"1"}]}'),
    "short included records": lambda: repeated(
        b'{"data":[],"included":[', b'{"id":"123456","type":"web_visit"},', b"{}]}"
    ),
    "errors": lambda: repeated(b'{"data":[],"errors":[', b'{"title":"something is wrong here"},', b"{}]}"),
    "errors in place of data": lambda: repeated(b'{"errors":[', b'{"title":"something is wrong here"},', b"{}]}"),
    "a large included record in each row": lambda: rows(
        lambda n: b'{"id":"%d","relationships":{"company":{"data":{"id":"c","type":"company"}}}}' % n,
        9_000,
        b',"included":[{"id":"c","type":"company","attributes":{"name":"' + b"x" * MIB + b'"}}]',
    ),
    "bad rows": lambda: rows(
        lambda n: b'{"id":"%d","attributes":{"page_depth":"many","x":"%b"}}' % (n, b"y" * 1_600), 9_000
    ),
    "a bad row beside many included records": lambda: rows(
        lambda n: b'{"id":"%d","attributes":{"page_depth":"many"}}' % n,
        100,
        b',"included":[' + b'{"id":"1","type":"company","attributes":{"name":"xxxxxxxxxx"}},' * 200_000 + b"{}]",
    ),
    "white space": lambda: repeated(b'{"data":[', b" ", b"]}"),
    "a link to the next page": lambda: repeated(b'{"data":[{"id":"1"}],"links":{"next":"http://x/?', b"&a=%41", b'"}}'),
    "a link with a cursor": lambda: repeated(
        b'{"data":[{"id":"1"}],"links":{"next":"http://x/?page[cursor]=', b"%41%42", b'"}}'
    ),
    "a cursor": lambda: repeated(b'{"data":[{"id":"1"}],"meta":{"pagination":{"next_cursor":"', b"a/b+", b'"}}}'),
    "invalid UTF-8": lambda: repeated(b'{"data":[{"id":"1","x":"', b"\xff", b'"}]}'),
}


@lru_cache(maxsize=1)
def packed(name: str) -> tuple[bytes, int]:
    """Return a compressed body and its decompressed size."""
    body = BODIES[name]()
    return gzip.compress(body, 1), len(body)


@pytest.fixture(scope="module")
async def processes() -> AsyncIterator[ProcessServer]:
    """A server that starts processes with a client."""
    async with process_server("tests.support.hostile_client") as server:
        yield server


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory from /proc")
@pytest.mark.parametrize("call", ["list", "record", "charged"])
@pytest.mark.parametrize("name", list(BODIES))
async def test_hostile_body(processes: ProcessServer, tmp_path: Path, name: str, call: str) -> None:
    """A body of 16 MiB does not block the event loop and takes at most four times its size in memory."""
    (body, size), requests, output = packed(name), 0, tmp_path / "output"

    async def respond(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if requests == 1:
            return web.json_response({"data": {"id": "1", "type": "user"}})
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async with handler_server(respond) as url:
        assert await (await processes.start(url, call, stdout=output)).wait() == 0
    stall, memory = map(float, output.read_text(encoding="utf-8").split())
    assert stall < MAX_STALL
    assert memory < 4 * size + 16 * MIB


def hostile_page(size: int) -> st.SearchStrategy[bytes]:
    """Return pages of about ``size`` bytes that repeat a few rows, many of which violate the contract."""
    texts = st.sampled_from(["", "x", "\\ud800", "\\\\", "\\ud83d\\ude00", "\\u0000", "many", "1", "null"])
    scalars = texts.map(lambda text: f'"{text}"') | st.sampled_from(["null", "1", "1e400", "true", "{}", "[]", "[[]]"])
    keys = st.sampled_from(["id", "type", "attributes", "relationships", "page_depth", "company", "data", "x"])

    def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        members = st.lists(st.tuples(keys, values), max_size=4)
        return members.map(lambda found: "{" + ",".join(f'"{key}":{value}' for key, value in found) + "}")

    values = st.recursive(scalars, lambda inner: objects(inner) | inner.map(lambda value: f"[{value}]"), max_leaves=8)
    identifier = '{"id":"1","relationships":{"company":{"data":{"id":"1","type":"company"}}}}'
    items = st.lists(values | st.just(identifier), min_size=1, max_size=4).map(",".join)
    included = st.just("") | items.map(lambda text: f',"included":[{{"id":"1","type":"company"}},{text}]')
    return st.builds(
        lambda text, rest: f'{{"data":[{",".join([text] * max(1, size // len(text)))}]{rest}}}'.encode(),
        items,
        included,
    )


@settings(deadline=None, max_examples=60)
@given(hostile_page(MAX_INLINE_NORMALIZED))
def test_small_pages_are_decoded_quickly(body: bytes) -> None:
    """A page that is decoded on the event loop is decoded or rejected in little time."""
    start = time.thread_time()  # does not depend on other processes
    try:
        page = decode_page(SEARCH_WEB_VISITS, body, SEARCH_WEB_VISITS.error_context(), REDACTOR)
    except LeadfeederError:
        pass
    else:
        assert len(page.decode_errors) <= min(page.undecodable, MAX_ITEM_ERRORS)
    assert time.thread_time() - start < MAX_STALL


@settings(deadline=None, max_examples=30)
@given(hostile_page(8 * MAX_INLINE_BYTES))
def test_large_pages_do_not_block_the_loop(body: bytes) -> None:
    """A large page is decoded in a thread and does not block the event loop."""

    async def read() -> float:
        async with raw_server(http(body)) as server, client_of(server.url, retries=0) as lf, measured_stall() as stall:
            try:
                async for _ in lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-02", limit=1).pages():
                    break
            except LeadfeederError:
                pass
        return stall.longest

    assert asyncio.run(read()) < MAX_STALL


ESCAPES = st.lists(
    st.sampled_from(["\\\\", "\\ud83d", "\\ude00", "\\uD83D\\uDE00", "\\n", "\\u005c", '\\"', "ud83d", "a", "\\u00e4"])
)


@given(ESCAPES, st.integers(14, 40))
def test_surrogate_repair_in_chunks(parts: list[str], chunk: int) -> None:
    """The repair finds the same unpaired surrogates at every chunk size."""
    body = '"' + "".join(parts) + '"'
    before, json_text.CHUNK = json_text.CHUNK, chunk
    try:
        repaired = json_text.replace_lone_surrogates(body.encode())
    finally:
        json_text.CHUNK = before
    assert json.loads(repaired) == re.sub("[\ud800-\udfff]", "\ufffd", json.loads(body))


@given(st.binary(max_size=60), st.integers(1, 7))
def test_utf8_check_in_chunks(body: bytes, chunk: int) -> None:
    """The UTF-8 check gives the same result at every chunk size."""
    before, json_text.CHUNK = json_text.CHUNK, chunk
    try:
        found = json_text.is_utf8(body)
    finally:
        json_text.CHUNK = before
    assert found == (body.decode(errors="replace").encode() == body)


async def test_undecodable_rows_are_counted() -> None:
    """A list keeps a limited number of row errors and counts all of them."""
    count, pages = 200, 12

    async def respond(request: web.Request) -> web.Response:
        number = int(request.query["page[num]"])
        data = [{"id": f"{number}.{row}", "type": "tag", "attributes": {"name": 5}} for row in range(count)]
        return web.json_response({"data": data, "meta": {"page_count": pages, "total_count": count * pages}})

    async with handler_server(respond) as url, client_of(url) as lf:
        async for page in lf.tags.list().pages():
            assert (len(page.decode_errors), page.undecodable, page.row_count) == (MAX_ITEM_ERRORS, count, count)
        with pytest.raises(IncompleteListError, match="2,400 rows or parts") as caught:
            await lf.tags.list().collect()
    assert len(caught.value.problems) == MAX_KEPT_PROBLEMS


async def test_pages_around_the_size_limits() -> None:
    """Pages just below and above the size limits for inline decoding are complete."""
    for size in (MAX_INLINE_NORMALIZED, MAX_INLINE_BYTES, 4 * MIB):
        data = [
            {"id": str(row), "type": "tag", "attributes": {"name": f"{row}" + "x" * (size // 100)}}
            for row in range(100)
        ]
        body = json.dumps(
            {"data": data, "meta": {"total_count": 100, "page_count": 1, "credits": {"charged": 3}}}
        ).encode()
        async with raw_server(http(body)) as server, client_of(server.url) as lf:
            assert [tag.id for tag in await lf.tags.list().collect()] == [str(row) for row in range(100)]
            assert lf.stats.credits_charged == 3


def test_included_record_copies_are_limited() -> None:
    """An included record is copied into relationships up to a total size, then left as an identifier."""
    record = {"id": "c", "type": "company", "attributes": {"name": "x" * (normalize.MAX_RESOLVED_BYTES // 10)}}
    identifier = {"relationships": {"company": {"data": {"id": "c", "type": "company"}}}}
    body = json.dumps({"data": [{"id": str(n), **identifier} for n in range(50)], "included": [record]}).encode()
    data = json.loads(normalize.normalize_response(body, is_list=True, is_empty=False))["data"]
    placed = ["attributes" in row["relationships"]["company"] for row in data]
    assert placed == sorted(placed, reverse=True)
    assert 10 <= sum(placed) <= 12


TEXTS = '"some text of a record",'


@pytest.mark.parametrize("row", ["1,", "[],", "[ ],", '{"a":1},', "[],[],[],[],[],  "])
@pytest.mark.parametrize("size", [70_000, 200_000, 300_000])
def test_dense_bodies_of_any_size(row: str, size: int) -> None:
    """The sample of a body gives the same result as all of it, and a page of records passes."""
    dense = row * (size // len(row))
    for body in (f"[{dense}1]".encode(), f'["{"x" * (size // 4)}",{dense}1]'.encode()):
        assert json_text.is_too_dense(body) == (
            json_text.count_values(body) * json_text.MIN_BYTES_PER_VALUE > len(body)
        )
    assert json_text.is_too_dense(f"[{dense}1]".encode())
    assert not json_text.is_too_dense(f"[{TEXTS * (size // len(TEXTS))}1]".encode())


@pytest.mark.parametrize("size", [json_text.LARGE_BODY - 1_000, json_text.LARGE_BODY + 1_000])
@pytest.mark.parametrize("filler", ["tag", "x" * 60])
def test_large_bodies_need_longer_objects(filler: str, size: int) -> None:
    """Many short related records are rejected in a large body only, because they take a multiple of their text."""
    identifier = f'{{"id":"1234","type":"{filler}"}},'
    assert json_text.is_too_dense(f"[{identifier * (size // len(identifier))}1]".encode()) == (
        filler == "tag" and size > json_text.LARGE_BODY
    )


@pytest.mark.parametrize("length", [300, 500])
async def test_large_lists_need_longer_rows(length: int) -> None:
    """Many short rows of a large body are rejected, and longer ones are returned."""
    text = "n" * length
    rows = [{"id": number, "attributes": {"name": text}} for number in range(json_text.LARGE_BODY // length)]
    async with raw_server(http(json.dumps({"data": rows}).encode())) as server, client_of(server.url) as lf:
        if length < MIN_BYTES_PER_ROW_OF_LARGE_BODY:
            with pytest.raises(DecodeError, match="which are too many"):
                await lf.tags.list().collect()
        else:
            assert len(await lf.tags.list().collect()) == len(rows)


@pytest.mark.parametrize(
    "body", [b'"meta":{"credits":{"ch\\u0061rged":7}}', b'"m\\u0065ta":{"cr\\u0065dits":{"charged":7}}']
)
async def test_charge_under_escaped_keys(body: bytes) -> None:
    """A charge is counted if a server escapes the letters of its keys."""
    async with raw_server(http(b'{"data":[],' + body + b"}")) as server, client_of(server.url) as lf:
        await lf.tags.list().collect()
        assert lf.stats.credits_charged == 7


@pytest.mark.parametrize("part", ["A", KEY[:-1], "\\\\"])
@pytest.mark.parametrize("field", ["code", "title", "detail", "request_id"])
async def test_long_text_of_errors(part: str, field: str) -> None:
    """The text of an error beside the data is cut, however long it is, before the key is searched in it."""
    text = part * (8 * MIB // len(part))
    error, meta = ({}, {field: text}) if field == "request_id" else ({field: text}, {})
    body = json.dumps({"data": [], "errors": [{"title": "x", **error}], "meta": meta}).encode()
    events = list[AttemptEvent]()
    async with raw_server(http(body)) as server, client_of(server.url, on_attempt=events.append) as lf:
        with pytest.raises(IncompleteListError) as caught:
            async with measured_stall() as stall:
                await lf.tags.list().collect()
    assert stall.longest < MAX_STALL
    assert len(str(caught.value)) < 10_000
    assert len(events[0].request_id or "") < 10_000
