"""Imports DuckDB in a fork server, except DuckDB 1.4 and 1.5, which start a thread. Forked processes would abort then."""

from importlib.metadata import version

if not version("duckdb").startswith(("1.4.", "1.5.")):
    import duckdb  # noqa: F401
