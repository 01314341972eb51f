"""Companies in responses, with their relations."""

from __future__ import annotations

from leadfeeder_async.sandbox.operations.profiles import matching_icps
from leadfeeder_async.sandbox.operations.visit_records import web_visit_json
from leadfeeder_async.sandbox.query import Query
from leadfeeder_async.sandbox.sample_data import FIRST_COMPANY_ID, Json
from leadfeeder_async.sandbox.server_state import ApiError

MAX_INCLUDED_VISITS = 20
"""The number of visits in the relation ``web_visits``: the last ones."""

COMPANY_RELATIONS = (
    "group_company",
    "tags",
    "lists",
    "web_visits",
    "icps",
    "crm_connections",
    "crm_connections.crm_record",
    "crm_connections.crm_record.crm_owner",
    "crm_suggestions",
    "crm_suggestions.crm_record",
    "crm_suggestions.crm_record.crm_owner",
    "crm_group_connections",
    "crm_group_connections.crm_connection",
    "crm_group_connections.crm_connection.crm_record",
    "crm_group_connections.crm_connection.crm_record.crm_owner",
)


def require_company(query: Query, company_id: str) -> str:
    """Return the current id of a company, or raise a 404 error if there is none."""
    current_id = query.state.world.find_company(company_id)
    if current_id is None:
        raise ApiError(404, "entity_not_found", "No such company")
    return current_id


def find_companies(query: Query, company_ids: list[str]) -> list[str]:
    """Return the current ids of companies, each once. Omit unknown ids."""
    found = (query.state.world.find_company(company_id) for company_id in company_ids)
    return list(dict.fromkeys(company_id for company_id in found if company_id is not None))


def company_reference(query: Query, company_id: str) -> Json:
    """Return a company for ``relationships``: the full record if it is included, otherwise its id and type."""
    return company_json(query, company_id) if "company" in query.includes else {"id": company_id, "type": "company"}


def company_json(query: Query, company_id: str) -> Json:
    """Return a company with its relations."""
    world, records = query.state.world, query.state.records
    company = world.company(company_id)
    group_company_id = world.group_company_of(company_id)
    relationships: Json = {
        "group_company": None if group_company_id is None else _group_company(query, group_company_id),
        "tags": [related(query, "tags", records.tags.to_json(tag_id)) for tag_id in records.tags_of(company_id)],
        "lists": [
            related(query, "lists", records.lists.to_json(list_id))
            for list_id in records.lists_of("company", company_id)
        ],
        "icps": [related(query, "icps", icp) for icp in matching_icps(company)],
        "crm_connections": _crm_connections(query, company_id, "crm_connections"),
        "crm_suggestions": [],
    }
    if "web_visits" in query.includes:
        visit_ids = world.visits_of_company(company_id)[-MAX_INCLUDED_VISITS:]
        stub: Json = {"id": company_id, "type": "company"}
        relationships["web_visits"] = [web_visit_json(query, visit_id, stub) for visit_id in reversed(visit_ids)]
    if "crm_group_connections" in query.includes:
        relationships["crm_group_connections"] = _crm_group_connections(query, company_id, group_company_id)
    return {"id": company_id, "type": "company", "attributes": company, "relationships": relationships}


def related(query: Query, relation: str, record: Json) -> Json:
    """Return a record for ``relationships``: the full record if ``relation`` is included, otherwise its id and type."""
    return record if relation in query.includes else {"id": record["id"], "type": record["type"]}


def _group_company(query: Query, company_id: str) -> Json:
    attributes = query.state.world.company(company_id)
    return related(query, "group_company", {"id": company_id, "type": "company", "attributes": attributes})


def _crm_group_connections(query: Query, company_id: str, group_company_id: str | None) -> list[Json]:
    """Return the CRM connections of the company that heads the group."""
    if group_company_id is None:
        return []
    path = "crm_group_connections.crm_connection"
    return [
        {
            "id": f"crmg-{company_id}",
            "type": "crm_group_connection",
            "attributes": {},
            "relationships": {"crm_connection": connection},
        }
        for connection in _crm_connections(query, group_company_id, path)
    ]


def _crm_connections(query: Query, company_id: str, path: str) -> list[Json]:
    """Return the CRM connection of every fifth company."""
    number = int(company_id) - FIRST_COMPANY_ID
    if number % 5:
        return []
    company = query.state.world.company(company_id)
    owner: Json = {"id": "u-9", "type": "crm_user", "attributes": {"name": "Mia Keller"}}
    record: Json = {
        "id": f"crm-org-{number}",
        "type": "crm_organization",
        "attributes": {"name": company["name"], "crm_url": f"https://crm.test/organizations/{number}"},
        "relationships": {"crm_owner": related(query, f"{path}.crm_record.crm_owner", owner)},
    }
    connection: Json = {
        "id": f"crmc-{number}",
        "type": "crm_connection",
        "attributes": {},
        "relationships": {"crm_record": related(query, f"{path}.crm_record", record)},
    }
    return [related(query, path, connection)]


def company_summary(query: Query, company_id: str) -> Json:
    """Return the summary of a company in search results."""
    names = ("name", "role", "register", "meta", "url", "employee_range", "employee_count", "industries", "address")
    company = query.state.world.company(company_id)
    return {"id": company_id, "type": "company_summary", "attributes": {name: company[name] for name in names}}
