"""Batches that a background task produces while the caller takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from leadfeeder_async.errors import LeadfeederError

T = TypeVar("T")


async def batches_from_task(
    run: Callable[[MemoryObjectSendStream[T]], Coroutine[None, None, None]], name: str
) -> AsyncGenerator[T, None]:
    """Yield the batches that ``run`` sends. An error of ``run`` is raised after them.

    ``run`` is a background task, because an async generator must not keep a task group open between two results.
    Closing the generator cancels this task and waits for it.
    """
    sender, receiver = anyio.create_memory_object_stream[T](0)
    task = asyncio.create_task(run(sender), name=name)
    try:
        async for batch in receiver:
            yield batch
        await task
    finally:
        receiver.close()
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        sender.close()
        _ = task.cancelled() or task.exception()  # an error after the caller has left is not reported


class ChangeSignal:
    """Wakes coroutines after a change."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake all coroutines that wait now."""
        self._event.set()
        self._event = anyio.Event()

    async def wait(self) -> None:
        """Wait for the next change."""
        await self._event.wait()


class StagedJob:
    """A job whose stages are tasks of one group. After the first error, it reads and sends nothing more.

    The results of requests in flight are still returned before the error is raised.
    """

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._later_errors = list[Exception]()
        self._reading = anyio.CancelScope()
        """Around each read of the input, which may take any time."""
        self._is_complete = False
        self._changed = ChangeSignal()

    def _abort(self, error: Exception) -> None:
        error = error.with_traceback(None)  # its frames may hold a body, in which some servers echo the key
        if self._error is None:
            self._error = error
        else:
            self._later_errors.append(error)
        self._reading.cancel()
        self._changed.notify()

    def _raise_error(self) -> None:
        """Raise the first error after all stages have ended, never an exception group."""
        if self._error is not None:
            raise with_notes(self._error, self._later_errors)
        if not self._is_complete:
            # A task group ends silently if one of its tasks raises CancelledError on its own.
            raise asyncio.CancelledError("The input or a request was canceled.")


def with_notes(error: Exception, later_errors: Sequence[Exception]) -> Exception:
    """Add the other errors as notes, each message once."""
    messages = dict.fromkeys(f"{type(other).__name__}: {_message(other)}" for other in (error, *later_errors))
    for message in list(messages)[1:]:
        error.add_note(f"Another error followed. {message}")
    return error


def _message(error: Exception) -> str:
    return error.message if isinstance(error, LeadfeederError) else str(error)
