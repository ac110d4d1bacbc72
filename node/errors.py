"""What can go wrong in the running program.

    NodeError
    ├── ConfigError       config.toml does not fit: all its problems, each named by its setting
    ├── StartupError      the node can't start: the cause, and what the operator can do about it
    │   ├── LocalnetError a localnet could not do what was asked of it
    │   └── ChainImportError  a file's chain can't be taken into a data directory
    ├── CoreHalted        the core has stopped itself; no event can be handled any more
    ├── EventLogError     a recorded event log is cut short, of another version, or not of this chain
    ├── KeptError         what a light device wrote down of its headers can't be used
    ├── SimulationError   a simulated world can't be made: every setting that is out of range
    ├── GatewayError      a gateway for small devices is away, or refuses what was sent to it
    └── ClientError       a call to a node failed; its kinds are in ``node.rpc.failures``

A peer's fault is never an exception here: it is a verdict. A block's fault is ``consensus``'s ``Invalid``.
Each message says what was wrong, where, and what is allowed.
"""

from fl.errors import Problem


class NodeError(Exception):
    """Base of every error this room raises."""


class ConfigError(NodeError):
    """A configuration does not fit. Made of all its problems, one line each."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class StartupError(NodeError):
    """The node can't start. ``cause`` says why, ``remedy`` what the operator can do."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause}\n{self.remedy}"


class LocalnetError(StartupError):
    """A localnet could not do what was asked of it. ``cause`` and ``remedy`` as in ``StartupError``."""


class ChainImportError(StartupError):
    """A file's chain can't be taken into a data directory. ``cause`` and ``remedy`` as in ``StartupError``."""


class CoreHalted(NodeError):  # noqa: N818 - it names a state
    """An event came to a core that has stopped itself."""


class EventLogError(NodeError):
    """A recorded event log can't be read: cut short, of another version, or not of this chain."""


class KeptError(NodeError):
    """What an earlier run of a light device wrote down of its headers can't be used; the text says why."""


class SimulationError(NodeError):
    """A simulated world can't be made of these settings."""


class GatewayError(NodeError):
    """A gateway is away, or refuses. ``is_final``: to try the same again is of no use."""

    def __init__(self, told: str, *, is_final: bool) -> None:
        super().__init__(told)
        self.is_final = is_final
