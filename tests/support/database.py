"""Databases for tests, with the schema of the package and given or generated rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from leadfeeder_async.sandbox import World

ACCOUNT = "310042"


def make_database(path: Path, **tables: Iterable[Mapping[str, Any]]) -> Path:
    """Make a database with these rows. Rows without an ``account_id`` belong to account 310042."""
    with duckdb.connect(path) as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute(files("leadfeeder_async.jobs.sync").joinpath("schema.sql").read_text(encoding="utf-8"))
        for table, rows in tables.items():
            _insert(database, table, [{"account_id": ACCOUNT, **row} for row in rows])
    return path


def _insert(database: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows as one JSON string, because inserting thousands of rows one by one takes seconds."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns_and_types = database.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = ?", [table]
    ).fetchall()
    schema = msgspec.json.encode([{name: kind for name, kind in columns_and_types if name in names}]).decode()
    columns = ", ".join(f'"{name}"' for name in names)
    database.execute(
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM "
        "(SELECT unnest(from_json_strict(CAST(? AS JSON), ?), recursive := true))",
        [msgspec.json.encode(rows).decode(), schema],
    )


def state(first_day: date, last_day: date | None, **more: Any) -> list[dict[str, Any]]:
    """Return the one row of ``sync_state``."""
    return [{"version": 1, "first_day": first_day, "last_day": last_day, **more}]


def world_database(path: Path, world: World, **tables: Iterable[Mapping[str, Any]]) -> Path:
    """Make a database with the companies and visits of a sandbox world, and generated tags, credits and usage."""
    companies = [company_row(world, company_id) for company_id in world.company_ids()]
    visits = [visit_row(world, visit_id) for visit_id in world.visit_ids()]
    generated: dict[str, Iterable[Mapping[str, Any]]] = {
        "visits": visits,
        "companies": companies,
        "locations": [],
        "tags": [{"id": str(number), "name": name} for number, name in enumerate(TAGS)],
        "credits": credits_rows(world),
        "usage": usage_rows(world),
        "sync_state": state(world.start_date, world.end_date, finished_at=world.end_date + timedelta(2)),
    }
    return make_database(path, **{**generated, **tables})


TAGS = ("Customer", "Target account", "Partner", "Competitor", "Open deal")


def company_row(world: World, company_id: str) -> dict[str, Any]:
    """Return a company of a sandbox world as a row."""
    company: dict[str, Any] = world.company(company_id)
    number = int(company_id)
    return {
        "id": company_id,
        "name": company["name"],
        "url": company["url"],
        "country_code": company["address"]["country_code"],
        "country": company["address"]["country"],
        "city": company["address"]["city"],
        "industry": company["industries"]["industry"][0]["name"],
        "employee_count": company["employee_count"],
        "employee_range": company["employee_range"],
        "intent_score": company["intent"]["score"],
        "intent_tier": ("low", "medium", "high")[min(2, int(company["intent"]["score"] / 3.4))],
        "do_not_contact": number % 17 == 0,
        "tag_ids": [str(tag) for tag in range(len(TAGS)) if (number * 7 + tag * 3) % 11 < 2],
    }


def visit_row(world: World, visit_id: str) -> dict[str, Any]:
    """Return a visit of a sandbox world as a row."""
    visit: dict[str, Any] = world.visit(visit_id)
    columns = ("source", "medium", "started_at", "landing_page_path", "device_type", "visit_length", "page_depth")
    return {
        "id": visit_id,
        "company_id": world.company_of_visit(visit_id),
        **{name: visit[name] for name in columns},
    }


def credits_rows(world: World) -> list[dict[str, Any]]:
    """Return one reading per day: 5,000 credits per month, of which some are used every day."""
    rows, used, day = [], 0, world.start_date
    while day <= world.end_date:
        used = 0 if day.day == 1 else used + 40 + day.toordinal() * 37 % 90
        reset = (day.replace(day=1) + timedelta(32)).replace(day=1)
        seen = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=3)
        rows.append(
            {"seen_at": seen, "available": 5_000, "used": used, "remaining": 5_000 - used, "next_reset_on": reset}
        )
        day += timedelta(1)
    return rows


def usage_rows(world: World) -> list[dict[str, Any]]:
    """Return the usage of three endpoints in each month."""
    days = (world.end_date - world.start_date).days + 1
    months = sorted({f"{world.start_date + timedelta(day):%Y-%m}" for day in range(days)})
    endpoints = (
        ("POST", "/v1/web-visits/search", 9, 0),
        ("GET", "/v1/companies/{id}", 2, 2),
        ("GET", "/v1/tags", 1, 0),
    )
    return [
        {
            "month": month,
            "method": method,
            "endpoint": endpoint,
            "requests": (733 + 91 * index) * requests,
            "credits_charged": (733 + 91 * index) * credits_charged,
        }
        for index, month in enumerate(months)
        for method, endpoint, requests, credits_charged in endpoints
    ]
