"""Bulk changes: tags and lists of many companies or contacts."""
