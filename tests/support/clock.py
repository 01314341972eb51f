"""An event loop with a virtual clock, which advances to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

TICK = 1e-9
"""How far each reading of the clock advances it. A limiter that polls the clock would never finish otherwise."""


class _VirtualSelector(selectors.BaseSelector):
    """A selector that advances the clock of its loop instead of waiting for a timeout."""

    def __init__(self, real: selectors.BaseSelector) -> None:
        self._real = real
        self.loop: VirtualLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = self._real.select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            return self._real.select(None)
        assert self.loop is not None
        self.loop.now += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a virtual clock. Real sockets work."""

    def __init__(self) -> None:
        selector = _VirtualSelector(selectors.DefaultSelector())
        selector.loop = self
        self.now = 1_000.0
        super().__init__(selector)

    def time(self) -> float:
        """Advance the virtual clock by one tick and return its time in seconds."""
        self.now += TICK
        return self.now
