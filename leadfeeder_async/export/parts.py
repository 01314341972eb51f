"""Working files: what a long job writes until its last row is safe, for one process alone, with a checkpoint beside.

While a job runs, its rows go to ``….part`` as JSON lines, with a checkpoint beside it. When all are there, the file
takes its name, or is made into a table first where its suffix asks for one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec
from msgspec.structs import replace

from leadfeeder_async._walks.pages import Position, row_id
from leadfeeder_async.errors import CheckpointError, LeadfeederError
from leadfeeder_async.export.checkpoint import (
    LACKS_KEPT,
    Checkpoint,
    Lack,
    lines_from,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from leadfeeder_async.export.disk import keep_private, lock_alone
from leadfeeder_async.export.tables import Column, is_table, write_table
from leadfeeder_async.windows import Window

COMMIT_EVERY = 1.0
"""Seconds between checkpoints; a kill costs at most the rows of that time, which are read again."""


class Subject(msgspec.Struct, frozen=True):
    """What a working file is about, so that no two jobs end up in one file."""

    fingerprint: str
    """The same for the same job, and no other."""
    query: str
    """The job in words."""
    days: Window | None = None
    """The days it is about."""


class Part:
    """The working file of one job, open for this process alone, and its checkpoint."""

    def __init__(self, path: Path, file: IO[bytes], checkpoint: Checkpoint) -> None:
        self._path = path
        self.path = part_of(path)
        """Where the rows are until they are whole."""
        self._file = file
        self.checkpoint = checkpoint
        self._safe: Checkpoint = checkpoint
        """The checkpoint that is on the disk."""
        self._committed = time.monotonic()

    def ids_to_leave_out(self, *, rows_of_a_day: bool) -> frozenset[str]:
        """Return the ids of the rows that the rest of the list may bring again: any, unless each belongs to a day."""
        start, size = self.checkpoint.resume_offset if rows_of_a_day else 0, self.checkpoint.size
        return frozenset(row_id(line) for line in lines_from(self.path, start, size))

    def lack(self, problems: Sequence[LeadfeederError], window: Window | None) -> None:
        """Remember what could not be read, so that no later run takes the list for whole."""
        now, end = self.checkpoint, window.end if window else None
        found = (*now.lacks, *(Lack(end=end, said=one.message) for one in problems))
        more = now.more_lacks + len(found[LACKS_KEPT:])
        until = max(filter(None, (now.more_until, end)), default=None) if more else None
        self.checkpoint = replace(now, lacks=found[:LACKS_KEPT], more_lacks=more, more_until=until)

    def forgive(self, *, ended: bool) -> None:
        """Forget what is missing, since it is told: who goes on knows. Where the list ``ended``, no more is read."""
        position = Position(ended=True) if ended else self.checkpoint.position
        self.checkpoint = replace(self.checkpoint, position=position, lacks=(), more_lacks=0, forgiven=True)

    def add(self, lines: bytes, rows: int, position: Position | None = None, window: Window | None = None) -> bool:
        """Write some rows, and from time to time make sure that they stay; tell whether that was done."""
        now = self.checkpoint
        self._write(lines)
        self.checkpoint = replace(
            now,
            position=position,
            rows=now.rows + rows,
            size=now.size + len(lines),
            marks=now.marked(window, now.size),
        )
        due = time.monotonic() - self._committed >= COMMIT_EVERY
        if due:
            self.commit()
        return due

    def spend(self, credits: int, paid: tuple[str, ...]) -> None:  # noqa: A002 - the API's word
        """Put on the disk, before they are spent, what the job may have cost by now; no row becomes safe by it."""
        self.checkpoint = replace(self.checkpoint, credits=credits, paid=paid)
        self._safe = replace(self._safe, credits=credits, paid=paid)
        with _named(self.path):
            write_checkpoint(checkpoint_of(self._path), self._safe, self.path)

    def commit(self) -> None:
        """Make the rows so far safe, then the checkpoint that counts them."""
        if self.checkpoint is not self._safe:
            with _named(self.path):
                os.fsync(self._file.fileno())
                write_checkpoint(checkpoint_of(self._path), self.checkpoint, self.path)
            self._safe = self.checkpoint
        self._committed = time.monotonic()

    def finish(self, columns: Callable[[], tuple[Column, ...]]) -> None:
        """Give the file its name, as a table of ``columns`` if its suffix asks for one.

        Until the last step nobody else begins: the lock is on the file, and goes with it to its new name.
        """
        if is_table(self._path):  # which may find no room: then nothing but the table is left to do
            self.checkpoint = replace(self.checkpoint, position=Position(ended=True))
            self.commit()
        with _named(self._path):
            write_table(self.path, self._path, columns)
            self._safe = self.checkpoint  # by the file itself
            remove_checkpoint(checkpoint_of(self._path))
            self.path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        try:
            with _named(self.path):
                left = memoryview(data)
                while left:
                    left = left[self._file.write(left) :]
        except CheckpointError:
            os.ftruncate(self._file.fileno(), self.checkpoint.size)  # half a row goes, which may make room to commit
            raise


@contextmanager
def open_part(
    path: Path, subject: Subject, *, resume: bool, overwrite: bool, replaces: bool = False
) -> Generator[Part]:
    """Open the working file; whatever ends the work, keep what is safe, and nothing where that is nothing.

    ``replaces`` says that the file itself is there, and stays until the working file takes its place.
    """
    may_be_there = overwrite or replaces
    check_name(path, overwrite=may_be_there, resume=resume)
    with _open_alone(path) as file:
        check_name(path, overwrite=may_be_there, resume=resume)  # once more: another job may have finished it meanwhile
        checkpoint = _where_to_begin(path, subject, resume=resume, overwrite=overwrite)
        file.truncate(checkpoint.size)
        keep_private(path, part_of(path))
        part = Part(path, file, checkpoint)
        try:
            yield part
        except BaseException:
            part.commit()
            if not _says_something(part.checkpoint):
                remove_checkpoint(checkpoint_of(path))
                file.truncate(0)
            raise


def part_of(path: Path) -> Path:
    """Return the name of an unfinished export."""
    return path.with_name(path.name + ".part")


def checkpoint_of(path: Path) -> Path:
    """Return the name of an unfinished export's checkpoint."""
    return path.with_name(path.name + ".checkpoint")


def check_name(path: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Raise CheckpointError where ``path`` is not a file's name, or a file that is to be kept."""
    with _named(path):
        if not path.name or "\0" in str(path) or path.is_dir():
            raise CheckpointError(f"{str(path)!r} is not a file's name.", advice="Name a file.")
        taken = path.exists() or path.is_symlink()
    if taken and (path.is_symlink() or not path.is_file()):
        said = f"{path} is a link, a device or a pipe, which a finished file would replace."
        raise CheckpointError(said, advice="Name a plain file; without one (--out), rows go to stdout.")
    if taken and not overwrite:
        advice = "Choose another name, or pass overwrite=True (--overwrite)."
        if resume and read_unfinished(path):
            advice = (
                "One to take its place is unfinished: pass overwrite=True too (--resume --overwrite) to go on with it."
            )
        elif resume:
            advice = f"It is finished, unless another job wrote it: then there is nothing to do. {advice}"
        raise CheckpointError(f"{path} exists.", advice=advice)


def read_unfinished(path: Path) -> Checkpoint | None:
    """Read how far the unfinished export to ``path`` is; None where there is none.

    There is none either where a kill left the checkpoint of a file that is there: what it counts is in that file.
    """
    with _named(checkpoint_of(path)):
        found, part = read_checkpoint(checkpoint_of(path)), part_of(path)
        if found is None or not path.exists() or (part.exists() and part.stat().st_size):
            return found
    return None if found.size or not _says_something(found) else found


def _says_something(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint holds what the next run must know: rows, what they cost, or that there are none."""
    return bool(checkpoint.rows or checkpoint.credits or checkpoint.forgiven)


def _where_to_begin(path: Path, subject: Subject, *, resume: bool, overwrite: bool) -> Checkpoint:
    fresh = Checkpoint(fingerprint=subject.fingerprint, query=subject.query, days=subject.days)
    found = None if overwrite and not resume else read_unfinished(path)
    if found is None:
        with _named(checkpoint_of(path)):
            remove_checkpoint(checkpoint_of(path))
        return fresh
    if not resume:
        raise CheckpointError(
            f"An unfinished export of {found.rows:,} rows is in {part_of(path)}.",
            advice="Go on with resume=True (--resume), or start over with overwrite=True (--overwrite).",
        )
    if found.fingerprint != subject.fingerprint:
        raise CheckpointError(
            f"{part_of(path)} is an export of another query: {found.query}; asked for now: {subject.query}.",
            advice="Ask for the same again, or start over with overwrite=True (--overwrite).",
        )
    if part_of(path).stat().st_size < found.size:
        raise CheckpointError(
            f"{part_of(path)} is shorter than its checkpoint says.",
            advice="Start over with overwrite=True (--overwrite).",
        )
    return found.without_what_comes_again()


@contextmanager
def _open_alone(path: Path) -> Generator[IO[bytes]]:
    """Open the working file and lock it until everything of this job is done; leave none that is nothing."""
    part = part_of(path)
    with _named(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab", buffering=0)
    with file:
        with _named(part):
            ours = _lock(file) and _leads_to(part, file)
        try:
            if not ours or _is_being_finished(path):
                raise CheckpointError(
                    f"Another export is writing {path}.", advice="Wait for it, or choose another name."
                )
            yield file
        finally:
            if ours and _leads_to(part, file) and _is_nothing(path):
                part.unlink()


def _lock(file: IO[bytes]) -> bool:
    """Lock a file; tell whether nobody else has."""
    try:
        lock_alone(file)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _leads_to(part: Path, file: IO[bytes]) -> bool:
    """Whether a name still leads to the file that was opened by it: who had it may have finished it meanwhile."""
    with suppress(FileNotFoundError):
        return os.path.samestat(part.stat(), os.fstat(file.fileno()))
    return False


def _is_being_finished(path: Path) -> bool:
    """Whether the file has its name, but who wrote it still holds it, to remove the checkpoint."""
    if path.is_file():
        with suppress(OSError), path.open("rb") as file:  # not everywhere can a file be locked that is only read
            return not _lock(file)
    return False


def _is_nothing(path: Path) -> bool:
    """Whether a working file holds no row, and no checkpoint is beside it, which may hold what was spent."""
    # os.access finds no file under a name that is too long, where Path.exists raises
    return not part_of(path).stat().st_size and not os.access(checkpoint_of(path), os.F_OK)


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
