"""The commands for people: what they see in a terminal, what a pipe gets, and what is asked before a change."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from leadfeeder_async.cli.ranking import PriorVisits, rank
from leadfeeder_async.cli.record_tables import fit, text_of
from leadfeeder_async.models.records import (
    Company,
    CompanyAttributes,
    WebVisit,
    WebVisitAttributes,
    WebVisitRelationships,
)
from leadfeeder_async.models.values import Intent
from leadfeeder_async.sandbox import Sandbox
from tests.cli.test_cli import COMMAND, leadfeeder
from tests.support.paths import DOCS, SNAPSHOTS
from tests.support.terminal import run_on_terminal

LAST_DAY = date(2026, 11, 20)


@pytest.fixture
async def quarter() -> AsyncIterator[Sandbox]:
    """A quarter of visits of a few companies that ends on a day that stays."""
    async with Sandbox(companies=40, visits=260, days=90, end_date=LAST_DAY, rate_limit=False) as running:
        yield running


async def seen(
    sandbox: Sandbox | None, *words: str, columns: int = 80, answer: str = "", interrupt_at: str = ""
) -> tuple[int, str]:
    """Run a command in a terminal; return its exit code and the screen."""
    environment = sandbox.environment if sandbox else {}
    return await asyncio.to_thread(run_on_terminal, (*COMMAND, *words), environment, columns, answer, interrupt_at)


def settled(screen: str) -> str:
    """Put signs of the same width in place of what differs from run to run."""
    screen = re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda found: "P" * len(found[0]), screen)
    screen = re.sub(f"^{datetime.now(UTC):%Y-%m}", "YYYY-MM", screen, flags=re.MULTILINE)
    screen = re.sub(r"(?<=next reset on )[\d-]+", "YYYY-MM-DD", screen)
    screen = re.sub(r"leadfeeder-async \d.*\n(?:.*(?:aiohttp|msgspec|Linux).*\n)*", "(versions)\n", screen)
    screen = re.sub(r"\d+ in the last 7 days|none in the last 7 days", "(visits)", screen)
    screen = re.sub(r" +Check that the tracker runs on the website.*\n(?: {15,}.*\n)*", "", screen)
    screen = re.sub(r"(✓  ok  |!  warn)  visits", "·  ....  visits", screen)
    screen = re.sub(r"(Everything is in place\.|0 failed, 1 to look at\.)", "(verdict)", screen)
    return re.sub(r"in \d+\.\d s", "in N.N s", screen)


SCREENS = {
    "doctor": ("doctor",),
    "usage": ("usage",),
    "companies": ("companies", "search", "--country", "DE", "--limit", "5"),
    "company": ("companies", "get", "159000003"),
    "brief": ("brief", "--since", "2026-11-18", "--until", "2026-11-20", "--limit", "8"),
    "lists": ("lists", "list"),
    "error": ("companies", "search", "--fields", "name,wages"),
    "export": ("export", "visits", "--since", "2026-11-01", "--until", "2026-11-20", "--out", "visits.ndjson"),
}


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("name", list(SCREENS))
async def test_what_a_person_sees(
    name: str, columns: int, quarter: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The screen is the one that was looked at and kept; SNAPSHOTS=write keeps the one of now. It never holds the key."""
    monkeypatch.chdir(tmp_path)
    for item in ("DACH Enterprise", "日本の見込み客", "A list whose name is much too long for any column of a table"):
        quarter.records.lists.add({"name": item, "scope": "company", "item_count": 3})
    for _ in range(2 if name == "usage" else 0):
        await leadfeeder(quarter, "tags", "list")
    _, screen = await seen(quarter, *SCREENS[name], columns=columns)
    kept = SNAPSHOTS / f"{name}-{columns}.txt"
    if os.environ.get("SNAPSHOTS") == "write":
        kept.write_text(settled(screen))
    assert settled(screen) == kept.read_text()
    assert quarter.api_key not in screen
    assert all(len(line) <= columns for line in screen.splitlines())


@pytest.mark.parametrize("name", ["doctor", "brief", "companies", "lists", "usage"])
def test_the_documentation_shows_the_same(name: str) -> None:
    """What the page on the command line shows is what is seen."""
    page = (DOCS / "command-line.md").read_text()
    kept = (SNAPSHOTS / f"{name}-80.txt").read_text()
    assert kept in settled(page).replace("2026-11 ", "YYYY-MM ").replace("2026-11:", "YYYY-MM:")


def rows(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


async def test_a_pipe_gets_json_lines(quarter: Sandbox) -> None:
    """Without a terminal each record is a line as the API sent it; --fields chooses from it, --limit ends it."""
    code, stdout, stderr = await leadfeeder(quarter, "companies", "search", "--country", "DE", "--limit", "3")
    assert (code, len(rows(stdout))) == (0, 3)
    assert rows(stdout)[0]["attributes"]["name"]
    assert re.search(r"^3 of \d+ companies", stderr)
    chosen = await leadfeeder(
        quarter, "companies", "search", "--country", "DE", "--limit", "2", "--fields", "name,address.city"
    )
    assert [list(row) for row in rows(chosen[1])] == [["name", "address.city"]] * 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("companies", "get", "159000003", "--max-credits", "0"), 4, "may charge 1 of 0 credits"),
        (("companies", "get", "1"), 1, "404"),
        (("companies", "search", "--fields", "wages"), 2, "There are: id, name"),
        (("companies", "match"), 2, "nothing to match by"),
        (("brief", "--history", "10"), 2, "--history"),
        (("usage", "--months", "0"), 2, "--months"),
        (("tags", "create", "Hot"), 2, "Add --yes"),
        (("lists", "add", "Nowhere", "159000001", "--yes"), 2, "There is no company list 'Nowhere'"),
    ],
)
async def test_exit_codes_and_what_to_do(quarter: Sandbox, words: tuple[str, ...], code: int, said: str) -> None:
    """What cannot be done ends with its code and one line that says what is wrong, on stderr; nothing is charged."""
    got, stdout, stderr = await leadfeeder(quarter, *words)
    assert (got, stdout) == (code, ""), stderr
    assert said in stderr
    assert quarter.ledger.credits_charged == 0


async def test_a_company_is_charged_once(quarter: Sandbox) -> None:
    """Getting a company says what it charged: a credit the first time, none the second."""
    first, second = [await leadfeeder(quarter, "companies", "get", "159000003") for _ in range(2)]
    assert (first[2], second[2]) == ("1 credit charged.\n", "0 credits charged.\n")
    assert rows(first[1])[0]["id"] == "159000003"


async def test_look_ups(quarter: Sandbox) -> None:
    """A match, a contact and an address come as rows of their own kind."""
    company = rows((await leadfeeder(quarter, "companies", "search", "--country", "DE", "--limit", "1"))[1])[0]
    match = await leadfeeder(quarter, "companies", "match", company["attributes"]["name"])
    assert match[0] == 0
    assert company["id"] in {row["id"] for row in rows(match[1])}
    contacts = await leadfeeder(quarter, "contacts", "search", "--company-id", company["id"])
    assert len(rows(contacts[1])) == 3
    behind = await leadfeeder(quarter, "ip", quarter.world.company_ips(company["id"])[0])
    assert rows(behind[1])[0]["relationships"]["company"]["id"] == company["id"]


async def test_tags_and_lists_are_filled_by_name(quarter: Sandbox) -> None:
    """Tags and lists are created, put on records and taken off, by id or name; a second of one name is refused."""
    records = quarter.records
    assert (await leadfeeder(quarter, "tags", "create", "Hot", "--color", "3", "--yes"))[0] == 0
    assert (await leadfeeder(quarter, "tags", "create", "hot", "--yes"))[0] == 2
    assert (await leadfeeder(quarter, "tags", "add", "HOT", "159000001", "159000002", "--yes"))[2] == "2 changed.\n"
    assert len(records.company_tags) == 2
    assert (await leadfeeder(quarter, "tags", "remove", "Hot", "159000001", "--yes"))[0] == 0
    assert [company for company, _ in records.company_tags] == ["159000002"]
    assert (await leadfeeder(quarter, "lists", "create", "DACH", "--yes"))[0] == 0
    assert (await leadfeeder(quarter, "lists", "add", "DACH", "159000001", "--yes"))[0] == 0
    assert len(records.list_members) == 1
    assert (await leadfeeder(quarter, "lists", "remove", "DACH", "159000001", "--yes"))[0] == 0
    assert len(records.list_members) == 0
    assert [row["attributes"]["name"] for row in rows((await leadfeeder(quarter, "lists", "list"))[1])] == ["DACH"]


@pytest.mark.parametrize(("answer", "made"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
async def test_changes_are_asked_for(quarter: Sandbox, answer: str, made: int) -> None:
    """On a terminal a change happens only after a yes; anything else changes nothing and says so by its exit code."""
    code, screen = await seen(quarter, "tags", "create", "Hot", answer=answer)
    assert "Create the tag 'Hot'? [y/N]" in screen
    assert len(quarter.ledger.creations) == made
    assert code == (0 if made else 5)
    assert ("Nothing was changed." in screen) is not bool(made)


async def test_a_question_can_be_interrupted(quarter: Sandbox) -> None:
    """One Ctrl-C at a question ends the command, with nothing changed."""
    code, screen = await seen(quarter, "tags", "create", "Hot", interrupt_at="[y/N]")
    assert (code, quarter.ledger.creations) == (130, [])
    assert "Interrupted" in screen


async def test_doctor_goes_on_after_a_failure(quarter: Sandbox) -> None:
    """A wrong key fails once, what depends on it is skipped, and the exit code is that of the key; no key is shown."""
    code, stdout, _ = await leadfeeder(quarter, "doctor", LEADFEEDER_API_KEY="canary-1234567890")
    found = {row["check"]: row for row in rows(stdout)}
    assert (code, found["key"]["status"], found["visits"]["status"]) == (3, "fail", "skip")
    assert found["key"]["fix"]
    assert found["clock"]["status"] == "ok"
    assert "canary" not in stdout


async def test_doctor_in_trouble() -> None:
    """No key, several accounts, a plan without usage, no credits and no server: each is named, with its code."""
    assert (await leadfeeder(None, "doctor"))[0] == 3
    async with Sandbox(companies=5, visits=9, accounts=2, rate_limit=False) as sandbox:
        code, stdout, _ = await leadfeeder(sandbox, "doctor", LEADFEEDER_ACCOUNT_ID="")
        assert (code, "LEADFEEDER_ACCOUNT_ID" in stdout) == (2, True)
    async with Sandbox(companies=5, visits=9, credits=0, not_entitled=["get_usage"], rate_limit=False) as sandbox:
        code, stdout, _ = await leadfeeder(sandbox, "doctor")
        found = {row["check"]: row["status"] for row in rows(stdout)}
        assert (code, found["credits"], found["requests"], found["visits"]) == (4, "fail", "fail", "ok")
        gone = sandbox.environment
    code, stdout, _ = await leadfeeder(None, "doctor", **gone)
    assert (code, rows(stdout)[2]["check"], rows(stdout)[2]["status"]) == (5, "connection", "fail")


@pytest.mark.parametrize("address", ["http://example.invalid", "ftp://example.invalid", "https://example.invalid/v1"])
async def test_doctor_finds_a_wrong_address(address: str) -> None:
    """An address that cannot be used is the fault of the address, whatever its text speaks of."""
    code, stdout, _ = await leadfeeder(None, "doctor", LEADFEEDER_BASE_URL=address)
    assert (code, rows(stdout)[-1]["check"], rows(stdout)[-1]["status"]) == (2, "address", "fail")


async def test_completion(quarter: Sandbox) -> None:
    """Each shell gets a script that knows the commands."""
    for shell in ("bash", "zsh", "fish"):
        code, stdout, _ = await leadfeeder(quarter, "completion", shell)
        assert (code, "doctor" in stdout) == (0, True)


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def visit(company: str | None, hours_ago: float, *, seconds: float = 60, intent: float | None = None) -> WebVisit:
    about = CompanyAttributes(name=company, intent=None if intent is None else Intent(score=intent))
    return WebVisit(
        id=f"{company}{hours_ago}",
        attributes=WebVisitAttributes(started_at=NOW - timedelta(hours=hours_ago), visit_length=seconds, page_depth=2),
        relationships=WebVisitRelationships(company=Company(id=company, attributes=about) if company else None),
    )


def test_ranking() -> None:
    """Intent counts first, then minutes; a company is new, returning or re-engaged by its earlier visits."""
    visits = [
        visit("a", 1, seconds=600), visit("b", 2, intent=7.5), visit("c", 3, seconds=900), visit("c", 30),
        visit("d", 1), visit(None, 1), visit("a", 5),
    ]  # fmt: skip
    earlier = PriorVisits(lately={"a"}, long_ago={"a", "b"})
    ranked = rank(visits, NOW - timedelta(hours=24), earlier)
    assert [(one.id, one.standing, one.visits, one.minutes) for one in ranked] == [
        ("b", "re-engaged", 1, 1.0), ("c", "returning", 1, 15.0), ("a", "returning", 2, 11.0), ("d", "new", 1, 1.0),
    ]  # fmt: skip
    assert [one.id for one in rank(visits, NOW - timedelta(hours=24), earlier, "visits")] == ["a", "b", "c", "d"]


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=9), st.integers(1, 200))
def test_columns_fit(columns: list[tuple[int, int]], room: int) -> None:
    """Widths never pass the room, never go below the least, and nothing is cut where there is room."""
    natural, least = [max(pair) for pair in columns], [min(pair) for pair in columns]
    widths = fit(natural, least, room)
    if widths is None:
        assert sum(least) > room
    else:
        assert sum(widths) <= max(room, sum(least))
        assert all(low <= width <= high for low, width, high in zip(least, widths, natural, strict=True))
        assert widths == natural or sum(widths) == room


def test_values_cannot_steer_the_terminal() -> None:
    """Control characters of a name are not printed."""
    assert text_of("Evil\x1b[2J\nCorp") == "Evil [2J Corp"
    assert text_of([{"id": "7", "attributes": {"name": "Hot"}}, {"id": "8"}]) == "Hot, 8"
