"""What you can ask: one module per noun of the API, each with its rows and the methods that use them."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from leadfeeder_async._http.endpoint import Endpoint


def all_rows() -> list[Endpoint[object]]:
    """Return the rows of all nouns."""
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    return [row for module in modules for row in vars(module).values() if isinstance(row, Endpoint)]
