"""The server of the benchmarks: cached responses on a plain asyncio protocol, in its own process.

The path prefix ``/gzip`` compresses responses. The prefix ``/limited/LOW-HIGH`` limits each key to 10 requests a second
with a burst of 15, and responds after LOW to HIGH milliseconds, half of them before the request is counted.
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
from typing import TypeAlias
from urllib.parse import unquote

from benchmarks import data

RATE, BURST = 10.0, 15.0
MAX_CACHED = 300
"""The number of responses in the cache."""

ROW_LIMIT = 10_000
"""A client splits a search with exactly this total, because it may have more rows. The server reports one row less."""

Routes: TypeAlias = "dict[str, Callable[[str, bytes], bytes]]"

_TOO_MANY = b'{"code":"too_many_requests","message":"Too many requests"}'


@asynccontextmanager
async def running() -> AsyncGenerator[str]:
    """Run the server in a child process during the block. Yield its URL."""
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


class Bucket:
    """The token bucket of one key."""

    def __init__(self, now: float) -> None:
        self.tokens, self.updated_at = BURST, now

    def try_acquire(self, now: float) -> bool:
        """Take a token. Return False if there is none."""
        self.tokens = min(BURST, self.tokens + (now - self.updated_at) * RATE)
        self.updated_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Responses:
    """A cache of encoded responses, and the rate limit of each key."""

    def __init__(self, routes: Routes, cached: int) -> None:
        self._routes = routes
        self._cached = cached
        self._cache: dict[tuple[bytes, bytes], bytes] = {}
        self._buckets: dict[bytes, Bucket] = {}

    def get(self, target: bytes, body: bytes) -> bytes:
        """Return the encoded response to a request."""
        response = self._cache.get((target, body))
        if response is None:
            response = _encode_response(self._routes, target, body)
            if len(self._cache) < self._cached:
                self._cache[target, body] = response
        return response

    def admit(self, key: bytes) -> bool:
        """Count a request. Return False if its key exceeds the rate limit."""
        now = asyncio.get_running_loop().time()
        return self._buckets.setdefault(key, Bucket(now)).try_acquire(now)


class Protocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, responses: Responses) -> None:
        self._responses = responses
        self._buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Store the transport."""
        self._transport = transport

    def data_received(self, chunk: bytes) -> None:
        """Respond to every complete request."""
        self._buffer += chunk
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
            next_request = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < next_request:
                return
            body, self._buffer = self._buffer[end + 4 : next_request], self._buffer[next_request:]
            self._respond(head, body)

    def _respond(self, head: bytes, body: bytes) -> None:
        target = head.split(b" ", 2)[1]
        if not target.startswith(b"/limited/"):
            self._transport.write(self._responses.get(target, body))
            return
        _, _, latency, rest = target.split(b"/", 3)
        low, high = (int(bound) / 2000 for bound in latency.split(b"-"))
        loop = asyncio.get_running_loop()
        loop.call_later(random.uniform(low, high), self._respond_limited, head, b"/" + rest, body, low, high)

    def _respond_limited(self, head: bytes, target: bytes, body: bytes, low: float, high: float) -> None:
        key = re.search(rb"(?i)\nx-api-key: *(\S+)", head)
        admitted = self._responses.admit(key[1] if key else b"")
        response = self._responses.get(target, body) if admitted else _http(429, _TOO_MANY)
        asyncio.get_running_loop().call_later(random.uniform(low, high), self._transport.write, response)


def _encode_response(routes: Routes, target: bytes, body: bytes) -> bytes:
    path, _, query = unquote(target.decode()).partition("?")
    route = path.removeprefix("/gzip")
    content = routes[route](query, body)
    return _http(200, content, compressed=route != path)


def _http(status: int, content: bytes, *, compressed: bool = False) -> bytes:
    content = gzip.compress(content, 6) if compressed else content
    encoding = "Content-Encoding: gzip\r\n" if compressed else ""
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n{encoding}Content-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _visits(query: str, body: bytes) -> bytes:
    search = json.loads(body)
    first, last = date.fromisoformat(search["start_date"]), date.fromisoformat(search["end_date"])
    page = int(parameter(query, "page[num]") or 1)
    number = first.toordinal() % 5_000_000 * data.PAGES_A_DAY + page - 1
    total = ((last - first).days + 1) * data.ROWS_A_DAY
    return data.visits_page(number, total - (total == ROW_LIMIT), page)


def _companies(query: str, _: bytes) -> bytes:
    ids = (parameter(query, "ids") or "").split(",")
    return data.companies_page(int(ids[0]), len(ids))


def _search(query: str, _: bytes) -> bytes:
    cursor = parameter(query, "page[cursor]")
    return data.summaries_page(int(cursor.removeprefix("cursor-")) if cursor else 0)


def parameter(query: str, name: str) -> str | None:
    """Return a parameter of a query."""
    pairs = dict(pair.partition("=")[::2] for pair in query.split("&"))
    return pairs.get(name)


_ROUTES: Routes = {
    "/v1/web-visits": _visits,
    "/v1/companies": _companies,
    "/v1/companies/search": _search,
    "/v1/users/me": lambda _query, _body: data.user(),
}


async def serve(routes: Routes = _ROUTES, cached: int = MAX_CACHED) -> None:
    """Serve until standard input ends, which also happens if the parent process is killed.

    Args:
        routes: The function that encodes the response of each path, from the query and the body of a request.
        cached: The number of responses in the cache.
    """
    loop, responses = asyncio.get_running_loop(), Responses(routes, cached)
    server = await loop.create_server(lambda: Protocol(responses), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(serve())
    except ImportError:
        asyncio.run(serve())
