"""What a row is looked up by: pure functions from a row to a key, or to the reason why it has none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

By: TypeAlias = Literal["domain", "name", "ip", "vat"]
"""What rows are looked up by."""


class FileRow(msgspec.Struct, frozen=True):
    """A row of a file."""

    cells: str | Mapping[str, object]
    """Its key alone, or its columns by name."""
    line: int
    """The line of the file where it begins, from 1."""
    source: str = ""
    """The JSON text that it came as."""
    problem: str = ""
    """Why it cannot be used, whatever its key."""

    @property
    def as_json(self) -> msgspec.Raw:
        """The row as it came, as JSON."""
        return msgspec.Raw(
            self.source.encode() if self.source else msgspec.json.encode(_escape_surrogates_in(self.cells))
        )


Row: TypeAlias = "str | IPv4Address | IPv6Address | Mapping[str, object] | FileRow"
"""One row to enrich: its key alone, or its columns by name."""

COLUMN_ALIASES: dict[By, tuple[str, ...]] = {
    "domain": (
        "domain", "website", "url", "homepage", "web", "site", "company_domain", "company_url", "website_url",
        "company_website", "webseite", "email",
    ),
    "name": (
        "company_name", "company", "name", "organization", "organisation", "account_name", "account", "firma",
        "organization_name",
    ),
    "vat": ("vat_id", "vat", "vat_number", "vatid", "tax_id", "ust_id", "ustid", "ust_idnr"),
    "ip": ("ip", "ip_address", "ipaddress", "ip_addr", "client_ip", "remote_addr"),
}  # fmt: skip
"""The usual names of the column that holds the key, the likeliest first."""

LOCATION_ALIASES = {
    "city": ("city", "town", "ort", "stadt"),
    "postal_code": ("postal_code", "zip", "zip_code", "zipcode", "postcode", "plz"),
    "country": ("country_code", "country", "land"),
}
"""The columns that tell companies of one name apart."""

KNOWN_NAMES = frozenset(name for names in (*COLUMN_ALIASES.values(), *LOCATION_ALIASES.values()) for name in names)
"""Every column name that means something here."""

NON_PUBLIC_NETWORKS = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "0.0.0.0/8", "fc00::/7"))
)
"""Addresses that any network may use inside: no one can say who is behind them."""


class Key(msgspec.Struct, frozen=True):
    """What one row is looked up by."""

    value: str
    """The key in its one form; as it came where it cannot be used."""
    match_fields: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """What is sent to be matched."""
    problem: str = ""
    """Why it cannot be used."""

    @property
    def identity(self) -> bytes:
        """The same for keys that ask the same."""
        return msgspec.json.encode(sorted(self.match_fields.items()))


def key_of(row: Row, by: By, column: str | None = None) -> Key:
    """Return the key of a row, without asking anyone; its ``problem`` says why there is none."""
    if isinstance(row, FileRow):
        key = key_of(row.cells, by, column)
        return replace(key, problem=row.problem) if row.problem else key
    if not isinstance(row, Mapping):
        return _key(str(row), by, {})
    columns = {normalize_column_name(name): str(value) for name, value in row.items() if isinstance(value, str | int)}
    name = normalize_column_name(column) if column is not None else find_column(columns, by)
    if name is None or name not in columns:
        return Key("", problem=f"there is no {name or by} in it")
    return _key(columns[name], by, _place(columns))


def escape_surrogates(text: str) -> str:
    r"""Write halves of characters, which no file can hold, as ``\ud800`` and the like; all other text stays."""
    return text.encode("utf-8", "backslashreplace").decode()


def _escape_surrogates_in(cells: str | Mapping[str, object]) -> str | dict[str, object]:
    if isinstance(cells, str):
        return escape_surrogates(cells)
    return {
        escape_surrogates(name): escape_surrogates(cell) if isinstance(cell, str) else cell
        for name, cell in cells.items()
    }


def find_column(names: Container[str], by: By) -> str | None:
    """Guess which of some plain column names holds the key."""
    return next((name for name in COLUMN_ALIASES[by] if name in names), None)


def normalize_column_name(name: str) -> str:
    """Return a column's name in its plain form: ``Company Name`` is ``company_name``."""
    return re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_")


def _place(columns: Mapping[str, str]) -> dict[str, str]:
    found = {
        kind: " ".join(columns[name].split())
        for kind, names in LOCATION_ALIASES.items()
        if (name := next((one for one in names if columns.get(one, "").strip()), None)) is not None
    }
    country = found.get("country", "")
    if len(country) == 2 and country.isalpha():
        found["country_code"] = found.pop("country").upper()
    return found


def _key(text: str, by: By, place: Mapping[str, str]) -> Key:
    text = text.strip()
    if not text:
        return Key("", problem="its key is empty")
    match by:
        case "domain":
            found, what = normalize_domain(text), "url"
        case "name":
            found, what = normalize_company_name(text), "company_name"
        case "vat":
            found, what = normalize_vat_id(text), "vat_id"
        case "ip":
            found, what = normalize_public_ip(text), "ip"
    if found is None:
        return Key(escape_surrogates(text), problem=INVALID_KEY_MESSAGES[by].format(text))
    asked = {what: found, **(place if by == "name" else {})}
    shown = ", ".join(asked.values())
    if escape_surrogates(shown) != shown:
        return Key(escape_surrogates(shown), problem=f"{shown!r} holds half of a character and cannot be sent")
    return Key(shown, asked)


INVALID_KEY_MESSAGES: dict[By, str] = {
    "domain": "{!r} is not a domain",
    "name": "{!r} is not a name",
    "vat": "{!r} is not a VAT id",
    "ip": "{!r} is not a public IP address",
}


def normalize_domain(text: str) -> str | None:
    """Return the domain in an address, an email or a bare domain: lower case, ASCII, without ``www``; None without.

    Two spellings of one domain give the same text, and what it gives, it gives again.
    """
    host = unicodedata.normalize("NFKC", text.strip()).lower()
    host = re.split(r"[/?#\\]", host.split("//", 1)[-1], maxsplit=1)[0].rsplit("@", 1)[-1]
    host = re.sub(r":\d*$", "", host).replace("\u3002", ".").strip(".")
    labels = [_ascii(label) for label in host.split(".")]
    while len(labels) > 2 and labels[0] == "www":
        del labels[0]
    good = len(labels) > 1 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdecimal()
    domain = ".".join(labels)
    return domain if good and len(domain) <= 253 else None


_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def _ascii(label: str) -> str:
    """Write a label as the domain name system does; not by Python's idna codec, which takes sharp s for ss."""
    if label.isascii() or not all(char.isalnum() or char in "-_" or unicodedata.combining(char) for char in label):
        return label
    return "xn--" + label.encode("punycode").decode()


def normalize_company_name(text: str) -> str | None:
    """Return a company's name with single spaces; None where it holds no letter and no digit."""
    name = " ".join(text.split())
    return name if any(map(str.isalnum, name)) else None


def normalize_vat_id(text: str) -> str | None:
    """Return a VAT id in capitals without separators; None where it cannot be one."""
    found = re.sub(r"[\s./-]", "", text).upper()
    return found if re.fullmatch(r"[A-Z]{2}[0-9A-Z+*]{2,13}|[0-9]{5,15}", found) else None


def normalize_public_ip(text: str) -> str | None:
    """Return an IP address in its one form; None for what is none, or means something inside a network only."""
    try:
        found = ip_address(text.strip().removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    inside = found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified
    if inside or any(found in network for network in NON_PUBLIC_NETWORKS):
        return None
    return str(found)
