"""The server of the benchmarks: answers encoded before they are asked for, on a bare protocol, in its own process.

``/gzip`` before a path compresses; ``/limited/LOW-HIGH`` counts each key's requests against 10 a second with a burst
of 15, and answers after LOW to HIGH milliseconds, half of them on the way up.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import date
from urllib.parse import unquote

from benchmarks import data

RATE, BURST = 10.0, 15.0
KEPT = 300
"""How many answers stay encoded."""

_TOO_MANY = b'{"code":"too_many_requests","message":"Too many requests"}'


@asynccontextmanager
async def running() -> AsyncGenerator[str]:
    """Run the server in a process of its own for the time of the block; gives its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.server", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


WALL = 10_000
"""A search that counts just this many may hold more, so that it would be cut; here it holds one less."""


class Bucket:
    """What one key may still send, and how often it was refused."""

    def __init__(self, now: float) -> None:
        self.tokens, self.since, self.refused = BURST, now, 0

    def take(self, now: float) -> bool:
        """Take a token; tell whether there was one."""
        self.tokens = min(BURST, self.tokens + (now - self.since) * RATE)
        self.since = now
        if self.tokens < 1:
            self.refused += 1
            return False
        self.tokens -= 1
        return True


class Answers:
    """Makes and keeps the answers."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, bytes], bytes] = {}
        self._buckets: dict[bytes, Bucket] = {}

    def of(self, target: bytes, body: bytes) -> bytes:
        """Return the whole answer to a request."""
        answer = self._kept.get((target, body))
        if answer is None:
            answer = _answer(target, body)
            if len(self._kept) < KEPT:
                self._kept[target, body] = answer
        return answer

    def admit(self, key: bytes) -> bool:
        """Count a request against its key's limit."""
        now = asyncio.get_running_loop().time()
        return self._buckets.setdefault(key, Bucket(now)).take(now)


class Protocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._transport = transport

    def data_received(self, chunk: bytes) -> None:
        """Answer every whole request."""
        self._buffer += chunk
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
            after = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < after:
                return
            body, self._buffer = self._buffer[end + 4 : after], self._buffer[after:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        target = head.split(b" ", 2)[1]
        if not target.startswith(b"/limited/"):
            self._transport.write(self._answers.of(target, body))
            return
        _, _, span, rest = target.split(b"/", 3)
        low, high = (int(bound) / 2000 for bound in span.split(b"-"))
        loop = asyncio.get_running_loop()
        loop.call_later(random.uniform(low, high), self._arrive, head, b"/" + rest, body, low, high)

    def _arrive(self, head: bytes, target: bytes, body: bytes, low: float, high: float) -> None:
        key = re.search(rb"(?i)\nx-api-key: *(\S+)", head)
        admitted = self._answers.admit(key[1] if key else b"")
        answer = self._answers.of(target, body) if admitted else _http(429, _TOO_MANY)
        asyncio.get_running_loop().call_later(random.uniform(low, high), self._transport.write, answer)


def _answer(target: bytes, body: bytes) -> bytes:
    path, _, query = unquote(target.decode()).partition("?")
    plain = path.removeprefix("/gzip")
    content = _ROUTES[plain](query, body)
    return _http(200, content, zipped=plain != path)


def _http(status: int, content: bytes, *, zipped: bool = False) -> bytes:
    content = gzip.compress(content, 6) if zipped else content
    encoding = "Content-Encoding: gzip\r\n" if zipped else ""
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n{encoding}Content-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _visits(query: str, body: bytes) -> bytes:
    asked = json.loads(body)
    first, last = date.fromisoformat(asked["start_date"]), date.fromisoformat(asked["end_date"])
    page = int(_parameter(query, "page[num]") or 1)
    number = first.toordinal() % 5_000_000 * data.PAGES_A_DAY + page - 1
    total = ((last - first).days + 1) * data.ROWS_A_DAY
    return data.visits_page(number, total - (total == WALL), page)


def _companies(query: str, _: bytes) -> bytes:
    ids = (_parameter(query, "ids") or "").split(",")
    return data.companies_page(int(ids[0]), len(ids))


def _search(query: str, _: bytes) -> bytes:
    cursor = _parameter(query, "page[cursor]")
    return data.summaries_page(int(cursor.removeprefix("cursor-")) if cursor else 0)


def _parameter(query: str, name: str) -> str | None:
    pairs = dict(pair.partition("=")[::2] for pair in query.split("&"))
    return pairs.get(name)


_ROUTES: dict[str, Callable[[str, bytes], bytes]] = {
    "/v1/web-visits": _visits,
    "/v1/companies": _companies,
    "/v1/companies/search": _search,
    "/v1/users/me": lambda _query, _body: data.user(),
}


async def serve() -> None:
    """Serve until standard input ends, so that no server outlives its client."""
    loop, answers = asyncio.get_running_loop(), Answers()
    server = await loop.create_server(lambda: Protocol(answers), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(serve())
    except ImportError:
        asyncio.run(serve())
