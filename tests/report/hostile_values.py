"""Databases whose values try to break the report page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from tests.support.database import make_database, state

END = date(2026, 11, 24)
HOSTILE = {
    "closing tags": "</small></td></tr></table></title></style></script><script>alert(1)</script>",
    "element": "<img src=x onerror=alert(1)><svg onload=alert(2)>",
    "quotes": "\" onmouseover=\"alert(1)\" ' onfocus='alert(2)' `",
    "entities": "&lt;b&gt; &amp;amp; &#60; &copy",
    "comment": "<!-- --> <![CDATA[ ]]> <?xml ?>",
    "template": "{{ 7 * 7 }} {% endif %} {# note #} $title ${title} %(title)s {0}",
    "control characters": "a\x01b\x08c\x1bd\x7fe\x85f",
    "right-to-left": "\u202ecba\u2066\u200f\u202c \u05d0\u05d1 \u05e9\u05dc\u05d5\u05dd",
    "line breaks": "a\r\nb\u2028c\u2029d",
}
HARMLESS = "plain"


def database_of(path: Path, value: str) -> Path:
    """Make a database in which every string that the page shows is ``value``."""
    visit = {"source": value, "medium": value, "landing_page_path": value, "location_id": "L"}
    unnamed = dict.fromkeys(("name", "industry", "employee_range", "country", "intent_score", "intent_tier"))
    companies: list[Mapping[str, Any]] = [
        {
            "id": "named",
            "name": value,
            "industry": value,
            "employee_range": value,
            "country": value,
            "intent_score": 1.0,
            "intent_tier": value,
            "tag_ids": ["named", value],
        },
        {**unnamed, "id": value, "intent_tier": value, "tag_ids": []},
    ]
    tables: dict[str, Iterable[Mapping[str, Any]]] = {
        "visits": [
            {"id": str(number), "company_id": company, "started_at": "2026-11-24T10:00:00Z", **visit}
            for number, company in enumerate(("named", "named", value))
        ],
        "companies": companies,
        "tags": [{"id": "named", "name": value}],
        "locations": [{"id": "L", "country": value}],
        "usage": [{"month": value, "method": value, "endpoint": value, "requests": 1}],
        "sync_state": state(END, END),
    }
    accounts = {table: [{"account_id": value, **row} for row in rows] for table, rows in tables.items()}
    return make_database(path, **accounts)
