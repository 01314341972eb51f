"""The questions of the documentation, asked of a synced database."""

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

QUESTIONS = examples("sql")


async def sync_twice(file: Path) -> None:
    async with Sandbox(companies=150, visits=900, days=90, end_date=date(2026, 11, 20), rate_limit=False) as sandbox:
        async with client_for(sandbox) as lf:
            await sync_account(lf, file, since=sandbox.start_date)
            await sync_account(lf, file)


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Ninety days of a sandbox, synced twice, so that its own requests are in the usage."""
    file = tmp_path_factory.mktemp("synced") / "leadfeeder.duckdb"
    asyncio.run(sync_twice(file))
    with duckdb.connect(str(file), read_only=True) as database:
        yield database


def test_there_are_questions() -> None:
    """The page asks at least eight."""
    assert len(QUESTIONS) >= 8


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_question_is_answered(name: str, synced: duckdb.DuckDBPyConnection) -> None:
    """Each statement runs as pasted, and has an answer without an empty column."""
    rows = synced.execute(QUESTIONS[name]).fetchall()
    assert rows
    assert all(any(value is not None for value in column) for column in zip(*rows, strict=True))


def test_new_and_returning_visits_are_all_visits(synced: duckdb.DuckDBPyConnection) -> None:
    """The first question counts every visit once."""
    per_day = synced.execute(next(iter(QUESTIONS.values()))).fetchall()
    assert sum(new + returning for _, new, returning in per_day) == 900
