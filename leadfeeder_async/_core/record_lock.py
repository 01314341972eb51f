"""The locks under which named records are looked up, and created if they do not exist."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

from leadfeeder_async._core.waiting import WaitBounds
from leadfeeder_async.errors import OutcomeUnknownError


class RecordLock:
    """The lock of one record, with the result of its creation for the calls that wait meanwhile."""

    def __init__(self) -> None:
        self.inner = asyncio.Lock()
        self.users = 0
        self.record: object = None
        """The record that was created or found last."""
        self.is_fresh = False
        """True if it was created or found while the call that holds the lock was waiting."""
        self.lost: OutcomeUnknownError | None = None
        """The error of a creation that may have succeeded."""


class RecordLocks:
    """A lock for each record that is being looked up or created."""

    def __init__(self) -> None:
        self._locks = dict[Hashable, RecordLock]()

    @asynccontextmanager
    async def hold(self, key: Hashable, bounds: WaitBounds) -> AsyncGenerator[RecordLock, None]:
        """Hold the lock of a record. The result is forgotten when no call holds the lock or waits for it.

        Args:
            key: Identifies the record.
            bounds: The deadline of the call.
        """
        lock = self._locks.setdefault(key, RecordLock())
        lock.users += 1
        before = lock.record
        try:
            await bounds.wait(lock.inner.acquire(), "slot")
            lock.is_fresh = lock.record is not before
            try:
                yield lock
            finally:
                lock.inner.release()
        finally:
            lock.users -= 1
            if not lock.users:
                del self._locks[key]
