"""Servers that send responses which belong to no request."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

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


class BlockingServer:
    """A server in a thread, so that it also sends while the event loop is blocked.

    Args:
        after_first: Called with the connection after the first response.

    """

    def __init__(self, after_first: Callable[[socket.socket], object]) -> None:
        self.requests = 0
        self.may_act = Event()
        """Lets the server call ``after_first``."""
        self.has_acted = Event()
        """Set after ``after_first`` was called."""
        self._after_first = after_first
        self._is_closing = Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            if self._is_closing.is_set():
                connection.close()
                return
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        head = b""
        with suppress(OSError), connection:
            while data := connection.recv(65_536):
                head += data
                if not head.endswith(b"\r\n\r\n"):
                    continue
                self.requests += 1
                found = re.search(rb"/companies/(\d+)", head)
                connection.sendall(http(b'{"data":{"id":"%s","type":"company"}}' % (found[1] if found else b"")))
                head = b""
                if not self.has_acted.is_set():
                    self.may_act.wait(5)
                    self._after_first(connection)
                    self.has_acted.set()

    def close(self) -> None:
        self._is_closing.set()
        socket.create_connection(self.listener.getsockname()).close()  # ends accept() on every system


@contextmanager
def blocking_server(after_first: Callable[[socket.socket], object]) -> Iterator[BlockingServer]:
    server = BlockingServer(after_first)
    thread = Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
        server.listener.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("after_first", [lambda one: one.sendall(STALE), socket.socket.close, reset])
async def test_connection_that_ended_while_the_loop_was_blocked(after_first: Callable[[socket.socket], object]) -> None:
    """A connection is not used if a response or its end waits in the socket, so that no charged call is lost."""
    with blocking_server(after_first) as server:
        async with client_of(server.url, retries=0) as lf:
            for number in ("1", "2", "3"):
                assert (await lf.companies.get(number)).data.id == number
                server.may_act.set()
                assert server.has_acted.wait(5)  # blocks the event loop, as other code of a program may do
    assert server.requests == 3
