"""Spans and metrics for OpenTelemetry. Needs the extra ``otel``.

Each call is a span, and each of its requests is a child span with the attributes of HTTP clients in OpenTelemetry's
semantic conventions. Spans and metrics contain no ids, query parameters, bodies or credentials. No trace context is
sent to the API.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache, partial
from threading import Lock
from typing import TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, WeakSet

import msgspec

from leadfeeder_async._core.attempt import logger
from leadfeeder_async._core.client_state import ClientState
from leadfeeder_async._core.redaction import code_without_data, request_id_without_data
from leadfeeder_async._version import __version__
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import ConfigurationError, ErrorContext, LeadfeederError, RequestPhase, check_argument
from leadfeeder_async.types import AttemptEvent, Health

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
except ImportError:
    raise ConfigurationError(
        "opentelemetry-api is not installed.", hint="Run pip install opentelemetry-api, or install the extra otel."
    ) from None

__all__ = ["instrument"]

NAME = "leadfeeder_async"
"""The name of the tracer and of the meter."""

DURATION_BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The buckets that the semantic conventions recommend for durations of requests, in seconds."""

WAITS: tuple[RequestPhase, ...] = ("slot", "credential", "limiter")
"""The phases before a request is sent."""

Attributes = dict[str, str | int]

Client = TypeVar("Client", bound=AsyncLeadfeeder)


def instrument(
    lf: Client, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Client:
    """Record the calls of a client and its copies as spans and metrics.

    ::

        async with instrument(AsyncLeadfeeder()) as lf:
            await lf.users.me()

    An ``on_attempt`` of the client is still called.

    Args:
        lf: The client. It can be instrumented once.
        tracer_provider: The provider of the tracer. Defaults to the global one.
        meter_provider: The provider of the meter. Defaults to the global one.

    Returns:
        The same client.

    Raises:
        ConfigurationError: The client is already instrumented.

    """
    state = lf._state  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    check_argument(state.observe_call is None, "The client is already instrumented.", "Call instrument() once.")
    tracer = trace.get_tracer(NAME, __version__, tracer_provider)
    instruments = _instruments_of(meter_provider)
    observer = _Observer(tracer, instruments, state)
    instruments.add(state)
    state.observe_call = observer.observe_call
    state.on_attempt = observer.on_attempt
    return lf


class _Call(msgspec.Struct):
    """The span of the current call, and the sums of its attempts."""

    span: Span
    requests: int = 0
    credits: int | None = None


_CURRENT_CALL: ContextVar[_Call | None] = ContextVar("leadfeeder_call_span", default=None)


def _end_span(call: _Call, failure: BaseException | None) -> None:
    span = call.span
    if failure is not None:
        kind = type(failure).__name__
        span.set_attribute("error.type", kind)
        code = code_without_data(failure.code) if isinstance(failure, LeadfeederError) else None
        if code is not None:
            span.set_attribute("leadfeeder.error_code", code)
        span.set_status(Status(StatusCode.ERROR, kind))
    span.set_attribute("leadfeeder.request_count", call.requests)
    if call.credits is not None:
        span.set_attribute("leadfeeder.credits_charged", call.credits)
    span.end()


class _Observer:
    """Creates the spans of one client and records its metrics."""

    def __init__(self, tracer: Tracer, instruments: _Instruments, state: ClientState) -> None:
        self._tracer = tracer
        self._instruments = instruments
        self._next_hook = state.on_attempt
        self._base_url = state.settings.base_url
        self._server = _server_attributes(state)

    @contextmanager
    def observe_call(self, context: ErrorContext) -> Generator[None, None, None]:
        """Surround a call with a span."""
        call = _Call(self._start_span(context))
        token = _CURRENT_CALL.set(call)
        failure: BaseException | None = None
        try:
            # The traceback and the text of an exception can contain data of the response.
            is_started = call.span is not trace.INVALID_SPAN
            current = trace.use_span(call.span, record_exception=False, set_status_on_exception=False)
            with current if is_started else nullcontext():
                yield
        except BaseException as error:
            failure = error
            raise
        finally:
            _CURRENT_CALL.reset(token)
            try:
                _end_span(call, failure)
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - no call may fail for its span
                logger.exception("The span of a call could not be ended")

    def _start_span(self, context: ErrorContext) -> Span:
        """Start the span of a call. Exceptions of a span processor are logged, because no call must fail for them."""
        attributes: Attributes = {"leadfeeder.operation": context.operation or "", **self._server}
        try:
            return self._tracer.start_span(f"leadfeeder {context.operation}", attributes=attributes)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - no call may fail for its span
            logger.exception("The span of a call could not be started")
            return trace.INVALID_SPAN

    def on_attempt(self, event: AttemptEvent) -> None:
        """Create the span of a request and record its metrics."""
        call = _CURRENT_CALL.get()
        if call is not None:
            call.requests += 1
            if event.credits_charged is not None:
                call.credits = (call.credits or 0) + max(0, event.credits_charged)  # as in the statistics
        waits: dict[RequestPhase, float] = {phase: event.phase_durations.get(phase, 0.0) for phase in WAITS}
        duration = event.elapsed - sum(waits.values())
        attributes = self._request_attributes(event)
        try:
            self._record_span(event, duration, attributes)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - the metrics and the hook of the user follow
            logger.exception("The span of a request could not be recorded")
        self._instruments.record(event, waits, duration, attributes)
        if self._next_hook is not None:
            self._next_hook(event)

    def _request_attributes(self, event: AttemptEvent) -> Attributes:
        """Return the attributes that spans and metrics of a request share."""
        attributes: Attributes = {
            "http.request.method": event.method,
            "url.template": _without_ids(event),
            **self._server,
        }
        if event.status is not None:
            attributes["http.response.status_code"] = event.status
        if event.error is not None:
            is_status = event.status is not None and event.status >= 400
            attributes["error.type"] = str(event.status) if is_status else event.error
        return attributes

    def _record_span(self, event: AttemptEvent, duration: float, attributes: Attributes) -> None:
        end = event.started_at.timestamp() + event.elapsed
        span = self._tracer.start_span(
            f"{event.method} {_without_ids(event)}",
            kind=SpanKind.CLIENT,
            start_time=_nanoseconds(end - duration),
            attributes={
                **attributes,
                "url.full": self._base_url + _without_ids(event),
                "leadfeeder.operation": event.operation,
                "leadfeeder.sent": event.sent,
            },
        )
        if event.attempt > 1:
            span.set_attribute("http.request.resend_count", event.attempt - 1)
        request_id = request_id_without_data(event.request_id)
        if request_id is not None:
            span.set_attribute("leadfeeder.request_id", request_id)
        if event.credits_charged is not None:
            span.set_attribute("leadfeeder.credits_charged", max(0, event.credits_charged))
        if event.error is not None:
            span.set_status(Status(StatusCode.ERROR, event.error))
        span.end(_nanoseconds(end))


class _Instruments:
    """The instruments of one meter, which all clients with the same provider share."""

    def __init__(self, meter: Meter) -> None:
        self._states = WeakSet[ClientState]()
        self._lock = Lock()  # readers of metrics run in threads
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "The time from the connection to the end of the response of each request.",
            explicit_bucket_boundaries_advisory=DURATION_BOUNDARIES,
        )
        self._waits = meter.create_histogram(
            "leadfeeder.client.wait.duration",
            "s",
            "The time that each request waited for a concurrency slot, a credential and the rate limit.",
            explicit_bucket_boundaries_advisory=(*DURATION_BOUNDARIES, 30.0, 60.0),
        )
        self._retries = meter.create_counter("leadfeeder.client.retries", "{request}", "Requests that were sent again.")
        self._credits = meter.create_counter("leadfeeder.client.credits", "{credit}", "Credits that responses charged.")
        for name, unit, description, combine, value_of in _OBSERVED:
            create = meter.create_observable_gauge if combine is max else meter.create_observable_up_down_counter
            create(name, [partial(self._observe, combine, value_of)], unit, description)

    def add(self, state: ClientState) -> None:
        """Observe one more client."""
        with self._lock:
            self._states.add(state)

    def record(
        self, event: AttemptEvent, waits: dict[RequestPhase, float], duration: float, attributes: Attributes
    ) -> None:
        """Record a request."""
        self._duration.record(duration, attributes)
        operation: Attributes = {"leadfeeder.operation": event.operation}
        for phase, seconds in waits.items():
            if phase in event.phase_durations:
                self._waits.record(seconds, {**operation, "leadfeeder.wait": phase})
        if event.attempt > 1:
            self._retries.add(1, operation)
        if event.credits_charged:
            self._credits.add(max(0, event.credits_charged), operation)

    def _observe(
        self, combine: Callable[[list[int]], int], value_of: Callable[[Health], int], _: CallbackOptions
    ) -> Iterable[Observation]:
        """Yield one observation for each server, for all open clients together."""
        values = dict[tuple[tuple[str, str | int], ...], list[int]]()
        with self._lock:
            states = tuple(self._states)
        for state in states:
            if not state.closed:
                values.setdefault(tuple(_server_attributes(state).items()), []).append(value_of(state.health()))
        for attributes, numbers in values.items():
            yield Observation(combine(numbers), dict(attributes))


_OBSERVED: tuple[tuple[str, str, str, Callable[[list[int]], int], Callable[[Health], int]], ...] = (
    (
        "http.client.active_requests",
        "{request}",
        "Calls with a concurrency slot.",
        sum,
        lambda health: health.in_flight,
    ),
    ("leadfeeder.client.waiting_calls", "{call}", "Calls that wait.", sum, lambda health: health.waiting),
    (
        "leadfeeder.client.quota.used",
        "{request}",
        "Requests of this month, as far as known.",
        max,
        lambda health: health.requests_this_month,
    ),
    ("leadfeeder.client.quota.limit", "{request}", "The monthly quota.", max, lambda health: health.monthly_quota),
)
"""Name, unit, description, the way to combine several clients, and the value of instruments that are read on demand."""

_INSTRUMENTS: WeakKeyDictionary[MeterProvider, _Instruments] = WeakKeyDictionary()
"""The instruments by provider, because a name must be registered once."""


def _instruments_of(provider: MeterProvider | None) -> _Instruments:
    if provider is None or provider is metrics.get_meter_provider():
        return _global_instruments()
    if provider not in _INSTRUMENTS:
        _INSTRUMENTS[provider] = _Instruments(provider.get_meter(NAME, __version__))
    return _INSTRUMENTS[provider]


@cache
def _global_instruments() -> _Instruments:
    """Return the instruments of the global provider, which may be set after they are made."""
    return _Instruments(metrics.get_meter(NAME, __version__))


def _server_attributes(state: ClientState) -> Attributes:
    parts = urlsplit(state.settings.base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def _without_ids(event: AttemptEvent) -> str:
    """Return the path of a request without ids, because each would begin another time series.

    In other routes, segments with a digit, ``@`` or ``%`` count as ids, except a version such as ``v1``.
    """
    if event.operation != "request":
        return event.path
    return "/".join("{id}" if _ID_SEGMENT.fullmatch(part) else part for part in event.path.split("/"))


_ID_SEGMENT = re.compile(r"(?!v\d{1,2}$).*[\d@%].*")
"""Matches an id, but not a version such as ``v1``."""
