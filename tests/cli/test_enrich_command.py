"""``leadfeeder enrich``: input files, output files, exit codes, and runs that are resumed or retried."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest

from leadfeeder_async import ConfigurationError
from leadfeeder_async.jobs.enrich.input_file import InputFile
from leadfeeder_async.jobs.enrich.key_normalization import KeyFinder, Row, parse_rules
from leadfeeder_async.jobs.resumable_file import partial_path
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import (
    COMMAND,
    json_lines,
    leadfeeder,
    leadfeeder_in_new_python,
    leadfeeder_on_terminal,
    resume_command,
    set_credits,
    start,
)
from tests.support.requirements import make_link, needs_fifos


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(companies=900, visits=0, rate_limit=False) as running:
        yield running


def key_of(row: Row, by: str, column: str | None = None) -> str:
    return KeyFinder(parse_rules(by, column)).find(row).value


def company_id(number: int) -> str:
    return str(159_000_000 + number)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_input(folder: Path, numbers: range) -> Path:
    path = folder / "in.csv"
    rows = "".join(f"Firm {number},https://www.company-{number}.test/\n" for number in numbers)
    path.write_text(f"Name,Website\n{rows}", encoding="utf-8")
    return path


async def test_csv_input(sandbox: Sandbox, tmp_path: Path) -> None:
    """The output has one line per row, in order, with the record as the API sent it."""
    out, source = tmp_path / "out.ndjson", write_input(tmp_path, range(5))
    source.write_text(source.read_text(encoding="utf-8") + "Nobody,nobody.test\nNothing,\n", encoding="utf-8")
    code, stdout, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--yes", "--out", out)
    assert (code, stdout) == (0, "")
    results = lines(out)
    assert [line["outcome"] for line in results] == ["matched"] * 5 + ["not_found", "unusable"]
    assert [line["id"] for line in results[:5]] == [company_id(number) for number in range(5)]
    assert results[0]["record"]["attributes"] == sandbox.world.company(company_id(0))
    assert (results[0]["row"], results[0]["key"], results[0]["charged"], results[0]["score"]) == (
        1,
        "company-0.test",
        1,
        0.97,
    )
    assert "7 rows: 5 matched, 1 not found, 1 unusable; 5 credits charged ->" in stderr


async def test_dry_run(sandbox: Sandbox, tmp_path: Path) -> None:
    """A dry run prints the maximum cost as a JSON object, writes no file and charges nothing."""
    source = write_input(tmp_path, range(250))
    code, stdout, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--dry-run")
    estimate = json.loads(stdout)
    names = ("rows", "matched", "max_credits", "requests")
    assert (code, [estimate[name] for name in names]) == (0, [250, 250, 250, 5])
    assert sandbox.ledger.credits_charged == 0
    assert "charge at most 250 credits" in stderr
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("out.csv", "key,outcome,name", "its fields do not include row, by, id, score, charged"),
        ("out.ndjson", "key,outcome", "JSON lines with fields do not show"),
        ("out.csv", "row,key,by,outcome,id,score,charged", None),
    ],
)
async def test_file_that_cannot_be_retried(
    sandbox: Sandbox, tmp_path: Path, name: str, fields: str, reason: str | None
) -> None:
    """The summary shows the command of a retry only if that would work, and otherwise the reason."""
    words = (
        "enrich",
        write_input(tmp_path, range(5)),
        "--by",
        "domain",
        "--out",
        tmp_path / name,
        "--max-credits",
        "3",
    )
    code, _, stderr = await leadfeeder(sandbox, *words, "--fields", fields)
    assert code == 4
    assert ("To retry the 2 rows" in stderr) is (reason is None)
    assert reason is None or f"Failed or skipped: 2 rows. The file cannot be retried, because {reason}" in stderr


async def test_retry_of_rows_skipped_by_budget(sandbox: Sandbox, tmp_path: Path) -> None:
    """Rows over the budget exit with 4, and the command that stderr shows retries them."""
    out, source = tmp_path / "out.ndjson", write_input(tmp_path, range(150))
    words = ("enrich", source, "--by", "domain", "--out", out, "--max-credits", "100")
    code, _, stderr = await leadfeeder(sandbox, *words)
    assert (code, len(lines(out)), sandbox.ledger.credits_charged) == (4, 150, 100)
    assert "To retry the 50 rows that failed or were skipped:" in stderr
    assert resume_command(stderr) == [*map(str, words), "--retry-failed"]
    assert (await leadfeeder(sandbox, *words, "--retry-failed"))[0] == 0
    assert {line["outcome"] for line in lines(out)} == {"matched"}
    assert sandbox.ledger.credits_charged == 150


async def test_failed_rows(sandbox: Sandbox, tmp_path: Path) -> None:
    """A lost response fails its rows, and the summary contains the credits it may have charged."""
    out, source = tmp_path / "out.ndjson", write_input(tmp_path, range(50))
    sandbox.fail_next(500, operation="retrieve_companies", after_work=True)
    code, _, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--yes", "--out", out)
    assert code == 5
    assert "50 failed; 0 credits charged, up to 50 more for responses that were lost or report no charge" in stderr
    assert "--retry-failed" in stderr


async def test_interrupted_output_names_the_credits(sandbox: Sandbox, tmp_path: Path) -> None:
    """An interrupted job that prints its results says how many credits were charged."""
    source = write_input(tmp_path, range(900))
    sandbox.latency = 0.03
    process = await start(sandbox, "enrich", str(source), "--by", "domain", "--yes")
    while len(sandbox.ledger.requests) < 8:
        await asyncio.sleep(0.002)
    process.send_signal(signal.SIGINT)
    stderr = (await process.communicate())[1].decode()
    assert process.returncode == 130, stderr
    found = re.search(r"([\d,]+) credits charged(?:, up to ([\d,]+) more)?", stderr)
    assert found is not None, stderr
    assert sum(int((part or "0").replace(",", "")) for part in found.groups()) >= sandbox.ledger.credits_charged > 0


@pytest.mark.parametrize(
    ("kind", "code"), [("key", 3), ("credits", 4), ("quota", 4), ("interrupt", 130), ("term", 143)]
)
async def test_resume_after_interruption(sandbox: Sandbox, tmp_path: Path, kind: str, code: int) -> None:
    """A job that fails or is interrupted keeps its rows and can be resumed.

    The job sends 14 requests, and 12 of them fit into the burst. After eight requests, it is still running.
    """
    out, source = tmp_path / "out.ndjson", write_input(tmp_path, range(900))
    words = ("enrich", str(source), "--by", "domain", "--yes", "--out", str(out), "--overwrite")
    sandbox.latency = 0.03
    if kind == "quota":
        sandbox.quota = 8
    elif kind == "credits":
        set_credits(sandbox, 450)
    process = await start(sandbox, *words)
    while len(sandbox.ledger.requests) < 8:
        await asyncio.sleep(0.002)
    if kind == "key":
        sandbox.revoke_key()
    elif kind in {"interrupt", "term"}:
        process.send_signal(signal.SIGINT if kind == "interrupt" else signal.SIGTERM)
    stderr = (await process.communicate())[1].decode()
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert not out.exists()
    if partial_path(out).exists():
        assert resume_command(stderr) == [*words[:-1], "--resume"]
    sandbox.restore_key()
    sandbox.latency, sandbox.quota = 0.0, 10**6
    set_credits(sandbox, 10**6)
    assert (await leadfeeder(sandbox, *words[:-1], "--resume"))[0] == 0
    assert [line["id"] for line in lines(out)] == [company_id(number) for number in range(900)]
    assert sandbox.ledger.credits_charged == 900


async def test_resume_before_the_first_row(sandbox: Sandbox, tmp_path: Path) -> None:
    """A job that was interrupted before its first row can be resumed, and charges no row twice."""
    out, source = tmp_path / "out.ndjson", write_input(tmp_path, range(100))
    words = ("enrich", str(source), "--by", "domain", "--out", str(out), "--max-credits", "100")
    sandbox.latency = 0.2
    process = await start(sandbox, *words)
    checkpoint = out.with_name("out.ndjson.checkpoint")
    while not (checkpoint.exists() and '"reserved_credits":100' in checkpoint.read_text(encoding="utf-8")):
        sandbox.latency = 60.0 if sandbox.ledger.count("match_companies") else 0.2
        await asyncio.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    stderr = (await process.communicate())[1].decode()
    assert process.returncode == 143, stderr
    assert "0 rows saved in" in stderr
    assert "Up to 100 credits may have been charged. To resume:" in stderr
    sandbox.latency = 0.0
    stderr = (await leadfeeder(sandbox, *words[:-1], "50", "--resume"))[2]
    assert ("may have been charged 100 credits" in stderr, "To resume" in stderr) == (True, False)
    assert (await leadfeeder(sandbox, *words, "--resume"))[0] == 0
    assert sandbox.ledger.credits_charged == 100
    assert "To resume" not in (await leadfeeder(sandbox, *words))[2]


async def test_unlimited_credits_need_confirmation(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without a limit and without a terminal, nothing is sent, and the hint names the options."""
    source = write_input(tmp_path, range(3))
    for more in ([], ["--out", tmp_path / "out.ndjson"], ["--limit", "1"]):
        code, stdout, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", *more)
        assert (code, stdout) == (2, "")
        assert "Add --max-credits to limit the credits, or --yes to confirm." in stderr
    assert sandbox.ledger.requests == []


@pytest.mark.parametrize(("answer", "charged"), [("y", 3), ("n", 0), ("", 0)])
async def test_terminal_asks_before_it_spends(sandbox: Sandbox, tmp_path: Path, answer: str, charged: int) -> None:
    """On a terminal, credits are spent without a limit only after a confirmation."""
    source, out = write_input(tmp_path, range(3)), tmp_path / "out.ndjson"
    words = ("enrich", str(source), "--by", "domain", "--out", str(out))
    code, screen = await leadfeeder_on_terminal(sandbox, *words, columns=200, answer=f"{answer}\n")
    assert code == (0 if charged else 5)
    assert charged or ("Each of 3 rows may charge 1 credit" in screen and "Nothing was sent." in screen)
    assert sandbox.ledger.credits_charged == charged


async def test_limited_credits_are_not_confirmed_on_a_terminal(sandbox: Sandbox, tmp_path: Path) -> None:
    """With a limit, the terminal asks nothing."""
    source, out = write_input(tmp_path, range(3)), tmp_path / "out.ndjson"
    words = ("enrich", str(source), "--by", "domain", "--out", str(out), "--max-credits", "3")
    code, screen = await leadfeeder_on_terminal(sandbox, *words)
    assert (code, "[y/N]" in screen, sandbox.ledger.credits_charged) == (0, False, 3)


async def test_estimate_of_ip_addresses_names_the_unknown_price(sandbox: Sandbox, tmp_path: Path) -> None:
    """The price of an IP lookup is not published, so a dry run shows no maximum."""
    source = tmp_path / "ips.txt"
    source.write_text("198.18.0.0\n203.0.113.5\n", encoding="utf-8")
    code, stdout, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "ip", "--dry-run")
    assert (code, json.loads(stdout)["max_credits"]) == (0, None)
    assert "an unknown number of credits, because the price of an IP lookup is not published" in stderr


async def test_ip_addresses_from_text_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """IP addresses are read from a text file, one per line."""
    source, out = tmp_path / "ips.txt", tmp_path / "out.csv"
    source.write_text("198.18.0.0\n\n10.0.0.1\n8.8.8.8\n", encoding="utf-8")
    code, _, _ = await leadfeeder(sandbox, "enrich", source, "--by", "ip", "--yes", "--out", out)
    head, *rows = out.read_text(encoding="utf-8").splitlines()
    assert code == 0
    assert head.startswith("row,key,by,outcome,id,score,charged,error,ip,")
    assert "company.name" in head
    assert [row.split(",")[3] for row in rows] == ["matched", "unusable", "not_found"]


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (b"a,b\n1,2\n", (), "has no column for 'domain'. It has 'a', 'b'."),
        (b"domain,x\na.test,1\n", ("--column", "site"), "has no column for 'site'. It has 'domain', 'x'."),
        ("domain\na.test\nmüller.test\n".encode("cp1252"), (), "line 3 is not valid utf-8"),
        (b"domain\na.test\n", ("--encoding", "klingon"), "no encoding 'klingon'"),
        (b"domain\na.test\n", ("--max-credits", "-1"), "--max-credits -1"),
        (b"", (), "in.csv is empty: it has no header and no rows."),
        (b"\r\n \n\n", (), "in.csv is empty"),
        (b'domain,x\na.test,1\n"b.test,2\nc.test,3\n', (), "line 3 is not valid CSV: unexpected end of data."),
        (b'domain,x\na.test,1\n"b.test,2\nc.test,"3"\n', (), "is not closed. Within a quoted cell"),
        (None, (), "cannot be read: No such file"),
    ],
)
async def test_invalid_input_file(
    sandbox: Sandbox, tmp_path: Path, content: bytes | None, words: tuple[str, ...], message: str
) -> None:
    """An invalid input file exits with 2 before anything is sent, and the error contains the line."""
    source = tmp_path / "in.csv"
    if content is not None:
        source.write_bytes(content)
    out = tmp_path / "o.ndjson"
    code, _, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--yes", "--out", out, *words)
    assert (code, len(sandbox.ledger.requests), out.exists()) == (2, 0, False)
    assert message in stderr
    assert "Traceback" not in stderr


async def test_output_to_stdout(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without ``--out``, stdout contains the same lines as an output file."""
    source, out = write_input(tmp_path, range(250)), tmp_path / "out.ndjson"
    words = ("enrich", source, "--by", "domain", "--max-credits", "240")
    code, stdout, stderr = await leadfeeder(sandbox, *words)
    assert code == 4
    assert stderr.endswith("250 rows: 240 matched, 10 skipped by budget; 240 credits charged\n")
    assert (await leadfeeder(sandbox, *words, "--out", out))[0] == 0
    printed = [json.loads(line) for line in stdout.splitlines()]
    assert [line["row"] for line in printed] == list(range(1, 251))
    free = [line | {"charged": 0} for line in printed[:240]]
    assert free == [line | {"charged": 0} for line in lines(out)[:240]]


@pytest.mark.parametrize("flags", [("--resume",), ("--retry-failed",), ("--dry-run", "--resume")])
async def test_resume_needs_an_output_file(sandbox: Sandbox, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Options that continue an output file are rejected without one."""
    code, _, stderr = await leadfeeder(sandbox, "enrich", write_input(tmp_path, range(2)), "--by", "domain", *flags)
    assert (code, sandbox.ledger.requests) == (2, [])
    assert "--resume" in stderr


@pytest.mark.parametrize("flags", [("--overwrite",), ("--resume",), ("--retry-failed",), ("--dry-run",), ()])
@pytest.mark.parametrize("kind", ["same", "other path", "link", "part", "checkpoint", "hard link"])
async def test_input_is_never_overwritten(sandbox: Sandbox, tmp_path: Path, kind: str, flags: tuple[str, ...]) -> None:
    """An output path is rejected if it, or one of its temporary files, is the input file."""
    source = write_input(tmp_path, range(2))
    out = {"same": source, "other path": tmp_path / "x" / ".." / "in.csv"}.get(kind, tmp_path / "out")
    (tmp_path / "x").mkdir()
    if kind == "link":
        make_link(out, source)
    elif kind == "hard link":
        out.hardlink_to(source)
    elif kind in {"part", "checkpoint"}:
        source = source.rename(tmp_path / f"out.{kind}")
    before = source.read_bytes()
    code, _, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--yes", "--out", out, *flags)
    assert (code, sandbox.ledger.requests, source.read_bytes()) == (2, [], before)
    assert "is the input file and would be overwritten" in stderr


@pytest.mark.parametrize("mode", ["ab", "r+b"])
async def test_stdout_that_is_the_input_file(sandbox: Sandbox, tmp_path: Path, mode: str) -> None:
    """A command whose output is redirected to its input file is rejected before anything is sent."""
    source = write_input(tmp_path, range(2))
    before = source.read_bytes()
    with source.open(mode) as stdout:
        command = (*COMMAND, "enrich", str(source), "--by", "domain", "--yes")
        child = await asyncio.create_subprocess_exec(
            *command, stdout=stdout, stderr=subprocess.PIPE, env={**os.environ, **sandbox.environment}
        )
        _, stderr = await child.communicate()
    assert (child.returncode, sandbox.ledger.requests, source.read_bytes()) == (2, [], before)
    assert "stdout is the input file" in stderr.decode()


IRREGULAR_CSV = b'''
Website;Owner;"Note
""x""";Owner;
company-1.test;Eva;"two
lines; ""quoted""";1;

company-2.test;Tom;;2;;more
"company-3.test
company-4.test";Ann;;3
company-1.test
;Max
'''


async def test_output_contains_input_row(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each output line contains the cells of its input row and its line in the input file."""
    source, out = tmp_path / "in.csv", tmp_path / "out.ndjson"
    source.write_bytes(IRREGULAR_CSV)
    assert (await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--yes", "--out", out))[0] == 0
    results = lines(out)
    assert [(line["row"], line["line"], line["outcome"]) for line in results] == [
        (1, 4, "matched"), (2, 7, "unusable"), (3, 8, "unusable"), (4, 10, "matched"), (5, 11, "unusable"),
    ]  # fmt: skip
    note, second, fifth = 'Note\n"x"', "Owner column 4", "column 5"
    assert [line["input"] for line in results] == [
        {"Website": "company-1.test", "Owner": "Eva", note: 'two\nlines; "quoted"', second: "1", fifth: ""},
        {"Website": "company-2.test", "Owner": "Tom", note: "", second: "2", fifth: "", "column 6": "more"},
        {"Website": "company-3.test\ncompany-4.test", "Owner": "Ann", note: "", second: "3"},
        {"Website": "company-1.test"},
        {"Website": "", "Owner": "Max"},
    ]
    assert results[1]["error"]["message"] == "Row 2 cannot be used: line 7 has 6 cells, and there are 5 columns."
    assert results[2]["error"]["message"] == "Row 3 cannot be used: its key spans lines 8 to 9 (an unclosed quote?)."
    assert sandbox.ledger.credits_charged == 1


READS_QUOTED_NAMES = pytest.mark.skipif(
    duckdb.__version__.startswith("1.2."), reason="DuckDB 1.2 keeps the quotes in the names of columns"
)


@pytest.mark.parametrize("suffix", [pytest.param("csv", marks=READS_QUOTED_NAMES), "parquet"])
async def test_tables_contain_input_columns(sandbox: Sandbox, tmp_path: Path, suffix: str) -> None:
    """The last columns of a table are the columns of the input, with unique names."""
    source, out = tmp_path / "in.csv", tmp_path / f"out.{suffix}"
    source.write_bytes(IRREGULAR_CSV)
    assert (await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--yes", "--out", out))[0] == 0
    reader = f"read_csv('{out}', delim=',', all_varchar=true, strict_mode=false)" if suffix == "csv" else f"'{out}'"
    table = duckdb.sql(f"SELECT * FROM {reader} ORDER BY row")
    assert table.columns[-6:] == [
        "line", "input.Website", "input.Owner", 'input.Note\n"x"', "input.Owner column 4", "input.column 5",
    ]  # fmt: skip
    results = [tuple(str(cell or "") for cell in row[-6:]) for row in table.fetchall()]
    assert results[0] == ("4", "company-1.test", "Eva", 'two\nlines; "quoted"', "1", "")
    assert results[2] == ("8", "company-3.test\ncompany-4.test", "Ann", "", "3", "")
    assert [row[0] for row in results] == ["4", "7", "8", "10", "11"]


LARGE_NUMBERS = {"domain": "company-1.test", "n": [123456789012345678901234567890, 1e5]}


@pytest.mark.parametrize(
    ("name", "content", "first"),
    [
        (
            "in.ndjson",
            '\n{"domain":"company-1.test","n":[123456789012345678901234567890,1E5]}\n"company-2.test"\n',
            LARGE_NUMBERS,
        ),
        ("in.txt", "\ncompany-1.test\ncompany-2.test\n", "company-1.test"),
        ("in.csv", "\ncompany-1.test\ncompany-2.test\n", "company-1.test"),
    ],
)
async def test_rows_without_header_are_returned_unchanged(
    sandbox: Sandbox, tmp_path: Path, name: str, content: str, first: object
) -> None:
    """Rows without a header are returned as JSON values. In a table, they are one column."""
    source, out, table = tmp_path / name, tmp_path / "out.ndjson", tmp_path / "out.csv"
    source.write_text(content, encoding="utf-8")
    for path in (out, table):
        assert (await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--yes", "--out", path))[0] == 0
    assert [(line["line"], line["input"]) for line in lines(out)] == [(2, first), (3, "company-2.test")]
    assert content.split("\n")[1] in out.read_text(encoding="utf-8")
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-2:] == ["line", "input"]
    assert rows[0]["input"] == (first if isinstance(first, str) else json.dumps(first, separators=(",", ":")))
    assert (rows[1]["line"], rows[1]["input"]) == ("3", "company-2.test")


async def test_unpaired_surrogates_are_escaped(sandbox: Sandbox, tmp_path: Path) -> None:
    """Unpaired surrogates in cells and in the header are escaped. A row with one in its key is unusable."""
    source = tmp_path / "in.csv"
    source.write_bytes(b"domain,+2AA-x\n+2AA-.test,a\ncompany-1.test,+2AA-b\n")
    for suffix in ("ndjson", "csv", "parquet"):
        words = (
            "enrich",
            source,
            "--by",
            "domain",
            "--yes",
            "--encoding",
            "utf-7",
            "--out",
            tmp_path / f"out.{suffix}",
        )
        assert (await leadfeeder(sandbox, *words))[0] == 0
    assert [(line["outcome"], line["input"]) for line in lines(tmp_path / "out.ndjson")] == [
        ("unusable", {"domain": r"\ud800.test", r"\ud800x": "a"}),
        ("matched", {"domain": "company-1.test", r"\ud800x": r"\ud800b"}),
    ]
    (tmp_path / "in.ndjson").write_bytes(b'"+2AA-.test"')
    with pytest.raises(ConfigurationError, match="line 1 is not a JSON object or a JSON string"):
        InputFile(tmp_path / "in.ndjson", "domain", encoding="utf-7")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        assert [row[r"input.\ud800x"] for row in csv.DictReader(file)] == ["a", r"\ud800b"]


async def test_input_rows_after_resume_and_retry(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each line contains its own input row, even if rows share a key and several runs wrote the file."""
    source, out = tmp_path / "in.csv", tmp_path / "out.ndjson"
    keys = [f"company-{number}.test" for number in range(600)] * 2
    source.write_text(
        "domain,owner\n" + "".join(f"{key},{place}\n" for place, key in enumerate(keys, 1)), encoding="utf-8"
    )
    words = ("enrich", str(source), "--by", "domain", "--out", str(out), "--max-credits", "400")
    sandbox.latency = 1.0  # so that the signal arrives before the last request ends
    process = await start(sandbox, *words)
    while sandbox.ledger.count("retrieve_companies") < 3:
        await asyncio.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    sandbox.latency = 0.0
    assert partial_path(out).exists()
    spent = sandbox.ledger.credits_charged
    code, _, stderr = await leadfeeder(sandbox, *words, "--resume")
    assert code == 4
    costs = re.search(r"this run: ([\d,]+) credits charged; previous runs: up to ([\d,]+)", stderr)
    assert costs is not None
    assert int(costs[1]) == sandbox.ledger.credits_charged - spent
    assert spent <= int(costs[2]) <= 400
    assert (await leadfeeder(sandbox, *words, "--retry-failed"))[0] == 0
    results = lines(out)
    assert {line["outcome"] for line in results} == {"matched"}
    assert [line["input"] for line in results] == [
        {"domain": key, "owner": str(place)} for place, key in enumerate(keys, 1)
    ]
    assert [line["line"] for line in results] == list(range(2, 1_202))


async def test_fallback_keys_of_a_workbook(sandbox: Sandbox, tmp_path: Path) -> None:
    """The command prints how it reads a workbook and which rows have a key, then uses the first valid key of each row."""
    source, out = tmp_path / "leads.xlsx", tmp_path / "out.csv"
    book = openpyxl.Workbook()
    book.create_sheet("Leads")
    rows = [
        ["Website", "E-Mail", "Company"],
        ["https://company-1.test", "eva@company-9.test", "x"],
        ["", "eva@company-2.test", "x"],
        ["https://linkedin.com/company/x", "ada@gmail.com", sandbox.world.company(company_id(3))["name"]],
        ["company-1.test", "", ""],
        ["", "ada@gmail.com", "-"],
    ]
    for row in rows:
        book["Leads"].append(row)
    book.save(source)
    words = ("enrich", source, "--by", "website,email,name+city", "--max-credits", "9", "--out", out)
    assert (await leadfeeder(sandbox, *words))[0] == 2  # the first sheet is empty
    code, _, stderr = await leadfeeder(sandbox, *words, "--sheet", "Nope")
    assert (code, "has no sheet 'Nope'" in stderr, "--sheet" in stderr) == (2, True, True)
    words = ("enrich", source, "--by", "website,email,name", "--max-credits", "9", "--out", out, "--sheet", "Leads")
    code, _, stderr = await leadfeeder_in_new_python(sandbox, *words, "--excel", LC_ALL="de_DE.UTF-8")
    assert (
        f"{source}: workbook, sheet 'Leads' (one of 2), header in line 1. Key: domain in column 'Website', "
        "then email in column 'E-Mail', then name in column 'Company'.\n"
        "5 rows: 3 distinct keys, 1 duplicate, 1 unusable (1 of mail providers, social networks and the like; "
        "--allow-free-mail uses them).\n"
    ) in stderr
    assert out.read_bytes().startswith(b"\xef\xbb\xbfrow;key;by;")
    with out.open(newline="", encoding="utf-8-sig") as file:
        results = list(csv.DictReader(file, delimiter=";"))
    assert [row["by"] for row in results] == ["domain", "email", "name", "domain", ""]
    assert [row["id"] for row in results[:2]] == [company_id(1), company_id(2)]
    assert results[4]["outcome"] == "unusable"


@pytest.mark.parametrize(
    ("last", "is_named"), [("Summe;;", True), ("Grand Total:;;", True), ("Summer Ltd;;7", False), ("Summe;;7", False)]
)
async def test_total_in_the_last_row(sandbox: Sandbox, tmp_path: Path, last: str, is_named: bool) -> None:
    """A last row that may be the total of a table is named before anything is charged. A certain one is unusable."""
    source = tmp_path / "leads.csv"
    source.write_text(f"Firma;Ort;Anzahl\nAcme GmbH;Ulm;3\nBeta AG;Bonn;4\n{last}\n", encoding="utf-8")
    _, _, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "name", "--column", "Firma", "--dry-run")
    assert ("may be a total; --limit 2 leaves it out." in stderr) is is_named
    assert (", 1 unusable" in stderr) is (last == "Summe;;7")


@pytest.mark.parametrize("by", ["phone", "domain,ip", "domain+city"])
async def test_invalid_kinds_of_keys(sandbox: Sandbox, tmp_path: Path, by: str) -> None:
    """Keys that cannot be used exit with 2, and the error names the option."""
    code, _, stderr = await leadfeeder(sandbox, "enrich", write_input(tmp_path, range(2)), "--by", by, "--yes")
    assert (code, "--by" in stderr, sandbox.ledger.requests) == (2, True, [])


async def test_excel_needs_a_csv_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """``--excel`` is refused for other formats."""
    words = ("enrich", write_input(tmp_path, range(2)), "--by", "domain", "--yes", "--excel")
    for more in ([], ["--out", tmp_path / "out.ndjson"]):
        code, _, stderr = await leadfeeder(sandbox, *words, *more)
        assert (code, "--excel needs a .csv file" in stderr, sandbox.ledger.requests) == (2, True, [])


async def test_help_lists_file_formats() -> None:
    """The help lists the formats of input files and the default output."""
    code, stdout, _ = await leadfeeder(None, "enrich", "--help", COLUMNS="200")
    assert code == 0
    assert ".csv with a header, .xlsx, .ndjson, .jsonl, or .txt" in stdout
    assert "Default: JSON lines on stdout" in stdout


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b'Website,Name\nhttps://a.test,"Big, Inc"\nb.test,B\n'),
        ("a.csv", b'Name;Website\n"Big; Inc";a.test\n;b.test\n'),
        ("a.tsv", b"Company\tURL\nBig\ta.test\n\nB\tb.test\n"),
        ("a.csv", "\ufeffDomain\na.test\nb.test\n".encode()),
        ("a.csv", "Domain;Ort\na.test;Köln\nb.test;\n".encode("utf-16")),
        ("a.csv", b"a.test\nb.test\n"),
        ("a.csv", b'\n\n"Company\nwebsite",Name\na.test,"B\nb"\nb.test,,\n'),
        ("a.txt", b"a.test\r\n\r\n  b.test \r\n"),
        ("a.ndjson", b'{"domain":"a.test"}\n\n"b.test"\n'),
        ("a.jsonl", b'{"website":"http://a.test","x":[1]}\n{"url":"b.test"}\n'),
    ],
)
def test_input_format_is_detected(tmp_path: Path, name: str, content: bytes) -> None:
    """Delimiters, headers, byte order marks and line ends are detected."""
    (tmp_path / name).write_bytes(content)
    rows = InputFile(tmp_path / name, "domain")
    assert len(rows) == 2
    for _ in range(2):  # the file can be read several times
        assert [key_of(row, "domain") for row in rows] == ["a.test", "b.test"]


def test_explicit_encoding_and_column(tmp_path: Path) -> None:
    """The encoding and the column of the key can be given explicitly."""
    source = tmp_path / "in.csv"
    source.write_bytes("Seite;Firma\nmüller.test;Müller\n".encode("cp1252"))
    rows = InputFile(source, "domain", "seite", "cp1252")
    assert [key_of(row, "domain", "seite") for row in rows] == ["xn--mller-kva.test"]
    assert [key_of(row, "name") for row in InputFile(source, "name", encoding="cp1252")] == ["Müller"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ndjson", b'{"domain":"a.test"}\n{"domain":\n', "line 2 is not a JSON object or a JSON string"),
        ("a.ndjson", b'{"domain":"a.test"}\n{"domain":"\xff"}\n', "line 2 is not valid utf-8"),
        ("a.csv", b"\xff\xfea", "is not valid utf-16"),
    ],
)
def test_invalid_input_raises_with_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """An invalid file raises ConfigurationError with the number of the line."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        InputFile(tmp_path / name, "domain")


async def test_enrichment_of_fields(sandbox: Sandbox, tmp_path: Path) -> None:
    """``--fields`` picks and orders the columns. Only a table with the columns of results can be retried."""
    source, out = tmp_path / "keys.txt", tmp_path / "out.csv"
    source.write_text("company-30.test\ncompany-31.test\n", encoding="utf-8")
    words = ("enrich", source, "--by", "domain", "--yes")
    code, stdout, _ = await leadfeeder(sandbox, *words, "--fields", "name,key")
    assert (code, [list(line) for line in json_lines(stdout)]) == (0, [["name", "key"]] * 2)
    code, _, _ = await leadfeeder(sandbox, *words, "--fields", "name,key", "--out", out)
    assert (code, out.read_text(encoding="utf-8").splitlines()[0]) == (0, "name,key")
    requests = len(sandbox.ledger.requests)
    code, _, stderr = await leadfeeder(sandbox, *words, "--fields", "name,kye", "--out", tmp_path / "other.csv")
    assert (code, "Did you mean 'key'?" in stderr, "--fields" in stderr) == (2, True, True)
    code, _, stderr = await leadfeeder(sandbox, *words, "--fields", "name,key", "--out", out, "--retry-failed")
    assert (code, "its fields do not include row, by, outcome" in stderr) == (2, True)
    assert len(sandbox.ledger.requests) == requests


async def test_retry_keeps_the_format_for_excel(sandbox: Sandbox, tmp_path: Path) -> None:
    """A retry without ``--excel`` would remove the protection from formulas, so it is refused."""
    source, out = tmp_path / "keys.txt", tmp_path / "out.csv"
    source.write_text("company-30.test\n", encoding="utf-8")
    words = ("enrich", source, "--by", "domain", "--max-credits", "0", "--out", out)
    assert (await leadfeeder(sandbox, *words, "--excel"))[0] == 4
    before = out.read_bytes()
    code, _, stderr = await leadfeeder(sandbox, *words, "--retry-failed")
    assert (code, "was written for Excel. Pass --excel again." in stderr, out.read_bytes()) == (2, True, before)
    assert (await leadfeeder(sandbox, *words, "--excel", "--retry-failed"))[0] == 4
    assert out.read_bytes() == before


@needs_fifos
async def test_retry_of_a_pipe(sandbox: Sandbox, tmp_path: Path) -> None:
    """A pipe is refused, because reading it would never end."""
    source, out = tmp_path / "keys.txt", tmp_path / "out.csv"
    source.write_text("company-30.test\n", encoding="utf-8")
    os.mkfifo(out)
    words = ("enrich", source, "--by", "domain", "--max-credits", "0", "--out", out, "--retry-failed")
    code, _, stderr = await leadfeeder(sandbox, *words)
    assert (code, "is a link, a device or a pipe" in stderr) == (2, True)


async def test_retry_of_picked_json_lines(sandbox: Sandbox, tmp_path: Path) -> None:
    """JSON lines with picked fields are not retried, because their records would be lost."""
    source, out = tmp_path / "keys.txt", tmp_path / "out.ndjson"
    source.write_text("company-30.test\n", encoding="utf-8")
    words = ("enrich", source, "--by", "domain", "--yes", "--out", out)
    assert (await leadfeeder(sandbox, *words, "--fields", "row,key,outcome,name"))[0] == 0
    before = out.read_bytes()
    code, _, stderr = await leadfeeder(sandbox, *words, "--retry-failed")
    assert (code != 0, "is not a complete result of an enrichment" in stderr, out.read_bytes()) == (True, True, before)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "in.csv",
            "Firma;Webseite;E-Mail;Stra\u00dfe\nA;a.test;x@a.test;B\n",
            "these columns of keys: 'Webseite' (domain), 'E-Mail' (email), 'Firma' (name). Add --by domain,email,name,",
        ),
        (
            "in.ndjson",
            '{"IP":"203.0.113.17"}\n',
            "'IP' (ip). Add --by ip, or only",
        ),
        (
            "in.csv",
            "a,b\n1,2\n",
            "no column has a common name. Add --by with a kind of key, domain, email, name, ip or",
        ),
        ("in.txt", "a.test\n", "no column has a common name"),
    ],
)
async def test_missing_by(sandbox: Sandbox, tmp_path: Path, name: str, text: str, message: str) -> None:
    """Without --by, the columns that probably contain keys are proposed, and nothing is sent."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    code, _, stderr = await leadfeeder(sandbox, "enrich", path)
    assert (code, message in stderr) == (2, True), stderr
    assert not sandbox.ledger.requests
    if "columns of keys" in stderr and (proposal := re.search(r"Add --by (\S+),", stderr)):
        code, _, stderr = await leadfeeder(sandbox, "enrich", path, "--by", proposal[1], "--dry-run")
        assert code == 0, stderr
