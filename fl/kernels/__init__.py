"""Compiled kernels whose bits are the same on every machine (FORMULAS §9), and their plain-Python references."""
