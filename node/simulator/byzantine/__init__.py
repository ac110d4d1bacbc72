"""Machines that lie: one file a behaviour, each a mask between a real core and the world (``base``, ``mask``)."""
