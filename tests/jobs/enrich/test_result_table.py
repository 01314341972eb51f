"""Retries of tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import msgspec
import pytest

from leadfeeder_async import AsyncLeadfeeder, CheckpointError, Company, ConfigurationError, Outcome
from leadfeeder_async.jobs.enrich.output import result_columns
from leadfeeder_async.jobs.enrich.result_table import read_result_table
from leadfeeder_async.jobs.tabular import write_table
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.types import CsvDialect
from tests.support.clients import client_for
from tests.support.requirements import is_windows


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(companies=40, visits=0, rate_limit=False) as running:
        yield running


@pytest.fixture
async def lf(sandbox: Sandbox) -> AsyncIterator[AsyncLeadfeeder]:
    async with client_for(sandbox) as client:
        yield client


def domain(number: int) -> str:
    return f"company-{number}.test"


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "excel.csv"])
async def test_retry_of_a_table(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, name: str) -> None:
    """A table can be retried: its other rows do not change, and the retried rows are as in a first run."""
    out, expected = tmp_path / name, tmp_path / f"expected-{name}"
    dialect: CsvDialect = "excel" if name == "excel.csv" else "plain"
    rows = [*map(domain, range(30)), "nobody.test", "no domain", "=1+1"]
    job = lf.enrich.companies(rows, by="domain", max_credits=10)
    assert (await job.to_file(out, csv_dialect=dialect)).outcomes[Outcome.SKIPPED_BY_BUDGET] == 20
    job = lf.enrich.companies(rows, by="domain", max_credits=100)
    summary = await job.to_file(out, retry_failed=True, csv_dialect=dialect)
    assert (summary.outcomes[Outcome.MATCHED], summary.credits) == (30, 20)
    await lf.enrich.companies(rows, by="domain").to_file(expected, csv_dialect=dialect)
    assert charges_removed(out) == charges_removed(expected)
    again = tmp_path / f"again-{name}"
    again.write_bytes(out.read_bytes())
    await lf.enrich.companies(rows, by="domain").to_file(again, retry_failed=True, csv_dialect=dialect)
    assert again.read_bytes() == out.read_bytes() or name == "out.parquet"
    assert charges_removed(again) == charges_removed(out)


def charges_removed(path: Path) -> list[tuple[object, ...]]:
    """Return the rows of a table without the charges, which depend on earlier runs."""
    reader = f"read_csv('{path}', all_varchar=true)" if path.suffix == ".csv" else f"'{path}'"
    return duckdb.sql(f"SELECT * EXCLUDE (charged) FROM {reader} ORDER BY row::INT").fetchall()


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
async def test_retry_keeps_unknown_charges(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, name: str) -> None:
    """The rows whose charge is unknown keep an empty cell when other rows are retried."""
    out, rows = tmp_path / name, [*map(domain, range(6))]
    await lf.enrich.companies(rows[:1], by="domain").to_file(tmp_path / "first.csv")  # this company is free now
    await lf.enrich.companies(rows, by="domain", max_credits=4).to_file(out)
    before = charges(out)
    assert None in before
    await lf.enrich.companies(rows, by="domain", max_credits=100).to_file(out, retry_failed=True)
    assert [after for old, after in zip(before, charges(out), strict=True) if old is None] == [None] * before.count(
        None
    )


def charges(path: Path) -> list[int | None]:
    """Return the charge of each row of a table."""
    return [charged for (charged,) in duckdb.sql(f"SELECT charged FROM '{path}' ORDER BY row::INT").fetchall()]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
async def test_retry_of_another_table(lf: AsyncLeadfeeder, tmp_path: Path, name: str) -> None:
    """A table that this enrichment did not write is not retried."""
    out = tmp_path / name
    duckdb.sql("SELECT 1 AS row, 'a.test' AS key").write_csv(str(out)) if name == "out.csv" else duckdb.sql(
        "SELECT 1 AS row, 'a.test' AS key"
    ).write_parquet(str(out))
    before = out.read_bytes()
    with pytest.raises(CheckpointError, match="its columns are not those of this enrichment"):
        await lf.enrich.companies(["a.test"], by="domain").to_file(out, retry_failed=True)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("cell", "reason"),
    [(",1,2,3", r"row 2 does not have \d+ columns"), ("matched", "row 2 is not a result")],
)
async def test_retry_of_a_damaged_table(
    sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path, cell: str, reason: str
) -> None:
    """A table with a damaged row is not retried, and nothing is sent. The error names the row."""
    out, keys = tmp_path / "out.csv", list(map(domain, range(3)))
    await lf.enrich.companies(keys, by="domain").to_file(out)
    lines = out.read_bytes().splitlines(keepends=True)
    row = lines[2].rstrip(b"\r\n")
    lines[2] = (row + cell.encode() if cell[0] == "," else row.replace(cell.encode(), b"found", 1)) + b"\r\n"
    out.write_bytes(b"".join(lines))
    before = len(sandbox.ledger.requests)
    with pytest.raises(CheckpointError, match=reason) as caught:
        await lf.enrich.companies(keys, by="domain").to_file(out, retry_failed=True)
    assert (out.read_bytes(), len(sandbox.ledger.requests)) == (b"".join(lines), before)
    assert caught.value.reason == "damaged"


ODD = {"revenue": {"value": "1,234"}, "employee_count": "0012", "description": "a\0b", "name": "6,4"}


@pytest.mark.parametrize("region", ["de_DE", "en_US"])
@pytest.mark.parametrize("dialect", ["plain", "excel"])
@pytest.mark.parametrize("first", ["row", "outcome"])
def test_odd_values_of_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, region: str, dialect: CsvDialect, first: str
) -> None:
    """Texts in columns of numbers and NUL characters stay as they are, and any column may be the first."""
    monkeypatch.setenv("LC_ALL", region)
    columns = sorted(result_columns(Company), key=lambda column: column.name != first)
    record = {"id": "1", "type": "company", "attributes": ODD}
    lines, path = tmp_path / "lines", tmp_path / "table.csv"
    row = {"row": 1, "key": "a.test", "outcome": "matched", "id": "1", "score": 0.75, "record": record}
    lines.write_bytes(msgspec.json.encode(row) + b"\n")
    write_table(lines, path, lambda: tuple(columns), dialect)
    written = path.read_bytes()
    assert (b";" in written) == (region == "de_DE" and dialect == "excel" and not is_windows)
    (result,) = read_result_table(path, columns)
    assert result.score == 0.75
    lines.write_bytes(msgspec.json.encode(result) + b"\n")
    write_table(lines, path, lambda: tuple(columns), dialect)
    assert path.read_bytes() == written


@pytest.mark.parametrize("content", [b"", b'"' + b"x" * 200_000, b"\xff\xfe" * 100_000, b"a;b\n"])
def test_file_that_is_no_table(tmp_path: Path, content: bytes) -> None:
    """Any other file is an error of this package."""
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises((CheckpointError, ConfigurationError)):
        list(read_result_table(path, result_columns(Company)))
