"""A Redis server of a test's own, on a free port of loopback, that keeps nothing."""

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
        """Start it, empty, and wait until it answers."""
        assert BINARY is not None
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen([BINARY, *words], cwd=self._folder, stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                if self.say("PING"):
                    return
            except redis.ConnectionError:
                time.sleep(0.01)
        raise AssertionError("redis-server does not answer")

    def kill(self) -> None:
        """Kill it; what it knew is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def say(self, *command: str | int) -> object:
        """Send one command and return the reply."""
        with redis.Redis(port=self.port, decode_responses=True, socket_timeout=5) as client:
            return client.execute_command(*command)


def require_redis() -> None:
    """Skip where no server can be had, unless the environment says that it must be there."""
    if BINARY is None:
        reason = "no redis-server on this machine: apt-get install redis-server"
        (pytest.fail if os.environ.get("REQUIRE_REDIS") else pytest.skip)(reason)


def unused_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
