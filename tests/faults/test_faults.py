"""Every fault against every class of request."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from leadfeeder_async import LeadfeederError, OutcomeUnknownError, Resend
from tests.faults.cases import CASES, GOOD, Case
from tests.faults.table import PAGE, page
from tests.support.clients import KEY, client_of
from tests.support.servers import raw_server

ROOT = Path(__file__).parents[2]
ONCE = {Resend.CHARGING_READ, Resend.CREATES}
RUN = [case for case in CASES if case.runs]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a hundredth of a second where the client waits half of one."""
    monkeypatch.setattr("leadfeeder_async._http.retry.FIRST_BACKOFF", 0.005)


def named(case: Case) -> str:
    return f"{case.number}-{case.does.replace(' ', '_')}"


async def outcome(url: str, resend: Resend) -> LeadfeederError | None:
    async with client_of(url, timeout=0.25, max_body_bytes=1_000_000) as lf:
        try:
            await lf.request("POST", "/v1/x", json={}, resend=resend, returns=dict[str, dict[str, str]])
        except LeadfeederError as error:
            return error
    return None


def unknown(case: Case, resend: Resend) -> bool:
    """Whether it stays open what became of the request."""
    return bool(case.error and resend in ONCE and not (case.conclusive or case.waits_for_all or case.sent == "no"))


def shown(error: LeadfeederError) -> str:
    chain = [error, error.__cause__, error.__context__]
    return " ".join(f"{one!r} {one} {getattr(one, 'args', '')}" for one in chain)


@pytest.mark.parametrize("resend", list(Resend))
@pytest.mark.parametrize("case", RUN, ids=named)
async def test_fault_that_stays(case: Case, resend: Resend) -> None:
    """The error is the one that the table names, as often tried as is safe, and the key is not in it."""
    if case.refused:
        error, requests = await outcome("http://127.0.0.1:9", resend), 0
    else:
        async with raw_server(case.step) as server:
            error = await outcome(server.url, resend)
            requests = len(server.requests)
    if case.error is None:
        assert (error, requests) == (None, 1)
        return
    assert isinstance(error, OutcomeUnknownError if unknown(case, resend) else case.error), repr(error)
    assert error.sent in ({"maybe", "yes"} if case.sent == "yes" and case.error is LeadfeederError else {case.sent})
    tried = 1 if unknown(case, resend) or case.conclusive else case.attempts
    assert (error.attempts, requests) == (tried, 0 if case.refused else tried)
    assert KEY not in shown(error)


@pytest.mark.parametrize("resend", list(Resend))
@pytest.mark.parametrize("case", [case for case in RUN if case.error and not case.refused], ids=named)
async def test_fault_that_passes(case: Case, resend: Resend) -> None:
    """The request succeeds at its second attempt where it may have one, and the server sees no more than that."""
    async with raw_server(case.step, GOOD) as server:
        error = await outcome(server.url, resend)
    final = unknown(case, resend) or case.conclusive or case.attempts == 1
    assert (error is None, len(server.requests)) == (not final, 1 if final else 2)


def test_all_cases_are_there() -> None:
    """The cases are numbered without a gap, and each is run here or names where it is."""
    assert [case.number for case in CASES] == list(range(1, 86))
    assert [case.number for case in CASES if case.runs == bool(case.held_by)] == []


def test_tests_that_hold_cases_exist() -> None:
    """A case that points to a test points to one."""
    for case in CASES:
        for place in case.held_by:
            path, name = place.split("::")
            found = [node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if hasattr(node, "name")]
            assert name in found, place


def test_page_is_up_to_date() -> None:
    """The documentation shows these cases: ``python -m tests.faults.table`` writes it."""
    assert PAGE.read_text() == page()
