"""The lock under which records are looked up by name, and created if they do not exist."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from leadfeeder_async._core.waiting import WaitBounds
from leadfeeder_async.errors import OutcomeUnknownError


class CreationLock:
    """A lock for one kind of record and account."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._lost = dict[str, OutcomeUnknownError]()
        """The creations that may have succeeded since the first of the waiting calls began to wait, by name."""

    @asynccontextmanager
    async def hold(self, name: str, bounds: WaitBounds) -> AsyncGenerator[OutcomeUnknownError | None, None]:
        """Hold the lock. Yield the error if a record of this name may have been created while this call was waiting.

        Args:
            name: The name of the record.
            bounds: The deadline of the call.
        """
        name = " ".join(name.split()).casefold()
        self._waiting += 1
        try:
            await bounds.wait(self._lock.acquire(), "slot")
        finally:
            self._waiting -= 1
        try:
            yield self._lost.get(name)
        except OutcomeUnknownError as error:
            self._lost[name] = error
            raise
        finally:
            if not self._waiting:
                self._lost.clear()
            self._lock.release()
