"""Random fault sequences against a ledger: no request takes effect twice, and each unsent request is retried."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import struct
from dataclasses import dataclass, field

import pytest

from leadfeeder_async import (
    AsyncLeadfeeder,
    AttemptEvent,
    LeadfeederError,
    OutcomeUnknownError,
    RateLimitedError,
)
from leadfeeder_async._core.endpoint import RetrySafety
from tests.support.clients import client_of, request_options
from tests.support.servers import http

SCHEDULES = 5_000 if os.environ.get("SOAK") else 1_000
ONCE = {RetrySafety.BILLED_READ, RetrySafety.NON_IDEMPOTENT}

REFUSED = "refused"
STEPS = [
    REFUSED,  # Nothing listens, so that nothing can be sent.
    "reset before reading",
    "read and close",
    "act and close",
    "act and cut the body",
    "fail before acting",
    "act and fail",
    "too fast",
    "garbage",
    "good",
]
CLOSE = "Connection: close\r\n"  # Always, because a kept connection cannot be refused.
FAIL, GOOD = http(b"{}", "500 Oops", CLOSE), http(b'{"data":{"id":"1"}}', "200 OK", CLOSE)
SLOW, GARBAGE = http(b"{}", "429 Slow", CLOSE + "Retry-After: 0.001\r\n"), b"\x00\x01 garbage\r\n\r\n"


@dataclass
class World:
    """A server that follows a sequence of steps, and a ledger of the requests that took effect."""

    steps: list[str] = field(default_factory=list)
    effects: dict[str, int] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)
    sent: list[bool] = field(default_factory=list)
    """Whether each attempt may have been sent."""
    port: int = 0
    socket: socket.socket | None = None
    serving: asyncio.Task[asyncio.Server] | None = None

    @property
    def step(self) -> str:
        return self.steps[0] if self.steps else "good"

    def begin(self, steps: list[str]) -> None:
        self.steps, self.tried, self.sent = list(steps), [], []
        self.prepare()

    def prepare(self) -> None:
        """Listen if the next step needs it. The port stays bound in any case, and this method never waits."""
        if self.socket is None or (self.step == REFUSED and self.serving is not None):
            self.close()
            self.socket = socket.socket()
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(("127.0.0.1", self.port))
            self.port = self.socket.getsockname()[1]
        if self.step != REFUSED and self.serving is None:
            self.socket.listen(16)
            self.serving = asyncio.create_task(asyncio.start_server(self.handle, sock=self.socket))

    def close(self) -> None:
        if self.serving is not None and self.serving.done():
            self.serving.result().close()
        elif self.serving is not None:
            self.serving.cancel()
        if self.socket is not None:
            self.socket.close()
        self.serving = self.socket = None

    def attempted(self, event: AttemptEvent) -> None:
        """Record a finished attempt and proceed to the next step."""
        self.tried.append(self.step)
        self.sent.append(event.sent != "no")
        if self.steps:
            self.steps.pop(0)
        self.prepare()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.respond(reader, writer, self.step)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, step: str) -> None:
        if step == "reset before reading":
            option = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
            return
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        name = json.loads(await reader.readexactly(length))["id"]
        if step in {"act and close", "act and cut the body", "act and fail", "good"}:
            self.effects[name] = self.effects.get(name, 0) + 1
        responses = {
            "act and cut the body": GOOD[:-6],
            "fail before acting": FAIL,
            "act and fail": FAIL,
            "too fast": SLOW,
        }
        writer.write(responses.get(step, GOOD if step == "good" else GARBAGE if step == "garbage" else b""))
        await writer.drain()


async def send(lf: AsyncLeadfeeder, name: str, retry_safety: RetrySafety) -> LeadfeederError | None:
    try:
        await lf.request("POST", "/v1/x", json={"id": name}, **request_options(retry_safety))
    except LeadfeederError as error:
        return error
    return None


def check(world: World, name: str, retry_safety: RetrySafety, error: LeadfeederError | None) -> None:
    """Compare one finished call with the ledger."""
    done, details = world.effects.get(name, 0), f"{retry_safety} {world.tried} {error!r}"
    assert not any(sent for sent, step in zip(world.sent, world.tried, strict=True) if step == REFUSED), details
    if retry_safety in ONCE:
        assert done <= 1, details
        assert not done or error is None or isinstance(error, OutcomeUnknownError), details
    assert error is not None or done >= 1, details
    assert not isinstance(error, OutcomeUnknownError) or retry_safety in ONCE, details
    assert not isinstance(error, OutcomeUnknownError) or world.tried[-1] not in {REFUSED, "too fast"}, details
    if error is not None and world.tried[-1] in {REFUSED, "too fast"}:
        assert len(world.tried) == 3, details  # It was retried while attempts were left.
    if error is not None and world.tried[-1] == "too fast":
        assert isinstance(error, RateLimitedError), details


async def test_random_fault_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """No charge or creation happens twice or is hidden, and each unsent request is retried."""
    monkeypatch.setattr("leadfeeder_async._core.retry.INITIAL_BACKOFF", 0.0001)
    rng, world, kinds = random.Random(8), World(), list(RetrySafety)
    outcomes = dict[str, int]()
    world.begin([])
    for group in range(SCHEDULES // 5):  # A new client for each group, so that its retry budget is not exhausted.
        async with client_of(f"http://127.0.0.1:{world.port}", on_attempt=world.attempted, timeout=5) as lf:
            for number in range(5):
                name, retry_safety = f"{group}.{number}", rng.choice(kinds)
                world.begin([rng.choice(STEPS) for _ in range(rng.randrange(4))])
                error = await send(lf, name, retry_safety)
                check(world, name, retry_safety, error)
                outcomes[type(error).__name__] = outcomes.get(type(error).__name__, 0) + 1
    world.close()
    assert {"NoneType", "OutcomeUnknownError", "ServerError", "ConnectError"} <= set(outcomes), outcomes
