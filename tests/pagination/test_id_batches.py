"""Lists by id that charge: records that were paid are returned before an error, and no more are paid than needed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, BudgetExceededError, LeadfeederError, NotFoundError, ResumePosition
from tests.jobs.helpers import Stopped
from tests.support.clients import client_of
from tests.support.servers import handler_server


class PaidRecords:
    """A server of companies that charges each record once.

    Args:
        failing: The first ids of batches that fail.
        absent: Ids without a record.
        left_out: Ids that are left out of the first response.
        merged: Old ids, and their current ids.
        fails_from: The number of the first request that fails.
        rejects_absent: Respond 404 to a request in which an id has no record.
        most: The most records of a response. All ids of the request are charged.
    """

    def __init__(
        self,
        *,
        failing: Collection[str] = (),
        absent: Collection[str] = (),
        left_out: Collection[str] = (),
        merged: dict[str, str] | None = None,
        fails_from: int = 1_000_000,
        rejects_absent: bool = False,
        most: int = 100,
    ) -> None:
        self.failing = set(failing)
        self.absent = set(absent)
        self.left_out = set(left_out)
        self.merged = merged or {}
        self.fails_from = fails_from
        self.rejects_absent = rejects_absent
        self.most = most
        self.paid = set[str]()
        self.sizes = list[int]()

    async def __call__(self, request: web.Request) -> web.Response:
        ids = request.query["ids"].split(",")
        self.sizes.append(len(ids))
        if ids[0] in self.failing or len(self.sizes) >= self.fails_from:
            await asyncio.sleep(0.02)
            return web.json_response({"errors": [{"code": "x"}]}, status=422)
        if self.rejects_absent and self.absent & set(ids):
            return web.json_response({"errors": [{"code": "not_found"}]}, status=404)
        await asyncio.sleep(0.05 if self.failing else 0)
        found = [one for one in ids if one not in self.absent | self.left_out]
        self.left_out -= set(ids)
        found = list(dict.fromkeys(self.merged.get(one, one) for one in found))
        new = set(found) - self.paid
        self.paid |= new
        data: list[Any] = [{"id": one, "type": "company", "attributes": {"name": "x"}} for one in found[: self.most]]
        return web.json_response({"data": data, "meta": {"credits": {"charged": len(new)}}})


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def ids_of(path: Path) -> list[str]:
    return [msgspec.json.decode(line)["id"] for line in path.read_bytes().splitlines()]


async def read(lf: AsyncLeadfeeder, kind: str, ids: list[str], path: Path) -> list[str]:
    """Read a list that fails, and return the ids until then."""
    got, pager = list[str](), lf.companies.get_many(ids)
    with pytest.raises(LeadfeederError):
        if kind == "items":
            async for row in pager:
                got.append(row.id)
        elif kind == "batches":
            async for batch in pager.batches(70):
                got.extend(row.id for row in batch)
        elif kind == "pages":
            async for page in pager.pages():
                got.extend(row.id for row in page.items)
        else:
            await pager.to_file(path)
    return ids_of(path.with_name(path.name + ".part")) if kind == "file" else got


@pytest.mark.parametrize("kind", ["items", "batches", "pages", "file"])
async def test_error_of_one_batch_keeps_the_others(kind: str, tmp_path: Path) -> None:
    """The records of all batches in flight are returned before the error of one of them."""
    api = PaidRecords(failing=["100"])
    async with handler_server(api) as url, client_of(url, retries=0) as lf:
        got = await read(lf, kind, numbers(2_500), tmp_path / "x.ndjson")
    assert len(api.sizes) == 17
    assert len(got) == len(api.paid) == 1_600
    assert set(got) == api.paid


async def test_resume_after_an_error_of_one_batch(tmp_path: Path) -> None:
    """A resumed file requests the failed batch, and no batch that was received."""
    api = PaidRecords(failing=["100"])
    async with handler_server(api) as url, client_of(url, retries=0) as lf:
        path = tmp_path / "x.ndjson"
        await read(lf, "file", numbers(450), path)
        api.failing, api.sizes = set(), []
        await lf.companies.get_many(numbers(450)).to_file(path, resume=True)
    assert sorted(ids_of(path), key=int) == numbers(450)
    assert api.sizes == [100]


@pytest.mark.parametrize(
    ("ids", "limit", "paid"), [(250, 150, 100), (320, 230, 200), (150, 60, 0), (1_050, 1_049, 1_000)]
)
@pytest.mark.parametrize("kind", ["items", "file"])
async def test_no_batch_after_a_refused_one(kind: str, ids: int, limit: int, paid: int, tmp_path: Path) -> None:
    """If a budget refuses a batch, a smaller one behind it is not sent either."""
    api = PaidRecords()
    async with handler_server(api) as url, client_of(url) as lf, lf.budget(max_credits=limit) as budget:
        got = await read(lf, kind, numbers(ids), tmp_path / "x.ndjson") if paid or kind == "items" else []
    assert (got, budget.reserved) == (numbers(paid), 0)
    assert len(api.paid) == paid if got else not api.paid


async def test_batches_under_a_budget_are_concurrent() -> None:
    """Batches take turns to reserve their credits, but not to be received."""
    active = most = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.05)
        active -= 1
        return await PaidRecords()(request)

    async with handler_server(handle) as url, client_of(url) as lf, lf.budget(max_credits=1_000) as budget:
        assert len(await lf.companies.get_many(numbers(1_000)).collect()) == 1_000
    assert (most, budget.credits) == (9, 1_000)


@pytest.mark.parametrize(("limit", "requests"), [(10, 3), (50, 3), (99, 3), (300, 6)])
async def test_limit_with_missing_ids(limit: int, requests: int) -> None:
    """If a tenth of the ids has no record, exactly the wanted ones are paid."""
    api = PaidRecords(absent=[one for one in numbers(3_000) if int(one) % 10 == 0])
    async with handler_server(api) as url, client_of(url) as lf:
        assert len(await lf.companies.get_many(numbers(3_000)).collect(limit)) == limit
    assert (len(api.paid), len(api.sizes) <= requests) == (limit, True)


OLD = {f"old{number}": f"new{number}" for number in range(3)}


async def test_merged_ids_of_an_exact_budget() -> None:
    """Merged ids are resolved without further credits, because their records were just charged."""
    api = PaidRecords(merged=OLD)
    async with handler_server(api) as url, client_of(url) as lf, lf.budget(max_credits=100) as budget:
        pager = lf.companies.get_many([*numbers(97), *OLD], resolve_merged=True)
        assert len(await pager.collect()) == budget.credits == 100
    assert (dict(pager.merged), pager.unresolved) == (OLD, ())


async def test_left_out_id_of_an_exact_budget() -> None:
    """A record that a response left out is charged when merged ids are resolved, which the budget covers."""
    api = PaidRecords(merged=OLD, left_out=["5"])
    async with handler_server(api) as url, client_of(url) as lf, lf.budget(max_credits=100) as budget:
        assert len(await lf.companies.get_many([*numbers(97), *OLD], resolve_merged=True).collect()) == 100
    assert budget.credits == len(api.paid) == 100


async def test_left_out_id_is_reserved_when_merged_ids_are_resolved() -> None:
    """An id without a record may charge when it is requested again, so a budget without credits refuses it."""
    api, got = PaidRecords(merged=OLD, left_out=["5"]), list[str]()

    async def handle(request: web.Request) -> web.Response:
        budget.max_credits = 99
        return await api(request)

    async with handler_server(handle) as url, client_of(url) as lf, lf.budget(max_credits=100) as budget:
        pager = lf.companies.get_many([*numbers(97), *OLD], resolve_merged=True)
        with pytest.raises(BudgetExceededError):
            async for row in pager:
                got.append(row.id)
    assert (len(got), budget.credits, pager.unresolved) == (99, 99, ("5", *OLD))
    assert set(got) == api.paid


@pytest.mark.parametrize("kind", ["items", "file"])
async def test_error_while_merged_ids_are_resolved(kind: str, tmp_path: Path) -> None:
    """The records of the batch are returned, and its merged ids are unresolved, before the error is raised."""
    api = PaidRecords(merged=OLD, fails_from=2)
    got, path = list[str](), tmp_path / "x.ndjson"
    async with handler_server(api) as url, client_of(url, retries=0) as lf:
        pager = lf.companies.get_many([*numbers(97), *OLD], resolve_merged=True)
        with pytest.raises(LeadfeederError):
            if kind == "file":
                await pager.to_file(path)
            async for row in pager:
                got.append(row.id)
        if kind == "file":
            got = ids_of(tmp_path / "x.ndjson.part")
        else:
            assert (pager.unresolved, pager.missing) == (tuple(OLD), ())
    assert set(got) == api.paid == {*numbers(97), *OLD.values()}


async def test_id_found_on_the_second_request_is_not_merged() -> None:
    """A record that a response left out is returned at the end, under its own id."""
    async with handler_server(PaidRecords(left_out=["3"])) as url, client_of(url) as lf:
        pager = lf.companies.get_many(numbers(5))
        assert [row.id for row in await pager.collect()] == ["0", "1", "2", "4", "3"]
    assert (pager.missing, dict(pager.merged), pager.unresolved) == ((), {}, ())


@pytest.mark.parametrize("number", range(2, 12))
@pytest.mark.parametrize("left_out", ["o0", "o1", "o2", "o3", "o4"])
async def test_merged_ids_of_a_server_that_leaves_out_records(number: int, left_out: str) -> None:
    """No id is assigned to the record of another if one response lacks a record, and no record is lost."""
    merged = {f"o{one}": f"c{one}" for one in range(5)}
    api = PaidRecords(merged=merged)

    async def respond(request: web.Request) -> web.Response:
        if len(api.sizes) == number - 1:
            api.left_out = {left_out}
        return await api(request)

    async with handler_server(respond) as url, client_of(url) as lf:
        pager = lf.companies.get_many([*numbers(3), *merged], resolve_merged=True)
        rows = [row.id for row in await pager.collect()]
    assert sorted(rows) == sorted([*numbers(3), *merged.values()])
    assert dict(pager.merged) == merged
    assert (pager.missing, pager.unresolved) == ((), ())


async def test_left_out_id_among_merged_ones() -> None:
    """An id whose record was left out of the first response is not merged, and the others are."""
    merged = {f"o{one}": f"c{one}" for one in range(3)}
    async with handler_server(PaidRecords(merged=merged, left_out=["1"])) as url, client_of(url) as lf:
        pager = lf.companies.get_many([*numbers(3), *merged], resolve_merged=True)
        assert [row.id for row in await pager.collect()] == ["0", "1", "2", "c0", "c1", "c2"]
    assert (dict(pager.merged), pager.missing, pager.unresolved) == (merged, (), ())


async def test_resumed_file_requests_missing_ids_again(tmp_path: Path) -> None:
    """Ids that the part before the interruption lacks are requested again, and reported if they stay missing."""
    ids = numbers(450)
    api = PaidRecords(left_out=ids[7:400:50], absent=["11"])
    path = tmp_path / "x.ndjson"

    def stop(progress: object) -> None:
        if len(ids_written := list(path.parent.glob("*.part"))) and len(api.sizes) >= 2 and ids_written:
            raise Stopped

    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(Stopped):
            await lf.companies.get_many(ids).prefetch(0).to_file(path, on_progress=stop)
        pager = lf.companies.get_many(ids)
        await pager.to_file(path, resume=True)
    assert sorted(ids_of(path), key=int) == [one for one in ids if one != "11"]
    assert set(ids_of(path)) == api.paid


async def test_missing_ids_in_a_position() -> None:
    """A resumed iteration requests the missing ids of the part before, but no id that the list does not have."""
    api = PaidRecords(left_out=["3", "7"], absent=["5"])
    async with handler_server(api) as url, client_of(url) as lf:
        pager = lf.companies.get_many(numbers(250)).prefetch(0)
        async with aclosing(pager.pages()) as pages:
            position = (await anext(pages)).position
        assert position == ResumePosition(ids=100, missing_ids=("3", "5", "7"))
        position = msgspec.json.decode(msgspec.json.encode(position), type=ResumePosition)
        foreign = ResumePosition(ids=100, missing_ids=(*position.missing_ids, "999"))
        rest = pager.resume_from(foreign)
        assert [row.id for row in await rest.collect()] == ["3", "7", *numbers(250)[100:]]
    assert rest.missing == ("5",)


async def test_budget_error_type_is_kept() -> None:
    """The error of the refused batch is raised, not that of the batches behind it."""
    async with handler_server(PaidRecords()) as url, client_of(url) as lf, lf.budget(max_credits=150):
        with pytest.raises(BudgetExceededError, match="100 credits, and 50 of 150"):
            await lf.companies.get_many(numbers(900)).collect()


@pytest.mark.parametrize("absent", [["0"], ["99"], ["100", "101", "249"], numbers(7), numbers(100)[50:]])
@pytest.mark.parametrize("prefetch", [0, 16])
async def test_server_that_rejects_batches_with_unknown_ids(absent: list[str], prefetch: int, tmp_path: Path) -> None:
    """The other ids of a batch are found, in order and for the same price, and the unknown ones are missing."""
    api, ids = PaidRecords(absent=absent, rejects_absent=True), numbers(250)
    expected = [one for one in ids if one not in absent]
    async with handler_server(api) as url, client_of(url) as lf:
        pager = lf.companies.get_many(ids).prefetch(prefetch)
        async with lf.budget(max_credits=len(ids)) as spent:
            assert [row.id for row in await pager.collect()] == expected
        assert spent.credits == len(api.paid) == len(expected)
        assert pager.missing == tuple(absent)
        assert len(api.sizes) <= 3 + 20 * len(absent)
        await lf.companies.get_many(ids).to_file(tmp_path / "x.ndjson")
    assert ids_of(tmp_path / "x.ndjson") == expected


async def test_missing_ids_after_a_file_and_a_first_record(tmp_path: Path) -> None:
    """A list knows its missing and merged ids also after an export, and a variant of it has its own."""
    async with handler_server(PaidRecords(absent=["3"], merged={"7": "c7"})) as url, client_of(url) as lf:
        pager = lf.companies.get_many(numbers(9), resolve_merged=True)
        other = pager.prefetch(0)
        await pager.to_file(tmp_path / "x.ndjson")
        assert (pager.missing, dict(pager.merged), other.missing) == (("3",), {"7": "c7"}, ())
        await other.first()
        assert (pager.missing, other.missing) == (("3",), ())
        assert len(await other.collect(8)) == 8
        assert other.missing == ("3",)


async def test_all_ids_are_unknown() -> None:
    """A list without a single record raises the 404 after a few requests, because its path may be wrong."""
    api = PaidRecords(absent=numbers(1_000), rejects_absent=True)
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(NotFoundError):
            await lf.companies.get_many(numbers(1_000)).collect()
        assert len(api.sizes) <= 40
        with pytest.raises(NotFoundError):
            await lf.companies.get_many(numbers(3)).collect()


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_first_ids_are_unknown(limit: int) -> None:
    """Ids without a record at the start of a list are missing, also if the limit allows few ids per request."""
    api = PaidRecords(absent=numbers(6), rejects_absent=True)
    async with handler_server(api) as url, client_of(url) as lf:
        pager = lf.companies.get_many(numbers(20))
        assert [row.id for row in await pager.collect(limit)] == numbers(20)[6 : 6 + limit]
        assert pager.missing == tuple(numbers(6))
    assert len(api.paid) == limit


@pytest.mark.parametrize("stop", range(1, 9))
async def test_resume_after_rejected_batches(stop: int, tmp_path: Path) -> None:
    """A file that is interrupted between the parts of a rejected batch is resumed without loss and without payment."""
    api, ids, calls = PaidRecords(absent=["30", "70", "71"], rejects_absent=True), numbers(150), 0
    path = tmp_path / "x.ndjson"

    def interrupt(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise Stopped

    async with handler_server(api) as url, client_of(url) as lf:
        with suppress(Stopped):
            await lf.companies.get_many(ids).prefetch(0).to_file(path, on_progress=interrupt)
        assert calls == stop
        pager = lf.companies.get_many(ids)
        await pager.to_file(path, resume=True)
    assert sorted(ids_of(path), key=int) == [one for one in ids if one not in api.absent]
    assert pager.missing == ("30", "70", "71")


async def test_merged_id_beside_unknown_ones() -> None:
    """An id that was merged into another requested one is found, although unknown ids are rejected."""
    api = PaidRecords(absent=["3", "40"], merged={"7": "8"}, rejects_absent=True)
    async with handler_server(api) as url, client_of(url) as lf:
        pager = lf.companies.get_many(numbers(50))
        rows = [row.id for row in await pager.collect()]
    assert rows == [one for one in numbers(50) if one not in {"3", "7", "40"}]
    assert (dict(pager.merged), pager.missing) == ({"7": "8"}, ("3", "40"))


async def test_rejected_batch_that_was_charged() -> None:
    """A batch that is rejected with 404 and charged is not requested again, because its parts could be charged too."""
    charged = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal charged
        ids = request.query["ids"].split(",")
        charged += len(ids)
        body = {"errors": [{"code": "not_found"}], "meta": {"credits": {"charged": len(ids)}}}
        return web.json_response(body, status=404)

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(NotFoundError) as caught:
            await lf.companies.get_many(numbers(20)).collect()
    assert caught.value.context.charged == charged == 20


async def test_charge_without_records_is_requested_once_more() -> None:
    """If a response charges for records and contains none, they are requested once more."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        found = [{"id": one, "type": "company"} for one in request.query["ids"].split(",")]
        meta = {"credits": {"charged": 3 if requests == 1 else 0}}
        return web.json_response({"data": found if requests == 2 else [], "meta": meta})

    async with handler_server(respond) as url, client_of(url) as lf:
        assert len(await lf.companies.get_many(numbers(3)).collect()) == 3
        requests = 2
        pager = lf.companies.get_many(numbers(3))
        assert (await pager.collect(), pager.missing, requests) == ([], ("0", "1", "2"), 3)


@pytest.mark.parametrize(
    ("price", "free", "charged", "sizes"),
    [(1, 0, 100, [10, 22, 17]), (3, 0, 99, [10, 17, 4, 1, 1]), (3, 9, 99, [10, 24]), (0, 0, 0, [10] * 10)],
)
async def test_contacts_under_a_budget(price: int, free: int, charged: int, sizes: list[int]) -> None:
    """Under a budget, contacts are requested in small parts, because they may cost more than their average shows."""
    requested = list[int]()

    async def respond(request: web.Request) -> web.Response:
        ids = request.query["ids"].split(",")
        requested.append(len(ids))
        data = [{"id": one, "type": "contact", "attributes": {}} for one in ids]
        paid = sum(int(one) >= free for one in ids)
        return web.json_response({"data": data, "meta": {"credits": {"charged": price * paid}}})

    async with handler_server(respond) as url, client_of(url) as lf, lf.budget(max_credits=100) as budget:
        with suppress(BudgetExceededError):
            await lf.contacts.get_many(numbers(100)).collect()
    assert (budget.credits, requested[: len(sizes)]) == (charged, sizes)


async def test_last_request_for_missing_contacts_is_small() -> None:
    """The last request for missing ids is limited by the budget too."""
    requested = list[int]()

    async def respond(request: web.Request) -> web.Response:
        ids = request.query["ids"].split(",")
        requested.append(len(ids))
        found = [{"id": one, "type": "contact", "attributes": {}} for one in ids if len(requested) <= 10][:1]
        charged = 0 if len(requested) <= 10 else 3 * len(ids)
        return web.json_response({"data": found, "meta": {"credits": {"charged": charged}}})

    async with handler_server(respond) as url, client_of(url) as lf, lf.budget(max_credits=20) as budget:
        await lf.contacts.get_many(numbers(20)).collect()
    assert max(requested) <= 3
    assert budget.credits <= 20


@pytest.mark.parametrize(("count", "most"), [(100, 50), (300, 50), (1_000, 20), (7, 1)])
async def test_server_returns_only_some_of_the_records(count: int, most: int, tmp_path: Path) -> None:
    """A server that returns fewer records in a response than it has charged is asked for the others."""
    server = PaidRecords(most=most, absent={"3"})
    async with handler_server(server) as url, client_of(url) as lf:
        pager = lf.companies.get_many(numbers(count))
        await pager.to_file(tmp_path / "out.ndjson")
        assert sorted(ids_of(tmp_path / "out.ndjson"), key=int) == [one for one in numbers(count) if one != "3"]
        assert (pager.missing, pager.unresolved) == (("3",), ())


async def test_unresolved_ids_are_requested_again_by_a_resumed_file(tmp_path: Path) -> None:
    """Ids that are missing or merged when an export stops are requested again by the next run."""
    server = PaidRecords(merged={"5": "m5", "6": "m6"}, left_out={"9"}, absent={"20"}, fails_from=3)
    out = tmp_path / "out.ndjson"
    async with handler_server(server) as url, client_of(url, retries=0) as lf:
        with pytest.raises(LeadfeederError):
            await lf.companies.get_many(numbers(150), resolve_merged=True).to_file(out)
        server.fails_from = 1_000_000
        pager = lf.companies.get_many(numbers(150), resolve_merged=True)
        await pager.to_file(out, resume=True)
    assert sorted(ids_of(out)) == sorted({*numbers(150), "m5", "m6"} - {"5", "6", "20"})
    assert (pager.missing, dict(pager.merged), pager.unresolved) == (("20",), {"5": "m5", "6": "m6"}, ())


@pytest.mark.parametrize("absent", [{"17"}, {"17", "40"}])
async def test_last_request_for_missing_ids_needs_no_budget(absent: set[str]) -> None:
    """If a budget does not cover the last request for missing ids, the list ends, and they stay unresolved."""
    server = PaidRecords(absent=absent)
    async with handler_server(server) as url, client_of(url) as lf, lf.budget(max_credits=200) as budget:
        pager = lf.companies.get_many(numbers(200))
        rows = list[str]()
        async for batch in pager.batches(100):
            rows += [company.id for company in batch]
            budget.credits = 200  # another task has spent the rest
    assert (len(rows), sorted(pager.unresolved), pager.missing) == (200 - len(absent), sorted(absent), ())
