"""The public API matches the snapshot in ``tests/api.txt``.

``UPDATE_API=1 make test ARGS=tests/public/test_api.py`` updates the snapshot.
"""

from __future__ import annotations

import os

from tests.public import api
from tests.support.paths import TESTS

SNAPSHOT = TESTS / "api.txt"
UPDATE = "UPDATE_API=1 make test ARGS=tests/public/test_api.py"


def failure_message(expected: set[str], actual: set[str]) -> str:
    """Return the changes of the API and the next step, or an empty string if nothing changed."""
    removed, added = sorted(expected - actual), sorted(actual - expected)
    if removed:
        hint = f"Users may depend on it. If the change is intended, add it to CHANGELOG.md and run: {UPDATE}"
        return "\n".join(["Removed from or changed in the public API:", *removed, "Now:", *added, hint])
    if added:
        return "\n".join(["Added to the public API:", *added, f"Add it to CHANGELOG.md and run: {UPDATE}"])
    return ""


def test_public_api_matches_snapshot() -> None:
    """Every public name, signature, field and default is in ``tests/api.txt``."""
    actual = api.lines()
    if os.environ.get("UPDATE_API"):
        SNAPSHOT.write_text("\n".join(actual) + "\n", encoding="utf-8")
    message = failure_message(set(SNAPSHOT.read_text(encoding="utf-8").splitlines()), set(actual))
    assert not message, message


def test_snapshot_covers_all_kinds_of_names() -> None:
    """The snapshot has classes with arguments, fields, methods, overloads, enum members and resources."""
    lines = api.lines()
    for start in (
        "leadfeeder_async: class AsyncLeadfeeder: __init__(api_key: str | ApiKeyProvider | None = None, *, access_token:",
        "leadfeeder_async.Pager: async collect(limit: int | None = None) -> list[T]",
        "leadfeeder_async.Outcome: MATCHED =",
        "leadfeeder_async: class Budget: __init__(max_requests: int | None = None",
        "leadfeeder_async.models.WebVisit: company: Company | None",
        "leadfeeder_async.models.WebVisit: id: str",
        "leadfeeder_async.resources.tags.Tags: async get(tag_id: str, *, account_id: str | None = None) -> Response[Tag]",
        "leadfeeder_async.sandbox: class Sandbox: __init__(",
    ):
        assert any(line.startswith(start) for line in lines), start
    assert sum(line.startswith("leadfeeder_async.AsyncLeadfeeder: async request(") for line in lines) == 2
    assert not [line for line in lines if "(_" in line or ": _" in line.replace(": __", "")]


def test_removals_and_additions_have_different_messages() -> None:
    """A removal asks for a decision, an addition asks for a changelog entry, and no change has no message."""
    assert failure_message({"a"}, {"a"}) == ""
    message = failure_message({"get(x)", "b"}, {"get(x, y)", "b"})
    assert "public API:\nget(x)\nNow:\nget(x, y)" in message
    assert "Users may depend on it" in message
    assert "Added to the public API:\nb" in failure_message({"a"}, {"a", "b"})
