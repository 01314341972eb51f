"""The generated companies, contacts and visits of a sandbox, and the changes made to them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from ipaddress import IPv4Address, ip_address
from itertools import accumulate
from typing import overload

from leadfeeder_async.sandbox.sample_data import (
    CONTACTS_PER_COMPANY,
    FIRST_COMPANY_ID,
    FIRST_CONTACT_ID,
    FIRST_IP,
    IPS_PER_COMPANY,
    LOCATIONS,
    Json,
    company_attributes,
    contact_attributes,
    first_visitor,
    format_visit_id,
    group_head,
    hash_mix,
    hostname,
    visit_attributes,
    visit_company,
    visit_location,
)

SECONDS_PER_DAY = 86_400

FIRST_INSERTED_VISIT = 1 << 40
"""The number of the first visit that was added to a day before the last one."""

FIRST_MERGED_ID = 148_000_000
COMPANIES_PER_MERGED_ID = 20


class World:
    """The generated companies, contacts and visits of a sandbox.

    Records are computed from the seed when they are read, so a world can have any number of them. Reading or changing
    the world sends no request and is not recorded in the ledger. Every change appears in the next response. Only
    companies in the second half of ``company_ids()`` visit.

    ::

        sandbox = Sandbox(companies=50, visits=500)
        visit_id = sandbox.world.visit_ids()[0]
        sandbox.world.update_visit(visit_id, page_depth=99)

    Args:
        seed: Determines the generated data. Worlds with the same arguments have the same data.
        companies: The number of companies.
        visits: The number of visits.
        days: The number of days that the visits are spread over. Weekends get fewer visits.
        end_date: The last of these days.
        last_day_seconds: The length of the last day in seconds. Visits on that day start within it.
    """

    seed: int
    """The seed of the generated data."""
    start_date: date
    """The first day with visits."""
    end_date: date
    """The last day with visits."""

    def __init__(
        self,
        *,
        seed: int,
        companies: int,
        visits: int,
        days: int,
        end_date: date,
        last_day_seconds: int = SECONDS_PER_DAY,
    ) -> None:
        self.seed = seed
        self.start_date = end_date - timedelta(days - 1)
        self.end_date = end_date
        self._company_count = companies
        self._generated_visits = visits
        self._last_day_seconds = last_day_seconds
        weights = list(accumulate(self._weight(self.start_date + timedelta(day)) for day in range(days)))
        self._visits_before_day = [0, *(round(visits * weight / weights[-1]) for weight in weights)]
        self._inserted_visits = dict[int, datetime]()
        self._removed_visits = frozenset[int]()
        self._visit_changes = dict[int, Json]()
        self._company_changes = dict[str, Json]()
        self._removed_companies = set[str]()
        self._merged_companies = dict(self._generated_merges())
        self._known_visitors = set[str]()
        self._searched_visits = 0
        """The number of visits whose companies are in ``_known_visitors``."""
        self._searched_inserted_visits = 0
        self._match_index: dict[str, dict[str, list[str]]] | None = None
        self._revision = 0
        """The number of changes to the visits so far, which is part of every cache key."""
        self._company = lru_cache(maxsize=4_096)(self._build_company)
        self._parsed_number = lru_cache(maxsize=256)(self._parse_number)
        self._changed_numbers = lru_cache(maxsize=16)(self._find_changed_numbers)
        self._visitors = lru_cache(maxsize=64)(self._find_visitors)
        self._visits_by_company = lru_cache(maxsize=4)(self._group_visits)
        self._matching_numbers = lru_cache(maxsize=16)(self._find_matching_numbers)

    def _weight(self, day: date) -> int:
        return (100 if day.weekday() < 5 else 33) + hash_mix(self.seed, 1, day.toordinal()) % 40

    # Visits

    @property
    def visit_count(self) -> int:
        """The number of visits."""
        return self._visits_before_day[-1] + len(self._inserted_visits) - len(self._removed_visits)

    def visit_ids(self, start_date: date | None = None, end_date: date | None = None) -> Sequence[str]:
        """Return the ids of visits in order of time.

        The sequence computes an id when it is accessed. Use ``list(...)`` to compare it with a list.

        Args:
            start_date: The first day to include. Default: the first day of the world.
            end_date: The last day to include. Default: the last day of the world.
        """
        return _VisitIds(self.seed, self._numbers_between(start_date or self.start_date, end_date or self.end_date))

    def matching_visit_ids(
        self,
        start_date: date,
        end_date: date,
        *,
        company_id: str | None = None,
        country_codes: frozenset[str] = frozenset(),
        cities: frozenset[str] = frozenset(),
    ) -> Sequence[str]:
        """Return the ids of visits that match all filters, in order of time.

        Args:
            start_date: The first day to include.
            end_date: The last day to include.
            company_id: The company that made the visits. Default: any company.
            country_codes: The countries that the visits came from. Default: any country.
            cities: The cities that the visits came from. Default: any city.
        """
        numbers = self._matching_numbers(self._revision, start_date, end_date, company_id, country_codes, cities)
        return _VisitIds(self.seed, numbers)

    def visit(self, visit_id: str) -> dict[str, object]:
        """Return the attributes of a visit.

        Args:
            visit_id: The visit to read.

        Raises:
            ValueError: If no visit has this id.
        """
        number = self._number_of(visit_id)
        started_at = self._started_at(number).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {**visit_attributes(self.seed, number, started_at), **self._visit_changes.get(number, {})}

    def company_of_visit(self, visit_id: str) -> str:
        """Return the id of the company that made a visit.

        Args:
            visit_id: The visit to read.

        Raises:
            ValueError: If no visit has this id.
        """
        return self._company_of_number(self._number_of(visit_id))

    def location_of_visit(self, visit_id: str) -> int:
        """Return the number of the location that a visit came from, such as 3 for ``loc-3``.

        Args:
            visit_id: The visit to read.

        Raises:
            ValueError: If no visit has this id.
        """
        number = self._number_of(visit_id)
        return self._location_of_number(number, self._company_of_number(number))

    def visitor_companies(self, start_date: date, end_date: date) -> Sequence[tuple[str, int]]:
        """Return the company id and location number of each visitor, in order of the first visit.

        Args:
            start_date: The first day to include.
            end_date: The last day to include.
        """
        return self._visitors(self._revision, start_date, end_date)

    def has_visited(self, company_id: str) -> bool:
        """Return True if a company has visited, even if its visits were removed later.

        Args:
            company_id: The company to look up.
        """
        if not self._was_generated(company_id) or _company_number(company_id) < first_visitor(self._company_count):
            return False
        while company_id not in self._known_visitors:
            if self._searched_visits < self._visits_before_day[-1]:
                number = self._searched_visits
                self._searched_visits += 1
            elif self._searched_inserted_visits < len(self._inserted_visits):
                number = FIRST_INSERTED_VISIT + self._searched_inserted_visits
                self._searched_inserted_visits += 1
            else:
                return False
            self._known_visitors.add(self._company_of_number(number))
        return True

    def visits_of_company(self, company_id: str) -> Sequence[str]:
        """Return the ids of the visits of a company in order of time.

        Args:
            company_id: The company to read.
        """
        return _VisitIds(self.seed, self._visits_by_company(self._revision).get(company_id, ()))

    def add_visits(self, count: int, *, day: date | None = None) -> Sequence[str]:
        """Add generated visits to a day and return their ids.

        Visits added to the last day start at its end, after all other visits. Visits added to an earlier day are
        spread over it, like visits that the tracker reports late. Existing visits do not change.

        Args:
            count: The number of visits to add.
            day: The day on which the visits start. Default: the last day of the world.

        Raises:
            ValueError: If ``count`` is negative or ``day`` is outside the world's days.
        """
        if count < 0:
            raise ValueError(f"count={count!r} must be 0 or more.")
        day = day or self.end_date
        if not self.start_date <= day <= self.end_date:
            raise ValueError(f"day={day} must be from {self.start_date} to {self.end_date}.")
        if day == self.end_date:
            first = self._visits_before_day[-1]
            self._visits_before_day[-1] += count
        else:
            first = FIRST_INSERTED_VISIT + len(self._inserted_visits)
            starts = (_at_second(day, SECONDS_PER_DAY * index // count) for index in range(count))
            self._inserted_visits = {**self._inserted_visits, **dict(enumerate(starts, first))}
        self._revision += 1
        return _VisitIds(self.seed, range(first, first + count))

    def update_visit(self, visit_id: str, **attributes: object) -> None:
        """Replace attributes of a visit.

        Args:
            visit_id: The visit to change.
            **attributes: The attributes to replace or add. Values are sent as they are, even if they are invalid.

        Raises:
            ValueError: If no visit has this id.
        """
        number = self._number_of(visit_id)
        self._visit_changes[number] = {**self._visit_changes.get(number, {}), **attributes}

    def remove_visit(self, visit_id: str) -> None:
        """Remove a visit.

        Args:
            visit_id: The visit to remove.

        Raises:
            ValueError: If no visit has this id.
        """
        self._removed_visits |= {self._number_of(visit_id)}
        self._revision += 1

    # Companies

    def company_ids(self) -> list[str]:
        """Return the ids of all companies that were not removed."""
        ids = (_company_id(number) for number in range(self._company_count))
        return [company_id for company_id in ids if company_id not in self._removed_companies]

    def has_company(self, company_id: str) -> bool:
        """Return True if ``company_ids()`` contains the id. Companies that ``merge_company`` merged are included.

        Args:
            company_id: The id to look up.
        """
        return self._was_generated(company_id) and company_id not in self._removed_companies

    def find_company(self, company_id: str) -> str | None:
        """Return the current id of a company, or None if the id is unknown or the company was removed.

        Args:
            company_id: A current id, or the old id of a merged company.
        """
        if company_id in self._removed_companies:
            return None
        current_id = self.current_company_id(company_id)
        return current_id if self.has_company(current_id) else None

    def merged_ids(self) -> dict[str, str]:
        """Return the current id of each merged company by its old id.

        Some companies of every world were merged before it starts: one old id for each 20 companies, and at least one.
        Every second one is a text id of the older API. ``merge_company`` adds more.

        ::

            old_id, current_id = next(iter(sandbox.world.merged_ids().items()))
            response = await lf.companies.get(old_id)
            assert response.data.id == current_id
        """
        return {old_id: self.current_company_id(old_id) for old_id in self._merged_companies}

    def group_company_of(self, company_id: str) -> str | None:
        """Return the id of the company that heads the group of a company, or None if it is not a group member.

        Args:
            company_id: The company to read.
        """
        head = group_head(_company_number(company_id))
        return None if head is None else self.find_company(_company_id(head))

    def company(self, company_id: str) -> dict[str, object]:
        """Return the attributes of a company. The attributes of a removed company can still be read.

        Args:
            company_id: The company to read.

        Raises:
            ValueError: If no company has or had this id.
        """
        self._check_company(company_id)
        return {**self._company(company_id), **self._company_changes.get(company_id, {})}

    def current_company_id(self, company_id: str) -> str:
        """Return the id of the company that this one was merged into, or ``company_id`` if it was not merged.

        Args:
            company_id: The company to read.
        """
        seen = set[str]()
        while company_id in self._merged_companies and company_id not in seen:
            seen.add(company_id)
            company_id = self._merged_companies[company_id]
        return company_id

    def location_of_company(self, company_id: str) -> int:
        """Return the number of the location of a company's IP addresses, such as 3 for ``iploc-3``.

        Args:
            company_id: The company to read.
        """
        return visit_location(self.seed, _company_number(company_id), 0)

    def company_ips(self, company_id: str) -> list[str]:
        """Return the IP addresses of a company.

        Args:
            company_id: The company to read.
        """
        first = FIRST_IP + IPS_PER_COMPANY * _company_number(company_id)
        return [str(IPv4Address(first + index)) for index in range(IPS_PER_COMPANY)]

    def company_at_ip(self, ip: str) -> str | None:
        """Return the id of the company that has an IP address, or None if no company has it.

        Args:
            ip: An IPv4 or IPv6 address.
        """
        address = ip_address(ip)
        if address.version != 4 or int(address) < FIRST_IP:
            return None
        company_id = _company_id((int(address) - FIRST_IP) // IPS_PER_COMPANY)
        return company_id if self.has_company(company_id) else None

    @property
    def match_index(self) -> dict[str, dict[str, list[str]]]:
        """Company ids by lowercase ``vat_id``, ``hostname`` and ``name``.

        The index is built when it is first used, which takes a while if there are thousands of companies.
        """
        if self._match_index is None:
            self._match_index = self._build_match_index()
        return self._match_index

    def update_company(self, company_id: str, **attributes: object) -> None:
        """Replace attributes of a company.

        Args:
            company_id: The company to change.
            **attributes: The attributes to replace or add. Values are sent as they are, even if they are invalid.

        Raises:
            ValueError: If no company has or had this id.
        """
        self._check_company(company_id)
        self._company_changes[company_id] = {**self._company_changes.get(company_id, {}), **attributes}
        self._match_index = None

    def merge_company(self, company_id: str, into: str) -> None:
        """Merge a company into another. Requests for its old id then return the other company.

        Args:
            company_id: The company to merge.
            into: The company to return instead.

        Raises:
            ValueError: If no company has or had one of the ids.
        """
        for checked_id in (company_id, into):
            self._check_company(checked_id)
        self._merged_companies[company_id] = into

    def remove_company(self, company_id: str) -> None:
        """Remove a company.

        Its visits remain, and matching still returns its id, like a search index that is not up to date.

        Args:
            company_id: The company to remove.

        Raises:
            ValueError: If no company has or had this id.
        """
        self._check_company(company_id)
        self._removed_companies.add(company_id)

    # Contacts

    def contact_ids(self) -> list[str]:
        """Return the ids of all contacts."""
        return [str(FIRST_CONTACT_ID + number) for number in range(CONTACTS_PER_COMPANY * self._company_count)]

    def has_contact(self, contact_id: str) -> bool:
        """Return True if a contact has this id.

        Args:
            contact_id: The id to look up.
        """
        number = int(contact_id) - FIRST_CONTACT_ID if contact_id.isdecimal() else -1
        return 0 <= number < CONTACTS_PER_COMPANY * self._company_count

    def contact(self, contact_id: str) -> dict[str, object]:
        """Return the attributes of a contact.

        Args:
            contact_id: The contact to read.

        Raises:
            ValueError: If no contact has this id.
        """
        if not self.has_contact(contact_id):
            raise ValueError(f"This sandbox has no contact {contact_id!r}. Use an id from world.contact_ids().")
        return contact_attributes(self.seed, contact_id)

    def company_of_contact(self, contact_id: str) -> str:
        """Return the id of the company that a contact works for.

        Args:
            contact_id: The contact to read.
        """
        return _company_id((int(contact_id) - FIRST_CONTACT_ID) // CONTACTS_PER_COMPANY)

    # Internals. Visits are numbered from 0 in order of time. Inserted visits are numbered from FIRST_INSERTED_VISIT.

    def _number_of(self, visit_id: str) -> int:
        number = self._parsed_number(visit_id)
        if not self._has_visit(number):
            raise ValueError(f"This sandbox has no visit {visit_id!r}. Use an id from world.visit_ids().")
        return number

    def _parse_number(self, visit_id: str) -> int:
        try:
            number = int(visit_id[-17:].replace("-", ""), 16)
        except ValueError:
            return -1
        return number if format_visit_id(self.seed, number) == visit_id else -1

    def _has_visit(self, number: int) -> bool:
        is_known = 0 <= number < self._visits_before_day[-1] or number in self._inserted_visits
        return is_known and number not in self._removed_visits

    def _numbers_between(self, start_date: date, end_date: date) -> Sequence[int]:
        first_day = max(0, (start_date - self.start_date).days)
        day_after = min(len(self._visits_before_day) - 1, (end_date - self.start_date).days + 1)
        if first_day >= day_after:
            return range(0)
        if self._inserted_visits or self._removed_visits:
            return self._changed_numbers(self._revision, first_day, day_after)
        return range(self._visits_before_day[first_day], self._visits_before_day[day_after])

    def _find_changed_numbers(self, _revision: int, first_day: int, day_after: int) -> Sequence[int]:
        start, end = (_at_second(self.start_date + timedelta(day), 0) for day in (first_day, day_after))
        numbers = [
            *range(self._visits_before_day[first_day], self._visits_before_day[day_after]),
            *(number for number, started_at in self._inserted_visits.items() if start <= started_at < end),
        ]
        numbers.sort(key=lambda number: (self._started_at(number), number))
        return [number for number in numbers if number not in self._removed_visits]

    def _started_at(self, number: int) -> datetime:
        if number in self._inserted_visits:
            return self._inserted_visits[number]
        day = bisect_right(self._visits_before_day, number) - 1
        is_last_day = day == len(self._visits_before_day) - 2
        day_seconds = self._last_day_seconds if is_last_day else SECONDS_PER_DAY
        if number >= self._generated_visits:
            second = max(0, day_seconds - 1)
        else:
            first = self._visits_before_day[day]
            after = self._generated_visits if is_last_day else self._visits_before_day[day + 1]
            second = day_seconds * (number - first) // (after - first)
        return _at_second(self.start_date + timedelta(day), second)

    def _company_of_number(self, number: int) -> str:
        return _company_id(visit_company(self.seed, number, self._company_count))

    def _location_of_number(self, number: int, company_id: str) -> int:
        return visit_location(self.seed, _company_number(company_id), number)

    def _find_visitors(self, _revision: int, start_date: date, end_date: date) -> tuple[tuple[str, int], ...]:
        visitors = dict[tuple[str, int], None]()
        for number in self._numbers_between(start_date, end_date):
            company_id = self._company_of_number(number)
            visitors[company_id, self._location_of_number(number, company_id)] = None
        return tuple(visitors)

    def _find_matching_numbers(
        self,
        _revision: int,
        start_date: date,
        end_date: date,
        company_id: str | None,
        country_codes: frozenset[str],
        cities: frozenset[str],
    ) -> Sequence[int]:
        matching = array("Q")
        for number in self._numbers_between(start_date, end_date):
            visitor = self._company_of_number(number)
            city, _, _, country_code, _ = LOCATIONS[self._location_of_number(number, visitor)]
            if (
                company_id in {None, visitor}
                and (not country_codes or country_code in country_codes)
                and (not cities or city in cities)
            ):
                matching.append(number)
        return matching

    def _group_visits(self, _revision: int) -> dict[str, list[int]]:
        visits = dict[str, list[int]]()
        for number in self._numbers_between(self.start_date, self.end_date):
            visits.setdefault(self._company_of_number(number), []).append(number)
        return visits

    def _generated_merges(self) -> Iterator[tuple[str, str]]:
        for index in range(max(1, self._company_count // COMPANIES_PER_MERGED_ID)):
            number = hash_mix(self.seed, 11, index) % self._company_count
            text_id = f"lf{hash_mix(self.seed, 12, index):x}"
            yield text_id if index % 2 else str(FIRST_MERGED_ID + index), _company_id(number)

    def _was_generated(self, company_id: str) -> bool:
        return company_id.isdecimal() and 0 <= _company_number(company_id) < self._company_count

    def _check_company(self, company_id: str) -> None:
        if not self._was_generated(company_id):
            raise ValueError(f"This sandbox has no company {company_id!r}. Use an id from world.company_ids().")

    def _build_company(self, company_id: str) -> Json:
        return company_attributes(self.seed, _company_number(company_id), str(self.end_date))

    def _build_match_index(self) -> dict[str, dict[str, list[str]]]:
        index: dict[str, dict[str, list[str]]] = {"vat_id": {}, "hostname": {}, "name": {}}
        for number in range(self._company_count):
            company_id = _company_id(number)
            company = self.company(company_id)
            keys = {
                "vat_id": str(company["vat_id"]),
                "hostname": hostname(str(company["url"])),
                "name": str(company["name"]),
            }
            for kind, key in keys.items():
                index[kind].setdefault(key.lower(), []).append(company_id)
        return index


class _VisitIds(Sequence[str]):
    """The ids of numbered visits, computed when they are accessed."""

    def __init__(self, seed: int, numbers: Sequence[int]) -> None:
        self._seed = seed
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [format_visit_id(self._seed, number) for number in self._numbers[index]]
        return format_visit_id(self._seed, self._numbers[index])

    def __iter__(self) -> Iterator[str]:
        return (format_visit_id(self._seed, number) for number in self._numbers)


def _company_id(number: int) -> str:
    return str(FIRST_COMPANY_ID + number)


def _company_number(company_id: str) -> int:
    return int(company_id) - FIRST_COMPANY_ID


def _at_second(day: date, second: int) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(seconds=second)
