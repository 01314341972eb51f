"""Tests of the sandbox against every operation of the contract: documented requests pass, and undocumented ones fail."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import jsonschema
import pytest
import yaml

from leadfeeder_async.sandbox import Sandbox, run_in_thread
from leadfeeder_async.sandbox.operations import OPERATIONS
from tests.support.paths import CONTRACT

COMPANY, CONTACT = "159000001", "52000001"

STRINGS = {
    "ids": COMPANY,
    "company_ids": COMPANY,
    "company_id": COMPANY,
    "icp_ids": "icp-1",
    "buyer_persona_ids": "bp-1",
    "ip": "198.18.0.2",
    "frequency": "daily",
    "country_code": "DE",
    "location_country_codes": "DE",
}
"""A valid value for each property that does not accept every string."""


class ContractCase:
    """An operation of the contract, with the records that its requests need."""

    def __init__(self, operation_id: str, document: dict[str, Any], sandbox: Sandbox) -> None:
        self.components: dict[str, Any] = document["components"]
        self.sandbox = sandbox
        self.id = operation_id
        self.path, self.method, self.operation = next(
            (path, method.upper(), operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if operation["operationId"] == operation_id
        )
        self.parameters = [self.resolve(parameter) for parameter in self.operation.get("parameters", ())]
        records, scope = sandbox.records, "contact" if "contact" in operation_id else "company"
        self.record_ids = {
            "tag": records.tags.add({"name": "Hot", "color": 1}),
            "list": records.lists.add({"name": "DACH", "scope": scope}),
            "custom_field": records.custom_fields.add({"name": "Tier", "scope": "company", "type": "text"}),
            "custom_feed": records.custom_feeds.add({"name": "Pricing", "filters": []}),
        }

    def resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the component that a schema refers to."""
        if "$ref" not in schema:
            return schema
        _, _, kind, name = schema["$ref"].split("/")
        return self.resolve(self.components[kind][name])

    def params(self, *, optional: bool) -> dict[str, str]:
        """Return valid query parameters."""
        return {
            parameter["name"]: self.text(parameter["name"], parameter["schema"])
            for parameter in self.parameters
            if parameter["in"] == "query"
            and (optional or parameter["required"])
            and parameter["name"] != "page[cursor]"
        }

    def text(self, name: str, schema: dict[str, Any]) -> str:
        """Return the text of a query parameter. A list of choices contains all of them."""
        if name == "ids" and "contact" in self.id:
            return CONTACT
        if name == "account_id":
            return self.sandbox.account_id
        if name == "custom_feed_id":
            return self.record_ids["custom_feed"]
        items = schema.get("items", {})
        choices = items.get("enum", items.get("examples"))
        value = ",".join(choices) if choices else self.value(name, schema)
        return ",".join(value) if isinstance(value, list) else str(value).lower() if value is True else str(value)

    def value(self, name: str, schema: dict[str, Any]) -> Any:
        """Return a valid value of a schema, with all properties of objects."""
        schema = self.resolve(schema)
        match schema.get("type"):
            case "object":
                return {key: self.value(key, member) for key, member in schema.get("properties", {}).items()}
            case "array":
                return [self.value(name, schema["items"])]
            case "integer" | "number":
                return max(schema.get("minimum", 1), 1)
            case "boolean":
                return True
            case "string":
                return self.string(name, schema)
            case _:
                return []

    def string(self, name: str, schema: dict[str, Any]) -> str:
        """Return a valid string of a schema."""
        if "enum" in schema:
            return schema["enum"][0]
        if schema.get("format") == "date":
            return str(self.sandbox.end_date)
        if "pattern" in schema:
            return f"{self.sandbox.end_date:%Y-%m}"
        linked = "tag" if "tags" in self.id else "list"
        if self.operation.get("requestBody") and "Linkages" in json.dumps(self.operation["requestBody"]):
            return {"type": linked, "id": self.record_ids[linked]}[name]
        return STRINGS.get(name) or schema.get("const") or (schema.get("examples") or ["text"])[0]

    def body_schema(self) -> dict[str, Any] | None:
        """Return the schema of the body, if the operation has one."""
        body = self.operation.get("requestBody")
        return self.resolve(body["content"]["application/json"]["schema"]) if body else None

    def bodies_with_unknown_key(self) -> Iterator[dict[str, Any]]:
        """Yield the full body with an unknown key, once for each of its objects that has documented properties."""
        schema = self.body_schema()
        full = self.value("", schema) if schema else {}
        for keys in list(self.object_paths(schema)) if schema else ():
            changed = copy.deepcopy(full)
            place = changed
            for key in keys:
                place = place[key]
            place["nonsense"] = 1
            yield changed

    def object_paths(self, schema: dict[str, Any], keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the path of each object in a body."""
        schema = self.resolve(schema)
        if schema.get("type") == "array":
            yield from self.object_paths(schema["items"], (*keys, 0))
        elif "properties" in schema:
            yield keys
            for key, member in schema["properties"].items():
                yield from self.object_paths(member, (*keys, key))

    def request(self, params: dict[str, str], body: object = None, record_id: str | None = None) -> tuple[int, Any]:
        """Send a request. Return the status and the body of the response."""
        path = self.path
        for parameter in self.parameters:
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", quote(record_id or self.record_id()))
        url = f"{self.sandbox.url}{path}?{urlencode(params)}"
        content = None if body is None else json.dumps(body).encode()
        request = Request(url, content, {"X-Api-Key": self.sandbox.api_key}, method=self.method)
        try:
            with urlopen(request) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            return error.code, json.load(error)

    def record_id(self) -> str:
        """Return the ID of a record for the path."""
        kinds = {
            "/v1/companies": COMPANY,
            "/v1/contacts": CONTACT,
            "/v1/tags": self.record_ids["tag"],
            "/v1/lists": self.record_ids["list"],
            "/v1/custom-fields": self.record_ids["custom_field"],
            "/v1/web-visits": self.record_ids["custom_feed"],
            "/v1/campaigns": "cmp-1",
            "/v1/icps": "icp-1",
            "/v1/buyer-personas": "bp-1",
        }
        return next(record_id for start, record_id in kinds.items() if self.path.startswith(start))

    def full_request(self) -> tuple[dict[str, str], Any]:
        """Return a request with all documented parameters and properties."""
        schema = self.body_schema()
        return self.params(optional=True), self.value("", schema) if schema else None

    def assert_error(self, response: tuple[int, Any], status: int) -> None:
        """Raise an AssertionError unless a response has a status and the contract's body for it."""
        assert response[0] == status, response
        schema = {"$ref": f"#/components/schemas/Error{status}", "components": self.components}
        jsonschema.validate(response[1], schema)
        assert response[1]["errors"][0]["code"]
        assert response[1]["errors"][0]["title"]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The contract."""
    loaded: dict[str, Any] = yaml.load(
        CONTRACT.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return loaded


@pytest.fixture(scope="module")
def strict() -> Iterator[Sandbox]:
    with run_in_thread(Sandbox(companies=60, visits=500, rate_limit=False)) as running:
        yield running


@pytest.fixture(scope="module")
def lax() -> Iterator[Sandbox]:
    with run_in_thread(Sandbox(companies=60, visits=500, rate_limit=False, lax=True)) as running:
        yield running


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_documented_request_is_accepted(document: dict[str, Any], strict: Sandbox, operation: str) -> None:
    """Each operation accepts all parameters and properties of the contract, together and required ones alone."""
    for optional in (True, False):
        case = ContractCase(operation, document, strict)
        schema = case.body_schema()
        body = case.value("", schema) if schema else None
        if not optional and body and schema and schema.get("required"):
            body = {key: body[key] for key in schema["required"]}
        status, content = case.request(case.params(optional=optional), body)
        assert status in {200, 201}, content


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_each_property_is_accepted_alone(document: dict[str, Any], strict: Sandbox, operation: str) -> None:
    """Each property of a body is accepted without the other optional ones."""
    case = ContractCase(operation, document, strict)
    schema = case.body_schema()
    if schema is None:
        return
    full, required = case.value("", schema), schema.get("required", ())
    for key in full:
        body = {name: full[name] for name in (*required, key)}
        status, content = case.request(case.params(optional=False), body)
        assert status in {200, 201}, (key, content)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_undocumented_parameter_is_rejected(document: dict[str, Any], strict: Sandbox, operation: str) -> None:
    """Each operation rejects a query parameter that the contract does not have."""
    case = ContractCase(operation, document, strict)
    params, body = case.full_request()
    case.assert_error(case.request({**params, "nonsense": "1"}, body), 400)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_undocumented_key_is_rejected(document: dict[str, Any], strict: Sandbox, operation: str) -> None:
    """Each object of each body rejects a key that the contract does not have."""
    case = ContractCase(operation, document, strict)
    for body in case.bodies_with_unknown_key():
        case.assert_error(case.request(case.params(optional=False), body), 400)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_undocumented_relation_is_rejected(document: dict[str, Any], strict: Sandbox, operation: str) -> None:
    """Each operation rejects a relation that the contract does not have."""
    case = ContractCase(operation, document, strict)
    params, body = case.full_request()
    if "include" in params:
        response = case.request({**params, "include": f"{params['include']},nonsense"}, body)
        case.assert_error(response, 400)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_unknown_record_is_not_found(document: dict[str, Any], strict: Sandbox, operation: str) -> None:
    """Each operation on one record returns 404 for an unknown ID."""
    case = ContractCase(operation, document, strict)
    if "{" in case.path:
        params, body = case.full_request()
        case.assert_error(case.request(params, body, "nonsense"), 404)


UNKNOWN_IDS = [
    ("retrieve_visitor_companies", {"custom_feed_id": "nonsense"}, None),
    ("search_companies", {}, {"icp_ids": ["icp-1", "nonsense"]}),
    ("search_contacts", {}, {"buyer_persona_ids": ["nonsense"]}),
]


@pytest.mark.parametrize(("operation", "params", "body"), UNKNOWN_IDS)
def test_unknown_id_in_search(
    document: dict[str, Any], strict: Sandbox, lax: Sandbox, operation: str, params: dict[str, str], body: object
) -> None:
    """Searches reject unknown custom feeds, ICPs and buyer personas, and a lax sandbox ignores them."""
    case = ContractCase(operation, document, strict)
    case.assert_error(case.request({**case.params(optional=False), **params}, body), 404)
    case = ContractCase(operation, document, lax)
    status, content = case.request({**case.params(optional=False), **params}, body)
    assert status == 200, content


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("search_contacts", {"filters": {"nonsense": True}}),
        ("search_companies", {"filters": {}}),
        ("search_companies", {"revenue": {}}),
        ("search_companies", {"employee_ranges": ["11-50"]}),
        ("search_companies", {"locations": [{"country_codes": ["DE"]}]}),
        ("search_companies", {}),
        ("search_contacts", {}),
        ("create_tag", {"data": {"type": "tag", "attributes": {"name": "x"}, "relationships": {}}}),
    ],
)
def test_invalid_body_is_rejected(
    document: dict[str, Any], strict: Sandbox, operation: str, body: dict[str, Any]
) -> None:
    """Bodies that a strict server cannot apply are rejected."""
    case = ContractCase(operation, document, strict)
    case.assert_error(case.request(case.params(optional=False), body), 400)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_lax_sandbox_ignores_unknown_names(document: dict[str, Any], lax: Sandbox, operation: str) -> None:
    """``lax=True`` ignores unknown parameters, keys and relations."""
    case = ContractCase(operation, document, lax)
    params, body = case.full_request()
    for changed in list(case.bodies_with_unknown_key())[::-1] or [body]:
        case = ContractCase(operation, document, lax)
        relations = {"include": "nonsense"} if "include" in params else {}
        status, content = case.request({**case.params(optional=False), **relations, "nonsense": "1"}, changed)
        assert status in {200, 201}, content


def test_hint_for_misspelled_name(document: dict[str, Any], strict: Sandbox) -> None:
    """The error of a misspelled name suggests the documented one."""
    case = ContractCase("search_companies", document, strict)
    body = {"locations": [{"city": "Hamburg"}, {"country_cod": "DE"}]}
    _, content = case.request(case.params(optional=False), body)
    assert content["errors"][0]["title"] == (
        "The body has an unknown key: locations[1].country_cod (did you mean country_code?)"
    )


def test_account_id_in_body_is_ignored(document: dict[str, Any], strict: Sandbox) -> None:
    """A copy of the account ID in the body is ignored, and does not replace the parameter."""
    case = ContractCase("search_contacts", document, strict)
    body = {"company_ids": [COMPANY], "account_id": strict.account_id}
    assert case.request(case.params(optional=False), body)[0] == 200
    case.assert_error(case.request({}, body), 400)


def test_spaces_in_include(document: dict[str, Any], strict: Sandbox) -> None:
    """Spaces after the commas of ``include`` are ignored."""
    case = ContractCase("get_company", document, strict)
    status, content = case.request({**case.params(optional=False), "include": "tags, lists"})
    assert status == 200, content
