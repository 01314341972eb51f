"""What this package costs and how fast it is, measured against others: ``python -m benchmarks``."""
