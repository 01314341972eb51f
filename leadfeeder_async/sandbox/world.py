"""A made-up world: companies and visits, computed from a seed whenever they are asked for.

Nothing is held in memory but the number of visits of each day, so a world can have any size.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, ip_address
from itertools import accumulate

FIRST_COMPANY = 159_000_000
"""Company ids count up from here."""

FIRST_CONTACT = 52_000_000
"""Contact ids count up from here."""

CONTACTS_EACH = 3
"""How many people of each company are known."""

FIRST_ADDRESS = int(IPv4Address("198.18.0.0"))
"""IP addresses count up from here, two for each company: the range that is kept for benchmarks."""

_MASK = (1 << 64) - 1

_FIRST = ("Nord", "Alster", "Blau", "Rhein", "Kern", "Iso", "Vega", "Lumen", "Stein", "Delta", "Orbit", "Hanse")
_SECOND = ("werk", "tech", "bau", "data", "robotik", "pharma", "logistik", "energie", "optik", "soft")
_FORMS = ("GmbH", "AG", "SE", "Ltd", "Oy", "SAS")
_PLACES = (
    ("Hamburg", "Hamburg", "Germany", "DE", "20457"),
    ("Munich", "Bavaria", "Germany", "DE", "80331"),
    ("Helsinki", "Uusimaa", "Finland", "FI", "00100"),
    ("Paris", "Ile-de-France", "France", "FR", "75001"),
    ("Vienna", "Vienna", "Austria", "AT", "1010"),
    ("London", "England", "United Kingdom", "GB", "EC1A"),
    ("Boston", "Massachusetts", "United States", "US", "02108"),
)
INDUSTRIES = (("0512", "Industrial automation"), ("0620", "Software"), ("0410", "Logistics"), ("0730", "Energy"))
_RANGES = ("1-10", "11-100", "101-500", "501-1.000", "1.001-5.000", "5.001-10.000", "10.000+")
_PAGES = ("/", "/pricing", "/product", "/blog/why", "/contact", "/docs", "/customers")
_FIRST_NAMES = ("Jonas", "Lena", "Aino", "Mika", "Claire", "Paul", "Ines", "Tom")
_LAST_NAMES = ("Petersen", "Vogt", "Virtanen", "Korhonen", "Martin", "Huber", "Wolf", "Berg")
_ROLES = (
    ("Head of Operations", "middle_management", "operations_department"),
    ("Chief Executive Officer", "top_management", "management_department"),
    ("Sales Manager", "middle_management", "sales_department"),
    ("IT Specialist", "employee", "it_department"),
)
SIGNAL_CATEGORIES = (
    "business_expansion",
    "competitive_landscape",
    "event_participation",
    "industry_recognition",
    "leadership_changes",
    "corporate_challenges",
    "mergers_and_acquisitions",
    "customer_acquisition",
    "investment_activity",
    "product_and_service_development",
    "partnerships_and_collaborations",
    "financial_struggles",
    "job_ads",
    "register_updates",
    "regulatory_compliance_updates",
)
_SOURCES = (("google", "organic"), ("google", "cpc"), ("linkedin", "social"), (None, None), ("newsletter", "email"))


def hash_mix(seed: int, *parts: int) -> int:
    """Return 64 well-stirred bits of ``seed`` and ``parts`` (the splitmix64 finisher)."""
    state = seed & _MASK
    for part in parts:
        state = (state + 0x9E3779B97F4A7C15 * (part + 1)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def choose(choices: Sequence[object], bits: int) -> object:
    """Choose one by some bits."""
    return choices[bits % len(choices)]


class World:
    """Companies and visits of one seed, ending on ``end_date``."""

    def __init__(self, seed: int, companies: int, visits: int, days: int, end_date: date) -> None:
        self.seed = seed
        self.companies = companies
        self.visits = visits
        self.end_date = end_date
        self.start_date = end_date - timedelta(days - 1)
        self.last_day = 86_400
        """How many seconds long the last day is so far."""
        weights = [self._weight(self.start_date + timedelta(day)) for day in range(days)]
        shares = list(accumulate(weights))
        self._first_of_day = [0, *(round(visits * share / shares[-1]) for share in shares)]
        self.company = lru_cache(maxsize=4_096)(self._company)
        self._merged = dict[str, str]()

    def _weight(self, day: date) -> int:
        """Weekends see a third of the visits."""
        return (100 if day.weekday() < 5 else 33) + hash_mix(self.seed, 1, day.toordinal()) % 40

    def add_visits(self, number: int) -> None:
        """Let more visits come in on the last day."""
        self.visits += number
        self._first_of_day[-1] += number

    def has_company(self, company_id: str) -> bool:
        """Whether there is a company of that id."""
        return company_id.isdecimal() and 0 <= int(company_id) - FIRST_COMPANY < self.companies

    def merge(self, old: str, into: str) -> None:
        """Let one company live on in another, as the API merges records."""
        self._merged[old] = into

    def current_id(self, company_id: str) -> str:
        """Return the id under which a company lives now."""
        return self._merged.get(company_id, company_id)

    @cached_property
    def companies_by(self) -> dict[str, dict[str, list[str]]]:
        """The ids of companies by ``vat_id``, by ``host`` and by ``name``, each in lower case."""
        found: dict[str, dict[str, list[str]]] = {"vat_id": {}, "host": {}, "name": {}}
        for number in range(self.companies):
            one = str(FIRST_COMPANY + number)
            known = self._company(one)
            texts = {"vat_id": str(known["vat_id"]), "host": host_of(str(known["url"])), "name": str(known["name"])}
            for kind, text in texts.items():
                found[kind].setdefault(text.lower(), []).append(one)
        return found

    def _company(self, company_id: str) -> dict[str, object]:
        number = int(company_id) - FIRST_COMPANY
        bits = hash_mix(self.seed, 2, number)
        name = f"{choose(_FIRST, bits)}{choose(_SECOND, bits >> 8)} {choose(_FORMS, bits >> 16)}"
        website = f"https://www.company-{number}.test"
        whole = place((bits >> 24) % len(_PLACES))
        code, industry = INDUSTRIES[(bits >> 32) % len(INDUSTRIES)]
        return {
            "name": name,
            "alternative_names": [name.split(maxsplit=1)[0]],
            "url": website,
            "alternative_urls": [],
            "logo_url": f"{website}/logo.png",
            "description": f"{name} works in {industry.lower()}.",
            "keywords": [industry.lower()],
            "industries": {"industry": [{"code": code, "name": industry}], "wz": [], "nace": []},
            "address": {"street_address": f"Main Street {number % 200 + 1}", **whole},
            "phones": [{"number": f"+4940{number:06d}"}],
            "social_media_profiles": {"linkedin": [{"url": f"{website}/in"}], "twitter": [], "facebook": []},
            "legal_form": name.rsplit(maxsplit=1)[-1],
            "register": {"status": "active", "id": f"HRB {number}", "location": whole["city"]},
            "role": "single_company",
            "web_engagement": {"last_visit_date": str(self.end_date)},
            **_figures(number, bits),
        }

    def has_contact(self, contact_id: str) -> bool:
        """Whether there is a contact of that id."""
        number = int(contact_id) - FIRST_CONTACT if contact_id.isdecimal() else -1
        return 0 <= number < CONTACTS_EACH * self.companies

    def contact_ids(self) -> list[str]:
        """Return the ids of all contacts."""
        return [str(FIRST_CONTACT + number) for number in range(CONTACTS_EACH * self.companies)]

    def employer_of(self, contact_id: str) -> str:
        """Return the id of the company where a contact works."""
        return str(FIRST_COMPANY + (int(contact_id) - FIRST_CONTACT) // CONTACTS_EACH)

    def contact(self, contact_id: str) -> dict[str, object]:
        """Return the attributes of a contact."""
        bits = hash_mix(self.seed, 10, int(contact_id))
        first, last = str(choose(_FIRST_NAMES, bits)), str(choose(_LAST_NAMES, bits >> 8))
        title, level, department = _ROLES[(bits >> 16) % len(_ROLES)]
        return {
            "name": f"{first} {last}",
            "first_name": first,
            "last_name": last,
            "title": title,
            "hierarchy_level": level,
            "departments": [department],
            "email": f"{first}.{last}.{contact_id}@person.test".lower(),
            "phones": [{"number": f"+4940{int(contact_id) % 1_000_000:06d}"}],
            "meta": {"do_not_contact": False},
        }

    def visits_between(self, start: date, end: date) -> range:
        """Return the numbers of the visits from ``start`` to ``end``, both included."""
        first = max(0, (start - self.start_date).days)
        after = min(len(self._first_of_day) - 1, (end - self.start_date).days + 1)
        if first >= after:
            return range(0)
        return range(self._first_of_day[first], self._first_of_day[after])

    def company_of(self, visit: int) -> str:
        """Return the id of the company behind a visit; a few companies visit often."""
        share = (hash_mix(self.seed, 3, visit) & 0xFFFFFF) / 0x1000000
        return str(FIRST_COMPANY + int(self.companies * share * share))

    def place_of(self, company_id: str, visit: int = 0) -> int:
        """Return where a company visits from; one in eight has two places."""
        bits = hash_mix(self.seed, 2, int(company_id) - FIRST_COMPANY)
        second = (bits >> 56) % 8 == 0 and hash_mix(self.seed, 4, visit) % 2 == 1
        return ((bits >> 24) + int(second)) % len(_PLACES)

    def visit(self, visit: int) -> dict[str, object]:
        """Return the attributes of a visit."""
        bits = hash_mix(self.seed, 5, visit)
        source, medium = _SOURCES[bits % len(_SOURCES)]
        depth = 1 + (bits >> 8) % 4
        pages = [str(choose(_PAGES, bits >> (12 + 4 * step))) for step in range(depth)]
        return {
            "source": source,
            "medium": medium,
            "campaign": None,
            "keyword": None,
            "referring_url": f"https://www.{source}.test/" if source else None,
            "landing_page_path": pages[0],
            "device_type": "mobile" if bits >> 40 & 3 == 0 else "desktop",
            "visit_length": 20 * depth + (bits >> 44) % 100,
            "page_depth": depth,
            "started_at": self._started_at(visit).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "identifiers": {"lf_client_id": f"LF1.1.{bits >> 32:08x}", "ga_client_ids": []},
            "visitor": None,
            "engagements": [_engagement(pages, step, bits) for step in range(depth)],
        }

    def visit_id(self, visit: int) -> str:
        """Return a visit's id, in the form of a UUID."""
        text = f"{hash_mix(self.seed, 6, visit):016x}{visit:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _started_at(self, visit: int) -> datetime:
        day = bisect_right(self._first_of_day, visit) - 1
        first, after = self._first_of_day[day], self._first_of_day[day + 1]
        length = self.last_day if day == len(self._first_of_day) - 2 else 86_400
        second = length * (visit - first) // (after - first)
        return datetime.combine(self.start_date + timedelta(day), time(), UTC) + timedelta(seconds=second)

    @lru_cache(maxsize=64)  # noqa: B019 - a world lives as long as its sandbox
    def visitors_between(self, start: date, end: date) -> tuple[tuple[str, int], ...]:
        """Return the companies and places behind the visits of some days, in order of their first visit."""
        pairs = dict[tuple[str, int], None]()
        for visit in self.visits_between(start, end):
            company_id = self.company_of(visit)
            pairs[company_id, self.place_of(company_id, visit)] = None
        return tuple(pairs)

    @lru_cache(maxsize=16)  # noqa: B019 - a world lives as long as its sandbox
    def visits_matching(
        self, start: date, end: date, company_id: str | None, countries: frozenset[str], cities: frozenset[str]
    ) -> Sequence[int]:
        """Return the numbers of the visits that pass all filters."""
        found = array("Q")
        for visit in self.visits_between(start, end):
            visitor = self.company_of(visit)
            place = _PLACES[self.place_of(visitor, visit)]
            if (
                company_id in {None, visitor}
                and (not countries or place[3] in countries)
                and (not cities or place[0] in cities)
            ):
                found.append(visit)
        return found


def _figures(number: int, bits: int) -> dict[str, object]:
    employees = 3 + (bits >> 40) % 9_000
    revenue = float(employees * 120_000)
    score = (bits >> 48) % 100 / 10
    return {
        "employee_count": employees,
        "employee_range": employee_range(employees),
        "revenue": {"value": revenue, "value_eur": revenue, "currency": "EUR", "year": 2025, "estimated": False},
        "earnings": None,
        "net_worth": None,
        "founded_year": 1950 + (bits >> 44) % 70,
        "vat_id": f"DE{100_000_000 + number}",
        "intent": {
            "score": score,
            "score_tier": "high" if score >= 7 else "medium" if score >= 4 else "low",
            "last_updated_at": "2026-11-18T04:00:00Z",
        },
        "meta": {
            "do_not_contact": False,
            "has_phones": True,
            "has_mail": True,
            "has_contacts": True,
            "num_contacts": 3,
        },
    }


def _engagement(pages: list[str], step: int, bits: int) -> dict[str, object]:
    path = pages[step]
    return {
        "event_type": "page-view",
        "hostname": "www.seller.test",
        "page": {"path": path, "title": path.strip("/").title() or "Home", "url": f"https://www.seller.test{path}"},
        "previous_page_path": pages[step - 1] if step else None,
        "time_on_page": 5 + (bits >> (20 + step)) % 90,
        "has_met_goals": path == "/contact",
    }


def ip_of(company_id: str, number: int) -> str:
    """Return one of the two addresses of a company."""
    return str(IPv4Address(FIRST_ADDRESS + 2 * (int(company_id) - FIRST_COMPANY) + number))


def company_at(ip: str) -> str | None:
    """Return the id of the company whose address would be ``ip``."""
    address = ip_address(ip)
    number = int(address) - FIRST_ADDRESS
    return str(FIRST_COMPANY + number // 2) if address.version == 4 and number >= 0 else None


def host_of(url: str) -> str:
    """Return the host of an address, without its ``www``."""
    return url.lower().split("//")[-1].split("/")[0].removeprefix("www.")


def employee_range(employees: int) -> str:
    """Return the size class of a number of employees, as the API writes it."""
    return _RANGES[bisect_right((10, 100, 500, 1_000, 5_000, 10_000), employees - 1)]


def place(number: int) -> dict[str, object]:
    """Return the attributes of a place."""
    city, region, country, country_code, postal_code = _PLACES[number]
    return {
        "city": city,
        "region": region,
        "country": country,
        "country_code": country_code,
        "postal_code": postal_code,
    }
