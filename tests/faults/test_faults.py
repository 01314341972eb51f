"""All fault cases, for requests of each class."""

from __future__ import annotations

import ast
import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from leadfeeder_async import AsyncLeadfeeder, DecodeError, LeadfeederError, OutcomeUnknownError
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async.models import WebVisit
from tests.faults import table
from tests.faults.cases import CASES
from tests.faults.dsl import (
    OK,
    PROXY_PASSWORD,
    Fault,
    FaultServer,
    Kind,
    Outcome,
    RequestClass,
    expected_outcome,
    proxied,
)
from tests.support.clients import KEY, client_of
from tests.support.clock import VirtualLoop
from tests.support.paths import ROOT
from tests.support.servers import http, raw_server

pytestmark = pytest.mark.usefixtures("short_backoff")


def parameters() -> Iterator[Any]:
    """Yield all faults, temporary and persistent ones."""
    for case in CASES:
        for fault in case.faults:
            for persistent in [True] if fault.only_persistent else [False, True]:
                duration = "persistent" if persistent else "temporary"
                name = f"{case.number}-{case.name}-{fault.name}-{duration}".replace(" ", "-")
                yield pytest.param(fault, persistent, id=name)


async def outcome_of(lf: AsyncLeadfeeder, server: FaultServer, fault: Fault, request: RequestClass) -> Outcome:
    """Make one call and return its outcome."""
    error: LeadfeederError | None = None
    before = len(server.requests)
    body = None if fault.method == "GET" else {}
    try:
        await lf.request(fault.method, "/v1/x", json=body, **request.options)
    except LeadfeederError as caught:
        error = caught
    received = len(server.requests) - before
    assert lf.stats.requests - before >= received, "the server received a request that was not counted"
    if error is None:
        return Outcome(None, None, None, None, received)
    assert_no_secret(error)
    cause = error.__cause__
    return Outcome(type(error), None if cause is None else type(cause), error.sent, error.attempts, received)


def assert_no_secret(error: BaseException | None) -> None:
    """Assert that neither an error nor its causes contain the key or the proxy's password."""
    while error is not None:
        text = f"{error} {error!r} {error.args} {vars(error)}"
        assert KEY not in text
        assert PROXY_PASSWORD not in text
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("request_class", list(RequestClass), ids=lambda request_class: request_class.name)
@pytest.mark.parametrize(("fault", "persistent"), list(parameters()))
async def test_fault(fault: Fault, persistent: bool, request_class: RequestClass) -> None:
    """The call has the outcome of the rule table, the server sees no extra request, and no error contains the key."""
    async with fault.scenario(persistent) as server:
        async with client_of(server.url, **{"burst": 12, **server.options, **fault.options}) as lf:
            if server.warm:
                await lf.request("GET", "/v1/x")
            outcome = await outcome_of(lf, server, fault, request_class)
    assert outcome == expected_outcome(fault, request_class, persistent=persistent)


def test_cases_are_numbered() -> None:
    """The cases are numbered from 1 to 85, and their names are unique."""
    assert [case.number for case in CASES] == list(range(1, 86))
    assert len({case.name for case in CASES}) == 85


def test_every_case_is_covered() -> None:
    """Each case is injected here, covered by another test, or documented as not covered."""
    for case in CASES:
        assert case.faults or case.covered_by or case.not_covered, case.number


def test_covering_tests_exist() -> None:
    """Each test that a case names exists in that file."""
    names = {name for case in CASES for name in case.covered_by}
    for path in {name.partition("::")[0] for name in names}:
        existing = {
            f"{path}::{node.name}"
            for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert {name for name in names if name.startswith(f"{path}::")} <= existing


def test_page_is_up_to_date() -> None:
    """``docs/failure-modes.md`` matches the cases. ``python -m tests.faults.table`` writes it."""
    assert table.PAGE.read_text(encoding="utf-8") == table.text()


def test_every_kind_of_fault_is_injected() -> None:
    """The cases cover every kind of fault, and ambiguous faults with every sent state."""
    faults = [fault for case in CASES for fault in case.faults]
    assert {fault.kind for fault in faults} == set(Kind)
    assert {fault.sent for fault in faults if fault.kind is Kind.AMBIGUOUS} == {"no", "maybe", "yes"}


CODINGS = {b"br": ("brotli", "brotlicffi"), b"zstd": ("backports.zstd", "compression.zstd")}


def installed(modules: tuple[str, ...]) -> bool:
    for module in modules:
        try:
            __import__(module)
        except ImportError:
            continue
        return True
    return False


async def test_accept_encoding_lists_installed_codecs() -> None:
    """``Accept-Encoding`` contains only compressions that can be decompressed."""
    async with raw_server(OK) as server, client_of(server.url) as lf:
        await lf.request("GET", "/v1/x")
    (line,) = [line for line in server.requests[0].lower().split(b"\r\n") if line.startswith(b"accept-encoding:")]
    allowed = {b"gzip", b"deflate"} | {name for name, module in CODINGS.items() if installed(module)}
    assert {part.strip() for part in line.partition(b":")[2].split(b",")} <= allowed


async def test_slot_wait_does_not_count_toward_timeout() -> None:
    """Calls that wait for one of two slots longer than ``timeout`` all succeed."""

    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.03)
        writer.write(OK)

    async with raw_server(slow) as server, client_of(server.url, max_concurrency=2, timeout=0.1, retries=0) as lf:
        await asyncio.gather(*(lf.request("GET", "/v1/x") for _ in range(12)))
    assert len(server.requests) == 12


async def test_rejected_tunnel_names_the_proxy() -> None:
    """The error of a rejected tunnel mentions the proxy and its status."""
    scenario = proxied("https://api.test", http(b"", "407 Proxy Authentication Required"))
    async with scenario(True) as server, client_of(server.url, retries=0, **server.options) as lf:
        with pytest.raises(LeadfeederError) as caught:
            await lf.request("GET", "/v1/x")
    assert "proxy" in caught.value.message.lower()
    assert "407" in caught.value.message


def test_timestamp_without_zone_is_utc() -> None:
    """``started_at`` always has a time zone, so timestamps can be compared."""
    body = b'{"id":"1","attributes":{"started_at":"2026-11-20T09:14:07"}}'
    started = msgspec.json.decode(body, type=WebVisit).started_at
    assert started is not None
    assert started.isoformat() == "2026-11-20T09:14:07+00:00"


@pytest.mark.parametrize("body", [b'{"data":null}', b"{}", b""])
async def test_missing_record_is_a_decode_error(body: bytes) -> None:
    """A response without the expected record raises DecodeError, or OutcomeUnknownError if it may have charged."""
    async with raw_server(http(body)) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(DecodeError, match="get_tag"):
            await lf.tags.get("1")
        with pytest.raises(OutcomeUnknownError, match="get_company") as caught:
            await lf.companies.get("1")
        assert isinstance(caught.value.__cause__, DecodeError)


def test_ten_thousand_callers_are_served_in_order(virtual: VirtualLoop) -> None:
    """The rate limiter serves waiting callers in order."""

    async def scenario() -> list[int]:
        bucket, served = TokenBucket(), list[int]()

        async def caller(number: int) -> None:
            await bucket.acquire()
            served.append(number)

        await asyncio.gather(*(caller(number) for number in range(10_000)))
        return served

    assert virtual.run_until_complete(scenario()) == list(range(10_000))


@contextmanager
def server_in_thread(pause: float) -> Iterator[str]:
    """Run a server in a thread, so that it responds while the test's own loop is blocked."""
    started, address = threading.Event(), list[str]()

    async def respond(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(pause)
        writer.write(OK)

    async def serve() -> None:
        async with raw_server(respond) as server:
            address.append(server.url)
            stops.append((asyncio.get_running_loop(), stop := asyncio.Event()))
            started.set()
            await stop.wait()

    stops = list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        started.wait(5)
        yield address[0]
    finally:
        loop, stop = stops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def test_blocked_loop_does_not_time_out() -> None:
    """Responses that arrive while user code blocks the loop past ``timeout`` are used.

    The test blocks for 0.15 s, because the behavior depends on the real clock.
    """
    with server_in_thread(pause=0.02) as url:
        async with client_of(url, timeout=0.1) as lf:
            calls = [asyncio.create_task(lf.request("POST", "/v1/x", json={})) for _ in range(5)]
            while lf.stats.requests < 5:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.005)
            time.sleep(0.15)  # noqa: ASYNC251 - this is the blocking code
            errors = [error for error in await asyncio.gather(*calls, return_exceptions=True) if error]
    assert [error for error in errors if isinstance(error, Exception)] == []
