"""What the network and the server can do to a request, as data: 85 cases, each with what the client shows.

A case with ``steps`` is run by ``test_faults.py`` against every resend class; one with ``held_by`` is the subject of a
test elsewhere. ``python -m tests.faults.table`` writes them into the documentation.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from dataclasses import dataclass

from leadfeeder_async import errors
from tests.support.servers import Step, cut, http, silence


@dataclass(frozen=True, kw_only=True)
class Case:
    """One fault."""

    number: int
    does: str
    """What the server or the network does."""
    shows: str
    """What a user sees."""
    step: Step | None = None
    """What a server says to every request; None where nothing listens or the case is held elsewhere."""
    error: type[errors.LeadfeederError] | None = None
    """What a read raises in the end; None where the answer is good."""
    sent: str = "yes"
    conclusive: bool = False
    """The server has said what it did, so that nothing is sent again and nothing is unknown."""
    waits_for_all: bool = False
    """A 429: refused before any work, so it is sent again whatever it costs."""
    attempts: int = 3
    """How often a read is tried at most; 1 where trying again cannot help."""
    refused: bool = False
    """Nothing listens at the address."""
    held_by: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether the bench runs it."""
        return self.step is not None or self.refused


def json_answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return http(body, status, headers)


def until_close(head: str, body: bytes) -> Step:
    """An answer whose end is the end of the connection."""
    return cut(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}Connection: close\r\n\r\n".encode() + body)


async def reset(writer: asyncio.StreamWriter) -> None:
    """Drop the connection without a goodbye."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


async def reset_in_body(writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD[:-9])
    await writer.drain()
    await asyncio.sleep(0.01)
    await reset(writer)


async def dribble(writer: asyncio.StreamWriter) -> None:
    """A byte now and then, faster than any idle limit and for ever."""
    writer.write(GOOD[:-17])
    for byte in GOOD[-17:]:
        await asyncio.sleep(0.04)
        writer.write(bytes([byte]))


GOOD = http(b'{"data":{"id":"1","type":"x"}}')
BODY = b'{"data":{"id":"1","type":"x"}}'
FLAT = b'{"code":"some_code","message":"Said flat"}'
LISTED = b'{"errors":[{"code":"some_code","title":"Said in a list"}]}'
DEEP = b'{"data":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
BOMB = gzip.compress(b" " * 40_000_000)


def refusal(status: str) -> bytes:
    return http(LISTED, status)


TRANSPORT = "tests/http/test_transport.py::"
WIRE = "tests/http/test_wire.py::"
PAGING = "tests/test_paging.py::"
CLIENT = "tests/test_client.py::"
ATTEMPTS = "tests/http/test_attempts.py::"
LIMITS = "tests/http/test_limits.py::"
MODELS = "tests/test_models.py::"
BUDGET = "tests/test_budget.py::"
EXPORT = "tests/test_export.py::"

CASES = (
    Case(number=1, does="broken JSON under 200", shows="DecodeError", step=json_answer(b'{"data":{"id" 1}}'), error=errors.DecodeError, conclusive=True),
    Case(number=2, does="the body ends before Content-Length", shows="DisconnectedError", step=cut(GOOD[:-4]), error=errors.DisconnectedError),
    Case(number=3, does="a chunked body stops in the middle", shows="DisconnectedError", step=cut(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"dat'), error=errors.DisconnectedError),
    Case(number=4, does="a body without a length is cut", shows="DecodeError", step=until_close("", BODY[:-3]), error=errors.DecodeError),
    Case(number=5, does="a gzip body without a length is cut", shows="DecodeError or DisconnectedError", step=until_close("Content-Encoding: gzip\r\n", gzip.compress(BODY)[:-20]), error=errors.LeadfeederError),
    Case(number=6, does="a proxy's HTML page under 502", shows="ServerError with the page's first words", step=http(b"<html>Bad gateway</html>", "502 Bad Gateway"), error=errors.ServerError),
    Case(number=7, does="HTML under 200, as captive portals send it", shows="DecodeError", step=http(b"<html>Log in</html>"), error=errors.DecodeError),
    Case(number=8, does="JSON labelled as plain text", shows="the answer", step=GOOD.replace(b"application/json", b"text/plain")),
    Case(number=9, does="errors under 200", shows="the error that their code names", held_by=(MODELS + "test_errors_under_a_good_status_are_errors",)),
    Case(number=10, does="data and errors in one answer", shows="the data, then IncompleteListError; `Response.errors`", held_by=(PAGING + "test_errors_beside_data_are_not_dropped",)),
    Case(number=11, does="`data` is null or missing", shows="an empty list; DecodeError for one record", held_by=(WIRE + "test_body_that_does_not_fit_is_a_decode_error",)),
    Case(number=12, does="fields nobody knows", shows="they are ignored; raw rows and exports keep them", held_by=(MODELS + "test_every_change_of_every_member_decodes",)),
    Case(number=13, does="a text where a number belongs", shows="the number, where it is one", held_by=(MODELS + "test_every_change_of_every_member_decodes",)),
    Case(number=14, does="a number where an id belongs", shows="the id as text", held_by=(MODELS + "test_unknown_fields_values_and_types_are_tolerated",)),
    Case(number=15, does="integers of absurd length", shows="DecodeError", held_by=(WIRE + "test_body_that_does_not_fit_is_a_decode_error",)),
    Case(number=16, does="NaN, or HTML after the JSON", shows="DecodeError", step=http(BODY + b"<!-- x -->"), error=errors.DecodeError),
    Case(number=17, does="bytes that are no UTF-8", shows="DecodeError", step=http(b'{"data":{"id":"\xff"}}'), error=errors.DecodeError, conclusive=True),
    Case(number=18, does="arrays nested 20,000 deep", shows="DecodeError", step=http(DEEP), error=errors.DecodeError, conclusive=True),
    Case(number=19, does="one bad row in a page of 100", shows="99 rows, then IncompleteListError", held_by=(PAGING + "test_one_bad_row_costs_one_row",)),
    Case(number=20, does="lists within lists, from matching", shows="one tuple for each company asked for", held_by=(MODELS + "test_example_decodes_without_loss",)),
    Case(number=21, does="a time without a zone", shows="the time as it came, without a zone", held_by=(MODELS + "test_every_change_of_every_member_decodes",)),
    Case(number=22, does="a small gzip body that unpacks to a huge one", shows="ResponseTooLargeError", step=http(BOMB, headers="Content-Encoding: gzip\r\n"), error=errors.ResponseTooLargeError, attempts=1, conclusive=True),
    Case(number=23, does="far too many headers", shows="ProtocolError", step=http(BODY, headers="X-A: 1\r\n" * 40_000), error=errors.ProtocolError, sent="maybe"),
    Case(number=24, does="a coding nobody asked for", shows="ProtocolError", step=http(BODY, headers="Content-Encoding: br\r\n"), error=errors.ProtocolError, sent="maybe"),
    Case(number=25, does="bytes after the body", shows="ProtocolError; the connection is not used again", step=cut(GOOD + b"and more"), error=errors.ProtocolError, sent="maybe"),
    Case(number=26, does="no body where one is due", shows="DecodeError", held_by=(WIRE + "test_body_that_does_not_fit_is_a_decode_error",)),
    Case(number=27, does="a status that is not in the contract", shows="UnexpectedStatusError with its code", step=refusal("418 Teapot"), error=errors.UnexpectedStatusError, attempts=1, conclusive=True),
    Case(number=28, does="errors in any of three shapes, or no body", shows="the class of the status, the code where there is one", step=http(FLAT, "404 Not Found"), error=errors.NotFoundError, attempts=1, conclusive=True),
    Case(number=29, does="401", shows="AuthenticationError", step=refusal("401 Unauthorized"), error=errors.AuthenticationError, attempts=1, conclusive=True),
    Case(number=30, does="the key is revoked in the middle of a job", shows="AuthenticationError; what is done is kept", held_by=(EXPORT + "test_what_is_done_is_kept",)),
    Case(number=31, does="the credits are gone", shows="InsufficientCreditsError", step=refusal("402 Payment Required"), error=errors.InsufficientCreditsError, attempts=1, conclusive=True),
    Case(number=32, does="403", shows="PermissionDeniedError", step=refusal("403 Forbidden"), error=errors.PermissionDeniedError, attempts=1, conclusive=True),
    Case(number=33, does="one of many ids is unknown", shows="the others, and the id in `missing`", held_by=(PAGING + "test_ids_that_moved_and_ids_that_are_gone",)),
    Case(number=34, does="429 without Retry-After", shows="a pause for all callers, then RateLimitedError", step=refusal("429 Too Many"), error=errors.RateLimitedError, waits_for_all=True),
    Case(number=35, does="429 with Retry-After", shows="that pause for all callers", step=http(LISTED, "429 Too Many", "Retry-After: 0.01\r\n"), error=errors.RateLimitedError, waits_for_all=True),
    Case(number=36, does="429 with a wait of a day", shows="RateLimitedError at once, with `retry_at`", step=http(LISTED, "429 Too Many", "Retry-After: 86400\r\n"), error=errors.RateLimitedError, attempts=1, conclusive=True),
    Case(number=37, does="429 with a Retry-After that makes no sense", shows="the pause of a 429 without one", step=http(LISTED, "429 Too Many", "Retry-After: soon\r\n"), error=errors.RateLimitedError, waits_for_all=True),
    Case(number=38, does="the month's requests are used up", shows="QuotaExceededError, and no more traffic", step=http(b'{"errors":[{"code":"quota_exceeded"}]}', "429 Too Many"), error=errors.QuotaExceededError, attempts=1, conclusive=True),
    Case(number=39, does="429 to many tasks at once", shows="one pause, and no herd after it", held_by=(LIMITS + "test_pause_holds_everyone_and_empties_the_bucket", LIMITS + "test_429s_of_one_herd_count_once")),
    Case(number=40, does="500", shows="ServerError after three attempts", step=refusal("500 Oops"), error=errors.ServerError),
    Case(number=41, does="500 after the server charged", shows="OutcomeUnknownError; one charge", held_by=(BUDGET + "test_lost_answer_keeps_its_credits", "tests/http/test_schedules.py::test_schedules")),
    Case(number=42, does="504", shows="ServerError; OutcomeUnknownError with the call that finds out", step=refusal("504 Gateway Timeout"), error=errors.ServerError),
    Case(number=43, does="a redirect to another host", shows="RedirectError; the key stays", step=http(b"", "307 Temporary", "Location: http://127.0.0.1:9/\r\n"), error=errors.RedirectError, attempts=1, conclusive=True),
    Case(number=44, does="a redirect to itself", shows="RedirectError", step=http(b"", "302 Found", "Location: /v1/x\r\n"), error=errors.RedirectError, attempts=1, conclusive=True),
    Case(number=45, does="nothing listens", shows="ConnectError after three attempts, whatever it costs", error=errors.ConnectError, sent="no", refused=True),
    Case(number=46, does="the name cannot be found", shows="ConnectError", held_by=(TRANSPORT + "test_name_that_cannot_be_found_was_not_sent",)),
    Case(number=47, does="connecting takes for ever", shows="AttemptTimeoutError, not sent", held_by=(TRANSPORT + "test_connecting_that_takes_for_ever_was_not_sent",)),
    Case(number=48, does="a bad certificate", shows="TLSError at once", held_by=(TRANSPORT + "test_bad_certificate_is_refused_once",)),
    Case(number=49, does="the handshake is cut", shows="ConnectError, not sent, tried again", held_by=(TRANSPORT + "test_handshake_that_is_cut_was_not_sent",)),
    Case(number=50, does="a kept connection is dead", shows="one counted resend; OutcomeUnknownError where it may cost", held_by=(TRANSPORT + "test_dead_connection_is_not_resent_behind_our_back",)),
    Case(number=51, does="the connection is reset", shows="DisconnectedError", step=reset, error=errors.DisconnectedError, sent="maybe"),
    Case(number=52, does="the connection is reset within the body", shows="DisconnectedError", step=reset_in_body, error=errors.DisconnectedError),
    Case(number=53, does="no answer at all", shows="AttemptTimeoutError", step=silence, error=errors.AttemptTimeoutError, sent="maybe"),
    Case(number=54, does="a body that dribbles", shows="AttemptTimeoutError: the limit is for the whole attempt", step=dribble, error=errors.AttemptTimeoutError),
    Case(number=55, does="more calls than slots", shows="they wait; waiting is not counted as the server's time", held_by=(TRANSPORT + "test_slots_bound_requests_under_way", ATTEMPTS + "test_waits_are_told_apart")),
    Case(number=56, does="long round trips", shows="complete lists", held_by=("tests/test_cli.py::test_two_exports_to_one_file",)),
    Case(number=57, does="an answer that is no HTTP", shows="ProtocolError", step=cut(b"SSH-2.0-OpenSSH\r\n\r\n"), error=errors.ProtocolError, sent="maybe"),
    Case(number=58, does="a proxy that refuses", shows="an error without its credentials", held_by=(TRANSPORT + "test_proxy_that_refuses_is_named_without_its_password",)),
    Case(number=59, does="cursors that lead in a circle", shows="CursorLoopError after the rows so far", held_by=(PAGING + "test_circle_of_cursors_is_an_error",)),
    Case(number=60, does="empty pages with a cursor", shows="they are passed over; 50 in a row are CursorLoopError", held_by=(PAGING + "test_empty_pages_without_end_are_an_error", PAGING + "test_empty_pages_here_and_there_are_no_loop")),
    Case(number=61, does="a cursor expires", shows="a free list begins anew, each row once; else CursorExpiredError", held_by=(PAGING + "test_expired_cursor_of_a_free_list_begins_it_anew", PAGING + "test_expired_cursor_of_a_charging_list_is_named")),
    Case(number=62, does="a row comes on two pages", shows="it once", held_by=(PAGING + "test_rows_that_move_between_pages_come_once",)),
    Case(number=63, does="rows come in while a list is read", shows="each row once, and every one that was there", held_by=("tests/test_kill.py::test_nothing_is_lost_or_doubled",)),
    Case(number=64, does="counts that lie", shows="every row; a count alone never ends a list", held_by=(PAGING + "test_counts_that_lie_lose_nothing",)),
    Case(number=65, does="416 past row 10,000", shows="the days are cut into smaller ranges", held_by=(PAGING + "test_sweep_past_the_wall_is_complete", PAGING + "test_windows_are_cut_until_they_fit")),
    Case(number=66, does="neither a cursor nor a count of pages", shows="the pages until a short one", held_by=(PAGING + "test_server_that_ignores_the_page_number_ends", PAGING + "test_server_that_gives_smaller_pages_than_asked")),
    Case(number=67, does="a cursor with `+/=&%`", shows="the same cursor goes back", held_by=(PAGING + "test_any_chain_of_cursors_gives_every_row_once",)),
    Case(number=68, does="another query on resume", shows="CheckpointError with both", held_by=(EXPORT + "test_another_query_is_refused",)),
    Case(number=69, does="ids such as `../accounts`, `a?x`, `a/b`", shows="they are encoded once", held_by=(WIRE + "test_id_is_encoded_once_and_stays_in_its_place",)),
    Case(number=70, does="ids such as `..`, `.` or nothing", shows="InvalidIdError before anything is sent", held_by=(WIRE + "test_id_that_cannot_stand_in_a_url_is_refused",)),
    Case(number=71, does="`%2F` in an id", shows="`%252F` is sent", held_by=(WIRE + "test_id_is_encoded_once_and_stays_in_its_place",)),
    Case(number=72, does="ids with other hosts or line breaks in them", shows="the host stays; control characters are InvalidIdError", held_by=(WIRE + "test_id_is_encoded_once_and_stays_in_its_place", WIRE + "test_id_that_cannot_stand_in_a_url_is_refused")),
    Case(number=73, does="a key that no header can hold", shows="ConfigurationError that does not show it", held_by=(CLIENT + "test_unusable_key_is_refused_without_being_shown",)),
    Case(number=74, does="a call is cancelled, at any moment", shows="nothing stays behind, and the client goes on", held_by=("tests/http/test_cancellation.py::test_random_cancels_leave_nothing",)),
    Case(number=75, does="a loop over a list is left", shows="what was fetched ahead is cancelled", held_by=(PAGING + "test_leaving_a_loop_leaves_nothing_running", PAGING + "test_leaving_a_cursor_list_cancels_the_page_ahead")),
    Case(number=76, does="the caller that met the 429 is cancelled in the pause", shows="the others wake in time", held_by=(LIMITS + "test_cancelled_callers_take_nothing_with_them",)),
    Case(number=77, does="a second event loop, or another thread", shows="WrongLoopError", held_by=(CLIENT + "test_use_from_another_loop_is_named", ATTEMPTS + "test_thread")),
    Case(number=78, does="a fork", shows="WrongLoopError in the child", held_by=(ATTEMPTS + "test_fork",)),
    Case(number=79, does="use after close, or close with calls under way", shows="ClientClosedError", held_by=(CLIENT + "test_use_after_close_is_named", ATTEMPTS + "test_close_ends_waits_at_once")),
    Case(number=80, does="the wall clock jumps", shows="nothing: waits use the loop's clock, dates are clamped", held_by=("tests/conformance/test_conformance.py::test_retry_after",)),
    Case(number=81, does="very many tasks on one client", shows="they are served in order", held_by=(LIMITS + "test_burst_then_rate", LIMITS + "test_callers_are_served_in_order_even_after_a_stall")),
    Case(number=82, does="SIGTERM or SIGKILL in the middle of a job", shows="nothing is lost or doubled when it goes on", held_by=("tests/test_kill.py::test_nothing_is_lost_or_doubled", "tests/test_cli.py::test_sigterm_keeps_what_is_done")),
    Case(number=83, does="a full disk, a broken checkpoint", shows="CheckpointError; what was safe stays", held_by=(EXPORT + "test_full_disk", EXPORT + "test_checkpoint_that_cannot_be_used")),
    Case(number=84, does="a hundred tasks, ten credits left", shows="ten charges", held_by=(BUDGET + "test_credits_are_never_exceeded_by_many_tasks",)),
    Case(number=85, does="something else blocks the event loop", shows="requests go on in order", held_by=(LIMITS + "test_callers_are_served_in_order_even_after_a_stall",)),
)  # fmt: skip
