"""Proof of work: SHA-256d, ASERT difficulty in integers, a schedule that yields to propagation delay."""
