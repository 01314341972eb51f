"""Every fault that the bench can make, met by a request of each resend class."""

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

from leadfeeder_async import AsyncLeadfeeder, DecodeError, LeadfeederError
from leadfeeder_async._core import retry
from leadfeeder_async._core.endpoint import RetrySafety
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async.models import WebVisit
from tests.faults import table
from tests.faults.cases import CASES
from tests.faults.dsl import OK, PROXY_PASSWORD, Fault, Kind, Outcome, Place, expected, proxied
from tests.support.clients import KEY, client_of, request_options
from tests.support.clock import VirtualLoop
from tests.support.paths import ROOT
from tests.support.servers import http, raw_server


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "INITIAL_BACKOFF", 0.01)


def runs() -> Iterator[Any]:
    """Iterate over all faults of the bench, lasting and passing ones."""
    for case in CASES:
        for fault in case.faults:
            for lasting in [True] if fault.only_lasting else [False, True]:
                name = f"{case.number}-{case.name}-{fault.name}-{'lasting' if lasting else 'once'}".replace(" ", "-")
                yield pytest.param(fault, lasting, id=name)


async def outcome_of(lf: AsyncLeadfeeder, place: Place, fault: Fault, resend: RetrySafety) -> Outcome:
    """Make one call, and tell what it shows and what the server saw."""
    error: LeadfeederError | None = None
    before = len(place.requests)
    try:
        await lf.request(fault.method, "/v1/x", json=None if fault.method == "GET" else {}, **request_options(resend))
    except LeadfeederError as caught:
        error = caught
    seen = len(place.requests) - before
    assert lf.stats.requests - before >= seen, "the server saw a request that was not counted"
    if error is None:
        return Outcome(None, None, None, None, seen)
    assert_no_secret(error)
    cause = error.__cause__
    return Outcome(type(error), None if cause is None else type(cause), error.sent, error.attempts, seen)


def assert_no_secret(error: BaseException | None) -> None:
    """Look for the key and the proxy's password in an error and all that it comes from."""
    while error is not None:
        shown = f"{error} {error!r} {error.args} {vars(error)}"
        assert KEY not in shown
        assert PROXY_PASSWORD not in shown
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("resend", list(RetrySafety), ids=lambda resend: resend.name)
@pytest.mark.parametrize(("fault", "lasting"), list(runs()))
async def test_fault(fault: Fault, lasting: bool, resend: RetrySafety) -> None:
    """A call shows what the rule table says, the server sees no request more than that, and no error the key."""
    async with fault.stage(lasting) as place:
        async with client_of(place.url, **{"burst": 12, **place.options, **fault.options}) as lf:
            if place.warm:
                await lf.request("GET", "/v1/x")
            shown = await outcome_of(lf, place, fault, resend)
    assert shown == expected(fault, resend, lasting=lasting)


def test_cases_are_numbered_without_a_gap() -> None:
    """The cases are 1 to 85, in order, each with a name of its own."""
    assert [case.number for case in CASES] == list(range(1, 86))
    assert len({case.name for case in CASES}) == 85


def test_each_case_is_held() -> None:
    """A case is executed, held by a test, or says why it is neither."""
    for case in CASES:
        assert case.faults or case.held_by or case.not_applicable, case.number


def test_tests_that_hold_a_case_exist() -> None:
    """Each test that a case names is a function of that file."""
    names = {name for case in CASES for name in case.held_by}
    for path in {name.partition("::")[0] for name in names}:
        there = {
            f"{path}::{node.name}"
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert {name for name in names if name.startswith(f"{path}::")} <= there


def test_page_is_up_to_date() -> None:
    """``docs/failure-modes.md`` is what the cases say; ``python -m tests.faults.table`` writes it."""
    assert table.PAGE.read_text(encoding="utf-8") == table.text()


def test_each_kind_of_fault_is_executed() -> None:
    """The bench knows every row of the rule table, and inconclusive faults of each way to have been sent."""
    faults = [fault for case in CASES for fault in case.faults]
    assert {fault.kind for fault in faults} == set(Kind)
    assert {fault.sent for fault in faults if fault.kind is Kind.INCONCLUSIVE} == {"no", "maybe", "yes"}


CODINGS = {b"br": ("brotli", "brotlicffi"), b"zstd": ("backports.zstd", "compression.zstd")}


def installed(modules: tuple[str, ...]) -> bool:
    for module in modules:
        try:
            __import__(module)
        except ImportError:
            continue
        return True
    return False


async def test_only_installed_codings_are_asked_for() -> None:
    """The server is told of no compression that could not be unpacked here."""
    async with raw_server(OK) as server, client_of(server.url) as lf:
        await lf.request("GET", "/v1/x")
    (line,) = [line for line in server.requests[0].lower().split(b"\r\n") if line.startswith(b"accept-encoding:")]
    allowed = {b"gzip", b"deflate"} | {name for name, module in CODINGS.items() if installed(module)}
    assert {part.strip() for part in line.partition(b":")[2].split(b",")} <= allowed


async def test_wait_for_a_slot_is_not_an_attempt_s_time() -> None:
    """Calls that queue for two slots longer than ``timeout`` all succeed."""

    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.03)
        writer.write(OK)

    async with raw_server(slow) as server, client_of(server.url, max_concurrency=2, timeout=0.1, retries=0) as lf:
        await asyncio.gather(*(lf.request("GET", "/v1/x") for _ in range(12)))
    assert len(server.requests) == 12


async def test_refused_tunnel_names_the_proxy() -> None:
    """An error of a tunnel says that it is the proxy's, and its status."""
    stage = proxied("https://api.test", http(b"", "407 Proxy Authentication Required"))
    async with stage(True) as place, client_of(place.url, retries=0, **place.options) as lf:
        with pytest.raises(LeadfeederError) as caught:
            await lf.request("GET", "/v1/x")
    assert "proxy" in caught.value.message.lower()
    assert "407" in caught.value.message


def test_time_without_a_zone_is_utc() -> None:
    """Times can be compared with one another, however the server wrote them."""
    body = b'{"id":"1","attributes":{"started_at":"2026-11-20T09:14:07"}}'
    started = msgspec.json.decode(body, type=WebVisit).started_at
    assert started is not None
    assert started.isoformat() == "2026-11-20T09:14:07+00:00"


@pytest.mark.parametrize("answer", [b'{"data":null}', b"{}", b""])
async def test_record_that_is_not_there_is_an_error(answer: bytes) -> None:
    """Where a single record is due, an answer without one is a DecodeError, not None."""
    async with raw_server(http(answer)) as server, client_of(server.url) as lf:
        with pytest.raises(DecodeError, match="get_company"):
            await lf.companies.get("1")


def test_ten_thousand_callers_go_in_order(virtual: VirtualLoop) -> None:
    """However many wait for the limiter, whoever asked first is served first."""

    async def scenario() -> list[int]:
        bucket, served = TokenBucket(), list[int]()

        async def caller(number: int) -> None:
            await bucket.acquire()
            served.append(number)

        await asyncio.gather(*(caller(number) for number in range(10_000)))
        return served

    assert virtual.run_until_complete(scenario()) == list(range(10_000))


@contextmanager
def server_of_its_own(pause: float) -> Iterator[str]:
    """Run a server in a thread, so that it answers while the test's own loop is blocked."""
    started, address = threading.Event(), list[str]()

    async def answer(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(pause)
        writer.write(OK)

    async def serve() -> None:
        async with raw_server(answer) as server:
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


async def test_blocked_loop_is_no_timeout() -> None:
    """Answers that arrive while the user's code blocks the loop past ``timeout`` are read all the same.

    It blocks for 0.15 s in earnest: the bug is about the real clock.
    """
    with server_of_its_own(pause=0.02) as url:
        async with client_of(url, timeout=0.1) as lf:
            calls = [asyncio.create_task(lf.request("POST", "/v1/x", json={})) for _ in range(5)]
            while lf.stats.requests < 5:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.005)
            time.sleep(0.15)  # noqa: ASYNC251 - this is what the user's code does
            errors = [error for error in await asyncio.gather(*calls, return_exceptions=True) if error]
    assert [error for error in errors if isinstance(error, Exception)] == []
