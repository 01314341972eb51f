"""``leadfeeder contract``: check the operations of this package against a document, or against the API itself."""

from __future__ import annotations

import shutil
import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter

from leadfeeder_async._argument_checks import reading
from leadfeeder_async.cli.exit_codes import ExitCode
from leadfeeder_async.cli.options import OPTIONS_GROUP, AccountId, JsonLines
from leadfeeder_async.cli.printing import pluralize, print_err, print_out, wrap
from leadfeeder_async.errors import ConfigurationError, ConnectError

if TYPE_CHECKING:
    import aiohttp

    from leadfeeder_async.cli.contract_probe import ProbeResult
    from leadfeeder_async.cli.http_address import HttpAddress
    from leadfeeder_async.cli.openapi_diff import Difference

OPENAPI_URL = "https://api.leadfeeder.com/openapi.yaml"

MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
"""Larger documents are refused. Those of large APIs have about 1 MB."""

TIMEOUT = 60.0
"""Seconds to download the document."""

contract = App(
    name="contract", help="Check this package against the API's OpenAPI document.", group_parameters=OPTIONS_GROUP
)


@contract.command(name="check")
async def check_contract(
    source: Annotated[str, Parameter(help="The URL or path of an OpenAPI document in YAML or JSON.")] = OPENAPI_URL,
    /,
) -> ExitCode:
    """Compare this package with Leadfeeder's OpenAPI document.

    Prints each difference, and the `paths=` argument that corrects changed paths. Exits with 1 if a difference breaks
    calls. Sends no key.
    """
    from leadfeeder_async.cli.http_address import HttpAddress
    from leadfeeder_async.cli.openapi_diff import compare
    from leadfeeder_async.cli.openapi_document import parse_document
    from leadfeeder_async.resources import all_endpoints

    if source.startswith(("http://", "https://")):
        address = HttpAddress(source, "document")
        source, text = address.without_login, await _download(address)
    else:
        text = _read(Path(source))
    differences = compare(parse_document(source, text), all_endpoints())
    for difference in differences:
        print_out(_format(difference))
    breaking = [difference for difference in differences if difference.breaking]
    paths = {difference.location: difference.override for difference in breaking if difference.override}
    if paths:
        print_err(f"To use the new paths, create the client with:\n  AsyncLeadfeeder(paths={paths!r})")
    others = pluralize(len(differences) - len(breaking), "other difference")
    print_err(f"{source}: {pluralize(len(breaking), 'breaking difference')}, {others}.")
    return ExitCode.REJECTED if breaking else ExitCode.SUCCESS


@contract.command(name="probe")
async def probe_contract(*, account_id: AccountId = None, json: JsonLines = False) -> ExitCode:
    """Check with your key which inferred paths exist. An inferred path is in no public source.

    Only operations that are free and change nothing are tried. Prints a line for each, and the `paths=` argument that
    corrects wrong paths. Exits with 1 if a path does not exist. Sends about 20 requests.

    Credits: none.
    """
    from leadfeeder_async.cli.contract_probe import probe_paths
    from leadfeeder_async.client import AsyncLeadfeeder

    results: list[ProbeResult] = []
    async with AsyncLeadfeeder() as client, aclosing(probe_paths(client.with_options(account_id=account_id))) as probes:
        async for result in probes:
            results.append(result)
            print_out(_format_probe(result, as_json=json or not sys.stdout.isatty()))
    paths = {result.operation: result.path for result in results if result.path}
    if paths:
        print_err(f"To use these paths at once, create the client with:\n  AsyncLeadfeeder(paths={paths!r})")
    counts = {status: sum(result.status == status for result in results) for status in ("exists", "missing", "unknown")}
    print_err(
        f"{pluralize(len(results), 'inferred path')} tried: {counts['exists']} exist, {counts['missing']} do not, "
        f"{counts['unknown']} unknown. Operations that charge credits or change data were not tried."
    )
    return ExitCode.REJECTED if counts["missing"] else ExitCode.SUCCESS


def _format_probe(result: ProbeResult, *, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(result).decode()
    line = f"{result.status.upper():<8}  {result.operation}: {result.message}"
    return wrap(line, shutil.get_terminal_size().columns, indent=" " * 10)


def _format(difference: Difference) -> str:
    if not sys.stdout.isatty():
        return msgspec.json.encode(difference).decode()
    severity = "BREAKING" if difference.breaking else "info    "
    line = f"{severity}  {difference.location}: {difference.message}"
    return wrap(line, shutil.get_terminal_size().columns, indent=" " * 10)


async def _download(address: HttpAddress) -> bytes:
    import aiohttp

    try:
        async with (
            address.open_session(TIMEOUT) as session,
            session.get(address.url, **address.request_options({})) as response,
        ):
            if response.status == 200:
                return await _read_body(response.content, address.without_login)
            problem = f"the server returned status {response.status}"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        problem = f"the request failed ({type(error).__name__})"
    raise ConnectError(
        f"{address.without_login} could not be downloaded: {problem}.",
        hint="Download it in another way, and pass the path of the file.",
    )


async def _read_body(content: aiohttp.StreamReader, address: str) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > MAX_DOCUMENT_BYTES:
            raise _too_large_error(address)
    return bytes(body)


def _read(path: Path) -> bytes:
    with reading(path), path.open("rb") as file:
        text = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(text) > MAX_DOCUMENT_BYTES:
        raise _too_large_error(str(path))
    return text


def _too_large_error(source: str) -> ConfigurationError:
    return ConfigurationError(
        f"{source} is larger than {MAX_DOCUMENT_BYTES:,} bytes.", hint="Check that it is an OpenAPI document."
    )
