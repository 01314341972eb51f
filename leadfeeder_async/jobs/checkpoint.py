"""Checkpoints: how far an unfinished file is, and the state from which its job continues.

Rows are written and synced before the checkpoint that counts them. A kill between the two leaves rows that no
checkpoint counts, and the next run cuts them off. The other order would lose rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Generic, TypeAlias, TypeVar

import msgspec

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.atomic_file import remove_temporaries, write_atomically

VERSION = 2

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one kind of job. Each job has its own."""

    @property
    def is_worth_keeping(self) -> bool:
        """True if the next run must know this state although no row is written yet."""
        return False


S = TypeVar("S", bound=JobState)


class JobIdentity(msgspec.Struct, frozen=True):
    """The job that writes a file, so that two jobs never share one."""

    fingerprint: str
    """A hash that only the same job has."""
    description: str
    """The job in words, for errors."""


class Checkpoint(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """How far an unfinished file is."""

    version: int = VERSION
    kind: str
    fingerprint: str
    description: str
    rows: Count = 0
    """The number of rows that are safe."""
    size: Count = 0
    """The bytes of those rows."""
    state: S

    @property
    def is_worth_keeping(self) -> bool:
        """True if the next run must know this checkpoint."""
        return self.rows > 0 or self.state.is_worth_keeping


class JobKind(msgspec.Struct, Generic[S], frozen=True):
    """A kind of job: its name, and the type and the first value of its state."""

    name: str
    checkpoint_type: type[Checkpoint[S]]
    initial: S


class _Header(msgspec.Struct, frozen=True):
    version: int
    kind: str = ""


def checkpoint_path(path: Path) -> Path:
    """Return the name of the checkpoint of an unfinished file."""
    return path.with_name(path.name + ".checkpoint")


def read_checkpoint(path: Path, kind: JobKind[S]) -> Checkpoint[S] | None:
    """Return a checkpoint, or None if there is none.

    Raises:
        CheckpointError: It is damaged, or another version of this package or another kind of job wrote it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        header = msgspec.json.decode(data, type=_Header)
        if (header.version, header.kind) == (VERSION, kind.name):
            return msgspec.json.decode(data, type=kind.checkpoint_type)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = "is damaged"
    else:
        if header.version == VERSION:
            problem = f"belongs to another kind of job ({header.kind or 'unknown'}, not {kind.name})"
        else:
            problem = f"was written by another version of this package (format {header.version}, here {VERSION})"
    raise CheckpointError(
        f"{path} {problem}.", hint="Start over with overwrite=True, or choose another path.", reason="unusable"
    )


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
