"""Tests for the markers that are added to tests."""

from __future__ import annotations

import pytest

from tests.cli.command import COMMAND, leadfeeder, leadfeeder_in_new_python
from tests.support.markers import runs_command


async def run_help() -> None:
    await leadfeeder_in_new_python(None, "--help")


async def fork_help() -> None:
    await leadfeeder(None, "--help")


def start_in_nested_function() -> object:
    def nested() -> object:
        return COMMAND

    return nested()


def mention_command() -> str:
    return "leadfeeder --help"


@pytest.mark.parametrize(
    ("function", "is_e2e"),
    [
        (run_help, True),
        (leadfeeder_in_new_python, True),
        (start_in_nested_function, True),
        (fork_help, False),
        (mention_command, False),
        (None, False),
    ],
)
def test_runs_command(function: object, is_e2e: bool) -> None:
    """A function starts the command in a new Python if it, a helper or a nested function uses the code for that."""
    assert runs_command(function) is is_e2e


@pytest.mark.timeout(61)
def test_timeout_over_the_default_is_slow(request: pytest.FixtureRequest) -> None:
    """A test with a longer timeout than the default has the marker ``slow``, and no other."""
    assert {marker.name for marker in request.node.iter_markers()} == {"timeout", "slow"}


@pytest.mark.usefixtures("browser")
def test_fixtures_add_markers(request: pytest.FixtureRequest) -> None:
    """A test with the fixture of a browser has its marker."""
    assert request.node.get_closest_marker("browser") is not None


@pytest.fixture
def browser() -> None:
    """A fixture with the name of the real one."""
