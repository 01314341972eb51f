"""The statements that read a spool of JSON lines, and the rows of each table in it. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from leadfeeder_async.jobs.duckdb_file import json_lines_sql, struct_sql
from leadfeeder_async.jobs.sync.merge_sql import cast, json_shape, json_type
from leadfeeder_async.jobs.sync.schema import FIRST_SEEN, KEYS, Types, expected_types

VISIT = {
    "id": "id",
    "company_id": "company_id",
    "location_id": "location_id",
    "started_at": "attributes.started_at",
    "source": "attributes.source",
    "medium": "attributes.medium",
    "campaign": "attributes.campaign",
    "keyword": "attributes.keyword",
    "referring_url": "attributes.referring_url",
    "landing_page_path": "attributes.landing_page_path",
    "device_type": "attributes.device_type",
    "visit_length": "attributes.visit_length",
    "page_depth": "attributes.page_depth",
    "lf_client_id": "attributes.identifiers.lf_client_id",
    "ga_client_ids": "attributes.identifiers.ga_client_ids",
    "visitor_email": "attributes.visitor.email",
    "visitor_first_name": "attributes.visitor.first_name",
    "visitor_last_name": "attributes.visitor.last_name",
}
"""The path of each column of ``visits`` in a visit."""

ENGAGEMENT = {
    "event_type": "event_type",
    "hostname": "hostname",
    "page_path": "page.path",
    "page_title": "page.title",
    "page_url": "page.url",
    "previous_page_path": "previous_page_path",
    "time_on_page": "time_on_page",
    "has_met_goals": "has_met_goals",
}
"""The path of each column of ``engagements`` in an engagement. Its number is its position."""


class Source(msgspec.Struct, frozen=True):
    """The rows of one table in a spool."""

    table: str
    columns: tuple[str, ...]
    select: str
    """The query of the rows. Its parameter is the account."""
    is_unique: bool
    """True if no keys repeat."""


def select_spool(path: Path, max_line_bytes: int) -> str:
    """Return the query that reads a spool: the columns of visits, and one column for each other kind of line."""
    types = expected_types()
    visit_type = _struct({**{path: json_type(types["visits", column]) for column, path in VISIT.items()}, **_STEPS})
    columns = {
        "visit": visit_type,
        **dict.fromkeys(_KINDS, "JSON"),  # few lines have one, so a column of their own for each value would be a waste
        **{f"{kind}_stub": "VARCHAR" for kind in _KINDS},
    }
    selected = ", ".join(f'visit.{path} AS "{column}"' for column, path in VISIT.items())
    others = ", ".join(name for name in columns if name != "visit")
    source = json_lines_sql(path, columns, max_line_bytes)
    return f"SELECT {selected}, visit.attributes.engagements AS engagements, {others} FROM {source}"  # noqa: S608


def sources(types: Types) -> Iterator[Source]:
    """Yield the rows of each table. Companies and locations with attributes come before those without any."""
    visits = ", ".join(cast(f'"{column}"', types["visits", column], column) for column in VISIT)
    rows = f"SELECT ? AS account_id, {visits} FROM temp.spool WHERE id IS NOT NULL"  # noqa: S608
    yield Source("visits", ("account_id", *VISIT), rows, is_unique=True)
    steps = ", ".join(cast(f"step.{path}", types["engagements", column], column) for column, path in ENGAGEMENT.items())
    unnested = (
        "SELECT id AS visit_id, generate_subscripts(engagements, 1)::INTEGER AS number, UNNEST(engagements) AS step "
        "FROM temp.spool WHERE len(engagements) > 0"
    )
    yield Source(
        "engagements",
        (*KEYS["engagements"], *ENGAGEMENT),
        f"SELECT ? AS account_id, visit_id, number AS step, {steps} FROM ({unnested})",  # noqa: S608
        is_unique=True,
    )
    for kind, table in _KINDS.items():
        columns = [column for name, column in types if name == table and column not in _NOT_SENT]
        values = ", ".join(cast(f'{kind}."{column}"', types[table, column], column) for column in columns)
        objects = (
            f"SELECT json_transform({kind}, '{json_shape(table, columns, types)}') AS {kind} "  # noqa: S608
            f"FROM temp.spool WHERE {kind} IS NOT NULL"
        )
        rows = f"SELECT ? AS account_id, {values} FROM ({objects})"  # noqa: S608
        yield Source(table, ("account_id", *columns), rows, is_unique=False)
        ids = (
            f"SELECT {kind}_id AS id FROM temp.spool WHERE {kind}_id IS NOT NULL "  # noqa: S608
            f"UNION SELECT {kind}_stub FROM temp.spool WHERE {kind}_stub IS NOT NULL"
        )
        yield Source(table, KEYS[table], f"SELECT ? AS account_id, id FROM ({ids})", is_unique=True)  # noqa: S608


DELETE_REPEATED_VISITS = """
DELETE FROM temp.spool
USING (SELECT id, max(rowid) AS last FROM temp.spool WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1) AS repeated
WHERE spool.id = repeated.id AND spool.rowid < repeated.last
"""

DELETE_STALE_ENGAGEMENTS = """
DELETE FROM engagements USING temp.spool
WHERE engagements.account_id = ? AND engagements.visit_id = spool.id
AND engagements.step > coalesce(len(spool.engagements), 0)
"""

_KINDS = {"company": "companies", "location": "locations"}
"""The kinds of lines beside visits, and the tables of their rows."""


_NOT_SENT = frozenset({"account_id", FIRST_SEEN})


def _struct(types: dict[str, str]) -> str:
    return struct_sql({tuple(path.split(".")): kind for path, kind in types.items()})


_STEPS = {"attributes.engagements": f"{_struct(dict.fromkeys(ENGAGEMENT.values(), 'VARCHAR'))}[]"}
