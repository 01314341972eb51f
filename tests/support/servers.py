"""Servers on 127.0.0.1 that send scripted bytes or run an aiohttp handler."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from ssl import SSLContext

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]

Step = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""The response of a raw server to one request: bytes to send, or a function that writes them."""


class RawServer:
    """A server that responds to each request with the next step of its script. The last step repeats."""

    def __init__(self, *script: Step) -> None:
        self.script = list(script)
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self.server: asyncio.Server | None = None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head + await reader.readexactly(_content_length(head)))
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


@asynccontextmanager
async def listening(
    handle: Handle,
    host: str = "127.0.0.1",
    *,
    ssl: SSLContext | None = None,
    sock: socket.socket | None = None,
    start_serving: bool = True,
) -> AsyncIterator[asyncio.Server]:
    """Run a server, on ``sock`` if given. On exit, close all connections, including those just being accepted."""
    handlers = dict[asyncio.Task[None], asyncio.StreamWriter]()

    def start_handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.create_task(handle(reader, writer))
        handlers[handler] = writer
        handler.add_done_callback(close_connection)

    def close_connection(handler: asyncio.Task[None]) -> None:
        handlers.pop(handler).close()
        if not handler.cancelled() and not isinstance(
            handler.exception(), asyncio.IncompleteReadError | ConnectionError
        ):
            handler.result()

    address = {"host": host, "port": 0} if sock is None else {"sock": sock}
    server = await asyncio.start_server(start_handler, **address, ssl=ssl, start_serving=start_serving)
    try:
        yield server
    finally:
        await settle()  # connections that are being accepted get their handlers
        server.close()
        for handler in tuple(handlers):
            handler.cancel()
        await settle()


async def settle() -> None:
    """Let closed connections finish, which takes a few iterations of the event loop."""
    for _ in range(10):
        await asyncio.sleep(0)


def port_of(server: asyncio.Server) -> int:
    """Return the port of a server."""
    port: int = server.sockets[0].getsockname()[1]
    return port


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


@asynccontextmanager
async def raw_server(*script: Step, ssl: SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Run a server that responds to each request with the next step of ``script``."""
    raw = RawServer(*script)
    async with listening(raw.handle, ssl=ssl) as server:
        raw.server, scheme = server, "https" if ssl else "http"
        raw.url = f"{scheme}://localhost:{port_of(server)}"
        yield raw


@asynccontextmanager
async def handler_server(handler: Handler) -> AsyncIterator[str]:
    """Run a server that passes every request to ``handler``. Yield its URL."""

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
    """Return the bytes of a complete HTTP response."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    ).encode() + body


def cut(data: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """Return a step that sends ``data`` and closes the connection."""

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return step


async def silence(_: asyncio.StreamWriter) -> None:
    """Send nothing for an hour."""
    await asyncio.sleep(3_600)
