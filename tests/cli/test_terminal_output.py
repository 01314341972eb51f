"""The screens of commands, compared with stored snapshots.

``SNAPSHOTS=write`` updates the snapshots. The screens in ``docs/command-line.md`` are updated by hand.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import leadfeeder, leadfeeder_on_terminal
from tests.support.paths import DOCS, SNAPSHOTS

COMMANDS = {
    "doctor": ("doctor",),
    "usage": ("usage",),
    "companies": ("companies", "search", "--country", "DE", "--limit", "5"),
    "company": ("companies", "get", "159000003"),
    "brief": ("brief", "--since", "2026-11-18", "--until", "2026-11-20", "--limit", "8"),
    "lists": ("lists", "list"),
    "error": ("companies", "search", "--fields", "name,wages"),
    "export": ("export", "visits", "--since", "2026-11-01", "--until", "2026-11-20", "--out", "visits.ndjson"),
}


def normalize(screen: str) -> str:
    """Replace the parts of a screen that differ between runs by placeholders of the same width."""
    screen = re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda port: "P" * len(port[0]), screen)
    screen = re.sub(f"^{datetime.now(UTC):%Y-%m}", "YYYY-MM", screen, flags=re.MULTILINE)
    screen = re.sub(r"(?<=next reset on )[\d-]+", "YYYY-MM-DD", screen)
    screen = re.sub(r"leadfeeder-async \d.*\n(?:.*(?:aiohttp|msgspec|Linux).*\n)*", "(versions)\n", screen)
    screen = re.sub(r"\d+ in the last 7 days|none in the last 7 days", "(visits)", screen)
    screen = re.sub(r" +Check that the tracker runs on the website.*\n(?: {15,}.*\n)*", "", screen)
    screen = re.sub(r"(✓  ok  |!  warn)  visits", "·  ....  visits", screen)
    screen = re.sub(r"(All checks passed\.|0 failures, 1 warning\.)", "(summary)", screen)
    return re.sub(r"in \d+\.\d s", "in N.N s", screen)


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("name", list(COMMANDS))
async def test_screen(
    name: str, columns: int, quarter: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The screen equals its snapshot, fits the terminal and does not contain the key."""
    monkeypatch.chdir(tmp_path)
    for list_name in (
        "DACH Enterprise",
        "日本の見込み客",
        "A list whose name is much too long for any column of a table",
    ):
        quarter.records.lists.add({"name": list_name, "scope": "company", "item_count": 3})
    for _ in range(2 if name == "usage" else 0):
        await leadfeeder(quarter, "tags", "list")
    _, screen = await leadfeeder_on_terminal(quarter, *COMMANDS[name], columns=columns)
    snapshot = SNAPSHOTS / f"{name}-{columns}.txt"
    if os.environ.get("SNAPSHOTS") == "write":
        snapshot.write_text(normalize(screen), encoding="utf-8")
    assert normalize(screen) == snapshot.read_text(encoding="utf-8")
    assert quarter.api_key not in screen
    assert all(len(line) <= columns for line in screen.splitlines())


@pytest.mark.parametrize("name", ["doctor", "brief", "companies", "lists", "usage"])
def test_documentation_shows_the_screen(name: str) -> None:
    """The page about the command line shows the snapshots of 80 columns."""
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    snapshot = (SNAPSHOTS / f"{name}-80.txt").read_text(encoding="utf-8")
    assert snapshot in normalize(page).replace("2026-11 ", "YYYY-MM ").replace("2026-11:", "YYYY-MM:")
