"""The road of one request: encode once, then attempt, judge, and attempt again or give up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from math import inf
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core import attempt_log, codec, retry
from leadfeeder_async._core.attempt import AttemptEvent, AttemptTrace
from leadfeeder_async._core.call_context import Bounds, CallContext
from leadfeeder_async._core.client_state import ClientState, Stats
from leadfeeder_async._core.endpoint import AccountScope, ApiRequest, Endpoint, QueryValue, ResponseShape
from leadfeeder_async.budget import Budget, BudgetReservation, active_budgets
from leadfeeder_async.errors import (
    APIStatusError,
    AttemptTimeoutError,
    BudgetExceededError,
    DeadlineExceededError,
    DecodeError,
    ErrorContext,
    LeadfeederError,
    OutcomeUnknownError,
    RateLimitedError,
    SentState,
    UsageError,
    check_argument,
    with_attempts,
)
from leadfeeder_async.models.envelope import Meta, Response
from leadfeeder_async.settings import Options

T = TypeVar("T")
U = TypeVar("U")

AccountResolver = Callable[["RequestExecutor"], Awaitable[str]]
"""Looks up the account to use where none was named."""


class RequestExecutor:
    """The request path of one client, with the options of one copy of it."""

    def __init__(self, connection: ClientState, options: Options, find_account: AccountResolver) -> None:
        self._state = connection
        self._find_account = find_account
        self.options = options

    @property
    def stats(self) -> Stats:
        """What the client has sent so far."""
        return self._state.stats

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return self._state.settings.base_url

    def with_options(self, options: Options) -> RequestExecutor:
        """Return the same path with other options."""
        return RequestExecutor(self._state, options, self._find_account)

    async def execute(
        self,
        row: Endpoint[T],
        *ids: str,
        params: Mapping[str, QueryValue] | None = None,
        body: bytes | None = None,
        account_id: str | None = None,
    ) -> T:
        """Do one operation, ``body`` already encoded: send, resend where that is safe, decode the answer."""
        return self.decode(row, await self.execute_raw(ApiRequest(row, ids, params or {}, body, account_id)))

    async def execute_raw(self, call: ApiRequest[T]) -> bytes:
        """Send ``call`` until it succeeds or may not be sent again; return the undecoded answer."""
        trip = await self._build_context(call)
        try:
            body = await self._send_with_retries(trip, call.endpoint)
        except BaseException:
            trip.reservation.settle(None if trip.reservation.possibly_charged else 0)
            raise
        trip.reservation.settle(
            codec.credits_charged_in(body) if call.max_credits and trip.reservation.is_tracked else 0
        )
        return body

    def decode(self, row: Endpoint[T], body: bytes) -> T:
        """Decode an answer of ``row``, and count what it charged."""
        answer = self._decode_with_redacted_error(lambda text: codec.decode(row, text, row.error_context), body)
        meta = getattr(answer, "meta", None)
        if isinstance(meta, Meta):
            self.stats.credits_charged += meta.charged
        return answer

    def decode_page(
        self, row: Endpoint[Response[tuple[U, ...]]], body: bytes
    ) -> tuple[Response[tuple[U, ...]], tuple[DecodeError, ...], tuple[APIStatusError, ...]]:
        """Decode a page of ``row``: what it holds, the rows that cannot be read, and the errors beside its data."""
        answer, bad = self._decode_with_redacted_error(
            lambda text: codec.decode_rows(row, text, row.error_context), body
        )
        if bad or answer.errors:  # what they say goes into errors
            answer, bad = codec.decode_rows(row, self.redact(body), row.error_context)
        self.stats.credits_charged += answer.meta.charged
        return answer, bad, codec.partial_errors(answer, row.error_context) if answer.errors else ()

    def redact(self, body: bytes) -> bytes:
        """Take the key out of a body that goes into an error: some servers echo what they were sent."""
        return self._state.settings.api_key.redact_from(body)

    def _decode_with_redacted_error(self, decode: Callable[[bytes], U], body: bytes) -> U:
        """Decode a body; where that fails, fail with an error that does not hold the key."""
        try:
            return decode(body)
        except LeadfeederError:
            pass  # its text may hold the key
        return decode(self.redact(body))

    def with_budget(self, budget: Budget) -> RequestExecutor:
        """Return the same path with its calls under one more budget."""
        return self.with_options(replace(self.options, budgets=(*self.options.budgets, budget)))

    def credits_left(self) -> int | None:
        """Return how many credits a call from here may still reserve; None where no budget bounds them."""
        return min((left for budget in self._budgets() if (left := budget.credits_left) is not None), default=None)

    def _budgets(self) -> list[Budget]:
        return [*active_budgets(self._state), *self.options.budgets]

    def record_monthly_usage(self, requests: int) -> None:
        """Learn how many of this month's requests are used, by everyone as far as known."""
        self._state.quota.record_usage(requests, _today())

    async def _build_context(self, call: ApiRequest[T]) -> CallContext:
        opened, options = self._state.ensure_open(), self.options
        deadline = None if options.deadline is None else opened.loop.time() + options.deadline
        settings, row = self._state.settings, call.endpoint
        path = settings.paths.get(row.operation, row.path)
        context = ErrorContext(operation=row.operation, method=row.method, path=path)
        account = self._resolve_account_id(call)
        if account is None and row.account is AccountScope.REQUIRED:
            account = await self._fetch_account_id(Bounds(opened, context, deadline))
        request = codec.build_request(call, settings.base_url, path, account)
        self._check_monthly_quota(context)
        spending = BudgetReservation(self._budgets(), call.max_credits, context)
        if spending.is_shared:
            await _reserve_shared_credits(spending, Bounds(opened, context, deadline))
        may_cost, any_json = not retry.is_retry_safe(row), row.shape is ResponseShape.RAW
        return CallContext(opened, context, deadline, request, spending, may_cost, any_json)

    async def _send_with_retries(self, trip: CallContext, row: Endpoint[T]) -> bytes:
        """Send, and let the resend rule decide what each failure means."""
        attempts = self.options.retries + 1
        attempt = 1
        wait: float | None = None
        earlier: SentState = "no"
        while True:
            try:
                if wait is not None:
                    await trip.wait_until_deadline(asyncio.sleep(wait), "backoff")
                    self.stats.retries += 1
                return await self._attempt(trip, attempt)
            except LeadfeederError as error:
                verdict = retry.delay_or_error(with_attempts(error, attempt), row, attempt, attempts, random.random)
                if isinstance(verdict, OutcomeUnknownError):
                    raise verdict from error
                earlier = _merge_sent_state(earlier, error)
                wait = None if isinstance(verdict, LeadfeederError) else verdict
                if trip.exceeds_deadline(wait or 0.0) and not isinstance(error, UsageError | BudgetExceededError):
                    raise _deadline_error(error) from error
                if wait is None or not self._consume_retry_budget(error):
                    raise
            attempt += 1

    def _consume_retry_budget(self, error: LeadfeederError) -> bool:
        """Ask the retry budget; a 429 needs none, since the pause bounds its resends."""
        if isinstance(error, RateLimitedError) or self._state.retry_budget.try_consume():
            return True
        error.hint = f"Most calls fail at present, so this one was not sent again. {error.hint}"
        return False

    async def _attempt(self, trip: CallContext, number: int) -> bytes:
        """Send once, inside a slot and with a token; return the body of a good answer."""
        trip.reservation.check_request()
        report = _Report(number, AttemptTrace(trip.resources.transport))
        try:
            report.answer = await trip.in_slot(report.passage, lambda: self._send_once(trip, report.passage))
            return self._check_response(report, report.answer, trip)
        except BaseException as error:
            report.error = error
            trip.reservation.possibly_charged |= report.passage.sent != "no" and not _is_client_error(error)
            raise
        finally:
            self._emit_attempt_event(report, trip)
            report.error = None  # it holds this frame, which holds the report

    async def _send_once(self, trip: CallContext, passage: AttemptTrace) -> codec.HttpResponse:
        passage.start_phase("limiter")
        await trip.take_token()
        self._check_monthly_quota(trip.context)  # others may have learnt of its end meanwhile
        trip.reservation.consume_request()
        self.stats.requests += 1
        self._state.quota.count(_today())
        passage.connect_started = True
        passage.start_phase("connect")
        timeout = trip.remaining_timeout(self.options.timeout)
        try:
            return await trip.resources.transport.send(trip.request, trip.context, timeout, passage)
        except AttemptTimeoutError as error:
            if timeout < self.options.timeout and error.phase != "connect":
                error.message = f"{error.message} The deadline left it no more."
            raise

    def _check_monthly_quota(self, context: ErrorContext) -> None:
        if self._state.quota.blocked_until is not None:
            self._state.quota.check(datetime.now(UTC), context)

    def _check_response(self, report: _Report, answer: codec.HttpResponse, trip: CallContext) -> bytes:
        """Return the body of a good answer; raise what is wrong with another, and let everyone know of a 429."""
        if codec.is_success(answer, scan=trip.has_side_effects, any_json=trip.accepts_any_json):
            self._state.retry_budget.record_success()
            return answer.body
        answer = report.answer = trip.resources.transport.redacted(answer)
        now = datetime.now(UTC)
        failure = codec.error_from_response(answer, trip.context, now)
        if isinstance(failure, RateLimitedError):
            self.stats.rate_limited += 1
            trip.resources.throttle.limiter.pause(retry.rate_limit_pause(failure, report.number))
        raise self._state.quota.classify(failure, now)

    def _emit_attempt_event(self, report: _Report, trip: CallContext) -> None:
        on_attempt, logged = self._state.on_attempt, attempt_log.debug_enabled()
        if not report.passage.connect_started or (on_attempt is None and not logged):
            return
        report.passage.finish()
        if report.answer is not None:
            report.answer = trip.resources.transport.redacted(report.answer)
        if logged:
            attempt_log.log_attempt(trip.context, report.number, report.passage, report.outcome, report.request_id)
        if on_attempt is not None:
            attempt_log.call_hook(on_attempt, report.event(trip.context))

    def _resolve_account_id(self, call: ApiRequest[T]) -> str | None:
        """Return the account of a call, as far as it is known."""
        if call.endpoint.account is AccountScope.NONE:
            return None
        check_argument(call.account_id != "", "account_id is empty.", "Leave it out for the client's own account.")
        return call.account_id or self.options.account_id or self._state.account_id

    async def _fetch_account_id(self, bounds: Bounds) -> str:
        await bounds.wait_until_deadline(self._state.account_lock.acquire(), "account")
        try:
            if self._state.account_id is None:
                left = None if bounds.deadline is None else bounds.remaining_timeout(inf)
                hurried = self.with_options(replace(self.options, deadline=left))
                self._state.account_id = await self._find_account(hurried)
            return self._state.account_id
        finally:
            self._state.account_lock.release()


class _Report(msgspec.Struct):
    """What is known about an attempt when it ends."""

    number: int
    passage: AttemptTrace
    answer: codec.HttpResponse | None = None
    error: BaseException | None = None

    @property
    def status(self) -> int | None:
        """The HTTP status, where an answer came, whole or not."""
        return self.answer.status if self.answer else getattr(self.error, "status", None)

    @property
    def request_id(self) -> str | None:
        """The server's name for the request, from an error or else from the answer's headers."""
        named: str | None = getattr(self.error, "request_id", None)
        return named or (self.answer.header("X-Request-Id") if self.answer else None)

    @property
    def outcome(self) -> int | str:
        """What the log calls it."""
        return self.status or type(self.error).__name__

    def event(self, context: ErrorContext) -> AttemptEvent:
        """Describe the attempt to the user's callback; only then is the answer's meta read for it."""
        meta = codec.decode_meta(self.answer.body) if self.answer else Meta()
        elapsed = sum(self.passage.phase_durations.values())
        return AttemptEvent(
            operation=context.operation or "",
            method=context.method or "",
            path=context.path or "",
            attempt=self.number,
            started_at=datetime.now(UTC) - timedelta(seconds=elapsed),
            elapsed=elapsed,
            phase_durations=self.passage.phase_durations,
            phase=self.passage.phase,
            sent=self.passage.sent,
            status=self.status,
            error=None if self.error is None else type(self.error).__name__,
            request_id=self.request_id or meta.request_id,
            credits_charged=None if meta.credits is None else meta.credits.charged,
        )


_SENT: tuple[SentState, ...] = ("no", "maybe", "yes")


def _merge_sent_state(earlier: SentState, error: LeadfeederError) -> SentState:
    """Let an error speak of the attempts before its own too; return what the next one has to speak of.

    A 429 is no reason to: it was refused before any work.
    """
    own = error.sent
    error.context = replace(error.context, sent=max(own, earlier, key=_SENT.index))
    return earlier if isinstance(error, RateLimitedError) else error.sent


async def _reserve_shared_credits(spending: BudgetReservation, bounds: Bounds) -> None:
    """Reserve credits that other processes spend of too, or none at all."""
    try:
        await bounds.wait_until_deadline(spending.reserve_shared(), "budget")
    except BaseException:
        spending.settle(0)
        raise


def _is_client_error(error: BaseException) -> bool:
    """Whether an attempt that ended with ``error`` is known to have cost nothing, since the server said no."""
    return isinstance(error, LeadfeederError) and error.status is not None and 400 <= error.status < 500


def _deadline_error(error: LeadfeederError) -> LeadfeederError:
    if isinstance(error, DeadlineExceededError):
        return error
    said = f"The deadline passed; the last attempt ended with {type(error).__name__}: {error.message}"
    return DeadlineExceededError(said, error.context)


def _today() -> date:
    return datetime.now(UTC).date()
