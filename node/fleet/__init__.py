"""A fleet: many devices in one process, each with a key, a registration, tasks and rewards of its own."""
