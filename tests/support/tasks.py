"""The tasks of the client, to check that none is left."""

from __future__ import annotations

import asyncio


def client_tasks() -> set[asyncio.Task[object]]:
    """Return the tasks of the event loop, without the connection handlers of a server in this process."""
    return {task for task in running_tasks() if "RequestHandler" not in repr(task.get_coro())}


def running_tasks() -> set[asyncio.Task[object]]:
    """Return the tasks of the event loop, without those in which a server waits for connections on Windows."""
    return {task for task in asyncio.all_tasks() if "accept_coro" not in repr(task.get_coro())}


async def client_tasks_after_cancellation() -> set[asyncio.Task[object]]:
    """Give canceled tasks time to end, and return the tasks that remain."""
    for _ in range(20):
        await asyncio.sleep(0.001)
    return client_tasks()
