"""Creation of records that have a name, each once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import TypeVar

from leadfeeder_async.errors import OutcomeUnknownError, UnexpectedStatusError, check_argument
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.tags_and_lists import List, Tag
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.resources.arguments import find_by_name

R = TypeVar("R", Tag, List)


async def find_or_create(
    name: str,
    kind: str,
    records: Pager[R],
    create: Callable[[], Coroutine[None, None, Response[R]]],
    lock: AbstractAsyncContextManager[OutcomeUnknownError | None],
) -> R:
    """Return the record with a name. Create it if it does not exist.

    If the response is lost, or the server responds that the record exists, the records are requested again.

    Args:
        name: The name.
        kind: The kind of record, for errors.
        records: All records.
        create: Creates the record.
        lock: The lock to hold, so that concurrent calls create only one record.

    """
    check_argument(name.strip(), f"The name of the {kind} is empty.", argument="name")
    async with lock as lost:
        found = find_by_name(name, await records.collect(), kind)
        if found is not None:
            return found
        if lost is not None:  # a concurrent call may have created it, and the list may not show it yet
            raise lost.with_context(lost.context)
        try:
            created = (await create()).data
        except (OutcomeUnknownError, UnexpectedStatusError) as error:
            if isinstance(error, UnexpectedStatusError) and error.status != HTTPStatus.CONFLICT:
                raise
            found = find_by_name(name, await records.collect(), kind)
            if found is None:
                raise
            return found
        if created.id:
            return created
        found = find_by_name(name, await records.collect(), kind)
        if found is None:
            raise OutcomeUnknownError(f"The server created the {kind} {name!r} without an id.", hint=_LOOK_IT_UP)
        return found


_LOOK_IT_UP = "Call get_or_create again later. It finds the record once the server lists it."
