"""The markers that follow from the code of a test: ``redis``, ``browser``, ``e2e`` and ``slow``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType

import pytest

from tests.cli.command import RUN_MAIN

MARKERS_OF_FIXTURES = {"redis_server": "redis", "browser": "browser"}


def markers_of(item: pytest.Item) -> Iterator[str]:
    """Yield the markers that follow from the fixtures, the code and the timeout of a test."""
    fixtures = set(getattr(item, "fixturenames", ()))
    yield from (marker for fixture, marker in MARKERS_OF_FIXTURES.items() if fixture in fixtures)
    if runs_command(getattr(item, "function", None)):
        yield "e2e"
    timeout = item.get_closest_marker("timeout")
    if timeout is not None and timeout.args[0] > float(item.config.getini("timeout")):
        yield "slow"


def runs_command(function: object) -> bool:
    """Return True if a test starts the ``leadfeeder`` command in a new Python, itself or through other functions."""
    pending, seen = [inspect.unwrap(function) if callable(function) else function], set[object]()
    while pending:
        value = pending.pop()
        if isinstance(value, str) and RUN_MAIN in value:
            return True
        if isinstance(value, tuple):
            pending.extend(value)
        elif isinstance(value, FunctionType) and is_of_tests(value) and value not in seen:
            seen.add(value)
            pending.extend(values_used_by(value))
    return False


def is_of_tests(function: FunctionType) -> bool:
    """Return True for functions of the tests, except those of this module, which mention the command."""
    return function.__module__.startswith("tests.") and function.__module__ != __name__


def values_used_by(function: FunctionType) -> Iterator[object]:
    """Yield the defaults, the constants and the global values of a function and of the functions in it."""
    yield function.__defaults__
    yield from (function.__kwdefaults__ or {}).values()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes.extend(constant for constant in code.co_consts if isinstance(constant, CodeType))
        yield code.co_consts
        yield from (function.__globals__.get(name) for name in code.co_names)
