"""Text from outside never controls the terminal: control characters are shown as escapes."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async import LeadfeederError
from leadfeeder_async.cli import stdout_writer
from leadfeeder_async.cli.stdout_writer import escaped_pieces
from leadfeeder_async.errors import escape_control_characters
from tests.cli.command import forked, leadfeeder
from tests.support.servers import handler_server
from tests.support.terminal import terminal_output

HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b]8;;http://evil\x1b\\link\x9b31m\x7f\u202ereversed\u2066"

ALLOWED = re.compile(rb"\x1b\[[0-9;?]*[mlhKA-F]")
"""The sequences of rich: colors, cursor movements and hidden cursors."""

COMMANDS = {
    "doctor": ("doctor",),
    "several accounts": ("tags", "list"),
    "unreadable response": ("usage",),
    "table": ("tags", "list", "--account-id", "1"),
    "blocks": ("companies", "match", "x", "--account-id", "1"),
    "json lines": ("tags", "list", "--account-id", "1", "--json"),
    "export": ("export", "tags", "--account-id", "1"),
    "message": ("tags", "add", "nope", "1", "--yes", "--account-id", "1"),
    "error": ("companies", "get", "1", "--account-id", "1"),
    "gap": ("lists", "list", "--account-id", "1"),
}


async def respond(request: web.Request) -> web.Response:
    """Respond with hostile text in every place."""
    match request.path.removeprefix("/v1"):
        case "/accounts":
            rows = [{"id": str(number), "type": "account", "attributes": {"name": HOSTILE}} for number in (1, 2)]
            return web.json_response({"data": rows})
        case "/tags":
            return web.json_response({"data": [{"id": "1", "type": "tag", "attributes": {"name": f"T{HOSTILE}"}}]})
        case "/lists":
            return web.json_response({"data": [{"id": "1", "type": HOSTILE, "attributes": HOSTILE}]})
        case "/companies/match":
            summary = {"id": "1", "attributes": {"name": HOSTILE}}
            row = {"id": "1", "attributes": {"match_score": 1}, "relationships": {"company_summary": summary}}
            return web.json_response({"data": [[row]]})
        case "/usage":
            return web.Response(status=502, body=f"<html>{HOSTILE}</html>".encode())
    error = {"code": f"x{HOSTILE}", "title": HOSTILE, "detail": HOSTILE}
    return web.json_response({"errors": [error], "meta": {"request_id": HOSTILE}}, status=400)


@pytest.mark.parametrize("name", list(COMMANDS))
async def test_terminal_receives_no_control_characters(name: str) -> None:
    """A command on a terminal writes no control characters of a server."""
    async with handler_server(respond) as url:
        environment = {"LEADFEEDER_API_KEY": "k", "LEADFEEDER_BASE_URL": url}
        _, output = await asyncio.to_thread(terminal_output, forked(*COMMANDS[name]), environment, 120)
    text = ALLOWED.sub(b"", output).decode()
    assert [char for char in text if char not in "\r\n" and escape_control_characters(char) != char] == []


async def test_json_lines_in_a_pipe_stay_exact() -> None:
    """JSON lines in a pipe contain the text of the server, unchanged."""
    async with handler_server(respond) as url:
        environment = {"LEADFEEDER_API_KEY": "k", "LEADFEEDER_BASE_URL": url, "LEADFEEDER_ACCOUNT_ID": "1"}
        for command in (("tags", "list"), ("export", "tags")):
            _, output, _ = await leadfeeder(None, *command, **environment)
            assert json.loads(output)["attributes"]["name"] == f"T{HOSTILE}"


@given(st.text())
def test_escaped_text_is_the_same_text_in_json(text: str) -> None:
    """Escaping inside JSON changes no value, and leaves nothing to escape."""
    encoded = json.dumps(text, ensure_ascii=False)
    escaped = escape_control_characters(encoded)
    assert json.loads(escaped) == text
    assert escape_control_characters(escaped) == escaped


def test_errors_escape_their_text() -> None:
    """The text and the message of an error are one line without control characters."""
    error = LeadfeederError(f"{HOSTILE}\nleadfeeder: all is well", hint=HOSTILE)
    assert all(escape_control_characters(text) == text for text in (str(error), error.message))
    assert escape_control_characters("Übung 日本 👩\u200d👩 a\u00a0b") == "Übung 日本 👩\u200d👩 a\u00a0b"


@given(st.text(), st.integers(1, 20))
def test_pieces_of_lines_are_escaped_like_the_whole(text: str, size: int) -> None:
    """Output that is escaped in pieces is the same as if it were escaped at once."""
    data = text.encode("utf-8", "replace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stdout_writer, "BYTES_PER_PIECE", size)
        pieces = b"".join(escaped_pieces(data))
    assert pieces == escape_control_characters(data.decode(), keep_lines=True).encode()
