"""Find records by name, and create each of them once."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Protocol, TypeVar

from leadfeeder_async._core.record_lock import RecordLock
from leadfeeder_async.errors import (
    APIStatusError,
    LeadfeederError,
    OutcomeUnknownError,
    UnexpectedStatusError,
    check_argument,
)
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.tags_and_lists import List, Tag
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.types import Stats

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


async def find_or_create(
    name: str,
    record_type: type[R],
    records: Pager[R],
    create: Callable[[Stats], Coroutine[None, None, Response[R]]],
    lock: AbstractAsyncContextManager[RecordLock],
) -> R:
    """Return the record with a name. Create it if it does not exist.

    If the response is lost, or the server responds that the record exists, the records are requested again.

    Args:
        name: The name.
        record_type: The kind of record.
        records: All records.
        create: Creates the record, and counts its requests.
        lock: The lock of the record, so that concurrent calls create only one. Calls that wait for it get its result.

    """
    check_argument(name.strip(), f"The name of the {_kind(record_type)} is empty.", argument="name")
    async with lock as held:
        if held.is_fresh and isinstance(held.record, record_type):  # the list may not show it yet
            return held.record
        found = _find_by_name(name, await records.collect(), _kind(record_type))
        if found is None:
            if held.lost is not None:
                raise held.lost.with_context(held.lost.context)  # a copy, without the frames of the other call
            found = await _create(name, record_type, records, create, held)
        held.record = found
        return found


async def _create(
    name: str,
    record_type: type[R],
    records: Pager[R],
    create: Callable[[Stats], Coroutine[None, None, Response[R]]],
    held: RecordLock,
) -> R:
    """Create a record. If it is unclear whether that succeeded, look for the record."""
    kind, sent = _kind(record_type), Stats()
    failure: LeadfeederError
    try:
        created = (await create(sent)).data
    except UnexpectedStatusError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        failure = error
    except OutcomeUnknownError as error:
        failure = held.lost = error
    except BaseException as error:
        if _may_have_created(error, sent):
            message = f"A concurrent call stopped while it created the {kind} {name!r}."
            held.lost = OutcomeUnknownError(message, hint=_LOOK_IT_UP)
        raise
    else:
        if created.id:
            return created
        message = f"The server created the {kind} {name!r} without an id."
        failure = held.lost = OutcomeUnknownError(message, hint=_LOOK_IT_UP)
    try:
        listed = await records.collect()
    except LeadfeederError:  # that the record may exist is more important
        raise failure from failure.__cause__
    found = _find_by_name(name, listed, kind)
    if found is None:
        raise failure
    return found


def _may_have_created(error: BaseException, sent: Stats) -> bool:
    """Return True unless the server rejected the request, or it was not sent."""
    if isinstance(error, LeadfeederError):
        return error.sent != "no" and not isinstance(error, APIStatusError)
    return sent.requests > 0


def _kind(record_type: type[Tag | List]) -> str:
    return record_type.__name__.lower()


_LOOK_IT_UP = "Call get_or_create again later. It finds the record once the server lists it."


def has_name(record: Named, name: str) -> bool:
    """Return True if a record has a name, ignoring case, additional spaces and the Unicode form."""
    return comparable_name(record.name or "") == comparable_name(name)


def comparable_name(name: str) -> str:
    """Return a name in lower case, with single spaces and in one Unicode form."""
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).split())


def _find_by_name(name: str, records: Iterable[R], kind: str) -> R | None:
    """Return the only record with a name, or None if there is none.

    Raises:
        ConfigurationError: Several records have this name.

    """
    found = [record for record in records if has_name(record, name)]
    ids = ", ".join(record.id for record in found)
    check_argument(
        len(found) <= 1,
        f"There are {len(found)} {kind}s with the name {name!r}.",
        f"Use one of their ids instead: {ids}. Or rename all but one.",
    )
    return found[0] if found else None
