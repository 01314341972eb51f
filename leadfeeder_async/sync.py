"""Keep an account's visits, companies and usage in a DuckDB file."""

from leadfeeder_async.jobs.sync.sync_run import SyncResult, sync_account
from leadfeeder_async.jobs.sync.transaction import SyncChanges

__all__ = ["SyncChanges", "SyncResult", "sync_account"]
