"""The road of one request: encode once, then attempt, judge, and attempt again or give up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from leadfeeder_async._http import retry, wire
from leadfeeder_async._http.connection import Connection, Open, Stats
from leadfeeder_async._http.endpoint import Account, Call, Endpoint, QueryValue
from leadfeeder_async._http.log import logger
from leadfeeder_async.errors import ClientClosedError, Facts, LeadfeederError, RateLimitedError, with_attempts
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
        opened = self._connection.ready()
        settings, row = self._connection.settings, call.row
        path = settings.paths.get(row.operation, row.path)
        request = wire.build_request(call, settings.base_url, path, await self._account_of(call))
        facts = Facts(operation=row.operation, method=row.method, path=path)
        attempts = self.options.retries + 1
        attempt = 1
        while True:
            try:
                return await self._attempt(opened, request, facts, attempt)
            except LeadfeederError as error:
                verdict = retry.decide(with_attempts(error, attempt), row, attempt, attempts, random.random)
                if verdict is error:
                    raise
                if isinstance(verdict, LeadfeederError):
                    raise verdict from error
            await asyncio.sleep(verdict)
            self.stats.resent += 1
            attempt += 1

    def decode(self, row: Endpoint[T], body: bytes) -> T:
        """Decode an answer of ``row``, and count what it charged."""
        answer = wire.decode(row, body, Facts(operation=row.operation, method=row.method, path=row.path, attempts=1))
        meta = getattr(answer, "meta", None)
        if isinstance(meta, Meta):
            self.stats.credits_charged += meta.charged
        return answer

    async def _attempt(self, opened: Open, request: wire.Request, facts: Facts, attempt: int) -> bytes:
        """Send once, inside a slot and with a token; return the body of a good answer."""
        async with opened.limits.slots:
            await opened.limits.warm_up.wait()
            try:
                answer = await self._send(opened, request, facts, attempt)
            finally:
                opened.limits.warm_up.end()
        failure = wire.failure_of(answer, facts, datetime.now(UTC))
        if isinstance(failure, RateLimitedError):
            self.stats.rate_limited += 1
            opened.limits.limiter.pause(retry.pause_after(failure, attempt))
        if failure is not None:
            raise failure
        return answer.body

    async def _send(self, opened: Open, request: wire.Request, facts: Facts, attempt: int) -> wire.Answer:
        await opened.limits.limiter.acquire()
        if self._connection.closed:
            raise ClientClosedError("This client was closed while the call waited.", facts)
        self.stats.requests += 1
        started = time.perf_counter()
        try:
            answer = await opened.transport.send(request, facts, self.options.timeout)
        except LeadfeederError as error:
            _log(facts, type(error).__name__, attempt, started)
            raise
        _log(facts, answer.status, attempt, started)
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


def _log(facts: Facts, outcome: int | str, attempt: int, started: float) -> None:
    logger.debug(
        "%s %s -> %s, attempt %d, %.0f ms",
        facts.method,
        facts.path,
        outcome,
        attempt,
        1000 * (time.perf_counter() - started),
    )
