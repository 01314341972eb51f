"""Files of jobs stay in the folder in which the job was started, although the program changes its folder meanwhile."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from leadfeeder_async import AsyncLeadfeeder, ConfigurationError
from leadfeeder_async._argument_checks import check_path
from leadfeeder_async.jobs.sync.sync_run import sync_account
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.types import AttemptEvent
from tests.jobs.helpers import names_in
from tests.support.clients import client_for

Job = Callable[[AsyncLeadfeeder, Sandbox], Awaitable[object]]


async def export_visits(lf: AsyncLeadfeeder, sandbox: Sandbox) -> object:
    pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, page_size=20, limit=60)
    return await pager.to_file("out.csv")


async def enrich(lf: AsyncLeadfeeder, sandbox: Sandbox) -> object:
    domains = ["nordlicht.test", "example.org"]
    return await lf.enrich.companies(domains, by="domain", max_credits=10).to_file("out.ndjson")


async def sync(lf: AsyncLeadfeeder, sandbox: Sandbox) -> object:
    return await sync_account(lf, Path("out.duckdb"), since=sandbox.start_date)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Return the current folder, and another one."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(first)
    yield first, second


@pytest.mark.parametrize("job", [export_visits, enrich, sync])
async def test_files_stay_in_the_first_folder(folders: tuple[Path, Path], job: Job) -> None:
    """A program that changes its folder during a job gets all files in the folder of the start."""
    first, second = folders

    def change_folder(_: AttemptEvent) -> None:
        os.chdir(second)

    async with Sandbox(companies=20, visits=100, rate_limit=False) as sandbox:
        async with client_for(sandbox, on_attempt=change_folder) as lf:
            await job(lf, sandbox)
    assert names_in(second) == []
    assert [name for name in names_in(first) if name.startswith("out.") and not name.endswith(".lock")]


def test_missing_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path in a folder that was removed is rejected. An absolute one is not."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    try:
        gone.rmdir()
    except OSError:
        pytest.skip("the current folder cannot be removed")
    with pytest.raises(ConfigurationError, match="the current folder does not exist"):
        check_path("path", "visits.csv")
    assert check_path("path", tmp_path / "visits.csv") == tmp_path / "visits.csv"
