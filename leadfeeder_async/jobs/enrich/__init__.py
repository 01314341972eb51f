"""Bulk enrichment: matches rows to companies and fetches each company once. Each row gets one result."""
