"""What is under way in a job, and what an error means for it."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from functools import partial
from typing import Generic, TypeVar

import msgspec

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
from leadfeeder_async.jobs.enrich.keys import FileRow, Key
from leadfeeder_async.jobs.enrich.lookup import KEYS_PER_MATCH
from leadfeeder_async.jobs.enrich.results import ResultLine

T = TypeVar("T")

MATCHES, FETCHES = 4, 12
"""Requests of each kind under way at most; together they fill a client's slots."""

MAX_CONSECUTIVE_FAILURES = MATCHES + FETCHES + 4
"""This many requests that fail in a row end the job, or rows refused in a row where nothing was answered well yet."""

MAX_CONSECUTIVE_REJECTIONS = KEYS_PER_MATCH
"""This many rows refused in a row end it in any case: bad rows may well stand together, but not more than this."""

MAX_ATTEMPTS = 3
"""How often one free request is tried while others succeed."""


class PendingKey(msgspec.Struct, eq=False):
    """One key that is being asked for, and whatever rows wait for it."""

    key: Key
    score: float | None = None
    """How well its company matches."""
    match: ResultLine | None = None
    """What its match said."""
    line: ResultLine | None = None
    """What came of it."""


class PendingRow(msgspec.Struct):
    """One row that was read and not handed out yet."""

    number: int
    ask: PendingKey
    first: bool
    """It is the one that asked, and so the one that paid."""
    origin: FileRow | None = None
    """The row itself, where it came from a file."""


class Batch(msgspec.Struct, Generic[T]):
    """What one request asks for."""

    items: list[T]
    order: int
    """Where its first item stood among all that was asked for."""
    attempts: int = 0
    prepaid: bool = False
    """An earlier run paid for it, as far as its own budget goes."""

    def cut(self, at: int) -> tuple[Batch[T], Batch[T]]:
        """Cut it in two."""
        return (
            Batch(self.items[:at], self.order, prepaid=self.prepaid),
            Batch(self.items[at:], self.order + at, prepaid=self.prepaid),
        )


class RequestQueue(Generic[T]):
    """What waits to be asked for in one kind of request, and how many of those are under way."""

    def __init__(self, size: int, most: int) -> None:
        self.size = size
        """How much one request takes."""
        self.most = most
        """Requests under way at most."""
        self.waiting = deque[T]()
        self.paid = deque[T]()
        """Apart from the others: what an earlier run has paid for."""
        self.retries = list[Batch[T]]()
        """What comes first, in requests of its own and in the order it was first asked for: rows get done in order."""
        self.asked = 0
        """Items asked for so far."""
        self.under_way = 0
        self.consecutive_failures = 0
        """Requests that failed since the last good one."""
        self.consecutive_rejections = 0
        """Items that were refused alone since then."""
        self.has_succeeded = False
        """There was a good one."""

    @property
    def empty(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not (self.waiting or self.paid or self.retries or self.under_way)

    @property
    def may_send(self) -> bool:
        """Whether one more may go; after a setback, one at a time tries whether others may follow."""
        return self.under_way < (1 if self.consecutive_failures else self.most)

    def record_success(self) -> None:
        """Note a good answer: the way is open, and what is asked can be answered."""
        self.consecutive_failures = self.consecutive_rejections = 0
        self.has_succeeded = True

    def record_rejection(self, *, gone: bool = False) -> bool:
        """Count an item that was refused alone; tell whether so many were that it is hardly the items' own fault."""
        self.consecutive_rejections += 1
        return self.consecutive_rejections >= (
            MAX_CONSECUTIVE_REJECTIONS if gone or self.has_succeeded else MAX_CONSECUTIVE_FAILURES
        )

    def next_batch(self, size: int, *, partly: bool) -> Batch[T] | None:
        """Take out what the next request asks for: a full one, unless ``partly``; None where there is none."""
        if self.retries:
            return self.retries.pop(0)
        for queue in (self.paid, self.waiting):
            if len(queue) >= size or (queue and partly):
                taken = [queue.popleft() for _ in range(min(size, len(queue)))]
                self.asked += len(taken)
                return Batch(taken, self.asked - len(taken), prepaid=queue is self.paid)
        return None

    def push_retry(self, batch: Batch[T]) -> None:
        """Let a batch be asked for before anything that comes after it."""
        insort(self.retries, batch, key=lambda one: one.order)

    def requeue(self, batch: Batch[T], verdict: FailureAction) -> bool:
        """Put a batch that failed back, whole or cut; tell whether that was done."""
        if verdict is FailureAction.RETRY:
            self.push_retry(batch)
        elif verdict is FailureAction.SPLIT and len(batch.items) > 1:
            for half in batch.cut(len(batch.items) // 2):
                self.push_retry(half)
        else:
            return False
        return True


class FailureAction(Enum):
    """What an error of a request means for the job."""

    ABORT = "ends"
    """Nothing that follows can succeed."""
    SKIP = "skip"
    """A budget forbids this request, and nothing was sent."""
    SPLIT = "split"
    """The server refuses this request and charged nothing: something in it is bad."""
    RETRY = "again"
    """It cost nothing, and may succeed another time."""
    OUTCOME_UNKNOWN = "lost"
    """It may have charged: it is never sent again."""


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


def classify_failure(error: LeadfeederError, *, free: bool) -> FailureAction:
    """Tell what an error means; ``free`` says that the request cannot have charged."""
    if isinstance(error, _FATAL_ERRORS):
        return FailureAction.ABORT
    if isinstance(error, BudgetExceededError):
        return FailureAction.SKIP
    if isinstance(error, APIStatusError) and error.status is not None and 400 <= error.status < 500:
        return FailureAction.SPLIT
    return FailureAction.RETRY if free or error.sent == "no" else FailureAction.OUTCOME_UNKNOWN


class CostJournal:
    """Hears of money before it is spent; this one does nothing about it."""

    def reserve(self, ids: Iterable[str], most: int) -> None:
        """Note that these ids are about to be asked for, at ``most`` credits in all."""

    def settle(self, most: int, charged: int) -> None:
        """Note that of ``most`` credits, ``charged`` were charged or may have been."""

    def release(self, ids: Iterable[str], most: int) -> None:
        """Note that a request for these ids was refused or never left, so that nothing was spent."""


async def run_then(
    work: Callable[[], Coroutine[object, object, T]],
    then: Callable[[T], None],
    failed: Callable[[LeadfeederError], None],
) -> Callable[[], None]:
    """Do some work, and return what is to be done about its result or its error."""
    try:
        result = await work()
    except LeadfeederError as error:
        return partial(failed, error)
    return partial(then, result)
