"""Every parameter of every public method with values of wrong types."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import date, datetime
from functools import cache, partial
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
import pandas as pd
import polars as pl
import pytest
from msgspec import UNSET

from leadfeeder_async import (
    AsyncLeadfeeder,
    Budget,
    ConfigurationError,
    LeadfeederError,
    MultiAccountPager,
    Pager,
    ResumePosition,
)
from leadfeeder_async.jobs.bulk.bulk_change import Bulk, BulkChange
from leadfeeder_async.jobs.enrich.enrichment import Enrichment, Enrichments
from leadfeeder_async.jobs.progress import OnProgress, Progress
from leadfeeder_async.jobs.watch.state_store import WatchStore
from leadfeeder_async.jobs.watch.watcher import OnStatus
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
    names |= {"OnStatus": OnStatus, "WatchStore": WatchStore, "pl": pl, "pd": pd}
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
        return isinstance(value, int | float if expected is float else expected)
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
    elif isinstance(result, AsyncIterator) and name != "web_visits.watch":  # which has no end
        await anext(result, None)
    elif inspect.iscoroutine(result):
        await result


async def problem_of(
    lf: AsyncLeadfeeder, use: Callable[[], Awaitable[None]], parameter: str, *, is_valid: bool
) -> str | None:
    """Return why a call with one value for a parameter is wrong, or None."""
    sent = lf.stats.requests
    try:
        await use()
    except ConfigurationError as error:
        if error.argument != parameter and not (is_valid and error.argument is None):
            return f"names {error.argument}: {error}"
        return f"was sent before {error}" if lf.stats.requests != sent and not is_valid else None
    except LeadfeederError as error:
        return None if is_valid else f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - any other error is the fault that is looked for
        return f"{type(error).__name__}: {error}"
    return None if is_valid else "was accepted"


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
                is_valid = accepts(expected, value) or (parameter == "include" and value is None)
                problem = await problem_of(lf, partial(call, lf, name, parameter, value), parameter, is_valid=is_valid)
                if problem:
                    wrong.append(f"{name}({parameter}={kind}) {problem[:200]}")
    assert not wrong, "\n".join(wrong)


def test_all_resources_are_swept() -> None:
    """The cases cover the methods of each resource and of the lists."""
    assert len(METHODS) > 60
    assert {name.partition(".")[0] for name in METHODS} >= {"companies", "tags", "web_visits", "pager", "id_pager"}


def construct(_: AsyncLeadfeeder, **given: Any) -> object:
    credential = {} if "access_token" in given else {"api_key": "k"}
    return AsyncLeadfeeder(**{**credential, "account_id": "1", **given})


def sweep(lf: AsyncLeadfeeder, **given: Any) -> object:
    return lf.sweep(given.get("account_ids", ["1"]), given.get("list_of", lambda account: account.tags.list()))


def watch_accounts(lf: AsyncLeadfeeder, **given: Any) -> object:
    return lf.watch_accounts(given.pop("account_ids", ["1"]), **given)


def request(lf: AsyncLeadfeeder, **given: Any) -> object:
    arguments = {"method": "GET", "path": "/v1/tags", **given}
    return lf.request(arguments.pop("method"), arguments.pop("path"), **arguments)


def companies(lf: AsyncLeadfeeder, **given: Any) -> object:
    arguments = {"rows": ["x.test"], "by": "domain", **given}
    return lf.enrich.companies(arguments.pop("rows"), **arguments)


def ips(lf: AsyncLeadfeeder, **given: Any) -> object:
    return lf.enrich.ips(given.pop("ips", ["203.0.113.17"]), **given)


def enriched_file(lf: AsyncLeadfeeder, **given: Any) -> object:
    return lf.enrich.companies(["10"], by="vat").to_file(given.pop("path", "x.ndjson"), **{"overwrite": True, **given})


def bulk(name: str) -> Callable[..., object]:
    """Return a function that makes a bulk change."""

    def change(lf: AsyncLeadfeeder, **given: Any) -> object:
        method = getattr(lf.bulk, name)
        first, second, *_ = inspect.signature(method).parameters
        return method(given.pop(first, ["1"]), given.pop(second, ["2"]), **given)

    return change


def changed_file(lf: AsyncLeadfeeder, **given: Any) -> object:
    change = lf.bulk.assign_tags([], ["2"])
    return change.to_file(given.pop("path", "x.ndjson"), **{"overwrite": True, **given})


def changed(lf: AsyncLeadfeeder, **given: Any) -> object:
    return lf.bulk.assign_tags([], ["2"]).run(**given)


OTHERS: dict[str, tuple[Callable[..., object], Callable[..., object]]] = {
    "AsyncLeadfeeder": (AsyncLeadfeeder.__init__, construct),
    "with_options": (AsyncLeadfeeder.with_options, lambda lf, **given: lf.with_options(**given)),
    "budget": (AsyncLeadfeeder.budget, lambda lf, **given: lf.budget(**given)),
    "Budget": (Budget.__init__, lambda _, **given: Budget(**given)),
    "sweep": (AsyncLeadfeeder.sweep, sweep),
    "watch_accounts": (AsyncLeadfeeder.watch_accounts, watch_accounts),
    "request": (AsyncLeadfeeder.request, request),
    "MultiAccountPager": (MultiAccountPager.__init__, lambda _, **given: MultiAccountPager(**given)),
    "enrich.companies": (Enrichments.companies, companies),
    "enrich.ips": (Enrichments.ips, ips),
    "enrich.to_file": (Enrichment.to_file, enriched_file),
    "bulk.to_file": (BulkChange.to_file, changed_file),
    "bulk.run": (BulkChange.run, changed),
    **{
        f"bulk.{name}": (getattr(Bulk, name), bulk(name))
        for name in ("assign_tags", "unassign_tags", "add_to_lists", "remove_from_lists")
    },
}
"""Functions that are not methods of a resource: the function with their parameters, and one that calls them."""

ACCEPTED: dict[tuple[str, str], set[str]] = {
    ("AsyncLeadfeeder", "api_key"): {"str", "empty", "blank", "class"},
    ("AsyncLeadfeeder", "access_token"): {"str", "empty", "blank", "class"},
    ("AsyncLeadfeeder", "account_id"): {"str"},
    ("AsyncLeadfeeder", "on_attempt"): {"class"},
    ("AsyncLeadfeeder", "trace_configs"): {"list", "dict"},
    ("AsyncLeadfeeder", "paths"): {"dict"},
    ("AsyncLeadfeeder", "base_url"): {"empty"},
    ("with_options", "account_id"): {"str"},
    ("request", "method"): {"str"},
    ("request", "params"): {"dict", "dict_of_int"},
    ("request", "returns"): {"class"},
    ("sweep", "account_ids"): {"list", "list_of_str", "dict", "dict_of_int", "dict_with_object"},
    ("sweep", "list_of"): {"class"},
    ("watch_accounts", "account_ids"): {"list_of_str", "dict", "dict_of_int", "dict_with_object"},
    ("watch_accounts", "every"): {"int"},
    ("watch_accounts", "since"): {"date", "datetime"},
    ("watch_accounts", "state"): {"str", "class"},
    ("watch_accounts", "lookback_days"): {"int"},
    ("watch_accounts", "on_status"): {"class"},
    ("MultiAccountPager", "pagers"): {"dict"},
    ("*", "account_id"): {"str"},
    ("*", "column"): {"str", "empty", "blank"},
    ("*", "rows"): {"list", "list_of_str", "list_of_dict", "async"},
    ("*", "ips"): {"list", "list_of_str", "list_of_dict", "async"},
    ("*", "ids"): {"list", "list_of_str", "async"},
    ("*", "company_ids"): {"list", "list_of_str", "async"},
    ("*", "tag_ids"): {"list_of_str"},
    ("*", "list_ids"): {"list_of_str"},
    ("request", "path"): set(),
    ("*", "path"): {"str", "empty", "blank"},
    ("*", "on_progress"): {"class"},
    ("*", "include"): {"list", "list_of_str", "dict", "dict_of_int", "dict_with_object"},
}
"""The values that are accepted, by function and parameter, beside those by type. `*` means any other function."""

INTEGERS = {"rate", "burst", "max_concurrency", "timeout", "retries", "monthly_quota", "max_body_bytes"}
INTEGERS |= {"max_search_rows", "deadline", "max_requests", "max_credits", "limit"}
BOOLEANS = {"trust_env", "allow_http", "idempotent", "may_charge", "ordered", "allow_free_mail", "resume"}
BOOLEANS |= {"overwrite", "retry_failed"}
NOT_NONE = {"rate", "burst", "max_concurrency", "monthly_quota", "max_body_bytes", "max_search_rows"}
"""Parameters that do not accept None, although others of their kind do."""

ITEMS = {"rows", "ips", "ids", "company_ids"}
"""Streams of which each item is checked when it is read."""


def is_accepted(name: str, parameter: inspect.Parameter, kind: str) -> bool:
    known, default = parameter.name, parameter.default
    values = ACCEPTED.get((name, known), ACCEPTED.get(("*", known), set()))
    is_optional = default is None and known not in NOT_NONE
    is_integer = known in INTEGERS and kind in {"int", "huge"}
    is_item = known in ITEMS and kind.startswith("list_of")
    return (
        kind in values
        or (kind == "none" and is_optional)
        or is_integer
        or (known in BOOLEANS and kind == "bool")
        or is_item
        or known == "json"
    )


async def call_other(use: Callable[..., object], lf: AsyncLeadfeeder, parameter: str, value: object) -> None:
    result = use(lf, **{parameter: value})
    if inspect.iscoroutine(result):
        await result


@pytest.mark.parametrize("name", OTHERS)
async def test_wrong_type_of_other_functions(
    sandbox: Sandbox, name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong value for the client, a job, a budget or several accounts raises an error that names its argument."""
    monkeypatch.chdir(tmp_path)
    function, use = OTHERS[name]
    wrong = list[str]()
    async with client_for(sandbox, retries=0) as lf:
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name == "self":
                continue
            for kind, value in WRONG.items():
                is_valid = is_accepted(name, parameter, kind)
                call_it = partial(call_other, use, lf, parameter.name, value)
                problem = await problem_of(lf, call_it, parameter.name, is_valid=is_valid)
                is_own = is_valid and kind == "class"  # a function of the caller that fails
                if problem and not is_own:
                    wrong.append(f"{name}({parameter.name}={kind}) {problem[:200]}")
    assert not wrong, "\n".join(wrong)
