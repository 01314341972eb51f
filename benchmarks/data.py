"""Encoded pages of visits and companies with the structure of the contract's examples."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

PAGE = 100
PAGES = 20
"""The number of different pages. Further pages have the same rows with other IDs."""

PAGES_A_DAY = 20
ROWS_A_DAY = PAGE * PAGES_A_DAY

FIRST_COMPANY = 159_000_000

_EXAMPLES = Path(__file__).parent.parent / "tests" / "contract" / "examples"
_PATHS = ("/", "/pricing", "/product/overview", "/blog/why-we-built-it", "/contact", "/docs/getting-started")
_SOURCES = (("google", "organic"), ("google", "cpc"), ("linkedin", "social"), (None, None), ("newsletter", "email"))


def visits_page(number: int, total: int, page_num: int) -> bytes:
    """Encode page ``number`` of all visits as page ``page_num`` of a search with ``total`` rows."""
    meta = {
        "pagination": {"page_num": page_num, "page_count": -(-total // PAGE), "total_count": total},
        "request_id": f"6b0f4c1e-93a7-4a53-8e0b-{number:012d}",
    }
    remaining = total - PAGE * (page_num - 1)
    rows = _visit_rows(number % PAGES, remaining if 0 < remaining < PAGE else PAGE).replace(
        b"00000000-", b"%08d-" % number
    )
    return b'{"data":' + rows + b',"meta":' + _encode(meta) + b"}"


def companies_page(first_id: int, size: int = PAGE) -> bytes:
    """Encode ``size`` companies with consecutive IDs. They charge nothing because all are unlocked."""
    rows: list[Json] = [_company(first_id + index) for index in range(size)]
    return _encode({"data": rows, "meta": {"credits": {"charged": 0}, "request_id": f"r-{first_id}"}})


def summaries_page(number: int) -> bytes:
    """Encode page ``number`` (from 0) of a company search by cursor."""
    rows: list[Json] = [_summary(FIRST_COMPANY + number * PAGE + index) for index in range(PAGE)]
    next_cursor = f"cursor-{number + 1}" if number + 1 < PAGES else None
    meta: Json = {"credits": {"charged": 0}, "pagination": {"next_cursor": next_cursor, "total_count": PAGE * PAGES}}
    return _encode({"data": rows, "meta": meta})


def user() -> bytes:
    """Encode a small response: the user of the key."""
    return (_EXAMPLES / "get_current_user.json").read_bytes()


@cache
def _visit_rows(number: int, size: int) -> bytes:
    rng = random.Random(number)
    return _encode([_visit(rng, index) for index in range(size)])


def _visit(rng: random.Random, index: int) -> Json:
    visit = _example("search_web_visits")
    attributes, relationships = visit["attributes"], visit["relationships"]
    assert isinstance(attributes, dict)
    assert isinstance(relationships, dict)
    source, medium = rng.choice(_SOURCES)
    visit["id"] = f"00000000-6c11-4d21-9a40-{index:012d}"
    attributes["source"], attributes["medium"] = source, medium
    attributes["visit_length"] = rng.randrange(5, 900)
    attributes["started_at"] = f"2026-11-20T{rng.randrange(24):02d}:{rng.randrange(60):02d}:07Z"
    attributes["identifiers"] = {"lf_client_id": f"LF1.1.{rng.randrange(16**8):08x}", "ga_client_ids": ["1130.17612"]}
    attributes["engagements"] = [_engagement(rng) for _ in range(rng.randrange(1, 8))]
    relationships["company"] = {"id": str(FIRST_COMPANY + rng.randrange(9_000)), "type": "company"}
    return visit


def _engagement(rng: random.Random) -> Json:
    path, previous = rng.choice(_PATHS), rng.choice(_PATHS)
    page: Json = {"path": path, "title": path.strip("/").title() or "Home", "url": f"https://www.seller.test{path}"}
    return {
        "event_type": "page-view",
        "hostname": "www.seller.test",
        "page": page,
        "previous_page_path": previous,
        "time_on_page": rng.randrange(1, 300),
        "has_met_goals": rng.random() < 0.1,
    }


def _company(number: int) -> Json:
    company = _example("retrieve_companies")
    attributes = company["attributes"]
    assert isinstance(attributes, dict)
    company["id"] = str(number)
    attributes["name"] = f"Nordlicht Robotik {number} GmbH"
    attributes["description"] = "Builds picking robots for parcel hubs, and the software that runs them. " * 8
    return company


def _summary(number: int) -> Json:
    summary, attributes = _example("search_companies"), _example("retrieve_companies")["attributes"]
    assert isinstance(attributes, dict)
    names = ("name", "role", "register", "url", "employee_range", "employee_count", "industries", "address", "revenue")
    summary["id"], summary["attributes"] = str(number), {name: attributes.get(name) for name in names}
    return summary


def _example(name: str) -> dict[str, Json]:
    record: dict[str, Json] = json.loads((_EXAMPLES / f"{name}.json").read_bytes())["data"][0]
    return record


def _encode(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
