"""Spans and metrics of OpenTelemetry, compared with the ledger of the sandbox."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from leadfeeder_async import (
    AccessToken,
    AsyncLeadfeeder,
    AttemptEvent,
    BadRequestError,
    ConfigurationError,
    DeadlineExceededError,
    LeadfeederError,
    NotFoundError,
    ServerError,
)
from leadfeeder_async.integrations.opentelemetry import instrument
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import KEY, client_for, client_of
from tests.support.servers import handler_server


class Telemetry:
    """Providers that keep all spans and metrics in memory."""

    def __init__(self) -> None:
        self._exporter, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(), MeterProvider([self._reader])
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))

    def instrument(self, lf: AsyncLeadfeeder) -> AsyncLeadfeeder:
        return instrument(lf, tracer_provider=self.tracers, meter_provider=self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def requests(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.kind is SpanKind.CLIENT]

    @property
    def calls(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.kind is SpanKind.INTERNAL and span.name.startswith("leadfeeder ")]

    def points(self, name: str) -> list[Any]:
        data: Any = self._reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for scope in r.scope_metrics for m in scope.metrics] if data else []
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]

    def total(self, name: str) -> float:
        return sum(getattr(point, "count", None) or getattr(point, "value", 0) for point in self.points(name))


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


async def use_everything(lf: AsyncLeadfeeder, sandbox: Sandbox, folder: Path) -> None:
    """Read a list with prefetching, fetch, enrich, create and export, while some requests fail."""
    visits = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date)
    await visits.prefetch(4).collect()
    ids = sandbox.world.company_ids()[:20]
    results = await asyncio.gather(*(lf.companies.get(company_id) for company_id in ids), return_exceptions=True)
    assert all(not isinstance(result, BaseException) or isinstance(result, LeadfeederError) for result in results)
    with suppress(LeadfeederError):
        await lf.enrich.ips(["198.18.0.17", "198.18.0.18"]).to_file(folder / "ips.ndjson")
    with suppress(LeadfeederError):
        await lf.tags.create(name="Hot")
    with pytest.raises(LeadfeederError):
        await lf.tags.get("0")


async def test_counts_equal_the_ledger(telemetry: Telemetry, tmp_path: Path) -> None:
    """Spans, durations, retries and credits are those of the requests that the sandbox received."""
    async with Sandbox(companies=60, visits=1_500, rate_limit=False, flaky=0.15, seed=5) as sandbox:
        lf = telemetry.instrument(client_for(sandbox, retries=4))
        async with lf:
            await use_everything(lf, sandbox, tmp_path)
        ledger, requests = sandbox.ledger, telemetry.requests
        assert len(requests) == len(ledger.requests) > 40
        received = Counter((one.method, one.template, one.operation, one.status) for one in ledger.requests)
        shown = [attributes(span) for span in requests]
        assert received == Counter(
            (
                one["http.request.method"],
                one["url.template"],
                one["leadfeeder.operation"],
                one["http.response.status_code"],
            )
            for one in shown
        )
        assert {one["leadfeeder.request_id"] for one in shown} == {one.request_id for one in ledger.requests}
        retries = sum(one.get("http.request.resend_count", 0) > 0 for one in shown)
        assert retries == telemetry.total("leadfeeder.client.retries") == lf.stats.retries > 0
        charged = sum(one.get("leadfeeder.credits_charged", 0) for one in shown)
        assert charged == ledger.credits_charged == telemetry.total("leadfeeder.client.credits") > 0
        by_call = [attributes(span) for span in telemetry.calls]
        assert sum(one["leadfeeder.request_count"] for one in by_call) == len(ledger.requests)
        assert sum(one.get("leadfeeder.credits_charged", 0) for one in by_call) == ledger.credits_charged
        assert telemetry.total("http.client.request.duration") == len(ledger.requests)
        by_status = Counter[int]()
        for point in telemetry.points("http.client.request.duration"):
            by_status[point.attributes["http.response.status_code"]] += point.count
        assert by_status == Counter(one.status for one in ledger.requests)


async def test_spans_of_a_retried_call(sandbox: Sandbox, telemetry: Telemetry) -> None:
    """A call with a retry is one span with two children, which have the attributes of HTTP clients."""
    lf = telemetry.instrument(client_for(sandbox))
    async with lf:
        sandbox.fail_next(429, code="rate_limit_exceeded", retry_after="0.01")
        before = datetime.now(UTC).timestamp()
        await lf.companies.get(sandbox.world.company_ids()[0])
    failed, succeeded = telemetry.requests
    (call,) = telemetry.calls
    assert parent_of(failed) == parent_of(succeeded) == id_of(call)
    assert (call.name, call.status.status_code) == ("leadfeeder get_company", StatusCode.UNSET)
    port = int(sandbox.url.rpartition(":")[2])
    assert attributes(failed) == {
        "http.request.method": "GET",
        "url.template": "/v1/companies/{id}",
        "url.full": f"{sandbox.url}/v1/companies/{{id}}",
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 429,
        "error.type": "429",
        "leadfeeder.operation": "get_company",
        "leadfeeder.sent": "yes",
        "leadfeeder.request_id": "sandbox-00000000",
    }
    assert failed.name == "GET /v1/companies/{id}"
    assert failed.status.status_code is StatusCode.ERROR
    assert attributes(succeeded)["http.request.resend_count"] == 1
    assert attributes(succeeded)["leadfeeder.credits_charged"] == 1
    assert attributes(call)["leadfeeder.request_count"] == 2
    for span in (failed, succeeded):
        assert span.start_time is not None
        assert span.end_time is not None
        assert before - 0.01 <= span.start_time / 1e9 <= span.end_time / 1e9 <= datetime.now(UTC).timestamp() + 0.01


async def test_context_reaches_prefetched_pages(sandbox: Sandbox, telemetry: Telemetry, tmp_path: Path) -> None:
    """Requests that are prefetched or sent by background tasks belong to the span of the code that caused them."""
    tracer = telemetry.tracers.get_tracer("test")
    lf = telemetry.instrument(client_for(sandbox))
    async with lf:
        with tracer.start_as_current_span("job") as job:
            pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=50)
            assert len(await pager.prefetch(8).collect()) == 500
            await pager.prefetch(8).to_file(tmp_path / "visits.ndjson")
            assert len([row async for row in lf.enrich.ips(["198.18.0.17", "198.18.0.18"])]) == 2
            async for _ in lf.sweep([sandbox.account_id], lambda account: account.tags.list()):
                pass
    assert len(telemetry.calls) >= 20
    assert {parent_of(span) for span in telemetry.calls} == {job.get_span_context().span_id}
    traces = {span.context.trace_id for span in telemetry.spans if span.context is not None}
    assert traces == {job.get_span_context().trace_id}
    calls = {id_of(span) for span in telemetry.calls}
    assert {parent_of(span) for span in telemetry.requests} <= calls


async def test_call_span_is_current_only_during_the_call(sandbox: Sandbox, telemetry: Telemetry) -> None:
    """The span of a call is the current one for the code inside it, and ends with it."""
    seen = list[bool]()

    async def provide() -> AccessToken:
        seen.append(trace.get_current_span().is_recording())
        return AccessToken(sandbox.issue_token())

    lf = AsyncLeadfeeder(access_token=provide, base_url=sandbox.url, account_id=sandbox.account_id)
    async with telemetry.instrument(lf):
        await lf.users.me()
        assert not trace.get_current_span().is_recording()
    assert seen == [True]


async def test_errors_of_calls(sandbox: Sandbox, telemetry: Telemetry) -> None:
    """A failed call has the class of its error, its code and no text of the response."""
    lf = telemetry.instrument(client_for(sandbox, retries=0))
    async with lf:
        with pytest.raises(NotFoundError):
            await lf.tags.get("0")
        sandbox.latency = 5
        with pytest.raises(DeadlineExceededError):
            await lf.with_options(deadline=0.05).users.me()
        call = asyncio.create_task(lf.users.me())
        await asyncio.sleep(0.05)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
    kinds = [attributes(span)["error.type"] for span in telemetry.calls]
    assert kinds == ["NotFoundError", "DeadlineExceededError", "CancelledError"]
    assert [span.status.description for span in telemetry.calls] == kinds
    assert attributes(telemetry.calls[0])["leadfeeder.error_code"] == "entity_not_found"
    assert [attributes(span)["error.type"] for span in telemetry.requests] == [
        "404",
        "AttemptTimeoutError",
        "CancelledError",
    ]
    assert all(not span.events for span in telemetry.spans)


async def test_observed_values(sandbox: Sandbox, telemetry: Telemetry) -> None:
    """Calls in flight and waiting are summed over all open clients, and the quota is the highest."""
    sandbox.latency = 0.2
    clients = [telemetry.instrument(client_for(sandbox, max_concurrency=2, monthly_quota=900)) for _ in range(2)]
    closed = telemetry.instrument(client_for(sandbox))
    await closed.aclose()
    async with clients[0], clients[1]:
        calls = [asyncio.create_task(lf.users.me()) for lf in clients for _ in range(3)]
        await asyncio.sleep(0.1)
        assert [point.value for point in telemetry.points("http.client.active_requests")] == [4]
        (waiting,) = telemetry.points("leadfeeder.client.waiting_calls")
        assert waiting.value == 2
        assert waiting.attributes == {"server.address": "127.0.0.1", "server.port": int(sandbox.url.rpartition(":")[2])}
        assert [point.value for point in telemetry.points("leadfeeder.client.quota.used")] == [2]
        assert [point.value for point in telemetry.points("leadfeeder.client.quota.limit")] == [900]
        await asyncio.gather(*calls)
        assert [point.value for point in telemetry.points("http.client.active_requests")] == [0]
    assert telemetry.points("http.client.active_requests") == []


async def test_waits_of_requests(sandbox: Sandbox, telemetry: Telemetry) -> None:
    """The wait for the rate limit is recorded for each request, and is not part of its duration."""
    lf = telemetry.instrument(client_for(sandbox, rate=20, burst=1))
    async with lf:
        await asyncio.gather(*(lf.users.me() for _ in range(5)))
    waits = {
        point.attributes["leadfeeder.wait"]: point for point in telemetry.points("leadfeeder.client.wait.duration")
    }
    assert set(waits) == {"slot", "limiter"}
    assert waits["limiter"].count == 5
    assert waits["limiter"].sum >= 0.9 * (0.05 + 0.1 + 0.15 + 0.2)
    assert max(point.max for point in telemetry.points("http.client.request.duration")) < 0.15
    assert telemetry.points("http.client.request.duration")[0].explicit_bounds[0] == 0.005


async def test_hook_of_the_user_is_kept(sandbox: Sandbox, telemetry: Telemetry) -> None:
    """``on_attempt`` still receives its events."""
    events = list[AttemptEvent]()
    async with telemetry.instrument(client_for(sandbox, on_attempt=events.append)) as lf:
        await lf.users.me()
    assert [event.operation for event in events] == ["get_current_user"]


async def test_ids_in_other_routes(telemetry: Telemetry) -> None:
    """The ids in the path of ``lf.request`` are in no span, and do not begin a time series each."""

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"data": None})

    async with handler_server(handle) as url, telemetry.instrument(client_of(url)) as lf:
        ids = ("159000001", "kqX3vT9b", "v12345", "jane.doe@example.com", "0b5f9c52-7a57-4c1e-9f3a-0000000000aa")
        for record_id in ids:
            await lf.request("GET", f"/v2/contacts/{record_id}/notes", returns=object)
    assert len(telemetry.points("http.client.request.duration")) == 1
    paths = {attributes(span).get("url.template") for span in telemetry.spans}
    assert paths - {None} == {"/v2/contacts/{id}/notes"}
    assert not [span for span in telemetry.spans if "159000001" in span.to_json() or "kqX3" in span.to_json()]


async def test_texts_in_place_of_codes_and_request_ids(telemetry: Telemetry) -> None:
    """Texts of the server are in no attribute, because they may be personal."""

    async def handle(_: web.Request) -> web.Response:
        headers = {"X-Request-Id": "for jane@example.com"}
        return web.json_response({"errors": [{"code": "User jane@example.com (4711)"}]}, status=400, headers=headers)

    async with handler_server(handle) as url, telemetry.instrument(client_of(url)) as lf:
        with pytest.raises(BadRequestError):
            await lf.users.me()
    assert not [span for span in telemetry.spans if "jane" in span.to_json()]


async def test_client_is_instrumented_once(sandbox: Sandbox, telemetry: Telemetry) -> None:
    """A second time would count everything twice."""
    lf = telemetry.instrument(client_for(sandbox))
    with pytest.raises(ConfigurationError, match="already instrumented"):
        telemetry.instrument(lf)
    await lf.aclose()


async def test_without_an_sdk(sandbox: Sandbox) -> None:
    """Without providers, the calls work and nothing is recorded."""
    async with instrument(client_for(sandbox)) as lf:
        sandbox.fail_next(500, times=3)
        with pytest.raises(ServerError):
            await lf.users.me()


async def test_spans_contain_no_credential(telemetry: Telemetry) -> None:
    """A server that echoes the key puts it into no span or metric."""
    from tests.core.test_redaction import FAULTS
    from tests.support.servers import raw_server

    async with raw_server(FAULTS["echoed key"]) as server:
        async with telemetry.instrument(client_of(server.url, retries=0)) as lf:
            with pytest.raises(LeadfeederError):
                await lf.users.me()
    shown = "".join(span.to_json() for span in telemetry.spans) + repr(telemetry.points("http.client.request.duration"))
    assert len(telemetry.spans) == 2
    assert KEY not in shown


class BrokenProcessor(SpanProcessor):
    """Raises when a span starts or ends."""

    def __init__(self, moment: str, error: type[BaseException]) -> None:
        self._moment, self._error = moment, error

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if self._moment == "start":
            raise self._error("the exporter is down")

    def on_end(self, span: ReadableSpan) -> None:
        if self._moment == "end":
            raise self._error("the exporter is down")


@pytest.mark.parametrize("error", [ConnectionError, asyncio.CancelledError])
@pytest.mark.parametrize("moment", ["start", "end"])
async def test_exception_of_a_span_processor(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, moment: str, error: type[BaseException]
) -> None:
    """It is logged, and replaces neither the result of a call that charged nor its error."""
    provider, events, current = TracerProvider(), list[AttemptEvent](), list[int]()
    provider.add_span_processor(BrokenProcessor(moment, error))

    def on_attempt(event: AttemptEvent) -> None:
        events.append(event)
        current.append(trace.get_current_span().get_span_context().trace_id)

    lf = instrument(client_for(sandbox, retries=0, on_attempt=on_attempt), tracer_provider=provider)
    with TracerProvider().get_tracer("caller").start_as_current_span("caller") as span:
        async with lf:
            company = sandbox.world.company_ids()[0]
            assert (await lf.companies.get(company)).data.id == company
            with pytest.raises(NotFoundError):
                await lf.tags.get("0")
    assert "the exporter is down" in caplog.text
    assert len(events) == 2
    assert set(current) == {span.get_span_context().trace_id}


async def test_negative_charges(telemetry: Telemetry) -> None:
    """A negative charge counts as no credit in spans, as in the statistics."""
    charges = iter([2, -3, 1])

    async def respond(_: web.Request) -> web.Response:
        return web.json_response({"data": {"id": "1"}, "meta": {"credits": {"charged": next(charges)}}})

    async with handler_server(respond) as url, telemetry.instrument(client_of(url)) as lf:
        for _ in range(3):
            await lf.companies.get("1")
        assert lf.stats.credits_charged == 3
    for spans in (telemetry.calls, telemetry.requests):
        assert sum(attributes(span).get("leadfeeder.credits_charged", 0) for span in spans) == 3


async def test_global_provider_that_is_set_later(sandbox: Sandbox) -> None:
    """The clients before and after ``set_meter_provider`` are observed together."""
    reader = InMemoryMetricReader()
    async with instrument(client_for(sandbox)) as first:
        metrics.set_meter_provider(MeterProvider([reader]))
        second = instrument(client_for(sandbox))
        third = instrument(client_for(sandbox), meter_provider=metrics.get_meter_provider())
        async with second, third:
            for lf, calls in ((first, 1), (second, 2), (third, 3)):
                for _ in range(calls):
                    await lf.users.me()
            data: Any = reader.get_metrics_data()
    found = [m for r in data.resource_metrics for scope in r.scope_metrics for m in scope.metrics]
    (used,) = (metric for metric in found if metric.name == "leadfeeder.client.quota.used")
    assert [point.value for point in used.data.data_points] == [3]
