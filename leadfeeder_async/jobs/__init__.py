"""Long work over many calls."""
