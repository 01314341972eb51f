"""Servers that send responses which belong to no request."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from leadfeeder_async import OutcomeUnknownError
from tests.support.clients import client_of
from tests.support.servers import http, raw_server

STALE = http(b'{"data":{"id":"stale","type":"user"}}')


TIMEOUT = http(b"", "408 Request Timeout")


@pytest.mark.parametrize(
    ("extra", "delay"), [(STALE, 0.0), (STALE, 0.02), (b"garbage\r\n\r\n", 0.02), (TIMEOUT, 0.0), (TIMEOUT, 0.02)]
)
async def test_extra_response_is_not_taken_for_the_next(extra: bytes, delay: float) -> None:
    """Bytes after a response make the client give up the connection, so that they answer no later request."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(http(b'{"data":{"id":"1","type":"user"}}'))
        await writer.drain()
        await asyncio.sleep(delay)
        writer.write(extra)
        await writer.drain()

    async with raw_server(respond) as server, client_of(server.url, retries=0) as lf:
        for _ in range(3):
            assert (await lf.companies.get("1")).data.id == "1"
            await asyncio.sleep(0.05)
        assert (server.connections, len(server.requests)) == (3, 3)


@pytest.mark.parametrize("extra", [STALE, TIMEOUT])
async def test_extra_response_on_the_session_of_the_caller(extra: bytes) -> None:
    """A response that a session of the caller received before the request was sent is an error."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(http(b'{"data":{"id":"1","type":"user"}}'))
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(extra)
        await writer.drain()

    async with raw_server(respond) as server, aiohttp.ClientSession() as session:
        async with client_of(server.url, session=session, retries=0) as lf:
            assert (await lf.companies.get("1")).data.id == "1"
            await asyncio.sleep(0.1)
            with pytest.raises(OutcomeUnknownError, match="before it has received requests"):
                await lf.companies.get("1")
