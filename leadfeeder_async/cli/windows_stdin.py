"""Read stdin on Windows without blocking the event loop, which cannot read stdin there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from threading import Thread

LOOP_READS_STDIN = sys.platform != "win32"
"""False on Windows, whose event loop reads neither the console nor the pipes of a shell."""

_CHUNK_BYTES = 65_536


async def read_chunk() -> bytes:
    """Return the next bytes of stdin, or no bytes at its end. A console returns one line at a time.

    The bytes are read in a daemon thread, so that the process can end meanwhile. The thread does not use ``sys.stdin``,
    because it would hold the lock of ``sys.stdin`` when the process ends.
    """
    loop = asyncio.get_running_loop()
    received: asyncio.Future[bytes] = loop.create_future()

    def receive(chunk: bytes) -> None:
        if not received.done():
            received.set_result(chunk)

    def read(descriptor: int) -> None:
        chunk = b""
        with suppress(OSError):  # as after Ctrl-C
            chunk = os.read(descriptor, _CHUNK_BYTES)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(receive, chunk)

    Thread(target=read, args=(sys.stdin.fileno(),), daemon=True).start()
    return await received


async def read_lines() -> AsyncIterator[bytes]:
    """Yield the lines of stdin as they arrive."""
    parts = list[bytes]()
    while chunk := await read_chunk():
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield b"".join([*parts, line, b"\n"])
            parts.clear()
        parts.append(rest)
    if any(parts):
        yield b"".join(parts)
