"""DuckDB databases: how they are created and opened, and what their errors become."""

from __future__ import annotations

import ast
import gzip
import locale
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from leadfeeder_async import AsyncLeadfeeder, DatabaseError, DatabaseLockedError
from leadfeeder_async.jobs import duckdb_file
from leadfeeder_async.jobs.duckdb_file import (
    MIN_VERSION_TO_ATTACH,
    create_database,
    open_read_only,
    open_writable,
    remove_database,
    translate_errors,
)
from leadfeeder_async.sync import sync_account
from tests.jobs.helpers import FOREIGN_FILES, make_foreign_file, names_in, small_disk
from tests.support.paths import PACKAGE
from tests.support.requirements import (
    make_link,
    needs_names_with_any_bytes,
    needs_names_with_any_character,
    needs_posix_shell,
)

SCHEMA = "CREATE TABLE numbers (number INTEGER)"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a.duckdb"
    create_database(path, SCHEMA)
    return path


def read(path: Path) -> None:
    with open_read_only(path):
        pass


def write(path: Path) -> None:
    with open_writable(path):
        pass


@contextmanager
def opened_elsewhere(path: Path, *, read_only: bool = False) -> Iterator[None]:
    """Open a database in another process."""
    code = (
        f"import duckdb, sys; held = duckdb.connect({str(path)!r}, read_only={read_only}); "
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().rstrip() == b"open"
        try:
            yield
        finally:
            process.stdin.close()


def imports_duckdb(node: ast.AST) -> bool:
    """Return True if a node, or a node inside it, imports DuckDB when it runs."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return False
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] == "duckdb" for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] == "duckdb"
    return any(map(imports_duckdb, ast.iter_child_nodes(node)))


def test_one_module_imports_duckdb() -> None:
    """Only ``duckdb_file`` imports DuckDB."""
    modules = [
        path.name for path in PACKAGE.rglob("*.py") if imports_duckdb(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert modules == ["duckdb_file.py"]


def test_create_database_once(database: Path) -> None:
    """A database is created if it does not exist, and no other file is left."""
    assert names_in(database.parent) == ["a.duckdb"]
    write(database)
    create_database(database, SCHEMA)
    with open_read_only(database) as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_new_database_is_readable_by_duckdb_1(database: Path) -> None:
    """The storage format of a new database is that of DuckDB 1.0, also after a later write."""
    formats = [storage_format(database)]
    with open_writable(database) as writable:
        with writable.released():
            pass
        writable.connection.execute("INSERT INTO numbers VALUES (1)")
        writable.connection.execute("CHECKPOINT")
    assert [*formats, storage_format(database)] == [64, 64]


def storage_format(path: Path) -> int:
    """Return the version number of a database's storage format, which follows its four identifying bytes."""
    return int.from_bytes(path.read_bytes()[12:20], "little")


def test_create_database_on_a_full_disk(tmp_path: Path) -> None:
    """A database that cannot be created leaves no file, and files of a killed job are removed first."""
    (tmp_path / ".a.duckdb.leadfeeder-0123abcd.tmp").touch()
    (tmp_path / ".a.duckdb.leadfeeder-0123abcd.tmp.wal").touch()
    with small_disk(20_000), pytest.raises(DatabaseError, match="cannot grow") as caught:
        create_database(tmp_path / "a.duckdb", SCHEMA)
    assert caught.value.reason == "no_space"
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("use", [read, write])
@pytest.mark.parametrize(
    "content", [b"", b"precious", b"long\n" * 5_000, b"SQLite format 3\0" + b"\0" * 5_000], ids=len
)
def test_file_that_is_not_a_database(tmp_path: Path, use: Callable[[Path], None], content: bytes) -> None:
    """Another file is refused and not changed, even if DuckDB has an extension that could read it."""
    path = tmp_path / "a.duckdb"
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match="is not a valid DuckDB database") as caught:
        use(path)
    assert (caught.value.reason, path.read_bytes()) == ("not_a_database", content)
    assert names_in(tmp_path) == ["a.duckdb"]


@pytest.mark.parametrize("use", [read, write])
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:100], lambda data: data[:5_000], lambda data: data[:4_100] + b"x" * 50 + data[4_150:]],
)
def test_damaged_database(database: Path, use: Callable[[Path], None], damage: Callable[[bytes], bytes]) -> None:
    """A database of which a part is missing or changed is refused, and not changed."""
    damaged = damage(database.read_bytes())
    database.write_bytes(damaged)
    with pytest.raises(DatabaseError, match=r"is incomplete or damaged\. Restore it from a copy"):
        use(database)
    assert database.read_bytes() == damaged


LOGS = [".wal", ".wal.checkpoint", ".wal.recovery"]
KILLED_AFTER_COMMIT = """
import duckdb, os, sys
database = duckdb.connect(sys.argv[1])
database.execute("INSERT INTO numbers VALUES (1)")
os._exit(9)
"""


def count(path: Path) -> int:
    with open_writable(path) as writable:
        row = writable.connection.execute("SELECT count(*) FROM numbers").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("use", [read, write, remove_database])
@pytest.mark.parametrize("suffix", LOGS)
@pytest.mark.parametrize("kind", FOREIGN_FILES)
def test_log_of_others_is_not_touched(
    database: Path, tmp_path: Path, kind: str, suffix: str, use: Callable[[Path], None]
) -> None:
    """A file that has the name of DuckDB's log and is not one is neither followed, replayed, removed nor waited for."""
    log, target = tmp_path / f"a.duckdb{suffix}", tmp_path / "target"
    if kind == "empty":
        log.touch()
    else:
        make_foreign_file(log, kind, target)
    before, names, content = log.lstat(), names_in(tmp_path), database.read_bytes()
    with pytest.raises(DatabaseError, match=rf"a\.duckdb{suffix} ") as caught:
        use(database)
    assert "Move it away" in str(caught.value.hint)
    assert (names_in(tmp_path), database.read_bytes()) == (names, content)
    assert (os.path.samestat(log.lstat(), before), log.lstat().st_size) == (True, before.st_size)


@pytest.mark.parametrize("suffix", LOGS)
def test_linked_log_of_duckdb_is_not_followed(database: Path, tmp_path: Path, suffix: str) -> None:
    """A log that DuckDB wrote is not replayed through a link."""
    subprocess.run([sys.executable, "-c", KILLED_AFTER_COMMIT, str(database)], check=False)
    log = tmp_path / "a.duckdb.wal"
    log.rename(tmp_path / "elsewhere")
    for link in (Path.hardlink_to, make_link):
        linked = tmp_path / f"a.duckdb{suffix}"
        link(linked, tmp_path / "elsewhere")
        with pytest.raises(DatabaseError, match=rf"a\.duckdb{suffix} "):
            write(database)
        linked.unlink()


@pytest.mark.parametrize("suffix", LOGS)
@pytest.mark.parametrize("kind", [*FOREIGN_FILES, "log"])
def test_database_is_not_created_beside_a_log(tmp_path: Path, kind: str, suffix: str) -> None:
    """A database is not created if DuckDB would take an existing file for its log."""
    path, log = tmp_path / "a.duckdb", tmp_path / f"a.duckdb{suffix}"
    if kind == "log":
        log.write_bytes(b"d\0be\0")
    else:
        make_foreign_file(log, kind, tmp_path / "target")
    names = names_in(tmp_path)
    with pytest.raises(DatabaseError, match=rf"a\.duckdb{suffix} exists, but the database .* does not"):
        create_database(path, SCHEMA)
    assert names_in(tmp_path) == names


@pytest.mark.parametrize("use", [read, write])
def test_log_of_a_killed_process_is_replayed(database: Path, use: Callable[[Path], None]) -> None:
    """A kill after a commit leaves a log, from which the next connection continues."""
    subprocess.run([sys.executable, "-c", KILLED_AFTER_COMMIT, str(database)], check=False)
    assert names_in(database.parent) == ["a.duckdb", "a.duckdb.wal"]
    use(database)
    assert (count(database), names_in(database.parent)) == (1, ["a.duckdb"])


@pytest.mark.parametrize("use", [read, write])
def test_empty_log_is_accepted(database: Path, use: Callable[[Path], None]) -> None:
    """A kill or a full disk just after DuckDB created its log leaves an empty one, which harms nothing."""
    database.with_name("a.duckdb.wal").touch()
    use(database)
    write(database)
    assert names_in(database.parent) == ["a.duckdb"]


@needs_names_with_any_character
def test_prefix_of_a_name_is_part_of_it(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name such as ``duckdb:a.duckdb`` does not open the database behind the colon."""
    monkeypatch.chdir(tmp_path)
    before = database.read_bytes()
    for name in ("duckdb:a.duckdb", ":memory:"):
        create_database(Path(name), SCHEMA)
        write(Path(name))
        assert (tmp_path / name).stat().st_size > 0
    assert database.read_bytes() == before


@pytest.mark.parametrize("name", ["visits.csv.gz", "visits.json.gz"])
def test_compressed_table_is_not_a_database(tmp_path: Path, name: str) -> None:
    """DuckDB opens a compressed table as a view in memory, which is refused."""
    (tmp_path / name).write_bytes(gzip.compress(b'{"a":1}\n' if "json" in name else b"a\n1\n"))
    with pytest.raises(DatabaseError):
        write(tmp_path / name)


def test_log_beside_a_link_is_checked(database: Path, tmp_path: Path) -> None:
    """DuckDB before 1.5 has the log of a linked database beside the link, so both names are checked."""
    link = tmp_path / "link.duckdb"
    make_link(link, database)
    for name in ("link.duckdb.wal", "a.duckdb.wal"):
        (tmp_path / name).write_text("precious", encoding="utf-8")
        with pytest.raises(DatabaseError, match=rf"{name} exists"):
            write(link)
        (tmp_path / name).unlink()
    write(link)


def test_database_is_created_behind_a_link(tmp_path: Path) -> None:
    """A link to a file that does not exist is kept, and the database is created there."""
    link = tmp_path / "link.duckdb"
    (tmp_path / "folder").mkdir()
    make_link(link, tmp_path / "folder" / "a.duckdb")
    create_database(link, SCHEMA)
    assert (link.is_symlink(), names_in(tmp_path / "folder")) == (True, ["a.duckdb"])


def test_hard_link_is_only_read(database: Path, tmp_path: Path) -> None:
    """A database with two names is not changed, because each name would have its own log."""
    other = tmp_path / "other.duckdb"
    other.hardlink_to(database)
    read(other)
    for name in (database, other):
        with pytest.raises(DatabaseError, match="2 hard links"):
            write(name)
    assert names_in(tmp_path) == ["a.duckdb", "other.duckdb"]


@needs_names_with_any_character
@pytest.mark.parametrize("name", ["a?b.duckdb", "folder?/a.duckdb"])
def test_question_mark_is_refused(tmp_path: Path, name: str) -> None:
    """A database whose log DuckDB would give another name is neither created, opened nor removed."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    with pytest.raises(DatabaseError, match="question mark"):
        create_database(path, SCHEMA)
    create_database(tmp_path / "c.duckdb", SCHEMA)
    (tmp_path / "c.duckdb").rename(path)
    for use in (read, write, remove_database):
        with pytest.raises(DatabaseError, match="question mark"):
            use(path)
    assert names_in(path.parent)[-1:] == [path.name]


@needs_names_with_any_bytes
async def test_path_that_is_not_utf_8(tmp_path: Path, lf: AsyncLeadfeeder) -> None:
    """A path that DuckDB cannot open is refused before anything is sent."""
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/d\xe4t"))
    folder.mkdir()
    with pytest.raises(DatabaseError, match=r"d\\udce4t/a\.duckdb, because the path is not UTF-8"):
        await sync_account(lf, folder / "a.duckdb")
    with pytest.raises(DatabaseError, match="not UTF-8"):
        await lf.tags.list().to_file(folder / "tags.parquet")
    with pytest.raises(DatabaseError, match="not UTF-8"):
        await lf.enrich.companies(["a.test"], by="domain").to_file(folder / "out.parquet")
    assert lf.stats.requests == 0
    assert list(folder.iterdir()) == []


@pytest.mark.e2e
@needs_posix_shell
def test_path_in_a_locale_without_its_letters(tmp_path: Path) -> None:
    """DuckDB opens a path with letters that the locale of the process lacks."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from leadfeeder_async.jobs.duckdb_file import create_database, open_read_only\n"
        "create_database(Path(sys.argv[1]), 'CREATE TABLE a (b INTEGER)')\n"
        "with open_read_only(Path(sys.argv[1])) as database: print(database.execute('FROM a').fetchall())"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", program, str(tmp_path / "dätä.duckdb")]
    done = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=60)
    assert (done.stdout, done.returncode) == (b"[]\n", 0), done.stderr
    assert names_in(tmp_path) == ["dätä.duckdb"]


@pytest.mark.parametrize("is_bounded", [False, True])
def test_no_temporary_folder(database: Path, tmp_path: Path, is_bounded: bool) -> None:
    """DuckDB writes no temporary files, so it uses no folder beside the database."""
    with open_writable(database, is_bounded=is_bounded) as writable:
        assert writable.connection.execute("SELECT current_setting('temp_directory')").fetchone() == ("",)
    with open_read_only(database) as connection:
        assert connection.execute("SELECT current_setting('temp_directory')").fetchone() == ("",)
    assert names_in(tmp_path) == ["a.duckdb"]


def test_log_survives_a_full_disk(database: Path) -> None:
    """Rows that a killed process has committed are kept if a later change does not fit on the disk."""
    many_rows = KILLED_AFTER_COMMIT.replace("VALUES (1)", "SELECT range * 7919 % 100003 FROM range(20_000)")
    subprocess.run([sys.executable, "-c", many_rows, str(database)], check=False)
    log = database.with_name("a.duckdb.wal").stat().st_size
    with small_disk(log), pytest.raises(DatabaseError, match="cannot grow"):
        with translate_errors(database), open_writable(database) as writable:
            writable.connection.execute("CREATE TABLE other (number INTEGER)")
    assert count(database) == 20_000


ROW_GROUPS = "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('numbers')"


can_release = tuple(map(int, duckdb.__version__.split(".")[:2])) >= MIN_VERSION_TO_ATTACH
needs_release = pytest.mark.skipif(not can_release, reason="this version of DuckDB cannot open a file again safely")


@needs_release
@needs_names_with_any_character
@pytest.mark.parametrize("name", ["a.duckdb", 'it\'s "b".duckdb', "temp.duckdb", "information_schema.duckdb"])
def test_released_database(tmp_path: Path, name: str) -> None:
    """A released database can be opened elsewhere. After that it gets small row groups, which the next run keeps."""
    path = tmp_path / name
    create_database(path, SCHEMA)
    with open_writable(path, is_bounded=True) as writable:
        connection = writable.connection
        with writable.released():
            connection.execute("CREATE TEMP TABLE rows AS SELECT range AS number FROM range(50_000)")
            with opened_elsewhere(path):
                pass
            with duckdb.connect(str(path)):
                pass
        assert other_process_is_refused(path)
        with pytest.raises(duckdb.Error):
            duckdb.connect(str(path))
        connection.execute("INSERT INTO numbers SELECT number FROM temp.rows")
    with open_writable(path) as writable:
        writable.connection.execute("CREATE OR REPLACE TABLE small AS SELECT 1 AS number")
    with open_read_only(path) as connection:
        assert connection.execute(ROW_GROUPS).fetchone() == (4,)
        assert connection.execute("SELECT sum(number) FROM numbers").fetchone() == (50_000 * 49_999 // 2,)
    assert names_in(tmp_path) == [name]


def other_process_is_refused(path: Path) -> bool:
    code = f"import duckdb; duckdb.connect({str(path)!r}, read_only=True)"
    process = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    return process.returncode != 0


@needs_release
@pytest.mark.parametrize("read_only", [False, True])
def test_released_database_is_opened_elsewhere(database: Path, read_only: bool) -> None:
    """A database that another process still has open cannot be opened again, and keeps its rows."""
    with (
        ExitStack() as elsewhere,
        open_writable(database, wait=0.05) as writable,
        pytest.raises(DatabaseLockedError),
        writable.released(),
    ):
        elsewhere.enter_context(opened_elsewhere(database, read_only=read_only))
    assert count(database) == 0


def test_wait_for_a_reader(database: Path) -> None:
    """A database that another process has open for a moment is opened after that. The test takes real time."""
    with ExitStack() as reading, ThreadPoolExecutor(1) as pool:
        reading.enter_context(opened_elsewhere(database, read_only=True))
        opened = pool.submit(open_writable, database, wait=30)
        time.sleep(0.1)
        assert not opened.done()
        reading.close()
        opened.result().connection.close()


def test_released_database_that_is_shared(database: Path) -> None:
    """A database that this process has open already stays open."""
    with duckdb.connect(str(database)) as other, open_writable(database) as writable:
        with writable.released():
            assert other_process_is_refused(database)
        writable.connection.execute("INSERT INTO numbers VALUES (1)")
        assert other.execute("SELECT count(*) FROM numbers").fetchone() == (1,)


@pytest.mark.parametrize("rows", [20_000, 122_880, 130_000])
def test_larger_row_groups(database: Path, rows: int) -> None:
    """Rows are added to tables whose row groups are larger, because another program or a recovery wrote them."""
    with duckdb.connect(str(database)) as connection:
        connection.execute("INSERT INTO numbers SELECT range FROM range(?)", [rows])
    for number in (1, 3_000, 20_000):
        with open_writable(database, is_bounded=True) as writable:
            with writable.released():
                pass
            writable.connection.execute("INSERT INTO numbers SELECT range FROM range(?)", [number])
    assert count(database) == rows + 23_001


@needs_release
def test_database_that_is_attached_in_this_process(database: Path) -> None:
    """A database that another connection of this process has attached is locked."""
    with duckdb.connect() as other:
        other.execute(f"ATTACH '{database}' AS other (READ_ONLY)")
        with pytest.raises(DatabaseLockedError, match="in this process"):
            open_writable(database)


@pytest.fixture(params=["link", "folder", "dots", "relative"])
def other_spelling(request: pytest.FixtureRequest, database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Another path of the database."""
    folder = database.parent
    monkeypatch.chdir(folder)
    if request.param == "link":
        (folder / "link.duckdb").symlink_to(database)
        return "link.duckdb"
    if request.param == "folder":
        (folder / "folder").symlink_to(folder)
        return str(folder / "folder" / database.name)
    return f"../{folder.name}/{database.name}" if request.param == "dots" else f"./{database.name}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses to open the file a second time")
@pytest.mark.parametrize("read_only", [False, True])
def test_database_open_under_another_path(database: Path, other_spelling: str, read_only: bool) -> None:
    """A database that this process has open under another path is locked or shared. Two files open would damage it."""
    with duckdb.connect(other_spelling, read_only=read_only) as other:
        with suppress(DatabaseLockedError), open_writable(database) as writable:  # DuckDB 2 shares the database
            writable.connection.execute("INSERT INTO numbers VALUES (1)")
            assert other.execute("SELECT count(*) FROM numbers").fetchone() == (1,)
        if not read_only:
            other.execute("INSERT INTO numbers VALUES (2)")
        rows = other.execute("SELECT count(*) FROM numbers").fetchone()
        with suppress(DatabaseLockedError), open_read_only(database) as connection:
            assert connection.execute("SELECT count(*) FROM numbers").fetchone() == rows
    with open_writable(database) as writable:
        writable.connection.execute("INSERT INTO numbers VALUES (3)")
    assert rows is not None
    assert count(database) == rows[0] + 1


@needs_release
@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses to open the file a second time")
def test_released_database_opened_under_another_path(database: Path, other_spelling: str) -> None:
    """A released database that this process opens under another path meanwhile is locked."""
    with ExitStack() as stack, open_writable(database) as writable, pytest.raises(DatabaseLockedError):
        with writable.released():
            stack.enter_context(duckdb.connect(other_spelling))
    assert count(database) == 0


@needs_release
@pytest.mark.parametrize("content", [None, b"not a database", b""])
def test_released_database_is_replaced(database: Path, content: bytes | None) -> None:
    """If a released database is removed or replaced, it is not created anew, and the other file stays."""
    match = "moved or removed" if content is None else "not a valid DuckDB"
    with open_writable(database) as writable, pytest.raises(DatabaseError, match=match) as caught:
        with writable.released():
            database.unlink()
            if content is not None:
                database.write_bytes(content)
    assert [path.read_bytes() for path in database.parent.iterdir()] == ([] if content is None else [content])
    assert caught.value.reason == ("missing" if content is None else "not_a_database")


def test_remove_database(database: Path) -> None:
    """A database is removed with its log, and nothing happens if it does not exist."""
    subprocess.run([sys.executable, "-c", KILLED_AFTER_COMMIT, str(database)], check=False)
    remove_database(database)
    assert names_in(database.parent) == []
    remove_database(database)


@pytest.mark.parametrize("use", [read, write, remove_database])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_pipe_is_not_a_database(tmp_path: Path, kind: str, use: Callable[[Path], None]) -> None:
    """A pipe with the name of the database is refused without a wait."""
    make_foreign_file(tmp_path / "a.duckdb", kind, tmp_path / "target")
    with pytest.raises(DatabaseError, match="is not a valid DuckDB database"):
        use(tmp_path / "a.duckdb")
    assert names_in(tmp_path) == ["a.duckdb"]


@pytest.mark.parametrize("use", [read, write])
def test_folder_is_not_a_database(tmp_path: Path, use: Callable[[Path], None]) -> None:
    """A folder is refused without opening it."""
    with pytest.raises(DatabaseError, match="is not a valid DuckDB database") as caught:
        use(tmp_path)
    assert caught.value.reason == "not_a_database"


@pytest.mark.parametrize("use", [read, write])
def test_open_database_stays_locked(database: Path, use: Callable[[Path], None]) -> None:
    """Opening a database that this process has open does not let other processes write it."""
    with duckdb.connect(database):
        with suppress(DatabaseLockedError):
            use(database)
        code = f"import duckdb; duckdb.connect({str(database)!r})"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert "lock" in other.stderr


@pytest.mark.parametrize("use", [read, write])
def test_database_open_in_another_process(database: Path, use: Callable[[Path], None]) -> None:
    """A database that another process has open for writing is locked."""
    with opened_elsewhere(database):
        with pytest.raises(DatabaseLockedError, match="is open in another process") as caught:
            use(database)
        assert caught.value.reason == "locked"
    use(database)


def test_database_open_in_another_process_is_not_shared(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another process closes between two attempts is not opened with the settings of a shared one."""
    configs = list[object]()
    connect = duckdb_file._connect

    def record(path: Path, *, read_only: bool, config: Any = None) -> Any:
        configs.append(config)
        return connect(path, read_only=read_only, config=config)

    monkeypatch.setattr(duckdb_file, "_connect", record)
    with opened_elsewhere(database), pytest.raises(DatabaseLockedError):
        open_writable(database)
    assert None not in configs


def test_database_read_in_another_process(database: Path) -> None:
    """A database that another process reads can be read as well, and not written."""
    with opened_elsewhere(database, read_only=True):
        read(database)
        with pytest.raises(DatabaseLockedError, match="is open in another process"):
            write(database)


def test_database_open_in_this_process(database: Path) -> None:
    """A database that this process writes cannot be opened read-only, and a second writer shares it."""
    with duckdb.connect(database):
        write(database)
        with pytest.raises(DatabaseLockedError, match=r"This process has .* open already"):
            read(database)


def test_read_only_connection_reads_nothing_else(database: Path) -> None:
    """A read-only connection can neither write, nor read other files, nor load extensions."""
    for statement in (
        "INSERT INTO numbers VALUES (1)",
        "SELECT * FROM read_text('/etc/hostname')",
        "INSTALL httpfs",
    ):
        with pytest.raises(DatabaseError, match="cannot be used"), open_read_only(database) as connection:
            connection.execute(statement)


@pytest.mark.parametrize("number", ["version number", "storage version number"])
def test_newer_format(database: Path, number: str) -> None:
    """The error of a database in a newer format, which DuckDB 1 and 2 word differently, says how to upgrade DuckDB."""
    message = f"IO Error: Trying to read a database file with {number} 999, but we can only read versions 64 to 68."
    with pytest.raises(DatabaseError, match=r"newer one\. Run pip install --upgrade duckdb") as caught:
        with translate_errors(database):
            raise duckdb.IOException(message)
    assert caught.value.reason == "newer_version"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("IO Error: Could not write file: No space left on device", "no_space"),
        ("IO Error: Failed to write: There is not enough space on the disk.", "no_space"),
        ("IO Error: Cannot open file: it is being used by another process. (PID 5)", "locked"),
        ("Corrupt database file: computed checksum 1\nsecond line", "unusable"),
    ],
)
def test_errors_known_by_their_message(database: Path, message: str, reason: str) -> None:
    """Errors that DuckDB reports only as text get a reason and a hint. Others are quoted up to the first line."""
    with pytest.raises(DatabaseError) as caught, translate_errors(database):
        raise duckdb.IOException(message)
    assert (caught.value.reason, isinstance(caught.value, DatabaseLockedError)) == (reason, reason == "locked")
    assert caught.value.hint
    assert "second line" not in caught.value.message


@pytest.mark.parametrize(
    ("number", "words", "reason"),
    [
        (32, "Prosessi ei voi käyttää tiedostoa, koska se on toisen prosessin käytössä.", "locked"),
        (112, "Levyllä ei ole tarpeeksi tilaa.", "no_space"),
    ],
)
@pytest.mark.parametrize("is_decoded", [True, False])
def test_errors_in_the_language_of_windows(
    database: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str, reason: str, is_decoded: bool
) -> None:
    """DuckDB quotes the errors of Windows in its language, and not in UTF-8. They are recognized in each language."""
    monkeypatch.setattr(
        "ctypes.FormatError", lambda asked: words if asked == number else "Another message.", raising=False
    )
    monkeypatch.setattr(locale, "getencoding", lambda: "cp1252")
    message = f'IO Error: Cannot open file "a.duckdb": {words}\r\n'
    error = UnicodeDecodeError("utf-8", message.encode("cp1252"), 0, 1, "invalid start byte")
    with pytest.raises(DatabaseError) as caught, translate_errors(database):
        raise duckdb.IOException(message) if is_decoded else error
    assert (caught.value.reason, isinstance(caught.value, DatabaseLockedError)) == (reason, reason == "locked")


NOTEBOOK = """
import asyncio, sys, types
from pathlib import Path

kernel = types.ModuleType("IPython")
kernel.get_ipython = lambda: types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules |= {"IPython": kernel, "ipywidgets": None}

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import sync_account


async def main(folder):
    async with Sandbox(companies=5, visits=30) as sandbox, AsyncLeadfeeder(
        sandbox.api_key, base_url=sandbox.url, account_id="310042"
    ) as lf:
        await sync_account(lf, folder / "visits.duckdb", since=sandbox.start_date)
        await lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date).to_file(
            folder / "visits.parquet"
        )


asyncio.run(main(Path(sys.argv[1])))
"""


def test_notebook_without_widgets(tmp_path: Path) -> None:
    """A sync and a Parquet file work in a notebook in which DuckDB cannot change its progress bar."""
    subprocess.run([sys.executable, "-c", NOTEBOOK, str(tmp_path)], check=True)
    assert {"visits.duckdb", "visits.parquet"} <= {path.name for path in tmp_path.iterdir()}
