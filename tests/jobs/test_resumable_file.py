"""Unfinished files: what replaces what, in which order, with which permissions, and what a kill leaves."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leadfeeder_async import AsyncLeadfeeder, CheckpointError
from leadfeeder_async.jobs import atomic_file, resumable_file
from leadfeeder_async.jobs.checkpoint import Checkpoint, Count, JobKind, JobState
from leadfeeder_async.jobs.output_lock import MARK, OutputLock, lock_path
from leadfeeder_async.jobs.resumable_file import (
    JobIdentity,
    ResumableFile,
    checkpoint_path,
    load_unfinished,
    open_resumable,
    partial_path,
    validate_target,
)
from leadfeeder_async.models.columns import Column
from leadfeeder_async.sandbox import Sandbox
from tests.jobs.helpers import FOREIGN_FILES, Stopped, interrupt, is_open, make_foreign_file, names_in, read_ids
from tests.jobs.test_export import all_ids, visits
from tests.support.requirements import is_windows, make_link, make_pipe, needs_permissions

SUFFIXES = [".ndjson", ".csv", ".parquet"]
ROW = b'{"id":"1"}\n'


class CopyState(JobState, frozen=True, kw_only=True):
    """The state of a job that copies rows."""

    cost: Count = 0

    @property
    def is_worth_keeping(self) -> bool:
        return self.cost > 0


COPY = JobKind("copy", Checkpoint[CopyState])


def open_copy(
    path: Path, *, resume: bool = False, overwrite: bool = False
) -> AbstractContextManager[ResumableFile[CopyState]]:
    identity = JobIdentity("f", "a copy")
    return open_resumable(path, COPY, identity, CopyState(), resume=resume, overwrite=overwrite)


def columns() -> tuple[Column, ...]:
    return (Column("id", ("id",), str),)


def write(path: Path, **options: bool) -> None:
    """Write a file of one row."""
    with open_copy(path, **options) as output:
        output.append(ROW, 1, output.state)
        output.finish(columns)


def leave_unfinished(path: Path, rows: int = 1, **options: bool) -> None:
    """Write some rows, and fail."""
    with pytest.raises(Stopped), open_copy(path, **options) as output:
        for _ in range(rows):
            output.append(ROW, 1, output.state)
        raise Stopped


@pytest.fixture
def before_lock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """A function that makes something happen just before the next job acquires its lock."""

    def set_action(action: Callable[[], None]) -> None:
        acquire = OutputLock.acquire

        def acquire_later(path: Path) -> OutputLock | None:
            monkeypatch.setattr(OutputLock, "acquire", acquire)
            action()
            return acquire(path)

        monkeypatch.setattr(OutputLock, "acquire", acquire_later)

    return set_action


def test_existing_file_is_kept(tmp_path: Path) -> None:
    """A file that exists is replaced only with overwrite=True."""
    out = tmp_path / "o.ndjson"
    out.write_text("precious", encoding="utf-8")
    for resume in (False, True):
        with pytest.raises(CheckpointError, match=r"exists") as caught, open_copy(out, resume=resume):
            pass
        assert (caught.value.reason, out.read_text(encoding="utf-8")) == ("exists", "precious")
    write(out, overwrite=True)
    assert (out.read_bytes(), names_in(tmp_path)) == (ROW, ["o.ndjson"])


def test_unfinished_file_is_kept(tmp_path: Path) -> None:
    """Without resume=True an unfinished file is an error. overwrite=True starts over."""
    out = tmp_path / "o.ndjson"
    leave_unfinished(out, 60)
    with pytest.raises(CheckpointError, match="unfinished copy of 60 rows") as caught, open_copy(out):
        pass
    assert (caught.value.reason, partial_path(out).read_bytes()) == ("unfinished", 60 * ROW)
    write(out, overwrite=True)
    assert (out.read_bytes(), names_in(tmp_path)) == (ROW, ["o.ndjson"])


def test_job_without_rows_leaves_no_file(tmp_path: Path) -> None:
    """A job that fails before its first row leaves no file."""
    leave_unfinished(tmp_path / "o.ndjson", 0)
    assert names_in(tmp_path) == []


def test_state_worth_keeping_is_saved_without_rows(tmp_path: Path) -> None:
    """A job that fails before its first row is saved if its state is worth keeping, such as its cost."""
    out = tmp_path / "o.ndjson"
    with pytest.raises(Stopped), open_copy(out) as output:
        output.save_state(CopyState(cost=3))
        raise Stopped
    unfinished = load_unfinished(out, COPY)
    assert unfinished is not None
    assert (unfinished.rows, unfinished.state.cost) == (0, 3)
    with open_copy(out, resume=True) as output:
        assert output.state.cost == 3
        output.finish(columns)
    assert names_in(tmp_path) == ["o.ndjson"]


def test_saved_state_counts_no_unsynced_rows(tmp_path: Path) -> None:
    """A state that is saved at once leaves rows uncounted that no checkpoint has counted before."""
    out = tmp_path / "o.ndjson"
    with open_copy(out) as output:
        output.append(ROW, 1, output.state)
        output.save()
        output.append(ROW, 1, output.state)
        output.save_state(CopyState(cost=3))
        saved = load_unfinished(out, COPY)
        assert saved is not None
        assert (saved.rows, saved.state.cost) == (1, 3)
        output.save()
        saved = load_unfinished(out, COPY)
        assert saved is not None
        assert (saved.rows, saved.state.cost) == (2, 3)
        output.finish(columns)


@pytest.mark.parametrize("field", ["rows", "size", "cost"])
def test_negative_counts_are_refused(tmp_path: Path, field: str) -> None:
    """A checkpoint with a negative number is damaged."""
    out = tmp_path / "o.ndjson"
    leave_unfinished(out)
    saved = msgspec.json.decode(checkpoint_path(out).read_bytes())
    (saved["state"] if field == "cost" else saved)[field] = -5
    checkpoint_path(out).write_bytes(msgspec.json.encode(saved))
    with pytest.raises(CheckpointError, match="is damaged"):
        load_unfinished(out, COPY)


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
@pytest.mark.parametrize("working_file", ["part", "checkpoint", "lock"])
@pytest.mark.parametrize("kind", FOREIGN_FILES)
def test_working_file_of_others_is_not_touched(
    tmp_path: Path, kind: str, working_file: str, options: dict[str, bool]
) -> None:
    """A file, folder, link, pipe or socket with the name of a working file is an error, and stays as it is."""
    out, other, target = tmp_path / "o.ndjson", tmp_path / f"o.ndjson.{working_file}", tmp_path / "target"
    make_foreign_file(other, kind, target)
    before, names = other.lstat(), names_in(tmp_path)
    with pytest.raises(CheckpointError, match=rf"o\.ndjson(\.{working_file})? ") as caught, open_copy(out, **options):
        pass
    assert caught.value.reason in {"not_ours", "not_writable"}
    assert os.path.samestat(other.lstat(), before)
    assert names_in(tmp_path) == names
    assert kind != "file" or other.read_text(encoding="utf-8") == "precious"
    assert kind not in {"link", "hard link"} or target.read_bytes() == b""


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
@pytest.mark.parametrize("content", [b"", b'{"model":"mine"}', b'{"version":2,"kind":"copy","fingerprint":"f"}'])
def test_checkpoint_of_others_is_not_touched(tmp_path: Path, content: bytes, options: dict[str, bool]) -> None:
    """An empty file or other JSON with the name of a checkpoint is an error, and so is the file beside it."""
    out = tmp_path / "o.ndjson"
    checkpoint_path(out).write_bytes(content)
    partial_path(out).write_bytes(ROW)
    with pytest.raises(CheckpointError, match=r"o\.ndjson\.checkpoint is ") as caught, open_copy(out, **options):
        pass
    assert (caught.value.reason, "o.ndjson.part" in str(caught.value.hint)) == ("not_ours", True)
    assert (checkpoint_path(out).read_bytes(), partial_path(out).read_bytes()) == (content, ROW)
    assert names_in(tmp_path) == ["o.ndjson.checkpoint", "o.ndjson.part"]


@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}])
@pytest.mark.parametrize("kind", [kind for kind in FOREIGN_FILES if kind != "dangling link"])
@pytest.mark.parametrize("rows", [0, 1])
def test_other_file_in_place_of_rows_is_not_touched(
    tmp_path: Path, rows: int, kind: str, options: dict[str, bool]
) -> None:
    """A file that replaced the unfinished file of a job is neither continued nor removed."""
    out, target = tmp_path / "o.ndjson", tmp_path / "target"
    leave_unfinished(out)
    partial_path(out).unlink()
    if not rows:
        saved = msgspec.json.decode(checkpoint_path(out).read_bytes())
        checkpoint_path(out).write_bytes(msgspec.json.encode({**saved, "rows": 0, "size": 0}))
    make_foreign_file(partial_path(out), kind, target)
    before, names = partial_path(out).lstat(), names_in(tmp_path)
    with pytest.raises(CheckpointError, match=r"o\.ndjson\.part ") as caught, open_copy(out, **options):
        pass
    assert caught.value.reason == "not_ours"
    assert (names_in(tmp_path), os.path.samestat(partial_path(out).lstat(), before)) == (names, True)


@pytest.mark.parametrize("kind", ["pipe", "link"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY])
def test_file_that_appears_after_the_check_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, flags: int
) -> None:
    """A link that appears after the check is not followed, and a pipe is not waited for."""
    make_foreign_file(tmp_path / "o.ndjson.part", kind, tmp_path / "target")
    monkeypatch.setattr(atomic_file, "stat_working_file", lambda _: None)
    with pytest.raises((CheckpointError, OSError)):
        atomic_file.open_working_file(tmp_path / "o.ndjson.part", flags)


def test_file_that_appears_before_the_end_is_kept(tmp_path: Path) -> None:
    """A file that gets the final name while a job runs is not replaced, and no row is lost."""
    out = tmp_path / "o.ndjson"
    with pytest.raises(CheckpointError, match="resume=True and overwrite=True") as caught, open_copy(out) as output:
        output.append(ROW, 1, output.state)
        out.write_text("precious", encoding="utf-8")
        output.finish(columns)
    assert (caught.value.reason, out.read_text(encoding="utf-8")) == ("replaces_unfinished", "precious")
    with open_copy(out, resume=True, overwrite=True) as output:
        output.finish(columns)
    assert (out.read_bytes(), names_in(tmp_path)) == (ROW, ["o.ndjson"])


def test_link_to_rows_is_not_resumed(tmp_path: Path) -> None:
    """A link that replaced the unfinished file of a job is not followed."""
    out, elsewhere = tmp_path / "o.ndjson", tmp_path / "elsewhere"
    leave_unfinished(out)
    partial_path(out).rename(elsewhere)
    make_link(partial_path(out), elsewhere)
    with pytest.raises(CheckpointError, match="no job wrote it"), open_copy(out, resume=True):
        pass
    assert elsewhere.read_bytes() == ROW


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling link"])
async def test_only_regular_files_are_replaced(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, kind: str
) -> None:
    """A device, a pipe or a link is not replaced by a finished export."""
    out, target = tmp_path / "visits.ndjson", tmp_path / "target"
    if kind == "pipe":
        make_pipe(out)
    else:
        make_link(out, target)
    if kind == "link":
        target.write_text("kept", encoding="utf-8")
    before, names = out.lstat(), names_in(tmp_path)
    with pytest.raises(CheckpointError, match="a link, a device or a pipe") as caught:
        await visits(lf, sandbox).to_file(out, overwrite=True)
    assert caught.value.reason == "not_a_file"
    assert os.path.samestat(out.lstat(), before)
    assert sandbox.ledger.requests == []
    assert names_in(tmp_path) == names


def test_output_is_locked_while_it_is_written(tmp_path: Path) -> None:
    """A second job for the same output fails, and the first one is not disturbed."""
    out = tmp_path / "o.ndjson"
    with open_copy(out) as output:
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(CheckpointError, match="Another job is writing") as caught, open_copy(out, **options):
                pass
            assert caught.value.reason == "locked"
        output.append(ROW, 1, output.state)
        output.finish(columns)
    assert (out.read_bytes(), names_in(tmp_path)) == (ROW, ["o.ndjson"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_output_is_locked_until_the_checkpoint_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """A second job cannot start while the first one removes its checkpoint, which would be the second one's own."""
    out, unlink, tries = tmp_path / f"o{suffix}", Path.unlink, list[str]()

    def unlink_later(path: Path, *, missing_ok: bool = False) -> None:
        if path == checkpoint_path(out):
            with pytest.raises(CheckpointError, match="Another job is writing"), open_copy(out, overwrite=True):
                pass
            tries.append(path.name)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_later)
    write(out)
    assert (tries, names_in(tmp_path)) == ([f"o{suffix}.checkpoint"], [out.name])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_finished_before_the_lock_is_kept(
    tmp_path: Path, before_lock: Callable[[Callable[[], None]], None], suffix: str
) -> None:
    """A job that starts while another one finishes the same file checks again under the lock, and changes nothing."""
    out = tmp_path / f"o{suffix}"
    before_lock(lambda: write(out))
    with pytest.raises(CheckpointError, match="exists"), open_copy(out):
        pass
    assert names_in(tmp_path) == [out.name]
    assert b"1" in out.read_bytes()


def test_file_that_appears_before_the_lock_is_kept(
    tmp_path: Path, before_lock: Callable[[Callable[[], None]], None]
) -> None:
    """A file that appears after the first check is not replaced, and no working file is left."""
    out = tmp_path / "o.ndjson"
    before_lock(lambda: out.write_text("precious", encoding="utf-8") and None)
    with pytest.raises(CheckpointError, match="exists"), open_copy(out):
        pass
    assert (out.read_text(encoding="utf-8"), names_in(tmp_path)) == ("precious", ["o.ndjson"])


def test_stop_between_the_last_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a job ends after the file has its name, its checkpoint does not count, and the next job starts."""
    out = tmp_path / "o.ndjson"

    def stop(_: Path) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(resumable_file, "remove_checkpoint", stop)
        with pytest.raises(Stopped):
            write(out)
    assert out.read_bytes() == ROW
    assert load_unfinished(out, COPY) is None
    with pytest.raises(CheckpointError, match="nothing to resume"), open_copy(out, resume=True):
        pass
    write(out, resume=True, overwrite=True)
    assert (out.read_bytes(), names_in(tmp_path)) == (ROW, ["o.ndjson"])


def test_temporary_table_of_a_killed_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table that a killed job was writing is removed when the job is resumed."""
    out = tmp_path / "o.csv"
    with monkeypatch.context() as patch:
        patch.setattr(resumable_file, "write_table", lambda *_, **__: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            write(out)
    atomic_file.temporary_path(out).write_bytes(b"half a table")
    write(out, resume=True)
    assert names_in(tmp_path) == ["o.csv"]


@pytest.mark.parametrize("part", [None, b"", ROW])
def test_kill_before_the_first_row(tmp_path: Path, part: bytes | None) -> None:
    """A job that was killed at its start leaves nothing to continue, and the next job starts."""
    out = tmp_path / "o.ndjson"
    leave_unfinished(out)
    saved = msgspec.json.decode(checkpoint_path(out).read_bytes())
    checkpoint_path(out).write_bytes(msgspec.json.encode({**saved, "rows": 0, "size": 0, "fingerprint": "other"}))
    partial_path(out).unlink()
    if part is not None:
        partial_path(out).write_bytes(part)
    lock_path(out).write_bytes(MARK)
    assert load_unfinished(out, COPY) is None
    write(out, resume=True)
    assert (out.read_bytes(), names_in(tmp_path)) == (ROW, ["o.ndjson"])


@pytest.mark.parametrize("part_is_empty", [False, True])
async def test_kill_after_the_file_is_named(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, part_is_empty: bool
) -> None:
    """The checkpoint of a finished file is not an unfinished export, even after a second kill."""
    out = tmp_path / "visits.ndjson"
    await interrupt(visits(lf, sandbox), out, 60)
    saved = checkpoint_path(out).read_bytes()
    await visits(lf, sandbox).to_file(out, resume=True)
    checkpoint_path(out).write_bytes(saved)
    if part_is_empty:
        partial_path(out).touch()
    sandbox.world.add_visits(5)
    await visits(lf, sandbox).to_file(out, resume=True, overwrite=True)
    assert read_ids(out) == all_ids(sandbox)
    assert names_in(tmp_path) == ["visits.ndjson"]


def test_temporary_files_of_killed_jobs_are_removed(tmp_path: Path) -> None:
    """Temporary files that a kill left are removed by the next job. Files with similar names are kept."""
    out = tmp_path / "o.ndjson"
    leave_unfinished(out)
    leftovers = [".o.ndjson.leadfeeder-0123abcd.tmp", ".o.ndjson.checkpoint.leadfeeder-0123abcd.tmp"]
    others = [".o.ndjson.0123abcd.tmp", ".o.ndjson.leadfeeder-mine.tmp", ".p.ndjson.leadfeeder-0123abcd.tmp"]
    for name in (*leftovers, *others):
        (tmp_path / name).touch()
    others += [".o.ndjson.leadfeeder-00000000.tmp", ".o.ndjson.leadfeeder-11111111.tmp"]
    make_link(tmp_path / others[-1], tmp_path / others[0])
    (tmp_path / others[-2]).hardlink_to(tmp_path / others[1])
    write(out, overwrite=True)
    assert names_in(tmp_path) == sorted([*others, "o.ndjson"])


def test_missing_rows_are_refused(tmp_path: Path) -> None:
    """An unfinished file that is shorter than its checkpoint counts is not continued."""
    out = tmp_path / "o.ndjson"
    leave_unfinished(out, 60)
    partial_path(out).write_bytes(ROW)
    with pytest.raises(CheckpointError, match="fewer rows") as caught, open_copy(out, resume=True):
        pass
    assert caught.value.reason == "damaged"


def test_rows_after_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    """Rows that a kill left after the checkpoint, perhaps incomplete, are cut off."""
    out = tmp_path / "o.ndjson"
    leave_unfinished(out)
    with partial_path(out).open("ab") as part:
        part.write(b'{"id":"2"}\n{"id":"incompl')
    with open_copy(out, resume=True) as output:
        assert list(output.lines()) == [ROW.rstrip()]
        output.append(b'{"id":"3"}\n', 1, output.state)
        output.finish(columns)
    assert read_ids(out) == ["1", "3"]


def record_steps(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[tuple[str, str]]:
    """Record which files of a folder are synced, renamed and removed, and in which order."""
    steps = list[tuple[str, str]]()
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def record_sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        steps.extend(
            ("sync", path.name) for path in [folder, *folder.iterdir()] if os.path.samestat(path.stat(), status)
        )
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> Path:
        steps.append((f"rename to {target.name}", source.name))
        return replace(source, target)

    def record_unlink(path: Path, *, missing_ok: bool = False) -> None:
        if path.exists():
            steps.append(("remove", path.name))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_replace)
    monkeypatch.setattr(Path, "unlink", record_unlink)
    return steps


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_finished_file_survives_a_power_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """The file is synced before it gets its name, then the folder is synced, and then working files are removed."""
    out = tmp_path / f"o{suffix}"
    steps = record_steps(monkeypatch, tmp_path)
    write(out)
    renamed = next(number for number, (action, _) in enumerate(steps) if action == f"rename to {out.name}")
    assert ("sync", steps[renamed][1]) in steps[:renamed]
    if not is_windows:  # which cannot open a folder
        assert steps[renamed + 1] == ("sync", tmp_path.name)
    working_files = [f"{out.name}.checkpoint", f"{out.name}.lock"]
    if suffix != ".ndjson":
        working_files.insert(0, f"{out.name}.part")
    removed = [name for action, name in steps[renamed:] if action == "remove"]
    assert [name for name in removed if not name.endswith(".tmp")] == working_files


def test_rows_are_synced_before_their_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are on the disk before the checkpoint that counts them, and so is the checkpoint before its name."""
    out = tmp_path / "o.ndjson"
    with open_copy(out) as output:
        output.append(ROW, 1, output.state)
        steps = record_steps(monkeypatch, tmp_path)
        output.save()
        temporary = steps[1][1]
        assert steps == [
            ("sync", "o.ndjson.part"),
            ("sync", temporary),
            ("rename to o.ndjson.checkpoint", temporary),
            *([] if is_windows else [("sync", tmp_path.name)]),  # Windows cannot open a folder
        ]
        output.finish(columns)


def test_first_checkpoint_precedes_the_unfinished_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job marks its unfinished file as its own before it creates it, whenever it is killed."""
    out, created, os_open = tmp_path / "o.ndjson", list[str](), os.open

    def record(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_EXCL:
            created.append(f"{Path(path).name[-4:]} {checkpoint_path(out).exists()}")
        return os_open(path, flags, mode)

    monkeypatch.setattr(os, "open", record)
    write(out)
    assert created[:3] == ["lock False", ".tmp False", "part True"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@needs_permissions
async def test_replaced_file_keeps_its_permissions(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """If a private file is replaced, its working files and the new file are private at all times."""
    out, modes = tmp_path / f"visits{suffix}", dict[str, set[int]]()
    out.write_text("old", encoding="utf-8")
    out.chmod(0o600)

    def look(*_: object) -> None:
        for file in tmp_path.iterdir():
            if not file.name.endswith(".lock"):
                modes.setdefault(file.suffix, set()).add(file.stat().st_mode & 0o777)

    fsync, unlink, os_open = os.fsync, Path.unlink, os.open

    def open_and_look(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        descriptor = os_open(path, flags, mode, **options)
        look()
        return descriptor

    monkeypatch.setattr(os, "open", open_and_look)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (look(), fsync(descriptor)))
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: (look(), unlink(path, missing_ok)))
    await visits(lf, sandbox).to_file(out, overwrite=True, on_progress=look)
    assert modes == {suffix: {0o600}, ".part": {0o600}, ".checkpoint": {0o600}, ".tmp": {0o600}}
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_new_file_has_usual_permissions(tmp_path: Path, suffix: str) -> None:
    """A file that replaces no other gets the permissions that any new file has."""
    usual, out = tmp_path / "usual", tmp_path / f"o{suffix}"
    usual.touch()
    write(out)
    assert out.stat().st_mode == usual.stat().st_mode


@needs_permissions
async def test_read_only_file_is_replaced_in_two_runs(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """The unfinished file that replaces a read-only one can be written, and the new file is read-only again."""
    out = tmp_path / "visits.ndjson"
    out.write_text("old", encoding="utf-8")
    out.chmod(0o444)
    await interrupt(visits(lf, sandbox), out, 100, overwrite=True)
    assert partial_path(out).stat().st_mode & 0o777 == 0o644
    await visits(lf, sandbox).to_file(out, overwrite=True, resume=True)
    assert (read_ids(out), out.stat().st_mode & 0o777) == (all_ids(sandbox), 0o444)


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}, {"resume": True, "overwrite": True}])
async def test_file_that_windows_does_not_replace(
    lf: AsyncLeadfeeder,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, bool],
) -> None:
    """A file that is read-only, or open in another program, is refused before the job sends anything."""
    out, os_open = tmp_path / "o.ndjson", os.open
    out.write_text("old", encoding="utf-8")

    def refuse(path: Any, flags: int, mode: int = 0o777) -> int:
        if Path(path) == out:
            raise PermissionError(errno.EACCES, "Permission denied")
        return os_open(path, flags, mode)

    monkeypatch.setattr(resumable_file, "_IS_WINDOWS", True)
    monkeypatch.setattr(os, "open", refuse)
    for job in (visits(lf, sandbox), lf.enrich.ips(["8.8.8.8"])):
        with pytest.raises(CheckpointError) as caught:
            await job.to_file(out, **options)
        assert caught.value.reason in ({"not_writable"} if "overwrite" in options else {"exists", "finished"})
    assert (names_in(tmp_path), out.read_text(encoding="utf-8"), sandbox.ledger.requests) == (["o.ndjson"], "old", [])


class OpenElsewhereError(PermissionError):
    """The error of Windows for a file that another program has open."""

    winerror = 32


@pytest.mark.parametrize("method", ["replace", "unlink"])
def test_file_open_in_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A file that a virus scanner has open for a moment is renamed or removed a little later."""
    out, original, delays, refused = tmp_path / "o.csv", getattr(Path, method), list[float](), list[str]()

    def refuse(path: Path, *args: Any, **options: Any) -> object:
        if path.suffix == {"replace": ".tmp", "unlink": ".part"}[method] and len(refused) < 3:
            refused.append(path.name)
            raise OpenElsewhereError(13, "The process cannot access the file")
        return original(path, *args, **options)

    monkeypatch.setattr(time, "sleep", delays.append)
    with open_copy(out) as output:
        output.append(ROW, 1, output.state)
        output.save()
        monkeypatch.setattr(Path, method, refuse)
        output.finish(columns)
    assert (out.read_bytes(), names_in(tmp_path), len(delays)) == (b"id\r\n1\r\n", ["o.csv"], 3)


@pytest.mark.parametrize(("error", "attempts"), [(OpenElsewhereError, 5), (PermissionError, 1), (FileExistsError, 1)])
def test_file_that_stays_open_elsewhere(monkeypatch: pytest.MonkeyPatch, error: type[OSError], attempts: int) -> None:
    """The attempts end within a second. Other errors are not retried."""
    made, delays = list[int](), list[float]()

    def refuse() -> None:
        made.append(1)
        raise error(13, "refused")

    monkeypatch.setattr(time, "sleep", delays.append)
    with pytest.raises(error, match="refused"):
        atomic_file.retry_while_open(refuse)
    assert len(made) == attempts
    assert sum(delays) < 1


def test_long_path_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows reports a path that is too long as missing, and the error says what is wrong."""
    monkeypatch.setattr(resumable_file, "_IS_WINDOWS", True)
    for name, problem in (("x" * 240, "The path is too long"), ("x", "No such file")):
        with pytest.raises(CheckpointError, match=f"cannot be written: {problem}"):
            with resumable_file.translate_os_errors(tmp_path / name):
                raise FileNotFoundError(errno.ENOENT, "No such file")


def test_rows_are_saved_before_a_table_is_made(tmp_path: Path) -> None:
    """A table may fill the disk, so the rows are saved first."""
    out, saved = tmp_path / "o.csv", list[int]()

    def columns_later() -> tuple[Column, ...]:
        unfinished = load_unfinished(out, COPY)
        saved.append(unfinished.rows if unfinished else 0)
        return columns()

    with open_copy(out) as output:
        output.append(ROW, 1, output.state)
        output.finish(columns_later)
    assert saved == [1]


@pytest.mark.parametrize("suffix", [".ndjson", ".csv"])
@pytest.mark.parametrize("job", ["bulk", "enrich"])
async def test_complete_rows_are_not_open_at_the_end(
    lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, suffix: str
) -> None:
    """A job that is resumed only to finish its file has closed it, because Windows does not rename open files."""
    out, rename, were_open = tmp_path / f"out{suffix}", atomic_file._rename, list[bool]()
    ids = sandbox.world.company_ids()[:9]

    tag = sandbox.records.tags.add({"name": "Hot", "color": 1})

    async def run(*, resume: bool) -> None:
        if job == "bulk":
            await lf.bulk.assign_tags(ids, [tag]).to_file(out, resume=resume)
        else:
            await lf.enrich.companies([f"{one}.example" for one in ids], by="domain").to_file(out, resume=resume)

    def fail(temporary: Path, path: Path) -> None:
        if path == out:
            were_open.append(is_open(partial_path(out)))
            if len(were_open) == 1:
                raise PermissionError(errno.EACCES, "Access denied")
        rename(temporary, path)

    monkeypatch.setattr(atomic_file, "_rename", fail)
    with pytest.raises(CheckpointError, match="Access denied"):
        await run(resume=False)
    await run(resume=True)
    assert were_open == [False, False]


def test_names_that_windows_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that ends in a dot or a space would lose it, and with it the format that it selects."""
    monkeypatch.setattr(resumable_file, "_IS_WINDOWS", True)
    for name in ("a.csv.", "a.csv "):
        with pytest.raises(CheckpointError, match="ends in a dot or a space"):
            validate_target(tmp_path / name, overwrite=False)
    validate_target(tmp_path / "a.csv", overwrite=False)
