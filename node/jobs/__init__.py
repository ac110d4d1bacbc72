"""Jobs: the heavy work, as pure functions of a spec and the world, run beside the core."""
