"""``leadfeeder watch``: its output, the webhook, and stopping it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, ConfigurationError, WebVisit
from leadfeeder_async.cli import webhook
from leadfeeder_async.cli.watch_command import format_row, parse_interval
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import ids, leadfeeder, start
from tests.support.servers import handler_server, http, raw_server

KILLS = 100 if os.environ.get("SOAK") else 10


@pytest.fixture
async def live() -> AsyncIterator[Sandbox]:
    """A sandbox with visits until now."""
    async with Sandbox(companies=40, visits=150, rate_limit=False) as running:
        yield running


async def until_requests(sandbox: Sandbox, number: int) -> None:
    async with asyncio.timeout(30):
        while len(sandbox.ledger.requests) < number:
            await asyncio.sleep(0.01)


async def test_new_visits_until_sigterm(live: Sandbox, tmp_path: Path) -> None:
    """In a pipe, visits are JSON lines. SIGTERM and Ctrl-C keep the state, and the next run continues."""
    state = tmp_path / "visits.state"
    expected = list[str]()
    for number, (code, stop) in enumerate(((143, signal.SIGTERM), (130, signal.SIGINT))):
        before = len(live.ledger.requests)
        expected += live.world.add_visits(3) if number else []
        process = await start(
            live, "watch", "--every", "1s", "--state", state, "--include-company", stdout=subprocess.PIPE
        )
        await until_requests(live, before + 2)
        expected += live.world.add_visits(2)
        assert process.stdout is not None
        lines = [await asyncio.wait_for(process.stdout.readline(), 30) for _ in range(5 if number else 2)]
        await asyncio.sleep(0.3)
        process.send_signal(stop)
        _, stderr = await process.communicate()
        assert process.returncode == code
        assert f"The state is kept in {state}" in stderr.decode()
        found = ids(b"".join(lines).decode())
        assert sorted(found) == sorted(expected[-len(found) :])
        assert json.loads(lines[0])["relationships"]["company"]["attributes"]["name"]


def printed_ids(out: Path) -> list[str]:
    """Return the ids of the complete lines of a file."""
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    return ids("".join(line for line in lines if line.endswith("}\n")))


@pytest.mark.timeout(900 if KILLS > 10 else 200)
async def test_nothing_is_lost_by_kills(live: Sandbox, tmp_path: Path) -> None:
    """A watch that is killed at random moments prints each visit at least once, and at most one twice per kill.

    The test starts and kills processes, so it takes real time.
    """
    rng, state, out = random.Random(KILLS), tmp_path / "visits.state", tmp_path / "out.ndjson"
    added, kills = list[str](), 0
    with out.open("ab") as file:
        while kills <= KILLS:
            before = len(live.ledger.requests)
            process = await start(live, "watch", "--every", "1s", "--state", state, stdout=file.fileno())
            await until_requests(live, before + 1)
            async with asyncio.timeout(60):
                end = asyncio.get_running_loop().time() + rng.uniform(0, 1.5)
                while kills < KILLS and asyncio.get_running_loop().time() < end:
                    if state.exists() and '"read_on":"' in state.read_text(encoding="utf-8"):  # visits before are old
                        added += live.world.add_visits(rng.randrange(4))
                    await asyncio.sleep(rng.uniform(0, 0.3))
                while kills == KILLS and not set(added) <= set(printed_ids(out)):
                    await asyncio.sleep(0.1)
            process.kill()
            await process.communicate()
            kills += 1
    printed = Counter(printed_ids(out))
    assert len(added) > KILLS
    assert set(added) <= set(printed)
    assert sum(printed.values()) - len(printed) <= kills


async def test_webhook(live: Sandbox, tmp_path: Path) -> None:
    """Each visit is posted until the receiver accepts it. A rejection ends the watch, and the visit is posted again."""
    received, statuses = list[Any](), [503, 200, 200, 404]

    async def receive(request: web.Request) -> web.Response:
        received.append((request.headers["Idempotency-Key"], await request.json()))
        return web.Response(status=statuses.pop(0))

    new = list(live.world.visit_ids())[-1:]
    state = tmp_path / "visits.state"
    async with handler_server(receive) as url:
        secret = f"{url}/T000/secret"
        process = await start(live, "watch", "--every", "1s", "--webhook", secret, "--state", state)
        await until_requests(live, 2)
        new = list(live.world.add_visits(3))
        _, stderr = await process.communicate()
        assert process.returncode == 2
        text = stderr.decode()
        assert "failed: status 503. The next attempt is in 1 s." in text
        assert "rejected a visit with status 404" in text
        assert "secret" not in text
        assert [name for name, _ in received] == [new[0], new[0], new[1], new[2]]
        assert received[0][1]["id"] == new[0]
        assert received[0][1]["relationships"]["company"]["attributes"]["name"]
        statuses += [200]
        process = await start(
            live, "watch", "--every", "1s", "--webhook", secret, "--state", state, "--format", "slack"
        )
        async with asyncio.timeout(30):
            while len(received) < 5:
                await asyncio.sleep(0.01)
        process.terminate()
        await process.communicate()
    name, message = received[-1]
    assert name == new[2]
    assert " visited " in message["text"]


def test_messages() -> None:
    """Slack's control characters are escaped, and Teams gets an adaptive card."""
    visit = WebVisit(id="v")
    assert webhook.message_of(visit, "slack") == {"text": "Unknown company visited the website."}
    company = {"id": "1", "attributes": {"name": "A&B <GmbH>"}}
    data = {
        "id": "v",
        "attributes": {"landing_page_path": "/p", "page_depth": 2, "started_at": "2026-11-20T09:14:07Z", "source": "x"},
        "relationships": {"company": company, "location": {"id": "l", "attributes": {"country_code": "DE"}}},
    }
    visit = msgspec.convert(data, WebVisit)
    text = "A&B <GmbH> (DE) visited /p (2 pages) on 2026-11-20 at 09:14 UTC from x."
    assert webhook.describe(visit) == text
    berlin = {**data, "attributes": {**data["attributes"], "started_at": "2026-11-21T00:30:00+01:00"}}
    assert "on 2026-11-20 at 23:30 UTC" in webhook.describe(msgspec.convert(berlin, WebVisit))
    last = {**data, "attributes": {"started_at": "9999-12-31T23:59:59-01:00"}}
    assert webhook.describe(msgspec.convert(last, WebVisit)) == "A&B <GmbH> (DE) visited the website."
    slack = webhook.message_of(visit, "slack")["text"]
    assert slack == text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    teams: Any = webhook.message_of(visit, "teams")
    assert teams["attachments"][0]["content"]["body"][0]["text"] == text


def test_rows_of_the_table() -> None:
    """On a terminal, a visit is a row with the time in UTC, the company, its country and the first page."""
    company = {"id": "1", "attributes": {"name": "Acme\x1b[2J"}}
    attributes = {"landing_page_path": "/p", "page_depth": 2, "started_at": "2026-11-20T10:14:07+01:00"}
    location = {"id": "l", "attributes": {"country_code": "DE"}}
    data = {"id": "v", "attributes": attributes, "relationships": {"company": company, "location": location}}
    row = format_row(msgspec.convert(data, WebVisit))
    assert row.split() == ["2026-11-20", "09:14", r"Acme\u001b[2J", "DE", "2", "/p"]
    assert "\x1b" not in row
    stub = msgspec.convert({"id": "v", "relationships": {"company": {"id": "159000001"}}}, WebVisit)
    assert format_row(stub).split() == ["159000001"]
    assert format_row(WebVisit(id="v")).strip() == ""


async def test_webhook_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lost connection is reported without the address, and the visit is posted again."""
    monkeypatch.setattr(webhook, "FIRST_DELAY", 0.01)
    received = list[str]()

    async def receive(request: web.Request) -> web.Response:
        received.append(request.headers["Idempotency-Key"])
        if len(received) == 1:
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    async with handler_server(receive) as url, webhook.Webhook(f"{url}/secret", "json") as receiver:
        await receiver.post(WebVisit(id="v"))
    message = capsys.readouterr().err
    assert received == ["v", "v"]
    assert message.startswith("The webhook at 127.0.0.1 failed: ServerDisconnectedError.")
    assert "secret" not in message


@pytest.mark.parametrize("status", ["000", "099", "101"])
async def test_webhook_with_a_status_that_accepts_nothing(status: str) -> None:
    """Only a status from 200 to 299 accepts a visit."""
    answer = http(b"", f"{status} Odd")
    async with raw_server(answer) as server, webhook.Webhook(f"{server.url}/secret", "json") as receiver:
        with pytest.raises(ConfigurationError, match=f"with status {int(status)}"):
            await receiver.post(WebVisit(id="v"))
    assert len(server.requests) == 1


def test_intervals() -> None:
    """Intervals are numbers with a unit. ``5`` alone may mean minutes or seconds."""
    assert [parse_interval(text) for text in ("30s", "5m", "1.5h")] == [30, 300, 5_400]
    with pytest.raises(ConfigurationError, match="--every '5' is not an interval with a unit"):
        parse_interval("5")
    with pytest.raises(ConfigurationError, match="--every 'often' is not an interval"):
        parse_interval("often")


async def test_feeds(live: Sandbox, tmp_path: Path) -> None:
    """Feeds are created from a file of filters, shown, changed and deleted by name."""
    path = tmp_path / "filters.json"
    path.write_text('[{"field":"page_url","values":["/pricing"]}]', encoding="utf-8")
    code, out, _ = await leadfeeder(live, "feeds", "create", "Pricing", "--filters", path, "--yes")
    assert (code, json.loads(out)["attributes"]["filters"][0]["field"]) == (0, "page_url")
    assert (await leadfeeder(live, "feeds", "update", "pricing", "--name", "Prices", "--yes"))[0] == 0
    assert json.loads((await leadfeeder(live, "feeds", "list"))[1])["attributes"]["name"] == "Prices"
    code, out, _ = await leadfeeder(live, "feeds", "get", "prices")
    assert (code, json.loads(out)["attributes"]["filters"][0]["values"]) == (0, ["/pricing"])
    path.write_text("{", encoding="utf-8")
    code, _, stderr = await leadfeeder(live, "feeds", "update", "Prices", "--filters", path, "--yes")
    assert (code, "is not valid JSON" in stderr) == (2, True)
    code, _, stderr = await leadfeeder(live, "feeds", "delete", "Prices", "--yes")
    assert (code, stderr.startswith("Deleted the feed 'Prices'")) == (0, True)
    assert not live.records.custom_feeds.records


async def test_sandbox_with_new_visits() -> None:
    """``leadfeeder sandbox --visit-every`` adds visits while it runs."""
    process = await start(None, "sandbox", "--visits", "20", "--visit-every", "0.1", stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        lines = [(await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip() for _ in range(3)]
        key, account, url = (line.partition("=")[2].strip('"') for line in lines)
        async with AsyncLeadfeeder(key, account_id=account, base_url=url) as lf, asyncio.timeout(30):
            visits = lf.web_visits.watch(every=1, since="2020-01-01", lookback_days=90)
            async with aclosing(visits):
                for _ in range(25):
                    await anext(visits)
    finally:
        process.terminate()
        await process.communicate()


async def test_state_that_cannot_be_used(live: Sandbox, tmp_path: Path) -> None:
    """The error names another state, and neither repeating the command nor an option that it does not have."""
    state = tmp_path / "visits.state"
    state.write_bytes(b"x")
    code, _, stderr = await leadfeeder(live, "watch", "--state", state)
    assert (code, "is damaged" in stderr, "Run the same command" in stderr) == (2, True, False)
    code, _, stderr = await leadfeeder(live, "watch", "--state", tmp_path)
    assert (code, "Name a file" in stderr or "regular file" in stderr, "another --out" in stderr) == (2, True, False)


async def test_company_that_was_not_requested(live: Sandbox) -> None:
    """In a pipe, a visit has only the type and the id of its company, and no fields without values."""
    process = await start(live, "watch", "--since", "2020-01-01", "--every", "1s", stdout=subprocess.PIPE)
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 30)
    process.terminate()
    await process.communicate()
    assert json.loads(line)["relationships"]["company"].keys() == {"type", "id"}
