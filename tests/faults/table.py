"""The fault cases as a page of the documentation: ``python -m tests.faults.table`` writes it."""

from __future__ import annotations

from pathlib import Path

from tests.faults.cases import CASES

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"

HEAD = """# Faults

What the network and the server can do, and what you see. Each line is tested, most against every class of request.
Where a request may charge or create and no definitive answer came, you see `OutcomeUnknownError` instead: it is not sent
again. This page is written by `python -m tests.faults.table`.

| | What happens | What you see |
|---|---|---|
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(f"| {case.number} | {case.does} | {case.shows} |\n" for case in CASES)


if __name__ == "__main__":
    PAGE.write_text(page())
