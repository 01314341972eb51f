"""The only road to the wire."""
