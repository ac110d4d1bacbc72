"""Gateways for small devices: a door that readings come in at, what is kept of them, and sums asked of each other.

    store    what a gateway keeps of one group, durably
    door     the HTTP server: deliveries, requests for sums, the model
    client   the other side of the door
    sender   a small device: its outbox, and how it sends
    collect  the collector: asks for sums, writes them as rows

What is sent, and what it proves, is ``fl.sharing``'s. Everything that travels is signed and sealed by itself, so the
door needs no TLS to be safe; with it lengths and times are all that is left to see.
"""
