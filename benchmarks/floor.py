"""The least that asyncio itself costs: one connection on a bare protocol, which trusts its server."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urlsplit


class Wire(asyncio.BufferedProtocol):
    """Sends a request, and gathers its answer by Content-Length."""

    def __init__(self) -> None:
        self._buffer = bytearray(1 << 20)
        self._view = memoryview(self._buffer)

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Open a connection to a local server."""
        parts = urlsplit(url)
        _, wire = await asyncio.get_running_loop().create_connection(cls, parts.hostname, parts.port)
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, _: int) -> memoryview:
        """Give the room after what came."""
        return self._view[self._filled :]

    def buffer_updated(self, size: int) -> None:
        """Take what came; wake the caller once all is there."""
        self._filled += size
        if not self._end:
            self._start = self._buffer.find(b"\r\n\r\n", 0, self._filled) + 4
            at = self._buffer.find(b"Content-Length: ", 0, self._start) + 16
            self._end = self._start + int(self._buffer[at : self._buffer.find(b"\r", at)])
        if self._filled >= self._end:
            self._answered.set_result(self._view[self._start : self._end])

    async def post(self, target: str, body: bytes) -> memoryview:
        """Send a request and return the answer's body, which holds until the next one."""
        self._filled = self._end = 0
        self._answered: asyncio.Future[memoryview] = asyncio.get_running_loop().create_future()
        self._transport.write(b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (target.encode(), len(body), body))
        return await self._answered

    def close(self) -> None:
        """End."""
        self._transport.close()
