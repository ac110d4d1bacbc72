"""Compiled kernels whose bits are the same on every machine (docs/learning.md), and their plain-Python references."""
