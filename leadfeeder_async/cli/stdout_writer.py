"""Write rows to stdout without blocking the event loop."""

from __future__ import annotations

import asyncio
import select
import sys
import threading
from codecs import getincrementaldecoder
from collections.abc import Iterator
from concurrent.futures import Future

from leadfeeder_async.errors import escape_control_characters

BYTES_PER_PIECE = 65_536
"""The number of bytes that are escaped at once."""


async def write_stdout(data: bytes) -> None:
    """Write to stdout in a thread, so that a slow reader of the pipe does not block requests in flight.

    On a terminal, control characters are escaped, so the lines are still valid JSON. If the reader has stopped reading,
    a command that is canceled ends nevertheless: nothing waits for the thread.
    """
    escapes = sys.stdout.isatty()
    written = Future[None]()
    written.set_running_or_notify_cancel()  # so that a canceled wait does not cancel it, because the thread sets it

    def write() -> None:
        try:
            _write_all(data, escapes=escapes)
        except BaseException as error:  # noqa: BLE001 - the command raises it
            written.set_exception(error)
        else:
            written.set_result(None)

    threading.Thread(target=write, name="leadfeeder stdout", daemon=True).start()
    await asyncio.wrap_future(written)


def _write_all(data: bytes, *, escapes: bool) -> None:
    """Write all bytes. The buffer of stdout is not used, because Python could not exit while a thread holds it."""
    stream = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    for piece in escaped_pieces(data) if escapes else (data,):
        rest = memoryview(piece)
        while rest:
            count = stream.write(rest)
            if count is None:  # another program has made the pipe non-blocking, and its reader is slow
                select.select([], [stream], [])
            rest = rest[count or 0 :]


def escaped_pieces(data: bytes) -> Iterator[bytes]:
    """Yield lines with their control characters escaped, in pieces, because escapes take several times more memory."""
    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    for start in range(0, len(data), BYTES_PER_PIECE):
        text = decoder.decode(data[start : start + BYTES_PER_PIECE], final=start + BYTES_PER_PIECE >= len(data))
        yield escape_control_characters(text, keep_lines=True).encode()
