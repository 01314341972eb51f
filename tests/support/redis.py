"""A Redis server for a test. It listens on a free port of 127.0.0.1 and stores nothing on disk."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis

BINARY = shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """A ``redis-server`` process that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = unused_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start an empty server and wait until it responds."""
        assert BINARY is not None
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen([BINARY, *arguments], cwd=self._folder, stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                if self.execute("PING"):
                    return
            except redis.ConnectionError:
                time.sleep(0.01)
        raise AssertionError("redis-server did not respond within 5 s")

    def kill(self) -> None:
        """Kill the server, which loses its data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def execute(self, *command: str | int) -> object:
        """Send a command and return the response."""
        with redis.Redis(port=self.port, decode_responses=True, socket_timeout=5) as client:
            return client.execute_command(*command)


def require_redis() -> None:
    """Skip the test if no Redis server is installed, or fail it if the environment sets ``REQUIRE_REDIS``."""
    if BINARY is None:
        reason = "redis-server is not installed: apt-get install redis-server"
        if os.environ.get("REQUIRE_REDIS"):
            pytest.fail(reason)
        pytest.skip(reason)


def unused_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
