"""The documentation covers every public name, every page is in the menu, and every link has a target."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.public import api, reference
from tests.support.paths import CONTRACT

SETTINGS = yaml.safe_load((api.ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

EVIDENCE = {"live-verified": "live", "openapi-derived": "document", "inferred": "inferred"}
"""The words for levels of evidence in docs/api-coverage.md, by the words of the contract."""


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
    """Return a copy of the documentation folder with the generated reference."""
    folder = tmp_path_factory.mktemp("docs")
    for page in reference.DOCS.rglob("*.*"):
        if page.parent.name != "reference":
            (folder / page.relative_to(reference.DOCS)).parent.mkdir(exist_ok=True)
            (folder / page.relative_to(reference.DOCS)).write_bytes(page.read_bytes())
    reference.write(folder)
    return folder


def test_every_public_name_is_documented() -> None:
    """Each class, function, field and method has a heading or a table row in the reference."""
    text = "".join(reference.pages().values())
    for module in api.modules():
        for name in api.names(module):
            member_of = module[name]
            if member_of.is_class and not reference.has_nouns(module.path):
                assert f"## `{name}`\n" in text, name
            for member in api.members(member_of) if member_of.is_class else ():
                shown = f"`{member.name}` |" if not member.is_function else f".{member.name}`\n"
                assert member.name.startswith("__") or shown in text, f"{name}.{member.name}"
    for noun in reference.NOUNS:
        assert f"## `lf.{noun}`\n" in text


def test_every_page_is_in_the_menu(site: Path) -> None:
    """The menu lists each page once. Decision records are linked from their index instead."""
    pages = {page.relative_to(site).as_posix() for page in site.rglob("*.md")}
    records = {page for page in pages if re.fullmatch(r"adr/\d{4}-.+", page)}
    assert sorted(nav()) == sorted(pages - records)
    linked = re.findall(r"\]\((\d{4}-[^)]+)\)", (site / "adr/index.md").read_text(encoding="utf-8"))
    assert records == {f"adr/{page}" for page in linked}
    assert "site_url" not in SETTINGS


def test_every_link_has_a_target(site: Path) -> None:
    """Links between pages, and from the README into them, point to existing pages and headings."""
    pages = [*site.rglob("*.md"), api.ROOT / "README.md"]
    for page in pages:
        visible = re.sub(r"<!--.*?-->|```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", visible):
            path, _, anchor = target.partition("#")
            end = site / path.removeprefix("docs/") if path.startswith("docs/") else page.parent / path
            end = end if path else page
            assert end.is_file() or (end.is_dir() and path == "docs/"), f"{page.name}: {target}"
            assert not anchor or anchor in _anchors(end), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_api_coverage_matches_the_contract() -> None:
    """``docs/api-coverage.md`` lists each operation of the contract with its path and the evidence for it."""
    contract = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    expected = {
        (operation["operationId"], f"{method.upper()} {path}", _evidence(operation))
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and "operationId" in operation
    }
    rows = re.findall(
        r"^\| `(\w+)` \| .+ \| `(.+)` \| (.+) \|$",
        (reference.DOCS / "api-coverage.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert set(rows) == expected
    assert len(rows) == len(expected)


def _evidence(operation: dict[str, str]) -> str:
    word = EVIDENCE[operation["x-path-evidence"]]
    return f"{word} ({operation['x-path-confidence']})" if word == "inferred" else word


def test_docstrings_become_markdown() -> None:
    """Literals, references and example blocks of docstrings are converted to Markdown."""
    text = "Do it; see :class:`~a.b.Pager`.\n\n::\n\n    async with x:\n        y()\n\n``n`` is a number."
    assert reference.markdown(text) == (
        "Do it; see `Pager`.\n\n```text\nasync with x:\n    y()\n```\n\n`n` is a number."
    )
    pages = "".join(reference.pages().values())
    assert not re.search(r"``[^`]", re.sub(r"```\w*", "", pages))
    assert ":class:" not in pages


def test_long_signatures_are_wrapped() -> None:
    """A long signature has one line per argument. Commas inside a type do not split it."""
    short = "get(x: int) -> int"
    assert reference.wrapped(short) == short
    long = f"get(x: Mapping[str, tuple[int, str]], *, y: int = {'1' * 100}) -> tuple[()]"
    assert reference.wrapped(long).splitlines()[:3] == ["get(", "    x: Mapping[str, tuple[int, str]],", "    *,"]
    assert max(len(line) for page in reference.pages().values() for line in _blocks(page)) <= 130


def _blocks(page: str) -> list[str]:
    return [line for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]


def test_llms_txt_lists_every_page(site: Path) -> None:
    """``llms.txt`` lists each page of the menu with its first sentence."""
    lines = [line for line in (site / "llms.txt").read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    assert len(lines) == len(list(nav()))
    assert all(re.fullmatch(r"- \[.+\]\(.+\.md\): .{20,}", line) for line in lines), lines


def test_measured_numbers_are_results(site: Path) -> None:
    """Each number of the sections about speed of the first page and the README is in the results of the benchmarks."""
    section = (site / "index.md").read_text(encoding="utf-8").split("## Measured\n")[1].strip().split("\n\n")[0]
    readme = (api.ROOT / "README.md").read_text(encoding="utf-8").split("## Speed\n")[1].strip().split("\n\n")[0]
    numbers = re.findall(r"\d[\d.,]*\d(?:-\d+ ms)?|\d+ ms", f"{section} {readme}".replace("status 429", ""))
    results = (api.ROOT / "benchmarks/results.md").read_text(encoding="utf-8")
    assert len(numbers) >= 9
    assert [number for number in numbers if not re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d.])", results)] == []
