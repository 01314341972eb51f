"""Checkpoints: how far an unfinished file is, and the state from which its job continues.

Rows are written and synced before the checkpoint that counts them. A kill between the two leaves rows that no
checkpoint counts, and the next run cuts them off. The other order would lose rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Generic, TypeAlias, TypeVar

import msgspec

from leadfeeder_async._core.normalize import UNREADABLE
from leadfeeder_async.errors import CheckpointError, CheckpointReason
from leadfeeder_async.jobs.atomic_file import open_working_file, remove_temporaries, retry_while_open, write_atomically

FORMAT = "leadfeeder-async checkpoint"
"""The first value of each checkpoint, of any version. A file without it was not written by a job."""

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


class Checkpoint(msgspec.Struct, Generic[S], frozen=True, kw_only=True, tag_field="format", tag=FORMAT):
    """How far an unfinished file is."""

    version: int = VERSION
    kind: str
    """The name of the kind of job."""
    fingerprint: str
    description: str
    rows: Count = 0
    """The number of rows that are synced to the disk."""
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
    except UNREADABLE:
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
        CheckpointError: The file is a link, a folder, an empty file or something else that no job wrote.
    """
    try:
        with os.fdopen(open_working_file(path, os.O_RDONLY), "rb") as file:
            begin = file.read(len(_BEGIN))
    except FileNotFoundError:
        return False
    if begin == _BEGIN:
        return True
    # A kill leaves no such file, because a checkpoint is complete before it gets its name.
    problem = "is not a checkpoint" if begin else "is empty"
    raise CheckpointError(
        f"{path} {problem}. Either no job wrote it, or a power failure damaged it.",
        hint=f"Move it and {path.stem}.part away to start over, or choose another path.",
        reason="not_ours",
    )


_BEGIN = b'{"format":' + msgspec.json.encode(FORMAT)
"""The first bytes of each checkpoint."""


def write_checkpoint(path: Path, checkpoint: Checkpoint[S], like: Path) -> None:
    """Write a checkpoint in one step. It gets the permissions of the file that it describes."""
    write_atomically(path, msgspec.json.encode(checkpoint), like)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, and the temporary files of checkpoints that killed jobs left."""
    remove_temporaries(path)  # first, so that a kill in between leaves nothing without a checkpoint
    retry_while_open(lambda: path.unlink(missing_ok=True))


def lines_between(path: Path, offset: int, end: int) -> Iterator[bytes]:
    """Yield the lines of a file from one offset in bytes to another."""
    with path.open("rb") as file:
        file.seek(offset)
        while offset < end:
            line = file.readline()
            offset += len(line)
            yield line.rstrip(b"\n")
