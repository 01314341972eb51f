"""An account kept up to date in a database: what is new, what changed, what is gone, and what may not happen."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any

import duckdb
import hypothesis.strategies as st
import pytest
from aiohttp import web
from hypothesis import given

from leadfeeder_async import (
    AsyncLeadfeeder,
    AuthenticationError,
    ConfigurationError,
    DatabaseError,
    IncompleteListError,
    IncompleteWindowError,
    PermissionDeniedError,
    ServerError,
)
from leadfeeder_async.jobs.sync import date_plan, row_mapping
from leadfeeder_async.jobs.sync.lookup_tables import months_before
from leadfeeder_async.jobs.sync.sync_database import VERSION, SyncDatabase
from leadfeeder_async.jobs.sync.transaction import SyncState, Transaction
from leadfeeder_async.models.records import Company
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import SyncChanges, SyncResult, sync_account
from tests.cli.test_cli import COMMAND, leadfeeder
from tests.jobs.sync.test_sync_crash_recovery import contents, truth
from tests.jobs.test_export import small_disk
from tests.support.clients import client_for, client_of
from tests.support.servers import handler_server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "leadfeeder.duckdb"


def ask(file: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(file), read_only=True) as database:
        database.execute("SET TimeZone = 'UTC'")
        return database.execute(query, values).fetchall()


def changed(result: SyncResult) -> dict[str, SyncChanges]:
    """Return the tables where something happened, but for those that change with every run."""
    return {
        table: one for table, one in result.tables.items() if one != SyncChanges() and table not in {"usage", "credits"}
    }


async def test_everything_is_there(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """Every visit is there with all its steps, its company whole, and its place; days without visits are no trouble."""
    result = await sync_account(lf, file, since="2020-01-01")
    assert contents(file) == truth(sandbox)
    assert result.tables["visits"] == SyncChanges(new=500)
    assert (result.first_day, result.last_day, result.skipped) == (date(2020, 1, 1), sandbox.end_date, {})
    assert result.credits == sandbox.ledger.credits_charged == 0
    assert result.requests == len(sandbox.ledger.requests)
    orphans = "FROM visits v LEFT JOIN {0} o ON o.id = v.{1}_id AND o.account_id = v.account_id WHERE o.country IS NULL"
    for table, name in (("companies", "company"), ("locations", "location")):
        assert ask(file, "SELECT count(*) " + orphans.format(table, name)) == [(0,)]


async def test_values_are_typed(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """Each value of a visit, of its steps and of its company is the API's, in a column of its own type."""
    world = sandbox.world
    visit_id = world.visit_ids()[7]
    company_id = world.company_of_visit(visit_id)
    await lf.companies.assign_tags(company_id, [(await lf.tags.create(name="Hot")).data.id])
    await sync_account(lf, file, since=sandbox.start_date)
    visit: Any = world.visit(visit_id)
    company: Any = world.company(company_id)
    columns = "company_id, strftime(started_at, '%Y-%m-%dT%H:%M:%SZ'), source, visit_length, page_depth, ga_client_ids"
    names = ("started_at", "source", "visit_length", "page_depth")
    expected = (company_id, *(visit[name] for name in names), [])
    assert ask(file, f"SELECT {columns} FROM visits WHERE id = ?", visit_id) == [expected]
    steps = "SELECT page_path, time_on_page, has_met_goals FROM engagements WHERE visit_id = ? ORDER BY step"
    assert ask(file, steps, visit_id) == [
        (step["page"]["path"], step["time_on_page"], step["has_met_goals"]) for step in visit["engagements"]
    ]
    facts = "name, city, industry, employee_count, revenue_eur, intent_score, do_not_contact, tag_ids"
    assert ask(file, f"SELECT {facts} FROM companies WHERE id = ?", company_id) == [
        (
            company["name"], company["address"]["city"], company["industries"]["industry"][0]["name"],
            company["employee_count"], company["revenue"]["value_eur"], company["intent"]["score"], False, ["7001"],
        )
    ]  # fmt: skip


async def test_a_second_run_costs_seven_requests(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """Where nothing is new, a run sends seven requests and writes no row of visits or companies."""
    await sync_account(lf, file)
    again = await sync_account(lf, file)
    assert (again.requests, changed(again)) == (7, {})
    sandbox.world.add_visits(4)
    more = await sync_account(lf, file)
    assert more.tables["visits"].new == 4
    assert contents(file) == truth(sandbox)
    assert ask(file, "SELECT count(*) FROM credits") == [(3,)]
    assert ask(file, "SELECT requests FROM usage WHERE endpoint = '/v1/web-visits/companies'") == [(3,)]


async def test_late_visits(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """Visits that come late are found as far as the run looks back, and no further."""
    await sync_account(lf, file)
    for days_ago in (2, 9):
        sandbox.world.add_visits(1, day=sandbox.end_date - timedelta(days_ago))
    assert (await sync_account(lf, file)).tables["visits"].new == 1
    assert (await sync_account(lf, file, lookback_days=10)).tables["visits"].new == 1
    assert contents(file) == truth(sandbox)


async def test_a_company_changes(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """A company that is seen again is as the API shows it now, and one row of it was updated."""
    world = sandbox.world
    await sync_account(lf, file)
    last = world.company_of_visit(world.visit_ids()[-1])
    world.update_company(last, name="Renamed AG")
    assert changed(await sync_account(lf, file)) == {"companies": SyncChanges(updated=1)}
    assert ask(file, "SELECT name FROM companies WHERE id = ?", last) == [("Renamed AG",)]


async def transact(file: Path, account: str, *upserts: tuple[str, list[row_mapping.Row]]) -> dict[str, SyncChanges]:
    def work(transaction: Transaction) -> dict[str, SyncChanges]:
        for table, found in upserts:
            transaction.upsert(table, found)
        return {table: one for table, one in transaction.changes.items() if one != SyncChanges()}

    with SyncDatabase(file) as database:
        return await database.transact(work)


async def test_a_stub_replaces_nothing(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """A company of which only the id came stays as it was known, and stands in for one that is not known yet."""
    await sync_account(lf, file)
    before = ask(file, "SELECT * FROM companies ORDER BY id")
    stubs = [row_mapping.company_row(sandbox.account_id, Company(id=one)) for one in (before[0][1], "1")]
    assert await transact(file, sandbox.account_id, ("companies", stubs)) == {"companies": SyncChanges(new=1)}
    assert ask(file, "SELECT * FROM companies WHERE id <> '1' ORDER BY id") == before


async def test_tags_not_shown_are_kept(file: Path) -> None:
    """A whole company whose answer left its tags out keeps those that are known; an empty list takes them away."""
    whole: row_mapping.Row = {"account_id": "1", "id": "2", "name": "A", "tag_ids": ["7"]}
    for tag_ids, name in ((["7"], "A"), (None, "B")):
        await transact(file, "1", ("companies", [{**whole, "tag_ids": tag_ids, "name": name}]))
    assert ask(file, "SELECT name, tag_ids FROM companies") == [("B", ["7"])]
    await transact(file, "1", ("companies", [{**whole, "tag_ids": []}]))
    assert ask(file, "SELECT name, tag_ids FROM companies") == [("A", [])]


async def test_steps_are_replaced_as_a_whole(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """A visit that is read again with fewer steps keeps none of the others."""
    world = sandbox.world
    await sync_account(lf, file)
    for visit_id in world.visit_ids():
        visit: Any = world.visit(visit_id)
        world.update_visit(visit_id, engagements=visit["engagements"][:1])
    result = await sync_account(lf, file, lookback_days=100)
    assert result.tables["engagements"].removed > 0
    assert {len(steps) for steps in contents(file).values()} == {1}


async def test_tags_and_lists_mirror_the_server(lf: AsyncLeadfeeder, file: Path) -> None:
    """Tags and lists that are gone on the server are gone here; those of other accounts stay."""
    tags = [(await lf.tags.create(name=name, color=3)).data.id for name in ("Hot", "Cold")]
    kept = (await lf.lists.create(name="DACH", scope="contact")).data.id
    gone = (await lf.lists.create(name="Old", scope="company")).data.id
    await transact(file, "other", ("tags", [{"account_id": "other", "id": "7", "name": "Theirs", "color": 1}]))
    await sync_account(lf, file)
    assert ask(file, "SELECT id, scope FROM lists ORDER BY id") == [(kept, "contact"), (gone, "company")]
    await lf.tags.delete(tags[1])
    await lf.lists.delete(gone)
    await lf.tags.update(tags[0], name="Very hot")
    result = await sync_account(lf, file)
    assert changed(result) == {"tags": SyncChanges(updated=1, removed=1), "lists": SyncChanges(removed=1)}
    assert ask(file, "SELECT name, color FROM tags ORDER BY name") == [("Theirs", 1), ("Very hot", 3)]


async def test_several_accounts_in_one_file(file: Path) -> None:
    """Each account has its own rows and its own days."""
    async with Sandbox(companies=9, visits=90, accounts=2, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        first, second = sandbox.account_ids
        await sync_account(lf, file, since=sandbox.start_date)
        await sync_account(lf, file, since=sandbox.end_date, account_id=second)
        today = sandbox.world.visit_ids(sandbox.end_date, sandbox.end_date)
    assert ask(file, "SELECT account_id, count(*) FROM visits GROUP BY ALL ORDER BY ALL") == [
        (first, 90), (second, len(today)),
    ]  # fmt: skip
    assert ask(file, "SELECT account_id, first_day FROM sync_state ORDER BY ALL") == [
        (first, sandbox.start_date), (second, sandbox.end_date),
    ]  # fmt: skip


async def test_the_only_account_of_a_key(sandbox: Sandbox, file: Path) -> None:
    """Where no account is named, the key's only one is found, and its rows carry its id."""
    async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, rate=1e6, burst=1_000) as lf:
        assert (await sync_account(lf, file)).account_id == sandbox.account_id
    assert ask(file, "SELECT DISTINCT account_id FROM visits") == [(sandbox.account_id,)]


@pytest.mark.parametrize("slice_rows", [40, 5_000])
async def test_an_earlier_since_fills_in(
    lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch, slice_rows: int
) -> None:
    """An earlier first day brings the days before; a later one changes nothing."""
    monkeypatch.setattr(date_plan, "SLICE_ROWS", slice_rows)
    recent = await sync_account(lf, file, since=sandbox.end_date - timedelta(4))
    assert 0 < recent.tables["visits"].new < 200
    older = await sync_account(lf, file, since=sandbox.start_date)
    assert older.first_day == sandbox.start_date
    assert contents(file) == truth(sandbox)
    narrow = await sync_account(lf, file, since=sandbox.end_date)
    assert (narrow.first_day, changed(narrow)) == (sandbox.start_date, {})


@pytest.mark.parametrize("backward", [False, True])
async def test_a_failed_run_goes_on_where_it_stopped(
    lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch, backward: bool
) -> None:
    """The slices that were read whole are not read again, in either direction."""
    monkeypatch.setattr(date_plan, "SLICE_ROWS", 50)
    if backward:
        await sync_account(lf, file, since=sandbox.end_date, lookback_days=0)
    whole = (await sync_account(lf, file.with_name("other.duckdb"), since=sandbox.start_date)).requests

    def fail_later(progress: Any) -> None:
        if progress.done > 350:
            sandbox.fail_next(500, times=50, operation="search_web_visits")

    with pytest.raises(ServerError):
        await sync_account(lf, file, since=sandbox.start_date, lookback_days=0, on_progress=fail_later)
    sandbox.clear_faults()
    rest = await sync_account(lf, file, since=sandbox.start_date, lookback_days=0)
    assert contents(file) == truth(sandbox)
    assert 0 < rest.requests < whole - 8


days = st.integers(0, 40)


@given(st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), days), st.integers(0, 5), st.integers(0, 12))))
def test_the_days_that_are_there_have_no_gap(runs: list[tuple[int, int | None, int, int]]) -> None:
    """However runs follow each other, and wherever they stop, each day of the range was read on that day or later."""
    today, state, read = date(2026, 1, 1), None, dict[date, date]()
    for passed, ago, lookback, stops_after in runs:
        today += timedelta(passed)
        since = None if ago is None else today - timedelta(ago)
        slices = [
            one
            for stretch in date_plan.plan_ranges(state, since, today, lookback)
            for one in stretch.slices(date_plan.SLICE_ROWS * 3)
        ]
        if stops_after >= len(slices) and since is not None:
            assert min(one.start for one in slices) <= since or (state and state.first_day <= since)
        for window in slices[:stops_after]:
            read |= dict.fromkeys((window.start + timedelta(day) for day in range(window.days)), today)
            state = date_plan.extended(state, window)
        if state is not None:
            range_ = [state.first_day + timedelta(day) for day in range((state.last_day - state.first_day).days + 1)]
            assert set(range_) == set(read)
            assert all(read[day] >= day for day in range_)
            assert stops_after < len(slices) or state.last_day == today


def test_months_and_first_days() -> None:
    """Months are counted over the turn of a year, and the first run reads 90 days."""
    assert months_before(date(2026, 1, 1), 2) == date(2025, 11, 1)
    assert list(date_plan.plan_ranges(None, None, date(2026, 3, 31), 3)) == [
        date_plan.SyncRange(DateWindow(date(2026, 1, 1), date(2026, 3, 31)))
    ]
    with pytest.raises(ConfigurationError, match="is after"):
        list(date_plan.plan_ranges(None, date(2026, 4, 1), date(2026, 3, 31), 3))
    assert date_plan.extended(None, DateWindow(date.min, date.max)) == SyncState(date.min, date.max)


def test_a_lookback_past_all_days() -> None:
    """However many days a run looks back, it begins at the first day that is there."""
    state, today = SyncState(date(2026, 1, 1), date(2026, 3, 1)), date(2026, 3, 2)
    everything = [date_plan.SyncRange(DateWindow(state.first_day, today))]
    for lookback_days in (59, 60, 1_000_000, 10**12):
        assert list(date_plan.plan_ranges(state, None, today, lookback_days)) == everything
    assert list(date_plan.plan_ranges(state, None, today, 58)) == [
        date_plan.SyncRange(DateWindow(date(2026, 1, 2), today))
    ]


def test_a_database_that_finds_no_room(file: Path) -> None:
    """One that cannot be made is named, and nothing of it stays.

    A limit on the size of files stands in for a full disk.
    """
    with small_disk(20_000), pytest.raises(DatabaseError, match="cannot grow"):
        SyncDatabase(file)
    assert list(file.parent.iterdir()) == []


async def test_what_is_refused_is_left_out_and_named(file: Path) -> None:
    """Tables that the plan does not cover are named, and everything else is synced."""
    refused = ("get_usage", "retrieve_tags")
    async with Sandbox(companies=9, visits=90, rate_limit=False, not_entitled=refused) as sandbox:
        async with client_for(sandbox) as lf:
            result = await sync_account(lf, file)
    assert {table: type(error) for table, error in result.skipped.items()} == dict.fromkeys(
        ("tags", "usage"), PermissionDeniedError
    )
    assert contents(file) == truth(sandbox)
    assert result.tables["credits"] == SyncChanges(new=1)


async def test_refused_visits_are_an_error(file: Path) -> None:
    """Without its visits a sync is none."""
    async with Sandbox(companies=9, visits=9, rate_limit=False, not_entitled=["search_web_visits"]) as sandbox:
        async with client_for(sandbox) as lf:
            with pytest.raises(PermissionDeniedError, match="search_web_visits"):
                await sync_account(lf, file)


async def test_a_row_that_cannot_be_read(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """It is named in an error at the end, and all others are in the database."""
    sandbox.world.update_visit(sandbox.world.visit_ids()[3], page_depth="many")
    with pytest.raises(IncompleteListError, match="all others are in the database") as caught:
        await sync_account(lf, file)
    assert len(caught.value.problems) == 1
    assert len(contents(file)) == 499
    assert ask(file, "SELECT last_day, finished_at IS NOT NULL FROM sync_state") == [(sandbox.end_date, True)]


async def test_a_day_past_the_wall(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day that holds more than the API hands out is an error at the end; the days before and after are whole."""
    for module in ("numbered", "date_range"):
        monkeypatch.setattr(f"leadfeeder_async.pagination.{module}.MAX_SEARCH_ROWS", 200)
    async with Sandbox(companies=60, visits=500, max_search_rows=200, rate_limit=False) as sandbox:
        middle = sandbox.start_date + timedelta(15)
        other_days = set(sandbox.world.visit_ids()) - set(sandbox.world.visit_ids(middle, middle))
        sandbox.world.add_visits(400, day=middle)
        async with client_for(sandbox) as lf:
            with pytest.raises(IncompleteListError) as caught:
                await sync_account(lf, file)
    assert [type(problem) for problem in caught.value.problems] == [IncompleteWindowError]
    assert other_days <= set(contents(file))
    assert ask(file, "SELECT last_day FROM sync_state") == [(sandbox.end_date,)]


@pytest.mark.parametrize("noun", ["web-visits", "companies"])
async def test_days_of_a_list_that_stopped_are_read_again(
    file: Path, noun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where visits stop in their middle, all else is read, but days do not count as there: the next run has the rest.

    Of companies that visited only names would be missing: their days do count.
    """
    monkeypatch.setattr(date_plan, "SLICE_ROWS", 300)
    today, broken = datetime.now(UTC).date(), True
    old, later = today - timedelta(60), today - timedelta(30)

    async def answer(request: web.Request) -> web.Response:
        asked = {**request.query, **json.loads(await request.read() or b"{}")}
        if "web-visits" not in request.path or "start_date" not in asked:
            return web.json_response({"data": []})
        held = [one for one in (old, later) if asked["start_date"] <= str(one) <= asked["end_date"]]
        total, stops = 300 * len(held), broken and request.path.endswith(noun) and old in held
        page = min(int(asked["page[num]"]), 2) if stops else int(asked["page[num]"])
        rows = range(100 * (page - 1), min(total, 100 * page))
        times = {n: f"{held[n // 300]}T00:00:00Z" for n in rows}
        data: list[dict[str, Any]] = [
            {"id": f"{at}{n % 300}", "type": "web_visit", "attributes": {"started_at": at}} for n, at in times.items()
        ]
        if request.path.endswith("companies"):
            data = [{"id": str(n), "type": "company_location"} for n in rows]
        return web.json_response(
            {"data": data, "meta": {"pagination": {"page_count": total // 100, "total_count": total}}}
        )

    visits, ended = "SELECT count(*) FROM visits", "SELECT count(finished_at) FROM sync_state"
    async with handler_server(answer) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="repeats a page after 200 rows"):
            await sync_account(lf, file)
        expected = (500, 0) if noun == "web-visits" else (600, 1)  # the later slice is read in any case
        assert (ask(file, visits), ask(file, ended)) == ([expected[:1]], [expected[1:]])
        broken = False
        await sync_account(lf, file)
    assert (ask(file, visits), ask(file, ended)) == ([(600,)], [(1,)])


async def test_what_was_missing_is_told_by_an_error_of_later(sandbox: Sandbox, file: Path) -> None:
    """No later run knows what could not be read in this one, so whatever ends it speaks of that too."""
    sandbox.world.update_visit(sandbox.world.visit_ids()[3], page_depth="many")
    sandbox.fail_next(503, operation="retrieve_tags", times=5)
    async with client_for(sandbox, retries=0) as lf:
        with pytest.raises(ServerError, match="Besides: 1 row or day could not be read whole"):
            await sync_account(lf, file)


async def test_values_past_a_columns_bounds(file: Path) -> None:
    """A value that its column cannot hold becomes null and spoils no other; the last row of a key counts."""
    found: list[row_mapping.Row] = [
        {"account_id": "1", "id": str(number % 3), "page_depth": depth, "started_at": "never" if number else None}
        for number, depth in enumerate((1, 2**40, None, 4))
    ]
    assert await transact(file, "1", ("visits", found)) == {"visits": SyncChanges(new=3)}
    assert ask(file, "SELECT page_depth FROM visits ORDER BY id") == [(4,), (None,), (None,)]


async def test_a_failed_transaction_leaves_nothing(file: Path) -> None:
    """Either all rows of a transaction are kept, or none."""

    def add(name: str, transaction: Transaction) -> None:
        transaction.upsert("tags", [{"account_id": "1", "id": name, "name": name, "color": 1}])
        if name == "B":
            raise ZeroDivisionError

    with SyncDatabase(file) as database:
        await database.transact(partial(add, "A"))
        with pytest.raises(ZeroDivisionError):
            await database.transact(partial(add, "B"))
    assert ask(file, "SELECT name FROM tags") == [("A",)]


async def test_the_loop_is_not_held(file: Path) -> None:
    """While a transaction waits for its disk, the event loop goes on."""
    written = threading.Event()
    with SyncDatabase(file) as database:
        transaction = asyncio.create_task(database.transact(lambda _: written.wait(5)))
        await asyncio.sleep(0)
        assert not transaction.done()
        written.set()
        assert await transaction is True


async def test_cancelled_sync_is_consistent(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """A cancelled sync lets its transaction end, closes the file, and goes on when it is called again."""
    here = asyncio.current_task()
    assert here is not None
    job = asyncio.create_task(
        sync_account(lf, file, on_progress=lambda progress: progress.done >= 200 and job.cancel())
    )
    with pytest.raises(asyncio.CancelledError):
        await job
    assert 200 <= len(contents(file)) < 500
    assert not [one for one in threading.enumerate() if one.name.startswith("leadfeeder-sync")]
    await sync_account(lf, file)
    assert contents(file) == truth(sandbox)


async def refused(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path, problem: str) -> str:
    """Sync, and hold that it is refused with a named error before anything is sent."""
    before = len(sandbox.ledger.requests)
    with pytest.raises(DatabaseError, match=problem) as caught:
        await sync_account(lf, file)
    assert len(sandbox.ledger.requests) == before
    assert str(file) in str(caught.value)
    return str(caught.value)


async def test_a_file_that_is_no_database(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path, tmp_path: Path) -> None:
    """Another file, an empty one, a folder and a place that cannot be are refused, and stay as they are."""
    for content in ("", "precious", "long\n" * 5_000, "SQLite format 3\0" + "\0" * 5_000):
        file.write_text(content)
        assert "Choose another name" in await refused(lf, sandbox, file, "is not a DuckDB database")
        assert file.read_text() == content
    await refused(lf, sandbox, tmp_path, "cannot be used")
    await refused(lf, sandbox, file / "below.duckdb", "cannot be used: (Not a directory|File exists)")


@pytest.mark.parametrize("name", ["visits.csv", "visits.JSON", "visits.parquet"])
async def test_the_name_of_a_data_file(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    """DuckDB would open it as data and forget what is written, so it is refused before anything is sent or made."""
    with pytest.raises(ConfigurationError, match="not a database's name"):
        await sync_account(lf, tmp_path / name)
    assert (sandbox.ledger.requests, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize("account_id", [None, "1"])
async def test_a_first_run_that_is_refused_leaves_no_file(sandbox: Sandbox, file: Path, account_id: str | None) -> None:
    """A wrong key leaves no database without rows; one that was there before stays."""
    async with AsyncLeadfeeder("wrong", base_url=sandbox.url, account_id=account_id) as lf:
        with pytest.raises(AuthenticationError):
            await sync_account(lf, file)
        assert list(file.parent.iterdir()) == []
    duckdb.connect(str(file)).close()
    async with AsyncLeadfeeder("wrong", base_url=sandbox.url, account_id=account_id) as lf:
        with pytest.raises(AuthenticationError):
            await sync_account(lf, file)
    assert file.exists()


async def test_a_run_that_is_refused_takes_nothing_from_another(
    lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path
) -> None:
    """Two syncs begin on one new file, and the one that fails leaves it to the other."""
    async with AsyncLeadfeeder("wrong", base_url=sandbox.url) as wrong:
        done = await asyncio.gather(sync_account(wrong, file), sync_account(lf, file), return_exceptions=True)
    assert [type(one) for one in done] == [AuthenticationError, SyncResult]
    assert contents(file) == truth(sandbox)


async def test_a_newer_version(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """Tables of a later version are left alone."""
    await sync_account(lf, file)
    with duckdb.connect(str(file)) as database:
        database.execute("UPDATE sync_state SET version = ?", [VERSION + 1])
    assert "Upgrade" in await refused(lf, sandbox, file, "newer version of this package")


async def test_tables_of_others(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """A database with another table of the same name is refused unchanged; one with other tables is used."""
    with duckdb.connect(str(file)) as database:
        database.execute("CREATE TABLE visits (id VARCHAR)")
    await refused(lf, sandbox, file, "'visits' of another shape")
    assert ask(file, "SELECT count(*) FROM duckdb_tables()") == [(1,)]
    with duckdb.connect(str(file)) as database:
        database.execute("ALTER TABLE visits RENAME TO mine")
    await sync_account(lf, file)
    assert contents(file) == truth(sandbox)


async def test_a_file_in_use(lf: AsyncLeadfeeder, sandbox: Sandbox, file: Path) -> None:
    """A database that another process has open is refused, and named so on the command line, with exit code 5."""
    await sync_account(lf, file)
    code = f"import duckdb, sys; held = duckdb.connect({str(file)!r}); print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", code, **pipes)
    assert holder.stdout is not None
    await holder.stdout.readline()
    try:
        assert "Wait for it" in await refused(lf, sandbox, file, "is open in another process")
        status, _, stderr = await leadfeeder(sandbox, "sync", "--db", file)
    finally:
        await holder.communicate(b"")
    assert (status, "is open in another process" in stderr, "Traceback" in stderr) == (5, True, False)


async def test_a_full_disk(file: Path) -> None:
    """Where the file cannot grow, the error says so, what was committed is kept, and a later run goes on.

    A limit on the size of files stands in for a full disk. Real time: a process has to be started.
    """
    async with Sandbox(companies=300, visits=6_000, rate_limit=False) as sandbox:
        words = (sandbox.url, sandbox.api_key, sandbox.account_id, str(sandbox.start_date), str(file))
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.sync_process",
            *words,
            "--file-limit",
            "2500000",
            stderr=subprocess.PIPE,
        )
        _, stderr = await child.communicate()
        assert (child.returncode, "Traceback" in stderr.decode()) == (1, False), stderr.decode()
        assert "cannot grow" in stderr.decode()
        kept, everything = contents(file), truth(sandbox)
        assert 0 < len(kept) < 6_000
        assert all(everything[visit] == steps for visit, steps in kept.items())
        async with client_for(sandbox) as lf:
            rest = await sync_account(lf, file)
        assert contents(file) == everything
        assert rest.requests < 6_000 // 100


async def test_without_the_extra(lf: AsyncLeadfeeder, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where DuckDB is missing, the line to install is named; a lookback below nothing is refused."""
    with pytest.raises(ConfigurationError, match="lookback_days=-1"):
        await sync_account(lf, file, lookback_days=-1)
    monkeypatch.setattr("leadfeeder_async.jobs.sync.sync_database.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'leadfeeder-async\[duckdb\]'"):
        await sync_account(lf, file)
    assert util.find_spec("duckdb") is not None


async def test_command(sandbox: Sandbox, file: Path) -> None:
    """The counts of each table go to stdout, one JSON object a line, and the summary to stderr."""
    code, stdout, stderr = await leadfeeder(sandbox, "sync", "--db", file, "--since", str(sandbox.start_date))
    assert code == 0, stderr
    lines = {line["table"]: line for line in map(json.loads, stdout.splitlines())}
    assert lines["visits"] == {"table": "visits", "new": 500, "updated": 0, "removed": 0}
    assert set(lines) == {"visits", "engagements", "companies", "locations", "tags", "lists", "usage", "credits"}
    assert f"{sandbox.start_date} to {sandbox.end_date} in " in stderr
    assert f"0 credits charged -> {file}" in stderr
    assert contents(file) == truth(sandbox)


async def test_command_names_what_was_left_out(file: Path) -> None:
    """A table that the plan does not cover is named on stderr, is not on stdout, and the exit code is 0."""
    async with Sandbox(companies=9, visits=90, rate_limit=False, not_entitled=["get_usage"]) as sandbox:
        code, stdout, stderr = await leadfeeder(sandbox, "sync", "--db", file)
    assert (code, '"usage"' in stdout) == (0, False)
    assert "Left out: usage. " in stderr
    assert "insufficient_entitlements" in stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interrupted_command(file: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM leave the database whole, and the command that is shown goes on."""
    async with Sandbox(companies=9, visits=3_000, rate_limit=False, latency=0.1) as sandbox:
        words = ("sync", "--db", str(file), "--since", str(sandbox.start_date))
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *words, env={**os.environ, **sandbox.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        while len(sandbox.ledger.requests) < 5:
            await asyncio.sleep(0.02)
        process.send_signal(number)
        async with asyncio.timeout(10):
            _, stderr = await process.communicate()
        assert (process.returncode, "Traceback" in stderr.decode()) == (code, False), stderr.decode()
        go_on = next(line for line in stderr.decode().splitlines() if " sync " in line).split()
        assert tuple(go_on[1:]) == words
        assert len(contents(file)) < 3_000
        sandbox.latency = 0
        assert (await leadfeeder(sandbox, *go_on[1:]))[0] == 0
        assert contents(file) == truth(sandbox)
