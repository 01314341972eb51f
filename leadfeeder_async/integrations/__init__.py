"""What plugs in: each module imports the library of its own extra, and nothing else does."""
