"""Ways to read 20 pages of 100 visits: this package, programs written by hand, and the lower bound."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import aiohttp
import httpx
import msgspec
import orjson
import pydantic

from benchmarks.data import PAGES_A_DAY
from benchmarks.floor import RawConnection
from benchmarks.measure import Turn
from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.models import CompanySummary, WebVisit
from leadfeeder_async.models.envelope import Response

DAY = "2026-11-02"
BODY = json.dumps({"start_date": DAY, "end_date": DAY}).encode()
KEY = {"X-Api-Key": "k"}

BARE = "aiohttp + msgspec Structs, by hand"
OURS_ONE = "leadfeeder_async, one page at a time"
OURS = "leadfeeder_async, 16 pages in flight"
FLOOR = "asyncio protocol + msgspec Structs (lower bound)"
ORJSON, JSON = "aiohttp + orjson, dicts", "aiohttp + json, dicts"
HTTPX_JSON, HTTPX_PYDANTIC = "httpx + json, dicts", "httpx + pydantic"
OPC, OAG = "openapi-python-client", "openapi-generator"
BARE_CURSOR, OURS_CURSOR = "aiohttp + msgspec Structs, by cursor", "leadfeeder_async, by cursor"

Get: TypeAlias = Callable[[str], Awaitable[bytes | memoryview]]

VISITS = msgspec.json.Decoder(Response[tuple[WebVisit, ...]])
ROWS = msgspec.json.Decoder(Response[tuple[msgspec.Raw, ...]])
SUMMARIES = msgspec.json.Decoder(Response[tuple[CompanySummary, ...]])


def client_of(url: str) -> AsyncLeadfeeder:
    """Return a client with all features on and with limits too high to slow it down."""
    return AsyncLeadfeeder("k", account_id="1", base_url=url, rate=1e6, burst=10**6, monthly_quota=10**12)


async def readers(stack: AsyncExitStack, url: str) -> dict[str, Turn]:
    """Open all clients and return a turn for each, by name."""
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=KEY))
    client = await stack.enter_async_context(httpx.AsyncClient(headers=KEY))
    lf = await stack.enter_async_context(client_of(url))
    raw = await RawConnection.connect(url)
    stack.callback(raw.close)

    async def by_aiohttp(target: str) -> bytes:
        async with session.post(target, data=BODY) as response:
            return await response.read()

    async def by_httpx(target: str) -> bytes:
        return (await client.post(target, content=BODY)).content

    async def by_raw_connection(target: str) -> memoryview:
        return await raw.post(target.removeprefix(url), BODY)

    return {
        BARE: _reader(url, by_aiohttp, lambda body: VISITS.decode(body).data),
        OURS_ONE: ours(lf, prefetch=0),
        OURS: ours(lf),
        FLOOR: _reader(url, by_raw_connection, lambda body: VISITS.decode(body).data),
        ORJSON: _reader(url, by_aiohttp, lambda body: orjson.loads(body)["data"]),
        JSON: _reader(url, by_aiohttp, lambda body: json.loads(bytes(body))["data"]),
        HTTPX_JSON: _reader(url, by_httpx, lambda body: json.loads(bytes(body))["data"]),
        HTTPX_PYDANTIC: _reader(url, by_httpx, lambda body: Visits.model_validate_json(bytes(body)).data),
    }


def _reader(url: str, get: Get, rows_of: Callable[[bytes | memoryview], Sequence[object]]) -> Turn:
    async def turn() -> int:
        rows = 0
        for page in range(1, PAGES_A_DAY + 1):
            target = f"{url}/v1/web-visits?account_id=1&page%5Bnum%5D={page}&page%5Bsize%5D=100"
            for _ in rows_of(await get(target)):
                rows += 1
        return rows

    return turn


def ours(lf: AsyncLeadfeeder, prefetch: int = 16) -> Turn:
    """Return a turn that reads visits as the README shows it."""

    async def turn() -> int:
        rows = 0
        async for _ in lf.web_visits.search(start_date=DAY, end_date=DAY).prefetch(prefetch):
            rows += 1
        return rows

    return turn


async def export(stack: AsyncExitStack, url: str, path: Path) -> Turn:
    """Return a turn that writes 100 pages to a file by hand: rows as received, one fsync, no other checks."""
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=KEY))

    async def turn() -> int:
        rows, partial = 0, path.with_suffix(".part")
        with partial.open("wb", buffering=0) as file:
            for day in range(5):
                body = json.dumps({"start_date": f"2026-11-0{2 + day}", "end_date": f"2026-11-0{2 + day}"}).encode()
                for page in range(1, PAGES_A_DAY + 1):
                    target = f"{url}/v1/web-visits?account_id=1&page%5Bnum%5D={page}&page%5Bsize%5D=100"
                    async with session.post(target, data=body) as response:
                        page_rows = ROWS.decode(await response.read()).data
                    file.write(b"\n".join((*page_rows, b"")))
                    rows += len(page_rows)
            os.fsync(file.fileno())
        partial.replace(path)
        return rows

    return turn


async def cursors(stack: AsyncExitStack, url: str) -> dict[str, Turn]:
    """Return turns that read 20 pages of company summaries by cursor. This package prefetches one page."""
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=KEY))
    lf = await stack.enter_async_context(client_of(url))

    async def by_hand() -> int:
        rows, cursor, target = 0, "", f"{url}/v1/companies/search?account_id=1&page%5Bsize%5D=100"
        while True:
            async with session.post(target + cursor, data=b"{}") as response:
                page = SUMMARIES.decode(await response.read())
            for _ in page.data:
                rows += 1
            if page.meta.next_cursor is None:
                return rows
            cursor = f"&page%5Bcursor%5D={page.meta.next_cursor}"

    async def ours() -> int:
        rows = 0
        async for _ in lf.companies.search(search_terms=["robotik"]):
            rows += 1
        return rows

    return {BARE_CURSOR: by_hand, OURS_CURSOR: ours}


class _Model(pydantic.BaseModel):
    pass


class _Page(_Model):
    path: str | None = None
    title: str | None = None
    url: str | None = None


class _Engagement(_Model):
    event_type: str | None = None
    hostname: str | None = None
    page: _Page | None = None
    previous_page_path: str | None = None
    time_on_page: float | None = None
    has_met_goals: bool | None = None


class _Identifiers(_Model):
    lf_client_id: str | None = None
    ga_client_ids: list[str] | None = None


class _Visitor(_Model):
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None


class _Attributes(_Model):
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    keyword: str | None = None
    referring_url: str | None = None
    landing_page_path: str | None = None
    device_type: str | None = None
    visit_length: float | None = None
    page_depth: int | None = None
    started_at: datetime | None = None
    identifiers: _Identifiers | None = None
    visitor: _Visitor | None = None
    engagements: list[_Engagement] | None = None


class _Record(_Model):
    id: str
    type: str


class _Location(_Record):
    attributes: dict[str, str | None] = {}


class _Relationships(_Model):
    company: _Record | None = None
    location: _Location | None = None


class PydanticVisit(_Model):
    """A visit with the same fields as the model of this package."""

    id: str
    type: str
    attributes: _Attributes
    relationships: _Relationships


class Visits(_Model):
    """A page of visits."""

    data: list[PydanticVisit]
