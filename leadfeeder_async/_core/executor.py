"""Execute each call of the API: its context, its budget, its retries and its statistics."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import TypeVar

from msgspec.structs import replace

from leadfeeder_async._core import codec, retry
from leadfeeder_async._core.account_lookup import LIST_ACCOUNTS, only_account
from leadfeeder_async._core.attempt import AttemptTrace, call_hook, log_attempt, logger
from leadfeeder_async._core.client_state import ClientState, LookupFailure, OpenResources
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, ResponseShape
from leadfeeder_async._core.error_mapping import error_from_response
from leadfeeder_async._core.messages import HttpRequest, HttpResponse
from leadfeeder_async._core.record_lock import RecordLock
from leadfeeder_async._core.redaction import Redactor
from leadfeeder_async._core.waiting import WaitBounds
from leadfeeder_async._core.worker_thread import run_in_worker_thread
from leadfeeder_async.budget import ACTIVE_BUDGETS, Budget, BudgetReservation, Price, active_budgets, shared_pools
from leadfeeder_async.errors import (
    AuthenticationError,
    BudgetExceededError,
    DeadlineExceededError,
    ErrorContext,
    LeadfeederError,
    OutcomeUnknownError,
    RateLimitedError,
    UsageError,
)
from leadfeeder_async.models.envelope import Meta, Response
from leadfeeder_async.settings import Options
from leadfeeder_async.types import Stats

T = TypeVar("T")
U = TypeVar("U")


MAX_INLINE_BYTES = 262_144
"""Larger bodies are decoded in a thread, so that the event loop is free for other tasks."""

MAX_INLINE_NORMALIZED = 32_768
"""The same for bodies that may be normalized, which takes up to a hundred times longer."""


_NO_CONTEXT = nullcontext()


class CallContext(WaitBounds):
    """One API call: its HTTP request, the open resources, its deadline and its budget reservation."""

    resources: OpenResources
    http_request: HttpRequest
    items: int
    """The most items that the call can be charged for."""
    price: Price
    """The price of one item."""
    reservation: BudgetReservation | None
    """None if no budget applies."""
    account_id: str | None
    """The account that the call names."""
    credential_version: int = 0
    """The version of the credential that the last attempt was sent with."""
    has_tried_renewal: bool = False
    """True if this call has asked for another credential. It does so once."""


class RequestExecutor:
    """Executes requests for one client, with the options of one of its copies.

    Args:
        state: The state that all copies share.
        options: The options of this copy.
        job_stats: Statistics of single jobs that count the requests too.

    """

    def __init__(self, state: ClientState, options: Options, job_stats: tuple[Stats, ...] = ()) -> None:
        self._state = state
        self.options = options
        self._job_stats = job_stats
        self._all_stats = (state.stats, *job_stats)

    @property
    def base_url(self) -> str:
        """The base URL of the API."""
        return self._state.settings.base_url

    @property
    def max_search_rows(self) -> int:
        """The most rows of one search that the API returns."""
        return self._state.settings.max_search_rows

    @property
    def redactor(self) -> Redactor:
        """Removes keys and tokens from what servers send."""
        return self._state.redactor

    def with_options(self, options: Options) -> RequestExecutor:
        """Return an executor of the same client with other options."""
        return RequestExecutor(self._state, options, self._job_stats)

    def with_stats(self, stats: Stats) -> RequestExecutor:
        """Return an executor that also counts its requests in ``stats``, for the statistics of one job."""
        return RequestExecutor(self._state, self.options, (*self._job_stats, stats))

    def with_budget(self, budget: Budget) -> RequestExecutor:
        """Return an executor whose calls must fit into one more budget."""
        return self.with_options(replace(self.options, budgets=(*self.options.budgets, budget)))

    def credits_left(self) -> int | None:
        """Return the credits that a call can still reserve, or None if no budget limits them."""
        limits = (budget.credits_left for budget in self._budgets())
        return min((limit for limit in limits if limit is not None), default=None)

    def may_release_credits(self) -> bool:
        """Return True if credits may be left after the calls in flight have released their reservations."""
        budgets = [(budget.reserved, left) for budget in self._budgets() if (left := budget.credits_left) is not None]
        return any(reserved for reserved, _ in budgets) and all(reserved + left > 0 for reserved, left in budgets)

    async def refresh_shared_credits(self) -> None:
        """Update empty shared pools by a reservation that is undone, because other processes may release credits."""
        for pool in shared_pools(self._budgets()):
            if pool.credits_left > 0:
                continue
            try:
                await pool.reserve(1, ErrorContext())
            except Exception:  # noqa: BLE001, S112 - the pool may raise anything; a call would report it
                continue
            pool.settle(1, 0)

    def price(self, endpoint: Endpoint[object]) -> Price:
        """Return the price of one item of an endpoint, as far as known."""
        return self._state.price(endpoint)

    async def resolve_account_id(self) -> str:
        """Return the account of calls that name none. Request the accounts of the key if they are not known."""
        bounds = self._wait_bounds(LIST_ACCOUNTS.error_context())
        return self.options.account_id or self._state.account_id or await self._fetch_account_id(bounds)

    @asynccontextmanager
    async def hold_record_lock(
        self, endpoint: Endpoint[T], account_id: str | None, *key: str
    ) -> AsyncGenerator[RecordLock, None]:
        """Hold the lock under which a record is looked up by name, and created if it does not exist.

        Args:
            endpoint: Creates the record.
            account_id: The account of the record, or None for that of the client.
            key: Identifies the record in the account.
        """
        account_id = account_id or await self.resolve_account_id()
        bounds = self._wait_bounds(endpoint.error_context())
        async with self._state.record_locks.hold((endpoint.operation, account_id, *key), bounds) as lock:
            yield lock

    def _wait_bounds(self, context: ErrorContext) -> WaitBounds:
        resources, seconds = self._state.ensure_open(), self.options.deadline
        deadline = None if seconds is None else resources.loop.time() + seconds
        return WaitBounds(resources.pending, resources.loop, deadline, context)

    def record_monthly_usage(self, requests: int) -> None:
        """Record how many requests all programs used this month, as far as known."""
        self._state.quota.record_usage(requests, datetime.now(UTC))

    def server_now(self) -> datetime:
        """Return the time by the server's clock, or by that of this machine before the first response."""
        return self._state.server_clock.now()

    async def decode_page(self, endpoint: Endpoint[Response[tuple[U, ...]]], body: bytes) -> codec.DecodedPage[U]:
        """Decode a page that was executed undecoded. If that may take long, it is done in a thread."""
        context, redactor = replace(endpoint.error_context(), attempts=1), self._state.redactor
        if len(body) <= MAX_INLINE_BYTES:
            page = codec.decode_page_strictly(endpoint, body, context, redactor)
            if page is not None:
                return page
        decode = partial(codec.decode_page, endpoint, body, context, redactor)
        return decode() if len(body) <= MAX_INLINE_NORMALIZED else await run_in_worker_thread(decode)

    async def fetch_meta(self, request: ApiRequest[bytes]) -> Meta:
        """Send a request, and return the metadata of its response."""
        body = await self.execute(request)
        decode = partial(codec.decode_meta, body)
        return decode() if len(body) <= MAX_INLINE_BYTES else await run_in_worker_thread(decode)

    def monthly_usage(self) -> tuple[int, int]:
        """Return the requests of this month, as far as known, and the monthly quota of the key."""
        return self._state.quota.used(datetime.now(UTC)), self._state.settings.monthly_quota

    async def execute(self, request: ApiRequest[T]) -> T:
        """Send a request, retry it if that is safe, and return the decoded response."""
        observe = self._state.observe_call
        with _NO_CONTEXT if observe is None else observe(request.endpoint.error_context()):
            try:
                result = await self._execute(request)
            except LeadfeederError as error:
                self._state.record_error(error)
                raise
            self._state.record_success()
            return result

    async def _execute(self, request: ApiRequest[T]) -> T:
        call = await self._build_context(request)
        with call.reservation or _NO_CONTEXT:
            if call.reservation is not None and not call.reservation.reserve_at_once():
                await call.wait(call.reservation.reserve(), "budget")
            delay: float | None = None
            while True:
                call.context = replace(call.context, attempts=call.context.attempts + 1)
                trace = AttemptTrace(call.resources.transport, call.context)
                try:
                    if delay is not None:
                        await call.wait(asyncio.sleep(delay), "backoff")
                        trace = AttemptTrace(call.resources.transport, call.context)  # the delay is no part of it
                        for stats in self._all_stats:
                            stats.retries += 1
                    result = await self._receive(request.endpoint, call, trace, await self._attempt(call, trace))
                except LeadfeederError as error:
                    self._finish_attempt(call, trace, error)
                    delay = await self._delay_before_next(request.endpoint, call, error)
                    if trace.charged is not None and trace.charged > 0:
                        hint = f"Not retried, because the server charged {trace.charged:,} credits. {error.hint}"
                        raise error.with_context(error.context, hint=hint) from error.__cause__
                except BaseException as error:
                    self._finish_attempt(call, trace, error)
                    raise
                else:
                    self._finish_attempt(call, trace, None)
                    if request.endpoint.path_alternatives:
                        self._state.routes.record_success(request.endpoint, call.context.path or request.endpoint.path)
                    return result

    async def _attempt(self, call: CallContext, trace: AttemptTrace) -> HttpResponse:
        """Send once, holding a concurrency slot and a rate-limit token."""
        resources, reservation = call.resources, call.reservation
        if reservation is not None:
            reservation.check_request(call.context)
        throttle, credential = resources.throttle, self._state.credential
        await throttle.acquire_slot(call, trace)
        try:
            if not credential.is_usable():
                trace.start_phase("credential")
                await call.wait(credential.renew(), "credential")
            trace.start_phase("limiter")
            await throttle.acquire_token(call)
            self._check_monthly_quota(call.context)  # another call may have found it used up meanwhile
            if reservation is not None:
                reservation.consume_request(call.context)
            for stats in self._all_stats:
                stats.requests += 1
            self._state.quota.record_request(datetime.now(UTC))
            call.credential_version = credential.version
            timeout = self.options.timeout if call.deadline is None else call.remaining_timeout(self.options.timeout)
            return await resources.transport.send(
                call.http_request, trace, timeout, is_shortened=timeout < self.options.timeout
            )
        finally:
            throttle.release_slot()

    async def _build_context(self, request: ApiRequest[T]) -> CallContext:
        """Return the context of a call: its account, its HTTP request, its deadline and its budgets."""
        resources, settings, options = self._state.ensure_open(), self._state.settings, self.options
        endpoint = request.endpoint
        path = self._state.routes.paths.get(endpoint.operation, endpoint.path)
        context = endpoint.error_context(path)
        self._state.credential.check_caller(context)
        deadline = None if options.deadline is None else resources.loop.time() + options.deadline
        account_id = None
        if endpoint.names_account:
            account_id = request.account_id or options.account_id or self._state.account_id
            account_id = account_id or await self._fetch_account_id(self._wait_bounds(context))
        http_request = codec.build_request(request, settings.base_url, path, account_id)
        self._check_monthly_quota(context)
        budgets = self._budgets()
        items, price = request.billable_items, self._state.price(endpoint)
        reservation = BudgetReservation(budgets, items, price, context) if budgets else None
        if self._state.open_budgets and items and not budgets:
            self._state.warn_about_budget(endpoint.operation)
        return CallContext(
            resources.pending,
            resources.loop,
            deadline,
            context,
            resources,
            http_request,
            items,
            price,
            reservation,
            account_id,
        )

    async def _receive(
        self, endpoint: Endpoint[T], call: CallContext, trace: AttemptTrace, response: HttpResponse
    ) -> T:
        """Count what a response charged, and return it decoded, or raise its error."""
        trace.response = response
        if response.status < 500:  # the gateways that send most of these may have a clock of their own
            self._state.server_clock.record(response.headers.get("Date"))
        max_inline = MAX_INLINE_BYTES if endpoint.shape is ResponseShape.UNDECODED else MAX_INLINE_NORMALIZED
        is_large = len(response.body) > max_inline
        trace.meta = codec.meta_at_end(response.body)
        if trace.meta is not None:
            self._record_charge(call, trace)
        # The name may be written with escapes. `rfind` is faster than `in`.
        elif response.body.rfind(b'"charged"') >= 0 or response.body.rfind(b"\\u00") >= 0:
            await self._decode_charge(call, trace, response.body, is_large=is_large)
        if not 200 <= response.status < 300:
            response = trace.response = self._state.redactor.response(response)
            raise self._rejection(call, trace, response)
        decode = partial(codec.decode_response, endpoint, response, trace.context, self._state.redactor)
        try:
            result = await run_in_worker_thread(decode) if is_large else decode()
        except LeadfeederError as error:
            failure = error
        else:
            if self._state.retry_budget.tokens < self._state.retry_budget.CAPACITY:
                self._state.retry_budget.record_success()
            return result
        # Raised without the frames of the codec, which hold the body. Some servers echo the key in it.
        response = trace.response = self._state.redactor.response(response)
        try:
            raise failure.with_traceback(None)
        finally:
            del failure, decode

    async def _decode_charge(self, call: CallContext, trace: AttemptTrace, body: bytes, *, is_large: bool) -> None:
        """Count what a response charged, also if the call is canceled meanwhile."""

        def decode() -> None:
            trace.meta = codec.decode_meta(body)

        try:
            await run_in_worker_thread(decode) if is_large else decode()
        except asyncio.CancelledError:
            if trace.meta is None:  # the thread had not begun
                decode()
            raise
        finally:
            self._record_charge(call, trace)

    def _record_charge(self, call: CallContext, trace: AttemptTrace) -> None:
        charged = trace.charged
        if charged is not None:
            for stats in self._all_stats:
                stats.credits_charged += max(0, charged)
            call.price.record_charge(charged, call.items)

    def _rejection(self, call: CallContext, trace: AttemptTrace, response: HttpResponse) -> LeadfeederError:
        """Return the error for an unsuccessful response. After a 429, all calls pause."""
        now = datetime.now(UTC)
        context = replace(trace.context, charged=max(0, trace.charged or 0))
        error = error_from_response(response, context, self._state.redactor, now)
        if isinstance(error, RateLimitedError):
            for stats in self._all_stats:
                stats.rate_limited += 1
            call.resources.throttle.limiter.pause(retry.rate_limit_pause(error, trace.context.attempts))
        if isinstance(error, AuthenticationError) and (hint := self._state.credential.hint):
            error = error.with_context(error.context, hint=hint)
        return self._state.quota.block_if_used_up(error, now)

    async def _replace_credential(self, call: CallContext, error: LeadfeederError) -> bool:
        """Replace a credential that the server rejected, once for each call. Return True if there is another one.

        The server checks the credential of a request before any work, so a rejected request can always be sent again.
        """
        if call.has_tried_renewal or not isinstance(error, AuthenticationError) or error.status not in {401, 403}:
            return False
        call.has_tried_renewal = True
        return await call.wait(self._state.credential.replace_rejected(error, call.credential_version), "credential")

    def _use_alternative(self, endpoint: Endpoint[T], call: CallContext, error: LeadfeederError) -> bool:
        """Change the call to the next path of its endpoint, and return True, if this path does not exist."""
        routes, current = self._state.routes, call.context.path or endpoint.path
        path = routes.next_path(endpoint, current, error.status, call.account_id)
        if path is None:
            if hint := routes.hint(endpoint, call.account_id):
                raise error.with_context(error.context, hint=hint)
            return False
        url = self.base_url + path + call.http_request.url.removeprefix(self.base_url + current)
        call.http_request = replace(call.http_request, url=url)
        call.context = replace(call.context, path=path, attempts=0)
        return True

    async def _delay_before_next(
        self, endpoint: Endpoint[T], call: CallContext, error: LeadfeederError
    ) -> float | None:
        """Return the seconds to wait before a retry, or None before an attempt with another path.

        Raise the error of the call if there is no other attempt.
        """
        if endpoint.path_alternatives and self._use_alternative(endpoint, call, error):
            return None
        if await self._replace_credential(call, error):
            return 0.0
        return self._delay_before_retry(endpoint, call, error)

    def _delay_before_retry(self, endpoint: Endpoint[T], call: CallContext, error: LeadfeederError) -> float:
        """Return the seconds to wait before the next attempt, or raise the error that ends the call."""
        attempts = self.options.retries + 1 + call.has_tried_renewal  # the rejected attempt does not count
        decision = retry.delay_or_error(error, endpoint, call.context.attempts, attempts, random.random)
        if isinstance(decision, OutcomeUnknownError):
            raise decision from error
        delay = None if isinstance(decision, LeadfeederError) else decision
        if call.exceeds_deadline(delay or 0.0) and not isinstance(error, UsageError | BudgetExceededError):
            raise _deadline_error(error) from error
        if delay is None:
            raise error
        if not isinstance(error, RateLimitedError):
            if not self._state.retry_budget.try_consume():
                hint = f"Not retried, because most recent requests failed. {error.hint}"
                raise error.with_context(error.context, hint=hint) from error.__cause__
            call.context = replace(call.context, sent=error.sent)  # a 429 was rejected before any work
        return delay

    def _finish_attempt(self, call: CallContext, trace: AttemptTrace, error: BaseException | None) -> None:
        """Record whether the attempt may have been charged, and emit its event."""
        if call.reservation is not None:
            call.reservation.record_attempt(
                trace.charged,
                is_successful=error is None,
                may_have_charged=trace.sent != "no" and not _is_rejected(error),
            )
        if trace.connect_started and (self._state.on_attempt is not None or logger.isEnabledFor(logging.DEBUG)):
            self._emit_event(trace, error)
        trace.response = None  # timers of the attempt keep its trace until they expire, even if they are canceled

    def _emit_event(self, trace: AttemptTrace, error: BaseException | None) -> None:
        on_attempt = self._state.on_attempt
        trace.start_phase(trace.phase)
        meta = trace.meta or Meta()
        is_small = trace.response is not None and len(trace.response.body) <= MAX_INLINE_BYTES
        if on_attempt is not None and trace.response is not None and trace.meta is None and is_small:
            meta = codec.decode_meta(trace.response.body)
        request_id = trace.request_id(error) or meta.request_id
        request_id = None if request_id is None else self._state.redactor.text(request_id)
        event = trace.event(error, meta, request_id)
        if logger.isEnabledFor(logging.DEBUG):
            log_attempt(event)
        if on_attempt is not None:
            call_hook(on_attempt, event)

    def _check_monthly_quota(self, context: ErrorContext) -> None:
        if self._state.quota.blocked_until is not None:
            self._state.quota.check(datetime.now(UTC), context)

    def _budgets(self) -> tuple[Budget, ...]:
        if not ACTIVE_BUDGETS.get():
            return self.options.budgets
        return (*active_budgets(self._state), *self.options.budgets)

    async def _fetch_account_id(self, bounds: WaitBounds) -> str:
        """Return the only account of the key, and request it if it is not known yet."""
        state = self._state
        earlier = state.account_failure
        await bounds.wait(state.account_lock.acquire(), "account")
        try:
            if state.account_id is None:
                self._check_lookup_since(earlier)
                remaining = None if bounds.deadline is None else bounds.remaining_timeout(inf)
                executor = self.with_options(replace(self.options, deadline=remaining))
                accounts = await executor.execute(ApiRequest(LIST_ACCOUNTS))
                state.account_id = only_account(accounts.data, state.redactor, accounts.meta.total_count)
        except (DeadlineExceededError, BudgetExceededError):  # limits of this call only
            raise
        except LeadfeederError as error:
            copy = error.with_context(error.context)  # without the frames of this call
            state.account_failure = LookupFailure(self.options.timeout, self.options.retries, copy)
            raise
        else:
            return state.account_id
        finally:
            state.account_lock.release()

    def _check_lookup_since(self, earlier: LookupFailure | None) -> None:
        """Raise the error of an account lookup that failed while this call waited for the lock, but no older one."""
        failure, options = self._state.account_failure, self.options
        if failure is None or failure is earlier:
            return
        if (failure.timeout, failure.retries) == (options.timeout, options.retries):
            raise failure.error.with_context(failure.error.context)


def _is_rejected(error: BaseException | None) -> bool:
    """Return True if the server rejected the attempt. It charges only the credits that its response reports."""
    return isinstance(error, LeadfeederError) and error.status is not None and retry.is_rejection(error.status)


def _deadline_error(error: LeadfeederError) -> LeadfeederError:
    if isinstance(error, DeadlineExceededError):
        return error
    message = f"No time is left for another attempt. The last one ended with {type(error).__name__}: {error.message}"
    return DeadlineExceededError(message, error.context)
