"""Writes docs/reference/ and docs/llms.txt: ``python -m tests.public.reference``.

The pages come from signatures and docstrings, and are made anew by each ``make docs``, so they are not kept in git.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent

import yaml

from leadfeeder_async import AsyncLeadfeeder
from tests.public import api

DOCS = api.ROOT / "docs"
NOUNS = dict(re.findall(r"self\.(\w+) = (\w+)\(executor\)", inspect.getsource(AsyncLeadfeeder._bind)))
"""The client's attributes and their classes."""

WIDTH = 100
"""Signatures longer than this are wrapped."""

PAGES = {
    "client": ("Client", "The client, its options, and what it tells of itself."),
    "calls": ("Calls", "One attribute of the client for each noun of the API, one method for each operation."),
    "lists": ("Lists", "What iterates, and what it hands out."),
    "errors": ("Errors", "Every error; all are `LeadfeederError`."),
    "models": ("Models", "What travels: one Struct for each schema, under the API's own names."),
    "sandbox": ("Sandbox", "A local Leadfeeder, for tests and first steps."),
}


def page_of(module: str, one: api.Thing) -> str:
    """Choose the page of a public name, by the module that defines it."""
    home = one.canonical_path.removeprefix(f"{api.PACKAGE}.")
    if module != api.PACKAGE:
        return "calls" if has_nouns(module) else module.removeprefix(f"{api.PACKAGE}.")
    if home.startswith(("pagination.", "jobs.progress")):
        return "lists"
    return "errors" if home.startswith("errors") else "client"


def has_nouns(module: str) -> bool:
    """Whether a module defines attributes of the client."""
    return module.startswith((f"{api.PACKAGE}.resources.", f"{api.PACKAGE}.jobs.enrich."))


@cache
def pages() -> dict[str, str]:
    """Return the text of each page, by its file's name."""
    bodies = dict[str, list[str]]()
    for module in sorted(api.modules(), key=lambda one: one.path):
        for name in api.names(module):
            one = module[name]
            if one.is_class or one.is_function:
                bodies.setdefault(page_of(module.path, one), []).append(section(module.path, one))
    written = {f"{page}.md": "\n".join([_head(page), *sections]) for page, sections in bodies.items()}
    listed = "".join(f"- [{_title(page)[0]}]({page}.md): {_title(page)[1]}\n" for page in _ordered(bodies))
    return {
        "index.md": f"# Reference\n\nWritten from the signatures and docstrings of the package.\n\n{listed}",
        **written,
    }


def _ordered(bodies: dict[str, list[str]]) -> list[str]:
    return [*(page for page in PAGES if page in bodies), *sorted(set(bodies) - set(PAGES))]


def _title(page: str) -> tuple[str, str]:
    if page in PAGES:
        return PAGES[page]
    module = api.package()[page]
    return page.replace("_", " ").capitalize(), _first_line(module)


def _head(page: str) -> str:
    title, about = _title(page)
    return f"# {title}\n\n{about}\n"


def section(module: str, one: api.Thing) -> str:
    """Describe a class or function: its signature, its docstring, its members."""
    attribute = next((noun for noun, name in NOUNS.items() if name == one.name and has_nouns(module)), None)
    title = f"`lf.{attribute}`" if attribute else f"`{one.name}`"
    parts = [f"## {title}\n", _signature(one) if not attribute else "", _prose(one)]
    if one.is_class:
        parts += _members(one, f"lf.{attribute}" if attribute else one.name)
    return "\n".join(part for part in parts if part)


def _members(owner: api.Thing, spelt: str) -> Iterator[str]:
    fields = [one for one in api.members(owner) if not one.is_function]
    if fields:
        rows = "".join(f"| `{one.name}` | {_type(one)} | {_cell(one)} |\n" for one in fields)
        yield f"| Attribute | Type | |\n|-|-|-|\n{rows}"
    for one in api.members(owner):
        if one.is_function and not one.name.startswith("__"):
            yield f"### `{spelt}.{one.name}`\n\n{_signature(one)}\n{_prose(one)}"


def _signature(one: api.Thing) -> str:
    return "```text\n" + "\n".join(wrapped(text.replace(": __init__", "")) for text in api.signatures(one)) + "\n```\n"


def wrapped(signature: str) -> str:
    """Put each argument on a line of its own where one line would be too long."""
    parts = re.fullmatch(r"([^(]*\()(.*)(\)(?: -> .*)?)", signature)
    if len(signature) <= WIDTH or parts is None:
        return signature
    arguments = re.split(r", (?=\*|/|\w+: )", parts[2])  # other commas belong to a type
    return "\n".join([parts[1], *(f"    {argument}," for argument in arguments), parts[3]])


def _type(one: api.Thing) -> str:
    shown = str(one.annotation) if one.annotation is not None else str(one.value)
    return f"`{shown}`".replace("|", "\\|")


def _cell(one: api.Thing) -> str:
    return markdown(one.docstring.value).replace("\n", " ").replace("|", "\\|") if one.docstring else ""


def _prose(one: api.Thing) -> str:
    return markdown(one.docstring.value) + "\n" if one.docstring else ""


def _first_line(one: api.Thing) -> str:
    return markdown(one.docstring.value).splitlines()[0] if one.docstring else ""


def markdown(docstring: str) -> str:
    """Turn a docstring's marks into Markdown: literals, references and example blocks."""
    text = re.sub(r":(?:class|meth|attr|func):`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", docstring)
    text = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
    return re.sub(r"^::\n\n((?:(?: {4}.*)?\n?)+)", _example, text, flags=re.MULTILINE).strip()


def _example(block: re.Match[str]) -> str:
    return f"```text\n{dedent(block[1]).strip()}\n```\n\n"


def llms() -> str:
    """Return an index for language models: every page of the site's menu with its first sentence."""
    settings = yaml.safe_load((api.ROOT / "mkdocs.yml").read_text())
    entries = [pair for entry in settings["nav"] for pair in entry.items()]
    single = "".join(_entry(title, inside) for title, inside in entries if isinstance(inside, str))
    sections = [(title, inside) for title, inside in entries if not isinstance(inside, str)]
    return f"# {settings['site_name']}\n\n> {settings['site_description']}\n\n{single}" + "".join(
        f"\n## {section}\n\n" + "".join(_entry(*pair) for entry in inside for pair in entry.items())
        for section, inside in sections
    )


def _entry(title: str, page: str) -> str:
    text = (DOCS / page).read_text() if not page.startswith("reference/") else pages()[page.split("/")[1]]
    return f"- [{title}]({page}): {_opening(text)}\n"


def _opening(text: str) -> str:
    """Return the first sentence of a page."""
    plain = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    prose = next(part for part in plain.split("\n\n") if part.strip() and not part.lstrip().startswith(("#", "|")))
    return re.split(r"(?<=[.!?]) ", re.sub(r"\[(.+?)\]\(.+?\)", r"\1", " ".join(prose.split())))[0]


def write(docs: Path = DOCS) -> None:
    """Write the pages."""
    place = docs / "reference"
    place.mkdir(exist_ok=True)
    for name, text in pages().items():
        (place / name).write_text(text)
    (docs / "llms.txt").write_text(llms())


if __name__ == "__main__":
    write()
