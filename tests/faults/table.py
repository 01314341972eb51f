"""Write docs/failure-modes.md from the fault cases: ``python -m tests.faults.table``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from tests.faults.cases import CASES, Case
from tests.faults.dsl import Fault, Kind
from tests.support.paths import DOCS

Result = tuple[str, str]
"""A template for the behavior, and the name of the result that goes into it."""

PAGE = DOCS / "failure-modes.md"

INTRODUCTION = f"""\
# Failure modes

This page lists {len(CASES)} faults and the behavior of the client for each one.

The tests inject each fault on real connections, once as a temporary fault and once as a persistent one. They check the
behavior for requests that are safe to retry and for requests that are not. The page is generated from the test cases in
`tests/faults/cases.py`.

How to read the last two columns:

- **Safe to retry**: reads and searches that never charge, and changes that can be repeated, such as assigning a tag.
- **May charge or create**: all other requests. [Retries](retries.md) explains why they are treated differently.
- "Retried" means up to three attempts in total. The error after it is raised if the fault persists.
- "Success" means that the call returns normally.
- A dash means that the fault is not about a single request. Other tests cover it.
"""

HEADER = """\
| # | Fault | Behavior | Safe to retry | May charge or create |
|-|-|-|-|-|
"""


def text() -> str:
    """Return the text of the page."""
    return INTRODUCTION + "".join(
        _section(group, list(cases)) for group, cases in groupby(CASES, lambda case: case.group)
    )


def _section(group: str, cases: list[Case]) -> str:
    return f"\n## {group}\n\n{HEADER}{''.join(_row(case) for case in cases)}"


def _row(case: Case) -> str:
    notes = " ".join(part for part in (case.expected, *_notes(case)) if part)
    cells = (str(case.number), case.trigger, notes, _cell(case, _safe_to_retry), _cell(case, _may_charge_or_create))
    return f"| {' | '.join(cells)} |\n"


def _notes(case: Case) -> Iterator[str]:
    if case.not_covered:
        yield f"**Not tested:** {case.not_covered}"


def _cell(case: Case, result_of: Callable[[Fault], Result]) -> str:
    names = dict[str, list[str]]()
    for template, name in dict.fromkeys(result_of(fault) for fault in case.faults):
        names.setdefault(template, []).append(name)
    return "; ".join(template.format(_either(found)) for template, found in names.items()) or "-"


def _either(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _safe_to_retry(fault: Fault) -> Result:
    if fault.error is None:
        return "{}", "success"
    template = "{}, not retried" if fault.kind is Kind.FINAL else "retried, then {}"
    return template, f"`{fault.error.__name__}`"


def _may_charge_or_create(fault: Fault) -> Result:
    if fault.kind is Kind.AMBIGUOUS and fault.sent != "no":
        return "{}, not retried", "`OutcomeUnknownError`"
    return _safe_to_retry(fault)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
