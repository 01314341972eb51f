"""``leadfeeder contract check``: this package against the vendor's published OpenAPI document."""

from __future__ import annotations

import sys
from pathlib import Path

import aiohttp
import msgspec
import yaml

from leadfeeder_async.cli import terminal
from leadfeeder_async.cli.openapi_diff import Difference, compare
from leadfeeder_async.errors import ConfigurationError, ConnectError
from leadfeeder_async.resources import all_endpoints

LARGEST = 32 * 1024 * 1024
"""The largest document that is read, in bytes."""


async def check(source: str) -> bool:
    """Print what differs between this package and a document; tell whether anything breaks."""
    text = await _fetch(source) if source.startswith(("http://", "https://")) else _read(Path(source))
    found = compare(_parse(source, text), all_endpoints())
    for one in found:
        terminal.print_out(_line(one))
    breaking = [one for one in found if one.breaking]
    overrides = {one.where: one.override for one in breaking if one.override}
    if overrides:
        terminal.print_note(f"AsyncLeadfeeder(paths={overrides!r})")
    terminal.print_note(f"{len(breaking)} breaking, {len(found) - len(breaking)} other differences from {source}")
    return bool(breaking)


def _line(difference: Difference) -> str:
    if not sys.stdout.isatty():
        return msgspec.json.encode(difference).decode()
    return f"{'BREAKS' if difference.breaking else 'note  '}  {difference.where}: {difference.what}"


async def _fetch(url: str) -> bytes:
    """Fetch a public document, without any key."""
    problem = ""
    timeout = aiohttp.ClientTimeout(total=60)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status == 200:
                return await _read_all(response.content)
            problem = f"it answers {response.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        problem = f"no answer ({type(error).__name__})"
    raise ConnectError(f"{url} could not be read: {problem}.", hint="Download it, then: leadfeeder contract check FILE")


async def _read_all(content: aiohttp.StreamReader) -> bytes:
    """Read to the end, or to one piece past the largest document."""
    text = bytearray()
    async for piece in content.iter_any():
        text += piece
        if len(text) > LARGEST:
            raise ConfigurationError(f"The document is longer than {LARGEST:,} bytes.")
    return bytes(text)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None


def _parse(source: str, text: bytes) -> dict[str, object]:
    try:
        return msgspec.convert(yaml.safe_load(text), dict[str, object])
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError):
        raise ConfigurationError(f"{source} is not an OpenAPI document.") from None
