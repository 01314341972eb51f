"""The HTML of the report: escaping, the content security policy, and loading of the templates."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import b64encode
from datetime import UTC, date, datetime
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET
from zipfile import ZipFile

import pytest
from jinja2 import UndefinedError

from leadfeeder_async import AsyncLeadfeeder, ConfigurationError
from leadfeeder_async.report import write_report
from leadfeeder_async.report.formatting import MAX_STRING_LENGTH, PLACEHOLDER, website
from leadfeeder_async.report.load import read_report
from leadfeeder_async.report.render import _environment, render
from leadfeeder_async.sandbox import Sandbox, World
from leadfeeder_async.sync import sync_account
from tests.report.hostile_values import HARMLESS, HOSTILE, database_of
from tests.report.page_parser import body_of, table_in, text_of
from tests.support.database import make_database, world_database
from tests.support.paths import PACKAGE

END = date(2026, 11, 24)
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def page_with(tmp_path: Path, value: str) -> str:
    path = database_of(tmp_path / f"{len(list(tmp_path.iterdir()))}.duckdb", value)
    return render(read_report(path, title=value, now=NOW))


def structure(page: str) -> list[tuple[str, list[str]]]:
    """Return the name and the attribute names of each element of the body."""
    return [(element.tag, sorted(element.attrib)) for element in body_of(page).iter()]


def shown(value: str) -> str:
    """Return how the page shows a value."""
    return " ".join(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", value).split())


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_hostile_values_are_shown_as_text(value: str, tmp_path: Path) -> None:
    """A hostile value adds no element and no attribute to the page, and is shown unchanged in each place."""
    hostile, harmless = page_with(tmp_path, value), page_with(tmp_path, HARMLESS)
    assert structure(hostile) == structure(harmless)
    assert hostile.count("<script>") == hostile.count("</script>") == hostile.count("</style>") == 1
    assert hostile.count("<title>") == harmless.count("<title>")
    body, text = body_of(hostile), shown(value)
    assert text_of(body.findall(".//h1")[0]) == text
    assert f"account {text}" in text_of(body)
    named, unnamed = table_in(body, "companies")
    assert named == [
        f"{text} New {text} · {text} employees",
        *("2", PLACEHOLDER, PLACEHOLDER),
        f"1.0 {text}",
        text,
        "24 Nov",
        " ".join(sorted((text, text))),
    ]
    assert unnamed == [f"Company {text} New", "1", PLACEHOLDER, PLACEHOLDER, text, PLACEHOLDER, "24 Nov", PLACEHOLDER]
    for section, label in (("landing", text), ("sources", f"{text} / {text}"), ("countries", text)):
        assert table_in(body, section) == [[label, "3 100.0%", "2"]]
    assert table_in(body, "usage") == [[text, "1", PLACEHOLDER]]
    assert table_in(body, "usage", 1) == [[f"{text} {text}", "1", PLACEHOLDER]]
    assert f"1 request in {text}, 0.0% of the monthly quota" in text_of(body)
    assert f"Requests and credits by endpoint, {text}" in text_of(body)


@pytest.mark.parametrize("value", ["\x00", "\ud800", "\x9b"])
def test_unprintable_characters_are_replaced(value: str, tmp_path: Path) -> None:
    """A character that HTML or UTF-8 does not allow becomes U+FFFD."""
    path = database_of(tmp_path / "a.duckdb", HARMLESS)
    page = render(read_report(path, title=f"a{value}b", now=NOW))
    assert "<title>a\ufffdb</title>" in page
    page.encode()


def test_every_long_value_is_shortened(tmp_path: Path) -> None:
    """No value of the database is shown with more than 160 characters."""
    page = page_with(tmp_path, "x" * 5_000)
    assert max(map(len, re.findall("x+…?", page))) == MAX_STRING_LENGTH


def test_unknown_names_in_templates_raise() -> None:
    """A misspelled variable or attribute in a template is an error instead of an empty string."""
    for source in ("{{ misspelled }}", "{{ report.misspelled }}", "{% if report.misspelled %}{% endif %}"):
        with pytest.raises(UndefinedError):
            _environment().from_string(source).render(report=Path())


def test_page_loads_and_runs_nothing_else(tmp_path: Path) -> None:
    """The page refers to no other resource. Its policy allows only its own style and script, by their hashes."""
    page = render(
        read_report(
            world_database(tmp_path / "a.duckdb", World(seed=1, companies=400, visits=12_345, days=90, end_date=END))
        )
    )
    page_without_links = re.sub(r'<a class="name" href="https?://[^"]+" rel="noopener noreferrer">', "", page)
    assert len(page_without_links) < len(page)
    assert not re.search(r"(?i)\b(src|href|action|srcset|poster)=|url\(|@import|https?:", page_without_links)
    assert not re.search(r'\sstyle="|\son\w+="', page)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)
    assert policy

    def hash_of(name: str) -> str:
        inside = re.search(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        assert inside
        assert len(inside[1]) > 1_000
        return b64encode(sha256(inside[1].encode()).digest()).decode()

    allowed = f"style-src 'sha256-{hash_of('style')}'; script-src 'sha256-{hash_of('script')}'"
    assert policy[1] == f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    assert len(page.encode()) < 100_000


def test_sections_and_order(tmp_path: Path) -> None:
    """The page has all its sections, in order, each named by its heading."""
    body = body_of(page_with(tmp_path, HARMLESS))
    headings = [text_of(heading) for heading in body.iter() if heading.tag in {"h1", "h2", "h3"}]
    assert headings == [
        *(HARMLESS, "At a glance", "Visits per day", "Top companies", "Landing pages", "Sources and mediums"),
        *("Countries", "Credits and quota", "Credits", "Requests", "How visits are counted"),
    ]
    assert [_heading_of(section) for section in body.iter("section")] == headings[1:8]
    footer = text_of(body.findall("./footer")[0])
    assert "New: the first visit of a company in this database, which begins on 24 Nov 2026." in footer
    assert "Created 25 Nov 2026, 00:00 by leadfeeder_async" in footer


def test_table_elements_have_explicit_roles(tmp_path: Path) -> None:
    """The elements of a table have roles, because browsers ignore the implicit ones of elements shown as blocks."""
    groups = dict.fromkeys(("thead", "tbody", "tfoot"), "rowgroup")
    roles = {"table": "table", "tr": "row", "td": "cell", **groups}
    world = world_database(tmp_path / "a.duckdb", World(seed=1, companies=400, visits=3_000, days=90, end_date=END))
    elements = [element for table in body_of(render(read_report(world))).iter("table") for element in table.iter()]
    assert {(element.tag, element.get("role")) for element in elements if element.tag in roles} <= set(roles.items())
    headers = {(element.get("scope"), element.get("role")) for element in elements if element.tag == "th"}
    assert headers == {("col", "columnheader"), ("row", "rowheader")}


def _heading_of(section: ET.Element) -> str:
    name = section.get("aria-labelledby")
    (heading,) = section.findall(f"./h2[@id='{name}']")
    return text_of(heading)


@pytest.mark.parametrize(
    ("missing", "named"),
    [({"jinja2"}, "Jinja2"), ({"duckdb"}, "DuckDB"), ({"jinja2", "duckdb"}, "DuckDB and Jinja2")],
)
def test_missing_extra(missing: set[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the missing packages and the command that installs them. No file is written."""
    monkeypatch.setattr(
        "leadfeeder_async.report.write.find_spec", lambda name: None if name in missing else find_spec(name)
    )
    with pytest.raises(ConfigurationError, match=f"A report needs {named}, which") as caught:
        write_report(make_database(tmp_path / "a.duckdb"), tmp_path / "report.html")
    assert caught.value.hint == "Run pip install duckdb jinja2, or install the extra report."
    assert [file.name for file in tmp_path.iterdir()] == ["a.duckdb"]


def test_import_needs_no_extra() -> None:
    """Importing the report package imports neither Jinja2 nor DuckDB."""
    code = "import sys, leadfeeder_async.report; print(sorted({'duckdb', 'jinja2', 'markupsafe'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "[]\n"


def test_templates_load_from_a_zip_file(tmp_path: Path) -> None:
    """A package that is imported from a zip file writes the same page."""
    path = world_database(tmp_path / "a.duckdb", World(seed=1, companies=20, visits=300, days=40, end_date=END))
    with ZipFile(tmp_path / "package.zip", "w") as archive:
        for file in PACKAGE.rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                archive.write(file, file.relative_to(PACKAGE.parent))
    code = (
        "import leadfeeder_async, leadfeeder_async.report.load as load, leadfeeder_async.report.render as render, sys\n"
        "from datetime import UTC, datetime\n"
        "assert 'package.zip' in leadfeeder_async.__file__\n"
        "page = render.render(load.read_report(sys.argv[1], now=datetime(2026, 11, 25, tzinfo=UTC)))\n"
        "sys.stdout.buffer.write(page.encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "package.zip")},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.stderr.decode() == ""
    assert done.stdout.decode() == render(read_report(path, now=NOW))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://www.nordlicht.test/a?b=1", "https://www.nordlicht.test/a?b=1"),
        ("nordlicht.test", "https://nordlicht.test"),
        (" http://nordlicht.test:8080 ", "http://nordlicht.test:8080"),
        ("javascript:alert(1)", None), ("data:text/html,x", None), ("https://real.test@evil.test", None),
        ('https://x.test/"onclick=1', None), ("https://x.test/a b", None), ("ftp://x.test", None),
        ("nowhere", None), ("", None), (None, None), ("https://x.test/" + "a" * 200, None),
    ],
)  # fmt: skip
def test_only_websites_are_links(url: str | None, expected: str | None) -> None:
    """A link has the address of a website. Other schemes and unusual characters are no links."""
    assert website(url) == expected


async def test_new_since_the_previous_report(tmp_path: Path) -> None:
    """The page names the account. A page that replaces another lists what was synced since then."""
    database, out = tmp_path / "a.duckdb", tmp_path / "report.html"
    async with Sandbox(companies=40, visits=300, rate_limit=False) as sandbox:
        client = AsyncLeadfeeder(sandbox.api_key, account_id=sandbox.account_id, base_url=sandbox.url, rate=1_000)
        async with client as lf:
            name = (await lf.accounts.get()).data.name
            await sync_account(lf, database)
            first = write_report(database, out)
            assert (first.coverage.account_name, first.new_since) == (name, None)
            assert f"<bdi>{name}</bdi> (<bdi>{sandbox.account_id}</bdi>)" in out.read_text(encoding="utf-8")
            sandbox.world.add_visits(4)
            await sync_account(lf, database)
            await sync_account(lf, database)
    report = write_report(database, out, overwrite=True)
    assert report.new_since is not None
    assert (report.new_since.since, report.new_since.visits) == (first.coverage.finished_at, 4)
    assert "New since the previous report" in out.read_text(encoding="utf-8")
    assert "4 visits and " in out.read_text(encoding="utf-8")
    again = write_report(database, tmp_path / "other.html")  # without a previous page: since the sync before the last
    assert again.new_since is not None
    assert again.new_since.visits == 0
