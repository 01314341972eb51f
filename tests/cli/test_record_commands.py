"""Commands that look up records: output in a pipe, exit codes and charges."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web

from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import json_lines, leadfeeder, leadfeeder_on_terminal
from tests.support.clients import KEY
from tests.support.servers import Handler, handler_server


async def test_accounts_in_a_pipe(quarter: Sandbox) -> None:
    """In a pipe, records are JSON lines."""
    assert await leadfeeder(quarter, "accounts") == (0, '{"id":"310042","name":"Seller 1"}\n', "")


async def test_accounts_on_a_terminal(quarter: Sandbox) -> None:
    """On a terminal, records are a table, unless ``--json`` is given."""
    _, screen = await leadfeeder_on_terminal(quarter, "accounts")
    assert "Seller 1" in screen
    assert "{" not in screen
    _, screen = await leadfeeder_on_terminal(quarter, "accounts", "--json")
    assert json_lines(screen) == [{"id": "310042", "name": "Seller 1"}]


async def test_fields_and_limit(quarter: Sandbox) -> None:
    """``--limit`` limits the rows, and ``--fields`` selects fields of each record."""
    search = ("companies", "search", "--country", "DE")
    code, stdout, stderr = await leadfeeder(quarter, *search, "--limit", "3")
    assert (code, len(json_lines(stdout))) == (0, 3)
    assert json_lines(stdout)[0]["attributes"]["name"]
    assert re.search(r"^3 of \d+ companies", stderr)
    _, stdout, _ = await leadfeeder(quarter, *search, "--limit", "2", "--fields", "name,address.city")
    assert [list(record) for record in json_lines(stdout)] == [["name", "address.city"]] * 2


async def test_field_names_are_not_truncated(quarter: Sandbox) -> None:
    """A long value does not truncate the names of the fields."""
    _, screen = await leadfeeder_on_terminal(quarter, "companies", "get", "159000003", "--fields", "name,address")
    assert screen.splitlines()[1].startswith('address  {"street_address":')


async def test_country_codes(quarter: Sandbox) -> None:
    """A code in small letters is the same country, and anything else is refused before a request."""
    for command in (("companies", "search"), ("export", "companies")):
        found = [(await leadfeeder(quarter, *command, "--country", code))[1] for code in ("DE", "de")]
        assert found[0] == found[1] != ""
        requests = len(quarter.ledger.requests)
        for name in ("Germany", "D", "DE,AT", "uk"):
            code, _, stderr = await leadfeeder(quarter, *command, "--country", name)
            assert (code, f"'{name}' is not a country code" in stderr) == (2, True)
        assert len(quarter.ledger.requests) == requests
    assert (await leadfeeder(quarter, "companies", "match", "Acme", "--country", ""))[0] == 2


async def test_empty_list_in_a_pipe(quarter: Sandbox) -> None:
    """A search without results says so on stderr."""
    code, stdout, stderr = await leadfeeder(quarter, "companies", "search", "no-such-company")
    assert (code, stdout, stderr) == (0, "", "No companies found.\n")


async def test_search_terms(quarter: Sandbox) -> None:
    """Search terms can be arguments or ``--term`` options."""
    code, stdout, _ = await leadfeeder(quarter, "companies", "search", "company")
    assert (code, stdout) == (0, (await leadfeeder(quarter, "companies", "search", "--term", "company"))[1])
    assert stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("companies", "get", "159000003", "--max-credits", "0"), 4, "use --max-credits"),
        (("companies", "get", "1"), 1, "404"),
        (("companies", "search", "--fields", "wages"), 2, "Available fields: id, name"),
        (("companies", "match"), 2, "nothing to match"),
        (("brief", "--history", "10"), 2, "--history"),
        (("usage", "--months", "0"), 2, "--months"),
        (("tags", "create", "Hot"), 2, "Add --yes"),
        (("tags", "create", "Hot", "--fields", "wages"), 2, "Available fields: id"),
        (("lists", "add", "Nowhere", "159000001", "--yes"), 2, "There is no company list 'Nowhere'"),
    ],
)
async def test_error_messages(quarter: Sandbox, words: tuple[str, ...], code: int, message: str) -> None:
    """A command that fails prints an error on stderr and charges nothing."""
    exit_code, stdout, stderr = await leadfeeder(quarter, *words)
    assert (exit_code, stdout) == (code, ""), stderr
    assert message in stderr
    assert quarter.ledger.credits_charged == 0


async def test_company_is_charged_once(quarter: Sandbox) -> None:
    """The command prints one credit for a company, and none for the same company later."""
    first, second = [await leadfeeder(quarter, "companies", "get", "159000003") for _ in range(2)]
    assert (first[2], second[2]) == ("1 credit charged.\n", "0 credits charged.\n")
    assert json_lines(first[1])[0]["id"] == "159000003"


async def test_match_contacts_and_ip(quarter: Sandbox) -> None:
    """Matches, contacts and IP addresses are printed as records of their own kind."""
    company = json_lines((await leadfeeder(quarter, "companies", "search", "--country", "DE", "--limit", "1"))[1])[0]
    code, stdout, _ = await leadfeeder(quarter, "companies", "match", company["attributes"]["name"])
    assert code == 0
    assert company["id"] in {record["id"] for record in json_lines(stdout)}
    _, stdout, _ = await leadfeeder(quarter, "contacts", "search", "--company-id", company["id"])
    assert len(json_lines(stdout)) == 3
    _, stdout, _ = await leadfeeder(quarter, "ip", quarter.world.company_ips(company["id"])[0])
    assert json_lines(stdout)[0]["relationships"]["company"]["id"] == company["id"]


def visits_handler(
    starts: list[datetime | None], zone: tzinfo, status_of_future: int | None = None, first_day: str = ""
) -> Handler:
    """Return a server of the visits of one company, whose days are those of a time zone.

    A visit without a time is one of the day before yesterday. Days before ``first_day`` are rejected.
    """

    async def respond(request: web.Request) -> web.Response:
        rows, today = list[dict[str, object]](), datetime.now(zone).date()
        asked = json.loads(await request.read() or b"null") or request.query
        if status_of_future is not None and asked["end_date"] > str(today):
            return web.json_response({"errors": [{"code": "invalid_parameter"}]}, status=status_of_future)
        if asked["start_date"] < first_day:
            return web.json_response({"errors": [{"code": "invalid_parameter"}]}, status=400)
        company = {"company": {"data": {"type": "company", "id": "7"}}}
        for number, start in enumerate(starts):
            day = start.astimezone(zone).date() if start else today - timedelta(2)
            if asked["start_date"] <= str(day) <= asked["end_date"]:
                visit = {
                    "type": "web_visit",
                    "id": str(number),
                    "attributes": {"started_at": start and start.isoformat()},
                }
                rows.append(visit | {"relationships": company})
        if request.path.endswith("/companies"):
            rows = [{"type": "company_location", "id": "L", "relationships": company}] if rows else []
        page, size = int(request.query["page[num]"]), int(request.query["page[size]"])
        total = {"pagination": {"total_count": len(rows), "page_count": -(-len(rows) // size)}}
        return web.json_response({"data": rows[(page - 1) * size : page * size], "meta": total})

    return respond


async def brief_of(handler: Handler, *words: str) -> list[dict[str, Any]]:
    """Return the companies that ``leadfeeder brief`` prints."""
    async with handler_server(handler) as url:
        options = {"LEADFEEDER_API_KEY": KEY, "LEADFEEDER_BASE_URL": url, "LEADFEEDER_ACCOUNT_ID": "1"}
        code, stdout, stderr = await leadfeeder(None, "brief", *words, "--json", **options)
    assert code == 0, stderr
    return json_lines(stdout)


@pytest.mark.parametrize("hours_ahead", [-8, 0, 11])
@pytest.mark.parametrize("status_of_future", [None, 400, 404])
async def test_brief_with_any_days_of_the_api(hours_ahead: int, status_of_future: int | None) -> None:
    """The last 24 hours are complete in whatever time zone the days of the API are."""
    now = datetime.now(UTC)
    starts: list[datetime | None] = [now - timedelta(minutes=30 * number + 15) for number in range(7 * 48)]
    handler = visits_handler(starts, timezone(timedelta(hours=hours_ahead)), status_of_future)
    (company,) = await brief_of(handler, "--since", "24h")
    assert (company["visits"], company["status"]) == (48, "returning")


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
@pytest.mark.parametrize("hours_ahead", [-11, 0, 13])
async def test_brief_in_a_time_zone_with_a_strict_api(hours_ahead: int, zone: str) -> None:
    """Days that have not begun in the time zone of the API are left out if it rejects them."""
    now = datetime.now(UTC)
    starts: list[datetime | None] = [now - timedelta(minutes=30 * number + 15) for number in range(7 * 48)]
    handler = visits_handler(starts, timezone(timedelta(hours=hours_ahead)), 400)
    (company,) = await brief_of(handler, "--since", "24h", "--tz", zone)
    assert company["visits"] == 48
    first = datetime.combine(now.astimezone(ZoneInfo(zone)).date() - timedelta(2), time(), ZoneInfo(zone))
    (company,) = await brief_of(handler, "--since", "3d", "--tz", zone)
    assert company["visits"] == sum(start >= first for start in starts if start)


async def test_brief_with_visits_without_a_time() -> None:
    """A visit without a time only counts if the API returns it for a day of the period."""
    today = datetime.now(UTC).replace(hour=0, minute=30)
    starts: list[datetime | None] = [today - timedelta(1), today - timedelta(2), None]
    handler = visits_handler(starts, UTC)
    (company,) = await brief_of(handler, "--since", "2d", "--until", "yesterday")
    assert company["visits"] == 1
    (company,) = await brief_of(handler, "--since", "3d", "--until", "yesterday")
    assert company["visits"] == 3


def with_text(handler: Handler, change: Callable[[str], str]) -> Handler:
    """Return a server whose responses are changed."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = await handler(request)
        assert isinstance(response, web.Response)
        return web.json_response(json.loads(change(response.text or "")))

    return respond


async def test_brief_with_visits_without_an_id() -> None:
    """Visits without an id are different visits."""
    complete = visits_handler([datetime.now(UTC)] * 3, UTC)
    handler = with_text(complete, lambda text: re.sub(r'"id": "[012]"', '"id": ""', text))
    (company,) = await brief_of(handler, "--since", "today")
    assert company["visits"] == 3


async def test_brief_with_a_row_that_cannot_be_read() -> None:
    """All other visits are ranked, and the exit code says that some are missing."""
    complete = visits_handler([datetime.now(UTC)] * 3, UTC)
    first = '"attributes": {'
    handler = with_text(complete, lambda text: text.replace(first, f'{first}"visit_length": "x", ', 1))
    async with handler_server(handler) as url:
        options = {"LEADFEEDER_API_KEY": KEY, "LEADFEEDER_BASE_URL": url, "LEADFEEDER_ACCOUNT_ID": "1"}
        code, stdout, stderr = await leadfeeder(None, "brief", "--since", "today", "--json", **options)
    (company,) = json_lines(stdout)
    assert (code, company["visits"]) == (5, 2)
    assert "could not be read" in stderr


@pytest.mark.parametrize(
    ("days_before", "status"),
    [(1, "returning"), (29, "returning"), (31, "re-engaged"), (89, "re-engaged"), (91, "new")],
)
async def test_status_in_a_brief(days_before: int, status: str) -> None:
    """The days before the period decide the status of a company, also those around it that are read themselves."""
    today = datetime.now(UTC).replace(hour=0, minute=30)
    (company,) = await brief_of(visits_handler([today, today - timedelta(days_before)], UTC), "--since", "today")
    assert (company["visits"], company["status"]) == (1, status)


@pytest.mark.parametrize(
    ("days_before", "age", "status"), [(4, 10, "returning"), (33, 45, "re-engaged"), (4, 4, "returning"), (0, 1, "new")]
)
async def test_brief_of_a_young_account(days_before: int, age: int, status: str) -> None:
    """Days before the account that the API rejects are left out, with one message, and all others are read."""
    now = datetime.now(UTC)
    starts: list[datetime | None] = [now, now - timedelta(days_before)]
    handler = visits_handler(starts, UTC, first_day=str((now - timedelta(age)).date()))
    async with handler_server(handler) as url:
        options = {"LEADFEEDER_API_KEY": KEY, "LEADFEEDER_BASE_URL": url, "LEADFEEDER_ACCOUNT_ID": "1"}
        code, stdout, stderr = await leadfeeder(None, "brief", "--since", "24h", "--json", **options)
    assert (code, [company["status"] for company in json_lines(stdout)]) == (0, [status]), stderr
    first_read = (now - timedelta(hours=24 + 12)).date()  # the period may begin a day earlier in the zone of the API
    last = min(first_read - timedelta(1), (now - timedelta(age + 1)).date())
    assert stderr.count("\n") == 2
    assert f"Visits up to {last} are not known, because the API rejected these days.\n" in stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--since", "0001-01-01"), "--since 0001-01-01 is too early"),
        (("--history", "1000000"), "--history 1000000"),
        (("--since", "1d", "--until", "9999-12-31"), "--until 9999-12-31 is too late"),
        (("--since", "1d", "--until", "yesterday"), "--since 1d is after --until yesterday"),
    ],
)
async def test_brief_of_impossible_days(words: tuple[str, ...], message: str) -> None:
    """Days that no calendar has, or that end before they begin, are refused before anything is sent."""
    code, stdout, stderr = await leadfeeder(None, "brief", *words, LEADFEEDER_API_KEY=KEY)
    assert (code, stdout, message in stderr) == (2, "", True), stderr


async def test_brief_in_a_time_zone(sandbox: Sandbox) -> None:
    """``--tz`` decides where days begin, and the time zone is shown."""
    words = ("brief", "--since", "2d", "--json", "--tz")
    code, berlin, stderr = await leadfeeder(sandbox, *words, "Europe/Berlin")
    assert (code, "00:00 Europe/Berlin" in stderr) == (0, True)
    assert {line["last_visit"][-6:] for line in json_lines(berlin)} <= {"+01:00", "+02:00"}
    code, _, stderr = await leadfeeder(sandbox, *words, "Europe/Berln")
    assert (code, "Did you mean 'Europe/Berlin'?" in stderr, "--tz" in stderr) == (2, True, True)
