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

from leadfeeder_async.errors import CheckpointError, LeadfeederError
from leadfeeder_async.jobs.atomic_file import copy_permissions, lock_exclusive
from leadfeeder_async.jobs.checkpoint import (
    MAX_RECORDED_GAPS,
    Checkpoint,
    Gap,
    lines_from,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from leadfeeder_async.jobs.tabular import Column, is_table, write_table
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.dedupe import row_id
from leadfeeder_async.pagination.page import ResumePosition

CHECKPOINT_INTERVAL = 1.0
"""Seconds between checkpoints; a kill costs at most the rows of that time, which are read again."""


class JobIdentity(msgspec.Struct, frozen=True):
    """What a working file is about, so that no two jobs end up in one file."""

    fingerprint: str
    """The same for the same job, and no other."""
    query: str
    """The job in words."""
    days: DateWindow | None = None
    """The days it is about."""


class ResumableFile:
    """The working file of one job, open for this process alone, and its checkpoint."""

    def __init__(self, path: Path, file: IO[bytes], checkpoint: Checkpoint) -> None:
        self._path = path
        self.path = partial_path(path)
        """Where the rows are until they are whole."""
        self._file = file
        self.checkpoint = checkpoint
        self._safe: Checkpoint = checkpoint
        """The checkpoint that is on the disk."""
        self._committed = time.monotonic()

    def ids_already_written(self, *, rows_of_a_day: bool) -> frozenset[str]:
        """Return the ids of the rows that the rest of the list may bring again: any, unless each belongs to a day."""
        start, size = self.checkpoint.resume_offset if rows_of_a_day else 0, self.checkpoint.size
        return frozenset(row_id(line) for line in lines_from(self.path, start, size))

    def record_gaps(self, problems: Sequence[LeadfeederError], window: DateWindow | None) -> None:
        """Remember what could not be read, so that no later run takes the list for whole."""
        now, end = self.checkpoint, window.end if window else None
        found = (*now.gaps, *(Gap(end=end, message=one.message) for one in problems))
        more = now.unrecorded_gaps + len(found[MAX_RECORDED_GAPS:])
        until = max(filter(None, (now.unrecorded_gaps_until, end)), default=None) if more else None
        self.checkpoint = replace(
            now, gaps=found[:MAX_RECORDED_GAPS], unrecorded_gaps=more, unrecorded_gaps_until=until
        )

    def acknowledge_gaps(self, *, ended: bool) -> None:
        """Forget what is missing, since it is told: who goes on knows. Where the list ``ended``, no more is read."""
        position = ResumePosition(ended=True) if ended else self.checkpoint.position
        self.checkpoint = replace(
            self.checkpoint, position=position, gaps=(), unrecorded_gaps=0, gaps_acknowledged=True
        )

    def append(
        self, lines: bytes, rows: int, position: ResumePosition | None = None, window: DateWindow | None = None
    ) -> bool:
        """Write some rows, and from time to time make sure that they stay; tell whether that was done."""
        now = self.checkpoint
        self._write(lines)
        self.checkpoint = replace(
            now,
            position=position,
            rows=now.rows + rows,
            size=now.size + len(lines),
            offsets=now.with_offset(window, now.size),
        )
        due = time.monotonic() - self._committed >= CHECKPOINT_INTERVAL
        if due:
            self.commit()
        return due

    def record_reserved_credits(self, credits: int, paid: tuple[str, ...]) -> None:  # noqa: A002 - the API's word
        """Put on the disk, before they are spent, what the job may have cost by now; no row becomes safe by it."""
        self.checkpoint = replace(self.checkpoint, credits=credits, paid_ids=paid)
        self._safe = replace(self._safe, credits=credits, paid_ids=paid)
        with _translate_os_errors(self.path):
            write_checkpoint(checkpoint_path(self._path), self._safe, self.path)

    def commit(self) -> None:
        """Make the rows so far safe, then the checkpoint that counts them."""
        if self.checkpoint is not self._safe:
            with _translate_os_errors(self.path):
                os.fsync(self._file.fileno())
                write_checkpoint(checkpoint_path(self._path), self.checkpoint, self.path)
            self._safe = self.checkpoint
        self._committed = time.monotonic()

    def finish(self, columns: Callable[[], tuple[Column, ...]]) -> None:
        """Give the file its name, as a table of ``columns`` if its suffix asks for one.

        Until the last step nobody else begins: the lock is on the file, and goes with it to its new name.
        """
        if is_table(self._path):  # which may find no room: then nothing but the table is left to do
            self.checkpoint = replace(self.checkpoint, position=ResumePosition(ended=True))
            self.commit()
        with _translate_os_errors(self._path):
            write_table(self.path, self._path, columns)
            self._safe = self.checkpoint  # by the file itself
            remove_checkpoint(checkpoint_path(self._path))
            self.path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        try:
            with _translate_os_errors(self.path):
                left = memoryview(data)
                while left:
                    left = left[self._file.write(left) :]
        except CheckpointError:
            os.ftruncate(self._file.fileno(), self.checkpoint.size)  # half a row goes, which may make room to commit
            raise


@contextmanager
def open_resumable(
    path: Path, subject: JobIdentity, *, resume: bool, overwrite: bool, replaces: bool = False
) -> Generator[ResumableFile]:
    """Open the working file; whatever ends the work, keep what is safe, and nothing where that is nothing.

    ``replaces`` says that the file itself is there, and stays until the working file takes its place.
    """
    may_be_there = overwrite or replaces
    validate_target(path, overwrite=may_be_there, resume=resume)
    with _open_locked(path) as file:
        validate_target(
            path, overwrite=may_be_there, resume=resume
        )  # once more: another job may have finished it meanwhile
        checkpoint = _load_or_create(path, subject, resume=resume, overwrite=overwrite)
        file.truncate(checkpoint.size)
        copy_permissions(path, partial_path(path))
        part = ResumableFile(path, file, checkpoint)
        try:
            yield part
        except BaseException:
            part.commit()
            if not _has_state(part.checkpoint):
                remove_checkpoint(checkpoint_path(path))
                file.truncate(0)
            raise


def partial_path(path: Path) -> Path:
    """Return the name of an unfinished export."""
    return path.with_name(path.name + ".part")


def checkpoint_path(path: Path) -> Path:
    """Return the name of an unfinished export's checkpoint."""
    return path.with_name(path.name + ".checkpoint")


def validate_target(path: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Raise CheckpointError where ``path`` is not a file's name, or a file that is to be kept."""
    with _translate_os_errors(path):
        if not path.name or "\0" in str(path) or path.is_dir():
            raise CheckpointError(f"{str(path)!r} is not a file's name.", hint="Name a file.")
        taken = path.exists() or path.is_symlink()
    if taken and (path.is_symlink() or not path.is_file()):
        said = f"{path} is a link, a device or a pipe, which a finished file would replace."
        raise CheckpointError(said, hint="Name a plain file; without one (--out), rows go to stdout.")
    if taken and not overwrite:
        hint = "Choose another name, or pass overwrite=True (--overwrite)."
        if resume and load_unfinished(path):
            hint = (
                "One to take its place is unfinished: pass overwrite=True too (--resume --overwrite) to go on with it."
            )
        elif resume:
            hint = f"It is finished, unless another job wrote it: then there is nothing to do. {hint}"
        raise CheckpointError(f"{path} exists.", hint=hint)


def load_unfinished(path: Path) -> Checkpoint | None:
    """Read how far the unfinished export to ``path`` is; None where there is none.

    There is none either where a kill left the checkpoint of a file that is there: what it counts is in that file.
    """
    with _translate_os_errors(checkpoint_path(path)):
        found, part = read_checkpoint(checkpoint_path(path)), partial_path(path)
        if found is None or not path.exists() or (part.exists() and part.stat().st_size):
            return found
    return None if found.size or not _has_state(found) else found


def _has_state(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint holds what the next run must know: rows, what they cost, or that there are none."""
    return bool(checkpoint.rows or checkpoint.credits or checkpoint.gaps_acknowledged)


def _load_or_create(path: Path, subject: JobIdentity, *, resume: bool, overwrite: bool) -> Checkpoint:
    fresh = Checkpoint(fingerprint=subject.fingerprint, query=subject.query, days=subject.days)
    found = None if overwrite and not resume else load_unfinished(path)
    if found is None:
        with _translate_os_errors(checkpoint_path(path)):
            remove_checkpoint(checkpoint_path(path))
        return fresh
    if not resume:
        raise CheckpointError(
            f"An unfinished export of {found.rows:,} rows is in {partial_path(path)}.",
            hint="Go on with resume=True (--resume), or start over with overwrite=True (--overwrite).",
        )
    if found.fingerprint != subject.fingerprint:
        raise CheckpointError(
            f"{partial_path(path)} is an export of another query: {found.query}; asked for now: {subject.query}.",
            hint="Ask for the same again, or start over with overwrite=True (--overwrite).",
        )
    if partial_path(path).stat().st_size < found.size:
        raise CheckpointError(
            f"{partial_path(path)} is shorter than its checkpoint says.",
            hint="Start over with overwrite=True (--overwrite).",
        )
    return found.for_resume()


@contextmanager
def _open_locked(path: Path) -> Generator[IO[bytes]]:
    """Open the working file and lock it until everything of this job is done; leave none that is nothing."""
    part = partial_path(path)
    with _translate_os_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab", buffering=0)
    with file:
        with _translate_os_errors(part):
            ours = _lock(file) and _is_same_file(part, file)
        try:
            if not ours or _is_being_renamed(path):
                raise CheckpointError(f"Another export is writing {path}.", hint="Wait for it, or choose another name.")
            yield file
        finally:
            if ours and _is_same_file(part, file) and _is_empty(path):
                part.unlink()


def _lock(file: IO[bytes]) -> bool:
    """Lock a file; tell whether nobody else has."""
    try:
        lock_exclusive(file)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_same_file(part: Path, file: IO[bytes]) -> bool:
    """Whether a name still leads to the file that was opened by it: who had it may have finished it meanwhile."""
    with suppress(FileNotFoundError):
        return os.path.samestat(part.stat(), os.fstat(file.fileno()))
    return False


def _is_being_renamed(path: Path) -> bool:
    """Whether the file has its name, but who wrote it still holds it, to remove the checkpoint."""
    if path.is_file():
        with suppress(OSError), path.open("rb") as file:  # not everywhere can a file be locked that is only read
            return not _lock(file)
    return False


def _is_empty(path: Path) -> bool:
    """Whether a working file holds no row, and no checkpoint is beside it, which may hold what was spent."""
    # os.access finds no file under a name that is too long, where Path.exists raises
    return not partial_path(path).stat().st_size and not os.access(checkpoint_path(path), os.F_OK)


@contextmanager
def _translate_os_errors(path: Path) -> Generator[None]:
    """Say which file could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror}.",
            hint="Mend that or choose another place; with resume=True (--resume) the rows so far are not read again.",
        ) from error
