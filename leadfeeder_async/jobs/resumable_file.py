"""Files that a long job writes row by row, and that an interrupted job continues.

Rows go to ``….part`` as JSON lines, with a checkpoint beside it. When the last row is safe, the file gets its final
name, or is converted into a table first if its suffix asks for one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Generic, TypeVar

from msgspec.structs import replace

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.atomic_file import copy_permissions, create_exclusively, remove_temporaries
from leadfeeder_async.jobs.checkpoint import (
    Checkpoint,
    JobIdentity,
    JobKind,
    JobState,
    checkpoint_path,
    lines_from,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from leadfeeder_async.jobs.output_lock import OutputLock
from leadfeeder_async.jobs.tabular import Column, write_table

CHECKPOINT_INTERVAL = 1.0
"""Seconds between checkpoints. After a kill, the rows of at most that time are read again."""

S = TypeVar("S", bound=JobState)


class ResumableFile(Generic[S]):
    """The unfinished file of one job, opened for this process alone, and its checkpoint.

    Args:
        path: The final path.
        file: The unfinished file, opened for appending.
        checkpoint: The checkpoint from which the job continues.
    """

    def __init__(self, path: Path, file: IO[bytes], checkpoint: Checkpoint[S]) -> None:
        self._path = path
        self.path = partial_path(path)
        """The path of the unfinished file."""
        self._file = file
        self.checkpoint = checkpoint
        self._saved = checkpoint
        """The checkpoint on the disk."""
        self._saved_at = time.monotonic()

    @property
    def state(self) -> S:
        """The state of the job at the latest row."""
        return self.checkpoint.state

    def lines(self, offset: int = 0) -> Generator[bytes]:
        """Yield the rows that are written so far, from an offset."""
        yield from lines_from(self.path, offset, self.checkpoint.size)

    def append(self, lines: bytes, rows: int, state: S) -> bool:
        """Write some rows, and save a checkpoint if one is due.

        Args:
            lines: The rows as JSON lines.
            rows: The number of rows.
            state: The state of the job after these rows.

        Returns:
            True if a checkpoint was saved.
        """
        self._write(lines)
        now = self.checkpoint
        self.checkpoint = replace(now, rows=now.rows + rows, size=now.size + len(lines), state=state)
        is_due = time.monotonic() - self._saved_at >= CHECKPOINT_INTERVAL
        if is_due:
            self.commit()
        return is_due

    def update(self, state: S) -> None:
        """Change the state of the job. The next checkpoint saves it."""
        self.checkpoint = replace(self.checkpoint, state=state)

    def save_state(self, state: S) -> None:
        """Save a state at once, without the rows that no checkpoint counts yet."""
        self.update(state)
        self._saved = replace(self._saved, state=state)
        with translate_os_errors(self.path):
            write_checkpoint(checkpoint_path(self._path), self._saved, self.path)

    def commit(self) -> None:
        """Sync the rows so far, then save the checkpoint that counts them."""
        if self.checkpoint is not self._saved:
            with translate_os_errors(self.path):
                os.fsync(self._file.fileno())
                write_checkpoint(checkpoint_path(self._path), self.checkpoint, self.path)
            self._saved = self.checkpoint
        self._saved_at = time.monotonic()

    def finish(self, columns: Callable[[], tuple[Column, ...]]) -> None:
        """Give the file its final name, as a table if its suffix asks for one.

        Args:
            columns: Returns the columns of the table.
        """
        self.commit()
        self._file.close()
        with translate_os_errors(self._path):
            write_table(self.path, self._path, columns)
            self._saved = self.checkpoint
            remove_checkpoint(checkpoint_path(self._path))
            self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the unfinished file and its checkpoint."""
        self._file.close()
        with translate_os_errors(self._path):
            remove_checkpoint(checkpoint_path(self._path))
            self.path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        try:
            with translate_os_errors(self.path):
                remaining = memoryview(data)
                while remaining:
                    remaining = remaining[self._file.write(remaining) :]
        except CheckpointError:
            # Half a row is dropped, which may make the room that the checkpoint needs.
            os.ftruncate(self._file.fileno(), self.checkpoint.size)
            raise


@contextmanager
def open_resumable(
    path: Path,
    kind: JobKind[S],
    identity: JobIdentity,
    *,
    resume: bool,
    overwrite: bool,
    replaces: bool = False,
) -> Generator[ResumableFile[S]]:
    """Open an unfinished file for one job. If the job fails, the rows so far are kept.

    Args:
        path: The final path.
        kind: The kind of job.
        identity: The job.
        resume: Continue an unfinished file of the same job.
        overwrite: Replace a file that exists.
        replaces: The job reads the file that it replaces, so that file must exist until the end.

    Raises:
        CheckpointError: The file exists, is unfinished, is being written, belongs to another job, or cannot be written.
    """
    validate_target(path, overwrite=overwrite or replaces, resume=resume)
    with _locked(path):
        # Another job may have finished the file before the lock was acquired.
        validate_target(path, overwrite=overwrite or replaces, resume=resume)
        with translate_os_errors(path):
            checkpoint = _load_or_create(path, kind, identity, resume=resume, overwrite=overwrite)
            file = partial_path(path).open("ab", buffering=0)
        with file:
            file.truncate(checkpoint.size)
            copy_permissions(path, partial_path(path))
            output = ResumableFile(path, file, checkpoint)
            try:
                yield output
            except BaseException:
                if not file.closed:
                    output.commit()
                if not output.checkpoint.is_worth_keeping:
                    output.discard()
                raise


def partial_path(path: Path) -> Path:
    """Return the name of an unfinished file."""
    return path.with_name(path.name + ".part")


def validate_target(path: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Raise CheckpointError if ``path`` cannot be written, or exists and must not be replaced."""
    with translate_os_errors(path):
        if not path.name or "\0" in str(path) or path.is_dir():
            raise CheckpointError(f"{str(path)!r} is not the name of a file.", hint="Name a file.", reason="not_a_file")
        exists = path.exists() or path.is_symlink()
    if exists and (path.is_symlink() or not path.is_file()):
        raise CheckpointError(
            f"{path} is a link, a device or a pipe, which the finished file would replace.",
            hint="Name a regular file.",
            reason="not_a_file",
        )
    if exists and not overwrite:
        raise CheckpointError(f"{path} exists.", hint=_hint_if_exists(path, resume=resume), reason="exists")


def _hint_if_exists(path: Path, *, resume: bool) -> str:
    if not resume:
        return "Choose another path, or pass overwrite=True."
    if has_unfinished(path):
        return (
            "An unfinished file that would replace it exists. Pass both resume=True and overwrite=True to continue it."
        )
    return "It appears to be complete, so there is nothing to resume. To write it again, pass overwrite=True."


def has_unfinished(path: Path) -> bool:
    """Return True if an unfinished file with rows exists beside ``path``."""
    with suppress(OSError):
        return (
            checkpoint_path(path).is_file() and partial_path(path).is_file() and partial_path(path).stat().st_size > 0
        )
    return False


def load_unfinished(path: Path, kind: JobKind[S]) -> Checkpoint[S] | None:
    """Return the checkpoint of an unfinished file, or None if there is none.

    A kill in the last step of a job leaves the checkpoint of a file that is finished. It does not count.
    """
    with translate_os_errors(checkpoint_path(path)):
        checkpoint = read_checkpoint(checkpoint_path(path), kind)
        if checkpoint is None or not path.exists() or has_unfinished(path):
            return checkpoint
    return None if checkpoint.size or not checkpoint.is_worth_keeping else checkpoint


def _load_or_create(
    path: Path, kind: JobKind[S], identity: JobIdentity, *, resume: bool, overwrite: bool
) -> Checkpoint[S]:
    """Return the checkpoint to continue from. A new job saves an empty one first, then creates its file."""
    remove_temporaries(path)
    known = checkpoint_path(path).is_file()
    found = None if overwrite and not resume else load_unfinished(path, kind)
    if found is not None and (resume or found.is_worth_keeping):
        return _check_resumable(path, identity, found, resume=resume)
    part = partial_path(path)
    if part.is_symlink() or (part.exists() and not known):
        raise CheckpointError(
            f"{part} exists, but this package did not write it.", hint=f"Move {part.name} away.", reason="not_ours"
        )
    remove_checkpoint(checkpoint_path(path))
    checkpoint = Checkpoint(
        kind=kind.name, fingerprint=identity.fingerprint, description=identity.description, state=kind.initial
    )
    write_checkpoint(checkpoint_path(path), checkpoint, path)
    part.unlink(missing_ok=True)
    create_exclusively(part, path)
    return checkpoint


def _check_resumable(path: Path, identity: JobIdentity, found: Checkpoint[S], *, resume: bool) -> Checkpoint[S]:
    part = partial_path(path)
    if not resume:
        raise CheckpointError(
            f"{part} is an unfinished {found.kind} of {found.rows:,} rows.",
            hint="Pass resume=True to continue it, or overwrite=True to start over.",
            reason="unfinished",
        )
    if found.fingerprint != identity.fingerprint:
        raise CheckpointError(
            f"{part} belongs to another job: {found.description}. This job: {identity.description}.",
            hint="Repeat the same call, or pass overwrite=True to start over.",
            reason="other_job",
        )
    if part.is_symlink() or not part.is_file() or part.stat().st_size < found.size:
        if not found.size and not part.is_symlink() and not part.exists():
            create_exclusively(part, path)
            return found
        raise CheckpointError(
            f"{part} has fewer rows than its checkpoint counts.",
            hint="Pass overwrite=True to start over.",
            reason="unusable",
        )
    return found


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with translate_os_errors(path):
        lock = OutputLock.acquire(path)
    if lock is None:
        raise CheckpointError(
            f"Another job is writing {path}.", hint="Wait for it, or choose another path.", reason="locked"
        )
    try:
        yield
    finally:
        lock.release()


@contextmanager
def translate_os_errors(path: Path) -> Generator[None]:
    """Raise CheckpointError for errors of the operating system, with the path and what to do."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror or type(error).__name__}.",
            hint="Fix the problem or choose another path. Rows written so far are kept, and resume=True continues them.",
            reason="not_writable",
        ) from error
