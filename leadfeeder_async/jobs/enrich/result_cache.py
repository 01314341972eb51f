"""On-disk cache of lookup results, so that each key is requested once regardless of the input size.

Results are appended to a temporary file. A temporary SQLite database maps the digest of each key to the place of its
result. New places are kept in memory and written in sorted batches, because single inserts are slow. A bit table in
memory detects most keys that are not in the cache without a query. Memory use does not depend on the number of rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.enrich.results import ResultLine

Place: TypeAlias = tuple[int, int]
"""The offset and the size of a result in the file."""

PLACES_PER_WRITE = 4_096
"""Places that are kept in memory and then written to the database in one transaction."""

BYTES_PER_WRITE = 256 * 1024
"""Bytes of results that are kept in memory and then appended to the file."""

BIT_TABLE_BYTES = 4 * 1024 * 1024
"""With a million keys, the table answers 97 % of the queries for keys that are not in the cache."""

_SETTINGS = ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2048", "temp_store = FILE")


class ResultCache:
    """Stores results by the digest of a key or of a record id."""

    def __init__(self) -> None:
        import sqlite3  # noqa: PLC0415 - some builds of Python lack it

        self._sqlite_error = sqlite3.Error
        self._decoder = msgspec.json.Decoder(ResultLine)
        self._bits = bytearray(BIT_TABLE_BYTES)
        self._new_places = dict[int, Place]()
        self._tail = bytearray()
        self._tail_offset = 0
        with self._translate_errors():
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
            self._database = sqlite3.connect("", isolation_level=None)
            for setting in _SETTINGS:
                self._database.execute(f"PRAGMA {setting}")
            self._database.execute("CREATE TABLE places (number INTEGER PRIMARY KEY, offset INTEGER, size INTEGER)")

    def put(self, digest: bytes, line: ResultLine) -> None:
        """Store a result."""
        number = _number(digest)
        start = len(self._tail)
        self._tail += digest
        self._tail += msgspec.json.encode(line)
        self._new_places[number] = (self._tail_offset + start, len(self._tail) - start)
        self._bits[number >> 3 & BIT_TABLE_BYTES - 1] |= 1 << (number & 7)
        if len(self._tail) >= BYTES_PER_WRITE:
            self._write_tail()
        if len(self._new_places) >= PLACES_PER_WRITE:
            self._write_places()

    def get(self, digest: bytes) -> ResultLine | None:
        """Return a result, or None if it is not in the cache."""
        number = _number(digest)
        if not self._bits[number >> 3 & BIT_TABLE_BYTES - 1] >> (number & 7) & 1:
            return None
        place = self._new_places.get(number) or self._find(number)
        if place is None:
            return None
        entry = self._read(*place)
        # Two digests may have the same number. The later one has replaced the other.
        return self._decoder.decode(entry[len(digest) :]) if entry.startswith(digest) else None

    def close(self) -> None:
        """Delete all results."""
        self._database.close()
        self._file.close()

    def _find(self, number: int) -> Place | None:
        with self._translate_errors():
            query = self._database.execute("SELECT offset, size FROM places WHERE number = ?", (number,))
            place: Place | None = query.fetchone()
        return place

    def _read(self, offset: int, size: int) -> bytes:
        start = offset - self._tail_offset
        if start >= 0:
            return bytes(self._tail[start : start + size])
        with self._translate_errors():
            self._file.seek(offset)
            return self._file.read(size)

    def _write_tail(self) -> None:
        with self._translate_errors(), memoryview(self._tail) as remaining:
            self._file.seek(self._tail_offset)
            written = 0
            while written < len(remaining):
                written += self._file.write(remaining[written:])
        self._tail_offset += len(self._tail)
        self._tail.clear()

    def _write_places(self) -> None:
        rows = [(number, *place) for number, place in sorted(self._new_places.items())]
        with self._translate_errors():
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", rows)
            self._database.execute("COMMIT")
        self._new_places.clear()

    @contextmanager
    def _translate_errors(self) -> Generator[None]:
        try:
            yield
        except (OSError, self._sqlite_error) as error:
            raise CheckpointError(
                f"The temporary files of this job cannot be used: {error}.",
                hint=f"Free space in {tempfile.gettempdir()}, or set TMPDIR to another folder.",
                reason="not_writable",
            ) from None


def digest_of_key(identity: bytes) -> bytes:
    """Return the cache digest of a key."""
    return blake2b(identity, digest_size=16, person=b"key").digest()


def digest_of_record(record_id: str) -> bytes:
    """Return the cache digest of a record id."""
    return blake2b(record_id.encode(), digest_size=16, person=b"record").digest()


def _number(digest: bytes) -> int:
    """Return the first 63 bits of a digest, the largest integer that SQLite can store."""
    return int.from_bytes(digest[:8], "little") >> 1
