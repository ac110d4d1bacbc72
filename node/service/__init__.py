"""The running node: asyncio, TLS, threads, signals and files around the sans-IO core."""
