"""The readiness endpoints of the page Web applications."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from leadfeeder_async import AuthenticationError
from leadfeeder_async.sandbox import Sandbox
from tests.support.paths import DOCS

TEXT = (DOCS / "recipes/web-apps.md").read_text(encoding="utf-8")
EXAMPLES = dict(
    zip(
        ("aiohttp", "FastAPI", "Starlette"),
        re.findall(r"^```py\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE),
        strict=True,
    )
)


@asynccontextmanager
async def serve(app: Any) -> AsyncIterator[str]:
    """Serve an application on a free port."""
    if isinstance(app, web.Application):
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task


def client_of(app: Any, names: dict[str, Any]) -> Any:
    return app[names["CLIENT"]] if isinstance(app, web.Application) else app.state.lf


@pytest.mark.parametrize("framework", list(EXAMPLES))
async def test_readiness_endpoint(framework: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint responds with 200, and with 503 while the server rejects the key, and sends no request itself."""
    for variable, value in sandbox.environment.items():
        monkeypatch.setenv(variable, value)
    names: dict[str, Any] = {"__name__": "pasted"}
    exec(compile(EXAMPLES[framework], framework, "exec", dont_inherit=True), names)
    async with serve(names["app"]) as url, aiohttp.ClientSession() as session:

        async def ask() -> tuple[int, dict[str, object]]:
            async with session.get(f"{url}/ready") as response:
                return response.status, await response.json()

        assert await ask() == (200, {"ready": True, "waiting": 0, "paused_for": 0.0})
        lf = client_of(names["app"], names)
        sandbox.revoke_key()
        with pytest.raises(AuthenticationError):
            await lf.users.me()
        status, body = await ask()
        assert (status, body["ready"]) == (503, False)
        sandbox.restore_key()
        await lf.users.me()
        assert (await ask())[0] == 200
    assert len(sandbox.ledger.requests) == 2
