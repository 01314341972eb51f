"""The command as people and pipes use it: real processes, a real pseudo-terminal, a real sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from leadfeeder_async import AsyncLeadfeeder, CheckpointError, ConfigurationError, LeadfeederError, errors
from leadfeeder_async.cli import exit_code, export_commands
from leadfeeder_async.cli.export_commands import read_day
from leadfeeder_async.jobs.progress import Progress
from leadfeeder_async.sandbox import Sandbox

# A test run that was started in the background ignores Ctrl-C, and so would the processes it starts.
_HEAR_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
COMMAND = (sys.executable, "-c", _HEAR_INTERRUPTS + "from leadfeeder_async.cli import main; main()")


@pytest.fixture
async def busy() -> AsyncIterator[Sandbox]:
    """A sandbox whose visits take a few pages."""
    async with Sandbox(companies=40, visits=730, rate_limit=False) as running:
        yield running


async def leadfeeder(sandbox: Sandbox | None, *arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    """Run the command against a sandbox; return its exit code, stdout and stderr."""
    env = {**os.environ, **(sandbox.environment if sandbox else {}), **environment}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *map(str, arguments), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


def truth(sandbox: Sandbox) -> list[str]:
    return list(sandbox.world.visit_ids())


async def test_export_to_a_file(busy: Sandbox, tmp_path: Path) -> None:
    """The file holds every visit once, under its own name only when whole; the summary goes to stderr."""
    out = tmp_path / "new" / "visits.ndjson"
    code, stdout, stderr = await leadfeeder(busy, "export", "visits", "--since", "30d", "--out", out)
    assert (code, stdout) == (0, "")
    assert ids(out.read_text()) == truth(busy)
    assert not out.with_name("visits.ndjson.part").exists()
    assert re.search(r"730 visits in [\d.]+ s: 8 pages, 8 requests, 0 answers 429, 0 credits charged -> ", stderr)


async def test_export_to_a_pipe(busy: Sandbox) -> None:
    """Without ``--out`` the rows go to stdout, and nothing else does; ``--limit`` is a total."""
    code, stdout, _ = await leadfeeder(busy, "export", "visits", "--since", str(busy.start_date), "--limit", "250")
    assert (code, ids(stdout)) == (0, truth(busy)[:250])


async def test_export_companies(busy: Sandbox) -> None:
    """A company search is exported as summaries."""
    code, stdout, _ = await leadfeeder(busy, "export", "companies", "--country", "DE", "--country", "FI")
    countries = {json.loads(line)["attributes"]["address"]["country_code"] for line in stdout.splitlines()}
    assert (code, countries) == (0, {"DE", "FI"})


async def test_accounts_in_a_pipe(busy: Sandbox) -> None:
    """Rows are JSON lines where no one looks."""
    assert await leadfeeder(busy, "accounts") == (0, '{"id":"310042","name":"Seller 1"}\n', "")


async def test_existing_file_is_kept(busy: Sandbox, tmp_path: Path) -> None:
    """An output that exists is refused before anything is sent, unless it may be overwritten."""
    out = tmp_path / "visits.ndjson"
    out.write_text("precious")
    code, _, stderr = await leadfeeder(busy, "export", "visits", "--out", out)
    assert (code, out.read_text(), len(busy.ledger.requests)) == (2, "precious", 0)
    assert "exists" in stderr
    assert (await leadfeeder(busy, "export", "visits", "--out", out, "--overwrite"))[0] == 0
    assert len(ids(out.read_text())) == 730


async def test_two_exports_to_one_file(busy: Sandbox, tmp_path: Path) -> None:
    """A second export to the same file is refused while the first one writes, and the first stays whole."""
    busy.latency = 2.5
    out = tmp_path / "visits.ndjson"
    first = asyncio.create_task(leadfeeder(busy, "export", "visits", "--out", out))
    while not busy.ledger.requests:
        await asyncio.sleep(0.02)
    code, _, stderr = await leadfeeder(busy, "export", "visits", "--out", out)
    assert (code, "Another export" in stderr) == (2, True)
    busy.latency = 0
    assert (await first)[0] == 0
    assert ids(out.read_text()) == truth(busy)


@pytest.mark.parametrize("name", [".", "/", ""])
async def test_output_that_is_no_file(busy: Sandbox, name: str) -> None:
    """A folder, or nothing, is refused as an output before anything is sent."""
    code, _, stderr = await leadfeeder(busy, "export", "visits", f"--out={name}", "--overwrite")
    assert (code, len(busy.ledger.requests), "Traceback" in stderr) == (2, 0, False)


async def test_failed_start_leaves_nothing(busy: Sandbox, tmp_path: Path) -> None:
    """An export that never got a row leaves no empty file behind."""
    out = tmp_path / "visits.ndjson"
    assert (await leadfeeder(busy, "export", "visits", "--out", out, LEADFEEDER_API_KEY="wrong"))[0] == 3
    assert list(tmp_path.iterdir()) == []


async def test_unwritable_output_is_refused_unsent(busy: Sandbox, tmp_path: Path) -> None:
    """A place that cannot be written is named before anything is sent."""
    (tmp_path / "file").write_text("")
    code, _, stderr = await leadfeeder(busy, "export", "visits", "--out", tmp_path / "file" / "x.ndjson")
    assert (code, len(busy.ledger.requests)) == (2, 0)
    assert "cannot be written" in stderr


async def test_failed_export_leaves_only_a_part(busy: Sandbox, tmp_path: Path) -> None:
    """When the server fails for good, the exit code says so and no file passes for a whole one."""
    busy.fail_next(500, times=100, operation="search_web_visits")
    out = tmp_path / "visits.ndjson"
    code, _, stderr = await leadfeeder(busy, "export", "visits", "--out", out)
    assert code == 5
    assert not out.exists()
    assert "500 sandbox_fault" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("export", "visits", "--since", "tomorrow"), 2, "not a day"),
        (("export", "visits", "--since", "24h"), 2, "`1d` is today"),
        (("brief", "--since", "0h"), 2, "`24h` for the last 24 hours"),
        (
            ("export", "visits", "--since", "2026-11-02", "--until", "2026-11-01"),
            2,
            "--since 2026-11-02 is after --until",
        ),
        (("export", "visits", "--out", "visits.xlsx"), 2, "no .xlsx can be written"),
        (("export", "visits", "--out", "visits.csv.gz"), 2, ".ndjson or .jsonl"),
        (("companies", "search"), 2, "give words, --country or --icp-id"),
        (("contacts", "search"), 2, "give words, --company-id or --position"),
        (("sandbox", "--port", "99999"), 2, "port=99999"),
        (("sandbox", "--days", "0"), 2, "days=0"),
        (("export", "visits", "--limit", "-1"), 2, "limit"),
        (("export", "visits", "--limit", "many"), 2, "limit"),
        (("export", "nonsense"), 2, "nonsense"),
        (("export", "companies"), 2, "give --term, --country or --icp-id"),
    ],
)
async def test_wrong_usage(busy: Sandbox, arguments: tuple[str, ...], code: int, said: str) -> None:
    """Wrong arguments exit with 2, say what is wrong on stderr, and send nothing."""
    got, stdout, stderr = await leadfeeder(busy, *arguments)
    assert (got, stdout, len(busy.ledger.requests)) == (code, "", 0)
    assert said in stderr.lower() or said in stderr


async def test_keys(busy: Sandbox) -> None:
    """No key exits with 3, as a wrong one does, which is not shown."""
    code, _, stderr = await leadfeeder(None, "accounts")
    assert code == 3
    assert "LEADFEEDER_API_KEY" in stderr
    code, _, stderr = await leadfeeder(busy, "accounts", LEADFEEDER_API_KEY="wrong-key-12345")
    assert code == 3
    assert "wrong-key-12345" not in stderr


async def test_reader_that_leaves(busy: Sandbox) -> None:
    """A reader like ``head`` ends the export without a traceback."""
    line = " ".join(f"'{part}'" for part in (*COMMAND, "export", "visits")) + " | head -n 1"
    env = {**os.environ, **busy.environment}
    process = await asyncio.create_subprocess_shell(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await process.communicate()
    assert len(out.splitlines()) == 1
    assert b"Traceback" not in err


async def test_interrupt(busy: Sandbox, tmp_path: Path) -> None:
    """Ctrl-C ends an export with 130 and leaves a ``.part`` at most."""
    busy.latency = 0.5
    out = tmp_path / "visits.ndjson"
    env = {**os.environ, **busy.environment}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "export", "visits", "--out", str(out), env=env, stderr=subprocess.PIPE
    )
    while not busy.ledger.requests:
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert not out.exists()
    assert b"Traceback" not in err


def on_terminal(*arguments: str, columns: int = 140, env: dict[str, str] | None = None) -> str:
    """Run the command on a pseudo-terminal; return all it drew."""
    parent, child = pty.openpty()
    environment = {**os.environ, **(env or {}), "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm-256color"}
    with subprocess.Popen([*COMMAND, *arguments], stdin=child, stdout=child, stderr=child, env=environment) as process:
        os.close(child)
        drawn = b""
        while True:
            try:
                piece = os.read(parent, 65_536)
            except OSError:
                break  # Linux says EIO when the other side is closed
            if not piece:
                break
            drawn += piece
        os.close(parent)
    assert process.returncode == 0, drawn.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())


def test_demo_on_a_terminal(tmp_path: Path) -> None:
    """The demo shows rows, pages, requests and credits as it goes, a summary, a report, and the next steps."""
    out = tmp_path / "visits.ndjson"
    drawn = on_terminal("demo", "--out", str(out), "--visits", "1500").replace("\r\n", " ")  # lines may be wrapped
    assert re.search(r"[\d,]+/1,500 rows +\d+ pages +\d+ requests +0 credits +[\d,]+/s", drawn)
    for line in (
        r"visits +1,500",
        r"days +30",
        r"requests sent +\d+",
        r"answers 429 +0",
        r"credits charged +0",
        r"6,000 visits of 90 days in tables",
        r"the last 30 of them on a page, [\d,]+ visits of [\d,]+ companies",
        "Next:",
    ):
        assert re.search(line, drawn), line
    assert len(set(ids(out.read_text()))) == 1_500
    assert "A made-up quarter" in (tmp_path / "report.html").read_text()


async def test_accounts_on_a_terminal(busy: Sandbox) -> None:
    """Rows are a table where someone looks."""
    drawn = await asyncio.to_thread(on_terminal, "accounts", columns=80, env=busy.environment)
    assert "Seller 1" in drawn
    assert "{" not in drawn


def test_sandbox_prints_lines_to_paste() -> None:
    """``leadfeeder sandbox`` prints exports that point the command at it, and ends on Ctrl-C."""
    command = [*COMMAND, "sandbox", "--visits", "50"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            env = os.environ | dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
            export = [*COMMAND, "export", "visits"]
            got = subprocess.run(export, env=env, capture_output=True, text=True, check=True)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
        finally:
            process.kill()
    assert len(ids(got.stdout)) == 50
    assert process.returncode == 130


def test_help_lists_the_commands() -> None:
    """``--help`` names every command."""
    got = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "120"}
    )
    for command in ("accounts", "demo", "enrich", "export", "report", "sandbox", "sync"):
        assert command in got.stdout


def test_help_loads_no_aiohttp() -> None:
    """Help is quick because it loads neither aiohttp nor anyio."""
    code = (
        "import sys; from leadfeeder_async.cli.app import app; app(['export', 'visits', '--help'], result_action='return_value')\n"
        "print(sorted({'aiohttp', 'anyio'} & set(sys.modules)))"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.splitlines()[-1] == "[]"


def test_without_the_extra_the_command_says_how_to_get_it() -> None:
    """Where Cyclopts is missing, the line to install is printed and the exit code is 2."""
    code = "import sys; sys.modules['cyclopts'] = None\nfrom importlib import util\nfind = util.find_spec\nutil.find_spec = lambda name: None if name == 'cyclopts' else find(name)\nfrom leadfeeder_async.cli import main; main()"
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (got.returncode, "pip install 'leadfeeder-async[cli]'" in got.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("AuthenticationError", 3), ("PermissionDeniedError", 3), ("QuotaExceededError", 4),
        ("InsufficientCreditsError", 4), ("BudgetExceededError", 4), ("IncompleteWindowError", 5),
        ("DisconnectedError", 5), ("ServerError", 5), ("DecodeError", 5), ("RateLimitedError", 5),
        ("ConfigurationError", 2), ("MissingKeyError", 3), ("InvalidIdError", 2), ("CheckpointError", 2), ("NotFoundError", 1),
        ("OutcomeUnknownError", 5), ("BadRequestError", 1),
    ],
)  # fmt: skip
def test_exit_codes(name: str, code: int) -> None:
    """Each error has the exit code the README promises."""
    kind: type[LeadfeederError] = getattr(errors, name)
    assert exit_code(kind("x")) == code


def test_days_as_people_write_them() -> None:
    """A date, ``today``, or a number of days that includes today."""
    today = date(2026, 11, 22)
    assert [read_day(text, today) for text in ("today", "yesterday", "1d", "30d", "2026-01-02")] == [
        today, date(2026, 11, 21), today, date(2026, 10, 24), date(2026, 1, 2),
    ]  # fmt: skip
    for text in ("", "d", "0d", "-3d", "tomorrow", "2026-13-01"):
        with pytest.raises(ConfigurationError, match="not a day"):
            read_day(text, today)


@pytest.mark.parametrize("ignores_interrupts", [False, True], ids=["foreground", "background"])
async def test_sigterm_keeps_what_is_done(tmp_path: Path, ignores_interrupts: bool) -> None:
    """SIGTERM ends an export with 143, keeps its rows, and shows the command that goes on; Ctrl-C is not for the background."""
    out = tmp_path / "visits.ndjson"
    command = (
        (COMMAND[0], "-c", COMMAND[2].replace("default_int_handler", "SIG_IGN")) if ignores_interrupts else COMMAND
    )
    async with Sandbox(companies=9, visits=4_000, rate_limit=False, latency=0.1) as slow:
        words = ("export", "visits", "--since", str(slow.start_date), "--until", str(slow.end_date), "--out", str(out))
        process = await asyncio.create_subprocess_exec(
            *command, *words, env={**os.environ, **slow.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        while len(slow.ledger.requests) < 4:
            await asyncio.sleep(0.02)
        if ignores_interrupts:
            process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            _, stderr = await process.communicate()
        assert (process.returncode, "Traceback" in stderr.decode()) == (143, False), stderr.decode()
        assert 0 < len(ids(out.with_name("visits.ndjson.part").read_text())) < 4_000
        go_on = next(line for line in stderr.decode().splitlines() if "--resume" in line).split()
        assert go_on[1:] == [*words, "--resume"]
        slow.latency = 0
        assert (await leadfeeder(slow, *go_on[1:]))[0] == 0
        assert ids(out.read_text()) == truth(slow)


@pytest.mark.parametrize(
    ("status", "said", "exits"),
    [(401, "invalid_api_key", 3), (429, "quota_exceeded", 4), (402, "insufficient_credits", 4), (500, "broken", 5)],
)
async def test_what_ends_an_export_in_the_middle(tmp_path: Path, status: int, said: str, exits: int) -> None:
    """A key, quota, credits or server gone in mid-job: its exit code, the rows kept, and the command that goes on."""
    out = tmp_path / "visits.ndjson"
    async with Sandbox(companies=9, visits=1_600, rate_limit=False, latency=0.1) as slow:
        words = ("export", "visits", "--since", str(slow.start_date), "--until", str(slow.end_date), "--out", str(out))
        running = asyncio.create_task(leadfeeder(slow, *words))
        while len(slow.ledger.requests) < 3:
            await asyncio.sleep(0.01)
        slow.fail_next(status, code=said, times=200)
        code, _, stderr = await running
        assert (code, said in stderr) == (exits, True), stderr
        assert 0 < len(ids(out.with_name("visits.ndjson.part").read_text())) < 1_600
        go_on = next(line for line in stderr.splitlines() if "--resume" in line).split()
        slow._faults.clear()
        assert (await leadfeeder(slow, *go_on[1:]))[0] == 0
        assert ids(out.read_text()) == truth(slow)


@pytest.mark.parametrize(
    ("since", "until", "ago"), [("30d", "today", 1), ("31d", "yesterday", 3), ("31d", "2d", 3), ("30d", "today", 0)]
)
async def test_an_export_goes_on_after_midnight(
    busy: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: str, until: str, ago: int
) -> None:
    """What was `today` when it began stays so: the command that is shown goes on, whatever day it is by then."""
    for name, value in busy.environment.items():
        monkeypatch.setenv(name, value)
    out, end = tmp_path / "visits.ndjson", busy.end_date - timedelta(ago)

    def stop(_: Progress) -> None:
        raise InterruptedError

    async with AsyncLeadfeeder(base_url=busy.url) as lf:
        asked = lf.web_visits.search(start_date=end - timedelta(29), end_date=end)
        with pytest.raises(InterruptedError):
            await asked.to_file(out, on_progress=stop)
        wanted = [visit.id async for visit in asked]
    with pytest.raises(CheckpointError, match="another query"):
        await export_commands.visits(since="7d", until=until, target=export_commands.OutputTarget(out=out, resume=True))
    await export_commands.visits(since=since, until=until, target=export_commands.OutputTarget(out=out, resume=True))
    assert ids(out.read_text()) == wanted


async def test_a_port_that_is_taken_is_named() -> None:
    """A second sandbox on one port says so."""
    async with Sandbox() as one:
        port = int(one.url.rpartition(":")[2])
        with pytest.raises(OSError, match=f"Address already in use: .port {port} of 127.0.0.1"):
            async with Sandbox(port=port):
                pass


async def test_words_are_searched_for(busy: Sandbox) -> None:
    """A search takes words as they come, with and without an option."""
    code, stdout, _ = await leadfeeder(busy, "companies", "search", "company")
    assert (code, stdout) == (0, (await leadfeeder(busy, "companies", "search", "--term", "company"))[1])
    assert stdout


async def test_csv_by_its_suffix(busy: Sandbox, tmp_path: Path) -> None:
    """The name of the output chooses its format."""
    out = tmp_path / "visits.csv"
    assert (await leadfeeder(busy, "export", "visits", "--out", out))[0] == 0
    first, *rest = out.read_text().splitlines()
    assert (first.split(",")[:2], len(rest)) == (["id", "source"], 730)


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (("visitor-companies",), 1),
        (("contacts", "--term", "a"), 1),
        (("signals", "--company-id", "159000001", "--max-credits", "5"), 0),
        (("tags",), 0),
        (("lists", "--scope", "contact"), 0),
    ],
)
async def test_every_list_can_be_exported(busy: Sandbox, words: tuple[str, ...], rows: int) -> None:
    """Each list goes to stdout as JSON lines with an id each."""
    code, stdout, stderr = await leadfeeder(busy, "export", *words)
    assert (code, len(ids(stdout)) >= rows) == (0, True), stderr


async def test_export_of_signals_keeps_to_its_credits(busy: Sandbox) -> None:
    """What could pass ``--max-credits`` is not sent, and the exit code says that the budget ended it."""
    words = ("--company-id", "159000001", "--company-id", "159000002")
    code, _, stderr = await leadfeeder(busy, "export", "signals", *words, "--max-credits", "1")
    assert (code, busy.ledger.credits_charged) == (4, 0)
    assert "max_credits" in stderr
