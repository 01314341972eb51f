"""The lower bound of CPU time: one connection on a plain asyncio protocol that does not check its server."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urlsplit


class RawConnection(asyncio.BufferedProtocol):
    """A connection that sends a request and reads the response by its Content-Length."""

    def __init__(self) -> None:
        self._buffer = bytearray(1 << 20)
        self._view = memoryview(self._buffer)

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Open a connection to a local server."""
        parts = urlsplit(url)
        _, connection = await asyncio.get_running_loop().create_connection(cls, parts.hostname, parts.port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, _: int) -> memoryview:
        """Return the free part of the buffer."""
        return self._view[self._filled :]

    def buffer_updated(self, size: int) -> None:
        """Count received bytes. Wake the caller if the response is complete."""
        self._filled += size
        if not self._end:
            self._start = self._buffer.find(b"\r\n\r\n", 0, self._filled) + 4
            length = self._buffer.find(b"Content-Length: ", 0, self._start) + 16
            self._end = self._start + int(self._buffer[length : self._buffer.find(b"\r", length)])
        if self._filled >= self._end:
            self._response.set_result(self._view[self._start : self._end])

    async def post(self, target: str, body: bytes) -> memoryview:
        """Send a request and return the body of the response. The body is valid until the next request."""
        self._filled = self._end = 0
        self._response: asyncio.Future[memoryview] = asyncio.get_running_loop().create_future()
        self._transport.write(b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (target.encode(), len(body), body))
        return await self._response

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()
