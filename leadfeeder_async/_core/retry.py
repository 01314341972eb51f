"""Whether a failed request is retried, and after how long: pure decisions.

===============  ==============  =====================  =================
retry safety     no connection   ambiguous failure      429
===============  ==============  =====================  =================
SAFE             retry           retry                  pause, then retry
IDEMPOTENT       retry           retry                  pause, then retry
BILLED_READ      retry           OutcomeUnknownError    pause, then retry
NON_IDEMPOTENT   retry           OutcomeUnknownError    pause, then retry
===============  ==============  =====================  =================

An ambiguous failure is a lost connection, an invalid, incomplete or late response, a 408, a 499, or any 5xx: the server
may have acted before it failed. Errors of a certificate, the credential or the rate limiter are not retried.
If a 5xx has a Retry-After of up to a minute, the retry waits for it. A longer one is not waited for, as after a 429.
All other responses are final. The server rejects a request with 429 before any work, so it can always be retried. The
same holds for a rejected credential, which the executor retries once if there is a new credential.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from math import isfinite
from typing import TypeVar

from leadfeeder_async._core.endpoint import Endpoint, RetrySafety
from leadfeeder_async._core.server_clock import parse_http_date
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
    UnexpectedStatusError,
)

T = TypeVar("T")

MAX_RETRY_AFTER = 60.0
"""A longer Retry-After is raised as ``error.retry_at`` instead of waited for."""

RETRY_AFTER_CLAMP = 366 * 86_400.0
"""Any Retry-After is clamped to one year, so that dates can be computed."""

INITIAL_BACKOFF = 0.5
MAX_BACKOFF = 8.0

_AMBIGUOUS_ERRORS = (AttemptTimeoutError, ConnectError, DecodeError, DisconnectedError, ProtocolError, ServerError)


class RetryBudget:
    """A bound on the retries of all calls together, so that an outage does not double the traffic.

    It starts full, so isolated failures are always retried. Each retry takes one token, and each successful response
    returns a fifth of one. A steady failure rate of one in six is tolerated. If everything fails, only the first 20
    retries are made. Retries after a 429 take no token, because the limiter's pause bounds them.
    """

    CAPACITY = 20.0
    REFILL_PER_SUCCESS = 0.2

    def __init__(self) -> None:
        self.tokens = self.CAPACITY

    def try_consume(self) -> bool:
        """Take a token for one retry, and return True if there was one."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def record_success(self) -> None:
        """Return a part of a token for a successful response."""
        self.tokens = min(self.CAPACITY, self.tokens + self.REFILL_PER_SUCCESS)


def delay_or_error(
    error: LeadfeederError, endpoint: Endpoint[T], attempt: int, attempts: int, random: Callable[[], float]
) -> float | LeadfeederError:
    """Return the seconds to wait before the next attempt, or the error to raise.

    Args:
        error: The error that ended the attempt.
        endpoint: The endpoint of the request.
        attempt: The number of the attempt, from 1.
        attempts: The most attempts of a call.
        random: Returns the jitter, from 0 to 1.

    """
    if isinstance(error, RateLimitedError):
        return error if attempt >= attempts or _exceeds_max_retry_after(error.context.retry_after) else 0.0
    if not _is_ambiguous(error):
        return error
    if error.sent != "no" and not is_retry_safe(endpoint):
        return _outcome_unknown(error, endpoint)
    retry_after = error.context.retry_after
    if attempt >= attempts or _exceeds_max_retry_after(retry_after):
        return error
    return max(backoff(attempt) * random(), retry_after or 0.0)


def is_rejection(status: int) -> bool:
    """Return True if a status shows that the request was not carried out."""
    return 400 <= status < 500 and status not in _TIMEOUTS


_TIMEOUTS = frozenset({408, 499})
"""With these statuses, a server or proxy has only stopped waiting, so the request may have been charged."""


def _is_ambiguous(error: LeadfeederError) -> bool:
    is_timeout = isinstance(error, UnexpectedStatusError) and error.status in _TIMEOUTS
    return is_timeout or isinstance(error, _AMBIGUOUS_ERRORS)


def is_retry_safe(endpoint: Endpoint[T]) -> bool:
    """Return True if a request may be sent again although it may have arrived."""
    return endpoint.retry_safety not in {RetrySafety.NON_IDEMPOTENT, RetrySafety.BILLED_READ}


def rate_limit_pause(error: RateLimitedError, attempt: int) -> float:
    """Return the seconds for which all calls of a rate limiter pause after a 429, or 0 if it asks for too many."""
    retry_after = error.context.retry_after
    if retry_after is None:
        return backoff(attempt)
    return 0.0 if _exceeds_max_retry_after(retry_after) else retry_after


def backoff(attempt: int) -> float:
    """Return the longest wait after an attempt: 0.5 s, doubled per attempt, up to 8 s."""
    return float(min(INITIAL_BACKOFF * 2 ** min(attempt - 1, 30), MAX_BACKOFF))


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return a Retry-After header, seconds or date, as seconds from ``now``, or None if it is not usable."""
    if value is None:
        return None
    seconds = _parse_seconds(value.strip(), now)
    return None if seconds is None or seconds <= 0 else min(seconds, RETRY_AFTER_CLAMP)


def _parse_seconds(value: str, now: datetime) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return _seconds_until(value, now)
    return seconds if isfinite(seconds) else None


def _seconds_until(value: str, now: datetime) -> float | None:
    try:
        return (parse_http_date(value) - now).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _exceeds_max_retry_after(seconds: float | None) -> bool:
    return seconds is not None and seconds > MAX_RETRY_AFTER


def _outcome_unknown(error: LeadfeederError, endpoint: Endpoint[T]) -> OutcomeUnknownError:
    is_read = endpoint.retry_safety is RetrySafety.BILLED_READ
    effect = "charged credits" if is_read else "created or changed something"
    return OutcomeUnknownError(
        f"{endpoint.operation} may have {effect}, so it was not retried ({type(error).__name__}: {error.message}).",
        error.context,
        hint=endpoint.verification_hint or None,
    )
