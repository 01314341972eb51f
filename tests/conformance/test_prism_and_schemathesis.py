"""Judges that know nothing of this project: a mock server and a fuzzer, both made from the contract alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from leadfeeder_async import resources
from leadfeeder_async.sandbox import Sandbox, run_in_thread
from tests.models.test_models import lost
from tests.support.clients import client_of
from tests.support.operations import CALLS
from tests.support.paths import CONTRACT, EXAMPLES, ROOT


def find_prism() -> str | None:
    """Find the mock server, where ``make prism`` put it or on the path."""
    local = ROOT / "build" / "prism" / "node_modules" / ".bin" / "prism"
    return str(local) if local.exists() else shutil.which("prism")


def contract_for_prism(folder: Path) -> Path:
    """Copy the contract with ``filter[scope]`` optional: Prism finds no required parameter whose name has brackets."""
    document = yaml.load(CONTRACT.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    document["components"]["parameters"]["FilterScopeRequired"]["required"] = False
    copy = folder / "openapi.json"
    copy.write_bytes(msgspec.json.encode(document))
    return copy


@pytest.fixture(scope="module")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run Prism on the contract: it refuses any request the contract does not allow, and answers with examples."""
    command = find_prism()
    if command is None:
        pytest.skip("Prism is not installed: `make prism` needs Node.js")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    contract = contract_for_prism(tmp_path_factory.mktemp("prism"))
    arguments = ["mock", str(contract), "--errors", "--port", str(port), "--host", "127.0.0.1"]
    with subprocess.Popen([command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("Prism did not start within 30 s")


def test_there_is_a_call_of_every_operation() -> None:
    """The list of calls names each operation of the contract."""
    assert set(CALLS) == {row.operation for row in resources.all_endpoints()}


@pytest.mark.parametrize("operation", CALLS)
async def test_call_is_accepted_and_its_example_decoded(prism: str, operation: str) -> None:
    """Prism accepts the request of every method, and nothing of the example it answers is lost."""
    async with client_of(prism) as lf:
        result = await CALLS[operation](lf)
    example: Any = msgspec.json.decode((EXAMPLES / f"{operation}.json").read_bytes())
    again: Any = msgspec.json.decode(msgspec.json.encode(result))
    if isinstance(again, dict) and "meta" in again:
        assert lost(example, again) == []
    else:
        rows = again if isinstance(again, list) else [again]
        assert lost(example["data"][: len(rows)], rows) == []


LEFT_OUT = {
    "positive_data_acceptance": "the contract cannot say which ids exist, which ICPs and feeds an account has, nor that "
    "from must not be after to: well-formed requests are rightly refused for them",
}
"""Checks of schemathesis that are left out, each with its reason."""


@pytest.mark.timeout(240)
def test_sandbox_obeys_the_contract(tmp_path: Path) -> None:
    """A fuzzer made from the contract finds no answer of the sandbox that the contract does not allow."""
    with run_in_thread(Sandbox(rate_limit=False, credits=10**9, companies=20, visits=300)) as sandbox:
        config = tmp_path / "schemathesis.toml"
        config.write_text(f'[parameters]\n"query.account_id" = "{sandbox.account_id}"\n')
        command = [
            Path(sys.executable).with_name("st"), "--config-file", config, "run", CONTRACT, "--url", sandbox.url,
            "--header", f"X-Api-Key: {sandbox.api_key}", "--phases", "examples,coverage,fuzzing", "--no-color",
            "--max-examples", os.environ.get("SCHEMATHESIS_EXAMPLES", "15"), "--seed", "1", "--generation-deterministic",
            "--exclude-checks", ",".join(LEFT_OUT),
        ]  # fmt: skip
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": ""}
        found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert found.returncode == 0, found.stdout[-6_000:]
    assert "Tested: 53" in found.stdout


TEN_LINES = """
from leadfeeder_async import AsyncLeadfeeder

async def hot_companies():
    async with AsyncLeadfeeder() as lf:
        return [one.id async for one in lf.companies.search(search_terms=["robotik"])]

def test_hot_companies(leadfeeder_sandbox):
    import asyncio
    assert asyncio.run(hot_companies())
    assert leadfeeder_sandbox.ledger.credits_charged == 0
"""


def test_somebody_else_s_suite(tmp_path: Path) -> None:
    """From an empty folder, ten lines of pytest use the fixture without importing or configuring anything."""
    (tmp_path / "test_mine.py").write_text(TEN_LINES)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "1 passed" in found.stdout, found.stdout + found.stderr


async def test_fixture_serves_async_tests_too(leadfeeder_sandbox: Sandbox) -> None:
    """The fixture's sandbox runs beside the test's own event loop."""
    from leadfeeder_async import AsyncLeadfeeder

    async with AsyncLeadfeeder() as lf:
        await asyncio.gather(*(lf.users.me() for _ in range(5)))
    assert leadfeeder_sandbox.ledger.count("get_current_user") == 5
