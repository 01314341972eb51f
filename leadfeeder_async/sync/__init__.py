"""Visits and what belongs to them, kept in an embedded database that any tool can query."""
