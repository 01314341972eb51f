"""Writes docs/failure-modes.md from the cases: ``python -m tests.faults.table``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from tests.faults.cases import CASES, Case
from tests.faults.dsl import Fault, Kind
from tests.support.paths import DOCS

End = tuple[str, str]
"""How a call ends, and in what."""

PAGE = DOCS / "failure-modes.md"

INTRODUCTION = """\
# Faults

What happens when something goes wrong, case by case. This page is written by `python -m tests.faults.table` from
the cases in `tests/faults/cases.py`. The last two columns are what the bench in `tests/faults` checks: it makes each of
these faults on real connections, once and lasting, and meets it with a request of every resend class.

"Reads" are reads, free searches and set-like writes; [Resending](retries.md) tells why the others differ. "Sent again"
means up to three attempts in all; what follows it is shown if the fault lasts. A case with dashes is no matter of
resending and is held by other tests.
"""

HEADER = """\
| | What happens | What you see | Reads | Calls that charge or create |
|-|-|-|-|-|
"""


def text() -> str:
    """Return the page."""
    return INTRODUCTION + "".join(
        _section(group, list(cases)) for group, cases in groupby(CASES, lambda one: one.group)
    )


def _section(group: str, cases: list[Case]) -> str:
    return f"\n## {group}\n\n{HEADER}{''.join(_row(case) for case in cases)}"


def _row(case: Case) -> str:
    notes = " ".join(part for part in (case.shows, *_notes(case)) if part)
    cells = (str(case.number), case.does, notes, _cell(case, _for_reads), _cell(case, _for_costly))
    return f"| {' | '.join(cells)} |\n"


def _notes(case: Case) -> Iterator[str]:
    if case.not_applicable:
        yield f"**Not part of the bench:** {case.not_applicable}"


def _cell(case: Case, ends_in: Callable[[Fault], End]) -> str:
    ends = dict[str, list[str]]()
    for how, what in dict.fromkeys(ends_in(fault) for fault in case.faults):
        ends.setdefault(how, []).append(what)
    return "; ".join(how.format(", ".join(whats)) for how, whats in ends.items()) or "-"


def _for_reads(fault: Fault) -> End:
    if fault.error is None:
        return "{}", "the answer"
    how = "{} at once" if fault.kind is Kind.FINAL else "sent again, then {}"
    return how, f"`{fault.error.__name__}`"


def _for_costly(fault: Fault) -> End:
    if fault.kind is Kind.INCONCLUSIVE and fault.sent != "no":
        return "{} at once", "`OutcomeUnknownError`"
    return _for_reads(fault)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
