"""Checks of single arguments. Each one raises an error that names the argument, its value and the correction."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import iscoroutinefunction
from math import inf
from os import fsencode
from pathlib import Path
from reprlib import Repr
from types import UnionType
from typing import NoReturn, TypeGuard

from leadfeeder_async.errors import ConfigurationError, InvalidIdError

_repr = Repr()
_repr.maxstring = _repr.maxother = 100

_NOT_IN_IDS = re.compile(r"[\s/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""White space, slashes, control characters and surrogates."""

_ID_HINT = "Pass the id as the API returned it."


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Return True for a dict or another mapping."""
    return isinstance(value, Mapping)


def is_collection(value: object) -> TypeGuard[Collection[object]]:
    """Return True for a list, a tuple, a set, or another collection that can be read again, but not for text."""
    return isinstance(value, Sequence | AbstractSet) and not isinstance(value, str | bytes)


def _is_iterable(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable)


def show_value(value: object) -> str:
    """Return the repr of a value, shortened if it is long."""
    try:
        return _repr.repr(value)
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        return f"<{type(value).__name__}>"


def reject(name: str, value: object, problem: str, hint: str | None = None) -> NoReturn:
    """Raise ConfigurationError for an argument, or for a part of it such as ``locations[0].city``."""
    raise ConfigurationError(f"{name}={show_value(value)} {problem}", hint=hint, argument=argument_of(name))


def argument_of(name: str) -> str:
    """Return the argument that a name such as ``locations[0].city`` is a part of."""
    return re.split(r"[.\[( ]", name, maxsplit=1)[0]


def spelling_hint(word: str, known: Collection[str], otherwise: str = "") -> str:
    """Return a hint with the known word that is most similar to an unknown one, or with all known words."""
    near = get_close_matches(word, known, 1)
    return f"Did you mean {near[0]!r}?" if near else otherwise or f"Use one of {', '.join(known)}."


def check_integer(name: str, value: object, least: int, most: int | None = None) -> int:
    """Return an integer, or raise ConfigurationError if it is out of range. True and False are not integers."""
    if not isinstance(value, int) or isinstance(value, bool):
        hint = f"Write {name}={value}." if isinstance(value, str) and value.isdecimal() else None
        reject(name, value, "must be an integer.", hint)
    if value < least or (most is not None and value > most):
        reject(name, value, f"must be {least} or more." if most is None else f"must be {least} to {most}.")
    return value


def check_positive(name: str, value: object, unit: str) -> float:
    """Return a finite number above 0, or raise ConfigurationError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        if isinstance(value, str):
            reject(name, value, f"must be a number of {unit}, and not a string.")
        reject(name, value, f"must be a finite number of {unit} above 0.")
    return value


def check_boolean(name: str, value: object) -> bool:
    """Return True or False, or raise ConfigurationError."""
    if not isinstance(value, bool):
        reject(name, value, "must be True or False.")
    return value


def check_string(name: str, value: object) -> str:
    """Return a string, or raise ConfigurationError."""
    if not isinstance(value, str):
        reject(name, value, "must be a string.", _quoted_hint(value))
    try:
        value.encode()
    except UnicodeEncodeError:
        reject(name, value, "contains an unpaired surrogate and cannot be encoded as UTF-8.")
    return value


def check_type(name: str, value: object, kind: type[object] | UnionType, noun: str, hint: str | None = None) -> None:
    """Raise ConfigurationError unless a value has a type, which ``noun`` describes."""
    if not isinstance(value, kind):
        reject(name, value, f"must be {noun}.", hint)


def check_path(name: str, value: object) -> Path:
    """Return the absolute path of a file, which stays the same if the program changes its folder.

    Raises:
        ConfigurationError: It is not a path, or the current folder does not exist any more.
    """
    if not isinstance(value, str | Path):
        reject(name, value, "must be a string or a Path.")
    try:
        # Windows encodes surrogates too, but they are in no name that another program can read.
        is_usable = b"\0" not in (str(value).encode() if sys.platform == "win32" else fsencode(value))
    except UnicodeEncodeError:
        is_usable = False
    if not is_usable:
        reject(name, value, "contains a character that no file name can have.")
    try:
        return Path(value).absolute()
    except FileNotFoundError:
        reject(name, value, "is relative, but the current folder does not exist.")


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Raise ConfigurationError if a file cannot be read in this block."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.", hint="Check the path and its permissions."
        ) from None


def check_function(name: str, value: object) -> None:
    """Raise ConfigurationError unless a value is a function or None. A coroutine function would never be awaited."""
    if value is not None and not callable(value):
        reject(name, value, "must be a function.")
    if iscoroutinefunction(value) or iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004 - the method
        reject(name, value, "must not be a coroutine function, because it is not awaited.")


def check_methods(name: str, value: object, noun: str, *methods: str) -> None:
    """Raise ConfigurationError unless a value is None, or an object with some methods."""
    missing = [method for method in methods if not callable(getattr(value, method, None))]
    if value is not None and (missing or isinstance(value, type)):
        reject(name, value, f"must be {noun}.")


def check_dict(name: str, value: object) -> dict[str, object]:
    """Return a dict, or raise ConfigurationError if it is another type or has keys that are not strings."""
    if not is_mapping(value):
        reject(name, value, "must be a dict.")
    return {check_string(f"{name} key", key): item for key, item in value.items()}


def check_query(name: str, params: object) -> None:
    """Raise ConfigurationError unless each query parameter can be sent."""
    for key, value in check_dict(name, params).items():
        argument, problem = f"{name}[{key!r}]", "must be a string, an integer or a tuple."
        if is_collection(value):
            if not isinstance(value, tuple):
                reject(argument, value, problem, "Pass a tuple of strings.")
            check_strings(argument, value)
        elif value is not None and not isinstance(value, str | int):
            reject(argument, value, problem)


def check_stream(name: str, values: object, item: str) -> None:
    """Raise ConfigurationError unless a value is an iterable or an async iterable. A string or a mapping is not."""
    if isinstance(values, str | bytes) or is_mapping(values):
        reject(name, values, f"is a single {item}.", f"Put it in a list, as in [{item}].")
    if isinstance(values, type) or not (_is_iterable(values) or hasattr(values, "__aiter__")):
        reject(name, values, f"must be an iterable of {item}s.")


def check_list(name: str, values: object) -> tuple[object, ...]:
    """Return the items of a list or of another iterable, or raise ConfigurationError. A string is not a list."""
    if isinstance(values, str | bytes):
        reject(name, values, "must be a list.", f"Write {name}=[{show_value(values)}].")
    if not _is_iterable(values) or hasattr(values, "__aiter__"):
        hint = "Write [item async for item in ...]." if hasattr(values, "__aiter__") else None
        reject(name, values, "must be a list.", hint)
    return tuple(values)


def check_strings(name: str, values: object) -> tuple[str, ...]:
    """Return the strings of a list, or raise ConfigurationError."""
    return tuple(
        value if isinstance(value, str) and value.isascii() else check_string(f"{name}[{index}]", value)
        for index, value in enumerate(check_list(name, values))
    )


def check_id(name: str, value: object) -> str:
    """Return the id of a record, or raise InvalidIdError if no record can have it."""
    if isinstance(value, str):
        if value.isalnum() and value.isascii():
            return value
        if value not in {"", ".", ".."} and not _NOT_IN_IDS.search(value):
            return value
        problem = f"is not an id: it {_id_problem(value)}."
        stripped = value.strip()
        hint = f'Write "{stripped}".' if stripped.isalnum() and stripped.isascii() else _ID_HINT
    else:
        problem, hint = "must be a string.", _quoted_hint(value) or _ID_HINT
    raise InvalidIdError(f"{name}={show_value(value)} {problem}", hint=hint, argument=argument_of(name))


def _id_problem(value: str) -> str:
    found = _NOT_IN_IDS.search(value)
    if found is None:
        return f"is {'a dot path' if value else 'empty'}"
    if found[0].isspace():
        return "contains white space"
    return "contains a slash" if found[0] in "/\\" else "contains a control character or an unpaired surrogate"


def check_ids(name: str, ids: object) -> tuple[str, ...]:
    """Return the ids of a list, or raise InvalidIdError. The API separates ids with commas, so no id has one."""
    wanted = tuple(
        value if isinstance(value, str) and value.isalnum() and value.isascii() else check_id(f"{name}[{index}]", value)
        for index, value in enumerate(check_list(name, ids))
    )
    for index, value in enumerate(wanted):
        if "," in value:
            raise InvalidIdError(
                f"{name}[{index}]={show_value(value)} contains a comma, which separates ids.",
                hint=f"Write {name}={show_value(value.split(','))}.",
                argument=name,
            )
    return wanted


def check_account_id(name: str, value: object) -> str:
    """Return the id of an account, or raise ConfigurationError unless it is plain ASCII without blanks and slashes."""
    if isinstance(value, str):
        if value.isalnum() and value.isascii():
            return value
        if value and value.isascii() and value.isprintable() and not set(value) & set(" /\\"):
            return value
        problem = (
            "is not an account id: it is empty, or contains white space, a slash, or a character that is not ASCII."
        )
        stripped = value.strip()
        hint = _quoted_hint(stripped) if stripped.isalnum() and stripped.isascii() else None
    else:
        problem, hint = "must be a string.", _quoted_hint(value)
    raise ConfigurationError(
        f"{name}={show_value(value)} {problem}",
        hint=hint or "Pass the `id` of an account in `lf.accounts.list()`, or leave it out.",
        argument="account_id" if name.isupper() else argument_of(name),
    )


def _quoted_hint(value: object) -> str | None:
    """Return how to write a number, or a string, as a string."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**18
    if is_number and isinstance(value, float) and value.is_integer():  # a data frame with an empty id has such others
        return f'Write "{value:.0f}", and read the ids as text.'
    return f'Write "{value}".' if is_number or isinstance(value, str) else None
