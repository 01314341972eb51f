"""The locks under which named records are looked up, and created if they do not exist."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

from leadfeeder_async._core.waiting import WaitBounds
from leadfeeder_async.errors import OutcomeUnknownError


class Creation:
    """The creation of one record, with its result for the calls that wait for the lock meanwhile."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.record: object = None
        """The record that was created or found last."""
        self.is_fresh = False
        """True if it was created or found while the call that holds the lock was waiting."""
        self.lost: OutcomeUnknownError | None = None
        """The error of a creation that may have succeeded."""


class CreationLocks:
    """A lock for each record that is being looked up or created."""

    def __init__(self) -> None:
        self._creations = dict[Hashable, Creation]()

    @asynccontextmanager
    async def hold(self, key: Hashable, bounds: WaitBounds) -> AsyncGenerator[Creation, None]:
        """Hold the lock of a record. The result is forgotten when no call holds the lock or waits for it.

        Args:
            key: Identifies the record.
            bounds: The deadline of the call.
        """
        creation = self._creations.setdefault(key, Creation())
        creation.users += 1
        before = creation.record
        try:
            await bounds.wait(creation.lock.acquire(), "slot")
            creation.is_fresh = creation.record is not before
            try:
                yield creation
            finally:
                creation.lock.release()
        finally:
            creation.users -= 1
            if not creation.users:
                del self._creations[key]
