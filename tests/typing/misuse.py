"""Mistakes of users. Type checkers must report each marked line, and nothing runs this file.

An ignore comment without an error is an error in strict mode, so this file fails if a mistake is not reported.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from leadfeeder_async import AsyncLeadfeeder


async def misspelled_filters(lf: AsyncLeadfeeder) -> None:
    lf.companies.search(filters={"has_emial": True})  # type: ignore[arg-type]
    lf.companies.search(locations=[{"country_codes": "DE"}])  # type: ignore[list-item]
    lf.companies.search(locations=[{"country_code": ["DE"]}])  # type: ignore[list-item]
    lf.companies.search(industries={"code": ["28.99"]})  # type: ignore[arg-type]
    lf.companies.search(revenue={"minimum": 1})  # type: ignore[arg-type]
    lf.companies.search(employee_ranges=["501-1000"])  # type: ignore[list-item]
    lf.companies.search(countries=["DE"])  # type: ignore[call-arg]
    lf.companies.search_signals(company_ids=["1"], categories=["job_adds"])  # type: ignore[list-item]
    lf.companies.search_signals(company_ids=["1"], event_date={"start": "2026-11-01"})  # type: ignore[arg-type]
    await lf.companies.match([{"company_nmae": "Nordlicht"}])  # type: ignore[list-item]
    lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-02", filters={"country": "DE"})  # type: ignore[arg-type]


async def misspelled_names(lf: AsyncLeadfeeder) -> None:
    await lf.companies.get("1", include=["tgas"])  # type: ignore[list-item]
    await lf.contacts.get("1", include=["tags"])  # type: ignore[list-item]
    await lf.lists.create(name="x", scope="companies")  # type: ignore[arg-type]


async def wrong_types(lf: AsyncLeadfeeder) -> None:
    await lf.companies.get(159001425)  # type: ignore[arg-type]
    await lf.companies.get(None)  # type: ignore[arg-type]
    lf.tags.list(limit="5")  # type: ignore[arg-type]
    lf.companies.get_many([1])  # type: ignore[list-item]
    await lf.tags.create()  # type: ignore[call-arg]


async def synchronous_use(lf: AsyncLeadfeeder) -> None:
    pager = lf.tags.list()
    await pager  # type: ignore[misc]
    for _ in pager:  # type: ignore[attr-defined]
        pass
    len(pager)  # type: ignore[arg-type]
    pager[0]  # type: ignore[index]
    with lf:  # type: ignore[attr-defined]
        pass
    async for _ in lf.accounts.list():  # type: ignore[attr-defined]
        pass
