"""The SQL examples of the documentation, run on a synced database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import sync_account
from tests.support.clients import client_for
from tests.test_readme import examples

QUERIES = examples("sql")


async def sync_twice(path: Path) -> None:
    async with Sandbox(companies=150, visits=900, days=90, end_date=date(2026, 11, 20), rate_limit=False) as sandbox:
        async with client_for(sandbox) as lf:
            await sync_account(lf, path, since=sandbox.start_date)
            sandbox.world.add_visits(5)
            await sync_account(lf, path, lookback_days=30)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Ninety days of a sandbox, synced twice, so that the usage includes the requests of the first sync."""
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
    per_day = database.execute(next(iter(QUERIES.values()))).fetchall()
    assert sum(new + returning for _, new, returning in per_day) == 905
