"""What a release promises: pinned actions, few rights, one list of Pythons."""

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
def test_workflows_pin_what_they_use(path: Path) -> None:
    """Every action is pinned by a full commit, with its version beside it; no job has rights it does not name."""
    text = path.read_text()
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[\d.]+", one) for one in uses), uses
    workflow: dict[str, Any] = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    assert all("permissions" in job and "timeout-minutes" in job for job in workflow["jobs"].values())


def test_only_the_publishing_job_can_publish() -> None:
    """The job that runs code of the package and its tools has no identity that PyPI trusts."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    assert jobs["build"]["permissions"] == {"contents": "read"}
    assert jobs["publish"]["permissions"]["id-token"] == "write"
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]


def test_the_same_pythons_everywhere() -> None:
    """Classifiers, ``make matrix`` and the workflow name the same Pythons, apart from those that may fail."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classified = [one[-4:] for one in project["classifiers"] if re.search(r":: 3\.\d\d$", one)]
    matrix = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    job = matrix["jobs"]["test"]
    may_fail = re.findall(r"matrix\.python == '(3\.\d+)'", job["continue-on-error"])
    assert [version for version in job["strategy"]["matrix"]["python"] if version not in may_fail] == classified
    assert f"PYTHONS ?= {' '.join(classified)}\n" in (ROOT / "Makefile").read_text()
    assert project["requires-python"] == f">={classified[0]}"
