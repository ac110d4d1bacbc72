"""The sans-IO core: ``NodeCore.handle(event, now) -> effects``. No sockets, threads, clocks or sleeping in here."""
