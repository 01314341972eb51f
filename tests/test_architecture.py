"""The structure of the package: imports, endpoints, names and sizes."""

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
from leadfeeder_async._core.endpoint import Billing, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async.models import SCHEMAS
from leadfeeder_async.resources import accounts
from leadfeeder_async.sandbox.operations import ROUTES
from tests.support.paths import CONTRACT, PACKAGE, ROOT, SCRIPTS

RESOURCES = [import_module(f"leadfeeder_async.resources.{found.name}") for found in iter_modules(resources.__path__)]
ENDPOINTS: list[Endpoint[Any]] = [
    value for module in RESOURCES for value in vars(module).values() if isinstance(value, Endpoint)
]


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    text = CONTRACT.read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document


def test_import_contracts() -> None:
    """The import contracts in pyproject.toml hold."""
    lint = SCRIPTS / "lint-imports"
    result = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 kept, 0 broken" in result.stdout


def test_import_loads_little() -> None:
    """Importing the package, the client or the command loads few modules, and the pytest plugin loads none."""
    check = "import sys; {}; print(sorted({{'aiohttp', 'anyio', 'asyncio', 'msgspec'}} & set(sys.modules)))"
    for code, loaded in (
        ("import leadfeeder_async", []),
        ("from leadfeeder_async import models, LeadfeederError", ["msgspec"]),
        ("from leadfeeder_async import AsyncLeadfeeder", ["asyncio", "msgspec"]),
        ("import leadfeeder_async.cli.app, rich, cyclopts", ["msgspec"]),
        ("import leadfeeder_async._pytest_plugin", []),
    ):
        result = subprocess.run(
            [sys.executable, "-c", check.format(code)], capture_output=True, encoding="utf-8", check=True
        )
        assert result.stdout.strip() == str(loaded), code


def test_public_names_have_one_home() -> None:
    """Each public name is the object that the imports for type checkers name, and unknown names are rejected."""
    tree = ast.parse(Path(leadfeeder_async.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    homes = {name.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for name in node.names}
    modules = {name for name, home in homes.items() if home == "leadfeeder_async"}
    assert {*homes, "__version__"} - modules == set(leadfeeder_async.__all__)
    for name, home in homes.items():
        assert getattr(leadfeeder_async, name) is getattr(import_module(home), name), name
        assert "._" not in getattr(getattr(leadfeeder_async, name), "__module__", ""), name
    assert set(homes) <= set(dir(leadfeeder_async))
    for name in ("budget", "client", "errors", "models", "pagination", "resources", "settings", "types"):
        assert getattr(leadfeeder_async, name) is import_module(f"leadfeeder_async.{name}")
    with pytest.raises(AttributeError, match="'leadfeeder_async' has no attribute 'Leadfeeder'"):
        leadfeeder_async.Leadfeeder  # noqa: B018


def retry_safety_of(endpoint: Endpoint[Any], operation: dict[str, Any]) -> RetrySafety:
    """Return the retry safety that the contract implies."""
    if billing_of(endpoint, operation) is not Billing.FREE:
        return RetrySafety.BILLED_READ
    if endpoint.operation.startswith("create_"):
        return RetrySafety.NON_IDEMPOTENT
    is_search = endpoint.operation.startswith(("search_", "match_"))
    return RetrySafety.SAFE if endpoint.method == "GET" or is_search else RetrySafety.IDEMPOTENT


def billing_of(endpoint: Endpoint[Any], operation: dict[str, Any]) -> Billing:
    """Return the billing that the contract implies: per id of a parameter, or per request."""
    if not operation["x-credits"].startswith(("1 per", "about 1 per", "not published")):
        return Billing.FREE
    if {"ids", "company_ids"} & set(endpoint.params):
        return Billing.PER_ID
    return Billing.PER_REQUEST


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation)
def test_endpoint_agrees_with_the_contract(endpoint: Endpoint[Any], contract: dict[str, Any]) -> None:
    """Each endpoint has the method, path, parameters, pagination, account and billing of its operation."""
    assert endpoint.path in contract["paths"], f"{endpoint.operation}: the contract has no path {endpoint.path}"
    operation = contract["paths"][endpoint.path][endpoint.method.lower()]
    assert operation["operationId"] == endpoint.operation
    known = contract["components"]["parameters"]
    found = [known[parameter["$ref"].rsplit("/")[-1]] for parameter in operation.get("parameters", ())]
    names = [parameter["name"] for parameter in found if parameter["in"] == "query"]
    pagination = {"cursor": PaginationStyle.CURSOR, "page-number": PaginationStyle.PAGE_NUMBER}.get(
        operation["x-pagination"], PaginationStyle.NONE
    )
    assert endpoint.pagination is (PaginationStyle.ID_BATCH if "ids" in names else pagination)
    assert sorted(endpoint.params) == sorted(
        name for name in names if name != "account_id" and not name.startswith("page[")
    )
    assert [parameter["name"] for parameter in found if parameter["in"] == "path"] == re.findall(
        r"{(\w+)}", endpoint.path
    )
    required = {parameter["name"]: parameter["required"] for parameter in found}
    if endpoint is accounts.LIST_ACCOUNTS:
        assert not endpoint.names_account
    elif endpoint is not accounts.GET_ACCOUNT:
        assert endpoint.names_account is bool(required.get("account_id"))
    assert endpoint.billing is billing_of(endpoint, operation)
    assert (endpoint.billed_param in endpoint.params) is (endpoint.billing is Billing.PER_ID)
    assert endpoint.retry_safety is retry_safety_of(endpoint, operation)
    assert bool(endpoint.verification_hint) == (
        endpoint.retry_safety in {RetrySafety.BILLED_READ, RetrySafety.NON_IDEMPOTENT}
    )


def test_verification_hints_name_a_free_read() -> None:
    """The hint of each endpoint with side effects names an existing method that is free and only reads."""
    with_side_effects = [
        endpoint
        for endpoint in ENDPOINTS
        if endpoint.retry_safety in {RetrySafety.BILLED_READ, RetrySafety.NON_IDEMPOTENT}
    ]
    assert len(with_side_effects) == 12
    lf = AsyncLeadfeeder("k")
    for endpoint in with_side_effects:
        resource, name = re.findall(r"`lf\.(\w+)\.(\w+)\(", endpoint.verification_hint)[0]
        method = inspect.unwrap(getattr(getattr(lf, resource), name))
        used = [other for other in ENDPOINTS if f"``{other.operation}``" in (inspect.getdoc(method) or "")]
        assert used, endpoint.operation
        assert all(other.retry_safety is RetrySafety.SAFE and other.billing is Billing.FREE for other in used), (
            endpoint.operation
        )


def test_operations_have_endpoint_and_sandbox_route(contract: dict[str, Any]) -> None:
    """Each operation of the contract has an endpoint and a sandbox route with the same parameters."""
    operations = {
        operation["operationId"]: (method.upper(), path)
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
    }
    assert len(operations) == 53
    assert {endpoint.operation: (endpoint.method, endpoint.path) for endpoint in ENDPOINTS} == operations
    assert {route.name: (route.method, route.path) for route in ROUTES} == operations
    params = {endpoint.operation: sorted(endpoint.params) for endpoint in ENDPOINTS}
    assert {route.name: sorted(route.params) for route in ROUTES} == params


def test_schemas_have_types(contract: dict[str, Any]) -> None:
    """``SCHEMAS`` maps every schema of the contract, and the types are exported under the names of the API."""
    assert set(SCHEMAS) == set(contract["components"]["schemas"])
    for name in SCHEMAS:
        plain = re.sub(r"V1$", "", name)
        if not re.fullmatch(r"Error\d+|Schemas|Meta(Credits|Pagination)", plain):
            assert hasattr(sys.modules["leadfeeder_async.models"], plain), name


def test_endpoints_have_documented_methods() -> None:
    """Each endpoint has a method whose docstring shows a call, the operation, the credits and the errors."""
    for module in RESOURCES:
        source = inspect.getsource(module)
        docs = [
            inspect.getdoc(method) or ""
            for group in vars(module).values()
            if inspect.isclass(group) and group.__module__ == module.__name__
            for name, method in vars(group).items()
            if inspect.isfunction(method) and not name.startswith("_")
        ]
        for name, endpoint in vars(module).items():
            if isinstance(endpoint, Endpoint):
                about = [doc for doc in docs if f"``{endpoint.operation}``" in doc]
                assert about, f"no method of {module.__name__} names {endpoint.operation}"
                assert len(re.findall(rf"\b{name}\b", source)) >= 2, f"{name} is not used"
                assert all("Credits:" in doc for doc in about), f"{name} has no Credits section"
                assert all("lf." in doc for doc in about), f"{name} shows no call"
                errors = ("InsufficientCreditsError", "OutcomeUnknownError") if endpoint.is_billed else ()
                assert all(error in doc for doc in about for error in errors), (
                    f"{name} does not name the errors of billed calls"
                )


def test_public_names_are_sorted_and_importable() -> None:
    """``__all__`` is sorted and complete, and each name can be imported."""
    names = leadfeeder_async.__all__
    assert names == sorted(names)
    assert all(hasattr(leadfeeder_async, name) for name in names)
    errors = {value.__name__ for value in vars(sys.modules["leadfeeder_async.errors"]).values() if _is_error(value)}
    assert errors <= set(names)
    tree = sys.modules["leadfeeder_async.errors"].__doc__ or ""
    assert all(name in tree for name in errors)


def _is_error(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, LeadfeederError)


RESOURCE_FOLDERS = {"models", "resources", "operations"}
"""Folders whose modules are named after resources of the API, and therefore share names."""


def test_module_and_class_names_are_unique() -> None:
    """The name of a module or a public class occurs once in the package."""
    modules, classes = list[str](), list[str]()
    for path in PACKAGE.rglob("*.py"):
        if "sandbox" in path.parts:  # a server, whose parts have the names of the client's
            continue
        if path.stem != "__init__" and path.parent.name not in RESOURCE_FOLDERS:
            modules.append(path.stem)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        classes.extend(node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_")
    modules.extend(path.name for path in PACKAGE.rglob("*") if path.is_dir() and path.name[0] != "_")
    modules.remove("sync")  # the public module and the folder that implements it
    assert [name for name, count in Counter(modules).items() if count > 1] == []
    assert [name for name, count in Counter(classes).items() if count > 1] == []


def test_models_are_frozen_and_accept_unknown_fields() -> None:
    """Every model is frozen, requires only an ID, and accepts unknown fields."""
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


@pytest.mark.parametrize("folder", ["leadfeeder_async", "tests", "benchmarks"])
def test_files_are_read_with_an_encoding(folder: str) -> None:
    """Code that reads or writes text files names the encoding, which is not UTF-8 by default on Windows."""
    without = list[str]()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                named = len(node.args) > (node.func.attr == "write_text") or any(
                    keyword.arg == "encoding" for keyword in node.keywords
                )
                if node.func.attr in {"read_text", "write_text"} and not named:
                    without.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert without == []
