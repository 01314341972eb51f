"""What the methods of all nouns do with their arguments: check them against the contract's bounds, and encode them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from leadfeeder_async._core.codec import check_id, encode_body
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.models.envelope import ResourceIdentifier
from leadfeeder_async.models.request_bodies import LinkagesRequest


def csv_param(name: str, values: Iterable[str] | None) -> tuple[str, ...] | None:
    """Turn an iterable of texts into a query list; None and empty are left out."""
    if isinstance(values, str):
        raise ConfigurationError(f"{name}={values!r} must be a list of strings.", hint=f"Write {name}=[{values!r}].")
    return tuple(values or ()) or None


def check_range(name: str, value: int | None, least: int, most: int) -> int | None:
    """Check a whole number; None is left out."""
    check_argument(value is None or least <= value <= most, f"{name}={value!r} must be {least} to {most}.")
    return value


def check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    """Check a word of a closed vocabulary; None is left out."""
    check_argument(value is None or value in choices, f"{name}={value!r} must be one of {', '.join(choices)}.")
    return value


def check_ids(name: str, ids: Iterable[str], most: int | None = None) -> tuple[str, ...]:
    """Check a list of ids: at least one, and no more than ``most``."""
    wanted = tuple(check_id(one) for one in csv_param(name, ids) or ())
    check_argument(wanted, f"{name} must hold at least one id.")
    check_argument(most is None or len(wanted) <= most, f"{name} holds {len(wanted)} ids; at most {most} are taken.")
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
    raise ConfigurationError(f"These arguments do not fit: {problem}.")


def encode_search(kind: type[msgspec.Struct], conditions: Mapping[str, object]) -> bytes:
    """Encode the conditions of a search that needs at least one."""
    check_argument(
        any(value is not None for value in conditions.values()),
        "This search needs at least one condition.",
        f"Give one of {', '.join(conditions)}.",
    )
    return encode_validated(kind, conditions)


def encode_linkages(kind: str, ids: Iterable[str]) -> bytes:
    """Encode the records to link or unlink."""
    data = tuple(ResourceIdentifier(id=one, type=kind) for one in check_ids(f"{kind}_ids", ids))
    return msgspec.json.encode(LinkagesRequest(data=data))
