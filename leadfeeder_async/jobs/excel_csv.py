"""The CSV dialect that Excel opens by a double-click."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import NamedTuple

ENCODING = "utf-8-sig"
"""UTF-8 with a byte order mark. Without it, Excel reads a file as the legacy encoding of its region."""

_FORMULA_START = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""The first characters of a cell that spreadsheets can read as a formula, also in their wide forms."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:[.,][0-9]{1,15})?")

_COMMA_LANGUAGES = frozenset((
    "am", "ar", "bn", "cy", "en", "fa", "fil", "ga", "gd", "gu", "ha", "he", "hi", "ig", "ja", "kn", "ko", "ml", "mr",
    "ms", "mt", "my", "ne", "pa", "si", "sw", "ta", "te", "th", "ur", "yo", "zh", "zu",  # codespell:ignore te
))  # fmt: skip
"""Languages whose regions separate lists by commas, because their decimal sign is a point."""

_COMMA_REGIONS = frozenset(
    f"es_{region}" for region in ("CR", "CU", "DO", "GT", "HN", "MX", "NI", "PA", "PE", "PR", "SV", "US")
)
_SEMICOLON_REGIONS = frozenset(("en_ZA",))


def guard_formula(text: str) -> str:
    """Return a cell with an apostrophe before it if a spreadsheet would read it as a formula.

    A cell that looks like a guarded one gets another apostrophe, so that :func:`remove_guard` restores every text.
    """
    is_formula = text.startswith(_FORMULA_START) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula or _is_guarded(text) else text


def remove_guard(text: str) -> str:
    """Return a cell without the apostrophe of :func:`guard_formula`."""
    return text[1:] if _is_guarded(text) else text


def _is_guarded(text: str) -> bool:
    return text.startswith("'") and text.lstrip("'").startswith(_FORMULA_START)


class Region(NamedTuple):
    """The signs with which Excel reads CSV files in a region."""

    separator: str
    """A comma or a semicolon."""
    decimal_sign: str
    """A point or a comma."""


def current_region() -> Region:
    """Return the signs of this computer's region.

    Windows knows them. Elsewhere, they depend on the locale in ``LC_ALL``, ``LC_NUMERIC`` or ``LANG``.
    """
    if sys.platform == "win32":
        separator = ";" if _windows_setting("sList", ",") == ";" else ","
        has_comma = separator == ";" and _windows_setting("sDecimal", ".") == ","
        return Region(separator, "," if has_comma else ".")
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_NUMERIC", "LANG"))
    return region_of_locale(next(filter(None, names), ""))


def _windows_setting(name: str, default: str) -> str:
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 - only on Windows

        with suppress(OSError), winreg.OpenKey(winreg.HKEY_CURRENT_USER, r"Control Panel\International") as key:
            return str(winreg.QueryValueEx(key, name)[0])
    return default


def region_of_locale(name: str) -> Region:
    """Return the signs of a locale such as ``de_DE.UTF-8``. The default is a comma and a point."""
    region = re.split(r"[.@]", name)[0].replace("-", "_")
    language = region.split("_")[0].lower()
    uses_comma = language in _COMMA_LANGUAGES or region in _COMMA_REGIONS or not re.fullmatch(r"[a-z]{2,3}", language)
    separator = ";" if region in _SEMICOLON_REGIONS or not uses_comma else ","
    has_point = separator == "," or re.search("[-_](?:CH|LI)", name)  # they write semicolons and points
    return Region(separator, "." if has_point else ",")


def number_text(number: float, decimal_sign: str) -> str:
    """Return a number with the decimal sign of a region. Excel would read ``6.4`` as a date in some of them."""
    return str(number).replace(".", decimal_sign)
