"""JSON bodies as text: bounds on them, and repairs of what JSON decoders reject.

All functions work in C or in small pieces, so that a large body in a thread does not hold up the event loop.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from io import BytesIO
from itertools import combinations
from random import choice

import msgspec

CHUNK = 65_536
"""Bytes that are processed at once."""

MIN_CHECKED_BYTES = 65_536
"""Smaller bodies need no bound on their number of values and rows."""

MAX_SAMPLED_BYTES = 262_144
"""Smaller bodies are sampled first, which takes a twentieth of the time. Nearly all pages have far fewer values."""

_STRIDES = tuple(combinations((197, 199, 211, 223, 227, 229, 233, 239, 241), 2))
"""Pairs of distances of bytes in a sample. In repeated text, one distance can miss all values, but not two."""

MIN_BYTES_PER_VALUE = 8
"""Bodies with less are rejected. Values take much more memory than their text, and real records have longer ones."""


MIN_BYTES_PER_OBJECT = 24
"""The same for objects, because each of them takes several hundred bytes."""

LARGE_BODY = 8 * 1024 * 1024
"""Larger bodies need longer objects, because the memory that they take matters. A page of 100 companies is smaller."""

MIN_BYTES_PER_OBJECT_OF_LARGE_BODY = 64
"""Objects of this length take about three times their text. Shorter ones take up to seven times theirs."""


def count_values(body: bytes) -> int:
    """Return an upper bound of the number of objects, lists and values in a JSON body."""
    return body.count(b",") + body.count(b"{") + body.count(b"[")


def is_too_dense(body: bytes) -> bool:
    """Return True if a large body has so many values that decoding them would take a multiple of its size."""
    if len(body) <= MIN_CHECKED_BYTES:
        return False
    if len(body) <= MAX_SAMPLED_BYTES:
        first, second = choice(_STRIDES)  # noqa: S311 - not used for security
        if _is_sparse(body[::first]) and _is_sparse(body[::second]):
            return False
    per_object = MIN_BYTES_PER_OBJECT if len(body) <= LARGE_BODY else MIN_BYTES_PER_OBJECT_OF_LARGE_BODY
    return count_values(body) * MIN_BYTES_PER_VALUE > len(body) or body.count(b"{") * per_object > len(body)


def _is_sparse(part: bytes) -> bool:
    """Return True if a sample of a body has less than three quarters of the values and objects that are allowed."""
    objects = part.count(b"{")
    values = objects + part.count(b",") + part.count(b"[")
    return 4 * max(MIN_BYTES_PER_VALUE * values, MIN_BYTES_PER_OBJECT * objects) < 3 * len(part)


def check_json(body: bytes) -> None:
    """Raise DecodeError if a body is not valid JSON. No values are built."""
    _SCANNER.decode(body)
    if not is_utf8(body):
        raise msgspec.DecodeError("not valid UTF-8")


_SCANNER = msgspec.json.Decoder(msgspec.Raw)


def is_utf8(body: bytes) -> bool:
    """Return True if a body is valid UTF-8."""
    if body.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(body)
    try:
        for start in range(0, len(body), CHUNK):
            decoder.decode(view[start : start + CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def replace_lone_surrogates(body: bytes) -> bytes:
    """Return a JSON body with unpaired surrogate escapes replaced by U+FFFD. Other bodies are returned as they are."""
    # In parts, because a search holds the interpreter, also in a thread.
    if not any(_SURROGATE.search(body, start, start + CHUNK + 3) for start in range(0, len(body), CHUNK)):
        return body
    repaired = BytesIO()  # takes half the memory of joining a list
    for chunk in _chunks_of_escapes(body):
        repaired.write(_replace_in_chunk(chunk))
    return repaired.getvalue()


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_HIGH_SURROGATE = re.compile(rb"\\u[dD][89abAB]")

_LONE_SURROGATE = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|[c-fC-F][0-9a-fA-F]{2}(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][0-9a-fA-F]{3}))"
)
"""A high surrogate without a low one after it, or a low one without a high one before it.

It is correct if every backslash begins an escape, that is if no backslash is itself escaped by one.
"""


def _replace_in_chunk(chunk: bytes) -> bytes:
    if not _SURROGATE.search(chunk):
        return chunk
    return _LONE_SURROGATE.sub(rb"\\ufffd", chunk.replace(rb"\\", rb"\u005c")).replace(rb"\u005c", rb"\\")


def _chunks_of_escapes(body: bytes) -> Iterator[bytes]:
    """Yield the body in chunks that end neither within an escape nor after the first half of a surrogate pair."""
    start = 0
    while start < len(body):
        end = start + CHUNK
        if end < len(body):
            end -= _unfinished_escape(body[start:end])
            end -= _open_pair(body[start:end])
        yield body[start:end]
        start = end


def _unfinished_escape(chunk: bytes) -> int:
    """Return the number of bytes at the end of a chunk that are the beginning of an escape."""
    opener = _last_escape(chunk, 5)
    rest = chunk[opener:] if opener >= 0 else b""
    return len(rest) if rest[1:2] in {b"", b"u"} else 0


def _open_pair(chunk: bytes) -> int:
    """Return the length of a high surrogate at the end of a chunk, which may belong to the low one after it."""
    opener = _last_escape(chunk, 6)
    return 6 if opener >= 0 and opener == len(chunk) - 6 and _HIGH_SURROGATE.match(chunk, opener) else 0


def _last_escape(chunk: bytes, size: int) -> int:
    """Return where the last escape within the last ``size`` bytes of a chunk begins, or -1."""
    opener = chunk.rfind(b"\\", max(0, len(chunk) - size))
    backslashes = opener + 1 - len(chunk[: opener + 1].rstrip(b"\\"))
    return opener if backslashes % 2 else -1  # an even number of them escape each other
