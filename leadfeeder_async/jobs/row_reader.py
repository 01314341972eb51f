"""The rows of a job, read in batches from an iterable or an async iterable."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Generic, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

T = TypeVar("T")

BATCH_LINGER = 0.05
"""Seconds that a partial batch waits for the next row of a slow input."""

_BUFFERED_ROWS = 32

MAX_BLOCKING_TIME = 0.005
"""Seconds after which other coroutines get a turn while rows are read and their keys are determined."""


class RowReader(Generic[T]):
    """Reads rows in batches from an iterable or an async iterable.

    The rows of an async iterable come from another coroutine, :meth:`pump`. So the reader can stop waiting for the
    next row without canceling the iterable.

    Args:
        rows: The input.

    """

    def __init__(self, rows: Iterable[T] | AsyncIterable[T]) -> None:
        self.has_ended = False
        """True if no rows follow."""
        self.is_starved = False
        """True if the latest batch is not full because the next row did not arrive in time."""
        self.error: Exception | None = None
        """The error that ended the input."""
        self.max_buffered = 0
        """The most rows that are read from the input before :meth:`read` requests them."""
        self._rows: Iterator[T] | None = None
        self._async_rows: AsyncIterator[T] | None = None
        if isinstance(rows, AsyncIterable):
            self._async_rows, self.max_buffered = aiter(rows), _BUFFERED_ROWS + 1
        else:
            self._rows = iter(rows)
        self._sender, self._receiver = anyio.create_memory_object_stream[T](_BUFFERED_ROWS)
        self._pumping = anyio.CancelScope()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.close()
        self._receiver.close()

    async def pump(self) -> None:
        """Pass the rows of an async iterable to :meth:`read`."""
        if self._async_rows is None:
            return
        with self._pumping, self._sender:
            try:
                async for row in self._async_rows:
                    try:
                        self._sender.send_nowait(row)
                    except anyio.WouldBlock:
                        await self._sender.send(row)
            except Exception as error:  # noqa: BLE001 - the caller's iterable may raise anything
                self.error = error

    def stop(self) -> None:
        """Stop waiting for the next row of an async iterable."""
        self._pumping.cancel()

    async def read(self, size: int) -> list[T]:
        """Return the next rows: at most ``size``, and fewer if the input ends or is slow."""
        rows = list[T]()
        if self._rows is None:
            await self._receive(rows, size)
            return rows
        await checkpoint()  # lets requests start between two batches
        deadline = time.perf_counter() + MAX_BLOCKING_TIME
        try:
            for row in self._rows:
                rows.append(row)
                if len(rows) == size or time.perf_counter() > deadline:
                    return rows
        except Exception as error:  # noqa: BLE001 - the caller's iterable may raise anything
            self.error = error
        self.has_ended = True
        return rows

    async def _receive(self, rows: list[T], size: int) -> None:
        # After a pause, the next row may take any time, because the rows before it were worked on already.
        seconds = None if self.is_starved else BATCH_LINGER
        self.is_starved = False
        try:
            while len(rows) < size:
                rows.append(await self._next_row(seconds))
                seconds = BATCH_LINGER
        except anyio.EndOfStream:
            self.has_ended = True
        except anyio.WouldBlock:
            self.is_starved = True

    async def _next_row(self, seconds: float | None) -> T:
        """Return the next row, or raise WouldBlock if it does not arrive in time."""
        try:
            return self._receiver.receive_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(seconds):
                return await self._receiver.receive()
        await checkpoint()  # if the event loop was blocked, the row may have arrived too
        return self._receiver.receive_nowait()
