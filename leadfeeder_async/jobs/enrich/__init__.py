"""Bulk enrichment: rows of any number, matched for free, fetched once, each with its outcome."""
