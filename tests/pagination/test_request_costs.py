"""The requests of common jobs, as the sandbox received them. ``docs/pagination.md`` has the same numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async._core.server_clock import ServerClock
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import sync_account
from tests.support.clients import client_for
from tests.support.paths import DOCS

LATE_VISIT = "A second sync on the same day with one late visit of yesterday"
NEXT_DAY = "A sync on the next day with nothing new"
NEXT_DAY_WITH_VISITS = "A sync on the next day with 5 new visits"
LATER_SYNCS = {"A second sync on the same day with nothing new", LATE_VISIT, NEXT_DAY, NEXT_DAY_WITH_VISITS}

Job = Callable[[AsyncLeadfeeder, Sandbox, Path], Awaitable[object]]


@pytest.fixture
async def sandbox(name: str) -> AsyncIterator[Sandbox]:
    is_even = "sync" in name  # otherwise its requests depend on the day of the week
    today = datetime.now(UTC).date()
    last = today + timedelta(1) if "next day" in name else today
    async with Sandbox(
        companies=1_000, visits=0 if is_even else 2_500, end_date=last, days=31, rate_limit=False
    ) as running:
        for day in range(30 if is_even else 0):
            running.world.add_visits(83, day=today - timedelta(day))
        yield running


def days(sandbox: Sandbox) -> tuple[date, date]:
    return sandbox.start_date, sandbox.end_date


async def loop(lf: AsyncLeadfeeder, sandbox: Sandbox, _: Path) -> None:
    start, end = days(sandbox)
    assert len(await lf.web_visits.search(start_date=start, end_date=end).collect()) == 2_500


async def export(lf: AsyncLeadfeeder, sandbox: Sandbox, folder: Path) -> None:
    start, end = days(sandbox)
    assert (await lf.web_visits.search(start_date=start, end_date=end).to_file(folder / "x.ndjson")).done == 2_500


async def count(lf: AsyncLeadfeeder, sandbox: Sandbox, _: Path) -> None:
    start, end = days(sandbox)
    assert await lf.web_visits.search(start_date=start, end_date=end).count() == 2_500


async def first(lf: AsyncLeadfeeder, sandbox: Sandbox, _: Path) -> None:
    start, end = days(sandbox)
    assert await lf.web_visits.search(start_date=start, end_date=end).first()


async def search(lf: AsyncLeadfeeder, _: Sandbox, __: Path) -> None:
    assert len(await lf.companies.search(search_terms=["a"]).collect()) == 1_000


async def first_sync(lf: AsyncLeadfeeder, sandbox: Sandbox, folder: Path) -> None:
    await sync_account(lf, folder / "x.duckdb", since=sandbox.start_date)


async def sync_with_late_visit(lf: AsyncLeadfeeder, sandbox: Sandbox, folder: Path) -> None:
    sandbox.world.add_visits(1, day=sandbox.end_date - timedelta(1))
    assert (await sync_account(lf, folder / "x.duckdb")).tables["visits"].new == 1


async def sync_on_next_day(lf: AsyncLeadfeeder, sandbox: Sandbox, folder: Path) -> None:
    tomorrow = datetime.now(UTC) + timedelta(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerClock, "now", lambda _: tomorrow)
        report = await sync_account(lf, folder / "x.duckdb")
    assert report.last_day == tomorrow.date()


async def sync_on_next_day_with_visits(lf: AsyncLeadfeeder, sandbox: Sandbox, folder: Path) -> None:
    sandbox.world.add_visits(5, day=sandbox.end_date)
    await sync_on_next_day(lf, sandbox, folder)


async def second_sync(lf: AsyncLeadfeeder, _: Sandbox, folder: Path) -> None:
    await sync_account(lf, folder / "x.duckdb")


def old_and_current_ids(sandbox: Sandbox) -> dict[str, str]:
    """Return 47 old ids of different companies, with the current ids."""
    by_current = {current: old for old, current in sandbox.world.merged_ids().items()}
    assert len(by_current) >= 47
    return {old: current for current, old in list(by_current.items())[:47]}


def plain_ids(sandbox: Sandbox, number: int) -> list[str]:
    current = set(sandbox.world.merged_ids().values())
    return [one for one in sandbox.world.company_ids() if one not in current][:number]


async def get_many(lf: AsyncLeadfeeder, sandbox: Sandbox, _: Path) -> None:
    assert len(await lf.companies.get_many(plain_ids(sandbox, 350)).collect()) == 350


async def get_many_merged(lf: AsyncLeadfeeder, sandbox: Sandbox, _: Path) -> None:
    ids = [*old_and_current_ids(sandbox), *plain_ids(sandbox, 303)]
    assert len(await lf.companies.get_many(ids).collect()) == 350


async def get_old_and_current(lf: AsyncLeadfeeder, sandbox: Sandbox, _: Path) -> None:
    old, current = next(iter(old_and_current_ids(sandbox).items()))
    pager = lf.companies.get_many([old, current])
    assert [company.id for company in await pager.collect()] == [current]
    assert (dict(pager.merged), pager.missing) == ({old: current}, ())


JOBS: dict[str, tuple[int, Job]] = {
    "A loop over 2,500 visits": (25, loop),
    "An export of 2,500 visits": (25, export),
    "`count()` of 2,500 visits": (1, count),
    "`first()` of 2,500 visits": (1, first),
    "A search that matches 1,000 companies": (10, search),
    "The first sync of 2,490 visits of 475 companies, 83 visits a day": (42, first_sync),
    "A second sync on the same day with nothing new": (9, second_sync),
    LATE_VISIT: (11, sync_with_late_visit),
    NEXT_DAY: (10, sync_on_next_day),
    NEXT_DAY_WITH_VISITS: (12, sync_on_next_day_with_visits),
    "`get_many` with 350 ids": (4, get_many),
    "`get_many` with 350 ids, 47 of them merged": (4, get_many_merged),
    "`get_many` with an old id and its current id": (2, get_old_and_current),
}
"""The number of requests of each job."""


@pytest.mark.parametrize("name", JOBS)
async def test_requests_of_job(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    """A job sends as many requests as documented."""
    expected, job = JOBS[name]
    async with client_for(sandbox) as lf:
        if name in LATER_SYNCS:
            await first_sync(lf, sandbox, tmp_path)
        before = len(sandbox.ledger.requests)
        await job(lf, sandbox, tmp_path)
        assert len(sandbox.ledger.requests) - before == expected
    assert f"| {name} | {expected} |" in (DOCS / "pagination.md").read_text(encoding="utf-8")
