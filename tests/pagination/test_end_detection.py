"""The state table of the end detector, checked for all sequences of pages up to a length."""

from __future__ import annotations

import itertools
import os

import pytest
from msgspec.structs import replace

from leadfeeder_async.pagination.end_detection import MAX_PASSES, EndDetector, PageFacts, Verdict

pytestmark = pytest.mark.slow

ENDS = {Verdict.COMPLETE, Verdict.INCOMPLETE}
PAGE_SIZE = 2
ROWS = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
"""Rows of a page, and those of them that are new."""
COUNTS = [None, 0, 1, 2, 4]
PAGES = 5 if os.environ.get("SOAK") else 4
"""The length of the sequences of pages that are checked."""
PAGE_COUNTS = [None, 1, 3]


def pages(*, can_end: bool) -> list[PageFacts]:
    """Return all combinations of facts about a page."""
    last = [False, True] if can_end else [False]
    page_counts = [None] if can_end else PAGE_COUNTS  # A list that names its end has no page numbers.
    return [
        PageFacts(
            row_count=rows, new_rows=new, new_to_pass=in_pass, total_count=count, page_count=page_count, is_last=end
        )
        for (rows, new), count, page_count, end in itertools.product(ROWS, COUNTS, page_counts, last)
        for in_pass in {new, rows}
    ]


def simplify(state: EndDetector) -> EndDetector:
    """Return a state with small changes of the count. Larger changes decide only the kind of the end."""
    current = state.current_pass
    return replace(state, current_pass=replace(current, fall=min(current.fall, 1), rise=min(current.rise, 1)))


def follow(states: set[EndDetector], choices: list[PageFacts]) -> set[EndDetector]:
    """Return all states that follow from states that continue or restart."""
    successors = set[EndDetector]()
    for state in states:
        open_state = state.restarted() if state.verdict is Verdict.RESTART else state
        possible = choices if open_state.passes > 1 else [page for page in choices if page.new_to_pass == page.new_rows]
        successors.update(simplify(open_state.record(page)) for page in possible)
    return successors


@pytest.mark.parametrize("can_restart", [True, False])
@pytest.mark.parametrize("is_cursor_list", [True, False])
def test_complete_list_has_as_many_rows_as_counted(can_restart: bool, is_cursor_list: bool) -> None:
    """No sequence of pages ends complete with fewer different rows than its last trustworthy count."""
    choices = pages(can_end=is_cursor_list)
    states = {EndDetector(PAGE_SIZE, can_restart, is_cursor_list=is_cursor_list)}
    seen = set[EndDetector]()
    for _ in range(PAGES):
        seen |= states
        reached = follow(states, choices)
        for state in reached:
            if state.verdict is Verdict.COMPLETE:
                assert state.total is None or state.rows >= state.total, state
            elif state.verdict is Verdict.INCOMPLETE:
                is_short = state.total is not None and state.rows < state.total
                repeats_first = 0 < state.current_pass.pages_without_new_rows == state.current_pass.pages - 1
                assert is_short or state.missing_in_pass > 0 or state.lacks_page or repeats_first, state
            elif state.verdict is Verdict.RESTART:
                assert can_restart
        states = {state for state in reached if state.verdict not in ENDS and state.rows <= 4} - seen
    assert seen


@pytest.mark.parametrize("is_cursor_list", [True, False])
def test_every_list_without_new_rows_ends(is_cursor_list: bool) -> None:
    """From every state, pages without new rows end the list within a bounded number of pages."""
    choices = [page for page in pages(can_end=False) if not page.new_rows and page.new_to_pass == page.row_count]
    states = {EndDetector(PAGE_SIZE, can_restart=True)}
    for _ in range(PAGES - 2):
        states = {
            state for state in follow(states, pages(can_end=False)) if state.verdict not in ENDS and state.rows < 4
        }
    if is_cursor_list:
        return  # The server decides, and a cursor list ends after 50 pages without new rows.
    seen = set[EndDetector]()
    for _ in range(MAX_PASSES * 8):
        states = {state for state in follow(states, choices) if state.verdict not in ENDS} - seen
        if not states:
            break
        seen |= states
    assert not states


@pytest.mark.parametrize(
    ("page_count", "row_count", "verdict"),
    [(None, 2, Verdict.CONTINUE), (2, 2, Verdict.CONTINUE), (1, 2, Verdict.COMPLETE), (None, 1, Verdict.COMPLETE)],
)
def test_count_of_one_page(page_count: int | None, row_count: int, verdict: Verdict) -> None:
    """A count that a full page fulfills may be that of the page, unless the server reports no other page."""
    page = PageFacts(row_count=row_count, new_rows=row_count, total_count=row_count, page_count=page_count)
    assert EndDetector(PAGE_SIZE, can_restart=True).record(page).verdict is verdict


def test_deleted_rows_cause_another_pass() -> None:
    """If the count falls during a pass, rows may have moved to a page that was read, so the pages are read again."""
    detector = EndDetector(PAGE_SIZE, can_restart=True)
    for page in (
        PageFacts(row_count=2, new_rows=2, total_count=5, page_count=3),
        PageFacts(row_count=2, new_rows=2, total_count=4, page_count=2),
    ):
        detector = detector.record(page)
    assert detector.verdict is Verdict.RESTART
    detector = detector.restarted()
    detector = detector.record(PageFacts(row_count=2, new_rows=0, new_to_pass=2, total_count=4))
    detector = detector.record(PageFacts(row_count=2, new_rows=1, new_to_pass=2, total_count=4))
    assert (detector.verdict, detector.rows) == (Verdict.COMPLETE, 5)


def test_count_that_falls_during_a_later_pass() -> None:
    """The count of a later pass may be lower than the distinct rows of all passes. If it falls, another pass follows."""
    detector = EndDetector(PAGE_SIZE, can_restart=True)
    for page in (
        PageFacts(row_count=2, new_rows=2, total_count=5),
        PageFacts(row_count=1, new_rows=1, total_count=3),
    ):
        detector = detector.record(page)
    detector = detector.restarted()
    for page in (
        PageFacts(row_count=2, new_rows=1, new_to_pass=2, total_count=3),
        PageFacts(row_count=0, new_rows=0, new_to_pass=0, total_count=2),
    ):
        detector = detector.record(page)
    assert (detector.current_pass.fall, detector.verdict) == (1, Verdict.RESTART)


def test_named_page_that_is_no_progress() -> None:
    """A list continues beyond its count only to a page that was not named before, and with rows that have an id."""
    page = PageFacts(row_count=3, new_rows=3, total_count=3, next_page="/tags?page=2")
    detector = EndDetector(PAGE_SIZE + 3, can_restart=True).record(page)
    assert detector.verdict is Verdict.CONTINUE
    shorter = replace(page, row_count=2, new_rows=2, total_count=2)
    assert detector.record(shorter).verdict is not Verdict.CONTINUE
    assert detector.record(replace(shorter, next_page="/tags?page=3")).verdict is Verdict.CONTINUE
    unidentified = replace(page, has_new_ids=False)
    assert EndDetector(PAGE_SIZE + 3, can_restart=True).record(unidentified).verdict is Verdict.COMPLETE


def test_first_count_on_a_later_page() -> None:
    """A count that the first page does not have may be that of the rows so far, so it does not prove the end."""
    for first_count, has_counted_rows in ((None, False), (0, False), (5, True)):
        first = PageFacts(3, 3, total_count=first_count, has_cursor=True, next_page="a")
        second = PageFacts(2, 2, total_count=5, has_cursor=True, next_page="b")
        detector = EndDetector(3, can_restart=True, is_cursor_list=True).record(first).record(second)
        assert detector.has_counted_rows is has_counted_rows
