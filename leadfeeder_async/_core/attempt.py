"""One attempt of a call: how far it got, and what is told of it afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

import msgspec

from leadfeeder_async.errors import RequestPhase, SentState


class AttemptEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt did: the event that ``on_attempt`` gets. It never holds the key, a query or a body."""

    operation: str
    """The ``operationId`` of the contract, or ``request`` for a route it does not know."""
    method: str
    path: str
    """The path template, without the ids."""
    attempt: int
    """1 for the first attempt of a call."""
    started_at: datetime
    """When it began to wait for its slot, in UTC."""
    elapsed: float
    """Seconds from there to its end."""
    phase_durations: Mapping[RequestPhase, float]
    """Where they went: ``slot`` and ``limiter`` are waits before it was sent, ``headers`` the server's time."""
    phase: RequestPhase
    """The last of these phases."""
    sent: SentState
    status: int | None = None
    """The HTTP status; None where no answer came."""
    error: str | None = None
    """The name of the exception that ended it; None for a good answer."""
    request_id: str | None = None
    credits_charged: int | None = None
    """The credits its answer charged; None where it does not say."""


OnAttempt: TypeAlias = Callable[[AttemptEvent], None]
"""Takes the event of each attempt, on the event loop: it must not block."""


class AttemptTrace:
    """How far one attempt has come, and how long each phase took."""

    __slots__ = (
        "_since",
        "connect_started",
        "has_connection",
        "phase",
        "phase_durations",
        "response_started",
        "send_is_observable",
        "transport",
    )

    def __init__(self, owner: object) -> None:
        self.transport = owner
        """The transport it runs on: a borrowed aiohttp session reports others' requests too."""
        self.phase: RequestPhase = "slot"
        self.phase_durations: dict[RequestPhase, float] = {}
        self.connect_started = False
        """Whether it got as far as to need a connection."""
        self.send_is_observable = False
        """Whether it is seen to leave; where nobody looks, nothing proves that it did not."""
        self.has_connection = False
        """Whether it has a connection to leave on."""
        self.response_started = False
        self._since = time.perf_counter()

    def start_phase(self, phase: RequestPhase) -> None:
        """Begin the next phase."""
        now = time.perf_counter()
        self.phase_durations[self.phase] = self.phase_durations.get(self.phase, 0.0) + now - self._since
        self.phase, self._since = phase, now

    def mark_connected(self) -> None:
        """Begin to send and to wait for the answer."""
        self.has_connection = True
        self.start_phase("headers")

    def finish(self) -> None:
        """Count the time of the last phase."""
        self.start_phase(self.phase)

    @property
    def sent(self) -> SentState:
        """Whether the request left: before it has a connection, no byte of it can have been written."""
        if self.response_started:
            return "yes"
        return "maybe" if self.has_connection or (self.connect_started and not self.send_is_observable) else "no"
