"""The retry rules, as listed in the docstring of the module."""

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
    UnexpectedStatusError,
)
from leadfeeder_async._core import retry
from leadfeeder_async._core.endpoint import Endpoint, RetrySafety
from leadfeeder_async.errors import ErrorContext, SentState

RETRY_SAFE = [RetrySafety.SAFE, RetrySafety.IDEMPOTENT]
WITH_SIDE_EFFECTS = [RetrySafety.BILLED_READ, RetrySafety.NON_IDEMPOTENT]
AMBIGUOUS = [AttemptTimeoutError, ConnectError, DecodeError, DisconnectedError, ProtocolError, ServerError]
FINAL = [
    AuthenticationError, BadRequestError, NotFoundError, OffsetExceededError, QuotaExceededError, RedirectError,
    ResponseTooLargeError, TLSError,
]  # fmt: skip


def endpoint(retry_safety: RetrySafety) -> Endpoint[None]:
    return Endpoint(
        "some_operation", "POST", "/v1/x", type(None), retry_safety=retry_safety, verification_hint="Look at the list."
    )


def decide(
    error: LeadfeederError, retry_safety: RetrySafety, attempt: int = 1, attempts: int = 3
) -> float | LeadfeederError:
    return retry.delay_or_error(error, endpoint(retry_safety), attempt, attempts, lambda: 1.0)


@pytest.mark.parametrize(("status", "is_final"), [(408, False), (499, False), (409, True), (410, True), (451, True)])
@pytest.mark.parametrize("retry_safety", list(RetrySafety))
def test_statuses_of_impatient_proxies(status: int, is_final: bool, retry_safety: RetrySafety) -> None:
    """A 408 or 499 does not show that the request was not carried out. Other 4xx are final."""
    error = UnexpectedStatusError("x", ErrorContext(status=status, sent="yes"))
    decision = decide(error, retry_safety)
    if is_final:
        assert decision is error
    elif retry_safety in RETRY_SAFE:
        assert decision == 0.5
    else:
        assert isinstance(decision, OutcomeUnknownError)


@pytest.mark.parametrize("kind", AMBIGUOUS)
@pytest.mark.parametrize("retry_safety", list(RetrySafety))
def test_unsent_request_is_retried(kind: type[LeadfeederError], retry_safety: RetrySafety) -> None:
    """A request that was not sent is retried, even if it charges or creates."""
    assert decide(kind("x", ErrorContext(sent="no")), retry_safety) == 0.5


@pytest.mark.parametrize("sent", ["maybe", "yes"])
@pytest.mark.parametrize("kind", AMBIGUOUS)
@pytest.mark.parametrize("retry_safety", RETRY_SAFE)
def test_safe_request_is_retried(kind: type[LeadfeederError], retry_safety: RetrySafety, sent: SentState) -> None:
    """Reads, free searches and idempotent writes are retried after any ambiguous failure."""
    assert decide(kind("x", ErrorContext(sent=sent)), retry_safety) == 0.5


@pytest.mark.parametrize("sent", ["maybe", "yes"])
@pytest.mark.parametrize("kind", AMBIGUOUS)
@pytest.mark.parametrize("retry_safety", WITH_SIDE_EFFECTS)
def test_request_with_side_effects_is_not_retried(
    kind: type[LeadfeederError], retry_safety: RetrySafety, sent: SentState
) -> None:
    """A billed or creating request without a definitive response raises OutcomeUnknownError."""
    error = decide(kind("x", ErrorContext(sent=sent, request_id="r-1")), retry_safety)
    assert isinstance(error, OutcomeUnknownError)
    assert error.request_id == "r-1"
    assert "Look at the list." in str(error)


@pytest.mark.parametrize("kind", FINAL)
@pytest.mark.parametrize("retry_safety", list(RetrySafety))
def test_definitive_error_is_not_retried(kind: type[LeadfeederError], retry_safety: RetrySafety) -> None:
    """A rejection, a redirect or an invalid certificate is raised unchanged."""
    error = kind("x", ErrorContext(sent="yes"))
    assert decide(error, retry_safety) is error


@pytest.mark.parametrize("retry_safety", list(RetrySafety))
def test_429_is_retried_without_delay(retry_safety: RetrySafety) -> None:
    """A 429 is retried without a delay, because the rate limiter handles the pause."""
    assert decide(RateLimitedError("x", ErrorContext(sent="yes")), retry_safety) == 0.0


def test_429_with_long_retry_after() -> None:
    """A Retry-After over 60 seconds is raised and does not pause other callers."""
    error = RateLimitedError("x", ErrorContext(retry_after=60.1))
    assert decide(error, RetrySafety.SAFE) is error
    assert retry.rate_limit_pause(error, 1) == 0.0


@pytest.mark.parametrize(
    ("retry_after", "attempt", "pause"), [(None, 1, 0.5), (None, 3, 2.0), (7.0, 1, 7.0), (60.0, 1, 60.0)]
)
def test_rate_limit_pause(retry_after: float | None, attempt: int, pause: float) -> None:
    """The pause is Retry-After, or grows with the attempts if the header is missing."""
    assert retry.rate_limit_pause(RateLimitedError("x", ErrorContext(retry_after=retry_after)), attempt) == pause


@pytest.mark.parametrize("kind", [*AMBIGUOUS, RateLimitedError])
def test_last_attempt_raises(kind: type[LeadfeederError]) -> None:
    """The error of the last attempt is raised."""
    error = kind("x", ErrorContext(sent="no"))
    assert decide(error, RetrySafety.SAFE, attempt=3) is error
    assert decide(error, RetrySafety.SAFE, attempt=1, attempts=1) is error


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_backoff_limits(attempt: int, jitter: float) -> None:
    """The delay is between zero and the doubling limit, and never over eight seconds."""
    wait = retry.delay_or_error(ConnectError("x"), endpoint(RetrySafety.SAFE), attempt, attempt + 1, lambda: jitter)
    assert isinstance(wait, float)
    assert 0 <= wait <= min(8.0, 0.5 * 2.0 ** min(attempt - 1, 50))


def test_backoff_jitter() -> None:
    """The random number scales the delay."""
    waits = [
        retry.delay_or_error(ConnectError("x"), endpoint(RetrySafety.SAFE), 3, 4, lambda part=part: part)
        for part in (0.0, 0.25, 1.0)
    ]
    assert waits == [0.0, 0.5, 2.0]


def test_jitter_is_uniform() -> None:
    """Ten thousand delays are distributed evenly (Kolmogorov-Smirnov test at one percent)."""
    rng, count = Random(5), 10_000
    error = ConnectError("x", ErrorContext(sent="no"))
    waits = sorted(
        float(retry.delay_or_error(error, endpoint(RetrySafety.SAFE), 2, 9, rng.random)) for _ in range(count)
    )
    distance = max(abs(wait / 1.0 - index / count) for index, wait in enumerate(waits))
    assert distance < 1.63 / sqrt(count)


def test_retries_of_many_clients_are_spread() -> None:
    """Of a thousand clients that failed together, at most 50 retry in the same hundredth of a second."""
    rng = Random(6)
    error = ConnectError("x", ErrorContext(sent="no"))
    waits = [float(retry.delay_or_error(error, endpoint(RetrySafety.SAFE), 1, 9, rng.random)) for _ in range(1_000)]
    busiest = max(sum(start <= 100 * wait < start + 1 for wait in waits) for start in range(50))
    assert busiest <= 50


@pytest.mark.parametrize(
    ("retry_safety", "effect"),
    [(RetrySafety.BILLED_READ, "charged credits"), (RetrySafety.NON_IDEMPOTENT, "created or changed something")],
)
def test_unknown_outcome_message(retry_safety: RetrySafety, effect: str) -> None:
    """The message names the operation, its possible effect and the cause. The hint is that of the endpoint."""
    error = decide(DisconnectedError("It broke.", ErrorContext(sent="maybe", phase="headers")), retry_safety)
    assert isinstance(error, OutcomeUnknownError)
    message = f"some_operation may have {effect}, so it was not retried (DisconnectedError: It broke.)."
    assert (error.message, error.hint) == (message, "Look at the list.")
    assert (error.sent, error.phase) == ("maybe", "headers")


def test_unknown_outcome_default_hint() -> None:
    """An endpoint without a verification hint gets the default hint."""
    bare = Endpoint("request", "POST", "/v1/x", type(None), retry_safety=RetrySafety.NON_IDEMPOTENT)
    error = retry.delay_or_error(DisconnectedError("x", ErrorContext(sent="maybe")), bare, 1, 3, lambda: 1.0)
    assert isinstance(error, OutcomeUnknownError)
    assert error.hint == OutcomeUnknownError.default_hint


@pytest.mark.parametrize(("retry_after", "delay"), [(3.0, 3.0), (60.0, 60.0), (0.001, 0.5), (None, 0.5)])
def test_retry_after_of_server_error(retry_after: float | None, delay: float) -> None:
    """The delay is Retry-After, and at least the backoff."""
    error = ServerError("x", ErrorContext(status=503, sent="yes", retry_after=retry_after))
    assert retry.delay_or_error(error, endpoint(RetrySafety.SAFE), 1, 3, lambda: 1.0) == delay
    assert retry.delay_or_error(error, endpoint(RetrySafety.SAFE), 3, 3, lambda: 1.0) is error
    assert isinstance(decide(error, RetrySafety.BILLED_READ), OutcomeUnknownError)


def test_long_retry_after_of_server_error() -> None:
    """A Retry-After of more than a minute is raised."""
    error = ServerError("x", ErrorContext(status=503, sent="yes", retry_after=60.1))
    assert decide(error, RetrySafety.SAFE) is error
