"""The generated reference shows the sections of docstrings."""

from __future__ import annotations

import re

import griffe
import pytest

from tests.public import api, reference

METHODS = [
    pytest.param(method, id=f"{attribute}.{method.name}")
    for attribute, kind in reference.NOUNS.items()
    for module in api.modules()
    if module.path.startswith(f"{api.PACKAGE}.resources.") and kind in api.names(module)
    for method in api.members(module[kind])
    if method.is_function
]


def sections(member: api.ApiObject) -> dict[str, griffe.DocstringSection]:
    """Return the sections of a docstring by their titles."""
    assert member.docstring is not None
    parsed = member.docstring.parse("google", returns_multiple_items=False, returns_named_value=False)
    return {part.title or part.kind.value: part for part in parsed}


def argument_names(member: api.ApiObject) -> list[str]:
    """Return the arguments of a function or of the constructor of a class."""
    return [parameter.name for parameter in member.parameters if parameter.name not in {"self", "*"}]


def documented_arguments(member: api.ApiObject) -> list[str]:
    """Return the arguments that a docstring has entries for."""
    section = sections(member).get("parameters")
    return [entry.name for entry in section.value] if section else []


@pytest.mark.parametrize("method", METHODS)
def test_resource_method_documents_its_signature(method: griffe.Function) -> None:
    """Each method of a resource has entries for its arguments, its return value and its credits."""
    assert documented_arguments(method) == argument_names(method)
    assert {"returns", "Credits"} <= set(sections(method))
    assert ("Pagination" in sections(method)) == str(method.returns).startswith(("Pager[", "IdPager["))


@pytest.mark.parametrize(
    "name", ["redis.RedisLimiter", "redis.RedisCredits", "dlt.leadfeeder_source", "opentelemetry.instrument"]
)
def test_integration_documents_its_arguments(name: str) -> None:
    """Each argument of an integration has an entry, so that an editor shows it."""
    member = api.package()[f"integrations.{name}"]
    assert documented_arguments(member) == argument_names(member)


def test_arguments_become_a_table() -> None:
    """Arguments have a table with their types and defaults. Errors are a definition list with links to their page."""
    page = reference.pages()["calls.md"]
    (text,) = re.findall(r"^### `lf\.tags\.create`\n(.*?)^### ", page, re.DOTALL | re.MULTILINE)
    assert "| Argument | Type and default | Description |\n|-|-|-|\n| `name` | `str` | The name of the tag. |\n" in text
    assert "\n| `account_id` | `str | None = None` | " in text
    assert "[`OutcomeUnknownError`](errors.md#outcomeunknownerror)\n:   The response was lost" in text
    assert "**Returns:** The new tag.\n\n" in text
    assert text.endswith("**Credits:** None.\n\n")


def test_constructor_arguments_are_documented() -> None:
    """The arguments of a class's constructor are in its section, with their types."""
    page = reference.pages()["integrations.redis.md"]
    assert "| `outage_timeout` | `float = " in page.split("## `RedisLimiter`")[1]


def test_every_argument_has_a_type() -> None:
    """Each argument and each attribute of the tables has a type, and special attributes are left out."""
    rows = [row for page in reference.pages().values() for row in re.findall(r"^\| `.*", page, re.MULTILINE)]
    assert len(rows) > 1_000
    assert [row for row in rows if not re.match(r"\| `(?!__)[\w*]+` \| \S", row)] == []
    assert [row for row in rows if re.match(r"\| `[\w*]+` \| \|", row) or "\\|" in row] == []


def test_security_policy_is_a_page() -> None:
    """The site has a copy of SECURITY.md, whose links lead to other pages."""
    page = reference.pages()["security-policy.md"]
    assert page.startswith("# Security policy\n")
    assert "](../redis.md#" in page
    assert "](docs/" not in page
