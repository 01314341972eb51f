"""Commands that a user can paste into a shell."""

from __future__ import annotations

import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest

from leadfeeder_async.cli.shell import format_assignment, join_command, quote_argument


@pytest.fixture(params=["posix", "nt"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A simulated operating system."""
    monkeypatch.setattr("leadfeeder_async.cli.shell.os", SimpleNamespace(name=request.param))
    return str(request.param)


def test_assignment(system: str) -> None:
    """On Windows, an assignment is a command of PowerShell."""
    assert format_assignment("KEY", "a1") == {"posix": "export KEY=a1", "nt": '$env:KEY = "a1"'}[system]


@pytest.mark.parametrize(
    ("argument", "posix", "windows"),
    [
        ("--by=domain", "--by=domain", "--by=domain"),
        (r"C:\Users\me\in.csv", r"'C:\Users\me\in.csv'", r"C:\Users\me\in.csv"),
        (r"C:\My files\in.csv", r"'C:\My files\in.csv'", r'"C:\My files\in.csv"'),
        ("it's", "'it'\"'\"'s'", '"it\'s"'),
        ("a,b", "a,b", '"a,b"'),  # an array in PowerShell
        ("", "''", '""'),
        ("100%", "100%", "'100%'"),
        ("a$b's", "'a$b'\"'\"'s'", "'a$b''s'"),
        ('{"a":1}', """'{"a":1}'""", """'{"a":1}'"""),
    ],
)
def test_quotes(system: str, argument: str, posix: str, windows: str) -> None:
    """Arguments have quotes only if the shell needs them."""
    assert quote_argument(argument) == {"posix": posix, "nt": windows}[system]


def test_command_can_be_split_again() -> None:
    """The arguments of a command are those that a program receives from this system."""
    arguments = ["enrich", "my leads.csv", "--by", "domain", r"C:\in.csv", "it's"]
    command = join_command([sys.executable, "-c", "import sys; print(sys.argv[1:])", *arguments])
    words = shlex.split(command) if sys.platform != "win32" else command
    result = subprocess.run(words, capture_output=True, encoding="utf-8", check=True)
    assert result.stdout.strip() == str(arguments)
