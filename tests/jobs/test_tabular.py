"""Tables made of JSON lines: CSV and parquet."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Literal

import duckdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async import AsyncLeadfeeder, CheckpointError, ConfigurationError
from leadfeeder_async.jobs import duckdb_file
from leadfeeder_async.jobs.excel_csv import guard_formula, region_of_locale, remove_guard
from leadfeeder_async.jobs.tabular import write_table
from leadfeeder_async.models.columns import Column, columns_of
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.sandbox import Sandbox
from tests.jobs.helpers import interrupt, names_in, small_disk
from tests.jobs.test_export import all_ids, visits
from tests.support.clients import client_of
from tests.support.requirements import is_windows
from tests.support.servers import http, raw_server


def read_table(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    table = duckdb.sql(f"SELECT * FROM '{path}'")
    return [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]


async def test_csv(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A CSV file has one documented column for each field, whatever the rows contain."""
    out = tmp_path / "visits.csv"
    await interrupt(visits(lf, sandbox), out, 60)
    await visits(lf, sandbox).to_file(out, resume=True)
    table = read_table(out)
    assert [row["id"] for row in table] == all_ids(sandbox)
    first = await visits(lf, sandbox).first()
    assert first is not None
    assert first.company is not None
    assert table[0]["company.id"] == first.company.id
    assert table[0]["landing_page_path"] == first.attributes.landing_page_path
    assert len(json.loads(table[0]["engagements"])) == len(first.attributes.engagements or ())
    assert list(table[0]) == [column.name for column in columns_of(WebVisit)]
    assert names_in(tmp_path) == ["visits.csv"]


async def test_parquet(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A parquet file has the same columns, with types."""
    out = tmp_path / "it's visits.parquet"
    await visits(lf, sandbox).to_file(out)
    table = duckdb.sql(f"SELECT * FROM read_parquet('{str(out).replace(chr(39), chr(39) * 2)}')")
    types = dict(zip(table.columns, map(str, table.types), strict=True))
    assert list(types) == [column.name for column in columns_of(WebVisit)]
    assert (types["id"], types["page_depth"], types["visit_length"]) == ("VARCHAR", "BIGINT", "DOUBLE")
    assert types["started_at"] == "TIMESTAMP WITH TIME ZONE"
    assert [row[0] for row in table.select("id").fetchall()] == all_ids(sandbox)
    assert table.filter("page_depth IS NULL OR started_at IS NULL").fetchall() == []
    assert names_in(tmp_path) == ["it's visits.parquet"]


UNUSUAL_ROWS = (
    b'{"id":"1","type":"tag","attributes":{"name":"a","color":1e400}},'
    b'{"id":"2","type":"tag","attributes":{"name":"b","color":%b}},'
    b'{"id":"3","type":"tag","attributes":{"name":{"x":[1e400,0.5]},"color":3}},'
    b'{"id":"4","type":"tag","attributes":{"name":"","color":"red"}}'
) % (b"7" * 5_000)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
async def test_values_that_fit_no_column(tmp_path: Path, suffix: str) -> None:
    """A number out of range or a value of another type does not stop the table. A CSV file has it as it was sent."""
    out = tmp_path / f"tags{suffix}"
    async with raw_server(http(b'{"data":[%b]}' % UNUSUAL_ROWS)) as server, client_of(server.url) as lf:
        await lf.tags.list().to_file(out)
    table = read_table(out)
    assert [row["id"] for row in table] == ["1", "2", "3", "4"]
    assert [row["name"] or "" for row in table] == ["a", "b", '{"x":[1e400,0.5]}', ""]
    expected = ["1e400", "7" * 5_000, "3", "red"] if suffix == ".csv" else [None, None, 3, None]
    assert [row["color"] for row in table] == expected


async def test_very_long_row(tmp_path: Path) -> None:
    """A parquet file can have rows of more than 16 MiB."""
    out, name = tmp_path / "tags.parquet", "\N{SNOWMAN}" * 6_000_000
    body = msgspec.json.encode({"data": [{"id": "1", "type": "tag", "attributes": {"name": name}}]})
    async with raw_server(http(body)) as server, client_of(server.url) as lf:
        await lf.tags.list().to_file(out)
    assert [(row["id"], row["name"]) for row in read_table(out)] == [("1", name)]


@pytest.mark.parametrize(
    ("name", "tags", "size", "problem"),
    [
        ("tags.csv", 500, 20_000, "cannot be written"),
        ("tags.parquet", 500, 600, r"tags\.parquet cannot grow"),
        ("tags.parquet", 1, 600, r"tags\.parquet cannot grow"),
    ],
)
async def test_table_on_a_full_disk(tmp_path: Path, name: str, tags: int, size: int, problem: str) -> None:
    """If the disk is full, only the rows are kept. When there is space again, the table needs no request."""
    out = tmp_path / name
    body = {"data": [{"id": str(number), "attributes": {"name": "x" * 100}} for number in range(tags)]}
    async with raw_server(http(msgspec.json.encode(body))) as server, client_of(server.url) as lf:
        with small_disk() as set_size:
            with pytest.raises(CheckpointError, match=problem) as caught:
                await lf.tags.list().to_file(out, on_progress=lambda _: set_size(size))
        assert (caught.value.reason, "resume=True" in caught.value.hint) == ("not_writable", True)
        assert names_in(tmp_path) == [f"{name}.checkpoint", f"{name}.part"]
        requests = len(server.requests)
        await lf.tags.list().to_file(out, resume=True)
        assert len(server.requests) == requests
    assert len(read_table(out)) == tags


CONTROL_TEXTS = [
    "a\rb", "a\r", "\rb", "\r", "\n", "a\r\nb", "a\n\rb", "a,\rb", 'a"\rb"', '"', '""', "'", "\\", "\x0b", "\x0c", "\x85",
    "\u2028", "\x1a", "\x00a", "\ufeffa", "", " ", "NULL", "null", "nan", "a" * 5_000_000 + "\r",
]  # fmt: skip


async def test_parquet_has_every_text_as_it_is(tmp_path: Path) -> None:
    """Line breaks, quotes, control characters and very long texts are in a parquet file as the API sent them."""
    out = tmp_path / "tags.parquet"
    tags = [{"id": str(number), "attributes": {"name": text}} for number, text in enumerate(CONTROL_TEXTS)]
    tags.append({"id": "none", "attributes": {"name": None}})
    async with raw_server(http(msgspec.json.encode({"data": tags}))) as server, client_of(server.url) as lf:
        await lf.tags.list().to_file(out)
    table = {row["id"]: row["name"] for row in read_table(out)}
    assert [table[str(number)] for number in range(len(CONTROL_TEXTS))] == CONTROL_TEXTS
    assert table["none"] is None


FORMULAS = ["=1+1", "+1+1", "-2+3", "@SUM(1)", "\t=1+1", "\r=1+1", "\n=1+1", "\uff1d1+1", '=HYPERLINK("x","y")', "-"]
HARMLESS = ["Müller", "a=b", "1+1", "-5", "+49301234", "-2.5", "", "'x", "a;b,c", 'a"b']


@pytest.mark.parametrize(("locale", "separator"), [("de_DE.UTF-8", ";"), ("en_US.UTF-8", ","), ("C", ",")])
async def test_csv_for_excel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str, separator: Literal[";", ","]
) -> None:
    """The Excel dialect has a byte order mark, the separator of the region, and no formulas. Plain CSV is unchanged."""
    if is_windows:  # its registry has the separator
        monkeypatch.setattr("winreg.QueryValueEx", lambda *_: (separator, 1))
    monkeypatch.setenv("LC_ALL", locale)
    plain, excel = tmp_path / "plain.csv", tmp_path / "excel.csv"
    texts = FORMULAS + HARMLESS
    tags = [{"id": str(number), "attributes": {"name": text, "color": -5}} for number, text in enumerate(texts)]
    async with raw_server(http(msgspec.json.encode({"data": tags}))) as server, client_of(server.url) as lf:
        await lf.tags.list().to_file(plain)
        await lf.tags.list().to_file(excel, csv_dialect="excel")
    assert [row["name"] for row in read_table(plain)] == texts
    assert not plain.read_bytes().startswith(b"\xef\xbb\xbf")
    assert excel.read_bytes().startswith(b"\xef\xbb\xbfid" + separator.encode())
    with excel.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter=separator))
    assert [row["name"] for row in rows] == [f"'{text}" for text in FORMULAS] + HARMLESS
    assert {row["color"] for row in rows} == {"-5"}


@given(st.text("'=+-@\t\r a1"))
def test_formula_guard_is_reversible(text: str) -> None:
    """A guard can be removed without changing a text that had no guard."""
    assert remove_guard(guard_formula(text)) == text


@pytest.mark.parametrize(
    ("name", "signs"),
    [
        ("de_DE.UTF-8", ";,"), ("de-AT", ";,"), ("fr_FR@euro", ";,"), ("pt_BR", ";,"), ("en_GB", ",."), ("en_ZA", ";,"),
        ("es_ES", ";,"), ("es_MX", ",."), ("ja_JP", ",."), ("C", ",."), ("POSIX", ",."), ("", ",."), ("de_CH", ";."),
        ("de-LI", ";."), ("ch_XX", ";,"),
    ],
)  # fmt: skip
def test_signs_of_locale(name: str, signs: str) -> None:
    """Regions with a decimal comma separate lists by semicolons, and so does Switzerland."""
    assert region_of_locale(name) == tuple(signs)


@pytest.mark.skipif(is_windows, reason="Windows has a setting instead of a locale")
@pytest.mark.parametrize(("name", "line"), [("de_DE", "1,5;6900000,0;1;'=1"), ("en_US", "1.5,6900000.0,1,'=1")])
def test_numbers_for_excel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str) -> None:
    """A number has the decimal sign of the region, because Excel reads 6.4 as a date in some of them."""
    monkeypatch.setenv("LC_ALL", name)
    rows, path = tmp_path / "rows", tmp_path / "table.csv"
    rows.write_bytes(b'{"a":1.5,"b":6900000.0,"c":1,"d":"=1"}\n')
    columns = [Column(key, (key,), kind) for key, kind in (("a", float), ("b", float), ("c", int), ("d", str))]
    write_table(rows, path, lambda: tuple(columns), "excel")
    assert path.read_text(encoding="utf-8-sig").splitlines()[1] == line


@pytest.mark.parametrize(
    ("name", "dialect"), [("tags.parquet", "excel"), ("tags.ndjson", "excel"), ("tags.csv", "word")]
)
async def test_invalid_csv_dialect(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, name: str, dialect: Any
) -> None:
    """A dialect that is unknown or has no effect is refused before any request."""
    with pytest.raises(ConfigurationError, match="csv_dialect="):
        await lf.tags.list().to_file(tmp_path / name, csv_dialect=dialect)
    assert sandbox.ledger.requests == []


async def test_unknown_suffix(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """A suffix of another format is refused before any request."""
    with pytest.raises(ConfigurationError, match=r"visits\.xlsx cannot be written.*csv_dialect=\"excel\""):
        await visits(lf, sandbox).to_file(tmp_path / "visits.xlsx")
    assert (sandbox.ledger.requests, names_in(tmp_path)) == ([], [])


async def test_parquet_without_duckdb(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If DuckDB is not installed, the error names the extra before any request. CSV does not need it."""
    monkeypatch.setattr(duckdb_file, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="pip install duckdb, or install the extra parquet"):
        await visits(lf, sandbox).to_file(tmp_path / "visits.parquet")
    assert sandbox.ledger.requests == []
    await visits(lf, sandbox).to_file(tmp_path / "visits.csv")
