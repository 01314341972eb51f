"""Work in threads: results, errors and cancellation."""

from __future__ import annotations

import asyncio
import threading

import pytest

from leadfeeder_async._core.worker_thread import run_in_thread


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

    task = asyncio.create_task(run_in_thread(work))
    await started.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_error_of_the_function_is_raised() -> None:
    """The error of the function is raised in the caller."""
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 // 0)
