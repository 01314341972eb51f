"""Visits from the newest to the oldest."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leadfeeder_async import AsyncLeadfeeder, ConfigurationError, DecodeError, IncompleteListError, Pager
from leadfeeder_async.models import WebVisit
from leadfeeder_async.pagination.visit_time import started_at
from leadfeeder_async.sandbox import Sandbox
from tests.jobs.helpers import interrupt
from tests.support.clients import client_of
from tests.support.servers import http, raw_server

DAY = date(2026, 11, 20)


def newest(lf: AsyncLeadfeeder, sandbox: Sandbox, **options: Any) -> Pager[WebVisit]:
    return lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, order="newest", **options)


async def times(lf: AsyncLeadfeeder, sandbox: Sandbox) -> list[tuple[datetime, str]]:
    """Return the time and id of every visit, the newest first."""
    pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date)
    return sorted([(visit.started_at or datetime.min.replace(tzinfo=UTC), visit.id) async for visit in pager])[::-1]


async def test_newest_visits_come_first(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """All visits are returned once, the newest first. A limit returns the latest ones."""
    expected = await times(lf, sandbox)
    visits = await newest(lf, sandbox).collect()
    assert [visit.started_at for visit in visits] == [started for started, _ in expected]
    assert {visit.id for visit in visits} == {visit_id for _, visit_id in expected}
    assert len(visits) == len(expected)
    latest = await newest(lf, sandbox, limit=20).collect()
    assert [visit.id for visit in latest] == [visit.id for visit in visits[:20]]
    first = await newest(lf, sandbox).first()
    assert first is not None
    assert first.started_at == expected[0][0]


async def test_limit_reads_the_last_days_only() -> None:
    """A small limit reads the last days. Days without visits are read in growing ranges."""
    async with Sandbox(companies=20, visits=900, days=30, rate_limit=False) as sandbox:
        client = AsyncLeadfeeder(sandbox.api_key, account_id=sandbox.account_id, base_url=sandbox.url)
        async with client as lf:
            await newest(lf, sandbox, limit=20).collect()
            assert len(sandbox.ledger.requests) <= 3
            later = sandbox.end_date + timedelta(1_000)
            pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=later, order="newest", limit=5)
            assert len(await pager.collect()) == 5
            assert len(sandbox.ledger.requests) < 20


async def test_export_and_resume(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """An export of the newest visits has the same order. If it is interrupted, it is read again without repetitions."""
    out, whole = tmp_path / "visits.ndjson", [visit.id for visit in await newest(lf, sandbox).collect()]
    await interrupt(newest(lf, sandbox), out, 60)
    await newest(lf, sandbox).to_file(out, resume=True)
    assert [msgspec.json.decode(line)["id"] for line in out.read_bytes().splitlines()] == whole


async def test_visits_without_a_time_come_last_and_problems_are_reported() -> None:
    """Rows of one day are sorted whatever the server's order. A row that cannot be decoded is reported."""
    rows = [
        {"id": "none"},
        {"id": "old", "attributes": {"started_at": "2026-11-20T01:00:00"}},
        {"id": "new", "attributes": {"started_at": "2026-11-20T23:00:00+01:00"}},
        {"id": "bad", "attributes": {"page_depth": "x"}},
    ]
    async with raw_server(http(msgspec.json.encode({"data": rows}))) as server, client_of(server.url) as lf:
        pager = lf.web_visits.search(start_date=DAY, end_date=DAY, order="newest")
        (page,) = [page async for page in pager.pages()]
    assert [visit.id for visit in page.items] == ["new", "old", "none"]
    assert [type(problem) for problem in page.problems] == [DecodeError]
    assert page.problem_count == 1


async def test_visit_of_two_days_is_returned_once() -> None:
    """A visit near midnight that the server returns for two days is returned once."""
    row = {"id": "1", "attributes": {"started_at": "2026-11-20T00:00:00"}}
    async with raw_server(http(msgspec.json.encode({"data": [row]}))) as server, client_of(server.url) as lf:
        pager = lf.web_visits.search(start_date=DAY - timedelta(1), end_date=DAY, order="newest")
        assert [visit.id async for visit in pager] == ["1"]


async def test_unknown_order(lf: AsyncLeadfeeder) -> None:
    """An unknown order is refused."""
    order: Any = "latest"
    with pytest.raises(ConfigurationError, match="order='latest' must be oldest or newest"):
        lf.web_visits.search(start_date=DAY, end_date=DAY, order=order)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b'{"attributes":{"started_at":"2026-11-20T10:00:00+01:00"}}', datetime(2026, 11, 20, 9, tzinfo=UTC)),
        (b'{"attributes":{"started_at":"2026-11-20T10:00:00"}}', datetime(2026, 11, 20, 10, tzinfo=UTC)),
        (b'{"attributes":{"started_at":7}}', datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC)),
        (b'{"attributes":{"started_at":true}}', None),
        (b'{"attributes":{"started_at":253402300799.9999999}}', None),
        (b'{"attributes":null}', None),
        (b"[" * 100_000, None),
        (b'"\xff"', None),
    ],
)
def test_time_of_an_undecoded_visit(row: bytes, expected: datetime | None) -> None:
    """The time of an undecoded row is read. A row without a valid time has none."""
    assert started_at(msgspec.Raw(row)) == expected


async def test_resume_with_visits_that_are_new(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """An export that is resumed after new visits arrived has them at its start."""
    out = tmp_path / "visits.ndjson"
    await interrupt(newest(lf, sandbox), out, 60)
    sandbox.world.add_visits(5, day=sandbox.end_date)
    await newest(lf, sandbox).to_file(out, resume=True)
    ids = [msgspec.json.decode(line)["id"] for line in out.read_bytes().splitlines()]
    assert ids == [visit.id for visit in await newest(lf, sandbox).collect()]
    assert len(ids) == 505


async def test_gap_of_a_limited_export(tmp_path: Path) -> None:
    """An export that reached its limit beside a row that cannot be decoded is finished by resuming it."""
    rows = [{"id": str(row), "attributes": {"started_at": f"2026-11-20T0{row}:00:00"}} for row in range(5)]
    bad = {"id": "bad", "relationships": 7, "attributes": 7}
    body = msgspec.json.encode({"data": [*rows, bad, 7]})
    async with raw_server(http(body)) as server, client_of(server.url) as lf:
        pager = lf.web_visits.search(start_date=DAY, end_date=DAY, order="newest", limit=3)
        with pytest.raises(IncompleteListError):
            await pager.to_file(tmp_path / "x.ndjson")
        assert (await pager.to_file(tmp_path / "x.ndjson", resume=True)).done == 3
