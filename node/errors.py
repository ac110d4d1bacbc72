"""What can go wrong in the running program.

    NodeError
    ├── ConfigError      a setting that is missing, of the wrong kind, or contradicts another
    ├── CoreHalted       the core has stopped itself; no event can be handled any more
    └── RefusedRequest   what a user asked for cannot be done; the message says why

A peer's fault is never an exception here: it is a verdict. A block's fault is ``consensus``'s ``Invalid``.
"""


class NodeError(Exception):
    """Base of every error this room raises."""


class ConfigError(NodeError):
    """A setting is missing, of the wrong kind, or contradicts another."""


class CoreHalted(NodeError):  # noqa: N818 - it names a state
    """An event came to a core that has stopped itself."""


class RefusedRequest(NodeError):  # noqa: N818 - it names an outcome
    """What a user asked for cannot be done."""
