"""One attempt of a call: how far it got, and what is told of it afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

import msgspec

from leadfeeder_async.errors import Phase, Sent


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt did: the event that ``on_attempt`` gets. It never holds the key, a query or a body."""

    operation: str
    """The ``operationId`` of the contract, or ``request`` for a route it does not know."""
    method: str
    path: str
    """The path template, without the ids."""
    number: int
    """1 for the first attempt of a call."""
    started_at: datetime
    """When it began to wait for its slot, in UTC."""
    elapsed: float
    """Seconds from there to its end."""
    seconds: Mapping[Phase, float]
    """Where they went: ``slot`` and ``limiter`` are waits before it was sent, ``headers`` the server's time."""
    phase: Phase
    """The last of these phases."""
    sent: Sent
    status: int | None = None
    """The HTTP status; None where no answer came."""
    error: str | None = None
    """The name of the exception that ended it; None for a good answer."""
    request_id: str | None = None
    charged: int | None = None
    """The credits its answer charged; None where it does not say."""


OnAttempt: TypeAlias = Callable[[Attempt], None]
"""Takes the event of each attempt, on the event loop: it must not block."""


class Passage:
    """How far one attempt has come, and how long each phase took."""

    __slots__ = ("_since", "answered", "left", "owner", "phase", "seconds", "tried", "watched")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        """The transport it runs on: a borrowed aiohttp session reports others' requests too."""
        self.phase: Phase = "slot"
        self.seconds: dict[Phase, float] = {}
        self.tried = False
        """Whether it got as far as to need a connection."""
        self.watched = False
        """Whether it is seen to leave; where nobody looks, nothing proves that it did not."""
        self.left = False
        """Whether it has a connection to leave on."""
        self.answered = False
        self._since = time.perf_counter()

    def enter(self, phase: Phase) -> None:
        """Begin the next phase."""
        now = time.perf_counter()
        self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + now - self._since
        self.phase, self._since = phase, now

    def leave(self) -> None:
        """Begin to send and to wait for the answer."""
        self.left = True
        self.enter("headers")

    def end(self) -> None:
        """Count the time of the last phase."""
        self.enter(self.phase)

    @property
    def sent(self) -> Sent:
        """Whether the request left: before it has a connection, no byte of it can have been written."""
        if self.answered:
            return "yes"
        return "maybe" if self.left or (self.tried and not self.watched) else "no"
