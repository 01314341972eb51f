"""The order of the requests of a bulk change, and the decisions about requests that fail. No requests are sent here."""

from __future__ import annotations

from collections import deque
from enum import Enum

import msgspec

from leadfeeder_async.errors import (
    APIStatusError,
    LeadfeederError,
    NotFoundError,
    PermissionDeniedError,
    SentState,
    ServerError,
    merge_sent,
)
from leadfeeder_async.jobs.bulk.change_results import BulkOutcome
from leadfeeder_async.jobs.failure_action import FailureAction, classify_failure

MAX_IN_FLIGHT = 16
"""The most requests in flight, which is also the default of ``max_concurrency``."""

MAX_CALLS_PER_ID = 3
"""The most calls for one id while the server accepts others. Each call has its own retries."""

MAX_FAILING_IDS = 4
"""If more ids than this fail in a row, the cause is probably the server and not one of the ids.

This does not apply if only ids that failed are left.
"""

MAX_CONSECUTIVE_FAILURES = 20
"""Abort after this many failed calls in a row.

The same limit applies to rejected ids if no id was changed before, and to calls that end with 403 if only an earlier
run changed ids. An id that does not exist counts for ``MAX_CONSECUTIVE_REJECTIONS`` only.
"""

MAX_DENIALS = 3
"""Abort after this many calls in a row that end with 403, if no id has been changed yet."""

MAX_CONSECUTIVE_REJECTIONS = 200
"""Abort after this many rejected ids, or calls that end with 403, in a row, even if others were changed before."""


class QueuedChange(msgspec.Struct, eq=False):
    """An id that waits for its request."""

    id: str
    calls: int = 0
    sent: SentState = "no"
    """Whether any call for this id was sent."""


class ChangeDecision(Enum):
    """The next step after a failed call for an id."""

    ABORT = "stop the job, because no later call can succeed"
    RETRY = "call again later"
    FAILED = "the id failed"
    UNKNOWN = "the id may have been changed"

    @property
    def outcome(self) -> BulkOutcome:
        """The outcome of the id, for ``FAILED`` and ``UNKNOWN``."""
        return BulkOutcome.FAILED if self is ChangeDecision.FAILED else BulkOutcome.UNKNOWN


class ChangeQueue:
    """Ids that wait for a request, and the recent results of such requests.

    After a call failed for a reason that may pass, only one call is in flight at a time until one succeeds. Ids that
    were not tried yet come before ids that failed, so one id that always fails does not stop the job. If others were
    changed before, and only ids that failed are left, the cause is probably these ids. Each then ends after
    ``MAX_CALLS_PER_ID`` calls.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._waiting = deque[QueuedChange]()
        self._retries = deque[QueuedChange]()
        self._failing = set[str]()
        self._consecutive_failures = 0
        self._consecutive_rejections = 0
        self.succeeded_before = False
        """True if an earlier run of the job changed an id, so that a first rejection may concern single ids."""
        self._has_succeeded = False
        self._denied = set[str]()
        self._consecutive_denials = 0

    @property
    def is_empty(self) -> bool:
        """True if nothing waits and nothing is in flight."""
        return not (self._waiting or self._retries or self.in_flight)

    @property
    def _others_succeeded(self) -> bool:
        """True if this run or an earlier one changed an id."""
        return self._has_succeeded or self.succeeded_before

    def add(self, record_id: str) -> None:
        """Append an id."""
        self._waiting.append(QueuedChange(record_id))

    def next(self) -> QueuedChange | None:
        """Remove and return the next id to send, or return None if none may be sent now."""
        if self.in_flight >= (1 if self._consecutive_failures or self._consecutive_denials else MAX_IN_FLIGHT):
            return None
        queue = self._waiting or self._retries
        return queue.popleft() if queue else None

    def record_success(self) -> None:
        """Reset the counts of failures and rejections."""
        self._consecutive_failures = self._consecutive_rejections = self._consecutive_denials = 0
        self._failing.clear()
        self._denied.clear()
        self._has_succeeded = True

    def record_failure(
        self, change: QueuedChange, error: LeadfeederError, *, is_partial: bool = False
    ) -> ChangeDecision:
        """Count a failed call, and return its consequence. A change to retry is put back.

        Args:
            change: The change.
            error: Its error.
            is_partial: True if a successful response reports the error, so that the id may have been changed.

        """
        if is_partial:
            change.sent = "yes"
        may_be_changed = change.sent != "no" or error.context.sent_before != "no"
        change.calls += 1
        if isinstance(error, PermissionDeniedError):
            change.sent = merge_sent(change.sent, error.context.sent_before)
            return self._retry_denied(change)
        change.sent = merge_sent(change.sent, error.sent)
        action = classify_failure(error, is_free=True)
        if action in {FailureAction.ABORT, FailureAction.SKIP}:
            return ChangeDecision.ABORT
        if action is FailureAction.SPLIT or (is_partial and not isinstance(error, ServerError)):
            return self._reject(error, may_be_changed=may_be_changed)
        return self._retry(change, error)

    def _reject(self, error: LeadfeederError, *, may_be_changed: bool) -> ChangeDecision:
        """Return the consequence of a rejection, which an earlier request for the id may have caused."""
        self._consecutive_rejections += 1
        has_high_limit = self._others_succeeded or isinstance(error, NotFoundError)
        limit = MAX_CONSECUTIVE_REJECTIONS if has_high_limit else MAX_CONSECUTIVE_FAILURES
        if self._consecutive_rejections >= limit:
            return ChangeDecision.ABORT
        return ChangeDecision.UNKNOWN if may_be_changed else ChangeDecision.FAILED

    def _retry(self, change: QueuedChange, error: LeadfeederError) -> ChangeDecision:
        self._consecutive_failures += 1
        self._failing.add(change.id)
        concerns_ids = len(self._failing) <= MAX_FAILING_IDS or (self._others_succeeded and not self._waiting)
        if change.calls >= MAX_CALLS_PER_ID and concerns_ids:
            is_unchanged = change.sent == "no" and not isinstance(error, APIStatusError)
            return ChangeDecision.FAILED if is_unchanged else ChangeDecision.UNKNOWN
        if self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
            return ChangeDecision.ABORT
        self._retries.append(change)
        return ChangeDecision.RETRY

    def _retry_denied(self, change: QueuedChange) -> ChangeDecision:
        """Return the consequence of a 403. It concerns the id if it is the only one, or if others were changed."""
        self._consecutive_denials += 1
        self._denied.add(change.id)
        if change.calls >= MAX_CALLS_PER_ID and (self._has_succeeded or len(self._denied) == 1):
            return ChangeDecision.FAILED if change.sent == "no" else ChangeDecision.UNKNOWN
        limit = MAX_CONSECUTIVE_FAILURES if self.succeeded_before else MAX_DENIALS
        if self._consecutive_denials >= (MAX_CONSECUTIVE_REJECTIONS if self._has_succeeded else limit):
            return ChangeDecision.ABORT
        self._retries.append(change)
        return ChangeDecision.RETRY
