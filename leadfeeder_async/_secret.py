"""A string that errors, tracebacks and pickles do not show."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """A string that is shown only on request and cannot be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A credential cannot be pickled. Read it from the environment in the process that uses it.")

    @property
    def is_blank(self) -> bool:
        """True if it contains only white space."""
        return not self._text.strip()

    @property
    def is_header_safe(self) -> bool:
        """True if an HTTP header can carry it."""
        return self._text.isascii() and self._text.isprintable()

    @property
    def is_one_word(self) -> bool:
        """True if it contains no white space, quotes, angle brackets or backslashes, as access tokens do not."""
        return not set(self._text) & set(" \t\"'<>\\")

    def reveal(self) -> str:
        """Return the string."""
        return self._text
