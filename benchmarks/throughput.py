"""CPU benchmarks in one process: lists, exports, small calls, compressed pages and blocking of the event loop."""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
import zlib
from collections.abc import Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import aiohttp
import httpx
import msgspec
from isal import isal_zlib

from benchmarks import contenders, generated
from benchmarks.contenders import BARE, BODY, DAY, KEY, OURS, client_of, ours
from benchmarks.data import FIRST_COMPANY, PAGE, PAGES_A_DAY
from benchmarks.floor import RawConnection
from benchmarks.measure import Result, Turn, cpu, rotated
from leadfeeder_async.models import Company
from leadfeeder_async.models.envelope import Response

Table = dict[str, Result]

CALLS = 50
GET, ME, HTTPX_GET = "aiohttp, session.get", "leadfeeder_async, users.me", "httpx, client.get"
EXPORTED_UNTIL = "2026-11-06"
TASKS = (1, 16, 1_000, 10_000)
EXPORT = "leadfeeder_async, to_file as JSON lines"
BARE_EXPORT = "aiohttp + msgspec, rows as received, by hand"
BARE_COMPANIES, OURS_COMPANIES = "aiohttp + msgspec Structs, companies by ID", "leadfeeder_async, companies.get_many"
IDENTITY, GZIP, GZIP_ISAL = (
    "leadfeeder_async, not compressed",
    "leadfeeder_async, gzip with zlib",
    "leadfeeder_async, gzip with isal",
)


async def server_rate(url: str) -> float:
    """Return the number of pages per second that the server sends to eight connections that only read."""
    connections = [await RawConnection.connect(url) for _ in range(8)]

    async def read(connection: RawConnection) -> None:
        for _ in range(200):
            await connection.post("/v1/web-visits?page%5Bnum%5D=1", BODY)

    started = time.perf_counter()
    await asyncio.gather(*(read(connection) for connection in connections))
    for connection in connections:
        connection.close()
    return 1_600 / (time.perf_counter() - started)


async def visits(url: str, turns: int) -> tuple[Table, dict[str, str]]:
    """Compare all ways to read visits. Also return the contenders that could not be measured, with the reason."""
    missing = generated.generate()
    async with AsyncExitStack() as stack:
        readers = await contenders.readers(stack, url)
        readers[contenders.OPC] = await generated.openapi_python_client(stack, url, DAY, PAGES_A_DAY)
        if contenders.OAG not in missing:
            readers[contenders.OAG] = generated.openapi_generator(stack, url, DAY, PAGES_A_DAY)
        return await rotated(readers, BARE, turns), missing


async def cursors(url: str, turns: int) -> Table:
    """Compare ways to read a list by cursor."""
    async with AsyncExitStack() as stack:
        return await rotated(await contenders.cursors(stack, url), contenders.BARE_CURSOR, turns)


async def companies(url: str, turns: int) -> Table:
    """Compare ways to read 20 pages of companies by ID, with 3 KB per company."""
    decoder = msgspec.json.Decoder(Response[tuple[Company, ...]])
    ids = [str(FIRST_COMPANY + number) for number in range(PAGES_A_DAY * PAGE)]
    batches = [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]
    async with aiohttp.ClientSession(headers=KEY) as session, client_of(url) as lf:

        async def by_hand() -> int:
            rows = 0
            for batch in batches:
                async with session.get(f"{url}/v1/companies?account_id=1&ids={','.join(batch)}") as response:
                    for _ in decoder.decode(await response.read()).data:
                        rows += 1
            return rows

        async def by_us() -> int:
            rows = 0
            async for _ in lf.companies.get_many(ids):
                rows += 1
            return rows

        return await rotated({BARE_COMPANIES: by_hand, OURS_COMPANIES: by_us}, BARE_COMPANIES, turns)


async def exports(url: str, turns: int) -> Table:
    """Compare an export of 100 pages to a file, with fsync, with reading typed visits by hand."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            bare = (await contenders.readers(stack, url))[BARE]
            lf = await stack.enter_async_context(client_of(url))
            path = Path(folder) / "visits.ndjson"

            async def export() -> int:
                pager = lf.web_visits.search(start_date=DAY, end_date=EXPORTED_UNTIL)
                return (await pager.to_file(path, overwrite=True)).done

            by_hand = await contenders.export(stack, url, Path(folder) / "by_hand.ndjson")
            return await rotated({BARE: bare, BARE_EXPORT: by_hand, EXPORT: export}, BARE, turns)


async def small_calls(url: str, turns: int) -> Table:
    """Compare sequential calls with a small response."""
    target = f"{url}/v1/users/me"
    async with (
        aiohttp.ClientSession(headers=KEY) as session,
        httpx.AsyncClient(headers=KEY) as client,
        client_of(url) as lf,
    ):

        async def by_aiohttp() -> object:
            async with session.get(target) as response:
                return await response.read()

        def repeated(call: object) -> Turn:
            async def turn() -> int:
                for _ in range(CALLS):
                    await call()  # type: ignore[operator]
                return CALLS

            return turn

        calls = {GET: by_aiohttp, ME: lf.users.me, HTTPX_GET: lambda: client.get(target)}
        return await rotated({name: repeated(call) for name, call in calls.items()}, GET, turns)


async def many_tasks(url: str, calls: int, rounds: int) -> dict[str, dict[int, float]]:
    """Return the median microseconds of CPU per call, by contender and by number of tasks."""
    times = {(name, tasks): list[float]() for tasks in TASKS for name in (GET, ME)}
    async with aiohttp.ClientSession(headers=KEY) as session, client_of(url) as lf:

        async def by_aiohttp(number: int) -> None:
            for _ in range(number):
                async with session.get(f"{url}/v1/users/me") as response:
                    await response.read()

        async def by_us(number: int) -> None:
            for _ in range(number):
                await lf.users.me()

        contenders_by_name = {GET: by_aiohttp, ME: by_us}
        await asyncio.gather(*(run(200) for run in contenders_by_name.values()))
        for name, tasks in rounds * list(times):
            before = cpu()
            await asyncio.gather(*(contenders_by_name[name](calls // tasks) for _ in range(tasks)))
            times[name, tasks].append(1e6 * (cpu() - before) / calls)
    return {name: {tasks: statistics.median(times[name, tasks]) for tasks in TASKS} for name in contenders_by_name}


async def compressed(url: str, turns: int) -> Table:
    """Compare compressed pages with uncompressed ones, for both zlib backends of aiohttp."""
    async with client_of(url) as plain, client_of(f"{url}/gzip") as compressing:

        def using(backend: object, turn: Turn) -> Turn:
            async def turn_with_backend() -> int:
                aiohttp.set_zlib_backend(backend)  # type: ignore[arg-type]
                try:
                    return await turn()
                finally:
                    aiohttp.set_zlib_backend(zlib)  # type: ignore[arg-type]

            return turn_with_backend

        contenders_by_name = {
            IDENTITY: ours(plain),
            GZIP: using(zlib, ours(compressing)),
            GZIP_ISAL: using(isal_zlib, ours(compressing)),
        }
        return await rotated(contenders_by_name, IDENTITY, turns)


async def loop_held(url: str, turns: int) -> dict[str, float]:
    """Return the CPU milliseconds of the longest event loop callback while visits are read. No GC runs."""
    async with AsyncExitStack() as stack:
        readers = await contenders.readers(stack, url)
        names = (BARE, OURS, contenders.HTTPX_PYDANTIC)
        return {name: await _longest_callback(readers, name, turns) for name in names}


async def _longest_callback(readers: Mapping[str, Turn], name: str, turns: int) -> float:
    longest = list[float]()
    for _ in range(turns):
        gc.collect()
        gc.disable()
        with _timed_callbacks() as seconds:
            await readers[name]()
        gc.enable()
        longest.append(max(seconds))
    return 1e3 * statistics.median(longest)


@contextmanager
def _timed_callbacks() -> Generator[list[float]]:
    seconds, run = list[float](), asyncio.Handle._run  # noqa: SLF001 - there is no public hook

    def timed(handle: asyncio.Handle) -> None:
        started = time.thread_time()
        run(handle)
        seconds.append(time.thread_time() - started)

    asyncio.Handle._run = timed  # type: ignore[method-assign]  # noqa: SLF001
    try:
        yield seconds
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]  # noqa: SLF001
