"""How far an unfinished export is: which rows are safe, and where its list goes on.

Rows are written and synced first, the checkpoint after them: a kill between the two leaves rows that no checkpoint
knows, which the next run cuts off. The other order would lose rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
from msgspec.structs import replace

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.atomic_file import copy_permissions, replace_atomically
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.page import ResumePosition

VERSION = 1

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class DayOffset(msgspec.Struct, frozen=True, kw_only=True):
    """Where in the file the rows of one range of days begin."""

    end: date
    offset: Count


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be read."""

    end: date | None = None
    """The last of the days it belongs to, in a list of days."""
    message: str


MAX_RECORDED_GAPS = 100
"""How many of them are written down one by one; of the others there is the number."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an unfinished export."""

    version: int = VERSION
    fingerprint: str
    query: str
    """What is exported, in words."""
    days: DateWindow | None = None
    """The days that were asked for, where they were."""
    position: ResumePosition | None = None
    rows: Count = 0
    size: Count = 0
    """The bytes of the rows that are safe."""
    offsets: tuple[DayOffset, ...] = ()
    gaps: tuple[Gap, ...] = ()
    """What could not be read so far, and is not read again."""
    unrecorded_gaps: Count = 0
    unrecorded_gaps_until: date | None = None
    """The last day of those, in a list of days."""
    gaps_acknowledged: bool = False
    """It is told that something is missing: who goes on finishes without it."""
    credits: Count = 0
    """The most that the job may have cost so far, requests under way included."""
    paid_ids: tuple[str, ...] = ()
    """The ids that these credits were for and whose rows are not safe: asking for them again is paid for."""

    @property
    def resume_offset(self) -> int:
        """Where in the file the rows begin that the rest of the list may bring again, if each belongs to one day."""
        day = self.position.day if self.position else None
        offsets = [mark.offset for mark in self.offsets if day is None or mark.end >= day]
        return min(offsets, default=0)

    @property
    def gap_count(self) -> int:
        """How many rows or parts of the list could not be read so far."""
        return len(self.gaps) + self.unrecorded_gaps

    def for_resume(self) -> Checkpoint:
        """Return the state with which a run begins: what it reads again may be whole this time."""
        if self.position is None:
            return replace(self, gaps=(), unrecorded_gaps=0)
        day = self.position.day
        kept = tuple(one for one in self.gaps if not (day and one.end and one.end >= day))
        again = day is not None and self.unrecorded_gaps_until is not None and self.unrecorded_gaps_until >= day
        return replace(self, gaps=kept, unrecorded_gaps=0 if again else self.unrecorded_gaps)

    def with_offset(self, window: DateWindow | None, offset: int) -> tuple[DayOffset, ...]:
        """Return the marks with one for the rows of ``window``, and without those of days that are done."""
        if window is None:
            return self.offsets
        kept = tuple(mark for mark in self.offsets if mark.end >= window.start)
        known = any(mark.end == window.end for mark in kept)
        return kept if known else (*kept, DayOffset(end=window.end, offset=offset))


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read the checkpoint at ``path``; None where there is none, CheckpointError where it cannot be used."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    problem = ""
    try:
        found = msgspec.json.decode(data, type=Checkpoint)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = "cannot be read"
    else:
        if found.version == VERSION:
            return found
        problem = f"was written by another version of this package (format {found.version}, here {VERSION})"
    raise CheckpointError(f"{path} {problem}.", hint="Start over with overwrite=True (--overwrite).")


def write_checkpoint(path: Path, checkpoint: Checkpoint, part: Path) -> None:
    """Put ``checkpoint`` in place of the one before in one step, so that there is always a whole one.

    It is as private as the ``part`` whose rows it may speak of.
    """
    fresh = _temporary_path(path)
    copy_permissions(part, fresh)
    fresh.write_bytes(msgspec.json.encode(checkpoint))
    replace_atomically(fresh, path)


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint at ``path``, and the one that a kill kept from taking its place."""
    for one in (path, _temporary_path(path)):
        one.unlink(missing_ok=True)


def _temporary_path(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def lines_from(path: Path, offset: int, size: int) -> Iterable[bytes]:
    """Read the lines of a file between two offsets."""
    with path.open("rb") as file:
        file.seek(offset)
        while offset < size:
            line = file.readline()
            offset += len(line)
            yield line.rstrip(b"\n")
