"""``leadfeeder export``: files, stdout, existing files, and exports that are resumed."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import pytest

from leadfeeder_async import AsyncLeadfeeder, CheckpointError
from leadfeeder_async.cli import export_commands
from leadfeeder_async.cli.options import ExportOptions
from leadfeeder_async.jobs.excel_csv import current_region
from leadfeeder_async.jobs.progress import Progress
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import (
    all_visit_ids,
    ids,
    json_lines,
    leadfeeder,
    leadfeeder_in_new_python,
    leadfeeder_on_terminal,
    resume_command,
)
from tests.support.requirements import is_windows


async def test_export_to_file(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """The file contains every visit once, and the summary is printed on stderr."""
    out = tmp_path / "new" / "visits.ndjson"
    code, stdout, stderr = await leadfeeder(export_sandbox, "export", "visits", "--since", "30d", "--out", out)
    assert (code, stdout) == (0, "")
    assert ids(out.read_text(encoding="utf-8")) == all_visit_ids(export_sandbox)
    assert not out.with_name("visits.ndjson.part").exists()
    assert re.search(
        r"730 visits of [\d-]+ to [\d-]+ UTC in [\d.]+ s: 8 pages, 8 requests, 0 rate-limited, 0 credits charged -> ",
        stderr,
    )


async def test_export_for_excel(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """``--excel`` writes a byte order mark and the separator of the region. It needs a .csv file."""
    out, words = tmp_path / "visits.csv", ("export", "visits", "--limit", "3", "--excel")
    code, _, _ = await leadfeeder_in_new_python(export_sandbox, *words, "--out", out, LC_ALL="fr_FR.UTF-8")
    separator = current_region().separator.encode() if is_windows else b";"  # Windows has no LC_ALL
    assert (code, out.read_bytes()[:6]) == (0, b"\xef\xbb\xbfid" + separator)
    requests = len(export_sandbox.ledger.requests)
    for more in ([], ["--out", tmp_path / "visits.ndjson"]):
        code, _, stderr = await leadfeeder(export_sandbox, *words, *more)
        assert (code, "--excel needs a .csv file" in stderr) == (2, True)
    assert len(export_sandbox.ledger.requests) == requests


async def test_workbooks_are_not_written(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """A workbook as the output names the format and the option for Excel."""
    code, _, stderr = await leadfeeder(export_sandbox, "export", "visits", "--out", tmp_path / "visits.xlsx")
    assert (code, "ends in .csv" in stderr, "--excel" in stderr) == (2, True, True)
    assert not list(tmp_path.iterdir())


async def test_export_of_fields(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """``--fields`` picks and orders the columns of files and of stdout. A misspelled field is refused at once."""
    words = ("export", "visits", "--limit", "3", "--fields")
    code, stdout, _ = await leadfeeder(export_sandbox, *words, "company.name,id")  # includes the company
    assert (code, [list(line) for line in json_lines(stdout)]) == (0, [["company.name", "id"]] * 3)
    assert all(line["company.name"] for line in json_lines(stdout))
    out = tmp_path / "visits.csv"
    code, _, _ = await leadfeeder(export_sandbox, *words, "company.name, id", "--out", out)
    names = [line["company.name"] for line in json_lines(stdout)]
    assert (code, out.read_text(encoding="utf-8").splitlines()) == (
        0,
        ["company.name,id", *(f"{name},{found}" for name, found in zip(names, ids(stdout), strict=True))],
    )
    requests = len(export_sandbox.ledger.requests)
    for more in ([], ["--out", tmp_path / "other.csv"]):
        code, _, stderr = await leadfeeder(export_sandbox, *words, "company.nme", *more)
        assert (code, "Did you mean 'company.name'?" in stderr, "--fields" in stderr) == (2, True, True)
    assert len(export_sandbox.ledger.requests) == requests


async def test_export_to_stdout(export_sandbox: Sandbox) -> None:
    """Without ``--out``, stdout contains only rows. ``--limit`` limits the total."""
    code, stdout, _ = await leadfeeder(
        export_sandbox, "export", "visits", "--since", str(export_sandbox.start_date), "--limit", "250"
    )
    assert (code, ids(stdout)) == (0, all_visit_ids(export_sandbox)[:250])


async def test_export_of_countries(export_sandbox: Sandbox) -> None:
    """``--country`` selects visits, alone and beside other filters. An empty result names the options to check."""
    options = ("export", "visits", "--since", "30d")
    counts = list[int]()
    for country in (
        ("--country=DE", "--country=at"),
        ("--country=DE",),
        ("--country=AT",),
        ("--country=BV",),
    ):
        code, stdout, stderr = await leadfeeder(export_sandbox, *options, *country)
        assert code == 0
        assert ("There are no visits. Check the account" in stderr) is (not stdout)
        counts.append(len(ids(stdout)))
    assert counts[0] == counts[1] + counts[2]
    assert (counts[1] > 0, counts[2] > 0, counts[3]) == (True, True, 0)
    _, _, stderr = await leadfeeder(export_sandbox, *options, "--limit", "0")
    assert "There are no visits" not in stderr
    both = ("--country=DE", '--filter={"location_country_codes":["DE"]}')
    code, _, stderr = await leadfeeder(export_sandbox, *options, *both)
    assert (code, "exclude each other" in stderr) == (2, True)


async def test_no_progress_bar_between_rows_on_terminal(export_sandbox: Sandbox) -> None:
    """No progress bar is drawn if the rows are printed on the same terminal."""
    code, screen = await leadfeeder_on_terminal(export_sandbox, "export", "visits", "--limit", "2", columns=4_000)
    first, second, summary = screen.splitlines()
    assert (code, ids(f"{first}\n{second}")) == (0, all_visit_ids(export_sandbox)[:2])
    assert summary.startswith("2 visits of ")


async def test_progress_bar_on_terminal(tmp_path: Path) -> None:
    """The progress bar shows rows, pages, requests and credits while a file is written."""
    async with Sandbox(companies=9, visits=1_600, rate_limit=False, latency=0.3) as slow:
        code, screen = await leadfeeder_on_terminal(
            slow,
            "export",
            "visits",
            "--since",
            str(slow.start_date),
            "--out",
            str(tmp_path / "visits.ndjson"),
            columns=140,
            interrupt_at="/1,600 rows",
        )
    assert code == 130
    assert re.search(r"Not finished: [\d,]+ rows saved in", screen)


async def test_export_of_company_search(export_sandbox: Sandbox) -> None:
    """A company search with several countries is exported as summaries."""
    code, stdout, _ = await leadfeeder(export_sandbox, "export", "companies", "--country", "DE", "--country", "FI")
    countries = {record["attributes"]["address"]["country_code"] for record in json_lines(stdout)}
    assert (code, countries) == (0, {"DE", "FI"})


async def test_existing_file_is_kept(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """An existing file is replaced only with ``--overwrite``, and nothing is sent otherwise."""
    out = tmp_path / "visits.ndjson"
    out.write_text("precious", encoding="utf-8")
    code, _, stderr = await leadfeeder(export_sandbox, "export", "visits", "--out", out)
    assert (code, out.read_text(encoding="utf-8"), len(export_sandbox.ledger.requests)) == (2, "precious", 0)
    assert "exists" in stderr
    assert "--overwrite" in stderr
    assert (await leadfeeder(export_sandbox, "export", "visits", "--out", out, "--overwrite"))[0] == 0
    assert len(ids(out.read_text(encoding="utf-8"))) == 730


async def test_concurrent_export_to_same_file(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """A second export to the same file fails, and the first one completes."""
    export_sandbox.latency = 10 if is_windows else 2.5  # longer than the start of the second export
    out = tmp_path / "visits.ndjson"
    first = asyncio.create_task(leadfeeder(export_sandbox, "export", "visits", "--out", out))
    while not export_sandbox.ledger.requests:
        await asyncio.sleep(0.02)
    code, _, stderr = await leadfeeder(export_sandbox, "export", "visits", "--out", out)
    assert (code, "is writing" in stderr) == (2, True)
    export_sandbox.latency = 0
    assert (await first)[0] == 0
    assert ids(out.read_text(encoding="utf-8")) == all_visit_ids(export_sandbox)


@pytest.mark.parametrize("name", [".", "/", ""])
async def test_output_path_is_not_a_file(export_sandbox: Sandbox, name: str) -> None:
    """A directory or an empty path is rejected before anything is sent."""
    code, _, stderr = await leadfeeder(export_sandbox, "export", "visits", f"--out={name}", "--overwrite")
    assert (code, len(export_sandbox.ledger.requests), "Traceback" in stderr) == (2, 0, False)


async def test_failed_start_leaves_no_file(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """An export that received no row leaves no file."""
    out = tmp_path / "visits.ndjson"
    assert (await leadfeeder(export_sandbox, "export", "visits", "--out", out, LEADFEEDER_API_KEY="wrong"))[0] == 3
    assert list(tmp_path.iterdir()) == []


async def test_unwritable_output_sends_nothing(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """An output path that cannot be written is rejected before anything is sent."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, _, stderr = await leadfeeder(export_sandbox, "export", "visits", "--out", tmp_path / "file" / "x.ndjson")
    assert (code, len(export_sandbox.ledger.requests)) == (2, 0)
    assert "cannot be written" in stderr


async def test_failed_export_leaves_no_output_file(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """An export that fails with a server error exits with 5 and leaves no output file."""
    export_sandbox.fail_next(500, times=100, operation="search_web_visits")
    out = tmp_path / "visits.ndjson"
    code, _, stderr = await leadfeeder(export_sandbox, "export", "visits", "--out", out)
    assert code == 5
    assert not out.exists()
    assert "500 sandbox_fault" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("status", "error_code", "exits"),
    [(401, "invalid_api_key", 3), (429, "quota_exceeded", 4), (402, "insufficient_credits", 4), (500, "broken", 5)],
)
async def test_resume_after_server_error(tmp_path: Path, status: int, error_code: str, exits: int) -> None:
    """An export that fails keeps its rows and prints a command that resumes it."""
    out = tmp_path / "visits.ndjson"
    async with Sandbox(companies=9, visits=1_600, rate_limit=False, latency=0.1) as slow:
        words = ("export", "visits", "--since", str(slow.start_date), "--until", str(slow.end_date), "--out", str(out))
        running = asyncio.create_task(leadfeeder(slow, *words))
        while len(slow.ledger.requests) < 3:
            await asyncio.sleep(0.01)
        slow.fail_next(status, code=error_code, times=200)
        code, _, stderr = await running
        assert (code, error_code in stderr) == (exits, True), stderr
        assert 0 < len(ids(out.with_name("visits.ndjson.part").read_text(encoding="utf-8"))) < 1_600
        slow.clear_faults()
        assert (await leadfeeder(slow, *resume_command(stderr)))[0] == 0
        assert ids(out.read_text(encoding="utf-8")) == all_visit_ids(slow)


@pytest.mark.parametrize(
    ("since", "until", "age"), [("30d", "today", 1), ("31d", "yesterday", 3), ("31d", "2d", 3), ("30d", "today", 0)]
)
async def test_resume_on_a_later_day(
    export_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: str, until: str, age: int
) -> None:
    """Relative dates of a resumed export refer to the day on which it was started."""
    for name, value in export_sandbox.environment.items():
        monkeypatch.setenv(name, value)
    out, last_day = tmp_path / "visits.ndjson", export_sandbox.end_date - timedelta(age)

    def stop(_: Progress) -> None:
        raise InterruptedError

    async with AsyncLeadfeeder(base_url=export_sandbox.url) as lf:
        visits = lf.web_visits.search(start_date=last_day - timedelta(29), end_date=last_day)
        with pytest.raises(InterruptedError):
            await visits.to_file(out, on_progress=stop)
        expected = [visit.id async for visit in visits]
    with pytest.raises(CheckpointError, match="another"):
        await export_commands.visits(since="7d", until=until, target=ExportOptions(out=out, resume=True))
    await export_commands.visits(since=since, until=until, target=ExportOptions(out=out, resume=True))
    assert ids(out.read_text(encoding="utf-8")) == expected


async def test_suffix_selects_csv(export_sandbox: Sandbox, tmp_path: Path) -> None:
    """An output path that ends in .csv selects the CSV format."""
    out = tmp_path / "visits.csv"
    assert (await leadfeeder(export_sandbox, "export", "visits", "--out", out))[0] == 0
    header, *rows = out.read_text(encoding="utf-8").splitlines()
    assert (header.split(",")[:2], len(rows)) == (["id", "source"], 730)


@pytest.mark.parametrize(
    ("words", "minimum_rows"),
    [
        (("visitor-companies",), 1),
        (("contacts", "--term", "a"), 1),
        (("signals", "--company-id", "159000001", "--max-credits", "5"), 0),
        (("tags",), 0),
        (("lists", "--scope", "contact"), 0),
    ],
)
async def test_export_of_each_list(export_sandbox: Sandbox, words: tuple[str, ...], minimum_rows: int) -> None:
    """Each list is exported to stdout as JSON lines with ids."""
    code, stdout, stderr = await leadfeeder(export_sandbox, "export", *words)
    assert (code, len(ids(stdout)) >= minimum_rows) == (0, True), stderr


async def test_signal_export_stays_within_max_credits(export_sandbox: Sandbox) -> None:
    """A request that could exceed ``--max-credits`` is not sent, and the exit code is 4."""
    words = ("--company-id", "159000001", "--company-id", "159000002")
    code, _, stderr = await leadfeeder(export_sandbox, "export", "signals", *words, "--max-credits", "1")
    assert (code, export_sandbox.ledger.credits_charged) == (4, 0)
    assert stderr.endswith("On the command line, use --max-credits.\n")
