"""The documentation is complete: every public name has its place, every page its way to it, every link its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.public import api, reference

SETTINGS = yaml.safe_load((api.ROOT / "mkdocs.yml").read_text())


def nav(entries: object = SETTINGS["nav"]) -> Iterator[str]:
    """Yield the pages of the menu."""
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict):
        yield from nav(list(entries.values()))
    elif isinstance(entries, list):
        for entry in entries:
            yield from nav(entry)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the site is built from, with what is written for it."""
    place = tmp_path_factory.mktemp("docs")
    for page in reference.DOCS.rglob("*.*"):
        if page.parent.name != "reference":
            (place / page.relative_to(reference.DOCS)).parent.mkdir(exist_ok=True)
            (place / page.relative_to(reference.DOCS)).write_bytes(page.read_bytes())
    reference.write(place)
    return place


def test_every_public_name_is_described() -> None:
    """Each class, function, field and method has a heading or a row on a page of the reference."""
    text = "".join(reference.pages().values())
    for module in api.modules():
        for name in api.names(module):
            one = module[name]
            if one.is_class and not reference.has_nouns(module.path):
                assert f"## `{name}`\n" in text, name
            for member in api.members(one) if one.is_class else ():
                shown = f"`{member.name}` |" if not member.is_function else f".{member.name}`\n"
                assert member.name.startswith("__") or shown in text, f"{name}.{member.name}"
    for noun in reference.NOUNS:
        assert f"## `lf.{noun}`\n" in text


def test_every_page_is_in_the_menu(site: Path) -> None:
    """The menu names each page once, and no page that is not there; the site's address is nobody's guess."""
    listed = list(nav())
    assert sorted(listed) == sorted(str(page.relative_to(site)) for page in site.rglob("*.md"))
    assert "site_url" not in SETTINGS


def test_every_link_leads_somewhere(site: Path) -> None:
    """Links between pages, and those of the README into them, end at a page and at a heading of it."""
    pages = [*site.rglob("*.md"), api.ROOT / "README.md"]
    for page in pages:
        visible = re.sub(r"<!--.*?-->|```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", visible):
            path, _, anchor = target.partition("#")
            end = site / path.removeprefix("docs/") if path.startswith("docs/") else page.parent / path
            assert end.is_file() or (end.is_dir() and path == "docs/"), f"{page.name}: {target}"
            assert not anchor or anchor in _anchors(end), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_docstrings_become_markdown() -> None:
    """Literals, references and example blocks of docstrings are written as Markdown."""
    text = "Do it; see :class:`~a.b.Pager`.\n\n::\n\n    async with x:\n        y()\n\n``n`` is a number."
    assert reference.markdown(text) == (
        "Do it; see `Pager`.\n\n```text\nasync with x:\n    y()\n```\n\n`n` is a number."
    )
    pages = "".join(reference.pages().values())
    assert not re.search(r"``[^`]", re.sub(r"```\w*", "", pages))
    assert ":class:" not in pages


def test_long_signatures_are_wrapped() -> None:
    """A signature that is too long for a line has a line for each argument; commas inside a type do not count."""
    short = "get(x: int) -> int"
    assert reference.wrapped(short) == short
    long = f"get(x: Mapping[str, tuple[int, str]], *, y: int = {'1' * 100}) -> tuple[()]"
    assert reference.wrapped(long).splitlines()[:3] == ["get(", "    x: Mapping[str, tuple[int, str]],", "    *,"]
    assert max(len(line) for page in reference.pages().values() for line in _blocks(page)) <= 130


def _blocks(page: str) -> list[str]:
    return [line for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]


def test_language_models_find_every_page(site: Path) -> None:
    """``llms.txt`` lists each page of the menu with a whole sentence about it."""
    lines = [line for line in (site / "llms.txt").read_text().splitlines() if line.startswith("- ")]
    assert len(lines) == len(list(nav()))
    assert all(re.fullmatch(r"- \[.+\]\(.+\.md\): .{20,}", line) for line in lines), lines
