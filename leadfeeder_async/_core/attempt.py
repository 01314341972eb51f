"""State of one attempt, the event emitted when it ends, and the log line about it."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

import msgspec

from leadfeeder_async._core.messages import HttpResponse
from leadfeeder_async.errors import (
    ErrorContext,
    LeadfeederError,
    RequestPhase,
    SentState,
    escape_control_characters,
    merge_sent,
)
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.types import AttemptEvent, OnAttempt

logger = logging.getLogger("leadfeeder_async")
"""The only logger of the package. It never logs keys, query strings or bodies."""


class AttemptTrace:
    """Progress of one attempt: its phase, the time spent in each phase, and whether the request was sent.

    Args:
        transport: The transport that sends it. A borrowed aiohttp session also reports requests of other code.
        context: The call, the number of the attempt, and whether earlier attempts were sent.

    """

    __slots__ = (
        "_phase_started",
        "connect_started",
        "context",
        "has_connection",
        "has_waited",
        "is_connecting",
        "meta",
        "phase",
        "phase_durations",
        "response",
        "response_started",
        "send_is_observable",
        "transport",
    )

    def __init__(self, transport: object, context: ErrorContext) -> None:
        self.transport = transport
        self.context = context
        self.phase: RequestPhase = "slot"
        self.phase_durations: dict[RequestPhase, float] = {}
        self.connect_started = False
        self.send_is_observable = False
        """True if sending can be observed. If not, the request counts as possibly sent."""
        self.is_connecting = False
        """True if a connection was requested. aiohttp may request another one by itself."""
        self.has_connection = False
        self.has_waited = False
        """True if the event loop has run since the request was sent, so that a response can have been received."""
        self.response_started = False
        self.response: HttpResponse | None = None
        self.meta: Meta | None = None
        """The metadata of the response, if it was decoded."""
        self._phase_started = time.perf_counter()

    @property
    def charged(self) -> int | None:
        """The credits that the response reports as charged, or None."""
        found = None if self.meta is None else self.meta.credits
        return None if found is None else found.charged

    def start_phase(self, phase: RequestPhase) -> None:
        """Begin the next phase."""
        now = time.perf_counter()
        self.phase_durations[self.phase] = self.phase_durations.get(self.phase, 0.0) + now - self._phase_started
        self.phase, self._phase_started = phase, now

    def mark_connected(self) -> None:
        """Record that the request has a connection, so that it may be sent from now on."""
        self.has_connection = True
        self.start_phase("headers")

    def mark_waited(self) -> None:
        """Record that the event loop has run since the request was sent."""
        self.has_waited = True

    @property
    def sent(self) -> SentState:
        """Whether this attempt was sent: before it has a connection, no byte can have been written."""
        if self.response_started:
            return "yes"
        return "maybe" if self.has_connection or (self.connect_started and not self.send_is_observable) else "no"

    @property
    def sent_by_call(self) -> SentState:
        """Whether this attempt or an earlier one of the same call was sent."""
        return merge_sent(self.sent, self.context.sent)

    def event(self, error: BaseException | None, meta: Meta, request_id: str | None) -> AttemptEvent:
        """Return the event that describes this attempt."""
        elapsed = sum(self.phase_durations.values())
        return AttemptEvent(
            operation=self.context.operation or "",
            method=self.context.method or "",
            path=self.context.path or "",
            attempt=self.context.attempts,
            started_at=datetime.now(UTC) - timedelta(seconds=elapsed),
            elapsed=elapsed,
            phase_durations=self.phase_durations,
            phase=self.phase,
            sent=self.sent,
            status=self._status(error),
            error=None if error is None else type(error).__name__,
            request_id=request_id,
            credits_charged=None if meta.credits is None else meta.credits.charged,
        )

    def _status(self, error: BaseException | None) -> int | None:
        if self.response is not None:
            return self.response.status
        return error.status if isinstance(error, LeadfeederError) else None

    def request_id(self, error: BaseException | None) -> str | None:
        """Return the request id of the error or, without one, of the response headers."""
        named = error.request_id if isinstance(error, LeadfeederError) else None
        return named or (self.response.header("X-Request-Id") if self.response else None)


def log_attempt(event: AttemptEvent) -> None:
    """Write one line about an attempt to the log. The attribute ``leadfeeder`` of the record has the event's fields."""
    logger.debug(
        "%s %s -> %s, attempt %d, %.0f ms%s",
        event.method,
        event.path,
        event.status or event.error,
        event.attempt,
        1000 * event.elapsed,
        f", request id {escape_control_characters(event.request_id)}" if event.request_id else "",
        extra={"leadfeeder": msgspec.to_builtins(event)},
    )


def call_hook(on_attempt: OnAttempt, event: AttemptEvent) -> None:
    """Call the user's hook. Its exceptions are logged, because a call that may have charged must not fail for it."""
    try:
        on_attempt(event)
    except (Exception, asyncio.CancelledError):
        logger.exception("on_attempt failed")
