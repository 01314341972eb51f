"""Lists in files: whole or not there, and resumable after any interruption."""
