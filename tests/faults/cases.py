"""85 fault cases as data: the trigger, the expected behavior, and the tests that cover it."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import dataclass
from typing import Literal

from leadfeeder_async import (
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    ConnectError,
    DecodeError,
    DisconnectedError,
    InsufficientCreditsError,
    NotFoundError,
    OffsetExceededError,
    PermissionDeniedError,
    ProtocolError,
    QuotaExceededError,
    RateLimitedError,
    RedirectError,
    ResponseTooLargeError,
    ServerError,
    TLSError,
    UnexpectedStatusError,
)
from tests.faults.dsl import (
    OK,
    Fault,
    ambiguous,
    certificate,
    connection_refused,
    dns_failure,
    final,
    full_backlog,
    harmless,
    network,
    proxied,
    rate_limited,
    responds,
    sends,
)
from tests.support.proxy import NetworkConditions
from tests.support.servers import cut, http, silence

Group = Literal["Body", "Status", "Network", "Pagination", "Input", "Runtime"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One fault case: injected here, covered by other tests, or documented as not covered."""

    number: int
    group: Group
    name: str
    trigger: str
    """The fault."""
    expected: str
    """The behavior that a user sees."""
    faults: tuple[Fault, ...] = ()
    """The variants that are injected here."""
    covered_by: tuple[str, ...] = ()
    """Other tests that cover the case."""
    not_covered: str = ""
    """The part of the case that is not tested, and the reason."""


DEEP_ARRAY = b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

SHORT_TIMEOUT = {"timeout": 0.25, "retries": 1}
"""Options for faults that only a timeout detects. Two attempts take about half a second."""

HEAD = b"HTTP/1.1 200 OK\r\n"
NO_LENGTH = HEAD + b"Connection: close\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP_NO_LENGTH = HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
GZIPPED = gzip.compress(b'{"data":"' + bytes(range(32, 34)) * 50 + bytes(range(35, 91)) * 40 + b'"}')
BOMB = gzip.compress(b'{"data":"' + b" " * 300_000 + b'"}')


async def partial_headers(writer: asyncio.StreamWriter) -> None:
    """Send part of the headers and stop."""
    writer.write(OK[:20])
    await silence(writer)


async def slow_body(writer: asyncio.StreamWriter) -> None:
    """Send a response whose last bytes arrive one by one."""
    writer.write(OK[:-10])
    for byte in OK[-10:]:
        await asyncio.sleep(0.05)
        writer.write(bytes([byte]))


BODY = (
    Case(
        number=1, group="Body", name="malformed-json",
        trigger="A successful status with a body that is not valid JSON.",
        expected="The error contains the beginning of the body.",
        faults=(
            ambiguous("unclosed object", sends(http(b'{"data":[1,2')), DecodeError, "yes"),
            ambiguous("invalid inside braces", sends(cut(NO_LENGTH + b'{"data":[1,2}')), DecodeError, "yes"),
        ),
    ),
    Case(
        number=2, group="Body", name="truncated-content-length",
        trigger="The connection closes before `Content-Length` bytes arrived.",
        expected="Treated as a lost connection.",
        faults=(ambiguous("five bytes short", sends(cut(OK[:-5])), DisconnectedError, "yes"),),
        covered_by=("tests/core/test_transport.py::test_billed_read_is_sent_once",),
    ),
    Case(
        number=3, group="Body", name="truncated-chunked-body",
        trigger="A chunked response ends inside a chunk or before the last chunk.",
        expected="Treated as a lost connection.",
        faults=(
            ambiguous("inside a chunk", sends(cut(CHUNKED + b'20\r\n{"data"')), DisconnectedError, "yes"),
            ambiguous("no last chunk", sends(cut(CHUNKED + b'b\r\n{"data":{}}\r\n')), DisconnectedError, "yes"),
        ),
    ),
    Case(
        number=4, group="Body", name="truncated-without-length",
        trigger="A response without a length is truncated, which looks like a regular end.",
        expected="A JSON object that is not closed is treated as truncated.",
        faults=(
            ambiguous("inside a string", sends(cut(NO_LENGTH + b'{"data":{"id":"1')), DecodeError, "yes"),
            ambiguous(
                "after an inner brace", sends(cut(NO_LENGTH + b'{"data":{"id":"1"}')), DecodeError, "yes",
            ),
        ),
        covered_by=("tests/core/test_transport.py::test_truncated_body_without_length",),
    ),
    Case(
        number=5, group="Body", name="truncated-gzip",
        trigger="A compressed response without a length is truncated.",
        expected="The decompressed part is not a complete JSON object, so it is treated as truncated.",
        faults=(ambiguous("half of the body", sends(cut(GZIP_NO_LENGTH + GZIPPED[:60])), DecodeError, "yes"),),
    ),
    Case(
        number=6, group="Body", name="html-error-page",
        trigger="A gateway responds with 502 and an HTML page.",
        expected="The error of the status, with the beginning of the page.",
        faults=(ambiguous("502", responds("502 Bad Gateway", b"<html>" + b"x" * 999), ServerError, "yes"),),
        covered_by=("tests/core/test_codec.py::test_error_status_without_usable_body",),
    ),
    Case(
        number=7, group="Body", name="login-page",
        trigger="A login page is returned with a successful status instead of the API's response.",
        expected="The error contains the beginning of the page.",
        faults=(ambiguous("html", sends(http(b"<html>Sign in</html>")), DecodeError, "yes"),),
        covered_by=("tests/core/test_transport.py::test_html_under_200_is_a_decode_error",),
    ),
    Case(
        number=8, group="Body", name="wrong-content-type",
        trigger="Valid JSON is labeled as plain text.",
        expected="The response is used. The content type is ignored.",
        faults=(harmless("text/plain", sends(OK.replace(b"application/json", b"text/plain"))),),
    ),
    Case(
        number=9, group="Body", name="errors-instead-of-data",
        trigger="A successful status carries `errors` instead of `data`.",
        expected="The error class of the first error code. `lf.request` returns the object unchanged unless `returns=` is a `Response`.",
        covered_by=("tests/models/test_models.py::test_embedded_errors_raise",),
    ),
    Case(
        number=10, group="Body", name="errors-beside-data",
        trigger="A list response carries `errors` in addition to `data`.",
        expected="All rows are returned, then `IncompleteListError` with the errors is raised.",
        covered_by=("tests/pagination/test_pager.py::test_errors_beside_data",),
    ),
    Case(
        number=11, group="Body", name="no-data",
        trigger="`data` is null or missing.",
        expected="Null is an empty list. A missing list or a missing single record raises `DecodeError`.",
        covered_by=(
            "tests/models/test_models.py::test_list_without_data_raises",
            "tests/faults/test_faults.py::test_missing_record_is_a_decode_error",
        ),
    ),
    Case(
        number=12, group="Body", name="unknown-fields",
        trigger="Records contain unknown fields.",
        expected="The record without these fields. `pager.raw_pages()` and exports keep them.",
        covered_by=(
            "tests/models/test_models.py::test_unknown_fields_and_values_are_accepted",
            "tests/pagination/test_pager.py::test_raw_items_keep_unknown_fields",
        ),
    ),
    Case(
        number=13, group="Body", name="number-in-quotes",
        trigger="A number is sent as a string.",
        expected="The number.",
        covered_by=("tests/models/test_models.py::test_numbers_as_strings_are_converted",),
    ),
    Case(
        number=14, group="Body", name="id-as-number",
        trigger="An id is sent as a number.",
        expected="The id as a string.",
        covered_by=("tests/models/test_models.py::test_relationship_formats",),
    ),
    Case(
        number=15, group="Body", name="huge-number",
        trigger="An integer has 40 or 5,000 digits.",
        expected="A Python integer for 40 digits, `DecodeError` for 5,000.",
        faults=(
            harmless("40 digits", sends(http(b'{"data":' + b"1" * 40 + b"}"))),
            ambiguous("5,000 digits", sends(http(b'{"data":' + b"1" * 5_000 + b"}")), DecodeError, "yes"),
        ),
    ),
    Case(
        number=16, group="Body", name="almost-json",
        trigger="NaN, a byte order mark, or HTML after the JSON.",
        expected="`DecodeError`.",
        faults=(
            ambiguous("NaN", sends(cut(NO_LENGTH + b'{"data":NaN}')), DecodeError, "yes"),
            ambiguous("byte order mark", sends(http(b"\xef\xbb\xbf{}")), DecodeError, "yes"),
            ambiguous("html after the object", sends(http(b"{}<script>")), DecodeError, "yes"),
        ),
        covered_by=("tests/core/test_codec.py::test_success_status_with_invalid_body",),
    ),
    Case(
        number=17, group="Body", name="invalid-utf-8",
        trigger="A string in the response is not valid UTF-8.",
        expected="`DecodeError` instead of Python's `UnicodeDecodeError`.",
        faults=(ambiguous("one byte", sends(cut(NO_LENGTH + b'{"data":"\xff"}')), DecodeError, "yes"),),
        covered_by=("tests/core/test_codec.py::test_undecodable_body",),
    ),
    Case(
        number=18, group="Body", name="deep-nesting",
        trigger="An array is nested 100,000 levels deep.",
        expected="`DecodeError` instead of Python's `RecursionError`.",
        faults=(ambiguous("arrays", sends(cut(NO_LENGTH + DEEP_ARRAY)), DecodeError, "yes"),),
    ),
    Case(
        number=19, group="Body", name="undecodable-row",
        trigger="One row of a page cannot be decoded.",
        expected="The other 99 rows are returned. `IncompleteListError` at the end describes the row.",
        covered_by=("tests/pagination/test_pager.py::test_undecodable_row_is_skipped",),
    ),
    Case(
        number=20, group="Body", name="nested-data",
        trigger="`data` contains one array for each input of a match.",
        expected="One tuple for each input, in the order of the inputs.",
        covered_by=(
            "tests/models/test_models.py::test_null_in_a_list_keeps_the_place_of_others",
            "tests/resources/test_resource_methods.py::test_matching",
        ),
    ),
    Case(
        number=21, group="Body", name="time-without-zone",
        trigger="A timestamp has no time zone.",
        expected="`visit.started_at` treats it as UTC. `visit.attributes.started_at` has no time zone.",
        covered_by=("tests/faults/test_faults.py::test_timestamp_without_zone_is_utc",),
    ),
    Case(
        number=22, group="Body", name="decompression-bomb",
        trigger="A small compressed response decompresses to a huge one.",
        expected="Reading stops at `max_body_bytes`, and the connection is closed.",
        faults=(
            final(
                "300 to 1", sends(http(BOMB, headers="Content-Encoding: gzip\r\n")), ResponseTooLargeError,
                options={"max_body_bytes": 100_000},
            ),
        ),
        covered_by=(
            "tests/core/test_transport.py::test_body_over_the_limit",
            "tests/core/test_transport.py::test_endless_body_ends_at_the_limit",
        ),
    ),
    Case(
        number=23, group="Body", name="huge-headers",
        trigger="The response has 100 kB of headers.",
        expected="An error about invalid HTTP, not a `BadRequestError`.",
        faults=(
            ambiguous("one line", responds("200 OK", b"{}", f"X-A: {'a' * 100_000}\r\n"), ProtocolError, "maybe"),
            ambiguous("many lines", responds("200 OK", b"{}", "X-A: a\r\n" * 20_000), ProtocolError, "maybe"),
        ),
    ),
    Case(
        number=24, group="Body", name="unknown-encoding",
        trigger="The response has an unsupported compression, or a wrong `Content-Encoding`.",
        expected="An error about HTTP or the connection, not a `BadRequestError`.",
        faults=(
            ambiguous("no brotli", responds("200 OK", b"\x0b\x02", "Content-Encoding: br\r\n"), ProtocolError, "maybe"),
            ambiguous("no gzip", responds("200 OK", b"{}", "Content-Encoding: gzip\r\n"), DisconnectedError, "yes"),
        ),
        covered_by=("tests/faults/test_faults.py::test_accept_encoding_lists_installed_codecs",),
    ),
    Case(
        number=25, group="Body", name="trailing-bytes",
        trigger="More bytes arrive than `Content-Length` announced.",
        expected="The response is discarded, and the connection is closed.",
        faults=(
            ambiguous("after a complete response", sends(OK + b"more\r\n\r\n"), ProtocolError, "maybe"),
            ambiguous("length too short", sends(http(b"{}") + OK[-10:]), ProtocolError, "maybe"),
        ),
    ),
    Case(
        number=26, group="Body", name="empty-body",
        trigger="A successful status has an empty body.",
        expected="Success for writes and for `lf.request`. `DecodeError` if a record is expected.",
        faults=(harmless("204", sends(b"HTTP/1.1 204 No Content\r\n\r\n")), harmless("no bytes", sends(http(b"")))),
        covered_by=(
            "tests/core/test_transport.py::test_empty_response_of_a_write",
            "tests/faults/test_faults.py::test_missing_record_is_a_decode_error",
        ),
    ),
)  # fmt: skip


def error_body(code: str) -> bytes:
    """Return an error response body of the API."""
    return b'{"errors":[{"code":"' + code.encode() + b'"}]}'


STATUS = (
    Case(
        number=27, group="Status", name="other-statuses",
        trigger="A status that the API does not document, or a common one.",
        expected="The closest error class, with the status and the code.",
        faults=(
            final("400", responds("400 No"), BadRequestError),
            final("404", responds("404 No", error_body("entity_not_found")), NotFoundError),
            final("416", responds("416 No"), OffsetExceededError),
            final("418", responds("418 No"), UnexpectedStatusError),
            final("451", responds("451 No", b"null"), UnexpectedStatusError),
            ambiguous("503", responds("503 Busy"), ServerError, "yes"),
        ),
        covered_by=("tests/core/test_codec.py::test_any_error_status_gives_an_error",),
    ),
    Case(
        number=28, group="Status", name="error-shapes",
        trigger="Errors arrive in any of the API's formats, or without a body.",
        expected="The error code if there is one. The parser never fails.",
        faults=(
            final("flat", responds("403 No", b'{"error":"x","code":"invalid_api_key"}'), AuthenticationError),
            final("list", responds("403 No", error_body("invalid_api_key")), AuthenticationError),
            final("empty", responds("403 No"), PermissionDeniedError),
        ),
        covered_by=("tests/core/test_codec.py::test_error_examples",),
    ),
    Case(
        number=29, group="Status", name="invalid-key",
        trigger="The API key is rejected.",
        expected="`AuthenticationError`.",
        faults=(final("401", responds("401 No", error_body("invalid_api_key")), AuthenticationError),),
    ),
    Case(
        number=30, group="Status", name="key-revoked-during-pagination",
        trigger="The API key is revoked while a list is read.",
        expected="The rows before the error, then the error. Prefetched pages are canceled.",
        covered_by=(
            "tests/pagination/test_pager.py::test_error_of_a_later_page",
            "tests/pagination/test_pager.py::test_early_exit_cancels_prefetch",
        ),
    ),
    Case(
        number=31, group="Status", name="no-credits",
        trigger="The account has no credits left.",
        expected="`InsufficientCreditsError`.",
        faults=(
            final("403", responds("403 No", error_body("insufficient_credits")), InsufficientCreditsError),
            final("402", responds("402 No"), InsufficientCreditsError),
        ),
        covered_by=("tests/resources/test_resources.py::test_insufficient_credits_raise",),
    ),
    Case(
        number=32, group="Status", name="missing-scope",
        trigger="The key lacks a scope, or the plan does not include the operation.",
        expected="`PermissionDeniedError` for this call only.",
        faults=(final("403", responds("403 No", error_body("insufficient_scope")), PermissionDeniedError),),
        covered_by=("tests/resources/test_resource_methods.py::test_plan_without_entitlement",),
    ),
    Case(
        number=33, group="Status", name="one-id-missing",
        trigger="One of many requested ids no longer exists.",
        expected="The other records. `pager.missing` lists the missing ids.",
        covered_by=("tests/pagination/test_pager.py::test_merged_and_missing_ids",),
    ),
    Case(
        number=34, group="Status", name="rate-limited",
        trigger="429 without `Retry-After`.",
        expected="All calls pause, longer after each attempt. Then the request is retried.",
        faults=(rate_limited("no header", responds("429 Slow")),),
        covered_by=("tests/core/test_retry.py::test_rate_limit_pause",),
    ),
    Case(
        number=35, group="Status", name="rate-limited-retry-after",
        trigger="429 with a `Retry-After` of up to 60 seconds, as seconds or as a date.",
        expected="All calls pause until then.",
        faults=(rate_limited("seconds", responds("429 Slow", headers="Retry-After: 0.01\r\n")),),
        covered_by=(
            "tests/core/test_transport.py::test_429_pauses_all_calls",
            "tests/core/test_codec.py::test_retry_after_date_header",
        ),
    ),
    Case(
        number=36, group="Status", name="long-retry-after",
        trigger="429 with a `Retry-After` of a day, or a date in 2099.",
        expected="The error is raised immediately, with `retry_at`. The client does not wait.",
        faults=(
            final("a day", responds("429 Slow", headers="Retry-After: 86400\r\n"), RateLimitedError),
            final("2099", responds("429 Slow", headers="Retry-After: Thu, 01 Jan 2099 00:00:00 GMT\r\n"), RateLimitedError),
        ),
        covered_by=("tests/core/test_transport.py::test_429_with_long_retry_after_raises_at_once",),
    ),
    Case(
        number=37, group="Status", name="invalid-retry-after",
        trigger="429 with a `Retry-After` that is in the past or invalid.",
        expected="The same pause as for a 429 without `Retry-After`.",
        faults=(
            rate_limited("past", responds("429 Slow", headers="Retry-After: Fri, 01 Jan 2010 00:00:00 GMT\r\n")),
            rate_limited("words", responds("429 Slow", headers="Retry-After: soon\r\n")),
            rate_limited("nan", responds("429 Slow", headers="Retry-After: nan\r\n")),
        ),
        covered_by=("tests/conformance/test_conformance.py::test_retry_after",),
    ),
    Case(
        number=38, group="Status", name="quota-exceeded",
        trigger="429 because the monthly quota is used up.",
        expected="`QuotaExceededError`. No more requests are sent this month (in its first two days: this hour).",
        faults=(final("code", responds("429 Slow", error_body("quota_exceeded")), QuotaExceededError),),
        covered_by=("tests/test_client.py::test_exhausted_quota_stops_all_requests",),
    ),
    Case(
        number=39, group="Status", name="many-tasks-rate-limited",
        trigger="Hundreds of tasks receive a 429 at the same time.",
        expected="One pause for all, and no burst after it.",
        covered_by=(
            "tests/core/test_rate_limit.py::test_simultaneous_429s_count_once",
            "tests/core/test_rate_limit.py::test_pause_holds_all_callers",
        ),
    ),
    Case(
        number=40, group="Status", name="temporary-server-error",
        trigger="500 twice, then a successful response.",
        expected="The response of the third attempt.",
        faults=(ambiguous("500", responds("500 Oops"), ServerError, "yes"),),
        covered_by=("tests/core/test_transport.py::test_server_errors_then_success",),
    ),
    Case(
        number=41, group="Status", name="error-after-charge",
        trigger="500 after the server did the work.",
        expected="The work is done once. Its credits count as spent.",
        covered_by=(
            "tests/core/test_transport.py::test_billed_read_after_server_error_is_sent_once",
            "tests/test_budget.py::test_lost_response_counts_as_charged",
            "tests/resources/test_resource_methods.py::test_lost_creation_is_not_repeated",
        ),
    ),
    Case(
        number=42, group="Status", name="gateway-timeout",
        trigger="504 while a record is created.",
        expected="The error explains how to check whether the record exists.",
        faults=(ambiguous("504", responds("504 Late", error_body("gateway_timeout")), ServerError, "yes"),),
        covered_by=("tests/resources/test_resource_methods.py::test_lost_creation_is_not_repeated",),
    ),
    Case(
        number=43, group="Status", name="redirect",
        trigger="A redirect to another host.",
        expected="`RedirectError` with the name of the host. Nothing is sent to that host.",
        faults=tuple(
            final(status, responds(f"{status} Moved", headers="Location: https://other.test/v1/x\r\n"), RedirectError)
            for status in ("301", "302", "303", "307", "308")
        ),
        covered_by=("tests/core/test_transport.py::test_redirect_is_not_followed",),
    ),
    Case(
        number=44, group="Status", name="redirect-same-host",
        trigger="A redirect on the same host, or to plain HTTP.",
        expected="`RedirectError` as well.",
        faults=(
            final("same host", responds("302 Moved", headers="Location: /v1/elsewhere\r\n"), RedirectError),
            final("plain http", responds("302 Moved", headers="Location: http://localhost:9/v1/x\r\n"), RedirectError),
        ),
    ),
)  # fmt: skip

NETWORK = (
    Case(
        number=45, group="Network", name="connection-refused",
        trigger="The connection is refused.",
        expected="The error reports that nothing was sent.",
        faults=(ambiguous("refused", connection_refused, ConnectError, "no", reaches_server=False),),
        covered_by=("tests/core/test_transport.py::test_refused_connection_is_retried",),
    ),
    Case(
        number=46, group="Network", name="dns-failure",
        trigger="The host name cannot be resolved, temporarily or permanently.",
        expected="The error reports that nothing was sent. The name is resolved again for each attempt.",
        faults=(ambiguous("unknown host", dns_failure, ConnectError, "no", reaches_server=False),),
    ),
    Case(
        number=47, group="Network", name="connect-timeout",
        trigger="The host does not respond to connection attempts.",
        expected="A timeout that reports that nothing was sent.",
        faults=(
            ambiguous(
                "full backlog", full_backlog, AttemptTimeoutError, "no", reaches_server=False, options=SHORT_TIMEOUT, only_persistent=True
            ),
        ),
    ),
    Case(
        number=48, group="Network", name="invalid-certificate",
        trigger="The certificate is expired, issued for another host, or issued by an unknown authority.",
        expected="`TLSError`, which reports that nothing was sent.",
        faults=(
            final("expired", certificate("localhost", expired=True), TLSError, sent="no", reaches_server=False),
            final("other host", certificate("other.test"), TLSError, sent="no", reaches_server=False),
            final("unknown issuer", certificate("localhost", trusted=False), TLSError, sent="no", reaches_server=False),
        ),
        covered_by=("tests/core/test_transport.py::test_invalid_certificate",),
    ),
    Case(
        number=49, group="Network", name="tls-handshake-cut",
        trigger="The connection closes during the TLS handshake.",
        expected="The error reports that nothing was sent.",
        faults=(
            ambiguous("cut", network(NetworkConditions(close_after=40), tls=True), ConnectError, "no", reaches_server=False),
            ambiguous("reset", network(NetworkConditions(close_after=40, reset=True), tls=True), ConnectError, "no", reaches_server=False),
        ),
    ),
    Case(
        number=50, group="Network", name="stale-connection",
        trigger="A connection from the pool is dead.",
        expected="aiohttp's implicit retry is disabled. Each retry is counted and rate limited.",
        faults=(
            ambiguous("POST", sends(cut(b""), warm=True), DisconnectedError, "maybe"),
            ambiguous("GET", sends(cut(b""), warm=True), DisconnectedError, "maybe", method="GET"),
        ),
        covered_by=("tests/core/test_transport.py::test_dead_connection_is_not_resent_by_aiohttp",),
    ),
    Case(
        number=51, group="Network", name="reset-before-response",
        trigger="The connection is reset before the server reads the request.",
        expected="Whether the request arrived is unknown.",
        faults=(
            ambiguous(
                "reset", network(NetworkConditions(drop_request=True, close_after=0, reset=True)), DisconnectedError, "maybe", reaches_server=False
            ),
        ),
    ),
    Case(
        number=52, group="Network", name="reset-during-response",
        trigger="The connection is reset in the headers or in the body of the response.",
        expected="Treated as a lost connection.",
        faults=(
            ambiguous("head", network(NetworkConditions(close_after=20, reset=True)), DisconnectedError, "maybe"),
            ambiguous("body", network(NetworkConditions(close_after=len(OK) - 4, reset=True)), DisconnectedError, "yes"),
        ),
    ),
    Case(
        number=53, group="Network", name="no-response",
        trigger="The server stops responding before or in the headers, or all packets are lost.",
        expected="A timeout after `timeout` seconds.",
        faults=(
            ambiguous("no bytes at all", sends(silence), AttemptTimeoutError, "maybe", options=SHORT_TIMEOUT),
            ambiguous("partial headers", sends(partial_headers), AttemptTimeoutError, "maybe", options=SHORT_TIMEOUT),
            ambiguous("black hole", network(NetworkConditions(drop_request=True)), AttemptTimeoutError, "maybe", reaches_server=False, options=SHORT_TIMEOUT),
        ),
    ),
    Case(
        number=54, group="Network", name="slow-response",
        trigger="The response arrives so slowly that there is always another byte.",
        expected="A timeout after `timeout` seconds for the complete attempt.",
        faults=(
            ambiguous("head", network(NetworkConditions(chunk_size=2, latency=0.01)), AttemptTimeoutError, "maybe", options=SHORT_TIMEOUT),
            ambiguous("body", sends(slow_body), AttemptTimeoutError, "yes", options=SHORT_TIMEOUT),
        ),
        covered_by=("tests/core/test_transport.py::test_slow_body_times_out",),
    ),
    Case(
        number=55, group="Network", name="wait-for-slot",
        trigger="More calls than concurrency slots, and the calls are slow.",
        expected="All calls succeed. Waiting for a slot does not count toward `timeout`.",
        covered_by=("tests/faults/test_faults.py::test_slot_wait_does_not_count_toward_timeout",),
    ),
    Case(
        number=56, group="Network", name="slow-network",
        trigger="Each part of the response arrives late and in small pieces.",
        expected="The response.",
        not_covered="lost and reordered packets, because TCP repairs both before the client sees them.",
        faults=(harmless("late chunks", network(NetworkConditions(chunk_size=40, latency=0.02))),),
    ),
    Case(
        number=57, group="Network", name="invalid-http",
        trigger="The response is not valid HTTP, or declares two lengths.",
        expected="An error about invalid HTTP, not a `BadRequestError`.",
        faults=(
            ambiguous("words", sends(cut(b"no http at all\r\n\r\n")), ProtocolError, "maybe"),
            ambiguous("status", sends(cut(b"HTTP/1.1 abc\r\n\r\n")), ProtocolError, "maybe"),
            ambiguous(
                "two lengths",
                sends(http(b"2\r\n{}\r\n0\r\n\r\n", headers="Transfer-Encoding: chunked\r\n")), ProtocolError, "maybe",
            ),
        ),
        covered_by=("tests/core/test_transport.py::test_invalid_http_is_a_protocol_error",),
    ),
    Case(
        number=58, group="Network", name="proxy",
        trigger="The HTTP proxy rejects the request, fails or closes the connection.",
        expected="An error with the proxy's status and without its password.",
        faults=(
            ambiguous(
                "tunnel rejected", proxied("https://api.test", http(b"", "407 Who")), ConnectError, "no", reaches_server=False,
                only_persistent=True,
            ),
            ambiguous(
                "failed tunnel", proxied("https://api.test", http(b"", "502 Bad")), ConnectError, "no", reaches_server=False,
                only_persistent=True,
            ),
            ambiguous(
                "tunnel closed", proxied("https://api.test", cut(b"HTTP/1.1 2")), DisconnectedError, "no", reaches_server=False,
                only_persistent=True,
            ),
            final("407", proxied("http://localhost:9", http(b"", "407 Who")), UnexpectedStatusError),
            ambiguous("502", proxied("http://localhost:9", http(b"", "502 Bad")), ServerError, "yes"),
        ),
        covered_by=("tests/faults/test_faults.py::test_rejected_tunnel_names_the_proxy",),
    ),
)  # fmt: skip

PAGINATION = (
    Case(
        number=59, group="Pagination", name="cursor-loop",
        trigger="A cursor points to an earlier page.",
        expected="`CursorLoopError` after one round, unless all counted rows have arrived.",
        covered_by=("tests/pagination/test_pager.py::test_cursor_loop",),
    ),
    Case(
        number=60, group="Pagination", name="empty-pages",
        trigger="Empty pages that have a next cursor.",
        expected="The rows after them. Fifty empty pages in a row raise `CursorLoopError`.",
        covered_by=(
            "tests/pagination/test_pager.py::test_scattered_empty_pages",
            "tests/pagination/test_pager.py::test_empty_pages_with_new_cursors",
        ),
    ),
    Case(
        number=61, group="Pagination", name="cursor-expired",
        trigger="The server rejects a cursor while a list is read.",
        expected="A free list restarts, and each row is returned once. A list that charges raises `CursorExpiredError`, "
        "unless all counted rows have arrived.",
        covered_by=(
            "tests/pagination/test_pager.py::test_expired_cursor_of_free_list_restarts_it",
            "tests/pagination/test_pager.py::test_expired_cursor_of_billed_list",
        ),
    ),
    Case(
        number=62, group="Pagination", name="duplicate-row",
        trigger="A row appears on two pages.",
        expected="The row once.",
        covered_by=("tests/pagination/test_pager.py::test_cursor_pages_return_each_row_once",),
    ),
    Case(
        number=63, group="Pagination", name="changing-list",
        trigger="Rows are added and removed while a list is read.",
        expected="No row twice.",
        covered_by=(
            "tests/pagination/test_pager.py::test_row_moved_by_insertion",
            "tests/pagination/test_pager.py::test_416_after_list_has_shrunk",
        ),
    ),
    Case(
        number=64, group="Pagination", name="wrong-totals",
        trigger="The totals of a list change or are wrong.",
        expected="Every row.",
        covered_by=("tests/pagination/test_pager.py::test_wrong_counts_lose_no_rows",),
    ),
    Case(
        number=65, group="Pagination", name="row-limit",
        trigger="A search matches more than the 10,000 rows that the API returns.",
        expected="Every row of a search with dates, because its date range is split. Otherwise the server's error.",
        covered_by=(
            "tests/pagination/test_pager.py::test_date_range_over_row_limit_is_complete",
            "tests/pagination/test_pager.py::test_date_ranges_are_split_until_they_fit",
        ),
    ),
    Case(
        number=66, group="Pagination", name="no-next-page",
        trigger="The response has neither a cursor nor a page count.",
        expected="A cursor list ends. A numbered list ends with its first short page.",
        covered_by=(
            "tests/pagination/test_pager.py::test_null_and_empty_cursor_end_a_list",
            "tests/pagination/test_pager.py::test_wrong_counts_lose_no_rows",
        ),
    ),
    Case(
        number=67, group="Pagination", name="cursor-encoding",
        trigger="A cursor contains characters that have a meaning in a query string.",
        expected="The cursor is sent back unchanged.",
        covered_by=(
            "tests/core/test_codec.py::test_query_round_trip",
            "tests/pagination/test_pager.py::test_cursor_pages_return_each_row_once",
        ),
    ),
    Case(
        number=68, group="Pagination", name="different-filters",
        trigger="An export is resumed with filters other than the original ones.",
        expected="`CheckpointError` with both queries, before anything is sent.",
        covered_by=("tests/jobs/test_export.py::test_another_query_is_refused",),
    ),
)  # fmt: skip

INPUT = (
    Case(
        number=69, group="Input", name="id-with-path",
        trigger="An id contains a question mark or a hash sign.",
        expected="The same operation, with the id encoded.",
        covered_by=("tests/core/test_codec.py::test_id_is_encoded_once",),
    ),
    Case(
        number=70, group="Input", name="empty-id",
        trigger="An id is empty, consists of dots, or contains white space or a slash.",
        expected="`InvalidIdError` before anything is sent.",
        covered_by=(
            "tests/core/test_codec.py::test_invalid_id",
            "tests/resources/test_resources.py::test_invalid_ids_are_not_sent",
        ),
    ),
    Case(
        number=71, group="Input", name="encoded-id",
        trigger="An id looks percent-encoded.",
        expected="It is encoded again, so the server receives it unchanged.",
        covered_by=("tests/core/test_codec.py::test_id_is_encoded_once",),
    ),
    Case(
        number=72, group="Input", name="id-with-host",
        trigger="An id contains a host name, line breaks or letters of any script.",
        expected="The request goes to the same host. Line breaks raise `InvalidIdError`.",
        covered_by=(
            "tests/core/test_codec.py::test_id_is_encoded_once",
            "tests/core/test_codec.py::test_invalid_id",
        ),
    ),
    Case(
        number=73, group="Input", name="unusable-key",
        trigger="The API key contains characters that are not allowed in a header.",
        expected="`ConfigurationError` when the client is created, without the key.",
        covered_by=("tests/test_client.py::test_invalid_key",),
    ),
)  # fmt: skip

RUNTIME = (
    Case(
        number=74, group="Runtime", name="canceled-call",
        trigger="A call is canceled at any point.",
        expected="Its slot, token and connection are released. Credits stay reserved only if the request was possibly sent.",
        covered_by=(
            "tests/core/test_transport.py::test_canceled_calls_leave_nothing",
            "tests/core/test_rate_limit.py::test_canceled_callers_use_no_tokens",
            "tests/test_budget.py::test_cancellation_and_credits",
        ),
    ),
    Case(
        number=75, group="Runtime", name="loop-left-early",
        trigger="A loop over rows is left early.",
        expected="Pages in flight are canceled, and the client stays usable.",
        covered_by=(
            "tests/pagination/test_pager.py::test_early_exit_cancels_prefetch",
            "tests/pagination/test_pager.py::test_early_exit_of_cursor_list_cancels_prefetch",
        ),
    ),
    Case(
        number=76, group="Runtime", name="canceled-during-pause",
        trigger="A task that waits for a pause to end is canceled.",
        expected="The other tasks continue on time.",
        covered_by=("tests/core/test_rate_limit.py::test_canceled_callers_use_no_tokens",),
    ),
    Case(
        number=77, group="Runtime", name="other-event-loop",
        trigger="A client is used on another event loop or in another thread.",
        expected="`WrongLoopError`.",
        covered_by=(
            "tests/test_client.py::test_use_on_another_loop",
            "tests/core/test_attempt.py::test_use_from_another_thread",
        ),
    ),
    Case(
        number=78, group="Runtime", name="fork",
        trigger="A process forks while it has an open client.",
        expected="`WrongLoopError` in the child process if the parent has used the client.",
        covered_by=("tests/core/test_attempt.py::test_fork",),
    ),
    Case(
        number=79, group="Runtime", name="closed-client",
        trigger="A client is used after it was closed, or is closed while calls are in flight.",
        expected="`ClientClosedError`. Calls in flight fail with an error of this package.",
        covered_by=(
            "tests/test_client.py::test_use_after_close",
            "tests/core/test_transport.py::test_close_interrupts_calls_in_flight",
            "tests/core/test_attempt.py::test_close_interrupts_slot_waits",
        ),
    ),
    Case(
        number=80, group="Runtime", name="clock-jump",
        trigger="The system clock jumps.",
        expected="No effect. Rate limit and timeouts use the event loop's clock, and dates from the server are clamped.",
        covered_by=(
            "tests/core/test_rate_limit.py::test_burst_then_rate",
            "tests/core/test_codec.py::test_retry_after_any_string",
            "tests/test_client.py::test_usage_of_previous_month",
        ),
    ),
    Case(
        number=81, group="Runtime", name="ten-thousand-tasks",
        trigger="Ten thousand tasks wait for one rate limiter.",
        expected="They are served in order.",
        covered_by=("tests/faults/test_faults.py::test_ten_thousand_callers_are_served_in_order",),
    ),
    Case(
        number=82, group="Runtime", name="killed-process",
        trigger="The process is killed in the middle of a page.",
        expected="A `.part` file that `resume` completes without losing or repeating a row.",
        covered_by=(
            "tests/jobs/test_export_crash_recovery.py::test_nothing_is_lost_or_doubled",
            "tests/cli/test_cli.py::test_sigterm_saves_progress",
        ),
    ),
    Case(
        number=83, group="Runtime", name="full-disk",
        trigger="The output cannot be written, or the disk is full.",
        expected="`CheckpointError` with the path. Rows written so far are kept and can be resumed.",
        covered_by=(
            "tests/cli/test_export_commands.py::test_unwritable_output_sends_nothing",
            "tests/jobs/test_export.py::test_full_disk",
            "tests/jobs/test_export.py::test_checkpoint_that_cannot_be_used",
        ),
    ),
    Case(
        number=84, group="Runtime", name="concurrent-budget",
        trigger="A hundred tasks share a small budget of credits.",
        expected="The budget is never exceeded.",
        covered_by=("tests/test_budget.py::test_credit_budget_with_many_tasks",),
    ),
    Case(
        number=85, group="Runtime", name="blocked-loop",
        trigger="User code blocks the event loop for longer than `timeout`.",
        expected="Responses that arrived in the meantime are used.",
        covered_by=("tests/faults/test_faults.py::test_blocked_loop_does_not_time_out",),
    ),
)  # fmt: skip

CASES = (*BODY, *STATUS, *NETWORK, *PAGINATION, *INPUT, *RUNTIME)
