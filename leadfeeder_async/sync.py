"""Synchronize the visits, companies and usage of an account with a DuckDB file."""

from leadfeeder_async.jobs.sync.sync_run import SyncResult, sync_account
from leadfeeder_async.jobs.sync.transaction import SyncChanges

__all__ = ["SyncChanges", "SyncResult", "sync_account"]
