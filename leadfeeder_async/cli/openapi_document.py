"""Read an OpenAPI document in YAML or JSON. The document is not trusted."""

from __future__ import annotations

import re

import msgspec
import yaml

from leadfeeder_async.errors import ConfigurationError

MAX_DEPTH = 100
"""The deepest nesting of a document. Those of large APIs have about 30 levels."""


class _Loader(yaml.CSafeLoader):
    """Reads the types of JSON only, so that keys such as ``on``, ``no`` and ``2026-01-01`` stay strings."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", "^(?:true|false)$", ["t", "f"]),
    ("null", "^(?:null|~|)$", ["n", "~", ""]),
    ("int", "^-?[0-9]{1,18}$", list("-0123456789")),  # Python refuses to convert very long integers
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)  # pyright: ignore[reportUnknownMemberType]


def parse_document(source: str, text: bytes) -> dict[str, object]:
    """Return an OpenAPI document.

    Args:
        source: The URL or path of the document, for errors.
        text: The document.

    Raises:
        ConfigurationError: It is neither YAML nor JSON, not an object, or nested too deeply.
    """
    try:
        if text.lstrip()[:1] == b"{":
            try:
                return msgspec.json.decode(text, type=dict[str, object])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                pass  # YAML may begin with a brace too
        _check_depth(text)
        return string_keys(yaml.load(text, Loader=_Loader))  # noqa: S506 - derived from the safe loader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        message = f"{source} is not a valid OpenAPI document ({type(error).__name__})."
        raise ConfigurationError(message, hint="Check that it is the document itself, as YAML or JSON.") from None


def _check_depth(text: bytes) -> None:
    """Raise ValueError if a document is nested so deeply that loading it could exhaust the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def string_keys(value: object) -> dict[str, object]:
    """Return an object of a document with its keys as strings, or raise TypeError if it is not an object."""
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} is not an object")
    members: dict[object, object] = msgspec.convert(value, dict[object, object])
    return {str(key): member for key, member in members.items()}
