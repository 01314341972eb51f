"""Random servers that misbehave and change while a list is read: no row is lost in silence, and none comes twice.

Each schedule has its own seed. ``SOAK=1`` runs 5,000 of them.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import msgspec
import pytest

from leadfeeder_async import AsyncLeadfeeder, IncompleteListError, IncompleteWindowError, Pager, Progress
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async.sync import sync_account
from tests.jobs.helpers import Stopped
from tests.support.clients import client_of
from tests.support.random_server import FIRST_DAY, LAST_DAY, ROW_LIMIT, RandomServer
from tests.support.servers import handler_server

SOAK = bool(os.environ.get("SOAK"))

Read: TypeAlias = Callable[[AsyncLeadfeeder, RandomServer, Path], Awaitable[list[str]]]
"""Reads the list of a server and returns the ids."""


def pager_of(lf: AsyncLeadfeeder, server: RandomServer) -> Pager[Any]:
    if server.style == "tags":
        return lf.tags.list(page_size=server.size)
    if server.style == "companies":
        return lf.companies.search(page_size=server.size, search_terms=["x"])
    return lf.web_visits.search(start_date=FIRST_DAY, end_date=LAST_DAY, page_size=server.size, split_days=False)


async def read_loop(lf: AsyncLeadfeeder, server: RandomServer, _: Path) -> list[str]:
    return [row.id async for row in pager_of(lf, server)]


def interruption_of(server: RandomServer) -> Callable[[Progress], None]:
    """Return a function that sometimes interrupts a job."""

    def interrupt(progress: Progress) -> None:
        if server.rng.random() < 0.2 and progress.done:
            raise Stopped

    return interrupt


async def read_file(lf: AsyncLeadfeeder, server: RandomServer, out: Path) -> list[str]:
    """Export the list, with up to two interruptions."""
    interrupt, path = interruption_of(server), out / "rows.ndjson"
    for attempt in range(3):
        try:
            await pager_of(lf, server).to_file(path, resume=attempt > 0, on_progress=interrupt if attempt < 2 else None)
        except Stopped:
            continue
        break
    return [msgspec.json.decode(line)["id"] for line in path.read_bytes().splitlines()]


async def read_sync(lf: AsyncLeadfeeder, server: RandomServer, out: Path) -> list[str]:
    """Sync all lists with a database, with up to two interruptions.

    If the sync reports missing rows, a later one without faults must find them.
    """
    interrupt, path = interruption_of(server), out / "rows.duckdb"
    for attempt in range(3):
        try:
            await sync_account(lf, path, since=FIRST_DAY, on_progress=interrupt if attempt < 2 else None)
        except Stopped:
            continue
        except (IncompleteListError, IncompleteWindowError):
            server.heal()
            await sync_account(lf, path, since=FIRST_DAY)
            if server.changes_show and server.lacks(rows_of(path, server)):
                raise AssertionError("A later sync did not find the missing rows.") from None
            raise
        break
    return rows_of(path, server)


def rows_of(path: Path, server: RandomServer) -> list[str]:
    """Return the ids of the visits in a database, if its other tables have all rows too."""
    with duckdb.connect(str(path), read_only=True) as database:
        ids = {
            table: [str(row) for (row,) in database.execute(f"SELECT id FROM {table}").fetchall()]
            for table in ("visits", "companies", "tags", "lists")
        }
    gaps = [table for table, rows in ids.items() if server.lacks(rows) or len(rows) != len(set(rows))]
    return [] if gaps else ids["visits"]


async def read_dlt(lf: AsyncLeadfeeder, _: RandomServer, __: Path) -> list[str]:
    """Extract the visits with dlt, which would load them into a database."""
    pytest.importorskip("dlt", reason="dlt is not installed")
    from leadfeeder_async.integrations.dlt import leadfeeder_source

    url = lf.base_url

    def extract() -> list[str]:
        source = leadfeeder_source("1", start_date=FIRST_DAY, api_key="k", base_url=url)
        return [row["id"] for row in source.resources["visits"]]

    try:
        return await asyncio.to_thread(extract)
    except Exception as error:  # noqa: BLE001 - dlt wraps the errors of its resources
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, IncompleteListError | IncompleteWindowError):
            cause = cause.__cause__ or cause.__context__
        raise (cause or error) from None


async def outcome_of(read: Read, seed: int, out: Path, style: str | None = None) -> str:
    server = RandomServer(seed, style)
    out.mkdir()
    async with handler_server(server) as url, client_of(url, max_search_rows=ROW_LIMIT, retries=1) as lf:
        may_fail = server.may_fail
        try:
            ids = await read(lf, server, out)
        except (IncompleteListError, IncompleteWindowError):
            return "reported" if may_fail else "false alarm"
        except AssertionError:
            return "lost for good"
    if len(ids) != len(set(ids)):
        return "doubled"
    return "lost" if server.lacks(ids) else "complete"


@pytest.fixture(autouse=True)
def _dlt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with dlt up to the current day of the server, and without a rate limit."""
    if find_spec("dlt") is None:
        return
    monkeypatch.setattr("leadfeeder_async.integrations.dlt.utc_today", lambda: date.fromisoformat(LAST_DAY))
    monkeypatch.setattr("leadfeeder_async.integrations.dlt.TokenBucket", partial(TokenBucket, 1e6, 100_000))


@pytest.mark.timeout(3_000 if SOAK else 120)
@pytest.mark.parametrize(
    ("read", "style", "schedules"),
    [(read_loop, None, 100), (read_file, None, 60), (read_sync, "visits", 12), (read_dlt, "visits", 40)],
)
async def test_random_servers(read: Read, style: str | None, schedules: int, tmp_path: Path) -> None:
    """Every row that exists all the time is returned once, or an error reports that rows are missing."""
    outcomes = Counter[str]()
    failures = list[tuple[int, str]]()
    for seed in range(5_000 if SOAK else schedules):
        outcome = await outcome_of(read, seed, tmp_path / str(seed), style)
        outcomes[outcome] += 1
        if outcome not in {"complete", "reported"}:
            failures.append((seed, outcome))
    assert failures == []
    assert outcomes["complete"] > outcomes["reported"] > 0
