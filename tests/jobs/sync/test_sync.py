"""Synchronization of an account with a database: new, changed and deleted rows, interruptions and errors."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    AuthenticationError,
    ConfigurationError,
    DatabaseError,
    DatabaseLockedError,
    IncompleteListError,
    IncompleteWindowError,
    PermissionDeniedError,
    Progress,
    ServerError,
)
from leadfeeder_async.jobs import duckdb_file
from leadfeeder_async.jobs.checkpoint import Checkpoint, write_checkpoint
from leadfeeder_async.jobs.sync import date_plan
from leadfeeder_async.jobs.sync.schema import VERSION
from leadfeeder_async.jobs.sync.sync_database import SyncDatabase
from leadfeeder_async.jobs.sync.transaction import Row, Transaction
from leadfeeder_async.jobs.sync.visit_spool import SpoolState
from leadfeeder_async.pagination.problems import MAX_KEPT_PROBLEMS
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import SyncChanges, SyncResult, sync_account
from tests.jobs.helpers import FOREIGN_FILES, make_foreign_file, names_in, small_disk
from tests.jobs.sync.test_sync_crash_recovery import expected_contents, read_contents
from tests.jobs.test_duckdb_file import opened_elsewhere
from tests.support.clients import client_for, client_of
from tests.support.servers import handler_server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leadfeeder.duckdb"


def query(path: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as database:
        database.execute("SET TimeZone = 'UTC'")
        return database.execute(statement, values).fetchall()


def changes_of(result: SyncResult) -> dict[str, SyncChanges]:
    """Return the tables with changes, except those that change in every run."""
    return {
        table: changes
        for table, changes in result.tables.items()
        if changes != SyncChanges() and table not in {"usage", "credits"}
    }


async def test_first_sync_is_complete(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """Every visit is saved with its engagements, its company and its location. Days without visits are skipped."""
    result = await sync_account(lf, path, since="2020-01-01")
    assert read_contents(path) == expected_contents(sandbox)
    assert result.tables["visits"] == SyncChanges(new=500)
    assert (result.first_day, result.last_day, result.skipped) == (date(2020, 1, 1), sandbox.end_date, {})
    assert result.credits == sandbox.ledger.credits_charged == 0
    assert result.requests == len(sandbox.ledger.requests)
    orphans = "FROM visits v LEFT JOIN {0} o ON o.id = v.{1}_id AND o.account_id = v.account_id WHERE o.country IS NULL"
    for table, name in (("companies", "company"), ("locations", "location")):
        assert query(path, "SELECT count(*) " + orphans.format(table, name)) == [(0,)]


async def test_values_are_typed(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """The values of a visit, its engagements and its company are those of the API, in columns of their own types."""
    world = sandbox.world
    visit_id = world.visit_ids()[7]
    company_id = world.company_of_visit(visit_id)
    await lf.companies.assign_tags(company_id, [(await lf.tags.create(name="Hot")).data.id])
    await sync_account(lf, path, since=sandbox.start_date)
    visit: Any = world.visit(visit_id)
    company: Any = world.company(company_id)
    columns = "company_id, strftime(started_at, '%Y-%m-%dT%H:%M:%SZ'), source, visit_length, page_depth, ga_client_ids"
    names = ("started_at", "source", "visit_length", "page_depth")
    expected = (company_id, *(visit[name] for name in names), [])
    assert query(path, f"SELECT {columns} FROM visits WHERE id = ?", visit_id) == [expected]
    engagements = "SELECT page_path, time_on_page, has_met_goals FROM engagements WHERE visit_id = ? ORDER BY step"
    assert query(path, engagements, visit_id) == [
        (step["page"]["path"], step["time_on_page"], step["has_met_goals"]) for step in visit["engagements"]
    ]
    columns = "name, city, industry, employee_count, revenue_eur, intent_score, do_not_contact, tag_ids"
    assert query(path, f"SELECT {columns} FROM companies WHERE id = ?", company_id) == [
        (
            company["name"], company["address"]["city"], company["industries"]["industry"][0]["name"],
            company["employee_count"], company["revenue"]["value_eur"], company["intent"]["score"], False, ["7001"],
        )
    ]  # fmt: skip


async def test_second_run_sends_seven_requests(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """If nothing is new, a run sends seven requests and writes no row of visits or companies."""
    await sync_account(lf, path)
    again = await sync_account(lf, path)
    assert (again.requests, changes_of(again)) == (7, {})
    sandbox.world.add_visits(4)
    more = await sync_account(lf, path)
    assert more.tables["visits"].new == 4
    assert read_contents(path) == expected_contents(sandbox)
    assert query(path, "SELECT count(*) FROM credits") == [(3,)]
    assert query(path, "SELECT requests FROM usage WHERE endpoint = '/v1/web-visits/companies'") == [(3,)]


async def test_late_visits(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """Visits that arrive late are found within the lookback, and not before it."""
    await sync_account(lf, path)
    for days_ago in (2, 9):
        sandbox.world.add_visits(1, day=sandbox.end_date - timedelta(days_ago))
    assert (await sync_account(lf, path)).tables["visits"].new == 1
    assert (await sync_account(lf, path, lookback_days=10)).tables["visits"].new == 1
    assert read_contents(path) == expected_contents(sandbox)


async def test_changed_company_is_updated(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A company that is read again gets its new attributes, and counts as one update."""
    world = sandbox.world
    await sync_account(lf, path)
    last = world.company_of_visit(world.visit_ids()[-1])
    world.update_company(last, name="Renamed AG")
    assert changes_of(await sync_account(lf, path)) == {"companies": SyncChanges(updated=1)}
    assert query(path, "SELECT name FROM companies WHERE id = ?", last) == [("Renamed AG",)]


@pytest.mark.parametrize("page", [1, 10, 11, 12])
async def test_late_companies_have_names(path: Path, page: int) -> None:
    """Companies whose first visits arrive after the companies were read get their names, also after an interruption."""
    async with Sandbox(companies=800, visits=900, days=20, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        calls = itertools.count(1)

        def interrupt(_: Progress) -> None:
            call = next(calls)
            if call == 1:
                sandbox.world.add_visits(200, day=sandbox.end_date - timedelta(12))
            if call == page:
                raise RuntimeError("interrupted")

        with pytest.raises(RuntimeError, match="interrupted"):
            await sync_account(lf, path, on_progress=interrupt)
        await sync_account(lf, path)
        assert query(path, "SELECT count(*) FROM companies WHERE name IS NULL") == [(0,)]
        rest = await sync_account(lf, path, lookback_days=19)
        assert rest.tables["companies"].updated == 0
        assert read_contents(path) == expected_contents(sandbox)


async def test_interrupted_list_of_late_companies(path: Path) -> None:
    """If the list of late companies fails, the run is not finished, and the next one reads it again."""
    async with Sandbox(companies=800, visits=900, days=20, rate_limit=False) as sandbox:
        calls = itertools.count(1)

        def fail(_: Progress) -> None:
            if next(calls) == 1:
                sandbox.world.add_visits(200, day=sandbox.end_date - timedelta(12))
                sandbox.fail_next(500, operation="retrieve_visitor_companies")

        async with client_for(sandbox, retries=0) as lf:
            with pytest.raises(ServerError):
                await sync_account(lf, path, on_progress=fail)
            assert query(path, "SELECT finished_at FROM sync_state") == [(None,)]
            await sync_account(lf, path)
        assert query(path, "SELECT count(*) FROM companies WHERE name IS NULL") == [(0,)]


async def test_company_without_name_is_not_read_again(path: Path) -> None:
    """A company that the API lists without a name costs no requests beyond those of other companies."""
    async with Sandbox(companies=9, visits=90, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        requests = (await sync_account(lf, path)).requests
        for company in sandbox.world.company_ids():
            sandbox.world.update_company(company, name=None)
        assert (await sync_account(lf, path.with_suffix(".db"))).requests == requests
        assert query(path.with_suffix(".db"), "SELECT count(*) FROM companies WHERE name IS NULL")[0][0] > 0


async def upsert(path: Path, *upserts: tuple[str, list[Row]]) -> dict[str, SyncChanges]:
    """Insert or replace rows, and return the tables that changed."""

    def work(transaction: Transaction) -> dict[str, SyncChanges]:
        for table, rows in upserts:
            transaction.upsert(table, rows)
        return {table: changes for table, changes in transaction.changes.items() if changes != SyncChanges()}

    with SyncDatabase(path, wait=0) as database:
        return await database.transact(work)


async def test_stub_replaces_nothing(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A company without attributes does not replace known data, and is inserted if it is unknown."""
    await sync_account(lf, path)
    before = query(path, "SELECT * FROM companies ORDER BY id")
    stubs: list[Row] = [{"account_id": sandbox.account_id, "id": one} for one in (before[0][1], "1")]
    assert await upsert(path, ("companies", stubs)) == {"companies": SyncChanges(new=1)}
    assert query(path, "SELECT * FROM companies WHERE id <> '1' ORDER BY id") == before


async def test_missing_tags_are_kept(path: Path) -> None:
    """A company whose tags are missing from the response keeps its tags. An empty list removes them."""
    company: Row = {"account_id": "1", "id": "2", "name": "A", "tag_ids": ["7"]}
    await upsert(path, ("companies", [company]))
    await upsert(path, ("companies", [{**company, "tag_ids": None, "name": "B"}]))
    assert query(path, "SELECT name, tag_ids FROM companies") == [("B", ["7"])]
    await upsert(path, ("companies", [{**company, "tag_ids": []}]))
    assert query(path, "SELECT name, tag_ids FROM companies") == [("A", [])]


async def test_stale_engagements_are_deleted(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A visit that is read again with fewer engagements keeps none of the others."""
    world = sandbox.world
    await sync_account(lf, path)
    for visit_id in world.visit_ids():
        visit: Any = world.visit(visit_id)
        world.update_visit(visit_id, engagements=visit["engagements"][:1])
    result = await sync_account(lf, path, lookback_days=100)
    assert result.tables["engagements"].removed > 0
    assert {len(steps) for steps in read_contents(path).values()} == {1}


async def test_tags_and_lists_mirror_the_server(lf: AsyncLeadfeeder, path: Path) -> None:
    """Tags and lists that were deleted on the server are deleted. Those of other accounts are kept."""
    tags = [(await lf.tags.create(name=name, color=3)).data.id for name in ("Hot", "Cold")]
    kept = (await lf.lists.create(name="DACH", scope="contact")).data.id
    deleted = (await lf.lists.create(name="Old", scope="company")).data.id
    await upsert(path, ("tags", [{"account_id": "other", "id": "7", "name": "Theirs", "color": 1}]))
    await sync_account(lf, path)
    assert query(path, "SELECT id, scope FROM lists ORDER BY id") == [(kept, "contact"), (deleted, "company")]
    await lf.tags.delete(tags[1])
    await lf.lists.delete(deleted)
    await lf.tags.update(tags[0], name="Very hot")
    result = await sync_account(lf, path)
    assert changes_of(result) == {"tags": SyncChanges(updated=1, removed=1), "lists": SyncChanges(removed=1)}
    assert query(path, "SELECT name, color FROM tags ORDER BY name") == [("Theirs", 1), ("Very hot", 3)]


async def test_several_accounts_in_one_file(path: Path) -> None:
    """Each account has its own rows and its own synced days."""
    async with Sandbox(companies=9, visits=90, accounts=2, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        first, second = sandbox.account_ids
        await sync_account(lf, path, since=sandbox.start_date)
        await sync_account(lf, path, since=sandbox.end_date, account_id=second)
        today = sandbox.world.visit_ids(sandbox.end_date, sandbox.end_date)
    assert query(path, "SELECT account_id, count(*) FROM visits GROUP BY ALL ORDER BY ALL") == [
        (first, 90), (second, len(today)),
    ]  # fmt: skip
    assert query(path, "SELECT account_id, first_day FROM sync_state ORDER BY ALL") == [
        (first, sandbox.start_date), (second, sandbox.end_date),
    ]  # fmt: skip


async def test_default_account(sandbox: Sandbox, path: Path) -> None:
    """If no account is given, the only account of the key is used."""
    async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, rate=1e6, burst=1_000) as lf:
        assert (await sync_account(lf, path)).account_id == sandbox.account_id
    assert query(path, "SELECT DISTINCT account_id FROM visits") == [(sandbox.account_id,)]


@pytest.mark.parametrize("slice_rows", [40, 5_000])
async def test_earlier_since_adds_days(
    lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, monkeypatch: pytest.MonkeyPatch, slice_rows: int
) -> None:
    """An earlier first day adds the days before. A later one changes nothing."""
    monkeypatch.setattr(date_plan, "SLICE_ROWS", slice_rows)
    recent = await sync_account(lf, path, since=sandbox.end_date - timedelta(4))
    assert 0 < recent.tables["visits"].new < 200
    older = await sync_account(lf, path, since=sandbox.start_date)
    assert older.first_day == sandbox.start_date
    assert read_contents(path) == expected_contents(sandbox)
    narrow = await sync_account(lf, path, since=sandbox.end_date)
    assert (narrow.first_day, changes_of(narrow)) == (sandbox.start_date, {})


@pytest.mark.parametrize("backward", [False, True])
async def test_failed_run_continues(
    lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, monkeypatch: pytest.MonkeyPatch, backward: bool
) -> None:
    """Slices that are complete are not read again, in either direction."""
    monkeypatch.setattr(date_plan, "SLICE_ROWS", 50)
    if backward:
        await sync_account(lf, path, since=sandbox.end_date, lookback_days=0)
    requests = (await sync_account(lf, path.with_name("other.duckdb"), since=sandbox.start_date)).requests

    def fail_later(progress: Any) -> None:
        if progress.done > 350:
            sandbox.fail_next(500, times=50, operation="search_web_visits")

    with pytest.raises(ServerError):
        await sync_account(lf, path, since=sandbox.start_date, lookback_days=0, on_progress=fail_later)
    sandbox.clear_faults()
    rest = await sync_account(lf, path, since=sandbox.start_date, lookback_days=0)
    assert read_contents(path) == expected_contents(sandbox)
    assert 0 < rest.requests < requests - 4


async def test_denied_tables_are_skipped(path: Path) -> None:
    """Tables that the plan does not include are reported, and everything else is synced."""
    not_entitled = ("get_usage", "retrieve_tags")
    async with Sandbox(companies=9, visits=90, rate_limit=False, not_entitled=not_entitled) as sandbox:
        async with client_for(sandbox) as lf:
            result = await sync_account(lf, path)
    assert {table: type(error) for table, error in result.skipped.items()} == dict.fromkeys(
        ("tags", "usage"), PermissionDeniedError
    )
    assert read_contents(path) == expected_contents(sandbox)
    assert result.tables["credits"] == SyncChanges(new=1)


@pytest.mark.parametrize("status", [401, 403])
async def test_denial_in_the_words_of_a_rejected_key(path: Path, status: int) -> None:
    """A 403 of one table skips it, whatever its code is. A 401 ends the run."""
    async with Sandbox(companies=9, visits=90, rate_limit=False) as sandbox, client_for(sandbox) as lf:

        def deny(progress: Progress) -> None:
            if progress.done == 90:
                sandbox.fail_next(status, code="access_denied", operation="get_usage")

        if status == 401:
            with pytest.raises(AuthenticationError):
                await sync_account(lf, path, on_progress=deny)
            return
        result = await sync_account(lf, path, on_progress=deny)
    assert list(result.skipped) == ["usage"]
    assert query(path, "SELECT finished_at IS NOT NULL FROM sync_state") == [(True,)]


async def test_unreadable_table_is_reported(path: Path) -> None:
    """If a row of a small table cannot be decoded, all other tables are synced, and the run counts as finished."""
    async with Sandbox(companies=9, visits=90, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        sandbox.records.tags.add({"name": "Hot", "color": "red"})
        with pytest.raises(IncompleteListError, match="The table tags was not updated") as caught:
            await sync_account(lf, path)
        assert caught.value.run_completed
        assert read_contents(path) == expected_contents(sandbox)
        assert query(path, "SELECT count(*) FROM credits") == [(1,)]
        assert query(path, "SELECT finished_at IS NOT NULL FROM sync_state") == [(True,)]


async def test_denied_visits_are_an_error(path: Path) -> None:
    """A sync without access to visits fails."""
    async with Sandbox(companies=9, visits=9, rate_limit=False, not_entitled=["search_web_visits"]) as sandbox:
        async with client_for(sandbox) as lf:
            with pytest.raises(PermissionDeniedError, match="search_web_visits"):
                await sync_account(lf, path)


async def test_gap_before_the_lookback_names_the_lookback(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """If later syncs will not read an unreadable row again, the hint has the lookback that reads it."""
    visit = sandbox.world.visit_ids()[0]
    sandbox.world.update_visit(visit, page_depth="many")
    with pytest.raises(IncompleteListError) as caught:
        await sync_account(lf, path, since=sandbox.start_date)
    found = re.search(r"later syncs do not read them again.* lookback_days=(\d+) now", caught.value.hint or "")
    assert found is not None
    await sync_account(lf, path)
    sandbox.world.update_visit(visit, page_depth=2)
    await sync_account(lf, path)
    assert len(read_contents(path)) == 499
    await sync_account(lf, path, lookback_days=int(found[1]))
    assert len(read_contents(path)) == 500


async def test_undecodable_row_is_skipped(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A row that cannot be decoded is reported at the end, and all others are in the database."""
    sandbox.world.update_visit(sandbox.world.visit_ids()[3], page_depth="many")
    with pytest.raises(IncompleteListError, match="All others are in the database") as caught:
        await sync_account(lf, path)
    assert (len(caught.value.problems), caught.value.run_completed) == (1, True)
    assert len(read_contents(path)) == 499
    assert query(path, "SELECT last_day, finished_at IS NOT NULL FROM sync_state") == [(sandbox.end_date, True)]


async def test_day_over_row_limit_raises_at_the_end(path: Path) -> None:
    """A day with more rows of one country than the API returns is reported at the end. Other days are complete."""
    async with Sandbox(companies=60, visits=500, max_search_rows=200, rate_limit=False) as sandbox:
        middle = sandbox.start_date + timedelta(15)
        other_days = set(sandbox.world.visit_ids()) - set(sandbox.world.visit_ids(middle, middle))
        sandbox.world.add_visits(3_000, day=middle)
        async with client_for(sandbox, max_search_rows=200) as lf:
            with pytest.raises(IncompleteListError) as caught:
                await sync_account(lf, path)
    assert [type(problem) for problem in caught.value.problems] == [IncompleteWindowError]
    assert other_days <= set(read_contents(path))
    assert query(path, "SELECT last_day FROM sync_state") == [(sandbox.end_date,)]


class StoppingServer:
    """A server with 300 visits on each of two days, one of whose lists repeats its second page while it is broken.

    Args:
        broken: The end of the path of the list that is broken for the earlier day.
    """

    def __init__(self, broken: str) -> None:
        self.broken = broken
        today = datetime.now(UTC).date()
        self.days: tuple[date, ...] = (today - timedelta(60), today - timedelta(30))

    async def __call__(self, request: web.Request) -> web.Response:
        params = {**request.query, **json.loads(await request.read() or b"{}")}
        if "web-visits" not in request.path or "start_date" not in params:
            return web.json_response({"data": []})
        days = [day for day in self.days if params["start_date"] <= str(day) <= params["end_date"]]
        page, total = int(params["page[num]"]), 300 * len(days)
        if self.broken and request.path.endswith(self.broken) and self.days[0] in days:
            page = min(page, 2)
        rows = range(100 * (page - 1), min(total, 100 * page))
        data: list[dict[str, Any]] = [{"id": str(row), "type": "company_location"} for row in rows]
        if not request.path.endswith("companies"):
            times = {row: f"{days[row // 300]}T00:00:00Z" for row in rows}
            data = [
                {"id": f"{time}{row % 300}", "type": "web_visit", "attributes": {"started_at": time}}
                for row, time in times.items()
            ]
        pagination = {"page_count": total // 100, "total_count": total}
        return web.json_response({"data": data, "meta": {"pagination": pagination}})


@pytest.mark.parametrize(("broken", "visits", "finished"), [("web-visits", 500, 0), ("companies", 600, 1)])
async def test_days_of_stopped_list_are_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, visits: int, finished: int
) -> None:
    """If a list of visits stops early, all other rows are read, but its days do not count as synced.

    If a list of companies stops early, only names are missing, so its days do count.
    """
    monkeypatch.setattr(date_plan, "SLICE_ROWS", 300)
    counts = "SELECT (SELECT count(*) FROM visits), (SELECT count(finished_at) FROM sync_state)"
    server = StoppingServer(broken)
    async with handler_server(server) as url, client_of(url) as lf:
        with pytest.raises(IncompleteListError, match="rows are missing"):
            await sync_account(lf, path)
        assert query(path, counts) == [(visits, finished)]
        server.broken = ""
        await sync_account(lf, path)
    assert query(path, counts) == [(600, 1)]


@pytest.mark.parametrize("lags_first", [True, False])
async def test_list_that_lags_behind_its_count(path: Path, lags_first: bool) -> None:
    """Visits that the server counts before a list returns them are read by the next run, even if no count changes."""
    today, is_lagging = datetime.now(UTC).date(), lags_first
    visits = {f"{day}-{row}": str(today - timedelta(day)) for day in range(5) for row in range(60)}
    late = {f"1-{row}" for row in range(60, 65)}

    async def respond(request: web.Request) -> web.Response:
        params = {**request.query, **json.loads(await request.read() or b"{}")}
        if not request.path.endswith("/web-visits"):
            return web.json_response({"data": []})
        lags = is_lagging and params["page[size]"] != "1"
        rows = [
            {"id": visit, "type": "web_visit", "attributes": {"started_at": f"{day}T00:00:00Z"}}
            for visit, day in visits.items()
            if params["start_date"] <= day <= params["end_date"] and not (lags and visit in late)
        ]
        size, page = int(params["page[size]"]), int(params["page[num]"])
        pagination = {"page_count": -(-len(rows) // size), "total_count": len(rows)}
        return web.json_response({"data": rows[size * (page - 1) : size * page], "meta": {"pagination": pagination}})

    async with handler_server(respond) as url, client_of(url) as lf:
        if not lags_first:
            await sync_account(lf, path, since=today - timedelta(30))
        visits |= dict.fromkeys(late, str(today - timedelta(1)))
        is_lagging = True
        await sync_account(lf, path, since=today - timedelta(30))
        assert query(path, "SELECT count(*) FROM visits") == [(300,)]
        is_lagging = False
        await sync_account(lf, path)
        assert query(path, "SELECT count(*) FROM visits") == [(305,)]
        quiet = await sync_account(lf, path)
    assert quiet.tables["visits"] == SyncChanges()
    assert query(path, "SELECT visit_counts FROM sync_state")[0][0].count(":") == 4


async def test_rows_with_empty_ids_are_reported(path: Path) -> None:
    """Visits and tags with an empty id are problems of a run, and a company with one is no company."""
    today = datetime.now(UTC).date()

    def visit(row_id: str, company: str) -> dict[str, Any]:
        related = {"company": {"id": "", "type": "company", "attributes": {"name": company}}}
        attributes = {"started_at": f"{today}T10:00:00Z"}
        return {"id": row_id, "type": "web_visit", "attributes": attributes, "relationships": related}

    async def respond(request: web.Request) -> web.Response:
        rows: dict[str, list[dict[str, Any]]] = {
            "/v1/web-visits": [visit("1", "A"), visit("2", "B"), visit("", "C"), visit("", "D")],
            "/v1/web-visits/companies": [{**visit("", "E"), "type": "company_location"}],  # whose id is not stored
            "/v1/tags": [{"id": "", "type": "tag", "attributes": {"name": name}} for name in "ab"],
        }
        found = rows.get(request.path, [])
        return web.json_response({"data": found, "meta": {"pagination": {"page_count": 1, "total_count": len(found)}}})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        with pytest.raises(IncompleteListError, match="3 rows or days") as caught:
            await sync_account(lf, path, since=today)
    assert "The table tags was not updated. A row has no id." in str(caught.value)
    assert query(path, "SELECT id, company_id FROM visits ORDER BY id") == [("1", None), ("2", None)]
    assert query(path, "SELECT count(*) FROM companies") == query(path, "SELECT count(*) FROM tags") == [(0,)]


async def test_many_problems_are_counted(path: Path) -> None:
    """Of many rows that cannot be decoded, the error and the spool keep the first ones and the number of all."""
    today, fails = datetime.now(UTC).date(), True

    async def respond(request: web.Request) -> web.Response:
        if fails and request.path == "/v1/tags":
            return web.json_response({"errors": [{"code": "server_error"}]}, status=500)
        number, size = int(request.query.get("page[num]", 1)), int(request.query.get("page[size]", 100))
        attributes = {"started_at": f"{today}T10:00:00Z", "page_depth": "many"}
        count = 1_500 if request.path == "/v1/web-visits" else 0
        rows = [
            {"id": str(row), "type": "web_visit", "attributes": attributes}
            for row in range((number - 1) * size, min(count, number * size))
        ]
        pagination = {"page_count": -(-count // size), "total_count": count}
        return web.json_response({"data": rows, "meta": {"pagination": pagination}})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        with pytest.raises(ServerError, match="Additionally, 1,500 rows or days"):
            await sync_account(lf, path, since=today)
        fails = False
        with pytest.raises(IncompleteListError, match=r"^1,500 rows or days") as caught:
            await sync_account(lf, path, since=today)
    assert len(caught.value.problems) == MAX_KEPT_PROBLEMS


async def test_interrupted_run_keeps_its_problems(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that cannot be read are reported by the run after an interrupted one, also if that is of another account."""
    monkeypatch.setattr(date_plan, "SLICE_ROWS", 300)
    server, job = StoppingServer(""), None

    async def respond(request: web.Request) -> web.Response:
        response = await server(request)
        if request.path != "/v1/web-visits":
            return response
        body = json.loads(response.body or b"")  # type: ignore[arg-type]
        starts = {row["attributes"]["started_at"][:10] for row in body["data"]}
        if job is not None and str(server.days[1]) in starts and request.query["page[size]"] != "1":
            job.cancel()
            await asyncio.sleep(30)
        if starts & {str(day) for day in server.days[:1]}:
            body["data"][0]["attributes"] = "none"
        return web.json_response(body)

    async with handler_server(respond) as url, client_of(url) as lf:
        job = asyncio.create_task(sync_account(lf, path))
        with pytest.raises(asyncio.CancelledError):
            await job
        job = None
        with pytest.raises(IncompleteListError, match=r"^3 rows or days .* Row 0 of a page cannot be decoded"):
            await sync_account(lf, path)
        job = asyncio.create_task(sync_account(lf, path.with_name("b.duckdb")))
        with pytest.raises(asyncio.CancelledError):
            await job
        job, account = None, lf.account_id
        server.days = ()
        with pytest.raises(IncompleteListError, match=rf"^3 rows or days .* Account {account}: Row 0 of a page"):
            await sync_account(lf, path.with_name("b.duckdb"), account_id="2")
        await sync_account(lf, path.with_name("b.duckdb"), account_id="2")


async def test_later_error_includes_earlier_problems(sandbox: Sandbox, path: Path) -> None:
    """An error that ends the run includes rows that could not be read before, because later runs do not know them."""
    sandbox.world.update_visit(sandbox.world.visit_ids()[3], page_depth="many")
    sandbox.fail_next(503, operation="retrieve_tags", times=5)
    async with client_for(sandbox, retries=0) as lf:
        with pytest.raises(ServerError, match="Additionally, 1 row or day could not be read completely"):
            await sync_account(lf, path)


async def test_out_of_range_value_becomes_null(path: Path) -> None:
    """A value that does not fit its column becomes null, and other values are kept. The last row of a key wins."""
    rows: list[Row] = [
        {"account_id": "1", "id": str(number % 3), "page_depth": depth, "started_at": "never" if number else None}
        for number, depth in enumerate((1, 2**40, None, 4))
    ]
    assert await upsert(path, ("visits", rows)) == {"visits": SyncChanges(new=3)}
    assert query(path, "SELECT page_depth FROM visits ORDER BY id") == [(4,), (None,), (None,)]


async def test_failed_transaction_is_rolled_back(path: Path) -> None:
    """Either all rows of a transaction are kept, or none."""

    def add(name: str, transaction: Transaction) -> None:
        transaction.upsert("tags", [{"account_id": "1", "id": name, "name": name, "color": 1}])
        if name == "B":
            raise ZeroDivisionError

    with SyncDatabase(path, wait=0) as database:
        await database.transact(partial(add, "A"))
        with pytest.raises(ZeroDivisionError):
            await database.transact(partial(add, "B"))
    assert query(path, "SELECT name FROM tags") == [("A",)]


async def test_transaction_does_not_block_the_loop(path: Path) -> None:
    """While a transaction waits for the disk, the event loop runs."""
    written = threading.Event()
    with SyncDatabase(path, wait=0) as database:
        transaction = asyncio.create_task(database.transact(lambda _: written.wait(5)))
        await asyncio.sleep(0)
        assert not transaction.done()
        written.set()
        assert await transaction is True


async def test_canceled_sync_is_consistent(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A canceled sync keeps the rows that it read, and the same call continues it."""
    job = asyncio.create_task(
        sync_account(lf, path, on_progress=lambda progress: progress.done >= 200 and job.cancel())
    )
    with pytest.raises(asyncio.CancelledError):
        await job
    assert names_in(path.parent) == [f"{path.name}.checkpoint", f"{path.name}.part"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("leadfeeder-sync")]
    await sync_account(lf, path)
    assert read_contents(path) == expected_contents(sandbox)


async def refusal(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, problem: str) -> DatabaseError:
    """Return the error of a sync that is refused before any request."""
    before = len(sandbox.ledger.requests)
    with pytest.raises(DatabaseError, match=problem) as caught:
        await sync_account(lf, path, wait=0)
    assert len(sandbox.ledger.requests) == before
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return caught.value


async def test_other_files_are_refused(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, tmp_path: Path) -> None:
    """A file that is not a database, a folder and an impossible path are refused and not changed."""
    path.write_text("precious", encoding="utf-8")
    await refusal(lf, sandbox, path, "is not a valid DuckDB database")
    await refusal(lf, sandbox, tmp_path, "is not a valid DuckDB database")
    await refusal(lf, sandbox, path / "below.duckdb", r"below\.duckdb cannot be (used|written): ")
    assert (path.read_text(encoding="utf-8"), names_in(tmp_path)) == ("precious", [path.name])


@pytest.mark.parametrize("name", ["visits.csv", "visits.JSON", "visits.parquet"])
async def test_suffix_of_a_data_file_is_refused(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, name: str
) -> None:
    """DuckDB would open such a file as data and lose the changes, so it is refused before any request."""
    with pytest.raises(ConfigurationError, match="the suffix of a data file"):
        await sync_account(lf, tmp_path / name)
    assert (sandbox.ledger.requests, names_in(tmp_path)) == ([], [])


@pytest.mark.parametrize("account_id", [None, "1"])
async def test_rejected_first_run_leaves_no_file(sandbox: Sandbox, path: Path, account_id: str | None) -> None:
    """An invalid key leaves no empty database. A database that existed before is kept."""
    async with AsyncLeadfeeder("wrong", base_url=sandbox.url, account_id=account_id) as lf:
        with pytest.raises(AuthenticationError):
            await sync_account(lf, path)
        assert names_in(path.parent) == []
        duckdb.connect(str(path)).close()
        with pytest.raises(AuthenticationError):
            await sync_account(lf, path)
    assert path.exists()


async def test_rejected_run_keeps_rows_of_another(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """If two syncs start with the same new file and one fails, the file is kept for the other."""
    async with AsyncLeadfeeder("wrong", base_url=sandbox.url) as wrong:
        results = await asyncio.gather(sync_account(wrong, path), sync_account(lf, path), return_exceptions=True)
    assert [type(result) for result in results] == [AuthenticationError, SyncResult]
    assert read_contents(path) == expected_contents(sandbox)


async def test_newer_version_is_refused(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """Tables of a newer version of the package are not changed."""
    await sync_account(lf, path)
    with duckdb.connect(str(path)) as database:
        database.execute("UPDATE sync_state SET version = ?", [VERSION + 1])
    error = await refusal(lf, sandbox, path, "newer version of this package")
    assert (error.reason, "Upgrade" in error.hint) == ("newer_version", True)


@pytest.mark.parametrize("counts", ["nonsense", "[1]", '{"2026-01-01": "x"}'])
async def test_damaged_counts_are_forgotten(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, counts: str) -> None:
    """If another program damaged the counts of the days, the next run reads the recent days again."""
    await sync_account(lf, path)
    with duckdb.connect(str(path)) as database:
        database.execute("UPDATE sync_state SET visit_counts = ?", [counts])
    await sync_account(lf, path)
    assert read_contents(path) == expected_contents(sandbox)


@pytest.mark.parametrize("started_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
async def test_visit_of_an_unnamed_company_at_an_impossible_time(
    lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, started_at: str
) -> None:
    """A visit whose time in UTC has no date in Python does not stop the search for companies without a name."""
    await sync_account(lf, path)
    with duckdb.connect(str(path)) as database:
        database.execute("UPDATE companies SET name = NULL, first_seen_at = now() + INTERVAL 1 DAY")
        database.execute("UPDATE visits SET started_at = ?::TIMESTAMPTZ AT TIME ZONE 'UTC'", [started_at])
    await sync_account(lf, path)
    assert query(path, "SELECT count(*) FROM sync_state WHERE finished_at IS NOT NULL") == [(1,)]


async def test_other_tables_are_kept(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A database with a different table of the same name is refused. One with other tables is used."""
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE visits (id VARCHAR)")
    assert (await refusal(lf, sandbox, path, "a different table 'visits'")).reason == "not_synced"
    assert query(path, "SELECT count(*) FROM duckdb_tables()") == [(1,)]
    with duckdb.connect(str(path)) as database:
        database.execute("ALTER TABLE visits RENAME TO mine")
    await sync_account(lf, path)
    assert read_contents(path) == expected_contents(sandbox)


async def test_locked_database_is_refused(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A database that another process has open is refused before any request."""
    await sync_account(lf, path)
    with opened_elsewhere(path):
        assert isinstance(await refusal(lf, sandbox, path, "is open in another process"), DatabaseLockedError)


async def test_database_is_not_created_on_a_full_disk(path: Path) -> None:
    """A database that cannot be created leaves no file."""
    with small_disk(20_000), SyncDatabase(path, wait=0) as database:
        with pytest.raises(DatabaseError, match="cannot grow"):
            await database.transact(lambda _: None)
    assert names_in(path.parent) == []


async def test_full_disk(path: Path) -> None:
    """If the file cannot grow, committed rows are kept, and a later run continues.

    A limit on the size of files simulates a full disk. The test starts a process, so it takes real time.
    """
    pytest.importorskip("resource", reason="needs limits of file sizes")
    async with Sandbox(companies=300, visits=6_000, rate_limit=False) as sandbox:
        arguments = (sandbox.url, sandbox.api_key, sandbox.account_id, str(sandbox.start_date))
        for limit in range(1_500_000, 4_500_000, 500_000):  # the size of the file depends on the version of DuckDB
            path = path.with_name(f"{limit}.duckdb")
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.support.sync_process", *arguments, str(path), "--file-limit", str(limit),
                stderr=subprocess.PIPE,
            )  # fmt: skip
            _, stderr = await child.communicate()
            assert (child.returncode, "Traceback" in stderr.decode()) == (1, False), stderr.decode()
            assert "cannot grow" in stderr.decode()
            if len(read_contents(path)) > 2_000:
                break
        saved, expected = read_contents(path), expected_contents(sandbox)
        assert 0 < len(saved) < 6_000
        assert all(expected[visit] == steps for visit, steps in saved.items())
        async with client_for(sandbox) as lf:
            rest = await sync_account(lf, path)
        assert read_contents(path) == expected
        assert rest.requests < 6_000 // 100


@pytest.mark.parametrize("is_synced", [False, True])
@pytest.mark.parametrize("suffix", [".wal", ".wal.checkpoint", ".part", ".checkpoint", ".lock"])
@pytest.mark.parametrize("kind", FOREIGN_FILES)
async def test_working_files_of_others_are_kept(
    lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, kind: str, suffix: str, is_synced: bool
) -> None:
    """A file that a sync did not create is an error before any request, and stays as it is."""
    if is_synced:
        await sync_account(lf, path, since=sandbox.end_date)
    other = path.with_name(path.name + suffix)
    make_foreign_file(other, kind, path.with_name("target"))
    before, names, requests = other.lstat(), names_in(path.parent), len(sandbox.ledger.requests)
    with pytest.raises(DatabaseError, match=re.escape(other.name)) as caught:
        await sync_account(lf, path)
    assert "Move it" in str(caught.value.hint)
    assert (names_in(path.parent), len(sandbox.ledger.requests)) == (names, requests)
    assert (os.path.samestat(other.lstat(), before), other.lstat().st_size) == (True, before.st_size)


async def test_unfinished_job_of_another_kind_is_kept(lf: AsyncLeadfeeder, path: Path) -> None:
    """A sync does not start over in place of an unfinished export."""
    saved = Checkpoint(kind="export", fingerprint="f", description="d", rows=1, size=3, state=SpoolState())
    checkpoint, part = path.with_name(f"{path.name}.checkpoint"), path.with_name(f"{path.name}.part")
    write_checkpoint(checkpoint, saved, checkpoint)
    part.write_text("{}\n", encoding="utf-8")
    with pytest.raises(DatabaseError, match="another kind of job"):
        await sync_account(lf, path)
    assert (
        part.read_text(encoding="utf-8"),
        msgspec.json.decode(checkpoint.read_bytes(), type=Checkpoint[SpoolState]),
    ) == (
        "{}\n",
        saved,
    )


async def test_invalid_configuration(lf: AsyncLeadfeeder, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A negative lookback is refused. If DuckDB is not installed, the error names the extra."""
    with pytest.raises(ConfigurationError, match="lookback_days=-1"):
        await sync_account(lf, path, lookback_days=-1)
    monkeypatch.setattr(duckdb_file, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="pip install duckdb, or install the extra duckdb"):
        await sync_account(lf, path)
