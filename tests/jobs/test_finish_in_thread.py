"""The last step of a job, which may convert a large file, leaves the event loop free."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.jobs import resumable_file
from leadfeeder_async.jobs.output_lock import OutputLock
from leadfeeder_async.jobs.tabular import write_table
from tests.support.stall import measured_stall

SECONDS = 2.0
"""More than any other stall on a busy machine."""


@pytest.fixture
def slow_conversion(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the conversion into a table slow, and record when it starts and ends."""
    steps = list[str]()

    def slow(*arguments: Any, **options: Any) -> None:
        steps.append("start")
        time.sleep(SECONDS)
        write_table(*arguments, **options)
        steps.append("end")

    monkeypatch.setattr(resumable_file, "write_table", slow)
    return steps


@pytest.mark.usefixtures("slow_conversion")
async def test_table_is_finished_beside_other_tasks(lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """An export and an enrichment convert their rows into a table without blocking the event loop."""
    async with measured_stall() as stall:
        await lf.tags.list().to_file(tmp_path / "tags.csv")
        await lf.enrich.companies(["acme.test"], by="domain").to_file(tmp_path / "companies.csv")
    assert stall.longest < SECONDS / 2
    assert (tmp_path / "tags.csv").read_text(encoding="utf-8").startswith("id,")


async def test_canceled_export_keeps_its_lock_until_the_end(
    lf: AsyncLeadfeeder, tmp_path: Path, slow_conversion: list[str]
) -> None:
    """A job that is canceled in its last step releases its files only when the thread no longer uses them."""
    path = tmp_path / "tags.csv"
    job = asyncio.create_task(lf.tags.list().to_file(path))
    while not slow_conversion and not job.done():
        await asyncio.sleep(0.01)
    for _ in range(2):
        job.cancel()
        await asyncio.sleep(0.02)
    assert OutputLock.acquire(path) is None
    with pytest.raises(asyncio.CancelledError):
        await job
    assert slow_conversion == ["start", "end"]
    assert [found.name for found in tmp_path.iterdir()] == ["tags.csv"]
