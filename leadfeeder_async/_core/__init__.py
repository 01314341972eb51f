"""Send requests: retries, limits, credentials and decoding."""
