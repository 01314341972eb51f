"""New visits as they come."""
