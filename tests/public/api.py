"""The public API as griffe reads it from the source: every name and every signature, one line each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TypeAlias

import griffe

from tests.support.paths import ROOT

PACKAGE = "leadfeeder_async"
INTERNAL = {"leadfeeder_async.sandbox.operations"}
"""Modules whose exports are for this package only."""
HIDDEN_METHODS = {"__init__", "__post_init__", "__repr__", "__class_getitem__", "__slots__"}
"""Methods that are not called by name. ``__init__`` is shown as the signature of its class."""

MIXINS = "leadfeeder_async.models.shortcuts"
"""The module of classes that are not public, but whose members are."""

ApiObject: TypeAlias = griffe.Object | griffe.Alias


@cache
def package() -> griffe.Module:
    """Return the package, read without importing it."""
    loaded = griffe.load(PACKAGE, search_paths=[ROOT], allow_inspection=False, resolve_aliases=True)
    assert isinstance(loaded, griffe.Module)
    return loaded


def modules(inside: griffe.Module | None = None) -> Iterator[griffe.Module]:
    """Yield the modules that export names, and the modules of the resources."""
    module = inside or package()
    exports = module.exports is not None and module.path not in INTERNAL
    if exports or (module.path.startswith(f"{PACKAGE}.resources.") and not module.name.startswith("_")):
        yield module
    for inner in module.modules.values():
        if not inner.is_alias and isinstance(inner, griffe.Module):
            yield from modules(inner)


def names(module: griffe.Module) -> list[str]:
    """Return the public names of a module: its exports, or the classes it defines if it declares no exports."""
    if module.exports is not None:
        return sorted(str(name) for name in module.exports)
    return sorted(name for name, kind in module.classes.items() if name[0] != "_" and not kind.is_alias)


def members(owner: ApiObject) -> Iterator[ApiObject]:
    """Yield the public members that a class defines or has from a mixin, in the order of the source."""
    mixins = [base for base in owner.resolved_bases if base.module.path == MIXINS] if owner.is_class else []
    for name, member in (pair for kind in (owner, *mixins) for pair in kind.members.items()):
        is_special = name.startswith("__") and name.endswith("__") and name not in HIDDEN_METHODS
        if is_special or not name.startswith("_"):
            yield member


def signatures(member: ApiObject) -> list[str]:
    """Return the signature of a name, one per overload, or its type. Constants in defaults are replaced by values."""
    return [re.sub(r"(?<== )[A-Z][A-Z_]+\b(?!\.)", lambda name: _value(member, name[0]), text) for text in _raw(member)]


def _value(member: ApiObject, name: str) -> str:
    """Return the value of a constant of this package. Constants of other packages stay names."""
    try:
        return str(package()[member.resolve(name).removeprefix(f"{PACKAGE}.")].value)
    except (KeyError, griffe.NameResolutionError):
        return name


def _raw(member: ApiObject) -> list[str]:
    if member.is_class:
        return [_class(member)]
    if member.is_function:
        prefix = "async " if "async" in member.labels else ""
        functions = member.overloads or [member]
        return [f"{prefix}{function.signature(return_type=False)} -> {function.returns}" for function in functions]
    if member.annotation is not None:
        default = "" if member.value is None or "property" in member.labels else f" = {member.value}"
        return [f"{member.name}: {member.annotation}{default}"]
    return [member.name if member.name == "__version__" else f"{member.name} = {member.value}"]


def _class(kind: ApiObject) -> str:
    bases = ", ".join(str(base) for base in kind.bases)
    init = kind.members.get("__init__")
    shown = f"class {kind.name}({bases})" if bases else f"class {kind.name}"
    if init is None or any(str(parameter.annotation) == "RequestExecutor" for parameter in init.parameters):
        return shown  # a Struct, whose fields follow, or a class that only the client creates
    return f"{shown}: {init.signature(return_type=False, name='__init__')}"


def lines() -> list[str]:
    """Return the complete public API, one line per name."""
    return sorted(line for module in modules() for name in names(module) for line in _lines(module.path, module[name]))


def _lines(module: str, member: ApiObject) -> Iterator[str]:
    for text in signatures(member):
        yield f"{module}: {text}"
    if member.is_class:
        for inner in members(member):
            yield from (f"{module}.{member.name}: {text}" for text in signatures(inner))
