"""The contract's examples decode, and nothing they hold is lost."""

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

from leadfeeder_async import DecodeError, Endpoint, QuotaExceededError, models, resources
from leadfeeder_async._core import codec
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.models import Company, CompanySearchFilters, Icp, Model, Response, SearchLocation, WebVisit
from leadfeeder_async.models.request_bodies import TagChanges
from leadfeeder_async.resources import accounts, companies, custom_feeds, ip, reference, tags, usage, web_visits
from tests.support.paths import EXAMPLES

ROWS: dict[str, list[Endpoint[Any]]] = {}
for found in iter_modules(resources.__path__):
    for value in vars(import_module(f"leadfeeder_async.resources.{found.name}")).values():
        if isinstance(value, Endpoint):
            ROWS.setdefault(value.operation, []).append(value)

SEED = {
    "seed-accounts-list": accounts.LIST_ACCOUNTS,
    "seed-account-credits": accounts.GET_ACCOUNT,
    "seed-companies-search": companies.SEARCH_COMPANIES,
    "list_accounts--with-account-id": accounts.GET_ACCOUNT,
}


def _row_of(name: str) -> Endpoint[Any]:
    return SEED.get(name) or ROWS[name.split("--", maxsplit=1)[0]][0]


KNOWN = [
    (path.stem, _row_of(path.stem)) for path in sorted(EXAMPLES.glob("*.json")) if not path.stem.startswith("error")
]


def test_every_operation_has_an_example() -> None:
    """The contract shows an answer of each operation."""
    assert {row.operation for _, row in KNOWN} == set(ROWS)


def lost(example: Any, decoded: Any, path: str = "$") -> list[str]:
    """Return the paths whose value in ``example`` is not the value in ``decoded``."""
    if isinstance(example, dict):
        inner = decoded if isinstance(decoded, dict) else {}
        return [one for key, value in example.items() for one in lost(value, inner.get(key), f"{path}.{key}")]
    if isinstance(example, list):
        return [
            one
            for index, value in enumerate(example)
            for one in lost(value, decoded[index] if index < len(decoded or []) else None, f"{path}[{index}]")
        ]
    return [] if example == decoded or (example is None and not decoded) else [path]


@pytest.mark.parametrize(("name", "row"), KNOWN, ids=[name for name, _ in KNOWN])
def test_example_decodes_without_loss(name: str, row: Endpoint[Any]) -> None:
    """Encoding the decoded example again gives every value back, field by field."""
    body = (EXAMPLES / f"{name}.json").read_bytes()
    again = msgspec.json.decode(msgspec.json.encode(codec.decode(row, body, ErrorContext())))
    assert lost(msgspec.json.decode(body), again) == []


def test_shortcuts_reach_what_everybody_reads() -> None:
    """Names, companies, tags and times are one attribute away, on whole records and on stubs."""
    body = (EXAMPLES / "search_web_visits.json").read_bytes()
    whole, stub = web_visits.SEARCH_WEB_VISITS.decoder.decode(body).data
    assert whole.company is not None
    assert (whole.company.name, [tag.name for tag in whole.company.tags]) == ("Nordlicht Robotik GmbH", ["Hot lead"])
    assert whole.started_at is not None
    assert whole.started_at.isoformat() == "2026-11-20T09:14:07+00:00"
    assert whole.location is not None
    assert whole.location.city == "Hamburg"
    assert stub.company is not None
    assert (stub.company.name, stub.company.tags, stub.company.lists) == (None, (), ())


def test_unknown_fields_values_and_types_are_tolerated() -> None:
    """What the contract does not know yet is skipped; open vocabularies take any text."""
    body = b'{"id":"1","type":"web_visit_v2","x":{"y":[1]},"attributes":{"device_type":"fridge","z":1}}'
    visit = msgspec.json.decode(body, type=WebVisit)
    assert (visit.type, visit.attributes.device_type) == ("web_visit_v2", "fridge")


def test_stub_prints_short() -> None:
    """The repr of a stub shows what it holds and not what it could."""
    assert repr(Company(id="7")) == "Company(id='7')"


def test_request_structs_leave_out_what_is_not_set() -> None:
    """A search body holds only what was asked for; False asks something."""
    assert msgspec.json.encode(SearchLocation(country_code="DE")) == b'{"country_code":"DE"}'
    assert msgspec.json.encode(CompanySearchFilters(has_phone=False)) == b'{"has_phone":false}'


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Iterate over the paths of all members of an example, but for the ids that make a record a record."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "id" and (path or key != "data"):
                yield (*path, key)
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def to_null(parent: Any, key: Any) -> None:
    parent[key] = None


def to_missing(parent: Any, key: Any) -> None:
    del parent[key]


def to_extended(parent: Any, key: Any) -> None:
    if isinstance(parent[key], dict):
        parent[key]["from_the_future"] = {"nested": [1, None, "x"]}
    else:
        parent["from_the_future"] = [{"id": 1}]


def to_unknown_word(parent: Any, key: Any) -> None:
    looks_like_a_time = isinstance(parent[key], str) and parent[key][:2] == "20"
    if isinstance(parent[key], str) and not looks_like_a_time:
        parent[key] = "a_word_from_the_future"


@pytest.mark.parametrize("change", [to_null, to_missing, to_extended, to_unknown_word])
@pytest.mark.parametrize(("name", "row"), KNOWN, ids=[name for name, _ in KNOWN])
def test_every_change_of_every_member_decodes(
    name: str, row: Endpoint[Any], change: Callable[[Any, Any], None]
) -> None:
    """Each member of each example, made null, left out, extended or given an unknown word, still decodes."""
    text = (EXAMPLES / f"{name}.json").read_text()
    for path in places(json.loads(text)):
        changed = json.loads(text)
        change(_at(changed, path[:-1]), path[-1])
        codec.decode(row, json.dumps(changed).encode(), ErrorContext())


COMPANY = {"id": "1", "type": "company", "attributes": {"name": "Nordlicht"}}


@pytest.mark.parametrize(
    "answer",
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
def test_shapes_of_relationships_that_evidence_allows(answer: dict[str, Any]) -> None:
    """Plain, wrapped, stubbed with ``included``, single for a list, with null sections: the same visit comes out."""
    decoded = codec.decode(web_visits.SEARCH_WEB_VISITS, json.dumps(answer).encode(), ErrorContext())
    (visit,) = decoded.data
    assert visit.company is not None
    assert (visit.id, visit.company.id, visit.company.name) == ("v", "1", "Nordlicht")
    assert decoded.included is msgspec.UNSET


def test_circle_of_included_records_ends() -> None:
    """Included records that name each other do not go round for ever."""
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
    answer = {
        "data": {"id": "1", "type": "company", "relationships": {"group_company": {"id": "2", "type": "company"}}},
        "included": [one, two],
    }
    company = codec.decode(companies.GET_COMPANY, json.dumps(answer).encode(), ErrorContext()).data
    group = company.relationships.group_company
    assert group is not None
    assert group.name == "B"


def test_to_many_wrappers_and_missing_ids() -> None:
    """Wrapped lists are unwrapped, and a related record without an id counts as absent."""
    related = {
        "tags": {"data": [{"id": 7, "type": "tag", "attributes": {"name": "Hot"}}]},
        "group_company": {"data": None},
    }
    answer = {"data": {"id": 5, "relationships": related}}
    company = codec.decode(companies.GET_COMPANY, json.dumps(answer).encode(), ErrorContext()).data
    assert (company.id, [(tag.id, tag.name) for tag in company.tags]) == ("5", [("7", "Hot")])
    assert company.relationships.group_company is None


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"meta":{"request_id":"r"}}', b'{"data":null}', b'{"data":{"id":"1"}}', b'{"data":[]}']
)
def test_answers_of_writes_in_any_form(body: bytes) -> None:
    """A write that returns nothing accepts an empty body, no data, and data it does not need."""
    assert codec.decode(tags.DELETE_TAG, body, ErrorContext()).data is None


def test_one_object_for_a_list_and_page_counts_in_either_place() -> None:
    """Where evidence differs on object or array, both decode to a tuple; both places of ``page_count`` are read."""
    one = {"id": "f", "attributes": {"year": 2025, "revenue": 5}}
    for data in (one, [one]):
        body = json.dumps({"data": data, "meta": {"page_count": 3}}).encode()
        for row in (companies.GET_COMPANY_FINANCIALS, usage.GET_USAGE):
            decoded = codec.decode(row, body, ErrorContext())
            assert ([item.id for item in decoded.data], decoded.meta.pages) == (["f"], 3)


def test_numbers_in_quotes_are_read() -> None:
    """A number that comes as a text is read as the number."""
    body = b'{"data":[{"id":"1","attributes":{"requests":"12"}}]}'
    assert codec.decode(usage.GET_USAGE, body, ErrorContext()).data[0].attributes.requests == 12
    body = b'{"data":{"id":"1","relationships":{"network":{"id":"n","attributes":{"asn":64500}}}}}'
    network = codec.decode(ip.ENRICH_IP, body, ErrorContext()).data.relationships.network
    assert network is not None
    assert network.attributes.asn == 64500
    assert codec.decode(reference.LIST_INDUSTRIES, b'{"data":null}', ErrorContext()).data == ()


QUERIES = [
    value
    for value in vars(import_module("leadfeeder_async.models")).values()
    if isinstance(value, type)
    and issubclass(value, msgspec.Struct)
    and value.__module__.rsplit(".", 1)[-1] in {"search_filters", "request_bodies"}
]


@pytest.mark.parametrize("kind", QUERIES, ids=lambda kind: kind.__name__)
def test_request_structs_come_back_as_they_went(kind: type[msgspec.Struct]) -> None:
    """Encoding and decoding any value of a request Struct gives the same value."""

    @given(st.data())
    def check(data: st.DataObject) -> None:
        try:
            value = data.draw(struct_of(kind))
        except ValueError:
            return  # a combination that the Struct itself refuses
        assert msgspec.json.decode(msgspec.json.encode(value), type=kind) == value

    check()


def struct_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Return a strategy for a request Struct, from its fields."""
    fields = {field.name: value_of(field.type) for field in msgspec.structs.fields(kind)}
    return st.fixed_dictionaries(fields).map(lambda values: _made(kind, values)).filter(lambda one: one is not None)


def _made(kind: type[msgspec.Struct], values: dict[str, Any]) -> msgspec.Struct | None:
    try:
        return kind(**values)
    except ValueError:
        return None


SIMPLE: dict[type, st.SearchStrategy[Any]] = {
    msgspec.inspect.NoneType: st.none(),
    msgspec.inspect.StrType: st.text(min_size=1, max_size=5),
    msgspec.inspect.BoolType: st.booleans(),
    msgspec.inspect.IntType: st.integers(0, 10**9),
    msgspec.inspect.FloatType: st.floats(0, 500),
    msgspec.inspect.DateType: st.dates(),
    msgspec.inspect.DictType: st.dictionaries(st.text(max_size=3), st.booleans(), max_size=2),
    msgspec.inspect.CustomType: st.sampled_from([None, True, "text", [1, 2], {"a": [None]}]),
}


def value_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for a field's type."""
    info = kind if isinstance(kind, msgspec.inspect.Type) else msgspec.inspect.type_info(kind)
    match info:
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([value_of(one) for one in types])
        case msgspec.inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case msgspec.inspect.VarTupleType(item_type=item):
            return st.lists(value_of(item), min_size=1, max_size=3).map(tuple)
        case msgspec.inspect.StructType(cls=cls):
            return struct_of(cls)
        case _:
            return SIMPLE[type(info)]


@pytest.mark.parametrize("row", [web_visits.SEARCH_WEB_VISITS, companies.GET_COMPANY, tags.DELETE_TAG])
def test_errors_under_a_good_status_are_errors(row: Endpoint[Any]) -> None:
    """A 200 that carries errors in place of data is neither an empty list nor a success."""
    body = b'{"errors":[{"code":"quota_exceeded","title":"Used up"}],"meta":{}}'
    with pytest.raises(QuotaExceededError) as caught:
        codec.decode(row, body, ErrorContext())
    assert (caught.value.status, caught.value.code) == (200, "quota_exceeded")


def test_list_without_data_is_no_empty_list() -> None:
    """Null data is an empty list; no data at all is an answer that does not fit."""
    assert codec.decode(tags.RETRIEVE_TAGS, b'{"data":null}', ErrorContext()).data == ()
    with pytest.raises(DecodeError):
        codec.decode(tags.RETRIEVE_TAGS, b'{"meta":{}}', ErrorContext())


def test_places_in_a_list_are_kept() -> None:
    """A null among rows is no reason to shift the others: matches would belong to the wrong input."""
    match = {"id": "1", "attributes": {"match_score": 0.9}}
    for data in ([[match], None, [match]], [None, [match]]):
        with pytest.raises(DecodeError):
            codec.decode(companies.MATCH_COMPANIES, json.dumps({"data": data}).encode(), ErrorContext())


def test_attributes_are_left_as_they_came() -> None:
    """Bringing a record into shape does not touch what its attributes hold, whatever it looks like."""
    filters = [{"id": 5, "type": None, "relationships": {"x": {"data": [None]}}}, None]
    body = json.dumps({"data": {"id": 6, "attributes": {"name": "Feed", "filters": filters}}}).encode()
    feed = codec.decode(custom_feeds.GET_CUSTOM_FEED, body, ErrorContext()).data
    assert (feed.id, feed.attributes.filters) == ("6", filters)


@pytest.mark.parametrize("odd", [{"id": {"a": 1}}, {"id": [1]}, {"id": True}, [[1]], 7, "x"])
def test_absurd_relationships_are_decode_errors(odd: Any) -> None:
    """A related record of no known form gives the package's own error, never Python's."""
    body = json.dumps({"data": {"id": "1", "relationships": {"group_company": odd}}}).encode()
    with pytest.raises(DecodeError):
        codec.decode(companies.GET_COMPANY, body, ErrorContext())


def test_related_records_without_ids_are_left_out_of_lists() -> None:
    """A to-many relationship keeps the records that have ids."""
    tags_of = [{"id": None, "type": "tag"}, {"id": 7, "type": "tag"}, None]
    body = json.dumps({"data": {"id": "1", "relationships": {"tags": tags_of}}}).encode()
    assert [tag.id for tag in codec.decode(companies.GET_COMPANY, body, ErrorContext()).data.tags] == ["7"]


@pytest.mark.parametrize(("name", "row"), KNOWN, ids=[name for name, _ in KNOWN])
def test_every_answer_becomes_plain_python(name: str, row: Endpoint[Any]) -> None:
    """``to_dict`` gives what ``json.dumps`` takes as it is, with every value of the answer in it, times as texts."""
    body = (EXAMPLES / f"{name}.json").read_bytes()
    plain = codec.decode(row, body, ErrorContext()).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert lost(msgspec.json.decode(body), plain) == []


def test_every_model_can_become_plain_python() -> None:
    """Each Struct that is public is a ``Model``, whatever its options, and none is tracked less than it says."""
    structs = [
        value for value in vars(models).values() if isinstance(value, type) and issubclass(value, msgspec.Struct)
    ]
    assert len(structs) > 100
    assert all(issubclass(struct, Model) for struct in structs)
    assert Icp.__struct_config__.gc
    assert not WebVisit.__struct_config__.gc


def test_plain_python_says_what_is_missing_and_leaves_out_what_is_unset() -> None:
    """A field an answer left out is None; a field a request leaves unset is not there, and null stays null."""
    visit = msgspec.json.decode(b'{"id": "1", "attributes": {"started_at": "2026-11-20T09:14:07Z"}}', type=WebVisit)
    attributes = visit.to_dict()["attributes"]
    assert isinstance(attributes, dict)
    assert (attributes["started_at"], attributes["source"]) == ("2026-11-20T09:14:07Z", None)
    assert TagChanges(color=None).to_dict() == {"color": None}
    assert CompanySearchFilters(has_phone=True).to_dict() == {"has_phone": True}
    assert Response(data=None).to_dict()["errors"] == []
