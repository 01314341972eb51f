"""What the wire can do to a request, from servers that really do it."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import traceback
import warnings
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
import trustme
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    AttemptTimeoutError,
    ClientClosedError,
    ConnectError,
    DecodeError,
    DisconnectedError,
    LeadfeederError,
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitedError,
    RedirectError,
    ResponseTooLargeError,
    ServerError,
    TLSError,
)
from tests.support.clients import KEY, client_of
from tests.support.servers import cut, handler_server, http, listening, port_of, raw_server, silence

OK = http(b'{"data":{"id":"1","type":"user"}}')
COMPANY = http(b'{"data":{"id":"1","type":"company"},"meta":{"credits":{"charged":1}}}')


async def test_request_as_it_arrives() -> None:
    """The key travels in its header and nowhere else; the client names itself; POST bodies are JSON."""
    async with raw_server(OK) as server, client_of(server.url) as lf:
        await lf.request("POST", "/v1/x", params={"page[num]": 2}, json={"a": None})
    request = server.requests[0].decode()
    assert request.startswith("POST /v1/x?account_id=1&page%5Bnum%5D=2 HTTP/1.1\r\n")
    assert request.lower().count(f"x-api-key: {KEY}\r\n") == 1
    assert request.count(KEY) == 1
    assert "User-Agent: leadfeeder-async/" in request
    assert "Content-Type: application/json\r\n" in request
    assert request.endswith('\r\n\r\n{"a":null}')


async def test_connection_is_kept_alive() -> None:
    """Calls one after another share one connection."""
    async with raw_server(OK) as server, client_of(server.url) as lf:
        for _ in range(5):
            await lf.users.me()
    assert (server.connections, len(server.requests)) == (1, 5)


async def test_redirect_is_not_followed_and_the_key_stays() -> None:
    """A redirect to another host is an error naming the host; that host sees no byte."""
    async with raw_server(OK) as other:
        moved = http(b"", "307 Temporary Redirect", f"Location: {other.url}/v1/users/me\r\n")
        async with raw_server(moved) as server, client_of(server.url) as lf:
            with pytest.raises(RedirectError, match="localhost"):
                await lf.users.me()
        assert (other.connections, len(server.requests)) == (0, 1)


async def test_refused_connection_was_not_sent_and_is_tried_again() -> None:
    """Nobody listens: three attempts even for a charging read, and proof that nothing left."""
    async with raw_server(OK) as server:
        url = server.url
    async with client_of(url) as lf:
        with pytest.raises(ConnectError) as caught:
            await lf.companies.get("1")
    assert (caught.value.sent, caught.value.attempts, lf.stats.requests) == ("no", 3, 3)


async def test_read_survives_a_cut() -> None:
    """A read whose answer is cut off is asked for again."""
    async with raw_server(cut(OK[:60]), cut(b""), OK) as server, client_of(server.url) as lf:
        assert (await lf.users.me()).data.id == "1"
    assert len(server.requests) == 3


@pytest.mark.parametrize("left", [COMPANY[:20], COMPANY[:-5], b""])
async def test_charging_read_is_sent_once(left: bytes) -> None:
    """A charging read that loses its answer, at any byte, arrives once and says that it may have charged."""
    async with raw_server(cut(left), COMPANY) as server, client_of(server.url) as lf:
        with pytest.raises(OutcomeUnknownError, match="may have charged") as caught:
            await lf.companies.get("1")
    assert len(server.requests) == 1
    assert isinstance(caught.value.__cause__, DisconnectedError)
    assert caught.value.sent in {"maybe", "yes"}


async def test_charging_read_after_a_server_error_is_sent_once() -> None:
    """A 500 says nothing about whether the charge went through."""
    async with raw_server(http(b"", "500 Oops"), COMPANY) as server, client_of(server.url) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.companies.get("1")
    assert len(server.requests) == 1


@pytest.mark.parametrize("charges", [False, True])
@pytest.mark.parametrize("borrows", [False, True])
async def test_dead_connection_is_not_resent_behind_our_back(charges: bool, borrows: bool) -> None:
    """Aiohttp resends a GET by itself when a kept connection turns out dead; here the attempt loop decides.

    A read is sent again, counted and through the limiter. A charging read is not. So it is on a session of the user's.
    """
    async with (
        raw_server(OK, cut(b""), COMPANY) as server,
        aiohttp.ClientSession() as session,
        client_of(server.url, session=session if borrows else None) as lf,
    ):
        await lf.users.me()
        if charges:
            with pytest.raises(OutcomeUnknownError):
                await lf.companies.get("1")
            assert len(server.requests) == 2
        else:
            await lf.users.me()
            assert len(server.requests) == 3
        assert lf.stats.requests == len(server.requests)


@pytest.mark.parametrize("borrows", [False, True])
async def test_first_call_lets_others_pass_once_it_is_connected(borrows: bool) -> None:
    """The others wait until the first call has its connection, and not for its answer."""
    asked, both = list[str](), asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        if len(asked) == 2:
            both.set()
        await both.wait()
        return web.json_response({"data": {"id": "1", "type": "user"}})

    async with (
        handler_server(handle) as url,
        aiohttp.ClientSession() as session,
        client_of(url, session=session if borrows else None, timeout=10) as lf,
    ):
        await asyncio.gather(lf.users.me(), lf.users.me())
    assert len(asked) == 2


async def test_request_of_a_trace_is_not_taken_for_ours() -> None:
    """A trace of the user's may send by the session it is given: while a call is made, and after it."""

    async def started(session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        if context.trace_request_ctx is not None:
            later.append(asyncio.create_task(ask(session)))
            await ask(session)

    async def ask(session: aiohttp.ClientSession) -> None:
        async with session.get(f"{server.url}/token") as answer:
            assert answer.status == 200

    trace, later = aiohttp.TraceConfig(), list[asyncio.Task[None]]()
    trace.on_request_start.append(started)
    async with raw_server(OK) as server, client_of(server.url, trace_configs=[trace], retries=0) as lf:
        await lf.request("POST", "/v1/new")
        await asyncio.gather(*later)
        assert (len(server.requests), lf.stats.requests) == (3, 1)


@pytest.mark.parametrize("closed", ["another", "itself"])
async def test_watch_that_was_taken_off_proves_nothing(closed: str) -> None:
    """A client that is closed takes its watch off a session; a call that goes unwatched by then may have left."""
    gate, inside = asyncio.Event(), asyncio.Event()

    async def wait(*_: object) -> None:
        inside.set()
        await gate.wait()

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(wait)
    async with raw_server(OK, cut(b""), OK) as server, aiohttp.ClientSession() as session:
        if closed == "itself":
            session.trace_configs.append(trace)
            trace.freeze()
        other = client_of(server.url, session=session, trace_configs=[trace] if closed == "another" else [])
        other._state.ensure_open()
        lf = client_of(server.url, session=session)
        gate.set()
        await lf.users.me()
        gate.clear()
        inside.clear()
        call = asyncio.create_task(lf.request("POST", "/v1/new"))
        await inside.wait()
        await (other if closed == "another" else lf).aclose()
        gate.set()
        with pytest.raises((OutcomeUnknownError, ClientClosedError)) as caught:
            await call
        assert (caught.value.sent, len(server.requests)) == ("maybe", 2)
        await other.aclose()
        await lf.aclose()


async def test_unknown_route_may_create_and_is_sent_once() -> None:
    """The escape hatch sends a lost request again only when told that it may."""
    async with raw_server(cut(b""), OK) as server, client_of(server.url) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.request("POST", "/v1/new")
        assert len(server.requests) == 1
        await lf.request("POST", "/v1/new", idempotent=True, may_charge=False)


async def test_silent_server_times_out() -> None:
    """An attempt ends with its time, named and counted as maybe sent."""
    async with raw_server(silence) as server, client_of(server.url, timeout=0.1, retries=0) as lf:
        with pytest.raises(AttemptTimeoutError, match=r"0\.1 s") as caught:
            await lf.users.me()
    assert (caught.value.sent, caught.value.phase) == ("maybe", "headers")


async def test_slow_body_times_out() -> None:
    """A server that drips bytes does not hold an attempt past its time."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        for byte in OK:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)

    async with raw_server(drip) as server, client_of(server.url, timeout=0.15, retries=0) as lf:
        with pytest.raises(AttemptTimeoutError):
            await lf.users.me()


@pytest.mark.parametrize("garbage", [b"not http at all\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00\xff\r\n\r\n"])
async def test_garbage_is_a_protocol_error(garbage: bytes) -> None:
    """What is no HTTP is the server's fault, not a bad request."""
    async with raw_server(cut(garbage)) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(ProtocolError) as caught:
            await lf.users.me()
    assert caught.value.status is None


async def test_html_under_200_is_a_decode_error() -> None:
    """A login page of a proxy is named with its beginning."""
    async with raw_server(http(b"<html>Sign in</html>")) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(DecodeError, match="Sign in"):
            await lf.users.me()


async def test_body_cut_without_a_length_is_noticed() -> None:
    """A body that ends with its connection, in the middle, does not pass for a whole one."""
    half = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"data":{"id":"1"'
    async with raw_server(cut(half), OK) as server, client_of(server.url) as lf:
        assert (await lf.users.me()).data.id == "1"
    assert len(server.requests) == 2


async def test_body_past_the_cap_is_refused() -> None:
    """Reading stops at the cap, after decompression, and the connection is dropped."""
    bomb = gzip.compress(b'{"data":"' + b" " * 300_000 + b'"}')
    packed = http(bomb, headers="Content-Encoding: gzip\r\n")
    async with raw_server(packed) as server, client_of(server.url, max_body_bytes=100_000) as lf:
        with pytest.raises(ResponseTooLargeError, match="100,000") as caught:
            await lf.users.me()
    assert caught.value.sent == "yes"


async def test_endless_body_is_dropped_at_the_cap() -> None:
    """A body that goes on for ever ends at the cap and not at the timeout, and its connection is not used again."""

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b" " * 150_000)

    async with raw_server(endless, OK) as server, client_of(server.url, max_body_bytes=100_000, timeout=5) as lf:
        with pytest.raises(ResponseTooLargeError):
            await asyncio.wait_for(lf.users.me(), 2)
        await lf.users.me()
    assert server.connections == 2


async def test_server_error_then_success() -> None:
    """Two 503 and then an answer: three attempts, one result."""
    busy = http(b"", "503 Busy")
    async with raw_server(busy, busy, OK) as server, client_of(server.url) as lf:
        await lf.users.me()
    assert (len(server.requests), lf.stats.retries) == (3, 2)


async def test_attempts_end() -> None:
    """A server that keeps failing gives its last error, with the count."""
    async with raw_server(http(b"", "500 Oops")) as server, client_of(server.url, retries=1) as lf:
        with pytest.raises(ServerError) as caught:
            await lf.users.me()
    assert (len(server.requests), caught.value.attempts) == (2, 2)


async def test_429_pauses_and_is_sent_again() -> None:
    """A 429 with a short Retry-After is waited for, also for a charging read."""
    slow = http(b"", "429 Slow", "Retry-After: 0.05\r\n")
    async with raw_server(slow, COMPANY) as server, client_of(server.url) as lf:
        assert (await lf.companies.get("1")).meta.charged == 1
    assert (lf.stats.rate_limited, len(server.requests)) == (1, 2)


async def test_429_with_a_long_wait_is_raised_at_once() -> None:
    """A day's Retry-After is an error with the time, not a day's sleep."""
    slow = http(b"", "429 Slow", "Retry-After: 86400\r\n")
    async with raw_server(slow) as server, client_of(server.url) as lf:
        with pytest.raises(RateLimitedError) as caught:
            await lf.users.me()
    assert caught.value.retry_at is not None
    assert len(server.requests) == 1


@pytest.fixture
async def authority() -> AsyncIterator[trustme.CA]:
    yield trustme.CA()


def served(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_trusted_certificate(authority: trustme.CA) -> None:
    """A context of the user's own is used."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with raw_server(OK, ssl=served(authority, "localhost")) as server:
        async with client_of(server.url, ssl_context=trusting) as lf:
            await lf.users.me()


@pytest.mark.parametrize(("trusted", "name"), [(False, "localhost"), (True, "other.test")])
async def test_bad_certificate_is_refused_once(authority: trustme.CA, trusted: bool, name: str) -> None:
    """An unknown issuer and a wrong name are TLSError, not retried, with nothing sent."""
    context = ssl.create_default_context()
    if trusted:
        authority.configure_trust(context)
    async with raw_server(OK, ssl=served(authority, name)) as server:
        async with client_of(server.url, ssl_context=context) as lf:
            with pytest.raises(TLSError) as caught:
                await lf.users.me()
    assert (caught.value.sent, caught.value.attempts, server.requests) == ("no", 1, [])


async def test_a_handshake_that_breaks_off_says_so() -> None:
    """Where the other side hangs up amid the handshake, the error says what happened, though asyncio gives no text."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)

    async with listening(hang_up, "localhost") as server:
        async with client_of(f"https://localhost:{port_of(server)}", retries=0) as lf:
            with pytest.raises(ConnectError, match=r"No connection to localhost:\d+: Connection\w+\.") as caught:
                await lf.users.me()
    assert caught.value.sent == "no"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_is_1_2_or_newer(
    authority: trustme.CA, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that speaks TLS 1.1 at most is refused with nothing sent, even where this system would allow it."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    defaults = ssl.create_default_context

    def lax() -> ssl.SSLContext:
        context = defaults()
        allow(context, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_3)
        return context

    monkeypatch.setattr(ssl, "create_default_context", lax)
    serving = served(authority, "localhost")
    allow(serving, ssl.TLSVersion.TLSv1, version)
    async with raw_server(OK, ssl=serving) as server:
        port = int(server.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("localhost", port, ssl=lax())  # it can be spoken here
        assert writer.get_extra_info("ssl_object").version().replace(".", "_") == version.name
        writer.close()
        await writer.wait_closed()
        async with client_of(server.url, retries=0) as lf:
            if version >= ssl.TLSVersion.TLSv1_2:
                await lf.users.me()
            else:
                with pytest.raises(ConnectError) as caught:
                    await lf.users.me()
                assert (caught.value.sent, server.requests) == ("no", [])


def allow(context: ssl.SSLContext, oldest: ssl.TLSVersion, newest: ssl.TLSVersion) -> None:
    """Let a context speak old versions, as some systems are set up to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = oldest, newest
    context.set_ciphers("DEFAULT@SECLEVEL=0")


async def test_borrowed_session_is_used_and_stays_open() -> None:
    """A session of the user's own sends the calls, keeps its settings, and is not closed."""
    async with raw_server(OK) as server, aiohttp.ClientSession(headers={"X-Mine": "1"}) as session:
        async with client_of(server.url, session=session) as lf:
            await lf.users.me()
            assert len(session.trace_configs) == 1
        assert not session.closed
        assert session.trace_configs == []
        async with session.get(server.url) as response:
            assert response.status == 200
    assert b"X-Mine: 1" in server.requests[0]
    assert KEY.encode() not in server.requests[1]


async def test_cookies_are_not_replayed() -> None:
    """A cookie of the server does not come back."""
    async with raw_server(http(b"{}", headers="Set-Cookie: a=b; Path=/\r\n")) as server, client_of(server.url) as lf:
        await lf.request("GET", "/v1/x")
        await lf.request("GET", "/v1/x")
    assert b"Cookie:" not in server.requests[1]


async def test_cancelled_calls_leave_nothing() -> None:
    """Calls canceled at odd moments give back slot, token and connection; the client goes on."""

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.json_response({"data": {"id": "1"}})

    async with handler_server(slow) as url, client_of(url, max_concurrency=2) as lf:
        for number in range(40):
            task = asyncio.create_task(lf.users.me())
            await asyncio.sleep(number / 1_000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert lf.stats.in_flight == 0
        assert (await asyncio.wait_for(lf.users.me(), 2)).data.id == "1"


async def test_close_ends_calls_under_way() -> None:
    """A call that is waiting when the client closes ends with an error of ours."""
    async with raw_server(silence) as server:
        lf: AsyncLeadfeeder = client_of(server.url, retries=1)
        call = asyncio.create_task(lf.users.me())
        await asyncio.sleep(0.05)
        await lf.aclose()
        with pytest.raises((ClientClosedError, DisconnectedError)):
            await call


async def test_two_clients_share_a_borrowed_session() -> None:
    """Each client watches its own requests only, and the session's own requests pass unwatched."""
    async with raw_server(OK) as server, aiohttp.ClientSession() as session:
        async with client_of(server.url, session=session) as one, client_of(server.url, session=session) as two:
            await one.users.me()
            await two.users.me()
            async with session.get(server.url) as response:
                assert response.status == 200
    assert len(server.requests) == 3


async def test_borrowed_session_s_own_ways_do_not_matter() -> None:
    """A session that raises for statuses, or leaves bodies packed, behaves here like any other."""
    packed = http(gzip.compress(b'{"data":{"id":"1"}}'), headers="Content-Encoding: gzip\r\n")
    async with raw_server(http(b"", "404 No"), packed) as server:
        async with aiohttp.ClientSession(raise_for_status=True, auto_decompress=False) as session:
            async with client_of(server.url, session=session) as lf:
                with pytest.raises(NotFoundError):
                    await lf.companies.get("1")
                assert (await lf.users.me()).data.id == "1"


async def test_borrowed_session_that_was_closed_is_named() -> None:
    """A closed session gives an error of ours, with proof that nothing was sent."""
    session = aiohttp.ClientSession()
    lf = client_of("http://127.0.0.1:9", session=session, retries=0)
    await session.close()
    with pytest.raises(ConnectError) as caught:
        await lf.companies.get("1")
    assert caught.value.sent == "no"


async def test_closing_during_a_look_up_is_no_cancellation() -> None:
    """Calls whose name is being looked up when the client closes end with an error, not with a cancellation."""
    async with raw_server(OK) as server:  # its address is a name
        for _ in range(10):
            lf = client_of(server.url, retries=0)
            calls = [asyncio.create_task(lf.users.me()) for _ in range(4)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await lf.aclose()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert not any(isinstance(one, asyncio.CancelledError) for one in results), results


@pytest.mark.parametrize("how", ["timeout", "cap", "cut", "closed"])
async def test_key_is_in_no_traceback(how: str) -> None:
    """No frame of a failing call shows the key, aiohttp's own frames included, whatever fails."""
    answers = {"timeout": silence, "cap": http(b'{"data":"' + b" " * 5_000 + b'"}'), "cut": cut(b"HTT"), "closed": OK}
    session = aiohttp.ClientSession() if how == "closed" else None
    async with raw_server(answers[how]) as server:
        options = {"retries": 0, "max_body_bytes": 1_000, "session": session}
        async with client_of(server.url, **options) as lf:
            if session is not None:
                await session.close()
            with pytest.raises((LeadfeederError, TimeoutError)) as caught:
                async with asyncio.timeout(0.1 if how == "timeout" else 5):
                    await lf.users.me()
    shown, error = list[str](), caught.value
    while error is not None:
        shown += traceback.TracebackException.from_exception(error, capture_locals=True).format()
        error = error.__cause__ or error.__context__
    assert KEY not in "".join(shown)


@pytest.mark.parametrize(
    "answer",
    [
        http(b'{"errors":[{"code":"x","title":"no such key ' + KEY.encode() + b'"}]}', "401 No"),
        http(b"<html>X-Api-Key: " + KEY.encode() + b"</html>"),
        http(b"", "500 No", f"X-Request-Id: {KEY}\r\n"),
    ],
)
async def test_key_that_is_echoed_is_taken_out(answer: bytes) -> None:
    """A server or proxy that says the key back does not get it into an error."""
    async with raw_server(answer) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(LeadfeederError) as caught:
            await lf.users.me()
    assert KEY not in repr(caught.value) + str(caught.value) + repr(caught.value.context)


async def test_others_wait_until_the_first_call_is_connected() -> None:
    """Tokens are not taken while names are looked up and the first connection is made: they would go stale."""
    asked = list[float]()

    class Limiter:
        async def acquire(self) -> None:
            asked.append(asyncio.get_running_loop().time())

        def pause(self, seconds: float) -> None:
            raise AssertionError

    slow = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("localhost").configure_cert(slow)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    connected = list[float]()

    async def answer(writer: asyncio.StreamWriter) -> None:
        connected.append(asyncio.get_running_loop().time())
        writer.write(OK)

    async with raw_server(answer, ssl=slow) as server:
        async with client_of(server.url, ssl_context=trusting, limiter=Limiter()) as lf:
            await asyncio.gather(*(lf.users.me() for _ in range(5)))
    assert len(asked) == 5
    assert asked[0] < asked[1]
    assert asked[1] - asked[0] > 0.3 * (connected[0] - asked[0])


async def test_first_call_that_fails_holds_no_one_up() -> None:
    """When the first call cannot connect, or is canceled, the others go on."""
    async with client_of("http://127.0.0.1:9", retries=0) as lf:
        first, second = (asyncio.create_task(lf.users.me()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(ConnectError):
            await asyncio.wait_for(second, 2)


async def test_429_really_pauses() -> None:
    """After a 429 the next request comes when the server said, not before, whoever sends it."""
    times = list[float]()

    async def slow(writer: asyncio.StreamWriter) -> None:
        times.append(asyncio.get_running_loop().time())
        writer.write(http(b"", "429 Slow", "Retry-After: 0.3\r\n"))

    async def fine(writer: asyncio.StreamWriter) -> None:
        times.append(asyncio.get_running_loop().time())
        writer.write(OK)

    async with raw_server(slow, fine) as server, client_of(server.url) as lf:
        first = asyncio.create_task(lf.users.me())
        while not times:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        await asyncio.gather(first, lf.users.me())
    assert all(time - times[0] >= 0.29 for time in times[1:])


async def test_slots_bound_requests_under_way() -> None:
    """The server never sees more requests at once than there are slots."""
    inside = most = 0

    async def handle(_: web.Request) -> web.Response:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.01)
        inside -= 1
        return web.json_response({"data": {"id": "1"}})

    async with handler_server(handle) as url, client_of(url, max_concurrency=3) as lf:
        await asyncio.gather(*(lf.users.me() for _ in range(20)))
    assert most == 3


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_escape_hatch_says_what_may_have_happened(method: str) -> None:
    """A lost GET may have charged; anything else may have created."""
    async with raw_server(http(b"", "503 Busy")) as server, client_of(server.url) as lf:
        said = "charged" if method == "GET" else "created"
        with pytest.raises(OutcomeUnknownError, match=said):
            await lf.request(method, "/v1/x")
    assert len(server.requests) == 1


async def test_empty_answer_of_a_write_is_an_answer() -> None:
    """204 without a body is success, for methods and for the escape hatch."""
    nothing = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with raw_server(nothing) as server, client_of(server.url) as lf:
        assert (await lf.tags.delete("1")).data is None
        assert await lf.request("DELETE", "/v1/tags/1") == {}


async def test_connecting_that_takes_for_ever_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is never made is given up in time, named as not sent, and tried again whatever it costs."""
    monkeypatch.setattr("leadfeeder_async._core.retry.INITIAL_BACKOFF", 0.001)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with ExitStack() as waiting:  # fill the queue of connections that nobody accepts
            for _ in range(3):
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                with suppress(BlockingIOError):
                    one.connect(address)
            async with client_of(f"http://127.0.0.1:{address[1]}", timeout=0.05) as lf:
                with pytest.raises(AttemptTimeoutError) as caught:
                    await lf.companies.get("1")
    assert (caught.value.sent, caught.value.phase, caught.value.attempts) == ("no", "connect", 3)


async def test_handshake_that_is_cut_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TLS handshake that breaks off leaves nothing sent: it is tried again, whatever the request costs."""
    monkeypatch.setattr("leadfeeder_async._core.retry.INITIAL_BACKOFF", 0.001)
    connections = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(20)

    async with listening(hang_up) as server, client_of(f"https://127.0.0.1:{port_of(server)}") as lf:
        with pytest.raises(ConnectError) as caught:
            await lf.companies.get("1")
    assert (caught.value.sent, caught.value.attempts, connections) == ("no", 3, 3)


async def test_proxies_of_the_environment_are_not_used_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key goes to no proxy that happens to be set, unless ``trust_env`` says so."""
    async with raw_server(OK) as proxy, raw_server(OK) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with client_of(server.url) as lf:
            await lf.users.me()
        assert (len(server.requests), proxy.connections) == (1, 0)
        async with client_of("https://api.nowhere.test", trust_env=True, retries=0) as lf:
            with pytest.raises(LeadfeederError):
                await lf.users.me()
        assert [request.split()[:2] for request in proxy.requests] == [[b"CONNECT", b"api.nowhere.test:443"]]
        monkeypatch.setenv("NO_PROXY", "nowhere.test")
        async with client_of("https://api.nowhere.test", trust_env=True, retries=0) as lf:
            with pytest.raises(ConnectError):
                await lf.users.me()
        assert proxy.connections == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_this_machine_is_never_reached_through_a_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Unencrypted requests to a sandbox go to no proxy elsewhere, even with ``trust_env``. A .netrc file is not read."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {host} login someone password pa55word\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with raw_server(OK) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, "http://192.0.2.1:3128")
        async with client_of(server.url.replace("localhost", host), trust_env=True) as lf:
            await lf.users.me()
    assert len(server.requests) == 1
    assert b"authorization" not in server.requests[0].lower()


async def test_name_that_cannot_be_found_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that no name server knows is a ConnectError, not sent."""
    monkeypatch.setattr("leadfeeder_async._core.retry.INITIAL_BACKOFF", 0.001)

    async def getaddrinfo(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with client_of("https://api.nowhere.test") as lf:
        with pytest.raises(ConnectError) as caught:
            await lf.companies.get("1")
    assert (caught.value.sent, caught.value.attempts) == ("no", 3)


async def test_proxy_that_refuses_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's refusal is a connection that was not made; its credentials, and the key, are nowhere in the error."""
    monkeypatch.setattr("leadfeeder_async._core.retry.INITIAL_BACKOFF", 0.001)
    async with raw_server(http(b"", "407 Proxy Authentication Required")) as proxy:
        address = proxy.url.replace("http://", "http://someone:pa55word@")
        monkeypatch.setenv("HTTPS_PROXY", address)
        async with client_of("https://api.nowhere.test", trust_env=True) as lf:
            with pytest.raises(LeadfeederError) as caught:
                await lf.companies.get("1")
    lines = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "pa55word" not in str(caught.value) + repr(caught.value)
    assert KEY not in lines
    assert caught.value.sent == "no"
    assert all(request.startswith(b"CONNECT ") for request in proxy.requests)
