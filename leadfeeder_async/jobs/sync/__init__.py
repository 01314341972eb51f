"""Synchronization of an account with a DuckDB file."""
