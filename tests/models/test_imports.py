"""The modules of the models import each other in one direction only."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter

from tests.support.paths import PACKAGE

MODELS = "leadfeeder_async.models."


def imports_of(source: str) -> set[str]:
    """Return the modules of the package that a source file imports, at any level."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.module]
    return {str(node.module) for node in nodes if str(node.module).startswith("leadfeeder_async")}


def test_models_have_no_import_cycle() -> None:
    """The modules can be sorted so that each imports only earlier ones, and they import no other part of the package."""
    files = [file for file in (PACKAGE / "models").glob("*.py") if file.stem != "__init__"]
    imports = {f"{MODELS}{file.stem}": imports_of(file.read_text(encoding="utf-8")) for file in files}
    assert len(list(TopologicalSorter(imports).static_order())) == len(files)
    assert set().union(*imports.values()) <= set(imports)
