"""A local HTTP server that simulates the Leadfeeder API. It was written from the API contract alone."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import inf
from random import Random
from types import TracebackType
from typing import Self, TypeAlias, get_args

import msgspec
from aiohttp import web

from leadfeeder_async.sandbox.ledger import Ledger, RecordedRequest
from leadfeeder_async.sandbox.operations import OPERATIONS, ROUTES
from leadfeeder_async.sandbox.operations.scopes import SCOPES
from leadfeeder_async.sandbox.query import OperationResult, Query, Route, suggest
from leadfeeder_async.sandbox.record_store import SandboxRecords
from leadfeeder_async.sandbox.sample_data import Json, hash_mix
from leadfeeder_async.sandbox.server_state import (
    ApiError,
    PagingFaults,
    SandboxAccount,
    SandboxState,
    SandboxToken,
    TokenBucket,
    WrongCount,
)
from leadfeeder_async.sandbox.world import SECONDS_PER_DAY, World

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="api.leadfeeder.com"'}


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """An error to return instead of the next matching response."""

    status: int
    code: str
    operation: str | None
    after_work: bool
    headers: dict[str, str]


class Sandbox:
    """A local Leadfeeder API with generated data, for tests and first steps.

    ::

        async with Sandbox(seed=1, companies=50, visits=12_000) as sandbox:
            async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id=sandbox.account_id) as lf:
                print(await lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date).count())

    The server listens on 127.0.0.1 while the ``async with`` block runs. It supports every operation of the API and
    applies the API's limits. Companies and contacts cost one credit, unless the account has read them in the last
    twelve months. Companies that visited the account's website are free. Only companies in the second half of
    ``sandbox.world.company_ids()`` visit.

    The server is strict. Unknown parameters, keys of the body, filters, conditions and relations fail with status 400,
    so tests find misspelled names. Unknown custom feeds, ICPs and buyer personas fail with status 404.

    Some servers do not page correctly. These arguments simulate them, so you can test your program with them::

        Sandbox(unstable_order=True)  # rows change places between requests
        Sandbox(short_pages=0.2)  # one page in five has half of its rows
        Sandbox(page_cap=50)  # a request for 100 rows returns 50
        Sandbox(wrong_counts=0)  # total_count is 0 although there are rows

    Args:
        seed: Determines the generated data and the random failures. Pass ``end_date`` too to get the same data on
            every day.
        companies: The number of companies.
        visits: The number of visits.
        days: The number of days that the visits are spread over.
        end_date: The last of these days, in UTC. Defaults to today, with visits up to the current time.
        accounts: The number of accounts that the API key can access. All accounts have the same data.
        credits: The credits of each account.
        rate_limit: Reject requests that exceed ``rate`` and ``burst``.
        rate: The number of requests per second that the rate limit allows.
        burst: The number of requests that the rate limit allows at once.
        quota: The most requests of the API key, since the start or ``rotate_key``. Later ones fail with
            ``quota_exceeded``.
        not_entitled: The operations that fail because the plan does not include them, such as ``"search_contacts"``.
        latency: The delay of each response in seconds.
        flaky: The fraction of requests that fail with status 503 before they take effect, from 0 to 1.
        max_search_rows: The row limit of a search for visits or visitor companies. Later pages fail with status 416.
        lax: Ignore unknown parameters, keys, filters, conditions, relations, custom feeds, ICPs and buyer personas
            instead of rejecting them.
        unstable_order: Let neighboring rows of all lists change places between requests, as if they had the same sort
            key. Some rows are then on two pages and others on none.
        short_pages: The fraction of pages that have only half of their rows, from 0 to 1. The next cursor continues
            after the last returned row. The other rows of a numbered page are missing until it is requested again.
        page_cap: The maximum number of rows on a page, if it is less than the requested size. ``page_count`` is still
            computed from the requested size. Defaults to no maximum.
        wrong_counts: The value of ``total_count`` and ``page_count`` in all lists: 0, -1, or ``"missing"`` to omit
            them. Defaults to the correct counts.
        port: The port to listen on. Defaults to a free port.

    Raises:
        ValueError: An argument is out of range or names an unknown operation.
    """

    api_key: str
    """The only API key that the sandbox accepts. ``rotate_key`` replaces it."""
    latency: float
    """The delay of each response in seconds. Can be changed while the sandbox runs."""
    flaky: float
    """The fraction of requests that fail with status 503. Can be changed while the sandbox runs."""
    quota: int
    """The most requests of the API key. Can be changed while the sandbox runs."""

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
        rate: float = 10.0,
        burst: int = 15,
        quota: int = 100_000,
        not_entitled: Iterable[str] = (),
        latency: float = 0.0,
        flaky: float = 0.0,
        max_search_rows: int = 10_000,
        lax: bool = False,
        unstable_order: bool = False,
        short_pages: float = 0.0,
        page_cap: int | None = None,
        wrong_counts: WrongCount | None = None,
        port: int = 0,
    ) -> None:
        for name, value in (("visits", visits), ("credits", credits), ("latency", latency), ("quota", quota)):
            if value < 0:
                raise ValueError(f"{name}={value!r} must be 0 or more.")
        for name, value in (
            ("companies", companies),
            ("days", days),
            ("accounts", accounts),
            ("burst", burst),
            ("max_search_rows", max_search_rows),
            ("page_cap", 1 if page_cap is None else page_cap),
        ):
            if value < 1:
                raise ValueError(f"{name}={value!r} must be 1 or more.")
        if not rate > 0:
            raise ValueError(f"rate={rate!r} must be above 0.")
        for name, fraction in (("flaky", flaky), ("short_pages", short_pages)):
            if not 0 <= fraction <= 1:
                raise ValueError(f"{name}={fraction!r} must be 0 to 1.")
        if wrong_counts not in {None, *get_args(WrongCount)}:
            raise ValueError(f"wrong_counts={wrong_counts!r} must be 0, -1 or 'missing'.")
        if not 0 <= port <= 65_535:
            raise ValueError(f"port={port!r} must be 0 to 65535.")
        self.api_key = f"sandbox-{hash_mix(seed, 7):016x}"
        self.latency = latency
        self.flaky = flaky
        self.quota = quota
        now = datetime.now(UTC)
        seconds_today = 3_600 * now.hour + 60 * now.minute + now.second
        world = World(
            seed=seed,
            companies=companies,
            visits=visits,
            days=days,
            end_date=end_date or now.date(),
            last_day_seconds=SECONDS_PER_DAY if end_date else seconds_today,
        )
        account_list = [
            SandboxAccount(str(310_042 + 35 * index), f"Seller {index + 1}", credits) for index in range(accounts)
        ]
        self._state = SandboxState(
            world,
            {account.id: account for account in account_list},
            Ledger(operations=OPERATIONS),
            max_search_rows,
            PagingFaults(unstable_order, short_pages, page_cap, wrong_counts, Random(seed)),  # noqa: S311
            lax,
        )
        self._not_entitled = self._validate_operations(not_entitled)
        self._rate_and_burst = rate, burst
        self._bucket = TokenBucket(rate, burst) if rate_limit else None
        self._faults = deque[InjectedFault]()
        self._key_is_revoked = False
        self._seed = seed
        self._keys = 1
        self._requests_of_old_keys = 0
        self._tokens = dict[str, SandboxToken]()
        self._rng = Random(seed)  # noqa: S311 - not used for security
        self._port = port
        self._runner: web.AppRunner | None = None

    def _validate_operations(self, operations: Iterable[str]) -> frozenset[str]:
        names = frozenset([operations] if isinstance(operations, str) else operations)
        for name in names:
            self.ledger.validate_operation(name)
        return names

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
            code = error.errno or 0
            problem = "Address already in use" if code == errno.EADDRINUSE else os.strerror(code)
            raise OSError(code, problem, f"port {self._port} of 127.0.0.1") from error
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The URL to pass as ``base_url``.

        Raises:
            RuntimeError: If the sandbox is not running and no port was chosen.
        """
        if not self._port:
            raise RuntimeError("The sandbox is not running. Start it with `async with sandbox:`.")
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
    def start_date(self) -> date:
        """The first day with visits."""
        return self.world.start_date

    @property
    def end_date(self) -> date:
        """The last day with visits."""
        return self.world.end_date

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that configure a client to use the sandbox."""
        return {
            "LEADFEEDER_API_KEY": self.api_key,
            "LEADFEEDER_ACCOUNT_ID": self.account_id,
            "LEADFEEDER_BASE_URL": self.url,
        }

    @property
    def ledger(self) -> Ledger:
        """The requests, charges and creations so far."""
        return self._state.ledger

    @property
    def world(self) -> World:
        """The generated companies, contacts and visits. Tests can read and change them."""
        return self._state.world

    @property
    def records(self) -> SandboxRecords:
        """The tags, lists, custom fields and custom feeds. Tests can read and change them."""
        return self._state.records

    def fail_next(
        self,
        status: int,
        *,
        code: str = "sandbox_fault",
        times: int = 1,
        operation: str | None = None,
        after_work: bool = False,
        retry_after: str | float | None = None,
    ) -> None:
        """Return an error for the next requests.

        Args:
            status: The status of the responses, from 200 to 599.
            code: The error code in the responses.
            times: The number of requests to fail.
            operation: The operation to fail, such as ``"get_company"``. Default: any operation.
            after_work: Let each request take effect and charge credits before it fails.
            retry_after: The value of the ``Retry-After`` header: seconds or a date. Default: no header.

        Raises:
            ValueError: If the status is out of range or the operation is unknown.
        """
        if operation is not None:
            self.ledger.validate_operation(operation)
        if not 200 <= status <= 599:
            raise ValueError(f"status={status!r} must be 200 to 599.")
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._faults.extend([InjectedFault(status, code, operation, after_work, headers)] * times)

    def clear_faults(self) -> None:
        """Cancel the failures requested with ``fail_next`` that have not happened yet."""
        self._faults.clear()

    def reject_company(self, company_id: str, status: int = 400) -> None:
        """Fail each ``companies.get_many`` batch with this id, like a server that rejects a batch for one invalid id.

        Args:
            company_id: The id to reject.
            status: The status of the error.
        """
        self._state.rejected_ids[company_id] = status

    def set_credits(self, credits: int, *, account_id: str | None = None) -> None:  # noqa: A002 - the API's word
        """Set the credits of an account. Credits that were used already count against them.

        Args:
            credits: The new number of credits.
            account_id: The account to change. Default: the first account.

        Raises:
            ValueError: No account has this id.
        """
        account = self._state.accounts.get(account_id or self.account_id)
        if account is None:
            raise ValueError(f"The sandbox has no account {account_id!r}. Use an id from `sandbox.account_ids`.")
        account.credits = credits

    def revoke_key(self) -> None:
        """Reject the API key from now on."""
        self._key_is_revoked = True

    def restore_key(self) -> None:
        """Accept the API key again after ``revoke_key``."""
        self._key_is_revoked = False

    def rotate_key(self) -> str:
        """Replace the API key. The old one is rejected from now on.

        The rate limit and the quota start from zero, because the API counts per key.

        Returns:
            The new key.
        """
        self._keys += 1
        self._requests_of_old_keys = len(self.ledger.requests)
        if self._bucket is not None:
            self._bucket = TokenBucket(*self._rate_and_burst)
        self.api_key = f"sandbox-{hash_mix(self._seed, 7, self._keys):016x}"
        return self.api_key

    def issue_token(self, *scopes: str, expires_in: float = 3_600.0) -> str:
        """Return a new OAuth2 access token, which the sandbox accepts in place of the API key.

        Args:
            scopes: The scopes of the token, such as ``"companies:read"``. Without any, the token can be used for every
                operation. An operation outside the scopes fails with ``insufficient_scope``.
            expires_in: The seconds until the token expires. Requests then fail with ``token_expired``.

        Returns:
            The token, to pass as ``access_token``.

        Raises:
            ValueError: No operation needs one of the scopes.
        """
        unknown = sorted(set(scopes) - set(SCOPES.values()))
        if unknown:
            raise ValueError(f"No operation needs the scope {suggest(unknown[0], tuple(set(SCOPES.values())))}.")
        token = f"sandbox-token-{hash_mix(self._seed, 11, len(self._tokens)):016x}"
        self._tokens[token] = SandboxToken(frozenset(scopes) or None, time.monotonic() + expires_in)
        return token

    def expire_token(self, token: str) -> None:
        """Let a token expire now.

        Args:
            token: The token.

        Raises:
            ValueError: If the sandbox has not issued the token.
        """
        self._issued_token(token).expires_at = -inf

    def revoke_token(self, token: str) -> None:
        """Reject a token from now on, with ``token_revoked``.

        Args:
            token: The token.

        Raises:
            ValueError: If the sandbox has not issued the token.
        """
        self._issued_token(token).is_revoked = True

    def _issued_token(self, token: str) -> SandboxToken:
        if token not in self._tokens:
            raise ValueError("The sandbox has not issued this token. Use one that `issue_token` returned.")
        return self._tokens[token]

    @web.middleware
    async def _handle_unknown_route(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Return unknown paths and methods as errors in the API's format."""
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as http_error:
            code = "route_not_found" if http_error.status == 404 else "method_not_allowed"
            methods = sorted(route.method for route in ROUTES if route.path == request.path)
            headers = {"Allow": ",".join(methods) or http_error.headers["Allow"]} if http_error.status == 405 else {}
            error = ApiError(http_error.status, code, "No such route", headers)
        request_id = self._next_request_id()
        self.ledger.requests.append(
            RecordedRequest(request.method, request.path, "", code, error.status, 0, request_id)
        )
        return _response(error.status, _error_body(error, request_id), error.headers)

    def _next_request_id(self) -> str:
        return f"sandbox-{len(self.ledger.requests):08d}"

    def _handler(self, route: Route) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            if self.latency:
                await asyncio.sleep(self.latency)
            return self._respond(route, request, body)

        return handle

    def _respond(self, route: Route, request: web.Request, body: bytes) -> web.Response:
        """Run an operation and record the request."""
        request_id = self._next_request_id()
        try:
            result = self._dispatch(route, request, body)
            status, charged, headers = result.status, result.charged or 0, dict[str, str]()
            content = _success_body(result, request_id)
        except ApiError as error:
            status, charged, headers = error.status, 0, error.headers
            content = _error_body(error, request_id)
        self.ledger.requests.append(
            RecordedRequest(request.method, request.path, route.path, route.name, status, charged, request_id)
        )
        return _response(status, content, headers)

    def _dispatch(self, route: Route, request: web.Request, body: bytes) -> OperationResult:
        """Apply the limits and injected faults, then run the operation."""
        if self._bucket is not None and not self._bucket.try_acquire():
            raise ApiError(429, "rate_limit_exceeded", "Slow down")
        if len(self.ledger.requests) - self._requests_of_old_keys >= self.quota:
            raise ApiError(429, "quota_exceeded", "Monthly call quota used up")
        if self._rng.random() < self.flaky:
            raise ApiError(503, "service_unavailable", "Random failure of the sandbox")
        fault = self._next_fault(route.name)
        if fault is not None and not fault.after_work:
            raise _injected_error(fault)
        result = route.operation(self._authorize(route, request, body))
        if fault is not None:
            raise _injected_error(fault)
        return result

    def _next_fault(self, operation: str) -> InjectedFault | None:
        for fault in self._faults:
            if fault.operation in {None, operation}:
                self._faults.remove(fault)
                return fault
        return None

    def _authorize(self, route: Route, request: web.Request, body: bytes) -> Query:
        """Check the credential, plan, query parameters and account, and return the query for the operation."""
        self._authenticate(route, request)
        if route.name in self._not_entitled:
            raise ApiError(403, "insufficient_entitlements", "The account's plan does not cover this")
        account_id = request.query.get("account_id") or None
        if account_id is not None and account_id not in self._state.accounts:
            raise ApiError(403, "access_denied_to_account", "The key may not use this account")
        account = self._state.accounts[account_id] if account_id else None
        if account is None and route.account == "required":
            raise ApiError(400, "invalid_request", "account_id is missing")
        return route.query(self._state, account, request.match_info, dict(request.query), _decode_body(body))

    def _authenticate(self, route: Route, request: web.Request) -> None:
        """Check the access token or the API key."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self._check_token(route, token)
            return
        key = request.headers.get("X-Api-Key")
        if not key:
            raise ApiError(401, "missing_token", "No credential was sent", _CHALLENGE)
        if key != self.api_key or self._key_is_revoked:
            raise ApiError(401, "invalid_api_key", "The key is not known", _CHALLENGE)

    def _check_token(self, route: Route, value: str) -> None:
        token = self._tokens.get(value)
        if token is None:
            raise ApiError(401, "invalid_token", "The token is not known", _CHALLENGE)
        if token.is_revoked:
            raise ApiError(401, "token_revoked", "The token was revoked", _CHALLENGE)
        if time.monotonic() >= token.expires_at:
            raise ApiError(401, "token_expired", "The token has expired", _CHALLENGE)
        scope = SCOPES.get(route.name)
        if token.scopes is not None and scope is not None and scope not in token.scopes:
            raise ApiError(403, "insufficient_scope", f"The token lacks the scope {scope}")


def _injected_error(fault: InjectedFault) -> ApiError:
    return ApiError(fault.status, fault.code, "Fault injected by the sandbox", fault.headers)


def _response(status: int, content: bytes, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, body=content, content_type="application/json", headers=headers)


def _decode_body(body: bytes) -> Json:
    if not body:
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except msgspec.MsgspecError:
        raise ApiError(400, "invalid_request", "The body is not a JSON object") from None


def _success_body(result: OperationResult, request_id: str) -> bytes:
    meta: Json = {"request_id": request_id, **result.extra_meta}
    if result.pagination:
        meta["pagination"] = result.pagination
    if result.charged is not None:
        meta["credits"] = {"charged": result.charged}
    return msgspec.json.encode({"meta": meta} if result.data is None else {"data": result.data, "meta": meta})


def _error_body(error: ApiError, request_id: str) -> bytes:
    body: Json = {"errors": [{"code": error.code, "title": error.title}], "meta": {"request_id": request_id}}
    if error.status == 401:
        body["error"] = {"code": error.code, "message": error.title}
    return msgspec.json.encode(body)
