"""The examples of the page Authentication that use files and identity providers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.sandbox import Sandbox
from tests.support.paths import DOCS
from tests.support.servers import handler_server

ROTATION, TOKENS = re.findall(
    r"^```py\n(.*?)^```", (DOCS / "authentication.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


def client_of_example(text: str, function: str) -> AsyncLeadfeeder:
    """Run an example and return the client that its function makes."""
    names: dict[str, Any] = {}
    exec(text, names)
    client = names[function]()
    assert isinstance(client, AsyncLeadfeeder)
    return client


@pytest.fixture(autouse=True)
def sandbox_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADFEEDER_BASE_URL", sandbox.url)


async def test_rotating_key(sandbox: Sandbox, tmp_path: Path) -> None:
    """The example reads a changed file after the old key was rejected."""
    file = tmp_path / "leadfeeder"
    file.write_text(f"{sandbox.api_key}\n", encoding="utf-8")
    async with client_of_example(
        ROTATION.replace("/run/secrets/leadfeeder", file.as_posix()), "use_rotating_key"
    ) as lf:
        await lf.users.me()
        file.write_text(f"{sandbox.rotate_key()}\n", encoding="utf-8")
        await lf.users.me()


async def test_client_credentials(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example requests tokens from an OAuth2 token endpoint."""
    forms = list[dict[str, str]]()

    async def issue(request: web.Request) -> web.Response:
        forms.append({name: str(value) for name, value in (await request.post()).items()})
        return web.json_response({"access_token": sandbox.issue_token(), "expires_in": 3600, "token_type": "Bearer"})

    monkeypatch.setenv("CLIENT_ID", "me")
    monkeypatch.setenv("CLIENT_SECRET", "secret")
    async with handler_server(issue) as url:
        text = TOKENS.replace("https://id.example.com", url)
        async with client_of_example(text, "use_tokens") as lf:
            await lf.users.me()
            await lf.users.me()
    assert forms == [{"grant_type": "client_credentials", "client_id": "me", "client_secret": "secret"}]
