"""Check the words of the package's docstrings: ``python -m tests.lint.english [--by-file]``.

Plain technical English says *if* for a condition and names the thing instead of writing *what* or *who*. This check counts
such words per 1,000 words of docstrings. CONTRIBUTING.md explains the rules behind the limits.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import PACKAGE

WORST_FILES = 15
"""The number of files that ``--by-file`` lists."""

_CODE = re.compile(r"```[\s\S]*?```|``[^`]*``|::\n\n(?:\n|    .*(?:\n|$))+")
"""Fenced blocks, literals, and indented blocks after a double colon."""

_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Limit:
    """A limit on how often some words may occur per 1,000 words."""

    words: tuple[str, ...]
    per_thousand: float
    at_least: bool = False
    """True for a word that should occur often. Such a limit is reported and does not fail the check."""

    def rate(self, counts: Counter[str]) -> float:
        """Return how often the words occur per 1,000 words."""
        return 1000 * self.occurrences(counts) / max(1, counts.total())

    def occurrences(self, counts: Counter[str]) -> int:
        """Return how often the words occur."""
        return sum(counts[word] for word in self.words)

    def is_met(self, counts: Counter[str]) -> bool:
        """Return True if the words occur as often as the limit allows or wants."""
        rate = self.rate(counts)
        return rate >= self.per_thousand if self.at_least else rate <= self.per_thousand


LIMITS = (
    Limit(("where",), 2),
    Limit(("what",), 1.5),
    Limit(("who", "whoever"), 0.5),
    Limit(("answer", "answers"), 0.5),
    Limit(("if",), 6, at_least=True),
    Limit(("response", "responses"), 3, at_least=True),
)


def docstrings(source: str) -> list[str]:
    """Return the docstrings of a module, including the strings that document attributes."""
    return [
        inspect.cleandoc(node.value.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the words of some docstrings in lower case, without code."""
    counts = Counter[str]()
    for text in texts:
        counts.update(_WORD.findall(_CODE.sub(" ", text).lower()))
    return counts


def count_by_file(package: Path) -> dict[Path, Counter[str]]:
    """Return the word counts of each module of a package."""
    return {path: count_words(docstrings(path.read_text(encoding="utf-8"))) for path in sorted(package.rglob("*.py"))}


def table(counts: Counter[str]) -> str:
    """Return a table of all limits with the measured figures."""
    lines = [f"{'word':<22}{'count':>7}{'per 1,000':>11}  limit"]
    for limit in LIMITS:
        sign = ">=" if limit.at_least else "<="
        verdict = "" if limit.is_met(counts) else "  too rare" if limit.at_least else "  TOO OFTEN"
        lines.append(
            f"{', '.join(limit.words):<22}{limit.occurrences(counts):>7,}{limit.rate(counts):>11.2f}"
            f"  {sign} {limit.per_thousand:g}{verdict}"
        )
    return "\n".join([*lines, f"{counts.total():,} words of docstrings"])


def worst_files(files: dict[Path, Counter[str]], package: Path) -> str:
    """Return the files with the most words over a limit, one line each, the worst first."""
    limited = [limit for limit in LIMITS if not limit.at_least]
    found = {path: sum(limit.occurrences(counts) for limit in limited) for path, counts in files.items()}
    worst = sorted((path for path in found if found[path]), key=lambda path: (-found[path], path))[:WORST_FILES]
    return "\n".join(
        f"{found[path]:>4}  {path.relative_to(package.parent)}: "
        + ", ".join(
            f"{limit.words[0]} {limit.occurrences(files[path])}" for limit in limited if limit.occurrences(files[path])
        )
        for path in worst
    )


def main(arguments: Sequence[str] | None = None, package: Path = PACKAGE) -> int:
    """Print the figures. Return 1 if a word occurs too often, otherwise 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.lint.english", description="Check the words of docstrings.")
    parser.add_argument("--by-file", action="store_true", help="also list the files with the most words to replace")
    options = parser.parse_args(arguments)
    files = count_by_file(package)
    counts = sum(files.values(), Counter[str]())
    print(table(counts))  # noqa: T201
    if options.by_file:
        print(worst_files(files, package))  # noqa: T201
    return 0 if all(limit.is_met(counts) for limit in LIMITS if not limit.at_least) else 1


if __name__ == "__main__":
    sys.exit(main())
