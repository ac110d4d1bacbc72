"""Differential privacy: what a release costs its device, and the mechanisms that add the noise (docs/privacy.md)."""
