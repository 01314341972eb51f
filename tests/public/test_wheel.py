"""The wheel works where nothing of the repository is: in an empty environment, first with the core alone."""

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
pytestmark = [
    pytest.mark.real_time,
    pytest.mark.timeout(300),
]  # building and installing are done by pip, in its own time


def run(*command: Path | str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command outside the repository, with nothing in the environment that leads back to it."""
    plain = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(command, cwd=cwd, env=plain | environment, capture_output=True, text=True, check=False)


def pip(python: Path | str, *arguments: str, cwd: Path) -> None:
    """Run pip; skip where it reaches no index, except in CI, where that must not go unnoticed."""
    done = run(python, "-m", "pip", "--disable-pip-version-check", *arguments, cwd=cwd, PIP_RETRIES="1")
    if done.returncode and OFFLINE.search(done.stderr) and not os.environ.get("CI"):
        pytest.skip("pip reaches no package index")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in the folder that ``DIST`` names, as a release has it, or else one built from this source."""
    if "DIST" in os.environ:
        return next((ROOT / os.environ["DIST"]).glob("leadfeeder_async-*.whl"))
    out = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(out), str(ROOT), cwd=out)
    (built,) = out.glob("leadfeeder_async-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and its core dependencies."""
    place = tmp_path_factory.mktemp("empty")
    assert run(sys.executable, "-m", "venv", place / "venv", cwd=place).returncode == 0
    found = place / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip(found, "install", str(wheel), cwd=place)
    return found


@pytest.fixture
def busy_sandbox() -> Iterator[Sandbox]:
    with run_in_thread(Sandbox(visits=300, rate_limit=False)) as sandbox:
        yield sandbox


def test_the_core_alone_runs_the_first_example(python: Path, busy_sandbox: Sandbox, tmp_path: Path) -> None:
    """What the README shows first runs as pasted on the wheel and five dependencies, against a sandbox elsewhere."""
    example = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    (tmp_path / "first.py").write_text(example)
    done = run(python, "-W", "error", "first.py", cwd=tmp_path, **busy_sandbox.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 300
    extras = run(python, "-c", "import rich", cwd=tmp_path)
    assert "No module named 'rich'" in extras.stderr, "the core must not bring the extras"


def test_without_its_extra_the_command_says_how_to_get_it(python: Path, tmp_path: Path) -> None:
    """``leadfeeder`` on the core alone names the extra to install and ends as wrong usage."""
    done = run(python.with_name("leadfeeder"), "--help", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install cyclopts pyyaml rich" in done.stderr


def test_with_its_extra_the_command_runs_the_demonstration(python: Path, wheel: Path, tmp_path: Path) -> None:
    """``leadfeeder demo`` sweeps every visit into a file, without the repository."""
    pip(python, "install", f"{wheel}[cli]", cwd=tmp_path)
    done = run(python.with_name("leadfeeder"), "demo", "--visits", "1200", "--out", "visits.ndjson", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "visits.ndjson").read_text().splitlines()) == 1_200
