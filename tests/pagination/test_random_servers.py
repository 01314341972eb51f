"""Random servers that misbehave and change while a list is read: no row is lost in silence, and none comes twice.

Each schedule has its own seed. ``SOAK=1`` runs 5,000 of them.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, IncompleteListError, IncompleteWindowError, Pager, Progress
from tests.jobs.helpers import Stopped
from tests.support.clients import client_of
from tests.support.servers import handler_server

SCHEDULES = 5_000 if os.environ.get("SOAK") else 120
ROW_LIMIT = 300
"""The row limit of a search by date."""

Read: TypeAlias = Callable[[AsyncLeadfeeder, "RandomServer", Path], Awaitable[list[str]]]
"""Reads the list of a server and returns the ids."""

COUNT_FAULTS = ("zero", "negative", "missing")
"""Counts that cannot be trusted. Nothing else shows a loss then, so these servers return full pages."""


class RandomServer:
    """A list of tags, companies or visits with random faults.

    Args:
        seed: Decides the rows and the faults.

    """

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.style = rng.choice(["tags", "companies", "visits"])
        self.created = 0
        counts = [0, 1, 37, 100, 101, 250] if self.style == "tags" else [0, 1, 37, 100, 101, 250, 600]
        self.rows = [self.new_row() for _ in range(rng.choice(counts))]
        self.size = rng.choice([10, 20, 100])
        self.removable = {row for row in self.rows if rng.random() < 0.1}
        self.always = set(self.rows) - self.removable
        self.count = rng.choice(["right", "right", "right", *COUNT_FAULTS])
        trusted = self.count == "right"
        self.page_cap = rng.choice([None, None, 7, 50])
        self.change_rate = rng.choice([0.0, 0.0, 0.05, 0.15]) if trusted else 0.0
        self.fault_rate = rng.choice([0.0, 0.0, 0.3]) if trusted else 0.0
        self.change_kind = rng.choice(["added", "removed", "both"])
        self.is_unstable = trusted and rng.random() < 0.15
        self.lost_pages = {rng.randrange(1, 7)} if trusted and rng.random() < 0.15 else set[int]()
        """Pages that are always empty."""
        self.faulty_once = set[tuple[str, int]]()

    @property
    def may_fail(self) -> bool:
        """True if reading the list again may not return all rows or cannot prove that it did."""
        has_new_faults = self.fault_rate and (
            self.change_rate or self.style == "visits"
        )  # each part of a range has some
        return self.is_unstable or bool(self.lost_pages) or bool(has_new_faults) or self.change_rate > 0.1

    def new_row(self) -> str:
        self.created += 1
        return f"{self.rng.randrange(30):02}/{self.created}"  # the day, then a number

    def change(self) -> None:
        """Insert a row at a random place, or remove one."""
        adds = self.rng.random() < 0.5 if self.change_kind == "both" else self.change_kind == "added"
        if adds:
            self.rows.insert(self.rng.randrange(len(self.rows) + 1), self.new_row())
        elif self.removable:
            row = self.rng.choice(sorted(self.removable))
            self.removable.discard(row)
            self.rows.remove(row)

    def pager(self, lf: AsyncLeadfeeder) -> Pager[Any]:
        if self.style == "tags":
            return lf.tags.list(page_size=self.size)
        if self.style == "companies":
            return lf.companies.search(page_size=self.size, search_terms=["x"])
        return lf.web_visits.search(
            start_date="2026-11-01", end_date="2026-11-30", page_size=self.size, split_days=False
        )

    async def __call__(self, request: web.Request) -> web.Response:
        if self.rng.random() < self.change_rate:
            self.change()
        body = msgspec.json.decode(await request.read() or b"{}")
        rows = self.rows
        if self.style == "visits":
            first, last = int(body["start_date"][-2:]) - 1, int(body["end_date"][-2:]) - 1
            rows = [row for row in rows if first <= int(row[:2]) <= last]
        if self.is_unstable:
            rows = self.rng.sample(rows, len(rows))
        size = min(int(request.query["page[size]"]), self.page_cap or 1_000)
        cursor = request.query.get("page[cursor]")
        start = int(cursor) if cursor else (int(request.query.get("page[num]", "1")) - 1) * size
        if self.style == "visits" and start + size > ROW_LIMIT:
            return web.json_response({"errors": [{"code": "offset_exceeded"}]}, status=416)
        page, number = rows[start : start + size], start // size + 1
        shown = self.damage(page, number, f"{body.get('start_date')}{body.get('end_date')}")
        meta: dict[str, Any] = {"page_count": -(-len(rows) // size)} if self.count == "right" else {}
        meta |= {"right": {"total_count": len(rows)}, "zero": {"total_count": 0}, "negative": {"total_count": -1}}.get(
            self.count, {}
        )
        if self.style == "companies":
            meta["next_cursor"] = str(start + size) if start + size < len(rows) else None
        kind = {"tags": "tag", "companies": "company", "visits": "web_visit"}[self.style]
        data = [{"id": row, "type": kind} for row in shown]
        return web.json_response({"data": data, "meta": {"pagination": meta}})

    def damage(self, page: list[str], number: int, window: str) -> list[str]:
        """Return a page with the faults of the server."""
        if number in self.lost_pages:
            return []
        fault = (window, number)
        if fault in self.faulty_once or self.rng.random() >= self.fault_rate:
            return page
        self.faulty_once.add(fault)
        return page[: self.rng.randrange(len(page))] if page else page


async def read_loop(lf: AsyncLeadfeeder, server: RandomServer, _: Path) -> list[str]:
    return [row.id async for row in server.pager(lf)]


async def read_file(lf: AsyncLeadfeeder, server: RandomServer, out: Path) -> list[str]:
    """Export the list, with up to two interruptions."""

    def interrupt(progress: Progress) -> None:
        if server.rng.random() < 0.2 and progress.done:
            raise Stopped

    for attempt in range(3):
        try:
            await server.pager(lf).to_file(out, resume=attempt > 0, on_progress=interrupt if attempt < 2 else None)
        except Stopped:
            continue
        break
    return [msgspec.json.decode(line)["id"] for line in out.read_bytes().splitlines()]


async def outcome_of(read: Read, seed: int, out: Path) -> str:
    server = RandomServer(seed)
    async with handler_server(server) as url, client_of(url, max_search_rows=ROW_LIMIT, retries=1) as lf:
        try:
            ids = await read(lf, server, out)
        except (IncompleteListError, IncompleteWindowError):
            return "reported" if server.may_fail else "false alarm"
    if len(ids) != len(set(ids)):
        return "duplicate rows"
    if server.always <= set(ids):
        return "complete"
    # An added and a removed row between two responses leave the count unchanged, so that nothing shows the change.
    is_visible = server.change_kind != "both" or len(ids) < len(server.rows)
    return "lost" if is_visible or not server.change_rate else "complete"


@pytest.mark.timeout(3_000 if SCHEDULES > 1_000 else 120)
@pytest.mark.parametrize("read", [read_loop, read_file])
async def test_random_servers(read: Read, tmp_path: Path) -> None:
    """Every row that exists all the time is returned once, or an error reports that rows are missing."""
    outcomes = Counter[str]()
    failures = list[tuple[int, str]]()
    for seed in range(SCHEDULES):
        outcome = await outcome_of(read, seed, tmp_path / f"{seed}.ndjson")
        outcomes[outcome] += 1
        if outcome not in {"complete", "reported"}:
            failures.append((seed, outcome))
    assert failures == []
    assert outcomes["complete"] > outcomes["reported"] > 0
