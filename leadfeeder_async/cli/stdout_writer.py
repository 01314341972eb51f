"""Write rows to stdout without blocking the event loop."""

from __future__ import annotations

import asyncio
import sys
from codecs import getincrementaldecoder
from collections.abc import Iterator

from leadfeeder_async.errors import escape_control_characters

BYTES_PER_PIECE = 65_536
"""The number of bytes that are escaped at once."""


async def write_stdout(data: bytes) -> None:
    """Write to stdout in a thread, so that a slow reader of the pipe does not block requests in flight.

    On a terminal, control characters are escaped, so the lines are still valid JSON.
    """
    await asyncio.to_thread(_write_and_flush, data, escapes=sys.stdout.isatty())


def _write_and_flush(data: bytes, *, escapes: bool) -> None:
    for piece in escaped_pieces(data) if escapes else (data,):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def escaped_pieces(data: bytes) -> Iterator[bytes]:
    """Yield lines with their control characters escaped, in pieces, because escapes take several times more memory."""
    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    for start in range(0, len(data), BYTES_PER_PIECE):
        text = decoder.decode(data[start : start + BYTES_PER_PIECE], final=start + BYTES_PER_PIECE >= len(data))
        yield escape_control_characters(text, keep_lines=True).encode()
