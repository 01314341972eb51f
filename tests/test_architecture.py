"""The shape of the house: arrows, rows, names and sizes."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import leadfeeder_async
from leadfeeder_async import Endpoint, LeadfeederError, Resend, Spend
from leadfeeder_async._http.endpoint import Account, Paging
from leadfeeder_async.resources import accounts, companies, web_visits

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "leadfeeder_async"
RESOURCES = (accounts, companies, web_visits)
ROWS: list[Endpoint[Any]] = [
    value for module in RESOURCES for value in vars(module).values() if isinstance(value, Endpoint)
]


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    text = (Path(__file__).parent / "contract" / "openapi.yaml").read_text()
    document: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document


def test_imports_point_downward() -> None:
    """The contracts in pyproject.toml hold: layers, an ignorant sandbox, one module that knows aiohttp's client."""
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 kept, 0 broken" in result.stdout


def test_import_is_light() -> None:
    """Importing the package, and asking the command for help, loads neither aiohttp nor anyio."""
    check = "import sys; import {}; print(sorted({{'aiohttp', 'anyio'}} & set(sys.modules)))"
    for module in ("leadfeeder_async", "leadfeeder_async.cli.app, rich, cyclopts"):
        got = subprocess.run([sys.executable, "-c", check.format(module)], capture_output=True, text=True, check=True)
        assert got.stdout.strip() == "[]", module


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.operation)
def test_row_agrees_with_the_contract(row: Endpoint[Any], contract: dict[str, Any]) -> None:
    """Method, path, paging, account and charge of each row are those of its operation."""
    operation = contract["paths"][row.path][row.method.lower()]
    assert operation["operationId"] == row.operation
    names = {parameter["$ref"].rsplit("/")[-1] for parameter in operation.get("parameters", ())}
    paging = {"cursor": Paging.CURSOR, "page-number": Paging.NUMBER}.get(operation["x-pagination"], Paging.NONE)
    assert row.paging is (Paging.IDS if "Ids" in names else paging)
    assert (row.account is Account.NONE) == (not names & {"AccountId"} and row is not accounts.GET_ACCOUNT)
    charges = operation["x-credits"].startswith(("1 per", "about 1 per"))
    assert row.spend is (Spend.CHARGES if charges else Spend.FREE)
    assert row.resend is (
        Resend.CHARGING_READ if charges else Resend.READ if row.method == "GET" else Resend.FREE_SEARCH
    )
    assert bool(row.reconcile) == charges


def test_each_row_is_used_by_one_method() -> None:
    """A row stands for one public method, whose docstring names its operation."""
    for module in RESOURCES:
        source = inspect.getsource(module)
        for name, row in vars(module).items():
            if isinstance(row, Endpoint):
                assert f"``{row.operation}``" in source, name
                assert source.count(name) >= 2, name


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


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_rooms_stay_small() -> None:
    """Modules stay under 400 lines, functions under 40 with their docstrings and signatures."""
    for path in modules():
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = [
                    part
                    for part in node.body
                    if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
                ]
                length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                assert length <= 32, f"{path}:{node.name} {length}"


def test_models_are_frozen_and_tolerant() -> None:
    """Every model is frozen and keyword-only, requires nothing but an id, and forbids no unknown field."""
    for path in (PACKAGE / "models").glob("*.py"):
        module = sys.modules[f"leadfeeder_async.models.{path.stem}"] if path.stem != "__init__" else None
        for value in vars(module).values() if module else ():
            if inspect.isclass(value) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__:
                config = value.__struct_config__
                assert config.frozen, value
                assert not config.forbid_unknown_fields, value
                if "attributes" in value.__struct_fields__:
                    required = {field.name for field in msgspec.structs.fields(value) if field.required}
                    assert required == {"id"}, value
