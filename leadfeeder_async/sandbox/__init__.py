"""A local server that simulates the Leadfeeder API, for tests, demos and first steps without an account."""

from leadfeeder_async.sandbox.ledger import Ledger, RecordedRequest
from leadfeeder_async.sandbox.record_store import RecordStore, SandboxRecords
from leadfeeder_async.sandbox.server import Sandbox
from leadfeeder_async.sandbox.threads import run_in_thread
from leadfeeder_async.sandbox.world import World

__all__ = ["Ledger", "RecordStore", "RecordedRequest", "Sandbox", "SandboxRecords", "World", "run_in_thread"]
