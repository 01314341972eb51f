"""Whether a failed request is sent again: a pure decision.

==============  ==============  =====================  =================
row's class     sent: no        no definitive answer   429
==============  ==============  =====================  =================
READ            again           again                  pause, then again
FREE_SEARCH     again           again                  pause, then again
SET_LIKE        again           again                  pause, then again
CHARGING_READ   again           OutcomeUnknownError    pause, then again
CREATES         again           OutcomeUnknownError    pause, then again
==============  ==============  =====================  =================

"No definitive answer" is a broken or late answer and any 5xx: the server may have acted before it failed.
Every other answer is final. A 429 is refused before any work, so it is always safe to send again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from leadfeeder_async._core.endpoint import Endpoint, RetrySafety
from leadfeeder_async.errors import (
    AttemptTimeoutError,
    ConnectError,
    DecodeError,
    DisconnectedError,
    LeadfeederError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitedError,
    ServerError,
)

T = TypeVar("T")

MAX_RETRY_AFTER = 60.0
"""A longer Retry-After is raised with ``retry_at`` instead of slept through."""

INITIAL_BACKOFF = 0.5
MAX_BACKOFF = 8.0

_AMBIGUOUS_ERRORS = (AttemptTimeoutError, ConnectError, DecodeError, DisconnectedError, ProtocolError, ServerError)


class RetryBudget:
    """What bounds the resends of all calls together: where most calls fail, resending them all would double the load.

    It starts full, so that single failures are always repeated. Each resend takes one token, and each good answer gives
    a fifth of one back: a sixth of all requests may fail for ever, and when everything fails, only the first 20 resends
    are made. A resend after a 429 takes none; the limiter's pause bounds those.
    """

    CAPACITY = 20.0
    REFILL_PER_SUCCESS = 0.2

    def __init__(self) -> None:
        self.tokens = self.CAPACITY

    def try_consume(self) -> bool:
        """Take a token for one resend; tell whether there was one."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def record_success(self) -> None:
        """Give back what a good answer is worth."""
        self.tokens = min(self.CAPACITY, self.tokens + self.REFILL_PER_SUCCESS)


def delay_or_error(
    error: LeadfeederError, row: Endpoint[T], attempt: int, attempts: int, random: Callable[[], float]
) -> float | LeadfeederError:
    """Return the seconds to wait before the next attempt, or the error to raise.

    ``attempt`` counts from 1 to at most ``attempts``; ``random`` gives the jitter, 0 to 1.
    """
    if isinstance(error, RateLimitedError):
        return error if attempt >= attempts or _exceeds_max_retry_after(error.context.retry_after) else 0.0
    if not isinstance(error, _AMBIGUOUS_ERRORS):
        return error
    if error.sent != "no" and not is_retry_safe(row):
        return _outcome_unknown(error, row)
    return error if attempt >= attempts else backoff(attempt) * random()


def is_retry_safe(row: Endpoint[T]) -> bool:
    """Whether a request may be sent again although it may have arrived."""
    return row.retry_safety is not RetrySafety.NON_IDEMPOTENT and row.retry_safety is not RetrySafety.BILLED_READ


def rate_limit_pause(error: RateLimitedError, attempt: int) -> float:
    """Return how long every caller of the key holds back after a 429."""
    asked = error.context.retry_after
    if asked is None:
        return backoff(attempt)
    return 0.0 if _exceeds_max_retry_after(asked) else asked


def _exceeds_max_retry_after(asked: float | None) -> bool:
    return asked is not None and asked > MAX_RETRY_AFTER


def backoff(attempt: int) -> float:
    """Return the longest wait after attempt number ``attempt``: 0.5 s, doubling up to 8 s."""
    return float(min(INITIAL_BACKOFF * 2 ** min(attempt - 1, 30), MAX_BACKOFF))


def _outcome_unknown(error: LeadfeederError, row: Endpoint[T]) -> OutcomeUnknownError:
    effect = "created or changed something" if row.retry_safety is RetrySafety.NON_IDEMPOTENT else "charged credits"
    return OutcomeUnknownError(
        f"{row.operation} may have {effect}, and is not sent again ({type(error).__name__}: {error.message}).",
        error.context,
        hint=row.verification_hint or None,
    )
