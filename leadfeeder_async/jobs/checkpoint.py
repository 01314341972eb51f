"""Checkpoints: how far an unfinished file is, and the state from which its job continues.

Rows are written and synced before the checkpoint that counts them. A kill between the two leaves rows that no
checkpoint counts, and the next run cuts them off. The other order would lose rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Generic, TypeAlias, TypeVar

import msgspec

from leadfeeder_async.errors import CheckpointError, CheckpointReason
from leadfeeder_async.jobs.atomic_file import remove_temporaries, unknown_file_error, write_atomically

VERSION = 2
"""The version of the format. A checkpoint of another version is refused."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one kind of job. Each job has its own."""

    @property
    def is_worth_keeping(self) -> bool:
        """True if the next run must know this state although no row is written yet."""
        return False


S = TypeVar("S", bound=JobState)


class Checkpoint(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """How far an unfinished file is."""

    version: int = VERSION
    kind: str
    """The name of the kind of job."""
    fingerprint: str
    description: str
    rows: Count = 0
    """The number of rows that are safe."""
    size: Count = 0
    """The bytes of those rows."""
    account_id: str | None = None
    """The account of the rows. None before the first request, or if they belong to no account."""
    is_complete: bool = False
    """True if all rows are saved, so that the file only needs its final name."""
    state: S

    @property
    def is_worth_keeping(self) -> bool:
        """True if the next run must know this checkpoint."""
        return self.rows > 0 or self.state.is_worth_keeping


class JobKind(msgspec.Struct, Generic[S], frozen=True):
    """A kind of job, which decides the type of the state in its checkpoints."""

    name: str
    checkpoint_type: type[Checkpoint[S]]


class _Header(msgspec.Struct, frozen=True):
    """The part of a checkpoint that all versions have."""

    version: int
    fingerprint: str
    kind: str = ""


def read_checkpoint(path: Path, kind: JobKind[S]) -> Checkpoint[S] | None:
    """Return a checkpoint, or None if there is none.

    Raises:
        CheckpointError: It is damaged, or another version of this package or another kind of job wrote it.
    """
    if not is_checkpoint(path):
        return None
    reason: CheckpointReason
    try:
        data = path.read_bytes()
        header = msgspec.json.decode(data, type=_Header)
        if (header.version, header.kind) == (VERSION, kind.name):
            return msgspec.json.decode(data, type=kind.checkpoint_type)
    except FileNotFoundError:  # its job has just finished
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        problem, reason = "is damaged", "damaged"
    else:
        if header.version == VERSION:
            problem, reason = f"belongs to another kind of job ({header.kind!r}, not {kind.name!r})", "other_job"
        else:
            problem = f"was written by another version of this package (format {header.version}, not {VERSION})"
            reason = "other_version"
    hint = "Pass overwrite=True without resume=True to start over."
    raise CheckpointError(f"{path} {problem}.", hint=hint, reason=reason)


def is_checkpoint(path: Path) -> bool:
    """Return True if the file is a checkpoint, perhaps a damaged one, and False if there is none.

    Raises:
        CheckpointError: The file is a link, a folder or something else that no job wrote.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise unknown_file_error(path)
    try:
        with path.open("rb") as file:
            begin = file.read(1)
    except FileNotFoundError:
        return False
    if begin not in {b"", b"{"}:
        raise unknown_file_error(path)
    return True


def write_checkpoint(path: Path, checkpoint: Checkpoint[S], like: Path) -> None:
    """Write a checkpoint in one step. It gets the permissions of the file that it describes."""
    write_atomically(path, msgspec.json.encode(checkpoint), like)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, and the temporary files of checkpoints that killed jobs left."""
    path.unlink(missing_ok=True)
    remove_temporaries(path)


def lines_from(path: Path, offset: int, size: int) -> Iterator[bytes]:
    """Yield the lines of a file between two offsets."""
    with path.open("rb") as file:
        file.seek(offset)
        while offset < size:
            line = file.readline()
            offset += len(line)
            yield line.rstrip(b"\n")
