"""The public API as griffe reads it from the source: every name, every signature, one line each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TypeAlias

import griffe

from tests.support.paths import ROOT

PACKAGE = "leadfeeder_async"
INTERNAL = {"leadfeeder_async.sandbox.operations"}
"""Modules that say what they export, but to this package only."""
UNSAID = {"__init__", "__post_init__", "__repr__", "__class_getitem__"}
"""Methods that nobody calls by name; the first is shown as the class's own signature."""

Thing: TypeAlias = griffe.Object | griffe.Alias


@cache
def package() -> griffe.Module:
    """Read the package without importing it."""
    found = griffe.load(PACKAGE, search_paths=[ROOT], allow_inspection=False, resolve_aliases=True)
    assert isinstance(found, griffe.Module)
    return found


def modules(inside: griffe.Module | None = None) -> Iterator[griffe.Module]:
    """Yield the modules that export names, and those of the nouns."""
    module = inside or package()
    exports = module.exports is not None and module.path not in INTERNAL
    if exports or (module.path.startswith(f"{PACKAGE}.resources.") and not module.name.startswith("_")):
        yield module
    for inner in module.modules.values():
        if not inner.is_alias and isinstance(inner, griffe.Module):
            yield from modules(inner)


def names(module: griffe.Module) -> list[str]:
    """Return the public names of a module: what it exports, or else the classes it defines."""
    if module.exports is not None:
        return sorted(str(name) for name in module.exports)
    return sorted(name for name, one in module.classes.items() if name[0] != "_" and not one.is_alias)


def members(owner: Thing) -> Iterator[Thing]:
    """Yield the public members that a class defines, in the order of the source."""
    for name, one in owner.members.items():
        said = name.startswith("__") and name.endswith("__") and name not in UNSAID
        if said or not name.startswith("_"):
            yield one


def signatures(one: Thing) -> list[str]:
    """Return how a name is used: a signature, several where it is overloaded, or its type; defaults as values."""
    return [re.sub(r"(?<== )[A-Z][A-Z_]+\b(?!\.)", lambda name: _value(one, name[0]), text) for text in _shown(one)]


def _value(one: Thing, name: str) -> str:
    """Return what a constant of this package stands for; another's name stays a name."""
    try:
        return str(package()[one.resolve(name).removeprefix(f"{PACKAGE}.")].value)
    except (KeyError, griffe.NameResolutionError):
        return name


def _shown(one: Thing) -> list[str]:
    if one.is_class:
        return [_class(one)]
    if one.is_function:
        kind = "async " if "async" in one.labels else ""
        return [f"{kind}{each.signature(return_type=False)} -> {each.returns}" for each in one.overloads or [one]]
    if one.annotation is not None:
        default = "" if one.value is None or "property" in one.labels else f" = {one.value}"
        return [f"{one.name}: {one.annotation}{default}"]
    return [one.name if one.name == "__version__" else f"{one.name} = {one.value}"]


def _class(one: Thing) -> str:
    bases = ", ".join(str(base) for base in one.bases)
    init = one.members.get("__init__")
    shown = f"class {one.name}({bases})" if bases else f"class {one.name}"
    if init is None or any(str(part.annotation) == "RequestExecutor" for part in init.parameters):
        return shown  # a Struct, whose fields follow, or made by the client only
    return f"{shown}: {init.signature(return_type=False, name='__init__')}"


def lines() -> list[str]:
    """Return the whole public API, a line for each name."""
    return sorted(line for module in modules() for name in names(module) for line in _lines(module.path, module[name]))


def _lines(place: str, one: Thing) -> Iterator[str]:
    for text in signatures(one):
        yield f"{place}: {text}"
    if one.is_class:
        for member in members(one):
            yield from (f"{place}.{one.name}: {text}" for text in signatures(member))
