"""Exports: the rows of a list, as the API sent them, into a file that is whole or not there.

While a list is being read, its rows go to ``….part`` as JSON lines, with a checkpoint beside it. When all are there,
the file takes its name, or is made into a table first where its suffix asks for one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

import msgspec

from leadfeeder_async._walks.pages import Page, Position, row_id, whole
from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.export.checkpoint import Checkpoint, lines_from, read_checkpoint, sync, write_checkpoint
from leadfeeder_async.export.locks import lock_alone
from leadfeeder_async.export.progress import Meter, OnProgress, Progress
from leadfeeder_async.export.tables import check_table, write_table

Write: TypeAlias = Callable[[bytes], Awaitable[object]]
"""Takes the next bytes of an export."""

COMMIT_EVERY = 1.0
"""Seconds between checkpoints; a kill costs at most the pages of that time, which are read again."""


@dataclass(frozen=True, slots=True)
class Job:
    """A list to export."""

    fingerprint: str
    """The same for the same query, and no other."""
    query: str
    """The query in words."""
    pages: Callable[[Position | None, frozenset[str], int], AsyncGenerator[Page[bytes], None]]
    """Reads the list after a position, without the rows of some ids; the number is how many rows are done."""
    row: type[object]
    """What a row is, for the columns of a table."""


async def write_rows(
    pages: AsyncGenerator[Page[bytes], None], write: Write, meter: Meter, on_progress: OnProgress | None = None
) -> Progress:
    """Write every row of ``pages``, one JSON object a line."""
    async with aclosing(whole(pages)) as rows:
        async for page in rows:
            await write(_lines(page))
            _tell(meter.count(len(page.items), page.total), on_progress)
    return meter.now()


async def export_file(
    job: Job,
    path: Path,
    meter: Meter,
    on_progress: OnProgress | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Progress:
    """Write every row of a list to ``path``; until the last one is safe, the file is called ``….part``.

    The suffix chooses the format: ``.csv`` and ``.parquet`` are tables, anything else is JSON lines. ``resume`` goes on
    where an unfinished export of the same query stopped. Raises CheckpointError, before anything is sent, where
    ``path`` exists, cannot be written, is being written by another export, or is unfinished and ``resume`` is not set.
    """
    check_table(path)
    with _open_part(path, job, resume=resume, overwrite=overwrite) as part:
        meter.begin_at(part.checkpoint.rows)
        pages = job.pages(part.checkpoint.position, part.ids_to_leave_out(), part.checkpoint.rows)
        async with aclosing(whole(pages)) as rows:
            async for page in rows:
                part.add(page)
                _tell(meter.count(len(page.items), page.total), on_progress)
        part.finish(job.row)
    return meter.now()


def _tell(progress: Progress, on_progress: OnProgress | None) -> None:
    if on_progress is not None:
        on_progress(progress)


def _lines(page: Page[bytes]) -> bytes:
    return b"".join(item + b"\n" for item in page.items)


class _Part:
    """The working file of one export, open for this process alone, and its checkpoint."""

    def __init__(self, path: Path, file: IO[bytes], checkpoint: Checkpoint) -> None:
        self._path = path
        self._file = file
        self.checkpoint = checkpoint
        self._safe: Checkpoint = checkpoint
        """The checkpoint that is on the disk."""
        self._committed = time.monotonic()
        self.broken = False
        """A write failed, so that only what was safe before counts."""

    def ids_to_leave_out(self) -> frozenset[str]:
        """Return the ids of the rows that the rest of the list may bring once more."""
        start, size = self.checkpoint.resume_offset, self.checkpoint.size
        return frozenset(row_id(line) for line in lines_from(part_of(self._path), start, size))

    def add(self, page: Page[bytes]) -> None:
        """Write a page, and from time to time make sure that it stays."""
        now = self.checkpoint
        lines = _lines(page)
        self._write(lines)
        self.checkpoint = msgspec.structs.replace(
            now,
            position=page.position,
            rows=now.rows + len(page.items),
            size=now.size + len(lines),
            marks=now.marked(page.window, now.size),
        )
        if time.monotonic() - self._committed >= COMMIT_EVERY:
            self.commit()

    def commit(self) -> None:
        """Make the rows so far safe, then the checkpoint that counts them."""
        if self.checkpoint is not self._safe and not self.broken:
            with _named(part_of(self._path)):
                sync(self._file)
                write_checkpoint(checkpoint_of(self._path), self.checkpoint)
            self._safe = self.checkpoint
        self._committed = time.monotonic()

    def finish(self, row: type[object]) -> None:
        """Give the file its name, as a table if its suffix asks for one."""
        with _named(self._path):
            sync(self._file)
            write_table(part_of(self._path), self._path, row)
        checkpoint_of(self._path).unlink(missing_ok=True)
        part_of(self._path).unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        try:
            with _named(part_of(self._path)):
                left = memoryview(data)
                while left:
                    left = left[self._file.write(left) :]
        except CheckpointError:
            self.broken = True
            raise


@contextmanager
def _open_part(path: Path, job: Job, *, resume: bool, overwrite: bool) -> Generator[_Part]:
    """Open the working file; whatever ends the work, keep what is safe, and nothing where that is nothing."""
    _check_name(path, overwrite=overwrite)
    with _open_alone(path) as file:
        checkpoint = _where_to_begin(path, job, resume=resume, overwrite=overwrite)
        file.truncate(checkpoint.size)
        part = _Part(path, file, checkpoint)
        try:
            yield part
        except BaseException:
            part.commit()
            if not part.checkpoint.rows:
                part_of(path).unlink(missing_ok=True)
                checkpoint_of(path).unlink(missing_ok=True)
            raise


def part_of(path: Path) -> Path:
    """Return the name of an unfinished export."""
    return path.with_name(path.name + ".part")


def checkpoint_of(path: Path) -> Path:
    """Return the name of an unfinished export's checkpoint."""
    return path.with_name(path.name + ".checkpoint")


def _check_name(path: Path, *, overwrite: bool) -> None:
    if not path.name or path.is_dir():
        raise CheckpointError(f"{str(path)!r} is not a file's name.", advice="Name a file.")
    if path.exists() and not overwrite:
        raise CheckpointError(f"{path} exists.", advice="Choose another name, or pass overwrite=True (--overwrite).")


def _where_to_begin(path: Path, job: Job, *, resume: bool, overwrite: bool) -> Checkpoint:
    fresh = Checkpoint(fingerprint=job.fingerprint, query=job.query)
    found = None if overwrite and not resume else read_checkpoint(checkpoint_of(path))
    if found is None:
        checkpoint_of(path).unlink(missing_ok=True)
        return fresh
    if not resume:
        raise CheckpointError(
            f"An unfinished export of {found.rows:,} rows is in {part_of(path)}.",
            advice="Go on with resume=True (--resume), or start over with overwrite=True (--overwrite).",
        )
    if found.fingerprint != job.fingerprint:
        raise CheckpointError(
            f"{part_of(path)} is an export of another query: {found.query}; asked for now: {job.query}.",
            advice="Ask for the same again, or start over with overwrite=True (--overwrite).",
        )
    if part_of(path).stat().st_size < found.size:
        raise CheckpointError(
            f"{part_of(path)} is shorter than its checkpoint says.",
            advice="Start over with overwrite=True (--overwrite).",
        )
    return found


def _open_alone(path: Path) -> IO[bytes]:
    part = part_of(path)
    with _named(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab", buffering=0)
    try:
        lock_alone(file)
    except OSError:
        file.close()
        raise CheckpointError(
            f"Another export is writing {path}.", advice="Wait for it, or choose another name."
        ) from None
    return file


@contextmanager
def _named(path: Path) -> Generator[None]:
    """Say which file could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror}.",
            advice="Mend that or choose another place; with resume=True (--resume) the rows so far are not read again.",
        ) from error
