"""The consequences of failed requests for the items of a job."""

from __future__ import annotations

from enum import Enum

from leadfeeder_async._core.retry import is_rejection
from leadfeeder_async.errors import (
    APIStatusError,
    AuthenticationError,
    BudgetExceededError,
    CheckpointError,
    InsufficientCreditsError,
    LeadfeederError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    RedirectError,
    UsageError,
)


class FailureAction(Enum):
    """The consequence of a failed request."""

    ABORT = "abort"
    """Stop the job, because no later request can succeed."""
    SKIP = "skip"
    """Skip the items, because a budget forbids the request. Nothing was sent."""
    SPLIT = "split"
    """Split the batch, because the server rejected at least one item. A single item fails."""
    RETRY = "retry"
    """Send the batch again. Nothing was charged."""
    OUTCOME_UNKNOWN = "outcome unknown"
    """Fail the items and never send them again, because they were charged or may have been."""


_FATAL_ERRORS = (
    AuthenticationError,
    PermissionDeniedError,
    InsufficientCreditsError,
    QuotaExceededError,
    RateLimitedError,
    RedirectError,
    UsageError,
    CheckpointError,
)


def classify_failure(error: LeadfeederError, *, is_free: bool) -> FailureAction:
    """Return the consequence of an error.

    Args:
        error: The error of the request.
        is_free: True if the request cannot have been charged.

    """
    if isinstance(error, _FATAL_ERRORS):
        return FailureAction.ABORT
    if isinstance(error, BudgetExceededError):
        return FailureAction.SKIP
    if isinstance(error, APIStatusError) and error.status is not None and is_rejection(error.status):
        return FailureAction.SPLIT
    return FailureAction.RETRY if is_free or error.sent == "no" else FailureAction.OUTCOME_UNKNOWN
