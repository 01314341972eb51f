"""The state of a running sandbox: accounts, credits and the rate limit."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Literal, TypeAlias

from leadfeeder_async.sandbox.ledger import Ledger
from leadfeeder_async.sandbox.record_store import SandboxRecords
from leadfeeder_async.sandbox.world import World

UNLOCK_PERIOD = timedelta(days=365)
"""How long a record stays unlocked after it was charged."""


WrongCount: TypeAlias = Literal[0, -1, "missing"]
"""A wrong ``total_count`` and ``page_count``: a number, or no count at all."""


class ApiError(Exception):
    """An error response of the simulated API."""

    def __init__(self, status: int, code: str, title: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(title)
        self.status, self.code, self.title = status, code, title
        self.headers = headers or {}


@dataclass(slots=True)
class SandboxToken:
    """An access token that the sandbox issued."""

    scopes: frozenset[str] | None
    """The scopes of the token. None allows everything."""
    expires_at: float
    """The time on the monotonic clock at which the token expires."""
    is_revoked: bool = False


class TokenBucket:
    """The rate limit of the simulated API: ``rate`` requests per second, with a burst of ``burst``."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated_at = time.monotonic()

    def try_acquire(self) -> bool:
        """Take a token. Return False if none is available."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + self._rate * (now - self._updated_at))
        self._updated_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(slots=True)
class SandboxAccount:
    """An account and its credits."""

    id: str
    name: str
    credits: int
    """The credits per period, used ones included."""
    used: int = 0
    unlocked: dict[str, date] = field(default_factory=dict[str, date])
    """Record ids and the day from which each is charged again."""


@dataclass(frozen=True, slots=True)
class PagingFaults:
    """The faults to simulate in the pages of lists."""

    unstable_order: bool
    short_pages: float
    page_cap: int | None
    wrong_counts: WrongCount | None
    rng: Random


@dataclass(slots=True)
class SandboxState:
    """The data that the operations read and change."""

    world: World
    accounts: dict[str, SandboxAccount]
    ledger: Ledger
    max_search_rows: int
    paging_faults: PagingFaults
    lax: bool
    """True to ignore unknown parameters, keys, relations, filters and ids in searches instead of rejecting them."""
    records: SandboxRecords = field(default_factory=SandboxRecords)
    rejected_ids: dict[str, int] = field(default_factory=dict[str, int])
    """Company ids that batch requests are rejected for, and the status of the error."""

    def charge(self, account: SandboxAccount, record_ids: Iterable[str]) -> int:
        """Charge one credit for each locked record and return the total.

        If too few credits are left, nothing is charged, and a 402 error is raised.

        Companies that have visited are never locked.
        """
        today = datetime.now(UTC).date()
        locked = [
            record_id
            for record_id in dict.fromkeys(record_ids)
            if account.unlocked.get(record_id, date.min) <= today and not self.world.has_visited(record_id)
        ]
        if len(locked) > account.credits - account.used:
            raise ApiError(402, "insufficient_credits", "The account has no credits left")
        account.used += len(locked)
        account.unlocked.update(dict.fromkeys(locked, today + UNLOCK_PERIOD))
        self.ledger.charges.extend(locked)
        return len(locked)
