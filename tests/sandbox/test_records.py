"""Tests for the records in responses: conditions of searches, custom feeds, relations, merged IDs and charges."""

from __future__ import annotations

from typing import Any

import pytest

from leadfeeder_async import AsyncLeadfeeder, BadRequestError, NotFoundError
from leadfeeder_async.models import WebVisitFilters
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sandbox.world import World
from tests.sandbox.test_world import END, world_of
from tests.support.clients import client_for


async def company_ids(lf: AsyncLeadfeeder, **conditions: Any) -> set[str]:
    return {company.id async for company in lf.companies.search(**conditions)}


async def contact_ids(lf: AsyncLeadfeeder, **conditions: Any) -> set[str]:
    return {contact.id async for contact in lf.contacts.search(**conditions)}


def companies_with(world: World, condition: Any) -> set[str]:
    return {company_id for company_id in world.company_ids() if condition(world.company(company_id))}


# Charges


async def test_visitor_companies_are_free(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """Companies that visited charge nothing, and the others charge one credit."""
    world = sandbox.world
    rows = lf.web_visits.companies(start_date=sandbox.start_date, end_date=sandbox.end_date)
    visitors = {row.company.id async for row in rows if row.company}
    assert visitors == {company_id for company_id in world.company_ids() if world.has_visited(company_id)}
    assert 20 < len(visitors) <= 30
    responses = [await lf.companies.get(company_id) for company_id in world.company_ids()]
    assert {response.data.id for response in responses if response.meta.charged} == set(world.company_ids()) - visitors
    assert set(sandbox.ledger.charges) == set(world.company_ids()) - visitors


async def test_batch_of_visitors_and_others(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """A batch charges for its companies that have not visited."""
    ids = sandbox.world.company_ids()
    visitor = next(company_id for company_id in ids if sandbox.world.has_visited(company_id))
    await lf.companies.get_many([ids[0], visitor, ids[1]]).collect()
    assert sandbox.ledger.charges == [ids[0], ids[1]]


@pytest.mark.parametrize("day", [END, world_of().start_date])
def test_company_visits_later(day: Any) -> None:
    """A company becomes a visitor with its first visit, and stays one if the visit is removed."""
    world = world_of(visits=0)
    assert not any(map(world.has_visited, world.company_ids()))
    visit_id = world.add_visits(1, day=day)[0]
    company_id = world.company_of_visit(visit_id)
    assert [visitor for visitor in world.company_ids() if world.has_visited(visitor)] == [company_id]
    assert list(world.visits_of_company(company_id)) == [visit_id]
    world.remove_visit(visit_id)
    assert world.has_visited(company_id)
    assert list(world.visits_of_company(company_id)) == []
    assert not world.has_visited("x")


# Merged IDs


async def test_merged_ids(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """Old IDs of merged companies return the company under its current ID."""
    merged = sandbox.world.merged_ids()
    assert len(merged) == 3
    assert set(merged.values()) <= set(sandbox.world.company_ids())
    assert not set(merged) & set(sandbox.world.company_ids())
    assert any(not old_id.isdecimal() for old_id in merged)
    for old_id, current_id in merged.items():
        assert (await lf.companies.get(old_id)).data.id == current_id
    found = await lf.companies.get_many(list(merged)).collect()
    assert {company.id for company in found} == set(merged.values())


@pytest.mark.parametrize("companies", [1, 20, 100])
def test_every_world_has_merged_ids(companies: int) -> None:
    """Worlds have one old ID for each 20 companies, and at least one."""
    assert len(world_of(companies=companies).merged_ids()) == max(1, companies // 20)


async def test_merged_id_in_other_requests(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """Tags, filters, financials, IP addresses and contacts accept old IDs."""
    world, visitor = sandbox.world, sandbox.world.company_of_visit(sandbox.world.visit_ids()[0])
    old_id = world.company_ids()[0]
    world.merge_company(old_id, into=visitor)
    tag_id = sandbox.records.tags.add({"name": "Hot"})
    await lf.companies.assign_tags(old_id, [tag_id])
    assert list(sandbox.records.tags_of(visitor)) == [tag_id]
    dates: dict[str, Any] = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
    visits = await lf.web_visits.search(**dates, filters=WebVisitFilters(company_id=old_id)).collect()
    assert {visit.id for visit in visits} == set(world.visits_of_company(visitor))
    assert (await lf.companies.financials(old_id)).data[0].id.startswith(f"fin-{visitor}")
    assert [row.id for row in (await lf.companies.ips([old_id])).data] == [visitor]
    assert await contact_ids(lf, company_ids=[old_id]) == await contact_ids(lf, company_ids=[visitor])


def test_merged_more_than_once() -> None:
    """The current ID follows several merges, and a company that was removed is gone."""
    world = world_of(companies=5)
    first, second, third, *_ = world.company_ids()
    world.merge_company(first, into=second)
    world.merge_company(second, into=third)
    assert world.merged_ids()[first] == world.find_company(first) == third
    world.remove_company(third)
    assert world.find_company(first) is None
    assert world.find_company("x") is None


# Conditions of searches


async def test_search_terms_match_any(lf: AsyncLeadfeeder) -> None:
    """A company matches if it contains one of several search terms."""
    first, second = await company_ids(lf, search_terms=["GmbH"]), await company_ids(lf, search_terms=["Oy"])
    assert first
    assert second
    assert await company_ids(lf, search_terms=["GmbH", "Oy"]) == first | second
    people = await contact_ids(lf, search_terms=["Petersen"]) | await contact_ids(lf, search_terms=["Vogt"])
    assert await contact_ids(lf, search_terms=["Petersen", "Vogt"]) == people != set()


async def test_revenue(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """The bounds of the revenue are inclusive."""
    companies: list[Any] = [sandbox.world.company(company_id) for company_id in sandbox.world.company_ids()]
    revenues = sorted(company["revenue"]["value_eur"] for company in companies)
    low, high = int(revenues[10]), int(revenues[20])
    expected = companies_with(sandbox.world, lambda company: low <= company["revenue"]["value_eur"] <= high)
    assert await company_ids(lf, revenue={"min": low, "max": high}) == expected
    assert len(expected) >= 11
    assert await company_ids(lf, revenue={"min": 10**15}) == set()
    assert len(await company_ids(lf, revenue={"max": low})) >= 11
    sandbox.world.update_company(sandbox.world.company_ids()[0], revenue=None)
    assert len(await company_ids(lf, revenue={"min": 0})) == 59


async def test_icp_ids(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """ICPs narrow a search, several are combined with OR, and unknown ones are not found."""
    german = companies_with(sandbox.world, lambda company: company["address"]["country_code"] == "DE")
    finnish = companies_with(sandbox.world, lambda company: company["address"]["country_code"] == "FI")
    assert await company_ids(lf, icp_ids=["icp-1"]) == german != set()
    assert await company_ids(lf, icp_ids=["icp-1", "icp-2"]) == german | finnish
    with pytest.raises(NotFoundError, match="nope"):
        await company_ids(lf, icp_ids=["nope"])


@pytest.mark.parametrize(
    ("classification", "code"), [("internal", "0620"), (None, "0620"), ("wz", "62.01.0"), ("nace", "62.01")]
)
async def test_industries(lf: AsyncLeadfeeder, sandbox: Sandbox, classification: str | None, code: str) -> None:
    """Companies have industry, WZ and NACE codes, and a search finds them by each."""
    industries = {"codes": [code], **({"classification": classification} if classification else {})}
    found = await company_ids(lf, industries=industries)
    software = companies_with(sandbox.world, lambda company: company["industries"]["industry"][0]["code"] == "0620")
    assert found == software != set()
    other = "wz" if code == "0620" else "internal"
    assert await company_ids(lf, industries={"codes": [code], "classification": other}) == set()


async def test_locations(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """All fields of a location narrow the search, and several locations are combined with OR."""
    hamburg = companies_with(sandbox.world, lambda company: company["address"]["city"] == "Hamburg")
    assert await company_ids(lf, locations=[{"city": "Hamburg"}]) == hamburg != set()
    for location in (
        {"postal_code": "20457"},
        {"region_code": "HH"},
        {"region_code": "DE-HH"},
        {"geo": {"latitude": 53.6, "longitude": 10.1, "distance": 50}},
    ):
        assert await company_ids(lf, locations=[location]) == hamburg, location
    munich = await company_ids(lf, locations=[{"city": "Munich"}])
    assert await company_ids(lf, locations=[{"city": "Munich"}, {"region_code": "HH"}]) == hamburg | munich
    assert await company_ids(lf, locations=[{"street": "main street 7"}]) == {"159000006"}
    assert await company_ids(lf, locations=[{"geo": {"latitude": 0, "longitude": 0, "distance": 500}}]) == set()


async def test_flags(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """Conditions that are true or false narrow the search."""
    first, second = sandbox.world.company_ids()[:2]
    meta = sandbox.world.company(first)["meta"]
    assert isinstance(meta, dict)
    sandbox.world.update_company(first, meta={**meta, "has_mail": False, "has_phones": False, "do_not_contact": True})
    sandbox.world.update_company(second, social_media_profiles=None, revenue=None)
    for flag, expected in (
        ({"has_email": False}, {first}),
        ({"has_phone": False}, {first}),
        ({"do_not_contact": True}, {first}),
        ({"has_social_media_profiles": False}, {second}),
        ({"has_financials_revenue": False}, {second}),
        ({"has_financials_earnings": True}, set[str]()),
        ({"has_financials_net_worth": True}, set[str]()),
        ({"has_ip_addresses": False}, set[str]()),
        ({"has_email": False, "do_not_contact": False}, set[str]()),
    ):
        assert await company_ids(lf, filters=flag) == expected, flag


async def test_contact_conditions(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """Positions, buyer personas and filters narrow a search for contacts."""
    world = sandbox.world
    people = {contact_id: world.contact(contact_id) for contact_id in world.contact_ids()}
    sales = {contact_id for contact_id, contact in people.items() if contact["title"] == "Sales Manager"}
    assert await contact_ids(lf, positions=["sales manager"]) == sales != set()
    assert await contact_ids(lf, buyer_persona_ids=["bp-1"]) == sales
    assert await contact_ids(lf, filters={"has_email": False}) == set()
    assert await contact_ids(lf, filters={"has_email": True, "has_phone": True}) == set(people)


# Custom feeds


async def visitor_rows(lf: AsyncLeadfeeder, sandbox: Sandbox, custom_feed_id: str | None) -> set[str]:
    rows = lf.web_visits.companies(
        start_date=sandbox.start_date, end_date=sandbox.end_date, custom_feed_id=custom_feed_id
    )
    return {row.id async for row in rows}


async def test_custom_feed_narrows_visitors(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """A custom feed returns the companies with visits that meet all of its filters."""
    feeds, world = sandbox.records.custom_feeds, sandbox.world
    everyone = feeds.add({"name": "Everyone"})
    filters = [
        {"field": "landing_page_path", "operator": "contains", "value": ["/pric", "/docs"]},
        {"field": "country_code", "operator": "is", "value": "DE"},
        {"field": "source", "operator": "begins_with", "value": "goo"},
    ]
    narrow = feeds.add({"name": "Pricing", "filters": filters})
    expected = {
        f"{world.company_of_visit(visit_id)}-loc-{world.location_of_visit(visit_id)}"
        for visit_id in world.visit_ids()
        if world.visit(visit_id)["landing_page_path"] in {"/pricing", "/docs"}
        and world.visit(visit_id)["source"] == "google"
        and world.location_of_visit(visit_id) in {0, 1}
    }
    assert await visitor_rows(lf, sandbox, everyone) == await visitor_rows(lf, sandbox, None)
    assert await visitor_rows(lf, sandbox, narrow) == expected != set()


async def test_unknown_custom_feed_and_filters(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """An unknown feed is not found, and filters in another format are stored but not applied."""
    with pytest.raises(NotFoundError, match="custom feed"):
        await visitor_rows(lf, sandbox, "nonsense")
    feed = (await lf.custom_feeds.create(name="Other", filters=[{"page": "/pricing"}])).data
    with pytest.raises(BadRequestError, match=f"cannot apply the filters of custom feed {feed.id}"):
        await visitor_rows(lf, sandbox, feed.id)


async def test_lax_custom_feed() -> None:
    """A lax sandbox ignores filters that it cannot apply."""
    async with Sandbox(companies=60, visits=500, rate_limit=False, lax=True) as sandbox, client_for(sandbox) as lf:
        feed_id = sandbox.records.custom_feeds.add({"name": "Other", "filters": [{"page": "/pricing"}]})
        assert await visitor_rows(lf, sandbox, feed_id) == await visitor_rows(lf, sandbox, None)


# Relations

CRM_PATHS = [
    ("crm_connections", 1),
    ("crm_connections.crm_record", 2),
    ("crm_connections.crm_record.crm_owner", 3),
]


async def company_json(lf: AsyncLeadfeeder, company_id: str, include: str = "") -> Any:
    params = {"include": include} if include else {}
    return await lf.request("GET", f"/v1/companies/{company_id}", params=params)


def depth(connection: Any) -> int:
    """Return the number of nested records that are more than an ID and a type."""
    records = [connection]
    for name in ("crm_record", "crm_owner"):
        if "relationships" in records[-1]:
            records.append(records[-1]["relationships"][name])
    return sum("attributes" in record for record in records)


async def test_relations_are_references_by_default(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """Relations that are not included are an ID and a type, and three of them are left out."""
    head = sandbox.world.company_ids()[0]
    member = sandbox.world.company_ids()[1]
    tag_id = sandbox.records.tags.add({"name": "Hot"})
    sandbox.records.company_tags[member, tag_id] = None
    relations = (await company_json(lf, member))["data"]["relationships"]
    assert relations["group_company"] == {"id": head, "type": "company"}
    assert relations["tags"] == [{"id": tag_id, "type": "tag"}]
    assert not {"web_visits", "crm_group_connections"} & set(relations)
    relations = (await company_json(lf, member, "group_company,tags"))["data"]["relationships"]
    assert relations["group_company"]["attributes"]["name"] == sandbox.world.company(head)["name"]
    assert relations["tags"][0]["attributes"] == {"name": "Hot"}
    assert (await company_json(lf, head))["data"]["relationships"]["group_company"] is None


@pytest.mark.parametrize(("path", "expected"), CRM_PATHS)
async def test_crm_connections(lf: AsyncLeadfeeder, sandbox: Sandbox, path: str, expected: int) -> None:
    """Each part of an ``include`` path adds the attributes of one more record."""
    head, member = sandbox.world.company_ids()[:2]
    (connection,) = (await company_json(lf, head, path))["data"]["relationships"]["crm_connections"]
    assert depth(connection) == expected
    group_path = f"crm_group_connections.{path.replace('crm_connections', 'crm_connection')}"
    (group,) = (await company_json(lf, member, group_path))["data"]["relationships"]["crm_group_connections"]
    assert depth(group["relationships"]["crm_connection"]) == expected
    relations = (await company_json(lf, head, "crm_group_connections"))["data"]["relationships"]
    assert relations["crm_group_connections"] == []


async def test_included_web_visits(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """``web_visits`` contains the last visits of the company, the newest first."""
    company_id = sandbox.world.company_of_visit(sandbox.world.visit_ids()[0])
    visits = (await company_json(lf, company_id, "web_visits"))["data"]["relationships"]["web_visits"]
    expected = list(sandbox.world.visits_of_company(company_id))[::-1][:20]
    assert [visit["id"] for visit in visits] == expected != []
    assert visits[0]["attributes"] == sandbox.world.visit(expected[0])
    never = (await company_json(lf, sandbox.world.company_ids()[0], "web_visits"))["data"]["relationships"]
    assert never["web_visits"] == []


# Accounts


async def test_pages_of_accounts() -> None:
    """The list of accounts accepts paging parameters, and is on one page without them."""
    async with Sandbox(accounts=5, rate_limit=False) as sandbox, client_for(sandbox) as lf:

        async def account_page(**params: int) -> Any:
            paging = {f"page[{name}]": value for name, value in params.items()}
            return await lf.request("GET", "/v1/accounts", params={**paging, "account_id": ""})

        first, last = await account_page(num=1, size=2), await account_page(num=3, size=2)
        assert [row["id"] for row in first["data"]] == list(sandbox.account_ids[:2])
        assert [row["id"] for row in last["data"]] == list(sandbox.account_ids[4:])
        assert first["meta"]["pagination"] == {"page_num": 1, "page_count": 3, "total_count": 5}
        every = await account_page()
        assert ([row["id"] for row in every["data"]], "pagination" in every["meta"]) == (
            list(sandbox.account_ids),
            False,
        )
        with pytest.raises(BadRequestError, match=r"page\[size\]"):
            await account_page(size=101)
