"""Work that takes long, in a thread, so that the event loop is free for other tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


MAX_INLINE_ROWS = 10_000
"""Rows that are processed on the event loop. That takes a few milliseconds."""


async def run_for_rows(function: Callable[[], T], rows: int) -> T:
    """Return the result of ``function``, which runs in a thread if it processes many rows."""
    return function() if rows <= MAX_INLINE_ROWS else await run_in_thread(function)


async def run_in_thread(function: Callable[[], T]) -> T:
    """Return the result of ``function``, which runs in a thread.

    A canceled caller still waits until the function has returned, because the function may use the caller's files.
    """
    future = asyncio.get_running_loop().run_in_executor(None, function)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()
        raise
