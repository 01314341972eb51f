"""Keys of rows: domains, email addresses, names, VAT IDs and IP addresses, in one form each."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leadfeeder_async import ConfigurationError
from leadfeeder_async.jobs.enrich import key_normalization
from leadfeeder_async.jobs.enrich.header_search import is_value
from leadfeeder_async.jobs.enrich.key_normalization import (
    FileRow,
    Key,
    KeyFinder,
    Row,
    normalize_company_name,
    normalize_domain,
    normalize_public_ip,
    normalize_vat_id,
    parse_rules,
)
from leadfeeder_async.jobs.enrich.shared_domains import is_shared_domain
from tests.support.requirements import needs_even_speed


def key_of(row: Row, by: str | Collection[str], column: str | None = None, **options: bool) -> Key:
    return KeyFinder(parse_rules(by, column), **options).find(row)


HOSTS = st.from_regex(r"[a-zäöüß0-9]([a-zäöüßé0-9-]{0,8}[a-z0-9])?(\.[a-z]{2,5}){1,2}", fullmatch=True)


@given(
    st.sampled_from(["", "https://", "http://", "www.", "https://www.", "https://www.www."]),
    st.text("aw-_9.", max_size=9) | st.sampled_from(["a." * 140 + "de", "a" * 64 + ".de"]),
    st.sampled_from([".de", ".d", ".9", ".de.", ".DE", ".\u00e4de", ""]),
    st.sampled_from(["", "/", "?x", "#", ":80", "/a@b.com", "@b.com", "/<b.com>", "\\", "\n", "/\u0338"]),
)
@example("https://", "a", ".de", "/<b.com>")
@example("www.", "a", ".de", "/\u0338")
def test_usual_domains_are_normalized_like_unusual_ones(start: str, host: str, end: str, rest: str) -> None:
    """The fast path for most domains changes no result."""
    text = f"{start}{host}{end}{rest}"
    assert normalize_domain(text) == key_normalization._normalize_unusual_domain(text)


@given(HOSTS, st.sampled_from(["", "http://", "https://", "HTTPS://", "//"]), st.booleans(), st.booleans())
def test_spellings_of_a_domain(host: str, scheme: str, www: bool, upper: bool) -> None:
    """All spellings of a domain have the same key, and the key is stable."""
    plain = normalize_domain(host)
    spelled = f"{scheme}{'www.' if www and not host.startswith('www.') else ''}{host}"
    assert normalize_domain(f"  {spelled.upper() if upper and 'ß' not in spelled else spelled}:443/a?b=c#d ") == plain
    assert plain is not None
    assert normalize_domain(f"someone@{host}") == plain == normalize_domain(plain)
    assert plain.isascii()


@given(st.text())
@example("http://[::1]/")
@example("a..b")
@example("\ud800.test")
@example("www.")
@example("<>")
def test_any_text_as_domain(text: str) -> None:
    """Any text is a stable domain or none."""
    found = normalize_domain(text)
    assert found is None or normalize_domain(found) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://user:pw@WWW.Nordlicht.test:8080/a?b", "nordlicht.test"),
        ("info@nordlicht.test", "nordlicht.test"),
        ("mailto:info@nordlicht.test?subject=Hi", "nordlicht.test"),
        ("Eva Meier <eva@Nordlicht.test>", "nordlicht.test"),
        ("eva@nordlicht.test; tom@nordlicht.test", "nordlicht.test"),
        ("eva@nordlicht.test; tom@alster.test", None),
        ("eva@home@nordlicht.test", None),
        ("www.www.nordlicht.test.", "nordlicht.test"),
        ("nordlicht.test..", "nordlicht.test"),
        ("https://nordlicht.test./a", "nordlicht.test"),
        ("nordlicht.test/go?to=https://alster.test", "nordlicht.test"),
        ("nordlicht.test//alster.test", "nordlicht.test"),
        ("http:\\\\nordlicht.test\\a", "nordlicht.test"),
        ("www.test", "www.test"),
        ("müller.test", "xn--mller-kva.test"),
        ("mu\u0308ller.test", "xn--mller-kva.test"),
        ("XN--MLLER-KVA.test", "xn--mller-kva.test"),
        ("straße.test", "xn--strae-oqa.test"),
        ("\uff4eord\uff0etest", "nord.test"),
        ("\ufeffnord\u200blicht.\u00adtest\u2060", "nordlicht.test"),
        ("\u202anordlicht.test\u202c", "nordlicht.test"),
        ("\u00a0nordlicht.test\u00a0", "nordlicht.test"),
        ("nordlicht.test\0", "nordlicht.test"),
        ("nordlicht.test, alster.test", None),
        ("localhost", None),
        ("10.0.0.1", None),
        ("nord licht.test", None),
        ("-a.test", None),
        ("", None),
    ],
)
def test_domains(text: str, found: str | None) -> None:
    """Domains, URLs and email addresses have one form."""
    assert normalize_domain(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "10.1.2.3", "127.0.0.1", "169.254.1.1", "192.168.1.1", "100.64.0.1", "0.1.2.3", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "192.0.2.1", "198.51.100.7", "203.0.113.9", "192.0.0.8", "192.88.99.1", "::", "::1",
        "fe80::1", "fe80::1%eth0", "2a00:1450::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1",
        "2002:a00:1::1", "2001:0:1::1", "100::1", "::ffff:10.0.0.1", "::ffff:203.0.113.9", "4000::1", "1.2.3", "1.2.3.4/24",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(text: str) -> None:
    """Addresses that no company can have are not valid keys."""
    assert normalize_public_ip(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" [2A00:1450::0001] ", "2a00:1450::1"),
        ("[2a00:1450::1]:443", "2a00:1450::1"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("8.8.8.8:443", "8.8.8.8"),
        ("\ufeff8.8.8.8", "8.8.8.8"),
        ("198.18.0.7", "198.18.0.7"),
    ],
)
def test_public_addresses(text: str, found: str) -> None:
    """Public addresses, and those of the sandbox, have one form."""
    assert normalize_public_ip(text) == found


def test_vat_ids() -> None:
    """VAT IDs lose their separators."""
    texts = ("de 123.456-789", "12 345 678", "\uff24\uff25123456789", "x", "DE", "")
    assert [normalize_vat_id(text) for text in texts] == ["DE123456789", "12345678", "DE123456789", None, None, None]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("123456789.0", None), ("DE123456789.00", None), ("DE 123456789.0", None), ("DE123456789/2", None),
        ("none", None), ("pending", None), ("ATU 123.456.78", "ATU12345678"), ("BE 0123.456.789", "BE0123456789"),
        ("NL 8012.34.567.B.01", "NL801234567B01"), ("12.345.678/0001-95", "12345678000195"), ("RO12", "RO12"),
        ("XI 123 4567 89", "XI123456789"), ("1.234.567", "1234567"),
    ],
)  # fmt: skip
def test_vat_ids_keep_their_number(text: str, found: str | None) -> None:
    """A decimal point is not a separator, because the digits before and after it are another company's number."""
    assert normalize_vat_id(text) == found


def test_columns_by_common_names() -> None:
    """The column of a key is detected by common names or is given."""
    assert key_of({"IP Address": "8.8.8.8"}, "ip").value == "8.8.8.8"
    assert key_of({"a": "8.8.8.8"}, "ip", "A").value == "8.8.8.8"
    assert key_of({"a": None, "ip": None}, "ip").problem == "it has no value for ip"
    assert key_of({"Name": "Eva Meier", "Firma": "Nordlicht"}, "name").value == "Nordlicht"
    assert key_of({"\ufeffWeb\u00adsite": "nordlicht.test"}, "domain").value == "nordlicht.test"
    assert key_of({"domain": 10**5_000}, "domain").problem == "its domain is of type int, which cannot be a key"
    assert key_of({"domain": float("nan")}, "domain").problem == "it has no value for domain"
    unknown = key_of({"Seite": "nordlicht.test", "Ort": "Kiel"}, "domain")
    assert unknown.problem == "it has no column with a common name of a domain key. Its columns are 'Seite', 'Ort'"


LEADS: list[tuple[Mapping[str, object], str, str | None]] = [
    ({"Website": "nordlicht.test", "E-Mail": "eva@alster.test", "Company": "Elbe"}, "nordlicht.test", "domain"),
    ({"Website": "", "E-Mail": "eva@alster.test", "Company": "Elbe"}, "alster.test", "email"),
    ({"Website": "https://linkedin.com/company/elbe", "E-Mail": "eva@gmail.com", "Company": "Elbe", "City": "Kiel",
      "Country": "DE"}, "Elbe, Kiel", "name"),
    ({"Website": "n/a", "E-Mail": "unknown", "Company": "Elbe"}, "Elbe", "name"),
    ({"Website": "#N/A", "E-Mail": "NULL", "Company": "#BEZUG!"}, "#N/A", None),
    ({"Website": "#¡VALOR!", "E-Mail": "Err:502", "Company": "Loading..."}, "#¡VALOR!", None),
    ({"Website": "#\u041d/\u0414", "E-Mail": "#DIV/0!", "Company": "NaT"}, "#\u041d/\u0414", None),
    ({"Website": "", "Company": "#1 Pizza!", "City": "Nan", "Country": "TH"}, "#1 Pizza!, Nan", "name"),
    ({"Website": "", "Company": "Elbe", "City": "#N/A", "Country": "NULL"}, "Elbe", "name"),
    ({"Website": "nan", "E-Mail": "<NA>", "Company": "Nanotec"}, "Nanotec", "name"),
    ({"Website": "n/a", "E-Mail": "eva@gmail.com", "Company": "-"}, "n/a", None),
]  # fmt: skip


@pytest.mark.parametrize(("row", "value", "kind"), LEADS)
def test_fallback_keys(row: Mapping[str, object], value: str, kind: str | None) -> None:
    """Each row uses its first valid key, and the key contains its kind."""
    key = key_of(row, ["website", "email", "name+city"])
    assert (key.value, key.kind, bool(key.problem)) == (value, kind, kind is None)


def test_problems_of_all_fallback_keys() -> None:
    """If no key is valid, the problem contains the reason for each."""
    key = key_of(LEADS[-1][0], ["website", "email", "name"])
    assert key.problem == (
        "'n/a' stands for an empty cell or an error; 'gmail.com' belongs to a mail provider, a social network, a link shortener or a website "
        "builder; '-' is not a name"
    )
    assert key.is_shared


def test_fallback_with_explicit_columns() -> None:
    """A fallback can name its column."""
    row = {"Seite": "nordlicht.test", "Kunde": "Elbe"}
    assert key_of(row, ["domain=Seite", "name=Kunde"]).value == "nordlicht.test"
    assert key_of({**row, "Seite": "x"}, ["domain=Seite", "name=Kunde"]).value == "Elbe"
    assert str(KeyFinder(parse_rules(["website", "name=Kunde"]))) == "website, then name in column Kunde"


@pytest.mark.parametrize(
    ("by", "column", "message"),
    [
        ([], None, "no kind of key"),
        ("phone", None, "by='phone' is not a kind of key"),
        ("ips", None, "by='ips' is not a kind of key.*Did you mean 'ip'"),
        (["domain", "email"], "Seite", "does not say for which of the keys"),
        (["domain+city"], None, "cannot be combined with"),
        (["name+color"], None, "cannot be combined with"),
        (["ip", "domain"], None, "IP addresses cannot be combined"),
    ],
)
def test_invalid_rules(by: str | list[str], column: str | None, message: str) -> None:
    """Rules that are not valid raise ConfigurationError."""
    with pytest.raises(ConfigurationError, match=message):
        parse_rules(by, column)


@pytest.mark.parametrize(
    "text",
    [
        "ada@gmail.com", "eve@web.de", "x@gmx.net", "x@t-online.de", "https://www.linkedin.com/company/nordlicht",
        "https://de.linkedin.com/company/nordlicht", "https://www.facebook.com/nordlicht", "https://bit.ly/abc",
        "https://nordlicht.business.site", "https://nordlicht.wordpress.com", "https://youtu.be/x", "x@mailbox.org",
        "nordlicht.myshopify.com", "shop.nordlicht.squarespace.com", "nordlicht.godaddysites.com",
    ],
)  # fmt: skip
def test_shared_domains(text: str) -> None:
    """Domains of mail providers, social networks and link shorteners are not used unless that is allowed."""
    assert key_of(text, "domain").is_shared
    assert key_of(text, "domain").problem
    assert key_of(text, "domain", allow_free_mail=True).value == normalize_domain(text)


@pytest.mark.parametrize(
    "domain", ["nordlicht.test", "microsoft.com", "shopify.com", "notlinkedin.com", "gmail.com.nordlicht.test"]
)
def test_domains_of_companies_are_not_shared(domain: str) -> None:
    """A domain is compared with complete labels of the list."""
    assert not is_shared_domain(domain)


CJK = "".join(map(chr, range(0x4E00, 0x9FFF)))


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (normalize_domain, f"{CJK}.test"),
        (normalize_domain, f"{CJK[:60]}." * 30 + "test"),
        (normalize_domain, "." * 2_000_000),
        (normalize_domain, "a." * 1_000_000),
        (normalize_domain, "www." * 200_000 + "x"),
        (normalize_domain, "\ufdfa" * 100_000),
        (normalize_domain, "a" + "\u0301\u0323" * 20_000 + ".de"),
        (normalize_domain, "a" + "\u0345\u0334\u0f73\u0344" * 512),
        (normalize_domain, "//" * 1_000_000),
        (normalize_domain, "a:" + "1" * 1_000_000 + "x"),
        (normalize_domain, "a@b," * 500_000),
        (normalize_domain, "<" * 1_000_000 + ">"),
        (normalize_company_name, "- " * 1_000_000),
        (normalize_vat_id, " " * 2_000_000 + "x"),
        (normalize_vat_id, "DE" + "1" * 2_000_000),
        (normalize_public_ip, "1." * 1_000_000),
        (normalize_public_ip, ":" * 1_000_000),
        (is_value, "1" * 200_000 + "x"),
        (lambda text: key_of(FileRow({"domain": text}, 1), "domain"), "\u0301" * 5_000_000),
        (lambda text: key_of({"name": "Elbe", "city": text}, "name"), " \u0301" * 2_000_000),
        (lambda text: key_of({text: "nordlicht.test"}, "domain"), " _" * 1_000_000),
    ],
)
def test_long_texts_take_little_time(function: Callable[[str], object], text: str) -> None:
    """No text blocks the event loop for 5 ms."""
    assert least_seconds(lambda: function(text)) < longest_hold()


def longest_hold() -> float:
    """Return 5 ms, or more on a machine that is slower than usual."""
    return 0.005 * max(1.0, least_seconds(lambda: sum(number * number for number in range(50_000))) / 0.0013)


def least_seconds(function: Callable[[], object]) -> float:
    """Return the CPU time of the fastest of several calls, because the machine may be busy."""

    def seconds() -> float:
        start = time.thread_time()
        function()
        return time.thread_time() - start

    return min(seconds() for _ in range(5))


@needs_even_speed
@pytest.mark.parametrize(
    "name",
    ["k{}", "k{}-" + "a-" * 25, "k{}" + "\u0345\u0334" * 20, "{}" + "\u0345\u0334" * 27, "{}" + "\u0f73" * 1_000],
)
def test_rows_with_many_columns_take_little_time(name: str) -> None:
    """A row with as many keys as are allowed does not block the event loop, and its key is found at any place."""
    row = FileRow({**{name.format(number): 0 for number in range(16_383)}, "Domain ": "nordlicht.test"}, 1)
    by = ["domain", "email", "name"]
    assert key_of(row, by).value == "nordlicht.test"
    assert least_seconds(lambda: key_of(row, by)) < longest_hold()


@needs_even_speed
@pytest.mark.parametrize("digit", ["_", "\u00ad"])
def test_many_spellings_of_common_names_take_little_time(digit: str) -> None:
    """Many names that could be the column of the key do not block the event loop either."""
    spellings = {digit.join(f"{number:014b}").replace("0", digit).replace("1", f"{digit}-") for number in range(16_000)}
    row = {f"domain{spelling}"[:60]: "" for spelling in spellings}
    assert len(row) == 16_000
    assert least_seconds(lambda: key_of(row, "domain")) < longest_hold()


@pytest.mark.parametrize("name", ["domain" + " " * 300, "x" * 1_000_000, "  Umsatz  " * 20, "société", "\u0345" * 700])
def test_long_columns(name: str) -> None:
    """Spaces around a common name are ignored, and a column that is named exactly may have any name."""
    assert key_of({"a": 1, name: "nordlicht.test", name.upper(): "b.test"}, "domain", name).value == "nordlicht.test"
    assert bool(key_of({name: "nordlicht.test"}, "domain").value) is name.startswith("domain")


@pytest.mark.parametrize(
    ("before", "limit"),
    [("\u00fc", key_normalization.MAX_UNICODE_URL_CHARACTERS), ("u", key_normalization.MAX_URL_CHARACTERS)],
)
def test_cut_domain_is_not_used(before: str, limit: int) -> None:
    """If only the beginning of a text is searched, a domain at its end is not cut to the domain of somebody else."""
    for length in range(limit - 30, limit + 10):
        address = f"{before * length}@sub.nordlicht.com.de"
        assert normalize_domain(address) in {None, "sub.nordlicht.com.de"}
        assert normalize_domain(f"{before * length} <{address}>") is None
    assert normalize_domain(f"{before}@nordlicht.test/{before * 5_000}") == "nordlicht.test"


def test_long_invalid_key_is_shortened() -> None:
    """The value and the problem of a long key that is not valid contain only its beginning."""
    key = key_of("x" * 5_000_000, "domain")
    assert (len(key.value), len(key.problem) < 300) == (201, True)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Eva <eva@first.test>; Tom <tom@second.test>", None),
        ("Eva <eva@first.test>, Tom <tom@second.test>", None),
        ("Eva <eva@first.test>; Tom <tom@first.test>", "first.test"),
        ("Eva <eva@first.test>", "first.test"),
        ("first.test / second.test", None),
        ("www.first.test /second.test", None),
        ("eva@first.test/tom@second.test", None),
        ("eva@first.test/tom@first.test", "first.test"),
        ("https://first.test/@eva", "first.test"),
        ("first.test/a b", "first.test"),
    ],
)
def test_cell_with_several_companies_has_no_domain(text: str, domain: str | None) -> None:
    """A cell with addresses of different companies is unusable, because any of them may be meant."""
    assert normalize_domain(text) == domain


def test_key_without_nul_characters() -> None:
    """A key has no character that is lost if it is read from a file of results."""
    assert key_of({"domain": "x\0y z"}, "domain").value == "xy z"


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (20095.0, "Elbe, 20095"),
        ("20095.0", "Elbe, 20095"),
        (Decimal("20095.0"), "Elbe, 20095"),
        ("1.000", "Elbe, 1.000"),
        (20095, "Elbe, 20095"),
        ("01067", "Elbe, 01067"),
        ("1234 AB", "Elbe, 1234 AB"),
        (float("nan"), "Elbe"),
        (float("inf"), "Elbe"),
        (None, "Elbe"),
    ],
)
def test_postal_codes_of_data_frames(code: object, value: str) -> None:
    """A postal code that is a number with decimals is sent without them."""
    assert KeyFinder(parse_rules("name+postal_code")).find({"company": "Elbe", "plz": code}).value == value


@pytest.mark.parametrize("value", [True, False, [1], {"a": 1}, 2.5])
def test_values_that_are_no_names(value: object) -> None:
    """A boolean or an object in the column of the name is not looked up."""
    key = KeyFinder(parse_rules("name")).find({"company": value})
    assert f"of type {type(value).__name__}" in key.problem
