"""Start processes in a few milliseconds: a server imports a module once, and forks for each process.

Windows has no fork. There, each process is a new Python (`NewProcesses`). A forked process runs the module as ``__main__``. It has its own arguments, environment, working directory and standard
streams, and it ends like any Python process, with exit handlers. Python reads some variables only when it starts, so
the environment of a forked process must contain the same values of these as that of the server (`STARTUP_VARIABLES`).
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Protocol, TextIO

import pytest

from tests.support.paths import ROOT

HAS_FORK = hasattr(os, "fork")

KILLED = -9 if HAS_FORK else 1
"""The exit code of a killed process."""

STARTUP_VARIABLES = ("PYTHON", "LANG", "LC_", "TZ", "LD_")
"""The first letters of the variables that Python and its libraries read when they start."""

LATER_VARIABLES = {"PYTHON_KEYRING_BACKEND", "PYTHONASYNCIODEBUG"}
"""The variables with such a name that are read later."""

CODE_SIZE = 4
THREADS = Path("/proc/self/task")


def startup_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python reads when it starts."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(STARTUP_VARIABLES) and name not in LATER_VARIABLES
    }


class PipedProcess(Protocol):
    """A process with pipes. The methods are those of ``asyncio.subprocess.Process``."""

    @property
    def stdout(self) -> asyncio.StreamReader | None: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...

    async def communicate(self, stdin: bytes | None = None) -> tuple[bytes, bytes]: ...

    def send_signal(self, number: int) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class ProcessServer(Protocol):
    """Starts processes that run a module."""

    async def start(
        self, *arguments: str, stdin: int | IO[bytes] | None = None, stdout: int | Path = DEVNULL,
        stderr: int | None = None, environment: Mapping[str, str] | None = None,
    ) -> PipedProcess:  # fmt: skip
        """Start a process with these arguments. Streams are given as in ``asyncio.create_subprocess_exec``.

        Its standard output goes to a file, to a pipe or nowhere.
        """
        ...

    def stop(self) -> None:
        """End the server and its processes."""
        ...


class ForkedProcess:
    """A forked process. Its methods are those of ``subprocess.Popen``."""

    def __init__(self, status: socket.socket) -> None:
        self.returncode: int | None = None
        self._status = status
        self.pid = self._receive()

    def poll(self) -> int | None:
        """Return the exit code, or None if the process is running."""
        if self.returncode is None:
            with suppress(BlockingIOError):
                self._end(self._receive(socket.MSG_DONTWAIT))
        return self.returncode

    def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        if self.returncode is None:
            self._end(self._receive())
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def fileno(self) -> int:
        """Return a file descriptor that can be read when the process has ended."""
        return self._status.fileno()

    def _receive(self, flags: int = 0) -> int:
        data = self._status.recv(CODE_SIZE, flags)
        assert data, "the fork server has ended"
        return int.from_bytes(data, "big", signed=True)

    def _end(self, code: int) -> None:
        self.returncode = code
        self._status.close()


class AsyncForkedProcess:
    """A forked process with pipes."""

    def __init__(
        self,
        process: ForkedProcess,
        stdin: int | None,
        stdout: asyncio.StreamReader | None,
        stderr: asyncio.StreamReader | None,
    ) -> None:
        self._process, self._stdin, self.stdout, self.stderr = process, stdin, stdout, stderr
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None if the process is running."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        if self.returncode is None:
            number = self._process.fileno()
            loop.add_reader(number, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(number)
        return self._process.wait()

    async def communicate(self, stdin: bytes | None = None) -> tuple[bytes, bytes]:
        """Write to stdin, read the other pipes to their ends, and wait for the end of the process."""
        outputs = await asyncio.gather(*map(_read, (self.stdout, self.stderr)), self._write(stdin))
        await self.wait()
        return outputs[0], outputs[1]

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """Send SIGTERM to the process, unless it has ended."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    async def _write(self, data: bytes | None) -> None:
        if self._stdin is not None:
            await asyncio.to_thread(_write_all, self._stdin, data or b"")


async def _read(reader: asyncio.StreamReader | None) -> bytes:
    return b"" if reader is None else await reader.read()


def _write_all(number: int, data: bytes) -> None:
    with os.fdopen(number, "wb", buffering=0) as pipe, suppress(BrokenPipeError):
        while data:
            data = data[pipe.write(data) :]


class NewProcess:
    """A process in a Python of its own, with pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.stdout = process.stdout

    @property
    def returncode(self) -> int | None:
        """The exit code, or None if the process is running."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        return await self._process.wait()

    async def communicate(self, stdin: bytes | None = None) -> tuple[bytes, bytes]:
        """Write to stdin, read the other pipes to their ends, and wait for the end of the process."""
        return await self._process.communicate(stdin)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended. On Windows, kill it and skip the test."""
        if sys.platform == "win32":
            self.kill()
            pytest.skip("Windows sends no signals to processes")
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def terminate(self) -> None:
        """Send SIGTERM to the process, unless it has ended."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        with suppress(ProcessLookupError):
            self._process.kill()


class NewProcesses:
    """Starts a new Python for each process, on systems without fork.

    Args:
        module: The module that the processes run.

    """

    def __init__(self, module: str) -> None:
        self._command = (sys.executable, "-m", module)
        self._running = list[NewProcess]()

    async def start(
        self, *arguments: str, stdin: int | IO[bytes] | None = None, stdout: int | Path = DEVNULL,
        stderr: int | None = None, environment: Mapping[str, str] | None = None,
    ) -> NewProcess:  # fmt: skip
        """Start a process with these arguments, in the working directory of this process."""
        environment = dict(os.environ if environment is None else environment)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
        with ExitStack() as stack:
            output = stack.enter_context(stdout.open("wb")) if isinstance(stdout, Path) else stdout
            process = await asyncio.create_subprocess_exec(
                *self._command, *arguments, stdin=stdin, stdout=output, stderr=stderr, env=environment
            )
        self._running = [running for running in self._running if running.returncode is None]
        self._running.append(NewProcess(process))
        return self._running[-1]

    def stop(self) -> None:
        """Kill the processes."""
        for process in self._running:
            process.kill()


class ForkServer:
    """A server process, from the view of the test.

    Args:
        module: The module that the processes run.
        environment: The environment of the server. Default: that of this process.

    """

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(os.environ if environment is None else environment)
        self._running = list[ForkedProcess]()
        self._control, control = socket.socketpair()
        with control:
            number = control.fileno()
            self._server = subprocess.Popen(
                (sys.executable, "-m", "tests.support.fork_server", module, str(number)),
                pass_fds=[number], stdin=DEVNULL, env=self._environment, cwd=ROOT, start_new_session=True,
            )  # fmt: skip

    def fork(
        self, *arguments: str, stdin: int = 0, stdout: int = 1, stderr: int = 2,
        environment: Mapping[str, str] | None = None,
    ) -> ForkedProcess:  # fmt: skip
        """Start a process with these arguments, in the working directory of this process.

        Args:
            *arguments: The arguments of the module.
            stdin: The file descriptor that becomes the stdin of the process.
            stdout: The file descriptor that becomes its stdout.
            stderr: The file descriptor that becomes its stderr.
            environment: The environment. Default: that of the server.

        """
        environment = self._environment if environment is None else environment
        assert startup_variables(environment) == startup_variables(self._environment), "needs a process of its own"
        status, its_status = socket.socketpair()
        with its_status:
            socket.send_fds(self._control, [b"+"], [its_status.fileno(), stdin, stdout, stderr])
        request = {"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())}
        status.sendall(json.dumps(request).encode() + b"\n")
        self._running = [process for process in self._running if process.returncode is None]
        self._running.append(ForkedProcess(status))
        return self._running[-1]

    async def start(
        self, *arguments: str, stdin: int | IO[bytes] | None = None, stdout: int | Path = DEVNULL,
        stderr: int | None = None, environment: Mapping[str, str] | None = None,
    ) -> AsyncForkedProcess:  # fmt: skip
        """Start a process with these arguments, in the working directory of this process."""
        opened, readers, writer = list[int](), list[asyncio.StreamReader | None](), None
        for stream in (stdout, stderr):
            readers.append(None)
            if stream == PIPE:
                end, number = os.pipe()
                readers[-1] = await _reader(end)
            elif isinstance(stream, Path) or stream == DEVNULL:
                path = stream if isinstance(stream, Path) else os.devnull
                number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            else:
                number = os.dup(2 if stream is None else stream)
            opened.append(number)
        if stdin == PIPE:
            number, writer = os.pipe()
            opened.append(number)
        else:
            opened.append(os.dup(0 if stdin is None else stdin if isinstance(stdin, int) else stdin.fileno()))
        try:
            process = self.fork(
                *arguments, stdin=opened[2], stdout=opened[0], stderr=opened[1], environment=environment
            )
        finally:
            for number in opened:
                os.close(number)
        return AsyncForkedProcess(process, writer, *readers)

    def stop(self) -> None:
        """End the server. It kills all its processes."""
        self._control.close()
        self._server.wait()
        for process in self._running:
            process.wait()


async def _reader(number: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(number, "rb", buffering=0))
    return reader


def start_server(module: str) -> ProcessServer:
    """Return a server for a module. It forks if the system can."""
    return ForkServer(module) if HAS_FORK else NewProcesses(module)


@asynccontextmanager
async def process_server(module: str) -> AsyncIterator[ProcessServer]:
    """Run a server for a module. Kill all its processes on exit."""
    server = start_server(module)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


def import_once(module: str) -> None:
    """Import a module and the modules in its ``NOT_FROZEN``.

    A process that ends searches all objects that are not frozen for garbage, which would take most of its time.
    """
    loaded = importlib.import_module(module)
    gc.collect()
    gc.freeze()
    for name in getattr(loaded, "NOT_FROZEN", ()):
        importlib.import_module(name)


def serve(module: str, control: socket.socket) -> socket.socket:
    """Fork for each request. Return in the forked process, with the connection that the request comes from."""
    import_once(module)
    statuses = dict[int, socket.socket]()

    def report_ended(_: int = 0, __: FrameType | None = None, *, flags: int = os.WNOHANG) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, flags))[0]:
                with statuses.pop(ended[0]) as status, suppress(BrokenPipeError):
                    status.sendall(os.waitstatus_to_exitcode(ended[1]).to_bytes(CODE_SIZE, "big", signed=True))

    signal.signal(signal.SIGCHLD, report_ended)
    while True:
        data, numbers, _, _ = socket.recv_fds(control, 1, 4)
        if not data:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
            break
        assert not THREADS.exists() or len(list(THREADS.iterdir())) == 1, "a process with threads must not fork"
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # the status of a process is kept before it ends
        pid = os.fork()
        if not pid:
            for target, number in enumerate(numbers[1:]):
                os.dup2(number, target)
            for other in (control, *statuses.values()):
                other.detach()
            os.closerange(3, numbers[0])
            os.closerange(numbers[0] + 1, os.sysconf("SC_OPEN_MAX"))
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            return socket.socket(fileno=numbers[0])
        for number in numbers[1:]:
            os.close(number)
        statuses[pid] = socket.socket(fileno=numbers[0])
        statuses[pid].sendall(pid.to_bytes(CODE_SIZE, "big"))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    for pid in list(statuses):
        os.kill(pid, signal.SIGKILL)
    report_ended(flags=0)
    sys.exit()


def run(module: str, connection: socket.socket) -> None:
    """Run a module in a forked process as Python would run it in a new one."""
    with connection, connection.makefile("rb") as lines:
        request = json.loads(lines.readline())
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.stdin = sys.__stdin__ = open_stream(0, sys.stdin)
    sys.stdout = sys.__stdout__ = open_stream(1, sys.stdout)
    sys.stderr = sys.__stderr__ = open_stream(2, sys.stderr)
    sys.argv[1:] = request["arguments"]
    del sys.modules[module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def open_stream(number: int, before: TextIO) -> TextIO:
    """Open a standard stream as Python does when it starts. ``before`` has the encoding that Python chose."""
    assert isinstance(before, io.TextIOWrapper)
    is_unbuffered = before.write_through
    buffering = 0 if is_unbuffered and number else -1
    buffer = os.fdopen(number, "wb" if number else "rb", buffering, closefd=False)
    getattr(buffer, "raw", buffer).name = before.name
    return io.TextIOWrapper(
        buffer, before.encoding, before.errors, newline="\n", write_through=is_unbuffered,
        line_buffering=not is_unbuffered and (number == 2 or buffer.isatty()),
    )  # fmt: skip


if __name__ == "__main__":
    run(sys.argv[1], serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2]))))
