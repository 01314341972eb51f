"""DuckDB databases: how they are created and opened, and what their errors become."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from leadfeeder_async import DatabaseError, DatabaseLockedError
from leadfeeder_async.jobs.duckdb_file import create_database, open_read_only, open_writable, translate_errors
from tests.jobs.helpers import names_in, small_disk
from tests.support.paths import PACKAGE

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
    open_writable(path).close()


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
        assert process.stdout.readline() == b"open\n"
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
    modules = [path.name for path in PACKAGE.rglob("*.py") if imports_duckdb(ast.parse(path.read_text()))]
    assert modules == ["duckdb_file.py"]


def test_create_database_once(database: Path) -> None:
    """A database is created if it does not exist, and no other file is left."""
    assert names_in(database.parent) == ["a.duckdb"]
    write(database)
    assert not create_database(database, SCHEMA)
    with open_read_only(database) as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_new_database_is_readable_by_duckdb_1(database: Path) -> None:
    """The storage format of a new database is that of DuckDB 1.0, also after a later write."""
    formats = [storage_format(database)]
    with open_writable(database) as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")
        connection.execute("CHECKPOINT")
    assert [*formats, storage_format(database)] == [64, 64]


def storage_format(path: Path) -> int:
    """Return the version number of a database's storage format, which follows its four identifying bytes."""
    return int.from_bytes(path.read_bytes()[12:20], "little")


def test_create_database_on_a_full_disk(tmp_path: Path) -> None:
    """A database that cannot be created leaves no file, and files of a killed job are removed first."""
    (tmp_path / ".a.duckdb.0123abcd.tmp").touch()
    (tmp_path / ".a.duckdb.0123abcd.tmp.wal").touch()
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
def test_folder_is_not_a_database(tmp_path: Path, use: Callable[[Path], None]) -> None:
    """A folder is an error of the operating system."""
    with pytest.raises(DatabaseError, match="cannot be used: Is a directory") as caught:
        use(tmp_path)
    assert caught.value.reason == "unusable"


@pytest.mark.parametrize("use", [read, write])
def test_database_open_in_another_process(database: Path, use: Callable[[Path], None]) -> None:
    """A database that another process has open for writing is locked."""
    with opened_elsewhere(database):
        with pytest.raises(DatabaseLockedError, match="is open in another process") as caught:
            use(database)
        assert caught.value.reason == "locked"
    use(database)


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


def test_newer_format(database: Path) -> None:
    """The error of a database in a newer format says how to upgrade DuckDB."""
    message = "Trying to read a database file with version number 999, but we can only read versions between 64 and 68."
    with pytest.raises(DatabaseError, match=r"newer DuckDB.*pip install --upgrade duckdb") as caught:
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
