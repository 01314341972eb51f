"""Names and docstrings of the tests, by the rules of CONTRIBUTING.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MAX_WORDS = 10


def find_tests(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the test functions of a module and of its classes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def word_count(name: str) -> int:
    """Return the number of words in the name of a test, without its prefix."""
    return len([word for word in name.removeprefix("test_").split("_") if word])


def files_with_tests() -> list[Path]:
    return sorted((ROOT / "tests").rglob("test_*.py"))


def test_names_are_short() -> None:
    """The name of each test has at most ten words."""
    long_names = [
        f"{path.relative_to(ROOT)}::{test.name} has {word_count(test.name)} words"
        for path in files_with_tests()
        for test in find_tests(path.read_text(encoding="utf-8"))
        if word_count(test.name) > MAX_WORDS
    ]
    assert long_names == []


def test_docstrings_exist() -> None:
    """Each test has a docstring."""
    without = [
        f"{path.relative_to(ROOT)}::{test.name}"
        for path in files_with_tests()
        for test in find_tests(path.read_text(encoding="utf-8"))
        if not ast.get_docstring(test)
    ]
    assert without == []


@pytest.mark.parametrize(
    ("name", "count"), [("test_retry_after_date_header", 4), ("test_a__b_", 2), ("test_" + "word_" * 11, 11)]
)
def test_word_count(name: str, count: int) -> None:
    """Empty parts between underscores are not words."""
    assert word_count(name) == count


def test_methods_and_coroutines_are_found() -> None:
    """Methods and coroutines are tests, and helper functions are not."""
    source = "def test_a(): ...\nasync def test_b(): ...\nclass T:\n    def test_c(self): ...\ndef helper(): ...\n"
    assert [test.name for test in find_tests(source)] == ["test_a", "test_b", "test_c"]
