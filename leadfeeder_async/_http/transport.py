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

from leadfeeder_async._http.attempt import Passage
from leadfeeder_async._http.wire import Answer, Request
from leadfeeder_async._version import __version__
from leadfeeder_async.errors import (
    AttemptTimeoutError,
    ConnectError,
    DisconnectedError,
    Facts,
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

BLOCKED = 0.02
"""A time-out that is late by this many seconds says that the event loop was blocked."""

GRACE = 0.1
"""Seconds that answers then get to be read."""

_JSON_BEGINS = frozenset({b"{", b"[", b""})
"""How an answer begins that is good as far as can be seen."""

SHOWN_HEADERS = frozenset({"Retry-After", "X-Request-Id", "Location"})
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
        self._traces = (*(() if self._owned else (self._watch(),)), *trace_configs)
        for trace in self._traces:
            trace.freeze()
            self._session.trace_configs.append(trace)
        self._key = settings.api_key
        self._cap = settings.max_body_bytes

    async def send(self, request: Request, facts: Facts, timeout: float, passage: Passage) -> Answer:
        """Send once and read the whole answer, or raise what went wrong, with proof of whether it left.

        Every exception is raised anew, outside the except block and without aiohttp's frames, which hold the key.
        """
        failure: BaseException
        passage.watched = self._is_watched or self._session.closed
        try:
            answer = await self._exchange(request, facts, timeout, passage)
            return answer if 200 <= answer.status < 300 and answer.body[:1] in _JSON_BEGINS else self.redacted(answer)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            # aiohttp cancels its own DNS look-ups when it closes; nobody asked for that cancellation.
            ours = task is not None and task.cancelling() == 0
            failure = _name_fault(error, facts, passage, timeout) if ours else error
        except LeadfeederError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - each is named, and none may pass with its frames
            failure = _name_fault(error, facts, passage, timeout)
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

    async def _exchange(self, request: Request, facts: Facts, timeout: float, passage: Passage) -> Answer:
        limit = _client_timeout(min(CONNECT_TIMEOUT, timeout))
        token = _UNDER_WAY.set((passage, limit))
        async with asyncio.timeout(None) as scope:
            timer = _give_up_after(timeout, scope, self._loop)
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
                    passage.answered = True
                    self._is_watched = self._owned and passage.left
                    passage.enter("body")
                    return Answer(response.status, response.headers, await _read(response, self._cap, facts))
            finally:
                timer.cancel()
                _UNDER_WAY.reset(token)

    def _headers(self, *, with_body: bool) -> dict[str, str]:
        headers = {"X-Api-Key": self._key.reveal(), "User-Agent": USER_AGENT, "Accept": "application/json"}
        return {**headers, "Content-Type": "application/json"} if with_body else headers

    def redacted(self, answer: Answer) -> Answer:
        """Take the key out of an answer that becomes an error: some servers and proxies echo what they were sent."""
        key = self._key.reveal()
        found = {name: answer.header(name) for name in SHOWN_HEADERS}  # in any case of its letters
        shown = {name: value.replace(key, "***") for name, value in found.items() if value is not None}
        return Answer(answer.status, shown, self._key.taken_out_of(answer.body))

    def _watch(self) -> aiohttp.TraceConfig:
        """Watch requests leave by a borrowed session; it signals before their first byte is buffered."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._started)
        trace.on_request_headers_sent.append(self._headers_sent)
        return trace

    async def _started(self, _: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        passage = self._own(context)
        if passage is not None:
            passage.watched = True

    async def _headers_sent(self, _: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        passage = self._own(context)
        if passage is None:
            return
        if passage.left:
            raise _SilentResend
        passage.leave()
        self._on_connected()

    def _own(self, context: SimpleNamespace) -> Passage | None:
        """Return the passage if it is this transport's: a borrowed session sends for others too."""
        passage = context.trace_request_ctx
        return passage if isinstance(passage, Passage) and passage.owner is self else None


def _give_up_after(timeout: float, scope: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> asyncio.TimerHandle:
    """End ``scope`` in time, but not before answers could be read that came while other code blocked the loop."""
    end = loop.time() + timeout

    def give_up() -> None:
        now = loop.time()
        scope.reschedule(now + GRACE if now - end > BLOCKED else end)

    return loop.call_at(end, give_up)


@lru_cache(maxsize=8)
def _client_timeout(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect)


async def _read(response: aiohttp.ClientResponse, cap: int, facts: Facts) -> bytes:
    """Read the body in pieces, and stop at the cap: a small answer can unpack to a huge one."""
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        size += len(piece)
        if size > cap:
            response.close()
            facts = replace(facts, status=response.status, sent="yes", phase="body")
            raise ResponseTooLargeError(f"The answer is longer than {cap:,} bytes.", facts)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _open_session(settings: Settings, on_connected: Callable[[], None]) -> aiohttp.ClientSession:
    verifying = settings.ssl_context or (_verifying() if settings.base_url.startswith("https:") else True)
    connector = _Connector(limit=settings.slots, keepalive_timeout=KEEP_ALIVE, ssl=verifying)
    connector.on_connected = on_connected
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=settings.trust_env)


class _Connector(aiohttp.TCPConnector):
    """A pool that tells which requests have a connection: a tenth of what aiohttp's signals cost."""

    on_connected: Callable[[], None]

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        passage, limit = _UNDER_WAY.get((None, None))
        if passage is None or timeout is not limit:  # a request that a trace of the user's makes
            return await super().connect(req, traces, timeout)
        if passage.left:
            raise _SilentResend
        passage.watched = True
        connection = await super().connect(req, traces, timeout)
        passage.leave()
        self.on_connected()
        return connection


_UNDER_WAY: ContextVar[tuple[Passage, aiohttp.ClientTimeout]] = ContextVar("leadfeeder_attempt")
"""The attempt that a task is making, and the time-outs by which its request is known."""


def _verifying() -> ssl.SSLContext:
    """Trust what this system trusts, over TLS 1.2 or newer, however Python or OpenSSL were built and configured."""
    context = ssl.create_default_context()
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _SilentResend(Exception):  # noqa: N818 - a signal
    """aiohttp was about to send a request a second time by itself: past the limiter and the resend rule."""


def _name_fault(  # noqa: PLR0911 - one answer per kind of fault
    error: BaseException, facts: Facts, passage: Passage, timeout: float
) -> LeadfeederError:
    """Turn aiohttp's exception into one of ours, built from facts and never from its text with headers."""
    sent = passage.sent
    facts = replace(facts, sent=sent, phase=passage.phase)
    match error:
        case aiohttp.ClientConnectorCertificateError() if sent == "no":
            reason = getattr(error.certificate_error, "verify_message", "it could not be verified")
            return TLSError(f"The server's certificate was refused: {reason}.", replace(facts, phase="tls"))
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return ConnectError("The secure connection could not be made.", replace(facts, phase="tls"))
        case aiohttp.ConnectionTimeoutError():
            return AttemptTimeoutError(
                f"No connection within {round(min(CONNECT_TIMEOUT, timeout), 3):g} s.", replace(facts, phase="connect")
            )
        case TimeoutError():
            return AttemptTimeoutError(f"No whole answer within {round(timeout, 3):g} s.", facts)
        case aiohttp.ClientHttpProxyError():
            return ConnectError(f"The proxy refused the connection ({error.status}).", facts)
        case aiohttp.ClientConnectorError():
            reason = error.strerror or type(error.os_error).__name__  # one that asyncio raised has no text
            return ConnectError(f"No connection to {error.host}:{error.port}: {reason}.", facts)
        case aiohttp.ClientResponseError():
            return ProtocolError("The answer is not valid HTTP.", facts)
        case _SilentResend():
            return DisconnectedError("The kept connection was dead; aiohttp was kept from sending again.", facts)
        case aiohttp.ClientError() | OSError():
            return DisconnectedError(f"The connection broke ({type(error).__name__}).", facts)
        case _:
            return ConnectError(f"The request could not be made ({type(error).__name__}).", facts)
