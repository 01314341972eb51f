"""New visits of several accounts as they come, under the limit of one key."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from leadfeeder_async.errors import CheckpointError, LeadfeederError
from leadfeeder_async.jobs.background import batches_from_task, with_notes
from leadfeeder_async.jobs.watch.watch_state import WatchState
from leadfeeder_async.jobs.watch.watcher import Delivery, VisitWatcher
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.problems import account_error, affects_all_accounts

logger = logging.getLogger("leadfeeder_async")

AccountDelivery: TypeAlias = tuple[str, Delivery]
"""A new visit with the id of its account."""


class MultiAccountWatch:
    """Watches several accounts at the same time. It can be used once.

    Each account polls on its own, and waits while one of its visits is not delivered. So an account with many visits
    does not delay the others, and each account keeps only the visits that it has read and not delivered.

    Args:
        watchers: The watch of each account, by account id.

    """

    def __init__(self, watchers: Mapping[str, VisitWatcher]) -> None:
        self._watchers = watchers
        self._states = dict[str, WatchState]()
        self._ended = dict[str, LeadfeederError]()

    async def visits(self) -> AsyncGenerator[tuple[str, WebVisit], None]:
        """Yield new visits until the caller stops. Each one is recorded before the next one is returned."""
        async with AsyncExitStack() as stack:
            for account_id, watcher in self._watchers.items():
                # The states stay open until the caller has acknowledged the last visit, so they are not opened by the
                # background task.
                self._states[account_id] = await stack.enter_async_context(watcher.open())
            background = batches_from_task(self._run, "leadfeeder-watch")
            deliveries = await stack.enter_async_context(aclosing(background))
            async for account_id, delivery in deliveries:
                yield account_id, delivery.visit
                await delivery.acknowledge()

    async def _run(self, output: MemoryObjectSendStream[AccountDelivery]) -> None:
        """Watch all accounts. Raise the error that ended them all, never an exception group."""
        try:
            async with anyio.create_task_group() as group:
                for account_id in self._watchers:
                    group.start_soon(self._watch, account_id, output)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            output.close()
        errors = [account_error(account_id, error) for account_id, error in self._ended.items()]
        if not errors:
            raise LeadfeederError("A watch was canceled from inside, for example by a hook or a credential.")
        raise with_notes(errors[0], errors[1:])

    async def _watch(self, account_id: str, output: MemoryObjectSendStream[AccountDelivery]) -> None:
        """Deliver the visits of one account until an error ends its watch."""
        try:
            async with aclosing(self._watchers[account_id].deliveries(self._states[account_id])) as deliveries:
                async for delivery in deliveries:
                    await output.send((account_id, delivery))
                    await delivery.wait()
        except LeadfeederError as error:
            if affects_all_accounts(error) or isinstance(error, CheckpointError):
                raise
            self._ended[account_id] = error
            logger.error("The watch of account %s ended. The other accounts continue. %s", account_id, error)  # noqa: TRY400 - an error of the API needs no traceback
