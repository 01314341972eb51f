"""A TCP proxy on loopback that treats each connection as badly as it is told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.servers import listening, port_of

PIECE = 65_536


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What happens to one connection; nothing, unless said otherwise."""

    latency: float = 0.0
    """Seconds before each piece of the answer is passed on."""
    piece: int = PIECE
    """The most bytes of the answer that are passed on at once."""
    deaf: bool = False
    """The request is not passed on: a black hole, unless the connection ends."""
    ends_after: int | None = None
    """The connection ends after this many bytes of the answer."""
    resets: bool = False
    """It ends with a reset, and not in order."""


CALM = Weather()


class Proxy:
    """Stands before a server on loopback; each connection meets the next weather, and the last one lasts."""

    def __init__(self, port: int, *weathers: Weather) -> None:
        self.weathers = list(weathers)
        self._port = port

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        weather = self.weathers.pop(0) if len(self.weathers) > 1 else self.weathers[0]
        await self._carry(weather, reader, writer)
        if weather.resets:
            reset(writer)

    async def _carry(self, weather: Weather, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beginning = await reader.read(PIECE)
        if weather.deaf:
            await asyncio.sleep(3_600 if weather.ends_after is None else 0)
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        far_writer.write(beginning)
        onward = asyncio.create_task(_pump(reader, far_writer))
        try:
            await _pump_badly(weather, far_reader, writer)
        except ConnectionError:
            pass  # the client went first
        finally:
            onward.cancel()
            far_writer.close()
            await asyncio.wait([onward])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE):
        writer.write(data)


async def _pump_badly(weather: Weather, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    left = weather.ends_after
    while left != 0 and (data := await reader.read(weather.piece if left is None else min(weather.piece, left))):
        await asyncio.sleep(weather.latency)
        writer.write(data)
        await writer.drain()
        left = None if left is None else left - len(data)
    await asyncio.sleep(0.01 if weather.resets else 0)  # a reset may overtake what was said before it


def reset(writer: asyncio.StreamWriter) -> None:
    """Drop a connection with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def proxy_to(url: str, *weathers: Weather) -> AsyncIterator[str]:
    """Run a :class:`Proxy` before a server of :func:`tests.support.servers.raw_server`; give its address."""
    scheme, _, port = url.rpartition(":")
    proxy = Proxy(int(port), *weathers)
    async with listening(proxy.handle) as server:
        yield f"{scheme}:{port_of(server)}"
