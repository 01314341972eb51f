"""Steps of a process that shares credits: a report, and the end by a kill."""

from __future__ import annotations

import asyncio

from leadfeeder_async.integrations.redis_credits import RedisCredits


async def report(shared: RedisCredits) -> None:
    """Report the total now, as the next heartbeat does."""
    async with shared._turn:
        await shared._try_report("report")


async def settled(shared: RedisCredits) -> None:
    """Wait for the reports in progress."""
    await asyncio.gather(*shared._tasks)


def adopt(child: RedisCredits, parent: RedisCredits) -> None:
    """Give an object the state of another one, as a fork does. It keeps its own connection, and has no tasks."""
    own_script = child._script
    child.__dict__.update(parent.__dict__)
    child._script, child._tasks, child._heartbeat = own_script, set(), None


async def abandon(shared: RedisCredits) -> None:
    """Stop all tasks of an object without a last report, as a kill of its process does."""
    tasks = [*shared._tasks, *([shared._heartbeat] if shared._heartbeat else [])]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await shared._script.aclose()
