"""Data frames: fixed columns and types, whatever the rows."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import msgspec
import pandas as pd
import polars as pl
import pytest

from leadfeeder_async import AsyncLeadfeeder, ConfigurationError, IncompleteListError, Pager
from leadfeeder_async.jobs import frames
from leadfeeder_async.models import WebVisit
from leadfeeder_async.models.columns import columns_of
from leadfeeder_async.sandbox import Sandbox
from tests.jobs.test_export import visits
from tests.support.clients import client_of
from tests.support.servers import http, raw_server

NAMES = [column.name for column in columns_of(WebVisit)]
LONG_AGO = {"start_date": date(2001, 1, 1), "end_date": date(2001, 1, 2)}


def first_visits(lf: AsyncLeadfeeder, sandbox: Sandbox) -> Pager[WebVisit]:
    """Return a short list, because pytest takes minutes to show two long lists that differ."""
    start, end = sandbox.start_date, sandbox.end_date
    return lf.web_visits.search(start_date=start, end_date=end, include=["company"], limit=5, page_size=2)


async def test_polars(lf: AsyncLeadfeeder, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A polars frame has one row per record, with the values of to_row. An empty list has the same schema."""
    monkeypatch.setattr(frames, "ROWS_AT_ONCE", 2)
    pager = first_visits(lf, sandbox)
    frame, rows = await pager.to_polars(), [visit.to_row() for visit in await pager.collect()]
    assert frame.rows(named=True) == rows
    empty = await lf.web_visits.search(**LONG_AGO).to_polars()
    assert (empty.height, empty.schema) == (0, frame.schema)
    assert list(frame.columns) == NAMES
    assert frame.schema["started_at"] == pl.Datetime("us", "UTC")
    assert (frame.schema["page_depth"], frame.schema["engagements"]) == (pl.Int64(), pl.String())


async def test_pandas(lf: AsyncLeadfeeder, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pandas frame has one row per record, with the values of to_row. An empty list has the same types."""
    monkeypatch.setattr(frames, "ROWS_AT_ONCE", 2)
    pager = first_visits(lf, sandbox)
    frame, rows = await pager.to_pandas(), [visit.to_row() for visit in await pager.collect()]
    values = frame.astype(object).where(frame.notna(), None).to_dict("records")
    assert values == rows
    empty = await lf.web_visits.search(**LONG_AGO).to_pandas()
    assert (len(empty), list(empty.dtypes)) == (0, list(frame.dtypes))
    assert (list(frame), list(frame.index)) == (NAMES, list(range(len(rows))))
    assert str(frame["started_at"].dtype) == "datetime64[us, UTC]"


async def test_picked_fields(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Fields pick and order the columns of frames and of every format of files."""
    fields = ["location.city", "id", "company.id"]
    pager = first_visits(lf, sandbox)
    expected = [{name: visit.to_row()[name] for name in fields} for visit in await pager.collect()]
    assert (await pager.to_polars(fields=fields)).rows(named=True) == expected
    assert list(await pager.to_pandas(fields=fields)) == fields
    for suffix in ("csv", "parquet", "ndjson"):
        await pager.to_file(tmp_path / f"visits.{suffix}", fields=fields)
    assert pl.read_csv(tmp_path / "visits.csv", infer_schema=False).rows(named=True) == expected
    assert pl.read_parquet(tmp_path / "visits.parquet").rows(named=True) == expected
    lines = (tmp_path / "visits.ndjson").read_bytes().splitlines()
    assert [msgspec.json.decode(line) for line in lines] == expected


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (["compny.name"], r"'compny\.name'\. Did you mean 'company\.name'\?"),
        (["employee_range"], r"Did you mean 'company\.employee_range'\?"),
        (["zzz"], "Use one of id, source"),
        (["id", "id"], "contains 'id' twice"),
        ([], "fields is empty"),
        ("id", r"Write fields=\['id'\]"),
    ],
)
async def test_wrong_fields(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, fields: list[str], problem: str
) -> None:
    """A field that does not exist is refused before any request, with a suggestion."""
    pager = visits(lf, sandbox)
    for call in (pager.to_polars(fields=fields), pager.to_file(tmp_path / "visits.csv", fields=fields)):
        with pytest.raises(ConfigurationError, match=problem):
            await call
    assert sandbox.ledger.requests == []


@pytest.mark.parametrize("library", ["polars", "pandas"])
async def test_missing_library(
    lf: AsyncLeadfeeder, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """If the library is not installed, the error has the command that installs it, before any request."""
    monkeypatch.setattr(frames, "find_spec", lambda _: None)
    pager = visits(lf, sandbox)
    with pytest.raises(ConfigurationError, match=f"to_{library} needs {library}. Run pip install {library}"):
        await (pager.to_polars() if library == "polars" else pager.to_pandas())
    assert sandbox.ledger.requests == []


async def test_integer_out_of_range() -> None:
    """An integer of more than 64 bits is a missing value, as in a Parquet file, and so is one that is missing."""
    body = b'{"data":[{"id":"1","attributes":{"color":%d}},{"id":"2","attributes":{"color":7}},{"id":"3"}]}' % 2**70
    async with raw_server(http(body)) as server, client_of(server.url) as lf:
        assert (await lf.tags.list().to_polars())["color"].to_list() == [None, 7, None]
        assert (await lf.tags.list().to_pandas())["color"].to_list() == [pd.NA, 7, pd.NA]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
async def test_time_out_of_range(time: str) -> None:
    """A time that has no UTC becomes a missing value."""
    body = {"data": [{"id": "1", "type": "web_visit", "attributes": {"started_at": time}}]}
    async with raw_server(*2 * [http(json.dumps(body).encode())]) as server, client_of(server.url) as lf:
        pager = lf.web_visits.search(**LONG_AGO)
        polars, pandas = await pager.to_polars(), await pager.to_pandas()
    assert polars["started_at"].to_list() == [None]
    assert pandas["started_at"].isna().all()


async def test_incomplete_list_has_no_frame() -> None:
    """A list with a row that cannot be decoded raises, and does not return a frame without it."""
    body = b'{"data":[{"id":"1","attributes":{"color":"red"}},{"id":"2"}]}'
    async with raw_server(http(body)) as server, client_of(server.url) as lf:
        with pytest.raises(IncompleteListError):
            await lf.tags.list().to_polars()
