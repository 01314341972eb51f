"""``leadfeeder enrich`` as people use it: files of all kinds in, exit codes and the command to go on out."""

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
import pytest

from leadfeeder_async import ConfigurationError
from leadfeeder_async.jobs.enrich.input_file import InputFile
from leadfeeder_async.jobs.enrich.keys import key_of
from leadfeeder_async.jobs.resumable_file import partial_path
from leadfeeder_async.sandbox import Sandbox
from tests.cli.test_cli import COMMAND, leadfeeder


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(companies=900, visits=1, rate_limit=False) as running:
        yield running


def company(number: int) -> str:
    return str(159_000_000 + number)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def sheet(folder: Path, numbers: range) -> Path:
    path = folder / "in.csv"
    path.write_text("Name,Website\n" + "".join(f"Firm {one},https://www.company-{one}.test/\n" for one in numbers))
    return path


async def test_a_csv_becomes_lines(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each row of the input has its line, in order, with the record as the API sent it; the summary goes to stderr."""
    out, source = tmp_path / "out.ndjson", sheet(tmp_path, range(5))
    source.write_text(source.read_text() + "Nobody,nobody.test\nNothing,\n")
    code, stdout, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--out", out)
    assert (code, stdout) == (0, "")
    got = lines(out)
    assert [one["outcome"] for one in got] == ["matched"] * 5 + ["not_found", "unusable"]
    assert [one["id"] for one in got[:5]] == [company(number) for number in range(5)]
    assert got[0]["record"]["attributes"] == sandbox.world.company(company(0))
    assert (got[0]["row"], got[0]["key"], got[0]["charged"], got[0]["score"]) == (1, "company-0.test", 1, 0.97)
    assert "7 rows: 5 matched, 1 not found, 1 unusable; 5 credits charged ->" in stderr


async def test_dry_run_says_the_price(sandbox: Sandbox, tmp_path: Path) -> None:
    """A dry run writes no file, charges nothing, and prints one JSON object."""
    source = sheet(tmp_path, range(250))
    code, stdout, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--dry-run")
    said = json.loads(stdout)
    assert (code, said["rows"], said["matched"], said["max_credits"], said["requests"]) == (0, 250, 250, 250, 5)
    assert sandbox.ledger.credits_charged == 0
    assert "charge at most 250 credits" in stderr
    assert list(tmp_path.iterdir()) == [source]


async def test_budget_ends_with_four_and_retry_does_the_rest(sandbox: Sandbox, tmp_path: Path) -> None:
    """What the budget did not cover is said, with the command that asks for it; that command does."""
    out, source = tmp_path / "out.ndjson", sheet(tmp_path, range(150))
    words = ("enrich", source, "--by", "domain", "--out", out, "--max-credits", "100")
    code, _, stderr = await leadfeeder(sandbox, *words)
    assert (code, len(lines(out)), sandbox.ledger.credits_charged) == (4, 150, 100)
    assert "50 others again" in stderr
    assert stderr.rstrip().endswith("--max-credits 100 --retry-failed")
    assert (await leadfeeder(sandbox, *words, "--retry-failed"))[0] == 0
    assert {one["outcome"] for one in lines(out)} == {"matched"}
    assert sandbox.ledger.credits_charged == 150


async def test_failed_rows_end_with_five(sandbox: Sandbox, tmp_path: Path) -> None:
    """A lost answer does not end the job; its rows are counted, and so are the credits it may have charged."""
    out, source = tmp_path / "out.ndjson", sheet(tmp_path, range(50))
    sandbox.fail_next(500, operation="retrieve_companies", after_work=True)
    code, _, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--out", out)
    assert code == 5
    assert "50 failed; 0 credits charged, and up to 50 by lost answers" in stderr
    assert "--retry-failed" in stderr


@pytest.mark.parametrize(
    ("kind", "code"), [("key", 3), ("credits", 4), ("quota", 4), ("interrupt", 130), ("term", 143)]
)
async def test_ends_in_order_and_goes_on(sandbox: Sandbox, tmp_path: Path, kind: str, code: int) -> None:
    """Whatever ends a job in the middle: what is done is kept, the exit code says why, and the command shown goes on.

    The job takes 14 requests, and the pace of a client lets 12 go at once: after the eighth it is in its middle.
    """
    out, source = tmp_path / "out.ndjson", sheet(tmp_path, range(900))
    words = ("enrich", str(source), "--by", "domain", "--out", str(out), "--overwrite")
    sandbox.latency = 0.03
    if kind == "quota":
        sandbox.quota = 8
    elif kind == "credits":
        sandbox.set_credits(450)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *words, env={**os.environ, **sandbox.environment}, stderr=subprocess.PIPE
    )
    while len(sandbox.ledger.requests) < 8:
        await asyncio.sleep(0.002)
    if kind == "key":
        sandbox.revoke_key()
    elif kind in {"interrupt", "term"}:
        process.send_signal(signal.SIGINT if kind == "interrupt" else signal.SIGTERM)
    _, stderr = await process.communicate()
    said = stderr.decode()
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert not out.exists()
    if partial_path(out).exists():
        assert said.count("To go on:") == 1
        assert "--by domain" in said
        assert " --resume" in said
        assert "--overwrite" not in said
    sandbox.restore_key()
    sandbox.latency, sandbox.quota = 0.0, 10**6
    sandbox.set_credits(10**6)
    assert (await leadfeeder(sandbox, *words[:-1], "--resume"))[0] == 0
    assert [one["id"] for one in lines(out)] == [company(number) for number in range(900)]
    assert sandbox.ledger.credits_charged == 900


async def test_ended_before_a_row_is_safe_says_how_to_go_on(sandbox: Sandbox, tmp_path: Path) -> None:
    """Where credits were at stake and no row came yet, the command that goes on is shown too, and pays no row twice."""
    out, source = tmp_path / "out.ndjson", sheet(tmp_path, range(100))
    words = ("enrich", str(source), "--by", "domain", "--out", str(out), "--max-credits", "100")
    sandbox.latency = 0.2
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *words, env={**os.environ, **sandbox.environment}, stderr=subprocess.PIPE
    )
    while not out.with_name("out.ndjson.checkpoint").exists():  # it is there before what charges is sent
        sandbox.latency = 60.0 if sandbox.ledger.count("match_companies") else 0.2
        await asyncio.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, stderr = await process.communicate()
    said = stderr.decode()
    assert process.returncode == 143, said
    assert "0 rows safe" in said
    assert "for up to 100 credits." in said
    assert said.count("To go on:") == 1
    sandbox.latency = 0.0
    assert (await leadfeeder(sandbox, *words, "--resume"))[0] == 0
    assert sandbox.ledger.credits_charged == 100
    refused = await leadfeeder(sandbox, *words)
    assert "To go on" not in refused[2]


async def test_ips_from_a_text_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """One address a line is enough; a table has the company's name."""
    source, out = tmp_path / "ips.txt", tmp_path / "out.csv"
    source.write_text("198.18.0.0\n\n10.0.0.1\n203.0.113.5\n")
    code, _, _ = await leadfeeder(sandbox, "enrich", source, "--by", "ip", "--out", out)
    head, *rows = out.read_text().splitlines()
    assert code == 0
    assert head.startswith("row,key,outcome,id,score,charged,error,ip,")
    assert "company.name" in head
    assert [row.split(",")[2] for row in rows] == ["matched", "unusable", "not_found"]


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (b"a,b\n1,2\n", (), "has no column for 'domain'; it has 'a', 'b'."),
        (b"domain,x\na.test,1\n", ("--column", "site"), "has no column for 'site'; it has 'domain', 'x'."),
        ("domain\na.test\nmüller.test\n".encode("cp1252"), (), "line 3: this is not utf-8"),
        (b"domain\na.test\n", ("--encoding", "klingon"), "no encoding 'klingon'"),
        (b"domain\na.test\n", ("--max-credits", "-1"), "max_credits=-1"),
        (b"", (), "in.csv is empty: it has no header and no rows."),
        (b"\r\n \n\n", (), "in.csv is empty"),
        (b'domain,x\na.test,1\n"b.test,2\nc.test,3\n', (), "line 3: this is no CSV (unexpected end of data)"),
        (b'domain,x\na.test,1\n"b.test,2\nc.test,"3"\n', (), "is not closed; within a quoted cell"),
        (None, (), "cannot be read: No such file"),
    ],
)
async def test_bad_input_is_named_before_anything_is_sent(
    sandbox: Sandbox, tmp_path: Path, content: bytes | None, words: tuple[str, ...], said: str
) -> None:
    """A file that cannot be understood ends with wrong usage, and the message says where and what to do."""
    source = tmp_path / "in.csv"
    if content is not None:
        source.write_bytes(content)
    out = tmp_path / "o.ndjson"
    code, _, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--out", out, *words)
    assert (code, len(sandbox.ledger.requests), out.exists()) == (2, 0, False)
    assert said in stderr
    assert "Traceback" not in stderr


async def test_lines_go_to_stdout_without_a_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without --out the lines that the file would hold are printed in order, and the summary goes to stderr."""
    source, out = sheet(tmp_path, range(250)), tmp_path / "out.ndjson"
    words = ("enrich", source, "--by", "domain", "--max-credits", "240")
    code, stdout, stderr = await leadfeeder(sandbox, *words)
    assert code == 4
    assert stderr.endswith("250 rows: 240 matched, 10 skipped by budget; 240 credits charged\n")
    assert (await leadfeeder(sandbox, *words, "--out", out))[0] == 0
    printed = [json.loads(line) for line in stdout.splitlines()]
    assert [one["row"] for one in printed] == list(range(1, 251))
    free = [one | {"charged": 0} for one in printed[:240]]
    assert free == [one | {"charged": 0} for one in lines(out)[:240]]


@pytest.mark.parametrize("flags", [("--resume",), ("--retry-failed",), ("--dry-run", "--resume")])
async def test_going_on_needs_a_file(sandbox: Sandbox, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Nothing is sent where there is nothing to go on with."""
    code, _, stderr = await leadfeeder(sandbox, "enrich", sheet(tmp_path, range(2)), "--by", "domain", *flags)
    assert (code, sandbox.ledger.requests) == (2, [])
    assert "--resume" in stderr


@pytest.mark.parametrize("flags", [("--overwrite",), ("--resume",), ("--retry-failed",), ("--dry-run",), ()])
@pytest.mark.parametrize("way", ["same", "another way", "link", "part", "checkpoint", "hard link"])
async def test_the_input_is_never_written_over(
    sandbox: Sandbox, tmp_path: Path, way: str, flags: tuple[str, ...]
) -> None:
    """A file to write that is the input, by any name, or whose working files are, is refused whatever the flags."""
    source = sheet(tmp_path, range(2))
    out = {"same": source, "another way": tmp_path / "x" / ".." / "in.csv"}.get(way, tmp_path / "out")
    (tmp_path / "x").mkdir()
    if way == "link":
        out.symlink_to(source)
    elif way == "hard link":
        out.hardlink_to(source)
    elif way in {"part", "checkpoint"}:
        source = source.rename(tmp_path / f"out.{way}")
    before = source.read_bytes()
    code, _, stderr = await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--out", out, *flags)
    assert (code, sandbox.ledger.requests, source.read_bytes()) == (2, [], before)
    assert "is the input, and would be written over" in stderr


ODD = b'''
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


async def test_rows_of_a_csv_come_back_with_their_lines(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each line names the line of the file where its row begins and holds its cells; what hides rows is unusable."""
    source, out = tmp_path / "in.csv", tmp_path / "out.ndjson"
    source.write_bytes(ODD)
    assert (await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--out", out))[0] == 0
    got = lines(out)
    assert [(one["row"], one["line"], one["outcome"]) for one in got] == [
        (1, 4, "matched"), (2, 7, "unusable"), (3, 8, "unusable"), (4, 10, "matched"), (5, 11, "unusable"),
    ]  # fmt: skip
    note, second, fifth = 'Note\n"x"', "Owner column 4", "column 5"
    assert [one["input"] for one in got] == [
        {"Website": "company-1.test", "Owner": "Eva", note: 'two\nlines; "quoted"', second: "1", fifth: ""},
        {"Website": "company-2.test", "Owner": "Tom", note: "", second: "2", fifth: "", "column 6": "more"},
        {"Website": "company-3.test\ncompany-4.test", "Owner": "Ann", note: "", second: "3"},
        {"Website": "company-1.test"},
        {"Website": "", "Owner": "Max"},
    ]
    assert got[1]["error"]["message"] == "Row 2 cannot be used: line 7 has 6 cells, and there are 5 columns."
    assert got[2]["error"]["message"] == "Row 3 cannot be used: its key spans lines 8 to 9 (an unclosed quote?)."
    assert sandbox.ledger.credits_charged == 1


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
async def test_tables_have_the_columns_of_the_input(sandbox: Sandbox, tmp_path: Path, suffix: str) -> None:
    """They stand at the end, under names of their own, with whatever was in their cells."""
    source, out = tmp_path / "in.csv", tmp_path / f"out.{suffix}"
    source.write_bytes(ODD)
    assert (await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--out", out))[0] == 0
    reader = f"read_csv('{out}', all_varchar=true, strict_mode=false)" if suffix == "csv" else f"'{out}'"
    table = duckdb.sql(f"SELECT * FROM {reader} ORDER BY row")
    assert table.columns[-6:] == [
        "line", "input.Website", "input.Owner", 'input.Note\n"x"', "input.Owner column 4", "input.column 5",
    ]  # fmt: skip
    got = [tuple(str(cell or "") for cell in row[-6:]) for row in table.fetchall()]
    assert got[0] == ("4", "company-1.test", "Eva", 'two\nlines; "quoted"', "1", "")
    assert got[2] == ("8", "company-3.test\ncompany-4.test", "Ann", "", "3", "")
    assert [row[0] for row in got] == ["4", "7", "8", "10", "11"]


BIG = {"domain": "company-1.test", "n": [123456789012345678901234567890, 1e5]}


@pytest.mark.parametrize(
    ("name", "content", "first"),
    [
        (
            "in.ndjson",
            '\n{"domain":"company-1.test","n":[123456789012345678901234567890,1E5]}\n"company-2.test"\n',
            BIG,
        ),
        ("in.txt", "\ncompany-1.test\ncompany-2.test\n", "company-1.test"),
        ("in.csv", "\ncompany-1.test\ncompany-2.test\n", "company-1.test"),
    ],
)
async def test_rows_without_a_header_come_back_as_they_were(
    sandbox: Sandbox, tmp_path: Path, name: str, content: str, first: object
) -> None:
    """A JSON row is carried as it is, a key as a text; in a table they are one column."""
    source, out, table = tmp_path / name, tmp_path / "out.ndjson", tmp_path / "out.csv"
    source.write_text(content)
    for path in (out, table):
        assert (await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--out", path))[0] == 0
    assert [(one["line"], one["input"]) for one in lines(out)] == [(2, first), (3, "company-2.test")]
    assert content.split("\n")[1] in out.read_text()
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-2:] == ["line", "input"]
    assert rows[0]["input"] == (first if isinstance(first, str) else json.dumps(first, separators=(",", ":")))
    assert (rows[1]["line"], rows[1]["input"]) == ("3", "company-2.test")


async def test_halves_of_characters_come_back_escaped(sandbox: Sandbox, tmp_path: Path) -> None:
    """Some encodings can bring them, in cells and in the header: their rows are unusable, and files can hold them."""
    source = tmp_path / "in.csv"
    source.write_bytes(b"domain,+2AA-x\n+2AA-.test,a\ncompany-1.test,+2AA-b\n")
    for suffix in ("ndjson", "csv", "parquet"):
        words = ("enrich", source, "--by", "domain", "--encoding", "utf-7", "--out", tmp_path / f"out.{suffix}")
        assert (await leadfeeder(sandbox, *words))[0] == 0
    assert [(one["outcome"], one["input"]) for one in lines(tmp_path / "out.ndjson")] == [
        ("unusable", {"domain": r"\ud800.test", r"\ud800x": "a"}),
        ("matched", {"domain": "company-1.test", r"\ud800x": r"\ud800b"}),
    ]
    (tmp_path / "in.ndjson").write_bytes(b'"+2AA-.test"')
    with pytest.raises(ConfigurationError, match="line 1: this is neither a JSON object nor a JSON text"):
        InputFile(tmp_path / "in.ndjson", "domain", encoding="utf-7")
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row[r"input.\ud800x"] for row in csv.DictReader(file)] == ["a", r"\ud800b"]


async def test_inputs_survive_resume_and_retry(sandbox: Sandbox, tmp_path: Path) -> None:
    """Whatever run writes a line, it holds its own row, also where rows share a key; copied lines keep theirs."""
    source, out = tmp_path / "in.csv", tmp_path / "out.ndjson"
    keys = [f"company-{number}.test" for number in range(600)] * 2
    source.write_text("domain,owner\n" + "".join(f"{key},{place}\n" for place, key in enumerate(keys, 1)))
    words = ("enrich", str(source), "--by", "domain", "--out", str(out), "--max-credits", "400")
    sandbox.latency = 0.03
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *words, env={**os.environ, **sandbox.environment}, stderr=subprocess.DEVNULL
    )
    while sandbox.ledger.count("retrieve_companies") < 3:
        await asyncio.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    await process.wait()
    sandbox.latency = 0.0
    assert partial_path(out).exists()
    spent = sandbox.ledger.credits_charged
    code, _, stderr = await leadfeeder(sandbox, *words, "--resume")
    assert code == 4
    told = re.search(r"([\d,]+) credits charged, and up to ([\d,]+) by earlier runs", stderr)
    assert told is not None, "what an interrupted run cost is told too"
    assert int(told[1]) == sandbox.ledger.credits_charged - spent
    assert spent <= int(told[2]) <= 400
    assert (await leadfeeder(sandbox, *words, "--retry-failed"))[0] == 0
    got = lines(out)
    assert {one["outcome"] for one in got} == {"matched"}
    assert [one["input"] for one in got] == [{"domain": key, "owner": str(place)} for place, key in enumerate(keys, 1)]
    assert [one["line"] for one in got] == list(range(2, 1_202))


async def test_help_names_the_kinds_of_files() -> None:
    """What can be read is in the help, and where the lines go without --out."""
    code, stdout, _ = await leadfeeder(None, "enrich", "--help", COLUMNS="200")
    assert code == 0
    assert ".ndjson or .jsonl" in stdout
    assert "without it, stdout" in stdout


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
def test_inputs_as_people_have_them(tmp_path: Path, name: str, content: bytes) -> None:
    """Delimiters, headers, marks and line ends of the usual kinds are seen by themselves."""
    (tmp_path / name).write_bytes(content)
    rows = InputFile(tmp_path / name, "domain")
    assert len(rows) == 2
    for _ in range(2):  # it can be read again
        assert [key_of(row, "domain").value for row in rows] == ["a.test", "b.test"]


def test_other_encodings_and_columns(tmp_path: Path) -> None:
    """An encoding that is named is used, and so is a column."""
    source = tmp_path / "in.csv"
    source.write_bytes("Seite;Firma\nmüller.test;Müller\n".encode("cp1252"))
    rows = InputFile(source, "domain", "seite", "cp1252")
    assert [key_of(row, "domain", "seite").value for row in rows] == ["xn--mller-kva.test"]
    assert [key_of(row, "name").value for row in InputFile(source, "name", encoding="cp1252")] == ["Müller"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.ndjson", b'{"domain":"a.test"}\n{"domain":\n', "line 2: this is neither a JSON object nor a JSON text"),
        ("a.ndjson", b'{"domain":"a.test"}\n{"domain":"\xff"}\n', "line 2: this is not utf-8"),
        ("a.csv", b'domain\n"' + b"x" * 140_000 + b'"\n', r"line 2: this is no CSV \(field larger than"),
        ("a.csv", b"\xff\xfea", "this is not utf-16"),
    ],
)
def test_broken_files_name_the_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """What cannot be read is found before the job begins."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=said):
        InputFile(tmp_path / name, "domain")
