"""Watches of several accounts: delivery, errors of one account, states and cost. On a virtual clock."""

from __future__ import annotations

import asyncio
import logging
import random
import stat
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leadfeeder_async import (
    AuthenticationError,
    BudgetExceededError,
    CheckpointError,
    ConfigurationError,
    ErrorContext,
    LeadfeederError,
    PermissionDeniedError,
    ServerError,
    WatchReading,
    WatchStatus,
)
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for
from tests.support.clock import VirtualLoop
from tests.support.requirements import is_windows
from tests.support.tasks import client_tasks, client_tasks_after_cancellation
from tests.support.visit_server import EPOCH, MemoryStore, VisitServer, watch_servers

Delivered = list[tuple[str, str]]

DENIED = PermissionDeniedError("403: no", ErrorContext(status=403))


@pytest.fixture
def servers(virtual: VirtualLoop) -> list[VisitServer]:
    return [VisitServer(virtual, account_id) for account_id in ("1", "2", "3")]


@pytest.fixture
def run(virtual: VirtualLoop) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return virtual.run_until_complete


async def watch_for(visits: Any, seconds: float, delivered: Delivered | None = None) -> Delivered:
    """Consume a watch for some seconds, stop it, and return the accounts and ids."""
    delivered = [] if delivered is None else delivered

    async def consume() -> None:
        async with aclosing(visits):
            async for account_id, visit in visits:
                delivered.append((account_id, visit.id))

    task = asyncio.ensure_future(consume())
    await asyncio.wait([task], timeout=seconds)
    if task.done():
        task.result()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return delivered


def plan(servers: list[VisitServer], minutes: range) -> set[tuple[str, str]]:
    """Add a visit to each account at each of the minutes, and return all of them."""
    expected = set[tuple[str, str]]()
    for number, server in enumerate(servers, 1):
        for minute in minutes:
            expected.add((str(number), f"a{number}-{minute}"))
            when = EPOCH + timedelta(minutes=minute, seconds=number)
            server.at(when, lambda server=server, name=f"a{number}-{minute}": server.add(name))
    return expected


def test_visits_of_all_accounts(servers: list[VisitServer], run: Any) -> None:
    """Each visit is delivered once with the id of its account, in order for each account."""
    expected = plan(servers, range(1, 60, 3))
    delivered = run(watch_for(watch_servers(servers), 3_900))
    assert len(delivered) == len(expected)
    assert set(delivered) == expected
    for number in (1, 2, 3):
        own = [name for account_id, name in delivered if account_id == str(number)]
        assert own == [f"a{number}-{minute}" for minute in range(1, 60, 3)]


def test_busy_account_does_not_delay_others(servers: list[VisitServer], run: Any) -> None:
    """The accounts take turns, so an account with many new visits does not delay one with few."""
    for number in range(250):
        servers[0].add(f"busy{number}", EPOCH - timedelta(minutes=number))
    servers[2].add("quiet", EPOCH - timedelta(minutes=1))
    delivered = run(watch_for(watch_servers(servers, since=EPOCH - timedelta(days=1)), 10))
    assert len(delivered) == 251
    assert delivered.index(("3", "quiet")) < 10


def test_denied_account_does_not_end_the_others(
    servers: list[VisitServer], run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The watch of a denied account ends with a status and a message. The others continue."""
    statuses = list[WatchStatus]()
    expected = plan(servers, range(1, 60, 5))
    servers[1].at(EPOCH + timedelta(minutes=21), lambda: setattr(servers[1], "error", DENIED))
    delivered = run(watch_for(watch_servers(servers, on_status=statuses.append), 3_900))
    assert {row for row in expected if row[0] != "2"} <= set(delivered)
    assert 0 < len([row for row in delivered if row[0] == "2"]) < 12
    ended = [status for status in statuses if status.next_poll_in is None]
    assert [(status.account_id, status.error) for status in ended] == [("2", DENIED)]
    assert "The watch of account 2 ended. The other accounts continue. 403: no" in caplog.text
    assert {status.account_id for status in statuses} == {"1", "2", "3"}


def test_error_if_all_accounts_have_ended(servers: list[VisitServer], run: Any) -> None:
    """If the watches of all accounts have ended, the first error is raised, and its notes are the others."""
    for server in servers:
        server.at(EPOCH + timedelta(minutes=1), lambda server=server: setattr(server, "error", DENIED))
    with pytest.raises(PermissionDeniedError, match="Account 1: 403: no") as caught:
        run(watch_for(watch_servers(servers), 3_600))
    assert len(caught.value.__notes__) == 2
    assert "Account 3: 403" in caught.value.__notes__[1]


@pytest.mark.parametrize("error", [AuthenticationError("no", ErrorContext(status=401)), BudgetExceededError("no")])
def test_errors_of_the_key_end_all_accounts(
    servers: list[VisitServer], run: Any, error: LeadfeederError, tmp_path: Path
) -> None:
    """An error that affects every account is raised, after the visit in progress was recorded."""
    servers[0].add("first", EPOCH - timedelta(minutes=1))
    servers[1].at(EPOCH + timedelta(minutes=1), lambda: setattr(servers[1], "error", error))

    async def process_slowly() -> None:
        async with aclosing(watch_servers(servers, tmp_path / "states", since=EPOCH - timedelta(days=1))) as visits:
            async for _ in visits:
                await asyncio.sleep(1_000)

    with pytest.raises(type(error)):
        run(process_slowly())
    assert '"first"' in (tmp_path / "states" / "1.state").read_text(encoding="utf-8")


def test_outage_of_one_account(servers: list[VisitServer], run: Any) -> None:
    """Failed polls of one account are repeated, and delay no other account."""
    expected = plan(servers, range(1, 100, 10))
    down = ServerError("down", ErrorContext(status=503))
    servers[1].at(EPOCH + timedelta(minutes=1), lambda: setattr(servers[1], "error", down))
    servers[1].at(EPOCH + timedelta(minutes=50), lambda: setattr(servers[1], "error", None))
    delivered = Delivered()
    run(watch_for(watch_servers(servers), 2_400, delivered))
    assert Counter(account_id for account_id, _ in delivered) == {"1": 4, "3": 4}
    assert set(run(watch_for(watch_servers(servers, since=EPOCH), 12_000))) == expected


def test_restarts_and_crashes(servers: list[VisitServer], run: Any, tmp_path: Path) -> None:
    """After a crash at any point, only the visit in progress is delivered again, whatever account it belongs to."""
    rng, delivered, crashes = random.Random(5), Counter[tuple[str, str]](), 0
    expected = plan(servers, range(1, 6_000, 7))

    async def crash_after(visits: int) -> None:
        watch = watch_servers(servers, tmp_path / "states", since=EPOCH, every=600)
        async with aclosing(watch):
            for _ in range(visits):
                account_id, visit = await anext(watch)
                delivered[account_id, visit.id] += 1

    while sum(delivered.values()) < 2_200:
        run(crash_after(rng.randrange(1, 120)))
        crashes += 1
    for row in run(watch_for(watch_servers(servers, tmp_path / "states", every=600), 500_000)):
        delivered[row] += 1
    assert set(delivered) == expected
    assert crashes > 20
    assert sum(delivered.values()) - len(delivered) == crashes


def test_one_private_state_per_account(servers: list[VisitServer], run: Any, tmp_path: Path) -> None:
    """Each account has its own file in a private directory, locked against a second watch."""
    directory = tmp_path / "states"

    async def twice() -> None:
        task = asyncio.ensure_future(anext(watch_servers(servers, directory)))
        await asyncio.sleep(1)
        try:
            with pytest.raises(CheckpointError, match=r"Another watch is using .*1\.state"):
                await anext(watch_servers(servers, directory))
            with pytest.raises(CheckpointError, match=r"Another watch is using .*2\.state"):
                await anext(servers[1].watch(state=directory / "2.state"))
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    run(twice())
    assert is_windows or stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sorted(path.name for path in directory.iterdir()) == ["1.state", "2.state", "3.state"]


def test_damaged_state_is_refused_before_any_request(servers: list[VisitServer], run: Any, tmp_path: Path) -> None:
    """A damaged state of one account is raised at once, because the user has to repair it."""
    (tmp_path / "2.state").write_text("notes\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"2\.state is damaged"):
        run(watch_for(watch_servers(servers, tmp_path), 10))
    assert sum(server.requests for server in servers) == 0


def test_slow_consumer(servers: list[VisitServer], run: Any) -> None:
    """While a visit is processed, each account polls until it has a visit to deliver, and then waits."""
    expected = plan(servers, range(1, 600, 10))

    async def consume() -> Delivered:
        delivered = Delivered()
        async with aclosing(watch_servers(servers)) as visits:
            async for account_id, visit in visits:
                delivered.append((account_id, visit.id))
                if len(delivered) == 1:
                    await asyncio.sleep(1_000)
                    before = sum(server.requests for server in servers)
                    await asyncio.sleep(3_600 * 9)
                    assert sum(server.requests for server in servers) == before
                if len(delivered) == len(expected):
                    break
        return delivered

    assert set(run(consume())) == expected


def test_cost_of_a_quiet_day(servers: list[VisitServer], run: Any) -> None:
    """Each account costs one request a poll."""
    run(watch_for(watch_servers(servers), 86_400))
    assert all(288 <= server.requests <= 291 for server in servers)


def test_accounts_share_the_rest_of_the_quota(servers: list[VisitServer], run: Any) -> None:
    """Near the end of the quota, all accounts together use at most half of the rest."""
    for server in servers:
        server.used = 99_000
    run(watch_for(watch_servers(servers, every=60), 86_400 * 10))
    assert sum(server.requests for server in servers) <= 500 * 10 / 31 + 50


async def test_watch_of_accounts_of_the_sandbox(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """With a client, visits of all accounts arrive, a denied account is logged, and no task is left."""
    async with Sandbox(accounts=2, companies=40, visits=150, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        await lf.users.me()
        before = client_tasks()
        accounts = ["999", *sandbox.account_ids]
        delivered = Delivered()
        since = sandbox.end_date - timedelta(1)
        options: dict[str, Any] = {"every": 1, "since": since, "include": ["company"]}
        with caplog.at_level(logging.WARNING):
            async with aclosing(lf.watch_accounts(accounts, state=tmp_path, **options)) as visits:
                async for account_id, visit in visits:
                    assert visit.company_name
                    delivered.append((account_id, visit.id))
                    if len(delivered) == 6:
                        break
        assert await client_tasks_after_cancellation() == before
        assert {account_id for account_id, _ in delivered} == set(sandbox.account_ids)
        assert "The watch of account 999 ended" in caplog.text
        assert "for each of 3 accounts" in caplog.text


async def test_arguments(tmp_path: Path) -> None:
    """Arguments are checked when the watch is created. A function returns the store of each account."""
    stores = {account_id: MemoryStore() for account_id in ("310042", "310043")}
    async with Sandbox(accounts=2, companies=10, visits=20, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        for wrong in ([], "310042", ["310042", 7], ["a b"]):
            with pytest.raises(ConfigurationError):
                lf.watch_accounts(wrong)  # type: ignore[arg-type]
        for options in ({"every": 0}, {"state": lambda _: object()}, {"state": 5}, {"filters": {"x": 1}}):
            with pytest.raises(ConfigurationError):
                lf.watch_accounts(["310042"], **options)  # type: ignore[arg-type]
        with pytest.raises(CheckpointError, match="cannot be written"):
            lf.watch_accounts(["310042"], state=tmp_path / "no" / "states")
        (tmp_path / "file").touch()
        with pytest.raises(CheckpointError, match="cannot be written"):
            lf.watch_accounts(["310042"], state=tmp_path / "file")
        stores = dict(zip(sandbox.account_ids, stores.values(), strict=True))
        async with aclosing(lf.watch_accounts(stores, state=stores.__getitem__, since="2026-01-01")) as visits:
            await anext(visits)
        assert all(store.saves for store in stores.values())


def test_statuses_name_their_account(servers: list[VisitServer], run: Any) -> None:
    """The status of each poll names its account, also in a watch of one account."""
    statuses = list[WatchStatus]()
    run(watch_for(watch_servers(servers, on_status=statuses.append), 10))
    assert sorted(status.account_id for status in statuses) == ["1", "2", "3"]
    assert {status.reading for status in statuses} == {WatchReading.COMPLETE}
