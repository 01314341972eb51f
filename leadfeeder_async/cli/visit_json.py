"""A visit as JSON, without fields that were not requested."""

from __future__ import annotations

from leadfeeder_async.models import WebVisit


def visit_to_dict(visit: WebVisit) -> dict[str, object]:
    """Return a visit as plain objects. A company that was not requested has only its type and its id."""
    plain, company = visit.to_dict(), visit.company
    relationships = plain.get("relationships")
    is_stub = company is not None and company == type(company)(id=company.id, type=company.type)
    if company is not None and is_stub and isinstance(relationships, dict):
        relationships["company"] = {"id": company.id, "type": company.type}
    return plain
