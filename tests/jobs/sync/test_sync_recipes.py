"""The SQL examples of the documentation, run on a synced database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest

from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import sync_account
from tests.support.clients import client_for
from tests.test_readme import examples

EXAMPLES = examples("sql")
QUERIES = {name: query for name, query in EXAMPLES.items() if not query.startswith("CREATE")}


async def sync_twice(path: Path) -> None:
    async with Sandbox(companies=150, visits=895, days=90, end_date=date(2026, 11, 20), rate_limit=False) as sandbox:
        async with client_for(sandbox) as lf:
            await sync_account(lf, path, since=sandbox.start_date)
            sandbox.world.add_visits(5)
            await sync_account(lf, path, lookback_days=(datetime.now(UTC).date() - sandbox.end_date).days + 30)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Ninety days of a sandbox, synced twice. The second sync adds five visits."""
    path = tmp_path_factory.mktemp("synced") / "leadfeeder.duckdb"
    asyncio.run(sync_twice(path))
    with duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def test_documentation_has_queries() -> None:
    """The documentation has at least eight queries."""
    assert len(QUERIES) >= 8


@pytest.mark.parametrize("name", list(QUERIES))
def test_query_has_a_result(name: str, database: duckdb.DuckDBPyConnection) -> None:
    """Each query runs as it is printed, and no column of its result is empty."""
    rows = database.execute(QUERIES[name]).fetchall()
    assert rows
    assert all(any(value is not None for value in column) for column in zip(*rows, strict=True))


@pytest.mark.parametrize("name", list(QUERIES))
def test_query_does_not_depend_on_the_time_zone(name: str, database: duckdb.DuckDBPyConnection) -> None:
    """Each query gives the same days in any time zone, and no column whose values need pytz with DuckDB 1.x."""
    results = []
    for zone in ("UTC", "America/New_York", "Asia/Tokyo"):
        database.execute(f"SET TimeZone = '{zone}'")
        results.append(sorted(map(repr, database.execute(QUERIES[name]).fetchall())))
    assert results[0] == results[1] == results[2]
    assert "TIMESTAMP WITH TIME ZONE" not in map(str, database.sql(QUERIES[name]).types)


def test_new_and_returning_visits_are_all_visits(database: duckdb.DuckDBPyConnection) -> None:
    """The first query counts every visit once."""
    (query,) = (query for query in QUERIES.values() if "AS returning" in query or "AS new" in query)
    per_day = database.execute(query).fetchall()
    assert sum(new + returning for _, new, returning in per_day) == 900


@pytest.mark.parametrize("session_zone", ["UTC", "America/New_York"])
async def test_view_of_local_days(tmp_path: Path, session_zone: str) -> None:
    """The view has the days of its time zone in every session, is kept by later syncs and shows their visits."""
    (example,) = (query for query in EXAMPLES.values() if query.startswith("CREATE"))
    create, count = example.split(";")[:2]
    path = tmp_path / "leadfeeder.duckdb"
    async with Sandbox(companies=50, visits=900, end_date=date(2026, 11, 20), rate_limit=False) as sandbox:
        async with client_for(sandbox) as lf:
            first_day = sandbox.end_date.replace(day=12)
            await sync_account(lf, path, since=first_day)
            with duckdb.connect(str(path)) as connection:
                connection.execute(create)
            await sync_account(lf, path, since=sandbox.start_date)
            visits = await lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date).collect()
    berlin = ZoneInfo("Europe/Berlin")
    expected = Counter(visit.started_at.astimezone(berlin).date() for visit in visits if visit.started_at)
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute(f"SET TimeZone = '{session_zone}'")
        assert connection.execute(count).fetchall() == sorted(expected.items())
