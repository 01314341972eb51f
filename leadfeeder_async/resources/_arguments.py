"""What the methods of all nouns do with their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from leadfeeder_async.settings import require

T = TypeVar("T")


def comma_list(name: str, values: Iterable[str] | None) -> tuple[str, ...] | None:
    """Turn an iterable of texts into a query list; None and empty are left out."""
    require(not isinstance(values, str), f"{name}={values!r} must be a list of texts.", f"Write {name}=[{values!r}].")
    return tuple(values or ()) or None


def filled(name: str, values: Sequence[T] | None) -> Sequence[T] | None:
    """Refuse an empty list, which the API does not take; None is left out of the body."""
    require(not isinstance(values, str), f"{name}={values!r} must be a list.", f"Write {name}=[{values!r}].")
    require(values is None or len(values) > 0, f"{name} is empty.", f"Leave {name} out, or name at least one.")
    return values
