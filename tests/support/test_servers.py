"""Tests for the servers that other tests use."""

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
async def proxy_server() -> AsyncIterator[str]:
    """Run a proxy that forwards nothing. Yield its URL."""
    async with raw_server(http(b"{}")) as server, proxy_to(server.url, NetworkConditions(drop_request=True)) as url:
        yield url


@asynccontextmanager
async def http_server() -> AsyncIterator[str]:
    """Run an HTTP server. Yield its URL."""
    async with raw_server(http(b"{}")) as server:
        yield server.url


@asynccontextmanager
async def https_server() -> AsyncIterator[str]:
    """Run a server that waits for a TLS handshake. Yield its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with raw_server(http(b"{}"), ssl=context) as server:
        yield server.url


@pytest.mark.parametrize("client_stays", [False, True])
@pytest.mark.parametrize("run_server", [proxy_server, http_server, https_server])
def test_late_connections_are_closed(
    run_server: Callable[[], AbstractAsyncContextManager[str]], client_stays: bool
) -> None:
    """A server closes its connections on exit, even one that was accepted in the last moment."""

    async def connect_before_exit(iterations: int) -> None:
        with socket.socket() as client:
            client.setblocking(False)
            async with run_server() as url:
                client.connect_ex(("127.0.0.1", int(url.rpartition(":")[2])))
                for _ in range(iterations):
                    await asyncio.sleep(0)
                if not client_stays:
                    client.close()

    for iterations in range(12):
        asyncio.run(connect_before_exit(iterations))
    gc.collect()  # a connection that is still open would warn here
