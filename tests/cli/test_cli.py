"""The application: help, exit codes, usage errors, signals, sandbox and demo."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from leadfeeder_async import LeadfeederError, errors
from leadfeeder_async.cli import install_sigterm_handler
from leadfeeder_async.cli.app import build_app
from leadfeeder_async.cli.exit_codes import exit_code
from leadfeeder_async.cli.printing import plural, pluralize
from leadfeeder_async.jobs.checkpoint import Checkpoint, write_checkpoint
from leadfeeder_async.jobs.sync.visit_spool import SpoolState
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import (
    COMMAND,
    all_visit_ids,
    ids,
    leadfeeder,
    leadfeeder_on_terminal,
    resume_command,
    start,
)
from tests.jobs.helpers import names_in
from tests.support.requirements import needs_posix_shell, needs_signals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "visits", "--since", "tomorrow"), "is not a"),
        (("export", "visits", "--since", "24h"), "Use `1d` for today"),
        (("brief", "--since", "0h"), "Use `24h` for the last 24 hours"),
        (("export", "visits", "--since", "2026-11-02", "--until", "2026-11-01"), "--since 2026-11-02 is after --until"),
        (("export", "visits", "--out", "visits.xlsx"), ".xlsx"),
        (("export", "visits", "--out", "visits.csv.gz"), ".ndjson or .jsonl"),
        (("export", "visits", "--resume"), "Add --out"),
        (("companies", "search"), "Add terms, --country or --icp-id"),
        (("contacts", "search"), "Add terms, --company-id or --position"),
        (("sandbox", "--port", "99999"), "port=99999"),
        (("sandbox", "--days", "0"), "days=0"),
        (("sandbox", "--visit-every", "0"), "--visit-every 0.0 must be more than 0"),
        (("sandbox", "--flaky", "2"), "flaky=2.0 must be 0 to 1"),
        (("sandbox", "--latency", "-1"), "latency=-1.0 must be 0 or more"),
        (("sandbox", "--credits", "-1"), "credits=-1 must be 0 or more"),
        (("sandbox", "--accounts", "0"), "accounts=0 must be 1 or more"),
        (("export", "visits", "--limit", "-1"), "limit"),
        (("export", "visits", "--limit", "many"), "limit"),
        (("export", "nonsense"), "nonsense"),
        (("export", "companies"), "Add --term, --country or --icp-id"),
        (("export", "contacts"), "Add --term, --company-id or --position"),
    ],
)
async def test_invalid_usage(export_sandbox: Sandbox, arguments: tuple[str, ...], message: str) -> None:
    """Invalid arguments exit with 2, print an error on stderr and send nothing."""
    code, stdout, stderr = await leadfeeder(export_sandbox, *arguments)
    assert (code, stdout, len(export_sandbox.ledger.requests)) == (2, "", 0)
    assert message in stderr


async def test_missing_and_rejected_keys(export_sandbox: Sandbox) -> None:
    """A missing or rejected key exits with 3, and the output does not contain the key."""
    code, _, stderr = await leadfeeder(None, "accounts")
    assert code == 3
    assert "LEADFEEDER_API_KEY" in stderr
    assert "run `leadfeeder sandbox`" in stderr
    code, _, stderr = await leadfeeder(export_sandbox, "accounts", LEADFEEDER_API_KEY="wrong-key-12345")
    assert code == 3
    assert "wrong-key-12345" not in stderr


@needs_posix_shell
async def test_closed_pipe(export_sandbox: Sandbox) -> None:
    """The command ends without a traceback if the reader of its pipe closes it."""
    line = " ".join(f"'{part}'" for part in (*COMMAND, "export", "visits")) + " | head -n 1"
    env = {**os.environ, **export_sandbox.environment}
    process = await asyncio.create_subprocess_shell(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await process.communicate()
    assert len(out.splitlines()) == 1
    assert b"Traceback" not in err


async def test_sigint(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """SIGINT exits with 130 and leaves no output file."""
    export_sandbox.latency = 0.5
    out = tmp_path / "visits.ndjson"
    process = await start(export_sandbox, "export", "visits", "--out", out)
    while not export_sandbox.ledger.requests:
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = await process.communicate()
    assert process.returncode == 130
    assert not out.exists()
    assert b"Traceback" not in stderr


@pytest.mark.parametrize("is_background", [False, True], ids=["foreground", "background"])
async def test_sigterm_saves_progress(tmp_path: Path, is_background: bool) -> None:
    """SIGTERM exits with 143 and prints a command that resumes. Background jobs ignore SIGINT."""
    out = tmp_path / "visits.ndjson"
    async with Sandbox(companies=9, visits=4_000, rate_limit=False, latency=0.1) as slow:
        arguments = ["export", "visits", "--since", str(slow.start_date), "--until", str(slow.end_date)]
        arguments += ["--out", str(out)]
        process = await start(slow, *arguments, sigint="ignore" if is_background else "handle")
        while len(slow.ledger.requests) < 4:
            await asyncio.sleep(0.02)
        if is_background:
            process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            _, stderr = await process.communicate()
        assert (process.returncode, "Traceback" in stderr.decode()) == (143, False), stderr.decode()
        assert 0 < len(ids(out.with_name("visits.ndjson.part").read_text(encoding="utf-8"))) < 4_000
        resume = resume_command(stderr.decode())
        assert resume == [*arguments, "--resume"]
        slow.latency = 0
        assert (await leadfeeder(slow, *resume))[0] == 0
        assert ids(out.read_text(encoding="utf-8")) == all_visit_ids(slow)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("AuthenticationError", 3), ("PermissionDeniedError", 3), ("QuotaExceededError", 4),
        ("InsufficientCreditsError", 4), ("BudgetExceededError", 4), ("IncompleteWindowError", 5),
        ("DisconnectedError", 5), ("ServerError", 5), ("DecodeError", 5), ("RateLimitedError", 5),
        ("ConfigurationError", 2), ("MissingKeyError", 3), ("InvalidIdError", 2), ("CheckpointError", 2),
        ("DatabaseError", 2), ("DatabaseLockedError", 5), ("NotFoundError", 1), ("OutcomeUnknownError", 5),
        ("BadRequestError", 1),
    ],
)  # fmt: skip
def test_exit_code_of_each_error(name: str, code: int) -> None:
    """Each error has the documented exit code."""
    kind: type[LeadfeederError] = getattr(errors, name)
    assert exit_code(kind("x")) == code


def test_exit_code_of_a_full_disk() -> None:
    """A sync that a full disk has stopped can be continued, as an export can."""
    assert exit_code(errors.DatabaseError("x", reason="no_space")) == 5


def test_plurals() -> None:
    """Nouns in messages have a regular plural."""
    assert [plural(noun) for noun in ("visit", "company", "day", "match")] == ["visits", "companies", "days", "matches"]
    assert (pluralize(1, "company"), pluralize(2_000, "row")) == ("1 company", "2,000 rows")


def test_help_lists_all_commands() -> None:
    """The help of the application names every command."""
    env = {**os.environ, "COLUMNS": "120"}
    result = subprocess.run([*COMMAND, "--help"], capture_output=True, encoding="utf-8", check=True, env=env)
    for command in ("accounts", "demo", "enrich", "export", "report", "sandbox", "sync"):
        assert command in result.stdout


def test_help_does_not_import_aiohttp() -> None:
    """Printing a help text imports neither aiohttp nor anyio, so it is fast."""
    code = (
        "import sys; from leadfeeder_async.cli.app import build_app\n"
        "build_app()(['export', 'visits', '--help'], result_action='return_value')\n"
        "print(sorted({'aiohttp', 'anyio'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_missing_extra_prints_install_command() -> None:
    """Without cyclopts, the command prints how to install it and exits with 2."""
    code = (
        "import sys; from importlib import util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'cyclopts' else find(name)\n"
        "sys.modules['cyclopts'] = None\n"
        "from leadfeeder_async.cli import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert (result.returncode, "pip install cyclopts pyyaml rich" in result.stderr) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_script(shell: str) -> None:
    """The completion script of each shell contains the commands."""
    code, stdout, _ = await leadfeeder(None, "completion", shell)
    assert (code, "doctor" in stdout) == (0, True)


@needs_signals
def test_sandbox_prints_environment_variables() -> None:
    """The exports that the sandbox prints configure the command, and Ctrl-C stops the sandbox."""
    command = [*COMMAND, "sandbox", "--visits", "50"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        try:
            env = read_exports(process)
            export = [*COMMAND, "export", "visits"]
            result = subprocess.run(export, env=env, capture_output=True, encoding="utf-8", check=True)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
        finally:
            process.kill()
    assert len(ids(result.stdout)) == 50
    assert process.returncode == 130


def read_exports(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return the environment with the variables that a starting sandbox prints."""
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(3)]
    found = [re.fullmatch(r"""(?:export |\$env:)(\w+) ?= ?"?([^"]*)"?""", line) for line in lines]
    return os.environ | dict(match.groups() for match in found if match)


def test_ctrl_break_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-Break, which only Windows has, ends a command like Ctrl-C."""
    monkeypatch.setattr(
        signal, "SIGBREAK", getattr(signal, "SIGUSR1", getattr(signal, "SIGBREAK", None)), raising=False
    )
    number: signal.Signals = vars(signal)["SIGBREAK"]
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, number)}
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        received = install_sigterm_handler()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert received == [number]


def test_sandbox_options() -> None:
    """The options of the command set the accounts, credits, delay and failures of the sandbox."""
    command = [*COMMAND, "sandbox", "--accounts", "3", "--credits", "7", "--latency", "0.3"]
    with subprocess.Popen([*command, "--flaky", "0.0"], stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            url, headers = read_settings(read_exports(process))
            started = time.monotonic()
            with urlopen(Request(f"{url}/v1/accounts", headers=headers)) as response:
                accounts = json.load(response)["data"]
            assert time.monotonic() - started >= 0.3
            with urlopen(Request(f"{url}/v1/accounts?account_id={accounts[2]['id']}", headers=headers)) as response:
                assert json.load(response)["data"][0]["attributes"]["credits"]["available"] == 7
        finally:
            process.kill()
    assert len(accounts) == 3
    with subprocess.Popen([*COMMAND, "sandbox", "--flaky", "1"], stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            url, headers = read_settings(read_exports(process))
            with pytest.raises(HTTPError, match="503"):
                urlopen(Request(f"{url}/v1/accounts", headers=headers))
        finally:
            process.kill()


def read_settings(environment: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the URL and the headers of requests to the sandbox."""
    return environment["LEADFEEDER_BASE_URL"], {"X-Api-Key": environment["LEADFEEDER_API_KEY"]}


async def test_sandbox_port_in_use() -> None:
    """A sandbox on a port that is in use raises an error with the port."""
    async with Sandbox() as running:
        port = int(running.url.rpartition(":")[2])
        with pytest.raises(OSError, match=f"Address already in use: .port {port} of 127.0.0.1"):
            async with Sandbox(port=port):
                pass


async def test_demo(tmp_path: Path) -> None:
    """The demo exports, syncs and reports the visits of one account, and ends with the page to open."""
    out = tmp_path / "visits.ndjson"
    code, screen = await leadfeeder_on_terminal(None, "demo", "--out", str(out), "--visits", "1500", columns=140)
    assert code == 0
    text = " ".join(screen.split())  # long paths are wrapped
    for line in (
        r"visits 1,500",
        r"companies 1\d\d",
        r"days 90",
        r"requests sent \d+",
        r"rate-limited 0",
        r"credits charged 0",
        r"the same 1,500 visits of 1\d\d companies, synced in",
        r"the last 30 complete days of them, [45]\d\d visits of 1\d\d companies",
        r"Next steps: .* Now open \S+demo.html in a browser\.$",
    ):
        assert re.search(line, text), line
    assert len(set(ids(out.read_text(encoding="utf-8")))) == 1_500
    assert "Demonstration" in (tmp_path / "demo.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["visits.ndjson", "demo.duckdb", "demo.html", "demo.duckdb.checkpoint"])
async def test_demo_keeps_existing_files(tmp_path: Path, name: str) -> None:
    """Without --overwrite, the demo refuses to replace a file before it starts."""
    (tmp_path / name).write_text("precious", encoding="utf-8")
    code, _, stderr = await leadfeeder(None, "demo", "--out", str(tmp_path / "visits.ndjson"), "--visits", "10")
    assert (code, "--overwrite" in stderr, (tmp_path / name).read_text(encoding="utf-8")) == (2, True, "precious")
    assert names_in(tmp_path) == [name]


async def test_demo_keeps_other_files_despite_overwrite(tmp_path: Path) -> None:
    """With --overwrite, the demo neither touches a synced database nor replaces a file that is not a database."""
    database = tmp_path / "leadfeeder.duckdb"
    database.write_text("precious", encoding="utf-8")
    arguments = ("demo", "--out", str(tmp_path / "visits.ndjson"), "--visits", "10", "--overwrite")
    code, _, _ = await leadfeeder(None, *arguments)
    assert (code, database.read_text(encoding="utf-8")) == (0, "precious")
    for name in ("demo.duckdb", "demo.duckdb.part", "demo.duckdb.wal"):
        (tmp_path / "demo.duckdb").unlink()
        (tmp_path / name).write_text("precious", encoding="utf-8")
        code, _, stderr = await leadfeeder(None, *arguments)
        assert (code, name in stderr, (tmp_path / name).read_text(encoding="utf-8")) == (2, True, "precious")
        (tmp_path / name).unlink()
        code, _, _ = await leadfeeder(None, *arguments)
        assert code == 0


def leave_files_of_a_kill(database: Path) -> None:
    """Leave the log of a database and a spool of one row."""
    code = (
        "import duckdb, os, sys; database = duckdb.connect(sys.argv[1]);"
        "database.execute('DELETE FROM visits'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(database)], check=False)
    saved = Checkpoint(kind="sync", fingerprint="f", description="d", rows=1, size=3, state=SpoolState())
    write_checkpoint(database.with_name(f"{database.name}.checkpoint"), saved, database)
    database.with_name(f"{database.name}.part").write_text("{}\n", encoding="utf-8")


async def test_demo_after_a_kill(tmp_path: Path) -> None:
    """With --overwrite, the demo replaces all files of an earlier one, including those that a kill left."""
    arguments = ("demo", "--out", str(tmp_path / "visits.ndjson"), "--visits", "60", "--overwrite")
    await leadfeeder(None, *arguments)
    leave_files_of_a_kill(tmp_path / "demo.duckdb")
    assert names_in(tmp_path) == [
        "demo.duckdb", "demo.duckdb.checkpoint", "demo.duckdb.part", "demo.duckdb.wal", "demo.html", "visits.ndjson",
    ]  # fmt: skip
    code, _, stderr = await leadfeeder(None, *arguments)
    assert (code, names_in(tmp_path)) == (0, ["demo.duckdb", "demo.html", "visits.ndjson"]), stderr


def test_list_of_commands_imports_no_command() -> None:
    """The list of commands is shown without the modules of the commands."""
    code = (
        "import sys; sys.argv = ['leadfeeder', '--help']\n"
        "from leadfeeder_async.cli import main\n"
        "try: main()\n"
        "finally: print([name for name in sys.modules if name.endswith(('_command', '_commands', '.client', 'rich.markdown'))])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_summaries_of_commands() -> None:
    """The list of commands shows the first line of each command's own help."""
    listed, complete = build_app(help_only=True), build_app()
    for name in complete:
        summary = complete[name].help.splitlines()[0]
        assert listed[name].help.splitlines()[0] == summary
