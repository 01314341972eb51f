"""The public API is the one that was released, or the change to it was meant.

``UPDATE_API=1 make test ARGS=tests/public/test_api.py`` writes ``tests/api.txt`` anew.
"""

from __future__ import annotations

import os

from tests.public import api
from tests.support.paths import TESTS

SNAPSHOT = TESTS / "api.txt"
REWRITE = "UPDATE_API=1 make test ARGS=tests/public/test_api.py"


def complaint(known: set[str], now: set[str]) -> str:
    """Say what changed against what was known, and what to do about it; nothing where nothing changed."""
    gone, new = sorted(known - now), sorted(now - known)
    if gone:
        hint = f"Others may use it. If it must change, say so in CHANGELOG.md under Changed or Removed, then {REWRITE}"
        return "\n".join(["The public API lost or changed:", *gone, "It has now:", *new, hint])
    if new:
        return "\n".join(["The public API grew by:", *new, f"Put it in CHANGELOG.md under Added, then {REWRITE}"])
    return ""


def test_the_public_api_is_the_one_written_down() -> None:
    """Every public name, signature, field and default is the one in ``tests/api.txt``."""
    now = api.lines()
    if os.environ.get("UPDATE_API"):
        SNAPSHOT.write_text("\n".join(now) + "\n")
    said = complaint(set(SNAPSHOT.read_text().splitlines()), set(now))
    assert not said, said


def test_the_snapshot_sees_all_kinds_of_names() -> None:
    """Classes with their arguments, fields, methods, each overload, enum members and names of the nouns are in it."""
    lines = api.lines()
    for start in (
        "leadfeeder_async: class AsyncLeadfeeder: __init__(api_key: str | None = None, *, account_id:",
        "leadfeeder_async.Pager: async collect(limit: int | None = None) -> list[T]",
        "leadfeeder_async.RetrySafety: SAFE =",
        "leadfeeder_async: class Budget: __init__(max_requests: int | None = None",
        "leadfeeder_async.models.WebVisit: company: Company | None",
        "leadfeeder_async.models.WebVisit: id: str",
        "leadfeeder_async.resources.tags.Tags: async get(tag_id: str, *, account_id: str | None = None) -> Response[Tag]",
        "leadfeeder_async.sandbox: class Sandbox: __init__(",
    ):
        assert any(line.startswith(start) for line in lines), start
    assert sum(line.startswith("leadfeeder_async.AsyncLeadfeeder: async request(") for line in lines) == 2
    assert not [line for line in lines if "(_" in line or ": _" in line.replace(": __", "")]


def test_a_break_is_told_from_an_addition() -> None:
    """What is gone or changed asks for a decision; what is new asks for a line in the changelog; else nothing."""
    assert complaint({"a"}, {"a"}) == ""
    broken = complaint({"get(x)", "b"}, {"get(x, y)", "b"})
    assert "lost or changed:\nget(x)\nIt has now:\nget(x, y)" in broken
    assert "Changed or Removed" in broken
    assert "grew by:\nb" in complaint({"a"}, {"a", "b"})
