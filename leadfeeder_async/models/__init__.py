"""What travels: one Struct per schema of the API, by noun."""
