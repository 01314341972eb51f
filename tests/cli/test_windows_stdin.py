"""Reading stdin as on Windows, whose event loop cannot read it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from typing import IO

import pytest

from leadfeeder_async.cli import windows_stdin
from leadfeeder_async.cli.confirmation import confirm
from leadfeeder_async.cli.id_input import ids_from_stdin


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[IO[bytes]]:
    """The other end of the pipe that is stdin."""
    monkeypatch.setattr(windows_stdin, "LOOP_READS_STDIN", False)
    reading, writing = os.pipe()
    with os.fdopen(reading) as file, os.fdopen(writing, "wb", buffering=0) as end:
        monkeypatch.setattr(sys, "stdin", file)
        yield end


async def test_ids_arrive_line_by_line(pipe: IO[bytes]) -> None:
    """An id is yielded before the next one is written, and lines may arrive in parts."""
    ids = ids_from_stdin("company", None)
    for written, record_id in ((b"159000001\r\n", "159000001"), (b"159", None), (b"000002\n1590", "159000002")):
        pipe.write(written)
        if record_id is not None:
            assert await anext(ids) == record_id
    pipe.write(b"00003\n\n159000004")
    pipe.close()
    assert [record_id async for record_id in ids] == ["159000003", "159000004"]


@pytest.mark.parametrize(("answer", "agrees"), [(b"y\r\n", True), (b"YES\n", True), (b"n\r\n", False), (b"", False)])
async def test_confirmation(pipe: IO[bytes], capsys: pytest.CaptureFixture[str], answer: bytes, agrees: bool) -> None:
    """A question is answered by a line. The end of stdin is no agreement."""
    pipe.write(answer)
    if not answer:
        pipe.close()
    assert await confirm("Continue?", yes=False) is agrees
    assert ("Nothing was changed." in capsys.readouterr().err) is not agrees


async def test_other_tasks_run_during_a_question(pipe: IO[bytes]) -> None:
    """The event loop is free while a question waits, and a canceled question ends at once."""
    question = asyncio.create_task(confirm("Continue?", yes=False))
    done, _ = await asyncio.wait([question], timeout=0.05)
    question.cancel()
    await asyncio.wait([question])
    assert (done, question.cancelled()) == (set(), True)
    pipe.write(b"y\n")  # ends the thread
