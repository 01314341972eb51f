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

from leadfeeder_async._http import log, retry, wire
from leadfeeder_async._http.attempt import Attempt, Passage
from leadfeeder_async._http.connection import Connection, Stats
from leadfeeder_async._http.endpoint import Account, Call, Endpoint, QueryValue, Shape
from leadfeeder_async._http.trip import Bounds, Trip
from leadfeeder_async.budget import Budget, Spending, active_budgets
from leadfeeder_async.errors import (
    AttemptTimeoutError,
    BudgetExceededError,
    DeadlineExceededError,
    DecodeError,
    Facts,
    LeadfeederError,
    OutcomeUnknownError,
    RateLimitedError,
    Sent,
    StatusError,
    UseError,
    require,
    with_attempts,
)
from leadfeeder_async.models.envelope import Meta, Response
from leadfeeder_async.settings import Options

T = TypeVar("T")
U = TypeVar("U")

FindAccount = Callable[["Session"], Awaitable[str]]
"""Looks up the account to use where none was named."""


class Session:
    """The request path of one client, with the options of one copy of it."""

    def __init__(self, connection: Connection, options: Options, find_account: FindAccount) -> None:
        self._connection = connection
        self._find_account = find_account
        self.options = options

    @property
    def stats(self) -> Stats:
        """What the client has sent so far."""
        return self._connection.stats

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return self._connection.settings.base_url

    def with_options(self, options: Options) -> Session:
        """Return the same path with other options."""
        return Session(self._connection, options, self._find_account)

    async def call(
        self,
        row: Endpoint[T],
        *ids: str,
        params: Mapping[str, QueryValue] | None = None,
        body: bytes | None = None,
        account_id: str | None = None,
    ) -> T:
        """Do one operation, ``body`` already encoded: send, resend where that is safe, decode the answer."""
        return self.decode(row, await self.fetch(Call(row, ids, params or {}, body, account_id)))

    async def fetch(self, call: Call[T]) -> bytes:
        """Send ``call`` until it succeeds or may not be sent again; return the undecoded answer."""
        trip = await self._prepare(call)
        try:
            body = await self._send_until_settled(trip, call.row)
        except BaseException:
            trip.spending.settle(None if trip.spending.at_stake else 0)
            raise
        trip.spending.settle(wire.charged_by(body) if call.most_credits and trip.spending.counts else 0)
        return body

    def decode(self, row: Endpoint[T], body: bytes) -> T:
        """Decode an answer of ``row``, and count what it charged."""
        answer = self._without_key(lambda text: wire.decode(row, text, row.answered), body)
        meta = getattr(answer, "meta", None)
        if isinstance(meta, Meta):
            self.stats.credits_charged += meta.charged
        return answer

    def decode_page(
        self, row: Endpoint[Response[tuple[U, ...]]], body: bytes
    ) -> tuple[Response[tuple[U, ...]], tuple[DecodeError, ...], tuple[StatusError, ...]]:
        """Decode a page of ``row``: what it holds, the rows that cannot be read, and the errors beside its data."""
        answer, bad = self._without_key(lambda text: wire.decode_rows(row, text, row.answered), body)
        if bad or answer.errors:  # what they say goes into errors
            answer, bad = wire.decode_rows(row, self.redacted(body), row.answered)
        self.stats.credits_charged += answer.meta.charged
        return answer, bad, wire.errors_beside(answer, row.answered) if answer.errors else ()

    def redacted(self, body: bytes) -> bytes:
        """Take the key out of a body that goes into an error: some servers echo what they were sent."""
        return self._connection.settings.api_key.taken_out_of(body)

    def _without_key(self, decode: Callable[[bytes], U], body: bytes) -> U:
        """Decode a body; where that fails, fail with an error that does not hold the key."""
        try:
            return decode(body)
        except LeadfeederError:
            pass  # its text may hold the key
        return decode(self.redacted(body))

    def under(self, budget: Budget) -> Session:
        """Return the same path with its calls under one more budget."""
        return self.with_options(replace(self.options, budgets=(*self.options.budgets, budget)))

    def credits_left(self) -> int | None:
        """Return how many credits a call from here may still reserve; None where no budget bounds them."""
        return min((left for budget in self._budgets() if (left := budget.credits_left) is not None), default=None)

    def _budgets(self) -> list[Budget]:
        return [*active_budgets(self._connection), *self.options.budgets]

    def note_used(self, requests: int) -> None:
        """Learn how many of this month's requests are used, by everyone as far as known."""
        self._connection.quota.note_used(requests, _today())

    async def _prepare(self, call: Call[T]) -> Trip:
        opened, options = self._connection.ready(), self.options
        deadline = None if options.deadline is None else opened.loop.time() + options.deadline
        settings, row = self._connection.settings, call.row
        path = settings.paths.get(row.operation, row.path)
        facts = Facts(operation=row.operation, method=row.method, path=path)
        account = self._account_of(call)
        if account is None and row.account is Account.REQUIRED:
            account = await self._look_up_account(Bounds(opened, facts, deadline))
        request = wire.build_request(call, settings.base_url, path, account)
        self._check_month(facts)
        spending = Spending(self._budgets(), call.most_credits, facts)
        if spending.is_shared:
            await _reserve(spending, Bounds(opened, facts, deadline))
        may_cost, any_json = not retry.is_repeatable(row), row.shape is Shape.OTHER
        return Trip(opened, facts, deadline, request, spending, may_cost, any_json)

    async def _send_until_settled(self, trip: Trip, row: Endpoint[T]) -> bytes:
        """Send, and let the resend rule decide what each failure means."""
        attempts = self.options.retries + 1
        attempt = 1
        wait: float | None = None
        earlier: Sent = "no"
        while True:
            try:
                if wait is not None:
                    await trip.wait(asyncio.sleep(wait), "backoff")
                    self.stats.resent += 1
                return await self._attempt(trip, attempt)
            except LeadfeederError as error:
                verdict = retry.decide(with_attempts(error, attempt), row, attempt, attempts, random.random)
                if isinstance(verdict, OutcomeUnknownError):
                    raise verdict from error
                earlier = _speak_of(earlier, error)
                wait = None if isinstance(verdict, LeadfeederError) else verdict
                if trip.is_late(wait or 0.0) and not isinstance(error, UseError | BudgetExceededError):
                    raise _too_late(error) from error
                if wait is None or not self._may_resend(error):
                    raise
            attempt += 1

    def _may_resend(self, error: LeadfeederError) -> bool:
        """Ask the retry budget; a 429 needs none, since the pause bounds its resends."""
        if isinstance(error, RateLimitedError) or self._connection.retry_budget.take():
            return True
        error.advice = f"Most calls fail at present, so this one was not sent again. {error.advice}"
        return False

    async def _attempt(self, trip: Trip, number: int) -> bytes:
        """Send once, inside a slot and with a token; return the body of a good answer."""
        trip.spending.check_request()
        report = _Report(number, Passage(trip.opened.transport))
        try:
            report.answer = await trip.in_slot(report.passage, lambda: self._send(trip, report.passage))
            return self._good_body(report, report.answer, trip)
        except BaseException as error:
            report.error = error
            trip.spending.at_stake |= report.passage.sent != "no" and not _was_refused(error)
            raise
        finally:
            self._tell(report, trip)
            report.error = None  # it holds this frame, which holds the report

    async def _send(self, trip: Trip, passage: Passage) -> wire.Answer:
        passage.enter("limiter")
        await trip.take_token()
        self._check_month(trip.facts)  # others may have learnt of its end meanwhile
        trip.spending.take_request()
        self.stats.requests += 1
        self._connection.quota.count(_today())
        passage.tried = True
        passage.enter("connect")
        timeout = trip.left(self.options.timeout)
        try:
            return await trip.opened.transport.send(trip.request, trip.facts, timeout, passage)
        except AttemptTimeoutError as error:
            if timeout < self.options.timeout and error.phase != "connect":
                error.message = f"{error.message} The deadline left it no more."
            raise

    def _check_month(self, facts: Facts) -> None:
        if self._connection.quota.ends is not None:
            self._connection.quota.check(datetime.now(UTC), facts)

    def _good_body(self, report: _Report, answer: wire.Answer, trip: Trip) -> bytes:
        """Return the body of a good answer; raise what is wrong with another, and let everyone know of a 429."""
        if wire.is_good(answer, scan=trip.may_cost, any_json=trip.any_json):
            self._connection.retry_budget.refill()
            return answer.body
        answer = report.answer = trip.opened.transport.redacted(answer)
        now = datetime.now(UTC)
        failure = wire.failure_of(answer, trip.facts, now)
        if isinstance(failure, RateLimitedError):
            self.stats.rate_limited += 1
            trip.opened.limits.limiter.pause(retry.pause_after(failure, report.number))
        raise self._connection.quota.judge(failure, now)

    def _tell(self, report: _Report, trip: Trip) -> None:
        on_attempt, logged = self._connection.on_attempt, log.is_wanted()
        if not report.passage.tried or (on_attempt is None and not logged):
            return
        report.passage.end()
        if report.answer is not None:
            report.answer = trip.opened.transport.redacted(report.answer)
        if logged:
            log.log_attempt(trip.facts, report.number, report.passage, report.outcome, report.request_id)
        if on_attempt is not None:
            log.tell(on_attempt, report.event(trip.facts))

    def _account_of(self, call: Call[T]) -> str | None:
        """Return the account of a call, as far as it is known."""
        if call.row.account is Account.NONE:
            return None
        require(call.account_id != "", "account_id is empty.", "Leave it out for the client's own account.")
        return call.account_id or self.options.account_id or self._connection.account_id

    async def _look_up_account(self, bounds: Bounds) -> str:
        await bounds.wait(self._connection.looking_up.acquire(), "account")
        try:
            if self._connection.account_id is None:
                left = None if bounds.deadline is None else bounds.left(inf)
                hurried = self.with_options(replace(self.options, deadline=left))
                self._connection.account_id = await self._find_account(hurried)
            return self._connection.account_id
        finally:
            self._connection.looking_up.release()


class _Report(msgspec.Struct):
    """What is known about an attempt when it ends."""

    number: int
    passage: Passage
    answer: wire.Answer | None = None
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

    def event(self, facts: Facts) -> Attempt:
        """Describe the attempt to the user's callback; only then is the answer's meta read for it."""
        meta = wire.meta_of(self.answer.body) if self.answer else Meta()
        elapsed = sum(self.passage.seconds.values())
        return Attempt(
            operation=facts.operation or "",
            method=facts.method or "",
            path=facts.path or "",
            number=self.number,
            started_at=datetime.now(UTC) - timedelta(seconds=elapsed),
            elapsed=elapsed,
            seconds=self.passage.seconds,
            phase=self.passage.phase,
            sent=self.passage.sent,
            status=self.status,
            error=None if self.error is None else type(self.error).__name__,
            request_id=self.request_id or meta.request_id,
            charged=None if meta.credits is None else meta.credits.charged,
        )


_SENT: tuple[Sent, ...] = ("no", "maybe", "yes")


def _speak_of(earlier: Sent, error: LeadfeederError) -> Sent:
    """Let an error speak of the attempts before its own too; return what the next one has to speak of.

    A 429 is no reason to: it was refused before any work.
    """
    own = error.sent
    error.facts = replace(error.facts, sent=max(own, earlier, key=_SENT.index))
    return earlier if isinstance(error, RateLimitedError) else error.sent


async def _reserve(spending: Spending, bounds: Bounds) -> None:
    """Reserve credits that other processes spend of too, or none at all."""
    try:
        await bounds.wait(spending.reserve_shared(), "budget")
    except BaseException:
        spending.settle(0)
        raise


def _was_refused(error: BaseException) -> bool:
    """Whether an attempt that ended with ``error`` is known to have cost nothing, since the server said no."""
    return isinstance(error, LeadfeederError) and error.status is not None and 400 <= error.status < 500


def _too_late(error: LeadfeederError) -> LeadfeederError:
    if isinstance(error, DeadlineExceededError):
        return error
    said = f"The deadline passed; the last attempt ended with {type(error).__name__}: {error.message}"
    return DeadlineExceededError(said, error.facts)


def _today() -> date:
    return datetime.now(UTC).date()
