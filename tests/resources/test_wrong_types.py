"""Every parameter of every public method with values of wrong types."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import date, datetime
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
import pytest
from msgspec import UNSET

from leadfeeder_async import AsyncLeadfeeder, ConfigurationError, LeadfeederError, Pager, ResumePosition
from leadfeeder_async.jobs.progress import OnProgress, Progress
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of

WRONG: dict[str, object] = {
    "none": None,
    "int": 5,
    "huge": 10**5000,
    "bool": True,
    "str": "x",
    "empty": "",
    "blank": " ",
    "surrogate": "a\ud800",
    "bytes": b"x",
    "nan": float("nan"),
    "list": [],
    "list_of_int": [1],
    "list_of_none": [None],
    "list_of_bytes": [b"x"],
    "list_of_str": ["x"],
    "list_of_dict": [{"x": 1}],
    "dict": {},
    "dict_of_int": {"x": 1},
    "dict_with_int_key": {1: "x"},
    "dict_with_object": {"x": object()},
    "object": object(),
    "class": int,
    "date": date(2026, 11, 1),
    "datetime": datetime(2026, 11, 1),  # noqa: DTZ001 - dates have no time zone
    "async": AsyncLeadfeeder("k", account_id="1").tags.list(),
}
"""Values by name. Each one has the wrong type for most parameters."""

GOOD: dict[str, object] = {
    "start_date": "2026-11-01",
    "end_date": "2026-11-02",
    "start_period": "2026-11",
    "end_period": "2026-12",
    "name": "x",
    "scope": "company",
    "type": "text",
    "frequency": "daily",
    "ip": "203.0.113.17",
    "ids": ["1"],
    "list_ids": ["1"],
    "tag_ids": ["1"],
    "company_ids": ["1"],
    "companies": [{"url": "x.test"}],
    "search_terms": ["x"],
    "wz_code": "62",
    "size": 1,
    "pages": 1,
    "position": ResumePosition(),
}
"""A valid value of each required parameter, except ids."""


def public_methods(client: AsyncLeadfeeder) -> dict[str, Callable[..., Any]]:
    """Return the methods of all resources and of the lists, by name."""
    names = [name for name, value in inspect.getmembers(type(client)) if hasattr(value, "func")]  # cached properties
    owners: dict[str, object] = {name: getattr(client, name) for name in names}
    owners["pager"] = client.tags.list()
    owners["id_pager"] = client.companies.get_many(["1"])
    return {
        f"{owner}.{name}": method
        for owner, value in owners.items()
        for name, method in inspect.getmembers(value, inspect.ismethod)
        if not name.startswith("_")
    }


METHODS = public_methods(client_of("http://127.0.0.1:9"))


@cache
def hints(name: str) -> dict[str, object]:
    """Return the types of the parameters of a method."""
    function = METHODS[name].__func__
    names = {"OnProgress": OnProgress, "Progress": Progress, "date": date, "datetime": datetime, "Self": object}
    return get_type_hints(function, {**function.__globals__, **names})


def accepts(expected: object, value: object) -> bool:
    """Return True if a type checker would accept the value. A string is not accepted as a list of strings."""
    origin, args = get_origin(expected), get_args(expected)
    if expected is object:
        return True
    if origin in {Union, UnionType}:
        return any(accepts(member, value) for member in args)
    if origin is Literal:
        return value in args if isinstance(value, str) else False
    if expected in {int, float} and isinstance(value, bool):
        return False
    if expected is msgspec.UnsetType:
        return value is UNSET
    if is_typeddict(expected):
        return isinstance(value, dict)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    if origin is not None and issubclass(origin, Iterable) and args and origin is not Callable:
        is_items = isinstance(value, origin) and not isinstance(value, str | bytes | Pager)
        return is_items and all(accepts(args[0], item) for item in value)
    if isinstance(expected, type):
        return isinstance(value, expected)
    return callable(value)


async def call(lf: AsyncLeadfeeder, name: str, parameter: str, value: object) -> None:
    """Call a method with one value for a parameter and valid values for the required ones."""
    method = public_methods(lf)[name]
    given: dict[str, object] = {}
    for known in inspect.signature(method).parameters.values():
        if known.default is known.empty or (name.endswith(".search") and known.name == "search_terms"):
            given[known.name] = GOOD.get(known.name, "1")
    if name.startswith("campaigns."):
        given |= {key: "2026-11-01" for key in given if key.endswith("_period")}
    given[parameter] = value
    signature = inspect.signature(method)
    positional = [
        given.pop(known.name)
        for known in signature.parameters.values()
        if known.kind is known.POSITIONAL_OR_KEYWORD and known.name in given
    ]
    result = method(*positional, **given)
    if isinstance(result, Pager):
        await result.first()
    elif isinstance(result, AsyncIterator):
        await anext(result, None)
    elif inspect.iscoroutine(result):
        await result


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """A small world that all cases share."""
    async with Sandbox(companies=5, visits=5, rate_limit=False) as running:
        yield running


@pytest.mark.parametrize("name", sorted(METHODS))
async def test_wrong_type_names_its_argument(
    sandbox: Sandbox, name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value is accepted by its annotation, or raises an error that names it before a request is sent."""
    monkeypatch.chdir(tmp_path)
    wrong = list[str]()
    async with client_for(sandbox, retries=0) as lf:
        for parameter in inspect.signature(METHODS[name]).parameters:
            for kind, value in WRONG.items():
                expected = Iterable[str] if parameter == "include" else hints(name)[parameter]  # new names are sent
                sent, is_valid = (
                    lf.stats.requests,
                    accepts(expected, value) or (parameter == "include" and value is None),
                )
                problem = None
                try:
                    await call(lf, name, parameter, value)
                except ConfigurationError as error:
                    if error.argument != parameter and not (is_valid and error.argument is None):
                        problem = f"names {error.argument}: {error}"
                    elif lf.stats.requests != sent:
                        problem = f"was sent before {error}"
                except LeadfeederError as error:
                    problem = None if is_valid else f"{type(error).__name__}: {error}"
                except Exception as error:  # noqa: BLE001 - any other error is the fault that is looked for
                    problem = f"{type(error).__name__}: {error}"
                else:
                    problem = None if is_valid else "was accepted"
                if problem:
                    wrong.append(f"{name}({parameter}={kind}) {problem[:200]}")
    assert not wrong, "\n".join(wrong)


def test_all_resources_are_swept() -> None:
    """The cases cover the methods of each resource and of the lists."""
    assert len(METHODS) > 60
    assert {name.partition(".")[0] for name in METHODS} >= {"companies", "tags", "web_visits", "pager", "id_pager"}
