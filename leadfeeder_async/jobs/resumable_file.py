"""Files that a long job writes row by row, and that an interrupted job continues.

Rows go to ``….part`` as JSON lines, with a checkpoint beside it. When the last row is saved, the file gets its final
name, or is converted into a table first if its suffix asks for one.

A job writes its checkpoint before it creates its ``….part``, and removes it after that. A ``….part`` without a
checkpoint was therefore not written by a job, and is not changed. The same is true of a link, and of a file that begins
with a byte that no job writes first.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Generic, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.atomic_file import (
    WINDOWS_FILE_IN_USE_ERRORS,
    copy_permissions,
    create_exclusively,
    open_working_file,
    remove_temporaries,
    retry_while_open,
    stat_working_file,
    unknown_file_error,
)
from leadfeeder_async.jobs.checkpoint import (
    Checkpoint,
    JobKind,
    JobState,
    is_checkpoint,
    lines_between,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from leadfeeder_async.jobs.output_lock import OutputLock
from leadfeeder_async.jobs.tabular import write_table
from leadfeeder_async.models.columns import Column
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.types import CsvDialect

CHECKPOINT_INTERVAL = 1.0
"""Seconds between checkpoints. After a kill, the rows of at most that time are read again."""

_IS_WINDOWS = sys.platform == "win32"

_SHORT_PATH = 200
"""Characters of a path that is short enough on Windows, with the suffixes of all working files."""

RESUME_HINT = "Fix the problem or choose another path. Rows written so far are kept: resume=True continues the job."
_CHOOSE_PATH = "Fix the problem, or choose another path."

S = TypeVar("S", bound=JobState)


class JobIdentity(msgspec.Struct, frozen=True):
    """The job that writes a file, so that two jobs never share one."""

    fingerprint: str
    """A hash that only the same job has."""
    description: str
    """The job in words, for errors."""
    days: DateWindow | None = None
    """The date range of the job, if it has one."""


class ResumableFile(Generic[S]):
    """The unfinished file of one job, opened for this process alone, and its checkpoint.

    Args:
        path: The final path.
        file: The unfinished file, opened for appending.
        checkpoint: The checkpoint from which the job continues.
        overwrite: Replace a file that has the final name.
    """

    def __init__(self, path: Path, file: IO[bytes], checkpoint: Checkpoint[S], *, overwrite: bool) -> None:
        self._target = path
        self._overwrite = overwrite
        self.path = partial_path(path)
        """The path of the unfinished file."""
        self._file = file
        self.checkpoint: Checkpoint[S] = checkpoint
        """The rows so far and the state after them. The next save writes it."""
        self._saved: Checkpoint[S] = checkpoint
        self._saved_at = time.monotonic()

    @property
    def state(self) -> S:
        """The state of the job after the latest row."""
        return self.checkpoint.state

    def lines(self, offset: int = 0) -> Iterator[bytes]:
        """Yield the rows that are written so far, from an offset in bytes."""
        return lines_between(self.path, offset, self.checkpoint.size)

    def set_account(self, account_id: str | None) -> None:
        """Record the account of the job.

        Raises:
            CheckpointError: The rows so far belong to another account.
        """
        recorded = self.checkpoint.account_id
        if recorded is not None and recorded != account_id:
            raise CheckpointError(
                f"{self.path} has rows of account {recorded}, but this job reads account {account_id}.",
                hint=f"Use the key of account {recorded}, or pass overwrite=True without resume=True to start over.",
                reason="other_job",
            )
        if recorded != account_id:
            self.checkpoint = replace(self.checkpoint, account_id=account_id)

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
            self.save()
        return is_due

    def update(self, state: S) -> None:
        """Replace the state. The next save writes it."""
        self.checkpoint = replace(self.checkpoint, state=state)

    def save_state(self, state: S) -> None:
        """Save a state at once, beside the rows that the checkpoint on the disk counts.

        Rows written since then stay uncounted until the next save, so the state must be valid without them.
        """
        self.update(state)
        self._saved = replace(self._saved, state=state)
        with translate_os_errors(self.path):
            write_checkpoint(checkpoint_path(self._target), self._saved, self.path)

    def restart(self, state: S) -> None:
        """Drop all rows, and begin again with a state."""
        self.checkpoint = self._saved = replace(self.checkpoint, rows=0, size=0, state=state)
        self._saved_at = time.monotonic()
        with translate_os_errors(self.path):
            write_checkpoint(checkpoint_path(self._target), self.checkpoint, self.path)
            self._file.truncate(0)  # after the checkpoint, so that it never counts more rows than the file has

    def save(self) -> None:
        """Sync the rows so far, then save the checkpoint that counts them."""
        if self.checkpoint is not self._saved:
            with translate_os_errors(self.path):
                os.fsync(self._file.fileno())
                write_checkpoint(checkpoint_path(self._target), self.checkpoint, self.path)
            self._saved = self.checkpoint
        self._saved_at = time.monotonic()

    def finish(
        self,
        columns: Callable[[], tuple[Column, ...]],
        csv_dialect: CsvDialect = "plain",
        *,
        only_columns: bool = False,
    ) -> None:
        """Give the file its final name, as a table if its suffix asks for one.

        The rows are saved first. If the last step fails, as on a full disk, only that step is left to do.

        Args:
            columns: Returns the columns of the table.
            csv_dialect: The dialect of a .csv file.
            only_columns: Write only these columns into JSON lines too. Defaults to False: they have complete records.

        Raises:
            CheckpointError: A file with the final name has appeared, or the last step failed.
        """
        self.checkpoint = replace(self.checkpoint, is_complete=True)
        self.save()
        validate_target(self._target, overwrite=self._overwrite, resume=True)
        self._file.close()  # Windows cannot rename an open file
        with translate_os_errors(self._target):
            write_table(self.path, self._target, columns, csv_dialect, only_columns=only_columns)
            self._remove()

    def close(self) -> None:
        """Save the rows so far, unless the file is finished. Remove the file if it has nothing worth keeping."""
        if not self._file.closed:
            self.save()
            self._file.close()
        if not self.checkpoint.is_worth_keeping:
            with translate_os_errors(self.path):
                self._remove()

    def _remove(self) -> None:
        """Remove the unfinished file if it still exists, and then its checkpoint."""
        retry_while_open(lambda: self.path.unlink(missing_ok=True))
        remove_checkpoint(checkpoint_path(self._target))

    def _write(self, data: bytes) -> None:
        try:
            with translate_os_errors(self.path):
                remaining = memoryview(data)
                while remaining:
                    remaining = remaining[self._file.write(remaining) :]
        except CheckpointError:
            # A partial row is dropped, which may make the room that the checkpoint needs.
            self._file.truncate(self.checkpoint.size)
            raise


@contextmanager
def open_resumable(
    path: Path,
    kind: JobKind[S],
    identity: JobIdentity,
    initial: S,
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
        initial: The state of a job that starts.
        resume: Continue an unfinished file of the same job.
        overwrite: Replace a file that exists, or start over.
        replaces: The job reads the file that it replaces, so that file must exist until the end.

    Raises:
        CheckpointError: The file exists, is unfinished, is being written, belongs to another job, or cannot be written.
    """
    validate_target(path, overwrite=overwrite or replaces, resume=resume)
    with _locked(path):
        # Another job may have finished the file before the lock was acquired.
        validate_target(path, overwrite=overwrite or replaces, resume=resume)
        checkpoint = _load(path, kind, identity, resume=resume, overwrite=overwrite)
        if checkpoint is None:
            checkpoint = Checkpoint(
                kind=kind.name, fingerprint=identity.fingerprint, description=identity.description, state=initial
            )
            _create(path, checkpoint)
        else:
            remove_temporaries(path)  # of a table that a killed job was writing
        with open_partial_file(path, checkpoint.size) as file:
            output = ResumableFile(path, file, checkpoint, overwrite=overwrite or replaces)
            try:
                yield output
            except BaseException:
                output.close()
                raise


def partial_path(path: Path) -> Path:
    """Return the name of an unfinished file."""
    return path.with_name(path.name + ".part")


def checkpoint_path(path: Path) -> Path:
    """Return the name of the checkpoint of an unfinished file."""
    return path.with_name(path.name + ".checkpoint")


def is_same_file(path: Path, other: Path) -> bool:
    """Return True if two paths name one file, whether it exists or not."""
    with translate_os_errors(path, _CHOOSE_PATH):
        return path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other))


def validate_target(path: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Raise CheckpointError if ``path`` cannot be written, or exists and must not be replaced."""
    with translate_os_errors(path, _CHOOSE_PATH):
        if not path.name or "\0" in str(path) or path.is_dir():
            raise CheckpointError(f"{str(path)!r} is not the name of a file.", hint="Name a file.", reason="not_a_file")
        exists = path.exists() or path.is_symlink()
    if _IS_WINDOWS and path.name != path.name.rstrip(". "):
        raise CheckpointError(
            f"{path} ends in a dot or a space, which Windows removes from the names of files.",
            hint="Choose another name.",
            reason="not_a_file",
        )
    if exists and (path.is_symlink() or not path.is_file()):
        raise CheckpointError(
            f"{path} is a link, a device or a pipe, which the finished file would replace.",
            hint="Name a regular file.",
            reason="not_a_file",
        )
    if exists and not overwrite:
        raise _exists_error(path, resume=resume)


def check_replaceable(path: Path) -> None:
    """Raise CheckpointError if Windows would not replace a file at the end of the job.

    Windows does not replace a file that is read-only, or that is open in most other programs, such as Excel.
    """
    if not _IS_WINDOWS or not path.is_file():
        return
    try:
        os.close(os.open(path, os.O_RDWR))
    except PermissionError as error:
        raise CheckpointError(
            f"{path} cannot be replaced, because it is read-only or open in another program.",
            hint="Close it there, or choose another path.",
            reason="not_writable",
        ) from error


def _exists_error(path: Path, *, resume: bool) -> CheckpointError:
    if not resume:
        return CheckpointError(f"{path} exists.", hint="Choose another path, or pass overwrite=True.", reason="exists")
    if _has_rows(path):
        return CheckpointError(
            f"{path} exists, and so does an unfinished file that would replace it.",
            hint="Pass both resume=True and overwrite=True to continue it.",
            reason="replaces_unfinished",
        )
    return CheckpointError(
        f"{path} exists and appears to be complete, so there is nothing to resume.",
        hint="Choose another path, or pass overwrite=True to write it again.",
        reason="exists",
    )


def load_unfinished(path: Path, kind: JobKind[S]) -> Checkpoint[S] | None:
    """Return the checkpoint of an unfinished file, or None if there is nothing to continue.

    A kill in the last step of a job leaves the checkpoint of a file that is finished and may have been moved since. It
    does not count.

    Args:
        path: The final path.
        kind: The kind of job.

    Raises:
        CheckpointError: The checkpoint cannot be used.
    """
    with translate_os_errors(checkpoint_path(path), action="read"):
        checkpoint = read_checkpoint(checkpoint_path(path), kind)
        if checkpoint is None or not checkpoint.is_worth_keeping:
            return None
        is_finished = checkpoint.is_complete or path.exists()
        return None if checkpoint.size and is_finished and not _has_rows(path) else checkpoint


def _has_rows(path: Path) -> bool:
    """Return True if an unfinished file with rows exists beside ``path``."""
    part = partial_path(path)
    return checkpoint_path(path).is_file() and part.is_file() and part.stat().st_size > 0


def _load(
    path: Path, kind: JobKind[S], identity: JobIdentity, *, resume: bool, overwrite: bool
) -> Checkpoint[S] | None:
    """Return the checkpoint to continue from, or None if the job starts."""
    if overwrite and not resume:
        return None
    found = load_unfinished(path, kind)
    if found is None:
        return None
    part = partial_path(path)
    if not resume:
        raise CheckpointError(
            f"{part} is an unfinished {found.kind} of {found.rows:,} rows.",
            hint="Pass resume=True to continue it, or overwrite=True to start over.",
            reason="unfinished",
        )
    if found.fingerprint != identity.fingerprint:
        options = ", with other options" if found.description == identity.description else ""
        raise CheckpointError(
            f"{part} belongs to another job: {found.description}. This job: {identity.description}{options}.",
            hint="Repeat the same call, or pass overwrite=True without resume=True to start over.",
            reason="other_job",
        )
    with translate_os_errors(part):
        _check_part(part)
        if not found.size and not part.exists():
            create_exclusively(part, path)
        if not part.exists() or part.stat().st_size < found.size:
            raise CheckpointError(
                f"{part} has fewer rows than its checkpoint counts.",
                hint="Pass overwrite=True without resume=True to start over.",
                reason="damaged",
            )
    return found


def _check_part(part: Path) -> None:
    """Raise CheckpointError if no job can have written an unfinished file.

    Each row begins with a brace. A power failure can leave null bytes in place of rows that no checkpoint counts.
    """
    try:
        with os.fdopen(open_working_file(part, os.O_RDONLY), "rb") as file:
            begin = file.read(1)
    except FileNotFoundError:
        return
    if begin not in {b"", b"{", b"\0"}:
        raise unknown_file_error(part)


def _create(path: Path, checkpoint: Checkpoint[S]) -> None:
    """Save the checkpoint of a job that starts, and then create its unfinished file."""
    part, saved = partial_path(path), checkpoint_path(path)
    with translate_os_errors(saved):
        is_known = is_checkpoint(saved)
    with translate_os_errors(part):
        if stat_working_file(part) is not None and not is_known:
            raise unknown_file_error(part)
        _check_part(part)
        remove_temporaries(path)
        remove_temporaries(saved)
    with translate_os_errors(saved):
        write_checkpoint(saved, checkpoint, path)
    with translate_os_errors(part):
        retry_while_open(lambda: part.unlink(missing_ok=True))
        create_exclusively(part, path)


@contextmanager
def open_partial_file(path: Path, size: int) -> Generator[IO[bytes]]:
    """Open the unfinished file for appending, and cut off rows that its checkpoint does not count."""
    part = partial_path(path)
    with translate_os_errors(part):
        file = os.fdopen(open_working_file(part, os.O_WRONLY | os.O_APPEND), "ab", buffering=0)
    with file:
        with translate_os_errors(part):
            copy_permissions(part, path)
            file.truncate(size)
        yield file


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
def translate_os_errors(
    path: Path, hint: str = RESUME_HINT, *, action: Literal["written", "read"] = "written"
) -> Generator[None]:
    """Raise CheckpointError for errors of the operating system, with the path, what could not be done, and a hint."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be {action}: {_describe(error, path)}.",
            hint=hint,
            reason="not_writable",
        ) from error


def _describe(error: OSError, path: Path) -> str:
    is_long = _IS_WINDOWS and len(str(path.absolute())) > _SHORT_PATH
    if is_long and isinstance(error, FileNotFoundError) and path.parent.is_dir():
        return "The path is too long"  # Windows reports a path of 260 characters or more as missing
    if getattr(error, "winerror", None) in WINDOWS_FILE_IN_USE_ERRORS:
        return f"{error.strerror}. Probably another program has it open"
    return error.strerror or type(error).__name__
