"""Checks of single arguments. Each one raises an error that names the argument, its value and the correction."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from reprlib import Repr

from leadfeeder_async.errors import ConfigurationError, InvalidIdError

_repr = Repr()
_repr.maxstring = _repr.maxother = 100

_INVALID_ID_CHARS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters and surrogates."""


def show_value(value: object) -> str:
    """Return the repr of a value, shortened if it is long."""
    return _repr.repr(value)


def spelling_hint(word: str, known: Collection[str], otherwise: str = "") -> str:
    """Return a hint with the known word that is most similar to an unknown one, or with all known words."""
    near = get_close_matches(word, known, 1)
    return f"Did you mean {near[0]!r}?" if near else otherwise or f"Use one of {', '.join(known)}."


def check_integer(name: str, value: object, least: int, most: int | None = None) -> int:
    """Return an integer, or raise ConfigurationError if it is out of range. True and False are not integers."""
    if not isinstance(value, int) or isinstance(value, bool):
        hint = f"Write {name}={value}." if isinstance(value, str) and value.isdecimal() else None
        raise ConfigurationError(f"{name}={show_value(value)} must be an integer.", hint=hint)
    if value < least or (most is not None and value > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        raise ConfigurationError(f"{name}={value!r} must be {bounds}.")
    return value


def check_boolean(name: str, value: object) -> bool:
    """Return True or False, or raise ConfigurationError."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}={show_value(value)} must be True or False.")
    return value


def check_string(name: str, value: object) -> str:
    """Return a string, or raise ConfigurationError."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}={show_value(value)} must be a string.", hint=_quoted_hint(value))
    return value


def check_list(name: str, values: object) -> tuple[object, ...]:
    """Return the items of a list or of another iterable, or raise ConfigurationError. A string is not a list."""
    if isinstance(values, str | bytes):
        shown = show_value(values)
        raise ConfigurationError(f"{name}={shown} must be a list.", hint=f"Write {name}=[{shown}].")
    if not isinstance(values, Iterable):
        raise ConfigurationError(f"{name}={show_value(values)} must be a list.")
    items: Iterable[object] = values
    return tuple(items)


def check_strings(name: str, values: object) -> tuple[str, ...]:
    """Return the strings of a list, or raise ConfigurationError."""
    return tuple(
        value if isinstance(value, str) else check_string(f"{name}[{index}]", value)
        for index, value in enumerate(check_list(name, values))
    )


def check_id(name: str, value: object) -> str:
    """Return the id of a record, or raise InvalidIdError if it is not usable in a URL."""
    if not isinstance(value, str):
        hint = _quoted_hint(value) or "Pass the id as the API returned it."
        raise InvalidIdError(f"{name}={show_value(value)} must be a string.", hint=hint)
    if value.isalnum() and value.isascii():
        return value
    if value in {"", ".", ".."} or _INVALID_ID_CHARS.search(value):
        raise InvalidIdError(
            f"{name}={show_value(value)} is empty, a dot path, or contains characters that a URL cannot carry.",
            hint="Pass the id as the API returned it.",
        )
    return value


def check_ids(name: str, ids: object) -> tuple[str, ...]:
    """Return the ids of a list, or raise InvalidIdError."""
    return tuple(
        value if isinstance(value, str) and value.isalnum() and value.isascii() else check_id(f"{name}[{index}]", value)
        for index, value in enumerate(check_list(name, ids))
    )


def check_account_id(name: str, value: object) -> str:
    """Return the id of an account, or raise ConfigurationError unless it is plain ASCII without blanks and slashes."""
    hint = "Pass the id as `lf.accounts.list()` returns it."
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}={show_value(value)} must be a string.", hint=_quoted_hint(value) or hint)
    if value.isalnum() and value.isascii():
        return value
    if not value:
        raise ConfigurationError(f"{name}={value!r} is empty.", hint="Leave it out to use the client's own account.")
    if value.isascii() and value.isprintable() and not set(value) & set(" /\\"):
        return value
    raise ConfigurationError(
        f"{name}={show_value(value)} contains a blank, a slash, a control character, or one that is not ASCII.",
        hint=_quoted_hint(value.strip()) if value.strip().isalnum() else hint,
    )


def _quoted_hint(value: object) -> str | None:
    """Return how to write a number, or a string without its blanks, as a string."""
    return f'Write "{value}".' if isinstance(value, int | str) and not isinstance(value, bool) else None
