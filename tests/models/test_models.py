"""The contract's examples decode without loss, and so do responses that differ from the contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async import DecodeError, QuotaExceededError, models, resources
from leadfeeder_async._core import codec
from leadfeeder_async._core.endpoint import Endpoint
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.models import Company, CompanySearchFilters, Icp, Model, Response, SearchLocation, WebVisit
from leadfeeder_async.models.request_bodies import TagChanges
from leadfeeder_async.resources import accounts, companies, custom_feeds, ip, reference, tags, usage, web_visits
from tests.support.clients import REDACTOR
from tests.support.paths import EXAMPLES

ENDPOINTS: dict[str, list[Endpoint[Any]]] = {}
for module in iter_modules(resources.__path__):
    for value in vars(import_module(f"leadfeeder_async.resources.{module.name}")).values():
        if isinstance(value, Endpoint):
            ENDPOINTS.setdefault(value.operation, []).append(value)

ENDPOINTS_OF_EXAMPLES = {
    "seed-accounts-list": accounts.LIST_ACCOUNTS,
    "seed-account-credits": accounts.GET_ACCOUNT,
    "seed-companies-search": companies.SEARCH_COMPANIES,
    "list_accounts--with-account-id": accounts.GET_ACCOUNT,
}


def _endpoint_of(name: str) -> Endpoint[Any]:
    return ENDPOINTS_OF_EXAMPLES.get(name) or ENDPOINTS[name.split("--", maxsplit=1)[0]][0]


DECODABLE = [
    (path.stem, _endpoint_of(path.stem))
    for path in sorted(EXAMPLES.glob("*.json"))
    if not path.stem.startswith("error")
]


def test_every_operation_has_an_example() -> None:
    """The contract has an example response of each operation."""
    assert {endpoint.operation for _, endpoint in DECODABLE} == set(ENDPOINTS)


def lost(example: Any, decoded: Any, path: str = "$") -> list[str]:
    """Return the paths whose values in ``example`` and ``decoded`` differ."""
    if isinstance(example, dict):
        inner = decoded if isinstance(decoded, dict) else {}
        return [entry for key, value in example.items() for entry in lost(value, inner.get(key), f"{path}.{key}")]
    if isinstance(example, list):
        return [
            entry
            for index, value in enumerate(example)
            for entry in lost(value, decoded[index] if index < len(decoded or []) else None, f"{path}[{index}]")
        ]
    return [] if example == decoded or (example is None and not decoded) else [path]


@pytest.mark.parametrize(("name", "endpoint"), DECODABLE, ids=[name for name, _ in DECODABLE])
def test_example_decodes_without_loss(name: str, endpoint: Endpoint[Any]) -> None:
    """Encoding a decoded example returns each of its values."""
    body = (EXAMPLES / f"{name}.json").read_bytes()
    again = msgspec.json.decode(msgspec.json.encode(codec.decode(endpoint, body, ErrorContext(), REDACTOR)))
    assert lost(msgspec.json.decode(body), again) == []


def test_shortcuts_on_records_and_stubs() -> None:
    """Names, companies, tags and times are properties of complete records and of stubs."""
    body = (EXAMPLES / "search_web_visits.json").read_bytes()
    complete, stub = web_visits.SEARCH_WEB_VISITS.decoder.decode(body).data
    assert complete.company is not None
    assert (complete.company.name, [tag.name for tag in complete.company.tags]) == (
        "Nordlicht Robotik GmbH",
        ["Hot lead"],
    )
    assert complete.started_at is not None
    assert complete.started_at.isoformat() == "2026-11-20T09:14:07+00:00"
    assert complete.location is not None
    assert complete.location.city == "Hamburg"
    assert stub.company is not None
    assert (stub.company.name, stub.company.tags, stub.company.lists) == (None, (), ())


ACME = {
    "id": "c",
    "type": "company",
    "attributes": {"name": "Acme", "url": "https://acme.test", "address": {"country": "Germany", "country_code": "DE"}},
}
PLACE = {"id": "l", "type": "location", "attributes": {"city": "Berlin", "country_code": "DE"}}


@pytest.mark.parametrize(
    "kind", [models.WebVisit, models.CompanyLocation, models.EnrichedIp, models.Signal, models.Contact]
)
def test_shortcuts_to_the_company(kind: type[Any]) -> None:
    """Records of a company have its everyday fields. A stub only has the id, and a record without one has None."""
    names = ("company_id", "company_name", "company_url", "company_country")
    stub = {"id": "c", "type": "company"}
    for company, expected in (
        (ACME, ("c", "Acme", "https://acme.test", "Germany")),
        (stub, ("c", None, None, None)),
        (None, (None,) * 4),
    ):
        record = msgspec.convert({"id": "1", "relationships": {"company": company}}, kind)
        assert tuple(getattr(record, name) for name in names) == expected
        assert (record.company is None) == (company is None)


@pytest.mark.parametrize("kind", [models.WebVisit, models.CompanyLocation, models.EnrichedIp])
def test_shortcuts_to_the_location(kind: type[Any]) -> None:
    """Records with a location have its city and its country code, which are None without a location."""
    for location, expected in ((PLACE, ("Berlin", "DE")), (None, (None, None))):
        record = msgspec.convert({"id": "1", "relationships": {"location": location}}, kind)
        assert (record.location_city, record.location_country_code) == expected


@pytest.mark.parametrize(
    ("kind", "field", "shortcut"),
    [
        (models.Contact, "name", "name"),
        (models.ContactSummary, "name", "name"),
        (models.CRMUser, "name", "name"),
        (models.CustomFeedFolder, "name", "name"),
        (models.Network, "name", "name"),
        (models.Icp, "name", "name"),
        (models.BuyerPersona, "name", "name"),
        (models.Industry, "name", "name"),
        (models.Signal, "title", "title"),
        (models.WebVisit, "landing_page_path", "landing_page"),
    ],
)
def test_shortcuts_to_attributes(kind: type[Any], field: str, shortcut: str) -> None:
    """A shortcut returns an attribute, and None on a stub."""
    complete = msgspec.convert({"id": "1", "attributes": {field: "x"}}, kind)
    assert (getattr(complete, shortcut), getattr(kind(id="1"), shortcut)) == ("x", None)


def test_shortcuts_along_crm_connections() -> None:
    """A connection of a group leads to the connection, its record and the record's owner."""
    owner = {"id": "u", "attributes": {"name": "Ada"}}
    record = {"id": "r", "relationships": {"crm_owner": owner}}
    connection = {"id": "n", "relationships": {"crm_record": record}}
    group = msgspec.convert({"id": "g", "relationships": {"crm_connection": connection}}, models.CRMGroupConnection)
    assert group.connection is not None
    assert group.connection.record is not None
    assert group.connection.record.owner is not None
    assert group.connection.record.owner.name == "Ada"
    assert models.CRMGroupConnection(id="g").connection is None


def test_unknown_fields_and_values_are_accepted() -> None:
    """Unknown fields are ignored, and strings without a fixed set of values accept any value."""
    body = b'{"id":"1","type":"web_visit_v2","x":{"y":[1]},"attributes":{"device_type":"fridge","z":1}}'
    visit = msgspec.json.decode(body, type=WebVisit)
    assert (visit.type, visit.attributes.device_type) == ("web_visit_v2", "fridge")


def test_repr_of_stub_is_short() -> None:
    """The repr of a stub leaves out default values."""
    assert repr(Company(id="7")) == "Company(id='7')"


def test_request_bodies_leave_out_unset_fields() -> None:
    """A search body contains only the fields that were set, including those that are False."""
    assert msgspec.json.encode(SearchLocation(country_code="DE")) == b'{"country_code":"DE"}'
    assert msgspec.json.encode(CompanySearchFilters(has_phone=False)) == b'{"has_phone":false}'


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Iterate over the paths of all members of an example, except ids and the top-level data."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "id" and (path or key != "data"):
                yield (*path, key)
            yield from paths_in(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths_in(inner, (*path, index))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def set_to_null(parent: Any, key: Any) -> None:
    parent[key] = None


def remove(parent: Any, key: Any) -> None:
    del parent[key]


def extend(parent: Any, key: Any) -> None:
    if isinstance(parent[key], dict):
        parent[key]["from_the_future"] = {"nested": [1, None, "x"]}
    else:
        parent["from_the_future"] = [{"id": 1}]


def set_to_unknown_value(parent: Any, key: Any) -> None:
    looks_like_a_time = isinstance(parent[key], str) and parent[key][:2] == "20"
    if isinstance(parent[key], str) and not looks_like_a_time:
        parent[key] = "a_word_from_the_future"


@pytest.mark.parametrize("change", [set_to_null, remove, extend, set_to_unknown_value])
@pytest.mark.parametrize(("name", "endpoint"), DECODABLE, ids=[name for name, _ in DECODABLE])
def test_examples_with_changed_members_decode(
    name: str, endpoint: Endpoint[Any], change: Callable[[Any, Any], None]
) -> None:
    """Examples decode if any member is null, missing, extended or has an unknown value."""
    text = (EXAMPLES / f"{name}.json").read_text(encoding="utf-8")
    for path in paths_in(json.loads(text)):
        changed = json.loads(text)
        change(_at(changed, path[:-1]), path[-1])
        codec.decode(endpoint, json.dumps(changed).encode(), ErrorContext(), REDACTOR)


COMPANY = {"id": "1", "type": "company", "attributes": {"name": "Nordlicht"}}


@pytest.mark.parametrize(
    "response",
    [
        {"data": [{"id": "v", "relationships": {"company": COMPANY}}]},
        {"data": [{"id": "v", "relationships": {"company": {"data": COMPANY}}}]},
        {"data": [{"id": "v", "relationships": {"company": {"id": "1", "type": "company"}}}], "included": [COMPANY]},
        {
            "data": [{"id": "v", "relationships": {"company": {"data": {"id": 1, "type": "company"}}}}],
            "included": [COMPANY],
        },
        {"data": {"id": "v", "relationships": {"company": COMPANY}}},
        {"data": [{"id": "v", "attributes": None, "relationships": {"company": COMPANY}}], "meta": None},
    ],
)
def test_relationship_formats(response: dict[str, Any]) -> None:
    """Nested, wrapped and included companies, a single object and null sections decode to the same visit."""
    decoded = codec.decode(web_visits.SEARCH_WEB_VISITS, json.dumps(response).encode(), ErrorContext(), REDACTOR)
    (visit,) = decoded.data
    assert visit.company is not None
    assert (visit.id, visit.company.id, visit.company.name) == ("v", "1", "Nordlicht")
    assert "included" not in decoded.to_dict()


def test_circular_included_records() -> None:
    """Included records that refer to each other are resolved without an endless loop."""
    one = {
        "id": "1",
        "type": "company",
        "attributes": {"name": "A"},
        "relationships": {"group_company": {"id": "2", "type": "company"}},
    }
    two = {
        "id": "2",
        "type": "company",
        "attributes": {"name": "B"},
        "relationships": {"group_company": {"id": "1", "type": "company"}},
    }
    response = {
        "data": {"id": "1", "type": "company", "relationships": {"group_company": {"id": "2", "type": "company"}}},
        "included": [one, two],
    }
    company = codec.decode(companies.GET_COMPANY, json.dumps(response).encode(), ErrorContext(), REDACTOR).data
    group = company.relationships.group_company
    assert group is not None
    assert group.name == "B"


def test_wrapped_lists_and_null_relationships() -> None:
    """Wrapped lists are unwrapped, and a wrapped null is None."""
    related = {
        "tags": {"data": [{"id": 7, "type": "tag", "attributes": {"name": "Hot"}}]},
        "group_company": {"data": None},
    }
    response = {"data": {"id": 5, "relationships": related}}
    company = codec.decode(companies.GET_COMPANY, json.dumps(response).encode(), ErrorContext(), REDACTOR).data
    assert (company.id, [(tag.id, tag.name) for tag in company.tags]) == ("5", [("7", "Hot")])
    assert company.relationships.group_company is None


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"meta":{"request_id":"r"}}', b'{"data":null}', b'{"data":{"id":"1"}}', b'{"data":[]}']
)
def test_empty_response_accepts_any_body(body: bytes) -> None:
    """A call without a result accepts an empty body, missing data and unneeded data."""
    assert codec.decode(tags.DELETE_TAG, body, ErrorContext(), REDACTOR).data is None


def test_single_object_as_list_and_page_count() -> None:
    """A single object decodes to a tuple of one, and ``page_count`` is read from both possible places."""
    record = {"id": "f", "attributes": {"year": 2025, "revenue": 5}}
    for data in (record, [record]):
        body = json.dumps({"data": data, "meta": {"page_count": 3}}).encode()
        for endpoint in (companies.GET_COMPANY_FINANCIALS, usage.GET_USAGE):
            decoded = codec.decode(endpoint, body, ErrorContext(), REDACTOR)
            assert ([item.id for item in decoded.data], decoded.meta.pages) == (["f"], 3)


def test_numbers_as_strings_are_converted() -> None:
    """A string that contains a number is converted if the field is a number."""
    body = b'{"data":[{"id":"1","attributes":{"requests":"12"}}]}'
    assert codec.decode(usage.GET_USAGE, body, ErrorContext(), REDACTOR).data[0].attributes.requests == 12
    body = b'{"data":{"id":"1","relationships":{"network":{"id":"n","attributes":{"asn":64500}}}}}'
    network = codec.decode(ip.ENRICH_IP, body, ErrorContext(), REDACTOR).data.relationships.network
    assert network is not None
    assert network.attributes.asn == 64500
    assert codec.decode(reference.LIST_INDUSTRIES, b'{"data":null}', ErrorContext(), REDACTOR).data == ()


REQUEST_STRUCTS = [
    value
    for value in vars(import_module("leadfeeder_async.models")).values()
    if isinstance(value, type)
    and issubclass(value, msgspec.Struct)
    and value.__module__.rsplit(".", 1)[-1] in {"search_filters", "request_bodies"}
]


@pytest.mark.parametrize("kind", REQUEST_STRUCTS, ids=lambda kind: kind.__name__)
def test_request_structs_survive_a_round_trip(kind: type[msgspec.Struct]) -> None:
    """Encoding and decoding a value of a request Struct returns an equal value."""

    @given(st.data())
    def check(data: st.DataObject) -> None:
        try:
            value = data.draw(struct_of(kind))
        except ValueError:
            return  # a combination that the Struct rejects
        assert msgspec.json.decode(msgspec.json.encode(value), type=kind) == value

    check()


def struct_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a request Struct."""
    fields = {field.name: value_of(field.type) for field in msgspec.structs.fields(kind)}
    return (
        st.fixed_dictionaries(fields).map(lambda values: _create(kind, values)).filter(lambda value: value is not None)
    )


def _create(kind: type[msgspec.Struct], values: dict[str, Any]) -> msgspec.Struct | None:
    try:
        return kind(**values)
    except ValueError:
        return None


SIMPLE: dict[type, st.SearchStrategy[Any]] = {
    msgspec.inspect.NoneType: st.none(),
    msgspec.inspect.StrType: st.text(min_size=1, max_size=5).filter(str.strip),
    msgspec.inspect.BoolType: st.booleans(),
    msgspec.inspect.FloatType: st.floats(0, 500),
    msgspec.inspect.DateType: st.dates(),
    msgspec.inspect.DictType: st.dictionaries(st.text(max_size=3), st.booleans(), min_size=1, max_size=2),
    msgspec.inspect.CustomType: st.sampled_from([None, True, "text", [1, 2], {"a": [None]}]),
}


def value_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a field's type."""
    info = kind if isinstance(kind, msgspec.inspect.Type) else msgspec.inspect.type_info(kind)
    match info:
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([value_of(member) for member in types])
        case msgspec.inspect.StrType(pattern=r"^[A-Z]{2}\Z"):
            return st.sampled_from(["DE", "AT", "FI"])
        case msgspec.inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case msgspec.inspect.VarTupleType(item_type=item):
            return st.lists(value_of(item), min_size=1, max_size=3).map(tuple)
        case msgspec.inspect.StructType(cls=cls):
            return struct_of(cls)
        case msgspec.inspect.IntType(le=most):
            return st.integers(0, 10**9 if most is None else most)
        case _:
            return SIMPLE[type(info)]


@pytest.mark.parametrize("endpoint", [web_visits.SEARCH_WEB_VISITS, companies.GET_COMPANY, tags.DELETE_TAG])
def test_embedded_errors_raise(endpoint: Endpoint[Any]) -> None:
    """A response with status 200 and errors instead of data raises the error."""
    body = b'{"errors":[{"code":"quota_exceeded","title":"Used up"}],"meta":{}}'
    with pytest.raises(QuotaExceededError) as caught:
        codec.decode(endpoint, body, ErrorContext(), REDACTOR)
    assert (caught.value.status, caught.value.code) == (200, "quota_exceeded")


def test_list_without_data_raises() -> None:
    """Null data is an empty list, but missing data does not match the contract."""
    assert codec.decode(tags.RETRIEVE_TAGS, b'{"data":null}', ErrorContext(), REDACTOR).data == ()
    with pytest.raises(DecodeError):
        codec.decode(tags.RETRIEVE_TAGS, b'{"meta":{}}', ErrorContext(), REDACTOR)


def test_null_in_a_list_keeps_the_place_of_others() -> None:
    """A null in place of the matches of a company means none. It is not dropped, so the others keep their index."""
    match = {"id": "1", "attributes": {"match_score": 0.9}}
    for data in ([[match], None, [match]], [None, [match]], [None]):
        body = json.dumps({"data": data}).encode()
        found = codec.decode(companies.MATCH_COMPANIES, body, ErrorContext(), REDACTOR).data
        assert [len(matches) for matches in found] == [len(matches or ()) for matches in data]
    with pytest.raises(DecodeError):
        codec.decode(companies.MATCH_COMPANIES, b'{"data":[[null]]}', ErrorContext(), REDACTOR)
    with pytest.raises(DecodeError):
        codec.decode(tags.RETRIEVE_TAGS, b'{"data":[{"id":"1"},null]}', ErrorContext(), REDACTOR)


def test_attributes_are_not_normalized() -> None:
    """Normalizing a record does not change its attributes, even if they look like records."""
    filters = [{"id": 5, "type": None, "relationships": {"x": {"data": [None]}}}, None]
    body = json.dumps({"data": {"id": 6, "attributes": {"name": "Feed", "filters": filters}}}).encode()
    feed = codec.decode(custom_feeds.GET_CUSTOM_FEED, body, ErrorContext(), REDACTOR).data
    assert (feed.id, feed.attributes.filters) == ("6", filters)


@pytest.mark.parametrize("invalid", [{"id": {"a": 1}}, {"id": [1]}, {"id": True}, [[1]], 7, "x"])
def test_invalid_relationships_raise_decode_error(invalid: Any) -> None:
    """A related record in an unknown format raises DecodeError, not an error of Python."""
    body = json.dumps({"data": {"id": "1", "relationships": {"group_company": invalid}}}).encode()
    with pytest.raises(DecodeError):
        codec.decode(companies.GET_COMPANY, body, ErrorContext(), REDACTOR)


def test_related_records_without_ids_are_dropped() -> None:
    """A list of related records contains only records with ids."""
    tags_of = [{"id": None, "type": "tag"}, {"id": 7, "type": "tag"}, None]
    body = json.dumps({"data": {"id": "1", "relationships": {"tags": tags_of}}}).encode()
    assert [tag.id for tag in codec.decode(companies.GET_COMPANY, body, ErrorContext(), REDACTOR).data.tags] == ["7"]


@pytest.mark.parametrize(("name", "endpoint"), DECODABLE, ids=[name for name, _ in DECODABLE])
def test_to_dict_of_every_example(name: str, endpoint: Endpoint[Any]) -> None:
    """``to_dict`` returns all values of a response, in types that ``json.dumps`` accepts."""
    body = (EXAMPLES / f"{name}.json").read_bytes()
    plain = codec.decode(endpoint, body, ErrorContext(), REDACTOR).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert lost(msgspec.json.decode(body), plain) == []


def test_every_public_struct_is_a_model() -> None:
    """Each public Struct is a ``Model`` and keeps its own options."""
    structs = [
        value for value in vars(models).values() if isinstance(value, type) and issubclass(value, msgspec.Struct)
    ]
    assert len(structs) > 100
    assert all(issubclass(struct, Model) for struct in structs)
    assert Icp.__struct_config__.gc
    assert not WebVisit.__struct_config__.gc


def test_to_dict_with_missing_and_unset_fields() -> None:
    """Missing fields of a response are None, and unset fields of a request body are left out."""
    visit = msgspec.json.decode(b'{"id": "1", "attributes": {"started_at": "2026-11-20T09:14:07Z"}}', type=WebVisit)
    attributes = visit.to_dict()["attributes"]
    assert isinstance(attributes, dict)
    assert (attributes["started_at"], attributes["source"]) == ("2026-11-20T09:14:07Z", None)
    assert TagChanges(color=None).to_dict() == {"color": None}
    assert CompanySearchFilters(has_phone=True).to_dict() == {"has_phone": True}
    assert Response(data=None).to_dict()["errors"] == []
