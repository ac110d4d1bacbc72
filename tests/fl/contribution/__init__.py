"""Contributions: games, coalitions, copies."""
