"""Validation and encoding of the arguments that methods of several resources accept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec

from leadfeeder_async._core.codec import check_id, encode_body
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.models.envelope import ResourceIdentifier
from leadfeeder_async.models.request_bodies import LinkagesRequest


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


def has_name(record: Named, name: str) -> bool:
    """Return True if a record has a name, ignoring case and surrounding spaces."""
    return (record.name or "").casefold().strip() == name.casefold().strip()


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


def csv_param(name: str, values: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return an iterable of strings as a query parameter. None and empty iterables are left out of the query."""
    if isinstance(values, str):
        raise ConfigurationError(f"{name}={values!r} must be a list of strings.", hint=f"Write {name}=[{values!r}].")
    return tuple(values or ()) or None


def check_range(name: str, value: int | None, least: int, most: int) -> int | None:
    """Return an integer, or raise ConfigurationError if it is out of range. None is left out of the query."""
    check_argument(value is None or least <= value <= most, f"{name}={value!r} must be {least} to {most}.")
    return value


def check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    """Return a string, or raise ConfigurationError if it is none of the choices. None is left out of the query."""
    check_argument(value is None or value in choices, f"{name}={value!r} must be one of {', '.join(choices)}.")
    return value


def check_ids(name: str, ids: Iterable[str], most: int | None = None) -> tuple[str, ...]:
    """Return the ids, or raise ConfigurationError if there are none or more than ``most``."""
    wanted = tuple(check_id(one) for one in csv_param(name, ids) or ())
    check_argument(wanted, f"{name} must hold at least one id.")
    check_argument(most is None or len(wanted) <= most, f"{name} holds {len(wanted)} ids. The maximum is {most}.")
    return wanted


def encode_validated(
    kind: type[msgspec.Struct], arguments: Mapping[str, object], *, leave_out: tuple[str, ...] = ()
) -> bytes:
    """Return the arguments as JSON, or raise ConfigurationError if they do not match the contract's body.

    They are encoded as they are and not as ``kind`` knows them, so fields that the contract does not know pass through.

    Args:
        kind: The body of the contract.
        arguments: The fields of the body.
        leave_out: Fields that are validated but not encoded.

    """
    problem = ""
    try:
        body = encode_body(arguments)
        msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        problem = re.sub(r"`\$\.?([^`]*)`", r"\1", str(error))
    except TypeError as error:
        problem = str(error)
    else:
        return encode_body({k: v for k, v in arguments.items() if k not in leave_out}) if leave_out else body
    raise ConfigurationError(f"Invalid arguments: {problem}.")


def encode_search(kind: type[msgspec.Struct], conditions: Mapping[str, object]) -> bytes:
    """Return the conditions of a search as JSON, or raise ConfigurationError if there are none."""
    check_argument(
        any(value is not None for value in conditions.values()),
        "The search needs at least one condition.",
        f"Pass one of {', '.join(conditions)}.",
    )
    return encode_validated(kind, conditions)


def encode_linkages(kind: str, ids: Iterable[str]) -> bytes:
    """Return the ids of related records as the JSON body that adds or removes them."""
    data = tuple(ResourceIdentifier(id=one, type=kind) for one in check_ids(f"{kind}_ids", ids))
    return msgspec.json.encode(LinkagesRequest(data=data))
