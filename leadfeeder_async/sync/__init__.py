"""Visits and what belongs to them, kept in an embedded database that any tool can query."""

from leadfeeder_async.sync.job import SyncResult, sync_account
from leadfeeder_async.sync.transaction import Changes

__all__ = ["Changes", "SyncResult", "sync_account"]
