"""Network faults, against local servers that produce them."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import traceback
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
from leadfeeder_async._core.transport import READ_SIZE
from tests.support.clients import KEY, client_of
from tests.support.servers import RawServer, cut, handler_server, http, listening, port_of, raw_server, silence

pytestmark = pytest.mark.usefixtures("short_backoff")

OK = http(b'{"data":{"id":"1","type":"user"}}')
COMPANY = http(b'{"data":{"id":"1","type":"company"},"meta":{"credits":{"charged":1}}}')


async def test_request_on_the_wire() -> None:
    """The key is sent in one header only, with a User-Agent and a JSON body."""
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
    """Consecutive calls share one connection."""
    async with raw_server(OK) as server, client_of(server.url) as lf:
        for _ in range(5):
            await lf.users.me()
    assert (server.connections, len(server.requests)) == (1, 5)


async def test_redirect_is_not_followed() -> None:
    """A redirect to another host is an error that names the host, and that host receives nothing."""
    async with raw_server(OK) as other:
        moved = http(b"", "307 Temporary Redirect", f"Location: {other.url}/v1/users/me\r\n")
        async with raw_server(moved) as server, client_of(server.url) as lf:
            with pytest.raises(RedirectError, match="localhost"):
                await lf.users.me()
        assert (other.connections, len(server.requests)) == (0, 1)


async def test_refused_connection_is_retried() -> None:
    """A refused connection was not sent, so that even a billed read has three attempts."""
    async with raw_server(OK) as server:
        url = server.url
    async with client_of(url) as lf:
        with pytest.raises(ConnectError) as caught:
            await lf.companies.get("1")
    assert (caught.value.sent, caught.value.attempts, lf.stats.requests) == ("no", 3, 3)


async def test_read_is_retried_after_a_cut() -> None:
    """A read whose response is cut off is retried."""
    async with raw_server(cut(OK[:60]), cut(b""), OK) as server, client_of(server.url) as lf:
        assert (await lf.users.me()).data.id == "1"
    assert len(server.requests) == 3


@pytest.mark.parametrize("body", [COMPANY[:20], COMPANY[:-5], b""])
async def test_billed_read_is_sent_once(body: bytes) -> None:
    """A billed read that loses its response is sent once and may have been charged."""
    async with raw_server(cut(body), COMPANY) as server, client_of(server.url) as lf:
        with pytest.raises(OutcomeUnknownError, match="may have charged") as caught:
            await lf.companies.get("1")
    assert len(server.requests) == 1
    assert isinstance(caught.value.__cause__, DisconnectedError)
    assert caught.value.sent in {"maybe", "yes"}


async def test_billed_read_after_server_error_is_sent_once() -> None:
    """A 500 does not show whether the call was charged."""
    async with raw_server(http(b"", "500 Oops"), COMPANY) as server, client_of(server.url) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.companies.get("1")
    assert len(server.requests) == 1


@pytest.mark.parametrize("charges", [False, True])
@pytest.mark.parametrize("borrows", [False, True])
async def test_dead_connection_is_not_resent_by_aiohttp(charges: bool, borrows: bool) -> None:
    """A kept connection that is dead is handled by the client's retries, not by those of aiohttp."""
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
async def test_calls_proceed_once_first_is_connected(borrows: bool) -> None:
    """Other calls wait for the first connection, not for the first response."""
    paths, both = list[str](), asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        paths.append(request.path)
        if len(paths) == 2:
            both.set()
        await both.wait()
        return web.json_response({"data": {"id": "1", "type": "user"}})

    async with (
        handler_server(handle) as url,
        aiohttp.ClientSession() as session,
        client_of(url, session=session if borrows else None, timeout=10) as lf,
    ):
        await asyncio.gather(lf.users.me(), lf.users.me())
    assert len(paths) == 2


async def test_request_of_a_trace_callback() -> None:
    """A request that a trace callback sends is not counted as a request of the client."""

    async def started(session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        if context.trace_request_ctx is not None:
            later.append(asyncio.create_task(fetch_token(session)))
            await fetch_token(session)

    async def fetch_token(session: aiohttp.ClientSession) -> None:
        async with session.get(f"{server.url}/token") as response:
            assert response.status == 200

    trace, later = aiohttp.TraceConfig(), list[asyncio.Task[None]]()
    trace.on_request_start.append(started)
    async with raw_server(OK) as server, client_of(server.url, trace_configs=[trace], retries=0) as lf:
        await lf.request("POST", "/v1/new")
        await asyncio.gather(*later)
        assert (len(server.requests), lf.stats.requests) == (3, 1)


@pytest.mark.parametrize("closed", ["another", "itself"])
async def test_removed_trace_config_yields_sent_maybe(closed: str) -> None:
    """If a client that closes removes its trace config, calls in flight may have been sent."""
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
        await other.__aenter__()
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


async def test_custom_request_is_sent_once() -> None:
    """A lost custom request is retried only if the caller declares it idempotent and free."""
    async with raw_server(cut(b""), OK) as server, client_of(server.url) as lf:
        with pytest.raises(OutcomeUnknownError):
            await lf.request("POST", "/v1/new")
        assert len(server.requests) == 1
        await lf.request("POST", "/v1/new", idempotent=True, may_charge=False)


async def test_silent_server_times_out() -> None:
    """An attempt without a response ends at its timeout and may have been sent."""
    async with raw_server(silence) as server, client_of(server.url, timeout=0.1, retries=0) as lf:
        with pytest.raises(AttemptTimeoutError, match=r"0\.1 s") as caught:
            await lf.users.me()
    assert (caught.value.sent, caught.value.phase) == ("maybe", "headers")


async def test_slow_body_times_out() -> None:
    """A server that sends single bytes does not extend the timeout."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        for byte in OK:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)

    async with raw_server(drip) as server, client_of(server.url, timeout=0.15, retries=0) as lf:
        with pytest.raises(AttemptTimeoutError):
            await lf.users.me()


@pytest.mark.parametrize("garbage", [b"not http at all\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00\xff\r\n\r\n"])
async def test_invalid_http_is_a_protocol_error(garbage: bytes) -> None:
    """A response that is not valid HTTP raises ProtocolError without a status."""
    async with raw_server(cut(garbage)) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(ProtocolError) as caught:
            await lf.users.me()
    assert caught.value.status is None


async def test_html_under_200_is_a_decode_error() -> None:
    """The error about an HTML page contains the start of the page."""
    async with raw_server(http(b"<html>Sign in</html>")) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(DecodeError, match="Sign in"):
            await lf.users.me()


async def test_truncated_body_without_length() -> None:
    """A body that ends early with its connection is not complete."""
    half = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"data":{"id":"1"'
    async with raw_server(cut(half), OK) as server, client_of(server.url) as lf:
        assert (await lf.users.me()).data.id == "1"
    assert len(server.requests) == 2


async def test_body_over_the_limit() -> None:
    """Reading stops at the size limit, which applies after decompression."""
    bomb = gzip.compress(b'{"data":"' + b" " * 300_000 + b'"}')
    packed = http(bomb, headers="Content-Encoding: gzip\r\n")
    async with raw_server(packed) as server, client_of(server.url, max_body_bytes=100_000) as lf:
        with pytest.raises(ResponseTooLargeError, match="100,000") as caught:
            await lf.users.me()
    assert caught.value.sent == "yes"


async def test_decompression_lets_other_tasks_run() -> None:
    """A small body that decompresses to many MiB is read in parts, and other tasks run between them."""
    body = gzip.compress(b" " * (32 * READ_SIZE), 1)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def respond(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async with handler_server(respond) as url, client_of(url, max_body_bytes=16 * READ_SIZE) as lf:
        with pytest.raises(ResponseTooLargeError):
            await lf.users.me()  # opens the connection
        counter = asyncio.create_task(count())
        with pytest.raises(ResponseTooLargeError):
            await lf.users.me()
        counter.cancel()
    assert turns >= 16


async def test_endless_body_ends_at_the_limit() -> None:
    """An endless body ends at the size limit and not at the timeout, and its connection is not reused."""

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b" " * 150_000)

    async with raw_server(endless, OK) as server, client_of(server.url, max_body_bytes=100_000, timeout=5) as lf:
        with pytest.raises(ResponseTooLargeError):
            await asyncio.wait_for(lf.users.me(), 2)
        await lf.users.me()
    assert server.connections == 2


async def test_server_errors_then_success() -> None:
    """Two 503 responses and a success make three attempts."""
    busy = http(b"", "503 Busy")
    async with raw_server(busy, busy, OK) as server, client_of(server.url) as lf:
        await lf.users.me()
    assert (len(server.requests), lf.stats.retries) == (3, 2)


async def test_last_server_error_is_raised() -> None:
    """If all attempts fail, the last error is raised with the number of attempts."""
    async with raw_server(http(b"", "500 Oops")) as server, client_of(server.url, retries=1) as lf:
        with pytest.raises(ServerError) as caught:
            await lf.users.me()
    assert (len(server.requests), caught.value.attempts) == (2, 2)


async def test_429_is_retried_after_pause() -> None:
    """A short Retry-After is waited for, also by a billed read."""
    slow = http(b"", "429 Slow", "Retry-After: 0.05\r\n")
    async with raw_server(slow, COMPANY) as server, client_of(server.url) as lf:
        assert (await lf.companies.get("1")).meta.charged == 1
    assert (lf.stats.rate_limited, len(server.requests)) == (1, 2)


async def test_429_with_long_retry_after_raises_at_once() -> None:
    """A Retry-After of a day is raised without waiting."""
    slow = http(b"", "429 Slow", "Retry-After: 86400\r\n")
    async with raw_server(slow) as server, client_of(server.url) as lf:
        with pytest.raises(RateLimitedError) as caught:
            await lf.users.me()
    assert caught.value.retry_at is not None
    assert len(server.requests) == 1


@pytest.fixture
async def authority() -> AsyncIterator[trustme.CA]:
    yield trustme.CA()


def tls_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_custom_ssl_context(authority: trustme.CA) -> None:
    """A TLS context of the caller is used."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with raw_server(OK, ssl=tls_context(authority, "localhost")) as server:
        async with client_of(server.url, ssl_context=trusting) as lf:
            await lf.users.me()


@pytest.mark.parametrize(("trusted", "name"), [(False, "localhost"), (True, "other.test")])
async def test_invalid_certificate(authority: trustme.CA, trusted: bool, name: str) -> None:
    """An unknown issuer and a wrong name raise TLSError without a retry, and nothing is sent."""
    context = ssl.create_default_context()
    if trusted:
        authority.configure_trust(context)
    async with raw_server(OK, ssl=tls_context(authority, name)) as server:
        async with client_of(server.url, ssl_context=context) as lf:
            with pytest.raises(TLSError) as caught:
                await lf.users.me()
    assert (caught.value.sent, caught.value.attempts, server.requests) == ("no", 1, [])


async def test_message_of_aborted_handshake() -> None:
    """The error names the cause if the server disconnects during the handshake."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)

    async with listening(hang_up, "localhost") as server:
        async with client_of(f"https://localhost:{port_of(server)}", retries=0) as lf:
            with pytest.raises(ConnectError, match=r"No connection to localhost:\d+: Connection\w+\.") as caught:
                await lf.users.me()
    assert caught.value.sent == "no"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_minimum_tls_version(
    authority: trustme.CA, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that supports at most TLS 1.1 is rejected even if the system allows it."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    defaults = ssl.create_default_context

    def lax() -> ssl.SSLContext:
        context = defaults()
        allow(context, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_3)
        return context

    monkeypatch.setattr(ssl, "create_default_context", lax)
    serving = tls_context(authority, "localhost")
    allow(serving, ssl.TLSVersion.TLSv1, version)
    async with raw_server(OK, ssl=serving) as server:
        port = int(server.url.rpartition(":")[2])
        # This machine supports the version.
        _, writer = await asyncio.open_connection("localhost", port, ssl=lax())
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
    """Allow old TLS versions, as some systems do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = oldest, newest
    context.set_ciphers("DEFAULT@SECLEVEL=0")


async def test_borrowed_session() -> None:
    """A borrowed session sends the calls, keeps its settings and is not closed."""
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


async def test_cookies_are_not_sent() -> None:
    """Cookies of the server are not sent back."""
    async with raw_server(http(b"{}", headers="Set-Cookie: a=b; Path=/\r\n")) as server, client_of(server.url) as lf:
        await lf.request("GET", "/v1/x")
        await lf.request("GET", "/v1/x")
    assert b"Cookie:" not in server.requests[1]


async def test_canceled_calls_leave_nothing() -> None:
    """Canceled calls release their slot, token and connection, and the client stays usable."""

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


async def test_close_interrupts_calls_in_flight() -> None:
    """A call that is in flight when the client closes raises an error of the package."""
    async with raw_server(silence) as server:
        lf: AsyncLeadfeeder = client_of(server.url, retries=1)
        call = asyncio.create_task(lf.users.me())
        await asyncio.sleep(0.05)
        await lf.aclose()
        with pytest.raises((ClientClosedError, DisconnectedError)):
            await call


async def test_two_clients_share_a_session() -> None:
    """Each client traces its own requests only, and other requests of the session are not traced."""
    async with raw_server(OK) as server, aiohttp.ClientSession() as session:
        async with client_of(server.url, session=session) as one, client_of(server.url, session=session) as two:
            await one.users.me()
            await two.users.me()
            async with session.get(server.url) as response:
                assert response.status == 200
    assert len(server.requests) == 3


async def test_options_of_borrowed_session() -> None:
    """A session that raises for statuses or does not decompress bodies works like any other."""
    packed = http(gzip.compress(b'{"data":{"id":"1"}}'), headers="Content-Encoding: gzip\r\n")
    async with raw_server(http(b"", "404 No"), packed) as server:
        async with aiohttp.ClientSession(raise_for_status=True, auto_decompress=False) as session:
            async with client_of(server.url, session=session) as lf:
                with pytest.raises(NotFoundError):
                    await lf.companies.get("1")
                assert (await lf.users.me()).data.id == "1"


async def test_closed_borrowed_session() -> None:
    """A closed session raises ConnectError with the state "not sent"."""
    session = aiohttp.ClientSession()
    lf = client_of("http://127.0.0.1:9", session=session, retries=0)
    await session.close()
    with pytest.raises(ConnectError) as caught:
        await lf.companies.get("1")
    assert caught.value.sent == "no"


async def test_close_during_dns_lookup() -> None:
    """Calls that look up a name when the client closes raise an error and not CancelledError."""
    async with raw_server(OK) as server:  # uses a name, not an address
        for _ in range(10):
            lf = client_of(server.url, retries=0)
            calls = [asyncio.create_task(lf.users.me()) for _ in range(4)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await lf.aclose()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert not any(isinstance(result, asyncio.CancelledError) for result in results), results


@pytest.mark.parametrize("failure", ["timeout", "cap", "cut", "closed"])
async def test_key_in_traceback(failure: str) -> None:
    """No frame of a failing call contains the key, including the frames of aiohttp."""
    responses = {"timeout": silence, "cap": http(b'{"data":"' + b" " * 5_000 + b'"}'), "cut": cut(b"HTT"), "closed": OK}
    session = aiohttp.ClientSession() if failure == "closed" else None
    async with raw_server(responses[failure]) as server:
        options = {"retries": 0, "max_body_bytes": 1_000, "session": session}
        async with client_of(server.url, **options) as lf:
            if session is not None:
                await session.close()
            with pytest.raises((LeadfeederError, TimeoutError)) as caught:
                async with asyncio.timeout(0.1 if failure == "timeout" else 5):
                    await lf.users.me()
    shown, error = list[str](), caught.value
    while error is not None:
        shown += traceback.TracebackException.from_exception(error, capture_locals=True).format()
        error = error.__cause__ or error.__context__
    assert KEY not in "".join(shown)


@pytest.mark.parametrize(
    "response",
    [
        http(b'{"errors":[{"code":"x","title":"no such key ' + KEY.encode() + b'"}]}', "401 No"),
        http(b"<html>X-Api-Key: " + KEY.encode() + b"</html>"),
        http(b"", "500 No", f"X-Request-Id: {KEY}\r\n"),
    ],
)
async def test_echoed_key_is_redacted(response: bytes) -> None:
    """A key that a server or proxy echoes does not appear in the error."""
    async with raw_server(response) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(LeadfeederError) as caught:
            await lf.users.me()
    assert KEY not in repr(caught.value) + str(caught.value) + repr(caught.value.context)


async def test_no_tokens_are_taken_before_first_connection() -> None:
    """No token is taken before the first connection is made, because tokens would expire."""
    taken = list[str]()

    class Limiter:
        async def acquire(self) -> None:
            taken.append("token")

        def pause(self, seconds: float) -> None:
            raise AssertionError

    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("localhost").configure_cert(accepting)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with AsyncExitStack() as stack:
        waiting = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # connects, but has no TLS yet
        url = f"https://localhost:{waiting.getsockname()[1]}"
        lf = await stack.enter_async_context(client_of(url, ssl_context=trusting, limiter=Limiter()))
        calls = asyncio.gather(*(lf.users.me() for _ in range(5)))
        await asyncio.sleep(0.05)
        assert len(taken) == 1
        await stack.enter_async_context(listening(RawServer(OK).handle, ssl=accepting, sock=waiting))
        await calls
        await lf.aclose()
    assert len(taken) == 5


async def test_failed_first_call_does_not_block_others() -> None:
    """If the first call fails or is canceled, the others proceed."""
    async with client_of("http://127.0.0.1:9", retries=0) as lf:
        first, second = (asyncio.create_task(lf.users.me()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(ConnectError):
            await asyncio.wait_for(second, 2)


async def test_429_pauses_all_calls() -> None:
    """After a 429, no call is sent before Retry-After has passed."""
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


async def test_max_concurrency() -> None:
    """The server never handles more than ``max_concurrency`` requests at once."""
    active = most = 0

    async def handle(_: web.Request) -> web.Response:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.01)
        active -= 1
        return web.json_response({"data": {"id": "1"}})

    async with handler_server(handle) as url, client_of(url, max_concurrency=3) as lf:
        await asyncio.gather(*(lf.users.me() for _ in range(20)))
    assert most == 3


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_custom_request_outcome_message(method: str) -> None:
    """A lost GET may have been charged, and other methods may have created something."""
    async with raw_server(http(b"", "503 Busy")) as server, client_of(server.url) as lf:
        effect = "charged" if method == "GET" else "created"
        with pytest.raises(OutcomeUnknownError, match=effect):
            await lf.request(method, "/v1/x")
    assert len(server.requests) == 1


async def test_empty_response_of_a_write() -> None:
    """A 204 without a body is a success."""
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with raw_server(empty) as server, client_of(server.url) as lf:
        assert (await lf.tags.delete("1")).data is None
        assert await lf.request("DELETE", "/v1/tags/1") == {}


async def test_connect_timeout() -> None:
    """A connection that is never made times out, was not sent, and is retried."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with ExitStack() as waiting:  # Fill the queue of connections, which are never accepted.
            for _ in range(3):
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                with suppress(BlockingIOError):
                    one.connect(address)
            async with client_of(f"http://127.0.0.1:{address[1]}", timeout=0.05) as lf:
                with pytest.raises(AttemptTimeoutError) as caught:
                    await lf.companies.get("1")
    assert (caught.value.sent, caught.value.phase, caught.value.attempts) == ("no", "connect", 3)


async def test_aborted_handshake_is_retried() -> None:
    """An aborted TLS handshake was not sent and is retried, also for a billed call."""
    connections = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(20)

    async with listening(hang_up) as server, client_of(f"https://127.0.0.1:{port_of(server)}") as lf:
        with pytest.raises(ConnectError) as caught:
            await lf.companies.get("1")
    assert (caught.value.sent, caught.value.attempts, connections) == ("no", 3, 3)


async def test_proxy_variables_need_trust_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies of the environment are used only with ``trust_env``."""
    reject_hosts(monkeypatch, "api.nowhere.test")
    async with raw_server(http(b"", "502 Bad Gateway")) as proxy, raw_server(OK) as server:
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
async def test_loopback_never_uses_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unencrypted requests to this machine use no proxy, even with ``trust_env``. A .netrc file is not read."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {host} login someone password pa55word\n", encoding="utf-8")
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


def reject_hosts(monkeypatch: pytest.MonkeyPatch, *unknown: str) -> None:
    """Let the running event loop find no address of these hosts, without asking a name server."""
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        if host in unknown:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return await resolve(host, *arguments, **options)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)


async def test_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown host raises ConnectError with the state "not sent"."""
    reject_hosts(monkeypatch, "api.nowhere.test")
    async with client_of("https://api.nowhere.test") as lf:
        with pytest.raises(ConnectError) as caught:
            await lf.companies.get("1")
    assert (caught.value.sent, caught.value.attempts) == ("no", 3)


async def test_proxy_rejection_hides_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error about a proxy that rejects the connection contains neither its password nor the key."""
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
