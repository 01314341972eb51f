"""Find the normalized key of a row, or the reason why it has no valid key. Nothing is requested here.

The length of a text is limited before the text is parsed, so a row never blocks the event loop.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Container, Iterable, Mapping
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import islice
from math import isnan
from numbers import Integral
from typing import Literal, TypeAlias, get_args

import msgspec

from leadfeeder_async._argument_checks import spelling_hint
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.jobs.enrich.shared_domains import is_shared_domain
from leadfeeder_async.jobs.serialized_error import escape_surrogates

By: TypeAlias = Literal["domain", "email", "name", "ip", "vat"]
"""The kind of key."""

KINDS: tuple[By, ...] = get_args(By)


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

_EMAIL_COLUMNS = (
    "email", "e_mail", "email_address", "e_mail_address", "work_email", "business_email", "company_email", "mail",
    "emailaddress", "person_email", "person_email_work", "contact_email", "primary_email", "email_1", "e_mail_1",
    "e_mail_1_value", "email_adresse", "e_mail_adresse", "mailadresse", "courriel", "correo_electronico",
)  # fmt: skip

COLUMN_ALIASES: dict[By, tuple[str, ...]] = {
    "domain": (
        "domain", "company_domain", "company_domain_name", "domain_name", "website", "company_website", "website_url",
        "company_website_url", "organization_website", "organisation_website", "account_website", "primary_domain",
        "company_url", "homepage", "web_address", "web_page", "webseite", "internetseite", "internetadresse",
        "internet", "site_web", "site_internet", "sito_web", "sitio_web", "strona_internetowa", "web_sitesi",
        "website_1_value", "ウェブサイト", "url", "web", "site", *_EMAIL_COLUMNS,
    ),
    "email": _EMAIL_COLUMNS,
    "name": (
        "company_name", "company", "organization", "organisation", "account_name", "company_account",
        "organization_1_name", "organization_name", "organisation_name", "person_organization", "associated_company",
        "firma", "firmenname", "unternehmen", "unternehmensname", "name_des_unternehmens", "societe", "société",
        "entreprise", "raison_sociale", "empresa", "azienda", "bedrijf", "nazwa_firmy", "会社名",
        "şirket_adı",  # noqa: RUF001 - the Turkish letter
        "account", "name_1", "name",
    ),
    "vat": (
        "vat_id", "vat_number", "vatid", "vat_no", "tax_id", "ust_id", "ustid", "ust_idnr", "ust_id_nr", "ust_nr",
        "nip", "vat", "uid",
    ),
    "ip": (
        "ip", "ip_address", "ipaddress", "ip_addr", "client_ip", "clientip", "c_ip", "source_ip", "visit_ip", "visitip",
        "remote_addr", "ip_adresse",
    ),
}  # fmt: skip
"""Common names of the column that contains the key, the most likely first."""

LOCATION_ALIASES: dict[str, tuple[str, ...]] = {
    "city": ("company_city", "billing_city", "city", "town", "ort", "stadt", "ville", "ciudad"),
    "postal_code": (
        "company_postal_code", "billing_zip_postal_code", "postal_code", "zip", "zip_code", "zipcode", "postcode",
        "plz",
    ),
    "country": ("company_country", "billing_country", "country_code", "country", "country_region", "land", "pays"),
}  # fmt: skip
"""Common names of the columns that distinguish companies with the same name. The company's own come first."""

PERSON_NAMES = frozenset({
    "first_name", "firstname", "given_name", "last_name", "lastname", "surname", "family_name", "vorname", "nachname",
    "prénom", "prenom", "nom_de_famille", "imię", "nazwisko", "nombre", "apellido", "apellidos", "cognome",
})  # fmt: skip
"""Columns beside which a column ``name`` contains persons."""

CUSTOMER_NAMES = frozenset({
    "customer", "customer_name", "client", "client_name", "kunde", "kundenname", "lieferant", "supplier", "prospect",
    "interessent", "partner", "cliente",
})  # fmt: skip
"""Names of columns that may contain company names, or numbers or persons instead."""

OTHER_NAMES = frozenset({
    "id", "no", "nr", "number", "first_name", "last_name", "vorname", "nachname", "phone", "telefon", "title",
    "address", "adresse", "street", "strasse", "straße", "state", "region", "industry", "branche", "owner",
    "status", "notes",
})  # fmt: skip
"""Names of columns that contain no key, by which a header is recognized."""

KEY_AND_LOCATION_NAMES = frozenset(
    name for names in (*COLUMN_ALIASES.values(), *LOCATION_ALIASES.values()) for name in names
)
"""The common names of columns with a key or a location."""

ALL_NAMES = KEY_AND_LOCATION_NAMES | OTHER_NAMES
"""All common names of columns."""

MAX_URL_CHARACTERS = 2_048
"""The most characters in which a domain is searched. The host is at the beginning of a URL."""

MAX_UNICODE_URL_CHARACTERS = 600
"""The same limit for text that is not all ASCII. The time to normalize it grows with the square of its length."""

MAX_NAME_CHARACTERS = 500
"""The most characters of a company name, a city or another text of a match request."""

MAX_CODE_CHARACTERS = 100
"""The most characters of an IP address or a VAT ID, with separators."""

MAX_SHOWN_CHARACTERS = 200
"""The most characters of a key that is not valid, in errors and in the output."""

MAX_COLUMN_NAME_CHARACTERS = 500
"""The most characters of a column name that are compared with other names."""

MAX_QUOTED_NAMES, MAX_QUOTED_CHARACTERS = 10, 40
"""The most names of columns in an error, and the most characters of each."""

MAX_KEY_COLUMN_CHARACTERS = 60
"""The longest name of a column that is compared with the common names. A longer column must be named exactly."""

MAX_CANDIDATES = 200
"""The most ASCII column names of a row that are normalized to find its key, and the most other names."""


class KeyRule(msgspec.Struct, frozen=True):
    """A kind of key, and the columns in which it is searched."""

    kind: By
    column: str | None = None
    """The column of the key, or None to detect it by common names."""
    preferred: str | None = None
    """The common name that is searched before the others."""
    location: tuple[str, ...] | None = None
    """The kinds of location to send with a name, or None for all that the row has."""

    def missing_columns(self, names: Collection[str]) -> list[str]:
        """Return the columns that this rule names explicitly and that do not exist."""
        found = find_names(names, [self])
        missing = [kind for kind in self.location or () if found.keys().isdisjoint(LOCATION_ALIASES[kind])]
        if self.column is not None and self.choose_column(found) is None:
            missing.append(self.column)
        return missing

    def __str__(self) -> str:
        name = self.kind if self.column is None else f"{self.kind} in column {self.column}"
        return "+".join((self.preferred or name, *(self.location or ())))

    def find_column(self, names: Collection[str]) -> str | None:
        """Return the column of the key, or None if none of the given names fits."""
        return self.choose_column(find_names(names, [self]))

    def choose_column(self, found: Mapping[str, str]) -> str | None:
        """Return the column of the key from the result of :func:`find_names`, or None if none fits."""
        name = self.choose_name(found)
        return None if name is None else found[name]

    def choose_name(self, found: Container[str]) -> str | None:
        """Return the normalized name of the column of the key, or None if none of the given names fits."""
        if self.column is not None:
            names: tuple[str, ...] = (normalize_column_name(self.column),)
        else:
            names = (*filter(None, [self.preferred]), *COLUMN_ALIASES[self.kind])
        name = next((name for name in names if name in found), None)
        is_detected = self.column is None and name != self.preferred
        return None if is_detected and name == "name" and any(name in found for name in PERSON_NAMES) else name


def parse_rules(by: str | Collection[str], column: str | None = None) -> tuple[KeyRule, ...]:
    """Return the rules for the ``by`` argument of an enrichment.

    Args:
        by: A kind of key, or several of them in the order in which they are tried. Instead of a kind, a common column
            name such as ``website`` can be given, or ``kind=column``. ``name+city`` sends only the city with the name.
        column: The column of the key, if there is only one kind.

    Raises:
        ConfigurationError: The rules are not valid.

    """
    keys = [by] if isinstance(by, str) else list(by)
    check_argument(keys, "by=[] has no kind of key.", "Pass at least one, such as domain.", argument="by")
    check_argument(
        len(keys) == 1 or column is None,
        f"column={column!r} does not say for which of the keys {', '.join(keys)} it is.",
        "Leave it out, and name the column in its key, such as domain=Website.",
        argument="by",
    )
    rules = tuple(_parse_rule(key, column) for key in keys)
    check_argument(
        len(rules) == 1 or all(rule.kind != "ip" for rule in rules),
        "IP addresses cannot be combined with other keys.",
        "Enrich them in a job of their own.",
        argument="by",
    )
    return rules


def _parse_rule(key: str, column: str | None) -> KeyRule:
    head, *location = key.split("+")
    kind, _, named = map(str.strip, head.partition("="))
    found: By | None = next((known for known in KINDS if known == kind), None)
    alias = None
    if found is None and not named:
        alias = normalize_column_name(kind)
        found = next((known for known, names in COLUMN_ALIASES.items() if alias in names), None)
    if found is None:
        raise ConfigurationError(
            f"by={key!r} is not a kind of key.",
            hint=spelling_hint(
                kind,
                KINDS,
                "Use domain, email, name, vat or ip, a common column name such as website, or kind=column, such as "
                "domain=Website.",
            ),
            argument="by",
        )
    locations = _parse_location(key, found, location) if location else None
    return KeyRule(found, named or column, alias, locations)


def _parse_location(key: str, kind: By, names: Iterable[str]) -> tuple[str, ...]:
    normalized = [normalize_column_name(name) for name in names]
    found = [next((known for known, names in LOCATION_ALIASES.items() if name in names), "") for name in normalized]
    check_argument(
        kind == "name" and all(found),
        f"by={key!r} adds columns that a {kind} cannot be combined with.",
        "Only name can be combined, with city, postal_code and country.",
        argument="by",
    )
    return tuple(found)


class Key(msgspec.Struct, frozen=True):
    """The key of a row."""

    value: str
    """The normalized key, or the beginning of the text as it was given if it is not valid."""
    match_fields: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """The fields of the match request."""
    problem: str = ""
    """The reason why the key cannot be used, or an empty string."""
    kind: By | None = None
    """The kind of key that is used, or None if the row has no valid key."""
    is_shared: bool = False
    """True if the key is not used because its domain belongs to a mail provider or the like."""

    @property
    def identity(self) -> bytes:
        """A value that is equal for keys that produce the same lookup."""
        return msgspec.json.encode(sorted(self.match_fields.items()))


class _RuleColumns(msgspec.Struct, frozen=True):
    """The columns of one rule in rows with certain column names."""

    rule: KeyRule
    key: str | None
    expected: str | None
    """The column of the key in other rows."""
    location: tuple[tuple[str, tuple[str, ...]], ...]
    """The columns for each kind of location. The first that is not empty is used."""


class KeyFinder:
    """Finds the keys of rows. The rules are tried in their order, and the first valid key is used.

    Args:
        rules: The rules.
        allow_free_mail: Use domains of mail providers, social networks, link shorteners and website builders as keys.
        columns: The columns that rows of the input have. They are collected from the rows otherwise.

    """

    def __init__(
        self, rules: tuple[KeyRule, ...], *, allow_free_mail: bool = False, columns: Iterable[str] = ()
    ) -> None:
        self.rules = rules
        self.allow_free_mail = allow_free_mail
        self._given_columns = tuple(columns)
        self._names: tuple[str, ...] | None = None
        self._found: Mapping[str, str] = {}
        self._columns: tuple[_RuleColumns, ...] = ()
        self._known = find_names(self._given_columns, rules)
        """The columns that rules may use and that have a value in the rows so far, by normalized name."""

    def __str__(self) -> str:
        return ", then ".join(map(str, self.rules))

    def restart(self) -> KeyFinder:
        """Return a finder that has seen no row yet."""
        return KeyFinder(self.rules, allow_free_mail=self.allow_free_mail, columns=self._given_columns)

    def find(self, row: Row) -> Key:
        """Return the key of a row. If there is no valid key, its ``problem`` contains the reason."""
        if isinstance(row, FileRow):
            key = self.find(row.cells)
            return Key(key.value, problem=row.problem) if row.problem else key
        if not isinstance(row, Mapping):
            text = _text_of(row)
            if text is None:
                return Key("", problem=f"it is {_type_of(row)}, not a text or a mapping of columns")
            return _first_valid(self._key(text, rule, {}) for rule in self.rules)
        return _first_valid(self._key_in(row, columns) for columns in self._columns_of(row))

    def _columns_of(self, row: Mapping[str, object]) -> tuple[_RuleColumns, ...]:
        """Return the columns of each rule. They are kept, because most rows have the same columns as the last one.

        A rule uses the same column in all rows. Programs that leave out empty values would otherwise turn the person
        in ``name`` into a company if a row has no ``company``. Only a row with a more likely column changes it.
        """
        names = _strings_in(row)
        if names != self._names:
            self._names, self._found = names, find_names(names, self.rules)
            self._columns = ()
        new = {alias: name for alias, name in self._found.items() if alias not in self._known and has_value(row[name])}
        if new or not self._columns:
            self._known |= new
            self._columns = tuple(self._columns_of_rule(rule) for rule in self.rules)
        return self._columns

    def _columns_of_rule(self, rule: KeyRule) -> _RuleColumns:
        """Return the columns of a rule in the current row. It has no key if other rows have a more likely column."""
        found = self._found
        known = self._known if self._known and self._given_columns else {**self._known, **found}
        alias = rule.choose_name(known)
        location = (
            (kind, tuple(found[alias] for alias in aliases if alias in found))
            for kind, aliases in LOCATION_ALIASES.items()
            if rule.location is None or kind in rule.location
        )
        column = None if alias is None else found.get(alias)
        return _RuleColumns(rule, column, None if alias is None else known[alias], tuple(location))

    def _key_in(self, row: Mapping[str, object], columns: _RuleColumns) -> Key:
        text = None if columns.key is None else _text_of(row[columns.key])
        if text is None:
            return Key("", problem=_missing_value(row, columns))
        location = _location(row, columns.location) if columns.rule.kind == "name" else {}
        return self._key(text, columns.rule, location)

    def _key(self, text: str, rule: KeyRule, location: Mapping[str, str]) -> Key:
        text = text.replace("\0", "").strip()  # a CSV file of results is read without this character
        if not text:
            return Key("", problem="its key is empty")
        if is_placeholder(text):
            return Key(text, problem=f"{text!r} stands for an empty cell or an error")
        value, field = _normalize(text, rule.kind)
        if value is None:
            shown = _shorten(text)
            return Key(escape_surrogates(shown), problem=INVALID_KEY_MESSAGES[rule.kind].format(shown))
        if field == "url" and not self.allow_free_mail and is_shared_domain(value):
            return Key(value, problem=_SHARED_DOMAIN_MESSAGE.format(value), is_shared=True)
        fields = {field: value, **location}
        shown = ", ".join(fields.values())
        if not shown.isascii() and (escaped := escape_surrogates(shown)) != shown:
            return Key(escaped, problem=f"{shown!r} contains an unpaired surrogate and cannot be sent")
        return Key(shown, fields, kind=rule.kind)


def _first_valid(keys: Iterable[Key]) -> Key:
    """Return the first valid key. If there is none, return the first text that was given, with all reasons."""
    invalid = list[Key]()
    for key in keys:
        if not key.problem:
            return key
        invalid.append(key)
    given = next((key for key in invalid if key.value), invalid[0])
    problem = "; ".join(dict.fromkeys(key.problem for key in invalid))
    return Key(given.value, problem=problem, is_shared=any(key.is_shared for key in invalid))


def _escape_surrogates_in(cells: str | Mapping[str, object]) -> str | dict[str, object]:
    if isinstance(cells, str):
        return escape_surrogates(cells)
    return {
        escape_surrogates(name): escape_surrogates(cell) if isinstance(cell, str) else cell
        for name, cell in cells.items()
    }


def _strings_in(names: Iterable[object]) -> tuple[str, ...]:
    """Return the names that are strings. ``csv.DictReader`` adds None for surplus cells."""
    return tuple(name for name in names if isinstance(name, str))


def normalize_column_name(name: str) -> str:
    """Return a column name in lower case with underscores. ``Company Name`` becomes ``company_name``."""
    name = remove_invisible(unicodedata.normalize("NFC", name[:MAX_COLUMN_NAME_CHARACTERS]))
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def has_value(cell: object) -> bool:
    """Return True if a cell is neither empty nor None."""
    return cell is not None and cell != ""


def find_names(names: Collection[str], rules: Iterable[KeyRule]) -> dict[str, str]:
    """Return the names that rules may use, by normalized name.

    If two names are equal when they are normalized, the exact name of a rule's column is used, or else the last one.
    Rows may have thousands of names, so an ASCII name is only normalized if its letters and digits are those of a
    wanted name. ``MAX_CANDIDATES`` bounds all names that are normalized.
    """
    columns = [rule.column for rule in rules if rule.column is not None]
    normalized = {normalize_column_name(column) for column in columns}
    wanted = _KNOWN_LETTERS.union(map(_letters_of, normalized))
    short = [name for name in names if len(name) <= MAX_KEY_COLUMN_CHARACTERS or _is_padded(name)]
    usual = [name for name in short if name.isascii() and name.translate(_LETTERS_AND_DIGITS) in wanted]
    unusual = [name for name in short if not name.isascii()]
    found = {normalize_column_name(name): name for name in usual[:MAX_CANDIDATES] + unusual[:MAX_CANDIDATES]}
    kept = KEY_AND_LOCATION_NAMES | PERSON_NAMES | normalized
    exact = {normalize_column_name(column): column for column in columns if column in names}
    return {name: given for name, given in found.items() if name in kept} | exact


_LETTERS_AND_DIGITS = {code: chr(code).lower() if chr(code).isalnum() else None for code in range(128)}


def _letters_of(name: str) -> str:
    return name.translate(_LETTERS_AND_DIGITS)


_KNOWN_LETTERS = frozenset(map(_letters_of, KEY_AND_LOCATION_NAMES | PERSON_NAMES))


def _is_padded(name: str) -> bool:
    """Return True if a name is only long because of spaces, as in the header of a table with columns of equal width."""
    return len(name) <= MAX_COLUMN_NAME_CHARACTERS and len(name.strip()) <= MAX_KEY_COLUMN_CHARACTERS


def _type_of(row: object) -> str:
    """Return the type of a row that is not a key, in words."""
    is_missing = row is None or (isinstance(row, float) and isnan(row))
    return "empty" if is_missing else f"of type {type(row).__name__}"


def _missing_value(row: Mapping[str, object], columns: _RuleColumns) -> str:
    rule = columns.rule
    if columns.key is None and rule.column is None and columns.expected is None:
        if rule.kind == "name" and "name" in map(normalize_column_name, islice(_strings_in(row), MAX_QUOTED_NAMES)):
            return "its column name contains a person, because others are a first or a last name"
        names = ", ".join(repr(name[:MAX_QUOTED_CHARACTERS]) for name in islice(_strings_in(row), MAX_QUOTED_NAMES))
        return f"it has no column with a common name of a {rule.kind} key. Its columns are {names or 'none'}"
    kind, name = (
        _type_of(None if columns.key is None else row[columns.key]),
        rule.column or columns.expected or rule.kind,
    )
    return f"it has no value for {name}" if kind == "empty" else f"its {name} is {kind}, which cannot be a key"


def _text_of(value: object) -> str | None:
    """Return a cell as text, or None if it is not a text, an IP address or an integer of 64 bits that is no boolean."""
    if isinstance(value, str):
        return value
    if isinstance(value, IPv4Address | IPv6Address):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, Integral):
        return None
    return str(value) if int(value).bit_length() < 64 else None


def _location(row: Mapping[str, object], columns: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, str]:
    location = dict[str, str]()
    for kind, names in columns:
        values = ((_postal_code if kind == "postal_code" else _text_of)(row[name]) or "" for name in names)
        texts = (" ".join(value[: MAX_NAME_CHARACTERS + 1].split()) for value in values)
        known = (text for text in texts if text not in _EMPTY_VALUES and not is_placeholder(text))
        text = next((text for text in known if kind != "country" or not _DIGIT.search(text)), "")
        if text and len(text) <= MAX_NAME_CHARACTERS:
            location[kind] = text
    country = location.get("country", "")
    if len(country) == 2 and country.isalpha():
        location["country_code"] = location.pop("country").upper()
    return location


def _postal_code(value: object) -> str | None:
    """Return a cell as text. A data frame with an empty postal code has the others as numbers, such as 20095.0."""
    is_number = isinstance(value, float | Decimal)
    text = str(value) if is_number else _text_of(value)
    whole = _WHOLE_NUMBER.fullmatch(text or "")
    return whole[1] if whole else None if is_number else text


_DIGIT = re.compile(r"\d")
"""A country has none. A column ``Country Code`` may contain the prefix of a telephone number."""

_EMPTY_VALUES = frozenset({"", "0", "true", "false", "TRUE", "FALSE"})
"""Values of workbook cells that refer to an empty cell, or that answer a question."""

_WHOLE_NUMBER = re.compile(r"(\d{1,12})(?:\.0)?")

_ERRORS = "N/A|NV|N/D|N/B|\u041d/\u0414|I/T|YOK|HIÁNYZIK|IKKE_TILGÆNGELIG|GETTING_DATA"
_PLACEHOLDER = re.compile(
    rf"#[¡¿]?[^\W\d_][^\Wa-z_/]*(?:/0)?[!?]|#(?:{_ERRORS})|Err:\d{{3}}|Loading\.\.\."
    r"|null|NULL|Null|[(<\[](?i:null|none|blank|na)[)>\]]|none|None|NONE|nan|NaN|NaT|[nN]/[aA]|\\N"
)
"""The texts that spreadsheets write for an error, and databases and data frames for an empty cell."""


def is_placeholder(text: str) -> bool:
    """Return True if a text stands for an empty cell or an error."""
    return len(text) <= MAX_CODE_CHARACTERS and _PLACEHOLDER.fullmatch(text) is not None


_FIELDS: dict[By, str] = {
    "domain": "url",
    "email": "url",
    "name": "company_name",
    "vat": "vat_id",
    "ip": "ip",
}
"""The field of a match request for each kind of key."""

INVALID_KEY_MESSAGES: dict[By, str] = {
    "domain": "{!r} is not a domain",
    "email": "{!r} is not an email address",
    "name": "{!r} is not a name",
    "vat": "{!r} is not a VAT ID",
    "ip": "{!r} is not a public IP address",
}

_SHARED_DOMAIN_MESSAGE = "{!r} belongs to a mail provider, a social network, a link shortener or a website builder"


def unshared_key(text: str, kind: By) -> str | None:
    """Return the normalized key of a text, or None if it is not valid or is a shared domain."""
    key, field = _normalize(text, kind)
    return None if key is None or (field == "url" and is_shared_domain(key)) else key


def _normalize(text: str, kind: By) -> tuple[str | None, str]:
    """Return the normalized key, or None if it is not valid, and its field in a match request."""
    match kind:
        case "domain":
            value = normalize_domain(text)
        case "email":
            value = normalize_domain(text) if "@" in text[:MAX_URL_CHARACTERS] else None
        case "name":
            value = normalize_company_name(text)
        case "vat":
            value = normalize_vat_id(text)
        case "ip":
            value = normalize_public_ip(text)
    return value, _FIELDS[kind]


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"


_INVISIBLE: dict[int, None] = dict.fromkeys(
    (0x00, 0xAD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
)
"""Characters that are not visible and never belong to a name: soft hyphens, spaces without a width, directions."""

_JOINERS: dict[int, None] = dict.fromkeys((0x200C, 0x200D))
"""Characters without a width. Names in some languages need them, but domains are compared without them."""


def remove_invisible(text: str) -> str:
    """Return a text without characters that have no width, which web pages add to copied text."""
    return text if text.isascii() and "\0" not in text else text.translate(_INVISIBLE)


def normalize_domain(text: str) -> str | None:
    """Return the domain of a URL, an email address or a domain, or None if there is none.

    The result is in lower case, in ASCII and without ``www``. It is the same for all spellings of a domain.
    """
    plain = _PLAIN_DOMAIN.match(text, 0, MAX_URL_CHARACTERS)
    if plain is not None and text.isascii() and "<" not in text and len(plain[1]) <= _MAX_DOMAIN_CHARACTERS:
        return plain[1]
    return _normalize_unusual_domain(text)


def _normalize_unusual_domain(text: str) -> str | None:
    beginning = text[:MAX_URL_CHARACTERS]
    if not beginning.isascii():
        beginning = beginning[:MAX_UNICODE_URL_CHARACTERS]
    host = unicodedata.normalize("NFKC", remove_invisible(beginning).translate(_JOINERS)).strip()
    if host.endswith(">") and "<" in host:  # Eva Meier <eva@nordlicht.test>
        addresses = _IN_BRACKETS.findall(host)
        if len(addresses) > 1:
            return _common_domain(addresses)
        host = host[host.rfind("<") + 1 : -1]
    host = _SCHEME.sub("", host.lower().replace("\\", "/"), count=1)
    whole, (host, *path) = host, _END_OF_HOST.split(host, maxsplit=1)
    if not path and len(beginning) < len(text):
        return None  # the domain may be cut
    if path and (host[-1:].isspace() or path[0][:1].isspace()):
        return None  # nordlicht.test / alster.test
    if "@" in host and "@" in "".join(path):  # eva@nordlicht.test/tom@alster.test
        return _common_domain(_BETWEEN_ADDRESSES.split(whole))
    return _common_domain(_SEPARATORS.split(host)) if host.count("@") > 1 else _domain_of_host(host)


def _domain_of_host(host: str) -> str | None:
    host = host.rsplit("@", 1)[-1]
    host = _PORT.sub("", host[: MAX_URL_CHARACTERS // 2]).replace("\u3002", ".").strip(". ")
    if len(host) > _MAX_DOMAIN_CHARACTERS:
        return None
    labels = [_ascii(label) for label in unicodedata.normalize("NFC", host).split(".")]
    while len(labels) > 2 and labels[0] == "www":
        del labels[0]
    is_valid = len(labels) > 1 and all(map(_LABEL.fullmatch, labels)) and _TOP_LEVEL.fullmatch(labels[-1])
    domain = ".".join(labels)
    return domain if is_valid and len(domain) <= _MAX_DOMAIN_CHARACTERS else None


def _common_domain(addresses: list[str]) -> str | None:
    """Return the domain of several email addresses, or None if they have different ones."""
    if not 1 < len(addresses) <= _MAX_ADDRESSES:
        return None
    domains = {normalize_domain(address) for address in addresses if "@" in address}
    return domains.pop() if len(domains) == 1 else None


_MAX_ADDRESSES = 20
_MAX_DOMAIN_CHARACTERS = 253
_PLAIN_DOMAIN = re.compile(
    r"(?:https?://)?(?:www\.)?((?!www\.)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63})(?=[/?#]|\Z)"
)
"""Most domains and URLs. Their domain needs no change but ``www``, so it is found in a fifth of the time."""

_SCHEME = re.compile(r"\A(?:mailto:|(?:[a-z][a-z0-9+.-]{0,20}:)?//+)")
_END_OF_HOST = re.compile(r"[/?#]")
_SEPARATORS = re.compile(r"[,;\s]+")
_BETWEEN_ADDRESSES = re.compile(r"[,;/\s]+")
_IN_BRACKETS = re.compile(r"<([^<>]{0,320}@[^<>]{0,320})>")
_PORT = re.compile(r":\d{0,5}\Z")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_TOP_LEVEL = re.compile(r"(?!\d+\Z)..+")
"""No top-level domain has one letter, as the last part of ``k.a.`` (for "no entry")."""


def _ascii(label: str) -> str:
    """Return a label in Punycode. Python's idna codec is not used because it replaces a sharp s by ss."""
    if label.isascii() or not all(char.isalnum() or char in "-_" or unicodedata.combining(char) for char in label):
        return label
    return "xn--" + label.encode("punycode").decode()


def normalize_company_name(text: str) -> str | None:
    """Return a company name with single spaces, or None if it is too long or contains neither letters nor digits."""
    if len(text) > MAX_NAME_CHARACTERS:
        return None
    name = " ".join(remove_invisible(text).split())
    return name if any(map(str.isalnum, name)) and name not in _EMPTY_VALUES else None


def normalize_vat_id(text: str) -> str | None:
    """Return a VAT ID in capitals without separators, or None if it is not valid.

    A number with decimal places, such as 123456789.0, is not valid, because its digits together are another number.
    """
    if len(text) > MAX_CODE_CHARACTERS:
        return None
    given = unicodedata.normalize("NFKC", remove_invisible(text)).upper().strip()
    if _DECIMAL.fullmatch(given):
        return None
    vat_id = re.sub(r"[\s./-]", "", given)
    return vat_id if _VAT_ID.fullmatch(vat_id) else None


_DECIMAL = re.compile(r"(?:[A-Z]{2}\s*)?[0-9]+[./][0-9]{1,2}")
_VAT_ID = re.compile(r"(?=[^0-9]*[0-9][^0-9]*[0-9])[A-Z]{2}[0-9A-Z+*]{2,13}|[0-9]{5,15}")
"""A VAT ID without separators. All countries have at least two digits in it."""


_TEST_NETWORK = ip_network("198.18.0.0/15")
"""The network for tests, which the sandbox uses. It is never on the Internet, so it is safe to send."""

_NON_GLOBAL_NETWORKS = tuple(
    map(ip_network, ("192.88.99.0/24", "192.0.0.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
"""Networks that some versions of Python call global, although no company has an address in them."""

_GLOBAL_IPV6 = ip_network("2000::/3")
"""The range of assigned IPv6 addresses."""


def normalize_public_ip(text: str) -> str | None:
    """Return an IP address in its canonical form and without a port, or None if it is not valid or not public.

    Addresses of the network for tests are accepted.
    """
    if len(text) > MAX_CODE_CHARACTERS:
        return None
    found = _IP.fullmatch(remove_invisible(text).strip())
    try:
        address = ip_address(found[1] or found[2] or found[3]) if found else None
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address) if address is not None and _is_public(address) else None


_IP = re.compile(r"\[([^\[\]]+)\](?::\d{1,5})?|([\d.]+):\d{1,5}|([^\[\]]+)")
"""An IP address in brackets with a port, an IPv4 address with a port, or an address alone."""


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if address in _TEST_NETWORK:
        return True
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address not in _GLOBAL_IPV6):
        return False
    is_reserved = address.is_multicast or address.is_reserved
    return address.is_global and not is_reserved and all(address not in network for network in _NON_GLOBAL_NETWORKS)
