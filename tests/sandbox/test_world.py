"""Tests for the generated companies, contacts and visits of a sandbox."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from leadfeeder_async import AsyncLeadfeeder, NotFoundError
from leadfeeder_async.sandbox import Sandbox, World
from leadfeeder_async.sandbox.sample_data import employee_range

END = date(2026, 11, 22)


def world_of(*, seed: int = 3, companies: int = 100, visits: int = 300, days: int = 30, **options: Any) -> World:
    return World(seed=seed, companies=companies, visits=visits, days=days, end_date=END, **options)


def starts(world: World) -> list[str]:
    return [str(world.visit(visit_id)["started_at"]) for visit_id in world.visit_ids()]


def days_of(world: World) -> list[date]:
    return [world.start_date + timedelta(day) for day in range((world.end_date - world.start_date).days + 1)]


def test_seed_determines_data() -> None:
    """Worlds with the same seed have the same data, and worlds with different seeds do not."""
    first, same, other = (
        [world.visit(visit_id) for visit_id in world.visit_ids()]
        for world in (world_of(seed=1), world_of(seed=1), world_of(seed=2))
    )
    assert first == same != other


@pytest.mark.parametrize(("visits", "days"), [(0, 1), (1, 30), (12_345, 30), (5_000_000, 365)])
def test_visits_are_split_by_day(visits: int, days: int) -> None:
    """Every visit belongs to one day, for any number of visits."""
    world = world_of(visits=visits, days=days)
    assert len(world.visit_ids()) == world.visit_count == visits
    assert sum(len(world.visit_ids(day, day)) for day in days_of(world)) == visits
    for index in {0, visits // 3, visits - 1} & set(range(visits)):
        visit_id = world.visit_ids()[index]
        day = date.fromisoformat(str(world.visit(visit_id)["started_at"])[:10])
        assert visit_id in list(world.visit_ids(day, day))


def test_visits_outside_the_days() -> None:
    """Days before and after the world have no visits."""
    world = world_of()
    before, after = world.start_date - timedelta(1), world.end_date + timedelta(1)
    assert list(world.visit_ids(before, before)) == list(world.visit_ids(after, after)) == []
    assert list(world.visit_ids(before, after)) == list(world.visit_ids())


@pytest.mark.parametrize(
    ("employees", "expected"), [(1, "1-10"), (10, "1-10"), (11, "11-100"), (500, "101-500"), (10_001, "10.000+")]
)
def test_employee_range(employees: int, expected: str) -> None:
    """Size classes include their upper bound."""
    assert employee_range(employees) == expected


def test_add_visits_to_last_day() -> None:
    """Visits added to the last day come last and do not change the others."""
    world = world_of(last_day_seconds=3_600)
    visits_before, starts_before = list(world.visit_ids()), starts(world)
    visitors_before = world.visitor_companies(world.start_date, world.end_date)
    added = list(world.add_visits(40))
    assert list(world.visit_ids()) == [*visits_before, *added]
    assert starts(world) == [*starts_before, *["2026-11-22T00:59:59Z"] * 40]
    assert list(world.visit_ids(END, END))[-40:] == added
    assert len(world.visitor_companies(world.start_date, world.end_date)) > len(visitors_before)


@pytest.mark.parametrize("length", [0, 1])
def test_add_visits_just_after_midnight(length: int) -> None:
    """Added visits start on the last day even if it has just begun."""
    world = world_of(visits=0, last_day_seconds=length)
    world.add_visits(2)
    assert starts(world) == ["2026-11-22T00:00:00Z"] * 2


def test_add_visits_to_earlier_day() -> None:
    """Visits added to an earlier day are in order of time among the others."""
    world = world_of()
    day = END - timedelta(9)
    before, others = list(world.visit_ids(day, day)), [other for other in days_of(world) if other != day]
    counts = [len(world.visit_ids(other, other)) for other in others]
    added = [*world.add_visits(5, day=day), *world.add_visits(1, day=day)]
    assert len(set(added)) == 6
    assert set(world.visit_ids(day, day)) == {*before, *added}
    assert starts(world) == sorted(starts(world))
    assert world.visit_count == 306
    assert [len(world.visit_ids(other, other)) for other in others] == counts
    assert world.company_of_visit(added[0]) in world.company_ids()
    assert set(world.matching_visit_ids(day, day)) == {*before, *added}


def test_add_visits_after_inserted_ones() -> None:
    """Visits can be added to the last day after some were added to an earlier one."""
    world = world_of()
    world.add_visits(2, day=world.start_date)
    added = list(world.add_visits(3))
    assert list(world.visit_ids())[-3:] == added
    assert len(set(world.visit_ids())) == 305


def test_add_visits_arguments() -> None:
    """A negative count and a day outside the world raise errors."""
    world = world_of()
    with pytest.raises(ValueError, match="count=-1 must be 0 or more"):
        world.add_visits(-1)
    for day in (world.start_date - timedelta(1), END + timedelta(1)):
        with pytest.raises(ValueError, match=f"day={day} must be from 2026-10-24 to 2026-11-22"):
            world.add_visits(1, day=day)
    assert list(world.add_visits(0)) == list(world.add_visits(0, day=world.start_date)) == []


def test_remove_visit() -> None:
    """A removed visit is gone and the others stay."""
    world = world_of()
    first, second, *rest = world.visit_ids()
    world.remove_visit(second)
    inserted = world.add_visits(1, day=world.start_date)[0]
    world.remove_visit(inserted)
    assert list(world.visit_ids()) == [first, *rest]
    assert world.visit_count == 299
    for gone in (second, inserted):
        with pytest.raises(ValueError, match="no visit"):
            world.remove_visit(gone)


def test_update_visit() -> None:
    """Changed attributes replace the generated ones of one visit."""
    world = world_of()
    first, second = world.visit_ids()[:2]
    generated, unchanged = world.visit(first), world.visit(second)
    world.update_visit(first, page_depth="many")
    world.update_visit(first, extra=1)
    assert world.visit(first) == {**generated, "page_depth": "many", "extra": 1}
    assert world.visit(second) == unchanged


@pytest.mark.parametrize("visit_id", ["", "x", "00000000-0000-0000-0000-000000000000", "g" * 36])
def test_unknown_visit(visit_id: str) -> None:
    """An unknown visit ID raises an error."""
    world = world_of()
    for method in (world.visit, world.company_of_visit, world.location_of_visit, world.update_visit):
        with pytest.raises(ValueError, match=r"Use an id from world\.visit_ids\(\)"):
            method(visit_id)


def test_visit_ids_sequence() -> None:
    """The IDs of visits can be indexed, sliced and iterated."""
    ids = world_of(visits=5).visit_ids()
    assert [ids[index] for index in range(5)] == ids[:] == list(ids)
    assert ids[-1] == ids[4]
    with pytest.raises(IndexError):
        ids[5]


def test_unknown_company_and_contact() -> None:
    """An unknown company or contact ID raises an error."""
    world = world_of(companies=2)
    unknown = str(int(world.company_ids()[-1]) + 1)
    with pytest.raises(ValueError, match="no company '159000002'"):
        world.company(unknown)
    with pytest.raises(ValueError, match="no company 'x'"):
        world.merge_company(world.company_ids()[0], "x")
    with pytest.raises(ValueError, match="no contact '7'"):
        world.contact("7")


def test_company_at_ip() -> None:
    """Each company has two IP addresses, and other addresses belong to no company."""
    world = world_of(companies=3)
    addresses = {ip: company_id for company_id in world.company_ids() for ip in world.company_ips(company_id)}
    assert len(addresses) == 6
    assert {ip: world.company_at_ip(ip) for ip in addresses} == addresses
    assert [world.company_at_ip(ip) for ip in ("198.17.255.255", "198.18.0.6", "::1")] == [None] * 3


def test_contacts_belong_to_companies() -> None:
    """Each company has three contacts."""
    world = world_of(companies=2)
    assert [world.company_of_contact(contact_id) for contact_id in world.contact_ids()] == [
        company_id for company_id in world.company_ids() for _ in range(3)
    ]


async def test_changed_company_in_responses(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """Responses show a changed company, and matching finds it under its new name."""
    company_id = sandbox.world.company_ids()[0]
    await lf.companies.match([{"company_name": "x"}])
    sandbox.world.update_company(company_id, name="Renamed AG")
    assert (await lf.companies.get(company_id)).data.name == "Renamed AG"
    [candidates] = (await lf.companies.match([{"company_name": "Renamed AG"}])).data
    assert [candidate.id for candidate in candidates] == [company_id]


async def test_merged_company_in_responses(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """Requests for a merged company return the company it was merged into."""
    old, current = sandbox.world.company_ids()[:2]
    sandbox.world.merge_company(old, into=current)
    assert (await lf.companies.get(old)).data.id == current
    assert sandbox.ledger.charges == [current]


async def test_removed_company_in_responses(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """A removed company is not found, but matching still returns its ID."""
    company_id = sandbox.world.company_ids()[0]
    name = sandbox.world.company(company_id)["name"]
    sandbox.world.remove_company(company_id)
    with pytest.raises(NotFoundError):
        await lf.companies.get(company_id)
    assert company_id not in {company.id async for company in lf.companies.search(search_terms=["e"])}
    [candidates] = (await lf.companies.match([{"company_name": name}])).data
    assert company_id in {candidate.id for candidate in candidates}


async def test_changed_visits_in_responses(lf: AsyncLeadfeeder, sandbox: Sandbox) -> None:
    """A running sandbox returns added and changed visits and omits removed ones."""
    world = sandbox.world
    changed, removed = world.visit_ids()[:2]
    world.update_visit(changed, source="test")
    world.remove_visit(removed)
    added = [*world.add_visits(1, day=sandbox.start_date), *world.add_visits(1)]
    dates = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
    visits = [visit async for visit in lf.web_visits.search(**dates)]
    assert [visit.id for visit in visits] == list(world.visit_ids())
    assert {*added, changed} <= {visit.id for visit in visits}
    assert removed not in {visit.id for visit in visits}
    assert next(visit for visit in visits if visit.id == changed).attributes.source == "test"
    visitors = {row.id async for row in lf.web_visits.companies(**dates)}
    assert visitors == {f"{company_id}-loc-{location}" for company_id, location in world.visitor_companies(**dates)}
