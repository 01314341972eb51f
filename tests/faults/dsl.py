"""Building blocks of the fault cases: scenarios that inject a fault, kinds of faults, and the expected outcome."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

import aiohttp
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from leadfeeder_async import LeadfeederError, OutcomeUnknownError, RateLimitedError
from tests.support.proxy import NetworkConditions, proxy_to
from tests.support.servers import RawServer, Step, http, listening, port_of, raw_server

OK = http(b'{"data":{"id":"1"}}')
PROXY_PASSWORD = "proxy-password"
RETRIES = 2


class RequestClass(Enum):
    """The two properties of a request that decide whether it is retried after an unknown outcome."""

    SAFE = (True, False)
    MAY_CHARGE = (True, True)
    NOT_IDEMPOTENT = (False, False)
    DEFAULT = (False, True)

    @property
    def options(self) -> dict[str, bool]:
        """The arguments of ``lf.request``."""
        idempotent, may_charge = self.value
        return {"idempotent": idempotent, "may_charge": may_charge}

    def is_retry_safe(self, method: str) -> bool:
        """Return True if the request may be retried although the server may have processed it. GET is idempotent."""
        idempotent, may_charge = self.value
        return (idempotent or method == "GET") and not may_charge


@dataclass(frozen=True, kw_only=True)
class FaultServer:
    """The server that the client connects to, and the requests that it received."""

    url: str
    requests: list[bytes]
    options: Mapping[str, Any] = field(default_factory=dict)
    warm: bool = False
    """True if the first request succeeds and the fault affects the second one."""


Scenario = Callable[[bool], AbstractAsyncContextManager[FaultServer]]
"""Set up a fault: a persistent one if the argument is True, else one that affects a single attempt."""


class Kind(Enum):
    """The classification of an attempt that meets a fault."""

    HARMLESS = "the attempt succeeds"
    FINAL = "the server rejected the request, or a retry cannot succeed"
    RATE_LIMITED = "the server rejected the request before any work"
    AMBIGUOUS = "the server may have processed the request"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault, and the result of one attempt that meets it."""

    name: str
    scenario: Scenario
    kind: Kind
    error: type[LeadfeederError] | None = None
    sent: str = "yes"
    reaches_server: bool = True
    """True if the server reads the request."""
    method: str = "POST"
    options: Mapping[str, Any] = field(default_factory=dict)
    only_persistent: bool = False


class Outcome(NamedTuple):
    """The result of a call, and the number of requests that the server received."""

    error: type[BaseException] | None
    cause: type[BaseException] | None
    sent: str | None
    attempts: int | None
    requests: int


def expected_outcome(fault: Fault, request: RequestClass, *, persistent: bool) -> Outcome:
    """Return the outcome that follows from the kind of the fault and the class of the request.

    ============  ========================  =============================================
    kind          safe to retry             may charge, or not idempotent
    ============  ========================  =============================================
    HARMLESS      success                   success
    FINAL         error, no retry           error, no retry
    RATE_LIMITED  retried, then error       retried, then error
    AMBIGUOUS     retried, then error       OutcomeUnknownError without a retry if it was
                                            possibly sent, else retried, then error
    ============  ========================  =============================================
    """
    received = int(fault.reaches_server)
    if fault.kind is Kind.HARMLESS:
        return Outcome(None, None, None, None, 1)
    if fault.kind is Kind.FINAL:
        return Outcome(fault.error, None, fault.sent, 1, received)
    if fault.kind is Kind.AMBIGUOUS and fault.sent != "no" and not request.is_retry_safe(fault.method):
        return Outcome(OutcomeUnknownError, fault.error, fault.sent, 1, received)
    if persistent:
        attempts = fault.options.get("retries", RETRIES) + 1
        return Outcome(fault.error, None, fault.sent, attempts, received * attempts)
    return Outcome(None, None, None, None, received + 1)


def harmless(name: str, scenario: Scenario, **details: Any) -> Fault:
    """Return a fault that does not affect the call."""
    return Fault(name=name, scenario=scenario, kind=Kind.HARMLESS, **details)


def final(name: str, scenario: Scenario, error: type[LeadfeederError], **details: Any) -> Fault:
    """Return a fault that is never retried."""
    return Fault(name=name, scenario=scenario, kind=Kind.FINAL, error=error, **details)


def rate_limited(name: str, scenario: Scenario) -> Fault:
    """Return a 429 that is retried after a pause."""
    return Fault(name=name, scenario=scenario, kind=Kind.RATE_LIMITED, error=RateLimitedError)


def ambiguous(name: str, scenario: Scenario, error: type[LeadfeederError], sent: str, **details: Any) -> Fault:
    """Return a fault after which the server may or may not have processed the request."""
    return Fault(name=name, scenario=scenario, kind=Kind.AMBIGUOUS, error=error, sent=sent, **details)


def sends(*steps: Step, warm: bool = False) -> Scenario:
    """Return a scenario in which the server handles each request with the next step."""

    @asynccontextmanager
    async def scenario(persistent: bool) -> AsyncIterator[FaultServer]:
        script = [*([OK] if warm else []), *steps, *([] if persistent else [OK])]
        async with raw_server(*script) as server:
            yield FaultServer(url=server.url, requests=server.requests, warm=warm)

    return scenario


def responds(status: str, body: bytes = b"", headers: str = "") -> Scenario:
    """Return a scenario in which the server sends this response."""
    return sends(http(body, status, headers))


def network(bad: NetworkConditions, *, tls: bool = False) -> Scenario:
    """Return a scenario with these conditions between client and server."""

    @asynccontextmanager
    async def scenario(persistent: bool) -> AsyncIterator[FaultServer]:
        conditions = [bad] if persistent else [bad, NetworkConditions()]
        async with raw_server(OK, ssl=_server_context("localhost") if tls else None) as server:
            async with proxy_to(server.url, *conditions) as url:
                yield FaultServer(url=url, requests=server.requests, options={"ssl_context": _client_context()})

    return scenario


def certificate(name: str, *, trusted: bool = True, expired: bool = False) -> Scenario:
    """Return a scenario in which the server presents this certificate."""

    @asynccontextmanager
    async def scenario(_: bool) -> AsyncIterator[FaultServer]:
        context = _client_context() if trusted else ssl.create_default_context()
        async with raw_server(OK, ssl=_server_context(name, expired=expired)) as server:
            yield FaultServer(url=server.url, requests=server.requests, options={"ssl_context": context})

    return scenario


@asynccontextmanager
async def connection_refused(persistent: bool) -> AsyncIterator[FaultServer]:
    """Refuse connections. If the fault is not persistent, the server starts after the first attempt."""
    scripted = RawServer(OK)
    starts = list[asyncio.Task[None]]()
    async with listening(scripted.handle, start_serving=False) as server:

        def on_attempt(_: object) -> None:
            if not persistent and not starts:
                starts.append(asyncio.create_task(server.start_serving()))

        url = f"http://127.0.0.1:{port_of(server)}"
        yield FaultServer(url=url, requests=scripted.requests, options={"on_attempt": on_attempt})


@asynccontextmanager
async def full_backlog(_: bool) -> AsyncIterator[FaultServer]:
    """Neither accept nor refuse connections."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield FaultServer(url=f"http://127.0.0.1:{server.getsockname()[1]}", requests=[])


class _FailingResolver(AbstractResolver):
    """Fail to resolve any host name: always, or once."""

    def __init__(self, persistent: bool) -> None:
        self.persistent = persistent
        self.calls = 0

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        self.calls += 1
        if self.persistent or self.calls == 1:
            raise OSError(socket.EAI_NONAME, "Name or service not known")
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def dns_failure(persistent: bool) -> AsyncIterator[FaultServer]:
    """Fail to resolve the host name."""
    connector = aiohttp.TCPConnector(resolver=_FailingResolver(persistent))
    async with raw_server(OK) as server, aiohttp.ClientSession(connector=connector) as session:
        yield FaultServer(url=server.url, requests=server.requests, options={"session": session})


def proxied(url: str, *steps: Step) -> Scenario:
    """Return a scenario that sends requests to ``url`` through an HTTP proxy. For https the client opens a tunnel."""

    @asynccontextmanager
    async def scenario(persistent: bool) -> AsyncIterator[FaultServer]:
        async with raw_server(*steps, *([] if persistent else [OK])) as server:
            proxy = server.url.replace("://", f"://user:{PROXY_PASSWORD}@")
            async with aiohttp.ClientSession(proxy=proxy) as session:
                received = [] if url.startswith("https:") else server.requests
                yield FaultServer(url=url, requests=received, options={"session": session})

    return scenario


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


def _server_context(name: str, *, expired: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2021, 1, 1, tzinfo=UTC)}
    _authority().issue_cert(name, **(past if expired else {})).configure_cert(context)
    return context


@cache
def _client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    _authority().configure_trust(context)
    return context
