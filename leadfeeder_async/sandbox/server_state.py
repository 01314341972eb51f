"""What changes while a sandbox runs: balances, unlocked records, and the rate limit's bucket."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from leadfeeder_async.sandbox.ledger import Ledger
from leadfeeder_async.sandbox.record_store import AccountRecords
from leadfeeder_async.sandbox.world import World

MAX_SEARCH_ROWS = 10_000
"""No visit is handed out past this many rows of one search."""

UNLOCKED_FOR = timedelta(days=365)
"""A charge opens a record for twelve months."""


class ApiError(Exception):
    """The sandbox says no, as the API would."""

    def __init__(self, status: int, code: str, title: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(title)
        self.status, self.code, self.title = status, code, title
        self.headers = headers or {}


@dataclass(slots=True)
class Bucket:
    """A token bucket: ``rate`` a second, ``capacity`` at once."""

    rate: float = 10.0
    capacity: float = 15.0
    _level: float = 15.0
    _at: float = field(default_factory=time.monotonic)

    def take(self) -> bool:
        """Take a token; tell whether there was one."""
        now = time.monotonic()
        self._level = min(self.capacity, self._level + self.rate * (now - self._at))
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


@dataclass(slots=True)
class SandboxAccount:
    """One account's name and credits."""

    id: str
    name: str
    credits: int
    used: int = 0
    unlocked: dict[str, date] = field(default_factory=dict[str, date])


@dataclass(slots=True)
class SandboxState:
    """Everything behind one sandbox."""

    world: World
    accounts: dict[str, SandboxAccount]
    ledger: Ledger = field(default_factory=Ledger)
    records: AccountRecords = field(default_factory=AccountRecords)
    rejected_ids: dict[str, int] = field(default_factory=dict[str, int])
    """Ids that spoil any request for several records, and the status they are refused with."""

    def charge(self, account: SandboxAccount, record_ids: Iterable[str]) -> int:
        """Charge one credit for each record not unlocked; all or nothing."""
        today = datetime.now(UTC).date()
        locked = [one for one in dict.fromkeys(record_ids) if account.unlocked.get(one, date.min) <= today]
        if len(locked) > account.credits - account.used:
            raise ApiError(402, "insufficient_credits", "The account has no credits left")
        account.used += len(locked)
        account.unlocked.update(dict.fromkeys(locked, today + UNLOCKED_FOR))
        self.ledger.charges.extend(locked)
        return len(locked)
