"""The words that the cases are written in: where a fault happens, what kind it is, and what follows from that."""

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
from leadfeeder_async._core.endpoint import RetrySafety
from tests.support.proxy import Weather, proxy_to
from tests.support.servers import RawServer, Step, http, listening, port_of, raw_server

OK = http(b'{"data":{"id":"1"}}')
PROXY_PASSWORD = "proxy-password"
RETRIES = 2
COSTLY = frozenset({RetrySafety.BILLED_READ, RetrySafety.NON_IDEMPOTENT})


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the client is sent, and where the requests that arrive are kept."""

    url: str
    requests: list[bytes]
    options: Mapping[str, Any] = field(default_factory=dict)
    warm: bool = False
    """The first request is answered well; the fault comes after it."""


Stage = Callable[[bool], AbstractAsyncContextManager[Place]]
"""Sets a fault up: lasting, or once and then good answers."""


class Kind(Enum):
    """What an attempt that meets a fault has learnt."""

    GOOD = "a good answer all the same"
    FINAL = "a clear answer, or a use that cannot succeed"
    SLOW_DOWN = "refused for speed, before any work"
    INCONCLUSIVE = "nothing certain: the server may have done its work"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong, and what one attempt that meets it ends with."""

    name: str
    stage: Stage
    kind: Kind
    error: type[LeadfeederError] | None = None
    sent: str = "yes"
    arrives: bool = True
    """The server reads the request."""
    method: str = "POST"
    options: Mapping[str, Any] = field(default_factory=dict)
    only_lasting: bool = False


class Outcome(NamedTuple):
    """What a call shows, and what the server saw of it."""

    error: type[BaseException] | None
    cause: type[BaseException] | None
    sent: str | None
    attempts: int | None
    requests: int


def expected(fault: Fault, resend: RetrySafety, *, lasting: bool) -> Outcome:
    """Derive what a call must show from the kind of its fault and the class of its request.

    =============  ====================  =======================================
    kind           reads and the like    charging and creating calls
    =============  ====================  =======================================
    GOOD           the answer            the answer
    FINAL          the error, at once    the error, at once
    SLOW_DOWN      again, then error     again, then error
    INCONCLUSIVE   again, then error     OutcomeUnknownError, at once, if it may
                                         have left; else again, then error
    =============  ====================  =======================================
    """
    seen = int(fault.arrives)
    if fault.kind is Kind.GOOD:
        return Outcome(None, None, None, None, 1)
    if fault.kind is Kind.FINAL:
        return Outcome(fault.error, None, fault.sent, 1, seen)
    if fault.kind is Kind.INCONCLUSIVE and fault.sent != "no" and resend in COSTLY:
        return Outcome(OutcomeUnknownError, fault.error, fault.sent, 1, seen)
    if lasting:
        attempts = fault.options.get("retries", RETRIES) + 1
        return Outcome(fault.error, None, fault.sent, attempts, seen * attempts)
    return Outcome(None, None, None, None, seen + 1)


def good(name: str, stage: Stage, **details: Any) -> Fault:
    """Name a fault that does no harm."""
    return Fault(name=name, stage=stage, kind=Kind.GOOD, **details)


def final(name: str, stage: Stage, error: type[LeadfeederError], **details: Any) -> Fault:
    """Name a fault after which nothing is sent again, whatever the request."""
    return Fault(name=name, stage=stage, kind=Kind.FINAL, error=error, **details)


def slow_down(name: str, stage: Stage) -> Fault:
    """Name a refusal for speed."""
    return Fault(name=name, stage=stage, kind=Kind.SLOW_DOWN, error=RateLimitedError)


def broken(name: str, stage: Stage, error: type[LeadfeederError], sent: str, **details: Any) -> Fault:
    """Name a fault that leaves open what the server did."""
    return Fault(name=name, stage=stage, kind=Kind.INCONCLUSIVE, error=error, sent=sent, **details)


def says(*steps: Step, warm: bool = False) -> Stage:
    """Have the server take these steps, one a request."""

    @asynccontextmanager
    async def stage(lasting: bool) -> AsyncIterator[Place]:
        script = [*([OK] if warm else []), *steps, *([] if lasting else [OK])]
        async with raw_server(*script) as server:
            yield Place(url=server.url, requests=server.requests, warm=warm)

    return stage


def answers(status: str, body: bytes = b"", headers: str = "") -> Stage:
    """Have the server give this answer."""
    return says(http(body, status, headers))


def weather(bad: Weather, *, tls: bool = False) -> Stage:
    """Put bad weather between client and server."""

    @asynccontextmanager
    async def stage(lasting: bool) -> AsyncIterator[Place]:
        weathers = [bad] if lasting else [bad, Weather()]
        async with raw_server(OK, ssl=_served("localhost") if tls else None) as server:
            async with proxy_to(server.url, *weathers) as url:
                yield Place(url=url, requests=server.requests, options={"ssl_context": _trusting()})

    return stage


def certificate(name: str, *, trusted: bool = True, expired: bool = False) -> Stage:
    """Have the server show this certificate."""

    @asynccontextmanager
    async def stage(_: bool) -> AsyncIterator[Place]:
        context = _trusting() if trusted else ssl.create_default_context()
        async with raw_server(OK, ssl=_served(name, expired=expired)) as server:
            yield Place(url=server.url, requests=server.requests, options={"ssl_context": context})

    return stage


@asynccontextmanager
async def nobody_listens(lasting: bool) -> AsyncIterator[Place]:
    """Refuse connections; once means that the server comes up after the first attempt."""
    scripted = RawServer(OK)
    starts = list[asyncio.Task[None]]()
    async with listening(scripted.handle, start_serving=False) as server:

        def failed(_: object) -> None:
            if not lasting and not starts:
                starts.append(asyncio.create_task(server.start_serving()))

        url = f"http://127.0.0.1:{port_of(server)}"
        yield Place(url=url, requests=scripted.requests, options={"on_attempt": failed})


@asynccontextmanager
async def full_backlog(_: bool) -> AsyncIterator[Place]:
    """Let no connection be made, and refuse none."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield Place(url=f"http://127.0.0.1:{listening.getsockname()[1]}", requests=[])


class _Resolver(AbstractResolver):
    """Knows no name: always, or the first time."""

    def __init__(self, lasting: bool) -> None:
        self.fails = lasting
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        self.asked += 1
        if self.fails or self.asked == 1:
            raise OSError(socket.EAI_NONAME, "Name or service not known")
        known = ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0)
        return [known]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def unknown_name(lasting: bool) -> AsyncIterator[Place]:
    """Have the name service know no such host."""
    connector = aiohttp.TCPConnector(resolver=_Resolver(lasting))
    async with raw_server(OK) as server, aiohttp.ClientSession(connector=connector) as session:
        yield Place(url=server.url, requests=server.requests, options={"session": session})


def proxied(url: str, *steps: Step) -> Stage:
    """Send the client to ``url`` through an HTTP proxy that takes these steps; https asks it for a tunnel first."""

    @asynccontextmanager
    async def stage(lasting: bool) -> AsyncIterator[Place]:
        async with raw_server(*steps, *([] if lasting else [OK])) as server:
            proxy = server.url.replace("://", f"://user:{PROXY_PASSWORD}@")
            async with aiohttp.ClientSession(proxy=proxy) as session:
                arrived = [] if url.startswith("https:") else server.requests
                yield Place(url=url, requests=arrived, options={"session": session})

    return stage


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


def _served(name: str, *, expired: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2021, 1, 1, tzinfo=UTC)}
    _authority().issue_cert(name, **(past if expired else {})).configure_cert(context)
    return context


@cache
def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    _authority().configure_trust(context)
    return context
