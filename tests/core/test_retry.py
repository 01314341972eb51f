"""The resend rule, row by row: the table in the module's docstring, executed."""

from __future__ import annotations

from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async import (
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    ConnectError,
    DecodeError,
    DisconnectedError,
    LeadfeederError,
    NotFoundError,
    OffsetExceededError,
    OutcomeUnknownError,
    ProtocolError,
    QuotaExceededError,
    RateLimitedError,
    RedirectError,
    ResponseTooLargeError,
    ServerError,
    TLSError,
)
from leadfeeder_async._core import retry
from leadfeeder_async._core.endpoint import Endpoint, RetrySafety
from leadfeeder_async.errors import ErrorContext, SentState

REPEATABLE = [RetrySafety.SAFE, RetrySafety.SAFE_SEARCH, RetrySafety.IDEMPOTENT]
COSTLY = [RetrySafety.BILLED_READ, RetrySafety.NON_IDEMPOTENT]
INCONCLUSIVE = [AttemptTimeoutError, ConnectError, DecodeError, DisconnectedError, ProtocolError, ServerError]
FINAL = [
    AuthenticationError, BadRequestError, NotFoundError, OffsetExceededError, QuotaExceededError, RedirectError,
    ResponseTooLargeError, TLSError,
]  # fmt: skip


def row(resend: RetrySafety) -> Endpoint[None]:
    return Endpoint(
        "some_operation", "POST", "/v1/x", type(None), retry_safety=resend, verification_hint="Look at the list."
    )


def decide(error: LeadfeederError, resend: RetrySafety, attempt: int = 1, attempts: int = 3) -> float | LeadfeederError:
    return retry.delay_or_error(error, row(resend), attempt, attempts, lambda: 1.0)


@pytest.mark.parametrize("kind", INCONCLUSIVE)
@pytest.mark.parametrize("resend", list(RetrySafety))
def test_what_never_left_is_sent_again(kind: type[LeadfeederError], resend: RetrySafety) -> None:
    """Proof that a request never left makes it safe to send, whatever it charges or creates."""
    assert decide(kind("x", ErrorContext(sent="no")), resend) == 0.5


@pytest.mark.parametrize("sent", ["maybe", "yes"])
@pytest.mark.parametrize("kind", INCONCLUSIVE)
@pytest.mark.parametrize("resend", REPEATABLE)
def test_what_is_safe_to_repeat_is_sent_again(
    kind: type[LeadfeederError], resend: RetrySafety, sent: SentState
) -> None:
    """Reads, free searches and set-like writes are repeated after any inconclusive failure."""
    assert decide(kind("x", ErrorContext(sent=sent)), resend) == 0.5


@pytest.mark.parametrize("sent", ["maybe", "yes"])
@pytest.mark.parametrize("kind", INCONCLUSIVE)
@pytest.mark.parametrize("resend", COSTLY)
def test_what_may_have_cost_is_never_sent_again(
    kind: type[LeadfeederError], resend: RetrySafety, sent: SentState
) -> None:
    """A charging or creating request without a definitive answer becomes OutcomeUnknownError, at the first attempt."""
    verdict = decide(kind("x", ErrorContext(sent=sent, request_id="r-1")), resend)
    assert isinstance(verdict, OutcomeUnknownError)
    assert verdict.request_id == "r-1"
    assert "Look at the list." in str(verdict)


@pytest.mark.parametrize("kind", FINAL)
@pytest.mark.parametrize("resend", list(RetrySafety))
def test_a_definitive_answer_is_final(kind: type[LeadfeederError], resend: RetrySafety) -> None:
    """A refusal, a redirect or a bad certificate is raised as it is and never repeated."""
    error = kind("x", ErrorContext(sent="yes"))
    assert decide(error, resend) is error


@pytest.mark.parametrize("resend", list(RetrySafety))
def test_429_is_always_sent_again(resend: RetrySafety) -> None:
    """A 429 is refused before any work; the pause is the limiter's, so no wait is added."""
    assert decide(RateLimitedError("x", ErrorContext(sent="yes")), resend) == 0.0


def test_429_with_a_long_wait_is_raised() -> None:
    """Nobody sleeps past 60 seconds unasked, and nobody else is held back for it."""
    error = RateLimitedError("x", ErrorContext(retry_after=60.1))
    assert decide(error, RetrySafety.SAFE) is error
    assert retry.rate_limit_pause(error, 1) == 0.0


@pytest.mark.parametrize(
    ("asked", "attempt", "pause"), [(None, 1, 0.5), (None, 3, 2.0), (7.0, 1, 7.0), (60.0, 1, 60.0)]
)
def test_pause_of_all_callers(asked: float | None, attempt: int, pause: float) -> None:
    """The server's wait is honored; without one, it grows with the attempts."""
    assert retry.rate_limit_pause(RateLimitedError("x", ErrorContext(retry_after=asked)), attempt) == pause


@pytest.mark.parametrize("kind", [*INCONCLUSIVE, RateLimitedError])
def test_attempts_are_bounded(kind: type[LeadfeederError]) -> None:
    """The last attempt's error is raised."""
    error = kind("x", ErrorContext(sent="no"))
    assert decide(error, RetrySafety.SAFE, attempt=3) is error
    assert decide(error, RetrySafety.SAFE, attempt=1, attempts=1) is error


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_backoff_is_bounded_jitter(attempt: int, jitter: float) -> None:
    """The wait lies between zero and the doubling bound, never past eight seconds."""
    wait = retry.delay_or_error(ConnectError("x"), row(RetrySafety.SAFE), attempt, attempt + 1, lambda: jitter)
    assert isinstance(wait, float)
    assert 0 <= wait <= min(8.0, 0.5 * 2.0 ** min(attempt - 1, 50))


def test_backoff_is_spread_by_the_jitter() -> None:
    """The random number scales the wait: callers that failed together do not come back together."""
    waits = [
        retry.delay_or_error(ConnectError("x"), row(RetrySafety.SAFE), 3, 4, lambda part=part: part)
        for part in (0.0, 0.25, 1.0)
    ]
    assert waits == [0.0, 0.5, 2.0]


def test_jitter_is_uniform() -> None:
    """Ten thousand waits are spread evenly over their bound (Kolmogorov-Smirnov, one in a hundred by chance)."""
    luck, count = Random(5), 10_000
    error = ConnectError("x", ErrorContext(sent="no"))
    waits = sorted(float(retry.delay_or_error(error, row(RetrySafety.SAFE), 2, 9, luck.random)) for _ in range(count))
    distance = max(abs(wait / 1.0 - place / count) for place, wait in enumerate(waits))
    assert distance < 1.63 / sqrt(count)


def test_clients_that_failed_together_come_back_apart() -> None:
    """Of a thousand clients that failed at once, no more than one in twenty comes back in any hundredth of a second."""
    luck = Random(6)
    error = ConnectError("x", ErrorContext(sent="no"))
    waits = [float(retry.delay_or_error(error, row(RetrySafety.SAFE), 1, 9, luck.random)) for _ in range(1_000)]
    busiest = max(sum(start <= 100 * wait < start + 1 for wait in waits) for start in range(50))
    assert busiest <= 50


@pytest.mark.parametrize(
    ("resend", "effect"),
    [(RetrySafety.BILLED_READ, "charged credits"), (RetrySafety.NON_IDEMPOTENT, "created or changed something")],
)
def test_unknown_outcome_says_what_it_may_have_done(resend: RetrySafety, effect: str) -> None:
    """The message names the operation, what it may have done and what went wrong; the hint is the row's."""
    verdict = decide(DisconnectedError("It broke.", ErrorContext(sent="maybe", phase="headers")), resend)
    assert isinstance(verdict, OutcomeUnknownError)
    said = f"some_operation may have {effect}, so it was not retried (DisconnectedError: It broke.)."
    assert (verdict.message, verdict.hint) == (said, "Look at the list.")
    assert (verdict.sent, verdict.phase) == ("maybe", "headers")


def test_unknown_outcome_without_a_row_s_advice_has_the_general_one() -> None:
    """A route of the user's own has no better hint than to look."""
    bare = Endpoint("request", "POST", "/v1/x", type(None), retry_safety=RetrySafety.NON_IDEMPOTENT)
    verdict = retry.delay_or_error(DisconnectedError("x", ErrorContext(sent="maybe")), bare, 1, 3, lambda: 1.0)
    assert isinstance(verdict, OutcomeUnknownError)
    assert verdict.hint == OutcomeUnknownError.default_hint


@pytest.mark.parametrize(("retry_after", "delay"), [(3.0, 3.0), (60.0, 60.0), (0.001, 0.5), (None, 0.5)])
def test_retry_after_of_a_server_error_is_waited_for(retry_after: float | None, delay: float) -> None:
    """The retry waits for Retry-After, and at least for the backoff."""
    error = ServerError("x", ErrorContext(status=503, sent="yes", retry_after=retry_after))
    assert retry.delay_or_error(error, row(RetrySafety.SAFE), 1, 3, lambda: 1.0) == delay
    assert retry.delay_or_error(error, row(RetrySafety.SAFE), 3, 3, lambda: 1.0) is error
    assert isinstance(decide(error, RetrySafety.BILLED_READ), OutcomeUnknownError)


def test_long_retry_after_of_a_server_error_is_raised() -> None:
    """A server that asks for more than a minute is not retried."""
    error = ServerError("x", ErrorContext(status=503, sent="yes", retry_after=60.1))
    assert decide(error, RetrySafety.SAFE) is error
