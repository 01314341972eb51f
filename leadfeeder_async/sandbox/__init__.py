"""A local Leadfeeder that behaves: for tests, demos and first steps without an account."""

from leadfeeder_async.sandbox.ledger import Ledger, RecordedRequest
from leadfeeder_async.sandbox.server import Sandbox
from leadfeeder_async.sandbox.threads import run_in_thread

__all__ = ["RecordedRequest", "Ledger", "Sandbox", "run_in_thread"]
