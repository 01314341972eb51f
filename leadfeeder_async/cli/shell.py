"""Write commands that a user can paste: for PowerShell on Windows, and for a POSIX shell elsewhere."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable

_SAFE_ON_WINDOWS = re.compile(r"[\w+=:./\\-]+")
"""Arguments that PowerShell and cmd take as they are."""

_SPECIAL_IN_DOUBLE_QUOTES = frozenset('"$`%')
"""Characters with a meaning inside double quotes, in PowerShell or in cmd."""


def format_assignment(name: str, value: str) -> str:
    """Return a line that sets an environment variable."""
    return f'$env:{name} = "{value}"' if os.name == "nt" else f"export {name}={value}"


def join_command(arguments: Iterable[str]) -> str:
    """Return a command line."""
    return " ".join(map(quote_argument, arguments))


def quote_argument(argument: str) -> str:
    """Return an argument with quotes if the shell needs them.

    On Windows, the quotes work in cmd too, unless the argument has a double quote or another special character.
    """
    if os.name != "nt":
        return shlex.quote(argument)
    if _SAFE_ON_WINDOWS.fullmatch(argument):
        return argument
    if _SPECIAL_IN_DOUBLE_QUOTES.isdisjoint(argument):
        return f'"{argument}"'
    return "'" + argument.replace("'", "''") + "'"
