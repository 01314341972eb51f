"""The road of one request: encode once, then attempt, judge, and attempt again or give up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from leadfeeder_async._http import retry, wire
from leadfeeder_async._http.connection import Connection, Open, Stats
from leadfeeder_async._http.endpoint import Account, Call, Endpoint, QueryValue
from leadfeeder_async._http.log import logger
from leadfeeder_async.budget import Spending, active_budgets
from leadfeeder_async.errors import (
    BudgetExceededError,
    ClientClosedError,
    DeadlineExceededError,
    Facts,
    LeadfeederError,
    OutcomeUnknownError,
    Phase,
    QuotaExceededError,
    RateLimitedError,
    UseError,
    with_attempts,
)
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.settings import Options

T = TypeVar("T")

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
        except BaseException as error:
            free = not trip.spending.begun or _charged_nothing(error)
            trip.spending.settle(0 if free else None)
            raise
        trip.spending.settle(wire.charged_by(body) if call.most_credits else 0)
        return body

    def decode(self, row: Endpoint[T], body: bytes) -> T:
        """Decode an answer of ``row``, and count what it charged."""
        answer = wire.decode(row, body, Facts(operation=row.operation, method=row.method, path=row.path, attempts=1))
        meta = getattr(answer, "meta", None)
        if isinstance(meta, Meta):
            self.stats.credits_charged += meta.charged
        return answer

    async def _prepare(self, call: Call[T]) -> _Trip:
        opened, options = self._connection.ready(), self.options
        deadline = None if options.deadline is None else opened.loop.time() + options.deadline
        settings, row = self._connection.settings, call.row
        path = settings.paths.get(row.operation, row.path)
        request = wire.build_request(call, settings.base_url, path, await self._account_of(call))
        facts = Facts(operation=row.operation, method=row.method, path=path)
        self._check_quota(facts)
        budgets = [*active_budgets(self._connection), *(() if options.budget is None else (options.budget,))]
        return _Trip(opened, request, facts, Spending(budgets, call.most_credits, facts), deadline)

    async def _send_until_settled(self, trip: _Trip, row: Endpoint[T]) -> bytes:
        """Send, and let the resend rule decide what each failure means."""
        attempts = self.options.retries + 1
        attempt = 1
        while True:
            try:
                return await self._attempt(trip, attempt)
            except LeadfeederError as error:
                verdict = retry.decide(with_attempts(error, attempt), row, attempt, attempts, random.random)
                if isinstance(verdict, OutcomeUnknownError):
                    raise verdict from error
                wait = None if isinstance(verdict, LeadfeederError) else verdict
                if trip.is_late(wait or 0.0) and not isinstance(error, UseError | BudgetExceededError):
                    raise _too_late(error) from error
                if wait is None:
                    raise
            await asyncio.sleep(wait)
            self.stats.resent += 1
            attempt += 1

    async def _attempt(self, trip: _Trip, attempt: int) -> bytes:
        """Send once, inside a slot and with a token; return the body of a good answer."""
        trip.spending.check_request()
        limits = trip.opened.limits
        async with limits.slots if trip.deadline is None else _slot_before(trip):
            await trip.before_deadline(limits.warm_up.wait(), "connect")
            try:
                answer = await self._send(trip, attempt)
            finally:
                limits.warm_up.end()
        failure = wire.failure_of(answer, trip.facts, datetime.now(UTC))
        if isinstance(failure, RateLimitedError):
            self.stats.rate_limited += 1
            limits.limiter.pause(retry.pause_after(failure, attempt))
        if isinstance(failure, QuotaExceededError):
            self._connection.note_quota(datetime.now(UTC).date())
        if failure is not None:
            raise failure
        return answer.body

    def _check_quota(self, facts: Facts) -> None:
        ends = self._connection.quota_ends(datetime.now(UTC).date())
        if ends is not None:
            retry_at = datetime.combine(ends, datetime.min.time(), UTC)
            said = "The month's requests are used up, as the server said before; nothing was sent."
            raise QuotaExceededError(said, replace(facts, code="quota_exceeded", retry_at=retry_at))

    async def _send(self, trip: _Trip, attempt: int) -> wire.Answer:
        await trip.before_deadline(trip.opened.limits.limiter.acquire(), "limiter")
        if self._connection.closed:
            raise ClientClosedError("This client was closed while the call waited.", trip.facts)
        trip.spending.take_request()
        self.stats.requests += 1
        started = time.perf_counter()
        timeout = self.options.timeout if trip.deadline is None else min(self.options.timeout, trip.left())
        try:
            answer = await trip.opened.transport.send(trip.request, trip.facts, timeout)
        except LeadfeederError as error:
            _log(trip.facts, type(error).__name__, attempt, started)
            raise
        _log(trip.facts, answer.status, attempt, started)
        return answer

    async def _account_of(self, call: Call[T]) -> str | None:
        if call.row.account is Account.NONE:
            return None
        if call.account_id or call.row.account is Account.OPTIONAL:
            return call.account_id
        return self.options.account_id or self._connection.account_id or await self._look_up_account()

    async def _look_up_account(self) -> str:
        async with self._connection.looking_up:
            if self._connection.account_id is None:
                self._connection.account_id = await self._find_account(self)
            return self._connection.account_id


@dataclass(frozen=True, slots=True)
class _Trip:
    """What stays the same over all attempts of one call."""

    opened: Open
    request: wire.Request
    facts: Facts
    spending: Spending
    deadline: float | None
    """When the call must be over, on the loop's clock."""

    def left(self) -> float:
        """Return the seconds left, at least a thousandth."""
        assert self.deadline is not None
        return max(self.deadline - self.opened.loop.time(), 0.001)

    def is_late(self, wait: float) -> bool:
        """Whether the deadline comes before the next attempt could begin."""
        return self.deadline is not None and self.opened.loop.time() + wait >= self.deadline

    async def before_deadline(self, waiting: Awaitable[None], phase: Phase) -> None:
        """Wait for a slot or a token, but not past the deadline."""
        if self.deadline is None:
            return await waiting
        try:
            async with asyncio.timeout_at(self.deadline):
                await waiting
        except TimeoutError:
            pass
        else:
            return None
        raise DeadlineExceededError("The deadline passed before it could be sent.", replace(self.facts, phase=phase))


@asynccontextmanager
async def _slot_before(trip: _Trip) -> AsyncGenerator[None]:
    slots = trip.opened.limits.slots
    await trip.before_deadline(slots.acquire(), "slot")
    try:
        yield
    finally:
        slots.release()


def _charged_nothing(error: BaseException) -> bool:
    """Whether a call that ended with ``error`` is known to have cost nothing: refused, or never sent."""
    if not isinstance(error, LeadfeederError) or isinstance(error, OutcomeUnknownError):
        return False
    return error.sent == "no" or (error.status is not None and 400 <= error.status < 500)


def _too_late(error: LeadfeederError) -> LeadfeederError:
    if isinstance(error, DeadlineExceededError):
        return error
    said = f"The deadline passed; the last attempt ended with {type(error).__name__}: {error.message}"
    return DeadlineExceededError(said, error.facts)


def _log(facts: Facts, outcome: int | str, attempt: int, started: float) -> None:
    logger.debug(
        "%s %s -> %s, attempt %d, %.0f ms",
        facts.method,
        facts.path,
        outcome,
        attempt,
        1000 * (time.perf_counter() - started),
    )
