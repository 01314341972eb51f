"""Opening DuckDB databases. No other module imports DuckDB, so its errors become errors of this package here.

DuckDB opens, replays and removes whatever has the name of its write-ahead log (WAL), also through links. Such a file is
therefore checked before each connection.
"""

from __future__ import annotations

import locale
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

import msgspec

from leadfeeder_async.errors import CheckpointError, DatabaseError, DatabaseLockedError, DatabaseReason, check_argument
from leadfeeder_async.jobs.atomic_file import (
    open_working_file,
    remove_temporaries,
    replace_atomically,
    temporary_path,
)
from leadfeeder_async.jobs.serialized_error import escape_surrogates

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

Connection: TypeAlias = "duckdb.DuckDBPyConnection"
"""An open DuckDB connection."""

_MAGIC = slice(8, 12), b"DUCK"
"""The bytes of a file that identify a DuckDB database."""

_WAL_SUFFIXES = (".wal", ".wal.checkpoint", ".wal.recovery")
"""The suffixes of DuckDB's logs. DuckDB 1.5 or newer uses the last two while it recovers from a kill."""

_WAL_BEGIN = b"d\0be\0"
"""The first bytes of each log, in DuckDB 1.0 to 2.0."""

_READ_ONLY_CONFIG: Mapping[str, str | bool] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "enable_external_access": False,
    "temp_directory": "",
}
"""No downloads of extensions, no other files, no network."""

DEFAULT_MAX_LINE_BYTES = 1024 * 1024
"""The most bytes of a line for which the buffers of DuckDB suffice without ``max_line_bytes``."""


_NEW_DATABASE_CONFIG = {"storage_compatibility_version": "v1.0.0"}
"""A storage format that every tool with DuckDB 1.x reads. A file keeps its format when a newer DuckDB writes to it."""


_UNBOUNDED_CONFIG: Mapping[str, str | bool] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "temp_directory": "",
}
"""No downloads of extensions, for example for an SQLite file.

There is no folder for temporary files, because other users may be able to read them.
"""

_BOUNDED_CONFIG: Mapping[str, str | bool] = {**_UNBOUNDED_CONFIG, "threads": "1", "memory_limit": "200MB"}
"""The same with limits that leave the other threads and the memory of the process to the caller."""

_REOPEN_INTERVAL = 0.02
"""Seconds between two attempts to open a file that another process has open. The thread waits."""

MIN_VERSION_TO_ATTACH = (1, 4)
"""The first version of DuckDB that attaches a file safely, and with row groups of another size.

DuckDB 1.2 and 1.3 cannot append to a table that has larger row groups, and do not notice that another connection has
the file open.
"""

_ALIAS = "synced"
"""The name of an attached database."""

_ROW_GROUP_SIZE = 16_384
"""Rows per group of a table. DuckDB compresses a group again when it is full, while nobody else can open the file.

With its default of 122,880 rows, that takes about a second.
"""


class _Rule(msgspec.Struct, frozen=True):
    """An error that DuckDB reports only as text, and how it is explained."""

    fragment: str | int
    """A part of DuckDB's message, or the number of an error of Windows, whose message depends on the language."""
    reason: DatabaseReason
    problem: str
    hint: str


_WAIT = "Wait for the other process, close the database there, or choose another file."
_MAKE_SPACE = "Everything committed is kept. Make space and run the same call again."

_PUT_BACK = "Put it back, and run the same call again. Everything committed is kept."

_OTHER_FORMAT = "has a storage format that this DuckDB cannot read, probably that of a newer one"
_UPGRADE = "Run pip install --upgrade duckdb, or export the data with the DuckDB that wrote the file."

_NOT_A_DATABASE = "is not a valid DuckDB database"
_CHOOSE = "Choose another file. This one was not changed."
_DAMAGED = "is incomplete or damaged"
_RESTORE = "Restore it from a copy, or move it away and sync again."
_RENAME = "Choose another name for the file and its folders."

_SHARING_VIOLATION, _DISK_FULL = 32, 112
"""Errors of Windows."""

_RULES = (
    _Rule("not a valid DuckDB database", "not_a_database", _NOT_A_DATABASE, _CHOOSE),
    _Rule('Extension "sqlite"', "not_a_database", _NOT_A_DATABASE, _CHOOSE),
    # For an SQLite file, DuckDB wants to load an extension.
    _Rule("Loading external extensions is disabled", "not_a_database", _NOT_A_DATABASE, _CHOOSE),
    _Rule("Could not read enough bytes", "unusable", _DAMAGED, _RESTORE),
    _Rule("Corrupt database file", "unusable", _DAMAGED, _RESTORE),
    _Rule("Could not set lock", "locked", "is open in another process", _WAIT),
    _Rule("used by another process", "locked", "is open in another process", _WAIT),
    _Rule(_SHARING_VIOLATION, "locked", "is open in another process", _WAIT),
    _Rule("Unique file handle conflict", "locked", "is open in this process already", "Close that connection first."),
    _Rule("version number", "newer_version", _OTHER_FORMAT, _UPGRADE),  # DuckDB 2: "storage version number"
    _Rule("storage version greater than", "newer_version", _OTHER_FORMAT, _UPGRADE),
    _Rule("No space left", "no_space", "cannot grow because the disk is full", _MAKE_SPACE),
    _Rule("not enough space on the disk", "no_space", "cannot grow because the disk is full", _MAKE_SPACE),
    _Rule(_DISK_FULL, "no_space", "cannot grow because the disk is full", _MAKE_SPACE),
    _Rule("File too large", "no_space", "cannot grow because of a limit on the size of files", _MAKE_SPACE),
)


def require_duckdb(purpose: str, extra: str) -> None:
    """Raise ConfigurationError if DuckDB is not installed.

    Args:
        purpose: What needs it, such as "A sync".
        extra: The extra of this package that installs it.
    """
    is_installed = find_spec("duckdb") is not None
    check_argument(is_installed, f"{purpose} needs DuckDB.", f"Run pip install duckdb, or install the extra {extra}.")


@contextmanager
def connect_in_memory() -> Generator[Connection]:
    """Open an empty database in memory."""
    import duckdb  # noqa: PLC0415 - an extra

    with duckdb.connect() as connection:
        yield connection


@contextmanager
def open_read_only(path: Path) -> Generator[Connection]:
    """Open a database for reading.

    Queries can neither write nor read other files, nor use the network.

    Raises:
        DatabaseLockedError: It is open for writing, in another process or in this one.
        DatabaseError: It cannot be used.
    """
    with translate_errors(path), closing(_connect(path, read_only=True, config=_READ_ONLY_CONFIG)) as connection:
        yield connection


class WritableDatabase:
    """A database that is open for reading and writing until the context is left.

    Args:
        connection: The connection.
        path: The file.
        can_release: True if the file is attached to ``connection``, so that it can be released.
        wait: The seconds to wait while another process has the file open.
    """

    def __init__(self, connection: Connection, path: Path, *, can_release: bool, wait: float) -> None:
        self.connection = connection
        self._path = path
        self._can_release = can_release
        self._wait = wait

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @contextmanager
    def released(self) -> Generator[None]:
        """Close the file inside the context, so that other processes can open it, and open it again at the end.

        The connection keeps its temporary tables. The file stays closed if the body raises. It stays open if other
        connections of this process use the database, and with DuckDB 1.2 and 1.3.

        Raises:
            DatabaseLockedError: Another process has the file open at the end.
            DatabaseError: The file can no longer be used.
        """
        if not self._can_release:
            yield
            return
        self.connection.execute(f"USE memory.main; DETACH {_ALIAS}")
        yield
        _wait_while_locked(self._path, self._wait, partial(_attach, self.connection, self._path))


def open_writable(path: Path, *, is_bounded: bool = False, wait: float = 0.0) -> WritableDatabase:
    """Open a database for reading and writing.

    Args:
        path: The file.
        is_bounded: Use one thread and 200 MB, unless this process has the database open already. Defaults to False.
        wait: The seconds to wait while another process has the file open. Defaults to 0.

    Raises:
        DatabaseLockedError: It is open in another process, or read-only in this one.
        DatabaseError: It cannot be used, or a file beside it has the name of its log and is not one.
    """
    import duckdb  # noqa: PLC0415 - an extra

    def attempt() -> WritableDatabase:
        _check_links(path)
        can_release = _version() >= MIN_VERSION_TO_ATTACH
        try:
            config = _BOUNDED_CONFIG if is_bounded else _UNBOUNDED_CONFIG
            connection = _connect_alone(path, config, is_attached=can_release)
            return WritableDatabase(connection, path, can_release=can_release, wait=wait)
        except DatabaseLockedError as error:
            if isinstance(error.__cause__, duckdb.IOException):
                raise  # another process has the file open
        # This process has the file open already, so its database is shared.
        return WritableDatabase(_connect(path, read_only=False), path, can_release=False, wait=wait)

    return _wait_while_locked(path, wait, attempt)


def _connect_alone(path: Path, config: Mapping[str, str | bool], *, is_attached: bool) -> Connection:
    """Connect to a database that this process does not have open, and write what its log contains.

    If the first change of a connection does not fit on the disk, DuckDB 1.2 and 1.3 drop the log of earlier connections
    and its changes.
    """
    has_log = any(log.exists() for log in _log_paths(path))
    connection = _connect_attached(path, config) if is_attached else _connect(path, read_only=False, config=config)
    if has_log:
        try:
            connection.execute("CHECKPOINT")
        except BaseException:
            connection.close()
            raise
    return connection


def _connect_attached(path: Path, config: Mapping[str, str | bool]) -> Connection:
    """Attach a database to a new connection, so that its tables get small row groups.

    Without ``ATTACH``, each run would merge the small row groups of earlier runs into large ones.
    """
    import duckdb  # noqa: PLC0415 - an extra

    connection = duckdb.connect(":memory:", config={**config})
    try:
        with translate_errors(path):
            _attach(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _attach(connection: Connection, path: Path) -> None:
    check_files(path)
    _check_links(path)
    if not path.exists():  # DuckDB would create it
        raise DatabaseError(f"{path} was moved or removed while it was in use.", hint=_PUT_BACK, reason="missing")
    if _count_descriptors(path):
        raise _open_in_this_process(path)
    options = f"TYPE duckdb, ROW_GROUP_SIZE {_ROW_GROUP_SIZE}"
    connection.execute(f"ATTACH {quoted(path.absolute())} AS {_ALIAS} ({options}); USE {_ALIAS}.main")


def _wait_while_locked(path: Path, seconds: float, attempt: Callable[[], T]) -> T:
    """Return the result of ``attempt``, which is repeated for some seconds while another process has a file open."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with translate_errors(path):
                return attempt()
        except DatabaseLockedError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_REOPEN_INTERVAL)


def _version() -> tuple[int, int]:
    """Return the major and minor version of DuckDB."""
    import duckdb  # noqa: PLC0415 - an extra

    major, minor = duckdb.__version__.split(".")[:2]
    return int(major), int(minor)


def hide_progress_bar(connection: Connection) -> None:
    """Turn off the progress bar of DuckDB, which would mix with that of the command.

    In a notebook without the package ipywidgets it is off, and DuckDB refuses to change it.
    """
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchone() != (False,):
        connection.execute("SET SESSION enable_progress_bar = false")


def create_database(path: Path, schema: str) -> None:
    """Create a database with some tables in one step, if it does not exist. The caller holds the lock of the file.

    Args:
        path: The file.
        schema: The statements that create the tables.

    Raises:
        DatabaseError: It cannot be created.
    """
    with translate_errors(path):
        if not path.exists():
            check_creatable(path)
            _create(path.resolve(), schema)


def check_creatable(path: Path) -> None:
    """Raise DatabaseError if a database cannot be created, or if DuckDB would take an existing file for its log."""
    _check_name(path)
    for log in _log_paths(path):
        if os.path.lexists(log) and not path.exists():
            raise DatabaseError(
                f"{log} exists, but the database {path} does not.", hint="Move it away, or choose another database."
            )


def remove_database(path: Path) -> None:
    """Remove a database and its logs, if it exists. The caller holds the lock of the file.

    Raises:
        DatabaseError: It is not a database, or a file beside it has the name of its log and is not one.
    """
    with translate_errors(path):
        if path.exists():
            if not _is_database(path):
                raise _not_a_database(path)
            check_files(path)
            for log in _log_paths(path):  # first, because a kill must leave no log without its database
                log.unlink(missing_ok=True)
            path.unlink()


def json_lines_sql(path: Path, columns: Mapping[str, str], max_line_bytes: int) -> str:
    """Return the SQL of a table that reads a file of JSON lines.

    Args:
        path: The file. Characters of its path that DuckDB would expand are escaped.
        columns: The type of each column. Other keys of a line are ignored.
        max_line_bytes: The most bytes of a line, or 0 if that is at most ``DEFAULT_MAX_LINE_BYTES``. DuckDB refuses a
            longer line, and its buffers depend on this number.
    """
    expanded = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in duckdb_path(path))
    types = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in columns.items())
    options = "format='newline_delimited', compression='uncompressed', hive_partitioning=false"
    size = max(max_line_bytes + 1, DEFAULT_MAX_LINE_BYTES)
    return f"read_json({quoted(expanded)}, {options}, maximum_object_size={size}, columns={{{types}}})"


def struct_sql(types: Mapping[tuple[str | int, ...], str]) -> str:
    """Return the type of a JSON object.

    Args:
        types: The types of its values, by their paths. The number 0 is the first item of a list.
    """
    nested = dict[str | int, dict[tuple[str | int, ...], str]]()
    for (key, *inner), kind in types.items():
        nested.setdefault(key, {})[tuple(inner)] = kind
    if 0 in nested:
        return f"{struct_sql(nested[0])}[]"
    fields = (f"{quoted_name(str(key))} {fields.get(()) or struct_sql(fields)}" for key, fields in nested.items())
    return f"STRUCT({', '.join(fields)})"


def quoted_name(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def quoted(text: Path | str) -> str:
    """Return a string as a literal of SQL."""
    return "'" + (duckdb_path(text) if isinstance(text, Path) else text).replace("'", "''") + "'"


def duckdb_path(path: Path) -> str:
    """Return a path as DuckDB reads it: in UTF-8, whatever encoding the locale has.

    Raises:
        DatabaseError: The path is not UTF-8.
    """
    try:
        return os.fsencode(path).decode()
    except UnicodeDecodeError:
        message = f"DuckDB cannot open {escape_surrogates(str(path))}, because the path is not UTF-8."
        raise DatabaseError(message, hint=_RENAME) from None


@contextmanager
def translate_errors(path: Path) -> Generator[None]:
    """Raise DatabaseError for errors of DuckDB and of the operating system, with the path and a hint."""
    import duckdb  # noqa: PLC0415 - an extra

    try:
        yield
    except duckdb.Error as error:
        raise _explain(path, str(error)) from error
    except UnicodeDecodeError as error:
        # DuckDB may cut a message in the middle of a character, and does not encode the messages of Windows as UTF-8.
        raise _explain(path, error.object.decode(locale.getencoding(), "replace")) from error
    except OSError as error:
        raise _explain(path, error.strerror or str(error)) from error
    except CheckpointError as error:  # of the lock file, or of a log that is a link
        raise DatabaseError(error.message, hint=error.hint) from error


def _create(path: Path, schema: str) -> None:
    remove_temporaries(path)
    temporary = temporary_path(path)
    try:
        with closing(_connect(temporary, read_only=False, config=_NEW_DATABASE_CONFIG)) as connection:
            connection.execute(schema)
            connection.execute("CHECKPOINT")
        replace_atomically(temporary, path)
    finally:  # an incomplete file could fill the disk
        remove_temporaries(path)


def _connect(path: Path, *, read_only: bool, config: Mapping[str, str | bool] | None = None) -> Connection:
    import duckdb  # noqa: PLC0415 - an extra

    check_files(path)
    conflicts, before = _count_descriptors(path, only_writable=read_only), _count_descriptors(path)
    try:
        # Without a config, a writable connection shares the database with other connections of this process.
        # An absolute path has no prefix such as ``duckdb:``, which DuckDB would take away.
        connection = duckdb.connect(duckdb_path(path.absolute()), read_only=read_only, config={**(config or {})})
    except duckdb.ConnectionException:
        raise _open_in_this_process(path) from None
    if conflicts and _count_descriptors(path) > before:
        connection.close()
        raise _open_in_this_process(path)
    query = "SELECT type, path IS NULL FROM duckdb_databases() WHERE database_name = current_database()"
    if connection.execute(query).fetchone() != ("duckdb", False):  # DuckDB also opens SQLite files and tables
        connection.close()
        raise _not_a_database(path)
    return connection


def _open_in_this_process(path: Path) -> DatabaseLockedError:
    return DatabaseLockedError(
        f"This process has {path} open already.",
        hint="Close that connection first, or open the file there with exactly the same path.",
        reason="locked",
    )


def _count_descriptors(path: Path, *, only_writable: bool = False) -> int:
    """Return the number of times that this process has a file open. Return 0 on Windows, which refuses a second time.

    Before DuckDB 2, a connection with another spelling of the path, such as a link, opens the file a second time. Then
    both write it, and it is damaged.
    """
    if sys.platform == "win32" or not path.exists():
        return 0
    file, count = path.stat(), 0
    try:
        import fcntl  # noqa: PLC0415 - not on Windows

        names = [one.name for one in Path("/dev/fd").iterdir()]
    except (ImportError, OSError):  # some containers have no such folder
        return 0
    for name in names:
        with suppress(OSError):  # it was closed meanwhile
            descriptor = os.fstat(int(name))
            if (descriptor.st_dev, descriptor.st_ino) == (file.st_dev, file.st_ino):
                is_writable = fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
                count += is_writable or not only_writable
    return count


def check_files(path: Path) -> None:
    """Raise DatabaseError if a path is not a regular file, or DuckDB did not write a log beside it.

    A path that does not exist passes.

    The database is not opened here. If this process has it open already, closing it would release DuckDB's lock, so
    that another process could write the same file.
    """
    _check_name(path)
    if path.exists() and not path.is_file():  # opening a pipe would wait
        raise _not_a_database(path)
    for log in _log_paths(path):
        if not _is_log(log):
            raise DatabaseError(
                f"{log} exists, but DuckDB did not write it.", hint="Move it away, or choose another database."
            )


def _check_links(path: Path) -> None:
    """Raise DatabaseError for a file with several names, because DuckDB would keep a separate log for each of them."""
    links = path.stat().st_nlink if path.is_file() else 1
    if links > 1:
        raise DatabaseError(
            f"{path} is one of {links:,} hard links to the same file, so it is not changed.",
            hint="Copy it, and choose the copy. A symbolic link works.",
        )


def _check_name(path: Path) -> None:
    """Raise DatabaseError for a name that is not UTF-8, or has a question mark, for which the log gets another name.

    A path such as ``//?/C:/visits.duckdb`` has its question mark in the drive.
    """
    duckdb_path(path.absolute())
    if any("?" in name.as_posix()[len(name.anchor) :] for name in (path.absolute(), path.resolve())):
        raise DatabaseError(f"DuckDB cannot open {path}, because the path contains a question mark.", hint=_RENAME)


def _not_a_database(path: Path) -> DatabaseError:
    return DatabaseError(f"{path} {_NOT_A_DATABASE}.", hint=_CHOOSE, reason="not_a_database")


def _log_paths(path: Path) -> list[Path]:
    """Return the names of DuckDB's logs. Before DuckDB 1.5, they are beside a link to a database."""
    names = dict.fromkeys((path, path.resolve()))
    return [name.with_name(name.name + suffix) for name in names for suffix in _WAL_SUFFIXES]


def _is_log(log: Path) -> bool:
    """Return True if DuckDB can have written a log, or it does not exist.

    DuckDB writes the header after it creates the log, so a kill or a full disk leaves an empty one.
    """
    try:
        descriptor = open_working_file(log, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        begin = os.read(descriptor, len(_WAL_BEGIN))
    finally:
        os.close(descriptor)
    return begin in {b"", _WAL_BEGIN}


def _is_database(path: Path) -> bool:
    place, magic = _MAGIC
    if not path.is_file():  # opening a pipe would wait
        return False
    with path.open("rb") as file:
        return file.read(place.stop)[place] == magic


def _message_of_windows(number: int) -> str | None:
    """Return the message of an error in the language of Windows, or None on other systems."""
    import ctypes  # noqa: PLC0415 - only errors need it

    describe: Callable[[int], str] | None = getattr(ctypes, "FormatError", None)
    return None if describe is None else describe(number)


def _explain(path: Path, message: str) -> DatabaseError:
    for rule in _RULES:
        fragment = _message_of_windows(rule.fragment) if isinstance(rule.fragment, int) else rule.fragment
        if fragment is not None and fragment in message:
            kind = DatabaseLockedError if rule.reason == "locked" else DatabaseError
            return kind(f"{path} {rule.problem}.", hint=rule.hint, reason=rule.reason)
    first_line = message.split("\n", 1)[0].rstrip(".")
    return DatabaseError(
        f"{path} cannot be used: {first_line}.",
        hint="Fix the problem and run the same call again.",
    )
