"""Rows of any input, taken in pieces: no more is read than there is room for, and a slow input is not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Final

from leadfeeder_async.jobs.enrich.keys import Row

Rows = Iterable[Row] | AsyncIterable[Row]
"""An input: a list, a file, a query, anything that can be iterated over."""

BATCH_LINGER = 0.05
"""Seconds that a piece waits for the next row of a slow input; then what came is worked on."""


class _End:
    pass


_END: Final = _End()


class RowReader:
    """Takes rows in pieces from an iterable of either kind."""

    def __init__(self, rows: Rows) -> None:
        self._rows: Iterator[Row] | AsyncIterator[Row] = aiter(rows) if isinstance(rows, AsyncIterable) else iter(rows)
        self._next: asyncio.Task[Row | _End] | None = None
        self.ended = False
        """Nothing follows."""
        self.is_starved = False
        """The last piece was cut short, since the next row did not come."""

    def read_available(self, most: int) -> list[Row] | None:
        """Take up to ``most`` rows at once; None where the input has to be waited for."""
        if isinstance(self._rows, AsyncIterator):
            return None
        piece = list(islice(self._rows, most))
        self.ended = len(piece) < most
        return piece

    async def read(self, most: int) -> list[Row]:
        """Wait for the first row, and take up to ``most`` as they come."""
        piece = list[Row]()
        self.is_starved = False
        while len(piece) < most and isinstance(self._rows, AsyncIterator):
            if self._next is None:
                self._next = asyncio.create_task(_one(self._rows))
            await asyncio.wait({self._next}, timeout=BATCH_LINGER if piece else None)
            if not self._next.done():
                self.is_starved = True
                break
            row, self._next = self._next.result(), None
            if isinstance(row, _End):
                self.ended = True
                break
            piece.append(row)
        return piece

    async def aclose(self) -> None:
        """End the wait for a row, if there is one."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait({self._next})
            if not self._next.cancelled():
                self._next.exception()


async def _one(rows: AsyncIterator[Row]) -> Row | _End:
    return await anext(rows, _END)
