"""The wheel works in an empty environment, first with the core only and then with an extra."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadfeeder_async.sandbox import Sandbox, run_in_thread
from tests.support.paths import ROOT

OFFLINE = re.compile(
    r"No matching distribution|Could not find a version|ConnectionError|NewConnectionError|Max retries"
)
pytestmark = [pytest.mark.e2e, pytest.mark.real_time, pytest.mark.timeout(300)]


def run(*command: Path | str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in another folder, without environment variables that point to the repository."""
    variables = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        command, cwd=cwd, env=variables | environment, capture_output=True, encoding="utf-8", check=False
    )


def pip(python: Path | str, *arguments: str, cwd: Path) -> None:
    """Run pip. Without a package index, skip the test, or fail it in CI."""
    process = run(python, "-m", "pip", "--disable-pip-version-check", *arguments, cwd=cwd, PIP_RETRIES="1")
    if process.returncode and OFFLINE.search(process.stderr) and not os.environ.get("CI"):
        pytest.skip("pip reaches no package index")
    assert process.returncode == 0, process.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel in the folder ``DIST``, as a release has it, or build one from this source."""
    if "DIST" in os.environ:
        return next((ROOT / os.environ["DIST"]).glob("leadfeeder_async-*.whl"))
    out = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(out), str(ROOT), cwd=out)
    (built,) = out.glob("leadfeeder_async-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that contains the wheel and its core dependencies."""
    folder = tmp_path_factory.mktemp("empty")
    assert run(sys.executable, "-m", "venv", folder / "venv", cwd=folder).returncode == 0
    executable = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip(executable, "install", str(wheel), cwd=folder)
    return executable


@pytest.fixture
def busy_sandbox() -> Iterator[Sandbox]:
    with run_in_thread(Sandbox(visits=300, rate_limit=False)) as sandbox:
        yield sandbox


def test_first_example_with_core_only(python: Path, busy_sandbox: Sandbox, tmp_path: Path) -> None:
    """The first example of the README runs unchanged with the wheel and its core dependencies."""
    example = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    (tmp_path / "first.py").write_text(example, encoding="utf-8")
    process = run(python, "-W", "error", "first.py", cwd=tmp_path, **busy_sandbox.environment)
    assert (process.returncode, process.stderr) == (0, "")
    assert len(process.stdout.splitlines()) == 300
    extras = run(python, "-c", "import rich", cwd=tmp_path)
    assert "No module named 'rich'" in extras.stderr, "the core must not install the extras"


def test_command_without_extra(python: Path, tmp_path: Path) -> None:
    """Without the extra, ``leadfeeder`` prints the packages to install and returns 2."""
    process = run(python.with_name("leadfeeder"), "--help", cwd=tmp_path)
    assert process.returncode == 2
    assert "pip install cyclopts pyyaml rich" in process.stderr


def test_command_with_extra(python: Path, wheel: Path, tmp_path: Path) -> None:
    """``leadfeeder demo`` writes all visits to a file without the repository."""
    pip(python, "install", f"{wheel}[cli]", cwd=tmp_path)
    process = run(python.with_name("leadfeeder"), "demo", "--visits", "1200", "--out", "visits.ndjson", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert len((tmp_path / "visits.ndjson").read_text(encoding="utf-8").splitlines()) == 1_200
