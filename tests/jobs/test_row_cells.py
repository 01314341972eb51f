"""The cells of a table: lines with the types of the model and all others have the same cells."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from leadfeeder_async.jobs import parquet
from leadfeeder_async.jobs.row_cells import _plain_cells, read_cells
from leadfeeder_async.models.columns import columns_of
from leadfeeder_async.models.records import WebVisit
from tests.support.clients import client_of
from tests.support.examples import examples
from tests.support.requirements import PATTERN_FOLDER
from tests.support.servers import http, raw_server

COLUMNS = columns_of(WebVisit)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9) | st.sampled_from(["", "a\rb", "\0", '"', "1e400"])
NUMBERS = (
    st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-99, 99).map(float)
)
VALUES = st.none() | st.booleans() | NUMBERS | TEXT
JSON: st.SearchStrategy[Any] = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=5
)


def fields(names: str, values: st.SearchStrategy[Any], **others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return objects that have some of the fields of the model, nearly always with values of its types."""
    return st.fixed_dictionaries({}, optional={**dict.fromkeys(names.split(), values), **others, "other": JSON})


ATTRIBUTES = fields(
    "source medium started_at",
    st.none() | TEXT,
    visit_length=st.none() | NUMBERS,
    page_depth=VALUES,
    engagements=st.none() | st.lists(JSON, max_size=2) | JSON,
    visitor=st.none() | fields("email first_name", st.none() | TEXT) | JSON,
    identifiers=fields("lf_client_id", TEXT, ga_client_ids=st.none() | st.lists(TEXT)),
)
INDUSTRIES = fields("", TEXT, industry=st.lists(st.none() | fields("name", TEXT), max_size=2) | JSON)
COMPANY_ATTRIBUTES = fields("name", TEXT, address=fields("country", TEXT), industries=st.none() | INDUSTRIES)
COMPANY = st.none() | fields("id", TEXT, attributes=st.none() | COMPANY_ATTRIBUTES)
VISITS = fields("id", TEXT, attributes=st.none() | ATTRIBUTES, relationships=fields("company location", COMPANY))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150))
@given(st.lists(VISITS | JSON, max_size=4))
def test_all_lines_have_the_same_cells(tmp_path: Path, visits: list[Any]) -> None:
    """Decoding a line into the types of the model changes no cell."""
    lines = [json.dumps(visit).encode() for visit in visits]
    rows = tmp_path / "rows"
    rows.write_bytes(b"".join(line + b"\n" for line in lines))
    plain = [_plain_cells(line, COLUMNS) for line in lines]
    assert repr(parsed(read_cells(rows, COLUMNS))) == repr(parsed(plain))


def parsed(rows: Iterable[list[Any]]) -> list[list[Any]]:
    """Return rows with parsed JSON, because numbers and spaces are written as they were sent."""
    return [
        [
            msgspec.json.decode(cell)
            if column.type is dict and isinstance(cell, str) and cell[:1] in {"[", "{"}
            else cell
            for cell, column in zip(cells, COLUMNS, strict=True)
        ]
        for cells in rows
    ]


def fits(value: Any) -> bool:
    """Return True if a value has no number that JSON encoders write in several ways, such as 1e16."""
    if isinstance(value, dict):
        return all(map(fits, value.values()))
    if isinstance(value, list):
        return all(map(fits, value))
    return not isinstance(value, int | float) or (abs(value) < 2**53 and value * 8 == int(value * 8))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(15))
@given(st.lists((VISITS | JSON).filter(fits), min_size=1, max_size=4))
def test_parquet_equals_its_cells(tmp_path: Path, visits: list[Any]) -> None:
    """Whether DuckDB reads the lines themselves or flat ones, the parquet file has the same rows."""
    rows, direct, flat, table = (tmp_path / name for name in ("rows", "direct", "flat", "table.parquet"))
    rows.write_bytes(b"".join(msgspec.json.encode(visit) + b"\n" for visit in visits))
    parquet.write_parquet(rows, table, direct, COLUMNS)
    with pytest.MonkeyPatch.context() as patch:  # DuckDB runs out of memory, so the rows are converted to flat ones
        patch.setattr(parquet, "MEMORY_LIMIT", "1KB")
        parquet.write_parquet(rows, flat, table, COLUMNS)
    assert read(direct) == read(table)


def read(path: Path) -> list[Any]:
    """Return the rows of a file. JSON has several notations of a character, so its cells are compared by value."""
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        rows = database.execute(f"SELECT COLUMNS(*)::VARCHAR FROM read_parquet('{path}')").fetchall()
    return [[json.loads(cell) if cell and cell[0] in "[{" and is_json(cell) else cell for cell in row] for row in rows]


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "name", ["a\rb", "a\r", "\r\n", "\0", "\u2028", '"', "", "x" * 5_000_000], ids=lambda name: repr(name[:9])
)
async def test_texts_are_kept_in_parquet(tmp_path: Path, name: str) -> None:
    """A parquet file has every text as it was sent, also if its folder has characters that DuckDB expands."""
    out = tmp_path / PATTERN_FOLDER / "tags.parquet"
    out.parent.mkdir()
    body = msgspec.json.encode({"data": [{"id": "1", "type": "tag", "attributes": {"name": name}}]})
    async with raw_server(http(body)) as server, client_of(server.url) as lf:
        await lf.tags.list().to_file(out)
    out = out.rename(tmp_path / "tags.parquet")
    assert duckdb.sql(f"SELECT id, name FROM read_parquet('{out}')").fetchall() == [("1", name)]


async def test_key_twice_in_parquet(tmp_path: Path) -> None:
    """Of a key that a row has twice, the last value counts, as everywhere."""
    out = tmp_path / "tags.parquet"
    body = b'{"data":[{"id":"1","type":"tag","attributes":{"name":"first","name":"last"}}]}'
    async with raw_server(http(body)) as server, client_of(server.url) as lf:
        await lf.tags.list().to_file(out)
    assert duckdb.sql(f"SELECT name FROM read_parquet('{out}')").fetchall() == [("last",)]


def test_many_long_rows(tmp_path: Path) -> None:
    """Rows that need more memory than usual are converted in smaller groups."""
    rows, table = tmp_path / "rows", tmp_path / "table.parquet"
    line = msgspec.json.encode({"id": "1", "attributes": {"source": "x" * 500_000}}) + b"\n"
    rows.write_bytes(line * 700)
    parquet.write_parquet(rows, table, table, COLUMNS)
    assert duckdb.sql(f"SELECT count(*), min(len(source)) FROM read_parquet('{table}')").fetchall() == [(700, 500_000)]


def test_cells_of_lists_and_null_objects(tmp_path: Path) -> None:
    """A cell is the first item of a list, and the cells of a null object are empty."""
    rows = tmp_path / "rows"
    rows.write_bytes(
        b'{"relationships":{"company":{"attributes":{"industries":{"industry":[{"name":"Software"},{"name":"x"}]}}}}}\n'
        b'{"id":"2","attributes":null,"relationships":{"company":{"attributes":{"name":"A","address":null}}}}\n'
    )
    names = ("id", "company.name", "company.industry", "company.city")
    columns = tuple(column for column in COLUMNS if column.name in names)
    assert [
        dict(zip([column.name for column in columns], cells, strict=True)) for cells in read_cells(rows, columns)
    ] == [
        dict(zip(names, (None, None, "Software", None), strict=True)),
        dict(zip(names, ("2", "A", None, None), strict=True)),
    ]


@pytest.mark.parametrize(
    ("company", "cells"),
    [
        ("c-1", ("c-1", None)),
        (7, (7, None)),
        ([{"id": "c-1", "attributes": {"name": "Acme"}}], ("c-1", "Acme")),
        (["c-1"], ("c-1", None)),
        ([{"id": "c-1", "attributes": {"name": "Acme"}}, {"id": "c-2"}], ('["c-1","c-2"]', '["Acme",null]')),
        ([7, {"id": "c-2", "attributes": {"name": "Acme"}}, None], ('[7,"c-2"]', '[null,"Acme"]')),
        ([[["c-1"]]], (None, None)),
        (True, (None, None)),
        ([], (None, None)),
    ],
)
def test_related_record_as_id_or_list(tmp_path: Path, company: object, cells: tuple[object, ...]) -> None:
    """The columns of a related record are filled if a server sends its id, or a list, instead of an object."""
    lines = tmp_path / "rows.ndjson"
    lines.write_bytes(msgspec.json.encode({"id": "v", "relationships": {"company": company}}) + b"\n")
    columns = [column for column in COLUMNS if column.name in {"company.id", "company.name"}]
    assert [tuple(row) for row in read_cells(lines, columns)] == [cells]
