"""Servers on loopback: one that says exactly the bytes it is told, one that runs a handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Step = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""What a raw server does with a request: say these bytes, or run this."""


class RawServer:
    """Answers each request with the next script entry: bytes, or bytes and then a cut."""

    def __init__(self, *script: Step) -> None:
        self.script = list(script)
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self.server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head + await reader.readexactly(_length(head)))
                step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                    if b"connection: close" in step.lower():
                        break
                else:
                    await step(writer)
                    if writer.is_closing():
                        break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def hang_up(self) -> None:
        """Close every open connection, as an idle timeout of the server would."""
        for writer in self._writers:
            writer.close()


async def settle() -> None:
    """Let closed connections end: each step of theirs takes one turn of the loop."""
    for _ in range(10):
        await asyncio.sleep(0)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


@asynccontextmanager
async def raw_server(*script: Step, ssl: SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Run a :class:`RawServer`; its last script entry repeats."""
    scripted = RawServer(*script)
    server = await asyncio.start_server(scripted.handle, "127.0.0.1", 0, ssl=ssl)
    scripted.server, scheme = server, "https" if ssl else "http"
    scripted.url = f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}"
    try:
        yield scripted
    finally:
        server.close()
        scripted.hang_up()
        await settle()


@asynccontextmanager
async def handler_server(handler: Handler) -> AsyncIterator[str]:
    """Run an aiohttp handler for every path; give its address."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application(client_max_size=64 * 1024**2)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def http(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """Return a whole HTTP answer."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    ).encode() + body


def cut(data: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """Say ``data`` and hang up."""

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return step


async def silence(_: asyncio.StreamWriter) -> None:
    """Say nothing for an hour."""
    await asyncio.sleep(3_600)
