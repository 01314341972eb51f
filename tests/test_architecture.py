"""The shape of the house: arrows, rows, names and sizes."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import msgspec
import pytest
import yaml

import leadfeeder_async
from leadfeeder_async import AsyncLeadfeeder, LeadfeederError, resources
from leadfeeder_async._core.endpoint import AccountScope, Billing, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async.models import SCHEMAS
from leadfeeder_async.resources import accounts
from leadfeeder_async.sandbox.operations import ROUTES
from tests.support.paths import CONTRACT, PACKAGE, ROOT

RESOURCES = [import_module(f"leadfeeder_async.resources.{found.name}") for found in iter_modules(resources.__path__)]
ROWS: list[Endpoint[Any]] = [
    value for module in RESOURCES for value in vars(module).values() if isinstance(value, Endpoint)
]


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    text = CONTRACT.read_text()
    document: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document


def test_imports_point_downward() -> None:
    """The contracts in pyproject.toml hold: layers, an ignorant sandbox, one module that knows aiohttp's client."""
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 kept, 0 broken" in result.stdout


def test_import_is_light() -> None:
    """Importing the package loads next to nothing; the client and the command load neither aiohttp nor anyio.

    The pytest plugin loads nothing beside pytest, since it is part of every test run of whoever has the package.
    """
    check = "import sys; {}; print(sorted({{'aiohttp', 'anyio', 'asyncio', 'msgspec'}} & set(sys.modules)))"
    for code, loaded in (
        ("import leadfeeder_async", []),
        ("from leadfeeder_async import models, LeadfeederError", ["msgspec"]),
        ("from leadfeeder_async import AsyncLeadfeeder", ["asyncio", "msgspec"]),
        ("import leadfeeder_async.cli.app, rich, cyclopts", ["asyncio", "msgspec"]),
        ("import leadfeeder_async._pytest_plugin", []),
    ):
        got = subprocess.run([sys.executable, "-c", check.format(code)], capture_output=True, text=True, check=True)
        assert got.stdout.strip() == str(loaded), code


def test_public_names_are_where_type_checkers_look() -> None:
    """Each public name is, when it is asked for, what the imports for type checkers say; others are refused."""
    tree = ast.parse(Path(leadfeeder_async.__file__).read_text())
    guarded = next(one for one in tree.body if isinstance(one, ast.If))
    said = {name.name: one.module for one in guarded.body if isinstance(one, ast.ImportFrom) for name in one.names}
    modules = {name for name, home in said.items() if home == "leadfeeder_async"}
    assert {*said, "__version__"} - modules == set(leadfeeder_async.__all__)
    for name, home in said.items():
        assert getattr(leadfeeder_async, name) is getattr(import_module(home), name), name
        assert "._" not in getattr(getattr(leadfeeder_async, name), "__module__", ""), name
    assert set(said) <= set(dir(leadfeeder_async))
    for name in sorted(leadfeeder_async._MODULES):
        assert getattr(leadfeeder_async, name) is import_module(f"leadfeeder_async.{name}")
    with pytest.raises(AttributeError, match="'leadfeeder_async' has no attribute 'Leadfeeder'"):
        leadfeeder_async.Leadfeeder  # noqa: B018


def retry_safety_of(endpoint: Endpoint[Any], operation: dict[str, Any]) -> RetrySafety:
    """Return the retry safety that the contract implies."""
    if billing_of(endpoint, operation) is not Billing.FREE:
        return RetrySafety.BILLED_READ
    if endpoint.operation.startswith("create_"):
        return RetrySafety.NON_IDEMPOTENT
    if endpoint.operation.startswith(("search_", "match_")):
        return RetrySafety.SAFE_SEARCH
    return RetrySafety.SAFE if endpoint.method == "GET" else RetrySafety.IDEMPOTENT


def billing_of(endpoint: Endpoint[Any], operation: dict[str, Any]) -> Billing:
    """Return the billing that the contract implies: per item of a list, per id of a parameter, or per request."""
    if not operation["x-credits"].startswith(("1 per", "about 1 per", "not published")):
        return Billing.FREE
    if {"ids", "company_ids"} & set(endpoint.params):
        return Billing.PER_ID
    return Billing.PER_REQUEST if endpoint.pagination is PaginationStyle.NONE else Billing.PER_ITEM


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.operation)
def test_row_agrees_with_the_contract(row: Endpoint[Any], contract: dict[str, Any]) -> None:
    """Method, path, parameters, paging, account, charge and answer of each row are those of its operation."""
    assert row.path in contract["paths"], f"{row.operation}: the contract has no path {row.path}"
    operation = contract["paths"][row.path][row.method.lower()]
    assert operation["operationId"] == row.operation
    known = contract["components"]["parameters"]
    found = [known[one["$ref"].rsplit("/")[-1]] for one in operation.get("parameters", ())]
    names = [one["name"] for one in found if one["in"] == "query"]
    paging = {"cursor": PaginationStyle.CURSOR, "page-number": PaginationStyle.PAGE_NUMBER}.get(
        operation["x-pagination"], PaginationStyle.NONE
    )
    assert row.pagination is (PaginationStyle.ID_BATCH if "ids" in names else paging)
    assert sorted(row.params) == sorted(one for one in names if one != "account_id" and not one.startswith("page["))
    assert [one["name"] for one in found if one["in"] == "path"] == re.findall(r"{(\w+)}", row.path)
    required = {one["name"]: one["required"] for one in found}
    if row is accounts.LIST_ACCOUNTS:
        assert row.account is AccountScope.NONE
    elif row is not accounts.GET_ACCOUNT:
        assert row.account is (AccountScope.REQUIRED if required.get("account_id") else AccountScope.NONE)
    assert row.billing is billing_of(row, operation)
    assert (row.billed_param in row.params) is (row.billing is Billing.PER_ID)
    assert row.retry_safety is retry_safety_of(row, operation)
    assert bool(row.verification_hint) == (row.retry_safety in {RetrySafety.BILLED_READ, RetrySafety.NON_IDEMPOTENT})


def test_lost_request_names_the_call_that_finds_out() -> None:
    """The hint for each request that may have charged or created names a call, which exists, is free and reads."""
    costly = [row for row in ROWS if row.retry_safety in {RetrySafety.BILLED_READ, RetrySafety.NON_IDEMPOTENT}]
    assert len(costly) == 12
    lf = AsyncLeadfeeder("k")
    for row in costly:
        noun, verb = re.findall(r"`lf\.(\w+)\.(\w+)\(", row.verification_hint)[0]
        method = inspect.unwrap(getattr(getattr(lf, noun), verb))
        used = [other for other in ROWS if f"``{other.operation}``" in (inspect.getdoc(method) or "")]
        assert used, row.operation
        assert all(one.retry_safety is RetrySafety.SAFE and one.billing is Billing.FREE for one in used), row.operation


def test_every_operation_has_a_row_and_an_answer(contract: dict[str, Any]) -> None:
    """All operations of the contract can be called, and the sandbox answers them with the same parameters."""
    operations = {
        operation["operationId"]: (method.upper(), path)
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
    }
    assert len(operations) == 53
    assert {row.operation: (row.method, row.path) for row in ROWS} == operations
    assert {route.name: (route.method, route.path) for route in ROUTES} == operations
    params = {row.operation: sorted(row.params) for row in ROWS}
    assert {route.name: sorted(route.params) for route in ROUTES} == params


def test_every_schema_has_a_type(contract: dict[str, Any]) -> None:
    """``SCHEMAS`` maps every schema of the contract, and the types are exported under the API's own names."""
    assert set(SCHEMAS) == set(contract["components"]["schemas"])
    for name in SCHEMAS:
        plain = re.sub(r"V1$", "", name)
        if not re.fullmatch(r"Error\d+|Schemas|Meta(Credits|Pagination)", plain):
            assert hasattr(sys.modules["leadfeeder_async.models"], plain), name


def test_each_row_is_used_by_one_method() -> None:
    """A row stands for one public method, whose docstring shows a call and names the operation and its charge."""
    for module in RESOURCES:
        source = inspect.getsource(module)
        docs = [
            inspect.getdoc(method) or ""
            for group in vars(module).values()
            if inspect.isclass(group) and group.__module__ == module.__name__
            for name, method in vars(group).items()
            if inspect.isfunction(method) and not name.startswith("_")
        ]
        for name, row in vars(module).items():
            if isinstance(row, Endpoint):
                about = [doc for doc in docs if f"``{row.operation}``" in doc]
                assert about, f"no method of {module.__name__} names {row.operation}"
                assert len(re.findall(rf"\b{name}\b", source)) >= 2, f"{name} is not used"
                assert all("Credits:" in doc for doc in about), f"{name}: what does it charge?"
                assert all("lf." in doc for doc in about), f"{name}: show the call"
                told = ("InsufficientCreditsError", "OutcomeUnknownError") if row.is_billed else ()
                assert all(error in doc for doc in about for error in told), f"{name}: what can it cost?"


def test_public_names_are_sorted_and_real() -> None:
    """``__all__`` is sorted, complete and importable; every error is public."""
    names = leadfeeder_async.__all__
    assert names == sorted(names)
    assert all(hasattr(leadfeeder_async, name) for name in names)
    errors = {value.__name__ for value in vars(sys.modules["leadfeeder_async.errors"]).values() if _is_error(value)}
    assert errors <= set(names)
    tree = sys.modules["leadfeeder_async.errors"].__doc__ or ""
    assert all(name in tree for name in errors)


def _is_error(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, LeadfeederError)


NOUN_FOLDERS = {"models", "resources", "operations"}
"""Folders whose modules are named after the nouns of the API, and therefore share names."""


def test_module_and_class_names_are_unique() -> None:
    """A module name and a public class name occur once in the package."""
    modules, classes = list[str](), list[str]()
    for path in PACKAGE.rglob("*.py"):
        if "sandbox" in path.parts:  # a server, whose parts are named as the client's are
            continue
        if path.stem != "__init__" and path.parent.name not in NOUN_FOLDERS:
            modules.append(path.stem)
        tree = ast.parse(path.read_text())
        classes.extend(node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_")
    modules.extend(path.name for path in PACKAGE.rglob("*") if path.is_dir() and path.name[0] != "_")
    modules.remove("sync")  # the public module and the folder that implements it
    assert [name for name, count in Counter(modules).items() if count > 1] == []
    assert [name for name, count in Counter(classes).items() if count > 1] == []


def test_models_are_frozen_and_tolerant() -> None:
    """Every model is frozen and keyword-only, requires nothing but an id, and forbids no unknown field."""
    for path in (PACKAGE / "models").glob("*.py"):
        module = sys.modules[f"leadfeeder_async.models.{path.stem}"] if path.stem != "__init__" else None
        for value in vars(module).values() if module else ():
            if inspect.isclass(value) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__:
                config = value.__struct_config__
                assert config.frozen, value
                assert not config.forbid_unknown_fields or path.stem in {"search_filters", "request_bodies"}, value
                if {"id", "type"} <= set(value.__struct_fields__) and path.stem != "request_bodies":
                    required = {field.name for field in msgspec.structs.fields(value) if field.required}
                    assert required == {"id"}, value
