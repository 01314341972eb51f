"""Requests that the API would ignore or misunderstand: misspelled keys, empty conditions and unusable ids."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from leadfeeder_async import AsyncLeadfeeder, ConfigurationError, InvalidIdError
from leadfeeder_async.models import CompanySearchFilters, GeoCircle, IndustryFilter, SearchLocation, WebVisitFilters
from tests.support.clients import client_of
from tests.support.servers import http, raw_server

Call = Callable[[AsyncLeadfeeder], Any]
DAYS = {"start_date": "2026-11-01", "end_date": "2026-11-02"}
SIGNAL = {"company_ids": ["1"]}
EMPTY_PAGE = http(b'{"data":[],"meta":{}}')


async def error_of(call: Call) -> ConfigurationError:
    """Return the error of a call that must not send a request."""
    lf = client_of("http://127.0.0.1:9")
    with pytest.raises(ConfigurationError) as caught:
        result = call(lf)
        if types.CoroutineType in type(result).__mro__:
            await result
    assert lf.stats.requests == 0
    assert caught.value.sent == "no"
    return caught.value


async def body_of(call: Call) -> dict[str, Any]:
    """Return the body that a search sends."""
    async with raw_server(EMPTY_PAGE) as server, client_of(server.url) as lf:
        await call(lf).first()
    body: dict[str, Any] = json.loads(server.requests[0].split(b"\r\n\r\n")[1])
    return body


UNKNOWN: list[tuple[str, str, str, Call]] = [
    ("filters", "Unknown filter 'has_emial'.", "'has_email'", lambda lf: lf.companies.search(filters={"has_emial": True})),
    ("locations", "Unknown key 'contry_code' in locations[1].", "'country_code'",
     lambda lf: lf.companies.search(locations=[{"city": "x"}, {"contry_code": "DE"}])),
    ("locations", "Unknown key 'country_codes' in locations[0].", "'country_code'",
     lambda lf: lf.companies.search(locations=[{"country_codes": ["DE"]}])),
    ("locations", "Unknown key 'latitudo' in locations[0].geo.", "'latitude'",
     lambda lf: lf.companies.search(locations=[{"geo": {"latitudo": 1, "longitude": 1, "distance": 1}}])),
    ("industries", "Unknown key 'code' in industries.", "'codes'", lambda lf: lf.companies.search(industries={"code": ["1"]})),
    ("revenue", "Unknown key 'minimum' in revenue.", "'min'", lambda lf: lf.companies.search(revenue={"minimum": 1})),
    ("event_date", "Unknown key 'start' in event_date.", "from, to",
     lambda lf: lf.companies.search_signals(**SIGNAL, event_date={"start": "2026-01-01"})),
    ("companies", "Unknown key 'company_nmae' in companies[0].", "'company_name'",
     lambda lf: lf.companies.match([{"company_nmae": "x", "url": "x.test"}])),
    ("filters", "Unknown filter 'landing_page_path'.", "extra={'filters': {'landing_page_path': ...}}",
     lambda lf: lf.web_visits.search(**DAYS, filters={"landing_page_path": "/pricing"})),
    ("filters", "Unknown filter 'location_countries'.", "'location_country_codes'",
     lambda lf: lf.web_visits.search(**DAYS, filters={"location_countries": ["DE"]}, company_id="7")),
    ("categories", "categories[0]='job_adds' is not a known value.", "'job_ads'",
     lambda lf: lf.companies.search_signals(**SIGNAL, categories=["job_adds"])),
    ("employee_ranges", "employee_ranges[0]='501-1000' is not a known value.", "'501-1.000'",
     lambda lf: lf.companies.search(employee_ranges=["501-1000"])),
    ("scope", "scope='companies' is not a known value.", "'company'", lambda lf: lf.lists.list(scope="companies")),
    ("include", "include[0]='tgas' is not a known relationship.", "'tags'", lambda lf: lf.companies.get("1", include=["tgas"])),
    ("include", "include='tags' must be a list.", "include=['tags']", lambda lf: lf.companies.get("1", include="tags")),
]  # fmt: skip


@pytest.mark.parametrize(("argument", "problem", "hint", "call"), UNKNOWN, ids=[case[1] for case in UNKNOWN])
async def test_unknown_key_suggests_the_known_one(argument: str, problem: str, hint: str, call: Call) -> None:
    """A misspelled key or value raises at every depth, names the argument and suggests the correct spelling."""
    error = await error_of(call)
    assert (error.message, error.argument) == (problem, argument)
    assert hint in error.hint


EMPTY: list[tuple[str, Call]] = [
    ("filters", lambda lf: lf.companies.search(filters={})),
    ("filters", lambda lf: lf.companies.search(filters=CompanySearchFilters())),
    ("filters", lambda lf: lf.companies.search(filters={"has_email": None})),
    ("filters", lambda lf: lf.web_visits.search(**DAYS, filters={})),
    ("filters", lambda lf: lf.web_visits.search(**DAYS, filters=WebVisitFilters())),
    ("filters", lambda lf: lf.web_visits.search(**DAYS, filters={"location_cities": []})),
    ("filters", lambda lf: lf.web_visits.search(**DAYS, filters=WebVisitFilters(location_country_codes=()))),
    ("filters", lambda lf: lf.web_visits.search(**DAYS, filters={"company_id": ""})),
    ("filters", lambda lf: lf.contacts.search(filters={})),
    ("company_id", lambda lf: lf.web_visits.search(**DAYS, company_id="")),
    ("custom_feed_id", lambda lf: lf.web_visits.companies(**DAYS, custom_feed_id="")),
    ("search_terms", lambda lf: lf.companies.search(search_terms=[])),
    ("search_terms", lambda lf: lf.companies.search(search_terms=[" "])),
    ("locations", lambda lf: lf.companies.search(locations=[{}])),
    ("locations", lambda lf: lf.companies.search(locations=[SearchLocation()])),
    ("locations", lambda lf: lf.companies.search(locations=[{"city": ""}])),
    ("industries", lambda lf: lf.companies.search(industries=IndustryFilter(codes=()))),
    ("revenue", lambda lf: lf.companies.search(revenue={})),
    ("revenue", lambda lf: lf.companies.search(revenue={"min": None})),
    ("icp_ids", lambda lf: lf.companies.search(icp_ids=[])),
    ("event_date", lambda lf: lf.companies.search_signals(**SIGNAL, event_date={})),
    ("affiliation", lambda lf: lf.contacts.search(affiliation="")),
    ("companies", lambda lf: lf.companies.match(None)),
]


@pytest.mark.parametrize("code", ["de", "DE\n", "Germany", " DE"])
async def test_country_codes_have_two_capital_letters(code: str) -> None:
    """A search for any other text would match nothing."""
    async with AsyncLeadfeeder("k", account_id="1") as lf:
        for call in (
            lambda: lf.web_visits.search(**DAYS, filters={"location_country_codes": [code]}),
            lambda: lf.web_visits.search(**DAYS, filters=WebVisitFilters(location_country_codes=(code,))),
            lambda: lf.companies.search(locations=[{"country_code": code}]),
        ):
            with pytest.raises(ConfigurationError, match=r"is not a country code\. Write two capital letters"):
                call()


@pytest.mark.parametrize(("argument", "call"), EMPTY)
async def test_empty_condition_is_rejected(argument: str, call: Call) -> None:
    """A condition that is empty would match everything, so it raises."""
    assert (await error_of(call)).argument == argument


LOSSY: list[tuple[str, Call]] = [
    ("search_terms", lambda lf: lf.companies.search(search_terms=[b"x"])),
    ("locations", lambda lf: lf.companies.search(locations=[{"city": b"x"}])),
    ("locations", lambda lf: lf.companies.search(locations=[SearchLocation(city=5)])),  # type: ignore[arg-type]
    ("locations", lambda lf: lf.companies.search(
        locations=[{"geo": GeoCircle(latitude=float("nan"), longitude=1, distance=1)}])),
    ("extra", lambda lf: lf.companies.search(search_terms=["x"], extra={"new": b"x"})),
    ("extra", lambda lf: lf.companies.search(search_terms=["x"], extra={"new": [float("inf")]})),
    ("filters", lambda lf: lf.custom_feeds.create(name="x", filters=[{"value": float("nan")}])),
]  # fmt: skip


@pytest.mark.parametrize(("argument", "call"), LOSSY)
async def test_value_that_json_would_change_is_rejected(argument: str, call: Call) -> None:
    """Bytes, NaN and values of other types inside Structs raise instead of being sent as something else."""
    assert (await error_of(call)).argument == argument


@pytest.mark.parametrize(
    "value", ["a/b", "/", "a\\b", " 7", "7 ", "a b", "a\u00a0b", "", ".", "..", "a\nb", "\x00", "a\x85", "\ud800"]
)
async def test_unusable_id_is_rejected(value: str) -> None:
    """An id with a slash, white space or a control character raises in a path, a list and a filter."""
    calls: dict[str, Call] = {
        "company_id": lambda lf: lf.companies.get(value),
        "ids": lambda lf: lf.companies.get_many(["1", value]),
        "tag_ids": lambda lf: lf.companies.assign_tags("1", [value]),
        "icp_ids": lambda lf: lf.companies.search(icp_ids=[value]),
        "custom_feed_id": lambda lf: lf.web_visits.companies(**DAYS, custom_feed_id=value),
    }
    for argument, call in calls.items():
        error = await error_of(call)
        assert isinstance(error, InvalidIdError)
        assert error.argument == argument


async def test_hints_of_common_mistakes() -> None:
    """The hint shows how to write an id, a limit, a list and a month."""
    hints: list[tuple[str, Call]] = [
        ('Write "159001425".', lambda lf: lf.companies.get(159001425)),
        ('Write "7".', lambda lf: lf.companies.get(" 7\n")),
        ("Write limit=5.", lambda lf: lf.tags.list(limit="5")),
        ("Write search_terms=['x'].", lambda lf: lf.companies.search(search_terms="x")),
        ("Write ids=['1', '2'].", lambda lf: lf.companies.get_many(["1,2"])),
        ("Write [item async for item in ...].", lambda lf: lf.companies.get_many(lf.companies.search(search_terms=["x"]))),
        ('Write "2026-11-01".', lambda lf: lf.companies.search_signals(
            **SIGNAL, event_date={"from": datetime(2026, 11, 1, 9, tzinfo=UTC)})),
        ("Write it as YYYY-MM-DD.", lambda lf: lf.companies.search_signals(**SIGNAL, event_date={"from": "1.11.2026"})),
        ("Pass a date, or write YYYY-MM-DD.", lambda lf: lf.companies.search_signals(**SIGNAL, event_date={"to": 5})),
        ('Write it as YYYY-MM, such as "2026-11".', lambda lf: lf.usage.get(start_period="11/2026", end_period="2026-12")),
    ]  # fmt: skip
    assert [(await error_of(call)).hint for _, call in hints] == [hint for hint, _ in hints]


async def test_conflicting_companies_are_rejected() -> None:
    """``company_id`` does not replace another company in the filters."""
    error = await error_of(lambda lf: lf.web_visits.search(**DAYS, company_id="1", filters={"company_id": "2"}))
    assert error.argument == "company_id"
    filters = WebVisitFilters(company_id="1", location_country_codes=("DE",))
    body = await body_of(lambda lf: lf.web_visits.search(**DAYS, company_id="1", filters=filters))
    assert body["filters"] == {"company_id": "1", "location_country_codes": ["DE"]}


async def test_extra_adds_new_fields() -> None:
    """``extra`` adds fields at every depth, and is the only condition if there is no other one."""
    extra = {"filters": {"landing_page_path": "/pricing"}, "new": 1}
    body = await body_of(lambda lf: lf.web_visits.search(**DAYS, filters={"location_cities": ["Bonn"]}, extra=extra))
    assert body["filters"] == {"location_cities": ["Bonn"], "landing_page_path": "/pricing"}
    assert body["new"] == 1
    assert await body_of(lambda lf: lf.companies.search(extra={"new": ["x"]})) == {"new": ["x"]}
    error = await error_of(lambda lf: lf.companies.search(search_terms=["x"], extra={"search_terms": ["y"]}))
    assert (error.argument, error.hint) == ("extra", "Pass it in search_terms= instead, if the call has this argument.")


async def test_new_relationship_is_sent() -> None:
    """A name that resembles no known relationship may be new, so it is sent."""
    async with raw_server(http(b'{"data":{"id":"1"}}')) as server, client_of(server.url) as lf:
        await lf.companies.get("1", include=["brand_new", "tags"])  # type: ignore[list-item]
    assert b"include=brand_new,tags" in server.requests[0]


@pytest.mark.parametrize("value", ["7\r8", "a b", "a/b", "a\tb", "", "é", 7, b"7", ["7"]])
async def test_unusable_account_id_is_rejected(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account id is checked in the client, in its copies, in a call and in the environment."""
    errors = [
        await error_of(lambda lf: lf.with_options(account_id=value)),
        await error_of(lambda lf: lf.tags.list(account_id=value)),
        await error_of(lambda lf: lf.accounts.get(value)),
        await error_of(lambda _: AsyncLeadfeeder("k", account_id=value)),
    ]
    if isinstance(value, str) and value:
        monkeypatch.setenv("LEADFEEDER_ACCOUNT_ID", value)
        errors.append(await error_of(lambda _: AsyncLeadfeeder("k")))
        assert errors[-1].message.startswith("LEADFEEDER_ACCOUNT_ID=")
    assert {error.argument for error in errors} == {"account_id"}


async def test_spaces_around_an_account_id_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces around the account id of the client are removed, as around the key."""
    monkeypatch.setenv("LEADFEEDER_ACCOUNT_ID", " 7 ")
    assert AsyncLeadfeeder("k").account_id == "7"
    assert AsyncLeadfeeder("k", account_id="8 ").account_id == "8"


@pytest.mark.parametrize("value", [None, "5", b"5", True, [], object(), float("nan")])
@pytest.mark.parametrize(
    "option", ["rate", "burst", "max_concurrency", "timeout", "retries", "monthly_quota", "max_body_bytes", "base_url"]
)
async def test_client_setting_of_wrong_type_is_named(option: str, value: Any) -> None:
    """A setting of a wrong type raises an error that names it."""
    if option == "base_url" and (value is None or value == []):
        return
    error = await error_of(lambda _: AsyncLeadfeeder("k", **{option: value}))
    assert error.argument == option
    assert (await error_of(lambda _: AsyncLeadfeeder(5))).argument == "api_key"  # type: ignore[arg-type]


async def test_lists_in_one_response_are_pagers(lf: AsyncLeadfeeder) -> None:
    """Feeds, ICPs and buyer personas can be iterated, limited and counted like other lists."""
    feed = (await lf.custom_feeds.create(name="Pricing")).data
    assert [one.id async for one in lf.custom_feeds.list(include=["folder"])] == [feed.id]
    icps = [icp.id async for icp in lf.icps.list()]
    assert len(icps) > 1
    assert [icp.id for icp in await lf.icps.list(limit=1).collect()] == icps[:1]
    assert [persona.name async for persona in lf.buyer_personas.list()] == ["Head of Sales", "Head of IT"]


async def test_id_of_a_data_frame() -> None:
    """The hint for a number with a fraction of zero is the id, and not the number as text."""
    async with AsyncLeadfeeder("k", account_id="1") as lf:
        with pytest.raises(
            ConfigurationError, match=r'must be a string\. Write "159000100", and read the ids as text\.'
        ):
            await lf.companies.get(159000100.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
