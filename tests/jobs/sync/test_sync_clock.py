"""Syncs on a machine whose clock differs from the server's."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from aiohttp import web

from leadfeeder_async import BadRequestError, DatabaseError, Progress
from leadfeeder_async._core.server_clock import ServerClock
from leadfeeder_async.sync import SyncResult, sync_account
from tests.support.clients import client_of
from tests.support.servers import handler_server

START = date(2025, 11, 1)
"""The first day on the server. The clock of the tests is ahead of it."""


class DatedServer:
    """A server with one visit a day up to its own date, which each response names in its ``Date`` header."""

    def __init__(self) -> None:
        self.today = START
        self.header: str | None = None
        """A ``Date`` header to send instead."""
        self.windows = list[tuple[str, str]]()
        self.rejects_today = False
        """True if today has not begun in the time zone of the account, so that the server rejects it."""

    async def __call__(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read() or b"{}")
        if self.rejects_today and {**request.query, **body}.get("end_date", "") >= str(self.today):
            return web.json_response({"errors": [{"status": "400"}]}, status=400, headers={"Date": self.header or ""})
        rows: list[dict[str, Any]] = []
        if request.path == "/v1/web-visits":
            self.windows.append((body["start_date"], body["end_date"]))
            days = [START + timedelta(number) for number in range((self.today - START).days + 1)]
            rows = [
                {"id": str(day), "type": "web_visit", "attributes": {"started_at": f"{day}T10:00:00Z"}}
                for day in days
                if body["start_date"] <= str(day) <= body["end_date"]
            ]
        size, number = int(request.query.get("page[size]", 100)), int(request.query.get("page[num]", 1))
        pagination = {"total_count": len(rows), "page_count": -(-len(rows) // size)}
        date_header = self.header or format_datetime(datetime.combine(self.today, time(12), UTC), usegmt=True)
        return web.json_response(
            {"data": rows[(number - 1) * size : number * size], "meta": {"pagination": pagination}},
            headers={"Date": date_header},
        )


async def sync_on(server: DatedServer, path: Path, day: date, **options: Any) -> SyncResult:
    """Sync on a day of the server."""
    server.today = day
    async with handler_server(server) as url, client_of(url) as lf:
        return await sync_account(lf, path, **options)


def missing_days(path: Path, until: date) -> list[str]:
    """Return the days of the server whose visit is not in the database."""
    with duckdb.connect(str(path), read_only=True) as database:
        known = {row[0] for row in database.execute("SELECT id FROM visits").fetchall()}
    return [
        str(day) for number in range((until - START).days + 1) if str(day := START + timedelta(number)) not in known
    ]


async def test_clock_ahead_loses_no_day(tmp_path: Path) -> None:
    """The last synced day is the server's, so a clock that is ahead by months skips no day later."""
    path, server = tmp_path / "x.duckdb", DatedServer()
    for night in (0, 1, 11, 12):
        day = START + timedelta(night)
        result = await sync_on(server, path, day, since=START if night == 0 else None)
        assert (result.first_day, result.last_day) == (START, day)
        assert missing_days(path, day) == []
    assert max(end for _, end in server.windows) == str(START + timedelta(12))


async def test_recorded_future_days_are_read_again(tmp_path: Path) -> None:
    """Days that were recorded as synced before they began are read once the clock is right."""
    path, server = tmp_path / "x.duckdb", DatedServer()
    await sync_on(server, path, START, since=START)
    server.header = "Sun, 01 Nov 2026 12:00:00 GMT"
    assert (await sync_on(server, path, START + timedelta(1))).last_day == date(2026, 11, 1)
    server.header = None
    day = START + timedelta(11)
    assert (await sync_on(server, path, day)).last_day == day
    assert missing_days(path, day) == []


async def test_first_sync_in_the_future_is_replaced(tmp_path: Path) -> None:
    """If all recorded days are in the future, the next run is a first one."""
    path, server = tmp_path / "x.duckdb", DatedServer()
    server.header = "Sun, 01 Nov 2026 12:00:00 GMT"
    await sync_on(server, path, START, since="2026-10-01")
    server.header = None
    day = START + timedelta(2)
    result = await sync_on(server, path, day, since=START)
    assert (result.first_day, result.last_day, missing_days(path, day)) == (START, day, [])


async def test_today_has_not_begun_for_the_account(tmp_path: Path) -> None:
    """A server that rejects today is synced until yesterday. Later runs read today."""
    path, server = tmp_path / "x.duckdb", DatedServer()
    await sync_on(server, path, START, since=START)
    server.rejects_today = True
    for night in (3, 4):
        day = START + timedelta(night)
        server.header = format_datetime(datetime.combine(day, time(2), UTC), usegmt=True)
        assert (await sync_on(server, path, day)).last_day == day - timedelta(1)
        assert missing_days(path, day) == [str(day)]
    server.header = format_datetime(datetime.combine(day, time(12), UTC), usegmt=True)
    with pytest.raises(BadRequestError):
        await sync_on(server, path, day)
    server.rejects_today = False
    assert (await sync_on(server, path, day)).last_day == day
    assert missing_days(path, day) == []


@pytest.mark.parametrize("change", ["moved", "restored", "emptied", "newer", "foreign"])
async def test_database_that_another_program_changes(tmp_path: Path, change: str) -> None:
    """A file that is moved or replaced during a run is not recorded as synced for days that it does not contain."""
    path, server = tmp_path / "x.duckdb", DatedServer()
    await sync_on(server, path, START, since=START)
    backup = path.read_bytes()
    await sync_on(server, path, START + timedelta(20))

    def replace_file(_: Progress) -> None:
        if change == "moved" and path.exists():
            path.rename(tmp_path / "published.duckdb")
        elif change == "restored":
            path.write_bytes(backup)
        elif change == "foreign" and not (tmp_path / "moved.duckdb").exists():
            path.rename(tmp_path / "moved.duckdb")
            with duckdb.connect(str(path)) as database:
                database.execute("CREATE TABLE mine (x INTEGER)")
        elif change in {"emptied", "newer"}:
            with duckdb.connect(str(path)) as database:
                database.execute(
                    "DELETE FROM sync_state" if change == "emptied" else "UPDATE sync_state SET version = 99"
                )

    day = START + timedelta(30)
    messages = {"moved": "was moved or removed", "newer": "newer version"}
    with pytest.raises(DatabaseError, match=messages.get(change, "Another program replaced")):
        await sync_on(server, path, day, on_progress=replace_file)
    assert path.exists() != (change == "moved")
    if change == "foreign":
        with duckdb.connect(str(path), read_only=True) as database:
            assert database.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("mine",)]
    elif change != "newer":
        await sync_on(server, path, day, since=START)
        assert missing_days(path, day) == []


async def test_table_of_another_schema_is_no_obstacle(tmp_path: Path) -> None:
    """A table with the name of one of ours in another schema is neither checked nor changed."""
    path, server = tmp_path / "x.duckdb", DatedServer()
    with duckdb.connect(str(path)) as database:
        database.execute(
            "CREATE SCHEMA other; CREATE TABLE other.visits (x INTEGER); INSERT INTO other.visits VALUES (1)"
        )
    await sync_on(server, path, START, since=START)
    assert missing_days(path, START) == []
    with duckdb.connect(str(path), read_only=True) as database:
        assert database.execute("SELECT * FROM other.visits").fetchall() == [(1,)]


@pytest.mark.parametrize("since", [None, "2025-11-01"])
async def test_first_sync_ends_yesterday(tmp_path: Path, since: str | None) -> None:
    """A first sync leaves out a day that the server rejects, unless it is the only one."""
    path, server = tmp_path / "x.duckdb", DatedServer()
    server.rejects_today, day = True, START + timedelta(1)
    server.header = format_datetime(datetime.combine(day, time(2), UTC), usegmt=True)
    result = await sync_on(server, path, day, since=since)
    assert (result.last_day, missing_days(path, day)) == (START, [str(day)])
    with pytest.raises(BadRequestError):
        await sync_on(server, tmp_path / "y.duckdb", day, since=day)


@pytest.mark.parametrize("header", [None, "", "today", "Sun, 99 Nov 2026 12:00:00 GMT"])
def test_local_clock_without_valid_date(header: str | None) -> None:
    """Without a valid ``Date`` header, the clock is that of this machine."""
    clock = ServerClock()
    clock.record(header)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_server_clock_advances(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time since the response is added, in UTC."""
    clock, seconds = ServerClock(), 100.0
    monkeypatch.setattr("leadfeeder_async._core.server_clock.time.monotonic", lambda: seconds)
    clock.record("Sat, 01 Nov 2025 23:59:50 +0100")
    seconds = 120.0
    assert clock.now() == datetime(2025, 11, 1, 23, 0, 10, tzinfo=UTC)
    clock.record(None)
    assert clock.now().day == 1
