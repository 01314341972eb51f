"""The columns of records: a record has the same values in ``to_row`` and in every table."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from leadfeeder_async import models
from leadfeeder_async._core import codec
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.jobs.frames import PandasFrame, PolarsFrame
from leadfeeder_async.jobs.tabular import write_table
from leadfeeder_async.models import Company, CompanyLocation, EnrichedIp, ListItem, Signal, WebVisit
from leadfeeder_async.models.base import Record
from leadfeeder_async.models.columns import Column, columns_of
from leadfeeder_async.models.crm import CRMConnection, CRMGroupConnection, CRMGroupConnectionRelationships
from leadfeeder_async.models.server_jobs import Job, JobAttributes, JobEstimate, JobEstimateAttributes
from tests.models.test_models import DECODABLE, REDACTOR
from tests.support.examples import examples
from tests.support.paths import DOCS, EXAMPLES

RECORDS = sorted(
    {
        kind
        for kind in (getattr(models, name) for name in dir(models))
        if isinstance(kind, type) and issubclass(kind, Record) and kind != Record
    },
    key=lambda kind: kind.__name__,
)


def records_in(value: Any) -> Iterator[Record]:
    """Yield all records in a value, however deep."""
    if isinstance(value, Record):
        yield value
    if isinstance(value, msgspec.Struct):
        value = [getattr(value, name) for name in value.__struct_fields__]
    if isinstance(value, list | tuple):
        for item in value:
            yield from records_in(item)


def all_records() -> list[Record]:
    """Return the records of all examples of the contract."""
    bodies = ((endpoint, (EXAMPLES / f"{name}.json").read_bytes()) for name, endpoint in DECODABLE)
    return [
        record
        for endpoint, body in bodies
        for record in records_in(codec.decode(endpoint, body, ErrorContext(), REDACTOR))
    ]


EXAMPLE_RECORDS = [
    *all_records(),
    # No route of the contract returns these.
    Job(id="1", attributes=JobAttributes(status="done", credits_charged=3, total=9, processed=9)),
    JobEstimate(id="2", attributes=JobEstimateAttributes(eligible=5, estimated_credits=4)),
    CRMGroupConnection(
        id="3",
        attributes={"created": "x"},
        relationships=CRMGroupConnectionRelationships(crm_connection=CRMConnection(id="4")),
    ),
]


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def comparable(cell: Any, kind: type[object]) -> Any:
    """Return a cell of a table as a value of its column's type. JSON is compared by value."""
    if cell is None or (cell == "" and kind is not str):
        return None
    if kind is dict:
        return without_nulls(json.loads(cell)) if isinstance(cell, str) and cell[:1] in "[{" else cell
    if isinstance(cell, str):
        return {
            str: str, int: int, float: float, bool: "true".__eq__,
            date: date.fromisoformat, datetime: datetime.fromisoformat,
        }[kind](cell)  # fmt: skip
    return cell.astimezone(UTC) if isinstance(cell, datetime) else cell


def table_rows(record: Record, folder: Path, suffix: str, columns: tuple[Column, ...]) -> list[dict[str, Any]]:
    """Write a record to a table, and read its rows."""
    rows, path = folder / "rows", folder / f"table{suffix}"
    rows.write_bytes(msgspec.json.encode(record) + b"\n")
    write_table(rows, path, lambda: columns)
    if suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        table = database.execute(f"SELECT * FROM read_parquet('{path}')")
        names = [column[0] for column in table.description or ()]
        return [dict(zip(names, row, strict=True)) for row in table.fetchall()]


async def check_frames(record: Record, columns: tuple[Column, ...]) -> None:
    polars_frame, pandas_frame = PolarsFrame(columns), PandasFrame(columns)
    await polars_frame.add([record])
    await pandas_frame.add([record])
    assert (await polars_frame.finish()).rows(named=True) == [record.to_row()]
    frame = await pandas_frame.finish()
    dates = {column.name for column in columns if column.type is date}
    (row,) = frame.astype(object).where(frame.notna(), None).to_dict("records")
    assert {name: cell.date() if name in dates and cell else cell for name, cell in row.items()} == record.to_row()


async def check_round_trips(record: Record, folder: Path) -> None:
    columns, row = columns_of(type(record)), record.to_row()
    await check_frames(record, columns)
    assert list(row) == [column.name for column in columns]
    expected = {column.name: comparable(row[column.name], column.type) for column in columns}
    for suffix in (".csv", ".parquet"):
        (found,) = table_rows(record, folder, suffix, columns)
        values = {column.name: comparable(found[column.name], column.type) for column in columns}
        if suffix == ".csv":  # an empty text and no value look the same there
            assert without_empty(values) == without_empty(expected)
        else:
            assert values == expected


def without_empty(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value == "" else value for name, value in row.items()}


def test_every_record_has_an_example() -> None:
    """The tests of round trips cover all records."""
    assert {type(record) for record in EXAMPLE_RECORDS} == set(RECORDS)


@pytest.mark.parametrize("kind", sorted({type(record).__name__ for record in EXAMPLE_RECORDS}))
async def test_every_example_round_trips(tmp_path: Path, kind: str) -> None:
    """Each record of each example has the same values in to_row, CSV, Parquet and frames."""
    for record in EXAMPLE_RECORDS:
        if type(record).__name__ == kind:
            await check_round_trips(record, tmp_path)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1, max_size=9)


def changed(value: Any, data: st.DataObject) -> Any:
    """Return JSON with other values of the same types."""
    if isinstance(value, dict):
        return {key: member if key in {"id", "type"} else changed(member, data) for key, member in value.items()}
    if isinstance(value, list):
        return [changed(item, data) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return data.draw(st.integers(-(2**31), 2**31))
    if isinstance(value, float):
        return data.draw(st.integers(-(2**40), 2**40).map(lambda number: number / 16))
    return value if value[:2] == "20" else data.draw(TEXT.filter(lambda text: text.strip() and text[0] not in "[{"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(30))
@given(st.sampled_from(EXAMPLE_RECORDS), st.data())
async def test_every_record_round_trips(tmp_path: Path, record: Record, data: st.DataObject) -> None:
    """A record with any values has the same values in to_row, CSV, Parquet and frames."""
    lines = msgspec.json.encode(changed(json.loads(msgspec.json.encode(record)), data))
    await check_round_trips(msgspec.json.decode(lines, type=type(record)), tmp_path)


def test_row_of_a_visit_with_its_company() -> None:
    """The row of a visit has the everyday fields of its company and location, with Python types."""
    visit = msgspec.json.decode(
        b'{"id":"v","attributes":{"started_at":"2026-11-20T09:14:07","page_depth":3,"engagements":[]},'
        b'"relationships":{"company":{"id":"c","attributes":{"name":"Nordlicht","employee_range":50,'
        b'"address":{"country":"Germany","city":"Kiel"},"industries":{"industry":[{"code":"1","name":"Software"}]},'
        b'"revenue":{"value_eur":1.5}}},"location":{"id":"l","attributes":{"city":"Hamburg"}}}}',
        type=WebVisit,
    )
    assert (visit.company_id, visit.company_name, visit.company_country) == ("c", "Nordlicht", "Germany")
    assert (visit.location_city, visit.company and visit.company.industry) == ("Hamburg", "Software")
    assert visit.company
    assert (visit.company.employee_range, visit.company.city) == ("50", "Kiel")
    row = visit.to_row()
    assert row["started_at"] == datetime(2026, 11, 20, 9, 14, 7, tzinfo=UTC)
    assert (row["company.id"], row["company.name"], row["company.country"]) == ("c", "Nordlicht", "Germany")
    assert (row["company.employee_range"], row["company.industry"]) == ("50", "Software")
    assert (row["company.revenue_eur"], row["company.city"], row["location.city"]) == (1.5, "Kiel", "Hamburg")
    assert (row["page_depth"], row["engagements"], row["campaign"]) == (3, "[]", None)


@pytest.mark.parametrize("kind", [WebVisit, CompanyLocation, Signal, EnrichedIp, models.Contact, models.CompanyIp])
def test_row_of_a_stub_has_all_columns(kind: type[Record]) -> None:
    """A record with only an id has all columns."""
    row = msgspec.convert({"id": "1"}, kind).to_row()
    assert list(row) == [column.name for column in columns_of(kind)]
    assert {"company.id", "company.name", "company.url", "company.country", "company.employee_range"} <= set(row)
    assert {value for name, value in row.items() if name != "id"} == {None}


def test_records_of_several_types_have_a_type() -> None:
    """The row of a list item tells whether it is a company or a contact."""
    item = msgspec.convert({"id": "1", "type": "company", "attributes": {"a": 1}}, ListItem)
    assert item.to_row() == {"id": "1", "type": "company", "attributes": '{"a":1}'}
    assert "type" not in msgspec.convert({"id": "1"}, Company).to_row()


TYPE_NAMES = {
    str: "text", int: "integer", float: "number", bool: "true or false",
    date: "date", datetime: "time (UTC)", dict: "JSON",
}  # fmt: skip


def columns_page() -> str:
    """Return the tables of columns as they are in the documentation."""
    parts = []
    for kind in RECORDS:
        lines = [f"| `{column.name}` | {TYPE_NAMES[column.type]} |" for column in columns_of(kind)]
        parts.append("\n".join([f"### {kind.__name__}", "", "| Column | Type |", "|-|-|", *lines]))
    return "\n\n".join(parts) + "\n"


def test_page_of_columns() -> None:
    """docs/columns.md has the columns of every record."""
    _, _, tables = (DOCS / "columns.md").read_text(encoding="utf-8").partition("## Columns of each record\n\n")
    assert tables == columns_page()
