"""Work that takes long, in a thread, so that the event loop is free for other tasks.

Each event loop has threads of its own for it. The default executor of asyncio also runs functions of the program, and
they would delay the calls of a client past their deadlines, or forever if they wait for one of these calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Thread
from typing import TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


MAX_INLINE_ROWS = 10_000
"""Rows that are processed on the event loop. That takes a few milliseconds."""

MAX_THREADS = 32
"""The most threads of one event loop. Some functions wait for a file that another program has locked."""

_EXECUTORS = WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadPoolExecutor]()


async def run_for_rows(function: Callable[[], T], rows: int) -> T:
    """Return the result of ``function``, which runs in a thread if it processes many rows."""
    return function() if rows <= MAX_INLINE_ROWS else await run_in_worker_thread(function)


async def run_in_worker_thread(function: Callable[[], T]) -> T:
    """Return the result of ``function``, which runs in a thread.

    A canceled caller still waits until the function has returned, because the function may use the caller's files. A
    function that has not started yet never runs.
    """
    work = _executor().submit(function)
    future = asyncio.wrap_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if work.cancel():
            raise
        import anyio  # noqa: PLC0415 - importing the client should be fast

        with anyio.CancelScope(shield=True):  # a canceled scope would cancel the wait again in each turn of the loop
            while not future.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
        if not future.cancelled():
            future.exception()
        raise


def start_in_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    """Run ``function`` in a thread of its own, and return the future of its result.

    The thread does not keep the program from ending, so the function may hang.
    """
    work = Future[T]()
    work.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - it is raised where the future is awaited
            work.set_exception(error)
        else:
            work.set_result(result)

    future = asyncio.wrap_future(work)
    future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait for it any more
    Thread(target=run, name="leadfeeder-read", daemon=True).start()
    return future


def _executor() -> ThreadPoolExecutor:
    """Return the executor of the running event loop. Its threads end with the loop."""
    loop = asyncio.get_running_loop()
    executor = _EXECUTORS.get(loop)
    if executor is None:
        executor = _EXECUTORS[loop] = ThreadPoolExecutor(MAX_THREADS, "leadfeeder")
    return executor
