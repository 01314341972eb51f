"""The recipes for new visits and the examples of the page about watches run as documented, against a sandbox.

Real time, because a web server and a browser are processes of their own.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.sandbox import Sandbox
from tests.support.browser import CHROMIUM, OPTIONS
from tests.support.clients import client_for
from tests.support.paths import DOCS
from tests.support.servers import handler_server

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(90)]

PAGES = (DOCS / "recipes/new-visits.md", DOCS / "watching.md")
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"^```py\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def live() -> AsyncIterator[Sandbox]:
    """A sandbox with visits until now, and two accounts."""
    async with Sandbox(companies=20, visits=60, accounts=2, rate_limit=False) as running:
        yield running


def recipe(name: str) -> Any:
    """Run the block that defines a function as a module, and return the module."""
    (text,) = [block for block in BLOCKS if f"def {name}(" in block]
    module = ModuleType("recipe")
    exec(text.replace("\nasyncio.run(main())\n", "").replace("every=300,", "every=1,"), vars(module))
    return module


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(coroutine: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(coroutine)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def web_application(sandbox: Sandbox, folder: Path) -> AsyncIterator[str]:
    """Run the FastAPI recipe with uvicorn, and yield its URL."""
    (text,) = [block for block in BLOCKS if "FastAPI(" in block]
    (folder / "app.py").write_text(text, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, **sandbox.environment, "POLL_SECONDS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = ("-m", "uvicorn", "app:app", "--port", str(port), "--timeout-graceful-shutdown", "1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--log-level", "error", cwd=folder, env=environment
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while True:
                with suppress(httpx.HTTPError):
                    if (await client.get(url)).status_code == 200:
                        break
                await asyncio.sleep(0.1)
        await until(lambda: sandbox.ledger.count("search_web_visits") >= 2)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def read_events(url: str, number: int, connected: asyncio.Semaphore) -> list[str]:
    """Return the ids of the next events."""
    found = list[str]()
    async with httpx.AsyncClient(timeout=30) as client, client.stream("GET", f"{url}/events") as response:
        async for line in response.aiter_lines():
            if line == ": connected":
                connected.release()
            if line.startswith("id: "):
                found.append(line[4:])
            if len(found) == number:
                return found
    return found


async def test_server_sent_events(live: Sandbox, tmp_path: Path) -> None:
    """Each of several connections gets each new visit, from one watcher."""
    async with web_application(live, tmp_path) as url:
        connected = asyncio.Semaphore(0)
        readers = [asyncio.ensure_future(read_events(url, 5, connected)) for _ in range(8)]
        for _ in readers:
            await connected.acquire()
        new = list(live.world.add_visits(5))
        before = live.ledger.count("search_web_visits")
        results = await asyncio.wait_for(asyncio.gather(*readers), 30)
        assert results == [new] * 8
        assert live.ledger.count("search_web_visits") - before <= 6


@pytest.mark.skipif(CHROMIUM is None and not os.environ.get("REQUIRE_CHROMIUM"), reason="Chromium is not installed.")
async def test_browser_receives_events(live: Sandbox, tmp_path: Path) -> None:
    """A real browser shows the company of a new visit."""
    from playwright.async_api import async_playwright

    async with web_application(live, tmp_path) as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = await browser.new_page()
        async with page.expect_response("**/events"):
            await page.goto(url)
        new = live.world.add_visits(2)
        await page.wait_for_function("document.querySelectorAll('li').length === 2", timeout=30_000)
        shown = await page.locator("li").all_inner_texts()
        await browser.close()
    names = [live.world.company(live.world.company_of_visit(visit_id))["name"] for visit_id in new]
    assert shown == names[::-1]


async def test_first_watch(
    live: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The first example of the page prints a new visit and the name of its company, and keeps its state."""
    for name, value in live.environment.items():
        monkeypatch.setenv(name, value)
    async with running(recipe("main").main()):
        await until(lambda: live.ledger.count("search_web_visits"))
        await asyncio.sleep(0.3)
        (new,) = live.world.add_visits(1)
        output = ""
        async with asyncio.timeout(20):
            while not output:
                output += capsys.readouterr().out
                await asyncio.sleep(0.05)
    assert live.world.company(live.world.company_of_visit(new))["name"] in output
    assert (tmp_path / "visits.state").exists()


class FakeRedis(dict[str, bytes]):
    """A dictionary with the methods of a Redis client that the store uses."""

    async def get(self, key: str) -> bytes | None:  # type: ignore[override]
        """Return a value."""
        return super().get(key)

    async def set(self, key: str, value: bytes) -> None:
        """Set a value."""
        self[key] = value


async def test_state_in_redis(live: Sandbox) -> None:
    """The store of the page saves the state in Redis and loads it."""
    client = FakeRedis()
    async with client_for(live) as lf, running(recipe("watch_with_store").watch_with_store(lf, client)):
        await until(lambda: client)
    assert b"fingerprint" in client["visits"]
    assert await recipe("watch_with_store").RedisStore(client, "visits").load() == client["visits"]


async def test_queue_worker(live: Sandbox, tmp_path: Path) -> None:
    """Each new visit is processed once."""
    done = tmp_path / "done.txt"
    async with client_for(live) as lf, running(recipe("watch_into_queue").watch_into_queue(lf, 1)):
        await until(lambda: live.ledger.requests)
        await asyncio.sleep(0.3)
        new = list(live.world.add_visits(30))
        await until(lambda: done.exists() and len(done.read_text(encoding="utf-8").split()) >= 30)
    assert sorted(done.read_text(encoding="utf-8").split()) == sorted(new)


async def test_slack_alert(live: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only visits of companies in the list are posted."""
    posts = list[str]()

    async def receive(request: web.Request) -> web.Response:
        posts.append((await request.json())["text"])
        return web.Response()

    target = live.records.lists.add({"name": "Key accounts", "scope": "company"})
    listed = live.world.company_ids()[::2]
    for company_id in listed:
        live.records.list_members[target, "company", company_id] = None
    async with handler_server(receive) as url, client_for(live) as lf:
        monkeypatch.setenv("SLACK_WEBHOOK", url)
        async with running(recipe("alert").alert(lf, target, 1)):
            await until(lambda: live.ledger.count("search_web_visits"))
            await asyncio.sleep(0.3)
            new = list(live.world.add_visits(20))
            expected = [each for each in map(live.world.company_of_visit, new) if each in listed]
            await until(lambda: len(posts) >= len(expected))
            await asyncio.sleep(1.2)
    assert 0 < len(expected) < 20
    assert [text.split(" visited ")[0] for text in posts] == [live.world.company(each)["name"] for each in expected]


async def test_several_accounts(live: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Each account has its own watch and state."""
    async with AsyncLeadfeeder(live.api_key, base_url=live.url) as lf, running(recipe("watch_all").watch_all(lf, 1)):
        await until(lambda: live.ledger.count("search_web_visits") >= 2)
        await asyncio.sleep(0.5)
        new = live.world.add_visits(2)
        output = ""
        async with asyncio.timeout(20):
            while output.count("\n") < 4:
                output += capsys.readouterr().out
                await asyncio.sleep(0.05)
    assert sorted(output.splitlines()) == sorted(f"{account} {visit}" for account in live.account_ids for visit in new)
