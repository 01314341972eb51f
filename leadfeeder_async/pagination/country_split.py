"""Days over the row limit, read in groups of countries: which groups, decided from their counts.

The API returns at most 10,000 rows of one search, and a day is its smallest date range. The visits of a day are
therefore searched by country too. Visits without a country are only in the search of the whole day.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from leadfeeder_async._core.endpoint import ApiRequest

_CODES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ "
    "CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR "
    "GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO "
    "JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR "
    "MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO "
    "RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV "
    "TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW"
)
COUNTRY_CODES = tuple(_CODES.split())
"""The codes of ISO 3166-1, and XK for Kosovo."""

_UNINHABITED = "BV"
"""A country without visitors. If it has as many rows as all countries, the server ignores the filter."""

_COUNT_MARGIN = 1.1
"""How far the counts of two halves may exceed that of the whole, because visits arrive meanwhile."""


CountInCountries: TypeAlias = Callable[[tuple[str, ...]], Awaitable[int | None]]
"""Returns the number of rows of some countries, or None if the server does not report it."""


class CountryGroup(msgspec.Struct, frozen=True):
    """Countries that are searched together, and the number of their rows."""

    codes: tuple[str, ...]
    count: int


async def find_country_groups(
    codes: tuple[str, ...], max_search_rows: int, count: CountInCountries
) -> list[CountryGroup] | None:
    """Return groups of countries that are each under the row limit, without those that have no rows.

    A single country over the limit is a group as well. For each 10,000 rows, at most 16 counts are needed, plus 2.

    Args:
        codes: The countries.
        max_search_rows: The row limit.
        count: Returns the number of rows of some countries, or None if the server does not report it.

    Returns:
        The groups. None if the counts show that the server ignores the filter, or does not count.
    """
    total = await count(codes)
    if total is None or total < 0:
        return None
    if total >= max_search_rows and _UNINHABITED in codes and await count((_UNINHABITED,)) == total:
        return None
    pending, groups = [CountryGroup(codes, total)], list[CountryGroup]()
    while pending:
        group = pending.pop()
        if not group.count:
            continue
        if group.count < max_search_rows or len(group.codes) == 1:
            groups.append(group)
            continue
        middle = len(group.codes) // 2
        halves = list[CountryGroup]()
        for half in (group.codes[middle:], group.codes[:middle]):
            rows = await count(half)
            if rows is None or rows < 0:
                return None
            halves.append(CountryGroup(half, rows))
        if group.count > max_search_rows and sum(half.count for half in halves) > group.count * _COUNT_MARGIN:
            return None
        pending.extend(halves)
    return groups


def requested_countries(request: ApiRequest[bytes]) -> tuple[str, ...]:
    """Return the countries that a search is restricted to, or all."""
    found = _filters(request).get(request.endpoint.split_filter)
    return msgspec.convert(found, tuple[str, ...]) if found else COUNTRY_CODES


def with_countries(request: ApiRequest[bytes], codes: tuple[str, ...]) -> ApiRequest[bytes]:
    """Return the same search, restricted to some countries."""
    return request.with_body_field("filters", {**_filters(request), request.endpoint.split_filter: codes})


def _filters(request: ApiRequest[bytes]) -> dict[str, object]:
    return msgspec.json.decode(request.body or b"{}", type=_Body).filters


class _Body(msgspec.Struct, frozen=True):
    filters: dict[str, object] = msgspec.field(default_factory=dict[str, object])
