"""The only module of the client that uses aiohttp: send a request, read the response, map the exceptions."""

from __future__ import annotations

import asyncio
import re
import select
import ssl
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import lru_cache, partial
from types import SimpleNamespace
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from msgspec.structs import replace
from yarl import URL

from leadfeeder_async._core.attempt import AttemptTrace
from leadfeeder_async._core.credential import Credential
from leadfeeder_async._core.messages import HttpRequest, HttpResponse
from leadfeeder_async._core.redaction import MIN_PASSWORD_CHARS
from leadfeeder_async._proxies import CABundle
from leadfeeder_async._secret import Secret
from leadfeeder_async._version import __version__
from leadfeeder_async.errors import (
    AttemptTimeoutError,
    ConfigurationError,
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
"""Seconds for which an idle connection is kept. Common load balancers close theirs after 60 s."""

CONNECT_TIMEOUT = 10.0
"""Seconds for TCP and TLS to a server, after the lookup of its name."""

_CONNECT_HINT = "Check the network, the proxy and LEADFEEDER_BASE_URL. A longer timeout does not change this limit."

LOOP_STALL_THRESHOLD = 0.02
"""A timeout that fires later than this many seconds shows that the event loop was blocked."""

MAX_EARLY_RESPONSES = 4
"""The most connections in a row that are closed because they received a response before a request was sent."""

READ_SIZE = 1 << 20
"""The most bytes of a body that are read at once, so that decompression lets other tasks run in between."""

READ_GRACE = 0.1
"""Seconds to read responses that arrived while the event loop was blocked."""

USER_AGENT = (
    f"leadfeeder-async/{__version__} aiohttp/{aiohttp.__version__} "
    f"Python/{sys.version_info.major}.{sys.version_info.minor}"
)


class Transport:
    """A connection pool, and the headers of requests.

    Args:
        settings: The settings of the client.
        credential: The API key or access token, which is removed from unsuccessful responses.
        session: An aiohttp session to use instead of an own one. It is not closed.
        on_connected: Called when a request has a connection.
        trace_configs: Trace configurations for aiohttp.

    """

    def __init__(
        self,
        settings: Settings,
        credential: Credential,
        session: aiohttp.ClientSession | None,
        on_connected: Callable[[], None],
        trace_configs: Sequence[aiohttp.TraceConfig] = (),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_connected = on_connected
        self._owns_session = session is None
        self._send_is_observable = False
        """True once a response has confirmed that the connector reports connections."""
        self._session = _open_session(settings, on_connected) if session is None else session
        self._traces = (*(() if self._owns_session else (self._trace_config(),)), *trace_configs)
        for trace in self._traces:
            trace.freeze()
            self._session.trace_configs.append(trace)
        self._credential = credential
        self._proxy = settings.proxy.url if settings.proxy else None
        self._proxy_credentials = settings.proxy.credentials if settings.proxy else None
        self._is_tunnel = settings.base_url.startswith("https:")
        if self._proxy_credentials is not None:
            for secret in _login_parts(self._proxy_credentials):  # the error page of a proxy may echo its login
                credential.redactor.add_permanently(secret)
        self._max_body_bytes = settings.max_body_bytes

    async def send(
        self, request: HttpRequest, trace: AttemptTrace, timeout: float, *, is_shortened: bool
    ) -> HttpResponse:
        """Send once and return the complete response, or raise an error with its ``sent`` state.

        Every exception is raised outside the except block and without the frames of aiohttp, which hold the credential.

        Args:
            request: The request without its headers.
            trace: The attempt, which records the progress.
            timeout: Seconds until the response must be complete.
            is_shortened: True if the deadline of the call shortened the timeout.

        """
        failure: BaseException
        trace.send_is_observable = self._send_is_observable or self._session.closed
        trace.connect_started = True
        trace.start_phase("connect")
        try:
            return await self._exchange(request, trace, timeout)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            # aiohttp cancels its own DNS lookups when it closes, which nobody requested
            is_internal = task is not None and task.cancelling() == 0
            failure = map_transport_error(error, trace, timeout) if is_internal else error
        except LeadfeederError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - all are mapped, and none may pass with its frames
            is_closed = self._session.closed and not self._owns_session and trace.sent == "no"
            if is_closed:
                failure = ConnectError(
                    "The aiohttp session that the client was given is closed.",
                    replace(trace.context, sent=trace.sent_by_call, phase=trace.phase),
                    hint="Keep it open until the client is closed.",
                )
            else:
                failure = map_transport_error(error, trace, timeout, is_shortened=is_shortened)
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt and others must lose those frames too
            failure = error
        failure.__cause__ = failure.__context__ = None
        raise failure.with_traceback(None)

    async def aclose(self) -> None:
        """Close the own session, or remove the traces from a borrowed one."""
        if self._owns_session:
            await self._session.close()
        else:
            for trace in self._traces:
                if trace in self._session.trace_configs:
                    self._session.trace_configs.remove(trace)

    async def _exchange(self, request: HttpRequest, trace: AttemptTrace, timeout: float) -> HttpResponse:
        client_timeout = _client_timeout(min(CONNECT_TIMEOUT, timeout))
        token = _CURRENT_ATTEMPT.set((trace, client_timeout))
        async with asyncio.timeout(None) as scope:
            timer = _schedule_timeout(timeout, scope, self._loop)
            try:
                async with self._session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    data=request.body,
                    headers=self._headers(has_body=request.body is not None),
                    proxy=self._proxy,
                    proxy_headers=self._proxy_login() if self._is_tunnel else None,
                    allow_redirects=False,
                    raise_for_status=False,
                    auto_decompress=True,
                    timeout=client_timeout,
                    trace_request_ctx=trace,
                ) as response:
                    trace.response_started = True
                    self._send_is_observable = self._owns_session and trace.has_connection
                    if not self._owns_session and not trace.has_waited:
                        response.close()  # the connection stays open if aiohttp has already read the whole body
                        raise _early_response(trace)
                    trace.start_phase("body")
                    return await self._read(response, trace)
            finally:
                timer.cancel()
                _CURRENT_ATTEMPT.reset(token)

    async def _read(self, response: aiohttp.ClientResponse, trace: AttemptTrace) -> HttpResponse:
        """Read the body in chunks and stop at the limit, because a small response can decompress to a huge one."""
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in _READABLE_ENCODINGS and response.ok:
            response.close()
            raise _encoding_error(encoding, replace(trace.context, status=response.status, sent="yes"))
        chunks: list[bytes] = []
        size = 0
        while chunk := await response.content.read(READ_SIZE):
            size += len(chunk)
            if size > self._max_body_bytes:
                response.close()
                context = replace(trace.context, status=response.status, sent="yes", phase="body")
                raise ResponseTooLargeError(f"The response is larger than {self._max_body_bytes:,} bytes.", context)
            chunks.append(chunk)
            if len(chunk) == READ_SIZE:  # aiohttp may decompress the next part without waiting for the network
                await asyncio.sleep(0)
        return HttpResponse(response.status, response.headers, chunks[0] if len(chunks) == 1 else b"".join(chunks))

    def _headers(self, *, has_body: bool) -> dict[str, str]:
        headers = {**self._credential.headers(), "User-Agent": USER_AGENT, "Accept": "application/json"}
        if has_body:
            headers["Content-Type"] = "application/json"
        if self._proxy is not None and not self._is_tunnel:
            headers.update(self._proxy_login())
        return headers

    def _proxy_login(self) -> dict[str, str]:
        """Return the header that logs in to the proxy, if it has a login."""
        if self._proxy_credentials is None:
            return {}
        return {"Proxy-Authorization": f"Basic {b64encode(self._proxy_credentials.reveal().encode()).decode()}"}

    def _trace_config(self) -> aiohttp.TraceConfig:
        """Return a trace for a borrowed session, which aiohttp calls before it buffers the first byte of a request."""
        trace_config = aiohttp.TraceConfig()
        trace_config.on_request_start.append(self._on_request_start)
        trace_config.on_request_headers_sent.append(self._on_headers_sent)
        return trace_config

    async def _on_request_start(self, _: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        trace = self._trace_of(context)
        if trace is not None:
            trace.send_is_observable = True

    async def _on_headers_sent(self, _: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        trace = self._trace_of(context)
        if trace is None:
            return
        if trace.has_connection:
            raise _ImplicitRetry
        trace.mark_connected()
        self._loop.call_soon(trace.mark_waited)
        self._on_connected()

    def _trace_of(self, context: SimpleNamespace) -> AttemptTrace | None:
        """Return the attempt if it belongs to this transport: a borrowed session also sends for other code."""
        trace = context.trace_request_ctx
        return trace if isinstance(trace, AttemptTrace) and trace.transport is self else None


def _schedule_timeout(timeout: float, scope: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> asyncio.TimerHandle:
    """End ``scope`` after the timeout. If other code blocked the loop, wait for responses that arrived meanwhile."""
    end = loop.time() + timeout

    def expire() -> None:
        now = loop.time()
        scope.reschedule(now + READ_GRACE if now - end > LOOP_STALL_THRESHOLD else end)

    return loop.call_at(end, expire)


@lru_cache(maxsize=8)
def _client_timeout(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect)


def _open_session(settings: Settings, on_connected: Callable[[], None]) -> aiohttp.ClientSession:
    needs_tls = settings.base_url.startswith("https:")
    verify = settings.ssl_context or (default_ssl_context(settings.ca_bundle) if needs_tls else True)
    connector = _Connector(limit=settings.max_concurrency, keepalive_timeout=KEEP_ALIVE, ssl=verify)
    connector.on_connected = on_connected
    connector.unread_checks = WeakKeyDictionary()
    # Without trust_env, aiohttp reads neither proxies, of which it ignores some, nor the passwords of .netrc.
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


class _Connector(aiohttp.TCPConnector):
    """A connection pool that reports which requests have a connection, at a tenth of the cost of aiohttp's traces."""

    on_connected: Callable[[], None]
    unread_checks: WeakKeyDictionary[asyncio.BaseProtocol, Callable[[], object]]
    """The connections that have had a request, each with a function that returns true if bytes wait in its socket."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        trace, client_timeout = _CURRENT_ATTEMPT.get((None, None))
        if trace is None or timeout is not client_timeout:  # a request made inside a trace of the user
            return await super().connect(req, traces, timeout)
        if trace.is_connecting:
            raise _ImplicitRetry
        trace.is_connecting = trace.send_is_observable = True
        early_responses = 0
        connection = await self._connect(req, traces, timeout)
        while (protocol := connection.protocol) is not None:
            has_unread_bytes = self.unread_checks.get(protocol)
            if has_unread_bytes is not None and sys.platform == "win32":
                await _let_loop_deliver(connection)
            if not protocol.should_close and not (has_unread_bytes is not None and has_unread_bytes()):
                if has_unread_bytes is None:
                    self.unread_checks[protocol] = _unread_check(protocol.transport)
                break
            connection.close()  # it has received a response too early, which must not be taken for the next one
            early_responses += has_unread_bytes is None
            if early_responses == MAX_EARLY_RESPONSES:
                raise _early_response(trace)
            connection = await self._connect(req, traces, timeout)
        trace.mark_connected()
        self.on_connected()
        return connection

    async def _connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection. The connect timeout includes the response of a proxy, unlike that of aiohttp."""
        if req.proxy is None:
            return await super().connect(req, traces, timeout)
        try:
            async with asyncio.timeout(timeout.sock_connect):
                return await super().connect(req, traces, timeout)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError from None


async def _let_loop_deliver(connection: Connection) -> None:
    """Let an idle connection process the bytes that the event loop of Windows has already taken from its socket."""
    try:
        for _ in range(2):  # the first turn of the loop completes the read, the second one delivers it
            await asyncio.sleep(0)
    except BaseException:
        connection.close()
        raise


def _unread_check(transport: asyncio.BaseTransport | None) -> Callable[[], object]:
    """Return a function that returns true if bytes, or the end of the connection, wait in its socket.

    They do so while it is idle if the event loop is blocked.
    """
    socket = None if transport is None else transport.get_extra_info("socket")
    number = -1 if socket is None else socket.fileno()
    if number < 0:
        return bool  # returns False
    if sys.platform == "win32":
        return lambda: select.select([number], [], [], 0)[0]
    poll = select.poll()  # unlike select, for any number of open files
    poll.register(number, select.POLLIN)
    return partial(poll.poll, 0)


def _login_parts(credentials: Secret) -> Iterator[Secret]:
    """Yield the login of a proxy and its password, or the user name if that takes the place of a password."""
    yield credentials
    user, _, password = credentials.reveal().partition(":")
    if len(password or user) >= MIN_PASSWORD_CHARS:
        yield Secret(password or user)


_CURRENT_ATTEMPT: ContextVar[tuple[AttemptTrace, aiohttp.ClientTimeout]] = ContextVar("leadfeeder_attempt")
"""The attempt of the current task, and the timeout object that identifies its request."""


def default_ssl_context(bundle: CABundle | None) -> ssl.SSLContext:
    """Return a context that trusts the certificates of a bundle or of this system, with TLS 1.2 or newer."""
    context = ssl.create_default_context() if bundle is None else _context_of(bundle)
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _context_of(bundle: CABundle) -> ssl.SSLContext:
    is_folder, path = bundle.path.is_dir(), str(bundle.path)
    try:
        return ssl.create_default_context(cafile=None if is_folder else path, capath=path if is_folder else None)
    except (OSError, ssl.SSLError) as error:
        reason = "it is not a file of certificates" if isinstance(error, ssl.SSLError) else error.strerror
    raise ConfigurationError(
        f"{bundle.variable}={str(bundle.path)!r} cannot be used: {reason}.",
        hint="Name a file with certificates in the PEM format, or unset the variable.",
    )


class _ImplicitRetry(Exception):  # noqa: N818 - a signal
    """aiohttp was about to send a request a second time by itself, without the limiter and the retry rule."""


_READABLE_ENCODINGS = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})
"""Encodings that aiohttp decodes or rejects. It returns bodies with any other encoding as they are."""

_UNREADABLE_ENCODING = re.compile(r"content-encoding: ([\w ()-]{1,40})")
"""The encoding in aiohttp's error about a response that it cannot decode."""

_ENCODING_NAME = re.compile(
    r"\b(?:br|brotli|zstd|gzip|deflate|compress|dcb|dcz|lz4|lzma|xz|bzip2|snappy|aes128gcm|exi)\b"
)
"""Known encodings. Others are not shown, because a server can return the key in any header."""


def _early_response(trace: AttemptTrace) -> ProtocolError:
    context = replace(trace.context, sent=trace.sent_by_call, phase=trace.phase)
    return ProtocolError("The server sends responses before it has received requests.", context)


_NOT_HTTP = "The response is not valid HTTP."


def _encoding_error(encoding: str, context: ErrorContext) -> ProtocolError:
    known = _ENCODING_NAME.search(encoding)
    name = f"the content encoding {known[0]}" if known else "an unknown content encoding"
    return ProtocolError(
        f"The response has {name}, which was not requested and cannot be decoded.",
        context,
        hint="Probably a proxy compressed it. Turn that off for the API's host.",
    )


def map_transport_error(  # noqa: PLR0911 - one return per kind of failure
    error: BaseException, trace: AttemptTrace, timeout: float, *, is_shortened: bool = False
) -> LeadfeederError:
    """Return the error for an exception of aiohttp, without its text, which may contain headers."""
    context = replace(trace.context, sent=trace.sent_by_call, phase=trace.phase)
    match error:
        case aiohttp.ClientConnectorCertificateError() if trace.sent == "no":
            reason = getattr(error.certificate_error, "verify_message", "it could not be verified")
            return TLSError(f"The server's certificate was rejected: {reason}.", replace(context, phase="tls"))
        case aiohttp.ClientSSLError() | ssl.SSLError() if trace.sent == "no":
            return ConnectError("The secure connection could not be established.", replace(context, phase="tls"))
        case aiohttp.ConnectionTimeoutError():
            seconds = round(min(CONNECT_TIMEOUT, timeout), 3)
            hint = None if timeout < CONNECT_TIMEOUT else _CONNECT_HINT
            return AttemptTimeoutError(
                f"No connection within {seconds:g} s.", replace(context, phase="connect"), hint=hint
            )
        case TimeoutError():
            cause = " (the timeout was shortened by the call's deadline)" if is_shortened else ""
            return AttemptTimeoutError(f"No complete response within {round(timeout, 3):g} s{cause}.", context)
        case aiohttp.ClientHttpProxyError():
            return ConnectError(f"The proxy rejected the connection ({error.status}).", context)
        case aiohttp.ClientConnectorError():
            reason = error.strerror or type(error.os_error).__name__  # asyncio raises some without a text
            return ConnectError(f"No connection to {error.host}:{error.port}: {reason}.", context)
        case aiohttp.ClientResponseError():
            encoding = _UNREADABLE_ENCODING.search(error.message)
            return _encoding_error(encoding[1], context) if encoding else ProtocolError(_NOT_HTTP, context)
        case _ImplicitRetry():
            kind = ConnectError if trace.sent == "no" else DisconnectedError  # a proxy closed it, or the server
            return kind("The connection was closed before a response arrived.", context)
        case aiohttp.ClientError() | OSError():
            return DisconnectedError(f"The connection was lost ({type(error).__name__}).", context)
        case _:
            kind = ConnectError if trace.sent == "no" else DisconnectedError
            return kind(f"The request failed ({type(error).__name__}).", context)
