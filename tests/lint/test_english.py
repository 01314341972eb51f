"""The check of docstring words: which text is counted, and which counts fail."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.lint.english import LIMITS, Limit, count_words, docstrings, main

SOURCE = '''
"""Module: where is it?"""

NAME = "where what who"
"""The name, if any."""


class Thing:
    """A thing."""

    size: int
    """What's inside."""

    async def get(self):
        """Return the response.

        ::

            if where:
                answer()

        Raise ``what`` never.
        """
        self.part = 1
        """An answer."""
        return "whoever"  # where
'''


def test_docstrings_and_attribute_docs_are_found() -> None:
    """Docstrings and strings under attributes count; other strings and comments do not."""
    texts = docstrings(SOURCE)
    assert len(texts) == 6
    assert {"The name, if any.", "What's inside.", "An answer."} <= set(texts)


def test_words_are_counted_without_code() -> None:
    """Words count in lower case, contractions included; literals and example blocks do not count."""
    counts = count_words(docstrings(SOURCE))
    assert [counts[word] for word in ("where", "what", "whoever", "answer", "if", "response")] == [1, 1, 0, 1, 1, 1]
    assert counts["raise"] == counts["never"] == 1


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.words[0])
def test_limit_is_per_thousand_words(limit: Limit) -> None:
    """A limit holds up to its figure and fails past it, or the other way around for wanted words."""
    at = Counter({limit.words[-1]: int(10 * limit.per_thousand)}) + Counter({"other": 10_000})
    at["other"] -= at[limit.words[-1]]
    assert limit.rate(at) == limit.per_thousand
    assert limit.is_met(at)
    step = -1 if limit.at_least else 1
    past = at + Counter()
    past[limit.words[0]] += step
    past["other"] -= step
    assert not limit.is_met(past)


@pytest.mark.parametrize(("text", "code"), [("Return it if it is there.", 0), ("Tell where it is.", 1)])
def test_exit_code(text: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check prints its figures and fails if an unwanted word occurs too often."""
    (tmp_path / "module.py").write_text(f'"""{text}"""\n', encoding="utf-8")
    assert main(["--by-file"], tmp_path) == code
    shown = capsys.readouterr().out
    assert "where" in shown
    assert ("module.py: where 1" in shown) == bool(code)
    assert ("TOO OFTEN" in shown) == bool(code)
