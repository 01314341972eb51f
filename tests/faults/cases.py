"""85 things that go wrong, as data: what each does, what is seen of it, and what holds the client to that."""

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
    answers,
    broken,
    certificate,
    final,
    full_backlog,
    good,
    nobody_listens,
    proxied,
    says,
    slow_down,
    unknown_name,
    weather,
)
from tests.support.proxy import Weather
from tests.support.servers import cut, http, silence

Group = Literal["Body", "Status", "Network", "PaginationStyle", "Input", "Runtime"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that goes wrong: executed here, held by other tests, or honestly neither."""

    number: int
    group: Group
    name: str
    does: str
    """What happens."""
    shows: str
    """What the user of the client sees."""
    faults: tuple[Fault, ...] = ()
    """What the bench executes."""
    held_by: tuple[str, ...] = ()
    """The tests that execute it elsewhere."""
    not_applicable: str = ""
    """What of it cannot happen to this client, or cannot be made here, and why."""


DEEP = b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

HASTY = {"timeout": 0.25, "retries": 1}
"""For faults that only a timeout ends: two attempts take 0.2 s."""

HEAD = b"HTTP/1.1 200 OK\r\n"
TO_THE_END = HEAD + b"Connection: close\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PACKED_TO_THE_END = HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
PACKED = gzip.compress(b'{"data":"' + bytes(range(32, 34)) * 50 + bytes(range(35, 91)) * 40 + b'"}')
BOMB = gzip.compress(b'{"data":"' + b" " * 300_000 + b'"}')


async def half_a_head(writer: asyncio.StreamWriter) -> None:
    """Begin an answer and fall silent."""
    writer.write(OK[:20])
    await silence(writer)


async def dripping_body(writer: asyncio.StreamWriter) -> None:
    """Answer at once, but for the end, which drips."""
    writer.write(OK[:-10])
    for byte in OK[-10:]:
        await asyncio.sleep(0.05)
        writer.write(bytes([byte]))


BODY = (
    Case(
        number=1, group="Body", name="malformed-json",
        does="A good status with text that is no JSON, or broken JSON.",
        shows="The error shows the beginning of the text. A read whose answer came whole but broken is not asked for twice.",
        faults=(
            broken("half an object", says(http(b'{"data":[1,2')), DecodeError, "yes"),
            broken("broken inside braces", says(cut(TO_THE_END + b'{"data":[1,2}')), DecodeError, "yes"),
        ),
    ),
    Case(
        number=2, group="Body", name="short-of-its-length",
        does="The connection ends before as many bytes came as the header announced.",
        shows="The connection counts as broken.",
        faults=(broken("five bytes short", says(cut(OK[:-5])), DisconnectedError, "yes"),),
        held_by=("tests/core/test_transport.py::test_charging_read_is_sent_once",),
    ),
    Case(
        number=3, group="Body", name="chunk-cut",
        does="A chunked answer ends inside a chunk, or before the last one.",
        shows="The connection counts as broken.",
        faults=(
            broken("inside a chunk", says(cut(CHUNKED + b'20\r\n{"data"')), DisconnectedError, "yes"),
            broken("no last chunk", says(cut(CHUNKED + b'b\r\n{"data":{}}\r\n')), DisconnectedError, "yes"),
        ),
    ),
    Case(
        number=4, group="Body", name="no-length-cut",
        does="An answer without a length is cut, which looks like its end.",
        shows="An object that is not closed counts as cut.",
        faults=(
            broken("inside a text", says(cut(TO_THE_END + b'{"data":{"id":"1')), DecodeError, "yes"),
            broken(
                "after an inner brace", says(cut(TO_THE_END + b'{"data":{"id":"1"}')), DecodeError, "yes",
            ),
        ),
        held_by=("tests/core/test_transport.py::test_body_cut_without_a_length_is_noticed",),
    ),
    Case(
        number=5, group="Body", name="packed-cut",
        does="A compressed answer without a length is cut.",
        shows="What could be unpacked is no whole object, so it counts as cut.",
        faults=(broken("half of it", says(cut(PACKED_TO_THE_END + PACKED[:60])), DecodeError, "yes"),),
    ),
    Case(
        number=6, group="Body", name="html-error-page",
        does="A gateway answers 502 with a page of HTML.",
        shows="The error of its status, with the beginning of the page.",
        faults=(broken("502", answers("502 Bad Gateway", b"<html>" + b"x" * 999), ServerError, "yes"),),
        held_by=("tests/core/test_codec.py::test_error_without_a_usable_body",),
    ),
    Case(
        number=7, group="Body", name="login-page",
        does="A login page stands in for the API, with a good status.",
        shows="The error shows the beginning of the page.",
        faults=(broken("html", says(http(b"<html>Sign in</html>")), DecodeError, "yes"),),
        held_by=("tests/core/test_transport.py::test_html_under_200_is_a_decode_error",),
    ),
    Case(
        number=8, group="Body", name="wrong-label",
        does="Good JSON is labelled as plain text.",
        shows="The answer; the label is not looked at.",
        faults=(good("text/plain", says(OK.replace(b"application/json", b"text/plain"))),),
    ),
    Case(
        number=9, group="Body", name="errors-under-200",
        does="A good status carries errors in place of data.",
        shows="The error of its code; `lf.request` returns the object as it came.",
        held_by=("tests/models/test_models.py::test_errors_under_a_good_status_are_errors",),
    ),
    Case(
        number=10, group="Body", name="errors-beside-data",
        does="A list answer carries errors beside its data.",
        shows="All rows, and then `IncompleteListError` with the errors.",
        held_by=("tests/pagination/test_pager.py::test_errors_beside_data_are_not_dropped",),
    ),
    Case(
        number=11, group="Body", name="no-data",
        does="`data` is null or missing.",
        shows="Null is an empty list; a missing list, or no single record, is `DecodeError`.",
        held_by=(
            "tests/models/test_models.py::test_list_without_data_is_no_empty_list",
            "tests/faults/test_faults.py::test_record_that_is_not_there_is_an_error",
        ),
    ),
    Case(
        number=12, group="Body", name="unknown-fields",
        does="Records hold fields that no one has heard of.",
        shows="The record without them; `raw_pages` keeps them.",
        held_by=(
            "tests/models/test_models.py::test_unknown_fields_values_and_types_are_tolerated",
            "tests/pagination/test_pager.py::test_raw_items_keep_every_field_and_stand_on_one_line",
        ),
    ),
    Case(
        number=13, group="Body", name="number-in-quotes",
        does="A number comes as a text.",
        shows="The number.",
        held_by=("tests/models/test_models.py::test_numbers_in_quotes_are_read",),
    ),
    Case(
        number=14, group="Body", name="id-as-number",
        does="An id comes as a number.",
        shows="The id as a text.",
        held_by=("tests/models/test_models.py::test_to_many_wrappers_and_missing_ids",),
    ),
    Case(
        number=15, group="Body", name="huge-number",
        does="A whole number has 40 or 5,000 digits.",
        shows="Python's own number up to 40 digits; `DecodeError` at 5,000.",
        faults=(
            good("40 digits", says(http(b'{"data":' + b"1" * 40 + b"}"))),
            final("5,000 digits", says(http(b'{"data":' + b"1" * 5_000 + b"}")), DecodeError),
        ),
    ),
    Case(
        number=16, group="Body", name="almost-json",
        does="NaN, a byte order mark, or HTML behind the JSON.",
        shows="`DecodeError`.",
        faults=(
            broken("NaN", says(cut(TO_THE_END + b'{"data":NaN}')), DecodeError, "yes"),
            broken("byte order mark", says(http(b"\xef\xbb\xbf{}")), DecodeError, "yes"),
            broken("html behind it", says(http(b"{}<script>")), DecodeError, "yes"),
        ),
        held_by=("tests/core/test_codec.py::test_good_status_with_an_unusable_body",),
    ),
    Case(
        number=17, group="Body", name="no-utf-8",
        does="A text in the answer is no UTF-8.",
        shows="`DecodeError`, not Python's error.",
        faults=(broken("a byte", says(cut(TO_THE_END + b'{"data":"\xff"}')), DecodeError, "yes"),),
        held_by=("tests/core/test_codec.py::test_body_that_does_not_fit_is_a_decode_error",),
    ),
    Case(
        number=18, group="Body", name="absurd-nesting",
        does="An array nests 100,000 deep.",
        shows="`DecodeError`, not Python's error.",
        faults=(broken("arrays", says(cut(TO_THE_END + DEEP)), DecodeError, "yes"),),
    ),
    Case(
        number=19, group="Body", name="bad-row",
        does="One row of a page cannot be read.",
        shows="The other 99 rows, and an error at the end that names it.",
        held_by=("tests/pagination/test_pager.py::test_one_bad_row_costs_one_row",),
    ),
    Case(
        number=20, group="Body", name="nested-data",
        does="`data` holds an array for each input of a match.",
        shows="One tuple for each input, in the inputs' order.",
        held_by=(
            "tests/models/test_models.py::test_places_in_a_list_are_kept",
            "tests/cli/test_tag_and_list_commands.py::test_matching",
        ),
    ),
    Case(
        number=21, group="Body", name="time-without-zone",
        does="A time comes without its zone.",
        shows="`visit.started_at` takes it for UTC; `visit.attributes` hold it as it came.",
        held_by=("tests/faults/test_faults.py::test_time_without_a_zone_is_utc",),
    ),
    Case(
        number=22, group="Body", name="bomb",
        does="A small compressed answer unpacks to a huge one.",
        shows="Reading stops at `max_body_bytes`, and the connection is closed.",
        faults=(
            final(
                "300 to 1", says(http(BOMB, headers="Content-Encoding: gzip\r\n")), ResponseTooLargeError,
                options={"max_body_bytes": 100_000},
            ),
        ),
        held_by=(
            "tests/core/test_transport.py::test_body_past_the_cap_is_refused",
            "tests/core/test_transport.py::test_endless_body_is_dropped_at_the_cap",
        ),
    ),
    Case(
        number=23, group="Body", name="huge-headers",
        does="The answer has 100 kB of headers.",
        shows="An error about HTTP, not a bad request.",
        faults=(
            broken("one line", answers("200 OK", b"{}", f"X-A: {'a' * 100_000}\r\n"), ProtocolError, "maybe"),
            broken("many lines", answers("200 OK", b"{}", "X-A: a\r\n" * 20_000), ProtocolError, "maybe"),
        ),
    ),
    Case(
        number=24, group="Body", name="unknown-coding",
        does="The answer is packed in a way that cannot be unpacked here, or not packed as it says.",
        shows="An error about HTTP or the connection, not a bad request.",
        faults=(
            broken("no brotli", answers("200 OK", b"\x0b\x02", "Content-Encoding: br\r\n"), ProtocolError, "maybe"),
            broken("no gzip", answers("200 OK", b"{}", "Content-Encoding: gzip\r\n"), DisconnectedError, "yes"),
        ),
        held_by=("tests/faults/test_faults.py::test_only_installed_codings_are_asked_for",),
    ),
    Case(
        number=25, group="Body", name="bytes-past-the-end",
        does="More bytes come than the header announced.",
        shows="The answer is not trusted, and its connection is dropped.",
        faults=(
            broken("after a whole answer", says(OK + b"more\r\n\r\n"), ProtocolError, "maybe"),
            broken("a length too short", says(http(b"{}") + OK[-10:]), ProtocolError, "maybe"),
        ),
    ),
    Case(
        number=26, group="Body", name="nothing",
        does="A good status comes without a body.",
        shows="Success for a write and for `lf.request`; `DecodeError` where a record is due.",
        faults=(good("204", says(b"HTTP/1.1 204 No Content\r\n\r\n")), good("no bytes", says(http(b"")))),
        held_by=(
            "tests/core/test_transport.py::test_empty_answer_of_a_write_is_an_answer",
            "tests/faults/test_faults.py::test_record_that_is_not_there_is_an_error",
        ),
    ),
)  # fmt: skip


def coded(code: str) -> bytes:
    """Return an error body of the API."""
    return b'{"errors":[{"code":"' + code.encode() + b'"}]}'


STATUS = (
    Case(
        number=27, group="Status", name="other-statuses",
        does="A status that the contract does not list, or one of its common ones.",
        shows="The nearest class of error, with the status and the code kept.",
        faults=(
            final("400", answers("400 No"), BadRequestError),
            final("404", answers("404 No", coded("entity_not_found")), NotFoundError),
            final("416", answers("416 No"), OffsetExceededError),
            final("418", answers("418 No"), UnexpectedStatusError),
            final("451", answers("451 No", b"null"), UnexpectedStatusError),
            broken("503", answers("503 Busy"), ServerError, "yes"),
        ),
        held_by=("tests/core/test_codec.py::test_any_error_answer_gives_an_error",),
    ),
    Case(
        number=28, group="Status", name="error-shapes",
        does="Errors come in any of the API's shapes, or without a body.",
        shows="The code where there is one; never an error of the parser.",
        faults=(
            final("flat", answers("403 No", b'{"error":"x","code":"invalid_api_key"}'), AuthenticationError),
            final("list", answers("403 No", coded("invalid_api_key")), AuthenticationError),
            final("empty", answers("403 No"), PermissionDeniedError),
        ),
        held_by=("tests/core/test_codec.py::test_error_example_of_the_contract",),
    ),
    Case(
        number=29, group="Status", name="wrong-key",
        does="The key is refused.",
        shows="`AuthenticationError`.",
        faults=(final("401", answers("401 No", coded("invalid_api_key")), AuthenticationError),),
    ),
    Case(
        number=30, group="Status", name="key-revoked-in-a-walk",
        does="The key is refused in the middle of a long walk.",
        shows="The rows before it, then the error in its place; the pages ahead are cancelled.",
        held_by=(
            "tests/pagination/test_pager.py::test_error_in_the_middle_is_raised_in_its_place",
            "tests/pagination/test_pager.py::test_leaving_a_loop_leaves_nothing_running",
        ),
    ),
    Case(
        number=31, group="Status", name="no-credits",
        does="The account has no credits left.",
        shows="`InsufficientCreditsError`.",
        faults=(
            final("403", answers("403 No", coded("insufficient_credits")), InsufficientCreditsError),
            final("402", answers("402 No"), InsufficientCreditsError),
        ),
        held_by=("tests/resources/test_resources.py::test_credits_run_out",),
    ),
    Case(
        number=32, group="Status", name="no-scope",
        does="The key lacks a scope or the plan an entitlement.",
        shows="`PermissionDeniedError`, for that call only.",
        faults=(final("403", answers("403 No", coded("insufficient_scope")), PermissionDeniedError),),
        held_by=("tests/cli/test_tag_and_list_commands.py::test_plan_without_entitlement",),
    ),
    Case(
        number=33, group="Status", name="lost-among-many",
        does="One of many ids is gone.",
        shows="The other records; the missing ids are named at the end.",
        held_by=("tests/pagination/test_pager.py::test_ids_that_moved_and_ids_that_are_gone",),
    ),
    Case(
        number=34, group="Status", name="too-fast",
        does="429 without a time.",
        shows="Everyone pauses, longer each time, and then it is sent again.",
        faults=(slow_down("no header", answers("429 Slow")),),
        held_by=("tests/core/test_retry.py::test_pause_of_all_callers",),
    ),
    Case(
        number=35, group="Status", name="too-fast-with-a-time",
        does="429 with seconds or a date, up to a minute.",
        shows="Everyone pauses until then.",
        faults=(slow_down("seconds", answers("429 Slow", headers="Retry-After: 0.01\r\n")),),
        held_by=(
            "tests/core/test_transport.py::test_429_really_pauses",
            "tests/core/test_codec.py::test_retry_after_date_is_the_distance",
        ),
    ),
    Case(
        number=36, group="Status", name="far-too-fast",
        does="429 with a day, or a date in 2099.",
        shows="The error at once, with `retry_at`; nobody sleeps.",
        faults=(
            final("a day", answers("429 Slow", headers="Retry-After: 86400\r\n"), RateLimitedError),
            final("2099", answers("429 Slow", headers="Retry-After: Thu, 01 Jan 2099 00:00:00 GMT\r\n"), RateLimitedError),
        ),
        held_by=("tests/core/test_transport.py::test_429_with_a_long_wait_is_raised_at_once",),
    ),
    Case(
        number=37, group="Status", name="senseless-time",
        does="429 with a time that is past, or none at all.",
        shows="The pause that a 429 without a time has.",
        faults=(
            slow_down("past", answers("429 Slow", headers="Retry-After: Fri, 01 Jan 2010 00:00:00 GMT\r\n")),
            slow_down("words", answers("429 Slow", headers="Retry-After: soon\r\n")),
            slow_down("nan", answers("429 Slow", headers="Retry-After: nan\r\n")),
        ),
        held_by=("tests/conformance/test_conformance.py::test_retry_after",),
    ),
    Case(
        number=38, group="Status", name="month-used-up",
        does="429 because the month's requests are used up.",
        shows="`QuotaExceededError`, and no more traffic this month (in its first two days: this hour).",
        faults=(final("code", answers("429 Slow", coded("quota_exceeded")), QuotaExceededError),),
        held_by=("tests/test_client.py::test_used_up_quota_stops_all_traffic",),
    ),
    Case(
        number=39, group="Status", name="storm",
        does="Hundreds of tasks meet a 429 together.",
        shows="One pause for all, and no rush after it.",
        held_by=(
            "tests/core/test_rate_limit.py::test_429s_of_one_herd_count_once",
            "tests/core/test_rate_limit.py::test_pause_holds_everyone_and_empties_the_bucket",
        ),
    ),
    Case(
        number=40, group="Status", name="failing-then-fine",
        does="500, and 500 again, and then an answer.",
        shows="The answer of the third attempt.",
        faults=(broken("500", answers("500 Oops"), ServerError, "yes"),),
        held_by=("tests/core/test_transport.py::test_server_error_then_success",),
    ),
    Case(
        number=41, group="Status", name="failed-after-the-charge",
        does="500 after the server did its work.",
        shows="The work is done once; its credits count as spent.",
        held_by=(
            "tests/core/test_transport.py::test_charging_read_after_a_server_error_is_sent_once",
            "tests/test_budget.py::test_lost_answer_keeps_its_credits",
            "tests/cli/test_tag_and_list_commands.py::test_lost_creation_is_not_repeated",
        ),
    ),
    Case(
        number=42, group="Status", name="gateway-gives-up",
        does="504 while something is created.",
        shows="The error says where to look whether it was created.",
        faults=(broken("504", answers("504 Late", coded("gateway_timeout")), ServerError, "yes"),),
        held_by=("tests/cli/test_tag_and_list_commands.py::test_lost_creation_is_not_repeated",),
    ),
    Case(
        number=43, group="Status", name="redirect",
        does="A redirect to another host.",
        shows="`RedirectError` naming the host; that host sees no byte.",
        faults=tuple(
            final(status, answers(f"{status} Moved", headers="Location: https://other.test/v1/x\r\n"), RedirectError)
            for status in ("301", "302", "303", "307", "308")
        ),
        held_by=("tests/core/test_transport.py::test_redirect_is_not_followed_and_the_key_stays",),
    ),
    Case(
        number=44, group="Status", name="redirect-in-clear",
        does="A redirect on the same host, or to plain HTTP.",
        shows="`RedirectError` all the same.",
        faults=(
            final("same host", answers("302 Moved", headers="Location: /v1/elsewhere\r\n"), RedirectError),
            final("plain", answers("302 Moved", headers="Location: http://localhost:9/v1/x\r\n"), RedirectError),
        ),
    ),
)  # fmt: skip

NETWORK = (
    Case(
        number=45, group="Network", name="refused",
        does="Nobody listens.",
        shows="Proof that nothing left.",
        faults=(broken("refused", nobody_listens, ConnectError, "no", arrives=False),),
        held_by=("tests/core/test_transport.py::test_refused_connection_was_not_sent_and_is_tried_again",),
    ),
    Case(
        number=46, group="Network", name="unknown-name",
        does="The name of the host is not known, for a moment or for good.",
        shows="Proof that nothing left; the name is looked up anew each time.",
        faults=(broken("no such name", unknown_name, ConnectError, "no", arrives=False),),
    ),
    Case(
        number=47, group="Network", name="no-connection",
        does="The host does not react to connections.",
        shows="A timeout with proof that nothing left.",
        faults=(
            broken(
                "full backlog", full_backlog, AttemptTimeoutError, "no", arrives=False, options=HASTY, only_lasting=True
            ),
        ),
    ),
    Case(
        number=48, group="Network", name="bad-certificate",
        does="The certificate is expired, for another host or of an unknown issuer.",
        shows="`TLSError`, with proof that nothing left.",
        faults=(
            final("expired", certificate("localhost", expired=True), TLSError, sent="no", arrives=False),
            final("other host", certificate("other.test"), TLSError, sent="no", arrives=False),
            final("unknown issuer", certificate("localhost", trusted=False), TLSError, sent="no", arrives=False),
        ),
        held_by=("tests/core/test_transport.py::test_bad_certificate_is_refused_once",),
    ),
    Case(
        number=49, group="Network", name="handshake-cut",
        does="The connection ends in the middle of the TLS handshake.",
        shows="Proof that nothing left.",
        faults=(
            broken("cut", weather(Weather(ends_after=40), tls=True), ConnectError, "no", arrives=False),
            broken("reset", weather(Weather(ends_after=40, resets=True), tls=True), ConnectError, "no", arrives=False),
        ),
    ),
    Case(
        number=50, group="Network", name="dead-connection",
        does="A connection that was kept for the next request turns out dead.",
        shows="aiohttp's own silent resend is stopped; each resend is counted and paced.",
        faults=(
            broken("POST", says(cut(b""), warm=True), DisconnectedError, "maybe"),
            broken("GET", says(cut(b""), warm=True), DisconnectedError, "maybe", method="GET"),
        ),
        held_by=("tests/core/test_transport.py::test_dead_connection_is_not_resent_behind_our_back",),
    ),
    Case(
        number=51, group="Network", name="reset-at-once",
        does="The connection is reset before the server reads the request.",
        shows="That it did not arrive cannot be known.",
        faults=(
            broken(
                "reset", weather(Weather(deaf=True, ends_after=0, resets=True)), DisconnectedError, "maybe", arrives=False
            ),
        ),
    ),
    Case(
        number=52, group="Network", name="reset-in-the-answer",
        does="The connection is reset in the head or the body of the answer.",
        shows="The connection counts as broken.",
        faults=(
            broken("head", weather(Weather(ends_after=20, resets=True)), DisconnectedError, "maybe"),
            broken("body", weather(Weather(ends_after=len(OK) - 4, resets=True)), DisconnectedError, "yes"),
        ),
    ),
    Case(
        number=53, group="Network", name="silence",
        does="The server falls silent before or in the head of its answer, or all packets vanish.",
        shows="A timeout after `timeout` seconds.",
        faults=(
            broken("nothing", says(silence), AttemptTimeoutError, "maybe", options=HASTY),
            broken("half a head", says(half_a_head), AttemptTimeoutError, "maybe", options=HASTY),
            broken("black hole", weather(Weather(deaf=True)), AttemptTimeoutError, "maybe", arrives=False, options=HASTY),
        ),
    ),
    Case(
        number=54, group="Network", name="drip",
        does="The answer drips, so that there is always a next byte.",
        shows="A timeout after `timeout` seconds for the whole attempt.",
        faults=(
            broken("head", weather(Weather(piece=2, latency=0.01)), AttemptTimeoutError, "maybe", options=HASTY),
            broken("body", says(dripping_body), AttemptTimeoutError, "yes", options=HASTY),
        ),
        held_by=("tests/core/test_transport.py::test_slow_body_times_out",),
    ),
    Case(
        number=55, group="Network", name="queue-for-a-slot",
        does="More calls than slots, each slower than its share of the timeout.",
        shows="All answers: waiting for a slot takes nothing from an attempt's time.",
        held_by=("tests/faults/test_faults.py::test_wait_for_a_slot_is_not_an_attempt_s_time",),
    ),
    Case(
        number=56, group="Network", name="long-way",
        does="Every piece of an answer comes late, and in small pieces.",
        shows="The answer.",
        not_applicable="packets that are lost or overtake each other: TCP repairs both before the client sees them.",
        faults=(good("late pieces", weather(Weather(piece=40, latency=0.02))),),
    ),
    Case(
        number=57, group="Network", name="no-http",
        does="The answer is no HTTP, or says two lengths.",
        shows="An error about HTTP, not a bad request.",
        faults=(
            broken("words", says(cut(b"no http at all\r\n\r\n")), ProtocolError, "maybe"),
            broken("status", says(cut(b"HTTP/1.1 abc\r\n\r\n")), ProtocolError, "maybe"),
            broken(
                "two lengths",
                says(http(b"2\r\n{}\r\n0\r\n\r\n", headers="Transfer-Encoding: chunked\r\n")), ProtocolError, "maybe",
            ),
        ),
        held_by=("tests/core/test_transport.py::test_garbage_is_a_protocol_error",),
    ),
    Case(
        number=58, group="Network", name="proxy",
        does="The HTTP proxy refuses, fails or hangs up.",
        shows="An error with the proxy's status, and without its password.",
        faults=(
            broken(
                "no tunnel", proxied("https://api.test", http(b"", "407 Who")), ConnectError, "no", arrives=False,
                only_lasting=True,
            ),
            broken(
                "failed tunnel", proxied("https://api.test", http(b"", "502 Bad")), ConnectError, "no", arrives=False,
                only_lasting=True,
            ),
            broken(
                "tunnel cut", proxied("https://api.test", cut(b"HTTP/1.1 2")), DisconnectedError, "no", arrives=False,
                only_lasting=True,
            ),
            final("407", proxied("http://localhost:9", http(b"", "407 Who")), UnexpectedStatusError),
            broken("502", proxied("http://localhost:9", http(b"", "502 Bad")), ServerError, "yes"),
        ),
        held_by=("tests/faults/test_faults.py::test_refused_tunnel_names_the_proxy",),
    ),
)  # fmt: skip

PAGING = (
    Case(
        number=59, group="PaginationStyle", name="cursor-circle",
        does="A cursor leads back to an earlier one.",
        shows="`CursorLoopError` after one round.",
        held_by=("tests/pagination/test_pager.py::test_circle_of_cursors_is_an_error",),
    ),
    Case(
        number=60, group="PaginationStyle", name="empty-pages",
        does="Empty pages with a next cursor.",
        shows="The rows behind them; fifty in a row are `CursorLoopError`.",
        held_by=(
            "tests/pagination/test_pager.py::test_empty_pages_here_and_there_are_no_loop",
            "tests/pagination/test_pager.py::test_empty_pages_without_end_are_an_error",
        ),
    ),
    Case(
        number=61, group="PaginationStyle", name="cursor-expired",
        does="The server forgets a cursor in the middle of a walk.",
        shows="A free list begins anew, each row once; one that charges raises `CursorExpiredError`.",
        held_by=(
            "tests/pagination/test_pager.py::test_expired_cursor_of_a_free_list_begins_it_anew",
            "tests/pagination/test_pager.py::test_expired_cursor_of_a_charging_list_is_named",
        ),
    ),
    Case(
        number=62, group="PaginationStyle", name="row-twice",
        does="A row comes on two pages.",
        shows="The row once.",
        held_by=("tests/pagination/test_pager.py::test_any_chain_of_cursors_gives_every_row_once",),
    ),
    Case(
        number=63, group="PaginationStyle", name="list-moves",
        does="Rows come and go while a list is walked.",
        shows="No row twice.",
        held_by=(
            "tests/pagination/test_pager.py::test_rows_that_move_between_pages_come_once",
            "tests/pagination/test_pager.py::test_list_that_shrinks_while_it_is_walked_just_ends",
        ),
    ),
    Case(
        number=64, group="PaginationStyle", name="wrong-counts",
        does="The counts beside a list change or lie.",
        shows="Every row.",
        held_by=("tests/pagination/test_pager.py::test_counts_that_lie_lose_nothing",),
    ),
    Case(
        number=65, group="PaginationStyle", name="wall",
        does="A search has more than the 10,000 rows that the API hands out.",
        shows="Every row of a search with dates, cut into windows; else the server's error.",
        held_by=(
            "tests/pagination/test_pager.py::test_sweep_past_the_wall_is_complete",
            "tests/pagination/test_pager.py::test_windows_are_cut_until_they_fit",
        ),
    ),
    Case(
        number=66, group="PaginationStyle", name="no-way-on",
        does="Neither a cursor nor a count of pages says how a list goes on.",
        shows="A list by cursor ends; a list by number ends with its first short page.",
        held_by=(
            "tests/pagination/test_pager.py::test_chain_ends_without_a_cursor",
            "tests/pagination/test_pager.py::test_counts_that_lie_lose_nothing",
        ),
    ),
    Case(
        number=67, group="PaginationStyle", name="odd-cursor",
        does="A cursor holds signs that mean something in a query.",
        shows="The cursor comes back as it was given.",
        held_by=(
            "tests/core/test_codec.py::test_query_comes_back_as_it_went",
            "tests/pagination/test_pager.py::test_any_chain_of_cursors_gives_every_row_once",
        ),
    ),
    Case(
        number=68, group="PaginationStyle", name="other-filters",
        does="A walk goes on with other filters than it began with.",
        shows="`CheckpointError` that names both, before anything is sent.",
        held_by=("tests/jobs/test_export.py::test_another_query_is_refused",),
    ),
)  # fmt: skip

INPUT = (
    Case(
        number=69, group="Input", name="id-with-a-path",
        does="An id holds a slash, a question mark or a hash sign.",
        shows="The same route, with the id as it is.",
        held_by=("tests/core/test_codec.py::test_id_is_encoded_once_and_stays_in_its_place",),
    ),
    Case(
        number=70, group="Input", name="dots-for-an-id",
        does="An id is empty or made of dots.",
        shows="`InvalidIdError` before anything is sent.",
        held_by=(
            "tests/core/test_codec.py::test_id_that_cannot_stand_in_a_url_is_refused",
            "tests/resources/test_resources.py::test_bad_ids_are_not_sent",
        ),
    ),
    Case(
        number=71, group="Input", name="encoded-id",
        does="An id looks as if it were encoded.",
        shows="It is encoded once more, so the server reads it as it was.",
        held_by=("tests/core/test_codec.py::test_id_is_encoded_once_and_stays_in_its_place",),
    ),
    Case(
        number=72, group="Input", name="id-with-a-host",
        does="An id holds a host, line breaks or letters of any script.",
        shows="The same host; line breaks are `InvalidIdError`.",
        held_by=(
            "tests/core/test_codec.py::test_id_is_encoded_once_and_stays_in_its_place",
            "tests/core/test_codec.py::test_id_that_cannot_stand_in_a_url_is_refused",
        ),
    ),
    Case(
        number=73, group="Input", name="unusable-key",
        does="The key holds characters that no header can carry.",
        shows="`ConfigurationError` when the client is made, without the key.",
        held_by=("tests/test_client.py::test_unusable_key_is_refused_without_being_shown",),
    ),
)  # fmt: skip

RUNTIME = (
    Case(
        number=74, group="Runtime", name="cancelled",
        does="A call is cancelled, wherever it is.",
        shows="Its slot, token and connection are free again; credits stay reserved only if it may have left.",
        held_by=(
            "tests/core/test_transport.py::test_cancelled_calls_leave_nothing",
            "tests/core/test_rate_limit.py::test_cancelled_callers_take_nothing_with_them",
            "tests/test_budget.py::test_cancelled_call_keeps_credits_only_if_it_may_have_left",
        ),
    ),
    Case(
        number=75, group="Runtime", name="loop-left",
        does="A loop over rows is left early.",
        shows="The pages under way are cancelled, and the client goes on.",
        held_by=(
            "tests/pagination/test_pager.py::test_leaving_a_loop_leaves_nothing_running",
            "tests/pagination/test_pager.py::test_leaving_a_cursor_list_cancels_the_page_ahead",
        ),
    ),
    Case(
        number=76, group="Runtime", name="cancelled-in-a-pause",
        does="A task that waits out the pause is cancelled.",
        shows="The others go on in time.",
        held_by=("tests/core/test_rate_limit.py::test_cancelled_callers_take_nothing_with_them",),
    ),
    Case(
        number=77, group="Runtime", name="other-loop",
        does="A client is used on another event loop, or in another thread.",
        shows="`WrongLoopError`.",
        held_by=(
            "tests/test_client.py::test_use_from_another_loop_is_named",
            "tests/core/test_attempt.py::test_thread",
        ),
    ),
    Case(
        number=78, group="Runtime", name="fork",
        does="A process forks while it has a client.",
        shows="`WrongLoopError` in the child, if the parent used it.",
        held_by=("tests/core/test_attempt.py::test_fork",),
    ),
    Case(
        number=79, group="Runtime", name="closed",
        does="A client is used after its end, or ends while calls are under way.",
        shows="`ClientClosedError`; calls under way fail with an error of this package.",
        held_by=(
            "tests/test_client.py::test_use_after_close_is_named",
            "tests/core/test_transport.py::test_close_ends_calls_under_way",
            "tests/core/test_attempt.py::test_close_ends_waits_at_once",
        ),
    ),
    Case(
        number=80, group="Runtime", name="clock-jumps",
        does="The clock on the wall jumps.",
        shows="Nothing: pace and timeouts go by the event loop's clock; dates of the server are clamped.",
        held_by=(
            "tests/core/test_rate_limit.py::test_burst_then_rate",
            "tests/core/test_codec.py::test_retry_after_never_fails",
            "tests/test_client.py::test_month_s_count_begins_anew",
        ),
    ),
    Case(
        number=81, group="Runtime", name="ten-thousand-tasks",
        does="Ten thousand tasks wait for one limiter at once.",
        shows="They are served in the order in which they asked.",
        held_by=("tests/faults/test_faults.py::test_ten_thousand_callers_go_in_order",),
    ),
    Case(
        number=82, group="Runtime", name="killed",
        does="The process is killed in the middle of a page.",
        shows="A `.part` file that goes on with `resume`: no row is lost, none comes twice.",
        held_by=(
            "tests/jobs/test_export_crash_recovery.py::test_nothing_is_lost_or_doubled",
            "tests/cli/test_cli.py::test_sigterm_keeps_what_is_done",
        ),
    ),
    Case(
        number=83, group="Runtime", name="sink-fails",
        does="The output cannot be written, or the disk is full.",
        shows="`CheckpointError` with the file; what was safe stays, and can be gone on with.",
        held_by=(
            "tests/cli/test_cli.py::test_unwritable_output_is_refused_unsent",
            "tests/jobs/test_export.py::test_full_disk",
            "tests/jobs/test_export.py::test_checkpoint_that_cannot_be_used",
        ),
    ),
    Case(
        number=84, group="Runtime", name="race-for-credits",
        does="A hundred tasks share a budget of few credits.",
        shows="No more credits are spent than the budget allows.",
        held_by=("tests/test_budget.py::test_credits_are_never_exceeded_by_many_tasks",),
    ),
    Case(
        number=85, group="Runtime", name="loop-blocked",
        does="Code of the user blocks the event loop for longer than `timeout`.",
        shows="The answers that have arrived meanwhile.",
        held_by=("tests/faults/test_faults.py::test_blocked_loop_is_no_timeout",),
    ),
)  # fmt: skip

CASES = (*BODY, *STATUS, *NETWORK, *PAGING, *INPUT, *RUNTIME)
