"""Long jobs: exports, syncs, enrichments, bulk changes and watches.

Jobs with an output file, a database or a saved state continue after an interruption.
"""
