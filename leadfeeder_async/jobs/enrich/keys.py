"""Keys: pure functions that turn a row into a normalized key, or into the reason why it has no valid key."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

By: TypeAlias = Literal["domain", "name", "ip", "vat"]
"""The kind of key."""


class FileRow(msgspec.Struct, frozen=True):
    """A row of an input file."""

    cells: str | Mapping[str, object]
    """The key alone, or the columns by name."""
    line: int
    """The line of the file at which the row begins, from 1."""
    source: str = ""
    """The row as JSON, if it came as JSON."""
    problem: str = ""
    """The reason why the row cannot be used, or an empty string."""

    @property
    def as_json(self) -> msgspec.Raw:
        """The row as JSON."""
        return msgspec.Raw(
            self.source.encode() if self.source else msgspec.json.encode(_escape_surrogates_in(self.cells))
        )


Row: TypeAlias = "str | IPv4Address | IPv6Address | Mapping[str, object] | FileRow"
"""One row to enrich: a key alone, or columns by name."""

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
"""Common names of the column that contains the key, the most likely first."""

LOCATION_ALIASES = {
    "city": ("city", "town", "ort", "stadt"),
    "postal_code": ("postal_code", "zip", "zip_code", "zipcode", "postcode", "plz"),
    "country": ("country_code", "country", "land"),
}
"""Common names of the columns that distinguish companies with the same name."""

KNOWN_NAMES = frozenset(name for names in (*COLUMN_ALIASES.values(), *LOCATION_ALIASES.values()) for name in names)
"""All common column names."""

NON_PUBLIC_NETWORKS = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "0.0.0.0/8", "fc00::/7"))
)
"""Addresses for private networks, which do not identify a company."""


class Key(msgspec.Struct, frozen=True):
    """The key of a row."""

    value: str
    """The normalized key, or the key as it was given if it is not valid."""
    match_fields: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """The fields of the match request."""
    problem: str = ""
    """The reason why the key cannot be used, or an empty string."""

    @property
    def identity(self) -> bytes:
        """A value that is equal for keys that produce the same lookup."""
        return msgspec.json.encode(sorted(self.match_fields.items()))


def key_of(row: Row, by: By, column: str | None = None) -> Key:
    """Return the key of a row. If there is no valid key, its ``problem`` contains the reason.

    Args:
        row: The row.
        by: The kind of key.
        column: The name of the column that contains the key. Common names are recognized if it is None.

    """
    if isinstance(row, FileRow):
        key = key_of(row.cells, by, column)
        return replace(key, problem=row.problem) if row.problem else key
    if not isinstance(row, Mapping):
        return _key(str(row), by, {})
    columns = {normalize_column_name(name): str(value) for name, value in row.items() if isinstance(value, str | int)}
    name = normalize_column_name(column) if column is not None else find_column(columns, by)
    if name is None or name not in columns:
        return Key("", problem=f"it has no value for {name or by}")
    return _key(columns[name], by, _location(columns))


def escape_surrogates(text: str) -> str:
    r"""Replace unpaired surrogates, which UTF-8 cannot encode, by escapes such as ``\ud800``."""
    return text.encode("utf-8", "backslashreplace").decode()


def _escape_surrogates_in(cells: str | Mapping[str, object]) -> str | dict[str, object]:
    if isinstance(cells, str):
        return escape_surrogates(cells)
    return {
        escape_surrogates(name): escape_surrogates(cell) if isinstance(cell, str) else cell
        for name, cell in cells.items()
    }


def find_column(names: Container[str], by: By) -> str | None:
    """Return the most likely column of the key, or None if no normalized name is known."""
    return next((name for name in COLUMN_ALIASES[by] if name in names), None)


def normalize_column_name(name: str) -> str:
    """Return a column name in lower case with underscores. ``Company Name`` becomes ``company_name``."""
    return re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_")


def _location(columns: Mapping[str, str]) -> dict[str, str]:
    location = {
        kind: " ".join(columns[name].split())
        for kind, aliases in LOCATION_ALIASES.items()
        if (name := next((alias for alias in aliases if columns.get(alias, "").strip()), None)) is not None
    }
    country = location.get("country", "")
    if len(country) == 2 and country.isalpha():
        location["country_code"] = location.pop("country").upper()
    return location


def _key(text: str, by: By, location: Mapping[str, str]) -> Key:
    text = text.strip()
    if not text:
        return Key("", problem="its key is empty")
    match by:
        case "domain":
            value, field = normalize_domain(text), "url"
        case "name":
            value, field = normalize_company_name(text), "company_name"
        case "vat":
            value, field = normalize_vat_id(text), "vat_id"
        case "ip":
            value, field = normalize_public_ip(text), "ip"
    if value is None:
        return Key(escape_surrogates(text), problem=INVALID_KEY_MESSAGES[by].format(text))
    fields = {field: value, **(location if by == "name" else {})}
    shown = ", ".join(fields.values())
    if not shown.isascii() and (escaped := escape_surrogates(shown)) != shown:
        return Key(escaped, problem=f"{shown!r} contains an unpaired surrogate and cannot be sent")
    return Key(shown, fields)


INVALID_KEY_MESSAGES: dict[By, str] = {
    "domain": "{!r} is not a domain",
    "name": "{!r} is not a name",
    "vat": "{!r} is not a VAT ID",
    "ip": "{!r} is not a public IP address",
}


def normalize_domain(text: str) -> str | None:
    """Return the domain of a URL, an email address or a domain, or None if there is none.

    The result is in lower case, in ASCII and without ``www``. It is the same for all spellings of a domain.
    """
    host = unicodedata.normalize("NFKC", text.strip()).lower()
    host = re.split(r"[/?#\\]", host.split("//", 1)[-1], maxsplit=1)[0].rsplit("@", 1)[-1]
    host = re.sub(r":\d*$", "", host).replace("\u3002", ".").strip(".")
    labels = [_ascii(label) for label in host.split(".")]
    while len(labels) > 2 and labels[0] == "www":
        del labels[0]
    is_valid = len(labels) > 1 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdecimal()
    domain = ".".join(labels)
    return domain if is_valid and len(domain) <= 253 else None


_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def _ascii(label: str) -> str:
    """Return a label in Punycode. Python's idna codec is not used because it replaces a sharp s by ss."""
    if label.isascii() or not all(char.isalnum() or char in "-_" or unicodedata.combining(char) for char in label):
        return label
    return "xn--" + label.encode("punycode").decode()


def normalize_company_name(text: str) -> str | None:
    """Return a company name with single spaces, or None if it contains neither letters nor digits."""
    name = " ".join(text.split())
    return name if any(map(str.isalnum, name)) else None


def normalize_vat_id(text: str) -> str | None:
    """Return a VAT ID in capitals without separators, or None if it is not valid."""
    vat_id = re.sub(r"[\s./-]", "", text).upper()
    return vat_id if re.fullmatch(r"[A-Z]{2}[0-9A-Z+*]{2,13}|[0-9]{5,15}", vat_id) else None


def normalize_public_ip(text: str) -> str | None:
    """Return an IP address in its canonical form, or None if it is not valid or not public."""
    try:
        address = ip_address(text.strip().removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    is_local = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    if is_local or any(address in network for network in NON_PUBLIC_NETWORKS):
        return None
    return str(address)
