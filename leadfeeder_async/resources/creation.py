"""Find records by name, and create each of them once."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Protocol, TypeVar

from leadfeeder_async.errors import OutcomeUnknownError, UnexpectedStatusError, check_argument
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.tags_and_lists import List, Tag
from leadfeeder_async.pagination.pager import Pager

R = TypeVar("R", Tag, List)


class Named(Protocol):
    """A record with an id and a name."""

    @property
    def id(self) -> str:
        """The id."""
        ...

    @property
    def name(self) -> str | None:
        """The name."""
        ...


N = TypeVar("N", bound=Named)


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


def has_name(record: Named, name: str) -> bool:
    """Return True if a record has a name, ignoring case, additional spaces and the Unicode form."""
    return _comparable(record.name or "") == _comparable(name)


def _comparable(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).split())


def find_by_name(name: str, records: Iterable[N], kind: str) -> N | None:
    """Return the only record with a name, or None if there is none.

    Raises:
        ConfigurationError: Several records have this name.

    """
    found = [record for record in records if has_name(record, name)]
    ids = ", ".join(record.id for record in found)
    check_argument(
        len(found) <= 1, f"There are {len(found)} {kind}s with the name {name!r}.", f"Use one of their ids: {ids}."
    )
    return found[0] if found else None
