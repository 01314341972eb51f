"""Completion scripts in the shells themselves. A shell that is not installed is skipped."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.command import COMMAND
from tests.support.paths import SCRIPTS

pty = pytest.importorskip("pty", reason="needs pseudo-terminals")

CASES = {
    "leadfeeder exp": {"export"},
    "leadfeeder log": {"login", "logout"},
    "leadfeeder export visi": {"visits", "visitor-companies"},
    "leadfeeder export visits --o": {"--out", "--overwrite"},
    "leadfeeder doctor --bun": {"--bundle"},
    "leadfeeder completion ": {"bash", "zsh", "fish"},
    "leadfeeder watch --format ": {"json", "slack", "teams"},
}
"""Words that each beginning of a line is completed with."""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the script of each shell."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([*COMMAND, "completion", shell], capture_output=True, check=True).stdout
        (folder / shell).write_bytes(script)
    return folder


def require(shell: str) -> str:
    """Return the path of a shell, or skip the test. CI sets REQUIRE_SHELLS, so that it fails instead."""
    path = shutil.which(shell)
    if path is None:
        (pytest.fail if os.environ.get("REQUIRE_SHELLS") else pytest.skip)(f"{shell} is not installed")
    return path


def environment(folder: Path) -> dict[str, str]:
    """Return an environment without the settings of the user."""
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "TERM": "dumb"}


BASH = """
source "$1"
eval "COMP_WORDS=($2)"
[[ $2 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )) COMP_LINE=$2 COMP_POINT=${#2}
$(complete -p leadfeeder | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("line", list(CASES))
def test_bash(line: str, scripts: Path) -> None:
    """The function that bash calls returns the words."""
    command = [require("bash"), "--norc", "-c", BASH, "bash", str(scripts / "bash"), line]
    result = subprocess.run(command, env=environment(scripts), capture_output=True, encoding="utf-8", check=True)
    assert CASES[line] <= set(result.stdout.split())
    assert result.stderr == ""


@pytest.mark.parametrize("line", list(CASES))
def test_fish(line: str, scripts: Path) -> None:
    """Fish lists the words for a line."""
    command = [
        require("fish"),
        "--no-config",
        "-c",
        'source $argv[1]; complete -C "$argv[2]"',
        str(scripts / "fish"),
        line,
    ]
    result = subprocess.run(command, env=environment(scripts), capture_output=True, encoding="utf-8", check=True)
    assert CASES[line] <= {row.split("\t")[0] for row in result.stdout.splitlines()}
    assert result.stderr == ""


class Zsh:
    """An interactive zsh in a pseudo-terminal, because its completion works in no other way."""

    def __init__(self, folder: Path) -> None:
        self._terminal, shell_side = pty.openpty()
        self._process = subprocess.Popen(
            [require("zsh"), "-f", "-i"],
            stdin=shell_side,
            stdout=shell_side,
            stderr=shell_side,
            env=environment(folder),
            cwd=folder,
            start_new_session=True,
        )
        os.close(shell_side)

    def run(self, text: str, *, until: str) -> str:
        """Type text, and return the output up to a word."""
        os.write(self._terminal, text.encode())
        output, end = "", time.monotonic() + 20
        while until not in output:
            assert time.monotonic() < end, output
            if select.select([self._terminal], [], [], 0.2)[0]:
                output += os.read(self._terminal, 65_536).decode()
        return output

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


SETUP = """
PS1=; LISTMAX=10000; setopt no_beep no_list_ambiguous
zle-line-init() { print -n "REA""DY" }
zle -N zle-line-init
complete_and_show() { zle expand-or-complete; zle -R; print -r -- "<$BUFFER>"; BUFFER=; zle -R; print -n "DO""NE" }
zle -N complete_and_show; bindkey '^T' complete_and_show
"""


@pytest.mark.parametrize("loaded", ["sourced", "sourced after compinit", "_leadfeeder", "_cyclopts_leadfeeder"])
def test_zsh(loaded: str, scripts: Path, tmp_path: Path) -> None:
    """Zsh completes the words if the script is sourced, also before compinit, or is a file in a folder of fpath."""
    compinit = "autoload -Uz compinit; compinit -u -D"
    load = {
        "sourced": f"source {scripts}/zsh",
        "sourced after compinit": f"{compinit}; source {scripts}/zsh",
    }.get(loaded, f"fpath=({tmp_path}/functions $fpath); {compinit}")
    (tmp_path / "functions").mkdir()
    shutil.copy(scripts / "zsh", tmp_path / "functions" / loaded)
    (tmp_path / "setup").write_text(f"{load}\n{SETUP}", encoding="utf-8")
    zsh = Zsh(tmp_path)
    try:
        zsh.run("source ./setup\n", until="READY")
        for line, words in CASES.items():
            output = zsh.run(f"{line}\x14", until="DONE")
            assert words <= set(re.split(r"[^\w-]+", output.removeprefix(line))), line
    finally:
        zsh.close()
