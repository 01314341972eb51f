"""``leadfeeder enrich`` as people use it: files of all kinds in, exit codes and the command to go on out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leadfeeder_async import ConfigurationError
from leadfeeder_async.enrich.inputs import InputFile
from leadfeeder_async.enrich.keys import key_of
from leadfeeder_async.export.parts import part_of
from leadfeeder_async.sandbox import Sandbox
from tests.test_cli import COMMAND, leadfeeder


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
    assert got[0]["record"]["attributes"] == sandbox._state.world.company(company(0))
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
        sandbox._state.accounts[sandbox.account_id].credits = 450
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
    if part_of(out).exists():
        assert said.count("To go on:") == 1
        assert "--by domain" in said
        assert " --resume" in said
        assert "--overwrite" not in said
    sandbox.restore_key()
    sandbox.latency, sandbox.quota = 0.0, 10**6
    sandbox._state.accounts[sandbox.account_id].credits = 10**6
    assert (await leadfeeder(sandbox, *words[:-1], "--resume"))[0] == 0
    assert [one["id"] for one in lines(out)] == [company(number) for number in range(900)]
    assert sandbox.ledger.credits_charged == 900


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
        (b"", ("--max-credits", "-1"), "max_credits=-1"),
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


async def test_needs_an_output_or_a_dry_run(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without a file to write, nothing is fetched; a dry run resumes nothing."""
    source = sheet(tmp_path, range(2))
    assert (await leadfeeder(sandbox, "enrich", source, "--by", "domain"))[0] == 2
    assert (await leadfeeder(sandbox, "enrich", source, "--by", "domain", "--dry-run", "--resume"))[0] == 2
    assert sandbox.ledger.requests == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b'Website,Name\nhttps://a.test,"Big, Inc"\nb.test,B\n'),
        ("a.csv", b'Name;Website\n"Big; Inc";a.test\n;b.test\n'),
        ("a.tsv", b"Company\tURL\nBig\ta.test\n\nB\tb.test\n"),
        ("a.csv", "\ufeffDomain\na.test\nb.test\n".encode()),
        ("a.csv", "Domain;Ort\na.test;Köln\nb.test;\n".encode("utf-16")),
        ("a.csv", b"a.test\nb.test\n"),
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
        assert [key_of(row, "domain").text for row in rows] == ["a.test", "b.test"]


def test_other_encodings_and_columns(tmp_path: Path) -> None:
    """An encoding that is named is used, and so is a column."""
    source = tmp_path / "in.csv"
    source.write_bytes("Seite;Firma\nmüller.test;Müller\n".encode("cp1252"))
    rows = InputFile(source, "domain", "seite", "cp1252")
    assert [key_of(row, "domain", "seite").text for row in rows] == ["xn--mller-kva.test"]
    assert [key_of(row, "name").text for row in InputFile(source, "name", encoding="cp1252")] == ["Müller"]


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
