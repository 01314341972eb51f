"""Output in any locale, closed streams, closed pipes and full disks, and the options that every command has."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from leadfeeder_async import __version__ as version
from leadfeeder_async.cli import standard_streams
from leadfeeder_async.cli.global_options import load_env_file, take_global_options
from leadfeeder_async.errors import ConfigurationError
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import (
    COMMAND,
    ids,
    in_new_python,
    json_lines,
    leadfeeder,
    leadfeeder_in_new_python,
    leadfeeder_on_terminal,
    start,
)
from tests.support.requirements import needs_posix_shell
from tests.support.terminal import run_on_terminal

NAME = "Müller 東京 \U0001f600"


async def shell(sandbox: Sandbox, arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run the command with redirections. Return its exit code, stdout and stderr."""
    command = " ".join(f"'{part}'" for part in COMMAND) + f" {arguments}"
    env = {**os.environ, **sandbox.environment, **environment}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-16"])
async def test_json_lines_are_utf8_in_any_locale(sandbox: Sandbox, encoding: str) -> None:
    """In a pipe, each command writes UTF-8, whatever the encoding of the locale is."""
    sandbox.records.tags.add({"name": NAME, "color": 1})
    for command in (("tags", "list"), ("export", "tags")):
        code, stdout, stderr = await leadfeeder_in_new_python(
            sandbox, *command, PYTHONIOENCODING=encoding, PYTHONUTF8="0"
        )
        assert (code, "Traceback" in stderr) == (0, False)
        assert NAME in stdout


async def test_table_replaces_characters(sandbox: Sandbox) -> None:
    """On a terminal without Unicode, other characters are replaced and the table is complete."""
    sandbox.records.tags.add({"name": NAME, "color": 1})
    environment = {**sandbox.environment, "PYTHONIOENCODING": "ascii"}
    code, screen = await asyncio.to_thread(run_on_terminal, in_new_python("tags", "list"), environment, 80)
    assert code == 0
    assert "M?ller ?? ?" in screen


@needs_posix_shell
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
async def test_closed_streams(sandbox: Sandbox, tmp_path: Path, closed: str) -> None:
    """Without standard streams, files are complete, and results that cannot be printed are an error.

    No file gets the number of a stream.
    """
    out = tmp_path / "visits.ndjson"
    sandbox.records.tags.add({"name": NAME, "color": 1})
    for arguments in ("tags list", f"export visits --since 2020-01-01 --out '{out}'", "doctor"):
        code, _, stderr = await shell(sandbox, f"{arguments} {closed}")
        prints = "--out" not in arguments and closed.startswith(">")
        assert (code, "Traceback" in stderr, "Exception ignored" in stderr) == (5 if prints else 0, False, False)
    assert len(ids(out.read_text(encoding="utf-8"))) == 500


@needs_posix_shell
@pytest.mark.parametrize(
    "command", ["tags list", "export visits --since 2020-01-01", "doctor", "completion bash", "--help"]
)
async def test_full_disk(sandbox: Sandbox, command: str) -> None:
    """A stdout on a full disk is one line on stderr and exit code 5."""
    sandbox.records.tags.add({"name": NAME, "color": 1})
    code, _, stderr = await shell(sandbox, f"{command} > /dev/full")
    assert (code, "Traceback" in stderr, "Exception ignored" in stderr) == (5, False, False)
    assert "No space left on device" in stderr
    code, _, _ = await shell(sandbox, f"{command} 2> /dev/full")
    assert code == 0


@needs_posix_shell
@pytest.mark.parametrize(
    "command", ["export visits --since 2020-01-01", "tags list", "doctor --json", "completion bash"]
)
async def test_reader_that_leaves(sandbox: Sandbox, command: str) -> None:
    """If the reader of a pipe leaves at once, no traceback is printed."""
    for _ in range(20):
        sandbox.records.tags.add({"name": NAME * 500, "color": 1})
    code, _, stderr = await shell(sandbox, f"{command} | true; exit ${{PIPESTATUS[0]}}")
    assert code in {0, 141}  # 0 if everything fitted into the pipe before it was closed
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    code, stdout, _ = await shell(sandbox, f"{command} 2>&1 >/dev/null | true; exit ${{PIPESTATUS[0]}}")
    assert (code, stdout) == (0, "")


async def test_quiet_prints_only_failures(sandbox: Sandbox, tmp_path: Path) -> None:
    """With --quiet, stderr is empty unless the command fails. Then it has all messages."""
    out = tmp_path / "visits.ndjson"
    command = ("export", "visits", "--since", "2020-01-01", "--out", out)
    assert await leadfeeder(sandbox, *command, "--quiet") == (0, "", "")
    code, _, stderr = await leadfeeder(sandbox, "--quiet", *command)
    assert code == 2
    assert stderr.startswith("leadfeeder: ")
    assert await leadfeeder(sandbox, "sync", "--db", tmp_path / "x.duckdb", "--since", "1d", "--quiet") == (0, "", "")
    code, screen = await leadfeeder_on_terminal(sandbox, "--quiet", "export", "tags", "--out", str(tmp_path / "t.csv"))
    assert (code, screen.strip()) == (0, "")


async def test_doctor_prints_text_in_a_pipe(sandbox: Sandbox) -> None:
    """Without a terminal, doctor prints one line of text for each check. --json prints JSON lines."""
    code, stdout, _ = await leadfeeder(sandbox, "doctor")
    lines = [line.split() for line in stdout.splitlines()]
    assert code == 0
    assert ["ok", "address", sandbox.url] in lines
    _, stdout, _ = await leadfeeder(sandbox, "doctor", "--json")
    assert len(json_lines(stdout)) == len(lines)


async def test_env_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """The variables of a file replace those of the environment, and a mistake does not show the line."""
    path = tmp_path / "leadfeeder.env"
    lines = [f"{name}={value}" for name, value in sandbox.environment.items()]
    path.write_bytes("\r\n".join(["\ufeff# The sandbox", "", *lines]).encode())
    code, stdout, _ = await leadfeeder(None, "accounts", "--env-file", path, LEADFEEDER_API_KEY="other")
    assert (code, ids(stdout)) == (0, [sandbox.account_id])
    path.write_text("LEADFEEDER_API_KEY: canary-123", encoding="utf-8")
    for options in (("--env-file", path), (f"--env-file={path}",), ("--env-file", tmp_path / "missing")):
        code, _, stderr = await leadfeeder(sandbox, *options, "accounts")
        assert (code, str(tmp_path) in stderr, "canary" in stderr) == (2, True, False)
    assert (await leadfeeder(sandbox, "accounts", "--env-file"))[0] == 2


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("  export NAME = a b  # comment", "a b"),
        ("NAME='a # b' # comment", "a # b"),
        ('NAME="it\'s"', "it's"),
        ("NAME=a=b#c", "a=b#c"),
        ("NAME=", ""),
        ("NAME=# todo", ""),
        ('$env:NAME = "a b"', "a b"),
        ("NAME=a\t# b", "a"),
        ("NAME=a" + " " * 20_000 + "b", "a" + " " * 20_000 + "b"),
        ("export\tNAME=a", "a"),
        ("NAME='a", None),
        ("NAME='a'b", None),
        ("NAME", None),
        ("1NAME=a", None),
        ("NAME=a\0b", None),
    ],
)
def test_line_of_an_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, value: str | None) -> None:
    """Values may have quotes and a comment after them."""
    monkeypatch.setenv("NAME", "before")
    (tmp_path / "env").write_text(line, encoding="utf-8")
    if value is None:
        with pytest.raises(ConfigurationError, match="Line 1 of"):
            load_env_file(tmp_path / "env")
    else:
        load_env_file(tmp_path / "env")
        assert os.environ["NAME"] == value


async def test_several_env_files(sandbox: Sandbox, tmp_path: Path) -> None:
    """The variables of all files apply, and later files replace those of earlier ones."""
    names = iter(range(9))
    paths = list[Path]()
    for name, value in [("LEADFEEDER_API_KEY", "wrong"), *sandbox.environment.items()]:
        paths.append(tmp_path / f"{next(names)}.env")
        paths[-1].write_text(f"{name}={value}\n", encoding="utf-8")
    options = [option for path in paths for option in ("--env-file", str(path))]
    code, stdout, _ = await leadfeeder(None, *options, "accounts")
    assert (code, ids(stdout)) == (0, [sandbox.account_id])


@pytest.mark.parametrize("name", ["LEADFEEDER_API_KEY", "LEADFEEDER_API_KEY_FILE", "LEADFEEDER_ACCESS_TOKEN"])
def test_credential_of_an_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The credential of a file is the only one, whichever of the variables the environment has."""
    credentials = ["LEADFEEDER_API_KEY", "LEADFEEDER_API_KEY_FILE", "LEADFEEDER_ACCESS_TOKEN"]
    for variable in credentials:
        monkeypatch.setenv(variable, "other")
    (tmp_path / "env").write_text("LEADFEEDER_TIMEOUT=5", encoding="utf-8")
    load_env_file(tmp_path / "env")
    assert all(os.environ[variable] == "other" for variable in credentials)
    (tmp_path / "env").write_text(f"{name}=value", encoding="utf-8")
    load_env_file(tmp_path / "env")
    assert {variable: os.environ.get(variable) for variable in credentials} == {
        variable: "value" if variable == name else None for variable in credentials
    }
    monkeypatch.setenv("LEADFEEDER_TIMEOUT", "")


def test_global_options_end_at_two_dashes() -> None:
    """Options of every command are found in any place, but not after ``--``."""
    arguments = ["tags", "--quiet", "--env-file=a", "list", "--", "--quiet"]
    assert take_global_options(arguments) == (["tags", "list", "--", "--quiet"], True, [Path("a")])


@needs_posix_shell
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "command", [("export", "visits", "--since", "2020-01-01"), ("watch", "--since", "2020-01-01", "--every", "1s")]
)
async def test_reader_that_stops_reading(sandbox: Sandbox, command: tuple[str, ...], stop: signal.Signals) -> None:
    """If the reader of a pipe stops reading, Ctrl-C and SIGTERM end the command."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as reader:
        process = await start(sandbox, *command, stdout=write_end)
        os.close(write_end)
        assert await asyncio.to_thread(reader.read, 1) == b"{"
        await asyncio.sleep(0.5)
        process.send_signal(stop)
        async with asyncio.timeout(20):
            _, stderr = await process.communicate()
    assert process.returncode == (130 if stop is signal.SIGINT else 143)
    assert "Traceback" not in stderr.decode()


@needs_posix_shell
async def test_pipe_that_does_not_block(sandbox: Sandbox) -> None:
    """If another program has made the pipe non-blocking and reads slowly, the command waits and writes all lines."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with os.fdopen(read_end, "rb") as reader:
        process = await start(sandbox, "export", "visits", "--since", "2020-01-01", stdout=write_end)
        os.close(write_end)
        await asyncio.sleep(1)
        written = await asyncio.to_thread(reader.read)
        await process.communicate()
    assert (process.returncode, len(ids(written.decode()))) == (0, 500)


async def test_reader_that_ends_first(sandbox: Sandbox) -> None:
    """If the program that reads the output has ended, the command ends with 141 and prints no error."""

    def run() -> tuple[int, bytes]:
        environment = {**os.environ, **sandbox.environment, "LEADFEEDER_KEYRING": "0"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([*COMMAND, "accounts"], env=environment, **pipes) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            return process.wait(), process.stderr.read()

    assert await asyncio.to_thread(run) == (141, b"")


@pytest.mark.parametrize(
    ("system", "error", "expected"),
    [
        ("posix", BrokenPipeError(), True),
        ("posix", OSError(errno.EINVAL, "Invalid argument"), False),
        ("nt", BrokenPipeError(), True),
        ("nt", OSError(errno.EINVAL, "Invalid argument"), True),
        ("nt", OSError(errno.EINVAL, "Invalid argument", "a file"), False),
        ("nt", OSError(errno.ENOSPC, "No space left on device"), False),
    ],
)
def test_errors_of_a_closed_pipe(monkeypatch: pytest.MonkeyPatch, system: str, error: OSError, expected: bool) -> None:
    """Windows reports a closed pipe as an invalid argument."""
    monkeypatch.setattr(standard_streams, "os", SimpleNamespace(name=system))
    assert standard_streams.is_closed_pipe(error) is expected


async def test_command_as_a_module() -> None:
    """``python -m leadfeeder_async`` is the command."""
    module = (sys.executable, "-m", "leadfeeder_async")
    code, stdout, _ = await leadfeeder_in_new_python(None, "--version", command=module)
    assert (code, stdout.split()[-1]) == (0, version)
