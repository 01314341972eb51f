"""The servers of the tests leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trustme

from tests.support.proxy import NetworkConditions, proxy_to
from tests.support.servers import http, raw_server


@asynccontextmanager
async def proxied() -> AsyncIterator[str]:
    """Run a proxy that passes nothing on."""
    async with raw_server(http(b"{}")) as server, proxy_to(server.url, NetworkConditions(drop_request=True)) as url:
        yield url


@asynccontextmanager
async def plain() -> AsyncIterator[str]:
    """Run a server."""
    async with raw_server(http(b"{}")) as server:
        yield server.url


@asynccontextmanager
async def encrypted() -> AsyncIterator[str]:
    """Run a server that waits for a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with raw_server(http(b"{}"), ssl=context) as server:
        yield server.url


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("place", [proxied, plain, encrypted])
def test_connection_of_the_last_moment_is_closed(
    place: Callable[[], AbstractAsyncContextManager[str]], stays: bool
) -> None:
    """However late a connection comes, whether its client goes first or not, its server ends it: none is collected open."""

    async def visited(turns: int) -> None:
        with socket.socket() as client:
            client.setblocking(False)
            async with place() as url:
                client.connect_ex(("127.0.0.1", int(url.rpartition(":")[2])))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if not stays:
                    client.close()

    for turns in range(12):
        asyncio.run(visited(turns))
    gc.collect()
