"""Generate clients from the contract into ``build/`` for the benchmarks. They are never committed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.measure import Turn

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "generated"
CONTRACT = ROOT / "tests" / "contract" / "openapi.yaml"


def generate() -> dict[str, str]:
    """Generate both clients. Return the reason for each one that cannot be measured, by name."""
    scripts, missing = Path(sys.executable).parent, dict[str, str]()
    BUILD.mkdir(parents=True, exist_ok=True)
    if str(BUILD) not in sys.path:
        sys.path[:0] = [str(BUILD), str(BUILD / "openapi_generator")]
    _run(
        *(scripts / "openapi-python-client", "generate", "--path", CONTRACT, "--meta", "none", "--overwrite"),
        *("--output-path", BUILD / "openapi_python_client_made"),
    )
    if shutil.which("java") is None:
        missing["openapi-generator"] = "Java is not installed"
    else:
        _run(
            *(scripts / "openapi-generator-cli", "generate", "-i", CONTRACT, "-g", "python", "--library", "asyncio"),
            *("-o", BUILD / "openapi_generator", "--additional-properties=packageName=openapi_generator_made"),
            "--global-property=apiTests=false,modelTests=false,apiDocs=false,modelDocs=false",
        )
    return missing


def _run(*command: str | Path) -> None:
    process = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed:\n{process.stdout}\n{process.stderr}")


async def openapi_python_client(stack: AsyncExitStack, url: str, day: str, pages: int) -> Turn:
    """Return a turn that reads visits with the client of openapi-python-client (httpx and attrs)."""
    from openapi_python_client_made import AuthenticatedClient
    from openapi_python_client_made.api.web_visits import search_web_visits
    from openapi_python_client_made.models import WebVisitSearchRequestV1

    client = AuthenticatedClient(url, "k", prefix="", auth_header_name="X-Api-Key")
    await stack.enter_async_context(client)
    body = WebVisitSearchRequestV1.from_dict({"start_date": day, "end_date": day})

    async def turn() -> int:
        rows = 0
        for page in range(1, pages + 1):
            response = await search_web_visits.asyncio(
                client=client, body=body, account_id="1", pagenum=page, pagesize=100
            )
            for _ in response.data:
                rows += 1
        return rows

    return turn


def openapi_generator(stack: AsyncExitStack, url: str, day: str, pages: int) -> Turn:
    """Return a turn that reads visits with the asyncio client of openapi-generator (aiohttp and pydantic)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its fields shadow pydantic's methods
        import openapi_generator_made as client_package

    client = client_package.ApiClient(client_package.Configuration(host=url, api_key={"ApiKeyAuth": "k"}))
    stack.push_async_callback(client.close)
    api = client_package.WebVisitsApi(client)
    body = client_package.WebVisitSearchRequestV1.from_dict({"start_date": day, "end_date": day})

    async def turn() -> int:
        rows = 0
        for page in range(1, pages + 1):
            response = await api.search_web_visits("1", body, page_num=page, page_size=100)
            for _ in response.data:
                rows += 1
        return rows

    return turn
