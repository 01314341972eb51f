"""The notebook of the documentation runs from its first cell to its last."""

from __future__ import annotations

import os

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.paths import DOCS, ROOT


async def test_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All cells run, with top-level await, and show a data frame of visits."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(ROOT))
    notebook = nbformat.read(DOCS / "notebooks" / "first_look.ipynb", as_version=4)
    await NotebookClient(notebook, timeout=60).async_execute()
    outputs = [str(output) for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("company.name" in output for output in outputs)
    assert not any("Traceback" in output for output in outputs)
