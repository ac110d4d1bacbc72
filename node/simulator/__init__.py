"""The simulator: whole networks in one process and in virtual time, broken on purpose, from a seed."""
