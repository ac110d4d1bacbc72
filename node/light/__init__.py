"""The light node: a device that follows headers, and has all else proven to it (docs/operating.md)."""
