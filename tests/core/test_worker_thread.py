"""Work in threads: results, errors and cancellation."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import anyio
import pytest

from leadfeeder_async._core import worker_thread
from leadfeeder_async._core.worker_thread import run_in_worker_thread


@pytest.mark.parametrize("fails", [False, True])
async def test_canceled_caller_waits_for_the_function(fails: bool) -> None:
    """A caller that is canceled twice ends only after the function has returned or raised."""
    started, release, done = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> int:
        loop.call_soon_threadsafe(started.set)
        release.wait(10)
        done.set()
        return 1 // (not fails)

    task = asyncio.create_task(run_in_worker_thread(work))
    await started.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_canceled_scope_does_not_wake_the_loop() -> None:
    """A caller in a canceled scope of anyio waits for the function without running the loop over and over."""
    release = threading.Event()
    with anyio.CancelScope() as scope:
        started = asyncio.Event()
        loop = asyncio.get_running_loop()

        def work() -> None:
            loop.call_soon_threadsafe(started.set)
            release.wait(10)

        async def count_turns() -> int:
            await started.wait()
            scope.cancel()
            turns, end = 0, loop.time() + 0.1
            while loop.time() < end:
                before = time.thread_time()
                await asyncio.sleep(0.01)
                turns += time.thread_time() - before > 0.005
            release.set()
            return turns

        busy = asyncio.create_task(count_turns())
        await run_in_worker_thread(work)
    assert scope.cancelled_caught
    assert await busy <= 2


async def test_error_of_the_function_is_raised() -> None:
    """The error of the function is raised in the caller."""
    with pytest.raises(ZeroDivisionError):
        await run_in_worker_thread(lambda: 1 // 0)


async def test_threads_of_the_program_do_not_matter() -> None:
    """A function runs although all threads of the default executor are in use."""
    release = threading.Event()
    blocked = [asyncio.create_task(asyncio.to_thread(release.wait, 30)) for _ in range(40)]
    try:
        async with asyncio.timeout(10):
            assert await run_in_worker_thread(lambda: 5) == 5
    finally:
        release.set()
        await asyncio.gather(*blocked)


async def test_canceled_function_that_waits_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A canceled caller does not wait for a function that has not started, and it never runs."""
    monkeypatch.setattr(worker_thread, "MAX_THREADS", 1)
    started, release, ran = asyncio.Event(), threading.Event(), list[int]()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(started.set)
        release.wait(30)

    first = asyncio.create_task(run_in_worker_thread(work))
    await started.wait()
    second = asyncio.create_task(run_in_worker_thread(lambda: ran.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await second
    release.set()
    await first
    assert await run_in_worker_thread(lambda: 5) == 5
    assert ran == []


def test_threads_end_with_the_loop() -> None:
    """After a loop was closed and collected, none of its threads is left."""
    thread = asyncio.run(run_in_worker_thread(threading.current_thread))
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
