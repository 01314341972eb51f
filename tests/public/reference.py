"""Generates docs/reference/ and docs/llms.txt: ``python -m tests.public.reference``.

The pages are built from signatures, docstrings and SECURITY.md. ``make docs`` builds them each time, so they are not kept in git.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent

import griffe
import yaml

from leadfeeder_async import AsyncLeadfeeder
from tests.public import api

DOCS = api.ROOT / "docs"

MAX_SIGNATURE = 100
"""Longer signatures have one line per argument."""

PAGES = {
    "client": ("Client", "The client, its options, budgets, and the events and statistics of its requests."),
    "calls": ("Calls", "One attribute of the client for each resource of the API, and one method for each operation."),
    "lists": ("Lists", "Pagers and pages, and the progress of exports."),
    "errors": ("Errors", "All errors of the package, which are subclasses of `LeadfeederError`."),
    "models": ("Models", "Records, request bodies and responses: one Struct for each schema of the API."),
    "sandbox": ("Sandbox", "A local server that behaves like the API, for tests and first steps."),
}
"""The title and first sentence of each page. Other pages take them from their modules."""


def has_nouns(module: str) -> bool:
    """Return True if a module defines classes of the client's attributes."""
    return module.startswith((f"{api.PACKAGE}.resources.", f"{api.PACKAGE}.jobs.enrich."))


def _client_attributes() -> dict[str, str]:
    client = AsyncLeadfeeder("key", account_id="1", base_url="http://127.0.0.1")
    values = {name: type(getattr(client, name)) for name in dir(client) if not name.startswith("_")}
    return {name: kind.__name__ for name, kind in values.items() if has_nouns(kind.__module__)}


NOUNS = _client_attributes()
"""The client's attributes and the names of their classes."""


def page_of(module: str, member: api.ApiObject) -> str:
    """Return the page of a public name, which depends on the module that defines it."""
    home = member.canonical_path.removeprefix(f"{api.PACKAGE}.")
    if module != api.PACKAGE:
        return "calls" if has_nouns(module) else module.removeprefix(f"{api.PACKAGE}.")
    if home.startswith(("pagination.", "jobs.progress")):
        return "lists"
    return "errors" if home.startswith("errors") else "client"


def is_model_alias(module: str, member: api.ApiObject) -> bool:
    """Return True if the package exports a model, which its own page describes."""
    return module == api.PACKAGE and member.canonical_path.startswith(f"{api.PACKAGE}.models.")


@cache
def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    bodies = dict[str, list[str]]()
    for module in sorted(api.modules(), key=lambda module: module.path):
        for name in api.names(module):
            member = module[name]
            if (member.is_class or member.is_function) and not is_model_alias(module.path, member):
                bodies.setdefault(page_of(module.path, member), []).append(section(module.path, member))
    texts = {f"{page}.md": "\n".join([_head(page), *sections]) for page, sections in bodies.items()}
    index = "".join(f"- [{_title(page)[0]}]({page}.md): {_title(page)[1]}\n" for page in _ordered(bodies))
    return {
        "index.md": f"# Reference\n\nGenerated from the signatures and docstrings of the package.\n\n{index}",
        **texts,
        "security-policy.md": _security_policy(),
    }


def _security_policy() -> str:
    """Return SECURITY.md as a page, because the site cannot link to files outside the documentation folder."""
    text = (api.ROOT / "SECURITY.md").read_text(encoding="utf-8")
    return text.replace("# Security\n", "# Security policy\n", 1).replace("](docs/", "](../")


def _ordered(bodies: Iterable[str]) -> list[str]:
    return [*(page for page in PAGES if page in bodies), *sorted(set(bodies) - set(PAGES))]


def _title(page: str) -> tuple[str, str]:
    if page in PAGES:
        return PAGES[page]
    module = api.package()[page]
    title = "dlt" if module.name == "dlt" else module.name.capitalize()  # its own name is in lower case
    return title, _first_line(module)


def _head(page: str) -> str:
    title, about = _title(page)
    return f"# {title}\n\n{about}\n"


def section(module: str, member: api.ApiObject) -> str:
    """Return the section of a class or function: its signature, its docstring and its members."""
    attribute = next((name for name, kind in NOUNS.items() if kind == member.name and has_nouns(module)), None)
    title = f"`lf.{attribute}`" if attribute else f"`{member.name}`"
    parts = [f"## {title}\n", _signature(member) if not attribute else "", _prose(member)]
    if member.is_class:
        parts += _members(member, f"lf.{attribute}" if attribute else member.name)
    return "\n".join(part for part in parts if part)


def _members(owner: api.ApiObject, prefix: str) -> Iterator[str]:
    fields = [member for member in api.members(owner) if not member.is_function and not member.name.startswith("__")]
    if fields:
        yield _table(
            ("Attribute", "Type", "Description"), ((f"`{field.name}`", _type(field), _cell(field)) for field in fields)
        )
    for member in api.members(owner):
        if member.is_function and not member.name.startswith("__"):
            yield f"### `{prefix}.{member.name}`\n\n{_signature(member)}\n{_prose(member)}"


def _signature(member: api.ApiObject) -> str:
    lines = [wrapped(text.replace(": __init__", "")) for text in api.signatures(member)]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def wrapped(signature: str) -> str:
    """Return a signature with one line per argument if it is too long for one line."""
    parts = re.fullmatch(r"([^(]*\()(.*)(\)(?: -> .*)?)", signature)
    if len(signature) <= MAX_SIGNATURE or parts is None:
        return signature
    arguments = re.split(r", (?=\*|/|\w+: )", parts[2])  # other commas belong to a type
    return "\n".join([parts[1], *(f"    {argument}," for argument in arguments), parts[3]])


def _type(member: api.ApiObject) -> str:
    return _code(str(member.annotation) if member.annotation is not None else str(member.value))


def _code(text: str) -> str:
    return text if "`" in text else f"`{text}`"  # the hints of errors are Markdown


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table in an element that the style sheet of the site addresses."""
    lines = [" | ".join(row) for row in (head, *rows)]
    table = f"| {lines[0]} |\n{'|-' * len(head)}|\n" + "".join(f"| {line} |\n" for line in lines[1:])
    return f'<div class="fields" markdown="1">\n\n{table}\n</div>\n'


def _cell(member: api.ApiObject) -> str:
    return _description(member.docstring.value) if member.docstring else ""


def _description(text: str) -> str:
    """Return a text for a cell. Python-Markdown ignores bars in code, and shows the backslash of escaped ones."""
    assert "|" not in re.sub(r"`[^`]*`", "", text)
    return _one_line(text)


def _one_line(text: str) -> str:
    return " ".join(markdown(text).split())


def _prose(member: api.ApiObject) -> str:
    """Return a docstring as Markdown, with a table of the arguments and a definition list of the errors."""
    if member.docstring is None:
        return ""
    parsed = member.docstring.parse("google", returns_multiple_items=False, returns_named_value=False)
    return "\n".join(_docstring_section(part) for part in parsed)


def _docstring_section(part: griffe.DocstringSection) -> str:
    match part:
        case griffe.DocstringSectionParameters():
            rows = ((f"`{entry.name}`", _argument_type(entry), _description(entry.description)) for entry in part.value)
            return _table(("Argument", "Type and default", "Description"), rows)
        case griffe.DocstringSectionRaises():
            errors = ((_error_link(str(entry.annotation)), entry.description) for entry in part.value)
            return _definitions("Raises", errors)
        case griffe.DocstringSectionReturns():
            return f"**Returns:** {_one_line(part.value[0].description)}\n"
        case griffe.DocstringSectionAdmonition():  # Credits and Pagination
            return f"**{part.title}:** {_one_line(part.value.contents)}\n"
        case griffe.DocstringSectionText():
            return markdown(part.value) + "\n"
        case _:
            raise ValueError(f"docstrings have no {part.kind.value} section: {part.value}")


def _argument_type(entry: griffe.DocstringParameter) -> str:
    is_variadic = entry.name.startswith("*")
    return _code(f"{entry.annotation}" + (f" = {entry.value}" if entry.value is not None and not is_variadic else ""))


def _definitions(title: str, entries: Iterable[tuple[str, str]]) -> str:
    """Return a definition list."""
    return f"**{title}**\n\n" + "\n".join(f"{term}\n:   {_one_line(text)}\n" for term, text in entries)


def _error_link(name: str) -> str:
    module = api.package()
    is_public = name in api.names(module) and page_of(module.path, module[name]) == "errors"
    return f"[`{name}`](errors.md#{name.lower()})" if is_public else f"`{name}`"


def _first_line(member: api.ApiObject) -> str:
    return markdown(member.docstring.value).splitlines()[0] if member.docstring else ""


def markdown(docstring: str) -> str:
    """Convert the markup of a docstring to Markdown: literals, references and example blocks."""
    text = re.sub(r":(?:class|meth|attr|func):`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", docstring)
    text = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
    return re.sub(r"^::\n\n((?:(?: {4}.*)?\n?)+)", _example, text, flags=re.MULTILINE).strip()


def _example(block: re.Match[str]) -> str:
    return f"```text\n{dedent(block[1]).strip()}\n```\n\n"


def llms() -> str:
    """Return an index for language models: each page of the menu with its first sentence."""
    settings = yaml.safe_load((api.ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    entries = [pair for entry in settings["nav"] for pair in entry.items()]
    single = "".join(_entry(title, inside) for title, inside in entries if isinstance(inside, str))
    sections = [(title, inside) for title, inside in entries if not isinstance(inside, str)]
    return f"# {settings['site_name']}\n\n> {settings['site_description']}\n\n{single}" + "".join(
        f"\n## {title}\n\n" + "".join(_entry(*pair) for entry in inside for pair in entry.items())
        for title, inside in sections
    )


def _entry(title: str, page: str) -> str:
    text = (
        (DOCS / page).read_text(encoding="utf-8") if not page.startswith("reference/") else pages()[page.split("/")[1]]
    )
    return f"- [{title}]({page}): {_first_sentence(text)}\n"


def _first_sentence(page: str) -> str:
    plain = re.sub(r"```.*?```|<!--.*?-->", "", page, flags=re.DOTALL)
    prose = next(part for part in plain.split("\n\n") if part.strip() and not part.lstrip().startswith(("#", "|")))
    return re.split(r"(?<=[.!?]) ", re.sub(r"\[(.+?)\]\(.+?\)", r"\1", " ".join(prose.split())))[0]


def write(docs: Path = DOCS) -> None:
    """Write the pages to the documentation folder."""
    folder = docs / "reference"
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    (docs / "llms.txt").write_text(llms(), encoding="utf-8")


if __name__ == "__main__":
    write()
