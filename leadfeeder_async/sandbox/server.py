"""A local Leadfeeder: an HTTP server on loopback that behaves like the API, written from the contract alone."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from random import Random
from types import TracebackType
from typing import Self, TypeAlias

import msgspec
from aiohttp import web

from leadfeeder_async.sandbox.ledger import Ledger, RecordedRequest
from leadfeeder_async.sandbox.operations import OPERATIONS, ROUTES
from leadfeeder_async.sandbox.query import Json, OperationResult, Query, Route
from leadfeeder_async.sandbox.server_state import ApiError, Bucket, SandboxAccount, SandboxState
from leadfeeder_async.sandbox.world import World, hash_mix

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """One answer to spoil."""

    status: int
    code: str
    operation: str | None
    after_work: bool
    headers: dict[str, str]


class Sandbox:
    """A Leadfeeder of your own, for tests and first steps.

    ::

        async with Sandbox(seed=1, companies=50, visits=12_000) as sandbox:
            async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id=sandbox.account_id) as lf:
                print(await lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date).count())

    The same ``seed`` gives the same data. ``visits`` spread over ``days`` that end on ``end_date``, or else now. It
    keeps the API's limits: 10 requests a second with a burst of 15 (``rate_limit=False`` turns that off), nothing past
    row 10,000 of a visit search, one of ``credits`` for each company or contact that was not read in the last twelve
    months. ``quota`` is the month's requests, ``not_entitled`` names operations that the plan does not cover,
    ``latency`` is seconds before each answer, ``flaky`` the part of requests that fail with a 503 before any work.
    ``ledger`` holds what it saw.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        companies: int = 200,
        visits: int = 1_000,
        days: int = 30,
        end_date: date | None = None,
        accounts: int = 1,
        credits: int = 5_000,  # noqa: A002 - the API's word
        rate_limit: bool = True,
        quota: int = 100_000,
        not_entitled: Iterable[str] = (),
        latency: float = 0.0,
        flaky: float = 0.0,
        port: int = 0,
    ) -> None:
        for name, value, least in (("companies", companies, 1), ("visits", visits, 0), ("days", days, 1)):
            if value < least:
                raise ValueError(f"{name}={value!r} must be {least} or more.")
        if not 0 <= port <= 65_535:
            raise ValueError(f"port={port!r} must be 0 to 65535.")
        self.api_key = f"sandbox-{hash_mix(seed, 7):016x}"
        now = datetime.now(UTC)
        world = World(seed, companies, visits, days, end_date or now.date())
        if end_date is None:
            world.last_day = 3_600 * now.hour + 60 * now.minute + now.second
        names = [
            SandboxAccount(str(310_042 + 35 * number), f"Seller {number + 1}", credits) for number in range(accounts)
        ]
        self.start_date, self.end_date = world.start_date, world.end_date
        self.latency = latency
        self.flaky = flaky
        self.quota = quota
        self._state = SandboxState(world, {account.id: account for account in names}, Ledger(operations=OPERATIONS))
        self._not_entitled = self._named(not_entitled)
        self._bucket = Bucket() if rate_limit else None
        self._faults = deque[InjectedFault]()
        self._revoked = False
        self._rng = Random(seed)  # noqa: S311 - luck, not a secret
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._handle_unknown_route])
        for route in ROUTES:
            app.router.add_route(route.method, route.path, self._handler(route))
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1, max_line_size=65_536
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            number = error.errno or 0
            raise OSError(number, os.strerror(number), f"port {self._port} of 127.0.0.1") from error
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The address to use as ``base_url``; there is none before it runs, unless its port was chosen."""
        if not self._port:
            raise RuntimeError("The sandbox does not run yet: use it with `async with`.")
        return f"http://127.0.0.1:{self._port}"

    @property
    def account_id(self) -> str:
        """The id of the first account."""
        return next(iter(self._state.accounts))

    @property
    def account_ids(self) -> tuple[str, ...]:
        """The ids of all accounts."""
        return tuple(self._state.accounts)

    @property
    def ledger(self) -> Ledger:
        """What the sandbox saw, charged and made."""
        return self._state.ledger

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point a client here."""
        return {
            "LEADFEEDER_API_KEY": self.api_key,
            "LEADFEEDER_ACCOUNT_ID": self.account_id,
            "LEADFEEDER_BASE_URL": self.url,
        }

    def fail_next(
        self,
        status: int,
        *,
        code: str = "sandbox_fault",
        times: int = 1,
        operation: str | None = None,
        after_work: bool = False,
        retry_after: str | None = None,
    ) -> None:
        """Answer the next ``times`` requests, of one ``operation`` if named, with an error.

        ``after_work`` lets the request take effect first: it charges, and then fails.
        """
        if operation is not None:
            self.ledger.validate_operation(operation)
        if not 200 <= status <= 599:
            raise ValueError(f"status={status!r} must be 200 to 599.")
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        self._faults.extend([InjectedFault(status, code, operation, after_work, headers)] * times)

    def _named(self, operations: Iterable[str]) -> frozenset[str]:
        named = frozenset([operations] if isinstance(operations, str) else operations)
        for operation in named:
            self.ledger.validate_operation(operation)
        return named

    def revoke_key(self) -> None:
        """Refuse the key from now on, as after someone deleted it."""
        self._revoked = True

    def restore_key(self) -> None:
        """Take the key again."""
        self._revoked = False

    def refuse_company(self, company_id: str, status: int = 400) -> None:
        """Refuse every list of companies that names this one, as some servers do for the sake of one bad id."""
        self._state.rejected_ids[company_id] = status

    def merge_company(self, company_id: str, into: str) -> None:
        """Let one company live on in another: asked for by its old id, it comes under the current one."""
        self._state.world.merge(company_id, into)

    def add_visits(self, number: int) -> None:
        """Let more visits come in on the last day, as they do while a long job reads."""
        self._state.world.add_visits(number)

    @web.middleware
    async def _handle_unknown_route(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what no route takes, in the API's own form."""
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as missing:
            code = "route_not_found" if missing.status == 404 else "method_not_allowed"
            exact = sorted(route.method for route in ROUTES if route.path == request.path)
            headers = {"Allow": ",".join(exact) or missing.headers["Allow"]} if missing.status == 405 else {}
            refusal = ApiError(missing.status, code, "No such route", headers)
        request_id = f"sandbox-{len(self.ledger.requests):08d}"
        self.ledger.requests.append(
            RecordedRequest(request.method, request.path, "", code, refusal.status, 0, request_id)
        )
        return _response(refusal.status, _bad(refusal, request_id), refusal.headers)

    def _handler(self, route: Route) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            if self.latency:
                await asyncio.sleep(self.latency)
            return self._answer(route, request, body)

        return handle

    def _answer(self, route: Route, request: web.Request, body: bytes) -> web.Response:
        number = len(self.ledger.requests)
        request_id = f"sandbox-{number:08d}"
        try:
            reply = self._dispatch(route, request, body)
            status, charged, headers = reply.status, reply.charged or 0, dict[str, str]()
            content = _good(reply, request_id)
        except ApiError as refusal:
            status, charged, headers = refusal.status, 0, refusal.headers
            content = _bad(refusal, request_id)
        entry = RecordedRequest(request.method, request.path, route.path, route.name, status, charged, request_id)
        self.ledger.requests.append(entry)
        return _response(status, content, headers)

    def _dispatch(self, route: Route, request: web.Request, body: bytes) -> OperationResult:
        """Check what the gateway checks, spoil the answer if asked to, and do the work."""
        if self._bucket is not None and not self._bucket.take():
            raise ApiError(429, "rate_limit_exceeded", "Slow down")
        if len(self.ledger.requests) >= self.quota:
            raise ApiError(429, "quota_exceeded", "Monthly call quota used up")
        if self._rng.random() < self.flaky:
            raise ApiError(503, "service_unavailable", "Out of luck")
        fault = self._next_fault(route.name)
        if fault is not None and not fault.after_work:
            raise ApiError(fault.status, fault.code, "Spoilt by the sandbox", fault.headers)
        reply = route.operation(self._read(route, request, body))
        if fault is not None:
            raise ApiError(fault.status, fault.code, "Spoilt by the sandbox", fault.headers)
        return reply

    def _next_fault(self, operation: str) -> InjectedFault | None:
        for fault in self._faults:
            if fault.operation in {None, operation}:
                self._faults.remove(fault)
                return fault
        return None

    def _read(self, route: Route, request: web.Request, body: bytes) -> Query:
        key = request.headers.get("X-Api-Key")
        if not key:
            raise ApiError(401, "missing_token", "No credential was sent")
        if key != self.api_key or self._revoked:
            raise ApiError(401, "invalid_api_key", "The key is not known")
        if route.name in self._not_entitled:
            raise ApiError(403, "insufficient_entitlements", "The account's plan does not cover this")
        unknown = sorted(set(request.query) - route.known)
        if unknown:
            raise ApiError(400, "invalid_request", f"{unknown[0]} is not a parameter of this operation")
        account_id = request.query.get("account_id") or None
        if account_id is not None and account_id not in self._state.accounts:
            raise ApiError(403, "access_denied_to_account", "The key may not use this account")
        account = self._state.accounts[account_id] if account_id else None
        if account is None and route.account == "required":
            raise ApiError(400, "invalid_request", "account_id is missing")
        return Query(self._state, account, request.match_info, dict(request.query), _read_body(body))


def _response(status: int, content: bytes, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, body=content, content_type="application/json", headers=headers)


def _read_body(body: bytes) -> Json:
    if not body:
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except msgspec.MsgspecError:
        raise ApiError(400, "invalid_request", "The body is not a JSON object") from None


def _good(reply: OperationResult, request_id: str) -> bytes:
    meta: Json = {"request_id": request_id, **reply.counts}
    if reply.pagination:
        meta["pagination"] = reply.pagination
    if reply.charged is not None:
        meta["credits"] = {"charged": reply.charged}
    return msgspec.json.encode({"meta": meta} if reply.data is None else {"data": reply.data, "meta": meta})


def _bad(refusal: ApiError, request_id: str) -> bytes:
    error: Json = {"code": refusal.code, "title": refusal.title}
    body: Json = {"errors": [error], "meta": {"request_id": request_id}}
    if refusal.status == 401:
        body["error"] = {"code": refusal.code, "message": refusal.title}
    return msgspec.json.encode(body)
