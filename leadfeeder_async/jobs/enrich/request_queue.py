"""Queues of requests that wait to be sent, and the decisions about requests that fail."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from leadfeeder_async.errors import (
    LeadfeederError,
    PermissionDeniedError,
)
from leadfeeder_async.jobs.enrich.batch import Batch
from leadfeeder_async.jobs.enrich.lookup import KEYS_PER_MATCH
from leadfeeder_async.jobs.failure_action import FailureAction, classify_failure

T = TypeVar("T")

MAX_MATCH_REQUESTS, MAX_FETCH_REQUESTS = 4, 12
"""The most requests of each kind in flight. Their sum is the default of ``max_concurrency``."""

MAX_CONSECUTIVE_FAILURES = MAX_MATCH_REQUESTS + MAX_FETCH_REQUESTS + 4
"""Abort after this many failed requests in a row. :meth:`RequestQueue.record_rejection` uses it for rejections too."""

MAX_CONSECUTIVE_REJECTIONS = KEYS_PER_MATCH
"""Abort after this many rejected rows in a row, if others succeeded before or the rows may not exist."""

MAX_FREE_ATTEMPTS = 3
"""The most attempts of one free request while others succeed."""

MAX_DENIALS = 3
"""Abort after this many rows in a row that the server denies, if no request has succeeded yet."""


class RequestQueue(Generic[T]):
    """The items that wait for one kind of request, and the recent results of these requests.

    Args:
        size: The most items of one request.
        probe_size: The most items of a new request after a failure.
        max_in_flight: The most requests in flight.
        may_forbid_items: True if the server can respond 403 because of a single item. Otherwise, it forbids all.
        first_alone: True if the first response must show that such a request is free before others are sent.

    """

    def __init__(
        self,
        size: int,
        *,
        probe_size: int,
        max_in_flight: int,
        may_forbid_items: bool = False,
        first_alone: bool = False,
    ) -> None:
        self.in_flight = 0
        """Requests that were sent and whose results were not passed on yet."""
        self.consecutive_failures = 0
        """Failed requests since the last success."""
        self.consecutive_rejections = 0
        """Items that were rejected alone since the last success."""
        self.has_succeeded = False
        self._size = size
        self._probe_size = probe_size
        self._max_in_flight = max_in_flight
        self._may_forbid_items = may_forbid_items
        self._first_alone = first_alone
        self._waiting = deque[T]()
        self._prepaid = deque[T]()
        self._retries = list[Batch[T]]()
        self._requested = 0

    @property
    def is_empty(self) -> bool:
        """True if nothing waits and nothing is in flight."""
        return not (self._waiting or self._prepaid or self._retries or self.in_flight)

    @property
    def can_send(self) -> bool:
        """True if another request may be sent. After a failure, only one request is in flight at a time."""
        return self.in_flight < (1 if self._first_alone or self.consecutive_failures else self._max_in_flight)

    @property
    def has_full_batch(self) -> bool:
        """True if a request can be sent without waiting for more items."""
        return bool(self._retries) or max(len(self._waiting), len(self._prepaid)) >= self._size

    @property
    def is_rejecting(self) -> bool:
        """True if so many items were rejected in a row that the next rejections may abort the job."""
        return self.consecutive_rejections >= MAX_CONSECUTIVE_FAILURES

    @property
    def fails_constantly(self) -> bool:
        """True if so many requests failed in a row that the job must be aborted."""
        return self.consecutive_failures >= MAX_CONSECUTIVE_FAILURES

    def add(self, item: T, *, is_prepaid: bool = False) -> None:
        """Append an item."""
        (self._prepaid if is_prepaid else self._waiting).append(item)

    def next_batch(self, *, allow_partial: bool) -> Batch[T] | None:
        """Remove and return the next batch: retries first, in their original order, then prepaid items.

        Args:
            allow_partial: Also return a batch that is not full.

        Returns:
            The batch, or None if there is none.

        """
        if self._retries:
            return self._retries.pop(0)
        size = self._probe_size if self.consecutive_failures else self._size
        for queue in (self._prepaid, self._waiting):
            if len(queue) >= size or (queue and allow_partial):
                items = [queue.popleft() for _ in range(min(size, len(queue)))]
                self._requested += len(items)
                return Batch(items, self._requested - len(items), is_prepaid=queue is self._prepaid)
        return None

    def push_retry(self, batch: Batch[T]) -> None:
        """Put a batch before all batches that come after it in the original order."""
        insort(self._retries, batch, key=lambda other: other.order)

    def take_retries(self) -> list[Batch[T]]:
        """Remove and return the batches that wait to be sent again."""
        retries, self._retries = self._retries, []
        return retries

    def requeue(self, batch: Batch[T], action: FailureAction) -> bool:
        """Put a failed batch back, complete or split. Return False if the action does not send it again."""
        if action is FailureAction.RETRY:
            self.push_retry(batch)
        elif action is FailureAction.SPLIT and len(batch.items) > 1:
            for half in batch.split(len(batch.items) // 2):
                self.push_retry(half)
        else:
            return False
        return True

    def record_success(self) -> None:
        """Reset the counts of failures and rejections."""
        self.consecutive_failures = self.consecutive_rejections = 0
        self.has_succeeded, self._first_alone = True, False

    def record_failure(
        self, batch: Batch[T], error: LeadfeederError, *, is_free: bool, is_charged: bool = False
    ) -> FailureAction:
        """Count a failed request, and return its consequence.

        A batch that keeps failing while other requests succeed is split to find the item that causes it.

        Args:
            batch: The items of the request.
            error: Its error.
            is_free: True if the request cannot have been charged.
            is_charged: True if the server reports a charge for the failed request.

        """
        action = classify_failure(error, is_free=is_free)
        if isinstance(error, PermissionDeniedError) and self._may_forbid_items:
            action = FailureAction.SPLIT
        if action is FailureAction.SPLIT and is_charged and len(batch.items) > 1:
            action = FailureAction.OUTCOME_UNKNOWN
        if action in {FailureAction.RETRY, FailureAction.OUTCOME_UNKNOWN}:
            self.consecutive_failures += 1
            batch.attempts += 1
        others_succeed = self.consecutive_failures < MAX_FREE_ATTEMPTS
        if action is FailureAction.RETRY and batch.attempts >= MAX_FREE_ATTEMPTS and others_succeed:
            batch.attempts = 0
            return FailureAction.SPLIT
        return action

    def record_rejection(self, error: LeadfeederError, *, is_not_found: bool = False) -> bool:
        """Count an item that was rejected alone.

        Args:
            error: The error.
            is_not_found: True if the item does not exist, which is a normal result.

        Returns:
            True if so many items were rejected in a row that the requests themselves are probably invalid.

        """
        self.consecutive_rejections += 1
        if isinstance(error, PermissionDeniedError):
            limit = MAX_CONSECUTIVE_FAILURES if self.has_succeeded else MAX_DENIALS
        else:
            has_high_limit = is_not_found or self.has_succeeded
            limit = MAX_CONSECUTIVE_REJECTIONS if has_high_limit else MAX_CONSECUTIVE_FAILURES
        return self.consecutive_rejections >= limit


class CostJournal:
    """Records credits before they are spent. This base class records nothing."""

    is_persistent = False
    """True if a later run reads the recorded credits."""

    def reserve(self, ids: Iterable[str], cost: int) -> None:
        """Record that a request for some ids is about to be sent.

        Args:
            ids: The ids.
            cost: The credits that count as spent if the response is lost.

        """

    def settle(
        self, ids: Iterable[str], cost: int, spent: int, paid: Mapping[str, int], uncertain: Iterable[str] = ()
    ) -> None:
        """Replace a reservation with the credits that were spent.

        Args:
            ids: The ids of the request.
            cost: The credits of the reservation.
            spent: The credits that were charged, or may have been.
            paid: The ids that a later run may request without reserving credits, with the part of ``spent`` that they
                may still be charged.
            uncertain: The ids of which some were charged, but it is not known which.

        """

    def cover(self, ids: Iterable[str], charged: int) -> int:
        """Take the charge of a prepaid request from the credits that an earlier run has reserved for its ids.

        Returns:
            The credits beyond these, which are recorded too.

        """
        del ids
        return charged

    def reserved_for(self, ids: Iterable[str]) -> int:
        """Return the credits that an earlier run has reserved for some ids and that were perhaps not charged then."""
        del ids
        return 0


def split_credits(ids: Sequence[str], cost: int) -> dict[str, int]:
    """Distribute the credits of a request over its ids."""
    each, rest = divmod(cost, max(1, len(ids)))
    return {record_id: each + (index < rest) for index, record_id in enumerate(ids)}
