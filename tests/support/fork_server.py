"""Start processes in a few milliseconds: ``python -m tests.support.fork_server MODULE`` imports a module once and forks.

For each line of its input, a JSON list of arguments, the server forks a process that runs the module as ``__main__``. It
writes ``started PID`` and later ``ended PID EXITCODE``.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import FrameType


class ForkedProcess:
    """A process of the server. Its methods are those of ``asyncio.subprocess.Process``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def end(self, returncode: int) -> None:
        """Record the exit code."""
        self.returncode = returncode
        self._ended.set()

    def kill(self) -> None:
        """Kill the process with SIGKILL, unless it has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


class ForkServer:
    """A server process, from the view of the test."""

    def __init__(self, server: asyncio.subprocess.Process) -> None:
        self._server = server
        self._starting = list[asyncio.Future[ForkedProcess]]()
        self._running = dict[int, ForkedProcess]()

    async def start(self, *arguments: str, stdout: Path | None = None) -> ForkedProcess:
        """Start a process with these arguments. Its standard output goes to a file, or nowhere."""
        assert self._server.stdin is not None
        self._starting.append(asyncio.get_running_loop().create_future())
        started = self._starting[-1]
        self._server.stdin.write(json.dumps([str(stdout or os.devnull), *arguments]).encode() + b"\n")
        return await started

    async def read(self) -> None:
        """Read the messages of the server until it ends."""
        assert self._server.stdout is not None
        async for line in self._server.stdout:
            kind, pid, *code = line.decode().split()
            if kind == "started":
                self._running[int(pid)] = ForkedProcess(int(pid))
                self._starting.pop(0).set_result(self._running[int(pid)])
            else:
                self._running.pop(int(pid)).end(int(code[0]))

    async def kill_all(self) -> None:
        """Kill all processes that still run, and wait for their end."""
        running = list(self._running.values())
        for process in running:
            process.kill()
        await asyncio.gather(*(process.wait() for process in running))


@asynccontextmanager
async def fork_server(module: str) -> AsyncIterator[ForkServer]:
    """Run a server for a module. Kill all its processes on exit."""
    command = (sys.executable, "-m", "tests.support.fork_server", module)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    server = ForkServer(process)
    reader = asyncio.create_task(server.read())
    try:
        yield server
    finally:
        await server.kill_all()
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await reader


def serve(module: str) -> None:
    """Fork a process for each line of the input."""
    importlib.import_module(module)
    signal.signal(signal.SIGCHLD, report_ended)
    for line in sys.stdin:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # "started" is written before "ended"
        pid = os.fork()
        if not pid:
            run(module, *json.loads(line))
        os.write(1, f"started {pid}\n".encode())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def report_ended(_: int, __: FrameType | None) -> None:
    """Write a line for each process that has ended."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            os.write(1, f"ended {ended[0]} {os.waitstatus_to_exitcode(ended[1])}\n".encode())


def run(module: str, stdout: str, *arguments: str) -> None:
    """Run a module in a forked process, and end the process."""
    code: object = 0
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    sys.argv[1:] = arguments
    del sys.modules[module]
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as error:
        code = error.code
    except BaseException:  # noqa: BLE001 - a process that ends must not return to the loop of the server
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else int(bool(code)))


if __name__ == "__main__":
    serve(sys.argv[1])
