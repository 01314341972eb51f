"""The state of a watch: the visits that were delivered, as far as they can still be returned again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime

import msgspec

from leadfeeder_async._core.normalize import UNREADABLE
from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.watch.watch_plan import ONE_DAY, CountedDays

VERSION = 1
"""The version of the format. A state of another version is refused."""


class WatchState(msgspec.Struct, kw_only=True):
    """The visits that were delivered or will not be, and the rows that the server counted.

    Only visits of days that are still counted are kept, plus those of the day before, because the days of the account
    may differ from those of UTC.
    """

    version: int = VERSION
    fingerprint: str
    """A hash of the account and the filters."""
    description: str
    since: datetime
    """Visits that started before are not delivered by the first reading."""
    opened_on: datetime | None = None
    """The time by the clock of this machine at which a new watch was opened, until the first complete reading."""
    starts_when_opened: bool = False
    """True if ``since`` is the time at which the watch was opened."""
    floor: date
    """The first day that is counted."""
    known: dict[date, list[str]] = msgspec.field(default_factory=dict[date, list[str]])
    """The ids of visits that were delivered, or will not be, by day."""
    parts: list[CountedDays] = msgspec.field(default_factory=list[CountedDays])
    """The days that are counted, each part with one request."""
    newest_first: bool = False
    """True if the server returns the newest visits first."""
    read_on: date | None = None
    """The day of the latest complete reading of all days, or None before the first one."""
    complete_until: date | None = None
    """The day of the newest visit when a poll last ended, so that no visit before it can be missing."""

    @property
    def newest(self) -> date | None:
        """The day of the newest visit."""
        return max(self.known, default=None)

    @property
    def rows_per_day(self) -> Counter[date]:
        """The number of known visits of each day."""
        return Counter({day: len(ids) for day, ids in self.known.items()})

    def add(self, day: date, visit_id: str) -> None:
        """Add a visit."""
        self.known.setdefault(day, []).append(visit_id)

    def forget_before(self, day: date) -> None:
        """Remove the visits of days that are no longer counted."""
        for old in [known for known in self.known if known < day - ONE_DAY]:
            del self.known[old]


class Acknowledged(msgspec.Struct, frozen=True, array_like=True):
    """A visit that was delivered, as one line after the state in a file."""

    day: date
    id: str
    part: int
    """The position of the part whose count includes it, or -1 while all days are being read."""


class _Header(msgspec.Struct, frozen=True):
    """The part of a state that all versions have."""

    version: int
    fingerprint: str
    description: str = ""


_ENCODER = msgspec.json.Encoder()


def encode_state(state: WatchState) -> bytes:
    """Return a state as one line of JSON."""
    return _ENCODER.encode(state) + b"\n"


def encode_acknowledged(visit: Acknowledged) -> bytes:
    """Return a delivered visit as one line of JSON."""
    return _ENCODER.encode(visit) + b"\n"


def decode_state(data: bytes, name: str, fingerprint: str, description: str) -> WatchState | None:
    """Return a saved state with the visits that were delivered after it, or None if nothing was saved.

    A line that a kill or a power failure has left incomplete is ignored, so its visit is delivered again.

    Args:
        data: The saved state.
        name: The name of its file or store, for errors.
        fingerprint: The account and filters of this watch.
        description: The same in words.

    Raises:
        CheckpointError: It is damaged, or another version of this package or another watch wrote it.

    """
    if not data:
        return None
    first, _, rest = data.partition(b"\n")
    try:
        header = msgspec.json.decode(first, type=_Header)
        if header.version == VERSION and header.fingerprint == fingerprint:
            state = msgspec.json.decode(first, type=WatchState)
            _add_acknowledged(state, rest.split(b"\n")[:-1])
            return state
    except UNREADABLE:
        raise CheckpointError(
            f"{name} is damaged, or is not the state of a watch.",
            hint="Pass another path or store as state=. This one was not changed.",
        ) from None
    else:
        if header.version != VERSION:
            problem = f"was written by another version of this package (format {header.version}, not {VERSION})"
        else:
            problem = f"belongs to another watch: {header.description}. This watch: {description}"
    raise CheckpointError(
        f"{name} {problem}.",
        hint="Pass another path or store as state=, or delete this one. A new watch delivers no older visits.",
    )


def _add_acknowledged(state: WatchState, lines: Iterable[bytes]) -> None:
    decoder = msgspec.json.Decoder(Acknowledged)
    for line in lines:
        try:
            visit = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # a line that was cut off: its visit is delivered again
        apply_acknowledged(state, visit)


def apply_acknowledged(state: WatchState, visit: Acknowledged) -> None:
    """Add a delivered visit to a state."""
    state.add(visit.day, visit.id)
    if 0 <= visit.part < len(state.parts):
        part = state.parts[visit.part]
        state.parts[visit.part] = CountedDays(part.window, part.count + 1)
