"""Check the client and the sandbox with Prism and Schemathesis, which know only the contract."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from typing import Any

import msgspec
import pytest
import yaml

from leadfeeder_async import resources
from leadfeeder_async.sandbox import Sandbox, run_in_thread
from tests.models.test_models import lost
from tests.support.clients import client_of
from tests.support.operations import CALLS
from tests.support.paths import CONTRACT, EXAMPLES, ROOT, SCRIPTS
from tests.support.redis import unused_port


def find_prism() -> str | None:
    """Return the path of the Prism command, from ``make prism`` or from PATH."""
    installed = ROOT / "build" / "prism" / "node_modules" / ".bin" / "prism"
    return str(installed) if installed.exists() else shutil.which("prism")


def contract_for_prism(folder: Path) -> Path:
    """Copy the contract with an optional ``filter[scope]``, because Prism never finds a required one in a request."""
    document = yaml.load(CONTRACT.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    document["components"]["parameters"]["FilterScopeRequired"]["required"] = False
    copy = folder / "openapi.json"
    copy.write_bytes(msgspec.json.encode(document))
    return copy


@pytest.fixture(scope="module")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run Prism, which rejects requests that the contract does not allow and returns the contract's examples."""
    command = find_prism()
    if command is None:
        pytest.skip("Prism is not installed: `make prism` needs Node.js")
    port = unused_port()
    contract = contract_for_prism(tmp_path_factory.mktemp("prism"))
    arguments = ["mock", str(contract), "--errors", "--port", str(port), "--host", "127.0.0.1"]
    with subprocess.Popen([command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            wait_until_listening(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def wait_until_listening(port: int) -> None:
    for _ in range(300):
        with socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("Prism did not start within 30 s")


def test_every_operation_has_a_call() -> None:
    """The calls cover each operation of the contract."""
    assert set(CALLS) == {endpoint.operation for endpoint in resources.all_endpoints()}


@pytest.mark.parametrize("operation", CALLS)
async def test_prism_accepts_request(prism: str, operation: str) -> None:
    """Prism accepts the request of every method, and the client decodes its example completely."""
    async with client_of(prism) as lf:
        result = await CALLS[operation](lf)
    example: Any = msgspec.json.decode((EXAMPLES / f"{operation}.json").read_bytes())
    decoded: Any = msgspec.json.decode(msgspec.json.encode(result))
    if isinstance(decoded, dict) and "meta" in decoded:
        assert lost(example, decoded) == []
    else:
        items = decoded if isinstance(decoded, list) else [decoded]
        assert lost(example["data"][: len(items)], items) == []


SCHEMATHESIS_EXAMPLES = "50" if os.environ.get("SOAK") else "5"
"""The number of random requests of each operation, in addition to systematic ones."""

EXCLUDED_CHECKS = {
    "positive_data_acceptance": "The contract cannot describe which IDs exist, which ICPs and feeds an account has, or "
    "that `from` must not be after `to`. The sandbox rejects such requests although they match the schema.",
}
"""The Schemathesis checks that are not run, with the reason."""


@pytest.mark.timeout(600)
def test_schemathesis_finds_no_invalid_response(tmp_path: Path) -> None:
    """All responses of the sandbox to generated requests match the contract."""
    with run_in_thread(Sandbox(rate_limit=False, credits=10**9, companies=20, visits=300)) as sandbox:
        config = tmp_path / "schemathesis.toml"
        config.write_text(f'[parameters]\n"query.account_id" = "{sandbox.account_id}"\n', encoding="utf-8")
        command = [
            SCRIPTS / "st", "--config-file", config, "run", CONTRACT, "--url", sandbox.url,
            "--header", f"X-Api-Key: {sandbox.api_key}", "--phases", "examples,coverage,fuzzing", "--no-color",
            "--max-examples", SCHEMATHESIS_EXAMPLES, "--seed", "1", "--generation-deterministic",
            "--exclude-checks", ",".join(EXCLUDED_CHECKS),
        ]  # fmt: skip
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": ""}
        process = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=False, cwd=tmp_path, env=environment
        )
    assert process.returncode == 0, process.stdout[-6_000:]
    assert "Tested: 53" in process.stdout
