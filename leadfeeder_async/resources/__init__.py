"""The resources of the API: one module per resource, with its endpoints and the methods that call them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules

from leadfeeder_async._argument_checks import spelling_hint
from leadfeeder_async._core.endpoint import Endpoint
from leadfeeder_async.errors import ConfigurationError


def all_endpoints() -> list[Endpoint[object]]:
    """Return the endpoints of all resources."""
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    return [row for module in modules for row in vars(module).values() if isinstance(row, Endpoint)]


def check_operations(names: Iterable[str]) -> None:
    """Raise ConfigurationError for unknown operation names, which would otherwise be ignored silently."""
    known = {row.operation for row in all_endpoints()}
    for name in names:
        if name not in known:
            hint = spelling_hint(name, known, "The page 'API coverage' of the documentation lists the operations.")
            raise ConfigurationError(f"Unknown operation {name!r}.", hint=hint)
