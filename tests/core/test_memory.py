"""The memory that a response may use."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress

import pytest

from leadfeeder_async import ServerError
from tests.support.clients import client_of
from tests.support.requirements import needs_memory_limits
from tests.support.servers import cut, http, raw_server

MIB = 1024 * 1024
CAP = 16 * MIB

CODE = """
import asyncio, resource, sys
from leadfeeder_async import AsyncLeadfeeder, ResponseTooLargeError
from leadfeeder_async._core.endpoint import RetrySafety

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

async def main(url, cap):
    async with AsyncLeadfeeder("k", base_url=url, account_id="1", max_body_bytes=cap, retries=0) as lf:
        try:
            await lf.request("GET", "/v1/warm-up", idempotent=True, may_charge=False)
        except ResponseTooLargeError:
            raise SystemExit("the first response is small")
        before = peak()
        try:
            await lf.request("GET", "/v1/bomb", idempotent=True, may_charge=False)
        except ResponseTooLargeError:
            print(peak() - before)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def packed(wbits: int) -> bytes:
    """Return 300 MiB of spaces in some 300 kB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join(packer.compress(b" " * MIB) for _ in range(300)) + packer.flush()


@needs_memory_limits
@pytest.mark.parametrize(("coding", "wbits"), [("gzip", 31), ("deflate", 15)])
async def test_decompression_bomb(coding: str, wbits: int) -> None:
    """A response of 300 kB that unpacks to 300 MiB raises ResponseTooLargeError and uses little memory."""
    body = packed(wbits)
    assert len(body) < 400_000
    small = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with raw_server(small, cut(head.encode() + body)) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CODE, server.url, str(CAP), stdout=subprocess.PIPE
        )
        out, _ = await process.communicate()
    assert int(out) <= CAP + 8 * MIB


@pytest.mark.parametrize("fault", [False, True])
async def test_bodies_are_released_after_their_calls(fault: bool) -> None:
    """A body is not kept until the timeout of its request, neither of a response that succeeds nor of one that fails."""
    body = b'{"data":{"id":"1"},"x":"%b"}' % (b"x" * MIB)
    gc.collect()
    tracemalloc.start()
    try:
        async with raw_server(http(body, "500 Oops" if fault else "200 OK")) as server:
            async with client_of(server.url, retries=0, timeout=60.0) as lf:
                before = 0
                for number in range(12):
                    with suppress(ServerError):
                        await lf.users.me()
                    gc.collect()
                    if number == 2:
                        before = tracemalloc.get_traced_memory()[0]
                kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 2 * MIB
