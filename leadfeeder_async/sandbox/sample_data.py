"""Generated attributes of companies, contacts and visits.

Each function computes its result from a seed and a number, so generated records are never stored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import TypeAlias

Json: TypeAlias = "dict[str, object]"
"""A JSON object."""

FIRST_COMPANY_ID = 159_000_000
FIRST_CONTACT_ID = 52_000_000
CONTACTS_PER_COMPANY = 3
IPS_PER_COMPANY = 2
FIRST_IP = int(IPv4Address("198.18.0.0"))
"""The start of the range that RFC 2544 reserves for benchmarks."""

COMPANIES_PER_GROUP = 10
INDUSTRIES = (
    ("0512", "Industrial automation", "28.99", "Manufacture of other special-purpose machinery n.e.c."),
    ("0620", "Software", "62.01", "Computer programming activities"),
    ("0410", "Logistics", "52.29", "Other transportation support activities"),
    ("0730", "Energy", "35.11", "Production of electricity"),
)
"""Leadfeeder's code and name of each industry, and the NACE code and name. The WZ code adds ``.0``."""
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
LOCATIONS = (
    ("Hamburg", "Hamburg", "Germany", "DE", "20457"),
    ("Munich", "Bavaria", "Germany", "DE", "80331"),
    ("Helsinki", "Uusimaa", "Finland", "FI", "00100"),
    ("Paris", "Ile-de-France", "France", "FR", "75001"),
    ("Vienna", "Vienna", "Austria", "AT", "1010"),
    ("London", "England", "United Kingdom", "GB", "EC1A"),
    ("Boston", "Massachusetts", "United States", "US", "02108"),
)
"""City, region, country, country code and postal code of each location."""

REGION_CODES = ("HH", "BY", "18", "IDF", "9", "ENG", "MA")
"""The second part of the ISO 3166-2 code of each location's region."""

COORDINATES = (
    (53.55, 9.99),
    (48.14, 11.58),
    (60.17, 24.94),
    (48.86, 2.35),
    (48.21, 16.37),
    (51.51, -0.13),
    (42.36, -71.06),
)
"""Latitude and longitude of each location."""

_NAME_STARTS = ("Nord", "Alster", "Blau", "Rhein", "Kern", "Iso", "Vega", "Lumen", "Stein", "Delta", "Orbit", "Hanse")
_NAME_ENDS = ("werk", "tech", "bau", "data", "robotik", "pharma", "logistik", "energie", "optik", "soft")
_LEGAL_FORMS = ("GmbH", "AG", "SE", "Ltd", "Oy", "SAS")
_EMPLOYEE_RANGES = ("1-10", "11-100", "101-500", "501-1.000", "1.001-5.000", "5.001-10.000", "10.000+")
_PAGES = ("/", "/pricing", "/product", "/blog/why", "/contact", "/docs", "/customers")
_FIRST_NAMES = ("Jonas", "Lena", "Aino", "Mika", "Claire", "Paul", "Ines", "Tom")
_LAST_NAMES = ("Petersen", "Vogt", "Virtanen", "Korhonen", "Martin", "Huber", "Wolf", "Berg")
_ROLES = (
    ("Head of Operations", "middle_management", "operations_department"),
    ("Chief Executive Officer", "top_management", "management_department"),
    ("Sales Manager", "middle_management", "sales_department"),
    ("IT Specialist", "employee", "it_department"),
)
_SOURCES = (("google", "organic"), ("google", "cpc"), ("linkedin", "social"), (None, None), ("newsletter", "email"))
_ROLES_IN_GROUP = {0: "group", 1: "group_member", 2: "group_member"}
"""The roles of the first companies of each ten. The others do not belong to a group."""
_UINT64_MASK = (1 << 64) - 1


def hash_mix(seed: int, *parts: int) -> int:
    """Hash ``seed`` and ``parts`` to 64 bits with the splitmix64 finalizer."""
    state = seed & _UINT64_MASK
    for part in parts:
        state = (state + 0x9E3779B97F4A7C15 * (part + 1)) & _UINT64_MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _UINT64_MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _UINT64_MASK
        state ^= state >> 31
    return state


def group_head(number: int) -> int | None:
    """Return the number of the company that heads the group of a company, or None if it is not a group member."""
    position = number % COMPANIES_PER_GROUP
    return number - position if _ROLES_IN_GROUP.get(position) == "group_member" else None


def choose(choices: Sequence[object], bits: int) -> object:
    """Return the element of ``choices`` that ``bits`` selects."""
    return choices[bits % len(choices)]


def company_attributes(seed: int, number: int, last_visit_date: str) -> Json:
    """Return the attributes of a company."""
    bits = hash_mix(seed, 2, number)
    name = f"{choose(_NAME_STARTS, bits)}{choose(_NAME_ENDS, bits >> 8)} {choose(_LEGAL_FORMS, bits >> 16)}"
    website = f"https://www.company-{number}.test"
    location = location_attributes((bits >> 24) % len(LOCATIONS))
    industry_code, industry, nace_code, nace = INDUSTRIES[(bits >> 32) % len(INDUSTRIES)]
    return {
        "name": name,
        "alternative_names": [name.split(maxsplit=1)[0]],
        "url": website,
        "alternative_urls": [],
        "logo_url": f"{website}/logo.png",
        "description": f"{name} works in {industry.lower()}.",
        "keywords": [industry.lower()],
        "industries": {
            "industry": [{"code": industry_code, "name": industry}],
            "wz": [{"code": f"{nace_code}.0", "name": nace}],
            "nace": [{"code": nace_code, "name": nace}],
        },
        "address": {"street_address": f"Main Street {number % 200 + 1}", **location},
        "phones": [{"number": f"+4940{number:06d}"}],
        "social_media_profiles": {"linkedin": [{"url": f"{website}/in"}], "twitter": [], "facebook": []},
        "legal_form": name.rsplit(maxsplit=1)[-1],
        "register": {"status": "active", "id": f"HRB {number}", "location": location["city"]},
        "role": _ROLES_IN_GROUP.get(number % COMPANIES_PER_GROUP, "single_company"),
        "web_engagement": {"last_visit_date": last_visit_date},
        **_company_figures(number, bits),
    }


def _company_figures(number: int, bits: int) -> Json:
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
            "num_contacts": CONTACTS_PER_COMPANY,
        },
    }


def employee_range(employees: int) -> str:
    """Return the API's name of the size class that includes this number of employees."""
    return _EMPLOYEE_RANGES[bisect_right((10, 100, 500, 1_000, 5_000, 10_000), employees - 1)]


def visit_location(seed: int, company_number: int, visit_number: int) -> int:
    """Return the index of the location that a visit came from. One company in eight has two locations."""
    bits = hash_mix(seed, 2, company_number)
    is_second = (bits >> 56) % 8 == 0 and hash_mix(seed, 4, visit_number) % 2 == 1
    return ((bits >> 24) + int(is_second)) % len(LOCATIONS)


def location_attributes(index: int) -> Json:
    """Return the attributes of the location at ``index`` in ``LOCATIONS``."""
    city, region, country, country_code, postal_code = LOCATIONS[index]
    return {
        "city": city,
        "region": region,
        "country": country,
        "country_code": country_code,
        "postal_code": postal_code,
    }


def contact_attributes(seed: int, contact_id: str) -> Json:
    """Return the attributes of a contact."""
    bits = hash_mix(seed, 10, int(contact_id))
    first_name, last_name = str(choose(_FIRST_NAMES, bits)), str(choose(_LAST_NAMES, bits >> 8))
    title, level, department = _ROLES[(bits >> 16) % len(_ROLES)]
    return {
        "name": f"{first_name} {last_name}",
        "first_name": first_name,
        "last_name": last_name,
        "title": title,
        "hierarchy_level": level,
        "departments": [department],
        "email": f"{first_name}.{last_name}.{contact_id}@person.test".lower(),
        "phones": [{"number": f"+4940{int(contact_id) % 1_000_000:06d}"}],
        "meta": {"do_not_contact": False},
    }


def format_visit_id(seed: int, number: int) -> str:
    """Return the id of a visit, formatted as a UUID. Its last 16 hexadecimal digits are ``number``."""
    digits = f"{hash_mix(seed, 6, number):016x}{number:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def first_visitor(company_count: int) -> int:
    """Return the number of the first company that can visit. The first half of the companies never visits."""
    return company_count // 2


def visit_company(seed: int, number: int, company_count: int) -> int:
    """Return the number of the company that made a visit. A few companies visit often."""
    fraction = (hash_mix(seed, 3, number) & 0xFFFFFF) / 0x1000000
    first = first_visitor(company_count)
    return first + int((company_count - first) * fraction * fraction)


def visit_attributes(seed: int, number: int, started_at: str) -> Json:
    """Return the attributes of a visit."""
    bits = hash_mix(seed, 5, number)
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
        "started_at": started_at,
        "identifiers": {"lf_client_id": f"LF1.1.{bits >> 32:08x}", "ga_client_ids": []},
        "visitor": None,
        "engagements": [_engagement(pages, step, bits) for step in range(depth)],
    }


def _engagement(pages: list[str], step: int, bits: int) -> Json:
    path = pages[step]
    return {
        "event_type": "page-view",
        "hostname": "www.seller.test",
        "page": {"path": path, "title": path.strip("/").title() or "Home", "url": f"https://www.seller.test{path}"},
        "previous_page_path": pages[step - 1] if step else None,
        "time_on_page": 5 + (bits >> (20 + step)) % 90,
        "has_met_goals": path == "/contact",
    }


def hostname(url: str) -> str:
    """Return the host of a URL in lower case and without ``www.``."""
    return url.lower().split("//")[-1].split("/")[0].removeprefix("www.")
