"""Rules of releases: pinned actions, minimal permissions and one list of Python versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_pin_actions_and_permissions(path: Path) -> None:
    """Every action is pinned by a commit with its version, and every job names its permissions."""
    text = path.read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[\d.]+", use) for use in uses), uses
    workflow: dict[str, Any] = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    assert all("permissions" in job and "timeout-minutes" in job for job in workflow["jobs"].values())


def test_only_the_publishing_job_can_publish() -> None:
    """Only the job that runs no code of the package has permission to publish."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["build"]["permissions"] == {"contents": "read"}
    assert jobs["publish"]["permissions"]["id-token"] == "write"
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]


def test_python_versions_agree() -> None:
    """Classifiers, ``make matrix`` and the workflow have the same Python versions, except those that may fail."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = [classifier[-4:] for classifier in project["classifiers"] if re.search(r":: 3\.\d\d$", classifier)]
    matrix = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    job = matrix["jobs"]["test"]
    may_fail = re.findall(r"matrix\.python == '(3\.\d+)'", job["continue-on-error"])
    assert [version for version in job["strategy"]["matrix"]["python"] if version not in may_fail] == supported
    assert f"PYTHONS ?= {' '.join(supported)}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert project["requires-python"] == f">={supported[0]}"
