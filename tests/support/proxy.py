"""A TCP proxy on loopback that degrades connections as configured."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.servers import listening, port_of

CHUNK_SIZE = 65_536


@dataclass(frozen=True, kw_only=True)
class NetworkConditions:
    """How the proxy treats one connection. By default it forwards everything."""

    latency: float = 0.0
    """Seconds to wait before each chunk of the response is forwarded."""
    chunk_size: int = CHUNK_SIZE
    """The maximum size of a chunk of the response in bytes."""
    drop_request: bool = False
    """Do not forward the request. The connection stays open unless ``close_after`` is set."""
    close_after: int | None = None
    """Close the connection after this many bytes of the response."""
    reset: bool = False
    """Close the connection with RST instead of FIN."""


class Proxy:
    """Forward connections to a server on loopback. Each connection uses the next conditions, and the last ones repeat."""

    def __init__(self, port: int, *conditions: NetworkConditions) -> None:
        self.conditions = list(conditions)
        self._port = port

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection of a client."""
        conditions = self.conditions.pop(0) if len(self.conditions) > 1 else self.conditions[0]
        await self._forward(conditions, reader, writer)
        if conditions.reset:
            reset(writer)

    async def _forward(
        self, conditions: NetworkConditions, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        request = await reader.read(CHUNK_SIZE)
        if conditions.drop_request:
            await asyncio.sleep(3_600 if conditions.close_after is None else 0)
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        server_writer.write(request)
        upload = asyncio.create_task(_copy(reader, server_writer))
        try:
            await _copy_degraded(conditions, server_reader, writer)
        except ConnectionError:
            pass  # the client closed the connection first
        finally:
            upload.cancel()
            server_writer.close()
            await asyncio.wait([upload])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_SIZE):
        writer.write(data)


async def _copy_degraded(
    conditions: NetworkConditions, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    remaining = conditions.close_after
    size = conditions.chunk_size
    while remaining != 0 and (data := await reader.read(size if remaining is None else min(size, remaining))):
        await asyncio.sleep(conditions.latency)
        writer.write(data)
        await writer.drain()
        remaining = None if remaining is None else remaining - len(data)
    await asyncio.sleep(0.01 if conditions.reset else 0)  # a reset may overtake data that was written before it


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def proxy_to(url: str, *conditions: NetworkConditions) -> AsyncIterator[str]:
    """Run a :class:`Proxy` in front of a server of :func:`tests.support.servers.raw_server` and yield its URL."""
    scheme, _, port = url.rpartition(":")
    proxy = Proxy(int(port), *conditions)
    async with listening(proxy.handle) as server:
        yield f"{scheme}:{port_of(server)}"
