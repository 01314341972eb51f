"""The schedules of the page Running a nightly job: they are valid, and their commands and exit codes exist."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from leadfeeder_async.cli.app import build_app
from leadfeeder_async.cli.exit_codes import ExitCode
from leadfeeder_async.cli.export_job import FINISH_WITH_GAPS
from leadfeeder_async.cli.global_options import take_global_options
from leadfeeder_async.sandbox import Sandbox
from tests.support.paths import DOCS
from tests.support.requirements import needs_posix_shell

PAGE = (DOCS / "nightly-jobs.md").read_text(encoding="utf-8")
FINAL = {ExitCode.REJECTED, ExitCode.USAGE, ExitCode.ACCESS, ExitCode.EXHAUSTED}
"""The exit codes after which a retry does not help."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def actions() -> dict[str, Any]:
    """Return the workflow of GitHub. PyYAML reads the key ``on`` as True."""
    workflow: dict[str, Any] = yaml.safe_load(blocks("yaml")[0])
    return workflow


def cron_job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load(blocks("yaml")[1])
    return job


def retry_script() -> str:
    (step,) = [step for step in actions()["jobs"]["export"]["steps"] if step.get("name", "").startswith("Export")]
    return str(step["run"])


def systemd_unit() -> dict[str, list[str]]:
    """Return the settings of the service, each with all its values."""
    settings = dict[str, list[str]]()
    for line in blocks("ini")[0].splitlines():
        name, equals, value = line.partition("=")
        if equals:
            settings.setdefault(name, []).append(value)
    return settings


def commands() -> list[list[str]]:
    """Return the arguments of each ``leadfeeder`` command on the page."""
    cron = re.findall(r"bin/leadfeeder (.*)$", blocks("text")[0], re.MULTILINE)
    shell = [line.strip().removeprefix("leadfeeder ") for text in blocks("sh") for line in text.splitlines()]
    script = re.findall(r"leadfeeder (.*) 2> errors\.txt \|\|", retry_script())
    (container,) = cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (service,) = systemd_unit()["ExecStart"]
    texts = [*cron, *shell, *script, service.partition("leadfeeder ")[2], shlex.join(container["command"][1:])]
    return [shlex.split(text) for text in texts]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_command_exists(arguments: list[str]) -> None:
    """Each command has the options that the page uses."""
    kept, _, _ = take_global_options(arguments)
    command, bound, _ = build_app().parse_args(kept, exit_on_error=False, print_error=False)
    assert command.__name__.replace("_", "-") in {"sync", "doctor", "export-visits", "visits"}
    assert bound is not None


def test_final_exit_codes_are_not_retried() -> None:
    """Systemd and Kubernetes repeat a job only for exit codes after which that helps, and so does the script."""
    assert {int(code) for code in systemd_unit()["RestartPreventExitStatus"][0].split()} == FINAL
    spec = cron_job()["spec"]["jobTemplate"]["spec"]
    rule = spec["podFailurePolicy"]["rules"][0]
    assert (rule["action"], set(rule["onExitCodes"]["values"])) == ("FailJob", FINAL)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy requires it
    assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    mounts = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    table = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE) for code in row.split(",")}
    assert table == set(ExitCode) - {ExitCode.PIPE_CLOSED}


def test_units_are_valid() -> None:
    """The units of systemd have the sections and the settings that a timer needs."""
    for text, sections in zip(blocks("ini"), ({"Unit", "Service"}, {"Timer", "Install"}), strict=True):
        parser = configparser.RawConfigParser(strict=False)
        parser.read_string(text)
        assert set(parser.sections()) == sections
    assert systemd_unit()["Type"] == ["oneshot"]


@pytest.mark.parametrize(
    ("faults", "code", "attempts"),
    [((500,) * 3, 0, 2), ((403,), 3, 1), ((500,) * 30, 5, 3)],
    ids=["retry", "final", "never"],
)
@needs_posix_shell
async def test_retry_script(
    sandbox: Sandbox, tmp_path: Path, faults: tuple[int, ...], code: int, attempts: int
) -> None:
    """The script of the workflow repeats the export for exit code 5 only, and reports the last code."""
    for status in faults:
        sandbox.fail_next(status, operation="search_web_visits")
    result = await run_retry_script(tmp_path, "from leadfeeder_async.cli import main\nmain()", sandbox.environment)
    assert result == (code, attempts)
    assert (tmp_path / "visits.ndjson").exists() is (code == 0)


@needs_posix_shell
async def test_retry_script_does_not_accept_gaps(tmp_path: Path) -> None:
    """The script does not repeat an export whose rows are missing, because the next run would accept that."""
    command = f"print({FINISH_WITH_GAPS!r}, file=sys.stderr)\nsys.exit(5)"
    assert await run_retry_script(tmp_path, f"import sys\n{command}", {}) == (5, 1)


async def run_retry_script(folder: Path, command: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """Run the script with a Python program as ``leadfeeder``. Return the exit code, and how often it was called."""
    binary, calls = folder / "leadfeeder", folder / "calls"
    program = f"#!{sys.executable}\nopen({str(calls)!r}, 'a').write('x')\n{command}\n"
    binary.write_text(program, encoding="utf-8")
    binary.chmod(0o755)
    result = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-e", "-c", f"sleep() {{ :; }}\n{retry_script()}"],
        cwd=folder,
        env={**os.environ, **environment, "LEADFEEDER_KEYRING": "0", "PATH": f"{folder}:{os.environ['PATH']}"},
    )
    return result.returncode, len(calls.read_text(encoding="utf-8"))
