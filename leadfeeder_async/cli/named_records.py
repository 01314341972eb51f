"""Find a record by its id or name, before a command shows, changes or deletes it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from leadfeeder_async.cli.printing import plural
from leadfeeder_async.errors import ConfigurationError, NotFoundError, check_argument
from leadfeeder_async.resources.creation import Named, has_name

Record = TypeVar("Record", bound=Named)


def find_by_id_or_name(wanted: str, known: Sequence[Record], kind: str, create: str = "") -> Record:
    """Return the only record with this id or this name, ignoring case.

    Args:
        wanted: The id or the name.
        known: The records of the account.
        kind: The noun for them.
        create: The sentence that tells how to create a missing one.

    Raises:
        ConfigurationError: No record or several records have this name.

    """
    check_argument(wanted.strip(), f"The name of the {kind} is empty.")
    matches = [item for item in known if item.id == wanted or has_name(item, wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        message = f"There are {len(matches)} {plural(kind)} with the id or name {wanted!r}."
        instead = "the other id or name" if any(item.id == wanted for item in matches) else "the id"
        raise ConfigurationError(message, hint=f"Use {instead} instead: {_names_and_ids(matches)}.")
    hint = f"Existing {plural(kind)}: {_names_and_ids(known)}." if known else f"There are no {plural(kind)}."
    raise ConfigurationError(f"There is no {kind} {wanted!r}.", hint=f"{hint} {create}".rstrip())


async def delete_found(call: Awaitable[object]) -> None:
    """Delete a record that was just found. If the response is lost, the retry finds that it is gone."""
    try:
        await call
    except NotFoundError as error:
        if error.attempts < 2:
            raise


def find_to_rename(wanted: str, new_name: str, known: Sequence[Record], kind: str) -> Record:
    """Return the record with this id or name, if no other record has the new name.

    Args:
        wanted: The id or the name.
        new_name: The new name.
        known: The records of the account.
        kind: The noun for them.

    Raises:
        ConfigurationError: No record or several records have the id or name, or another one has the new name.

    """
    selected = find_by_id_or_name(wanted, known, kind)
    check_name_is_free(new_name, [item for item in known if item.id != selected.id], kind)
    return selected


def check_name_is_free(name: str, known: Sequence[Named], kind: str) -> None:
    """Raise ConfigurationError if a record has this name. The API would create a second one."""
    check_argument(name.strip(), f"The name of the {kind} is empty.")
    existing = [item for item in known if has_name(item, name)]
    check_argument(not existing, f"A {kind} with this name exists: {_names_and_ids(existing)}.")


def name_and_id(item: Named) -> str:
    """Return the name and the id of a record, for messages."""
    return f"{item.name!r} ({item.id})"


def _names_and_ids(items: Sequence[Named]) -> str:
    return ", ".join(map(name_and_id, items))
