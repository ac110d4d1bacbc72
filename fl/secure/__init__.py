"""Secure aggregation: sums of updates that nobody can read one by one (docs/privacy.md)."""
