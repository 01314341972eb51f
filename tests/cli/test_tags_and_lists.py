"""``leadfeeder tags`` and ``leadfeeder lists``: changes and their confirmation."""

from __future__ import annotations

import pytest

from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import json_lines, leadfeeder, leadfeeder_on_terminal


async def test_tags_by_name(quarter: Sandbox) -> None:
    """A tag is created, assigned and removed by its name, ignoring case."""
    records = quarter.records
    assert (await leadfeeder(quarter, "tags", "create", "Hot", "--color", "3", "--yes"))[0] == 0
    assert (await leadfeeder(quarter, "tags", "create", "hot", "--yes"))[0] == 2
    assert (await leadfeeder(quarter, "tags", "add", "HOT", "159000001", "159000002", "--yes"))[2] == "2 changed.\n"
    assert len(records.company_tags) == 2
    assert (await leadfeeder(quarter, "tags", "remove", "Hot", "159000001", "--yes"))[0] == 0
    assert [company for company, _ in records.company_tags] == ["159000002"]


async def test_lists_by_name(quarter: Sandbox) -> None:
    """A list is created, filled and emptied by its name."""
    records = quarter.records
    assert (await leadfeeder(quarter, "lists", "create", "DACH", "--yes"))[0] == 0
    assert (await leadfeeder(quarter, "lists", "add", "DACH", "159000001", "--yes"))[0] == 0
    assert len(records.list_members) == 1
    assert (await leadfeeder(quarter, "lists", "remove", "DACH", "159000001", "--yes"))[0] == 0
    assert len(records.list_members) == 0
    lists = json_lines((await leadfeeder(quarter, "lists", "list"))[1])
    assert [record["attributes"]["name"] for record in lists] == ["DACH"]


async def test_failed_change_prints_the_progress(quarter: Sandbox) -> None:
    """If a change fails, the command prints how many records were changed before."""
    await leadfeeder(quarter, "tags", "create", "Hot", "--yes")
    code, _, stderr = await leadfeeder(quarter, "tags", "add", "Hot", "159000001", "1", "159000002", "--yes")
    assert code == 1
    assert stderr.startswith("1 of 3 changed.\n")


@pytest.mark.parametrize(("answer", "created"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
async def test_confirmation(quarter: Sandbox, answer: str, created: int) -> None:
    """On a terminal, a change is made only after "y". Otherwise the exit code is 5."""
    code, screen = await leadfeeder_on_terminal(quarter, "tags", "create", "Hot", answer=answer)
    assert "Create the tag 'Hot'? [y/N]" in screen
    assert len(quarter.ledger.creations) == created
    assert code == (0 if created else 5)
    assert ("Nothing was changed." in screen) is not bool(created)


async def test_ctrl_c_at_confirmation(quarter: Sandbox) -> None:
    """Ctrl-C at the question exits with 130 and changes nothing."""
    code, screen = await leadfeeder_on_terminal(quarter, "tags", "create", "Hot", interrupt_at="[y/N]")
    assert (code, quarter.ledger.creations) == (130, [])
    assert "Interrupted" in screen
