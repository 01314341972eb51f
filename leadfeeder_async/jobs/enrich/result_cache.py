"""What a job has learned, so that nothing is asked twice: on the disk, since nobody knows how many keys will come.

A temporary SQLite database without a name, which the system deletes with the job. It takes about as much disk as the
job's output, and two megabytes of memory, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from hashlib import blake2b

import msgspec

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.enrich.results import ResultLine

_SETTINGS = ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2048", "temp_store = FILE")


class ResultCache:
    """Lines by what they answer: a key, or the id of a record."""

    def __init__(self) -> None:
        import sqlite3  # noqa: PLC0415 - some builds of Python lack it

        self._failure = sqlite3.Error
        self._decoder = msgspec.json.Decoder(ResultLine)
        with self._on_disk():
            self._database = sqlite3.connect("", isolation_level=None)
            for setting in _SETTINGS:
                self._database.execute(f"PRAGMA {setting}")
            self._database.execute("CREATE TABLE known (asked BLOB PRIMARY KEY, line BLOB)")

    def put(self, asked: bytes, line: ResultLine) -> None:
        """Remember what came of a question."""
        with self._on_disk():
            self._database.execute(
                "INSERT OR REPLACE INTO known VALUES (?, ?)", (_digest(asked), msgspec.json.encode(line))
            )

    def get(self, asked: bytes) -> ResultLine | None:
        """Return what came of a question; None where it was not asked."""
        with self._on_disk():
            found = self._database.execute("SELECT line FROM known WHERE asked = ?", (_digest(asked),)).fetchone()
        return None if found is None else self._decoder.decode(found[0])

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    @contextmanager
    def _on_disk(self) -> Generator[None]:
        try:
            yield
        except self._failure as error:
            raise CheckpointError(
                f"The job's temporary file cannot be used: {error}.", hint="Make room in TMPDIR, or set another one."
            ) from None


def key_cache_id(identity: bytes) -> bytes:
    """Ask about a key."""
    return b"key " + identity


def record_cache_id(one: str) -> bytes:
    """Ask about the record of an id."""
    return b"id " + one.encode()


def _digest(asked: bytes) -> bytes:
    return blake2b(asked, digest_size=16).digest()
