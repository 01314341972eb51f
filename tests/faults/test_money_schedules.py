"""Random schedules of faults, forks, data losses and kills, in which the charges never exceed the limit."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

import pytest
from aiohttp import web

from leadfeeder_async import BudgetExceededError, LeadfeederError, RateLimiterUnavailableError
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.integrations import redis_credits
from leadfeeder_async.integrations._redis_script import key_of
from leadfeeder_async.integrations.redis_credits import RedisCredits
from leadfeeder_async.jobs.enrich.lookup import CompanyLookup
from tests.support.clients import client_of
from tests.support.redis import RedisServer
from tests.support.servers import handler_server
from tests.support.shared_credits import abandon, adopt, report

SOAK = bool(os.environ.get("SOAK"))
CREDIT_SCHEDULES = 10_000 if SOAK else 25
ENRICHMENT_SCHEDULES = 2_000 if SOAK else 8
LIMIT = 12
KEY = "canary-key-1234567890"


PARENT = os.getpid()
PID = ContextVar("PID", default=PARENT)
"""The process id that the running code sees."""

STEPS = ["reserve"] * 8 + ["settle"] * 5 + ["start", "fork", "fork", "close"] + ["kill", "lose", "roll_back"] * 2


class Process:
    """One process of a schedule: its shared credits and its calls in flight, as ``(reserved, charged)``."""

    def __init__(self, shared: RedisCredits, pid: int) -> None:
        self.credits, self.pid = shared, pid
        self.in_flight = list[tuple[int, int]]()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run code with the process id of this process."""
        token = PID.set(self.pid)
        try:
            yield
        finally:
            PID.reset(token)

    async def heartbeat(self) -> None:
        """Report as the heartbeat of the process does."""
        with self.running():
            await report(self.credits)

    def fork(self, server: RedisServer, name: str, pid: int) -> Process:
        """Return a child whose object has the state of this one, as after a fork."""
        child = RedisCredits(server.url, name, LIMIT, KEY, timeout=5.0)
        adopt(child, self.credits)
        return Process(child, pid)


class CreditSchedule:
    """Processes that share credits, and the ledger of the server that charges them.

    A loss of data follows a heartbeat of all running processes. Totals of the last second would be lost if their process
    was killed in it. At least one process that has read the totals is running. The server cannot notice a deleted field
    or an older copy of the key, so a heartbeat of one running process follows before others reserve.
    """

    def __init__(self, server: RedisServer, seed: int, counts: Counter[str]) -> None:
        self._server, self._random, self._counts = server, random.Random(seed), counts
        self._name = f"schedule-{seed}"
        self._key = key_of(KEY, f"credits:{self._name}")
        self._processes = list[Process]()
        self._pid = 1_000_000
        self._snapshot = dict[str, str]()
        self.ledger = 0

    async def run(self) -> None:
        for _ in range(2):
            await self._start()
        try:
            for _ in range(self._random.randint(5, 40)):
                step = self._random.choice(STEPS)
                self._counts[step] += 1
                await getattr(self, f"_{step}")()
                assert self.ledger <= LIMIT, self.ledger
        finally:
            for process in self._processes:
                with process.running():
                    await process.credits.aclose()

    async def _reserve(self) -> None:
        process, most = self._random.choice(self._processes), self._random.randint(1, 4)
        with process.running():
            try:
                await process.credits.reserve(most, ErrorContext())
            except (BudgetExceededError, RateLimiterUnavailableError) as error:
                self._counts[type(error).__name__] += 1
                return
        if self._random.random() < 0.3:
            self._snapshot = self._stored()
        charged = self._random.randint(0, most)
        self.ledger += charged
        process.in_flight.append((most, charged))

    async def _settle(self) -> None:
        process = self._random.choice(self._processes)
        if process.in_flight:
            reserved, charged = process.in_flight.pop()
            is_lost = self._random.random() < 0.2  # a lost response keeps its reservation
            with process.running():
                process.credits.settle(reserved, reserved if is_lost else charged)
                await asyncio.sleep(0)

    async def _fork(self) -> None:
        self._pid += 1
        self._processes.append(self._random.choice(self._processes).fork(self._server, self._name, self._pid))

    async def _close(self) -> None:
        process = self._random.choice(self._processes)
        with process.running():
            await process.credits.aclose()
        await self._remove(process)

    async def _kill(self) -> None:
        await self._remove(self._random.choice(self._processes))

    async def _lose(self) -> None:
        """Lose the data, or restart with an older snapshot of it."""
        running = await self._report_all()
        if not running:
            return
        if self._snapshot and self._random.random() < 0.4:
            self._replace({**self._snapshot, "#server": "before the restart"})
        else:
            self._server.execute("DEL", self._key)
        for process in running:
            if self._random.random() < 0.4:  # the others restore their copies with their next command
                await process.heartbeat()
        restoring = self._random.choice(running).heartbeat()
        if self._random.random() < 0.5:
            await asyncio.gather(
                self._reserve(), self._reserve(), restoring
            )  # others reserve before the copies are back
        else:
            await restoring

    async def _roll_back(self) -> None:
        """Delete a field, or replace the key with an older snapshot of it, while the server runs."""
        running = await self._report_all()
        if not running:
            return
        if self._snapshot and self._random.random() < 0.6:
            self._replace(self._snapshot)
        elif stored := self._stored():
            self._server.execute("HDEL", self._key, self._random.choice(list(stored)))
        await self._random.choice(running).heartbeat()
        await asyncio.gather(self._reserve(), self._reserve())

    async def _report_all(self) -> list[Process]:
        """Let all running processes read the totals, and return these processes."""
        running = [
            process for process in self._processes if process.credits._sequence and process.credits._pid == process.pid
        ]
        for process in running:
            await process.heartbeat()
        return running

    def _replace(self, stored: dict[str, str]) -> None:
        self._server.execute("DEL", self._key)
        self._server.execute("HSET", self._key, *(part for field in stored.items() for part in field))

    def _stored(self) -> dict[str, str]:
        fields = self._server.execute("HGETALL", self._key)
        return {str(field): str(value) for field, value in fields.items()} if isinstance(fields, dict) else {}

    async def _start(self) -> None:
        self._add(RedisCredits(self._server.url, self._name, LIMIT, KEY, timeout=5.0))

    def _add(self, shared: RedisCredits) -> None:
        self._pid += 1
        shared._pid = self._pid
        self._processes.append(Process(shared, self._pid))

    async def _remove(self, process: Process) -> None:
        """End a process like a kill. Its calls in flight may be charged, and it reports nothing."""
        await abandon(process.credits)
        self._processes.remove(process)
        if not self._processes:
            await self._start()


class EnrichmentSchedule:
    """Runs of one enrichment on a failing server. The runs are killed and have different limits."""

    def __init__(self, seed: int, folder: Path, counts: Counter[str]) -> None:
        self._random, self._folder, self._counts = random.Random(seed), folder, counts
        self._rows = [f"a{self._random.randint(0, 60)}.test" for _ in range(self._random.randint(5, 60))]
        self._charged = set[str]()
        self._highest = 0
        """The most credits that the ledger may have."""
        self._requests_until_kill = 0
        self._killed = asyncio.Event()
        self._out = folder
        self.errors = list[str]()

    async def run(self) -> None:
        async with handler_server(self._respond) as url:
            for number in range(self._random.randint(1, 5)):
                is_finished = await self._run_once(url, number)
                if is_finished:
                    return

    async def _run_once(self, url: str, number: int) -> bool:
        """Run the job until it ends or is killed. Return True if it has finished."""
        limit = self._random.choice([None, *range(0, 60, 5)])
        self._highest = 10**6 if limit is None else max(limit, len(self._charged))
        self._requests_until_kill = self._random.randint(1, 12)
        self._killed = asyncio.Event()
        out = self._folder / str(number) / "out.ndjson"
        out.parent.mkdir(exist_ok=True)
        self._out = out
        async with client_of(url, retries=0) as lf:
            job = lf.enrich.companies(self._rows, by="domain", max_credits=limit)
            task = asyncio.create_task(job.to_file(out, resume=True))
            killed = asyncio.create_task(self._killed.wait())
            await asyncio.wait([task, killed], return_when=asyncio.FIRST_COMPLETED)
            is_killed = self._killed.is_set()
            task.cancel()
            killed.cancel()
            with suppress(asyncio.CancelledError, LeadfeederError):
                await task
        self._counts["killed" if is_killed else "ended"] += 1
        if not is_killed:
            self._copy(out.parent, number + 1)
        return out.exists()

    def _copy(self, folder: Path, number: int) -> None:
        target = self._folder / str(number)
        target.mkdir(exist_ok=True)
        for path in folder.glob("out.ndjson.*"):
            shutil.copy(path, target)

    async def _respond(self, request: web.Request) -> web.Response:
        if self._killed.is_set():
            await asyncio.sleep(60)
        if request.path.endswith("/match"):
            names = [company["url"] for company in (await request.json())["companies"]]
            matches = [[{"id": name[1:].split(".")[0], "type": "company_match", "attributes": {}}] for name in names]
            return web.json_response({"data": matches})
        return await self._fetch(request.query["ids"].split(","))

    async def _fetch(self, ids: list[str]) -> web.Response:
        fault = self._random.choice(["none"] * 6 + ["reject", "limit", "lose", "error"])
        self._counts[fault] += 1
        if fault == "reject":
            return web.json_response({"errors": [{"title": "bad"}]}, status=422)
        if fault == "limit":
            return web.json_response({"errors": [{"title": "slow"}]}, status=429, headers={"Retry-After": "0.01"})
        current = list(dict.fromkeys(str(int(key) // 2 * 2) if int(key) % 7 == 0 else key for key in ids))
        new = set(current) - self._charged
        self._charged |= new
        if len(self._charged) > self._highest:
            self.errors.append(f"{len(self._charged)} credits of {self._highest}")
        self._requests_until_kill -= 1
        if self._requests_until_kill == 0:
            self._copy(self._out.parent, int(self._out.parent.name) + 1)
            self._killed.set()
            await asyncio.sleep(60)
        await asyncio.sleep(0)
        if fault in {"lose", "error"}:
            return web.json_response({"errors": []}, status=502) if fault == "error" else web.Response(body=b"{")
        data = [{"id": company_id, "type": "company", "attributes": {}} for company_id in current]
        return web.json_response({"data": data, "meta": {"credits": {"charged": len(new)}}})


@pytest.mark.timeout(14_400 if SOAK else 60)
async def test_shared_credits_in_random_schedules(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forks, kills, closed objects, lost data and rollbacks never let the processes exceed the limit."""
    monkeypatch.setattr(os, "getpid", PID.get)
    monkeypatch.setattr(redis_credits, "RECOVERY_TIME", 0.01)
    monkeypatch.setattr(redis_credits, "RETRY_INTERVAL", 0.004)
    monkeypatch.setattr(redis_credits, "HEARTBEAT_INTERVAL", 600)
    counts, highest = Counter[str](), 0
    for seed in range(CREDIT_SCHEDULES):
        schedule = CreditSchedule(redis_server, seed, counts)
        await schedule.run()
        highest = max(highest, schedule.ledger)
    print(CREDIT_SCHEDULES, "schedules, highest ledger", highest, "of", LIMIT, dict(counts))  # noqa: T201
    assert highest > LIMIT // 2


@pytest.mark.timeout(14_400 if SOAK else 60)
async def test_enrichment_in_random_schedules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults and kills never let a job exceed the limit of its run."""
    monkeypatch.setattr(CompanyLookup, "ids_per_fetch", 5)
    counts = Counter[str]()
    for seed in range(ENRICHMENT_SCHEDULES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        schedule = EnrichmentSchedule(seed, folder, counts)
        await schedule.run()
        assert not schedule.errors, schedule.errors
        shutil.rmtree(folder)
    print(ENRICHMENT_SCHEDULES, "schedules", dict(counts))  # noqa: T201
    assert counts["killed"]
