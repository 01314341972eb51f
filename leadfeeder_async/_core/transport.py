"""The one place that touches aiohttp: send a request, read the answer, name the fault."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import lru_cache
from types import SimpleNamespace

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from msgspec.structs import replace
from yarl import URL

from leadfeeder_async._core.attempt import AttemptTrace
from leadfeeder_async._core.codec import HttpRequest, HttpResponse
from leadfeeder_async._version import __version__
from leadfeeder_async.errors import (
    AttemptTimeoutError,
    ConnectError,
    DisconnectedError,
    ErrorContext,
    LeadfeederError,
    ProtocolError,
    ResponseTooLargeError,
    TLSError,
)
from leadfeeder_async.settings import Settings

KEEP_ALIVE = 15.0
"""Seconds an idle connection is kept: well below the 60 s after which common load balancers drop it."""

CONNECT_TIMEOUT = 10.0
"""Seconds for TCP and TLS to a server."""

LOOP_STALL_THRESHOLD = 0.02
"""A time-out that is late by this many seconds says that the event loop was blocked."""

READ_GRACE = 0.1
"""Seconds that answers then get to be read."""

_PLAUSIBLE_FIRST_BYTES = frozenset({b"{", b"[", b""})
"""How an answer begins that is good as far as can be seen."""

ERROR_HEADERS = frozenset({"Retry-After", "X-Request-Id", "Location"})
"""The headers of an answer that errors speak of."""

USER_AGENT = (
    f"leadfeeder-async/{__version__} aiohttp/{aiohttp.__version__} "
    f"Python/{sys.version_info.major}.{sys.version_info.minor}"
)


class Transport:
    """One connection pool, with the headers that hold the key."""

    def __init__(
        self,
        settings: Settings,
        session: aiohttp.ClientSession | None,
        on_connected: Callable[[], None],
        trace_configs: Sequence[aiohttp.TraceConfig] = (),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_connected = on_connected
        self._owned = session is None
        self._is_watched = False
        """The pool is known to tell which requests have a connection: an answer came to one of which it did."""
        self._session = _open_session(settings, on_connected) if session is None else session
        self._traces = (*(() if self._owned else (self._trace_config(),)), *trace_configs)
        for trace in self._traces:
            trace.freeze()
            self._session.trace_configs.append(trace)
        self._key = settings.api_key
        self._cap = settings.max_body_bytes

    async def send(
        self, request: HttpRequest, context: ErrorContext, timeout: float, passage: AttemptTrace
    ) -> HttpResponse:
        """Send once and read the whole answer, or raise what went wrong, with proof of whether it left.

        Every exception is raised anew, outside the except block and without aiohttp's frames, which hold the key.
        """
        failure: BaseException
        passage.send_is_observable = self._is_watched or self._session.closed
        try:
            answer = await self._exchange(request, context, timeout, passage)
            return (
                answer
                if 200 <= answer.status < 300 and answer.body[:1] in _PLAUSIBLE_FIRST_BYTES
                else self.redacted(answer)
            )
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            # aiohttp cancels its own DNS look-ups when it closes; nobody asked for that cancellation.
            ours = task is not None and task.cancelling() == 0
            failure = map_transport_error(error, context, passage, timeout) if ours else error
        except LeadfeederError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - each is named, and none may pass with its frames
            failure = map_transport_error(error, context, passage, timeout)
        failure.__cause__ = failure.__context__ = None
        raise failure.with_traceback(None)

    async def aclose(self) -> None:
        """Close what was opened here, and let go of what was borrowed."""
        if self._owned:
            await self._session.close()
        else:
            for trace in self._traces:
                if trace in self._session.trace_configs:
                    self._session.trace_configs.remove(trace)

    async def _exchange(
        self, request: HttpRequest, context: ErrorContext, timeout: float, passage: AttemptTrace
    ) -> HttpResponse:
        limit = _client_timeout(min(CONNECT_TIMEOUT, timeout))
        token = _CURRENT_ATTEMPT.set((passage, limit))
        async with asyncio.timeout(None) as scope:
            timer = _schedule_timeout(timeout, scope, self._loop)
            try:
                async with self._session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    data=request.body,
                    headers=self._headers(with_body=request.body is not None),
                    allow_redirects=False,
                    raise_for_status=False,
                    auto_decompress=True,
                    timeout=limit,
                    trace_request_ctx=passage,
                ) as response:
                    passage.response_started = True
                    self._is_watched = self._owned and passage.has_connection
                    passage.start_phase("body")
                    return HttpResponse(response.status, response.headers, await _read(response, self._cap, context))
            finally:
                timer.cancel()
                _CURRENT_ATTEMPT.reset(token)

    def _headers(self, *, with_body: bool) -> dict[str, str]:
        headers = {"X-Api-Key": self._key.reveal(), "User-Agent": USER_AGENT, "Accept": "application/json"}
        return {**headers, "Content-Type": "application/json"} if with_body else headers

    def redacted(self, answer: HttpResponse) -> HttpResponse:
        """Take the key out of an answer that becomes an error: some servers and proxies echo what they were sent."""
        key = self._key.reveal()
        found = {name: answer.header(name) for name in ERROR_HEADERS}  # in any case of its letters
        shown = {name: value.replace(key, "***") for name, value in found.items() if value is not None}
        return HttpResponse(answer.status, shown, self._key.redact_from(answer.body))

    def _trace_config(self) -> aiohttp.TraceConfig:
        """Watch requests leave by a borrowed session; it signals before their first byte is buffered."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._on_request_start)
        trace.on_request_headers_sent.append(self._on_headers_sent)
        return trace

    async def _on_request_start(self, _: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        passage = self._trace_of(context)
        if passage is not None:
            passage.send_is_observable = True

    async def _on_headers_sent(self, _: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        passage = self._trace_of(context)
        if passage is None:
            return
        if passage.has_connection:
            raise _ImplicitRetry
        passage.mark_connected()
        self._on_connected()

    def _trace_of(self, context: SimpleNamespace) -> AttemptTrace | None:
        """Return the passage if it is this transport's: a borrowed session sends for others too."""
        passage = context.trace_request_ctx
        return passage if isinstance(passage, AttemptTrace) and passage.transport is self else None


def _schedule_timeout(timeout: float, scope: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> asyncio.TimerHandle:
    """End ``scope`` in time, but not before answers could be read that came while other code blocked the loop."""
    end = loop.time() + timeout

    def give_up() -> None:
        now = loop.time()
        scope.reschedule(now + READ_GRACE if now - end > LOOP_STALL_THRESHOLD else end)

    return loop.call_at(end, give_up)


@lru_cache(maxsize=8)
def _client_timeout(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect)


async def _read(response: aiohttp.ClientResponse, cap: int, context: ErrorContext) -> bytes:
    """Read the body in pieces, and stop at the cap: a small answer can unpack to a huge one."""
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        size += len(piece)
        if size > cap:
            response.close()
            context = replace(context, status=response.status, sent="yes", phase="body")
            raise ResponseTooLargeError(f"The answer is longer than {cap:,} bytes.", context)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _open_session(settings: Settings, on_connected: Callable[[], None]) -> aiohttp.ClientSession:
    verifying = settings.ssl_context or (_default_ssl_context() if settings.base_url.startswith("https:") else True)
    connector = _Connector(limit=settings.max_concurrency, keepalive_timeout=KEEP_ALIVE, ssl=verifying)
    connector.on_connected = on_connected
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=settings.trust_env)


class _Connector(aiohttp.TCPConnector):
    """A pool that tells which requests have a connection: a tenth of what aiohttp's signals cost."""

    on_connected: Callable[[], None]

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        passage, limit = _CURRENT_ATTEMPT.get((None, None))
        if passage is None or timeout is not limit:  # a request that a trace of the user's makes
            return await super().connect(req, traces, timeout)
        if passage.has_connection:
            raise _ImplicitRetry
        passage.send_is_observable = True
        connection = await super().connect(req, traces, timeout)
        passage.mark_connected()
        self.on_connected()
        return connection


_CURRENT_ATTEMPT: ContextVar[tuple[AttemptTrace, aiohttp.ClientTimeout]] = ContextVar("leadfeeder_attempt")
"""The attempt that a task is making, and the time-outs by which its request is known."""


def _default_ssl_context() -> ssl.SSLContext:
    """Trust what this system trusts, over TLS 1.2 or newer, however Python or OpenSSL were built and configured."""
    context = ssl.create_default_context()
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _ImplicitRetry(Exception):  # noqa: N818 - a signal
    """aiohttp was about to send a request a second time by itself: past the limiter and the resend rule."""


def map_transport_error(  # noqa: PLR0911 - one answer per kind of fault
    error: BaseException, context: ErrorContext, passage: AttemptTrace, timeout: float
) -> LeadfeederError:
    """Turn aiohttp's exception into one of ours, built from facts and never from its text with headers."""
    sent = passage.sent
    context = replace(context, sent=sent, phase=passage.phase)
    match error:
        case aiohttp.ClientConnectorCertificateError() if sent == "no":
            reason = getattr(error.certificate_error, "verify_message", "it could not be verified")
            return TLSError(f"The server's certificate was refused: {reason}.", replace(context, phase="tls"))
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return ConnectError("The secure connection could not be made.", replace(context, phase="tls"))
        case aiohttp.ConnectionTimeoutError():
            return AttemptTimeoutError(
                f"No connection within {round(min(CONNECT_TIMEOUT, timeout), 3):g} s.",
                replace(context, phase="connect"),
            )
        case TimeoutError():
            return AttemptTimeoutError(f"No whole answer within {round(timeout, 3):g} s.", context)
        case aiohttp.ClientHttpProxyError():
            return ConnectError(f"The proxy refused the connection ({error.status}).", context)
        case aiohttp.ClientConnectorError():
            reason = error.strerror or type(error.os_error).__name__  # one that asyncio raised has no text
            return ConnectError(f"No connection to {error.host}:{error.port}: {reason}.", context)
        case aiohttp.ClientResponseError():
            return ProtocolError("The answer is not valid HTTP.", context)
        case _ImplicitRetry():
            return DisconnectedError("The kept connection was dead; aiohttp was kept from sending again.", context)
        case aiohttp.ClientError() | OSError():
            return DisconnectedError(f"The connection broke ({type(error).__name__}).", context)
        case _:
            return ConnectError(f"The request could not be made ({type(error).__name__}).", context)
